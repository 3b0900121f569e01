internal import Basics

/// Reads the records of one segment, in order, up to the first that is not whole.
struct LogReader {
    /// Where and why reading stopped before the end.
    struct Tear: Hashable {
        /// Offset just behind the last whole record.
        var offset: Int
        var reason: String
        /// What follows is sound, and for another reader: it is not to be cut away.
        var isForeign = false
    }

    private let bytes: [UInt8]
    private var offset = 0
    /// The offset behind the last whole record.
    private(set) var wholeEnd = 0
    private(set) var tear: Tear?

    /// Reads from `offset` on, where a record begins; the bytes begin with a page.
    init(_ bytes: [UInt8], from offset: Int = 0) { (self.bytes, self.offset, wholeEnd) = (bytes, offset, offset) }

    /// The next record, decompressed; nil at the end or at a tear.
    mutating func next() -> [UInt8]? {
        var record: [UInt8] = []
        var isInside = false
        while true {
            let position = offset % LogFormat.pageBytes
            let room = LogFormat.pageBytes - position
            // A page's rest too short for a fragment, or begun with 0, is padding.
            if offset < bytes.count, room < LogFormat.headerBytes || bytes[offset] == 0 {
                guard isPadding(room) else { return torn("a page's padding is not zero") }
                offset = min(bytes.count, offset + room)
                continue
            }
            guard offset < bytes.count else { return isInside ? torn("the last record is cut short") : nil }
            guard let fragment = fragment() else { return nil }
            switch (fragment.kind, isInside) {
            case (.full, false), (.first, false), (.middle, true), (.last, true): break
            default: return torn("fragments out of order")
            }
            record += bytes[fragment.data]
            offset = fragment.data.upperBound
            isInside = true
            guard fragment.kind == .full || fragment.kind == .last else { continue }
            guard fragment.isSnappy else {
                wholeEnd = offset
                return record
            }
            guard let plain = Snappy.decompress(record[...], limit: LogFormat.recordBytesLimit) else {
                return torn("a record does not decompress")
            }
            wholeEnd = offset
            return plain
        }
    }

    private func isPadding(_ room: Int) -> Bool {
        bytes[offset..<min(bytes.count, offset + room)].allSatisfy { $0 == 0 }
    }

    private mutating func torn(_ reason: String) -> [UInt8]? {
        tear = Tear(offset: wholeEnd, reason: reason)
        offset = bytes.count
        return nil
    }

    private mutating func fragment() -> (kind: LogFormat.Fragment, isSnappy: Bool, data: Range<Int>)? {
        let start = offset + LogFormat.headerBytes
        guard start <= bytes.count else {
            _ = torn("the last fragment is cut short")
            return nil
        }
        let flags = bytes[offset]
        let count = Int(bytes.bigEndian(at: offset + 1, as: UInt16.self))
        guard flags & ~0xF != LogFormat.zstdFlag else {
            tear = Tear(offset: wholeEnd, reason: "it goes on compressed by zstd, which is not read", isForeign: true)
            offset = bytes.count
            return nil
        }
        guard let kind = LogFormat.Fragment(rawValue: flags & 7), flags & ~0xF == 0,
            start + count <= bytes.count,
            offset % LogFormat.pageBytes + LogFormat.headerBytes + count <= LogFormat.pageBytes
        else {
            _ = torn("the last fragment is cut short")
            return nil
        }
        var code = CRC32C()
        unsafe code.add(bytes.span.extracting(start..<start + count).bytes)
        guard code.value == bytes.bigEndian(at: offset + 3, as: UInt32.self) else {
            _ = torn("a checksum is wrong")
            return nil
        }
        return (kind, flags & LogFormat.snappyFlag != 0, start..<start + count)
    }
}
