import Basics
import Query

extension Expr {
    /// The same expression with `@ moment` on every selector that has none, the outermost subquery standing for what is
    /// inside it; nil when a function in it looks at the moment of evaluation anyway.
    ///
    /// - SeeAlso: Prometheus, `promql/promqltest/test.go`, `atModifierTestCases`.
    func fixed(at moment: Timestamp) -> Expr? {
        let unsafe: Set<String> = [
            "days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year",
            "predict_linear", "time", "timestamp", "start", "end", "step", "range",
        ]
        switch self {
        case .number, .string, .invariant: return self
        case .vector(var node):
            node.shift.at = node.shift.at ?? .time(moment)
            return .vector(node)
        case .matrix(var node):
            node.selector.shift.at = node.selector.shift.at ?? .time(moment)
            return .matrix(node)
        case .subquery(var node):
            guard node.inner.fixed(at: moment) != nil else { return nil }
            node.shift.at = node.shift.at ?? .time(moment)
            return .subquery(node)
        case .paren(var node):
            guard let inner = node.inner.fixed(at: moment) else { return nil }
            node.inner = inner
            return .paren(node)
        case .unary(var node):
            guard let operand = node.operand.fixed(at: moment) else { return nil }
            node.operand = operand
            return .unary(node)
        case .binary(var node):
            guard let left = node.left.fixed(at: moment), let right = node.right.fixed(at: moment) else { return nil }
            (node.left, node.right) = (left, right)
            return .binary(node)
        case .aggregate(var node):
            guard let inner = node.inner.fixed(at: moment) else { return nil }
            node.inner = inner
            if let parameter = node.parameter {
                guard let fixed = parameter.fixed(at: moment) else { return nil }
                node.parameter = fixed
            }
            return .aggregate(node)
        case .call(var node):
            guard !unsafe.contains(node.function.name) else { return nil }
            let arguments = node.arguments.compactMap { $0.fixed(at: moment) }
            guard arguments.count == node.arguments.count else { return nil }
            node.arguments = arguments
            return .call(node)
        }
    }
}
