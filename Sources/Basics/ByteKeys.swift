internal import Glibc

/// Sort keys of bytes, all in one buffer: texts and numbers put one behind the other so that the order of the bytes is
/// the order that is meant. Sorting by them compares memory and copies nothing.
public struct ByteKeys: Sendable {
    private var bytes: [UInt8] = []
    private var starts: [Int] = []

    /// No keys; room for so many of a hundred bytes.
    public init(capacity: Int) {
        starts.reserveCapacity(capacity + 1)
        bytes.reserveCapacity(capacity * 100)
    }

    /// Begins the next key.
    public mutating func begin() { starts.append(bytes.count) }

    /// Appends one byte.
    public mutating func add(byte: UInt8) { bytes.append(byte) }

    /// Appends a text: by UTF-8 bytes, a text before its continuations.
    public mutating func add(_ text: String) {
        let start = bytes.count
        bytes += text.utf8
        // Ends with two zeros, so a zero within is told apart by what follows it.
        if bytes[start...].contains(0) {
            let escaped = bytes[start...].flatMap { $0 == 0 ? [0, 0xFF] : [$0] }
            bytes.replaceSubrange(start..., with: escaped)
        }
        bytes.append(0)
        bytes.append(0)
    }

    /// Appends a number, negative ones first.
    public mutating func add(_ number: Int64) {
        let biased = UInt64(bitPattern: number) ^ 1 << 63
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: biased >> UInt64(shift)))
        }
    }

    /// The keys' places in ascending order, equal ones in the order they came in.
    public func order() -> [Int] {
        let ends = starts.dropFirst() + [bytes.count]
        let keys = zip(starts, ends).enumerated().map { (place: $0, start: $1.0, count: $1.1 - $1.0) }
        return unsafe bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return keys.map(\.place) }
            return keys.sorted { one, other in
                let order = unsafe memcmp(base + one.start, base + other.start, min(one.count, other.count))
                return order == 0 ? one.count < other.count : order < 0
            }.map(\.place)
        }
    }
}
