internal import Basics

/// Builds a template's statements.
///
/// - SeeAlso: Go, `text/template/parse/parse.go`.
struct TemplateParser {
    private let name: String
    private let source: [UInt8]
    private let functions: Set<String>
    private var tokens: [Token]
    private var index = 0
    private var variables: [String] = ["$"]
    private var loopDepth = 0
    private var depth = 0
    /// The statements of `define` and `block`.
    private(set) var definitions: [String: [Statement]] = [:]

    init(_ text: String, name: String, functions: Set<String>) throws(TemplateError) {
        (self.name, source, self.functions, tokens) = (name, Array(text.utf8), functions, [])
        do throws(TemplateLexer.Failure) {
            var lexer = TemplateLexer(text)
            tokens = try lexer.run()
        } catch {
            throw self.error(error.message, at: error.offset)
        }
    }

    mutating func parse() throws(TemplateError) -> [Statement] {
        let (body, stop) = try statements(isTop: true)
        guard stop.word == "EOF" else { throw error("unexpected {{\(stop.word)}}", at: stop.token.offset) }
        return body
    }

    private struct Stop {
        var word: String
        var token: Token
    }

    /// Statements up to `end`, `else` or the end of the text; what stopped them.
    private mutating func statements(isTop: Bool = false) throws(TemplateError) -> ([Statement], Stop) {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 100 else { throw error("nested too deeply", at: peek.offset) }
        var result: [Statement] = []
        while true {
            let token = next()
            switch token.kind {
            case .text: result.append(.text(token.text))
            case .end: return (result, Stop(word: "EOF", token: token))
            default:
                let word = peek
                guard word.kind == .identifier else {
                    result.append(.action(try pipeline("command", ends: .rightDelimiter)))
                    continue
                }
                switch word.text {
                case "end":
                    index += 1
                    try expect(.rightDelimiter, in: "end")
                    return (result, Stop(word: "end", token: token))
                case "else":
                    index += 1
                    return (result, Stop(word: "else", token: token))
                case "define" where isTop: try define()
                default: result.append(try statement(word))
                }
            }
        }
    }

    private mutating func statement(_ word: Token) throws(TemplateError) -> Statement {
        switch word.text {
        case "if": return .branch(try branch(.condition))
        case "with": return .branch(try branch(.with))
        case "range": return .branch(try branch(.range))
        case "template":
            index += 1
            let called = try templateName("template clause")
            let argument = peek.kind == .rightDelimiter ? nil : try pipeline("template clause", ends: .rightDelimiter)
            if argument == nil { index += 1 }
            let text = "{{template \(called.goQuoted)\(argument.map { " " + self.text(of: $0) } ?? "")}}"
            return .call(name: called, argument, offset: word.offset + word.text.utf8.count + 1, text: text)
        case "block": return try block(word)
        case "break", "continue":
            guard loopDepth > 0 else { throw error("{{\(word.text)}} outside {{range}}", at: word.offset) }
            index += 1
            try expect(.rightDelimiter, in: word.text)
            return word.text == "break" ? .breakLoop : .continueLoop
        case "define": throw error("unexpected <define> in command", at: word.offset)
        default: return .action(try pipeline("command", ends: .rightDelimiter))
        }
    }

    private mutating func branch(_ kind: Branch.Kind) throws(TemplateError) -> Branch {
        let word = next()
        let scope = variables.count
        defer { variables.removeLast(variables.count - scope) }
        let pipeline = try pipeline(word.text, ends: .rightDelimiter)
        if kind == .range { loopDepth += 1 }
        var (body, stop) = try statements()
        if kind == .range { loopDepth -= 1 }
        var otherwise: [Statement] = []
        if stop.word == "else" {
            let wanted = kind == .condition ? "if" : kind == .with ? "with" : nil
            if let wanted, peek.kind == .identifier, peek.text == wanted {
                return Branch(kind: kind, pipeline: pipeline, body: body, otherwise: [.branch(try branch(kind))])
            }
            try expect(.rightDelimiter, in: "else")
            (otherwise, stop) = try statements()
            guard stop.word != "else" else { throw error("expected end; found {{else}}", at: stop.token.offset) }
        }
        guard stop.word == "end" else { throw error("unexpected EOF", at: stop.token.offset) }
        return Branch(kind: kind, pipeline: pipeline, body: body, otherwise: otherwise)
    }

