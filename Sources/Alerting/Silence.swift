public import Basics
public import Model

/// Alerts that fulfil all matchers are not told for a while.
public struct Silence: Sendable, Hashable {
    /// Where it stands at a moment.
    public enum State: String, Sendable, Hashable, CaseIterable {
        case active, pending, expired
    }

    /// A UUID.
    public var id: String
    /// All must hold; at least one does not match the empty text.
    public var matchers: [Matcher]
    /// From when to when, the end not included.
    public var startsAt: Timestamp, endsAt: Timestamp
    /// Who made it and why.
    public var createdBy: String, comment: String
    /// Free texts; two of them are read, see `timesKey` and `endsWithAlertsKey`.
    public var annotations: [String: String]
    /// When it was last changed.
    public var updatedAt: Timestamp
    /// When it recurs: only within these does it hold; without any, always.
    public var times: [TimeInterval] = []
    /// Whether it ends when the last alert that it held back is over.
    public var endsWithAlerts = false
    /// Whether an alert that fires has fulfilled it yet.
    var hasHeld = false
    /// Whether people were told that it ends soon.
    var isReminded = false

    /// The annotation that makes it recur: a JSON list of time intervals, in Alertmanager's form.
    public static let timesKey = "vedette.times"
    /// The annotation that makes it end with its alerts: `true`.
    public static let endsWithAlertsKey = "vedette.ends_with_alerts"

    /// A silence by its parts; the annotations that mean something are read. Throws when they cannot be.
    public init(
        id: String = "", matchers: [Matcher], startsAt: Timestamp, endsAt: Timestamp, createdBy: String,
        comment: String, annotations: [String: String] = [:], updatedAt: Timestamp = .distantPast, zones: ZoneFinder
    ) throws(SilenceError) {
        (self.id, self.matchers, self.startsAt, self.endsAt) = (id, matchers, startsAt, endsAt)
        (self.createdBy, self.comment, self.annotations) = (createdBy, comment, annotations)
        self.updatedAt = updatedAt
        endsWithAlerts = annotations[Silence.endsWithAlertsKey] == "true"
        guard let text = annotations[Silence.timesKey] else { return }
        guard let list = (try? JSON(parsing: text))?.array, !list.isEmpty else {
            throw .invalid("the annotation \(Silence.timesKey) is no JSON list of time intervals")
        }
        do {
            for item in list { times.append(try TimeInterval(json: item, zones: zones)) }
        } catch {
            throw .invalid("the annotation \(Silence.timesKey): \(error)")
        }
    }

    /// Where it stands; one that recurs is pending between its times.
    public func state(at now: Timestamp) -> State {
        if now >= endsAt { return .expired }
        if now < startsAt { return .pending }
        return times.isEmpty || times.contains { $0.contains(now) } ? .active : .pending
    }

    /// Whether an alert's labels fulfil all matchers.
    public func matches(_ labels: Labels) -> Bool { matchers.allSatisfy { $0.matches(labels) } }

    /// The next times at which it begins to hold, at most `count`, looked for minute by minute over a year at most.
    public func nextTimes(after now: Timestamp, count: Int) -> [(from: Timestamp, to: Timestamp)] {
        guard !times.isEmpty else { return now < endsAt ? [(max(now, startsAt), endsAt)] : [] }
        var found: [(from: Timestamp, to: Timestamp)] = []
        var moment = max(now, startsAt)
        let last = min(endsAt, moment + 366 * 86_400_000)
        var begin: Timestamp?
        while moment < last, found.count < count {
            let holds = times.contains { $0.contains(moment) }
            if holds, begin == nil { begin = moment }
            if !holds, let from = begin {
                found.append((from, moment))
                begin = nil
            }
            moment = Timestamp(milliseconds: (moment.milliseconds / 60_000 + 1) * 60_000)
        }
        if let begin, found.count < count { found.append((begin, last)) }
        return found
    }
}

