internal import Basics
internal import Model

/// Prometheus' write-ahead log: segments of pages of fragments of records.
///
///     segment  = pages of 32 KiB, 128 MiB at the most, named by eight digits
///     fragment = kind u8 (bits 0-2: 1 full, 2 first, 3 middle, 4 last; bit 3: Snappy) | length u16 | crc u32 | data
///     record   = kind u8 | …; 1: series, 2: samples, 3: tombstones, 4: exemplars; 6, metadata, is passed over
///
/// Numbers are big-endian, varints as Go's `encoding/binary`. A fragment never crosses a page, a record never a
/// segment.
///
/// - SeeAlso: Prometheus, `tsdb/docs/format/wal.md`, `tsdb/wlog/wlog.go`, `tsdb/record/record.go`.
enum LogFormat {
    static let pageBytes = 32 << 10
    static let segmentBytes = 128 << 20
    static let headerBytes = 7
    static let snappyFlag: UInt8 = 1 << 3
    /// Prometheus writes it when it is told to; `--storage.tsdb.wal-compression-type=snappy` is what it does by itself.
    static let zstdFlag: UInt8 = 1 << 4
    /// A longer record is a mistake of the reader or of the disk.
    static let recordBytesLimit = segmentBytes

    enum Fragment: UInt8 {
        case pageEnd = 0, full = 1, first = 2, middle = 3, last = 4
    }

    enum Record: UInt8 {
        case series = 1, samples = 2, tombstones = 3, exemplars = 4, mmapMarkers = 5, metadata = 6
        case histograms = 7, floatHistograms = 8
    }

    static func segmentName(_ index: Int) -> String {
        let digits = String(index)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }
}

extension [UInt8] {
    /// Go's `binary.AppendUvarint`.
    mutating func appendUvarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    /// Go's `binary.AppendVarint`.
    mutating func appendVarint(_ value: Int64) { appendUvarint(UInt64(bitPattern: (value << 1) ^ (value >> 63))) }

    /// The number of labels, then names and values, each behind its length.
    mutating func append(_ labels: Labels) {
        appendUvarint(UInt64(labels.count))
        for label in labels.sorted {
            for text in [label.name, label.value] {
                appendUvarint(UInt64(text.utf8.count))
                self += text.utf8
            }
        }
    }
}

/// Reads the pieces of a record; `isBroken` once it ended too early.
struct RecordDecoder {
    private let bytes: [UInt8]
    private(set) var offset: Int
    private(set) var isBroken = false

    init(_ bytes: [UInt8], from offset: Int) { (self.bytes, self.offset) = (bytes, offset) }

    var hasMore: Bool { !isBroken && offset < bytes.count }

    mutating func uint64() -> UInt64 {
        guard offset + 8 <= bytes.count else {
            isBroken = true
            return 0
        }
        defer { offset += 8 }
        return unsafe bytes.withUnsafeBytes {
            unsafe UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
    }

    mutating func uvarint() -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < bytes.count, shift < 70 {
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        isBroken = true
        return 0
    }

    mutating func varint() -> Int64 {
        let raw = uvarint()
        return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
    }

    mutating func skipVarint() {
        while offset < bytes.count {
            offset += 1
            if bytes[offset - 1] < 0x80 { return }
        }
        isBroken = true
    }

    mutating func skip(_ count: Int) {
        if count <= bytes.count - offset { offset += count } else { isBroken = true }
    }

    mutating func skipText() {
        let count = uvarint()
        guard !isBroken, count <= UInt64(bytes.count - offset) else {
            isBroken = true
            return
        }
        offset += Int(count)
    }

    mutating func labels() -> Labels {
        let count = uvarint()
        var labels: [Label] = []
        for _ in 0..<Swift.min(count, 1 << 16) where !isBroken {
            let name = text()
            labels.append(Label(name, text()))
        }
        return Labels(labels)
    }

    mutating func text() -> String {
        let count = uvarint()
        guard !isBroken, count <= UInt64(bytes.count - offset) else {
            isBroken = true
            return ""
        }
        defer { offset += Int(count) }
        return unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe String(decoding: bytes[offset..<offset + Int(count)], as: UTF8.self)
        }
    }
}
