public import Alerting
public import Basics
public import Model
public import Notifying

/// Recorded alerts through a configuration, under a clock that jumps from event to event: what would have been told.
public enum AlertReplay {
    /// One page that one channel would have sent.
    public struct Told: Sendable, Hashable {
        /// When it would have been decided.
        public var time: Timestamp
        /// The channel's id, `receiver/kind/index`; the receiver's name alone when it has no channel.
        public var channel: String
        /// Its first line.
        public var title: String
        /// How many of its alerts fire, and how many are over.
        public var firing: Int, resolved: Int
    }

    /// How far back is played: what fires since then is looked at every few minutes.
    static let longest: Milliseconds = 31 * 86_400_000

    /// Plays alerts of the last 31 days; one without an end fires until `end`.
    ///
    /// - Parameter silences: They hold when they held.
    public static func play(
        _ alerts: [Alert], through settings: NotifyingSettings, silences: [Silence] = [], until end: Timestamp
    ) -> [Told] {
        var events: [(time: Timestamp, alert: Alert)] = []
        for alert in alerts where alert.endsAt.map({ $0 > end - longest }) ?? true {
            var firing = alert
            firing.endsAt = nil
            events.append((max(alert.startsAt, end - longest), firing))
            if let over = alert.endsAt, over <= end { events.append((over, alert)) }
        }
        events.sort { ($0.time, $0.alert.labels) < ($1.time, $1.alert.labels) }
        var groups = AlertGroups(settings.alerting)
        groups.use(silences)
        var told: [Told] = []
        func look(through moment: Timestamp) {
            while let next = groups.nextFlush, next <= moment {
                for notification in groups.flush(now: next).notifications {
                    told += pages(notification, settings, at: next)
                }
                // A look that is due again at once would never end.
                guard let after = groups.nextFlush, after > next || groups.groups.isEmpty else { break }
            }
        }
        for event in events where event.time <= end {
            look(through: event.time - 1)
            _ = groups.take([event.alert], now: event.time)
        }
        look(through: end)
        return told
    }

    private static func pages(
        _ notification: Notification, _ settings: NotifyingSettings, at moment: Timestamp
    ) -> [Told] {
        let channels = (settings.receivers[notification.receiver]?.channels ?? []).filter {
            $0.channel.sendsResolved || !notification.tellsOnlyEnds
        }
        return channels.map { id, channel in
            Told(
                time: moment, channel: id, title: notification.title, firing: notification.firing.count,
                resolved: channel.sendsResolved ? notification.resolved.count : 0)
        }
    }

    /// What only one of two configurations tells, both sorted by time.
    public static func difference(_ old: [Told], _ new: [Told]) -> (gone: [Told], added: [Told]) {
        func counts(_ pages: [Told]) -> [Told: Int] { pages.reduce(into: [:]) { $0[$1, default: 0] += 1 } }
        func less(_ pages: [Told], _ others: [Told: Int]) -> [Told] {
            var others = others
            return pages.filter { page in
                guard let left = others[page], left > 0 else { return true }
                others[page] = left - 1
                return false
            }
        }
        return (less(old, counts(new)), less(new, counts(old)))
    }
}
