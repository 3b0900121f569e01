/// A mistake in a JSON text, with its place.
public struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// 1-based, the column in bytes.
    public let line: Int, column: Int
    /// What is wrong.
    public let message: String
    /// `line:column: message`.
    public var description: String { "\(line):\(column): \(message)" }
}

extension JSON {
    /// Reads one JSON text, strictly; nesting deeper than `maximumDepth` is refused. O(*n*).
    public init(parsing bytes: some Sequence<UInt8>, maximumDepth: Int = 128) throws(JSONError) {
        var parser = JSONParser(bytes: Array(bytes), maximumDepth: maximumDepth)
        self = try parser.document()
    }

    /// Reads one JSON text, strictly, and hands over the elements of a list one by one, so that a list of a hundred
    /// thousand is never in memory as a whole. A mistake is told when it is come to: elements before it were handed
    /// over.
    ///
    /// - Returns: The value, when it is no list.
    public static func elements(parsing bytes: [UInt8], _ take: (JSON) -> Void) throws(JSONError) -> JSON? {
        var parser = JSONParser(bytes: bytes, maximumDepth: 128)
        return try parser.elements(take)
    }

    /// Reads one JSON text, strictly.
    public init(parsing text: String) throws(JSONError) { try self.init(parsing: text.utf8) }
}

private struct JSONParser {
    let bytes: [UInt8]
    let maximumDepth: Int
    var index = 0

    init(bytes: [UInt8], maximumDepth: Int) { (self.bytes, self.maximumDepth) = (bytes, maximumDepth) }

    func failure(_ message: String) -> JSONError {
        let before = bytes[..<min(index, bytes.count)]
        let line = before.count { $0 == 0x0A } + 1
        let column = before.count - (before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0) + 1
        return JSONError(line: line, column: column, message: message)
    }

    mutating func document() throws(JSONError) -> JSON {
        let value = try value(depth: 0)
        skipSpace()
        guard index == bytes.count else { throw failure("nothing may follow the value") }
        return value
    }

