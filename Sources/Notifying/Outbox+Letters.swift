public import Alerting
public import Basics
public import Model

/// What was given up: sent again or thrown away by a person.
extension Outbox {
    /// Puts a dead letter on its way again, under the same key.
    ///
    /// - Parameters:
    ///   - isOld: Whether its group was told newer things since, so that the page must say when it was decided.
    ///   - end: What closes it when what it tells is over already; goes right behind it.
    /// - Returns: Nil when there is no such letter or its channel is not configured.
    public mutating func replay(_ id: String, isOld: Bool, end: Notification?, now: Timestamp) -> [StateChange]? {
        guard let index = deadLetters.firstIndex(where: { $0.entry.id == id }), entries[id] == nil,
            let path = paths[deadLetters[index].entry.channelID], !path.isLeaving
        else { return nil }
        let letter = deadLetters.remove(at: index)
        changes.append(StateChange(table: DeadLetter.table, key: id, value: nil))
        insert(OutboxEntry(letter.entry, sequence: nextSequence, isOld: isOld, now: now), as: .replayed, now: now)
        if let end {
            let text = (end.title, end.severity)
            insert(
                OutboxEntry(end, text, channelID: letter.entry.channelID, sequence: nextSequence, now: now), now: now)
        }
        return drain()
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
    init(_ dead: OutboxEntry, sequence: Int, isOld: Bool, now: Timestamp) {
        self.init(
            dead.notification, (dead.title, dead.severity), channelID: dead.channelID, sequence: sequence,
            now: dead.createdAt)
        (queuedAt, self.isOld, progress, standsInFor) = (now, isOld, dead.progress, dead.standsInFor)
        (attempts, unknownOutcomes) = (dead.attempts, dead.unknownOutcomes)
    }
}
