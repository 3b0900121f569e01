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
    /// When it was decided.
    public let createdAt: Timestamp
    /// Where it stands.
    public internal(set) var state = State.queued
    /// How many tries were begun.
    public internal(set) var attempts = 0
    /// How many of them may have arrived without our knowing.
    public internal(set) var unknownOutcomes = 0
    /// Why the last try failed; holds no secret.
    public internal(set) var lastError = ""

    init(_ notification: Notification, channelID: String, sequence: Int, now: Timestamp) {
        id = "\(notification.id)/\(channelID)"
        (self.notification, self.channelID, self.sequence, createdAt) = (notification, channelID, sequence, now)
    }

    /// The order among groups: the worst severity first.
    var rank: Int { notification.severity.rawValue }

    static let table = "notifying.outbox"

    func change() -> StateChange {
        var members: [JSON.Member] = [
            JSON.Member("sequence", .number(Double(sequence))), JSON.Member("channel", .string(channelID)),
            JSON.Member("createdAt", JSON(createdAt)), JSON.Member("attempts", .number(Double(attempts))),
            JSON.Member("unknown", .number(Double(unknownOutcomes))), JSON.Member("error", .string(lastError)),
        ]
        switch state {
        case .queued: break
        case .sending: members.append(JSON.Member("sending", true))
        case .waiting(let until): members.append(JSON.Member("next", JSON(until)))
        }
        members.append(JSON.Member("notification", notification.json))
        return StateChange(table: OutboxEntry.table, key: id, value: JSON.object(members).serialized())
    }

    /// The entry that was journalled; nil when it cannot be read.
    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let notification = json["notification"].flatMap(Notification.init(json:)),
            let channelID = json["channel"]?.string, let sequence = json["sequence"]?.integer,
            let createdAt = json["createdAt"]?.timestamp, let attempts = json["attempts"]?.integer,
            let unknown = json["unknown"]?.integer
        else { return nil }
        self.init(notification, channelID: channelID, sequence: sequence, now: createdAt)
        (self.attempts, unknownOutcomes, lastError) = (attempts, unknown, json["error"]?.string ?? "")
        if json["sending"]?.bool == true {
            state = .sending
        } else if let next = json["next"]?.timestamp {
            state = .waiting(until: next)
        }
    }
}

/// A page that its receiver will never take, kept to be looked at.
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
            "entry": .string(String(decoding: entry.change().value ?? [], as: UTF8.self)),
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
