public import Alerting
public import Basics
public import Model

/// What was given up: sent again or thrown away by a person.
extension Outbox {
    /// Puts a dead letter on its way again, under the same key.
    ///
    /// - Parameters:
    ///   - isOld: Whether its group was told newer things since, so that the page must say when it was decided.
    ///   - isAside: Whether the group still goes on.
    ///   - end: What closes it when what it tells is over already; goes right behind it.
    /// - Returns: Nil when there is no such letter or its channel is not configured.
    public mutating func replay(
        _ id: String, isOld: Bool, isAside: Bool, end: Notification?, now: Timestamp
    ) -> [StateChange]? {
        guard let index = deadLetters.firstIndex(where: { $0.entry.id == id }), entries[id] == nil,
            let path = paths[deadLetters[index].entry.channelID], !path.isLeaving
        else { return nil }
        let letter = deadLetters.remove(at: index)
        changes.append(StateChange(table: DeadLetter.table, key: id, value: nil))
        var entry = OutboxEntry(letter.entry, sequence: nextSequence, now: now)
        // What waits there already is newer, and goes first.
        let pending = lanes.pages(of: letter.entry.notification.groupID, through: letter.entry.channelID)
        (entry.isOld, entry.isAside) = (isOld || !pending.isEmpty, isAside)
        insert(entry, as: .replayed, now: now)
        let receiver = letter.entry.notification.receiver
        if isAside, entry.notification.isFiring, path.receiver != receiver { divert(entry, from: receiver) }
        if let end {
            let text = (end.title, end.severity)
            var closing = OutboxEntry(
                end, text, channelID: letter.entry.channelID, sequence: nextSequence, now: now)
            closing.isAside = isAside
            insert(closing, now: now)
        }
        return drain()
    }

    /// Whether the letter's channel was told of its group since the letter died, as far as the ledger knows.
    func isToldSince(_ letter: DeadLetter) -> Bool {
        let groupKey = truncated(letter.entry.notification.groupKey, to: Delivery.longestKey)
        return ledger.all.contains { line in
            (line.outcome == .accepted || line.outcome == .unknown) && line.time >= letter.diedAt
                && line.channelID == letter.entry.channelID && line.groupKey == groupKey
        }
    }

    /// A group ended without a word: what was replayed beside its course has nothing to wait for. O(channels).
    mutating func endSilently(_ group: String, now: Timestamp) {
        for channelID in paths.keys.sorted() {
            let pages = lanes.pages(of: group, through: channelID)
            if pages.isEmpty { forget(Standing.key(group, channelID)) }
            for id in pages where entries[id]?.isAside == true { update(id) { $0.isAside = false } }
        }
        for receiver in diversions.isEmpty ? [] : channels.keys.sorted() {
            guard diversions[Diversion.key(group, receiver)] != nil else { continue }
            diversions[Diversion.key(group, receiver)]?.isOver = true
            endDiversion(of: group, from: receiver)
        }
    }

    /// Throws a dead letter away; nil when there is no such letter.
    public mutating func discard(_ id: String, now: Timestamp) -> [StateChange]? {
        guard let index = deadLetters.firstIndex(where: { $0.entry.id == id }) else { return nil }
        let letter = deadLetters.remove(at: index)
        changes.append(StateChange(table: DeadLetter.table, key: id, value: nil))
        record(letter.entry, .discarded, now: now)
        return drain()
    }
}

extension OutboxEntry {
    /// A dead letter's page on its way again.
    init(_ dead: OutboxEntry, sequence: Int, now: Timestamp) {
        self.init(
            dead.notification, (dead.title, dead.severity), channelID: dead.channelID, sequence: sequence,
            now: dead.createdAt)
        (queuedAt, progress, standsInFor) = (now, dead.progress, dead.standsInFor)
        (attempts, unknownOutcomes, isHandedOver) = (dead.attempts, dead.unknownOutcomes, dead.isHandedOver)
    }
}
