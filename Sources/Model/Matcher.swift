internal import Basics

/// A condition on one label; an absent label has the empty value.
public struct Matcher: Hashable, Sendable, CustomStringConvertible {
    /// How the value is compared.
    public enum Operation: String, Sendable, Hashable {
        case equal = "="
        case notEqual = "!="
        case matches = "=~"
        case matchesNot = "!~"
    }

    /// The label's name.
    public let name: String
    /// How the value is compared.
    public let operation: Operation
    /// The value, or the regular expression's text.
    public let value: String
    /// The compiled expression of `matches` and `matchesNot`.
    public let pattern: Pattern?

    /// Compiles the expression of a regular matcher; throws when it is wrong. For `dotMatchesLineEnd` see `Pattern`.
    public init(
        _ name: String, _ operation: Operation, _ value: String, dotMatchesLineEnd: Bool = true
    ) throws(PatternError) {
        (self.name, self.operation, self.value) = (name, operation, value)
        let isRegular = operation == .matches || operation == .matchesNot
        pattern = isRegular ? try Pattern(value, dotMatchesLineEnd: dotMatchesLineEnd) : nil
    }

    /// `name = value`.
    public init(_ name: String, equals value: String) {
        (self.name, self.operation, self.value, self.pattern) = (name, .equal, value, nil)
    }

    /// Whether a label's value fulfils it.
    public func matches(_ text: String) -> Bool {
        switch operation {
        case .equal: text.isSame(as: value)
        case .notEqual: !text.isSame(as: value)
        case .matches: pattern?.matches(text) ?? false
        case .matchesNot: !(pattern?.matches(text) ?? false)
        }
    }

    /// Whether the labels fulfil it.
    public func matches(_ labels: Labels) -> Bool { matches(labels[name]) }

    /// `name="value"`.
    public var description: String {
        "\(name.isLegacyLabelName ? name : name.goQuoted)\(operation.rawValue)\(value.goQuoted)"
    }

    /// By the bytes of its text.
    public static func == (left: Matcher, right: Matcher) -> Bool {
        left.operation == right.operation && left.name.isSame(as: right.name) && left.value.isSame(as: right.value)
    }
    /// By the bytes of its text.
    public func hash(into hasher: inout Hasher) {
        name.hashBytes(into: &hasher)
        hasher.combine(operation)
        value.hashBytes(into: &hasher)
    }
}
