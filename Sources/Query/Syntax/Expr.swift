public import Basics
public import Model

/// The four kinds of value an expression can have.
public enum ValueType: String, Sendable, Hashable {
    case scalar, vector = "instant vector", matrix = "range vector", string
}

/// A node of a parsed query. Every node knows its place in the text and prints as Prometheus prints it.
public indirect enum Expr: Sendable, Hashable {
    case number(NumberLiteral)
    case string(StringLiteral)
    case vector(VectorSelector)
    case matrix(MatrixSelector)
    case subquery(Subquery)
    case call(Call)
    case aggregate(Aggregate)
    case binary(Binary)
    case unary(Unary)
    case paren(Paren)
    /// A part that has the same value at every step; put in by `Expression`, never by the parser.
    case invariant(Expr)

    /// The kind of its value.
    public var type: ValueType {
        switch self {
        case .number: .scalar
        case .string: .string
        case .vector, .aggregate: .vector
        case .matrix, .subquery: .matrix
        case .call(let call): call.function.result
        case .binary(let binary): binary.left.type == .scalar && binary.right.type == .scalar ? .scalar : .vector
        case .unary(let unary): unary.operand.type
        case .paren(let paren): paren.inner.type
        case .invariant(let inner): inner.type
        }
    }

    /// Its place in the text.
    public var range: SourceRange {
        switch self {
        case .number(let node): node.range
        case .string(let node): node.range
        case .vector(let node): node.range
        case .matrix(let node): node.range
        case .subquery(let node): node.range
        case .call(let node): node.range
        case .aggregate(let node): node.range
        case .binary(let node): node.left.range...node.right.range
        case .unary(let node): node.range
        case .paren(let node): node.range
        case .invariant(let inner): inner.range
        }
    }

    /// Itself without parentheses and marks around it.
    public var bare: Expr {
        switch self {
        case .paren(let paren): paren.inner.bare
        case .invariant(let inner): inner.bare
        default: self
        }
    }
}

/// `5`, `0x1F`, `1h30m` (in seconds).
public struct NumberLiteral: Sendable, Hashable {
    /// The value.
    public var value: Double
    /// Whether it was written as a duration, and so prints as one.
    public var isDuration: Bool
    /// Its place.
    public var range: SourceRange

    /// Takes a minus sign in; a duration has no negative zero.
    mutating func negate() { value = isDuration ? 0 - value : -value }
}

/// `"text"`.
public struct StringLiteral: Sendable, Hashable {
    /// The text, escapes resolved.
    public var value: String
    /// Its place.
    public var range: SourceRange
}

/// `@ 1609746000`, `@ start()`, `@ end()`.
public enum AtModifier: Sendable, Hashable {
    case time(Timestamp)
    case start, end
}

/// `offset` and `@`, of selectors and subqueries.
public struct TimeShift: Sendable, Hashable {
    /// How far back; negative: ahead; nil when not written.
    public var offset: QueryDuration?
    /// The fixed moment.
    public var at: AtModifier?

    /// None: the present.
    public init() {}
}

/// `http_requests_total{job="api"} offset 5m`.
public struct VectorSelector: Sendable, Hashable {
    /// The metric's name where it stands before the braces, else empty.
    public var name: String
    /// All conditions, the name's too.
    public var matchers: [Matcher]
    /// `offset` and `@`.
    public var shift = TimeShift()
    /// `anchored` or `smoothed`, nil for neither.
    public var reach: Reach?
    /// Its place.
    public var range: SourceRange

    /// A selector by its parts.
    init(name: String, matchers: [Matcher], shift: TimeShift = TimeShift(), range: SourceRange) {
        (self.name, self.matchers, self.shift, self.range) = (name, matchers, shift, range)
    }
}

/// How a selector reaches for samples outside of its window.
///
/// - SeeAlso: Prometheus, "Extended range selectors".
public enum Reach: String, Sendable, Hashable {
    /// The newest sample at or before the window's start stands at the start.
    case anchored
    /// The values at both ends are interpolated between the samples around them.
    case smoothed

    /// The functions that may be given such a window, as an error tells them.
    var functions: [WindowFunction] {
        self == .anchored ? [.changes, .delta, .increase, .rate, .resets] : [.delta, .increase, .rate]
    }
}

/// `selector[5m]`.
public struct MatrixSelector: Sendable, Hashable {
    /// What it selects, with its offset.
    public var selector: VectorSelector
    /// The length of the window, left-open.
    public var window: QueryDuration
    /// Its place.
    public var range: SourceRange
}

