internal import Basics
internal import Model

extension Expr: CustomStringConvertible {
    /// Canonical PromQL, as Prometheus prints it; parsing it gives an equal tree but for places.
    ///
    /// - SeeAlso: Prometheus, `promql/parser/printer.go`.
    public var description: String {
        switch self {
        case .number(let node): node.text
        case .string(let node): node.value.goQuoted
        case .vector(let node): node.bareText + node.shift.atText + node.reachText + node.shift.offsetText
        case .matrix(let node):
            "\(node.selector.bareText)[\(node.window)]\(node.selector.reachText)\(node.selector.shift.text)"
        case .subquery(let node):
            "\(node.inner)[\(node.window):\(node.step.map(\.description) ?? "")]"
                + node.shift.text
        case .call(let node): "\(node.function.name)(\(node.arguments.map(\.description).joined(separator: ", ")))"
        case .aggregate(let node): node.text
        case .binary(let node): "\(node.left) \(node.operatorText) \(node.right)"
        case .unary(let node): (node.isNegative ? "-" : "+") + node.operand.description
        case .paren(let node): "(\(node.inner))"
        case .invariant(let inner): inner.description
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
        guard !shown.isEmpty else { return name }
        return "\(name){\(shown.map(\.description).sorted { $0.isBefore($1) }.joined(separator: ","))}"
    }
}

extension VectorSelector {
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

extension Aggregate {
    fileprivate var text: String {
        var text = operation.rawValue
        if isWithout {
            text += " without (\(labelText(grouping))) "
        } else if !grouping.isEmpty {
            text += " by (\(labelText(grouping))) "
        }
        return "\(text)(\(parameter.map { "\($0), " } ?? "")\(inner))"
    }
}

extension Binary {
    fileprivate var operatorText: String {
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
            return text + " fill (\(GoNumber.shortest(left)))"
        }
        if let left = matching.fillLeft { text += " fill_left (\(GoNumber.shortest(left)))" }
        if let right = matching.fillRight { text += " fill_right (\(GoNumber.shortest(right)))" }
        return text
    }
}

private func labelText(_ names: [String]) -> String {
    names.map { $0.isLegacyLabelName ? $0 : $0.goQuoted }.joined(separator: ", ")
}
