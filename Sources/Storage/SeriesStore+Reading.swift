public import Basics
public import Model
internal import Synchronization

extension SeriesStore: SampleSource {
    /// One series as it was found under the lock: its closed chunks, and a copy of the open one.
    struct Found {
        var labels: Labels
        var closed: [ClosedChunk]
        var open: [UInt8]
        var openCount: Int
        var newest: Sample?
        /// Times that were deleted, and yet may be in the chunks.
        var deleted: [ClosedRange<Int64>] = []
    }

    /// See `SampleSource`. The lock is held while chunks are listed and open ones copied; decoding is outside of it.
    public func select(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> [SeriesColumns] {
        let (from, to) = (after.milliseconds, through.milliseconds)
        let found = head.withLock { head -> Result<[Found], SourceError> in
            let slots = head.index.select(matchers)
            var found: [Found] = []
            for slot in slots.map(Int.init) {
                if let one = SeriesStore.find(slot, in: head, after: from, through: to, reading: reading) {
                    found.append(one)
                }
                if found.count > limits.series {
                    return .failure(.tooManySeries(limit: limits.series, selector: SeriesStore.text(matchers)))
                }
            }
            head.beginReading()
            return .success(found)
        }
        let series = try found.get()
        defer { head.withLock { $0.endReading() } }
        var result: [SeriesColumns] = []
        result.reserveCapacity(series.count)
        var samples = 0
        for one in series {
            guard let columns = SeriesStore.decode(one, after: from, through: to, newestOnly: reading == .newest) else {
                continue
            }
            samples += columns.times.count
            guard samples <= limits.samples else {
                throw .tooManySamples(limit: limits.samples, selector: SeriesStore.text(matchers))
            }
            result.append(columns)
        }
        return result
    }

    static func find(
        _ slot: Int, in head: borrowing Head, after: Int64, through: Int64, reading: Reading
    ) -> Found? {
        let entry = head.series[slot]
        let deleted = head.deleted[slot]
        if reading == .newest, entry.lastTime <= through, !deleted.holds(entry.lastTime) {
            guard entry.lastTime > after else { return nil }
            let newest = Sample(Timestamp(milliseconds: entry.lastTime), entry.lastValue)
            return Found(labels: head.labels(at: slot), closed: [], open: [], openCount: 0, newest: newest)
        }
        let closed = entry.firstClosed == 0 ? [] : head.closedChunks(of: slot, after: after, through: through)
        var open: [UInt8] = []
        if !entry.open.isEmpty, entry.open.firstTime <= through, entry.lastTime > after,
            let bytes = unsafe entry.open.bytes
        {
            // The slack behind the last byte is copied too: the decoder reads whole words.
            unsafe open = Array(UnsafeBufferPointer(start: bytes, count: entry.open.byteCount + ChunkArena.slack))
        }
        guard !closed.isEmpty || !open.isEmpty else { return nil }
        return Found(
            labels: head.labels(at: slot), closed: closed, open: open, openCount: Int(entry.open.sampleCount),
            newest: nil, deleted: deleted)
    }

    static func decode(_ found: Found, after: Int64, through: Int64, newestOnly: Bool) -> SeriesColumns? {
        if let newest = found.newest {
            return SeriesColumns(labels: found.labels, times: [newest.timestamp.milliseconds], values: [newest.value])
        }
        let capacity = found.closed.reduce(found.openCount) { $0 + Int($1.sampleCount) }
        var times: [Int64] = []
        var values = unsafe [Double](unsafeUninitializedCapacity: capacity) { values, written in
            unsafe times = [Int64](unsafeUninitializedCapacity: capacity) { times, count in
                guard let times = times.baseAddress, let values = values.baseAddress else { return }
                // Safe: there is room for the samples of all the chunks, and none gives more than it says to hold.
                for chunk in found.closed {
                    let decoder = unsafe ChunkDecoder(
                        bytes: chunk.bytes, byteCount: Int(chunk.byteCount), sampleCount: Int(chunk.sampleCount))
                    count += unsafe decoder.copy(
                        after: after, through: through, times: times + count, values: values + count)
                }
                unsafe found.open.withUnsafeBufferPointer { bytes in
                    guard !bytes.isEmpty, let base = bytes.baseAddress else { return }
                    let decoder = unsafe ChunkDecoder(
                        bytes: base, byteCount: bytes.count - ChunkArena.slack, sampleCount: found.openCount)
                    count += unsafe decoder.copy(
                        after: after, through: through, times: times + count, values: values + count)
                }
            }
            written = times.count
        }
        if !found.deleted.isEmpty {
            let kept = times.indices.filter { !found.deleted.holds(times[$0]) }
            (times, values) = (kept.map { times[$0] }, kept.map { values[$0] })
        }
        guard let last = times.last else { return nil }
        if newestOnly { (times, values) = ([last], [values[values.count - 1]]) }
        return SeriesColumns(labels: found.labels, times: times, values: values)
    }

    private static func text(_ matchers: [Matcher]) -> String {
        let name = matchers.first { $0.name == Labels.nameLabel && $0.operation == .equal }
        let rest = matchers.filter { $0 != name }.map(\.description)
        return (name?.value ?? "") + (rest.isEmpty && name != nil ? "" : "{\(rest.joined(separator: ","))}")
    }

    private func slots(_ matchers: [[Matcher]], _ head: borrowing Head, _ from: Timestamp, _ through: Timestamp)
        -> [Int]
    {
        var slots: Set<UInt32> = []
        if matchers.isEmpty { slots = Set(head.index.slots) }
        for list in matchers { slots.formUnion(head.index.select(list)) }
        var kept: [Int] = []
        for slot in slots where head.overlaps(Int(slot), from: from.milliseconds, through: through.milliseconds) {
            kept.append(Int(slot))
        }
        return kept
    }

    /// See `SampleSource`.
    public func series(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) throws(SourceError) -> [Labels] {
        head.withLock { head in
            slots(matchers, head, from, through).map { head.labels(at: $0) }
        }.sorted()
    }

    /// See `SampleSource`.
    public func labelNames(
        _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String] {
        if matchers.isEmpty { return head.withLock { $0.index.labelNames }.sorted { $0.isBefore($1) } }
        let names = try series(matchers, from: from, through: through).flatMap { $0.sorted.map(\.name) }
        return Set(names).sorted { $0.isBefore($1) }
    }

    /// See `SampleSource`.
    public func labelValues(
        _ name: String, _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String] {
        if matchers.isEmpty { return head.withLock { $0.index.labelValues(name) }.sorted { $0.isBefore($1) } }
        let values = try series(matchers, from: from, through: through).map { $0[name] }
        return Set(values).filter { !$0.isEmpty }.sorted { $0.isBefore($1) }
    }
}
