internal import Basics
internal import Model

/// Which blocks to make one of next: those that overlap, those with many deletions, then those that fill a longer
/// span, three of the level below: 2 h, 6 h, 18 h, 54 h, … up to a tenth of the retention, at most 31 days.
///
/// - SeeAlso: Prometheus, `tsdb/compact.go`.
struct CompactionPlan {
    private let ranges: [Int64]
    /// More of a block's series than this with deletions: it is written anew.
    private static let deletedShare = 0.05

    init(retention: Milliseconds) {
        let most = max(Head.rangeLength, min(31 * 86_400_000, retention / 10))
        var ranges = [Head.rangeLength]
        while let last = ranges.last, last * 3 <= most { ranges.append(last * 3) }
        self.ranges = ranges
    }

    /// The blocks to merge, empty when there is nothing to do. `blocks` are sorted by their first time.
    func next(_ blocks: [Block]) -> [Block] {
        let overlapping = CompactionPlan.overlapping(blocks)
        if !overlapping.isEmpty { return overlapping }
        // The newest stays out of it for a while, so that it can be copied elsewhere as it is.
        let older = Array(blocks.dropLast())
        for range in ranges.dropFirst() {
            for group in groups(older, range) where group.count > 1 {
                guard let first = group.first?.meta.minTime, let last = group.map(\.meta.maxTime).max() else {
                    continue
                }
                let end = (first.flooringDivision(by: range) + 1) * range
                // A group with gaps is merged once nothing can come into it any more.
                if last - first == range || end <= blocks.last?.meta.minTime ?? .min { return group }
            }
        }
        return older.first { block in
            block.meta.series > 0
                && Double(block.tombstones.count) / Double(block.meta.series) > CompactionPlan.deletedShare
        }.map { [$0] } ?? []
    }

    private static func overlapping(_ blocks: [Block]) -> [Block] {
        var group: [Block] = []
        var end = Int64.min
        for block in blocks {
            if block.meta.minTime < end {
                group.append(block)
            } else {
                if group.count > 1 { return group }
                group = [block]
            }
            end = max(end, block.meta.maxTime)
        }
        return group.count > 1 ? group : []
    }

    /// Blocks by the span of a length that each lies in altogether.
    private func groups(_ blocks: [Block], _ range: Int64) -> [[Block]] {
        var groups: [Int64: [Block]] = [:]
        for block in blocks {
            let place = block.meta.minTime.flooringDivision(by: range)
            guard block.meta.maxTime <= (place + 1) * range else { continue }
            groups[place, default: []].append(block)
        }
        return groups.sorted { $0.key < $1.key }.map(\.value)
    }
}

/// Makes one block of several. Chunks are copied as they are, but where blocks overlap or samples were deleted.
/// Memory: the symbols, and a few thousand series of each block.
struct Compactor {
    let files: any FileSystem
    private static let slice = 2048

    /// One block's series, a slice at a time.
    private struct Cursor {
        let block: Block
        let stones: [UInt32: [ClosedRange<Int64>]]
        var ids: ArraySlice<UInt32>
        var series: ArraySlice<(id: UInt32, labels: Labels, chunks: [ChunkPlace])> = []

        mutating func fill() throws(BlockDefect) {
            while series.isEmpty, !ids.isEmpty {
                var slice: [(id: UInt32, labels: Labels, chunks: [ChunkPlace])] = []
                try block.index.eachSeries(Array(ids.prefix(Compactor.slice)), from: .min, through: .max) {
                    id, labels, chunks throws(BlockDefect) in
                    slice.append((id, labels, chunks))
                    return true
                }
                ids = ids.dropFirst(Compactor.slice)
                series = slice[...]
            }
        }
    }

