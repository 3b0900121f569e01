public import Basics
public import Model

/// A value that a template works on.
public enum TemplateValue: Sendable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case list([TemplateValue])
    case map(TemplateMap)
    /// Prints as Go's `time.Time`.
    case time(Timestamp)
    /// Nanoseconds; prints as Go's `time.Duration`, `1m30s`.
    case duration(Int64)
    /// Something with methods.
    case object(any TemplateObject)

    /// A label set or an annotation set: a missing key reads as "".
    public static func strings(_ strings: [String: String]) -> TemplateValue {
        .map(TemplateMap(strings.mapValues { .string($0) }, isOfStrings: true))
    }
    /// A label set.
    public static func labels(_ labels: Labels) -> TemplateValue { .strings(labels.dictionary) }
    /// Named values; a missing key reads as `<no value>`.
    public static func fields(_ fields: [String: TemplateValue]) -> TemplateValue { .map(TemplateMap(fields)) }
}

/// Names and values, in the byte order of the names.
public struct TemplateMap: Sendable {
    /// In the byte order of the names.
    public let entries: [(key: String, value: TemplateValue)]
    private let index: [String: Int]
    /// Whether all values are texts, so that a missing one reads as "".
    public let isOfStrings: Bool

    /// A map of entries.
    public init(_ entries: [String: TemplateValue], isOfStrings: Bool = false) {
        self.entries = entries.sorted { $0.key.isBefore($1.key) }.map { (key: $0.key, value: $0.value) }
        index = Dictionary(uniqueKeysWithValues: self.entries.enumerated().map { ($1.key, $0) })
        self.isOfStrings = isOfStrings
    }

    /// The value under a key; what Go's `missingkey=zero` gives when there is none.
    public subscript(key: String) -> TemplateValue {
        index[key].map { entries[$0].value } ?? (isOfStrings ? .string("") : .null)
    }
    /// Whether there is such a key.
    public func has(_ key: String) -> Bool { index[key] != nil }
}

/// A value with methods, such as `.Alerts` with `.Firing`.
public protocol TemplateObject: Sendable {
    /// What it is to `range`, `len`, `index` and printing.
    var plain: TemplateValue { get }
    /// How it prints.
    var text: String { get }
    /// As `toJson` writes it.
    var json: JSON { get }
    /// The value of a field or method; nil when there is none of that name.
    func member(_ name: String, _ arguments: [TemplateValue]) throws(TemplateFailure) -> TemplateValue?
}

extension TemplateObject {
    /// As what it is to printing.
    public var text: String { plain.text }
    /// As what it is to printing.
    public var json: JSON { plain.json }
}

extension TemplateValue {
    /// The value itself, of an object what it is to printing.
    public var plain: TemplateValue { if case .object(let object) = self { object.plain.plain } else { self } }

    /// Go's truth: not empty, not zero.
    public var isTrue: Bool {
        switch plain {
        case .null: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .double(let value): value != 0
        case .string(let text): !text.isEmpty
        case .list(let items): !items.isEmpty
        case .map(let map): !map.entries.isEmpty
        case .duration(let length): length != 0
        case .time, .object: true
        }
    }

    /// Go's name of its type.
    public var typeName: String {
        switch plain {
        case .null: "<nil>"
        case .bool: "bool"
        case .int: "int"
        case .double: "float64"
        case .string: "string"
        case .list: "[]interface {}"
        case .map(let map): map.isOfStrings ? "map[string]string" : "map[string]interface {}"
        case .time: "time.Time"
        case .duration: "time.Duration"
        case .object: "object"
        }
    }

    /// As Go's `fmt.Sprint` writes it inside another value.
    public var text: String {
        if case .object(let object) = self { return object.text }
        return switch plain {
        case .null: "<nil>"
        case .bool(let value): value ? "true" : "false"
        case .int(let value): String(value)
        case .double(let value): GoNumber.shortest(value)
        case .string(let text): text
        case .list(let items): "[" + items.map(\.text).joined(separator: " ") + "]"
        case .map(let map): "map[" + map.entries.map { "\($0.key):\($0.value.text)" }.joined(separator: " ") + "]"
        case .time(let moment): goText(moment)
        case .duration(let length): goText(nanoseconds: length)
        case .object(let object): object.text
        }
    }
}

/// Go's `Time.String` in UTC: `2026-11-20 03:00:00.5 +0000 UTC`.
func goText(_ moment: Timestamp) -> String {
    let text = moment.rfc3339(trimmed: true).dropLast()
    return text.replacing("T", with: " ") + " +0000 UTC"
}

/// Go's `Duration.String`: `1h0m30s`, `1.5s`, `20ms`.
func goText(nanoseconds: Int64) -> String {
    if nanoseconds == 0 { return "0s" }
    let sign = nanoseconds < 0 ? "-" : ""
    let size = nanoseconds.magnitude
    func scaled(_ unit: UInt64, _ value: UInt64) -> String {
        let whole = value / unit
        var rest = String(value % unit)
        rest = String(repeating: "0", count: String(unit).count - 1 - rest.count) + rest
        while rest.hasSuffix("0") { rest.removeLast() }
        return rest.isEmpty ? "\(whole)" : "\(whole).\(rest)"
    }
    switch size {
    case ..<1000: return "\(sign)\(size)ns"
    case ..<1_000_000: return "\(sign)\(scaled(1000, size))µs"
    case ..<1_000_000_000: return "\(sign)\(scaled(1_000_000, size))ms"
    default: break
    }
    let (hours, minutes) = (size / 3_600_000_000_000, size / 60_000_000_000 % 60)
    let seconds = scaled(1_000_000_000, size % 60_000_000_000) + "s"
    if hours > 0 { return "\(sign)\(hours)h\(minutes)m\(seconds)" }
    return minutes > 0 ? "\(sign)\(minutes)m\(seconds)" : sign + seconds
}
