internal import Basics
public import Model

/// While a source fires, targets with equal labels are not told. Alertmanager's `inhibit_rules`.
public struct InhibitRule: Sendable, Hashable {
    /// For people; may be empty.
    public var name = ""
    /// All must hold for an alert to be a source.
    public var sources: [Matcher]
    /// All must hold for an alert to be a target.
    public var targets: [Matcher]
    /// Labels that both must have with the same value; absent on both is the same.
    public var equal: [String]

    /// A rule by its parts.
    public init(name: String = "", sources: [Matcher], targets: [Matcher], equal: [String]) {
        (self.name, self.sources, self.targets, self.equal) = (name, sources, targets, equal)
    }

    func isSource(_ labels: Labels) -> Bool { sources.allSatisfy { $0.matches(labels) } }
    func isTarget(_ labels: Labels) -> Bool { targets.allSatisfy { $0.matches(labels) } }
    func common(_ labels: Labels) -> [ByteText] { equal.map { ByteText(labels[$0]) } }
}

/// Knows every source that fires, so that a target is let go only when its last one is over.
///
/// Alertmanager keeps one source for each set of equal labels, and lets targets go while another still fires.
///
/// - SeeAlso: Alertmanager, `inhibit/inhibit.go`.
struct Inhibitor: Sendable {
    let rules: [InhibitRule]
    /// For each rule, by the values of the equal labels.
    private var sources: [[[ByteText]: [Labels: Source]]]

    private struct Source {
        var endsAt: Timestamp?
        /// Whether it is a target of the same rule: then it holds back none that are sources too.
        var isTarget: Bool
    }

    init(_ rules: [InhibitRule]) {
        self.rules = rules
        sources = Array(repeating: [:], count: rules.count)
    }

    /// Takes an alert as it now is. O(rules).
    mutating func learn(_ alert: Alert, now: Timestamp) {
        for (index, rule) in rules.enumerated() where rule.isSource(alert.labels) {
            let key = rule.common(alert.labels)
            if alert.isResolved(at: now) {
                sources[index][key]?[alert.labels] = nil
                if sources[index][key]?.isEmpty == true { sources[index][key] = nil }
            } else {
                sources[index][key, default: [:]][alert.labels] = Source(
                    endsAt: alert.endsAt, isTarget: rule.isTarget(alert.labels))
            }
        }
    }

    /// The sources that hold an alert back, in no order; with `all` not set, the first that is found.
    func sources(of labels: Labels, now: Timestamp, all: Bool) -> Set<Labels> {
        var found: Set<Labels> = []
        for (index, rule) in rules.enumerated() where !sources[index].isEmpty && rule.isTarget(labels) {
            guard let candidates = sources[index][rule.common(labels)] else { continue }
            let isSource = rule.isSource(labels)
            for (source, state) in candidates
            where (state.endsAt.map { $0 > now } ?? true) && !(isSource && state.isTarget) {
                found.insert(source)
                if !all { return found }
            }
        }
        return found
    }

    /// Lets go of sources whose time ran out without a word.
    mutating func forgetOver(now: Timestamp) {
        for index in sources.indices {
            for (key, candidates) in sources[index] {
                let left = candidates.filter { $0.value.endsAt.map { $0 > now } ?? true }
                if left.count < candidates.count { sources[index][key] = left.isEmpty ? nil : left }
            }
        }
    }
}
