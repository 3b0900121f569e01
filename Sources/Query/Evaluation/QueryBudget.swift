public import Basics
internal import Synchronization

/// What all queries that run at the same time may take together, and the queue before them.
///
/// One object is shared by all engines of a process. Memory and samples are counted as they are held, so that the query
/// which would exceed them is refused, and those beside it go on.
public final class QueryBudget: Sendable {
    /// The bounds.
    public struct Limits: Sendable, Hashable {
        /// Queries that run at the same time. The default is Prometheus' 20.
        public var queries = 20
        /// Queries that wait for a place; one more is refused. The default is 200.
        public var waiting = 200
        /// How long one waits before it is refused. The default is 30 s.
        public var wait: Milliseconds = 30_000
        /// Samples and points held by all of them. The default is 100,000,000.
        public var samples = 100_000_000
        /// Bytes held by all of them. The default is 1 GiB.
        public var bytes = 1 << 30

        /// The defaults.
        public init() {}
    }

    /// How things stand.
    public struct Figures: Sendable, Hashable {
        /// Queries that run and that wait.
        public var running = 0, waiting = 0
        /// Samples and bytes that the running ones hold, and the most bytes that were ever held.
        public var samples = 0, bytes = 0, peakBytes = 0
        /// Queries that were refused a place, and that were stopped because all together took too much.
        public var refused = 0, stopped = 0
    }

    private struct State {
        var figures = Figures()
        var waiters: [(number: Int, continuation: CheckedContinuation<Bool, Never>)] = []
        var nextNumber = 0
    }

    /// The bounds.
    public let limits: Limits
    private let state = Mutex(State())
    private let clock: (any TimeSource)?

    /// A budget; without a clock a query waits for its place without end.
    public init(_ limits: Limits = Limits(), clock: (any TimeSource)? = nil) {
        (self.limits, self.clock) = (limits, clock)
    }

    /// How things stand now.
    public var figures: Figures { state.withLock { $0.figures } }

    // MARK: Places

    /// Runs `body` once there is a place for it, in the order of asking. `body` may block; it runs where the caller
    /// runs. Throws when the queue is full, the wait is too long or the task is cancelled.
    public func admit<Value>(
        _ body: (_ waitedNanoseconds: UInt64) throws(QueryError) -> Value
    ) async throws(QueryError) -> Value {
        let start = clock?.uptimeNanoseconds() ?? 0
        try await enter()
        defer { leave() }
        if Task.isCancelled { throw .cancelled }
        return try body((clock?.uptimeNanoseconds() ?? 0) - start)
    }

    private enum Entry { case entered, full, queued(Int) }

    private func enter() async throws(QueryError) {
        let entry = state.withLock { state -> Entry in
            if state.figures.running < limits.queries, state.waiters.isEmpty {
                state.figures.running += 1
                return .entered
            }
            guard state.figures.waiting < limits.waiting else {
                state.figures.refused += 1
                return .full
            }
            state.figures.waiting += 1
            state.nextNumber += 1
            return .queued(state.nextNumber)
        }
        switch entry {
        case .entered: return
        case .full:
            throw .limit(
                "too many queries: \(limits.queries) run and \(limits.waiting) wait, which is as many as may; "
                    + "try again later")
        case .queued(let number):
            if await wait(number) { return }
            if Task.isCancelled { throw .cancelled }
            state.withLock { $0.figures.refused += 1 }
            throw .timeout(
                "no place for the query came free within \(DurationText.format(limits.wait)): "
                    + "\(limits.queries) queries may run at the same time")
        }
    }

    /// Whether a place came.
    private func wait(_ number: Int) async -> Bool {
        guard let clock, limits.wait > 0 else { return await stand(number) }
        return await withTaskGroup(of: Bool?.self) { race in
            race.addTask { await self.stand(number) }
            race.addTask { [limits] in
                try? await clock.sleep(for: limits.wait)
                return nil
            }
            var hasPlace = false
            while let answer = await race.next() {
                race.cancelAll()
                if let answer { hasPlace = answer }
            }
            return hasPlace
        }
    }

    private func stand(_ number: Int) async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer = state.withLock { state -> Bool? in
                    if Task.isCancelled {
                        state.figures.waiting -= 1
                        return false
                    }
                    if state.figures.running < limits.queries, state.waiters.isEmpty {
                        state.figures.waiting -= 1
                        state.figures.running += 1
                        return true
                    }
                    state.waiters.append((number, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard let place = state.waiters.firstIndex(where: { $0.number == number }) else { return nil }
                state.figures.waiting -= 1
                return state.waiters.remove(at: place).continuation
            }
            waiter?.resume(returning: false)
        }
    }

    private func leave() {
        let next = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard !state.waiters.isEmpty else {
                state.figures.running -= 1
                return nil
            }
            // The place goes from hand to hand.
            state.figures.waiting -= 1
            return state.waiters.removeFirst().continuation
        }
        next?.resume(returning: true)
    }

    // MARK: Holdings

    /// Takes more for a running query; false, and nothing is taken, when all together would hold too much.
    func hold(samples: Int, bytes: Int) -> Bool {
        state.withLock { state in
            guard state.figures.samples + samples <= limits.samples, state.figures.bytes + bytes <= limits.bytes else {
                state.figures.stopped += 1
                return false
            }
            state.figures.samples += samples
            state.figures.bytes += bytes
            state.figures.peakBytes = max(state.figures.peakBytes, state.figures.bytes)
            return true
        }
    }

    /// Gives back what was held.
    func release(samples: Int, bytes: Int) {
        state.withLock { state in
            state.figures.samples -= samples
            state.figures.bytes -= bytes
        }
    }

    /// Bytes that nobody holds.
    var freeBytes: Int { state.withLock { limits.bytes - $0.figures.bytes } }
}
