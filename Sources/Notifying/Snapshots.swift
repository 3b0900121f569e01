public import Alerting
public import Basics

/// What pages and the API show of the dispatcher at one moment.
public struct DispatcherSnapshot: Sendable {
    /// By key, then receiver.
    public let groups: [AlertGroup]
    /// Pages on their way, the oldest first.
    public let outbox: [OutboxEntry]
    /// The delivery ledger, the newest line first; it outlives restarts.
    public let ledger: [Delivery]
    /// Pages that were given up, the newest first.
    public let deadLetters: [DeadLetter]
    /// Destinations that hold pages back now, by name.
    public let held: [HeldDestination]
    /// Channels that are configured no more and still owe an end or a page, by id.
    public let leaving: [String]

    /// The tries of the ledger, the newest first.
    public var deliveries: [Delivery] { ledger.filter(\.outcome.isTry) }
}

/// A destination whose bucket is empty, or that asked to be left alone.
public struct HeldDestination: Sendable, Hashable {
    /// See `Channel.destination`.
    public let destination: String
    /// When the next message may go.
    public let until: Timestamp
    /// Whether it asked for it; else its rate is spent.
    public let isPaused: Bool
    /// How many pages stand before it.
    public let waiting: Int
}
