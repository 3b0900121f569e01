internal import Basics
internal import Model

/// A chunk as it lies in a file.
struct ChunkData {
    var firstTime: Int64, lastTime: Int64
    var encoding = BlockFormat.xor
    var bytes: [UInt8]

    /// The number that its first two bytes tell.
    var sampleCount: Int { bytes.count < 2 ? 0 : Int(bytes[0]) << 8 | Int(bytes[1]) }
}

/// Writes a block's folder: series by series in the order of their labels, then `finish`.
///
/// Memory: the symbols, and eight bytes for each label of each series.
struct BlockWriter: ~Copyable {
    private let directory: String
    private let files: any FileSystem
    private var index: BufferedFile
    private var segment: BufferedFile?
    private var segmentNumber = 0
    /// The symbols' places, for who adds series by their labels.
    private var numbers: [ByteText: UInt32] = [:]
    private let seriesOffset: Int
    private var ids: [UInt32] = []
    /// For each label name, by its number: value and series, in one number.
    private var pairs: [UInt32: [UInt64]] = [:]
    private let symbols: [String]
    private var entry: [UInt8] = []
    private var chunkEntry: [UInt8] = []
    private let segmentBytes: Int
    /// What was written so far.
    private(set) var meta: BlockMeta

    /// - Parameters:
    ///   - directory: A folder that is not there yet.
    ///   - symbols: All label names and values, sorted by their bytes, each once; more than are used do no harm.
    init(
        directory: String, files: any FileSystem, meta: BlockMeta, symbols: [String],
        segmentBytes: Int = BlockFormat.chunkSegmentBytes
    ) throws(FileError) {
        try files.createDirectory("\(directory)/chunks")
        var index = BufferedFile(try files.open("\(directory)/index", .create))
        var header: [UInt8] = []
        header.appendBigEndian(BlockFormat.indexMagic)
        header.append(BlockFormat.indexVersion)
        try index.append(header)
        var section: [UInt8] = []
        section.appendBigEndian(UInt32(symbols.count))
        for symbol in symbols {
            section.appendUvarint(UInt64(symbol.utf8.count))
            section += symbol.utf8
        }
        try index.append(section.framed())
        seriesOffset = index.offset
        (self.directory, self.files, self.symbols, self.meta) = (directory, files, symbols, meta)
        self.index = index
        self.segmentBytes = segmentBytes
    }

    /// Adds a series, later in order than the one before; its chunks are sorted by time.
    mutating func add(_ labels: Labels, _ chunks: [ChunkData]) throws(FileError) {
        if numbers.isEmpty {
            for (number, symbol) in symbols.enumerated() { numbers[ByteText(symbol)] = UInt32(number) }
        }
        var ranks: [UInt32] = []
        ranks.reserveCapacity(2 * labels.count)
        for label in labels.sorted {
            guard let name = numbers[ByteText(label.name)], let value = numbers[ByteText(label.value)] else {
                preconditionFailure("a label without its symbols")
            }
            ranks += [name, value]
        }
        try add(ranks[...], chunks)
    }

    /// Adds a series by its labels' places among the symbols, a name and its value in turn.
    mutating func add(_ ranks: ArraySlice<UInt32>, _ chunks: [ChunkData]) throws(FileError) {
        guard !chunks.isEmpty else { return }
        try index.align(to: 16)
        let id = UInt32(index.offset / 16)
        entry.removeAll(keepingCapacity: true)
        entry.appendUvarint(UInt64(ranks.count / 2))
        for place in stride(from: ranks.startIndex, to: ranks.endIndex, by: 2) {
            let (name, value) = (ranks[place], ranks[place + 1])
            entry.appendUvarint(UInt64(name))
            entry.appendUvarint(UInt64(value))
            pairs[name, default: []].append(UInt64(value) << 32 | UInt64(id))
        }
        entry.appendUvarint(UInt64(chunks.count))
        var before: (end: Int64, reference: Int64)?
        for chunk in chunks {
            let reference = try write(chunk)
            if let before {
                entry.appendUvarint(UInt64(bitPattern: chunk.firstTime &- before.end))
                entry.appendUvarint(UInt64(bitPattern: chunk.lastTime &- chunk.firstTime))
                entry.appendVarint(reference &- before.reference)
            } else {
                entry.appendVarint(chunk.firstTime)
                entry.appendUvarint(UInt64(bitPattern: chunk.lastTime &- chunk.firstTime))
                entry.appendUvarint(UInt64(reference))
            }
            before = (chunk.lastTime, reference)
            meta.samples += chunk.sampleCount
        }
        var frame: [UInt8] = []
        frame.appendUvarint(UInt64(entry.count))
        frame += entry
        frame.appendBigEndian(CRC32C.of(entry))
        try index.append(frame)
        ids.append(id)
        meta.series += 1
        meta.chunks += chunks.count
    }

    private mutating func write(_ chunk: ChunkData) throws(FileError) -> Int64 {
        chunkEntry.removeAll(keepingCapacity: true)
        chunkEntry.appendUvarint(UInt64(chunk.bytes.count))
        let coded = chunkEntry.count
        chunkEntry.append(chunk.encoding)
        chunkEntry += chunk.bytes
        var code = CRC32C()
        unsafe code.add(chunkEntry.span.extracting(coded..<chunkEntry.count).bytes)
        chunkEntry.appendBigEndian(code.value)
        if (segment?.offset ?? segmentBytes) + chunkEntry.count > segmentBytes { try beginSegment() }
        let offset = segment?.offset ?? 0
        try segment?.append(chunkEntry)
        return Int64(segmentNumber - 1) << 32 | Int64(offset)
    }

