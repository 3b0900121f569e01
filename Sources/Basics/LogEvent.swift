/// One line of the daemon's log: an event a person or a machine may act on.
public struct LogEvent: Sendable, Hashable {
    /// How much it matters.
    public enum Level: String, Sendable, CaseIterable { case debug, info, warning, error }

    /// How much it matters.
    public var level: Level
    /// What kind of event it is, `target-down`, the same for all of its kind.
    public var kind: String
    /// One sentence; never a secret.
    public var message: String
    /// Names and values.
    public var fields: [(name: String, value: String)]

    /// An event by its parts.
    public init(_ level: Level, _ kind: String, _ message: String, _ fields: [(name: String, value: String)] = []) {
        (self.level, self.kind, self.message, self.fields) = (level, kind, message, fields)
    }

    /// By all parts.
    public static func == (left: LogEvent, right: LogEvent) -> Bool {
        left.level == right.level && left.kind == right.kind && left.message == right.message
            && left.fields.elementsEqual(right.fields) { $0 == $1 }
    }
    /// By kind and message.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        hasher.combine(message)
    }
}

/// Where log events go: standard error or the journal; a list in tests.
public protocol LogSink: Sendable {
    /// Writes an event, at once and without failing.
    func write(_ event: LogEvent)
}
