internal import Alerting
public import Basics
internal import Model

/// One line of the delivery ledger: something that happened to a page on its way through one channel.
public struct Delivery: Sendable, Hashable {
    /// What happened.
    public enum Outcome: String, Sendable, Hashable, CaseIterable {
        /// A try: the receiver has it.
        case accepted
        /// A try: the receiver will never take it.
        case refused
        /// A try that did not arrive.
        case failed
        /// A try that may have arrived; sent again, marked.
        case unknown
        /// The page was queued.
        case decided
        /// Its receiver's fallback is told in its place.
        case handedOver = "handed over"
        /// Nobody needs it any more.
        case cancelled
        /// Given up: a dead letter.
        case dead
        /// A dead letter that was put on its way again.
        case replayed
        /// A dead letter that a person threw away.
        case discarded

        /// Whether it tells of a try.
        public var isTry: Bool { [.accepted, .refused, .failed, .unknown].contains(self) }
    }
    /// Grows by one with each line, over restarts.
    public internal(set) var sequence = 0
    /// When; of a try, when it ended.
    public let time: Timestamp
    /// The receiver whose channel it is, and the channel's id and kind.
    public let receiver: String, channelID: String, kind: String
    /// The notification's id, its group's key and its first line.
    public let notificationID: String, groupKey: String, title: String
    /// Whether it told of alerts that fire.
    public let isFiring: Bool
    /// How many tries were begun, this one included.
    public let attempt: Int
    /// How long a try took.
    public internal(set) var latency: Milliseconds = 0
    /// What happened, and why: the answer or the failure; holds no secret.
    public let outcome: Outcome, message: String
    /// When it is tried again, if it is.
    public internal(set) var nextTry: Timestamp?
    /// What the channel wants a person to know.
    public internal(set) var note = ""
    /// The receiver for which this page went out.
    public let standsInFor: String?

    /// The page's id in the outbox and among the dead letters.
    public var pageID: String { "\(notificationID)/\(channelID)" }

    init(_ entry: OutboxEntry, _ outcome: Outcome, _ message: String = "", receiver: String, now: Timestamp) {
        (time, self.receiver, channelID, self.outcome) = (now, receiver, entry.channelID, outcome)
        kind = Delivery.kind(entry.channelID)
        (notificationID, groupKey) = (
            entry.notification.id, truncated(entry.notification.groupKey, to: Delivery.longestKey)
        )
        (title, self.message) = (truncated(entry.title, to: 200), truncated(message, to: 400))
        (isFiring, attempt, standsInFor) = (entry.notification.isFiring, entry.attempts, entry.standsInFor)
    }

    static let longestKey = 300

    /// The kind in a channel's id.
    static func kind(_ channelID: String) -> String {
        channelID.split(separator: "/").dropLast().last.map(String.init) ?? "none"
    }
}

/// The last things that happened to pages: a ring in memory, and the same in the table `notifying.ledger`, one entry a
/// line, by its number.
struct Ledger: Sendable {
    static let table = "notifying.ledger"
    private let limit: Int
    private var lines = FIFO<Delivery>()
    private var nextSequence = 0
    /// Lines from this number on are not in the table yet; those before `firstStored` are not there any more.
    private var firstUnwritten = 0, firstStored = 0

    init(limit: Int) { self.limit = max(1, limit) }

    /// The oldest first.
    var all: ArraySlice<Delivery> { lines.all }

    mutating func append(_ line: Delivery) {
        var line = line
        line.sequence = nextSequence
        nextSequence += 1
        lines.append(line)
        if lines.count > limit { _ = lines.removeFirst() }
    }

    /// What is to be written. Lines that left the ring before they were written never are.
    mutating func drain() -> [StateChange] {
        guard firstUnwritten < nextSequence, let first = lines.first else { return [] }
        var changes: [StateChange] = []
        for sequence in firstStored..<max(firstStored, min(first.sequence, firstUnwritten)) {
            changes.append(StateChange(table: Ledger.table, key: Ledger.key(sequence), value: nil))
        }
        for line in lines.all.suffix(nextSequence - max(firstUnwritten, first.sequence)) {
            changes.append(line.change())
        }
        (firstUnwritten, firstStored) = (nextSequence, first.sequence)
        return changes
    }

    static func key(_ sequence: Int) -> String {
        let digits = "\(sequence)"
        return String(repeating: "0", count: max(0, 12 - digits.count)) + digits
    }

    /// Takes up what a store holds; how many lines could not be read.
    mutating func restore(from store: any StateStore) -> Int {
        let stored = store.entries(of: Ledger.table).sorted { $0.key < $1.key }
        firstStored = stored.first.flatMap { Int($0.key) } ?? 0
        var unreadable = 0
        for (key, bytes) in stored {
            guard let sequence = Int(key), let line = Delivery(bytes) else {
                unreadable += 1
                continue
            }
            nextSequence = sequence
            append(line)
        }
        firstUnwritten = nextSequence
        return unreadable
    }
}

extension Delivery {
    func change() -> StateChange {
        var members: [JSON.Member] = [
            JSON.Member("time", JSON(time)), JSON.Member("receiver", .string(receiver)),
            JSON.Member("channel", .string(channelID)), JSON.Member("page", .string(notificationID)),
            JSON.Member("key", .string(groupKey)), JSON.Member("title", .string(title)),
            JSON.Member("outcome", .string(outcome.rawValue)), JSON.Member("attempt", .number(Double(attempt))),
        ]
        if isFiring { members.append(JSON.Member("firing", true)) }
        if latency > 0 { members.append(JSON.Member("latency", .number(Double(latency)))) }
        if !message.isEmpty { members.append(JSON.Member("message", .string(message))) }
        if let nextTry { members.append(JSON.Member("next", JSON(nextTry))) }
        if !note.isEmpty { members.append(JSON.Member("note", .string(note))) }
        if let standsInFor { members.append(JSON.Member("standsInFor", .string(standsInFor))) }
        return StateChange(table: Ledger.table, key: Ledger.key(sequence), value: JSON.object(members).serialized())
    }

    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let time = json["time"]?.timestamp, let receiver = json["receiver"]?.string,
            let channelID = json["channel"]?.string, let page = json["page"]?.string,
            let groupKey = json["key"]?.string, let title = json["title"]?.string,
            let outcome = json["outcome"]?.string.flatMap(Outcome.init(rawValue:)),
            let attempt = json["attempt"]?.integer
        else { return nil }
        (self.time, self.receiver, self.channelID, kind) = (time, receiver, channelID, Delivery.kind(channelID))
        (notificationID, self.groupKey, self.title, self.outcome) = (page, groupKey, title, outcome)
        (self.attempt, isFiring, message) = (attempt, json["firing"]?.bool ?? false, json["message"]?.string ?? "")
        (nextTry, note) = (json["next"]?.timestamp, json["note"]?.string ?? "")
        latency = Milliseconds(json["latency"]?.integer ?? 0)
        standsInFor = json["standsInFor"]?.string
    }
}
