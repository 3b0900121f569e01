internal import Basics

/// A query that was parsed once and can be evaluated many times.
public struct Expression: Sendable, Hashable, CustomStringConvertible {
    /// As it was written.
    public let text: String
    /// Its tree.
    public let root: Expr
    /// The tree with its step-invariant parts marked.
    let prepared: Expr

    /// Parses and checks a query; the error has its place in the text.
    public init(parsing text: String) throws(ParseError) {
        self.init(text: text, root: try Parser.parse(text))
    }

    init(text: String, root: Expr) {
        (self.text, self.root) = (text, root)
        let (marked, isInvariant) = StepInvariance.mark(root)
        prepared = isInvariant ? StepInvariance.wrapped(marked) : marked
    }

    /// The kind of its value.
    public var type: ValueType { root.type }
    /// Canonical PromQL.
    public var description: String { root.description }
    /// Every selector in it, in the order of the text.
    public var selectors: [VectorSelector] {
        var found: [VectorSelector] = []
        root.visitSelectors { found.append($0) }
        return found
    }
}

extension Expr {
    fileprivate func visitSelectors(_ visit: (VectorSelector) -> Void) {
        switch self {
        case .number, .string: break
        case .vector(let node): visit(node)
        case .matrix(let node): visit(node.selector)
        case .subquery(let node): node.inner.visitSelectors(visit)
        case .call(let node): for argument in node.arguments { argument.visitSelectors(visit) }
        case .aggregate(let node):
            node.parameter?.visitSelectors(visit)
            node.inner.visitSelectors(visit)
        case .binary(let node):
            node.left.visitSelectors(visit)
            node.right.visitSelectors(visit)
        case .unary(let node): node.operand.visitSelectors(visit)
        case .paren(let node): node.inner.visitSelectors(visit)
        case .invariant(let inner): inner.visitSelectors(visit)
        }
    }
}

/// Finds the parts that `@` fixes, so that they are evaluated once instead of at every step.
///
/// - SeeAlso: Prometheus, `promql/engine.go`, `PreprocessExpr`.
private enum StepInvariance {
    /// Functions whose value depends on the step's own moment even when their arguments do not.
    static let unsafe: Set<String> = [
        "days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year",
        "predict_linear", "time", "timestamp",
    ]

    static func wrapped(_ expr: Expr) -> Expr {
        switch expr.bare {
        case .number, .string: expr
        // A window as an argument is cut for each step anyway; its function is marked when all of it is invariant.
        case .matrix, .subquery: expr
        default: .invariant(expr)
        }
    }

    /// The tree with maximal invariant parts wrapped, unless the whole is invariant: then its owner wraps it.
    static func mark(_ expr: Expr) -> (Expr, isInvariant: Bool) {
        switch expr {
        case .number, .string, .invariant: return (expr, true)
        case .vector(let node): return (expr, node.shift.at != nil)
        case .matrix(let node): return (expr, node.selector.shift.at != nil)
        case .subquery(var node):
            let (inner, isInvariant) = mark(node.inner)
            node.inner = isInvariant ? wrapped(inner) : inner
            return (.subquery(node), node.shift.at != nil)
        case .paren(var node):
            let (inner, isInvariant) = mark(node.inner)
            node.inner = inner
            return (.paren(node), isInvariant)
        case .unary(var node):
            let (inner, isInvariant) = mark(node.operand)
            node.operand = inner
            return (.unary(node), isInvariant)
        case .aggregate(var node):
            let parts = mark([node.inner] + (node.parameter.map { [$0] } ?? []))
            node.inner = parts.marked[0]
            if node.parameter != nil { node.parameter = parts.marked[1] }
            return (.aggregate(node), parts.isInvariant)
        case .binary(var node):
            let parts = mark([node.left, node.right])
            (node.left, node.right) = (parts.marked[0], parts.marked[1])
            return (.binary(node), parts.isInvariant)
        case .call(var node):
            let parts = mark(node.arguments, isSafe: !unsafe.contains(node.function.name))
            node.arguments = parts.marked
            return (.call(node), parts.isInvariant)
        }
    }

    private static func mark(_ parts: [Expr], isSafe: Bool = true) -> (marked: [Expr], isInvariant: Bool) {
        let each = parts.map(mark)
        if isSafe, each.allSatisfy({ $0.isInvariant }) { return (each.map { $0.0 }, true) }
        return (each.map { $0.isInvariant ? wrapped($0.0) : $0.0 }, false)
    }
}
