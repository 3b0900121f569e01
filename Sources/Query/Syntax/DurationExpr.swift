public import Basics
internal import Glibc

/// The length of a window, a step or an offset: a literal, or arithmetic over literals and the query's own step.
public struct QueryDuration: Sendable, Hashable {
    /// What it comes to; 0 when that depends on the query.
    public var milliseconds: Milliseconds
    /// The arithmetic; nil for a literal.
    public var expression: DurationExpr?
    /// Its place.
    public var range: SourceRange
}

/// Arithmetic with durations, in seconds, inside brackets and after `offset`.
///
/// - SeeAlso: Prometheus, `promql/durations.go`.
public indirect enum DurationExpr: Sendable, Hashable {
    case literal(NumberLiteral)
    /// The step of the query, 0 for an instant one.
    case step
    /// The length of the query's range, 0 for an instant one.
    case range
    case negated(DurationExpr)
    case binary(Binary.Operator, DurationExpr, DurationExpr)
    case minimum(DurationExpr, DurationExpr)
    case maximum(DurationExpr, DurationExpr)
    case paren(DurationExpr)

    /// Whether its value is known without the query.
    var isConstant: Bool {
        switch self {
        case .literal: true
        case .step, .range: false
        case .negated(let inner), .paren(let inner): inner.isConstant
        case .binary(_, let left, let right), .minimum(let left, let right), .maximum(let left, let right):
            left.isConstant && right.isConstant
        }
    }

    /// Its value in seconds; NaN or infinite for a division by zero.
    func seconds(step: Double, range: Double) -> Double {
        switch self {
        case .literal(let literal): return literal.value
        case .step: return step
        case .range: return range
        case .negated(let inner): return -inner.seconds(step: step, range: range)
        case .paren(let inner): return inner.seconds(step: step, range: range)
        case .minimum(let left, let right):
            return goMinimum(left.seconds(step: step, range: range), right.seconds(step: step, range: range))
        case .maximum(let left, let right):
            return goMaximum(left.seconds(step: step, range: range), right.seconds(step: step, range: range))
        case .binary(let operation, let left, let right):
            let (first, second) = (left.seconds(step: step, range: range), right.seconds(step: step, range: range))
            return operation.apply(first, second)
        }
    }

    /// Milliseconds of a number of seconds, or what is wrong with it.
    static func milliseconds(_ seconds: Double, mayBeNegative: Bool) -> Result<Milliseconds, DurationProblem> {
        guard seconds.isFinite else { return .failure("duration is NaN or infinite") }
        guard seconds > 0 || mayBeNegative else { return .failure("duration must be greater than 0") }
        guard abs(seconds) < 9_223_372_036 else { return .failure("duration out of range") }
        return .success(Milliseconds((seconds * 1000).rounded()))
    }
}

/// What is wrong with a duration.
struct DurationProblem: Error, ExpressibleByStringLiteral {
    var message: String
    init(stringLiteral value: String) { message = value }
}

extension QueryDuration: CustomStringConvertible {
    /// As Prometheus prints it.
    public var description: String { expression?.description ?? DurationText.format(milliseconds) }
}

extension DurationExpr: CustomStringConvertible {
    /// As Prometheus prints it.
    public var description: String {
        switch self {
        case .literal(let literal): Expr.number(literal).description
        case .step: "step()"
        case .range: "range()"
        case .negated(let inner): "-\(inner)"
        case .binary(let operation, let left, let right): "\(left) \(operation.rawValue) \(right)"
        case .minimum(let left, let right): "min_of(\(left), \(right))"
        case .maximum(let left, let right): "max_of(\(left), \(right))"
        case .paren(let inner): "(\(inner))"
        }
    }
}

extension Parser {
    /// The length of a window or a subquery's step: above 0.
    mutating func positiveDuration() throws(ParseError) -> QueryDuration {
        let start = token.range
        let expr = try durationExpression(minimum: 1)
        return try duration(expr, from: start, mayBeNegative: false)
    }

