internal import Synchronization

/// Runs tasks, one job after another on the caller's thread, under a clock that stands still while anything can run.
/// The next job is picked by a seeded generator: the same seed gives the same order, whatever the machine does.
/// What escapes it: bare `Task {}`, `Task.detached`, Dispatch, threads; the rooms use none of them.
public final class SimulatedExecutor: TaskExecutor, SerialExecutor, TimeSource {
    // Safe: a continuation is resumed once, by whoever removes its timer.
    @safe private struct Timer {
        let due: UInt64
        let order: Int
        let continuation: UnsafeContinuation<Void, Never>
    }

    private struct State {
        var jobs: [UnownedJob] = []
        var timers: [Int: Timer] = [:]
        var cancelled: Set<Int> = []
        var nextTimer = 0
        var uptime: UInt64 = 0
        var wallOffset: Milliseconds
        var suspended: Milliseconds = 0
        var random: SeededRandom
        var jobsRun = 0
        var isAbandoned = false
    }

    private let state: Mutex<State>

    /// A world that begins at `start` with nothing to do.
    public init(seed: UInt64, start: Timestamp) {
        state = Mutex(State(wallOffset: start.milliseconds, random: SeededRandom(seed: seed)))
    }

    /// Starts a task under this executor; it runs when `run` is called.
    @discardableResult
    public func start(_ operation: sending @escaping @isolated(any) () async -> Void) -> Task<Void, Never> {
        Task(executorPreference: self, operation: operation)
    }

    /// Takes a job from the runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { if !$0.isAbandoned { $0.jobs.append(job) } }
    }

    /// How many jobs have run so far.
    public var jobsRun: Int { state.withLock { $0.jobsRun } }
    /// The next 64 random bits of the seed's sequence, for the faults of a simulated world.
    public func random() -> UInt64 { state.withLock { $0.random.next() } }

    /// The simulated wall clock.
    public func now() -> Timestamp {
        state.withLock { Timestamp(milliseconds: $0.wallOffset + Int64($0.uptime / 1_000_000)) }
    }
    /// The simulated steady clock.
    public func uptimeNanoseconds() -> UInt64 { state.withLock { $0.uptime } }
    /// Moves the wall clock alone, forwards or back, as a person or NTP does.
    public func jumpWallClock(by jump: Milliseconds) { state.withLock { $0.wallOffset += jump } }

    /// How long the simulated machine slept.
    public func suspendedNanoseconds() -> UInt64 { state.withLock { UInt64($0.suspended) * 1_000_000 } }
    /// The machine sleeps: the wall clock goes on, the steady one does not.
    public func suspend(for duration: Milliseconds) {
        state.withLock { state in
            state.wallOffset += duration
            state.suspended += duration
        }
    }

    /// Sleeps in simulated time.
    public func sleep(for duration: Milliseconds) async throws(CancellationError) {
        if Task.isCancelled { throw CancellationError() }
        guard duration > 0 else { return }
        let timer = state.withLock { state in
            state.nextTimer += 1
            return state.nextTimer
        }
        await withTaskCancellationHandler {
            unsafe await withUnsafeContinuation { continuation in
                let isCancelled = state.withLock { state in
                    guard state.cancelled.remove(timer) == nil else { return true }
                    let due = state.uptime + UInt64(duration) * 1_000_000
                    state.timers[timer] = unsafe Timer(due: due, order: timer, continuation: continuation)
                    return false
                }
                if isCancelled { unsafe continuation.resume() }
            }
        } onCancel: {
            let found = state.withLock { state in
                if let found = state.timers.removeValue(forKey: timer) { return Optional(found) }
                state.cancelled.insert(timer)
                return nil
            }
            if let found { unsafe found.continuation.resume() }
        }
        state.withLock { _ = $0.cancelled.remove(timer) }
        if Task.isCancelled { throw CancellationError() }
    }

    /// Runs all that is due in the next `duration` of simulated time.
    public func run(for duration: Milliseconds) {
        let end = uptimeNanoseconds() + UInt64(duration) * 1_000_000
        while step(until: end) {}
    }

    /// Runs until `condition` holds, for at most `limit`; whether it came to hold.
    public func run(for limit: Milliseconds, until condition: () -> Bool) -> Bool {
        let end = uptimeNanoseconds() + UInt64(limit) * 1_000_000
        while !condition() {
            guard step(until: end) else { return condition() }
        }
        return true
    }

    /// Forgets every job and timer, as a kill does: what was running never runs again.
    public func abandon() {
        state.withLock { state in
            state.isAbandoned = true
            state.jobs = []
            state.timers = [:]
        }
    }

    /// Runs one job, or moves the clock to the next timer; false when nothing is due until `end`.
    private func step(until end: UInt64) -> Bool {
        enum Work {
            case job(UnownedJob)
            case timer(Timer)
            case none
        }
        let work: Work = state.withLock { state in
            if !state.jobs.isEmpty {
                state.jobsRun += 1
                let index = Int(state.random.next() % UInt64(state.jobs.count))
                state.jobs.swapAt(index, state.jobs.count - 1)
                return .job(state.jobs.removeLast())
            }
            let next = state.timers.values.min { ($0.due, $0.order) < ($1.due, $1.order) }
            guard let next, next.due <= end, !state.isAbandoned else {
                state.uptime = max(state.uptime, end)
                return .none
            }
            state.timers[next.order] = nil
            state.uptime = max(state.uptime, next.due)
            return .timer(next)
        }
        switch work {
        case .job(let job): unsafe job.runSynchronously(on: asUnownedTaskExecutor())
        case .timer(let timer): unsafe timer.continuation.resume()
        case .none: return false
        }
        return true
    }
}
