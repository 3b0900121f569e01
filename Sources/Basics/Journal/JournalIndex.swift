/// Where a journal's values are: `table` → `key` → slot.
typealias JournalIndex = [String: [String: JournalSlot]]

/// Where one value is.
enum JournalSlot: Sendable {
    case file(JournalPlace)
    /// Not on the disk yet.
    case memory([UInt8])
}

/// A value's bytes in the active file. Three small numbers, since there may be hundreds of thousands.
struct JournalPlace: Hashable, Sendable {
    private let start: UInt32, length: UInt32
    /// CRC-32C of the bytes.
    let code: UInt32

    /// No file grows beyond this, so that a place fits.
    static let fileLimit = Int(UInt32.max)

    var offset: Int { Int(start) }
    var count: Int { Int(length) }

    init(offset: Int, _ value: Span<UInt8>) {
        var code = CRC32C()
        unsafe code.add(value.bytes)
        self.init(offset: offset, count: value.count, code: code.value)
    }

    init(offset: Int, count: Int, code: UInt32) {
        (start, length, self.code) = (UInt32(offset), UInt32(count), code)
    }
}

/// One entry of a snapshot that is to be written.
struct JournalEntry: Sendable {
    let table: String, key: String
    let slot: JournalSlot

    /// All entries in the order in which they stand in the file, so that they are read in one go; those in memory
    /// come last.
    static func all(_ index: JournalIndex) -> [JournalEntry] {
        var entries: [JournalEntry] = []
        entries.reserveCapacity(index.values.reduce(0) { $0 + $1.count })
        for (table, slots) in index {
            for (key, slot) in slots { entries.append(JournalEntry(table: table, key: key, slot: slot)) }
        }
        entries.sort { $0.offset < $1.offset }
        return entries
    }

    private var offset: Int {
        switch slot {
        case .file(let place): place.offset
        case .memory: .max
        }
    }

    /// How long it is in a record.
    var count: Int {
        let length =
            switch slot {
            case .file(let place): place.count
            case .memory(let bytes): bytes.count
            }
        return JournalEncoder.count(table: table, key: key, valueBytes: length)
    }
}

/// Reads values back, a window of the file at a time.
struct JournalReader {
    private let file: any File
    private var window: [UInt8] = []
    private var start = 0
    private static let windowBytes = 256 << 10

    init(_ file: any File) { self.file = file }

    /// A value's bytes, and whether they are those that were written.
    mutating func value(_ slot: JournalSlot) throws(FileError) -> (bytes: ArraySlice<UInt8>, isIntact: Bool) {
        guard case .file(let place) = slot else {
            guard case .memory(let bytes) = slot else { return ([], false) }
            return (bytes[...], true)
        }
        if place.offset < start || place.offset + place.count > start + window.count {
            start = place.offset
            window = try file.read(at: start, count: max(place.count, JournalReader.windowBytes))
        }
        let first = place.offset - start
        guard first + place.count <= window.count else {
            // Cut short by somebody else: as long as it was told to be.
            return (ArraySlice(repeating: 0, count: place.count), false)
        }
        let range = first..<first + place.count
        return (window[range], JournalPlace(offset: place.offset, window.span.extracting(range)) == place)
    }
}

/// Writes a file's header and its snapshot, a piece at a time; the head last, since it holds the checksum.
struct JournalSnapshotWriter {
    private let file: any File
    private let header: [UInt8]
    private var head: JournalRecordHead
    private let payloadBytes: Int
    private var piece: [UInt8] = []
    /// Where the piece goes.
    private var offset: Int
    private static let pieceBytes = 256 << 10

    init(_ file: any File, turn: UInt64, payloadBytes: Int) {
        (self.file, self.payloadBytes) = (file, payloadBytes)
        header = JournalContent.header(turn: turn)
        head = JournalRecordHead(kind: .snapshot, turn: turn, payloadBytes: payloadBytes)
        offset = header.count + JournalContent.recordHeaderCount
    }

    /// Makes sure of the disk's space, and of as much again for commits.
    func reserve(_ minimumBytes: Int) throws(FileError) {
        let end = offset + payloadBytes
        // A file that no place can point into is refused as one that is too large.
        guard end <= JournalPlace.fileLimit else {
            throw FileError(operation: "write", path: "journal", code: FileError.tooLarge)
        }
        if 2 * end > minimumBytes { try file.preallocate(to: 2 * end) }
    }

    /// Adds an entry; where its value stands.
    mutating func add(_ entry: JournalEntry, _ value: ArraySlice<UInt8>) throws(FileError) -> JournalPlace {
        JournalEncoder.append(table: entry.table, key: entry.key, value: value, to: &piece)
        let first = piece.count - value.count
        let place =
            switch entry.slot {
            case .file(let old): JournalPlace(offset: offset + first, count: old.count, code: old.code)
            case .memory(let bytes): JournalPlace(offset: offset + first, bytes.span)
            }
        if piece.count >= JournalSnapshotWriter.pieceBytes { try flush() }
        return place
    }

    private mutating func flush() throws(FileError) {
        let bytes = piece
        unsafe head.add(bytes.span.bytes)
        try unsafe file.write(bytes.span.bytes, at: offset)
        offset += bytes.count
        piece = []
    }

    /// Writes what is left, and returns once all is on the disk: where the snapshot ends.
    mutating func finish() throws(FileError) -> Int {
        try flush()
        let bytes = header + head.bytes
        try unsafe file.write(bytes.span.bytes, at: 0)
        try file.synchronize()
        return offset
    }
}
