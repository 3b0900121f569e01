public import Alerting
public import Basics
public import Model

/// Pages on their way. Pure: what is due and what comes of a try are decided here; time comes in, changes go out.
///
/// A page is sent again until its receiver takes it, refuses it or a day has passed. Pages of one group go through
/// one channel in order; among groups the worst severity goes first. Each channel has its own lane with a bound on
/// tries at the same time, so that one slow or dead receiver holds up nobody else.
public struct Outbox: Sendable {
    /// How it tries.
    public struct Rules: Sendable, Hashable {
        /// The wait after the first failed try. Default: 500 ms.
        public var firstDelay: Milliseconds = 500
        /// How much longer each further wait is. Default: 1.5 times.
        public var growth = 1.5
        /// The longest wait that we choose. Default: 60 s.
        public var longestDelay: Milliseconds = 60_000
        /// The longest wait that a receiver may ask for. Default: 1 h.
        public var longestRetryAfter: Milliseconds = 3_600_000
        /// After what time a page is given up. Default: 24 h.
        public var expiry: Milliseconds = 86_400_000
        /// Tries at the same time through one channel. Default: 4.
        public var inFlight = 4
        /// How many dead letters are kept. Default: 1000.
        public var deadLetters = 1000

        /// The defaults.
        public init() {}
    }

    /// What came of a try.
    public enum Outcome: Sendable, Hashable {
        /// The receiver has it.
        case accepted
        /// It will never take it.
        case refused(FailureReason, String)
        /// Try again; `mayHaveArrived` when the outcome is unknown.
        case failed(FailureReason, String, after: Milliseconds?, mayHaveArrived: Bool)
    }

    /// One channel's pages.
    private struct Lane {
        /// By group, in order; the first of each may be sent.
        var groups: [String: [String]] = [:]
        /// First pages that are due, by rank.
        var ready: [FIFO] = Array(repeating: FIFO(), count: Severity.allCases.count)
        var inFlight = 0
    }

    /// How it tries.
    public let rules: Rules
    /// By id.
    public private(set) var entries: [String: OutboxEntry] = [:]
    /// The newest last.
    public private(set) var deadLetters: [DeadLetter] = []
    private var lanes: [String: Lane] = [:]
    private var waiting: [String: Timestamp] = [:]
    private var earliestWaiting = Timestamp.distantFuture
    private var nextSequence = 0
    private var inOrder = FIFO()

    /// Empty.
    public init(rules: Rules = Rules()) { self.rules = rules }

    /// When the next page that waits is due; nil when none waits.
    public var nextDue: Timestamp? { waiting.isEmpty ? nil : earliestWaiting }

    /// When the oldest page was decided; nil when there is none. O(1) on average.
    mutating func oldest() -> Timestamp? {
        while let first = inOrder.first {
            if let entry = entries[first] { return entry.createdAt }
            _ = inOrder.removeFirst()
        }
        return nil
    }

    /// Queues a notification for each of the channels; of a mere repeat, only where nothing of its group is on its
    /// way already, since that will be told soon.
    public mutating func add(
        _ notification: Notification, through channels: [String], now: Timestamp
    ) -> [StateChange] {
        var changes: [StateChange] = []
        for channelID in channels {
            if notification.reason == .repeated, lanes[channelID]?.groups[notification.groupID] != nil { continue }
            let entry = OutboxEntry(notification, channelID: channelID, sequence: nextSequence, now: now)
            nextSequence += 1
            place(entry)
            changes.append(entry.change())
        }
        return changes
    }

    private mutating func place(_ entry: OutboxEntry) {
        entries[entry.id] = entry
        inOrder.append(entry.id)
        let group = entry.notification.groupID
        lanes[entry.channelID, default: Lane()].groups[group, default: []].append(entry.id)
        if lanes[entry.channelID]?.groups[group]?.count == 1 { line(up: entry) }
    }

