internal import Basics
internal import Model

extension Parser {
    /// A literal, a selector, a call, an aggregation or something in parentheses.
    mutating func primary() throws(ParseError) -> Expr {
        let start = token.range
        height = 1
        switch token.kind {
        case .number(let value):
            advance()
            return .number(NumberLiteral(value: value, isDuration: false, range: start))
        case .duration(let length):
            advance()
            return .number(NumberLiteral(value: Double(length) / 1000, isDuration: true, range: start))
        case .string(let text):
            advance()
            return .string(StringLiteral(value: text, range: start))
        case .symbol("("):
            advance()
            let inner = try expression(minimum: 1)
            height += 1
            let end = token.range
            try expect(")", in: "in a parenthesised expression")
            return .paren(Paren(inner: inner, range: start...end))
        case .symbol("{"):
            let mayBeEmpty = mayBeEmpty
            self.mayBeEmpty = false
            return .vector(try selector(named: nil, at: start, mayBeEmpty: mayBeEmpty))
        case .identifier(let name):
            return try named(name)
        default:
            throw unexpected(in: "where an expression is expected")
        }
    }

    private mutating func named(_ name: String) throws(ParseError) -> Expr {
        let start = token.range
        let lower = name.lowercased()
        let following = tokens[min(index + 1, tokens.count - 1)]
        if let operation = Aggregate.Operator(rawValue: lower), startsAggregation(following) {
            advance()
            return try aggregate(operation, from: start)
        }
        advance()
        if token.isSymbol("(") { return try call(name, at: start) }
        if ["on", "ignoring", "bool", "group_left", "group_right"].contains(lower) {
            throw error(start, "unexpected keyword \(name.goQuoted) where an expression is expected")
        }
        return .vector(try selector(named: name, at: start))
    }

    private func startsAggregation(_ token: Token) -> Bool {
        if token.isSymbol("(") { return true }
        guard let word = name(of: token)?.lowercased() else { return false }
        return word == "by" || word == "without"
    }

    // MARK: Aggregations

    private mutating func aggregate(_ operation: Aggregate.Operator, from start: SourceRange) throws(ParseError) -> Expr
    {
        var (grouping, isWithout): ([String], Bool) = ([], false)
        var hasGrouping = false
        if keyword == "by" || keyword == "without" {
            (grouping, isWithout) = try groupingClause()
            hasGrouping = true
        }
        let arguments = try callArguments()
        var end = tokens[index - 1].range
        if !hasGrouping, keyword == "by" || keyword == "without" {
            (grouping, isWithout) = try groupingClause()
            end = tokens[index - 1].range
        }
        let range = start...end
        guard !arguments.isEmpty else {
            throw error(range, "no arguments for aggregate expression provided")
        }
        let wanted = operation.parameter == nil ? 1 : 2
        guard arguments.count == wanted else {
            throw error(
                range,
                "wrong number of arguments for aggregate expression provided, expected \(wanted), "
                    + "got \(arguments.count)")
        }
        let inner = arguments[wanted - 1]
        try expect(inner, .vector, in: "aggregation expression")
        if let type = operation.parameter { try expect(arguments[0], type, in: "aggregation parameter") }
        return .aggregate(
            Aggregate(
                operation: operation, parameter: wanted == 2 ? arguments[0] : nil, inner: inner, grouping: grouping,
                isWithout: isWithout, range: range))
    }

    private mutating func groupingClause() throws(ParseError) -> ([String], Bool) {
        let isWithout = keyword == "without"
        advance()
        return (try labelList(), isWithout)
    }

    /// `(a, "b.c", d,)`.
    mutating func labelList() throws(ParseError) -> [String] {
        try expect("(", in: "in grouping opts")
        var names: [String] = []
        while !token.isSymbol(")") {
            switch token.kind {
            case .identifier(let name): names.append(name)
            case .string(let name) where !name.isEmpty: names.append(name)
            // `Inf` and `NaN` are names here.
            case .number(let value) where value.isNaN || value.isInfinite: names.append(written(token))
            default: throw unexpected(in: "in grouping opts", expected: "label")
            }
            advance()
            if !take(",") { break }
        }
        try expect(")", in: "in grouping opts")
        return names
    }

    // MARK: Calls

    private mutating func callArguments(of function: Function? = nil) throws(ParseError) -> [Expr] {
        try expect("(", in: "in aggregation")
        var arguments: [Expr] = []
        var reached = 1
        defer { height = reached + 1 }
        if take(")") { return [] }
        while true {
            mayBeEmpty = function?.kind == .special(.info) && arguments.count == 1 && token.isSymbol("{")
            arguments.append(try expression(minimum: 1))
            reached = max(reached, height)
            if take(")") { return arguments }
            guard token.isSymbol(",") else { throw unexpected(in: "in arguments", expected: "\",\" or \")\"") }
            let comma = token.range
            advance()
            if token.isSymbol(")") { throw error(comma, "trailing commas not allowed in function call args") }
        }
    }

