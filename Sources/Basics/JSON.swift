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
        case .null: output.append(literal: "null")
        case .bool(let bool): output.append(literal: bool ? "true" : "false")
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
            output.append(decimal: whole)
        } else {
            output += (number.isFinite ? "\(number)" : "null").utf8
        }
    }

    /// Appends a text in quotes, control characters, quotes and `<`, `>`, `&` escaped, the latter so that it may stand
    /// in a page.
    public static func write(_ text: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        let isWritten: Void? = unsafe text.utf8.withContiguousStorageIfAvailable { bytes in
            // Runs of bytes that stand for themselves are copied whole.
            var start = 0
            for index in 0..<bytes.count where unsafe mustEscape(bytes[index]) {
                unsafe output.append(contentsOf: bytes[start..<index])
                unsafe escape(bytes[index], to: &output)
                start = index + 1
            }
            unsafe output.append(contentsOf: bytes[start...])
        }
        if isWritten == nil {
            for byte in text.utf8 { if mustEscape(byte) { escape(byte, to: &output) } else { output.append(byte) } }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// Appends an object of texts, its members sorted by name, as `JSON(strings)` writes it.
    public static func write(_ strings: [String: String], to output: inout [UInt8]) {
        output.append(UInt8(ascii: "{"))
        if strings.count < 2 {
            for (name, value) in strings { writeMember(name, value, to: &output) }
        } else {
            var isFirst = true
            for (name, value) in strings.sorted(by: { $0.key < $1.key }) {
                if !isFirst { output.append(UInt8(ascii: ",")) }
                isFirst = false
                writeMember(name, value, to: &output)
            }
        }
        output.append(UInt8(ascii: "}"))
    }

    /// Appends `"name":"value"`.
    public static func writeMember(_ name: String, _ value: String, to output: inout [UInt8]) {
        write(name, to: &output)
        output.append(UInt8(ascii: ":"))
        write(value, to: &output)
    }

    private static func mustEscape(_ byte: UInt8) -> Bool {
        // `"`, `&`, `<` and `>` as bits of the bytes 0x20 to 0x3F.
        let escaped: UInt64 = 1 << 0x22 | 1 << 0x26 | 1 << 0x3C | 1 << 0x3E | 0xFFFF_FFFF
        return byte < 0x40 ? escaped >> UInt64(byte) & 1 != 0 : byte == UInt8(ascii: "\\")
    }

    private static func escape(_ byte: UInt8, to output: inout [UInt8]) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            output.append(UInt8(ascii: "\\"))
            output.append(byte)
        case 0x0A: output.append(literal: "\\n")
        case 0x0D: output.append(literal: "\\r")
        case 0x09: output.append(literal: "\\t")
        default:
            output.append(literal: "\\u00")
            for digit in [byte >> 4, byte & 15] { output.append(digit < 10 ? 0x30 + digit : 0x57 + digit) }
        }
    }
}

extension [UInt8] {
    /// Appends the UTF-8 of a literal.
    public mutating func append(literal text: StaticString) {
        unsafe append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends a whole number in at least so many decimal digits.
    public mutating func append(decimal number: Int64, digits: Int = 1) {
        if number < 0 { append(UInt8(ascii: "-")) }
        // The twenty digits that a number may have, the last one first.
        var reversed = InlineArray<20, UInt8>(repeating: 0x30)
        var (rest, count) = (number.magnitude, 0)
        repeat {
            let next = rest / 10
            reversed[count] = 0x30 + UInt8(truncatingIfNeeded: rest - next * 10)
            rest = next
            count += 1
        } while rest > 0
        for _ in count..<Swift.max(count, digits) { append(0x30) }
        while count > 0 {
            count -= 1
            append(reversed[count])
        }
    }

    /// Appends 16 hexadecimal digits.
    public mutating func append(hexadecimal number: UInt64) {
        for shift in stride(from: 60, through: 0, by: -4) {
            let digit = UInt8(truncatingIfNeeded: number >> UInt64(shift) & 15)
            append(digit < 10 ? 0x30 + digit : 0x57 + digit)
        }
    }
}
