/// Numbers as Go prints and reads them, since Prometheus' clients compare texts.
public enum GoNumber {
    /// `strconv.FormatFloat(value, 'f', -1, 64)`: never an exponent.
    public static func fixed(_ value: Double) -> String { special(value) ?? Decimal(value).fixed }
    /// `strconv.FormatFloat(value, 'e', -1, 64)`: always an exponent, `1e+00`.
    public static func exponential(_ value: Double) -> String { special(value) ?? Decimal(value).exponential }
    /// `strconv.FormatFloat(value, 'g', -1, 64)`: an exponent below 1e-4 and from 1e+06. A person reads larger numbers
    /// without one too: pass 21.
    public static func shortest(_ value: Double, exponentFrom: Int = 6) -> String {
        if let text = special(value) { return text }
        let decimal = Decimal(value)
        return decimal.exponent < -4 || decimal.exponent >= exponentFrom ? decimal.exponential : decimal.fixed
    }
    /// As Prometheus' HTTP API writes values: an exponent below 1e-6 and from 1e21.
    ///
    /// - SeeAlso: Prometheus, `util/jsonutil/marshal.go`, `MarshalFloat`.
    public static func api(_ value: Double) -> String {
        let size = abs(value)
        if size >= 1e-3, size < 1e15 {
            // Swift's shortest digits are Go's, and here it writes them without an exponent.
            let text = value.description
            return text.utf8.suffix(2).elementsEqual(".0".utf8) ? String(text.dropLast(2)) : text
        }
        if size != 0, size < 1e-6 || size >= 1e21, size.isFinite {
            return exponential(value)
        }
        return fixed(value)
    }

    private static func special(_ value: Double) -> String? {
        if value.isNaN { return "NaN" }
        return value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : nil
    }

    /// Reads a float as Go's `strconv.ParseFloat` does, hexadecimal and underscored forms left out; nil when it is
    /// none.
    public static func parse(_ text: String) -> Double? {
        let lower = text.lowercased()
        let unsigned = lower.hasPrefix("+") || lower.hasPrefix("-") ? String(lower.dropFirst()) : lower
        switch unsigned {
        case "inf", "infinity": return lower.hasPrefix("-") ? -.infinity : .infinity
        case "nan": return lower == unsigned ? SpecialNaN.value : nil
        default:
            guard let first = unsigned.utf8.first, (0x30...0x39).contains(first) || first == 0x2E,
                !unsigned.utf8.contains(UInt8(ascii: "x")), !unsigned.utf8.contains(UInt8(ascii: "n"))
            else { return nil }
            return Double(lower.hasPrefix("+") ? unsigned : lower).flatMap { $0.isFinite ? $0 : nil }
        }
    }

    private enum SpecialNaN { static let value = Double(bitPattern: 0x7FF8_0000_0000_0001) }
}

/// The shortest digits that give a finite double back, and the exponent of the first.
private struct Decimal {
    var isNegative: Bool
    var digits: [UInt8]
    var exponent: Int

    init(_ value: Double) {
        isNegative = value.sign == .minus
        digits = []
        exponent = 0
        var point: Int?
        var shown = 0
        let text = abs(value).description
        for (index, byte) in text.utf8.enumerated() {
            if byte == UInt8(ascii: ".") {
                point = digits.count
            } else if byte == UInt8(ascii: "e") {
                shown = Int(String(text.dropFirst(index + 1))) ?? 0
                break
            } else {
                digits.append(byte)
            }
        }
        exponent = (point ?? digits.count) - 1 + shown
        let leading = digits.prefix { $0 == 0x30 }.count
        if leading == digits.count {
            (digits, exponent) = ([0x30], 0)
        } else {
            digits.removeFirst(leading)
            exponent -= leading
            while digits.count > 1, digits.last == 0x30 { digits.removeLast() }
        }
    }

    var exponential: String {
        var text = isNegative ? "-" : ""
        text += String(decoding: digits[..<1], as: UTF8.self)
        if digits.count > 1 { text += "." + String(decoding: digits[1...], as: UTF8.self) }
        let size = String(abs(exponent))
        return text + "e" + (exponent < 0 ? "-" : "+") + (size.count < 2 ? "0" : "") + size
    }

    var fixed: String {
        var text = isNegative ? "-" : ""
        if exponent < 0 {
            text += "0." + String(repeating: "0", count: -exponent - 1)
            return text + String(decoding: digits, as: UTF8.self)
        }
        let whole = digits.prefix(exponent + 1)
        text += String(decoding: whole, as: UTF8.self)
        text += String(repeating: "0", count: exponent + 1 - whole.count)
        return digits.count > whole.count ? text + "." + String(decoding: digits[whole.count...], as: UTF8.self) : text
    }
}
