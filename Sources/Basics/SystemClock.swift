internal import CLinux
internal import Glibc

/// The machine's clocks: the daemon's own source of time, and the only place that reads them.
public struct SystemClock: TimeSource {
    /// The machine's clocks.
    public init() {}

    /// `CLOCK_REALTIME`.
    public func now() -> Timestamp {
        let time = SystemClock.read(CLOCK_REALTIME)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    /// `CLOCK_MONOTONIC`.
    public func uptimeNanoseconds() -> UInt64 {
        let time = SystemClock.read(CLOCK_MONOTONIC)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Sleeps by the steady clock.
    public func sleep(for duration: Milliseconds) async throws(CancellationError) {
        do {
            try await Task.sleep(nanoseconds: UInt64(max(0, duration)) * 1_000_000)
        } catch {
            throw CancellationError()
        }
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        let failed = unsafe clock_gettime(clock, &time)
        precondition(failed == 0, "clock \(clock) cannot be read")
        return time
    }
}
