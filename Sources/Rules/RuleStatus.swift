public import Basics
internal import Query

/// Whether a rule could be evaluated.
public enum RuleHealth: String, Sendable, Hashable {
    case unknown, ok
    case failing = "err"
}

/// A rule as it stands, for people and the API.
public struct RuleStatus: Sendable {
    /// What it is.
    public var definition: RuleDefinition
    /// How long an alert of it is pending: `for`, or the evaluations that a drift has to last.
    public var hold: Milliseconds
    /// Whether its last evaluation succeeded.
    public var health: RuleHealth
    /// Why it did not.
    public var lastError: String?
    /// How long its last evaluation took, in seconds.
    public var evaluationSeconds: Double
    /// The moment of its last evaluation.
    public var lastEvaluation: Timestamp?
    /// Pending and firing alerts, sorted by labels.
    public var alerts: [ActiveAlert]
    /// The features of a drift rule as the last evaluation left them, by name.
    public var driftFeatures: [DriftFeature] = []

    /// Where the rule stands as a whole: firing before pending before inactive.
    public var state: ActiveAlert.State {
        alerts.contains { $0.state == .firing } ? .firing : alerts.isEmpty ? .inactive : .pending
    }
    /// Its expression in canonical form.
    public var query: String { definition.expression.description }
}

/// A group as it stands.
public struct RuleGroupStatus: Sendable {
    /// The group's name.
    public var name: String
    /// Its file.
    public var file: String
    /// Between two evaluations.
    public var interval: Milliseconds
    /// The most series or alerts of a rule; 0: no limit.
    public var limit: Int
    /// How long its last evaluation took, in seconds.
    public var evaluationSeconds: Double
    /// The moment of its last evaluation.
    public var lastEvaluation: Timestamp?
    /// In the order of the file.
    public var rules: [RuleStatus]
    /// The built-in alerts on those of its rules that cannot be evaluated.
    public var failing: [ActiveAlert]

    /// Pending and firing alerts of all its rules, the built-in ones last.
    public var alerts: [ActiveAlert] { rules.flatMap(\.alerts) + failing }
}
