internal import Basics
internal import Model

/// Builds the tree by precedence climbing over the tokens, and checks types on the way up.
///
/// A name is a keyword only where the grammar expects one, so `sum`, `by` or `offset` may name metrics and labels.
///
/// - SeeAlso: Prometheus, `promql/parser/generated_parser.y` and `parse.go`.
struct Parser {
    let text: String
    let tokens: [Token]
    var index = 0
    private var depth = 0
    /// The height of the tree that was parsed last.
    var height = 1
    /// Whether the selector that comes next may select everything: the second argument of `info`.
    var mayBeEmpty = false

    /// Nesting deeper than this is refused instead of exhausting the stack.
    private static let greatestDepth = 200
    /// A tree higher than this is refused for the same reason: a chain of operators is as high as it is long.
    private static let greatestHeight = 1000
    /// A longer text is refused before anything is made of it.
    static let greatestLength = 512 << 10

    init(_ text: String) throws(ParseError) {
        guard text.utf8.count <= Parser.greatestLength else {
            let (line, column) = SourceRange(Parser.greatestLength, Parser.greatestLength).position(in: text)
            throw ParseError(
                line: line, column: column,
                message: "the query is \(text.utf8.count) bytes long where \(Parser.greatestLength) are allowed",
                cure: "select by a label instead of listing values")
        }
        self.text = text
        tokens = try Lexer.tokens(of: text)
    }

    /// Parses a whole query.
    static func parse(_ text: String) throws(ParseError) -> Expr {
        var parser = try Parser(text)
        guard parser.token.kind != .end else {
            throw parser.error(parser.token.range, "no expression found in input")
        }
        let expr = try parser.expression(minimum: 1)
        guard parser.token.kind == .end else { throw parser.unexpected(in: "after the expression") }
        return expr
    }

    var token: Token { tokens[index] }

    mutating func advance() { index = min(index + 1, tokens.count - 1) }

    /// The text of a token as it was written.
    func written(_ token: Token) -> String {
        let bytes = text.utf8
        let start = bytes.index(bytes.startIndex, offsetBy: token.range.start)
        return String(Substring(bytes[start..<bytes.index(start, offsetBy: token.range.end - token.range.start)]))
    }

    /// The next token's name in lower case when it is an identifier.
    var keyword: String? { name(of: token)?.lowercased() }

    func name(of token: Token) -> String? {
        if case .identifier(let name) = token.kind { name } else { nil }
    }

