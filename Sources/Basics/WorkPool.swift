internal import Synchronization

/// Helper threads for work that comes in many equal parts and is waited for, such as the series of a wide query.
///
/// Who asks works too, so that work gets done when all helpers are busy with others'. What is made may not depend on
/// who made it: parts run in any order, several at a time.
public final class WorkPool: Sendable {
    /// One call of `run`: the next part to begin, and who waits for the end.
    private final class Work: Sendable {
        struct State {
            var next = 0
            var unfinished: Int
        }
        let count: Int
        let state: Mutex<State>
        let body: @Sendable (Int) -> Void
        let end = ThreadLock()

        init(count: Int, body: @escaping @Sendable (Int) -> Void) {
            (self.count, self.body) = (count, body)
            state = Mutex(State(unfinished: count))
        }

        /// Works until no part is left to begin.
        func join() {
            while let part = state.withLock({ state -> Int? in
                guard state.next < count else { return nil }
                state.next += 1
                return state.next - 1
            }) {
                body(part)
                let isOver = state.withLock { state in
                    state.unfinished -= 1
                    return state.unfinished == 0
                }
                if isOver { end.signal() }
            }
        }
    }

    /// How many helpers there are; who asks comes on top.
    public let helpers: Int
    private let waiting = Mutex<[Work]>([])
    private let lock = ThreadLock()

    /// Starts so many threads; with none of them, who asks does everything.
    public init(helpers: Int, name: String) {
        self.helpers = helpers
        for number in 0..<helpers { startThread(named: "\(name)-\(number)") { [self] in help() } }
    }

    /// Runs `body` once for each number below `count`, and returns when all have ended.
    public func run(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        guard count > 1, helpers > 0 else {
            for part in 0..<count { body(part) }
            return
        }
        let work = Work(count: count, body: body)
        let calls = min(helpers, count - 1)
        waiting.withLock { waiting in for _ in 0..<calls { waiting.append(work) } }
        for _ in 0..<calls { lock.signal() }
        work.join()
        // Nobody need come any more; who was called and finds nothing goes back to sleep.
        waiting.withLock { waiting in waiting.removeAll { $0 === work } }
        work.end.wait()
    }

    private func help() {
        while true {
            lock.wait()
            let work = waiting.withLock { waiting in waiting.isEmpty ? nil : waiting.removeFirst() }
            work?.join()
        }
    }
}
