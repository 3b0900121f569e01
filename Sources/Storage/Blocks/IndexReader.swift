internal import Basics
internal import Model
internal import Synchronization

/// A chunk of a series in a block: its times and where it lies, the segment's number and the offset in it.
struct ChunkPlace: Hashable {
    var firstTime: Int64, lastTime: Int64
    var reference: UInt64

    var segment: Int { Int(reference >> 32) }
    var offset: Int { Int(reference & 0xFFFF_FFFF) }
}

/// Reads a block's index. Of its two sorted tables every 32nd entry is in memory; the rest is read when it is asked
/// for, so that a vanished disk is an error and not the end of the process, as it would be with a memory map.
///
///     magic u32 | version u8 | symbols | series… | lists… | table of lists | six offsets and their code
///     symbols  = length u32 | number u32 | (length uvarint | text)… | crc u32
///     series   = length uvarint | labels uvarint | (name, value uvarint)… | chunks uvarint | … | crc u32, at 16 bytes
///     list     = length u32 | number u32 | (series u32)… | crc u32
///     table    = length u32 | number u32 | (2 | name | value | offset uvarint)… | crc u32
///
/// - SeeAlso: Prometheus, `tsdb/docs/format/index.md`.
final class IndexReader: Sendable {
    private struct TableEntry {
        var name: String, value: String
        /// Where it begins.
        var offset: Int
    }

    private struct Symbols {
        var known: [UInt32: String] = [:]
    }

    let path: String
    private let file: any File
    private let size: Int
    private let symbolCount: Int
    /// Where every 32nd symbol begins, and where they end.
    private let symbolOffsets: [Int]
    private let table: [TableEntry]
    private let tableEnd: Int
    /// The names of labels, sorted, each with the places in `table` that its first and last values stand at or before.
    private let names: [String]
    private let symbols = Mutex(Symbols())
    private static let symbolsKept = 1 << 16

    /// Opens an index and checks its tables' codes. Cost: one reading of them.
    init(path: String, files: any FileSystem) throws(BlockDefect) {
        self.path = path
        do throws(FileError) {
            file = try files.open(path, .read)
            size = try file.size()
        } catch {
            throw BlockDefect(error)
        }
        guard size >= 5 + BlockFormat.contentsBytes else { throw BlockDefect(path, "is cut short") }
        let header = try IndexReader.read(file, path, 0, 5)
        guard header.bigEndian(at: 0, as: UInt32.self) == BlockFormat.indexMagic else {
            throw BlockDefect(path, "is no index")
        }
        guard header[4] == BlockFormat.indexVersion else {
            throw BlockDefect(path, at: 4, "version \(header[4]) is not known; a newer version of its writer reads it")
        }
        let start = size - BlockFormat.contentsBytes
        let contents = try IndexReader.read(file, path, start, BlockFormat.contentsBytes)
        guard CRC32C.of(Array(contents.dropLast(4))) == contents.bigEndian(at: 48, as: UInt32.self) else {
            throw BlockDefect(path, at: start, "the checksum of the table of contents is wrong")
        }
        let offsets = [0, 40].map { contents.bigEndian(at: $0, as: UInt64.self) }
        guard offsets.allSatisfy({ $0 < UInt64(start) }) else {
            throw BlockDefect(path, at: start, "the table of contents makes no sense")
        }
        (symbolOffsets, symbolCount) = try IndexReader.scanSymbols(file, path, size, Int(offsets[0]))
        (table, tableEnd) = try IndexReader.scanTable(file, path, size, Int(offsets[1]))
        var names: [String] = []
        for entry in table where !entry.name.isEmpty && !(names.last?.isSame(as: entry.name) ?? false) {
            names.append(entry.name)
        }
        self.names = names
    }

    // MARK: Opening

    private static func read(_ file: any File, _ path: String, _ offset: Int, _ count: Int) throws(BlockDefect)
        -> [UInt8]
    {
        let bytes: [UInt8]
        do throws(FileError) { bytes = try file.read(at: offset, count: count) } catch { throw BlockDefect(error) }
        guard bytes.count == count else { throw BlockDefect(path, at: offset, "is cut short") }
        return bytes
    }

