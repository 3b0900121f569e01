public import Basics
internal import Model

extension Expression {
    /// The tree as `/api/v1/parse_query` tells it: members sorted by name, no places.
    ///
    /// - SeeAlso: Prometheus, `web/api/v1/translate_ast.go`.
    public var json: JSON { root.json }
}

extension Expr {
    fileprivate var json: JSON {
        switch self {
        case .number(let node): .members(["type": "numberLiteral", "val": .string(GoNumber.fixed(node.value))])
        case .string(let node): .members(["type": "stringLiteral", "val": .string(node.value)])
        case .vector(let node): .members(node.members(type: "vectorSelector"))
        case .matrix(let node):
            .members(node.selector.members(type: "matrixSelector").merging(node.window.members("range")) { $1 })
        case .subquery(let node):
            .members(
                ["type": "subquery", "expr": node.inner.json].merging(node.shift.members) { $1 }
                    .merging(node.window.members("range")) { $1 }
                    .merging(node.step?.members("step") ?? ["step": 0, "stepExpr": .null]) { $1 })
        case .call(let node):
            .members([
                "type": "call", "func": node.function.json, "args": .array(node.arguments.map(\.json)),
            ])
        case .aggregate(let node):
            .members([
                "type": "aggregation", "op": .string(node.operation.rawValue), "expr": node.inner.json,
                "param": node.parameter?.json ?? .null, "grouping": .texts(node.grouping),
                "without": .bool(node.isWithout),
            ])
        case .binary(let node):
            .members([
                "type": "binaryExpr", "op": .string(node.operation.rawValue), "lhs": node.left.json,
                "rhs": node.right.json, "matching": node.matching?.json ?? .null, "bool": .bool(node.returnsBool),
            ])
        case .unary(let node):
            .members(["type": "unaryExpr", "op": node.isNegative ? "-" : "+", "expr": node.operand.json])
        case .paren(let node): .members(["type": "parenExpr", "expr": node.inner.json])
        case .invariant(let inner): inner.json
        }
    }
}

extension Function {
    fileprivate var json: JSON {
        .members([
            "name": .string(name), "argTypes": .texts(parameters.map(\.told)), "variadic": .number(Double(variadic)),
            "returnType": .string(result.told),
        ])
    }
}

extension Binary.Matching {
    fileprivate var json: JSON {
        let card: JSON =
            switch cardinality {
            case .oneToOne: "one-to-one"
            case .manyToOne: "many-to-one"
            case .oneToMany: "one-to-many"
            case .manyToMany: "many-to-many"
            }
        let fills = JSON.members([
            "lhs": fillLeft.map { .number($0) } ?? .null, "rhs": fillRight.map { .number($0) } ?? .null,
        ])
        return .members([
            "card": card, "labels": .texts(labels), "on": .bool(isOn), "include": .texts(include), "fillValues": fills,
        ])
    }
}

extension VectorSelector {
    fileprivate func members(type: JSON) -> [String: JSON] {
        let conditions = matchers.map { matcher in
            JSON.members([
                "name": .string(matcher.name), "value": .string(matcher.value),
                "type": .string(matcher.operation.rawValue),
            ])
        }
        return [
            "type": type, "name": .string(name), "matchers": .array(conditions), "anchored": .bool(reach == .anchored),
            "smoothed": .bool(reach == .smoothed),
        ].merging(shift.members) { $1 }
    }
}

extension TimeShift {
    fileprivate var members: [String: JSON] {
        var members = offset?.members("offset") ?? ["offset": 0, "offsetExpr": .null]
        (members["timestamp"], members["startOrEnd"]) = (.null, .null)
        switch at {
        case .time(let moment): members["timestamp"] = .number(Double(moment.milliseconds))
        case .start: members["startOrEnd"] = "start"
        case .end: members["startOrEnd"] = "end"
        case nil: break
        }
        return members
    }
}

extension QueryDuration {
    /// The length in milliseconds, 0 where it is computed, and how it is computed.
    fileprivate func members(_ name: String) -> [String: JSON] {
        [
            name: .number(expression == nil ? Double(milliseconds) : 0),
            name + "Expr": expression?.json(isWrapped: false) ?? .null,
        ]
    }
}

extension DurationExpr {
    fileprivate func json(isWrapped: Bool) -> JSON {
        func node(_ operation: String, _ left: DurationExpr?, _ right: DurationExpr?) -> JSON {
            .members([
                "type": "durationExpr", "op": .string(operation), "lhs": left?.json(isWrapped: false) ?? .null,
                "rhs": right?.json(isWrapped: false) ?? .null, "wrapped": .bool(isWrapped),
            ])
        }
        switch self {
        case .literal(let literal):
            let value = JSON.members([
                "type": "numberLiteral", "val": .string(GoNumber.fixed(literal.value)),
                "duration": .bool(literal.isDuration),
            ])
            // Only an operation can be told as standing in parentheses: `(5)` is `(+5)`.
            guard isWrapped else { return value }
            return .members(["type": "durationExpr", "op": "+", "lhs": .null, "rhs": value, "wrapped": true])
        case .step: return node("step", nil, nil)
        case .range: return node("range", nil, nil)
        case .negated(let inner): return node("-", nil, inner)
        case .binary(let operation, let left, let right): return node(operation.rawValue, left, right)
        case .minimum(let left, let right): return node("min_of", left, right)
        case .maximum(let left, let right): return node("max_of", left, right)
        case .paren(let inner): return inner.json(isWrapped: true)
        }
    }
}

extension JSON {
    fileprivate static func members(_ members: [String: JSON]) -> JSON {
        .object(members.sorted { $0.key.isBefore($1.key) }.map { Member($0.key, $0.value) })
    }

    fileprivate static func texts(_ texts: [String]) -> JSON { .array(texts.map { .string($0) }) }
}
