public import Alerting
public import Basics
internal import Model

/// One notification on its way through one channel.
public struct OutboxEntry: Sendable, Hashable {
    /// Where it stands.
    public enum State: Sendable, Hashable {
        /// Waits for its turn.
        case queued
        /// A try was journalled and has no outcome yet; after a crash, its outcome is unknown.
        case sending
        /// The last try failed; the next is due then.
        case waiting(until: Timestamp)
    }

    /// The notification's id and the channel's: the key of idempotency.
    public let id: String
    /// Grows with every entry: the order within a group.
    let sequence: Int
    /// The channel's id, `receiver/kind/index`.
    public let channelID: String
    /// What is told.
    public let notification: Notification
    /// Its first line, and how bad it is: reckoned once, since a notification may hold thousands of alerts.
    public let title: String, severity: Severity
    /// When it was decided.
    public let createdAt: Timestamp
    /// When it came into the outbox; after a replay, the moment of that.
    public internal(set) var queuedAt: Timestamp
    /// Where it stands.
    public internal(set) var state = State.queued
    /// How many tries were begun.
    public internal(set) var attempts = 0
    /// How many of them may have arrived without our knowing.
    public internal(set) var unknownOutcomes = 0
    /// Why the last try failed; holds no secret.
    public internal(set) var lastError = ""
    /// The receiver for which this page goes out, since that one could not be reached.
    public internal(set) var standsInFor: String?
    /// Whether the receiver's fallback has it: this one is tried no more, or for its own sake alone.
    public internal(set) var isHandedOver = false
    /// Whether it is sent after newer pages of its group: a replayed dead letter.
    public internal(set) var isOld = false
    /// Whether it stands outside of its group's course: a replay while the group goes on.
    var isAside = false
    /// What the channel wanted to be remembered of it.
    var progress: [String: String] = [:]
    /// Whether the destination asked for the pause that it waits for.
    var isPaused = false
    /// Whether it goes on only until the try under way has ended.
    var endsWithTry = false

    init(
        _ notification: Notification, _ text: (title: String, severity: Severity), channelID: String, sequence: Int,
        now: Timestamp
    ) {
        id = "\(notification.id)/\(channelID)"
        (self.notification, self.channelID, self.sequence) = (notification, channelID, sequence)
        (title, severity, createdAt, queuedAt) = (text.title, text.severity, now, now)
    }

    /// Whether all of the group is over when it is told.
    var endsGroup: Bool { notification.endsGroup && !isAside }

    /// The order among groups: the worst severity first.
    var rank: Int { severity.rawValue }

    static let table = "notifying.outbox"
    /// What the entries tell, once for all channels.
    static let pagesTable = "notifying.pages"

    /// How it stands; what it tells is a change of its own, `notifying.pages`.
    func change() -> StateChange {
        StateChange(table: OutboxEntry.table, key: id, value: JSON.object(members).serialized())
    }

    private var members: [JSON.Member] {
        var members: [JSON.Member] = [
            JSON.Member("page", .string(notification.id)), JSON.Member("sequence", .number(Double(sequence))),
            JSON.Member("channel", .string(channelID)), JSON.Member("createdAt", JSON(createdAt)),
            JSON.Member("attempts", .number(Double(attempts))),
            JSON.Member("unknown", .number(Double(unknownOutcomes))),
        ]
        if queuedAt != createdAt { members.append(JSON.Member("queuedAt", JSON(queuedAt))) }
        if !lastError.isEmpty { members.append(JSON.Member("error", .string(lastError))) }
        if let standsInFor { members.append(JSON.Member("standsInFor", .string(standsInFor))) }
        for (name, value) in [
            ("handedOver", isHandedOver), ("old", isOld), ("pause", isPaused), ("last", endsWithTry),
            ("aside", isAside),
        ] where value {
            members.append(JSON.Member(name, true))
        }
        if !progress.isEmpty { members.append(JSON.Member("progress", JSON(progress))) }
        switch state {
        case .queued: break
        case .sending: members.append(JSON.Member("sending", true))
        case .waiting(let until): members.append(JSON.Member("next", JSON(until)))
        }
        return members
    }

