public import Basics

/// The store's number for a series; 0 is none.
public typealias SeriesReference = UInt64

/// The samples of one scrape or one evaluation on their way to the store: columns, filled anew each time, so that a
/// steady scrape allocates nothing. Who fills it asks the sink for references first.
public struct SampleBatch: Sendable {
    /// The moment of every sample that has no timestamp of its own.
    public var timestamp: Timestamp
    /// The series, beside `values`.
    public private(set) var references: [SeriesReference] = []
    /// The values.
    public private(set) var values: [Double] = []
    /// Explicit timestamps in milliseconds; empty when no sample has one, else as many as `values`.
    public private(set) var timestamps: [Int64] = []

    /// An empty batch.
    public init(timestamp: Timestamp) { self.timestamp = timestamp }

    /// How many samples it holds.
    public var count: Int { values.count }

    /// Empties it for another moment and keeps its memory.
    public mutating func reset(to timestamp: Timestamp) {
        self.timestamp = timestamp
        references.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        timestamps.removeAll(keepingCapacity: true)
    }

    /// Adds a sample at the batch's moment. Amortised O(1), without allocation once it has held as many.
    @inlinable
    public mutating func append(_ reference: SeriesReference, _ value: Double) {
        add(reference, value)
    }

    /// Adds a sample with a moment of its own.
    public mutating func append(_ reference: SeriesReference, _ value: Double, at explicit: Int64) {
        // Not a fresh array: the capacity of the last round is kept.
        if timestamps.isEmpty {
            while timestamps.count < values.count { timestamps.append(timestamp.milliseconds) }
        }
        references.append(reference)
        values.append(value)
        timestamps.append(explicit)
    }

    @usableFromInline
    mutating func add(_ reference: SeriesReference, _ value: Double) {
        references.append(reference)
        values.append(value)
        if !timestamps.isEmpty { timestamps.append(timestamp.milliseconds) }
    }
}

/// What became of a batch.
public struct AppendOutcome: Hashable, Sendable {
    /// Samples stored.
    public var stored = 0
    /// Samples at a moment that the series has another value for already.
    public var duplicates = 0
    /// Samples before the newest of their series.
    public var outOfOrder = 0
    /// Samples too old or too far ahead for the store.
    public var outOfBounds = 0
    /// Those of them whose series the store has let go: ask for their references anew.
    public var gone = 0
    /// Whether the log took them; false when they are in memory alone because the disk refuses.
    public var isLogged = true

    /// Nothing yet.
    public init() {}
}

/// Where samples go: the store, or a recorder in tests.
public protocol SampleSink: Sendable {
    /// The reference of a series, made when there is none; nil when the store is at its limit of series.
    func reference(of labels: Labels) -> SeriesReference?
    /// Stores a batch. When it returns the samples are in the log, in the kernel's hands, and a reader sees all of
    /// them or none.
    func append(_ batch: borrowing SampleBatch) -> AppendOutcome
}
