internal import Basics

/// Splits a query into tokens. Bytes in, ranges out; nothing is looked up here.
///
/// - SeeAlso: Prometheus, `promql/parser/lex.go`.
struct Lexer {
    private let bytes: [UInt8]
    private let text: String
    private var index = 0
    private var isInBrackets = false

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    static func tokens(of text: String) throws(ParseError) -> [Token] {
        var lexer = Lexer(text)
        var tokens: [Token] = []
        repeat { tokens.append(try lexer.next()) } while tokens.last?.kind != .end
        return tokens
    }

    private func byte(_ ahead: Int = 0) -> UInt8 { index + ahead < bytes.count ? bytes[index + ahead] : 0 }

    private func error(at start: Int, _ message: String, cure: String? = nil) -> ParseError {
        let (line, column) = SourceRange(start, start).position(in: text)
        return ParseError(line: line, column: column, message: message, cure: cure)
    }

    private mutating func next() throws(ParseError) -> Token {
        skipBlanks()
        let start = index
        guard index < bytes.count else { return Token(kind: .end, range: SourceRange(start, start)) }
        let first = bytes[index]
        switch first {
        case _ where first.isDigit || (first == UInt8(ascii: ".") && byte(1).isDigit):
            return try number()
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`"):
            return try string(quote: first)
        case _ where first.isLetter || (first == UInt8(ascii: ":") && !isInBrackets):
            return identifier()
        default:
            return try symbol()
        }
    }

    private mutating func skipBlanks() {
        while index < bytes.count {
            if bytes[index].isBlank {
                index += 1
            } else if bytes[index] == UInt8(ascii: "#") {
                while index < bytes.count, bytes[index] != 0x0A { index += 1 }
            } else {
                return
            }
        }
    }

    private mutating func symbol() throws(ParseError) -> Token {
        let start = index
        let two = bytes[index..<min(index + 2, bytes.count)]
        for symbol in ["=~", "!~", "==", "!=", "<=", ">=", "</", ">/"] where two.elementsEqual(symbol.utf8) {
            index += 2
            return Token(kind: .symbol(symbol), range: SourceRange(start, index))
        }
        let character = bytes[index]
        guard "+-*/%^<>=(){}[],:@".utf8.contains(character) else {
            let shown = text.utf8[text.utf8.index(text.startIndex, offsetBy: index)...]
            let name = Substring(shown).first.map { String($0) } ?? ""
            throw error(at: start, "unexpected character: \(name.goQuoted.singleQuoted)")
        }
        if character == UInt8(ascii: "[") { isInBrackets = true }
        if character == UInt8(ascii: "]") { isInBrackets = false }
        index += 1
        return Token(kind: .symbol(String(UnicodeScalar(character))), range: SourceRange(start, index))
    }

    private mutating func identifier() -> Token {
        let start = index
        while index < bytes.count,
            bytes[index].isLetter || bytes[index].isDigit || (bytes[index] == UInt8(ascii: ":") && !isInBrackets)
        {
            index += 1
        }
        let name = String(decoding: bytes[start..<index], as: UTF8.self)
        let range = SourceRange(start, index)
        switch name.lowercased() {
        case "inf": return Token(kind: .number(.infinity), range: range)
        case "nan": return Token(kind: .number(SpecialNumber.notANumber), range: range)
        default: return Token(kind: .identifier(name), range: range)
        }
    }

    /// A number `1_000.5e3`, `0x1F`, or a duration `1h30m`.
    private mutating func number() throws(ParseError) -> Token {
        let start = index
        while index < bytes.count {
            let character = bytes[index]
            let isExponentSign =
                (character == UInt8(ascii: "+") || character == UInt8(ascii: "-")) && index > start
                && (bytes[index - 1] | 0x20) == UInt8(ascii: "e") && !isHexadecimal(from: start)
                && byte(1).isDigit
            guard character.isLetter || character.isDigit || character == UInt8(ascii: ".") || isExponentSign
            else { break }
            index += 1
        }
        let written = String(decoding: bytes[start..<index], as: UTF8.self)
        let range = SourceRange(start, index)
        if let value = NumberText.parse(written) { return Token(kind: .number(value), range: range) }
        if let duration = DurationText.parse(written) { return Token(kind: .duration(duration), range: range) }
        throw error(
            at: start, "bad number or duration syntax: \(written.goQuoted)",
            cure: "write numbers as 1.5e3 or 0x1F and durations as 1h30m")
    }

    private func isHexadecimal(from start: Int) -> Bool {
        start + 1 < bytes.count && bytes[start] == UInt8(ascii: "0") && (bytes[start + 1] | 0x20) == UInt8(ascii: "x")
    }

    private mutating func string(quote: UInt8) throws(ParseError) -> Token {
        let start = index
        index += 1
        var content: [UInt8] = []
        while true {
            guard index < bytes.count else { throw error(at: start, "unterminated \(quoteName(quote)) string") }
            let character = bytes[index]
            index += 1
            if character == quote { break }
            if quote == UInt8(ascii: "`") {
                content.append(character)
            } else if character == 0x0A {
                throw error(at: start, "unterminated \(quoteName(quote)) string", cure: "close it on the same line")
            } else if character == UInt8(ascii: "\\") {
                try escape(quote: quote, into: &content)
            } else {
                content.append(character)
            }
        }
        return Token(
            kind: .string(String(decoding: content, as: UTF8.self)), range: SourceRange(start, index))
    }

    private func quoteName(_ quote: UInt8) -> String { quote == UInt8(ascii: "`") ? "raw" : "quoted" }

    /// Go's escapes. The backslash is read already.
    private mutating func escape(quote: UInt8, into content: inout [UInt8]) throws(ParseError) {
        let start = index - 1
        let kind = byte()
        index += 1
        let simple: [UInt8: UInt8] = [
            UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
            UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11, UInt8(ascii: "\\"): 0x5C,
        ]
        if let value = simple[kind] { return content.append(value) }
        if kind == quote { return content.append(quote) }
        let (length, radix): (Int, UInt32) =
            switch kind {
            case UInt8(ascii: "x"): (2, 16)
            case UInt8(ascii: "u"): (4, 16)
            case UInt8(ascii: "U"): (8, 16)
            case UInt8(ascii: "0")...UInt8(ascii: "7"): (3, 8)
            default: (0, 0)
            }
        if radix == 8 { index -= 1 }
        var value: UInt32 = 0
        for _ in 0..<length {
            guard let digit = byte().digitValue, digit < radix else {
                throw error(at: start, "invalid escape sequence in a string", cure: "write \\\\ for a backslash")
            }
            value = value &* radix &+ digit
            index += 1
        }
        guard length > 0 else {
            throw error(at: start, "unknown escape sequence in a string", cure: "write \\\\ for a backslash")
        }
        if kind == UInt8(ascii: "u") || kind == UInt8(ascii: "U") {
            guard let scalar = UnicodeScalar(value) else {
                throw error(at: start, "escape sequence is invalid Unicode code point")
            }
            content += Array(String(Character(scalar)).utf8)
        } else {
            guard value < 256 else { throw error(at: start, "octal escape sequence is above 255") }
            content.append(UInt8(value))
        }
    }
}

