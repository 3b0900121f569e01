public import Basics
public import Model
internal import Synchronization

/// One series in the head as it was found under the lock: its closed chunks, a copy of the open one, late samples.
struct HeadPart {
    var closed: [ClosedChunk] = []
    var open: [UInt8] = []
    var openCount = 0
    var newest: Sample?
    /// Times that were deleted, and yet may be in the chunks.
    var deleted: [ClosedRange<Int64>] = []
    var late: LateSamples?

    /// How many samples it has at the most.
    var bound: Int {
        newest == nil ? closed.reduce(openCount + (late?.times.count ?? 0)) { $0 + Int($1.sampleCount) } : 1
    }
}

/// Holds the head's chunks in memory while somebody reads them.
final class HeadReading: Sendable {
    private let store: SeriesStore
    /// Of a store whose `beginReading` was called.
    init(_ store: SeriesStore) { self.store = store }
    /// Tells of a chunk that cannot be read, once.
    func report(_ defect: BlockDefect) { store.reportOnce(defect) }
    deinit { store.head.withLock { $0.endReading() } }
}

/// What a selection found: the series in the head and in blocks, to be decoded one by one.
struct FoundSeries: SelectedSeries {
    struct One {
        var labels: Labels
        var head: HeadPart?
        var parts: [(block: Int, id: UInt32, chunks: [ChunkPlace])] = []
    }

    let after: Int64, through: Int64
    let reading: Reading
    let directory: String
    let headFiles: [Int: any File]
    let blocks: [Block]
    let tombstones: [[UInt32: [ClosedRange<Int64>]]]
    let token: HeadReading
    let series: [One]
    private static let usualSamples = 120

    var count: Int { series.count }
    func labels(of index: Int) -> Labels { series[index].labels }

    func bound(of index: Int) -> Int {
        let one = series[index]
        if reading == .newest { return 1 }
        return one.parts.reduce(one.head?.bound ?? 0) { $0 + $1.chunks.count * FoundSeries.usualSamples }
    }

    func columns(of index: Int) throws(SourceError) -> SeriesColumns {
        let one = series[index]
        var gatherer = ColumnGatherer()
        gatherer.reserve(bound(of: index))
        for part in one.parts {
            let gone = tombstones[part.block][part.id] ?? []
            do throws(BlockDefect) {
                try gatherer.add(part.chunks, of: blocks[part.block], after: after, through: through, without: gone)
            } catch {
                // The block is not served any more; the rest is.
                blocks[part.block].report(error)
            }
        }
        if let head = one.head {
            gatherer.add(head, after: after, through: through, directory: directory, headFiles) { token.report($0) }
        }
        gatherer.settle()
        if reading == .newest, let time = gatherer.times.last, let value = gatherer.values.last {
            return SeriesColumns(labels: one.labels, times: [time], values: [value])
        }
        return SeriesColumns(labels: one.labels, times: gatherer.times, values: gatherer.values)
    }
}

/// Finds the series of one block among those found so far. Blocks hold mostly the same series in the same order, so
/// the next one is looked for behind the last; only where it is not are labels hashed.
private struct PlaceFinder {
    /// By labels, once something was not where it was expected.
    private var places: [Labels: Int]?
    /// The places of the series of the block before and of this one, in their order.
    private var before: [Int] = []
    private var here: [Int] = []
    private var cursor = 0

    /// Goes on with another block.
    mutating func begin() {
        if !here.isEmpty { before = here }
        here.removeAll(keepingCapacity: true)
        cursor = 0
    }

    /// Where the series is; the number of all where it is new, and is to be appended.
    mutating func place(of labels: Labels, in series: [FoundSeries.One]) -> Int {
        let place = find(labels, series)
        here.append(place)
        return place
    }

    private mutating func find(_ labels: Labels, _ series: [FoundSeries.One]) -> Int {
        // Of the first block alone every series is new.
        if here.count == series.count, before.isEmpty, places == nil { return series.count }
        for ahead in cursor..<min(cursor + 2, before.count) where series[before[ahead]].labels == labels {
            cursor = ahead + 1
            return before[ahead]
        }
        if places == nil {
            var all: [Labels: Int] = [:]
            all.reserveCapacity(series.count)
            for (place, one) in series.enumerated() { all[one.labels] = place }
            places = all
        }
        if let place = places?[labels] { return place }
        places?[labels] = series.count
        return series.count
    }
}

