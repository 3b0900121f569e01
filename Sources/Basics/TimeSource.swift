/// Where a room gets its time from. The daemon passes the machine's; tests and backtests pass a simulated one.
public protocol TimeSource: Sendable {
    /// The wall clock.
    func now() -> Timestamp
    /// A clock that never goes back, for durations: nanoseconds since some start.
    func uptimeNanoseconds() -> UInt64
    /// For how long the machine slept since some start: neither clock above tells of it by itself.
    func suspendedNanoseconds() -> UInt64
    /// Returns after so long by the steady clock, at once when it is not above 0; throws when the task is cancelled.
    func sleep(for duration: Milliseconds) async throws(CancellationError)
}

extension TimeSource {
    /// A machine that never sleeps.
    public func suspendedNanoseconds() -> UInt64 { 0 }

    /// Sleeps until the wall clock shows `moment`, judged now: a later jump of the wall clock does not shorten it.
    public func sleep(until moment: Timestamp) async throws(CancellationError) {
        try await sleep(for: moment - now())
    }
}
