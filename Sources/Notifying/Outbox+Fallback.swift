internal import Alerting
internal import Basics
internal import Model

/// Pages that another receiver gets, since their own one cannot be reached.
///
/// What fires is handed over: the page is cancelled (a try under way may end) and goes through the fallback's channels.
/// From then on, until all of the group is over, whatever tells of an end goes to both. A page of ends alone is never
/// taken from its receiver when that was told of the beginning: nobody else can close what was opened there.
extension Outbox {
    /// Gives a page to the fallback of its receiver.
    ///
    /// - Parameter isOver: Whether no try is under way, whatever the entry says.
    /// - Returns: Whether the page is done with here; false also when the fallback has it but an end is still owed.
    mutating func handOver(_ entry: OutboxEntry, _ why: String, isOver: Bool = false, now: Timestamp) -> Bool {
        let receiver = path(entry.channelID).receiver
        let group = entry.notification.groupID
        guard entry.notification.isFiring, let fallback = path(entry.channelID).fallback,
            channels[fallback.receiver]?.isEmpty == false
        else { return false }
        var diversion =
            diversions[Diversion.key(group, receiver)]
            ?? Diversion(groupID: group, receiver: receiver, fallback: fallback.receiver)
        if !diversion.fallbacks.contains(fallback.receiver) { diversion.fallbacks.append(fallback.receiver) }
        (diversion.isOver, _) = (false, diversion.through.insert(entry.channelID))
        diversions[diversion.key] = diversion
        record(entry, .handedOver, "to \(fallback.receiver): \(why)", now: now)
        events.append(.handedOver(receiver: receiver, fallback: fallback.receiver))
        let standsInFor = entry.standsInFor ?? receiver
        // Ends that wait behind it would find the diversion only now.
        for id in lanes.pages(of: group, through: entry.channelID) {
            guard let other = entries[id], other.id == entry.id || other.sequence > entry.sequence else { continue }
            guard other.id == entry.id || other.notification.items.contains(where: \.isResolved) else { continue }
            give(other.notification, (other.title, other.severity), from: receiver, standsInFor: standsInFor, now: now)
        }
        return cancel(entry, isOver: isOver, now: now)
    }

    /// Ends a page that the fallback has, unless it tells its own receiver of an end that it owes.
    private mutating func cancel(_ entry: OutboxEntry, isOver: Bool, now: Timestamp) -> Bool {
        let isTold = standings[Standing.key(entry.notification.groupID, entry.channelID)] != nil
        if isTold, entry.notification.items.contains(where: \.isResolved) {
            guard !isOver else { return false }
            update(entry.id) { $0.isHandedOver = true }
            return false
        }
        guard entry.state == .sending, !isOver else {
            remove(entry, now: now)
            return true
        }
        update(entry.id) { ($0.isHandedOver, $0.endsWithTry) = (true, true) }
        return true
    }

    private mutating func update(_ id: String, _ change: (inout OutboxEntry) -> Void) {
        guard var entry = entries[id] else { return }
        change(&entry)
        entries[id] = entry
        changes.append(entry.change())
    }

    /// Queues a notification for those who were told in a receiver's place, each once, and on along their own
    /// fallbacks.
    private mutating func give(
        _ notification: Notification, _ text: (title: String, severity: Severity), from receiver: String,
        standsInFor: String, now: Timestamp
    ) {
        guard var diversion = diversions[Diversion.key(notification.groupID, receiver)] else { return }
        let fresh = diversion.fallbacks.filter { diversion.give(notification.id, to: $0) }
        if !notification.isFiring { diversion.isOver = true }
        diversions[diversion.key] = diversion
        changes.append(diversion.change())
        for fallback in fresh {
            for channelID in channels[fallback] ?? [] where wants(channelID, notification) {
                guard path(channelID).sendsResolved || !notification.tellsOnlyEnds else { continue }
                var entry = OutboxEntry(notification, text, channelID: channelID, sequence: nextSequence, now: now)
                entry.standsInFor = standsInFor
                insert(entry, now: now)
            }
            if notification.items.contains(where: \.isResolved) {
                give(notification, text, from: fallback, standsInFor: standsInFor, now: now)
            }
        }
    }

    /// Tells of ends whoever stood in for a receiver.
    mutating func follow(
        _ notification: Notification, _ text: (title: String, severity: Severity), from receiver: String, now: Timestamp
    ) {
        guard var diversion = diversions[Diversion.key(notification.groupID, receiver)] else { return }
        guard notification.items.contains(where: \.isResolved) else {
            // It fires again before its end was told everywhere.
            if diversion.isOver, notification.isFiring {
                diversion.isOver = false
                diversions[diversion.key] = diversion
                changes.append(diversion.change())
            }
            return
        }
        give(notification, text, from: receiver, standsInFor: receiver, now: now)
        endDiversion(of: notification.groupID, from: receiver)
    }

    /// Lets go of a diversion when all is over and the receiver's own channels have nothing of the group any more.
    mutating func endDiversion(of group: String, from receiver: String) {
        let key = Diversion.key(group, receiver)
        guard let diversion = diversions[key], diversion.isOver else { return }
        let own = diversion.through.union(channels[receiver] ?? [])
        guard own.allSatisfy({ lanes.pages(of: group, through: $0).isEmpty }) else { return }
        diversions[key] = nil
        changes.append(StateChange(table: Diversion.table, key: key, value: nil))
    }

    /// Whether a page tells nothing but the end of what this channel was never told.
    func isNeedless(_ entry: OutboxEntry) -> Bool {
        let notification = entry.notification
        guard !notification.isFiring, entry.unknownOutcomes == 0, !diversions.isEmpty,
            let diversion = diversions[Diversion.key(notification.groupID, path(entry.channelID).receiver)]
        else { return false }
        return diversion.through.contains(entry.channelID)
            && standings[Standing.key(notification.groupID, entry.channelID)] == nil
    }
}