/// The NaN that a literal means.
enum SpecialNumber {
    static let notANumber = Double(bitPattern: 0x7FF8_0000_0000_0001)
}

/// Numbers as PromQL writes them: Go's floats, hexadecimal, underscores between digits.
enum NumberText {
    /// nil when it is none; an octal form such as `0755` is one, as in Prometheus.
    static func parse(_ text: String) -> Double? {
        let lower = text.lowercased()
        if lower.hasPrefix("0x") {
            let digits = lower.dropFirst(2).filter { $0 != "_" }
            return UInt64(digits, radix: 16).map { Double($0) }
        }
        let bytes = Array(lower.utf8)
        for (index, byte) in bytes.enumerated() where byte == UInt8(ascii: "_") {
            guard index > 0, bytes[index - 1].isDigit, index + 1 < bytes.count, bytes[index + 1].isDigit
            else { return nil }
        }
        guard bytes.allSatisfy({ $0.isDigit || "._e+-".utf8.contains($0) }) else { return nil }
        let plain = String(decoding: bytes.filter { $0 != UInt8(ascii: "_") }, as: UTF8.self)
        if plain.count > 1, plain.hasPrefix("0"), plain.utf8.allSatisfy({ (0x30...0x37).contains($0) }) {
            return UInt64(plain, radix: 8).map { Double($0) }
        }
        // Swift reads neither `2.` nor `.5`.
        var padded = plain.hasPrefix(".") ? "0" + plain : plain
        if let point = padded.firstIndex(of: "."), padded.index(after: point) == padded.endIndex { padded += "0" }
        if let point = padded.firstIndex(of: "."), padded[padded.index(after: point)] == "e" {
            padded.insert("0", at: padded.index(after: point))
        }
        // As in Go, a number above all floats is none.
        return Double(padded).flatMap { $0.isFinite ? $0 : nil }
    }
}

extension UInt8 {
    var isDigit: Bool { self >= 0x30 && self <= 0x39 }
    var isLetter: Bool { (self | 0x20) >= 0x61 && (self | 0x20) <= 0x7A || self == 0x5F }
    var isBlank: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
    var digitValue: UInt32? {
        switch self {
        case 0x30...0x39: UInt32(self - 0x30)
        case 0x41...0x46: UInt32(self - 0x37)
        case 0x61...0x66: UInt32(self - 0x57)
        default: nil
        }
    }
}

extension String {
    /// `'x'` from `"x"`.
    fileprivate var singleQuoted: String { "'\(dropFirst().dropLast())'" }
}
