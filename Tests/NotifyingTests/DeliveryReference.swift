import Basics
import Model

/// What must be told, reckoned without the code under test: who is told by a table, what is held back by a list of
/// silences, one rule of inhibition and the minutes of one time interval.
///
/// It errs to one side: an alert that may have been held back for a moment need not be told, and one that may have been
/// free for a moment may be. Moments are those of a steady clock; silences and intervals hang on the wall clock.
struct DeliveryReference: Sendable {
    /// A receiver and one firing of an alert.
    struct Debt: Hashable, Sendable {
        var receiver: String
        var labels: Labels
        var start: Timestamp
    }
    struct Hush: Sendable {
        /// Empty: it holds all alerts.
        var labels: [String: String]
        var from: Timestamp, to: Timestamp
        /// Whether it may end sooner, with its alerts.
        var endsWithAlerts = false

        func matches(_ alert: Labels) -> Bool { labels.allSatisfy { alert[$0.key] == $0.value } }
        mutating func end(at now: Timestamp) { to = min(to, now) }
    }
    private struct Firing: Sendable {
        var labels: Labels
        var began: Milliseconds
        var isOver = false
    }

    /// What a look must come in: the longer of a group's wait and its interval, and what small jumps of the clock add.
    static let patience: Milliseconds = 30_000 + 3_000
    /// Minutes of the day, from and to.
    static let pauses = [(829, 831), (834, 835), (838, 841), (846, 848), (853, 854), (860, 863)]

    var silences: [String: Hush] = [:]
    /// What must be told, now or some time.
    private(set) var owed: Set<Debt> = []
    private var firing: [Debt: Firing] = [:]
    /// Since when nothing may have held an alert back from a receiver.
    private var clearSince: [Debt: Milliseconds] = [:]
    private var lastDecided: [String: Milliseconds] = [:]
    private(set) var variant = 0
    private var variantSince: Milliseconds = 0, upSince: Milliseconds = 0

    /// Who is told of an alert; `c` comes and goes, and nothing is owed to it.
    static func receivers(of labels: Labels, variant: Int) -> [String] {
        let isNamed = { (name: String) in labels["alertname"] == name }
        var receivers = labels["severity"] == "critical" ? ["b"] : []
        if isNamed("Z") { receivers.append("m") }
        if variant == 2, labels["i"] == "1" { return receivers.contains("b") ? receivers : receivers + ["b"] }
        return receivers + ["a"]
    }

    /// Whether a time interval holds a receiver's groups back at a moment of the wall clock.
    private func isMuted(_ receiver: String, at now: Timestamp) -> Bool {
        guard receiver == "m", variant != 2 else { return false }
        let minute = now.milliseconds / 60_000 % 1440
        let isPause = DeliveryReference.pauses.contains { $0.0 <= minute && minute < $0.1 }
        return variant == 3 ? !isPause : isPause
    }

    /// `X` that is critical holds back `Y` of the same `i`.
    private func isInhibited(_ labels: Labels, by open: some Sequence<Labels>) -> Bool {
        labels["alertname"] == "Y"
            && open.contains { $0["alertname"] == "X" && $0["severity"] == "critical" && $0["i"] == labels["i"] }
    }

    /// Whether something certainly holds an alert back at a moment.
    func holds(_ labels: Labels, from receiver: String, at now: Timestamp, open: some Sequence<Labels>) -> Bool {
        isMuted(receiver, at: now) || isInhibited(labels, by: open)
            || silences.values.contains { !$0.endsWithAlerts && $0.matches(labels) && $0.from <= now && now < $0.to }
    }

    private func mayHold(
        _ labels: Labels, from receiver: String, _ wall: (Timestamp, Timestamp), open: some Sequence<Labels>
    ) -> Bool {
        isMuted(receiver, at: wall.0) || isMuted(receiver, at: wall.1) || isInhibited(labels, by: open)
            || silences.values.contains { $0.matches(labels) && $0.from <= wall.1 && wall.0 < $0.to }
    }

    /// Another configuration is in force.
    mutating func replace(_ variant: Int, steady: Milliseconds) { (self.variant, variantSince) = (variant, steady) }

    /// A process began over what the journal holds.
    mutating func restart(steady: Milliseconds) { upSince = steady }

    /// After a crash that lost something: what was seen since is not sure.
    mutating func doubt(_ variant: Int, steady: Milliseconds) {
        for key in Array(clearSince.keys) { clearSince[key] = steady }
        (self.variant, variantSince, lastDecided) = (variant, steady, [:])
    }

    /// Time went by, a few seconds at most and no jump among them; `open` are the alerts that fired at its beginning or
    /// end, and `isOpen` tells which still do.
    mutating func pass(
        steady: (from: Milliseconds, to: Milliseconds), wall: (Timestamp, Timestamp), before: [Alert], after: [Alert]
    ) {
        let sources = Set((before + after).map(\.labels))
        let open = Set(after.map { Debt(receiver: "", labels: $0.labels, start: $0.startsAt) })
        for debt in open.union(before.map { Debt(receiver: "", labels: $0.labels, start: $0.startsAt) })
        where firing[debt] == nil { firing[debt] = Firing(labels: debt.labels, began: steady.from) }
        for (key, episode) in firing {
            firing[key]?.isOver = !open.contains(key)
            var isSettled = !open.contains(key)
            for receiver in DeliveryReference.receivers(of: episode.labels, variant: variant) {
                let place = Debt(receiver: receiver, labels: episode.labels, start: key.start)
                guard !mayHold(episode.labels, from: receiver, wall, open: sources) else {
                    clearSince[place] = nil
                    continue
                }
                let clear = clearSince[place] ?? steady.from
                clearSince[place] = clear
                // Held back by nothing from its beginning until a look, or free for long while it fires.
                let isFree = clear <= episode.began && variantSince <= episode.began
                let began = isFree ? episode.began : max(clear, episode.began, variantSince)
                let isDue = steady.to - max(began, upSince) >= DeliveryReference.patience
                if isDue, isFree || open.contains(key) { owed.insert(place) }
                if !isDue { isSettled = false }
            }
            guard isSettled else { continue }
            firing[key] = nil
            for receiver in ["a", "b", "m"] {
                clearSince[Debt(receiver: receiver, labels: episode.labels, start: key.start)] = nil
            }
        }
    }

    /// A notification of a group was decided; whether a mere repeat came too soon.
    mutating func decide(_ group: String, isRepeat: Bool, steady: Milliseconds) -> Bool {
        let last = lastDecided.updateValue(steady, forKey: group)
        return isRepeat && (last.map { steady - $0 < 180_000 - 3_000 } ?? false)
    }
}
