internal import Basics
internal import Model

/// The functions that Go's template language itself has; `and`, `or` and `call` are the evaluator's.
///
/// - SeeAlso: Go, `text/template/funcs.go`.
let goFunctions: [String: TemplateFunctions.Function] = {
    typealias Function = TemplateFunctions.Function
    func comparison(_ body: @escaping @Sendable (TemplateValue, TemplateValue) throws(TemplateFailure) -> Bool)
        -> Function
    {
        Function(arity: 2...2) { call throws(TemplateFailure) in
            .bool(try body(call.arguments[0].plain, call.arguments[1].plain))
        }
    }
    return [
        "not": Function(arity: 1...1) { .bool(!$0.arguments[0].isTrue) },
        "eq": Function(arity: 2...Int.max) { call throws(TemplateFailure) in
            for other in call.arguments.dropFirst() {
                if try isEqual(call.arguments[0].plain, other.plain) { return .bool(true) }
            }
            return .bool(false)
        },
        "ne": comparison { (one, other) throws(TemplateFailure) in !(try isEqual(one, other)) },
        "lt": comparison { (one, other) throws(TemplateFailure) in try isLess(one, other) },
        "le": comparison { (one, other) throws(TemplateFailure) in try isAtMost(one, other) },
        "gt": comparison { (one, other) throws(TemplateFailure) in !(try isAtMost(one, other)) },
        "ge": comparison { (one, other) throws(TemplateFailure) in !(try isLess(one, other)) },
        "len": Function(arity: 1...1) { call throws(TemplateFailure) in .int(try length(call.arguments[0].plain)) },
        "index": Function(arity: 1...Int.max) { call throws(TemplateFailure) in
            var value = call.arguments[0]
            for key in call.arguments.dropFirst() { value = try index(value.plain, key.plain) }
            return value
        },
        "slice": Function(arity: 1...4) { call throws(TemplateFailure) in try slice(call) },
        "print": Function(arity: 0...Int.max) { .string(sprint($0.arguments)) },
        "println": Function(arity: 0...Int.max) { .string($0.arguments.map(\.text).joined(separator: " ") + "\n") },
        "printf": Function(arity: 1...Int.max) { call throws(TemplateFailure) in
            .string(GoFormat.sprintf(try call.string(0), Array(call.arguments.dropFirst())))
        },
        "html": Function(arity: 0...Int.max) { .string(sprintEscaped($0.arguments).htmlEscaped) },
        "js": Function(arity: 0...Int.max) { .string(escapedJavaScript(sprintEscaped($0.arguments))) },
        "urlquery": Function(arity: 0...Int.max) { .string(sprintEscaped($0.arguments).queryEscaped) },
    ]
}()

/// Go's `Sprint`: a space between two operands when neither is a text.
func sprint(_ values: [TemplateValue]) -> String {
    var text = ""
    var previousIsText = true
    for (index, value) in values.enumerated() {
        let isText = if case .string = value.plain { true } else { false }
        if index > 0, !isText, !previousIsText { text += " " }
        text += value.text
        previousIsText = isText
    }
    return text
}

private func sprintEscaped(_ values: [TemplateValue]) -> String {
    if values.count == 1, case .null = values[0].plain { return "<no value>" }
    return sprint(values)
}

private func isEqual(_ one: TemplateValue, _ other: TemplateValue) throws(TemplateFailure) -> Bool {
    switch (one, other) {
    case (.null, .null): return true
    case (.null, _), (_, .null): return false
    case (.bool(let one), .bool(let other)): return one == other
    case (.int(let one), .int(let other)): return one == other
    case (.double(let one), .double(let other)): return one == other
    case (.string(let one), .string(let other)): return one.utf8.elementsEqual(other.utf8)
    case (.time(let one), .time(let other)): return one == other
    case (.duration(let one), .duration(let other)): return one == other
    case (.list, _), (.map, _): throw TemplateFailure("non-comparable type \(one.text): \(one.typeName)")
    case (_, .list), (_, .map): throw TemplateFailure("non-comparable type \(other.text): \(other.typeName)")
    default: throw incompatible(one, other)
    }
}

