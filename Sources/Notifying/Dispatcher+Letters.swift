internal import Alerting
internal import Basics
internal import Model

/// Dead letters, which a person looks at.
extension Dispatcher {
    /// Sends a dead letter again, under the same key. When its group was told newer things since, the page says when
    /// it was decided; when what it tells is over and nobody else would tell so, a page of the end follows it.
    ///
    /// - Parameter id: The page's id, `NOTIFICATION/RECEIVER/KIND/INDEX`.
    /// - Returns: False when there is no such letter or its channel is not configured.
    @discardableResult
    public func replay(_ id: String) -> Bool {
        guard let letter = outbox.deadLetters.first(where: { $0.entry.id == id }) else { return false }
        return replay([letter]) == 1
    }

    /// Sends all dead letters again whose channel is configured, in the order in which they were decided; how many.
    @discardableResult
    public func replayAll() -> Int { replay(outbox.deadLetters.sorted { $0.entry.sequence < $1.entry.sequence }) }

    private func replay(_ letters: [DeadLetter]) -> Int {
        let now = look()
        var changes: [StateChange] = []
        var replayed = 0
        for (index, letter) in letters.enumerated() {
            let notification = letter.entry.notification
            let group = groups.groups[notification.groupID]
            let isOld = group?.hasTold(since: notification) ?? true
            let isClosedLater = letters[(index + 1)...].contains { $0.closes(letter) }
            guard
                let made = outbox.replay(
                    letter.entry.id, isOld: isOld || outbox.isToldSince(letter),
                    isAside: group != nil,
                    end: isClosedLater ? nil : end(of: letter.entry, now: now), now: now)
            else { continue }
            changes += made + groups.tellAgain(notification)
            replayed += 1
        }
        figures.replayed.add(replayed)
        let channels = letters.map(\.entry.channelID)
        commit(changes + endRefusals(of: channels, now: now))
        return replayed
    }

    /// What closes the part of an old page that fires no more; nil when the group itself will tell.
    private func end(of entry: OutboxEntry, now: Timestamp) -> Notification? {
        var notification = entry.notification
        // An announcement's thread closes itself.
        guard notification.isFiring, notification.isOfGroup,
            channels[entry.channelID]?.channel.sendsResolved == true
        else { return nil }
        let members = groups.groups[notification.groupID]?.members ?? [:]
        var isNeeded = false
        for index in notification.items.indices {
            // A later episode of the alert is not the one that this page tells of.
            let alert = notification.items[index].alert
            guard members[alert.labels]?.alert.startsAt != alert.startsAt else { continue }
            guard !notification.items[index].isResolved else { continue }
            notification.items[index].alert.endsAt = max(now, notification.items[index].alert.startsAt + 1)
            notification.items[index].isResolved = true
            isNeeded = true
        }
        guard isNeeded else { return nil }
        // What the group held back then it has ended since, or ends itself.
        notification.leavesOpen = false
        // Each replay has its own: what closed an earlier one is not the same page.
        notification.id += "-end-\(now.milliseconds)"
        notification.reason = notification.isFiring ? .someResolved : .allResolved
        notification.decidedAt = now
        return notification
    }

    /// Throws a dead letter away; false when there is no such letter.
    @discardableResult
    public func discard(_ id: String) -> Bool { discard([id]) == 1 }

    /// Throws all dead letters away; how many.
    @discardableResult
    public func discardAll() -> Int { discard(outbox.deadLetters.map(\.entry.id)) }

    private func discard(_ ids: [String]) -> Int {
        let now = look()
        var changes: [StateChange] = []
        var channels: [String] = []
        for letter in outbox.deadLetters where ids.contains(letter.entry.id) {
            guard let made = outbox.discard(letter.entry.id, now: now) else { continue }
            changes += made
            channels.append(letter.entry.channelID)
        }
        commit(changes + endRefusals(of: channels, now: now))
        return channels.count
    }

    /// Once the last letter of a channel was looked at, its refusal is no news any more.
    private func endRefusals(of channels: [String], now: Timestamp) -> [StateChange] {
        let left = Set(outbox.deadLetters.map(\.entry.channelID))
        let ended = Set(channels).subtracting(left).sorted().flatMap { channelID in
            pathAlerts.end(channelID, only: PathAlerts.refused, now: now)
        }
        return groups.take(ended, now: now)
    }
}

extension DeadLetter {
    /// Whether it tells the end of all that another one tells to fire.
    fileprivate func closes(_ other: DeadLetter) -> Bool {
        let (end, begin) = (entry.notification, other.entry.notification)
        guard entry.channelID == other.entry.channelID, end.groupID == begin.groupID, end.endsGroup else {
            return false
        }
        // An owed end knows no more than its group.
        guard !end.items.isEmpty else { return true }
        return begin.firing.allSatisfy { alert in
            end.resolved.contains { $0.labels == alert.labels && $0.startsAt == alert.startsAt }
        }
    }
}