    private mutating func call(_ name: String, at start: SourceRange) throws(ParseError) -> Expr {
        guard let function = Function.all[name] else {
            let known = Array(Function.all.keys) + Aggregate.Operator.allCases.map(\.rawValue)
            throw error(
                start, "unknown function with name \(name.goQuoted)",
                cure: name.utf8.count > 64 ? nil : name.nearest(among: known).map { "did you mean \($0)?" })
        }
        let arguments = try callArguments(of: function)
        let range = start...tokens[index - 1].range
        let arity = function.arity
        let count = arguments.count
        if !arity.contains(count) {
            let expected =
                arity.lowerBound == arity.upperBound
                ? "expected \(arity.lowerBound)"
                : count < arity.lowerBound
                    ? "expected at least \(arity.lowerBound)" : "expected at most \(arity.upperBound)"
            throw error(range, "\(expected) argument(s) in call to \(name.goQuoted), got \(count)")
        }
        for (index, argument) in arguments.enumerated() {
            try expect(argument, function.parameter(index), in: "call to function \(name.goQuoted)")
        }
        if function.kind == .special(.info), count == 2 {
            guard case .vector(let selector) = arguments[1] else {
                throw error(arguments[1].range, "expected label selectors only")
            }
            guard selector.name.isEmpty else {
                throw error(
                    selector.range, "expected label selectors only, got vector selector instead",
                    cure: "write {__name__=\(selector.name.goQuoted)}")
            }
        }
        return .call(Call(function: function, arguments: arguments, range: range))
    }

    private func expect(_ expr: Expr, _ type: ValueType, in context: String) throws(ParseError) {
        guard expr.type != type else { return }
        let cure: String? =
            switch (type, expr.type) {
            case (.matrix, .vector): "add a range, for example [5m]"
            case (.vector, .matrix): "wrap it in a function such as rate(), or remove the range"
            case (.vector, .scalar): "wrap it in vector()"
            case (.scalar, .vector): "wrap it in scalar()"
            default: nil
            }
        throw error(
            expr.range, "expected type \(type.rawValue) in \(context), got \(expr.type.rawValue)", cure: cure)
    }

    // MARK: Selectors

    /// A series' name and labels alone, up to the end of the text; it may have no non-empty label.
    mutating func metric() throws(ParseError) -> VectorSelector {
        let start = token.range
        let name = name(of: token)
        if name != nil { advance() }
        let selector = try selector(named: name, at: start, mayBeEmpty: true)
        guard token.kind == .end else { throw unexpected(in: "after the labels of a series") }
        return selector
    }

    /// `name{…}`; the name is consumed already.
    private mutating func selector(
        named name: String?, at start: SourceRange, mayBeEmpty: Bool = false
    ) throws(ParseError) -> VectorSelector {
        var matchers: [Matcher] = []
        var quoted: String?
        var end = start
        if take("{") {
            while !token.isSymbol("}") {
                let place = token.range
                let (matcher, isName) = try matcher()
                if isName {
                    if let first = quoted {
                        throw error(
                            place,
                            "metric name must not be set twice: \(first.goQuoted) or \(matcher.value.goQuoted)")
                    }
                    quoted = matcher.value
                }
                matchers.append(matcher)
                if !take(",") { break }
            }
            end = token.range
            try expect("}", in: "in label matching")
        }
        let range = start...end
        if let name {
            if let other = matchers.first(where: { $0.name == Labels.nameLabel }) {
                throw error(
                    range, "metric name must not be set twice: \(name.goQuoted) or \(other.value.goQuoted)",
                    cure: "remove one of them")
            }
            matchers.append(Matcher(Labels.nameLabel, equals: name))
        }
        guard mayBeEmpty || matchers.contains(where: { !$0.matches("") }) else {
            throw error(
                range, "vector selector must contain at least one non-empty matcher",
                cure: "name the metric, or add a matcher that does not match the empty string")
        }
        return VectorSelector(name: name ?? "", matchers: matchers, range: range)
    }

    /// One condition, and whether it is a quoted metric name.
    private mutating func matcher() throws(ParseError) -> (Matcher, Bool) {
        let place = token.range
        var isQuoted = false
        let label: String
        switch token.kind {
        case .identifier(let name): label = name
        case .number(let value) where value.isNaN || value.isInfinite: label = written(token)
        case .string(let name): (label, isQuoted) = (name, true)
        default: throw unexpected(in: "in label matching", expected: "identifier or \"}\"")
        }
        advance()
        if isQuoted, token.isSymbol(",") || token.isSymbol("}") {
            return (Matcher(Labels.nameLabel, equals: label), true)
        }
        guard case .symbol(let symbol) = token.kind, let operation = Matcher.Operation(rawValue: symbol) else {
            throw unexpected(in: "in label matching", expected: "label matching operator")
        }
        advance()
        guard case .string(let value) = token.kind else {
            throw unexpected(in: "in label matching", expected: "string")
        }
        let valuePlace = token.range
        advance()
        guard !label.isEmpty else { throw error(place, "invalid label name \"\"") }
        do {
            return (try Matcher(label, operation, value), false)
        } catch {
            throw self.error(valuePlace, error.description)
        }
    }

    // MARK: Durations and moments

    /// What follows `@`.
    mutating func atModifier() throws(ParseError) -> AtModifier {
        if let word = keyword, word == "start" || word == "end" {
            advance()
            try expect("(", in: "in @")
            try expect(")", in: "in @")
            return word == "start" ? .start : .end
        }
        var sign = 1.0
        if token.isSymbol("-") || token.isSymbol("+") {
            sign = token.isSymbol("-") ? -1 : 1
            advance()
        }
        let place = token.range
        switch token.kind {
        case .number(let seconds):
            advance()
            guard seconds.isFinite, abs(seconds) < 9_223_372_036_854_000 else {
                throw error(place, "timestamp out of bounds for @ modifier: \(GoNumber.fixed(seconds))")
            }
            return .time(Timestamp(milliseconds: Int64((sign * seconds * 1000).rounded())))
        case .duration(let length):
            advance()
            return .time(Timestamp(milliseconds: Int64(sign) * length))
        default:
            throw unexpected(in: "in @", expected: "timestamp")
        }
    }
}
