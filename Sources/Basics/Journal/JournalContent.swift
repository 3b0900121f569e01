internal import Glibc

/// The bytes of a journal's file.
///
///     file    = magic "VEDJRNL1" | turn u64 | crc u32 of the 16 bytes before | record…
///     record  = mark u16 0x4A52 | kind u16 (1 snapshot, 2 changes) | length u32 | crc u32 | payload
///     payload = (table, key: u32 length and bytes; value: u32 length, 0xFFFFFFFF for none, and bytes)…
///
/// All numbers little-endian; `crc` is CRC-32C seeded with the turn over kind, length and payload. The first record is
/// a snapshot; a file whose snapshot is not whole does not count.
struct JournalContent {
    var turn: UInt64
    var index: JournalIndex = [:]
    var recovery = Journal.Recovery()

    static let magic = Array("VEDJRNL1".utf8)
    static let mark: UInt16 = 0x4A52
    static let headerCount = 20, recordHeaderCount = 12
    enum Kind: UInt16 {
        case snapshot = 1
        case changes = 2
    }

    static func header(turn: UInt64) -> [UInt8] {
        var bytes = magic
        bytes.appendLittleEndian(turn)
        bytes.appendLittleEndian(CRC32C.of(bytes))
        return bytes
    }

    /// Nil when the header or the snapshot is not whole.
    init?(reading bytes: [UInt8]) {
        guard bytes.count >= Self.headerCount, bytes.starts(with: Self.magic),
            bytes.littleEndian(at: 16, as: UInt32.self) == CRC32C.of(Array(bytes[..<16]))
        else { return nil }
        turn = bytes.littleEndian(at: 8, as: UInt64.self)
        guard let snapshot = record(in: bytes, at: Self.headerCount), snapshot.kind == .snapshot,
            apply(snapshot.payload, of: bytes)
        else { return nil }
        applyChanges(in: bytes, from: snapshot.payload.upperBound)
    }

    private mutating func applyChanges(in bytes: [UInt8], from start: Int) {
        var offset = start
        while offset < bytes.count {
            if let found = record(in: bytes, at: offset), found.kind == .changes, apply(found.payload, of: bytes) {
                recovery.records += 1
                offset = found.payload.upperBound
                continue
            }
            // Either the last record was cut short, or one was damaged later: then an intact one follows somewhere.
            var next = nextMark(in: bytes, from: offset + 1)
            while next < bytes.count, record(in: bytes, at: next) == nil { next = nextMark(in: bytes, from: next + 1) }
            guard next < bytes.count else {
                recovery.tornBytes = tornCount(in: bytes[offset...])
                return
            }
            recovery.damagedRecords += 1
            offset = next
        }
    }

    /// Where a record may begin, or the end. The reserved space is mostly zeros, so it is passed at `memchr`'s pace.
    private func nextMark(in bytes: [UInt8], from start: Int) -> Int {
        guard start < bytes.count else { return bytes.count }
        return unsafe bytes.withUnsafeBytes { buffer in
            let base = unsafe buffer.baseAddress.unsafelyUnwrapped
            let found = unsafe memchr(base + start, Int32(Self.mark & 0xFF), buffer.count - start)
            return unsafe found.map { unsafe UnsafeRawPointer($0) - base } ?? buffer.count
        }
    }

    private func tornCount(in rest: ArraySlice<UInt8>) -> Int {
        guard rest.count >= 2, rest.littleEndian(at: rest.startIndex, as: UInt16.self) == Self.mark else { return 0 }
        return (rest.lastIndex { $0 != 0 } ?? rest.startIndex) - rest.startIndex + 1
    }

    private func record(in bytes: [UInt8], at offset: Int) -> (kind: Kind, payload: Range<Int>)? {
        guard offset + Self.recordHeaderCount <= bytes.count, bytes[offset] == UInt8(Self.mark & 0xFF),
            bytes.littleEndian(at: offset, as: UInt16.self) == Self.mark,
            let kind = Kind(rawValue: bytes.littleEndian(at: offset + 2, as: UInt16.self))
        else { return nil }
        let count = Int(bytes.littleEndian(at: offset + 4, as: UInt32.self))
        let start = offset + Self.recordHeaderCount
        guard count <= bytes.count - start else { return nil }
        var code = CRC32C(seed: UInt32(truncatingIfNeeded: turn))
        unsafe code.add(bytes.span.extracting(offset + 2..<offset + 8).bytes)
        unsafe code.add(bytes.span.extracting(start..<start + count).bytes)
        guard code.value == bytes.littleEndian(at: offset + 8, as: UInt32.self) else { return nil }
        return (kind, start..<start + count)
    }

