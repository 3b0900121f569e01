internal import Alerting
internal import Basics
internal import Model

/// What receivers know, whichever daemon told them: for each group, receiver and channel which alerts it was told to
/// fire or to be over, and when. Of two peers' words on an alert the newer one counts, so that peers that were parted
/// agree again. Pure; its durable state is the table `notifying.told`.
///
/// - SeeAlso: Alertmanager, `nflog`, which keeps one word for each group and channel in place of one for each alert.
struct PeerLog: Sendable {
    static let table = "notifying.told"
    /// The most alerts of one entry, and the most entries: what is more is told twice rather than kept.
    static let mostMarks = 10_000, mostEntries = 50_000, longestName = 4096
    /// How long it is kept that an alert is over, or fires.
    static let keptEnds: Milliseconds = 24 * 3_600_000, keptFirings: Milliseconds = 7 * 24 * 3_600_000

    /// What a receiver knows of an alert.
    enum Knowledge: Int, Sendable {
        /// Fires.
        case firing = 1
        /// Fired, and was left out of a later page.
        case leftOut = 0
        /// Is over.
        case resolved = 2
    }
    struct Mark: Sendable, Hashable {
        var knowledge: Knowledge
        var at: Timestamp
        /// Whether it was we who told, by our journal.
        var isOurs = false

        /// Whether it counts more than another.
        func isNewer(than other: Mark) -> Bool {
            (at, knowledge.rawValue) > (other.at, other.knowledge.rawValue)
        }
    }
    /// What a channel was told of a group.
    struct Entry: Sendable, Hashable {
        var groupKey: String, receiver: String
        /// The channel among those of its receiver, `webhook[0]`.
        var integration: String
        /// When it was last told something, and by whom.
        var told: Timestamp, teller: String
        /// By the alerts' fingerprints.
        var marks: [UInt64: Mark] = [:]
        /// Whether it was we, in this life of our journal.
        var isOurs = false
        /// What the channel wanted to be remembered, and when it was.
        var thread: [String: String] = [:], threadAt = Timestamp.distantPast

        var key: String { PeerLog.key(groupKey, receiver, integration) }
    }

    /// By key.
    private(set) var entries: [String: Entry] = [:]
    /// Keys that changed since somebody asked.
    private var dirty: Set<String> = []
    private var nextForget = Timestamp.distantPast
    /// Our own name.
    var name: String

    init(name: String) { self.name = name }

    /// In ASCII, so that keys are compared by bytes everywhere.
    static func key(_ groupKey: String, _ receiver: String, _ integration: String) -> String {
        "\(receiver)\n\(integration)\n\(groupKey)".inASCII
    }

    func entry(_ groupKey: String, _ receiver: String, _ integration: String) -> Entry? {
        entries[PeerLog.key(groupKey, receiver, integration)]
    }

    /// Keys that changed since it was last asked.
    mutating func takeDirty() -> Set<String> {
        defer { dirty = [] }
        return dirty
    }

    private mutating func keep(_ entry: Entry) -> StateChange {
        entries[entry.key] = entry
        dirty.insert(entry.key)
        return StateChange(table: PeerLog.table, key: entry.key, value: entry.stored.serialized())
    }

    /// Our own channel was told a page.
    mutating func note(
        _ notification: Notification, _ receiver: String, _ integration: String, thread: [String: String]?,
        now: Timestamp
    ) -> StateChange? {
        let marks = notification.knowledge
        let key = PeerLog.key(notification.groupKey, receiver, integration)
        guard entries[key] != nil || entries.count < PeerLog.mostEntries else { return nil }
        var entry =
            entries[key]
            ?? Entry(
                groupKey: notification.groupKey, receiver: receiver, integration: integration, told: now, teller: name)
        // A page shows all of its group that is not held back: what it leaves out, its reader does not see any more.
        // What we know nothing of is not left out.
        for (fingerprint, mark) in entry.marks
        where notification.leavesOpen && mark.knowledge == .firing && marks[fingerprint] == nil {
            entry.marks[fingerprint] = Mark(knowledge: .leftOut, at: now, isOurs: true)
        }
        for (fingerprint, known) in marks {
            entry.marks[fingerprint] = Mark(
                knowledge: known.isFiring ? .firing : .resolved, at: now, isOurs: true)
        }
        (entry.told, entry.teller, entry.isOurs) = (max(entry.told, now), name, true)
        if let thread { (entry.thread, entry.threadAt) = (thread, now) }
        return keep(PeerLog.bounded(entry))
    }

