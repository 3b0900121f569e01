public import Basics
public import Model

/// All groups: takes alerts, decides what is told and when. Pure: time comes in, changes and notifications go out.
///
/// Its durable state is the tables `alerting.groups` (one entry a group), `alerting.alerts` (one entry an alert of a
/// group), `alerting.silences` and `alerting.record` (alerts that are over). What it returns as changes must be
/// committed together with what it returns as notifications.
public struct AlertGroups: Sendable {
    /// Routes, rules of inhibition and intervals in force.
    public private(set) var settings: AlertingSettings
    /// By id.
    public internal(set) var groups: [String: AlertGroup] = [:]
    /// What people do not want to hear of.
    public internal(set) var silences = Silences()
    /// When silences are looked at next: for their ends.
    var nextSilenceCheck = Timestamp.distantPast
    var inhibitor: Inhibitor
    /// The ids of groups by route and labels, so that an alert told again builds no text.
    private var ids: [Place: String] = [:]
    /// Alerts of groups whose route is gone, with those groups' ids.
    private var retiredPlaces: [Labels: Set<String>] = [:]
    /// Alerts that are over.
    private var record = AlertRecord()
    private var turns: [AlertTurn] = []
    /// When episodes that are over began, for alerts that flap; what is older than the window is let go.
    private var history: [Labels: [Timestamp]] = [:]
    /// What peers told to be over and fires here, by when they told it.
    var disputes: [Dispute: Timestamp] = [:]
    /// Whether others may know an alert's end before us: then it counts when senders themselves last spoke of it.
    public var hasPeers = false
    private var earliestFlush = Timestamp.distantFuture
    /// Nothing is told before.
    private let opening: Timestamp

    private struct Place: Hashable {
        var route: Int
        var labels: Labels
    }

    /// No groups; nothing is told before `opening`.
    public init(_ settings: AlertingSettings, opening: Timestamp = .distantPast) {
        (self.settings, self.opening) = (settings, opening)
        inhibitor = Inhibitor(settings.inhibitRules)
    }

    /// When the next group is to be looked at; nil when there is nothing to wait for.
    public var nextFlush: Timestamp? {
        let flush = groups.isEmpty ? nil : earliestFlush
        let check = nextSilenceCheck > .distantPast && nextSilenceCheck < .distantFuture ? nextSilenceCheck : nil
        return [flush, check].compactMap(\.self).min()
    }
    /// How many alerts are in groups, an alert of several groups counted in each.
    public var alertCount: Int { groups.values.reduce(0) { $0 + $1.members.count } }

    // MARK: Taking

    /// Takes alerts as they now are.
    public mutating func take(_ alerts: [Alert], now: Timestamp) -> [StateChange] {
        var batch = AlertGroup.Batch()
        batch.changes.reserveCapacity(alerts.count)
        // Most alerts of a list go where the one before went.
        var last: (index: Int, route: Route)?
        for alert in alerts {
            if !inhibitor.rules.isEmpty { inhibitor.learn(alert, now: now) }
            var targets: Set<String> = []
            for index in settings.tree.places(alert.labels) {
                if last?.index != index { last = (index, settings.tree.routes[index]) }
                guard let route = last?.route else { continue }
                let place = Place(route: index, labels: route.groupLabels(of: alert.labels))
                let id = ids[place] ?? AlertGroup.id(route, place.labels)
                if !retiredPlaces.isEmpty { targets.insert(id) }
                if groups.index(forKey: id) == nil {
                    guard !alert.isResolved(at: now) else { continue }
                    batch.add(begin(id, route: index, place.labels, now: now))
                }
                take(alert, into: id, groupWait: route.groupWait, now: now, &batch)
            }
            // Groups whose route is gone still learn of the ends they owe.
            guard !retiredPlaces.isEmpty else { continue }
            for id in retiredPlaces[alert.labels] ?? [] where !targets.contains(id) {
                take(alert, into: id, groupWait: 0, now: now, &batch)
            }
        }
        note(batch.turns)
        return batch.changes
    }

    func groupID(of route: Int, _ labels: Labels) -> String {
        ids[Place(route: route, labels: labels)] ?? AlertGroup.id(settings.tree.routes[route], labels)
    }

