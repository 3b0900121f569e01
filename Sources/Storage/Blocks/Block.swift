internal import Basics
internal import Model
internal import Synchronization

/// A block that is served: its index, its segments of chunks, its deleted times.
///
/// Chunks are read, not mapped into memory: a disk that vanishes is then an error that is told, where a map would end
/// the process, and what queries have read once does not stay in the process's memory.
final class Block: Sendable {
    let meta: BlockMeta
    let directory: String
    private let files: any FileSystem
    private let opened = Mutex<Contents?>(nil)
    private let stones: Mutex<[UInt32: [ClosedRange<Int64>]]>
    private let found: Mutex<BlockDefect?>
    /// All its files, in bytes.
    let bytes: Int

    private struct Contents {
        var index: IndexReader
        var segments: [(file: any File, size: Int)]
    }

    /// Reads who a block is and what was deleted in it; its index and its chunks are opened when they are asked for, so
    /// that a long history holds up no start.
    init(directory: String, files: any FileSystem) throws(BlockDefect) {
        (self.directory, self.files) = (directory, files)
        let path = "\(directory)/meta.json"
        let content: [UInt8]
        do throws(FileError) {
            content = try files.contents(of: path, limit: 64 << 20)
            bytes = try files.treeBytes(directory)
        } catch {
            throw BlockDefect(error)
        }
        meta = try BlockMeta(parsing: content, file: path)
        stones = Mutex(try TombstoneFile.read("\(directory)/tombstones", files))
        found = Mutex(nil)
    }

    /// The index; the codes of its tables are checked when it is opened, those of lists and series when they are read.
    var index: IndexReader { get throws(BlockDefect) { try contents.index } }

    private var contents: Contents {
        get throws(BlockDefect) {
            if let open = opened.withLock({ $0 }) { return open }
            let index = try IndexReader(path: "\(directory)/index", files: files)
            var segments: [(file: any File, size: Int)] = []
            do {
                for name in try files.list("\(directory)/chunks") {
                    guard let number = Int(name) else { continue }
                    // Chunks are told by the number of their segment.
                    guard number == segments.count + 1 else {
                        let missing = BlockFormat.segmentName(segments.count + 1)
                        throw BlockDefect("\(directory)/chunks/\(missing)", "is missing, before \(name)")
                    }
                    let file = try files.open("\(directory)/chunks/\(name)", .read)
                    segments.append((file, try file.size()))
                }
            } catch let error as FileError {
                throw BlockDefect(error)
            } catch {
                throw error as? BlockDefect ?? BlockDefect(directory, "\(error)")
            }
            for (number, segment) in segments.enumerated() { try check(segment.file, number: number + 1) }
            let fresh = Contents(index: index, segments: segments)
            opened.withLock { $0 = fresh }
            return fresh
        }
    }

    private func check(_ segment: any File, number: Int) throws(BlockDefect) {
        let name = "\(directory)/chunks/\(BlockFormat.segmentName(number))"
        let header: [UInt8]
        do throws(FileError) { header = try segment.read(at: 0, count: 8) } catch { throw BlockDefect(error) }
        guard header.count == 8, header.bigEndian(at: 0, as: UInt32.self) == BlockFormat.chunksMagic else {
            throw BlockDefect(name, "is no segment of chunks")
        }
        guard header[4] == 1 else {
            throw BlockDefect(name, at: 4, "version \(header[4]) is not known; a newer version of its writer reads it")
        }
    }

    /// What was found wrong while it was read; it is not served any more then.
    var defect: BlockDefect? { found.withLock { $0 } }
    func report(_ defect: BlockDefect) { found.withLock { if $0 == nil { $0 = defect } } }

    /// The times that are deleted, by series.
    var tombstones: [UInt32: [ClosedRange<Int64>]] { stones.withLock { $0 } }

    /// Whether it has samples in `[from, through]`, by its bounds.
    func overlaps(_ from: Int64, _ through: Int64) -> Bool { meta.minTime <= through && meta.maxTime > from }

    /// Deletes the samples of matching series in `[from, through]`; durable when it returns. How many series had any.
    func delete(_ matchers: [Matcher], from: Int64, through: Int64, _ files: any FileSystem) throws(BlockDefect) -> Int
    {
        var additions: [(UInt32, ClosedRange<Int64>)] = []
        try index.eachSeries(try index.select(matchers), from: from, through: through) {
            id, _, chunks throws(BlockDefect) in
            let lower = max(from, chunks[0].firstTime)
            let upper = min(through, chunks[chunks.count - 1].lastTime)
            if lower <= upper { additions.append((id, lower...upper)) }
            return true
        }
        guard !additions.isEmpty else { return 0 }
        var table = Tombstones(tombstones)
        for (id, range) in additions { table.add(range, to: Int(id)) }
        do throws(FileError) {
            try TombstoneFile.write(table.ranges, to: "\(directory)/tombstones", files)
        } catch {
            throw BlockDefect(error)
        }
        stones.withLock { $0 = table.ranges }
        return additions.count
    }

