public import Basics
public import Model

/// Alerts that are told together: one route, equal group labels. A pure state machine over Alertmanager's timing.
///
/// An *episode* is one firing of an alert, from its start to its end. Told means: handed to the outbox, which delivers
/// at least once. The promise is stronger than Alertmanager's: every episode that came here is told as firing once
/// and, to receivers that want it, as over once; also those that began and ended between two flushes.
public struct AlertGroup: Sendable, Hashable {
    /// An alert of the group.
    public struct Member: Sendable, Hashable {
        /// The newest episode.
        public internal(set) var alert: Alert
        /// Whether the receiver was told that the newest episode fires.
        public internal(set) var isTold = false
        /// Whether the newest episode came here as over: it stays so, should the clock be set back.
        var isOver = false
        /// Earlier episodes whose end the receiver was not told yet, oldest first.
        var ended: [Ended] = []
        /// Whether memory knows newer texts than the journal; the texts alone are not worth a write.
        var isDirty = false

        /// Whether the newest episode is over at `now`.
        public func isResolved(at now: Timestamp) -> Bool { isOver || alert.isResolved(at: now) }
    }
    struct Ended: Sendable, Hashable {
        var alert: Alert
        var wasTold: Bool
    }

    /// Unique among groups: the receiver, the route's id and the group labels.
    public let id: String
    /// Alertmanager's group key.
    public let key: String
    /// Whose channels are told.
    public let receiver: String
    /// What the alerts have in common by the route.
    public let labels: Labels
    /// The timing, taken from the route; a retired group has none of its own.
    var groupInterval: Milliseconds, repeatInterval: Milliseconds
    /// When it began.
    public let createdAt: Timestamp
    /// When it is looked at next.
    public internal(set) var nextFlush: Timestamp
    /// When the receiver was last told something.
    public internal(set) var lastTold: Timestamp?
    /// Whether it was looked at yet.
    var hasFlushed = false
    /// Whether its route is gone: it takes no new alerts and ends when all that was told is told to be over.
    public internal(set) var isRetired = false
    /// How many notifications it made.
    var sequence = 0
    /// By the alerts' labels.
    public internal(set) var members: [Labels: Member] = [:]

    init(route: Route, labels: Labels, now: Timestamp) {
        id = AlertGroup.id(route, labels)
        (key, receiver, self.labels, createdAt) = (route.groupKey(labels), route.receiver, labels, now)
        (groupInterval, repeatInterval) = (route.groupInterval, route.repeatInterval)
        nextFlush = now + route.groupWait
    }

    init(
        id: String, key: String, receiver: String, labels: Labels, createdAt: Timestamp, nextFlush: Timestamp
    ) {
        (self.id, self.key, self.receiver, self.labels, self.createdAt) = (id, key, receiver, labels, createdAt)
        (self.nextFlush, groupInterval, repeatInterval) = (nextFlush, 300_000, 14_400_000)
    }

    static func id(_ route: Route, _ labels: Labels) -> String {
        "\(route.receiver)|\(route.id):\(labels.alertmanagerText)"
    }

    /// Takes an alert as it now is; whether that must be journalled.
    mutating func take(_ alert: Alert, groupWait: Milliseconds, now: Timestamp) -> Bool {
        if !hasFlushed, !alert.isResolved(at: now), alert.startsAt + groupWait < now { nextFlush = min(nextFlush, now) }
        guard let old = members[alert.labels] else {
            // Over and unknown: its end was told already, since a firing always comes first.
            guard !alert.isResolved(at: now), !isRetired else { return false }
            members[alert.labels] = Member(alert: alert)
            return true
        }
        guard old.alert != alert else { return false }
        var member = old
        let isNewEpisode = old.isResolved(at: now) && (old.alert.endsAt.map { $0 <= alert.startsAt } ?? false)
        if isNewEpisode {
            guard !isRetired else { return false }
            member.ended.append(Ended(alert: old.alert, wasTold: old.isTold))
            (member.alert, member.isTold) = (alert, false)
        } else {
            member.alert = AlertGroup.merged(old.alert, alert, now: now)
        }
        member.isOver = member.alert.isResolved(at: now)
        let isSame = member.alert.startsAt == old.alert.startsAt && member.alert.endsAt == old.alert.endsAt
        member.isDirty = isSame
        members[alert.labels] = member
        return !isSame
    }

