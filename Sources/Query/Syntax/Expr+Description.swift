internal import Basics
internal import Model

extension Expr: CustomStringConvertible {
    /// Canonical PromQL, as Prometheus prints it; parsing it gives an equal tree but for places. O(length).
    ///
    /// - SeeAlso: Prometheus, `promql/parser/printer.go`.
    public var description: String {
        var writer = CanonicalWriter(limit: .max)
        writer.write(self)
        return writer.text
    }
}

/// Writes canonical PromQL, up to a number of bytes: who only wants to know whether a part is short need not print all.
struct CanonicalWriter {
    private(set) var text = ""
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Whether more than `limit` bytes came; what comes after that is left out.
    var isOver: Bool { text.utf8.count > limit }

    private mutating func write(_ part: String) { if !isOver { text += part } }

    private mutating func write(_ exprs: [Expr]) {
        for (index, expr) in exprs.enumerated() {
            if index > 0 { write(", ") }
            write(expr)
        }
    }

    mutating func write(_ expr: Expr) {
        if isOver { return }
        switch expr {
        case .number(let node): write(node.text)
        case .string(let node): write(node.value.goQuoted)
        case .vector(let node): write(node.bareText + node.shift.atText + node.reachText + node.shift.offsetText)
        case .matrix(let node):
            write("\(node.selector.bareText)[\(node.window)]\(node.selector.reachText)\(node.selector.shift.text)")
        case .subquery(let node):
            write(node.inner)
            write(node.suffix)
        case .call(let node):
            write("\(node.function.name)(")
            write(node.arguments)
            write(")")
        case .aggregate(let node):
            write("\(node.head)(")
            write((node.parameter.map { [$0] } ?? []) + [node.inner])
            write(")")
        case .binary(let node):
            if node.operation == .power, case .number(let literal) = node.left, literal.value == .infinity {
                write("Inf")  // The sign of `+Inf` would be read as that of the power.
            } else {
                write(node.left)
            }
            write(" \(node.operatorText) ")
            write(node.right)
        case .unary(let node):
            write(node.isNegative ? "-" : "+")
            write(node.operand)
        case .paren(let node):
            write("(")
            write(node.inner)
            write(")")
        case .invariant(let inner): write(inner)
        }
    }
}

extension NumberLiteral {
    fileprivate var text: String {
        guard isDuration else { return GoNumber.fixed(value) }
        return DurationText.format(Milliseconds((value * 1000).rounded()))
    }
}

extension VectorSelector {
    /// Without offset and `@`; how errors name a selector.
    public var bareText: String {
        let shown = matchers.filter {
            !($0.name == Labels.nameLabel && $0.operation == .equal && $0.value == name && !name.isEmpty)
        }
        if shown.isEmpty { return name.isEmpty ? "{}" : name }
        return "\(name){\(shown.map(\.description).sorted { $0.isBefore($1) }.joined(separator: ","))}"
    }

    fileprivate var reachText: String { reach.map { " \($0.rawValue)" } ?? "" }
}

extension TimeShift {
    fileprivate var text: String { atText + offsetText }

    fileprivate var atText: String {
        switch at {
        case .time(let moment): " @ \(moment.threeDecimals)"
        case .start: " @ start()"
        case .end: " @ end()"
        case nil: ""
        }
    }

    fileprivate var offsetText: String {
        guard let offset, offset.milliseconds != 0 || offset.expression != nil else { return "" }
        return " offset \(offset)"
    }
}

extension Timestamp {
    /// Seconds with three decimals, as Go's `%.3f`.
    fileprivate var threeDecimals: String {
        let size = String(milliseconds.magnitude)
        let padded = String(repeating: "0", count: max(0, 4 - size.count)) + size
        return (milliseconds < 0 ? "-" : "") + padded.dropLast(3) + "." + padded.suffix(3)
    }
}

extension Subquery {
    /// `[1h:5m] @ end() offset 1m`.
    var suffix: String { "[\(window):\(step.map(\.description) ?? "")]\(shift.text)" }
}

extension Aggregate {
    /// `sum by (job) `, all that stands before the parenthesis.
    var head: String {
        if isWithout { return "\(operation.rawValue) without (\(labelText(grouping))) " }
        return operation.rawValue + (grouping.isEmpty ? "" : " by (\(labelText(grouping))) ")
    }
}

extension Binary {
    /// `+ on (job) group_left ()`, all that stands between the operands.
    var operatorText: String {
        var text = operation.rawValue + (returnsBool ? " bool" : "")
        guard let matching else { return text }
        let isGrouped = matching.cardinality == .manyToOne || matching.cardinality == .oneToMany
        if matching.isOn || !matching.labels.isEmpty || isGrouped {
            text += " \(matching.isOn ? "on" : "ignoring") (\(labelText(matching.labels)))"
        }
        if isGrouped {
            let side = matching.cardinality == .manyToOne ? "left" : "right"
            text += " group_\(side) (\(labelText(matching.include)))"
        }
        if let left = matching.fillLeft, let right = matching.fillRight, left == right {
            return text + " fill (\(GoNumber.shortest(left, exponentFrom: 21)))"
        }
        if let left = matching.fillLeft { text += " fill_left (\(GoNumber.shortest(left, exponentFrom: 21)))" }
        if let right = matching.fillRight { text += " fill_right (\(GoNumber.shortest(right, exponentFrom: 21)))" }
        return text
    }
}

private func labelText(_ names: [String]) -> String {
    names.map { $0.isLegacyLabelName ? $0 : $0.goQuoted }.joined(separator: ", ")
}
