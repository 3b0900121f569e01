internal import Basics

/// One step of `relabel_configs`: a change of a label set, or the decision to drop it.
///
/// - SeeAlso: Prometheus, `model/relabel/relabel.go`.
public struct RelabelRule: Sendable, Hashable {
    /// What a rule does.
    public enum Action: String, Sendable, CaseIterable {
        case replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase
    }

    /// What it does.
    public var action: Action
    /// Labels whose values are joined by `separator` to the rule's input.
    public var sourceLabels: [String], separator: String
    /// Matched against the whole input, or against the labels' names.
    public var regex: Pattern
    /// Of `hashmod`; above 0 there.
    public var modulus: UInt64
    /// The label that is written or compared; `replace` may name groups in it, `$1`.
    public var targetLabel: String
    /// What is written, with groups.
    public var replacement: String
    /// Whether names beyond `[a-zA-Z_][a-zA-Z0-9_]*` are refused as targets.
    public var isLegacy = false

    /// A rule by its parts, with Prometheus' defaults.
    public init(
        _ action: Action = .replace, sourceLabels: [String] = [], separator: String = ";", regex: Pattern,
        modulus: UInt64 = 0, targetLabel: String = "", replacement: String = "$1"
    ) {
        precondition(action != .hashmod || modulus > 0)
        (self.action, self.sourceLabels, self.separator, self.regex) = (action, sourceLabels, separator, regex)
        (self.modulus, self.targetLabel, self.replacement) = (modulus, targetLabel, replacement)
    }

    /// The regex that matches everything, as one group.
    public static let anything: Pattern = {
        guard let pattern = try? Pattern("(.*)") else { preconditionFailure("RE2 refuses (.*)") }
        return pattern
    }()

    /// As they are written.
    public static func == (left: RelabelRule, right: RelabelRule) -> Bool {
        left.action == right.action && left.sourceLabels == right.sourceLabels && left.separator == right.separator
            && left.regex.text == right.regex.text && left.modulus == right.modulus
            && left.targetLabel == right.targetLabel && left.replacement == right.replacement
            && left.isLegacy == right.isLegacy
    }

    /// As they are written.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(action)
        hasher.combine(sourceLabels)
        hasher.combine(regex.text)
        hasher.combine(targetLabel)
        hasher.combine(replacement)
    }
}

/// What one rule made of a label set.
public struct RelabelStep: Sendable, Hashable {
    /// The rule.
    public var rule: RelabelRule
    /// The labels behind it.
    public var output: Labels
    /// Whether the set is kept; no step follows one that drops it.
    public var isKept: Bool
}

extension RelabelRule {
    /// Applies rules in their order to labels in any order, none twice. Answers whether the set is kept. About a
    /// microsecond a rule.
    public static func apply(_ rules: [RelabelRule], to labels: inout [Label]) -> Bool {
        for rule in rules where !rule.apply(to: &labels) { return false }
        return true
    }

    /// The steps from a label set to what rules make of it.
    public static func steps(of rules: [RelabelRule], from labels: Labels) -> [RelabelStep] {
        var current = labels.sorted
        var steps: [RelabelStep] = []
        for rule in rules {
            let isKept = rule.apply(to: &current)
            steps.append(RelabelStep(rule: rule, output: isKept ? Labels(current) : Labels(), isKept: isKept))
            if !isKept { break }
        }
        return steps
    }

    private func apply(to labels: inout [Label]) -> Bool {
        switch action {
        case .drop: return !regex.matches(input(labels))
        case .keep: return regex.matches(input(labels))
        case .dropequal: return labels.value(of: targetLabel) != input(labels)
        case .keepequal: return labels.value(of: targetLabel).isSame(as: input(labels))
        case .replace: replace(&labels)
        case .lowercase: labels.set(targetLabel, RelabelRule.mapped(input(labels)) { $0.properties.lowercaseMapping })
        case .uppercase: labels.set(targetLabel, RelabelRule.mapped(input(labels)) { $0.properties.uppercaseMapping })
        case .hashmod:
            // The last eight bytes, the first of them the highest, as the first version of Prometheus' code had it.
            let hash = Digest.of(Array(input(labels).utf8), .md5)[8...].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            labels.set(targetLabel, "\(hash % modulus)")
        case .labelmap:
            for label in labels {
                if let name = regex.expand(replacement, matching: label.name) { labels.set(name, label.value) }
            }
        case .labeldrop: labels.removeAll { regex.matches($0.name) }
        case .labelkeep: labels.removeAll { !regex.matches($0.name) }
        }
        return true
    }

    private func input(_ labels: [Label]) -> String {
        if sourceLabels.count == 1 { return labels.value(of: sourceLabels[0]) }
        return sourceLabels.map { labels.value(of: $0) }.joined(separator: separator)
    }

    private func replace(_ labels: inout [Label]) {
        let input = input(labels)
        guard let value = regex.expand(replacement, matching: input) else { return }
        let target = targetLabel.utf8.contains(0x24) ? regex.expand(targetLabel, matching: input) ?? "" : targetLabel
        guard isLegacy ? target.isLegacyLabelName : !target.isEmpty else { return }
        labels.set(target, value)
    }

    /// Character by character, as Go does: one that would become several stays.
    private static func mapped(_ text: String, _ map: (Unicode.Scalar) -> String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            let mapped = map(scalar).unicodeScalars
            result.append(mapped.count == 1 ? mapped.first ?? scalar : scalar)
        }
        return String(result)
    }
}

extension [Label] {
    fileprivate func value(of name: String) -> String { first { $0.name.isSame(as: name) }?.value ?? "" }

    /// An empty value takes the label away.
    fileprivate mutating func set(_ name: String, _ value: String) {
        if let index = firstIndex(where: { $0.name.isSame(as: name) }) {
            if value.isEmpty { remove(at: index) } else { self[index].value = value }
        } else if !value.isEmpty {
            append(Label(name, value))
        }
    }
}
