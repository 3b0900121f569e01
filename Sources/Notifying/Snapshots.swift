public import Alerting
public import Basics

/// What pages and the API show of the dispatcher at one moment.
public struct DispatcherSnapshot: Sendable {
    /// By key, then receiver.
    public let groups: [AlertGroup]
    /// Pages on their way, the oldest first.
    public let outbox: [OutboxEntry]
    /// The last tries, the newest first.
    public let deliveries: [Delivery]
    /// Pages that were given up, the newest first.
    public let deadLetters: [DeadLetter]
}

/// One try to deliver a page.
public struct Delivery: Sendable, Hashable {
    /// What came of it.
    public enum Outcome: String, Sendable, Hashable {
        case accepted, refused, failed, unknown
    }
    /// When it ended.
    public let time: Timestamp
    /// The receiver and the channel's id and kind.
    public let receiver: String, channelID: String, kind: String
    /// The notification's id, its group's key and its first line.
    public let notificationID: String, groupKey: String, title: String
    /// Whether it told of alerts that fire.
    public let isFiring: Bool
    /// The number of the try, from 1.
    public let attempt: Int
    /// How long it took.
    public let latency: Milliseconds
    /// What came of it, and why; holds no secret.
    public let outcome: Outcome, message: String
    /// When it is tried again, if it is.
    public let nextTry: Timestamp?
}