private func isLess(_ one: TemplateValue, _ other: TemplateValue) throws(TemplateFailure) -> Bool {
    switch (one, other) {
    case (.int(let one), .int(let other)): return one < other
    case (.double(let one), .double(let other)): return one < other
    case (.string(let one), .string(let other)): return one.isBefore(other)
    case (.duration(let one), .duration(let other)): return one < other
    case (.bool, .bool), (.null, _), (.list, _), (.map, _): throw TemplateFailure("invalid type for comparison")
    default: throw incompatible(one, other)
    }
}

private func isAtMost(_ one: TemplateValue, _ other: TemplateValue) throws(TemplateFailure) -> Bool {
    if try isLess(one, other) { return true }
    return try isEqual(one, other)
}

private func incompatible(_ one: TemplateValue, _ other: TemplateValue) -> TemplateFailure {
    TemplateFailure("incompatible types for comparison: \(one.typeName) and \(other.typeName)")
}

private func length(_ value: TemplateValue) throws(TemplateFailure) -> Int {
    switch value {
    case .string(let text): return text.utf8.count
    case .list(let items): return items.count
    case .map(let map): return map.entries.count
    case .null: throw TemplateFailure("len of nil pointer")
    default: throw TemplateFailure("len of type \(value.typeName)")
    }
}

private func index(_ value: TemplateValue, _ key: TemplateValue) throws(TemplateFailure) -> TemplateValue {
    switch (value, key) {
    case (.null, _): throw TemplateFailure("index of untyped nil")
    case (.map(let map), .string(let key)): return map[key]
    case (.map, _): throw TemplateFailure("value has type \(key.typeName); should be string")
    case (.list(let items), .int(let index)):
        guard items.indices.contains(index) else { throw TemplateFailure("index out of range: \(index)") }
        return items[index]
    case (.string(let text), .int(let index)):
        guard index >= 0, index < text.utf8.count else { throw TemplateFailure("index out of range: \(index)") }
        return .int(Int(Array(text.utf8)[index]))
    case (.list, _), (.string, _):
        throw TemplateFailure("cannot index slice/array with type \(key.typeName)")
    default: throw TemplateFailure("can't index item of type \(value.typeName)")
    }
}

private func slice(_ call: TemplateCall) throws(TemplateFailure) -> TemplateValue {
    let value = call.arguments[0].plain
    var bounds: [Int] = []
    for argument in call.arguments.dropFirst() {
        guard case .int(let bound) = argument.plain else {
            throw TemplateFailure("cannot index slice/array with type \(argument.typeName)")
        }
        bounds.append(bound)
    }
    let count: Int
    switch value {
    case .string(let text): count = text.utf8.count
    case .list(let items): count = items.count
    case .null: throw TemplateFailure("slice of untyped nil")
    default: throw TemplateFailure("can't slice item of type \(value.typeName)")
    }
    for bound in bounds where bound < 0 || bound > count { throw TemplateFailure("index out of range: \(bound)") }
    let (low, high) = (bounds.first ?? 0, bounds.count > 1 ? bounds[1] : count)
    guard low <= high else { throw TemplateFailure("invalid slice index: \(low) > \(high)") }
    switch value {
    case .string(let text): return .string(String(decoding: Array(text.utf8)[low..<high], as: UTF8.self))
    case .list(let items): return .list(Array(items[low..<high]))
    default: return .null
    }
}

/// Go's `template.JSEscapeString`.
func escapedJavaScript(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\\": result += "\\\\"
        case "'": result += "\\'"
        case "\"": result += "\\\""
        case _ where scalar.value < 0x20 || "<>&=".unicodeScalars.contains(scalar):
            result += "\\u" + hexadecimal(scalar.value, digits: 4, uppercase: true)
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