/// Why a silence is refused, in Alertmanager's words.
public enum SilenceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// There is none of that id.
    case notFound
    /// It cannot be taken, and why.
    case invalid(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .notFound: "silence not found"
        case .invalid(let reason): reason
        }
    }
}

/// All silences. Pure: changes to commit come out. The table is `alerting.silences`, one entry a silence.
public struct Silences: Sendable {
    /// Where they stand in the journal.
    public static let table = "alerting.silences"
    /// How long one is kept after its end. Default: 120 h, as Alertmanager's `data.retention`.
    static let retention: Milliseconds = 120 * 3_600_000

    /// By id.
    public private(set) var all: [String: Silence] = [:]

    /// None.
    public init() {}

    /// Takes a new silence (its id empty) or a changed one. One that cannot be changed in place is ended, and another
    /// takes its place under `newID`.
    ///
    /// - SeeAlso: Alertmanager, `silence.Silences.Set` and `canUpdate`.
    public mutating func set(
        _ wanted: Silence, newID: String, now: Timestamp
    ) throws(SilenceError) -> (id: String, changes: [StateChange]) {
        guard wanted.startsAt < wanted.endsAt else {
            throw .invalid("Failed to create silence: start time must be before end time")
        }
        guard wanted.endsAt >= now else { throw .invalid("Failed to create silence: end time can't be in the past") }
        try Silences.check(wanted.matchers)
        var silence = wanted
        silence.updatedAt = now
        var changes: [StateChange] = []
        if !wanted.id.isEmpty {
            guard let old = all[wanted.id] else { throw .notFound }
            (silence.hasHeld, silence.isReminded) = (old.hasHeld, old.isReminded && old.endsAt == wanted.endsAt)
            if Silences.canUpdate(old, to: silence, now: now) { return (silence.id, [keep(silence)]) }
            if old.state(at: now) != .expired { changes += try expire(old.id, now: now) }
        }
        silence.id = newID
        (silence.hasHeld, silence.isReminded) = (false, false)
        silence.startsAt = max(silence.startsAt, now)
        return (newID, changes + [keep(silence)])
    }

    /// Whether a list of matchers may make a silence.
    static func check(_ matchers: [Matcher]) throws(SilenceError) {
        guard !matchers.isEmpty else { throw .invalid("invalid silence: matcher set 0 is empty") }
        guard matchers.contains(where: { !$0.matches("") }) else {
            throw .invalid(
                "invalid silence: matcher set 0: at least one matcher must not match the empty string")
        }
    }

    /// Whether a stored silence may become another without a new id.
    public static func canUpdate(_ old: Silence, to new: Silence, now: Timestamp) -> Bool {
        guard old.matchers == new.matchers else { return false }
        if now >= old.endsAt { return false }
        if now < old.startsAt { return new.startsAt >= now }
        return old.startsAt.milliseconds / 1000 == new.startsAt.milliseconds / 1000 && new.endsAt >= now
    }

    /// Ends a silence now; one that is over stays as it is.
    public mutating func expire(_ id: String, now: Timestamp) throws(SilenceError) -> [StateChange] {
        guard var silence = all[id] else { throw .notFound }
        guard now < silence.endsAt else { return [] }
        silence.startsAt = min(silence.startsAt, now)
        (silence.endsAt, silence.updatedAt) = (now, now)
        return [keep(silence)]
    }

    /// Lets go of those that ended long ago.
    mutating func forgetOld(now: Timestamp) -> [StateChange] {
        let old = all.values.filter { now - $0.endsAt > Silences.retention }.map(\.id).sorted()
        for id in old { all[id] = nil }
        return old.map { StateChange(table: Silences.table, key: $0, value: nil) }
    }

    mutating func keep(_ silence: Silence) -> StateChange {
        all[silence.id] = silence
        return silence.change()
    }