    /// Begins a group; it is first looked at after its wait, or at a moment.
    mutating func begin(
        _ id: String, route: Int, _ labels: Labels, lookingAt moment: Timestamp? = nil, now: Timestamp
    ) -> StateChange {
        var group = AlertGroup(id: id, route: settings.tree.routes[route], labels: labels, now: now)
        if let moment { group.nextFlush = moment }
        group.hold(until: opening)
        if moment != nil { earliestFlush = min(earliestFlush, group.nextFlush) }
        ids[Place(route: route, labels: labels)] = id
        groups[id] = group
        return group.headerChange()
    }

    /// What began and ended since it was last asked, each once, and how many more there were than are kept.
    public mutating func takeTurns() -> [AlertTurn] {
        defer { turns = [] }
        return turns
    }

    private mutating func note(_ fresh: [AlertTurn]) {
        for turn in fresh.prefix(AlertTurn.limit - min(AlertTurn.limit, turns.count)) where turns.last != turn {
            turns.append(turn)
        }
    }

    private mutating func take(
        _ alert: Alert, into id: String, groupWait: Milliseconds, now: Timestamp, _ batch: inout AlertGroup.Batch
    ) {
        let earlier = history.isEmpty ? [] : history[alert.labels] ?? []
        let (flapping, opening) = (settings.flapping, opening)
        groups[id]?.take(
            alert, groupWait: groupWait, flapping: flapping, history: earlier, opening: opening, now: now,
            earliestFlush: &earliestFlush, &batch)
    }

    // MARK: Telling

    /// What a look at the groups that are due decided.
    public struct Decision: Sendable {
        /// What is to be told.
        public var notifications: [Notification] = []
        /// What is to be committed with it.
        public var changes: [StateChange] = []
        /// Groups that ended without a word, by id.
        public var ended: [String] = []
        /// How many alerts were held back, by reason.
        public var suppressed: [Suppression: Int] = [:]
    }

    /// Looks at the groups whose time has come, earliest first.
    public mutating func flush(now: Timestamp) -> Decision {
        var decision = Decision()
        if nextSilenceCheck <= now { decision.changes += checkSilences(now: now) }
        guard earliestFlush <= now else { return decision }
        let due = groups.values.filter { $0.nextFlush <= now }.map { ($0.nextFlush, $0.id) }
        let silenced = silences.active(at: now)
        inhibitor.forgetOver(now: now)
        for (_, id) in due.sorted(by: { $0.0 == $1.0 ? $0.1.isBefore($1.1) : $0.0 < $1.0 }) {
            guard var group = groups.removeValue(forKey: id) else { continue }
            let mute = settings.mute(group, now: now)
            var counts: [Suppression: Int] = [:]
            let flush = group.flush(now: now, flapping: settings.flapping, isMuted: mute != nil) { [inhibitor] labels in
                if let mute {
                    counts[mute.reason, default: 0] += 1
                    return true
                }
                if !inhibitor.rules.isEmpty, !inhibitor.sources(of: labels, now: now, all: false).isEmpty {
                    counts[.inhibition, default: 0] += 1
                    return true
                }
                if !silenced.isEmpty, !silenced.ids(labels).filter({ !labels.isExempt(from: $0) }).isEmpty {
                    counts[.silence, default: 0] += 1
                    return true
                }
                return false
            }
            decision.suppressed.merge(counts, uniquingKeysWith: +)
            decision.notifications += flush.notifications
            settle(flush, &group, now: now, &decision.changes)
            if group.members.isEmpty, flush.notifications.isEmpty { decision.ended.append(id) }
        }
        earliestFlush = groups.values.map(\.nextFlush).min() ?? .distantFuture
        return decision
    }