    mutating func elements(_ take: (JSON) -> Void) throws(JSONError) -> JSON? {
        skipSpace()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "[") else { return try document() }
        try array(depth: 0, take)
        skipSpace()
        guard index == bytes.count else { throw failure("nothing may follow the value") }
        return nil
    }

    mutating func skipSpace() {
        while index < bytes.count {
            let byte = bytes[index]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            index += 1
        }
    }

    mutating func value(depth: Int) throws(JSONError) -> JSON {
        guard depth < maximumDepth else { throw failure("nested deeper than \(maximumDepth)") }
        skipSpace()
        guard index < bytes.count else { throw failure("a value is missing") }
        switch bytes[index] {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), 0x30...0x39: return .number(try number())
        default: throw failure("unexpected character")
        }
    }

    mutating func word(_ text: String, _ value: JSON) throws(JSONError) -> JSON {
        guard bytes[index...].starts(with: text.utf8) else { throw failure("unexpected word") }
        index += text.utf8.count
        return value
    }

    mutating func object(depth: Int) throws(JSONError) -> JSON {
        index += 1
        var members: [JSON.Member] = []
        // Few names are compared faster than they are looked up.
        var places: [ByteText: Int] = [:]
        skipSpace()
        if index < bytes.count, bytes[index] == UInt8(ascii: "}") {
            index += 1
            return .object([])
        }
        while true {
            skipSpace()
            guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { throw failure("a name is missing") }
            let name = try string()
            skipSpace()
            guard index < bytes.count, bytes[index] == UInt8(ascii: ":") else { throw failure("':' is missing") }
            index += 1
            let value = try value(depth: depth + 1)
            if members.count == 16 {
                for (place, member) in members.enumerated() { places[ByteText(member.name)] = place }
            }
            if let place = members.count < 16
                ? members.firstIndex(where: { $0.name.isSame(as: name) }) : places[ByteText(name)]
            {
                members[place].value = value
            } else {
                if members.count >= 16 { places[ByteText(name)] = members.count }
                members.append(JSON.Member(name, value))
            }
            if try endOfList(closing: UInt8(ascii: "}")) { return .object(members) }
        }
    }

    mutating func array(depth: Int) throws(JSONError) -> JSON {
        var elements: [JSON] = []
        try array(depth: depth) { elements.append($0) }
        return .array(elements)
    }

    mutating func array(depth: Int, _ take: (JSON) -> Void) throws(JSONError) {
        index += 1
        skipSpace()
        if index < bytes.count, bytes[index] == UInt8(ascii: "]") {
            index += 1
            return
        }
        repeat { take(try value(depth: depth + 1)) } while try !endOfList(closing: UInt8(ascii: "]"))
    }

    mutating func endOfList(closing: UInt8) throws(JSONError) -> Bool {
        skipSpace()
        guard index < bytes.count, bytes[index] == closing || bytes[index] == UInt8(ascii: ",") else {
            throw failure("',' or '\(Character(Unicode.Scalar(closing)))' is missing")
        }
        index += 1
        return bytes[index - 1] == closing
    }

    mutating func number() throws(JSONError) -> Double {
        let start = index
        func digits(_ index: inout Int) -> Int {
            let start = index
            while index < bytes.count, (0x30...0x39).contains(bytes[index]) { index += 1 }
            return index - start
        }
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let whole = index
        let count = digits(&index)
        guard count > 0, count == 1 || bytes[whole] != 0x30 else { throw failure("bad number") }
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            index += 1
            guard digits(&index) > 0 else { throw failure("bad number") }
        }
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") {
                index += 1
            }
            guard digits(&index) > 0 else { throw failure("bad number") }
        }
        guard let value = Double(String(decoding: bytes[start..<index], as: UTF8.self)) else {
            throw failure("bad number")
        }
        return value
    }

    mutating func string() throws(JSONError) -> String {
        index += 1
        let start = index
        while index < bytes.count, bytes[index] >= 0x20, bytes[index] != UInt8(ascii: "\""),
            bytes[index] != UInt8(ascii: "\\")
        {
            index += 1
        }
        if index < bytes.count, bytes[index] == UInt8(ascii: "\"") {
            index += 1
            guard let valid = String(validating: bytes[start..<index - 1], as: UTF8.self) else {
                throw failure("invalid UTF-8")
            }
            return valid
        }
        var text = Array(bytes[start..<index])
        while true {
            guard index < bytes.count else { throw failure("the string does not end") }
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                guard let valid = String(validating: text, as: UTF8.self) else { throw failure("invalid UTF-8") }
                return valid
            case UInt8(ascii: "\\"): try escape(into: &text)
            case ..<0x20: throw failure("a control character must be escaped")
            default:
                text.append(byte)
                index += 1
            }
        }
    }

    mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        guard index + 1 < bytes.count else { throw failure("the string does not end") }
        let simple: [UInt8: UInt8] = [
            UInt8(ascii: "n"): 0x0A, UInt8(ascii: "t"): 0x09, UInt8(ascii: "r"): 0x0D, UInt8(ascii: "b"): 0x08,
            UInt8(ascii: "f"): 0x0C, UInt8(ascii: "\""): 0x22, UInt8(ascii: "\\"): 0x5C, UInt8(ascii: "/"): 0x2F,
        ]
        let letter = bytes[index + 1]
        if let plain = simple[letter] {
            text.append(plain)
            index += 2
            return
        }
        guard letter == UInt8(ascii: "u"), let unit = hexadecimal(at: index + 2) else { throw failure("bad escape") }
        index += 6
        var scalar = UInt32(unit)
        if (0xD800..<0xDC00).contains(unit) {
            guard index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u"),
                let low = hexadecimal(at: index + 2), (0xDC00..<0xE000).contains(low)
            else { throw failure("half of a surrogate pair") }
            index += 6
            scalar = 0x10000 + (UInt32(unit) - 0xD800) << 10 + (UInt32(low) - 0xDC00)
        }
        guard let valid = Unicode.Scalar(scalar) else { throw failure("half of a surrogate pair") }
        text += Array(String(Character(valid)).utf8)
    }

    func hexadecimal(at start: Int) -> UInt16? {
        guard start + 4 <= bytes.count else { return nil }
        return UInt16(String(decoding: bytes[start..<start + 4], as: UTF8.self), radix: 16)
    }
}
