/// Something that is told at once, as it happens: no group waits for it.
public struct Announcement: Hashable, Sendable {
    /// Unique for ever, the same after a restart: the key of idempotency.
    public var id: String
    /// What belongs together: one incident at PagerDuty. In order within it.
    public var thread: String
    /// What is told, as an alert: its labels choose the receivers, its annotations are the text. One that is over
    /// closes the incident.
    public var alert: Alert

    /// An announcement by its parts.
    public init(id: String, thread: String, alert: Alert) { (self.id, self.thread, self.alert) = (id, thread, alert) }
}

/// Who delivers announcements.
public protocol AnnouncementSink: Sendable {
    /// Puts announcements on their way to the receivers that the routes give them, and commits the sender's own
    /// `changes` in the same journal write: after a crash either both are known or neither. Receivers that want no ends
    /// are told all the same: an announcement that closes its thread is an answer, not an end of an alert.
    @discardableResult
    func announce(_ announcements: [Announcement], committing changes: [StateChange]) async -> Durability
}
