internal import Alerting
internal import Basics
internal import Model

/// Alerts about the way out itself: pages that are refused for good, and pages that fail for long. They need no rules
/// and take the routes as any alert; an end in the future keeps them from outliving their reason, also over restarts.
struct PathAlerts: Sendable {
    static let refused = "VedettePageRefused", late = "VedettePagesNotDelivered"
    /// How long a refusal is told after the last one.
    static let refusalLasts: Milliseconds = 3_600_000
    /// How long a late path is told after it was last seen late.
    static let lateLasts: Milliseconds = 900_000

    /// Those that fire, by channel.
    private var firing: [String: [Labels: Alert]] = [:]

    /// Channels of which some alert fires.
    var channels: [String] { firing.keys.sorted() }

    /// Takes up what groups hold after a start.
    mutating func restore(_ groups: AlertGroups, now: Timestamp) {
        for member in groups.groups.values.flatMap(\.members.values) {
            let alert = member.alert
            guard alert.name == PathAlerts.refused || alert.name == PathAlerts.late, alert.endsAt != nil,
                !member.isResolved(at: now)
            else { continue }
            firing[alert.labels["channel"], default: [:]][alert.labels] = alert
        }
    }

    /// Whether a page tells of a channel's own trouble: that it does not arrive there is no news.
    private static func tells(_ entry: OutboxEntry) -> Bool {
        entry.notification.items.contains { item in
            let labels = item.alert.labels
            return (item.alert.name == refused || item.alert.name == late) && labels["channel"] == entry.channelID
        }
    }

    /// A page was refused for good or given up.
    mutating func refuse(
        _ entry: OutboxEntry, _ reason: FailureReason, _ message: String, receiver: String, now: Timestamp
    ) -> Alert? {
        guard !PathAlerts.tells(entry) else { return nil }
        return raise(
            [
                "alertname": PathAlerts.refused, "receiver": receiver, "channel": entry.channelID,
                "reason": reason.rawValue, "severity": "critical", "component": "vedette",
            ],
            summary: "The channel \(entry.channelID) refused a page for good",
            description: """
                '\(truncated(entry.title, to: 200))' did not go through: \(truncated(message, to: 300)). A retry does \
                not mend that. See the dead letters, mend the channel, then replay or discard them.
                """,
            lasts: PathAlerts.refusalLasts, now: now)
    }

    /// A page fails for long.
    mutating func late(_ entry: OutboxEntry, receiver: String, now: Timestamp) -> Alert? {
        raise(
            [
                "alertname": PathAlerts.late, "receiver": receiver, "channel": entry.channelID, "severity": "critical",
                "component": "vedette",
            ],
            summary: "Pages by the channel \(entry.channelID) are not delivered",
            description: """
                '\(truncated(entry.title, to: 200))' was decided at \(entry.createdAt.rfc3339()) and failed \
                \(entry.attempts) times: \(truncated(entry.lastError, to: 300)). It is tried again.
                """,
            lasts: PathAlerts.lateLasts, now: now)
    }

    private mutating func raise(
        _ labels: Labels, summary: String, description: String, lasts: Milliseconds, now: Timestamp
    ) -> Alert? {
        let channel = labels["channel"]
        let old = firing[channel]?[labels].flatMap { $0.isResolved(at: now) ? nil : $0 }
        // A thousand refusals in a row are one change of the alert, not a thousand.
        if let end = old?.endsAt, end - now > lasts / 4 * 3 { return nil }
        let alert = Alert(
            labels: labels,
            annotations: [
                "summary": summary, "description": description, "runbook_url": "runbooks/\(labels["alertname"]).md",
            ], value: 1, startsAt: old?.startsAt ?? now, endsAt: now + lasts)
        firing[channel, default: [:]][labels] = alert
        return alert
    }

    /// Whether anything is told of a channel.
    func tells(of channelID: String) -> Bool { firing[channelID]?.isEmpty == false }

    /// The channel works, or nothing is left to tell of it: what fires ends.
    mutating func end(_ channelID: String, only name: String? = nil, now: Timestamp) -> [Alert] {
        guard let alerts = firing[channelID] else { return [] }
        var ended: [Alert] = []
        for (labels, alert) in alerts.sorted(by: { $0.key < $1.key }) where name == nil || name == alert.name {
            firing[channelID]?[labels] = nil
            guard !alert.isResolved(at: now) else { continue }
            var over = alert
            over.endsAt = max(now, alert.startsAt + 1)
            ended.append(over)
        }
        if firing[channelID]?.isEmpty == true { firing[channelID] = nil }
        return ended
    }
}