    /// A section of length, content and code; its content.
    private static func section(_ file: any File, _ path: String, _ size: Int, at offset: Int) throws(BlockDefect)
        -> [UInt8]
    {
        guard offset >= 5, offset + 8 <= size else { throw BlockDefect(path, at: offset, "is cut short") }
        let count = Int(try read(file, path, offset, 4).bigEndian(at: 0, as: UInt32.self))
        guard offset + 8 + count <= size else { throw BlockDefect(path, at: offset, "a section is cut short") }
        var content = try read(file, path, offset + 4, count + 4)
        let code = content.bigEndian(at: count, as: UInt32.self)
        content.removeLast(4)
        guard CRC32C.of(content) == code else { throw BlockDefect(path, at: offset, "a checksum is wrong") }
        return content
    }

    private static func scanSymbols(_ file: any File, _ path: String, _ size: Int, _ start: Int) throws(BlockDefect)
        -> ([Int], Int)
    {
        let content = try section(file, path, size, at: start)
        guard content.count >= 4 else { throw BlockDefect(path, at: start, "the symbols are cut short") }
        let count = Int(content.bigEndian(at: 0, as: UInt32.self))
        var decoder = RecordDecoder(content, from: 4)
        var offsets: [Int] = []
        for number in 0..<count {
            guard decoder.hasMore else { throw BlockDefect(path, at: start, "the symbols are cut short") }
            if number % BlockFormat.sparseness == 0 { offsets.append(start + 4 + decoder.offset) }
            decoder.skipText()
        }
        guard !decoder.isBroken else { throw BlockDefect(path, at: start, "the symbols are cut short") }
        offsets.append(start + 4 + decoder.offset)
        return (offsets, count)
    }

    private static func scanTable(_ file: any File, _ path: String, _ size: Int, _ start: Int) throws(BlockDefect)
        -> ([TableEntry], Int)
    {
        let content = try section(file, path, size, at: start)
        guard content.count >= 4 else { throw BlockDefect(path, at: start, "the table of lists is cut short") }
        let count = Int(content.bigEndian(at: 0, as: UInt32.self))
        var decoder = RecordDecoder(content, from: 4)
        var entries: [TableEntry] = []
        var name = ""
        var sinceKept = 0
        for number in 0..<count {
            let place = start + 4 + decoder.offset
            guard decoder.hasMore, decoder.uvarint() == 2 else {
                throw BlockDefect(path, at: place, "an entry of the table of lists makes no sense")
            }
            let here = decoder.text()
            // The first of each name is kept, so that names and where their values begin are known.
            if number == 0 || !here.isSame(as: name) || sinceKept == BlockFormat.sparseness {
                entries.append(TableEntry(name: here, value: decoder.text(), offset: place))
                (name, sinceKept) = (here, 0)
            } else {
                decoder.skipText()
            }
            sinceKept += 1
            _ = decoder.uvarint()
            guard !decoder.isBroken else { throw BlockDefect(path, at: place, "the table of lists is cut short") }
        }
        return (entries, start + 4 + decoder.offset)
    }

    // MARK: Symbols

    /// A label's name or value by its number.
    private func text(_ number: UInt32) throws(BlockDefect) -> String {
        if let known = symbols.withLock({ $0.known[number] }) { return known }
        guard number < symbolCount else { throw BlockDefect(path, "a symbol \(number) of \(symbolCount)") }
        let group = Int(number) / BlockFormat.sparseness
        let range = symbolOffsets[group]..<symbolOffsets[group + 1]
        var decoder = RecordDecoder(try IndexReader.read(file, path, range.lowerBound, range.count), from: 0)
        var texts: [String] = []
        while decoder.hasMore { texts.append(decoder.text()) }
        let place = Int(number) % BlockFormat.sparseness
        guard !decoder.isBroken, place < texts.count else {
            throw BlockDefect(path, at: range.lowerBound, "the symbols make no sense")
        }
        symbols.withLock { symbols in
            if symbols.known.count > IndexReader.symbolsKept { symbols.known = [:] }
            for (index, text) in texts.enumerated() {
                symbols.known[UInt32(group * BlockFormat.sparseness + index)] = text
            }
        }
        return texts[place]
    }

