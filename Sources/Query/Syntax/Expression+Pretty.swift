internal import Basics

extension Expression {
    /// The query over several lines, as `promtool promql format` and `/api/v1/format_query` write it: a part of more
    /// than 100 bytes is broken, two blanks a level.
    ///
    /// - SeeAlso: Prometheus, `promql/parser/prettier.go`.
    public var pretty: String {
        var printer = PrettyPrinter()
        printer.write(root, level: 0)
        return printer.text
    }
}

private struct PrettyPrinter {
    private static let longest = 100
    private(set) var text = ""

    private func isLong(_ expr: Expr) -> Bool {
        var writer = CanonicalWriter(limit: PrettyPrinter.longest)
        writer.write(expr)
        return writer.isOver
    }

    private mutating func indent(_ level: Int) { text += String(repeating: "  ", count: level) }

    mutating func write(_ expr: Expr, level: Int) {
        switch expr {
        case .unary(let node):
            indent(level)
            text += node.isNegative ? "-" : "+"
            // The sign has taken the blanks before the operand.
            var operand = PrettyPrinter()
            operand.write(node.operand, level: level)
            text += operand.text.drop { $0 == " " }
            return
        case .subquery where !isLong(expr):
            text += expr.description
            return
        case .subquery(let node):
            write(node.inner, level: level)
            text += node.suffix
            return
        case .aggregate, .call, .paren, .binary:
            guard isLong(expr) else { break }
            return writeBroken(expr, level: level)
        default: break
        }
        indent(level)
        text += expr.description
    }

    private mutating func writeBroken(_ expr: Expr, level: Int) {
        switch expr {
        case .aggregate(let node):
            writeEnclosed((node.parameter.map { [$0] } ?? []) + [node.inner], head: node.head, level: level)
        case .call(let node): writeEnclosed(node.arguments, head: node.function.name, level: level)
        case .paren(let node): writeEnclosed([node.inner], head: "", level: level)
        case .binary(let node):
            write(node.left, level: level + 1)
            text += "\n"
            indent(level)
            text += node.operatorText + "\n"
            write(node.right, level: level + 1)
        default: text += expr.description
        }
    }

    private mutating func writeEnclosed(_ parts: [Expr], head: String, level: Int) {
        indent(level)
        text += head + "(\n"
        for (index, part) in parts.enumerated() {
            if index > 0 { text += ",\n" }
            write(part, level: level + 1)
        }
        text += "\n"
        indent(level)
        text += ")"
    }
}
