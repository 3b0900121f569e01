internal import Basics
internal import Glibc

/// Go's `fmt.Sprintf` for the values that templates know.
///
/// - SeeAlso: Go, `fmt/print.go` and `fmt/format.go`.
struct GoFormat {
    private struct Flags {
        var minus = false, plus = false, sharp = false, space = false, zero = false
        var width: Int?
        var precision: Int?
    }

    private let format: [Unicode.Scalar]
    private let arguments: [TemplateValue]
    private var index = 0
    private var used = 0
    private var output = ""

    static func sprintf(_ format: String, _ arguments: [TemplateValue]) -> String {
        var formatter = GoFormat(format: Array(format.unicodeScalars), arguments: arguments)
        return formatter.run()
    }

    private init(format: [Unicode.Scalar], arguments: [TemplateValue]) {
        (self.format, self.arguments) = (format, arguments)
    }

    private mutating func run() -> String {
        while index < format.count {
            guard format[index] == "%" else {
                output.unicodeScalars.append(format[index])
                index += 1
                continue
            }
            index += 1
            directive()
        }
        if used < arguments.count {
            let extra = arguments[used...].map { value in
                if case .null = value.plain { "<nil>" } else { "\(value.typeName)=\(value.text)" }
            }
            output += "%!(EXTRA \(extra.joined(separator: ", ")))"
        }
        return output
    }

    private mutating func directive() {
        var flags = Flags()
        loop: while index < format.count {
            switch format[index] {
            case "-": flags.minus = true
            case "+": flags.plus = true
            case "#": flags.sharp = true
            case " ": flags.space = true
            case "0": flags.zero = true
            default: break loop
            }
            index += 1
        }
        flags.width = number(or: "WIDTH")
        if let width = flags.width, width < 0 { (flags.minus, flags.width) = (true, -width) }
        if index < format.count, format[index] == "." {
            index += 1
            flags.precision = number(or: "PREC") ?? 0
        }
        guard index < format.count else {
            output += "%!(NOVERB)"
            return
        }
        let verb = format[index]
        index += 1
        if verb == "%" {
            output += "%"
            return
        }
        guard used < arguments.count else {
            output += "%!\(verb)(MISSING)"
            return
        }
        used += 1
        output += formatted(arguments[used - 1], verb, flags)
    }

    /// Digits, or `*` for the next argument; wide ones are cut to a million as Go does.
    private mutating func number(or name: String) -> Int? {
        if index < format.count, format[index] == "*" {
            index += 1
            guard used < arguments.count, case .int(let value) = arguments[used].plain, value.magnitude <= 1_000_000
            else {
                output += "%!(BAD\(name))"
                used += 1
                return nil
            }
            used += 1
            return value
        }
        var value: Int?
        while index < format.count, let digit = Int(String(format[index])), format[index].isASCII {
            value = min((value ?? 0) * 10 + digit, 1_000_000)
            index += 1
        }
        return value
    }

    private func formatted(_ value: TemplateValue, _ verb: Unicode.Scalar, _ flags: Flags) -> String {
        if verb == "T" { return pad(value.typeName, flags) }
        let value = value.plain
        switch (value, verb) {
        case (.null, "v"): return pad("<nil>", flags)
        case (.null, _): return "%!\(verb)(<nil>)"
        case (.bool, "t"), (.bool, "v"), (.duration, "s"), (.duration, "v"), (.time, "s"), (.time, "v"):
            return pad(value.text, flags)
        case (.int(let number), _): return integer(number, verb, flags) ?? bad(value, verb)
        case (.duration(let length), "d"): return integer(Int(length), verb, flags) ?? bad(value, verb)
        case (.double(let number), _): return float(number, verb, flags) ?? bad(value, verb)
        case (.string(let text), _): return string(text, verb, flags) ?? bad(value, verb)
        case (.list(let items), _):
            return "[" + items.map { formatted($0, verb, flags) }.joined(separator: " ") + "]"
        case (.map(let map), _):
            let pairs = map.entries.map {
                "\(formatted(.string($0.key), verb, flags)):\(formatted($0.value, verb, flags))"
            }
            return "map[" + pairs.joined(separator: " ") + "]"
        default: return bad(value, verb)
        }
    }

    private func bad(_ value: TemplateValue, _ verb: Unicode.Scalar) -> String {
        "%!\(verb)(\(value.typeName)=\(value.text))"
    }

