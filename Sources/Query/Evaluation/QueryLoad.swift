internal import Basics
internal import Model

/// What a query holds at a moment: samples read and points made, and about how many bytes they take.
struct QueryLoad {
    var samples = 0
    var bytes = 0

    /// A series as it was read: two columns, and its labels.
    static func bytes(of series: SeriesColumns) -> Int {
        (series.times.count + series.starts.count + series.values.count) * 8 + bytesPerSeries
    }
    /// About what a series takes without its samples: eight labels.
    static let bytesPerSeries = 384
    /// Points of a vector.
    static func bytes(series: Int, steps: Int) -> Int { series * (steps * 8 + 16) }
}

/// The selector of a query that reads the most, as an error names it.
struct WidestSelector {
    var text: String
    var series: Int
    var samples: Int

    var told: String { "the widest selector is \(text), \(series) series with \(samples) samples" }
}

/// Counts what one evaluation holds against its own limits and those of all evaluations. What it still holds is given
/// back when it ends.
struct QueryLedger: ~Copyable {
    private(set) var load = QueryLoad()
    private(set) var peak = QueryLoad()
    /// Samples read in all.
    private(set) var samplesRead = 0
    private(set) var widest: WidestSelector?
    private var held = QueryLoad()
    private let limits: QueryLimits
    private let budget: QueryBudget?
    /// The budget is asked for so much at once, not for every node.
    private static let portion = 1 << 18

    init(limits: QueryLimits, budget: QueryBudget?) { (self.limits, self.budget) = (limits, budget) }

    deinit { budget?.release(samples: held.samples, bytes: held.bytes) }

    /// Begins a walk over series of which `threads` are held at a time. Samples are held as many as there may be, when
    /// there is room for them; else they are counted as they come.
    mutating func begin(
        _ feed: SeriesFeed, of selector: VectorSelector?, threads: Int
    ) throws(QueryError) -> (bound: Int, held: Int, room: Int) {
        var (bound, widest) = (0, 0)
        for index in 0..<feed.count {
            let samples = feed.bound(of: index)
            bound += samples
            widest = max(widest, samples)
        }
        if let selector { note(selector, series: feed.count, samples: bound) }
        let room = max(0, limits.samples - load.samples)
        let held = selector != nil && bound <= room ? bound : 0
        let labels = selector == nil ? 0 : feed.count * QueryLoad.bytesPerSeries
        try hold(QueryLoad(samples: held, bytes: labels + min(threads, feed.count) * widest * 16))
        return (bound, held, room)
    }

    /// Ends a walk that read so many samples.
    mutating func end(held: Int, read: Int) throws(QueryError) {
        samplesRead += read
        try hold(QueryLoad(samples: read - held, bytes: 0))
    }

    /// Notes what a selector read and holds at once.
    mutating func didRead(_ series: [SeriesColumns], by selector: VectorSelector) throws(QueryError) {
        var (samples, bytes) = (0, 0)
        for columns in series {
            samples += columns.times.count
            bytes += QueryLoad.bytes(of: columns)
        }
        samplesRead += samples
        note(selector, series: series.count, samples: samples)
        try hold(QueryLoad(samples: samples, bytes: bytes))
    }

    private mutating func note(_ selector: VectorSelector, series: Int, samples: Int) {
        guard samples > widest?.samples ?? -1 else { return }
        widest = WidestSelector(text: selector.bareText, series: series, samples: samples)
    }

    /// Holds more, or refuses.
    mutating func hold(_ more: QueryLoad) throws(QueryError) {
        load.samples += more.samples
        load.bytes += more.bytes
        peak.samples = max(peak.samples, load.samples)
        peak.bytes = max(peak.bytes, load.bytes)
        guard load.samples <= limits.samples else {
            throw refusal(
                "query processing would load too many samples into memory: \(load.samples) where \(limits.samples) "
                    + "are allowed")
        }
        guard load.bytes <= limits.bytes else {
            throw refusal(
                "query processing would take too much memory: \(load.bytes) bytes where \(limits.bytes) are allowed")
        }
        guard let budget, load.bytes > held.bytes || load.samples > held.samples else { return }
        let portion = QueryLoad(
            samples: max(0, load.samples - held.samples), bytes: max(0, load.bytes - held.bytes) + QueryLedger.portion)
        guard budget.hold(samples: portion.samples, bytes: portion.bytes) else {
            throw refusal(
                "all running queries would hold more than \(budget.limits.samples) samples or "
                    + "\(budget.limits.bytes) bytes together, this one \(load.samples) samples and \(load.bytes) bytes")
        }
        held.samples += portion.samples
        held.bytes += portion.bytes
    }

    /// Lets go of all but `kept`: a node has made its result, and what it was made from is gone.
    mutating func settle(to before: QueryLoad, keeping kept: QueryLoad) throws(QueryError) {
        load = before
        try hold(kept)
    }

    /// How much the next selector may read; whether it is memory that binds.
    var readLimits: (limits: ReadLimits, isMemory: Bool) {
        let bySamples = max(0, limits.samples - load.samples)
        var bytes = limits.bytes - load.bytes
        if let budget { bytes = min(bytes, budget.freeBytes) }
        let byMemory = max(0, bytes / 16)
        return (ReadLimits(samples: min(bySamples, byMemory), series: limits.series), byMemory < bySamples)
    }

    /// A refusal that names the widest selector.
    func refusal(_ text: String) -> QueryError { .limit(text + (widest.map { "; \($0.told)" } ?? "")) }
}