    /// One episode told twice: earliest start, newest texts and end; of two ends in the past the later.
    ///
    /// - SeeAlso: Alertmanager, `types.Alert.Merge`.
    private static func merged(_ old: Alert, _ new: Alert, now: Timestamp) -> Alert {
        var merged = new
        merged.startsAt = min(old.startsAt, new.startsAt)
        if let end = old.endsAt, let newEnd = new.endsAt, end <= now, newEnd <= now { merged.endsAt = max(end, newEnd) }
        return merged
    }

    /// What is to be told now; what it tells counts as told from here on. Call it at `nextFlush`, not before.
    mutating func flush(now: Timestamp) -> Flush {
        nextFlush = now + groupInterval
        hasFlushed = true
        var (firing, newlyFiring, toldEnds, untoldEnds) = ([Alert](), false, [Alert](), [Alert]())
        for member in members.values {
            for ended in member.ended {
                if ended.wasTold { toldEnds.append(ended.alert) } else { untoldEnds.append(ended.alert) }
            }
            if !member.isResolved(at: now) {
                firing.append(member.alert)
                newlyFiring = newlyFiring || !member.isTold
            } else if member.isTold {
                toldEnds.append(member.alert)
            } else {
                untoldEnds.append(member.alert)
            }
        }
        var notifications: [Notification] = []
        let isRepeatDue = lastTold.map { now - $0 >= repeatInterval } ?? false
        if newlyFiring || !untoldEnds.isEmpty || !toldEnds.isEmpty || (isRepeatDue && !firing.isEmpty && !isRetired) {
            let reason: Notification.Reason =
                if newlyFiring || !untoldEnds.isEmpty {
                    lastTold == nil ? .first : .newAlerts
                } else if !toldEnds.isEmpty {
                    firing.isEmpty ? .allResolved : .someResolved
                } else {
                    .repeated
                }
            // What began and ended unseen is told as firing first, as it was decided, and as over right after.
            notifications.append(notification(reason, firing: firing + untoldEnds, resolved: toldEnds, now: now))
            if !untoldEnds.isEmpty {
                let reason: Notification.Reason = firing.isEmpty ? .allResolved : .someResolved
                notifications.append(notification(reason, firing: firing, resolved: untoldEnds, now: now))
            }
            lastTold = now
        }
        return settle(notifications, now: now)
    }

    /// Marks everything as told and lets go of what is over.
    private mutating func settle(_ notifications: [Notification], now: Timestamp) -> Flush {
        guard !notifications.isEmpty else { return Flush() }
        var flush = Flush(notifications: notifications)
        for (labels, member) in members {
            if member.isResolved(at: now) {
                members[labels] = nil
                flush.removed.append(labels)
            } else if !member.isTold || !member.ended.isEmpty || member.isDirty {
                members[labels]?.isTold = true
                members[labels]?.ended = []
                members[labels]?.isDirty = false
                flush.changed.append(labels)
            }
        }
        return flush
    }

    private mutating func notification(
        _ reason: Notification.Reason, firing: [Alert], resolved: [Alert], now: Timestamp
    ) -> Notification {
        sequence += 1
        var hash = FNV1a()
        hash.combine(id)
        let shown = firing.map { alert in
            var alert = alert
            alert.endsAt = nil
            return Notification.Item(alert, isResolved: false)
        }
        return Notification(
            id: "\(hexadecimal(hash.value))-\(createdAt.milliseconds)-\(sequence)", groupID: id, groupKey: key,
            receiver: receiver, reason: reason, groupLabels: labels,
            items: shown + resolved.map { Notification.Item($0, isResolved: true) }, decidedAt: now)
    }

    /// Puts off a flush that was due before `now`.
    mutating func hold(until now: Timestamp) { nextFlush = max(nextFlush, now) }

    /// Moves the timers, after the wall clock was set.
    mutating func shiftTimers(by jump: Milliseconds) {
        nextFlush = nextFlush + jump
        lastTold = lastTold.map { $0 + jump }
    }

    /// What a flush decided.
    struct Flush {
        var notifications: [Notification] = []
        /// Members whose journalled state changed or ended.
        var changed: [Labels] = []
        var removed: [Labels] = []
    }
}
