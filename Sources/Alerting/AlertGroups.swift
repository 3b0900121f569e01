public import Basics
public import Model

/// All groups: takes alerts, decides what is told and when. Pure: time comes in, changes and notifications go out.
///
/// Its durable state is the tables `alerting.groups` (one entry a group) and `alerting.alerts` (one entry an alert of
/// a group). What it returns as changes must be committed together with what it returns as notifications.
public struct AlertGroups: Sendable {
    /// The routes in force.
    public private(set) var tree: RouteTree
    /// By id.
    public private(set) var groups: [String: AlertGroup] = [:]
    /// Alerts that are in groups, with those groups' ids, so that an alert told again costs one look-up.
    private var places: [Labels: Set<String>] = [:]
    private var retired: Set<String> = []
    private var earliestFlush = Timestamp.distantFuture

    /// No groups.
    public init(_ tree: RouteTree) { self.tree = tree }

    /// When the next group is to be looked at; nil without groups.
    public var nextFlush: Timestamp? { groups.isEmpty ? nil : earliestFlush }
    /// How many alerts are in groups, an alert of several groups counted in each.
    public var alertCount: Int { groups.values.reduce(0) { $0 + $1.members.count } }

    /// Takes alerts as they now are.
    public mutating func take(_ alerts: [Alert], now: Timestamp) -> [StateChange] {
        var changes: [StateChange] = []
        for alert in alerts {
            var targets: Set<String> = []
            for route in tree.matches(alert.labels) {
                let labels = route.groupLabels(of: alert.labels)
                let id = AlertGroup.id(route, labels)
                targets.insert(id)
                if groups[id] == nil {
                    guard !alert.isResolved(at: now) else { continue }
                    groups[id] = AlertGroup(route: route, labels: labels, now: now)
                    changes.append(
                        groups[id]?.headerChange() ?? .init(table: AlertGroup.groupsTable, key: id, value: nil))
                }
                take(alert, into: id, groupWait: route.groupWait, now: now, &changes)
            }
            // Groups whose route is gone still learn of the ends they owe.
            for id in places[alert.labels] ?? [] where !targets.contains(id) {
                take(alert, into: id, groupWait: 0, now: now, &changes)
            }
        }
        return changes
    }

    private mutating func take(
        _ alert: Alert, into id: String, groupWait: Milliseconds, now: Timestamp, _ changes: inout [StateChange]
    ) {
        guard groups[id]?.take(alert, groupWait: groupWait, now: now) == true else { return }
        places[alert.labels, default: []].insert(id)
        if let change = groups[id]?.memberChange(alert.labels) { changes.append(change) }
        earliestFlush = min(earliestFlush, groups[id]?.nextFlush ?? earliestFlush)
    }

    /// Looks at the groups whose time has come, earliest first.
    public mutating func flush(now: Timestamp) -> (notifications: [Notification], changes: [StateChange]) {
        guard earliestFlush <= now else { return ([], []) }
        var (notifications, changes) = ([Notification](), [StateChange]())
        let due = groups.values.filter { $0.nextFlush <= now }.map { ($0.nextFlush, $0.id) }
        for (_, id) in due.sorted(by: { $0.0 == $1.0 ? $0.1.isBefore($1.1) : $0.0 < $1.0 }) {
            guard var group = groups.removeValue(forKey: id) else { continue }
            let flush = group.flush(now: now)
            notifications += flush.notifications
            for labels in flush.removed {
                places[labels]?.remove(id)
                if places[labels]?.isEmpty == true { places[labels] = nil }
                changes.append(group.memberChange(labels))
            }
            for labels in flush.changed { changes.append(group.memberChange(labels)) }
            if group.members.isEmpty {
                retired.remove(id)
                changes.append(StateChange(table: AlertGroup.groupsTable, key: id, value: nil))
                continue
            }
            if !flush.notifications.isEmpty { changes.append(group.headerChange()) }
            groups[id] = group
        }
        earliestFlush = groups.values.map(\.nextFlush).min() ?? .distantFuture
        return (notifications, changes)
    }

    /// Puts another tree in force. Groups of routes that are gone go on as retired ones, so that whoever was told
    /// that an alert fires is told that it is over; a group whose `receivers` entry is gone too is dropped.
    public mutating func replace(_ tree: RouteTree, receivers: Set<String>, now: Timestamp) -> [StateChange] {
        self.tree = tree
        var changes: [StateChange] = []
        let firing = Set(groups.values.flatMap { $0.members.values.filter { !$0.isResolved(at: now) }.map(\.alert) })
        for id in groups.keys.sorted() {
            guard var group = groups[id] else { continue }
            let route = tree.routes.first { AlertGroup.id($0, group.labels) == id }
            if let route {
                (group.groupInterval, group.repeatInterval) = (route.groupInterval, route.repeatInterval)
                group.isRetired = false
                retired.remove(id)
            } else {
                group.isRetired = true
                retired.insert(id)
            }
            groups[id] = group
            changes += place(id, receivers: receivers)
        }
        // Alerts that fire find their groups by the new routes.
        changes += take(firing.sorted { $0.labels < $1.labels }, now: now)
        earliestFlush = groups.values.map(\.nextFlush).min() ?? .distantFuture
        return changes
    }

    /// A retired group keeps what was told and has not ended; without a receiver nothing of it can be told.
    private mutating func place(_ id: String, receivers: Set<String>) -> [StateChange] {
        guard var group = groups[id], group.isRetired else { return [] }
        var changes: [StateChange] = []
        let isGone = !receivers.contains(group.receiver)
        for (labels, member) in group.members where isGone || (!member.isTold && member.ended.isEmpty) {
            group.members[labels] = nil
            places[labels]?.remove(id)
            changes.append(group.memberChange(labels))
        }
        if group.members.isEmpty {
            groups[id] = nil
            retired.remove(id)
            return changes + [StateChange(table: AlertGroup.groupsTable, key: id, value: nil)]
        }
        groups[id] = group
        return changes + [group.headerChange()]
    }

    /// Moves all timers, after the wall clock was set forward or back.
    public mutating func shiftTimers(by jump: Milliseconds) {
        for id in Array(groups.keys) { groups[id]?.shiftTimers(by: jump) }
        if earliestFlush < .distantFuture { earliestFlush = earliestFlush + jump }
    }
}

extension AlertGroups {
    /// Takes up the groups that a store holds, under the routes now in force.
    ///
    /// - Returns: The changes to commit, and how many entries could not be read and were left alone.
    public mutating func restore(
        from store: any StateStore, receivers: Set<String>, now: Timestamp
    ) -> (changes: [StateChange], unreadable: Int) {
        var unreadable = 0
        for (id, bytes) in store.entries(of: AlertGroup.groupsTable) {
            if let group = AlertGroup(id: id, header: bytes) { groups[id] = group } else { unreadable += 1 }
        }
        for (_, bytes) in store.entries(of: AlertGroup.alertsTable) {
            guard let (id, member) = AlertGroup.member(bytes), groups[id] != nil else {
                unreadable += 1
                continue
            }
            groups[id]?.members[member.alert.labels] = member
            places[member.alert.labels, default: []].insert(id)
        }
        // A start is not a moment to wait: what was due while we were down is due now.
        for id in Array(groups.keys) { groups[id]?.hold(until: now) }
        return (replace(tree, receivers: receivers, now: now), unreadable)
    }
}
