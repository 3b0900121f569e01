public import Basics

/// A value of a YAML file with its place: a text, a list or a map.
public struct SettingsNode: Sendable {
    /// How a text was written.
    enum Style: Sendable {
        case plain, singleQuoted, doubleQuoted, block
        /// Unquoted with variables put in, or nothing but one `${NAME}`: read by the type of its key.
        case variable
    }
    enum Content: Sendable {
        case scalar(String, Style)
        case list([SettingsNode])
        case map([Pair])
    }
    struct Pair: Sendable {
        var key: SettingsNode
        var value: SettingsNode
    }

    let content: Content
    let file: SettingsFile
    let offset: Int
    /// The text of the file and the values put into it, when variables stand there.
    let expansion: Expansion?
    /// A class: seldom there, and a word in each node.
    final class Expansion: Sendable {
        let written: String, values: [String]
        init(written: String, values: [String]) { (self.written, self.values) = (written, values) }
    }
    var written: String? { expansion?.written }

    init(_ content: Content, file: SettingsFile, offset: Int, expansion: Expansion? = nil) {
        (self.content, self.file, self.offset, self.expansion) = (content, file, offset, expansion)
    }

    /// What variables gave here and below.
    var variableValues: [String] {
        switch content {
        case .scalar: expansion?.values ?? []
        case .list(let items): items.flatMap(\.variableValues)
        case .map(let pairs): pairs.flatMap(\.value.variableValues)
        }
    }

    /// The same with the text of the file in place of what variables made of it, for whoever shows it.
    public var asWritten: SettingsNode {
        guard let written else { return self }
        return SettingsNode(.scalar(written, .singleQuoted), file: file, offset: offset)
    }

    /// Where it begins.
    public var location: SourceLocation { file.location(offset: offset) }

    /// Whether nothing is given: `~`, `null` or no text at all, unquoted.
    public var isNull: Bool {
        guard case .scalar(let text, .plain) = content else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(text)
    }

    /// Whether it is a list or a map without entries.
    var isEmpty: Bool {
        switch content {
        case .scalar: false
        case .list(let items): items.isEmpty
        case .map(let pairs): pairs.isEmpty
        }
    }

    /// A mistake here.
    public func error(_ message: String) -> SettingsError { SettingsError(location, message) }

    /// The entries of a map; null is no map.
    public func map() throws(SettingsError) -> SettingsMap { try SettingsMap(self) }

    /// The items of a list; null is an empty one.
    public func list() throws(SettingsError) -> [SettingsNode] {
        if isNull { return [] }
        guard case .list(let items) = content else { throw expected("a list") }
        return items
    }

    /// The text of a scalar of any kind: `5` reads as "5".
    public func text() throws(SettingsError) -> String {
        guard case .scalar(let text, _) = content else { throw expected("a text") }
        return text
    }

    /// The text of an unquoted scalar, since `"5"` is no number.
    func plain(_ what: String) throws(SettingsError) -> String {
        switch content {
        case .scalar(let text, .plain) where !isNull: return text
        case .scalar(let text, .variable): return text
        default: throw expected(what)
        }
    }

    func expected(_ what: String) -> SettingsError {
        switch content {
        case .scalar where written != nil: error("expected \(what), found something else in '\(written ?? "")'")
        case .scalar where isNull: error("expected \(what), found nothing")
        case .scalar(let text, .plain): error("expected \(what), found '\(text.prefix(60))'")
        case .scalar: error("expected \(what), found a quoted text")
        case .list: error("expected \(what), found a list")
        case .map: error("expected \(what), found a map")
        }
    }

    /// The path of a file named in this one: relative paths start from the folder of this file.
    public func path() throws(SettingsError) -> String {
        try resolved(text())
    }

    func resolved(_ path: String) -> String {
        path.hasPrefix("/") || path.isEmpty ? path : file.folder + path
    }
}

/// A text with its place, for texts that are themselves parsed, such as expressions.
public struct SettingsValue: Sendable, Hashable, CustomStringConvertible {
    /// The text, without quotes and escapes.
    public let text: String
    private let node: SettingsNode?

    init(_ text: String, _ node: SettingsNode) { (self.text, self.node) = (text, node) }

    /// A text that stands in no file.
    public init(_ text: String) { (self.text, node) = (text, nil) }

    /// The text as it stands in the file, `${NAME}` for what a variable gave.
    public var written: String { node?.written ?? text }
    /// Where the scalar begins, its quote or `|` included.
    public var location: SourceLocation { node?.location ?? SourceLocation(file: "") }
    /// The text.
    public var description: String { text }

    /// By the text alone.
    public static func == (left: SettingsValue, right: SettingsValue) -> Bool { left.text == right.text }
    /// By the text alone.
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }

    /// The place in the file of a line and a column of the text (both from 1, the column in bytes), across quotes,
    /// escapes, block indentation and folding. O(*n*): for messages.
    public func location(line: Int, column: Int) -> SourceLocation {
        var offset = 0
        var rest = line - 1
        let bytes = Array(text.utf8)
        while rest > 0, let end = bytes[offset...].firstIndex(of: 0x0A) {
            offset = end + 1
            rest -= 1
        }
        return location(offset: offset + column - 1)
    }

    /// The place in the file of a byte of the text, counted from 0.
    public func location(offset target: Int) -> SourceLocation {
        // Where variables were put in, the text's places are not the file's.
        guard let node, node.written == nil, case .scalar(_, let style) = node.content else { return location }
        let (text, file) = (Array(text.utf8), node.file.bytes)
        var place = node.offset
        switch style {
        case .plain, .variable: break
        case .singleQuoted, .doubleQuoted: place += 1
        case .block: place = file[place...].firstIndex(of: 0x0A).map { $0 + 1 } ?? file.count
        }
        var index = 0
        // Both are walked together: runs of white space differ by folding and indentation, the rest by escapes alone.
        while place < file.count {
            if index < text.count, text[index].isBlank, file[place].isBlank {
                while index < text.count, text[index].isBlank, index < target { index += 1 }
                if index == target, index < text.count, text[index].isBlank { break }
                while place < file.count, file[place].isBlank { place += 1 }
                continue
            }
            if file[place].isBlank, index < text.count {  // Indentation before the first line.
                place += 1
                continue
            }
            if index >= target { break }
            guard index < text.count else { break }
            if text[index] != file[place], file[place] == 0x5C || file[place] == 0x27 { place += 1 }
            index += 1
            place += 1
        }
        return node.file.location(offset: min(place, file.count))
    }
}

extension UInt8 {
    var isBlank: Bool { self == 0x20 || self == 0x0A || self == 0x0D || self == 0x09 }
}