extension ColumnGatherer {
    /// The chunks of a series in a block. Chunks of native histograms are passed over.
    mutating func add(
        _ places: [ChunkPlace], of block: Block, after: Int64, through: Int64, without gone: [ClosedRange<Int64>]
    ) throws(BlockDefect) {
        for range in readableRuns(places) {
            let run = try block.read(range)
            for chunk in run.chunks where chunk.encoding == BlockFormat.xor {
                add(run.bytes, chunk.data, after: after, through: through, without: gone)
            }
        }
    }

    /// What a series has in the head; a chunk that cannot be read is told to `broken` and left out.
    mutating func add<Failure: Error>(
        _ head: HeadPart, after: Int64, through: Int64, directory: String, _ files: [Int: any File],
        broken: (BlockDefect) throws(Failure) -> Void
    ) throws(Failure) {
        if let newest = head.newest { return add([newest.timestamp.milliseconds], [newest.value]) }
        for chunk in head.closed {
            if let place = chunk.storedPlace {
                guard let file = files[Int(place >> 32)] else { continue }
                let found: (bytes: [UInt8], data: Range<Int>)
                do throws(BlockDefect) { found = try HeadChunkFiles.read(chunk, in: file, directory: directory) } catch
                {
                    try broken(error)
                    continue
                }
                add(found.bytes, found.data, after: after, through: through, without: head.deleted)
            } else if let bytes = unsafe chunk.bytes {
                unsafe add(
                    bytes, Int(chunk.byteCount), samples: Int(chunk.sampleCount), after: after, through: through,
                    without: head.deleted)
            }
        }
        unsafe head.open.withUnsafeBufferPointer { bytes in
            guard !bytes.isEmpty, let base = bytes.baseAddress else { return }
            // An open chunk does not tell its number of samples yet.
            unsafe add(
                base, bytes.count - ChunkArena.slack, samples: head.openCount, after: after, through: through,
                without: head.deleted)
        }
        if let late = head.late {
            let range = late.indices(after: after, through: through)
            add(late.times[range], late.values[range])
        }
    }
}