    private func pad(_ text: String, _ flags: Flags, zero: Bool = false) -> String {
        let missing = (flags.width ?? 0) - text.unicodeScalars.count
        guard missing > 0 else { return text }
        if flags.minus { return text + String(repeating: " ", count: missing) }
        return String(repeating: zero && flags.zero ? "0" : " ", count: missing) + text
    }

    private func integer(_ value: Int, _ verb: Unicode.Scalar, _ flags: Flags) -> String? {
        let radix: Int
        switch verb {
        case "d", "v": radix = 10
        case "b": radix = 2
        case "o", "O": radix = 8
        case "x", "X": radix = 16
        case "c": return pad(String(scalar(value)), flags)
        case "q": return pad("'\(String(scalar(value)) == "'" ? "\\'" : String(scalar(value)))'", flags)
        case "U":
            return pad("U+" + hexadecimal(value.magnitude, digits: 4, uppercase: true), flags)
        default: return nil
        }
        var digits = String(value.magnitude, radix: radix, uppercase: verb == "X")
        let sign = value < 0 ? "-" : flags.plus ? "+" : flags.space ? " " : ""
        var prefix = verb == "O" ? "0o" : ""
        if flags.sharp {
            prefix = [2: "0b", 8: "0", 16: verb == "X" ? "0X" : "0x"][radix] ?? ""
        }
        if let precision = flags.precision {
            digits = String(repeating: "0", count: max(0, precision - digits.count)) + digits
        } else if flags.zero, !flags.minus, let width = flags.width {
            digits = String(repeating: "0", count: max(0, width - sign.count - digits.count)) + digits
        }
        return pad(sign + prefix + digits, flags)
    }

    private func scalar(_ value: Int) -> Unicode.Scalar {
        UInt32(exactly: value).flatMap { Unicode.Scalar($0) } ?? "\u{FFFD}"
    }

    private func float(_ value: Double, _ verb: Unicode.Scalar, _ flags: Flags) -> String? {
        guard "eEfFgGv".unicodeScalars.contains(verb) else { return nil }
        var text = GoFormat.number(value, verb == "v" ? "g" : verb, precision: flags.precision)
        if text.hasPrefix("+"), !flags.plus { text.removeFirst() }
        if value.isFinite || value.isInfinite, !text.hasPrefix("-"), !text.hasPrefix("+"), flags.plus || flags.space {
            text = (flags.plus ? "+" : " ") + text
        }
        if value.isInfinite, value > 0, !text.hasPrefix("+"), !text.hasPrefix(" ") { text = "+" + text }
        guard flags.zero, !flags.minus, value.isFinite, let width = flags.width else { return pad(text, flags) }
        let sign = text.hasPrefix("-") || text.hasPrefix("+") || text.hasPrefix(" ") ? 1 : 0
        let zeros = String(repeating: "0", count: max(0, width - text.count))
        return String(text.prefix(sign)) + zeros + text.dropFirst(sign)
    }

    /// A float by a verb; without a precision the shortest digits for `g`, six for the others.
    static func number(_ value: Double, _ verb: Unicode.Scalar, precision: Int?) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        let lower = String(verb).lowercased()
        guard let precision = precision ?? (lower == "g" ? nil : 6) else {
            return GoNumber.shortest(value)
        }
        let format = "%.\(min(precision, 500))\(lower == "f" ? "f" : String(verb))"
        return unsafe withVaList([value]) { list in
            unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
                unsafe vsnprintf(buffer.baseAddress, buffer.count, format, list)
                return unsafe String(cString: buffer.baseAddress!)
            }
        }
    }

    private func string(_ text: String, _ verb: Unicode.Scalar, _ flags: Flags) -> String? {
        var text = text
        if let precision = flags.precision {
            text = String(String.UnicodeScalarView(text.unicodeScalars.prefix(precision)))
        }
        switch verb {
        case "s", "v": break
        case "q": text = flags.sharp && !text.contains("`") ? "`\(text)`" : text.goQuoted
        case "x", "X":
            text = text.utf8.map { hexadecimal($0, digits: 2, uppercase: verb == "X") }.joined(
                separator: flags.space ? " " : "")
        default: return nil
        }
        return pad(text, flags, zero: true)
    }
}
