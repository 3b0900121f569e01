public import Basics
public import Model

/// Silences, and what holds an alert back.
extension AlertGroups {
    /// How long before its end people are told that a silence ends; shorter ones than four times that end unannounced.
    static let reminder: Milliseconds = 900_000
    /// How often silences that end with their alerts are looked at.
    static let silencePause: Milliseconds = 10_000

    /// See `Silences.set`.
    public mutating func set(
        _ silence: Silence, newID: String, now: Timestamp
    ) throws(SilenceError) -> (id: String, changes: [StateChange]) {
        nextSilenceCheck = now
        return try silences.set(silence, newID: newID, now: now)
    }

    /// Takes silences as they stand, to replay what was.
    public mutating func use(_ silences: [Silence]) {
        for silence in silences { _ = self.silences.keep(silence) }
    }

    /// See `Silences.expire`.
    public mutating func expireSilence(_ id: String, now: Timestamp) throws(SilenceError) -> [StateChange] {
        try silences.expire(id, now: now)
    }

    /// The alerts that fire, each once.
    func firing(now: Timestamp) -> [Labels: Alert] {
        var found: [Labels: Alert] = [:]
        for group in groups.values {
            for (labels, member) in group.members where !member.isResolved(at: now) { found[labels] = member.alert }
        }
        return found
    }

    /// Ends silences whose alerts are over, announces ends that are near, lets old ones go.
    mutating func checkSilences(now: Timestamp) -> [StateChange] {
        var changes = silences.forgetOld(now: now)
        var next = Timestamp.distantFuture
        var alerts: [Labels: Alert]?
        for silence in silences.all.values.sorted(by: { $0.id < $1.id }) where now < silence.endsAt {
            let isAnnounced = silence.endsAt - silence.startsAt >= 4 * AlertGroups.reminder && !silence.isReminded
            let isNear = isAnnounced && silence.endsAt - now <= AlertGroups.reminder
            next = min(next, isAnnounced && !isNear ? silence.endsAt - AlertGroups.reminder : silence.endsAt)
            guard silence.endsWithAlerts || isNear, silence.state(at: now) == .active else {
                if silence.endsWithAlerts { next = min(next, max(silence.startsAt, now + AlertGroups.silencePause)) }
                continue
            }
            if alerts == nil { alerts = firing(now: now) }
            let held = (alerts ?? [:]).values.filter {
                silence.matches($0.labels) && !$0.labels.isExempt(from: silence.id)
            }
            var changed = silence
            if silence.endsWithAlerts {
                next = min(next, now + AlertGroups.silencePause)
                if held.isEmpty, silence.hasHeld {
                    (changed.endsAt, changed.updatedAt) = (now, now)
                } else if !held.isEmpty {
                    changed.hasHeld = true
                }
            }
            if isNear {
                changed.isReminded = true
                if !held.isEmpty { changes += take([AlertGroups.announcement(silence, held, now: now)], now: now) }
            }
            if changed != silence { changes.append(silences.keep(changed)) }
        }
        // Those that are over go when they are old.
        if next == .distantFuture, !silences.all.isEmpty { next = now + 3_600_000 }
        nextSilenceCheck = next
        return changes
    }

    /// An alert of its own: it goes where the alerts that are held back would go, and is over with the silence.
    private static func announcement(_ silence: Silence, _ held: [Alert], now: Timestamp) -> Alert {
        let common = Notification.commonLabels(of: held.map { Notification.Item($0, isResolved: false) })
        let labels = common.merging([
            "alertname": "VedetteSilenceEnding", "severity": "info", "silence": silence.id,
        ])
        let names = Set(held.map(\.name)).sorted().prefix(5).joined(separator: ", ")
        let left = DurationText.format((silence.endsAt - now) / 1000 * 1000)
        return Alert(
            labels: labels,
            annotations: [
                "summary": "A silence by \(silence.createdBy) ends in \(left); \(held.count) alerts fire under it",
                "description": "\(names). It says: \(silence.comment)",
            ], value: Double(held.count), startsAt: now, endsAt: silence.endsAt)
    }

    // MARK: Why

    /// What holds an alert back at a moment.
    public func status(of labels: Labels, now: Timestamp) -> AlertStatus {
        status(of: labels, under: silences.active(at: now), now: now)
    }

    /// The same for many alerts.
    public func statusLookup(now: Timestamp) -> StatusLookup {
        StatusLookup(groups: self, silenced: silences.active(at: now), now: now)
    }

    /// Tells what holds alerts back at one moment.
    public struct StatusLookup: Sendable {
        let groups: AlertGroups
        let silenced: ActiveSilences
        let now: Timestamp

        /// What holds an alert back.
        public func status(of labels: Labels) -> AlertStatus { groups.status(of: labels, under: silenced, now: now) }
    }

    func status(of labels: Labels, under silenced: ActiveSilences, now: Timestamp) -> AlertStatus {
        AlertStatus(
            silencedBy: silenced.isEmpty ? [] : silenced.ids(labels).filter { !labels.isExempt(from: $0) },
            inhibitedBy: inhibitor.rules.isEmpty
                ? [] : inhibitor.sources(of: labels, now: now, all: true).map(\.fingerprintText).sorted())
    }

    /// The names of the time intervals that hold a group back now.
    public func mutes(of group: AlertGroup, now: Timestamp) -> [String] { settings.mute(group, now: now)?.names ?? [] }
}

/// Why an alert is not told.
public enum Suppression: String, Sendable, Hashable, CaseIterable {
    case silence, inhibition
    case muteTimeInterval = "mute_time_interval"
    case activeTimeInterval = "active_time_interval"
}

/// What holds an alert back.
public struct AlertStatus: Sendable, Hashable {
    /// Ids of silences, and fingerprints of the alerts that inhibit it.
    public var silencedBy: [String], inhibitedBy: [String]
    /// Whether anything does.
    public var isSuppressed: Bool { !silencedBy.isEmpty || !inhibitedBy.isEmpty }
}

extension Labels {
    /// Whether it tells of that silence itself, which then does not hold it back.
    func isExempt(from silence: String) -> Bool {
        self["alertname"] == "VedetteSilenceEnding" && self["silence"] == silence
    }
}