    /// Lets the first of a group wait for its turn or its time.
    private mutating func line(up entry: OutboxEntry) {
        if case .waiting(let until) = entry.state {
            waiting[entry.id] = until
            earliestWaiting = min(earliestWaiting, until)
        } else {
            lanes[entry.channelID]?.ready[entry.rank].append(entry.id)
        }
    }

    /// The pages to send now. They count as begun: commit the changes before sending.
    public mutating func takeDue(now: Timestamp) -> (entries: [OutboxEntry], changes: [StateChange]) {
        if earliestWaiting <= now {
            let due = waiting.filter { $0.value <= now }.keys.sorted { order($0) < order($1) }
            for id in due {
                waiting[id] = nil
                if let entry = entries[id] { lanes[entry.channelID]?.ready[entry.rank].append(id) }
            }
            earliestWaiting = waiting.values.min() ?? .distantFuture
        }
        var taken: [OutboxEntry] = []
        for channelID in lanes.keys.sorted() {
            while let id = nextReady(in: channelID), var entry = entries[id] {
                entry.state = .sending
                entry.attempts += 1
                entries[id] = entry
                lanes[channelID]?.inFlight += 1
                taken.append(entry)
            }
        }
        return (taken, taken.map { $0.change() })
    }

    private func order(_ id: String) -> Int { entries[id]?.sequence ?? 0 }

    private mutating func nextReady(in channelID: String) -> String? {
        // In place: a copy of the lane held here would make each removal copy the whole queue.
        guard let inFlight = lanes[channelID]?.inFlight, inFlight < rules.inFlight,
            let rank = lanes[channelID]?.ready.firstIndex(where: { !$0.isEmpty })
        else { return nil }
        return lanes[channelID]?.ready[rank].removeFirst()
    }

    /// Takes the outcome of a try; `jitter` is a random number in `[0, 1)`.
    ///
    /// - Returns: The entry as it was left, and the changes to commit; nil when there is no such try.
    public mutating func finish(
        _ id: String, _ outcome: Outcome, _ receipt: Receipt = Receipt(), jitter: Double, now: Timestamp
    ) -> (entry: OutboxEntry, changes: [StateChange])? {
        guard var entry = entries[id], entry.state == .sending else { return nil }
        lanes[entry.channelID]?.inFlight -= 1
        switch outcome {
        case .accepted: return (entry, remove(entry))
        case .refused(let reason, let message):
            entry.lastError = message
            return (entry, remove(entry) + bury(entry, reason, message, now: now))
        case .failed(_, let message, let after, let mayHaveArrived):
            entry.lastError = message
            if mayHaveArrived { entry.unknownOutcomes += 1 }
            guard now - entry.createdAt < rules.expiry else {
                let text = "given up after \(DurationText.format(rules.expiry)): \(message)"
                return (entry, remove(entry) + bury(entry, .expired, text, now: now))
            }
            entry.state = .waiting(until: now + delay(after: entry.attempts, asked: after, jitter: jitter))
            entries[id] = entry
            line(up: entry)
            return (entry, [entry.change()])
        }
    }

    /// Exponential back-off with half as much jitter to each side; a receiver's own wish counts when it is longer.
    func delay(after attempts: Int, asked: Milliseconds?, jitter: Double) -> Milliseconds {
        var delay = Double(rules.firstDelay)
        for _ in 1..<max(attempts, 1) where delay < Double(rules.longestDelay) { delay *= rules.growth }
        let own = Milliseconds(min(delay, Double(rules.longestDelay)) * (0.5 + jitter))
        return max(own, min(asked ?? 0, rules.longestRetryAfter))
    }