    private mutating func settle(
        _ flush: AlertGroup.Flush, _ group: inout AlertGroup, now: Timestamp, _ changes: inout [StateChange]
    ) {
        for labels in flush.removed {
            if !retiredPlaces.isEmpty { forget(labels, in: group.id) }
            changes.append(group.memberChange(labels))
        }
        remember(flush.over, now: now)
        changes += record.add(flush.over)
        // Those that were told as over stand there already.
        note(flush.over.filter(\.endsByTimeout).map { AlertTurn(alert: $0, isFiring: false) })
        for labels in flush.changed { changes.append(group.memberChange(labels)) }
        if group.members.isEmpty {
            if let route = settings.tree.routes.firstIndex(where: { AlertGroup.place($0) == group.place }) {
                ids[Place(route: route, labels: group.labels)] = nil
            }
            changes.append(StateChange(table: AlertGroup.groupsTable, key: group.id, value: nil))
            return
        }
        if !flush.notifications.isEmpty { changes.append(group.headerChange()) }
        groups[group.id] = group
    }

    /// Keeps when episodes that are over began, for as long as it counts.
    private mutating func remember(_ alerts: [Alert], now: Timestamp) {
        let within = settings.flapping.within
        guard settings.flapping.episodes > 0 else { return }
        if history.count > 10_000 {
            history = history.compactMapValues { starts in
                let left = starts.filter { now - $0 < within }
                return left.isEmpty ? nil : left
            }
        }
        for alert in alerts where now - alert.startsAt < within {
            history[alert.labels] = Array((history[alert.labels, default: []] + [alert.startsAt]).suffix(20))
        }
    }

    /// Alerts that are over, as far back as the record goes, and those that fire; the earliest first.
    public func recorded(now: Timestamp) -> [Alert] {
        (record.alerts
            + firing(now: now).values.map { alert in
                var alert = alert
                alert.endsAt = nil
                return alert
            }).sorted { ($0.startsAt, $0.labels) < ($1.startsAt, $1.labels) }
    }

    /// A notification of long ago is told after all: what fires of it counts as told, so that its end is owed.
    public mutating func tellAgain(_ notification: Notification) -> [StateChange] {
        let id = notification.groupID
        return notification.firing.compactMap { alert in
            guard let member = groups[id]?.members[alert.labels], !member.isTold,
                member.alert.startsAt == alert.startsAt
            else { return nil }
            groups[id]?.members[alert.labels]?.isTold = true
            groups[id]?.members[alert.labels]?.isHeld = false
            return groups[id]?.memberChange(alert.labels)
        }
    }

    // MARK: Replacing

    /// Puts other settings in force. Groups of routes that are gone go on as retired ones, so that whoever was told
    /// that an alert fires is told that it is over; a group whose `receivers` entry is gone too is dropped. Every
    /// group is looked at afresh at once, and its interval counts from there, as in Alertmanager.
    public mutating func replace(
        _ settings: AlertingSettings, receivers: Set<String>, now: Timestamp
    ) -> [StateChange] {
        self.settings = settings
        (ids, retiredPlaces) = ([:], [:])
        inhibitor = Inhibitor(settings.inhibitRules)
        var changes: [StateChange] = []
        let firing = Set(groups.values.flatMap { $0.members.values.filter { !$0.isResolved(at: now) }.map(\.alert) })
        let routes = Dictionary(
            settings.tree.routes.enumerated().map { (AlertGroup.place($1)[...], $0) },
            uniquingKeysWith: { first, _ in first })
        for id in groups.keys.sorted() {
            guard var group = groups[id] else { continue }
            if let index = routes[group.place] {
                group.use(settings.tree.routes[index])
                ids[Place(route: index, labels: group.labels)] = id
                // Its route stays, but another one may take some of its alerts now: their ends are still owed.
                changes += stray(&group, from: index)
            } else {
                group.retire()
            }
            group.lookAgain(now: now)
            if let index = routes[group.place], !group.hasFlushed {
                // The clock may have been set back while nobody looked.
                group.nextFlush = min(group.nextFlush, max(opening, now + settings.tree.routes[index].groupWait))
            }
            guard !group.members.isEmpty else {
                groups[id] = nil
                changes.append(StateChange(table: AlertGroup.groupsTable, key: id, value: nil))
                continue
            }
            groups[id] = group
            changes += place(id, receivers: receivers)
        }
        // Alerts that fire find their groups by the new routes.
        let heard = hasPeers ? lastHeard() : [:]
        changes += take(firing.sorted { $0.labels < $1.labels }, now: now)
        hearAgain(heard)
        earliestFlush = groups.values.map(\.nextFlush).min() ?? .distantFuture
        return changes
    }

