public import Basics

/// Why a look at another side failed. It holds no secret, so it may be printed.
public struct ProbeError: Error, Sendable, Hashable, CustomStringConvertible {
    /// For who counts.
    public var cause: FetchCause
    /// One clause.
    public var description: String

    /// An error by its parts.
    public init(_ cause: FetchCause, _ description: String) { (self.cause, self.description) = (cause, description) }
}

/// By when a look at another side is over, whatever happens there.
public struct ProbeDeadline: Sendable {
    private let clock: any TimeSource
    /// By the steady clock, in nanoseconds.
    let end: UInt64

    /// So long from now.
    public init(clock: any TimeSource, in limit: Milliseconds) {
        (self.clock, end) = (clock, clock.uptimeNanoseconds() + UInt64(max(0, limit)) * 1_000_000)
    }

    /// What is left of it; 0 when it is over.
    public var left: Milliseconds {
        let now = clock.uptimeNanoseconds()
        return now < end ? Milliseconds((end - now + 999_999) / 1_000_000) : 0
    }
    /// The moment, for measuring.
    public var now: UInt64 { clock.uptimeNanoseconds() }

    /// Seconds since a moment.
    public func seconds(since moment: UInt64) -> Double { Double(now - moment) / 1e9 }
}
