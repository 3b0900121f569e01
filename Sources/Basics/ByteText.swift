internal import Glibc

/// A text as a key of dictionaries and sets by its UTF-8 bytes. Swift's own `==`, `<` and hash take canonically
/// equivalent texts for one ("é" as U+00E9, or as "e" and U+0301); to Prometheus and Alertmanager they are two.
public struct ByteText: Hashable, Sendable, Comparable {
    /// The text.
    public let text: String

    /// A text as a key.
    public init(_ text: String) { self.text = text }

    /// By bytes.
    public static func == (left: ByteText, right: ByteText) -> Bool { left.text.isSame(as: right.text) }
    /// In the order of the bytes.
    public static func < (left: ByteText, right: ByteText) -> Bool { left.text.isBefore(right.text) }
    /// By bytes.
    public func hash(into hasher: inout Hasher) { text.hashBytes(into: &hasher) }
}

extension String {
    /// Whether the UTF-8 bytes are equal. Cost: that of Swift's own `==`, which begins with the bytes too.
    public func isSame(as other: String) -> Bool {
        // Equal parts are equal texts: short ones stand in them, long ones are the same memory then.
        if unsafe unsafeBitCast(self, to: (UInt64, UInt64).self) == unsafeBitCast(other, to: (UInt64, UInt64).self) {
            return true
        }
        return hasBytes(of: other)
    }

    @inline(never)
    private func hasBytes(of other: String) -> Bool {
        let (one, two) = (utf8.span, other.utf8.span)
        guard one.count == two.count else { return false }
        return unsafe one.withUnsafeBufferPointer { one in
            unsafe two.withUnsafeBufferPointer { two in
                guard let left = one.baseAddress, let right = two.baseAddress else { return true }
                return unsafe memcmp(left, right, one.count) == 0
            }
        }
    }

    /// UTF-8 byte order. Swift's own `<` compares normalised scalars, which Prometheus does not.
    public func isBefore(_ other: String) -> Bool {
        let (one, two) = (utf8.span, other.utf8.span)
        return unsafe one.withUnsafeBufferPointer { one in
            unsafe two.withUnsafeBufferPointer { two in
                guard let left = one.baseAddress, let right = two.baseAddress else { return one.count < two.count }
                let order = unsafe memcmp(left, right, min(one.count, two.count))
                return order == 0 ? one.count < two.count : order < 0
            }
        }
    }

    /// Characters beyond ASCII as `\u{e9}`: of texts in quotes with Go's escapes, different ones stay different.
    public var inASCII: String {
        if utf8.allSatisfy({ $0 < 0x80 }) { return self }
        return unicodeScalars.map { $0.isASCII ? String($0) : "\\u{\(hexadecimal($0.value, digits: 2))}" }.joined()
    }

    /// Feeds the UTF-8 bytes and an end.
    public func hashBytes(into hasher: inout Hasher) {
        unsafe utf8.span.withUnsafeBufferPointer { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
        hasher.combine(0xFF as UInt8)
    }
}

extension Sequence<String> {
    /// The texts that differ in bytes, in the order of the bytes.
    public func sortedUnique() -> [String] { Set(map(ByteText.init)).sorted().map(\.text) }

    /// Whether one of them has these bytes. O(*n*): made for the few names of a grouping.
    public func holds(_ text: String) -> Bool { contains { $0.isSame(as: text) } }
}
