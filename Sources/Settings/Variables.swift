public import Basics
internal import Synchronization

/// `${NAME}` in the values of files: where values come from, and which of them messages must not repeat.
///
/// A scalar may hold `${NAME}` and `${NAME:-default}`, the default where the variable is unset or empty, up to the
/// first `}`; `$${` writes `${`. What stands between `{{` and `}}` is a template and is left alone, as are keys,
/// values under `replacement` (relabelling, whose groups have names too) and any other `$`. Values are put in after
/// the file is parsed: they hold no YAML. O(*length*).
public final class Variables: Sendable {
    /// The value of a variable; nil when it is not set.
    public typealias Source = @Sendable (_ name: String) -> String?

    /// One place that names a variable.
    public struct Reference: Sendable, Hashable {
        /// The variable's name.
        public var name: String
        /// Where the scalar begins that names it.
        public var location: SourceLocation
        /// Whether a default stands beside it.
        public var hasDefault: Bool
    }

    private struct State {
        var references: [Reference] = []
        /// Values with what was written in their place; each once.
        var written: [String: String] = [:]
    }

    private let source: Source
    private let state = Mutex(State())

    /// Variables by where their values come from.
    public init(_ source: @escaping Source) { self.source = source }
    /// Variables of a table.
    public convenience init(_ table: [String: String]) { self.init { table[$0] } }

    /// The places that named a variable in the files read so far, in their order.
    public var references: [Reference] { state.withLock { $0.references } }

    /// A text with its variables put in; nil when it holds none and stays as it is.
    func expand(_ text: String, at location: SourceLocation) throws(SettingsError) -> (
        text: String, isWhole: Bool, values: [String]
    )? {
        guard text.utf8.contains(0x24) else { return nil }
        var parts = VariableScanner(text)
        var result = ""
        var values: [String] = []
        var (count, others, isChanged) = (0, 0, false)
        while let part = parts.next() {
            switch part {
            case .text(let text):
                result += text
                others += 1
            case .escape:
                result += "${"
                (others, isChanged) = (others + 1, true)
            case .unknown(let name):
                throw SettingsError(
                    location,
                    "${\(name) is no variable as written; write ${\(name)} or ${\(name):-default}, or $${ for ${")
            case .variable(let name, let fallback):
                let found = source(name)
                state.withLock {
                    $0.references.append(Reference(name: name, location: location, hasDefault: fallback != nil))
                }
                if let found, !found.isEmpty || fallback == nil {
                    if !found.isEmpty { state.withLock { $0.written[found] = "${\(name)}" } }
                    values.append(found)
                    result += found
                } else if let fallback {
                    result += fallback
                } else {
                    throw SettingsError(
                        location, "the variable \(name) is not set; set it, or write ${\(name):-default}")
                }
                (count, isChanged) = (count + 1, true)
            }
        }
        return isChanged ? (result, count == 1 && others == 0, values) : nil
    }

    /// A message without what came from variables: `${NAME}` stands in its place. Of a longer value also a piece of
    /// 12 characters is found, of one below 4 only what stands in quotes.
    public func masked(_ message: String) -> String {
        let written = state.withLock { $0.written }
        var message = message
        // The longest first: one value may hold another. Whole ones before pieces: a piece may be another's whole.
        let values = written.sorted { ($0.key.utf8.count, $0.key) > ($1.key.utf8.count, $1.key) }
        for (value, name) in values where value.utf8.count >= Variables.shortest {
            message = message.replacing(value, with: name)
        }
        for (value, name) in values { message = Variables.replacing(value, with: name, in: message) }
        return message
    }

    /// A mistake whose message is masked; its place stays.
    public func masked(_ error: SettingsError) -> SettingsError {
        SettingsError(error.location, masked(error.message))
    }

    private static let shortest = 4
    private static let piece = 12

    private static func replacing(_ value: String, with name: String, in message: String) -> String {
        guard value.utf8.count >= shortest else {
            return message.replacing("'\(value)'", with: "'\(name)'").replacing("\"\(value)\"", with: "\"\(name)\"")
        }
        let (needle, text) = (Array(value.utf8), Array(message.utf8))
        let least = min(needle.count, piece)
        guard text.count >= least else { return message }
        var starts: [ArraySlice<UInt8>: [Int]] = [:]
        for start in 0...(needle.count - least) { starts[needle[start..<start + least], default: []].append(start) }
        var result: [UInt8] = []
        var place = 0
        while place < text.count {
            var longest = 0
            if place + least <= text.count {
                for start in starts[text[place..<place + least]] ?? [] {
                    longest = max(longest, zip(needle[start...], text[place...]).prefix { $0 == $1 }.count)
                }
            }
            guard longest > 0 else {
                result.append(text[place])
                place += 1
                continue
            }
            result += Array(name.utf8)
            place += longest
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// Takes a text apart where variables stand.
struct VariableScanner: IteratorProtocol {
    enum Part: Equatable {
        case text(String)
        case variable(String, fallback: String?)
        /// `$${`.
        case escape
        /// `${NAME` and then neither `}` nor `:-`.
        case unknown(String)
    }

    private let bytes: [UInt8]
    private var place = 0

    init(_ text: String) { bytes = Array(text.utf8) }

    mutating func next() -> Part? {
        guard place < bytes.count else { return nil }
        if let part = reference() { return part }
        let start = place
        repeat {
            if starts("{{") {
                // A template is left alone, unended ones whole.
                while place < bytes.count, !starts("}}") { place += 1 }
                place = min(place + 2, bytes.count)
            } else {
                place += 1
            }
        } while place < bytes.count && !isReference
        return .text(text(start..<place))
    }

    private var isReference: Bool {
        guard bytes[place] == 0x24 else { return false }
        var copy = self
        return copy.reference() != nil
    }

    private func starts(_ text: String) -> Bool { bytes[place...].starts(with: text.utf8) }
    private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    private mutating func reference() -> Part? {
        if starts("$${") {
            place += 3
            return .escape
        }
        guard starts("${") else { return nil }
        let start = place + 2
        var end = start
        while end < bytes.count, bytes[end].isNamePart(first: end == start) { end += 1 }
        guard end > start else { return nil }  // `${1}` and the like mean something to others.
        let name = text(start..<end)
        if end < bytes.count, bytes[end] == 0x7D {
            place = end + 1
            return .variable(name, fallback: nil)
        }
        guard bytes[end...].starts(with: ":-".utf8), let close = bytes[end...].firstIndex(of: 0x7D) else {
            place = bytes.count
            return .unknown(name)
        }
        place = close + 1
        return .variable(name, fallback: text(end + 2..<close))
    }
}

extension UInt8 {
    /// Whether it may stand in a variable's name: `[A-Za-z_][A-Za-z0-9_]*`.
    func isNamePart(first: Bool) -> Bool {
        switch self {
        case 0x41...0x5A, 0x61...0x7A, 0x5F: true
        case 0x30...0x39: !first
        default: false
        }
    }
}