    private mutating func templateName(_ context: String) throws(TemplateError) -> String {
        let token = next()
        guard token.kind == .string || token.kind == .rawString, let text = unquoted(token) else {
            throw unexpected(token, in: context)
        }
        return text
    }

    private mutating func define() throws(TemplateError) {
        let token = next()
        let name = try templateName("define clause")
        try expect(.rightDelimiter, in: "define clause")
        try add(name, try inner(), at: token.offset)
    }

    private mutating func block(_ word: Token) throws(TemplateError) -> Statement {
        index += 1
        let name = try templateName("block clause")
        let argument = try pipeline("block clause", ends: .rightDelimiter)
        try add(name, try inner(), at: word.offset)
        return .call(name: name, argument, offset: word.offset, text: "{{block \(name.goQuoted)}}")
    }

    /// The body of a template inside this one, with variables of its own.
    private mutating func inner() throws(TemplateError) -> [Statement] {
        let outer = (variables, loopDepth)
        (variables, loopDepth) = (["$"], 0)
        let (body, stop) = try statements()
        guard stop.word == "end" else {
            throw error("unexpected \(stop.word == "EOF" ? "EOF" : "{{else}}") in define clause", at: stop.token.offset)
        }
        (variables, loopDepth) = outer
        return body
    }

    private mutating func add(_ name: String, _ body: [Statement], at offset: Int) throws(TemplateError) {
        func isEmpty(_ body: [Statement]) -> Bool {
            body.allSatisfy { if case .text(let text) = $0 { text.utf8.allSatisfy(\.isSpace) } else { false } }
        }
        if let old = definitions[name], !isEmpty(old) {
            guard isEmpty(body) else {
                throw error("template: multiple definition of template \(name.goQuoted)", at: offset)
            }
        } else {
            definitions[name] = body
        }
    }

    // MARK: Pipelines

    private mutating func pipeline(_ context: String, ends: Token.Kind) throws(TemplateError) -> Pipeline {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 100 else { throw error("nested too deeply", at: peek.offset) }
        var pipeline = Pipeline(offset: peek.offset)
        try declarations(&pipeline, context)
        while true {
            let token = next()
            if token.kind == ends {
                guard !pipeline.commands.isEmpty else { throw error("missing value for \(context)", at: token.offset) }
                for command in pipeline.commands.dropFirst() {
                    if let first = command.words.first, first.kind.isLiteral {
                        throw error("non executable command in pipeline stage 2", at: first.offset)
                    }
                }
                return pipeline
            }
            switch token.kind {
            case .bool, .character, .dot, .field, .identifier, .null, .number, .rawString, .string, .variable,
                .leftParenthesis:
                index -= 1
                pipeline.commands.append(try command(ends: ends))
            default: throw unexpected(token, in: context)
            }
        }
    }

    private mutating func declarations(_ pipeline: inout Pipeline, _ context: String) throws(TemplateError) {
        var position = index
        var names: [String] = []
        while tokens[position].kind == .variable {
            names.append(tokens[position].text)
            let after = tokens[position + 1]
            if after.kind == .declare || after.kind == .assign {
                guard names.count == 1 || (context == "range" && names.count == 2) else {
                    throw error("too many declarations in \(context)", at: after.offset)
                }
                pipeline.isAssignment = after.kind == .assign
                if pipeline.isAssignment {
                    for name in names where !variables.contains(name) {
                        throw error("undefined variable \(name.goQuoted)", at: tokens[index].offset)
                    }
                } else {
                    variables += names
                }
                pipeline.variables = names
                index = position + 2
                return
            }
            guard after.kind == .comma else { return }
            position += 2
        }
    }

