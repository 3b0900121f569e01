public import Model

/// A range of bytes in a query's text.
public struct SourceRange: Hashable, Sendable {
    /// Offsets in UTF-8 bytes; `end` is just past the last byte.
    public var start: Int, end: Int

    /// A range by its ends.
    public init(_ start: Int, _ end: Int) { (self.start, self.end) = (start, end) }

    /// The range from the start of one to the end of the other.
    public static func ... (first: SourceRange, last: SourceRange) -> SourceRange { SourceRange(first.start, last.end) }

    /// `line:column` of its start in `text`, both 1-based, the column in bytes.
    public func position(in text: String) -> (line: Int, column: Int) {
        var (line, column) = (1, 1)
        for byte in text.utf8.prefix(start) {
            if byte == 0x0A { (line, column) = (line + 1, 1) } else { column += 1 }
        }
        return (line, column)
    }
}

/// A mistake in a query's text; reads `1:5: parse error: unexpected ")"; write an expression before it`.
public struct ParseError: Error, Hashable, Sendable, CustomStringConvertible {
    /// 1-based.
    public var line: Int
    /// 1-based, in bytes.
    public var column: Int
    /// What is wrong, in Prometheus' words where it has them.
    public var message: String
    /// What to do about it, when that is known.
    public var cure: String?

    /// An error by its parts; a message longer than a few lines loses its middle.
    public init(line: Int, column: Int, message: String, cure: String? = nil) {
        (self.line, self.column, self.message, self.cure) = (line, column, message.shortened(to: 400), cure)
    }

    /// One sentence with its place.
    public var description: String { "\(line):\(column): parse error: \(text)" }
    /// The sentence without its place, for who shows another one.
    public var text: String { cure.map { "\(message); \($0)" } ?? message }
}

/// Why a query gave no result.
public enum QueryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The text is wrong.
    case parse(ParseError)
    /// The request is wrong: an empty or too long range of time.
    case badRequest(String)
    /// The data does not allow it: many-to-many matching, two series with the same labels.
    case execution(String)
    /// A limit was met; names the limit, its value and the widest selector.
    case limit(String)
    /// It took longer than allowed.
    case timeout(String)
    /// Its task was cancelled.
    case cancelled
    /// The store refused.
    case source(SourceError)

    /// One sentence.
    public var description: String {
        switch self {
        case .parse(let error): error.description
        case .badRequest(let text), .execution(let text), .limit(let text), .timeout(let text): text
        case .cancelled: "query was canceled"
        case .source(let error): error.description
        }
    }
}

extension String {
    /// With `…` in place of its middle when it is longer than so many bytes.
    func shortened(to limit: Int) -> String {
        guard utf8.count > limit else { return self }
        let half = limit / 2
        let (head, tail) = (utf8.prefix(half), utf8.suffix(half))
        return String(decoding: head, as: UTF8.self) + " … " + String(decoding: tail, as: UTF8.self)
    }
}