    /// Whether the next token is this symbol; if so it is consumed.
    mutating func take(_ symbol: String) -> Bool {
        guard token.isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func expect(_ symbol: String, in place: String) throws(ParseError) {
        guard take(symbol) else { throw unexpected(in: place, expected: symbol.goQuoted) }
    }

    func error(_ range: SourceRange, _ message: String, cure: String? = nil) -> ParseError {
        let (line, column) = range.position(in: text)
        return ParseError(line: line, column: column, message: message, cure: cure)
    }

    func unexpected(in place: String, expected: String? = nil) -> ParseError {
        error(
            token.range, "unexpected \(token.told) \(place)" + (expected.map { ", expected \($0)" } ?? ""))
    }

    // MARK: Operators

    mutating func expression(minimum: Int) throws(ParseError) -> Expr {
        try descend()
        defer { depth -= 1 }
        var left = try unary()
        var reached = height
        while let operation = binaryOperator, operation.precedence >= minimum {
            let place = token.range
            advance()
            let (returnsBool, matching) = try modifiers(of: operation)
            let right = try expression(
                minimum: operation == .power ? operation.precedence : operation.precedence + 1)
            left = try checked(
                Binary(
                    operation: operation, left: left, right: right, returnsBool: returnsBool, matching: matching),
                at: place)
            reached = max(reached, height) + 1
            guard reached < Parser.greatestHeight else {
                throw error(place, "more than \(Parser.greatestHeight) operators follow each other")
            }
        }
        height = reached
        return left
    }

    /// One level deeper; who calls it goes back up by `ascend`.
    mutating func descend() throws(ParseError) {
        depth += 1
        guard depth < Parser.greatestDepth else {
            throw error(token.range, "the expression is nested more than \(Parser.greatestDepth) deep")
        }
    }

    mutating func ascend() { depth -= 1 }

    private var binaryOperator: Binary.Operator? {
        switch token.kind {
        case .symbol("="), .symbol("=~"), .symbol("!~"): nil
        case .symbol(let symbol): Binary.Operator(rawValue: symbol)
        case .identifier(let name): Binary.Operator(rawValue: name.lowercased())
        default: nil
        }
    }

    /// `+x`, `-x`. Binds like `*`, so `-2 ^ 2` is `-(2 ^ 2)`; a literal takes the sign into itself.
    private mutating func unary() throws(ParseError) -> Expr {
        guard token.isSymbol("-") || token.isSymbol("+") else { return try postfix() }
        let start = token.range
        let isNegative = token.isSymbol("-")
        advance()
        let operand = try expression(minimum: Binary.Operator.power.precedence)
        height += 1
        let range = start...operand.range
        if case .number(var literal) = operand {
            if isNegative { literal.negate() }
            literal.range = range
            return .number(literal)
        }
        guard operand.type == .scalar || operand.type == .vector else {
            throw error(
                range,
                "unary expression only allowed on expressions of type scalar or instant vector, got "
                    + operand.type.rawValue.goQuoted)
        }
        return .unary(Unary(isNegative: isNegative, operand: operand, range: range))
    }

    /// `bool`, `on (…)`, `ignoring (…)`, `group_left (…)`, `group_right (…)`.
    private mutating func modifiers(of operation: Binary.Operator) throws(ParseError) -> (Bool, Binary.Matching) {
        var matching = Binary.Matching(cardinality: operation.isSet ? .manyToMany : .oneToOne)
        var returnsBool = false
        if keyword == "bool" {
            guard operation.isComparison else {
                throw error(
                    tokens[index - 1].range, "bool modifier can only be used on comparison operators",
                    cure: "remove bool")
            }
            returnsBool = true
            advance()
        }
        if keyword == "on" || keyword == "ignoring" { try readMatching(of: operation, into: &matching) }
        try readFill(of: operation, into: &matching)
        return (returnsBool, matching)
    }

    private mutating func readMatching(
        of operation: Binary.Operator, into matching: inout Binary.Matching
    ) throws(ParseError) {
        matching.isOn = keyword == "on"
        advance()
        matching.labels = try labelList()
        if keyword == "group_left" || keyword == "group_right" {
            guard !operation.isSet else {
                throw error(token.range, "no grouping allowed for \(operation.rawValue.goQuoted) operation")
            }
            matching.cardinality = keyword == "group_left" ? .manyToOne : .oneToMany
            advance()
            if token.isSymbol("(") { matching.include = try labelList() }
            if matching.isOn, let both = matching.include.first(where: matching.labels.contains) {
                throw error(
                    tokens[index - 1].range, "label \(both.goQuoted) must not occur in ON and GROUP clause at once")
            }
        }
    }

    /// `fill (0)`, `fill_left (0)`, `fill_right (0)`.
    private mutating func readFill(
        of operation: Binary.Operator, into matching: inout Binary.Matching
    ) throws(ParseError) {
        while let word = keyword, ["fill", "fill_left", "fill_right"].contains(word),
            tokens[min(index + 1, tokens.count - 1)].isSymbol("(")
        {
            let place = token.range
            guard !operation.isSet else {
                throw error(place, "filling in missing series not allowed for set operators")
            }
            let isGiven = word == "fill_left" ? matching.fillLeft != nil : matching.fillRight != nil
            guard !isGiven, word != "fill" || !matching.fills else {
                throw error(place, "unexpected \(word.goQuoted): the value is given already")
            }
            advance()
            advance()
            guard case .number(let literal) = try unary() else {
                throw error(tokens[index - 1].range, "a number is expected in \(word) (…)")
            }
            try expect(")", in: "in \(word)")
            if word != "fill_right" { matching.fillLeft = literal.value }
            if word != "fill_left" { matching.fillRight = literal.value }
        }
    }

    private func checked(_ binary: Binary, at place: SourceRange) throws(ParseError) -> Expr {
        var binary = binary
        for side in [binary.left, binary.right] where side.type != .scalar && side.type != .vector {
            throw error(side.range, "binary expression must contain only scalar and instant vector types")
        }
        let areScalars = binary.left.type == .scalar && binary.right.type == .scalar
        if areScalars, binary.operation.isComparison, !binary.returnsBool {
            throw error(
                place, "comparisons between scalars must use BOOL modifier",
                cure: "write \(binary.operation.rawValue) bool")
        }
        if areScalars, binary.operation.isTrim {
            throw error(place, "operator \(binary.operation.rawValue) needs a native histogram on one side")
        }
        guard binary.left.type == .vector, binary.right.type == .vector else {
            let range = binary.left.range...binary.right.range
            if binary.operation.isSet {
                throw error(
                    range, "set operator \(binary.operation.rawValue.goQuoted) not allowed in binary scalar expression")
            }
            if let matching = binary.matching, !matching.labels.isEmpty {
                throw error(range, "vector matching only allowed between instant vectors")
            }
            if binary.matching?.fills == true {
                throw error(range, "filling in missing series only allowed between instant vectors")
            }
            binary.matching = nil
            return .binary(binary)
        }
        return .binary(binary)
    }

    // MARK: What follows an operand

    private mutating func postfix() throws(ParseError) -> Expr {
        var expr = try primary()
        while true {
            if token.isSymbol("[") {
                expr = try ranged(expr)
            } else if keyword == "offset" {
                advance()
                expr = try shifted(expr, "offset") { parser, shift throws(ParseError) in
                    guard shift.offset == nil else { return false }
                    shift.offset = try parser.offsetDuration()
                    return true
                }
            } else if token.isSymbol("@") {
                advance()
                expr = try shifted(expr, "@") { parser, shift throws(ParseError) in
                    guard shift.at == nil else { return false }
                    shift.at = try parser.atModifier()
                    return true
                }
            } else if let word = keyword, let reach = Reach(rawValue: word) {
                advance()
                expr = try reaching(expr, reach)
            } else {
                return expr
            }
        }
    }

    /// `anchored` or `smoothed` behind a selector.
    private mutating func reaching(_ expr: Expr, _ reach: Reach) throws(ParseError) -> Expr {
        let place = tokens[index - 1].range
        var result = expr
        let before: Reach?
        switch expr {
        case .vector(var node):
            before = node.reach
            node.reach = reach
            node.range = node.range...place
            result = .vector(node)
        case .matrix(var node):
            before = node.selector.reach
            node.selector.reach = reach
            node.range = node.range...place
            result = .matrix(node)
        case .subquery: throw error(expr.range, "\(reach.rawValue) modifier is not supported for subqueries")
        default:
            throw error(
                expr.range,
                "\(reach.rawValue) modifier must be preceded by an instant vector selector or range vector selector, "
                    + "but follows another expression; write it behind the selector")
        }
        if let before {
            throw error(
                place,
                before == reach
                    ? "\(reach.rawValue) may not be set multiple times"
                    : "anchored and smoothed modifiers cannot be used together")
        }
        return result
    }

    /// `[5m]` or `[1h:5m]`.
    private mutating func ranged(_ expr: Expr) throws(ParseError) -> Expr {
        let bracket = token.range
        height += 1
        advance()
        let window = try positiveDuration()
        var step: QueryDuration?
        let isSubquery = take(":")
        if isSubquery, !token.isSymbol("]") { step = try positiveDuration() }
        let end = token.range
        try expect("]", in: "in a range")
        let range = expr.range...end
        if isSubquery {
            guard expr.type == .vector || expr.type == .scalar else {
                throw error(range, "subquery is only allowed on instant vector, got \(expr.type.told) instead")
            }
            guard expr.type == .vector else {
                throw error(
                    range, "subquery is only allowed on instant vector, got scalar instead", cure: "use vector(…)")
            }
            return .subquery(Subquery(inner: expr, window: window, step: step, range: range))
        }
        guard case .vector(let selector) = expr else {
            throw error(
                bracket, "ranges only allowed for vector selectors",
                cure: "write a subquery, for example [5m:1m]")
        }
        guard selector.shift.offset == nil else {
            throw error(bracket, "no offset modifiers allowed before range", cure: "write the offset after the range")
        }
        guard selector.shift.at == nil else {
            throw error(bracket, "no @ modifiers allowed before range", cure: "write @ after the range")
        }
        return .matrix(MatrixSelector(selector: selector, window: window, range: range))
    }

    private typealias Shift = (inout Parser, inout TimeShift) throws(ParseError) -> Bool

    private mutating func shifted(_ expr: Expr, _ word: String, _ read: Shift) throws(ParseError) -> Expr {
        let isFirst: Bool
        var result = expr
        let end: (Parser) -> SourceRange = { $0.tokens[$0.index - 1].range }
        switch expr {
        case .vector(var node):
            isFirst = try read(&self, &node.shift)
            node.range = node.range...end(self)
            result = .vector(node)
        case .matrix(var node):
            isFirst = try read(&self, &node.selector.shift)
            node.range = node.range...end(self)
            result = .matrix(node)
        case .subquery(var node):
            isFirst = try read(&self, &node.shift)
            node.range = node.range...end(self)
            result = .subquery(node)
        default:
            throw error(
                expr.range,
                "\(word) modifier must be preceded by an instant vector selector or range vector selector or a "
                    + "subquery")
        }
        guard isFirst else {
            throw error(expr.range, "\(word == "@" ? "@ <timestamp>" : word) may not be set multiple times")
        }
        return result
    }
}

extension ValueType {
    /// Prometheus' short name, in some messages.
    var told: String {
        switch self {
        case .scalar: "scalar"
        case .vector: "vector"
        case .matrix: "matrix"
        case .string: "string"
        }
    }
}
