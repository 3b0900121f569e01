internal import Basics

/// A piece of a template.
struct Token {
    enum Kind: Equatable {
        case text, leftDelimiter, rightDelimiter
        case identifier, field, variable, dot
        case bool, null, character, string, rawString, number
        case pipe, comma, assign, declare, leftParenthesis, rightParenthesis
        case other, end
    }
    var kind: Kind
    /// As written; of text, what is left after trimming.
    var text: String
    var offset: Int
    /// Whether white space stood before it.
    var hasSpace = false
}

/// Cuts a template into tokens.
///
/// - SeeAlso: Go, `text/template/parse/lex.go`.
struct TemplateLexer {
    struct Failure: Error {
        var offset: Int
        var message: String
    }

    private let bytes: [UInt8]
    private var index = 0
    private var tokens: [Token] = []
    private var parentheses = 0

    init(_ text: String) { bytes = Array(text.utf8) }

    mutating func run() throws(Failure) -> [Token] {
        var trimsNext = false
        while index < bytes.count {
            let start = index
            let open = find("{{", from: index)
            var end = open ?? bytes.count
            let trimsBefore = open.map { at($0 + 2, is: "-") && $0 + 3 < bytes.count && bytes[$0 + 3].isSpace } ?? false
            var begin = start
            if trimsNext {
                while begin < end, bytes[begin].isSpace { begin += 1 }
            }
            if trimsBefore {
                while end > begin, bytes[end - 1].isSpace { end -= 1 }
            }
            if end > begin { tokens.append(Token(kind: .text, text: string(begin..<end), offset: begin)) }
            guard let open else { break }
            index = open + 2 + (trimsBefore ? 1 : 0)
            let inner = trimsBefore ? skippingSpace(index) : index
            if at(inner, is: "/*") {
                trimsNext = try comment(from: inner, opened: open)
            } else {
                tokens.append(Token(kind: .leftDelimiter, text: "{{", offset: open))
                trimsNext = try action(opened: open)
            }
        }
        tokens.append(Token(kind: .end, text: "EOF", offset: bytes.count))
        return tokens
    }

    private mutating func comment(from start: Int, opened: Int) throws(Failure) -> Bool {
        guard let close = find("*/", from: start + 2) else {
            throw Failure(offset: opened, message: "unclosed comment")
        }
        let after = skippingSpace(close + 2)
        let trims = after > close + 2 && at(after, is: "-}}")
        index = trims ? after + 1 : close + 2
        guard at(index, is: "}}") else {
            throw Failure(offset: opened, message: "comment ends before closing delimiter")
        }
        index += 2
        return trims
    }

    /// The tokens up to `}}`; whether white space behind it is to be trimmed.
    private mutating func action(opened: Int) throws(Failure) -> Bool {
        parentheses = 0
        while true {
            let start = index
            index = skippingSpace(index)
            let hasSpace = index > start
            let trims = hasSpace && at(index, is: "-}}")
            if trims || at(index, is: "}}") {
                guard parentheses == 0 else { throw Failure(offset: index, message: "unclosed left paren") }
                tokens.append(Token(kind: .rightDelimiter, text: "}}", offset: index, hasSpace: hasSpace))
                index += trims ? 3 : 2
                return trims
            }
            guard index < bytes.count else { throw Failure(offset: opened, message: "unclosed action") }
            var token = try token()
            token.hasSpace = hasSpace
            tokens.append(token)
        }
    }

