internal import Basics
public import Model

/// Which grammar of matchers counts, and which names labels may have: Alertmanager's three modes.
///
/// - SeeAlso: Alertmanager, `matcher/compat`.
public enum MatcherMode: String, Sendable, Hashable, CaseIterable {
    /// Both grammars; where they disagree, the older. Any UTF-8 in names.
    case fallback
    /// The newer grammar alone.
    case utf8Strict = "utf8-strict-mode"
    /// The older grammar alone; names as Prometheus first had them.
    case classic = "classic-mode"

    /// Reads any number of matchers.
    public func matchers(_ text: String) throws(MatcherParser.Failure) -> [Matcher] {
        switch self {
        case .fallback: try MatcherParser.matchers(text)
        case .utf8Strict: try MatcherParser.utf8(text)
        case .classic: try MatcherParser.classic(text)
        }
    }

    /// Reads exactly one matcher, without braces, as the API's filters have them.
    public func matcher(_ text: String) throws(MatcherParser.Failure) -> Matcher {
        let bare = text.trimmed
        guard !bare.hasPrefix("{"), !bare.hasSuffix("}") else {
            throw MatcherParser.Failure(description: "unexpected open or close brace: \(text)")
        }
        let found = try matchers(text)
        guard found.count == 1, let matcher = found.first else {
            throw MatcherParser.Failure(description: "expected 1 matcher, got \(found.count): \(text)")
        }
        return matcher
    }

    /// Whether a label may have that name.
    public func takes(labelName name: String) -> Bool { self == .classic ? name.isLegacyLabelName : !name.isEmpty }

    var cure: String { self == .classic ? "use letters, digits and _, or leave classic-mode" : "give it a name" }
}

