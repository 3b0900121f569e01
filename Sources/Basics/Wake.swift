internal import Synchronization

/// Wakes one waiting task, now or when it next waits. Signals in between count once.
public final class Wake: Sendable {
    private struct State {
        var isSignalled = false
        var waiter: CheckedContinuation<Void, Never>?
    }
    private let state = Mutex(State())

    /// Nothing signalled yet.
    public init() {}

    /// Wakes the waiting task, or the next one that waits.
    public func signal() {
        let waiter = state.withLock { state in
            let waiter = state.waiter
            state.waiter = nil
            if waiter == nil { state.isSignalled = true }
            return waiter
        }
        waiter?.resume()
    }

    /// Returns when signalled or cancelled. One task at a time.
    public func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                // Cancelled first: the flag is set before `onCancel` runs, so that no wait is missed.
                let isDone = state.withLock { state in
                    if state.isSignalled || Task.isCancelled {
                        state.isSignalled = false
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if isDone { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                let waiter = state.waiter
                state.waiter = nil
                return waiter
            }
            waiter?.resume()
        }
    }
}

extension TimeSource {
    /// Waits until signalled, for at most so long (nil: without end), or until cancelled.
    public func wait(for wake: Wake, atMost limit: Milliseconds?) async {
        await withTaskGroup(of: Void.self) { race in
            race.addTask { await wake.wait() }
            if let limit {
                // Cancelled when signalled first: as it should.
                race.addTask { try? await self.sleep(for: max(limit, 1)) }
            }
            await race.next()
            race.cancelAll()
        }
    }
}