    /// Finds the members that the group's own route takes no more; those of which nothing was told are let go.
    private mutating func stray(_ group: inout AlertGroup, from index: Int) -> [StateChange] {
        var changes: [StateChange] = []
        for (labels, member) in group.members {
            let isStray = !settings.tree.places(labels).contains(index)
            if isStray, !member.isTold, member.ended.isEmpty {
                group.members[labels] = nil
                changes.append(group.memberChange(labels))
                continue
            }
            group.members[labels]?.isStray = isStray
            if isStray { retiredPlaces[labels, default: []].insert(group.id) }
        }
        return changes
    }

    /// A retired group keeps what was told and has not ended; without a receiver nothing of it can be told.
    private mutating func place(_ id: String, receivers: Set<String>) -> [StateChange] {
        guard var group = groups[id], group.isRetired else { return [] }
        var changes: [StateChange] = []
        let isGone = !receivers.contains(group.receiver)
        for (labels, member) in group.members {
            guard isGone || (!member.isTold && member.ended.isEmpty) else {
                retiredPlaces[labels, default: []].insert(id)
                continue
            }
            group.members[labels] = nil
            changes.append(group.memberChange(labels))
        }
        if group.members.isEmpty {
            groups[id] = nil
            return changes + [StateChange(table: AlertGroup.groupsTable, key: id, value: nil)]
        }
        groups[id] = group
        return changes + [group.headerChange()]
    }

    private mutating func forget(_ labels: Labels, in id: String) {
        retiredPlaces[labels]?.remove(id)
        if retiredPlaces[labels]?.isEmpty == true { retiredPlaces[labels] = nil }
    }

    /// Moves all timers, after the wall clock was set forward or back; the journal learns of it, lest the next process
    /// wait for the old clock.
    @discardableResult
    public mutating func shiftTimers(by jump: Milliseconds) -> [StateChange] {
        for id in Array(groups.keys) { groups[id]?.shiftTimers(by: jump) }
        if earliestFlush < .distantFuture { earliestFlush = earliestFlush + jump }
        nextSilenceCheck = .distantPast
        return groups.keys.sorted().compactMap { groups[$0]?.headerChange() }
    }
}

extension AlertGroups {
    /// Takes up the groups and silences that a store holds, under the settings now in force. Alerts from outside that
    /// fired have at least `grace` to be told again: while we were down nobody could.
    ///
    /// - Returns: The changes to commit, and how many entries could not be read and were left alone.
    public mutating func restore(
        from store: any StateStore, receivers: Set<String>, zones: ZoneFinder, grace: Milliseconds = 300_000,
        now: Timestamp
    ) -> (changes: [StateChange], unreadable: Int) {
        var unreadable = silences.restore(from: store, zones: zones) + record.restore(from: store)
        for (id, bytes) in store.entries(of: AlertGroup.groupsTable) {
            if let group = AlertGroup(id: id, header: bytes) { groups[id] = group } else { unreadable += 1 }
        }
        let idsByHash = Dictionary(groups.values.map { ($0.idHash, $0.id) }, uniquingKeysWith: { first, _ in first })
        var changes: [StateChange] = [], renamed: [(id: String, labels: Labels)] = []
        for (key, bytes) in store.entries(of: AlertGroup.alertsTable) {
            guard let (owner, found) = AlertGroup.member(key, bytes), let id = owner.id(idsByHash), groups[id] != nil
            else {
                unreadable += 1
                continue
            }
            var member = found
            if !member.isOver, let end = member.alert.endsAt { member.alert.endsAt = max(end, now + grace) }
            groups[id]?.restore(member)
            if case .id = owner {
                changes.append(StateChange(table: AlertGroup.alertsTable, key: key, value: nil))
                renamed.append((id, member.alert.labels))
            }
        }
        // Entries of before keys were hashes.
        for (id, labels) in renamed {
            if let change = groups[id]?.memberChange(labels) { changes.append(change) }
        }
        // A start is not a moment to wait: what was due while we were down is due now.
        for id in Array(groups.keys) { groups[id]?.hold(until: max(now, opening)) }
        return (changes + replace(settings, receivers: receivers, now: now), unreadable)
    }
}
