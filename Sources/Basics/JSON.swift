/// A JSON value (RFC 8259). Objects keep the order of their members; a repeated name keeps its last value.
public enum JSON: Hashable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([Member])

    /// A name and its value.
    public struct Member: Hashable, Sendable {
        /// The name and the value.
        public var name: String, value: JSON
        /// A member by its parts.
        public init(_ name: String, _ value: JSON) { (self.name, self.value) = (name, value) }
    }

    /// An object from a dictionary, its members sorted by name.
    public init(_ strings: [String: String]) {
        self = .object(strings.sorted { $0.key < $1.key }.map { Member($0.key, .string($0.value)) })
    }

    /// The member of that name, nil when this is no object or has none. O(*n*).
    public subscript(name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.name == name }?.value
    }
    /// The element at that place, nil when this is no array or is shorter.
    public subscript(index: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }
    /// The text, when it is one.
    public var string: String? { if case .string(let text) = self { text } else { nil } }
    /// The number, when it is one.
    public var number: Double? { if case .number(let number) = self { number } else { nil } }
    /// The number, when it is a whole one.
    public var integer: Int? { number.flatMap { Int(exactly: $0) } }
    /// The truth value, when it is one.
    public var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }
    /// The elements, when it is an array.
    public var array: [JSON]? { if case .array(let elements) = self { elements } else { nil } }
    /// The members, when it is an object.
    public var members: [Member]? { if case .object(let members) = self { members } else { nil } }
    /// The members whose values are texts, when it is an object.
    public var strings: [String: String]? {
        members.map { Dictionary($0.compactMap { m in m.value.string.map { (m.name, $0) } }, uniquingKeysWith: { $1 }) }
    }

    /// What kind of value it is, for messages: `a number`.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByFloatLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map { Member($0.0, $0.1) }) }
    public init(nilLiteral: ()) { self = .null }
}

extension JSON {
    /// The shortest text, in UTF-8. Numbers that JSON cannot tell (NaN, infinities) are written as null.
    public func serialized() -> [UInt8] {
        var output: [UInt8] = []
        write(to: &output)
        return output
    }

    /// The shortest text.
    public var text: String { String(decoding: serialized(), as: UTF8.self) }

    /// Appends the shortest text.
    public func write(to output: inout [UInt8]) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let bool): output += (bool ? "true" : "false").utf8
        case .number(let number): JSON.write(number, to: &output)
        case .string(let text): JSON.write(text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                JSON.write(member.name, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    /// Appends a number: whole ones without a point, null for what JSON cannot tell.
    public static func write(_ number: Double, to output: inout [UInt8]) {
        if let whole = Int64(exactly: number), whole.magnitude < 1 << 53 {
            output += String(whole).utf8
        } else {
            output += (number.isFinite ? "\(number)" : "null").utf8
        }
    }

    /// Appends a text in quotes, control characters, quotes and `<`, `>`, `&` escaped, the latter so that it may stand
    /// in a page.
    public static func write(_ text: String, to output: inout [UInt8]) {
        let hexadecimal: [UInt8] = Array("0123456789abcdef".utf8)
        output.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output += [UInt8(ascii: "\\"), byte]
            case 0x0A: output += "\\n".utf8
            case 0x0D: output += "\\r".utf8
            case 0x09: output += "\\t".utf8
            case ..<0x20, UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: "&"):
                output += "\\u00".utf8
                output.append(hexadecimal[Int(byte >> 4)])
                output.append(hexadecimal[Int(byte & 15)])
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }
}