extension SeriesStore: SampleSource {
    /// See `SampleSource`. The lock is held while the head's chunks are listed and open ones copied; blocks are read
    /// and everything is decoded outside of it.
    public func find(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> any SelectedSeries {
        try findSeries(matchers, after: after, through: through, reading: reading, limits: limits)
    }

    func findSeries(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> FoundSeries {
        let (from, to) = (after.milliseconds, through.milliseconds)
        // The head first: what is cut from it meanwhile is found twice, and not missed.
        let found = head.withLock { head -> Result<[FoundSeries.One], SourceError> in
            let slots = head.index.select(matchers)
            var found: [FoundSeries.One] = []
            for slot in slots.map(Int.init) {
                if let part = head.part(slot, after: from, through: to, reading: reading) {
                    found.append(FoundSeries.One(labels: head.labels(at: slot), head: part))
                }
                if found.count > limits.series {
                    return .failure(.tooManySeries(limit: limits.series, selector: SeriesStore.text(matchers)))
                }
            }
            head.beginReading()
            return .success(found)
        }
        var series = try found.get()
        let token = HeadReading(self)
        let headFiles = chunkFiles.open
        let blocks = shelf.blocks.filter { $0.overlaps(from == .max ? from : from + 1, to) }
        var finder = PlaceFinder()
        var isTooMany = false
        for (number, block) in blocks.enumerated() {
            finder.begin()
            do throws(BlockDefect) {
                try block.index.eachSeries(try block.index.select(matchers), from: from + 1, through: to) {
                    id, labels, chunks throws(BlockDefect) in
                    let place = finder.place(of: labels, in: series)
                    if place == series.count {
                        series.append(FoundSeries.One(labels: labels, head: nil, parts: [(number, id, chunks)]))
                    } else {
                        series[place].parts.append((number, id, chunks))
                    }
                    isTooMany = series.count > limits.series
                    return !isTooMany
                }
            } catch {
                block.report(error)
            }
            if isTooMany { throw .tooManySeries(limit: limits.series, selector: SeriesStore.text(matchers)) }
        }
        return FoundSeries(
            after: from, through: to, reading: reading, directory: directory, headFiles: headFiles, blocks: blocks,
            tombstones: blocks.map(\.tombstones), token: token, series: series)
    }

    /// See `SampleSource`.
    public func select(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> [SeriesColumns] {
        let found = try findSeries(matchers, after: after, through: through, reading: reading, limits: limits)
        var result: [SeriesColumns] = []
        result.reserveCapacity(found.count)
        var samples = 0
        for index in 0..<found.count {
            let columns = try found.columns(of: index)
            guard !columns.times.isEmpty else { continue }
            samples += columns.times.count
            guard samples <= limits.samples else {
                throw .tooManySamples(limit: limits.samples, selector: SeriesStore.text(matchers))
            }
            result.append(columns)
        }
        return result
    }

    private static func text(_ matchers: [Matcher]) -> String {
        let name = matchers.first { $0.name == Labels.nameLabel && $0.operation == .equal }
        let rest = matchers.filter { $0 != name }.map(\.description)
        return (name?.value ?? "") + (rest.isEmpty && name != nil ? "" : "{\(rest.joined(separator: ","))}")
    }

    // MARK: Series and labels

    /// Walks over the blocks that overlap a time; one that cannot be read is set aside.
    private func eachBlock(
        _ from: Timestamp, _ through: Timestamp, _ body: (Block) throws(BlockDefect) -> Void
    ) {
        for block in shelf.blocks where block.overlaps(from.milliseconds, through.milliseconds) {
            do throws(BlockDefect) { try body(block) } catch { block.report(error) }
        }
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
        let inHead = head.withLock { head in
            slots(matchers, head, from, through).map { head.labels(at: $0) }
        }
        var all = Set(inHead)
        let (lower, upper) = (from.milliseconds, through.milliseconds)
        eachBlock(from, through) { block throws(BlockDefect) in
            var lists: [[UInt32]] = []
            for list in matchers { lists.append(try block.index.select(list)) }
            let ids = matchers.isEmpty ? try block.index.everything() : SortedLists.merge(lists)
            let stones = block.tombstones
            try block.index.eachSeries(ids, from: lower, through: upper) { id, labels, chunks throws(BlockDefect) in
                let gone = stones[id] ?? []
                if !chunks.allSatisfy({ gone.covers($0.firstTime, $0.lastTime) }) { all.insert(labels) }
                return true
            }
        }
        return all.sorted()
    }

    /// See `SampleSource`.
    public func labelNames(
        _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String] {
        var names: [String]
        if matchers.isEmpty {
            names = head.withLock { $0.index.labelNames }
            eachBlock(from, through) { block throws(BlockDefect) in names += try block.index.labelNames }
        } else {
            names = try series(matchers, from: from, through: through).flatMap { $0.sorted.map(\.name) }
        }
        return names.sortedUnique()
    }

    /// See `SampleSource`.
    public func labelValues(
        _ name: String, _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String] {
        var values: [String]
        if matchers.isEmpty {
            values = head.withLock { $0.index.labelValues(name) }
            eachBlock(from, through) { block throws(BlockDefect) in
                values += try block.index.labelValues(name)
            }
        } else {
            values = try series(matchers, from: from, through: through).map { $0[name] }
        }
        return values.filter { !$0.isEmpty }.sortedUnique()
    }
}

extension Head {
    /// Whether a late sample is newer than what came in order: that was cut, or never was.
    private func holdsLater(_ slot: Int, after: Int64, through: Int64) -> Bool {
        guard let late = lateSamples(of: UInt32(slot)) else { return false }
        return !late.indices(after: after, through: through).isEmpty
    }

    /// What a series has in `(after, through]`; nil without anything.
    func part(_ slot: Int, after: Int64, through: Int64, reading: Reading) -> HeadPart? {
        let entry = series[slot]
        let deleted = deleted[slot]
        // What was let go is known by its time yet; its sample is in a block, or was deleted there.
        if reading == .newest, !entry.open.isEmpty || entry.firstClosed != 0, entry.lastTime <= through,
            !deleted.holds(entry.lastTime),
            !holdsLater(slot, after: entry.lastTime, through: through)
        {
            guard entry.lastTime > after else { return nil }
            return HeadPart(newest: Sample(Timestamp(milliseconds: entry.lastTime), entry.lastValue))
        }
        var part = HeadPart(deleted: deleted)
        if entry.firstClosed != 0 { part.closed = closedChunks(of: slot, after: after, through: through) }
        if !entry.open.isEmpty, entry.open.firstTime <= through, entry.lastTime > after,
            let bytes = unsafe entry.open.bytes
        {
            // The slack behind the last byte is copied too: the decoder reads whole words.
            unsafe part.open = Array(
                UnsafeBufferPointer(start: bytes, count: entry.open.byteCount + ChunkArena.slack))
            part.openCount = Int(entry.open.sampleCount)
        }
        if let late = lateSamples(of: UInt32(slot)), !late.indices(after: after, through: through).isEmpty {
            part.late = late
        }
        guard !part.closed.isEmpty || !part.open.isEmpty || part.late != nil else { return nil }
        return part
    }
}
