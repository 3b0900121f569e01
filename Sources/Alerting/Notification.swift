public import Basics
public import Model

/// What a receiver is to be told of one group at one moment. Immutable: a retry says the same.
public struct Notification: Sendable, Hashable {
    /// Why it is told, in Alertmanager's words.
    public enum Reason: String, Sendable, Hashable {
        case first = "first notification"
        case newAlerts = "new alerts added"
        case someResolved = "some alerts resolved"
        case allResolved = "all alerts resolved"
        case repeated = "repeat interval elapsed"
    }

    /// An alert as it is shown: firing ones have no end.
    public struct Item: Sendable, Hashable {
        /// Its labels, annotations, value and times.
        public var alert: Alert
        /// Whether it is over.
        public var isResolved: Bool
        /// An alert with how it is shown.
        public init(_ alert: Alert, isResolved: Bool) { (self.alert, self.isResolved) = (alert, isResolved) }
    }

    /// Unique for ever, the same after a restart: the key of idempotency.
    public var id: String
    /// The group it tells of; one group's notifications go out in order.
    public var groupID: String
    /// Alertmanager's group key.
    public var groupKey: String
    /// Whose channels are told.
    public var receiver: String
    /// Why.
    public var reason: Reason
    /// What the group's alerts have in common by the route.
    public var groupLabels: Labels
    /// In Alertmanager's order: by job, instance, then all labels.
    public var items: [Item]
    /// When it was decided.
    public var decidedAt: Timestamp
    /// Whether the group goes on though nothing here fires: something that was told before is held back now.
    public var leavesOpen = false
    /// The route's own labels: templates, to be filled in with the rest.
    public var routeLabels: [String: String] = [:]

    /// A notification by its parts; the items are put into Alertmanager's order.
    public init(
        id: String, groupID: String, groupKey: String, receiver: String, reason: Reason, groupLabels: Labels,
        items: [Item], decidedAt: Timestamp
    ) {
        (self.id, self.groupID, self.groupKey, self.receiver) = (id, groupID, groupKey, receiver)
        (self.reason, self.groupLabels, self.decidedAt) = (reason, groupLabels, decidedAt)
        self.items = Notification.order(items).map { items[$0] }
    }

    /// Whether it tells of a group of alerts, and is no announcement.
    public var isOfGroup: Bool { groupID.hasPrefix("\(receiver)|") || groupID.hasPrefix("\(receiver)|".inASCII) }

    /// Whether any of its alerts fires.
    public var isFiring: Bool { items.contains { !$0.isResolved } }
    /// Whether all that was told of the group is over with it.
    public var endsGroup: Bool { !isFiring && !leavesOpen }
    /// The alerts that fire.
    public var firing: [Alert] { items.filter { !$0.isResolved }.map(\.alert) }
    /// The alerts that are over.
    public var resolved: [Alert] { items.filter(\.isResolved).map(\.alert) }
    /// Whether it tells only of ends, so that a receiver without `send_resolved` is not told.
    public var tellsOnlyEnds: Bool { reason == .someResolved || reason == .allResolved }

    /// The labels that all alerts have with the same value.
    public var commonLabels: Labels { Notification.commonLabels(of: items) }
    /// The annotations that all alerts have with the same value.
    public var commonAnnotations: [String: String] { Notification.commonAnnotations(of: items) }

    /// The labels that all of the alerts have with the same value.
    public static func commonLabels(of items: [Item]) -> Labels {
        guard var common = items.first?.alert.labels.sorted else { return Labels() }
        for item in items.dropFirst() where !common.isEmpty {
            if common.contains(where: { !item.alert.labels[$0.name].isSame(as: $0.value) }) {
                common.removeAll { !item.alert.labels[$0.name].isSame(as: $0.value) }
            }
        }
        return Labels(sortedUnique: common)
    }

    /// The annotations that all of the alerts have with the same value.
    public static func commonAnnotations(of items: [Item]) -> [String: String] {
        guard var common = items.first?.alert.annotations else { return [:] }
        for item in items.dropFirst() where !common.isEmpty {
            if common.contains(where: { item.alert.annotations[$0.key] != $0.value }) {
                common = common.filter { item.alert.annotations[$0.key] == $0.value }
            }
        }
        return common
    }

    /// The places of items in Alertmanager's order of the alerts in a message.
    public static func order(_ items: [Item]) -> [Int] {
        var keys = ByteKeys(capacity: items.count)
        for item in items { item.addKey(to: &keys) }
        return keys.order()
    }
}

extension Notification.Item {
    /// Adds its key in Alertmanager's order of a message: job, instance, number of labels, labels; then time. An alert
    /// without a job or an instance comes behind those that have one.
    ///
    /// - SeeAlso: Alertmanager, `types.AlertSlice` and prometheus/common, `LabelSet.Before`.
    fileprivate func addKey(to keys: inout ByteKeys) {
        keys.begin()
        for name in ["job", "instance"] {
            let value = alert.labels[name]
            keys.add(byte: value.isEmpty ? 1 : 0)
            if !value.isEmpty { keys.add(value) }
        }
        keys.add(Int64(alert.labels.count))
        for index in alert.labels.sorted.indices {
            keys.add(alert.labels.sorted[index].name)
            keys.add(alert.labels.sorted[index].value)
        }
        keys.add(alert.startsAt.milliseconds)
        keys.add(byte: isResolved ? 0 : 1)
    }
}