    private mutating func command(ends: Token.Kind) throws(TemplateError) -> Command {
        var words: [Word] = []
        while true {
            words.append(try operand())
            let token = peek
            if token.kind == .pipe {
                index += 1
                guard peek.kind != ends else { throw error("missing value for command", at: peek.offset) }
                break
            }
            if token.kind == ends { break }
            guard token.hasSpace else { throw unexpected(token, in: "operand") }
            switch token.kind {
            case .bool, .character, .dot, .field, .identifier, .null, .number, .rawString, .string, .variable,
                .leftParenthesis:
                continue
            default: throw unexpected(token, in: "operand")
            }
        }
        return Command(words: words, text: words.map(\.text).joined(separator: " "))
    }

    private mutating func operand() throws(TemplateError) -> Word {
        var word = try term()
        var fields: [String] = []
        while peek.kind == .field, !peek.hasSpace {
            let token = next()
            if fields.isEmpty { word.offset = token.offset }  // As Go tells the place of a chain.
            fields.append(String(token.text.dropFirst()))
            word.text += token.text
        }
        guard !fields.isEmpty else { return word }
        switch word.kind {
        case .literal, .null, .dot: throw error("unexpected . after term \(word.text.goQuoted)", at: word.offset)
        case .fields(let base, let first): word.kind = .fields(of: base, first + fields)
        default: word.kind = .fields(of: word.kind, fields)
        }
        return word
    }

    private mutating func term() throws(TemplateError) -> Word {
        let token = next()
        func word(_ kind: Word.Kind) -> Word { Word(kind: kind, offset: token.offset, text: token.text) }
        switch token.kind {
        case .identifier:
            guard functions.contains(token.text) else {
                throw error("function \(token.text.goQuoted) not defined", at: token.offset)
            }
            return word(.function(token.text))
        case .dot: return word(.dot)
        case .null: return word(.null)
        case .bool: return word(.literal(.bool(token.text == "true")))
        case .field: return word(.fields(of: .dot, [String(token.text.dropFirst())]))
        case .variable:
            guard variables.contains(token.text) else {
                throw error("undefined variable \(token.text.goQuoted)", at: token.offset)
            }
            return word(.variable(token.text))
        case .number: return word(.literal(try number(token)))
        case .character, .string, .rawString:
            guard let text = unquoted(token) else { throw error("bad string syntax: \(token.text)", at: token.offset) }
            guard token.kind == .character else { return word(.literal(.string(text))) }
            guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
                throw error("malformed character constant: \(token.text)", at: token.offset)
            }
            return word(.literal(.int(Int(scalar.value))))
        case .leftParenthesis:
            let inner = try pipeline("parenthesized pipeline", ends: .rightParenthesis)
            return Word(kind: .pipeline(inner), offset: token.offset, text: "(\(text(of: inner)))")
        default: throw unexpected(token, in: "command")
        }
    }

    private func number(_ token: Token) throws(TemplateError) -> TemplateValue {
        let isNegative = token.text.hasPrefix("-")
        let digits = token.text.drop { $0 == "+" || $0 == "-" }.replacing("_", with: "").lowercased()
        let isHexadecimal = digits.hasPrefix("0x")
        let isFloat = digits.contains(".") || (!isHexadecimal && digits.contains("e"))
        if isFloat, let value = Double(digits) { return .double(isNegative ? -value : value) }
        let radix = isHexadecimal ? 16 : digits.hasPrefix("0b") ? 2 : digits.hasPrefix("0o") ? 8 : 10
        let isOctal = radix == 10 && digits.count > 1 && digits.hasPrefix("0")
        let plain = radix == 10 ? digits : String(digits.dropFirst(2))
        if let value = Int((isNegative ? "-" : "") + plain, radix: isOctal ? 8 : radix) { return .int(value) }
        if !isFloat, radix == 10, !plain.isEmpty, plain.utf8.allSatisfy(\.isDigit) {
            throw error("integer overflow: \(token.text.goQuoted)", at: token.offset)
        }
        throw error("bad number syntax: \(token.text.goQuoted)", at: token.offset)
    }

    private func text(of pipeline: Pipeline) -> String {
        let declared =
            pipeline.variables.isEmpty
            ? "" : pipeline.variables.joined(separator: ", ") + (pipeline.isAssignment ? " = " : " := ")
        return declared + pipeline.commands.map(\.text).joined(separator: " | ")
    }

    // MARK: Tokens

    private var peek: Token { tokens[min(index, tokens.count - 1)] }

    private mutating func next() -> Token {
        let token = peek
        index += 1
        return token
    }

    private mutating func expect(_ kind: Token.Kind, in context: String) throws(TemplateError) {
        let token = next()
        guard token.kind == kind else { throw unexpected(token, in: context) }
    }

    private func unexpected(_ token: Token, in context: String) -> TemplateError {
        switch token.kind {
        case .end: error("unexpected EOF", at: token.offset)
        case .identifier
        where ["define", "end", "else", "if", "range", "with", "template", "block"].contains(token.text):
            error("unexpected <\(token.text)> in \(context)", at: token.offset)
        default: error("unexpected \(token.text.goQuoted) in \(context)", at: token.offset)
        }
    }

    private func error(_ message: String, at offset: Int) -> TemplateError {
        let place = TemplatePlace(offset, in: source)
        return TemplateError(name: name, line: place.line, column: place.column, message: message, isRuntime: false)
    }

    private func unquoted(_ token: Token) -> String? {
        let inner = Array(token.text.utf8.dropFirst().dropLast())
        if token.kind == .rawString { return String(decoding: inner, as: UTF8.self) }
        return GoQuote.unescape(inner)
    }
}

