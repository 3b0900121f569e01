public import Basics

/// A place in a JSON document: `$.services.ml.p95`, `$['a b'][0]`; the `$.` may be left out.
public struct JSONPath: Sendable, Hashable, CustomStringConvertible {
    private enum Step: Hashable {
        case member(String)
        case element(Int)
    }

    private let steps: [Step]
    /// As it was written.
    public let description: String

    /// Nil when it is no path.
    public init?(_ text: String) {
        description = text
        var steps: [Step] = []
        var rest = text[...]
        if rest.first == "$" { rest = rest.dropFirst() } else { rest = ".\(rest)"[...] }
        while let first = rest.first {
            rest = rest.dropFirst()
            if first == "." {
                let name = rest.prefix { $0 != "." && $0 != "[" }
                guard !name.isEmpty else { return nil }
                steps.append(.member(String(name)))
                rest = rest.dropFirst(name.count)
            } else if first == "[", let quote = rest.first, quote == "'" || quote == "\"" {
                let name = rest.dropFirst().prefix { $0 != quote }
                rest = rest.dropFirst(name.count + 1)
                guard rest.hasPrefix("\(quote)]") else { return nil }
                steps.append(.member(String(name)))
                rest = rest.dropFirst(2)
            } else if first == "[", let close = rest.firstIndex(of: "]"), let index = Int(rest[..<close]), index >= 0 {
                steps.append(.element(index))
                rest = rest[rest.index(after: close)...]
            } else {
                return nil
            }
        }
        self.steps = steps
    }

    /// The value there; nil where the document has none.
    public func value(in document: JSON) -> JSON? {
        var value = document
        for step in steps {
            let next: JSON? =
                switch step {
                case .member(let name): value[name]
                case .element(let index): value[index]
                }
            guard let next else { return nil }
            value = next
        }
        return value
    }
}

/// What a value must be: `healthy`, `< 100`, `true`, `!= degraded`, or one of several.
public struct Expectation: Sendable, Hashable, CustomStringConvertible {
    /// How it is compared.
    public enum Comparison: String, Sendable, CaseIterable {
        case notEqual = "!=", atMost = "<=", atLeast = ">=", equal = "==", below = "<", above = ">"
    }

    private let comparison: Comparison
    private let operands: [JSON]
    /// As it was written.
    public let description: String

    /// Reads a condition: a number after `<`, `<=`, `>`, `>=`; anything after `==` and `!=`; else the value itself.
    public init?(_ text: String) {
        description = text
        let found = Comparison.allCases.first { text.hasPrefix($0.rawValue) }
        let operand = text.dropFirst(found?.rawValue.count ?? 0).drop { $0 == " " }
        comparison = found ?? .equal
        operands = [Expectation.typed(String(operand))]
        if case .number? = operands.first { return }
        guard comparison == .equal || comparison == .notEqual else { return nil }
    }

    /// Any of several values.
    public init(anyOf texts: [String]) {
        description = "one of " + texts.joined(separator: ", ")
        comparison = .equal
        operands = texts.map(Expectation.typed)
    }

    private static func typed(_ text: String) -> JSON {
        switch text {
        case "true": .bool(true)
        case "false": .bool(false)
        case "null": .null
        default: GoNumber.parse(text).map { .number($0) } ?? .string(text)
        }
    }

    /// Whether a value fulfils it. A number is compared as a double; values of different types are unequal.
    public func isFulfilled(by value: JSON) -> Bool {
        switch comparison {
        case .equal: return operands.contains(value)
        case .notEqual: return !operands.contains(value)
        default:
            guard let left = value.number, let right = operands.first?.number else { return false }
            return switch comparison {
            case .below: left < right
            case .atMost: left <= right
            case .above: left > right
            default: left >= right
            }
        }
    }
}
