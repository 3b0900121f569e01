/// A value that goes into a statement or comes out of a row. Truth values are the integers 0 and 1, moments are
/// milliseconds since the Unix epoch, money is whole millionths: the same on every database, and exact.
public enum SQLValue: Sendable, Hashable {
    case null
    case integer(Int64)
    case real(Double)
    case text(String)
    case blob([UInt8])

    /// The whole number, when it is one.
    public var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
    /// The text, when it is one.
    public var text: String? { if case .text(let value) = self { value } else { nil } }
    /// The bytes, when it is a blob.
    public var blob: [UInt8]? { if case .blob(let value) = self { value } else { nil } }
    /// The number, when it is a real or a whole one.
    public var number: Double? {
        switch self {
        case .real(let value): value
        case .integer(let value): Double(value)
        case .null, .text, .blob: nil
        }
    }
    /// Whether there is no value.
    public var isNull: Bool { self == .null }
    /// What kind of value it is, for messages: `a text`.
    public var kind: String {
        switch self {
        case .null: "NULL"
        case .integer: "a whole number"
        case .real: "a number"
        case .text: "a text"
        case .blob: "bytes"
        }
    }

    /// 1 or 0.
    public static func bool(_ value: Bool) -> SQLValue { .integer(value ? 1 : 0) }
    /// A whole number of any width that fits.
    public static func int(_ value: Int) -> SQLValue { .integer(Int64(value)) }
}

extension SQLValue: ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringLiteral,
    ExpressibleByNilLiteral
{
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .real(value) }
    public init(stringLiteral value: String) { self = .text(value) }
    public init(nilLiteral: ()) { self = .null }
}

/// The names of a result's columns, shared by its rows.
public final class SQLColumns: Sendable {
    /// In the order of the result.
    public let names: [String]
    private let places: [String: Int]

    init(_ names: [String]) {
        self.names = names
        places = Dictionary(names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    }

    func place(of name: String) -> Int? { places[name] }
}

/// One row of a result.
public struct SQLRow: Sendable {
    /// Its columns' names.
    public let columns: SQLColumns
    /// As many values as columns.
    public let values: [SQLValue]

    init(columns: SQLColumns, values: [SQLValue]) { (self.columns, self.values) = (columns, values) }

    /// The value at a place.
    public subscript(place: Int) -> SQLValue { values[place] }
    /// The value of a column; NULL when the result has no such column.
    public subscript(name: String) -> SQLValue { columns.place(of: name).map { values[$0] } ?? .null }
    /// Whether the result has a column of that name.
    public func has(_ name: String) -> Bool { columns.place(of: name) != nil }

    /// A column's whole number; anything else there is an error.
    public func integer(_ name: String) throws(SQLError) -> Int64 {
        guard let value = self[name].integer else { throw mismatch(name, "a whole number") }
        return value
    }
    /// A column's text; anything else there is an error.
    public func text(_ name: String) throws(SQLError) -> String {
        guard let value = self[name].text else { throw mismatch(name, "a text") }
        return value
    }

    private func mismatch(_ name: String, _ wanted: String) -> SQLError {
        guard has(name) else { return SQLError(.refused, "the result has no column '\(name)'") }
        return SQLError(.refused, "the column '\(name)' holds \(self[name].kind) where \(wanted) is expected")
    }
}
