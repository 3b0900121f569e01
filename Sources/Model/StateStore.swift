/// One change of durable state: `value` under `key` in a room's `table`, or nothing there any more.
public struct StateChange: Hashable, Sendable {
    /// The room's own name for a kind of entry, such as `outbox`.
    public var table: String
    /// Unique in its table.
    public var key: String
    /// The entry's bytes, JSON by habit; nil removes the entry.
    public var value: [UInt8]?

    /// A change by its parts.
    public init(table: String, key: String, value: [UInt8]?) {
        (self.table, self.key, self.value) = (table, key, value)
    }
}

/// How safe a commit is.
public enum Durability: Hashable, Sendable {
    /// On the disk: a crash of the process or of the machine loses nothing of it.
    case durable
    /// In memory alone, since the journal could not be written; it will be, with the next commit that succeeds.
    case volatile(reason: String)
}

/// Small durable state: alert states, groups, the outbox. The journal stands behind it, a dictionary in tests.
public protocol StateStore: Sendable {
    /// Applies all changes or, after a crash, none. Blocks until they are on the disk: call it from a room's own
    /// executor, one batch per decision. A full or broken disk does not refuse the changes; it is told in the answer.
    @discardableResult
    func commit(_ changes: [StateChange]) -> Durability
    /// The entries of a table.
    func entries(of table: String) -> [String: [UInt8]]
}

/// Where alerts go.
public protocol AlertSink: Sendable {
    /// Takes alerts as they now are, firing or over, and commits the sender's own `changes` in the same journal
    /// write: after a crash either both are known or neither. An alert told again unchanged changes nothing.
    func accept(_ alerts: [Alert], committing changes: [StateChange]) async
}