    private mutating func token() throws(Failure) -> Token {
        let start = index
        let byte = bytes[index]
        func single(_ kind: Token.Kind, _ length: Int = 1) -> Token {
            Token(kind: kind, text: string(start..<start + length), offset: start)
        }
        switch byte {
        case UInt8(ascii: ":"):
            guard at(index + 1, is: "=") else { throw Failure(offset: start, message: "expected :=") }
            index += 2
            return single(.declare, 2)
        case UInt8(ascii: "="), UInt8(ascii: "|"), UInt8(ascii: ","):
            index += 1
            return single(byte == UInt8(ascii: "=") ? .assign : byte == UInt8(ascii: "|") ? .pipe : .comma)
        case UInt8(ascii: "("):
            (index, parentheses) = (index + 1, parentheses + 1)
            return single(.leftParenthesis)
        case UInt8(ascii: ")"):
            (index, parentheses) = (index + 1, parentheses - 1)
            guard parentheses >= 0 else { throw Failure(offset: start, message: "unexpected right paren") }
            return single(.rightParenthesis)
        case UInt8(ascii: "\""), UInt8(ascii: "`"), UInt8(ascii: "'"): return try quoted(byte)
        case UInt8(ascii: "$"): return try word(.variable)
        case UInt8(ascii: ".") where !(index + 1 < bytes.count && bytes[index + 1].isDigit):
            return try index + 1 < bytes.count && bytes[index + 1].isWord ? word(.field) : word(.dot)
        case _ where byte.isDigit, UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): return try number()
        case _ where byte.isWord: return try word(.identifier)
        default:
            guard byte > 0x20, byte < 0x7F else { throw bad("unrecognized character in action: ", at: start) }
            index += 1
            return single(.other)
        }
    }

    private mutating func word(_ kind: Token.Kind) throws(Failure) -> Token {
        let start = index
        index += 1
        if kind != .dot {
            while index < bytes.count, bytes[index].isWord { index += 1 }
        }
        guard isTerminated else { throw bad("bad character ", at: index) }
        let text = string(start..<index)
        if kind == .identifier {
            if text == "true" || text == "false" { return Token(kind: .bool, text: text, offset: start) }
            if text == "nil" { return Token(kind: .null, text: text, offset: start) }
        }
        return Token(kind: kind, text: text, offset: start)
    }

    private mutating func number() throws(Failure) -> Token {
        let start = index
        if bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
        let isHexadecimal = at(index, is: "0x") || at(index, is: "0X")
        while index < bytes.count {
            let byte = bytes[index]
            let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
            let follows = bytes[index - 1] | 0x20 == UInt8(ascii: isHexadecimal ? "p" : "e")
            guard byte.isWord || byte == UInt8(ascii: ".") || (isSign && index > start && follows) else { break }
            index += 1
        }
        let text = string(start..<index)
        guard isTerminated, text.utf8.contains(where: { $0.isDigit }) else {
            if index == start + 1, !bytes[start].isDigit, bytes[start] != UInt8(ascii: ".") {
                return Token(kind: .number, text: text, offset: start)
            }
            throw Failure(offset: start, message: "bad number syntax: \(text.goQuoted)")
        }
        return Token(kind: .number, text: text, offset: start)
    }

    private mutating func quoted(_ quote: UInt8) throws(Failure) -> Token {
        let start = index
        let isRaw = quote == UInt8(ascii: "`")
        index += 1
        while index < bytes.count, bytes[index] != quote, isRaw || bytes[index] != 0x0A {
            index += !isRaw && bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard index < bytes.count, bytes[index] == quote else {
            let what = isRaw ? "raw quoted string" : quote == UInt8(ascii: "'") ? "character constant" : "quoted string"
            throw Failure(offset: start, message: "unterminated \(what)")
        }
        index += 1
        let kind: Token.Kind = isRaw ? .rawString : quote == UInt8(ascii: "'") ? .character : .string
        return Token(kind: kind, text: string(start..<index), offset: start)
    }

    /// Whether what follows may follow a name or a number.
    private var isTerminated: Bool {
        guard index < bytes.count else { return true }
        let byte = bytes[index]
        return byte.isSpace || ".,|:=()".utf8.contains(byte) || at(index, is: "}}")
    }

    private func bad(_ what: String, at offset: Int) -> Failure {
        let rest = String(decoding: bytes[offset..<min(offset + 4, bytes.count)], as: UTF8.self)
        guard let scalar = rest.unicodeScalars.first else { return Failure(offset: offset, message: what + "EOF") }
        let code = hexadecimal(scalar.value, digits: 4, uppercase: true)
        return Failure(offset: offset, message: "\(what)U+\(code) '\(scalar)'")
    }

    private func string(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    private func at(_ offset: Int, is text: String) -> Bool {
        offset + text.utf8.count <= bytes.count && zip(text.utf8, bytes[offset...]).allSatisfy { $0 == $1 }
    }

    private func find(_ text: String, from start: Int) -> Int? {
        let first = text.utf8.first
        var offset = start
        while offset < bytes.count {
            if bytes[offset] == first, at(offset, is: text) { return offset }
            offset += 1
        }
        return nil
    }

    private func skippingSpace(_ start: Int) -> Int {
        var offset = start
        while offset < bytes.count, bytes[offset].isSpace { offset += 1 }
        return offset
    }
}

extension UInt8 {
    /// Go's trim set: space, tab, carriage return, line feed.
    var isSpace: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }
    var isDigit: Bool { self >= 0x30 && self <= 0x39 }
    /// A letter, digit, underscore or part of a character beyond ASCII.
    var isWord: Bool { isDigit || (self | 0x20 >= 0x61 && self | 0x20 <= 0x7A) || self == 0x5F || self >= 0x80 }
}