    /// Those that hold at a moment, made ready for looking up many alerts.
    func active(at now: Timestamp) -> ActiveSilences {
        ActiveSilences(all.values.filter { $0.state(at: now) == .active })
    }

    /// Takes up what a store holds; answers how many entries could not be read.
    mutating func restore(from store: any StateStore, zones: ZoneFinder) -> Int {
        var unreadable = 0
        for (id, bytes) in store.entries(of: Silences.table) {
            if let silence = Silence(id: id, bytes, zones: zones) { all[id] = silence } else { unreadable += 1 }
        }
        return unreadable
    }
}

/// Silences that hold now, found by an equality where they have one: an alert costs as many look-ups as it has labels.
struct ActiveSilences: Sendable {
    private var byLabel: [Label: [Silence]] = [:]
    private var others: [Silence] = []
    let isEmpty: Bool

    init(_ silences: [Silence]) {
        isEmpty = silences.isEmpty
        for silence in silences {
            if let matcher = silence.matchers.first(where: { $0.operation == .equal && !$0.value.isEmpty }) {
                byLabel[Label(matcher.name, matcher.value), default: []].append(silence)
            } else {
                others.append(silence)
            }
        }
    }

    /// The ids of those that an alert fulfils, sorted.
    func ids(_ labels: Labels) -> [String] {
        guard !isEmpty else { return [] }
        var found: [String] = []
        if !byLabel.isEmpty {
            for label in labels.sorted {
                found += (byLabel[label] ?? []).filter { $0.matches(labels) }.map(\.id)
            }
        }
        return (found + others.filter { $0.matches(labels) }.map(\.id)).sorted()
    }
}

// MARK: As the journal holds them

extension Silence {
    func change() -> StateChange {
        StateChange(table: Silences.table, key: id, value: JSON.object(members).serialized())
    }

    var members: [JSON.Member] {
        var members: [JSON.Member] = [
            JSON.Member(
                "matchers",
                .array(matchers.map { [.string($0.name), .string($0.operation.rawValue), .string($0.value)] })),
            JSON.Member("startsAt", JSON(startsAt)), JSON.Member("endsAt", JSON(endsAt)),
            JSON.Member("createdBy", .string(createdBy)), JSON.Member("comment", .string(comment)),
            JSON.Member("annotations", JSON(annotations)), JSON.Member("updatedAt", JSON(updatedAt)),
        ]
        if hasHeld { members.append(JSON.Member("held", true)) }
        if isReminded { members.append(JSON.Member("reminded", true)) }
        return members
    }

    init?(id: String, _ bytes: [UInt8], zones: ZoneFinder) {
        guard let json = try? JSON(parsing: bytes) else { return nil }  // Told to the caller by nil.
        self.init(id: id, json, zones: zones)
    }

    init?(id: String, _ json: JSON, zones: ZoneFinder) {
        guard let startsAt = json["startsAt"]?.timestamp, let endsAt = json["endsAt"]?.timestamp,
            let updatedAt = json["updatedAt"]?.timestamp, let createdBy = json["createdBy"]?.string,
            let comment = json["comment"]?.string
        else { return nil }
        var matchers: [Matcher] = []
        for entry in json["matchers"]?.array ?? [] {
            guard let parts = entry.array?.compactMap(\.string), parts.count == 3,
                let operation = Matcher.Operation(rawValue: parts[1]),
                // Told to the caller by nil.
                let matcher = try? Matcher(parts[0], operation, parts[2], dotMatchesLineEnd: false)
            else { return nil }
            matchers.append(matcher)
        }
        do throws(SilenceError) {
            try self.init(
                id: id, matchers: matchers, startsAt: startsAt, endsAt: endsAt, createdBy: createdBy, comment: comment,
                annotations: json["annotations"]?.strings ?? [:], updatedAt: updatedAt, zones: zones)
        } catch {
            return nil
        }
        (hasHeld, isReminded) = (json["held"]?.bool ?? false, json["reminded"]?.bool ?? false)
    }
}
