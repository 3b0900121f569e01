internal import CLinux

/// CRC-32 with Castagnoli's polynomial, as Prometheus' files have it. About 0.1 ns a byte where the processor helps.
///
/// - SeeAlso: RFC 3720, appendix B.4.
public struct CRC32C: Sendable {
    private var state: UInt32

    /// Of no bytes yet; another `seed` gives another code of the same bytes.
    public init(seed: UInt32 = 0) { state = ~seed }

    /// The code of all that was added.
    public var value: UInt32 { ~state }

    /// The code of `bytes`.
    public static func of(_ bytes: [UInt8]) -> UInt32 {
        var code = CRC32C()
        unsafe code.add(bytes.span.bytes)
        return code.value
    }

    /// Adds bytes.
    public mutating func add(_ bytes: RawSpan) {
        let before = state
        state = unsafe bytes.withUnsafeBytes { buffer in
            guard CRC32C.isHelped else { return unsafe CRC32C.byTable(before, buffer) }
            guard let base = buffer.baseAddress else { return before }
            return unsafe vedette_crc32c(before, base.assumingMemoryBound(to: UInt8.self), buffer.count)
        }
    }

    /// Whether the processor helps; asked once, since a virtual machine may take microseconds to answer.
    private static let isHelped = vedette_has_crc32c() == 1
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { code, _ in code & 1 == 1 ? code >> 1 ^ 0x82F6_3B78 : code >> 1 }
    }

    private static func byTable(_ state: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        unsafe bytes.reduce(state) { code, byte in table[Int((code ^ UInt32(byte)) & 0xFF)] ^ code >> 8 }
    }
}
