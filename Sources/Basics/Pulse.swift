internal import Synchronization

/// A sign of life: what works says by when it will have said something again. Who is past that moment is stuck.
public final class Pulse: Sendable {
    private let moment = Atomic<UInt64>(.max)

    /// Of something that owes no sign yet.
    public init() {}

    /// The next sign comes by then, in the clock's `uptimeNanoseconds`; nil: none is owed any more.
    public func expect(by uptime: UInt64?) { moment.store(uptime ?? .max, ordering: .relaxed) }

    /// The next sign comes within so long.
    public func expect(within limit: Milliseconds, _ clock: any TimeSource) {
        expect(by: clock.uptimeNanoseconds() + UInt64(max(0, limit)) * 1_000_000)
    }

    /// Whether a sign that was owed by now did not come.
    public func isLate(_ clock: any TimeSource) -> Bool { moment.load(ordering: .relaxed) < clock.uptimeNanoseconds() }
}
