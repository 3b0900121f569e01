internal import Basics

/// What the lexer found.
enum TokenKind: Hashable {
    case end
    /// A name, a keyword or a function; which of them depends on where it stands.
    case identifier(String)
    /// A text with its escapes resolved.
    case string(String)
    case number(Double)
    /// A duration in milliseconds, `5m`.
    case duration(Int64)
    /// An operator or a bracket, as written.
    case symbol(String)
}

/// A token and its place.
struct Token: Hashable {
    var kind: TokenKind
    var range: SourceRange

    func isSymbol(_ text: String) -> Bool { kind == .symbol(text) }

    /// As it is told in an error.
    var told: String {
        switch kind {
        case .end: "end of input"
        case .identifier(let name): "identifier \(name.goQuoted)"
        case .string(let text): "string \(text.goQuoted)"
        case .number: "number"
        case .duration: "duration"
        case .symbol(let text): text.goQuoted
        }
    }
}