    /// Writes the block; samples of a series before what `oldest` says of its labels are left out, where they fill
    /// chunks.
    func merge(
        _ blocks: [Block], into path: String, as ulid: ULID, headCut: Int64? = nil, oldest: ((Labels) -> Int64)?
    ) throws(BlockDefect) -> BlockMeta {
        var symbols: Set<ByteText> = []
        for block in blocks { symbols.formUnion(try block.index.allSymbols().map(ByteText.init)) }
        let metas = blocks.map(\.meta)
        var meta = BlockMeta(
            ulid: ulid, minTime: metas.map(\.minTime).min() ?? 0, maxTime: metas.map(\.maxTime).max() ?? 0)
        // A block that is only cleaned stays at its level.
        meta.level = (metas.map(\.level).max() ?? 0) + (blocks.count > 1 ? 1 : 0)
        meta.sources = Set(metas.flatMap(\.sources)).sorted()
        meta.parents = metas.map { BlockMeta.Parent(ulid: $0.ulid, minTime: $0.minTime, maxTime: $0.maxTime) }
        meta.isOutOfOrder = metas.allSatisfy(\.isOutOfOrder)
        meta.headCut = (metas.map(\.headCut) + [headCut]).compactMap { $0 }.max()
        var cursors: [Cursor] = []
        for block in blocks {
            cursors.append(
                Cursor(block: block, stones: block.tombstones, ids: try block.index.everything()[...]))
        }
        do throws(FileError) {
            var writer = try BlockWriter(
                directory: path, files: files, meta: meta, symbols: symbols.sorted().map(\.text))
            do throws(BlockDefect) {
                while let (labels, members) = try next(&cursors) {
                    let bound = oldest?(labels) ?? .min
                    let chunks = try chunks(of: members, cursors).filter { $0.lastTime >= bound }
                    do throws(FileError) { try writer.add(labels, chunks) } catch { throw BlockDefect(error) }
                }
            } catch {
                throw FileError(operation: "merge", path: error.text, code: 0)
            }
            return try writer.finish()
        } catch {
            throw error.operation == "merge" ? BlockDefect(error.path, "") : BlockDefect(error)
        }
    }

    private typealias Member = (cursor: Int, id: UInt32, chunks: [ChunkPlace])

    /// The first series in order that some block has, from all that have it.
    private func next(_ cursors: inout [Cursor]) throws(BlockDefect) -> (Labels, [Member])? {
        var first: Labels?
        for index in cursors.indices {
            try cursors[index].fill()
            guard let labels = cursors[index].series.first?.labels else { continue }
            if first.map({ labels < $0 }) ?? true { first = labels }
        }
        guard let first else { return nil }
        var members: [Member] = []
        for index in cursors.indices {
            guard let series = cursors[index].series.first, series.labels == first else { continue }
            cursors[index].series.removeFirst()
            members.append((index, series.id, series.chunks))
        }
        return (first, members)
    }

    private func chunks(of members: [Member], _ cursors: [Cursor]) throws(BlockDefect) -> [ChunkData] {
        var data: [ChunkData] = []
        var isPlain = true
        var gone: [(chunk: Int, ranges: [ClosedRange<Int64>])] = []
        for member in members {
            let stones = cursors[member.cursor].stones[member.id] ?? []
            var places = member.chunks[...]
            for range in readableRuns(Array(places)) {
                let run = try cursors[member.cursor].block.read(range)
                for chunk in run.chunks {
                    let place = places.removeFirst()
                    if !stones.isEmpty { gone.append((data.count, stones)) }
                    data.append(
                        ChunkData(
                            firstTime: place.firstTime, lastTime: place.lastTime, encoding: chunk.encoding,
                            bytes: Array(run.bytes[chunk.data])))
                }
            }
            if !stones.isEmpty { isPlain = false }
        }
        let isInOrder = zip(data, data.dropFirst()).allSatisfy { $0.lastTime < $1.firstTime }
        if isPlain, isInOrder { return data }
        var stones: [Int: [ClosedRange<Int64>]] = [:]
        for (chunk, ranges) in gone { stones[chunk] = ranges }
        // Chunks of native histograms are carried over as they are.
        var others: [ChunkData] = []
        var gatherer = ColumnGatherer()
        for (index, chunk) in data.enumerated() {
            guard chunk.encoding == BlockFormat.xor else {
                others.append(chunk)
                continue
            }
            gatherer.add(
                chunk.bytes + [UInt8](repeating: 0, count: ChunkArena.slack), 0..<chunk.bytes.count,
                without: stones[index] ?? [])
        }
        gatherer.settle()
        return (gatherer.chunks() + others).sorted { $0.firstTime < $1.firstTime }
    }
}
