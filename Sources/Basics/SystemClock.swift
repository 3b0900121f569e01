internal import CLinux
internal import Glibc
internal import Synchronization

/// The machine's clocks: the daemon's own source of time, and the only place that reads them.
///
/// Sleepers are woken by a thread of their own and resume on their task's executor, so that neither a busy cooperative
/// pool nor a jump of the wall clock delays a page.
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

    /// `CLOCK_BOOTTIME` goes on while the machine is suspended, `CLOCK_MONOTONIC` does not.
    public func suspendedNanoseconds() -> UInt64 {
        let (steady, boot) = (uptimeNanoseconds(), SystemClock.read(CLOCK_BOOTTIME))
        let all = UInt64(boot.tv_sec) * 1_000_000_000 + UInt64(boot.tv_nsec)
        return all - min(all, steady)
    }

    /// Sleeps by the steady clock.
    public func sleep(for duration: Milliseconds) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        guard duration > 0 else { return }
        await TimerThread.shared.sleep(until: uptimeNanoseconds() + UInt64(duration) * 1_000_000, clock: self)
        if Task.isCancelled { throw CancellationError() }
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        let failed = unsafe clock_gettime(clock, &time)
        precondition(failed == 0, "clock \(clock) cannot be read")
        return time
    }
}

/// Wakes sleepers in the order of their times.
private final class TimerThread: Sendable {
    private struct Sleeper: Sendable {
        var due: UInt64
        var continuation: CheckedContinuation<Void, Never>
    }
    private struct State {
        var sleepers: [Int: Sleeper] = [:]
        var cancelled: Set<Int> = []
        var nextID = 0
        var nextDue = UInt64.max
    }

    static let shared = TimerThread()
    private let state = Mutex(State())
    private let epoll: Int32
    private let wakeDescriptor: Int32

    private init() {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeDescriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        precondition(epoll >= 0 && wakeDescriptor >= 0, "no file descriptors left")
        _ = vedette_epoll_control(epoll, EPOLL_CTL_ADD, wakeDescriptor, EPOLLIN.rawValue)
        startThread(named: "vedette-timer") { [self] in run() }
    }

    func sleep(until due: UInt64, clock: SystemClock) async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (isCancelled, isEarliest) = state.withLock { state -> (Bool, Bool) in
                    if state.cancelled.remove(id) != nil { return (true, false) }
                    state.sleepers[id] = Sleeper(due: due, continuation: continuation)
                    return (false, due < state.nextDue)
                }
                if isCancelled { continuation.resume() }
                if isEarliest { eventfd_write(wakeDescriptor, 1) }
            }
        } onCancel: {
            let sleeper = state.withLock { state in
                if let sleeper = state.sleepers.removeValue(forKey: id) { return Optional(sleeper) }
                state.cancelled.insert(id)
                return nil
            }
            sleeper?.continuation.resume()
        }
        state.withLock { _ = $0.cancelled.remove(id) }
    }

    private func run() {
        let clock = SystemClock()
        while true {
            let now = clock.uptimeNanoseconds()
            let (woken, next) = state.withLock { state -> ([Sleeper], UInt64) in
                let due = state.sleepers.filter { $0.value.due <= now }
                for id in due.keys { state.sleepers[id] = nil }
                state.nextDue = state.sleepers.values.map(\.due).min() ?? .max
                return (due.values.sorted { $0.due < $1.due }, state.nextDue)
            }
            for sleeper in woken { sleeper.continuation.resume() }
            let wait =
                next == .max ? 60_000 : min(60_000, (next - min(next, clock.uptimeNanoseconds()) + 999_999) / 1_000_000)
            unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 1) { events in
                _ = unsafe epoll_wait(epoll, events.baseAddress, 1, Int32(wait))
            }
            var value: eventfd_t = 0
            _ = unsafe eventfd_read(wakeDescriptor, &value)
        }
    }
}
