public import Basics
public import Model

/// Alerts that are told together: one route, equal group labels. A pure state machine over Alertmanager's timing.
///
/// An *episode* is one firing of an alert, from its start to its end. Told means: handed to the outbox, which delivers
/// at least once. The promise is stronger than Alertmanager's: every episode that came here is told as firing once
/// and, to receivers that want it, as over once; also those that began and ended between two flushes.
public struct AlertGroup: Sendable, Hashable {
    /// An alert of the group.
    public struct Member: Sendable, Hashable {
        /// The newest episode.
        public internal(set) var alert: Alert
        /// When it was last told to us.
        public internal(set) var updatedAt: Timestamp
        /// Whether the receiver was told that the newest episode fires.
        public internal(set) var isTold = false
        /// Whether the newest episode came here as over: it stays so, should the clock be set back.
        var isOver = false
        /// Whether a look held the newest episode back before it was told: its end alone is then no news.
        public internal(set) var isHeld = false
        /// Whether it was told, and was left out of a later message while it fires: its return is news.
        public internal(set) var isHidden = false
        /// Whether the group's route takes it no more: it is told elsewhere, and here only its end.
        var isStray = false
        /// Earlier episodes whose end the receiver was not told yet, oldest first.
        var ended: [Ended] = []
        /// How many episodes between two looks are kept; of more, the earliest that nobody was told of are let go.
        static let longestPast = 20
        /// Set while it begins and ends too often.
        public internal(set) var flap: Flap?
        /// Whether memory knows newer texts than the journal; the texts alone are not worth a write.
        var isDirty = false
        /// Grows with every entry that the group journals for any member; 0: it has no numbered entry.
        var number = 0

        init(alert: Alert, updatedAt: Timestamp) { (self.alert, self.updatedAt) = (alert, updatedAt) }

        /// Whether the newest episode is over at `now`.
        public func isResolved(at now: Timestamp) -> Bool { isOver || alert.isResolved(at: now) }

        /// The receiver was told of it as it is.
        mutating func tell() {
            (isTold, isHeld, isHidden) = (true, false, false)
            flap?.isTold = true
        }
    }
    struct Ended: Sendable, Hashable {
        var alert: Alert
        var wasTold: Bool
        var wasHeld: Bool
    }

    /// Unique among groups: the receiver, the route's id and the group labels.
    public let id: String
    /// Alertmanager's group key.
    public let key: String
    /// Whose channels are told.
    public let receiver: String
    /// What the alerts have in common by the route.
    public let labels: Labels
    /// The timing and the intervals' names, taken from the route; a retired group has none of its own.
    public internal(set) var groupInterval: Milliseconds, repeatInterval: Milliseconds
    /// Names of time intervals: within the first it tells nothing, outside the second neither.
    public internal(set) var muteIntervals: [String] = [], activeIntervals: [String] = []
    /// The route's own labels, templates as they stand.
    public internal(set) var routeLabels: [String: String] = [:]
    /// When it began.
    public let createdAt: Timestamp
    /// When it is looked at next.
    public internal(set) var nextFlush: Timestamp
    /// When the receiver was last told something.
    public internal(set) var lastTold: Timestamp?
    /// Whether it was looked at yet.
    var hasFlushed = false
    /// Whether its route is gone: it takes no new alerts and ends when all that was told is told to be over.
    public internal(set) var isRetired = false
    /// How many notifications it made.
    var sequence = 0
    /// All members whose entries have a number up to this were told since those were written: one entry of the group
    /// says so in place of a thousand of its members.
    var toldThrough = 0
    /// The number of the last entry of a member.
    var lastNumber = 0
    /// Stands for the id in the members' keys.
    let idHash: UInt64
    /// By the alerts' labels.
    public internal(set) var members: [Labels: Member] = [:]

    init(id: String, route: Route, labels: Labels, now: Timestamp) {
        (self.id, key, receiver) = (id, route.groupKey(labels), route.receiver)
        idHash = AlertGroup.hash(id)
        (self.labels, createdAt) = (labels, now)
        (groupInterval, repeatInterval, nextFlush) = (route.groupInterval, route.repeatInterval, now + route.groupWait)
        use(route)
    }

    /// Puts a route's options in force.
    mutating func use(_ route: Route) {
        (groupInterval, repeatInterval, isRetired) = (route.groupInterval, route.repeatInterval, false)
        (muteIntervals, activeIntervals, routeLabels) = (route.muteIntervals, route.activeIntervals, route.labels)
    }

    /// Goes on without a route.
    mutating func retire() { (isRetired, muteIntervals, activeIntervals) = (true, [], []) }

    init(
        id: String, key: String, receiver: String, labels: Labels, createdAt: Timestamp, nextFlush: Timestamp
    ) {
        (self.id, self.key, self.receiver, self.labels, self.createdAt) = (id, key, receiver, labels, createdAt)
        idHash = AlertGroup.hash(id)
        (self.nextFlush, groupInterval, repeatInterval) = (nextFlush, 300_000, 14_400_000)
    }

    static func hash(_ id: String) -> UInt64 {
        var hash = FNV1a()
        hash.combine(id)
        return hash.value
    }
    static func place(_ route: Route) -> String { "\(route.receiver)|\(route.id):".inASCII }
    /// In ASCII, so that whatever compares ids compares their bytes.
    static func id(_ route: Route, _ labels: Labels) -> String { place(route) + labels.alertmanagerText.inASCII }
    /// The id without the labels. (Ids of older journals are as they were.)
    var place: Substring { id.inASCII.dropLast(labels.alertmanagerText.inASCII.count) }