    /// The length after `offset`: a single operand, since `offset 5m + 2` adds 2 to the vector.
    mutating func offsetDuration() throws(ParseError) -> QueryDuration {
        let start = token.range
        let expr = try durationOperand(isAlone: true)
        return try duration(expr, from: start, mayBeNegative: true)
    }

    private func duration(
        _ expr: DurationExpr, from start: SourceRange, mayBeNegative: Bool
    ) throws(ParseError) -> QueryDuration {
        let range = start...tokens[index - 1].range
        var duration = QueryDuration(milliseconds: 0, expression: expr, range: range)
        guard expr.isConstant else { return duration }
        switch DurationExpr.milliseconds(expr.seconds(step: 0, range: 0), mayBeNegative: mayBeNegative) {
        case .success(let length): duration.milliseconds = length
        case .failure(let problem): throw error(range, problem.message)
        }
        if case .literal = expr { duration.expression = nil }
        return duration
    }

    private mutating func durationExpression(minimum: Int) throws(ParseError) -> DurationExpr {
        try descend()
        defer { ascend() }
        var left = try durationOperand()
        var count = 0
        while case .symbol(let symbol) = token.kind, let operation = Binary.Operator(rawValue: symbol),
            operation.isArithmetic, operation.precedence >= minimum
        {
            let place = token.range
            advance()
            let right = try durationExpression(
                minimum: operation == .power ? operation.precedence : operation.precedence + 1)
            if operation == .divide || operation == .modulo, right.isConstant, right.seconds(step: 0, range: 0) == 0 {
                throw error(place, operation == .divide ? "division by zero" : "modulo by zero")
            }
            left = .binary(operation, left, right)
            count += 1
            guard count < 100 else { throw error(place, "more than 100 operators follow each other in a duration") }
        }
        return left
    }

    /// A sign binds like `*`, so `-2 ^ 2` is -4; but after `offset` it belongs to its operand alone.
    private mutating func durationOperand(isAlone: Bool = false) throws(ParseError) -> DurationExpr {
        let place = token.range
        switch token.kind {
        case .symbol("-"), .symbol("+"):
            let isNegative = token.isSymbol("-")
            try descend()
            defer { ascend() }
            advance()
            let operand =
                isAlone
                ? try durationOperand(isAlone: true)
                : try durationExpression(minimum: Binary.Operator.power.precedence)
            if case .literal(var literal) = operand {
                if isNegative { literal.negate() }
                return .literal(literal)
            }
            return isNegative ? .negated(operand) : operand
        case .symbol("("):
            advance()
            let inner = try durationExpression(minimum: 1)
            try expect(")", in: "in a duration")
            return .paren(inner)
        case .duration(let length):
            advance()
            return .literal(NumberLiteral(value: Double(length) / 1000, isDuration: true, range: place))
        case .number(let value):
            advance()
            return .literal(NumberLiteral(value: value, isDuration: false, range: place))
        case .identifier(let name):
            return try durationCall(name.lowercased())
        default:
            throw unexpected(in: "where a duration is expected", expected: "a duration such as 5m")
        }
    }

    private mutating func durationCall(_ name: String) throws(ParseError) -> DurationExpr {
        guard ["step", "range", "min_of", "max_of"].contains(name) else {
            throw unexpected(in: "where a duration is expected", expected: "a duration such as 5m")
        }
        advance()
        try expect("(", in: "in a duration")
        if name == "step" || name == "range" {
            try expect(")", in: "in a duration")
            return name == "step" ? .step : .range
        }
        let left = try durationExpression(minimum: 1)
        try expect(",", in: "in a duration")
        let right = try durationExpression(minimum: 1)
        try expect(")", in: "in a duration")
        return name == "min_of" ? .minimum(left, right) : .maximum(left, right)
    }
}