    /// The ends of alerts that a channel does not want to be told.
    mutating func noteEnds(
        _ notification: Notification, _ receiver: String, _ integration: String, now: Timestamp
    ) -> StateChange? {
        guard var entry = entry(notification.groupKey, receiver, integration) else { return nil }
        for alert in notification.resolved {
            entry.marks[alert.labels.fingerprint] = Mark(knowledge: .resolved, at: now, isOurs: true)
        }
        return keep(PeerLog.bounded(entry))
    }

    private static func bounded(_ entry: Entry) -> Entry {
        guard entry.marks.count > mostMarks else { return entry }
        var bounded = entry
        bounded.marks = Dictionary(
            entry.marks.sorted { $0.value.isNewer(than: $1.value) }.prefix(mostMarks).map { ($0.key, $0.value) },
            uniquingKeysWith: { $1 })
        return bounded
    }

    /// What a peer's entry says that we did not know.
    struct Merged {
        var change: StateChange
        var entry: Entry
        var fresh: Set<UInt64>
    }

    /// Takes a peer's entry; nil when it says nothing new. What lies behind `latest` is not taken: a clock that is
    /// wrong must not make us silent.
    mutating func merge(_ given: Entry, latest: Timestamp) -> Merged? {
        let key = given.key
        guard key.utf8.count <= PeerLog.longestName, entries[key] != nil || entries.count < PeerLog.mostEntries else {
            return nil
        }
        var entry =
            entries[key]
            ?? Entry(
                groupKey: given.groupKey, receiver: given.receiver, integration: given.integration,
                told: .distantPast, teller: given.teller)
        var fresh: Set<UInt64> = []
        for (fingerprint, mark) in given.marks where mark.at <= latest {
            if let own = entry.marks[fingerprint], !mark.isNewer(than: own) { continue }
            entry.marks[fingerprint] = Mark(knowledge: mark.knowledge, at: mark.at)
            fresh.insert(fingerprint)
        }
        var isNew = !fresh.isEmpty
        if given.told > entry.told, given.told <= latest {
            (entry.told, entry.teller, entry.isOurs, isNew) = (given.told, given.teller, false, true)
        }
        if given.threadAt > entry.threadAt, given.threadAt <= latest {
            (entry.thread, entry.threadAt, isNew) = (given.thread, given.threadAt, true)
        }
        guard isNew, entry.told > .distantPast else { return nil }
        entry = PeerLog.bounded(entry)
        return Merged(change: keep(entry), entry: entry, fresh: fresh)
    }

    /// Lets go of what is old, every ten minutes; O(*n*) then.
    mutating func forget(now: Timestamp) -> [StateChange] {
        guard now >= nextForget else { return [] }
        nextForget = now + 600_000
        var changes: [StateChange] = []
        for (key, old) in entries {
            var entry = old
            entry.marks = old.marks.filter {
                now - $0.value.at < ($0.value.knowledge == .resolved ? PeerLog.keptEnds : PeerLog.keptFirings)
            }
            guard entry.marks.count < old.marks.count else { continue }
            entries[key] = entry.marks.isEmpty ? nil : entry
            changes.append(
                StateChange(
                    table: PeerLog.table, key: key, value: entry.marks.isEmpty ? nil : entry.stored.serialized()))
        }
        return changes
    }