    private mutating func beginSegment() throws(FileError) {
        if let old = segment.take() { try old.finish() }
        segmentNumber += 1
        let name = "\(directory)/chunks/\(BlockFormat.segmentName(segmentNumber))"
        var fresh = BufferedFile(try files.open(name, .create))
        var header: [UInt8] = []
        header.appendBigEndian(BlockFormat.chunksMagic)
        header += [1, 0, 0, 0]
        try fresh.append(header)
        segment = consume fresh
    }

    /// Writes what is left, and syncs all of it; answers the block's `meta.json`.
    consuming func finish() throws(FileError) -> BlockMeta {
        if let last = segment.take() { try last.finish() }
        var contents = [UInt64(5), UInt64(seriesOffset), 0, 0]
        try index.align(to: 4)
        contents.append(UInt64(index.offset))
        // The table, and the lists it leads to: all series, then by label.
        var table: [UInt8] = []
        var entries: UInt32 = 0
        try writeList(ids[...], name: "", value: "", &table)
        entries += 1
        for name in pairs.keys.sorted() {
            guard var list = pairs.removeValue(forKey: name) else { continue }
            list.sort()
            var start = 0
            while start < list.count {
                let value = UInt32(list[start] >> 32)
                var end = start
                while end < list.count, UInt32(list[end] >> 32) == value { end += 1 }
                let members = list[start..<end].map { UInt32(truncatingIfNeeded: $0) }
                try writeList(members[...], name: symbols[Int(name)], value: symbols[Int(value)], &table)
                entries += 1
                start = end
            }
        }
        contents.append(UInt64(index.offset))
        var section: [UInt8] = []
        section.appendBigEndian(entries)
        section += table
        try index.append(section.framed())
        var last: [UInt8] = []
        for offset in contents { last.appendBigEndian(offset) }
        last.appendBigEndian(CRC32C.of(last))
        try index.append(last)
        try index.finish()
        let (meta, directory, files) = (meta, directory, files)
        try TombstoneFile.write([:], to: "\(directory)/tombstones", files)
        let file = try files.open("\(directory)/meta.json", .create)
        try unsafe file.write(meta.json.serialized().span.bytes, at: 0)
        try file.synchronize()
        try files.synchronize(directory: "\(directory)/chunks")
        try files.synchronize(directory: directory)
        return meta
    }

    private mutating func writeList(
        _ ids: ArraySlice<UInt32>, name: String, value: String, _ table: inout [UInt8]
    ) throws(FileError) {
        try index.align(to: 4)
        table.append(2)
        for text in [name, value] {
            table.appendUvarint(UInt64(text.utf8.count))
            table += text.utf8
        }
        table.appendUvarint(UInt64(index.offset))
        var section: [UInt8] = []
        section.reserveCapacity(4 * ids.count + 12)
        section.appendBigEndian(UInt32(ids.count))
        for id in ids { section.appendBigEndian(id) }
        try index.append(section.framed())
    }
}

/// A block's deleted times, by series.
enum TombstoneFile {
    private static let version: UInt8 = 1

    static func write(
        _ ranges: [UInt32: [ClosedRange<Int64>]], to path: String, _ files: any FileSystem
    ) throws(FileError) {
        var content: [UInt8] = []
        for (id, times) in ranges.sorted(by: { $0.key < $1.key }) {
            for time in times {
                content.appendUvarint(UInt64(id))
                content.appendVarint(time.lowerBound)
                content.appendVarint(time.upperBound)
            }
        }
        var whole: [UInt8] = []
        whole.appendBigEndian(BlockFormat.tombstonesMagic)
        whole.append(version)
        whole += content
        whole.appendBigEndian(CRC32C.of(content))
        try files.replace(path, with: whole)
    }

    /// A block without such a file has none.
    static func read(_ path: String, _ files: any FileSystem) throws(BlockDefect) -> [UInt32: [ClosedRange<Int64>]] {
        let bytes: [UInt8]
        do throws(FileError) {
            guard try files.attributes(of: path) != nil else { return [:] }
            bytes = try files.contents(of: path, limit: 1 << 30)
        } catch {
            throw BlockDefect(error)
        }
        guard bytes.count >= 9, bytes.bigEndian(at: 0, as: UInt32.self) == BlockFormat.tombstonesMagic else {
            throw BlockDefect(path, "is no file of tombstones")
        }
        guard bytes[4] == version else { throw BlockDefect(path, at: 4, "version \(bytes[4]) is not known") }
        let content = Array(bytes[5..<bytes.count - 4])
        guard CRC32C.of(content) == bytes.bigEndian(at: bytes.count - 4, as: UInt32.self) else {
            throw BlockDefect(path, "the checksum is wrong")
        }
        var stones = Tombstones()
        var decoder = RecordDecoder(content, from: 0)
        while decoder.hasMore {
            let id = decoder.uvarint()
            let (first, last) = (decoder.varint(), decoder.varint())
            guard !decoder.isBroken, first <= last, id <= UInt64(UInt32.max) else {
                throw BlockDefect(path, at: decoder.offset + 5, "an entry makes no sense")
            }
            stones.add(first...last, to: Int(id))
        }
        return stones.ranges
    }
}