    /// Lets an entry go and its group's next one forward.
    private mutating func remove(_ entry: OutboxEntry) -> [StateChange] {
        let group = entry.notification.groupID
        entries[entry.id] = nil
        waiting[entry.id] = nil
        lanes[entry.channelID]?.groups[group]?.removeAll { $0 == entry.id }
        if let next = lanes[entry.channelID]?.groups[group]?.first, let following = entries[next] {
            line(up: following)
        } else {
            lanes[entry.channelID]?.groups[group] = nil
        }
        return [StateChange(table: OutboxEntry.table, key: entry.id, value: nil)]
    }

    private mutating func bury(
        _ entry: OutboxEntry, _ reason: FailureReason, _ message: String, now: Timestamp
    ) -> [StateChange] {
        let letter = DeadLetter(entry, reason: reason, message: message, now: now)
        deadLetters.append(letter)
        var changes = [letter.change()]
        while deadLetters.count > rules.deadLetters {
            let oldest = deadLetters.removeFirst()
            changes.append(StateChange(table: DeadLetter.table, key: oldest.entry.id, value: nil))
        }
        return changes
    }

    /// Moves all timers, after the wall clock was set forward or back.
    public mutating func shiftTimers(by jump: Milliseconds) {
        for (id, until) in waiting {
            waiting[id] = until + jump
            entries[id]?.state = .waiting(until: until + jump)
        }
        if !waiting.isEmpty { earliestWaiting = earliestWaiting + jump }
    }

    /// Takes up what a store holds. A try without an outcome may have arrived: it is tried again, marked.
    ///
    /// - Returns: How many outcomes are unknown, how many entries could not be read and were left alone, and changes.
    public mutating func restore(
        from store: any StateStore, channels: Set<String>, now: Timestamp
    ) -> (unknown: Int, unreadable: Int, changes: [StateChange]) {
        var (unknown, unreadable) = (0, 0)
        var found: [OutboxEntry] = []
        for (_, bytes) in store.entries(of: OutboxEntry.table) {
            if let entry = OutboxEntry(bytes) { found.append(entry) } else { unreadable += 1 }
        }
        for var entry in found.sorted(by: { $0.sequence < $1.sequence }) {
            nextSequence = max(nextSequence, entry.sequence + 1)
            if entry.state == .sending {
                unknown += 1
                entry.unknownOutcomes += 1
                entry.state = .queued
            }
            place(entry)
        }
        for (_, bytes) in store.entries(of: DeadLetter.table) {
            if let letter = DeadLetter(bytes) { deadLetters.append(letter) } else { unreadable += 1 }
        }
        deadLetters.sort { ($0.diedAt, $0.entry.sequence) < ($1.diedAt, $1.entry.sequence) }
        return (unknown, unreadable, keep(channels, now: now))
    }

    /// Gives up pages for channels that are not configured any more, unless one is being sent right now.
    public mutating func keep(_ channels: Set<String>, now: Timestamp) -> [StateChange] {
        var changes: [StateChange] = []
        let orphans = entries.values.filter { !channels.contains($0.channelID) && $0.state != .sending }
        for entry in orphans.sorted(by: { $0.sequence < $1.sequence }) {
            for rank in lanes[entry.channelID]?.ready.indices ?? 0..<0 {
                lanes[entry.channelID]?.ready[rank].remove(entry.id)
            }
            changes += remove(entry)
            changes += bury(entry, .unconfigured, "\(entry.channelID) is not configured any more", now: now)
        }
        return changes
    }
}

/// First in, first out; both in O(1) on average.
private struct FIFO: Sendable {
    private var items: [String] = []
    private var head = 0

    var isEmpty: Bool { head == items.count }
    var first: String? { isEmpty ? nil : items[head] }

    mutating func append(_ item: String) { items.append(item) }

    mutating func removeFirst() -> String {
        let item = items[head]
        head += 1
        if head > 64, head * 2 > items.count {
            items.removeFirst(head)
            head = 0
        }
        return item
    }

    mutating func remove(_ item: String) {
        items.removeFirst(head)
        head = 0
        items.removeAll { $0 == item }
    }
}