    /// Takes an alert and journals what must be, one look-up in the table of groups for all of it.
    mutating func take(
        _ alert: Alert, groupWait: Milliseconds, flapping: Flapping, history: [Timestamp], opening: Timestamp,
        now: Timestamp, earliestFlush: inout Timestamp, _ batch: inout Batch
    ) {
        let news = take(alert, groupWait: groupWait, flapping: flapping, history: history, now: now)
        hold(until: opening)
        earliestFlush = min(earliestFlush, nextFlush)
        guard news != .none else { return }
        if news != .changed { batch.turns.append(AlertTurn(alert: alert, isFiring: news == .began)) }
        let hasPast = members[alert.labels]?.ended.isEmpty == false
        batch.add(memberChange(alert.labels), replacing: hasPast)
    }

    /// The changes that a list of alerts makes.
    struct Batch {
        var changes: [StateChange] = []
        var turns: [AlertTurn] = []
        private var places: [String: Int] = [:]

        /// Adds a change, in place of an earlier one of its key when `replacing`: of a list that tells many episodes of
        /// one alert, only the last state counts.
        mutating func add(_ change: StateChange, replacing: Bool = false) {
            guard replacing else { return changes.append(change) }
            if let place = places[change.key] {
                changes[place] = change
            } else {
                places[change.key] = changes.count
                changes.append(change)
            }
        }
    }

    /// What an alert as it now is says that was not known. All but the first must be journalled.
    enum News { case none, changed, began, ended }

    /// Takes an alert as it now is. `history` tells when earlier episodes began.
    mutating func take(
        _ alert: Alert, groupWait: Milliseconds, flapping: Flapping, history: [Timestamp], now: Timestamp
    ) -> News {
        if !hasFlushed, !alert.isResolved(at: now), alert.startsAt + groupWait < now { nextFlush = min(nextFlush, now) }
        guard var member = members[alert.labels] else {
            // Over and unknown: its end was told already, since a firing always comes first.
            guard !alert.isResolved(at: now), !isRetired else { return .none }
            var member = Member(alert: alert, updatedAt: now)
            member.flap = flapping.begin(history, alert, now: now)
            members[alert.labels] = member
            return .began
        }
        let old = member
        member.updatedAt = now
        guard old.alert != alert else {
            members[alert.labels]?.updatedAt = now
            return .none
        }
        let isNewEpisode = old.isResolved(at: now) && (old.alert.endsAt.map { $0 <= alert.startsAt } ?? false)
        if isNewEpisode {
            guard !isRetired else { return .none }
            member.alert = alert
            if member.flap != nil {
                member.flap?.begin(now: now)
            } else {
                member.ended.append(Ended(alert: old.alert, wasTold: old.isTold, wasHeld: old.isHeld))
                if member.ended.count > Member.longestPast, let first = member.ended.firstIndex(where: { !$0.wasTold })
                {
                    member.ended.remove(at: first)
                }
                (member.isTold, member.isHeld, member.isHidden) = (false, false, false)
                member.flap = flapping.begin(history + member.ended.map(\.alert.startsAt), alert, now: now)
            }
        } else {
            member.alert = AlertGroup.merged(old.alert, alert, now: now)
        }
        member.isOver = member.alert.isResolved(at: now)
        let isSame = member.alert.startsAt == old.alert.startsAt && AlertGroup.isMerelyLonger(old, member, now: now)
        member.isDirty = isSame
        members[alert.labels] = member
        if isNewEpisode { return .began }
        if member.isOver, !old.isResolved(at: now) { return .ended }
        return isSame ? .none : .changed
    }

    /// Whether nothing changed but when it ends unless it is told again. A sender moves that every minute; after a
    /// crash it has that time again (see `AlertGroups.restore`), so it is not worth a write.
    private static func isMerelyLonger(_ old: Member, _ new: Member, now: Timestamp) -> Bool {
        guard old.alert.endsAt != new.alert.endsAt else { return true }
        guard !old.isResolved(at: now), !new.isOver, let end = old.alert.endsAt, let newEnd = new.alert.endsAt else {
            return false
        }
        return newEnd > end
    }

    /// One episode told twice: earliest start, newest texts and end; of two ends in the past the later. An end that
    /// was told is not drawn in by one that is a mere timeout.
    ///
    /// - SeeAlso: Alertmanager, `types.Alert.Merge`.
    private static func merged(_ old: Alert, _ new: Alert, now: Timestamp) -> Alert {
        var merged = new
        merged.startsAt = min(old.startsAt, new.startsAt)
        guard let end = old.endsAt, let newEnd = new.endsAt, end > newEnd else { return merged }
        if end <= now || (newEnd > now && !old.endsByTimeout && new.endsByTimeout) {
            (merged.endsAt, merged.endsByTimeout) = (end, old.endsByTimeout)
        }
        return merged
    }

    /// Puts off a flush that was due before `now`.
    mutating func hold(until now: Timestamp) { nextFlush = max(nextFlush, now) }

    /// After a reload it is looked at afresh at once; its interval counts from there.
    mutating func lookAgain(now: Timestamp) { if hasFlushed { nextFlush = min(nextFlush, now) } }

    /// Moves the timers, after the wall clock was set.
    mutating func shiftTimers(by jump: Milliseconds) {
        nextFlush = nextFlush + jump
        lastTold = lastTold.map { $0 + jump }
    }
}
