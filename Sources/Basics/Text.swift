/// FNV-1a, 64 bits: the hash of Alertmanager's fingerprints. Not for untrusted keys.
public struct FNV1a: Sendable {
    /// The hash of all that was combined.
    public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The hash of nothing.
    public init() {}

    /// Adds one byte.
    @inlinable
    public mutating func combine(byte: UInt8) { update(byte) }

    /// Adds the UTF-8 bytes of a text.
    public mutating func combine(_ text: String) {
        let isCombined: Void? = unsafe text.utf8.withContiguousStorageIfAvailable { bytes in
            var hash = value
            for index in 0..<bytes.count { hash = unsafe (hash ^ UInt64(bytes[index])) &* 0x100_0000_01B3 }
            value = hash
        }
        if isCombined == nil { for byte in text.utf8 { update(byte) } }
    }

    @usableFromInline
    mutating func update(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
}

/// At least so many hexadecimal digits.
public func hexadecimal(_ value: some UnsignedInteger, digits count: Int = 16, uppercase: Bool = false) -> String {
    let digits = String(value, radix: 16, uppercase: uppercase)
    return String(repeating: "0", count: max(0, count - digits.count)) + digits
}

extension String {
    /// In double quotes with Go's escapes, as `strconv.Quote` writes it.
    public var goQuoted: String {
        var text = "\""
        for scalar in unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\t": text += "\\t"
            case "\r": text += "\\r"
            case "\u{7}": text += "\\a"
            case "\u{8}": text += "\\b"
            case "\u{C}": text += "\\f"
            case "\u{B}": text += "\\v"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                text += "\\x" + hexadecimal(scalar.value, digits: 2)
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }

    /// The candidate nearest in spelling, for "did you mean": at most two edits away, and fewer than half its length.
    public func nearest(among candidates: some Sequence<String>) -> String? {
        let scored = candidates.map { ($0, editDistance(to: $0)) }
        guard let best = scored.min(by: { ($0.1, $0.0) < ($1.1, $1.0) }) else { return nil }
        return best.1 <= 2 && best.1 * 2 < Swift.max(count, 3) ? best.0 : nil
    }

    /// Levenshtein's distance with transpositions (optimal string alignment).
    func editDistance(to other: String) -> Int {
        let (left, right) = (Array(utf8), Array(other.utf8))
        var older: [Int] = []
        var previous = Array(0...right.count)
        for row in 0..<left.count {
            var current = [row + 1]
            for column in 0..<right.count {
                var best = Swift.min(previous[column + 1], current[column]) + 1
                best = Swift.min(best, previous[column] + (left[row] == right[column] ? 0 : 1))
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    best = Swift.min(best, older[column - 1] + 1)
                }
                current.append(best)
            }
            (older, previous) = (previous, current)
        }
        return previous[right.count]
    }
}

/// RFC 4648 with padding.
public func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        let word = group.reduce(0) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
        for place in 0..<4 {
            text.append(place <= group.count ? alphabet[Int(word >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}

/// The bytes of a text in base64, RFC 4648, of either alphabet and with its padding; nil when it is none.
public func base64Decoded(_ text: String) -> [UInt8]? {
    let letters = Array(text.utf8)
    guard letters.count % 4 == 0 else { return nil }
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var result: [UInt8] = []
    for start in stride(from: 0, to: letters.count, by: 4) {
        let isLast = start + 4 == letters.count
        let group = letters[start..<start + 4]
        let padding = isLast ? group.reversed().prefix { $0 == UInt8(ascii: "=") }.count : 0
        guard padding <= 2 else { return nil }
        var bits = 0
        for letter in group.dropLast(padding) {
            let plain =
                letter == UInt8(ascii: "-") ? UInt8(ascii: "+") : letter == UInt8(ascii: "_") ? 0x2F : letter
            guard let value = alphabet.firstIndex(of: plain) else { return nil }
            bits = bits << 6 | value
        }
        bits <<= 6 * padding
        let bytes = [UInt8(bits >> 16 & 255), UInt8(bits >> 8 & 255), UInt8(bits & 255)]
        result += bytes.prefix(3 - padding)
    }
    return result
}