    /// All symbols in order, for making another block. Memory: as much as they take.
    func allSymbols() throws(BlockDefect) -> [String] {
        guard let first = symbolOffsets.first, let end = symbolOffsets.last else { return [] }
        var decoder = RecordDecoder(try IndexReader.read(file, path, first, end - first), from: 0)
        var texts: [String] = []
        texts.reserveCapacity(symbolCount)
        while decoder.hasMore { texts.append(decoder.text()) }
        return texts
    }

    // MARK: Series

    /// Reads series, in ascending order of their numbers, each with the chunks that reach into `[from, through]`;
    /// those without one are passed over.
    func eachSeries(
        _ ids: [UInt32], from: Int64, through: Int64,
        _ body: (_ id: UInt32, _ labels: Labels, _ chunks: [ChunkPlace]) throws(BlockDefect) -> Bool
    ) throws(BlockDefect) {
        var window: [UInt8] = []
        var windowStart = 0
        // By number where there are few: no hashing for every label of every series.
        var few = [String?](repeating: nil, count: symbolCount <= IndexReader.symbolsKept ? symbolCount : 0)
        for id in ids {
            let offset = Int(id) * 16
            var decoder: RecordDecoder
            var length = 0
            // An entry that the window holds is not read again.
            while true {
                if offset < windowStart || offset - windowStart >= window.count {
                    let wanted = min(size - offset, 1 << 16)
                    guard wanted > 0 else { throw BlockDefect(path, at: offset, "a series is beyond the end") }
                    window = try IndexReader.read(file, path, offset, wanted)
                    windowStart = offset
                }
                decoder = RecordDecoder(window, from: offset - windowStart)
                length = Int(truncatingIfNeeded: decoder.uvarint())
                let isWhole =
                    !decoder.isBroken && (0...size).contains(length) && decoder.offset + length + 4 <= window.count
                if isWhole { break }
                let longer = min(size - offset, max(1 << 16, length < 0 || length > size ? 0 : length + 16))
                guard windowStart != offset || longer > window.count else {
                    throw BlockDefect(path, at: offset, "a series is cut short")
                }
                window = try IndexReader.read(file, path, offset, longer)
                windowStart = offset
            }
            let range = decoder.offset..<decoder.offset + length
            var code = CRC32C()
            unsafe code.add(window.span.extracting(range).bytes)
            guard code.value == window.bigEndian(at: range.upperBound, as: UInt32.self) else {
                throw BlockDefect(path, at: offset, "a series' checksum is wrong")
            }
            let count = decoder.uvarint()
            guard count <= UInt64(length) else { throw BlockDefect(path, at: offset, "a series makes no sense") }
            let labelsStart = decoder
            for _ in 0..<2 * count { decoder.skipVarint() }
            let chunks = try places(&decoder, from, through, offset)
            guard !chunks.isEmpty else { continue }
            decoder = labelsStart
            var labels: [Label] = []
            labels.reserveCapacity(Int(count))
            func text() throws(BlockDefect) -> String {
                let number = UInt32(truncatingIfNeeded: decoder.uvarint())
                guard number < few.count else { return try self.text(number) }
                if let known = few[Int(number)] { return known }
                let text = try self.text(number)
                few[Int(number)] = text
                return text
            }
            for _ in 0..<count { labels.append(Label(try text(), try text())) }
            let series = Labels(labels)
            guard try body(id, series, chunks) else { return }
        }
    }

