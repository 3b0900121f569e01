/// Notices, from one look to the next, that the wall clock was set or that the machine was suspended.
public struct ClockWatch: Sendable {
    /// What happened between two looks.
    public struct Gap: Sendable, Hashable {
        /// How far the wall clock was set, forwards or back.
        public var jump: Milliseconds = 0
        /// How long the machine slept.
        public var sleep: Milliseconds = 0

        /// A gap by its parts.
        public init(jump: Milliseconds = 0, sleep: Milliseconds = 0) { (self.jump, self.sleep) = (jump, sleep) }
    }

    /// What the wall clock said at the last look.
    public private(set) var wall: Timestamp
    private var uptime: UInt64
    private var suspended: UInt64

    /// Smaller differences are the clocks' own: time servers slew, threads wait.
    public static let tolerance: Milliseconds = 2000

    /// Looks for the first time.
    public init(_ clock: any TimeSource) {
        (wall, uptime, suspended) = (clock.now(), clock.uptimeNanoseconds(), clock.suspendedNanoseconds())
    }

    /// What happened since the last look; nil: time went by as it does.
    public mutating func look(_ clock: any TimeSource) -> Gap? {
        let before = self
        self = ClockWatch(clock)
        var gap = Gap()
        let slept = Milliseconds((suspended - min(suspended, before.suspended)) / 1_000_000)
        let passed = Milliseconds((uptime - min(uptime, before.uptime)) / 1_000_000)
        let jump = (wall - before.wall) - passed - slept
        if slept > ClockWatch.tolerance { gap.sleep = slept }
        if abs(jump) > ClockWatch.tolerance { gap.jump = jump }
        return gap == Gap() ? nil : gap
    }
}
