internal import Alerting
public import Basics
public import Model

/// Starts and reloads.
extension Outbox {
    /// How long a channel's knowledge of a group is kept that no longer exists.
    static let standingLimit: Milliseconds = 7 * 86_400_000

    /// Takes up what a store holds. A try without an outcome may have arrived: it is tried again, marked.
    ///
    /// - Returns: How many outcomes are unknown, how many entries could not be read and were left alone, and changes.
    public mutating func restore(
        from store: any StateStore, paths: [String: Path], now: Timestamp
    ) -> (unknown: Int, unreadable: Int, changes: [StateChange]) {
        var (unknown, unreadable) = (0, ledger.restore(from: store))
        func read<Value>(_ table: String, _ read: ([UInt8]) -> Value?) -> [Value] {
            store.entries(of: table).sorted { $0.key < $1.key }.compactMap { _, bytes in
                let value = read(bytes)
                if value == nil { unreadable += 1 }
                return value
            }
        }
        set(paths)
        for standing in read(Standing.table, Standing.init) { standings[standing.key] = standing }
        for diversion in read(Diversion.table, Diversion.init) { diversions[diversion.key] = diversion }
        let pages = Dictionary(
            read(OutboxEntry.pagesTable) { bytes in
                // Told to the caller by nil.
                (try? JSON(parsing: bytes)).flatMap(Notification.init(json:)).map { ($0.id, $0) }
            }, uniquingKeysWith: { $1 })
        let found = read(OutboxEntry.table) { OutboxEntry($0, page: { pages[$0] }) }
        for entry in found { uses[entry.notification.id, default: 0] += 1 }
        for id in pages.keys.sorted() where uses[id] == nil {
            changes.append(StateChange(table: OutboxEntry.pagesTable, key: id, value: nil))
        }
        for entry in found.sorted(by: { $0.sequence < $1.sequence }) {
            unknown += entry.state == .sending ? 1 : 0
            take(up: entry, now: now)
        }
        deadLetters = read(DeadLetter.table, DeadLetter.init)
        // New pages come after the letters, whose order a replay keeps.
        nextSequence = max(nextSequence, (deadLetters.map(\.entry.sequence).max() ?? -1) + 1)
        deadLetters.sort { ($0.diedAt, $0.entry.sequence) < ($1.diedAt, $1.entry.sequence) }
        return (unknown, unreadable, replace(paths, now: now))
    }

    private mutating func take(up restored: OutboxEntry, now: Timestamp) {
        var entry = restored
        nextSequence = max(nextSequence, entry.sequence + 1)
        if entry.state == .sending {
            entry.unknownOutcomes += 1
            entry.state = .queued
            stand(entry, now: now)
        }
        place(entry, now: now)
        // The last try that it was left has ended with the process.
        if entry.endsWithTry { return remove(entry, now: now) }
        if case .waiting(let until) = entry.state, entry.isPaused { lanes.pause(entry.channelID, until: until) }
    }

    private mutating func set(_ paths: [String: Path]) {
        self.paths = paths
        channels = [:]
        for (id, path) in paths { channels[path.receiver, default: []].append(id) }
        for receiver in Array(channels.keys) { channels[receiver]?.sort() }
        lanes.replace(paths)
    }

    /// Puts other channels in force. Pages for a channel that is not among them are given up, unless one is being sent
    /// right now; so are the ends that it owes.
    public mutating func replace(_ paths: [String: Path], now: Timestamp) -> [StateChange] {
        set(paths)
        planAgain()
        let orphans = entries.values.filter { paths[$0.channelID] == nil && $0.state != .sending }
        for entry in orphans.sorted(by: { $0.sequence < $1.sequence }) {
            giveUp(entry, .unconfigured, "\(entry.channelID) is not configured any more", now: now)
        }
        for standing in standings.values.sorted(by: { $0.key < $1.key }) where paths[standing.channelID] == nil {
            if lanes.pages(of: standing.groupID, through: standing.channelID).isEmpty { bury(standing, now: now) }
        }
        lanes.keep(Set(paths.keys))
        return drain()
    }

    /// An end that a channel was owed and that nobody can tell it any more.
    private mutating func bury(_ standing: Standing, now: Timestamp) {
        forget(standing.key)
        guard standing.owesEnd else { return }
        var hash = FNV1a()
        hash.combine(standing.groupID)
        let end = Notification(
            id: "\(hexadecimal(hash.value))-\(now.milliseconds)-owed", groupID: standing.groupID,
            groupKey: standing.groupKey, receiver: standing.receiver, reason: .allResolved,
            groupLabels: standing.groupLabels, items: [], decidedAt: now)
        let entry = OutboxEntry(
            end, (end.title, end.severity), channelID: standing.channelID, sequence: nextSequence, now: now)
        nextSequence += 1
        let message =
            "it was told that this fires and cannot be told of the end: \(standing.channelID) is not configured any more"
        record(entry, .dead, message, now: now)
        keep(DeadLetter(entry, reason: .unconfigured, message: message, now: now))
        events.append(.refused(entry, .unconfigured, message))
    }

    /// Forgets what channels knew of groups that are long gone. Call it now and then; O(*n*).
    mutating func forgetStandings(except alive: (String) -> Bool, now: Timestamp) -> [StateChange] {
        let old = standings.values.filter {
            now - $0.toldAt > Outbox.standingLimit && !alive($0.groupID)
                && lanes.pages(of: $0.groupID, through: $0.channelID).isEmpty
        }
        for standing in old { forget(standing.key) }
        let left = diversions.values.filter { diversion in
            !alive(diversion.groupID) && !standings.values.contains { $0.groupID == diversion.groupID }
                && !entries.values.contains { $0.notification.groupID == diversion.groupID }
        }
        for diversion in left where !old.isEmpty {
            diversions[diversion.key] = nil
            changes.append(StateChange(table: Diversion.table, key: diversion.key, value: nil))
        }
        return drain()
    }

    /// Whether a channel may go: it has no page on its way and owes no end.
    func isDone(_ channelID: String) -> Bool {
        !entries.values.contains { $0.channelID == channelID }
            && !standings.values.contains { $0.channelID == channelID && $0.owesEnd }
    }
}