    private func places(_ decoder: inout RecordDecoder, _ from: Int64, _ through: Int64, _ offset: Int)
        throws(BlockDefect) -> [ChunkPlace]
    {
        var chunks: [ChunkPlace] = []
        let count = decoder.uvarint()
        var place = ChunkPlace(firstTime: 0, lastTime: 0, reference: 0)
        for number in 0..<count {
            guard decoder.hasMore else { throw BlockDefect(path, at: offset, "a series' chunks are cut short") }
            if number == 0 {
                place.firstTime = decoder.varint()
                place.lastTime = place.firstTime &+ Int64(bitPattern: decoder.uvarint())
                place.reference = decoder.uvarint()
            } else {
                place.firstTime = place.lastTime &+ Int64(bitPattern: decoder.uvarint())
                place.lastTime = place.firstTime &+ Int64(bitPattern: decoder.uvarint())
                place.reference = place.reference &+ UInt64(bitPattern: decoder.varint())
            }
            guard !decoder.isBroken, place.firstTime <= place.lastTime else {
                throw BlockDefect(path, at: offset, "a series' chunks make no sense")
            }
            if place.firstTime <= through, place.lastTime >= from { chunks.append(place) }
        }
        return chunks
    }

    // MARK: Labels

    /// The names of labels, sorted.
    var labelNames: [String] { names }

    /// The values of a label, sorted.
    func labelValues(_ name: String) throws(BlockDefect) -> [String] {
        var values: [String] = []
        try eachEntry(of: name) { value, _ throws(BlockDefect) in
            values.append(value)
            return true
        }
        return values
    }

    /// The entries of a name in order, from the one that `value` may be among.
    private func eachEntry(
        of name: String, from value: String = "",
        _ body: (_ value: String, _ list: Int) throws(BlockDefect) -> Bool
    ) throws(BlockDefect) {
        func isBehind(_ entry: TableEntry) -> Bool {
            entry.name.isSame(as: name) ? value.isBefore(entry.value) : name.isBefore(entry.name)
        }
        var (low, high) = (0, table.count)
        while low < high {
            let middle = (low + high) / 2
            if isBehind(table[middle]) { high = middle } else { low = middle + 1 }
        }
        // The last entry at or before it; a name begins with a kept entry.
        var place = max(0, low - 1)
        if place < table.count, !table[place].name.isSame(as: name) { place += 1 }
        while place < table.count, table[place].name.isSame(as: name) {
            let end = place + 1 < table.count ? table[place + 1].offset : tableEnd
            let start = table[place].offset
            var decoder = RecordDecoder(try IndexReader.read(file, path, start, end - start), from: 0)
            while decoder.hasMore {
                _ = decoder.uvarint()
                decoder.skipText()
                let value = decoder.text()
                let list = decoder.uvarint()
                guard !decoder.isBroken, list < UInt64(size) else {
                    throw BlockDefect(path, at: start, "the table of lists makes no sense")
                }
                guard try body(value, Int(list)) else { return }
            }
            place += 1
        }
    }

    private func list(at offset: Int) throws(BlockDefect) -> [UInt32] {
        let content = try IndexReader.section(file, path, size, at: offset)
        guard content.count >= 4, content.count == 4 + 4 * Int(content.bigEndian(at: 0, as: UInt32.self)) else {
            throw BlockDefect(path, at: offset, "a list's length makes no sense")
        }
        return unsafe content.withUnsafeBytes { bytes in
            (1..<bytes.count / 4).map { index in
                unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
            }
        }
    }
}

extension IndexReader: LabelIndex {
    func everything() throws(BlockDefect) -> [UInt32] { try list("", "") }

    func list(_ name: String, _ value: String) throws(BlockDefect) -> [UInt32] {
        var found: Int?
        try eachEntry(of: name, from: value) { here, list throws(BlockDefect) in
            if here.isSame(as: value) { found = list }
            return found == nil && !value.isBefore(here)
        }
        return try found.map { (offset) throws(BlockDefect) in try list(at: offset) } ?? []
    }

    func union(of name: String, where isWanted: (String) -> Bool) throws(BlockDefect) -> [UInt32] {
        var lists: [[UInt32]] = []
        try eachEntry(of: name) { value, offset throws(BlockDefect) in
            if isWanted(value) { lists.append(try list(at: offset)) }
            return true
        }
        return SortedLists.merge(lists)
    }
}