    /// Takes up what a store holds; answers how many entries could not be read.
    mutating func restore(from store: any StateStore) -> Int {
        var unreadable = 0
        for (key, bytes) in store.entries(of: PeerLog.table) {
            guard let entry = (try? JSON(parsing: bytes)).flatMap(Entry.init(json:)), entry.key == key else {
                unreadable += 1  // Told by the count.
                continue
            }
            entries[key] = entry
            entries[key]?.isOurs = (try? JSON(parsing: bytes))?["ours"]?.bool ?? false
        }
        return unreadable
    }
}

extension Notification {
    /// By fingerprint: whether each of its alerts fires, and when it began; of one that it tells twice the firing.
    var knowledge: [UInt64: (isFiring: Bool, isBoth: Bool, startsAt: Timestamp)] {
        var found: [UInt64: (isFiring: Bool, isBoth: Bool, startsAt: Timestamp)] = [:]
        for item in items {
            let fingerprint = item.alert.labels.fingerprint
            guard let other = found[fingerprint] else {
                found[fingerprint] = (!item.isResolved, false, item.alert.startsAt)
                continue
            }
            found[fingerprint] = (
                other.isFiring || !item.isResolved, other.isFiring != !item.isResolved,
                max(other.startsAt, item.alert.startsAt)
            )
        }
        return found
    }
}

// MARK: As the journal and peers have it

extension PeerLog.Entry {
    var json: JSON { .object(members(isStored: false)) }

    /// The same with what is nobody else's business.
    var stored: JSON { .object(members(isStored: true)) }

    private func members(isStored: Bool) -> [JSON.Member] {
        let marks = self.marks.sorted { $0.key < $1.key }.map { fingerprint, mark -> JSON in
            let parts: [JSON] = [
                .string(hexadecimal(fingerprint)), .number(Double(mark.knowledge.rawValue)), JSON(mark.at),
            ]
            return .array(isStored && mark.isOurs ? parts + [true] : parts)
        }
        var members: [JSON.Member] = [
            JSON.Member("group", .string(groupKey)), JSON.Member("receiver", .string(receiver)),
            JSON.Member("integration", .string(integration)), JSON.Member("told", JSON(told)),
            JSON.Member("by", .string(teller)), JSON.Member("alerts", .array(marks)),
        ]
        if !thread.isEmpty {
            members += [JSON.Member("thread", JSON(thread)), JSON.Member("threadAt", JSON(threadAt))]
        }
        if isStored, isOurs { members.append(JSON.Member("ours", true)) }
        return members
    }

    /// nil when it is none, or larger than one may be.
    init?(json: JSON) {
        guard let group = json["group"]?.string, let receiver = json["receiver"]?.string,
            let integration = json["integration"]?.string, let told = json["told"]?.timestamp,
            let teller = json["by"]?.string, let alerts = json["alerts"]?.array, alerts.count <= PeerLog.mostMarks
        else { return nil }
        (groupKey, self.receiver, self.integration) = (group, receiver, integration)
        (self.told, self.teller) = (told, truncated(teller, to: PeerSettings.longestName))
        for alert in alerts {
            guard let fingerprint = alert[0]?.string.flatMap({ UInt64($0, radix: 16) }),
                let knowledge = alert[1]?.integer.flatMap(PeerLog.Knowledge.init(rawValue:)),
                let at = alert[2]?.timestamp
            else { return nil }
            marks[fingerprint] = PeerLog.Mark(knowledge: knowledge, at: at, isOurs: alert[3]?.bool ?? false)
        }
        let thread = json["thread"]?.strings ?? [:]
        if thread.count <= 16, thread.values.allSatisfy({ $0.utf8.count <= 4096 }) {
            (self.thread, threadAt) = (thread, json["threadAt"]?.timestamp ?? .distantPast)
        }
    }
}
