public import Basics
public import Model

/// One series at one moment.
public struct VectorSample: Sendable, Hashable {
    /// Who it is.
    public var labels: Labels
    /// The moment of the evaluation.
    public var timestamp: Timestamp
    /// The value.
    public var value: Double

    /// A sample by its parts.
    public init(labels: Labels, timestamp: Timestamp, value: Double) {
        (self.labels, self.timestamp, self.value) = (labels, timestamp, value)
    }
}

/// What a query answers.
public enum QueryValue: Sendable {
    case scalar(Sample)
    case string(String, at: Timestamp)
    /// In no order but that of `sort` and `topk`.
    case vector([VectorSample])
    /// Of a range query, sorted by labels; of an instant query over a range vector, as read.
    case matrix([SeriesColumns])

    /// The samples of a vector, empty for any other kind.
    public var samples: [VectorSample] { if case .vector(let samples) = self { samples } else { [] } }
    /// The series of a matrix, empty for any other kind.
    public var series: [SeriesColumns] { if case .matrix(let series) = self { series } else { [] } }
}

/// A query's value, and what its author should know about it.
public struct QueryResult: Sendable {
    /// The value.
    public var value: QueryValue
    /// Things that are probably wrong, each with its place in the text: `PromQL warning: … (1:5)`.
    public var warnings: [String] = []
    /// Things worth knowing, `PromQL info: … (1:5)`.
    public var infos: [String] = []
    /// How many samples were read.
    public var samplesRead = 0
    /// What it cost; nil unless `QueryOptions` ask for it.
    public var statistics: QueryStatistics?
}

/// How much one query may take.
public struct QueryLimits: Sendable, Hashable {
    /// Samples read from the store and points of intermediate results that are held at once.
    public var samples = 50_000_000
    /// Series that one selector may read: twice as many as a store takes by default.
    public var series = 4_000_000
    /// Bytes that samples and intermediate results may take at once.
    public var bytes = 1 << 30
    /// Steps of a range query; Prometheus' 11,000.
    public var points = 11_000
    /// Steps of one subquery; a week of seconds fits.
    public var subquerySteps: Int64 = 1_000_000
    /// By the steady clock; 0: without end.
    public var timeout: Milliseconds = 120_000

    /// The defaults.
    public init() {}
}

/// How queries are evaluated.
public struct QueryOptions: Sendable, Hashable {
    /// How old the newest sample may be for an instant selector; a sample exactly so old is not.
    public var lookback: Milliseconds = 300_000
    /// The step of a subquery that names none: the global evaluation interval.
    public var defaultSubqueryStep: Milliseconds = 60_000
    /// Whether functions that Prometheus keeps behind a flag may be called.
    public var allowsExperimental = false
    /// Whether metric names are dropped only when the query ends, so that `label_replace` can still read them.
    public var delaysNameRemoval = false
    /// Whether rates reckon with the moments at which their counters began, where the source knows them.
    public var usesStartTimes = false
    /// Whether the result tells what it cost, and how each part of the expression was evaluated.
    public var measures = false, explains = false

    /// The defaults.
    public init() {}
}

/// Warnings and infos, each kept once.
struct Annotations {
    private(set) var warnings: [String] = []
    private(set) var infos: [String] = []

    mutating func warn(_ text: String) {
        if !warnings.contains(text) { warnings.append(text) }
    }
    mutating func inform(_ text: String) {
        if !infos.contains(text), infos.count < 10 { infos.append(text) }
    }
}
