internal import Basics
internal import Model

/// The last alerts that are over, each once: what a changed configuration is tried on. A ring in memory, and the same
/// in the table `alerting.record`.
struct AlertRecord: Sendable {
    static let table = "alerting.record"
    /// How many are kept.
    static let limit = 5000

    private var ring: [Alert] = []
    private var keys: Set<String> = []

    /// The earliest to end first.
    var alerts: [Alert] { ring }

    private static func key(_ alert: Alert) -> String {
        "\(alert.labels.fingerprintText)-\(alert.startsAt.milliseconds)"
    }

    /// Adds alerts; an alert of several groups is one.
    mutating func add(_ alerts: [Alert]) -> [StateChange] {
        var changes: [StateChange] = []
        for alert in alerts.suffix(AlertRecord.limit) {
            let key = AlertRecord.key(alert)
            guard keys.insert(key).inserted else { continue }
            ring.append(alert)
            changes.append(StateChange(table: AlertRecord.table, key: key, value: alert.serialized))
        }
        // A tenth at once, since the front of an array is costly to remove.
        guard ring.count > AlertRecord.limit else { return changes }
        let gone = ring.prefix(ring.count - AlertRecord.limit * 9 / 10)
        for alert in gone {
            let key = AlertRecord.key(alert)
            keys.remove(key)
            changes.append(StateChange(table: AlertRecord.table, key: key, value: nil))
        }
        ring.removeFirst(gone.count)
        return changes
    }

    /// Takes up what a store holds; answers how many entries could not be read.
    mutating func restore(from store: any StateStore) -> Int {
        var unreadable = 0
        for (key, bytes) in store.entries(of: AlertRecord.table) {
            guard let json = try? JSON(parsing: bytes), let alert = Alert(json: json) else {  // Told by the count.
                unreadable += 1
                continue
            }
            keys.insert(key)
            ring.append(alert)
        }
        ring.sort { ($0.endsAt ?? $0.startsAt, $0.labels) < ($1.endsAt ?? $1.startsAt, $1.labels) }
        return unreadable
    }
}
