public import Basics
internal import Synchronization

/// A store of samples in memory, for the unit tests of rules, replays and tests: sorted arrays, no compression, and
/// each selection looks at every series of its metric.
public final class MemorySource: SampleSource, SampleSink {
    fileprivate struct Series {
        var labels: Labels
        var times: [Int64] = []
        var values: [Double] = []
        /// When counts began, by the time of their samples.
        var starts: [Int64: Int64] = [:]
    }
    private struct Contents {
        var series: [Series] = []
        var references: [Labels: SeriesReference] = [:]
        /// Indices of series by their metric's name.
        var metrics: [ByteText: [Int]] = [:]
        var batches = 0
    }
    private let contents = Mutex(Contents())

    /// An empty store.
    public init() {}

    /// How many batches were appended.
    public var batchCount: Int { contents.withLock { $0.batches } }

    /// Adds one sample; an equal time replaces, an older one is put where it belongs.
    public func add(_ labels: Labels, _ time: Timestamp, _ value: Double) {
        guard let reference = reference(of: labels) else { return }
        add(reference, time, value)
    }

    /// Adds one sample to a series that has a reference.
    public func add(_ reference: SeriesReference, _ time: Timestamp, _ value: Double) {
        contents.withLock { contents in
            _ = contents.series[Int(reference) - 1].insert(time.milliseconds, value)
        }
    }

    /// Tells when the count behind a sample began.
    public func begin(_ labels: Labels, sampleAt time: Timestamp, at start: Timestamp) {
        guard let reference = reference(of: labels) else { return }
        contents.withLock { contents in
            contents.series[Int(reference) - 1].starts[time.milliseconds] = start.milliseconds
        }
    }

    /// Everything that is stored, sorted by labels.
    public var all: [SeriesColumns] {
        contents.withLock { contents in
            contents.series.map { SeriesColumns(labels: $0.labels, times: $0.times, values: $0.values) }
        }.sorted { $0.labels < $1.labels }
    }

    /// The series of these labels, new or known.
    public func reference(of labels: Labels) -> SeriesReference? {
        contents.withLock { contents in
            if let known = contents.references[labels] { return known }
            contents.metrics[ByteText(labels.metricName), default: []].append(contents.series.count)
            contents.series.append(Series(labels: labels))
            let fresh = SeriesReference(contents.series.count)
            contents.references[labels] = fresh
            return fresh
        }
    }

    /// Adds a batch; equal times replace, and are told as duplicates.
    public func append(_ batch: borrowing SampleBatch) -> AppendOutcome {
        let (references, values, timestamps, moment) =
            (batch.references, batch.values, batch.timestamps, batch.timestamp)
        return contents.withLock { contents in
            contents.batches += 1
            var outcome = AppendOutcome()
            for (index, reference) in references.enumerated() {
                let time = timestamps.isEmpty ? moment.milliseconds : timestamps[index]
                switch contents.series[Int(reference) - 1].insert(time, values[index]) {
                case .stored: outcome.stored += 1
                case .duplicate: outcome.duplicates += 1
                case .outOfOrder: outcome.outOfOrder += 1
                }
            }
            return outcome
        }
    }

    /// The series that all matchers match, with their samples after one moment and through another.
    public func select(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> [SeriesColumns] {
        let told = "{" + matchers.map(\.description).joined(separator: ", ") + "}"
        let name = matchers.first { $0.name == Labels.nameLabel && $0.operation == .equal }?.value
        let found: [SeriesColumns] = contents.withLock { contents in
            (name.map { contents.metrics[ByteText($0)] ?? [] } ?? Array(contents.series.indices)).compactMap { index in
                contents.series[index].columns(
                    matchers, after: after.milliseconds, through: through.milliseconds, reading)
            }
        }
        guard found.count <= limits.series else { throw .tooManySeries(limit: limits.series, selector: told) }
        guard found.reduce(0, { $0 + $1.times.count }) <= limits.samples else {
            throw .tooManySamples(limit: limits.samples, selector: told)
        }
        return found
    }

    /// The labels of all series that one of the matcher lists matches.
    public func series(
        _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [Labels] {
        contents.withLock { contents in
            contents.series.filter { series in
                (matchers.isEmpty || matchers.contains { $0.allSatisfy { $0.matches(series.labels) } })
                    && series.times.contains { $0 >= from.milliseconds && $0 <= through.milliseconds }
            }.map(\.labels)
        }
    }

    /// The names of their labels, sorted.
    public func labelNames(
        _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String] {
        try series(matchers, from: from, through: through).flatMap { $0.sorted.map(\.name) }.sortedUnique()
    }

    /// The values of one of their labels, sorted.
    public func labelValues(
        _ name: String, _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String] {
        try series(matchers, from: from, through: through).map { $0[name] }.filter { !$0.isEmpty }.sortedUnique()
    }
}

extension MemorySource.Series {
    enum Outcome { case stored, duplicate, outOfOrder }

    mutating func insert(_ time: Int64, _ value: Double) -> Outcome {
        if let last = times.last, time <= last {
            if let index = times.firstIndex(of: time) {
                let isSame = values[index].bitPattern == value.bitPattern
                values[index] = value
                return isSame ? .stored : .duplicate
            }
            let index = times.firstIndex { $0 > time } ?? times.endIndex
            times.insert(time, at: index)
            values.insert(value, at: index)
            return .outOfOrder
        }
        times.append(time)
        values.append(value)
        return .stored
    }

    func columns(_ matchers: [Matcher], after: Int64, through: Int64, _ reading: Reading) -> SeriesColumns? {
        guard matchers.allSatisfy({ $0.matches(labels) }) else { return nil }
        let end = times.partition { $0 > through }
        let start = reading == .newest ? max(0, end - 1) : times.partition { $0 > after }
        guard start < end, times[start] > after else { return nil }
        let times = Array(times[start..<end])
        return SeriesColumns(
            labels: labels, times: times, values: Array(values[start..<end]),
            starts: starts.isEmpty ? [] : times.map { starts[$0] ?? 0 })
    }
}

extension [Int64] {
    /// The first place where `isBehind` holds; it holds for all places behind it.
    fileprivate func partition(_ isBehind: (Int64) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
