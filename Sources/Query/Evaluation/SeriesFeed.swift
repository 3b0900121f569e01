internal import Model
internal import Synchronization

/// The series of a selector or a subquery, each made when it is asked for; may be asked on several threads.
enum SeriesFeed: Sendable {
    case selected(any SelectedSeries)
    /// The points of a subquery, beside the moments of its steps.
    case points(StepVector, times: [Int64])

    var count: Int {
        switch self {
        case .selected(let series): series.count
        case .points(let vector, _): vector.count
        }
    }

    func labels(of index: Int) -> Labels {
        switch self {
        case .selected(let series): series.labels(of: index)
        case .points(let vector, _): vector.labels[index]
        }
    }

    /// How many samples a series has at the most.
    func bound(of index: Int) -> Int {
        switch self {
        case .selected(let series): series.bound(of: index)
        case .points(_, let times): times.count
        }
    }

    func columns(of index: Int) throws(SourceError) -> SeriesColumns {
        switch self {
        case .selected(let series): try series.columns(of: index)
        case .points(let vector, let times): vector.columns(of: index, times)
        }
    }
}

extension StepVector {
    /// The present values of one series beside their times; `all` are the times of the steps, which series without a
    /// gap share.
    func columns(of series: Int, _ all: [Int64]) -> SeriesColumns {
        let base = base(series)
        let slice = values[base..<base + steps]
        if slice.allSatisfy(\.isPresent) {
            return SeriesColumns(labels: labels[series], times: all, values: Array(slice))
        }
        var times: [Int64] = []
        var kept: [Double] = []
        for step in 0..<steps where values[base + step].isPresent {
            times.append(all[step])
            kept.append(values[base + step])
        }
        return SeriesColumns(labels: labels[series], times: times, values: kept)
    }
}

/// What one walk over a feed has read, counted by all threads that walk, and why it ends early.
final class ReadTally: Sendable {
    private let samples = Atomic<Int>(0)
    private let hasFailed = Atomic<Bool>(false)
    private let failure = Mutex<QueryError?>(nil)
    private let limit: Int
    private let refusal: QueryError
    private let deadline: Deadline?

    /// - Parameter refusal: What to say when more than `limit` samples are read.
    init(limit: Int, refusal: QueryError, deadline: Deadline?) {
        (self.limit, self.refusal, self.deadline) = (limit, refusal, deadline)
    }

    /// Samples read so far.
    var count: Int { samples.load(ordering: .relaxed) }

    /// Whether the walk goes on. The caller's own thread sees that its task was cancelled, and the others see it here.
    func goesOn() -> Bool {
        if hasFailed.load(ordering: .relaxed) { return false }
        if Task.isCancelled {
            fail(.cancelled)
        } else if deadline?.isOver == true {
            // Whoever waits for the walk looks at the clock too, and knows what to say.
            hasFailed.store(true, ordering: .relaxed)
        } else {
            return true
        }
        return false
    }

    /// Counts samples; false when they are too many.
    func add(_ more: Int) -> Bool {
        guard samples.add(more, ordering: .relaxed).newValue > limit else { return true }
        fail(refusal)
        return false
    }

    func fail(_ error: QueryError) {
        failure.withLock { $0 = $0 ?? error }
        hasFailed.store(true, ordering: .relaxed)
    }

    func check() throws(QueryError) { if let error = failure.withLock({ $0 }) { throw error } }
}
