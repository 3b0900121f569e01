public import Alerting
public import Basics
public import Model

/// Pages on their way. Pure: what is due and what comes of a try are decided here; time comes in, changes go out.
///
/// A page is sent again until its receiver takes it, refuses it or a day has passed. Pages of one group go through
/// one channel in order; among groups the worst severity goes first. Each channel has its own lane with a bound on
/// tries at the same time, so that one slow or dead receiver holds up nobody else; channels of one destination share
/// its rate and its pauses (`Lanes`). A page that its receiver does not take in time, or not at all, goes to the
/// receiver's fallback (`Outbox+Fallback`). What happens is written down line by line (`Ledger`).
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
        /// How many lines of the ledger are kept. Default: 2000.
        public var ledger = 2000
        /// After what time a page that fails makes its path an alert. Default: 3 min.
        public var late: Milliseconds = 180_000

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

    /// What the outbox knows of a channel.
    public struct Path: Sendable, Hashable {
        /// Whose channel it is.
        public var receiver: String
        /// See `Channel.destination`.
        public var destination: String
        /// See `Channel.rate`.
        public var rate: SendingRate?
        /// See `Channel.sendsResolved`.
        public var sendsResolved = true
        /// Who is told when its receiver cannot be reached.
        public var fallback: Fallback?
        /// What peers call it: its kind and its place among its receiver's channels of that kind, `webhook[0]`.
        public var integration = ""
        /// Whether it is configured no more: it tells only of the ends that it owes.
        public var isLeaving = false

        /// A channel of a receiver.
        public init(receiver: String, destination: String) {
            (self.receiver, self.destination) = (receiver, destination)
        }
    }

    /// Something that tells of a path rather than of a page.
    enum Event: Sendable, Hashable {
        /// A page got through.
        case accepted(channelID: String)
        /// A page was refused for good or given up.
        case refused(OutboxEntry, FailureReason, String)
        /// A page fails for long.
        case late(OutboxEntry)
        /// A peer told a page of a group in our place.
        case toldElsewhere(groupID: String, at: Timestamp)
        /// Its fallback was told instead.
        case handedOver(receiver: String, fallback: String)
    }

    /// How it tries.
    public let rules: Rules
    /// By id.
    public internal(set) var entries: [String: OutboxEntry] = [:]
    /// The newest last.
    public internal(set) var deadLetters: [DeadLetter] = []
    var paths: [String: Path] = [:]
    /// The channels of each receiver, in order.
    var channels: [String: [String]] = [:]
    var lanes = Lanes()
    var ledger: Ledger
    var standings: [String: Standing] = [:]
    var diversions: [String: Diversion] = [:]
    var changes: [StateChange] = []
    var events: [Event] = []
    /// How many entries tell of each notification.
    var uses: [String: Int] = [:]
    var nextSequence = 0
    /// What receivers know by whichever daemon; nil: there are no peers.
    var told: PeerLog?
    var hold = Hold()
    private var waiting = MinHeap<DueItem>()
    private var late = MinHeap<DueItem>()
    private var deadlines = MinHeap<DueItem>()
    private var inOrder = FIFO<String>()

    /// Empty.
    public init(rules: Rules = Rules()) {
        self.rules = rules
        ledger = Ledger(limit: rules.ledger)
    }

    /// When there is something to do next; nil when nothing waits.
    public var nextDue: Timestamp? {
        [waiting.first?.due, late.first?.due, deadlines.first?.due, lanes.nextDue].compactMap(\.self).min()
    }

    /// When the oldest page was decided; nil when there is none. O(1) on average.
    mutating func oldest() -> Timestamp? {
        while let first = inOrder.first {
            if let entry = entries[first] { return entry.createdAt }
            _ = inOrder.removeFirst()
        }
        return nil
    }

    /// The changes that are not committed yet.
    mutating func drain() -> [StateChange] {
        defer { changes = [] }
        return changes + ledger.drain()
    }

    func path(_ channelID: String) -> Path {
        paths[channelID]
            ?? Path(receiver: String(channelID.prefix { $0 != "/" }), destination: channelID)
    }

    /// Queues a notification for each of the channels; of a mere repeat, only where nothing of its group is on its
    /// way already, since that will be told soon. What tells of an end also goes to whoever was told in a channel's
    /// place.
    public mutating func add(
        _ notification: Notification, through channels: [String], now: Timestamp
    ) -> [StateChange] {
        let text = (notification.title, notification.severity)
        for channelID in channels where wants(channelID, notification) {
            let isBusy = !lanes.pages(of: notification.groupID, through: channelID).isEmpty
            if notification.reason == .repeated, isBusy { continue }
            insert(OutboxEntry(notification, text, channelID: channelID, sequence: nextSequence, now: now), now: now)
        }
        if !diversions.isEmpty {
            let page = OutboxEntry(notification, text, channelID: "", sequence: nextSequence, now: now)
            follow(page, from: notification.receiver, now: now)
        }
        return drain()
    }

    /// Whether a channel that is configured no more still owes the group an end; others want everything.
    func wants(_ channelID: String, _ notification: Notification) -> Bool {
        guard path(channelID).isLeaving else { return true }
        let isTold = standings[Standing.key(notification.groupID, channelID)] != nil
        return (isTold || !lanes.pages(of: notification.groupID, through: channelID).isEmpty)
            && notification.items.contains(where: \.isResolved)
    }

    /// Takes an entry in, last of its group.
    mutating func insert(_ fresh: OutboxEntry, as event: Delivery.Outcome = .decided, now: Timestamp) {
        guard entries[fresh.id] == nil else { return }
        let entry = told == nil || event != .decided ? fresh : held(fresh, now: now)
        nextSequence = max(nextSequence, entry.sequence) + 1
        uses[entry.notification.id, default: 0] += 1
        if uses[entry.notification.id] == 1 {
            changes.append(
                StateChange(
                    table: OutboxEntry.pagesTable, key: entry.notification.id,
                    value: entry.notification.serialized))
        }
        changes.append(entry.change())
        record(entry, event, now: now)
        place(entry, now: now)
    }

    mutating func place(_ entry: OutboxEntry, now: Timestamp) {
        entries[entry.id] = entry
        inOrder.append(entry.id)
        late.insert(DueItem(due: entry.queuedAt + rules.late, order: entry.sequence, id: entry.id))
        plan(entry)
        let isFirst = lanes.append(
            entry.id, group: entry.notification.groupID, channelID: entry.channelID, path: path(entry.channelID))
        if isFirst { lineUp(entry, now: now) }
    }

    /// Notes when the fallback is due.
    private mutating func plan(_ entry: OutboxEntry) {
        guard let after = path(entry.channelID).fallback?.after, !entry.isHandedOver else { return }
        deadlines.insert(DueItem(due: entry.queuedAt + after, order: entry.sequence, id: entry.id))
    }

    /// Notes all fallbacks anew, under other settings.
    mutating func planAgain() {
        deadlines.removeAll()
        for entry in entries.values { plan(entry) }
    }

    /// Lets the first of a group wait for its turn or its time.
    mutating func lineUp(_ entry: OutboxEntry, now: Timestamp) {
        if isNeedless(entry) {
            record(entry, .cancelled, "never told here that it fires; whoever stood in is told the end", now: now)
            return remove(entry, now: now)
        }
        if told != nil, isTold(entry) { return drop(told: entry, now: now) }
        if case .waiting(let until) = entry.state {
            waiting.insert(DueItem(due: until, order: entry.sequence, id: entry.id))
        } else {
            lanes.ready(entry.id, rank: entry.rank, sequence: entry.sequence, channelID: entry.channelID)
        }
    }

    /// The pages to send now, the worst severity first. They count as begun: commit the changes before sending.
    public mutating func takeDue(now: Timestamp) -> (entries: [OutboxEntry], changes: [StateChange]) {
        handOverOverdue(now: now)
        while let item = waiting.removeFirst(dueAt: now) {
            guard var entry = entries[item.id], entry.state == .waiting(until: item.due) else { continue }
            entry.state = .queued
            entries[item.id] = entry
            lanes.ready(entry.id, rank: entry.rank, sequence: entry.sequence, channelID: entry.channelID)
        }
        tellLate(now: now)
        var taken: [OutboxEntry] = []
        for id in lanes.take(now: now, inFlight: rules.inFlight) {
            guard var entry = entries[id] else { continue }
            (entry.state, entry.isPaused) = (.sending, false)
            entry.attempts += 1
            entries[id] = entry
            taken.append(entry)
            changes.append(entry.change())
        }
        return (taken, drain())
    }

    private mutating func handOverOverdue(now: Timestamp) {
        while let item = deadlines.removeFirst(dueAt: now) {
            guard let entry = entries[item.id], !entry.isHandedOver, let after = path(entry.channelID).fallback?.after
            else { continue }
            let why = "not taken within \(DurationText.format(after))"
            _ = handOver(entry, entry.lastError.isEmpty ? why : "\(why): \(entry.lastError)", now: now)
        }
    }

    /// Tells of pages that fail for long, and again while they do.
    private mutating func tellLate(now: Timestamp) {
        while let item = late.removeFirst(dueAt: now) {
            guard let entry = entries[item.id] else { continue }
            if !entry.lastError.isEmpty { events.append(.late(entry)) }
            late.insert(DueItem(due: now + 2 * rules.late, order: item.order, id: item.id))
        }
        // What is over wakes nobody.
        while let first = late.first, entries[first.id] == nil { _ = late.removeFirst(dueAt: first.due) }
        while let first = deadlines.first, entries[first.id] == nil { _ = deadlines.removeFirst(dueAt: first.due) }
    }

    /// Takes the outcome of a try; `jitter` is a random number in `[0, 1)`.
    ///
    /// - Returns: The entry as it was left, and the changes to commit; nil when there is no such try.
    public mutating func finish(
        _ id: String, _ outcome: Outcome, _ receipt: Receipt = Receipt(), latency: Milliseconds = 0, jitter: Double,
        now: Timestamp
    ) -> (entry: OutboxEntry, changes: [StateChange])? {
        guard var entry = entries[id], entry.state == .sending else { return nil }
        lanes.end(entry.channelID)
        if let progress = receipt.progress { entry.progress = progress }
        switch outcome {
        case .accepted:
            record(entry, .accepted, latency: latency, note: receipt.note, now: now)
            events.append(.accepted(channelID: entry.channelID))
            entries[id] = entry
            stand(entry, receipt, now: now)
            if told != nil { note(entry, receipt, now: now) }
            remove(entry, now: now)
        case .refused(let reason, let message):
            entry.lastError = message
            entries[id] = entry
            record(entry, .refused, message, latency: latency, note: receipt.note, now: now)
            giveUp(entry, reason, message, now: now)
        case .failed(let reason, let message, let after, let mayHaveArrived):
            entry.lastError = message
            if mayHaveArrived {
                entry.unknownOutcomes += 1
                stand(entry, receipt, now: now)
            }
            if after != nil { lanes.pause(entry.channelID, until: now + min(after ?? 0, rules.longestRetryAfter)) }
            let until = now + delay(after: entry.attempts, asked: after, jitter: jitter)
            let fallback = entry.isHandedOver ? nil : path(entry.channelID).fallback
            let isLast = entry.endsWithTry || now - entry.queuedAt >= rules.expiry
            let isEnough = fallback?.failures.map { entry.attempts >= $0 } ?? false
            entries[id] = entry
            record(
                entry, mayHaveArrived ? .unknown : .failed, message, latency: latency,
                nextTry: isLast || isEnough ? nil : until, note: receipt.note, now: now)
            if entry.endsWithTry {
                remove(entry, now: now)
            } else if isLast {
                giveUp(entry, .expired, "given up after \(DurationText.format(rules.expiry)): \(message)", now: now)
            } else {
                entry.state = .waiting(until: until)
                entry.isPaused = reason == .rateLimited && after != nil
                entries[id] = entry
                // In vain only when the fallback has no channel.
                if isEnough, handOver(entry, "failed \(entry.attempts) times: \(message)", now: now) { break }
                changes.append(entry.change())
                lineUp(entry, now: now)
            }
        }
        return (entry, drain())
    }

    /// Exponential back-off with half as much jitter to each side; a receiver's own wish counts when it is longer.
    func delay(after attempts: Int, asked: Milliseconds?, jitter: Double) -> Milliseconds {
        var delay = Double(rules.firstDelay)
        for _ in 1..<max(attempts, 1) where delay < Double(rules.longestDelay) { delay *= rules.growth }
        let own = Milliseconds(min(delay, Double(rules.longestDelay)) * (0.5 + jitter))
        return max(own, min(asked ?? 0, rules.longestRetryAfter))
    }

    /// Remembers that a channel was told of a group that fires, perhaps.
    mutating func stand(_ entry: OutboxEntry, _ receipt: Receipt = Receipt(), now: Timestamp) {
        guard entry.notification.isFiring else { return }
        let key = Standing.key(entry.notification.groupID, entry.channelID)
        let owesEnd = path(entry.channelID).sendsResolved
        guard owesEnd || receipt.thread != nil else { return }
        var standing = standings[key] ?? Standing(entry, owesEnd: owesEnd, now: now)
        if let thread = receipt.thread { standing.thread = thread }
        if standing != standings[key] {
            standings[key] = standing
            changes.append(standing.change())
        }
    }

    mutating func forget(_ key: String) {
        if standings.removeValue(forKey: key) != nil {
            changes.append(StateChange(table: Standing.table, key: key, value: nil))
        }
    }

    /// Ends a page that will never arrive: the fallback is told, or it becomes a dead letter.
    mutating func giveUp(_ entry: OutboxEntry, _ reason: FailureReason, _ message: String, now: Timestamp) {
        events.append(.refused(entry, reason, message))
        if entry.endsWithTry { return remove(entry, now: now) }
        if !entry.isHandedOver, handOver(entry, message, isOver: true, now: now) { return }
        let left = entries[entry.id] ?? entry
        bury(left, reason, message, now: now)
        remove(left, now: now)
    }

    /// Lets an entry go and its group's next one forward.
    mutating func remove(_ entry: OutboxEntry, now: Timestamp) {
        let group = entry.notification.groupID
        if entry.state == .queued { lanes.unready(entry.id, rank: entry.rank, channelID: entry.channelID) }
        entries[entry.id] = nil
        changes.append(StateChange(table: OutboxEntry.table, key: entry.id, value: nil))
        uses[entry.notification.id, default: 1] -= 1
        if uses[entry.notification.id] == 0 {
            uses[entry.notification.id] = nil
            changes.append(StateChange(table: OutboxEntry.pagesTable, key: entry.notification.id, value: nil))
        }
        if entry.endsGroup { forget(Standing.key(group, entry.channelID)) }
        if let next = lanes.remove(entry.id, group: group, channelID: entry.channelID), let following = entries[next] {
            lineUp(following, now: now)
        }
        endDiversion(of: group, from: path(entry.channelID).receiver)
    }

    private mutating func bury(_ entry: OutboxEntry, _ reason: FailureReason, _ message: String, now: Timestamp) {
        var buried = entry
        buried.state = .queued
        let letter = DeadLetter(buried, reason: reason, message: message, now: now)
        record(entry, .dead, message, now: now)
        keep(letter)
    }

    mutating func keep(_ letter: DeadLetter) {
        deadLetters.append(letter)
        changes.append(letter.change())
        while deadLetters.count > rules.deadLetters {
            let oldest = deadLetters.removeFirst()
            changes.append(StateChange(table: DeadLetter.table, key: oldest.entry.id, value: nil))
        }
    }

    /// Writes a line of the ledger.
    mutating func record(
        _ entry: OutboxEntry, _ outcome: Delivery.Outcome, _ message: String = "", latency: Milliseconds = 0,
        nextTry: Timestamp? = nil, note: String = "", now: Timestamp
    ) {
        var line = Delivery(entry, outcome, message, receiver: path(entry.channelID).receiver, now: now)
        (line.latency, line.nextTry, line.note) = (latency, nextTry, truncated(note, to: 400))
        ledger.append(line)
    }

    /// What happened to paths since it was last asked.
    mutating func takeEvents() -> [Event] {
        defer { events = [] }
        return events
    }

    /// Moves all timers, after the wall clock was set forward or back; returns what the journal must know of it.
    @discardableResult
    public mutating func shiftTimers(by jump: Milliseconds) -> [StateChange] {
        for (id, entry) in entries {
            entries[id]?.queuedAt = entry.queuedAt + jump
            if case .waiting(let until) = entry.state { entries[id]?.state = .waiting(until: until + jump) }
        }
        waiting.shift(by: jump)
        late.shift(by: jump)
        deadlines.shift(by: jump)
        lanes.shiftTimers(by: jump)
        return entries.keys.sorted().compactMap { entries[$0]?.change() }
    }
}
