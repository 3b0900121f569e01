internal import Glibc

/// Reads decimal numbers from bytes: exact for what metrics mostly hold, the C library's `strtod` for the rest.
public enum NumberParser {
    private static let powers: InlineArray<23, Double> = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]

    /// Reads a value as Prometheus' scraper does and moves `offset` behind it; nil where there is none. About 5 ns for
    /// a short number, 60 ns where `strtod` is needed; never allocates.
    ///
    /// A mantissa below 2^53 and a power of ten up to 22 are exact, so their product or quotient is rounded once.
    ///
    /// - Parameter bytes: A byte that belongs to no number follows the last one, such as the line's end.
    /// - SeeAlso: Clinger, "How to Read Floating Point Numbers Accurately", PLDI 1990.
    public static func readValue(_ bytes: UnsafePointer<UInt8>, _ offset: inout Int, _ end: Int) -> Double? {
        let start = offset
        var index = offset
        var isNegative = false
        if index < end, unsafe bytes[index] == 0x2D || bytes[index] == 0x2B {
            isNegative = unsafe bytes[index] == 0x2D
            index += 1
        }
        var mantissa: UInt64 = 0
        var digits = 0
        var exponent = 0
        while index < end, case let digit = unsafe bytes[index] &- 0x30, digit < 10 {
            mantissa = mantissa &* 10 &+ UInt64(digit)
            digits += 1
            index += 1
        }
        if index < end, unsafe bytes[index] == 0x2E {
            index += 1
            while index < end, case let digit = unsafe bytes[index] &- 0x30, digit < 10 {
                mantissa = mantissa &* 10 &+ UInt64(digit)
                digits += 1
                exponent -= 1
                index += 1
            }
        }
        guard digits > 0 else { return unsafe readWord(bytes, &offset, end) }
        if index < end, unsafe bytes[index] | 0x20 == 0x65 {
            guard let power = unsafe readExponent(bytes, &index, end) else { return nil }
            exponent += power
        }
        offset = index
        // 19 digits cannot overflow the mantissa.
        if digits <= 19, mantissa < 1 << 53, exponent >= -22, exponent <= 22 {
            let size = Double(mantissa)
            let value = exponent < 0 ? size / powers[-exponent] : size * powers[exponent]
            return isNegative ? -value : value
        }
        let value = unsafe strtod(UnsafeRawPointer(bytes + start).assumingMemoryBound(to: CChar.self), nil)
        // As in Go, a number above all floats is none; infinity is written in letters.
        return value.isFinite ? value : nil
    }

    private static func readExponent(_ bytes: UnsafePointer<UInt8>, _ index: inout Int, _ end: Int) -> Int? {
        index += 1
        var isNegative = false
        if index < end, unsafe bytes[index] == 0x2D || bytes[index] == 0x2B {
            isNegative = unsafe bytes[index] == 0x2D
            index += 1
        }
        let start = index
        var power = 0
        while index < end, case let digit = unsafe bytes[index] &- 0x30, digit < 10 {
            power = min(power * 10 + Int(digit), 100_000)
            index += 1
        }
        return index == start ? nil : (isNegative ? -power : power)
    }

    /// `NaN`, `+Inf`, `-infinity` and the like, in any case.
    private static func readWord(_ bytes: UnsafePointer<UInt8>, _ offset: inout Int, _ end: Int) -> Double? {
        var index = offset
        while index < end, index - offset < 12, unsafe bytes[index] > 0x20 { index += 1 }
        var word = unsafe String(
            decoding: UnsafeBufferPointer(start: bytes + offset, count: index - offset), as: UTF8.self)
        word = word.lowercased()
        offset = index
        switch word {
        case "nan": return Double(bitPattern: 0x7FF8_0000_0000_0001)
        case "inf", "+inf", "infinity", "+infinity": return .infinity
        case "-inf", "-infinity": return -.infinity
        default: return nil
        }
    }
}
