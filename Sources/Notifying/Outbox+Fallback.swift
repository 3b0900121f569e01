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
        guard entry.notification.isFiring, !entry.isOld, !entry.isAside, let fallback = path(entry.channelID).fallback,
            channels[fallback.receiver]?.isEmpty == false
        else { return false }
        var diversion =
            diversions[Diversion.key(group, receiver)]
            ?? Diversion(groupID: group, receiver: receiver, fallback: fallback.receiver)
        if !diversion.fallbacks.contains(fallback.receiver) { diversion.fallbacks.append(fallback.receiver) }
        diversion.through.insert(entry.channelID)
        diversions[diversion.key] = diversion
        changes.append(diversion.change())
        record(entry, .handedOver, "to \(fallback.receiver): \(why)", now: now)
        events.append(.handedOver(receiver: receiver, fallback: fallback.receiver))
        giveAll(of: group, from: receiver, now: now)
        return cancel(entry, isOver: isOver, now: now)
    }

    /// Ends a page that the fallback has, unless it tells its own receiver of an end that it owes.
    private mutating func cancel(_ entry: OutboxEntry, isOver: Bool, now: Timestamp) -> Bool {
        let group = entry.notification.groupID
        // A try under way may tell yet what this one ends.
        let isTold =
            standings[Standing.key(group, entry.channelID)] != nil
            || lanes.pages(of: group, through: entry.channelID).contains { id in
                id != entry.id && entries[id]?.state == .sending && entries[id]?.notification.isFiring == true
            }
        if isTold, entry.notification.items.contains(where: \.isResolved) {
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

    mutating func update(_ id: String, _ change: (inout OutboxEntry) -> Void) {
        guard var entry = entries[id] else { return }
        change(&entry)
        entries[id] = entry
        changes.append(entry.change())
    }

    /// Gives the fallback all that a receiver's channels still have of a group, in order: what was left out now would
    /// come there later, after its own end.
    private mutating func giveAll(of group: String, from receiver: String, now: Timestamp) {
        let ids = (channels[receiver] ?? []).flatMap { lanes.pages(of: group, through: $0) }
        let pending = ids.compactMap { entries[$0] }.filter { !$0.isOld && !$0.isAside }.sorted {
            $0.sequence < $1.sequence
        }
        for entry in pending { give(entry, from: receiver, now: now) }
    }

    /// Queues a notification for those who are told in a receiver's place, each once, and on along their own fallbacks.
    private mutating func give(_ page: OutboxEntry, from receiver: String, now: Timestamp) {
        let notification = page.notification
        guard var diversion = diversions[Diversion.key(notification.groupID, receiver)] else { return }
        let fresh = diversion.fallbacks.filter { fallback in
            // By another way round it may have come there before.
            diversion.give(notification.id, to: fallback)
                && !ledger.all.contains { $0.notificationID == notification.id && $0.receiver == fallback }
        }
        guard !fresh.isEmpty else { return }
        diversion.isOver = notification.endsGroup
        diversions[diversion.key] = diversion
        changes.append(diversion.change())
        for fallback in fresh {
            // By another way round it may know newer things.
            let isOld = ledger.all.contains {
                $0.receiver == fallback && Notification.isLater($0.notificationID, than: notification.id)
            }
            var copy = page
            for channelID in channels[fallback] ?? [] where wants(channelID, notification) {
                guard path(channelID).sendsResolved || !notification.tellsOnlyEnds else { continue }
                copy = OutboxEntry(
                    notification, (page.title, page.severity), channelID: channelID, sequence: nextSequence, now: now)
                (copy.standsInFor, copy.isOld) = (page.standsInFor ?? receiver, isOld)
                insert(copy, now: now)
            }
            follow(copy, from: fallback, now: now)
        }
    }

    /// Tells of ends whoever stood in for a receiver.
    mutating func follow(_ page: OutboxEntry, from receiver: String, now: Timestamp) {
        let notification = page.notification
        guard var diversion = diversions[Diversion.key(notification.groupID, receiver)] else { return }
        guard notification.items.contains(where: \.isResolved) || notification.endsGroup else {
            // It fires again before its end was told everywhere.
            if diversion.isOver {
                diversion.isOver = false
                diversions[diversion.key] = diversion
                changes.append(diversion.change())
            }
            return
        }
        giveAll(of: notification.groupID, from: receiver, now: now)
        give(page, from: receiver, now: now)
        endDiversion(of: notification.groupID, from: receiver)
    }

    /// Notes that a replayed page tells somebody in a receiver's place of a group that goes on.
    mutating func divert(_ entry: OutboxEntry, from receiver: String) {
        let fallback = path(entry.channelID).receiver
        var diversion =
            diversions[Diversion.key(entry.notification.groupID, receiver)]
            ?? Diversion(groupID: entry.notification.groupID, receiver: receiver, fallback: fallback)
        if !diversion.fallbacks.contains(fallback) { diversion.fallbacks.append(fallback) }
        _ = diversion.give(entry.notification.id, to: fallback)
        diversion.isOver = false
        diversions[diversion.key] = diversion
        changes.append(diversion.change())
    }

    /// Receivers for which somebody stands in, by what a store holds: their groups are needed for the ends.
    static func divertedReceivers(in store: any StateStore) -> Set<String> {
        Set(store.entries(of: Diversion.table).values.compactMap { Diversion($0)?.receiver })
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
        guard !notification.isFiring, !entry.isAside, entry.attempts == 0, !diversions.isEmpty,
            let diversion = diversions[Diversion.key(notification.groupID, path(entry.channelID).receiver)]
        else { return false }
        return diversion.through.contains(entry.channelID)
            && standings[Standing.key(notification.groupID, entry.channelID)] == nil
    }
}

extension Notification {
    /// Whether an id, `group-begin of the group-number`, is that of a later notification of the same group.
    fileprivate static func isLater(_ id: String, than other: String) -> Bool {
        let (one, two) = (id.split(separator: "-"), other.split(separator: "-"))
        guard one.count == 3, two.count == 3, one[0] == two[0], let begin = Int(one[1]), let otherBegin = Int(two[1]),
            let number = Int(one[2]), let otherNumber = Int(two[2])
        else { return false }
        return (begin, number) > (otherBegin, otherNumber)
    }
}