/// `expression[1h:5m]`.
public struct Subquery: Sendable, Hashable {
    /// What is evaluated at each inner step.
    public var inner: Expr
    /// The length of the window, left-open.
    public var window: QueryDuration
    /// The inner step; nil: the engine's default.
    public var step: QueryDuration?
    /// `offset` and `@`.
    public var shift = TimeShift()
    /// Its place.
    public var range: SourceRange
}

/// `rate(x[5m])`.
public struct Call: Sendable, Hashable {
    /// What is called.
    public var function: Function
    /// As many as the function's signature allows.
    public var arguments: [Expr]
    /// Its place.
    public var range: SourceRange
}

/// `sum by (job) (x)`.
public struct Aggregate: Sendable, Hashable {
    /// The aggregations, by their names.
    public enum Operator: String, Sendable, Hashable, CaseIterable {
        case sum, avg, min, max, count, group, stddev, stdvar, topk, bottomk, quantile
        case countValues = "count_values", limitk, limitRatio = "limit_ratio"

        /// What the parameter before the vector must be, when there is one.
        var parameter: ValueType? {
            switch self {
            case .topk, .bottomk, .quantile, .limitk, .limitRatio: .scalar
            case .countValues: .string
            default: nil
            }
        }
        /// Whether Prometheus keeps it behind a flag.
        var isExperimental: Bool { self == .limitk || self == .limitRatio }
    }
    /// Which one.
    public var operation: Operator
    /// `k`, the quantile, or the label of `count_values`.
    public var parameter: Expr?
    /// What is aggregated.
    public var inner: Expr
    /// The labels in the parentheses.
    public var grouping: [String]
    /// `without` instead of `by`.
    public var isWithout: Bool
    /// Its place.
    public var range: SourceRange
}

/// `left + on (job) group_left (team) right`.
public struct Binary: Sendable, Hashable {
    /// The operators, by their text.
    public enum Operator: String, Sendable, Hashable {
        case add = "+", subtract = "-", multiply = "*", divide = "/", modulo = "%", power = "^", atan2
        case equal = "==", notEqual = "!=", less = "<", greater = ">", lessOrEqual = "<=", greaterOrEqual = ">="
        case and, or, unless
        /// Cut a native histogram at a value; of floats they give nothing.
        case trimUpper = "</", trimLower = ">/"

        /// Whether it compares: without `bool` it lets series pass or drops them.
        public var isComparison: Bool {
            switch self {
            case .equal, .notEqual, .less, .greater, .lessOrEqual, .greaterOrEqual: true
            default: false
            }
        }
        var isSet: Bool { self == .and || self == .or || self == .unless }
        var isTrim: Bool { self == .trimUpper || self == .trimLower }
        var isArithmetic: Bool { !isComparison && !isSet }

        /// Greater binds tighter.
        var precedence: Int {
            switch self {
            case .or: 1
            case .and, .unless: 2
            case .equal, .notEqual, .less, .greater, .lessOrEqual, .greaterOrEqual, .trimUpper, .trimLower: 3
            case .add, .subtract: 4
            case .multiply, .divide, .modulo, .atan2: 5
            case .power: 6
            }
        }
    }
    /// How many series of each side belong together.
    public enum Cardinality: Sendable, Hashable { case oneToOne, manyToOne, oneToMany, manyToMany }
    /// Which series belong together.
    public struct Matching: Sendable, Hashable {
        /// By the operator and `group_left`, `group_right`.
        public var cardinality: Cardinality
        /// `on` instead of `ignoring`.
        public var isOn = false
        /// The labels of `on` or `ignoring`.
        public var labels: [String] = []
        /// The labels of `group_left` or `group_right`.
        public var include: [String] = []
        /// The value that stands in for a series that the left or the right side lacks; with `group_right`, which
        /// swaps the sides, for one of the right or the left.
        public var fillLeft: Double?, fillRight: Double?

        /// Whether a missing series is stood in for.
        var fills: Bool { fillLeft != nil || fillRight != nil }
    }

    /// Which one.
    public var operation: Operator
    /// The operands.
    public var left: Expr, right: Expr
    /// `bool` after a comparison.
    public var returnsBool: Bool
    /// nil unless both sides are vectors.
    public var matching: Matching?
}

/// `-x`.
public struct Unary: Sendable, Hashable {
    /// `-` instead of `+`.
    public var isNegative: Bool
    /// What follows it.
    public var operand: Expr
    /// Its place.
    public var range: SourceRange
}

/// `(x)`.
public struct Paren: Sendable, Hashable {
    /// What stands inside.
    public var inner: Expr
    /// Its place.
    public var range: SourceRange
}
