internal import Synchronization

/// Writes events on a thread of its own: a log that takes nothing any more, a full pipe or a journald that hangs, holds
/// up nobody. What does not fit in the queue is counted and told once there is room again.
public final class QueuedLog: LogSink {
    private struct State {
        var events: [LogEvent] = []
        var dropped = 0
        var isWriting = false
    }
    private let state = Mutex(State())
    private let next: any LogSink
    private let lock = ThreadLock()
    /// Events that wait at the most.
    static let limit = 10_000

    /// A log in front of `next`.
    public init(_ next: any LogSink) {
        self.next = next
        startThread(named: "vedette-log") { [self] in run() }
    }

    /// See `LogSink`.
    public func write(_ event: LogEvent) {
        let isQueued = state.withLock { state in
            guard state.events.count < QueuedLog.limit else {
                state.dropped += 1
                return false
            }
            state.events.append(event)
            return true
        }
        if isQueued { lock.signal() }
    }

    /// Waits until all is written, at most so long by `clock`: before the process ends.
    public func flush(atMost limit: Milliseconds, _ clock: any TimeSource) async {
        let end = clock.uptimeNanoseconds() + UInt64(limit) * 1_000_000
        while state.withLock({ !$0.events.isEmpty || $0.isWriting }), clock.uptimeNanoseconds() < end {
            // Cancelled: the process ends at once.
            do { try await clock.sleep(for: 5) } catch { return }
        }
    }

    private func run() {
        while true {
            lock.wait()
            let (events, dropped) = state.withLock { state in
                defer { (state.events, state.dropped, state.isWriting) = ([], 0, true) }
                return (state.events, state.dropped)
            }
            for event in events { next.write(event) }
            if dropped > 0 {
                next.write(LogEvent(.warning, "log-overrun", "\(dropped) events were not logged: the log is too slow"))
            }
            state.withLock { $0.isWriting = false }
        }
    }
}
