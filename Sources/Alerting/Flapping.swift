public import Basics
internal import Model

/// When an alert begins and ends too often, and one notice stands for many.
public struct Flapping: Sendable, Hashable {
    /// How many beginnings within `within` make an alert one that flaps; 0: none ever does. Default: 5.
    public var episodes = 5
    /// Default: 30 min.
    public var within: Milliseconds = 1_800_000
    /// How long it must stay as it is to be told again. Default: 15 min.
    public var steady: Milliseconds = 900_000

    /// The defaults.
    public init() {}

    /// Whether an episode that begins is one too many; `history` tells when earlier ones began.
    func begin(_ history: [Timestamp], _ alert: Alert, now: Timestamp) -> Flap? {
        guard episodes > 0 else { return nil }
        let count = Set(history.filter { now - $0 < within && $0 != alert.startsAt }).count + 1
        return count >= episodes ? Flap(episodes: count, changedAt: now) : nil
    }
}

/// An alert that flaps.
public struct Flap: Sendable, Hashable {
    /// How often it began.
    public internal(set) var episodes: Int
    /// When it last began.
    public internal(set) var changedAt: Timestamp
    /// Whether the notice was told.
    public internal(set) var isTold = false

    init(episodes: Int, changedAt: Timestamp) { (self.episodes, self.changedAt) = (episodes, changedAt) }

    mutating func begin(now: Timestamp) { (episodes, changedAt) = (episodes + 1, now) }

    /// Whether it stayed long enough as it is, and the notice was told.
    func isSteady(_ member: AlertGroup.Member, _ flapping: Flapping, now: Timestamp) -> Bool {
        let end = member.isResolved(at: now) ? member.alert.endsAt : nil
        return isTold && now - max(changedAt, end ?? changedAt) >= flapping.steady
    }

    /// The alert with a word on what is held back.
    func mark(_ alert: Alert, _ flapping: Flapping) -> Alert {
        var alert = alert
        alert.annotations["flapping"] =
            "began \(flapping.episodes) times or more within \(DurationText.format(flapping.within)); what it does is "
            + "told again once it stays the same for \(DurationText.format(flapping.steady))"
        return alert
    }
}
