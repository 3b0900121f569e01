public import Basics
public import Model
private import Synchronization

/// Where alerts and state changes go in tests: a dictionary in the place of the journal.
public final class AlertRecorder: AlertSink, StateStore {
    private struct Contents {
        var alerts: [Alert] = []
        var entries: [String: [String: [UInt8]]] = [:]
        var commits = 0
        var refusesFrom: Int?
    }
    private let contents = Mutex(Contents())

    /// Nothing recorded, nothing stored.
    public init() {}

    /// The alerts told so far, in order.
    public var told: [Alert] { contents.withLock { $0.alerts } }
    /// Forgets the alerts told so far.
    public func clear() { contents.withLock { $0.alerts = [] } }
    /// How many commits changed something.
    public var commits: Int { contents.withLock { $0.commits } }
    /// From the commit with this number on nothing is taken, as after a crash.
    public func crash(atCommit number: Int) { contents.withLock { $0.refusesFrom = number } }
    /// Whether commits are refused by now.
    public var isCrashed: Bool { contents.withLock { $0.commits >= $0.refusesFrom ?? .max } }
    /// What a process that starts after the crash finds.
    public func restarted() -> AlertRecorder {
        let other = AlertRecorder()
        let (alerts, entries) = contents.withLock { ($0.alerts, $0.entries) }
        other.contents.withLock { ($0.alerts, $0.entries) = (alerts, entries) }
        return other
    }

    public func accept(_ alerts: [Alert], committing changes: [StateChange]) async {
        contents.withLock { contents in
            if !changes.isEmpty { contents.commits += 1 }
            if let first = contents.refusesFrom, contents.commits >= first { return }
            contents.alerts += alerts
            for change in changes { contents.entries[change.table, default: [:]][change.key] = change.value }
        }
    }

    @discardableResult
    public func commit(_ changes: [StateChange]) -> Durability {
        contents.withLock { contents in
            contents.commits += 1
            for change in changes { contents.entries[change.table, default: [:]][change.key] = change.value }
        }
        return .durable
    }

    public func entries(of table: String) -> [String: [UInt8]] {
        contents.withLock { $0.entries[table] ?? [:] }
    }
}

/// A clock that stands where it is put.
public final class StandingClock: TimeSource {
    private let moment = Mutex(Timestamp(milliseconds: 0))
    private let uptime = Mutex<UInt64>(0)

    /// At the Unix epoch.
    public init() {}
    /// Puts both clocks forward.
    public func advance(by length: Milliseconds) {
        moment.withLock { $0 = $0 + length }
        uptime.withLock { $0 += UInt64(length) * 1_000_000 }
    }
    /// Puts the wall clock alone somewhere else.
    public func jump(by length: Milliseconds) { moment.withLock { $0 = $0 + length } }
    public func now() -> Timestamp { moment.withLock { $0 } }
    public func uptimeNanoseconds() -> UInt64 { uptime.withLock { $0 } }
    public func sleep(for duration: Milliseconds) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
    }
}