extension Word.Kind {
    var isLiteral: Bool {
        switch self {
        case .literal, .null, .dot: true
        default: false
        }
    }
}

/// Line and column, both from 1, of a byte.
struct TemplatePlace {
    var line = 1
    var column = 1
    init(_ offset: Int, in source: [UInt8]) {
        for byte in source.prefix(offset) {
            column += 1
            if byte == 0x0A { (line, column) = (line + 1, 1) }
        }
    }
}

/// Go's escapes in quoted texts.
enum GoQuote {
    /// The text without escapes; nil when an escape is wrong.
    ///
    /// - SeeAlso: Go, `strconv.UnquoteChar`.
    static func unescape(_ bytes: [UInt8]) -> String? {
        let simple: [UInt8: UInt8] = [
            UInt8(ascii: "a"): 7, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
            UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11, UInt8(ascii: "\\"): 0x5C,
            UInt8(ascii: "'"): 0x27, UInt8(ascii: "\""): 0x22,
        ]
        let lengths: [UInt8: Int] = [UInt8(ascii: "x"): 2, UInt8(ascii: "u"): 4, UInt8(ascii: "U"): 8]
        var result: [UInt8] = []
        var index = 0
        while index < bytes.count {
            guard bytes[index] == 0x5C else {
                result.append(bytes[index])
                index += 1
                continue
            }
            guard index + 1 < bytes.count else { return nil }
            let kind = bytes[index + 1]
            if let plain = simple[kind] {
                result.append(plain)
                index += 2
            } else if let length = lengths[kind] {
                guard index + 2 + length <= bytes.count,
                    let value = UInt32(
                        String(decoding: bytes[index + 2..<index + 2 + length], as: UTF8.self), radix: 16)
                else { return nil }
                if kind == UInt8(ascii: "x") {
                    result.append(UInt8(value))
                } else {
                    guard let scalar = Unicode.Scalar(value) else { return nil }
                    result += Array(String(scalar).utf8)
                }
                index += 2 + length
            } else if kind >= 0x30, kind <= 0x37, index + 4 <= bytes.count,
                let value = UInt8(String(decoding: bytes[index + 1..<index + 4], as: UTF8.self), radix: 8)
            {
                result.append(value)
                index += 4
            } else {
                return nil
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