    // MARK: Chunks

    /// The bytes of neighbouring chunks, read at once: each chunk is in `bytes` at its place, checked.
    struct Run {
        var bytes: [UInt8]
        var chunks: [(encoding: UInt8, data: Range<Int>)]
    }

    /// Chunks lie one behind the other as a series was written, so one read mostly fetches all of them.
    func read(_ places: ArraySlice<ChunkPlace>) throws(BlockDefect) -> Run {
        guard let first = places.first, let last = places.last else { return Run(bytes: [], chunks: []) }
        var run = Run(bytes: [], chunks: [])
        run.chunks.reserveCapacity(places.count)
        let start = first.offset
        try fetch(&run, segment: first.segment, start, count: last.offset - start + Block.longestChunk)
        for place in places {
            run.chunks.append(try locate(place, in: &run, from: start))
        }
        return run
    }

    /// Longer chunks than this are read again.
    private static let longestChunk = 1100

    private func fetch(_ run: inout Run, segment: Int, _ start: Int, count: Int) throws(BlockDefect) {
        let segments = try contents.segments
        guard segments.indices.contains(segment), start >= BlockFormat.headerBytes, start < segments[segment].size
        else {
            throw BlockDefect("\(directory)/index", "a chunk is said to lie at byte \(start) of segment \(segment + 1)")
        }
        do throws(FileError) {
            run.bytes = try segments[segment].file.read(
                at: start, count: min(count, segments[segment].size - start) + ChunkArena.slack)
        } catch {
            throw BlockDefect(error)
        }
    }

    private func locate(_ place: ChunkPlace, in run: inout Run, from start: Int) throws(BlockDefect)
        -> (encoding: UInt8, data: Range<Int>)
    {
        let name = "\(directory)/chunks/\(BlockFormat.segmentName(place.segment + 1))"
        for _ in 0..<2 {
            var decoder = RecordDecoder(run.bytes, from: place.offset - start)
            let length = decoder.uvarint()
            guard !decoder.isBroken, length < 1 << 20 else {
                throw BlockDefect(name, at: place.offset, "a chunk's length makes no sense")
            }
            let data = decoder.offset + 1..<decoder.offset + 1 + Int(length)
            guard data.upperBound + 4 <= run.bytes.count else {
                let (before, wanted) = (run.bytes.count, data.upperBound + 4)
                try fetch(&run, segment: place.segment, start, count: wanted)
                guard run.bytes.count > before, run.bytes.count >= wanted else { break }
                continue
            }
            var code = CRC32C()
            unsafe code.add(run.bytes.span.extracting(data.lowerBound - 1..<data.upperBound).bytes)
            guard code.value == run.bytes.bigEndian(at: data.upperBound, as: UInt32.self) else {
                throw BlockDefect(name, at: place.offset, "a chunk's checksum is wrong")
            }
            if data.upperBound + ChunkArena.slack > run.bytes.count {
                run.bytes += repeatElement(0, count: ChunkArena.slack)
            }
            return (run.bytes[data.lowerBound - 1], data)
        }
        throw BlockDefect(name, at: place.offset, "a chunk is cut short")
    }
}

extension Tombstones {
    init(_ ranges: [UInt32: [ClosedRange<Int64>]]) {
        self.init()
        for (id, list) in ranges { for range in list { add(range, to: Int(id)) } }
    }
}

/// Runs of places that one read fetches: of one segment, ascending, without long gaps between them.
func readableRuns(_ places: [ChunkPlace]) -> [ArraySlice<ChunkPlace>] {
    var runs: [ArraySlice<ChunkPlace>] = []
    var start = 0
    for index in places.indices.dropFirst() {
        let (before, here) = (places[index - 1], places[index])
        let isNear =
            before.segment == here.segment && here.offset > before.offset && here.offset - before.offset < 8192
            && here.offset - places[start].offset < 1 << 20
        if !isNear {
            runs.append(places[start..<index])
            start = index
        }
    }
    if start < places.count { runs.append(places[start...]) }
    return runs
}
