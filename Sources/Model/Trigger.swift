public import Basics

/// What a rollback trigger sees at one evaluation. Told at every evaluation, so that nothing is lost between a decision
/// and its commit: who acts on it knows an episode by the trigger and by when it began to fire.
public struct TriggerReading: Hashable, Sendable {
    /// Where the trigger stands.
    public enum State: String, Hashable, Sendable {
        /// Every series of the metric has a value, and none is beyond the threshold.
        case clear
        /// Beyond the threshold, for less than the trigger's duration.
        case pending
        /// Beyond the threshold for all of the duration, and by a sample of this very evaluation.
        case firing
        /// The metric has no series, or those that were beyond the threshold have no value now. Never a reason to act,
        /// and never a sign of recovery.
        case noData
    }

    /// The trigger's name, unique: `performance_degradation/websocket_latency_p95`.
    public var trigger: String
    /// The action to take.
    public var action: String
    /// Where it stands.
    public var state: State
    /// The moment of the evaluation.
    public var at: Timestamp
    /// When it began to fire; nil while it does not. It survives restarts, and with `trigger` names the episode.
    public var firedAt: Timestamp?
    /// The worst value at this evaluation; nil without data.
    public var value: Double?
    /// The series that value belongs to.
    public var labels: Labels
    /// For people: `websocket_latency_p95 > 200 for 10m`.
    public var condition: String

    /// A reading by its parts.
    public init(
        trigger: String, action: String, state: State, at: Timestamp, firedAt: Timestamp? = nil, value: Double? = nil,
        labels: Labels = Labels(), condition: String
    ) {
        (self.trigger, self.action, self.state, self.at) = (trigger, action, state, at)
        (self.firedAt, self.value, self.labels, self.condition) = (firedAt, value, labels, condition)
    }
}

/// Who acts on triggers.
public protocol RollbackSink: Sendable {
    /// Takes what the triggers of one group see at one evaluation. Returns once it is noted, not once it is acted on.
    func accept(_ readings: [TriggerReading]) async
}