/// Alertmanager's text form of matchers: `severity=critical`, `{job=~"api|web", team!="x"}`.
///
/// - SeeAlso: Alertmanager, `matcher/parse` and `pkg/labels/parse.go`.
public enum MatcherParser {
    /// What is wrong with a matcher's text.
    public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// One clause.
        public let description: String
    }

    /// Reads any number of matchers, as Alertmanager does by default: by the newer grammar and by the older one; where
    /// both can read the text and disagree, the older counts.
    public static func matchers(_ text: String) throws(Failure) -> [Matcher] {
        let older = Result { () throws(Failure) in try classic(text) }
        do {
            let newer = try utf8(text)
            if case .success(let older) = older, older != newer { return older }
            return newer
        } catch {
            return try older.get()
        }
    }

    /// The newer grammar: any UTF-8 in names, quoted or not.
    public static func utf8(_ text: String) throws(Failure) -> [Matcher] {
        var scanner = Scanner(text)
        return try scanner.matchers()
    }

    /// The older grammar: names as Prometheus has them, values with loose quotes.
    public static func classic(_ text: String) throws(Failure) -> [Matcher] {
        var inner = text[...]
        if inner.hasPrefix("{") { inner.removeFirst() }
        if inner.hasSuffix("}") { inner.removeLast() }
        var pieces = pieces(inner)
        if pieces.last?.allSatisfy(\.isWhitespace) == true { pieces.removeLast() }
        var result: [Matcher] = []
        for piece in pieces { result.append(try single(piece)) }
        return result
    }

    /// Cuts at commas outside quotes.
    private static func pieces(_ text: Substring) -> [Substring] {
        var result: [Substring] = []
        var (start, index) = (text.startIndex, text.startIndex)
        var (isQuoted, isEscaped) = (false, false)
        while index < text.endIndex {
            switch text[index] {
            case _ where isEscaped: isEscaped = false
            case "\\": isEscaped = true
            case "\"": isQuoted.toggle()
            case "," where !isQuoted:
                result.append(text[start..<index])
                start = text.index(after: index)
            default: break
            }
            index = text.index(after: index)
        }
        return result + [text[start...]]
    }

    private static func single(_ text: Substring) throws(Failure) -> Matcher {
        let bad = Failure(description: "bad matcher format: \(text)")
        var scalars = text.unicodeScalars[...]
        while scalars.first?.properties.isWhitespace == true { scalars.removeFirst() }
        let name = String(
            String.UnicodeScalarView(
                scalars.prefix {
                    $0.isASCII && ($0.properties.isAlphabetic || "_:0123456789".unicodeScalars.contains($0))
                }))
        guard let first = name.unicodeScalars.first, !("0"..."9").contains(first) else { throw bad }
        scalars.removeFirst(name.unicodeScalars.count)
        while scalars.first?.properties.isWhitespace == true { scalars.removeFirst() }
        guard let operation = operation(&scalars) else { throw bad }
        while scalars.first?.properties.isWhitespace == true { scalars.removeFirst() }
        while scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        return try matcher(name, operation, try unquoted(String(scalars), bad))
    }

    /// The value without its quotes; knows the escapes `\n`, `\"` and `\\`.
    private static func unquoted(_ text: String, _ bad: Failure) throws(Failure) -> String {
        var inner = text.unicodeScalars[...]
        let opens = inner.first == "\""
        if opens { inner.removeFirst() }
        var result = String.UnicodeScalarView()
        var (isEscaped, closes) = (false, false)
        for scalar in inner {
            guard !closes else { throw bad }
            if isEscaped {
                switch scalar {
                case "n": result.append("\n")
                case "\"", "\\": result.append(scalar)
                default:
                    result.append("\\")
                    result.append(scalar)
                }
                isEscaped = false
            } else if scalar == "\\" {
                isEscaped = true
            } else if scalar == "\"" {
                closes = true
            } else {
                result.append(scalar)
            }
        }
        if isEscaped { result.append("\\") }
        guard opens == closes else { throw bad }
        return String(result)
    }

    fileprivate static func operation(_ scalars: inout Substring.UnicodeScalarView) -> Matcher.Operation? {
        for (text, operation) in [
            ("=~", Matcher.Operation.matches), ("!~", .matchesNot), ("!=", .notEqual), ("=", .equal),
        ] where scalars.starts(with: text.unicodeScalars) {
            scalars.removeFirst(text.count)
            return operation
        }
        return nil
    }

    fileprivate static func matcher(
        _ name: String, _ operation: Matcher.Operation, _ value: String
    ) throws(Failure) -> Matcher {
        do {
            return try Matcher(name, operation, value, dotMatchesLineEnd: false)
        } catch {
            throw Failure(description: error.description)
        }
    }

    private struct Scanner {
        private var rest: Substring.UnicodeScalarView
        private let text: String

        init(_ text: String) { (self.text, rest) = (text, text[...].unicodeScalars) }

        mutating func matchers() throws(Failure) -> [Matcher] {
            skipSpace()
            let isOpen = take("{")
            var result: [Matcher] = []
            while true {
                skipSpace()
                if rest.isEmpty { break }
                if rest.first == "}" { break }
                let name = try word("a label name")
                skipSpace()
                guard let operation = MatcherParser.operation(&rest) else { throw bad("expected one of = != =~ !~") }
                skipSpace()
                result.append(try MatcherParser.matcher(name, operation, try word("a value")))
                skipSpace()
                guard take(",") else { break }
            }
            if isOpen, !take("}") { throw bad("expected a comma or the closing brace") }
            skipSpace()
            guard rest.isEmpty else { throw bad("expected a comma") }
            return result
        }

        private mutating func word(_ what: String) throws(Failure) -> String {
            if rest.first == "\"" { return try quoted() }
            let reserved = "{}!=~,\\\"'`".unicodeScalars
            let word = rest.prefix { !$0.properties.isWhitespace && !reserved.contains($0) }
            guard !word.isEmpty else { throw bad("expected \(what)") }
            rest = rest[word.endIndex...]
            return String(word)
        }

        /// Go's escapes in double quotes.
        private mutating func quoted() throws(Failure) -> String {
            rest.removeFirst()
            var bytes: [UInt8] = []
            let simple: [Unicode.Scalar: UInt8] = [
                "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 0x5C, "\"": 0x22,
            ]
            while let scalar = rest.popFirst() {
                if scalar == "\"" {
                    guard let text = String(validating: bytes, as: UTF8.self) else { throw bad("not valid UTF-8") }
                    return text
                }
                guard scalar == "\\" else {
                    bytes += Array(String(scalar).utf8)
                    continue
                }
                guard let kind = rest.popFirst() else { break }
                if let byte = simple[kind] {
                    bytes.append(byte)
                } else if let length = ["x": 2, "u": 4, "U": 8][kind] {
                    let digits = String(rest.prefix(length))
                    guard digits.unicodeScalars.count == length, let value = UInt32(digits, radix: 16) else {
                        throw bad("bad escape")
                    }
                    rest.removeFirst(length)
                    if kind == "x" {
                        bytes.append(UInt8(value))
                    } else {
                        guard let scalar = Unicode.Scalar(value) else { throw bad("bad escape") }
                        bytes += Array(String(scalar).utf8)
                    }
                } else {
                    throw bad("bad escape")
                }
            }
            throw bad("missing closing quote")
        }

        private mutating func skipSpace() {
            while rest.first?.properties.isWhitespace == true { rest.removeFirst() }
        }

        private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
            guard rest.first == scalar else { return false }
            rest.removeFirst()
            return true
        }

        private func bad(_ what: String) -> Failure {
            let column = text.unicodeScalars.count - rest.count + 1
            return Failure(description: "bad matcher '\(text)' at its character \(column): \(what)")
        }
    }
}

extension Matcher {
    /// As Alertmanager prints it in keys and in its API: `job=~"a|b"`.
    public var alertmanagerText: String {
        let reserved = "{}!=~,\\\"'`"
        let isPlain =
            !name.isEmpty
            && name.unicodeScalars.allSatisfy { scalar in
                !scalar.properties.isWhitespace && !reserved.unicodeScalars.contains(scalar)
            }
        let escaped = value.replacing("\\", with: "\\\\").replacing("\n", with: "\\n").replacing("\"", with: "\\\"")
        return "\(isPlain ? name : name.goQuoted)\(operation.rawValue)\"\(escaped)\""
    }
}
