internal import Basics

/// When a group is due: every interval, at a phase that its name fixes, so that groups are spread and a restart
/// does not move them.
///
/// - SeeAlso: Prometheus, `rules/group.go`, `EvalTimestamp`.
struct RuleSchedule {
    private let hash: UInt64
    private var interval: Milliseconds
    /// The slot that was last evaluated or passed by.
    private var last: Timestamp
    private var wall: Timestamp
    private var uptime: UInt64

    /// What is due, how many slots were missed before it, and how far the wall clock was moved meanwhile.
    struct Due: Equatable {
        var slot: Timestamp
        var missed: Int
        var jump: Milliseconds
    }

    init(key: String, interval: Milliseconds, clock: any TimeSource) {
        var hash = FNV1a()
        hash.combine(key)
        self.hash = hash.value
        self.interval = interval
        wall = clock.now()
        uptime = clock.uptimeNanoseconds()
        last = .distantPast
        last = slot(before: wall)
    }

    /// The newest slot that is not after `moment`.
    private func slot(before moment: Timestamp) -> Timestamp {
        let phase = Int64(hash % UInt64(interval))
        let base = (moment.milliseconds - phase).flooringDivision(by: interval) * interval
        return Timestamp(milliseconds: base + phase)
    }

    /// When to look again.
    var next: Timestamp { last + interval }

    mutating func set(interval: Milliseconds) {
        guard interval != self.interval else { return }
        self.interval = interval
        last = slot(before: wall)
    }

    /// The slot to evaluate now; nil: none yet.
    mutating func due(_ clock: any TimeSource) -> Due? {
        let (now, steady) = (clock.now(), clock.uptimeNanoseconds())
        let jump = (now - wall) - Int64((steady &- uptime) / 1_000_000)
        let slot = slot(before: now)
        (wall, uptime) = (now, steady)
        if abs(jump) >= interval {
            // The clock was set: the slots go on from where it stands, and no evaluation was missed.
            last = slot
            return Due(slot: slot, missed: 0, jump: jump)
        }
        guard slot > last else { return nil }
        let missed = Int((slot - last) / interval) - 1
        last = slot
        return Due(slot: slot, missed: missed, jump: 0)
    }
}
