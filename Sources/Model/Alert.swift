public import Basics

/// An alert as a rule (or another Prometheus) tells it: who, since when, and whether it is over.
public struct Alert: Hashable, Sendable {
    /// Its identity, `alertname` included.
    public var labels: Labels
    /// What a person reads: `summary`, `description`, `runbook_url`.
    public var annotations: [String: String]
    /// The value of the expression when it was last evaluated.
    public var value: Double
    /// When it began to fire.
    public var startsAt: Timestamp
    /// When it ended, or ends unless it is told again; nil: it fires until it is told otherwise.
    public var endsAt: Timestamp?
    /// A link to the graph of its expression.
    public var generatorURL: String
    /// Whether `endsAt` was not told but is when silence from its sender counts as its end.
    public var endsByTimeout = false

    /// An alert by its parts.
    public init(
        labels: Labels, annotations: [String: String] = [:], value: Double = .nan, startsAt: Timestamp,
        endsAt: Timestamp? = nil, generatorURL: String = ""
    ) {
        (self.labels, self.annotations, self.value) = (labels, annotations, value)
        (self.startsAt, self.endsAt, self.generatorURL) = (startsAt, endsAt, generatorURL)
    }

    /// Whether it is over at `now`.
    public func isResolved(at now: Timestamp) -> Bool { endsAt.map { $0 <= now } ?? false }
    /// The alert's name.
    public var name: String { labels["alertname"] }

    /// By all parts; two NaN values are equal.
    public static func == (left: Alert, right: Alert) -> Bool {
        left.labels == right.labels && left.annotations == right.annotations
            && left.value.bitPattern == right.value.bitPattern && left.startsAt == right.startsAt
            && left.endsAt == right.endsAt && left.generatorURL == right.generatorURL
            && left.endsByTimeout == right.endsByTimeout
    }
}