    /// The whole entry in one text, for dead letters.
    var wholeText: String {
        var bytes = JSON.object(members).serialized()
        bytes.removeLast()
        bytes.append(literal: #","notification":"#)
        notification.write(to: &bytes)
        bytes.append(UInt8(ascii: "}"))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The entry that was journalled; nil when it cannot be read or `page` does not know what it tells.
    init?(_ bytes: [UInt8], page: (String) -> Notification? = { _ in nil }) {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let notification = json["notification"].flatMap(Notification.init(json:))
                ?? json["page"]?.string.flatMap(page),
            let channelID = json["channel"]?.string, let sequence = json["sequence"]?.integer,
            let createdAt = json["createdAt"]?.timestamp, let attempts = json["attempts"]?.integer,
            let unknown = json["unknown"]?.integer
        else { return nil }
        self.init(
            notification, (notification.title, notification.severity), channelID: channelID, sequence: sequence,
            now: createdAt)
        (self.attempts, unknownOutcomes, lastError) = (attempts, unknown, json["error"]?.string ?? "")
        (queuedAt, standsInFor) = (json["queuedAt"]?.timestamp ?? createdAt, json["standsInFor"]?.string)
        (isHandedOver, isOld) = (json["handedOver"]?.bool ?? false, json["old"]?.bool ?? false)
        (isPaused, endsWithTry) = (json["pause"]?.bool ?? false, json["last"]?.bool ?? false)
        isAside = json["aside"]?.bool ?? false
        progress = json["progress"]?.strings ?? [:]
        if json["sending"]?.bool == true {
            state = .sending
        } else if let next = json["next"]?.timestamp {
            state = .waiting(until: next)
        }
    }
}

/// A page that its receiver will never take, kept to be looked at, sent again or thrown away.
public struct DeadLetter: Sendable, Hashable {
    /// What was to be told, and how often it was tried.
    public let entry: OutboxEntry
    /// When it was given up.
    public let diedAt: Timestamp
    /// Why.
    public let reason: FailureReason
    /// In words, without secrets.
    public let message: String

    static let table = "notifying.dead"

    func change() -> StateChange {
        let json: JSON = [
            "diedAt": JSON(diedAt), "reason": .string(reason.rawValue), "message": .string(message),
            "entry": .string(entry.wholeText),
        ]
        return StateChange(table: DeadLetter.table, key: entry.id, value: json.serialized())
    }

    init(_ entry: OutboxEntry, reason: FailureReason, message: String, now: Timestamp) {
        (self.entry, self.reason, self.message, diedAt) = (entry, reason, message, now)
    }

    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let text = json["entry"]?.string, let entry = OutboxEntry(Array(text.utf8)),
            let diedAt = json["diedAt"]?.timestamp, let message = json["message"]?.string,
            let reason = json["reason"]?.string.flatMap(FailureReason.init(rawValue:))
        else { return nil }
        self.init(entry, reason: reason, message: message, now: diedAt)
    }
}

/// What one channel knows of one group that is not over: that it was told, and where its thread is.
struct Standing: Sendable, Hashable {
    var groupID: String, channelID: String
    /// For a page of its end, should the channel be gone by then.
    var groupKey: String, receiver: String, groupLabels: Labels
    /// When it was last told something.
    var toldAt: Timestamp
    /// What the channel wanted to be remembered.
    var thread: [String: String] = [:]
    /// Whether the channel wants to be told of the end.
    var owesEnd = true

    static let table = "notifying.threads"
    static func key(_ groupID: String, _ channelID: String) -> String { "\(groupID)\n\(channelID)" }
    var key: String { Standing.key(groupID, channelID) }

    init(_ entry: OutboxEntry, owesEnd: Bool, now: Timestamp) {
        let notification = entry.notification
        self.owesEnd = owesEnd
        (groupID, channelID, groupKey) = (notification.groupID, entry.channelID, notification.groupKey)
        (receiver, groupLabels, toldAt) = (notification.receiver, notification.groupLabels, now)
    }

    func change() -> StateChange {
        var members: [JSON.Member] = [
            JSON.Member("group", .string(groupID)), JSON.Member("channel", .string(channelID)),
            JSON.Member("key", .string(groupKey)), JSON.Member("receiver", .string(receiver)),
            JSON.Member("labels", JSON(groupLabels)), JSON.Member("told", JSON(toldAt)),
        ]
        if !thread.isEmpty { members.append(JSON.Member("thread", JSON(thread))) }
        if !owesEnd { members.append(JSON.Member("owesEnd", false)) }
        return StateChange(table: Standing.table, key: key, value: JSON.object(members).serialized())
    }

    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let groupID = json["group"]?.string, let channelID = json["channel"]?.string,
            let groupKey = json["key"]?.string, let receiver = json["receiver"]?.string,
            let labels = json["labels"].flatMap(Labels.init(json:)), let toldAt = json["told"]?.timestamp
        else { return nil }
        (self.groupID, self.channelID, self.groupKey, self.receiver) = (groupID, channelID, groupKey, receiver)
        (groupLabels, self.toldAt, thread) = (labels, toldAt, json["thread"]?.strings ?? [:])
        owesEnd = json["owesEnd"]?.bool ?? true
    }
}

/// A group of which a receiver's fallback was told in its place: it is told of the ends too.
struct Diversion: Sendable, Hashable {
    var groupID: String, receiver: String
    /// Who was told; more than one only after a change of the settings.
    var fallbacks: [String]
    /// The channels that handed pages over.
    var through: Set<String> = []
    /// The last notifications that the fallback got, so that each goes there once.
    var given: [String] = []
    /// Whether all of the group is over; it ends when the receiver's own channels have no page of the group any more.
    var isOver = false

    static let table = "notifying.diverted"
    static func key(_ groupID: String, _ receiver: String) -> String { "\(groupID)\n\(receiver)" }
    var key: String { Diversion.key(groupID, receiver) }
    private static let remembered = 64

    init(groupID: String, receiver: String, fallback: String) {
        (self.groupID, self.receiver, fallbacks) = (groupID, receiver, [fallback])
    }

    /// Whether the notification is new to the fallback.
    mutating func give(_ id: String, to fallback: String) -> Bool {
        let gift = "\(id)/\(fallback)"
        guard !given.contains(gift) else { return false }
        given.append(gift)
        if given.count > Diversion.remembered { given.removeFirst() }
        return true
    }

    func change() -> StateChange {
        let json: JSON = [
            "group": .string(groupID), "receiver": .string(receiver),
            "fallbacks": .array(fallbacks.map { .string($0) }),
            "through": .array(through.sorted().map { .string($0) }), "given": .array(given.map { .string($0) }),
            "over": .bool(isOver),
        ]
        return StateChange(table: Diversion.table, key: key, value: json.serialized())
    }

    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let groupID = json["group"]?.string, let receiver = json["receiver"]?.string,
            let fallbacks = json["fallbacks"]?.array?.compactMap(\.string)
        else { return nil }
        (self.groupID, self.receiver, self.fallbacks) = (groupID, receiver, fallbacks)
        through = Set((json["through"]?.array ?? []).compactMap(\.string))
        given = (json["given"]?.array ?? []).compactMap(\.string)
        isOver = json["over"]?.bool ?? false
    }
}