    private mutating func apply(_ payload: Range<Int>, of bytes: [UInt8]) -> Bool {
        var decoder = JournalDecoder(rest: bytes[payload])
        while !decoder.rest.isEmpty {
            guard let table = decoder.text(), let key = decoder.text(), let value = decoder.value() else {
                return false
            }
            // A slice counts as its file does.
            index[table, default: [:]][key] = value.range.map { range in
                .file(JournalPlace(offset: range.lowerBound, bytes.span.extracting(range)))
            }
        }
        return true
    }
}

/// A record's first bytes; the payload is added as it comes.
struct JournalRecordHead {
    private let front: [UInt8]
    private var code: CRC32C

    init(kind: JournalContent.Kind, turn: UInt64, payloadBytes: Int) {
        var front: [UInt8] = []
        front.appendLittleEndian(JournalContent.mark)
        front.appendLittleEndian(kind.rawValue)
        front.appendLittleEndian(UInt32(payloadBytes))
        self.front = front
        code = CRC32C(seed: UInt32(truncatingIfNeeded: turn))
        unsafe code.add(front.span.extracting(2..<8).bytes)
    }

    mutating func add(_ payload: RawSpan) { code.add(payload) }

    /// Once all of the payload was added.
    var bytes: [UInt8] {
        var bytes = front
        bytes.appendLittleEndian(code.value)
        return bytes
    }
}

/// Builds a record, in place: a commit may hold a hundred thousand entries.
struct JournalEncoder {
    /// The record's head, still empty, and the payload.
    private var bytes: [UInt8]

    /// - Parameter payloadBytes: The payload's length, see `count`.
    init(payloadBytes: Int) {
        bytes = []
        bytes.reserveCapacity(JournalContent.recordHeaderCount + payloadBytes)
        bytes += [UInt8](repeating: 0, count: JournalContent.recordHeaderCount)
    }

    /// How long an entry is.
    static func count(table: String, key: String, value: [UInt8]?) -> Int {
        count(table: table, key: key, valueBytes: value?.count ?? 0)
    }

    static func count(table: String, key: String, valueBytes: Int) -> Int {
        12 + table.utf8.count + key.utf8.count + valueBytes
    }

    mutating func add(table: String, key: String, value: [UInt8]?) {
        JournalEncoder.append(table: table, key: key, value: value.map { $0[...] }, to: &bytes)
    }

    /// Appends an entry, the value last.
    static func append(table: String, key: String, value: ArraySlice<UInt8>?, to bytes: inout [UInt8]) {
        for text in [table, key] {
            bytes.appendLittleEndian(UInt32(text.utf8.count))
            bytes += text.utf8
        }
        bytes.appendLittleEndian(value.map { UInt32($0.count) } ?? .max)
        if let value { bytes += value }
    }

    /// The record.
    consuming func record(kind: JournalContent.Kind, turn: UInt64) -> [UInt8] {
        let payload = JournalContent.recordHeaderCount
        var head = JournalRecordHead(kind: kind, turn: turn, payloadBytes: bytes.count - payload)
        unsafe head.add(bytes.span.extracting(payload..<bytes.count).bytes)
        let front = head.bytes
        for (place, byte) in front.enumerated() { bytes[place] = byte }
        return bytes
    }
}

private struct JournalDecoder {
    var rest: ArraySlice<UInt8>

    private mutating func count() -> UInt32? {
        guard rest.count >= 4 else { return nil }
        defer { rest = rest.dropFirst(4) }
        return rest.littleEndian(at: rest.startIndex, as: UInt32.self)
    }

    private mutating func bytes(_ count: UInt32) -> [UInt8]? {
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(Int(count)) }
        return Array(rest.prefix(Int(count)))
    }

    mutating func text() -> String? {
        guard let count = count(), let bytes = bytes(count) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    mutating func value() -> (range: Range<Int>?, Void)? {
        guard let count = count() else { return nil }
        if count == .max { return (nil, ()) }
        guard count <= rest.count else { return nil }
        defer { rest = rest.dropFirst(Int(count)) }
        return (rest.startIndex..<rest.startIndex + Int(count), ())
    }
}
