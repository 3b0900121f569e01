public import Basics

/// One series read over a window: times ascending, in milliseconds, beside their values. Staleness markers included.
public struct SeriesColumns: Sendable {
    /// Who the series is.
    public var labels: Labels
    /// Milliseconds since the Unix epoch, strictly ascending.
    public var times: [Int64]
    /// As many values as times.
    public var values: [Double]
    /// When the count behind each value began, 0 where that is not known; empty when it is known of none.
    public var starts: [Int64]

    /// A series by its parts.
    public init(labels: Labels, times: [Int64], values: [Double], starts: [Int64] = []) {
        precondition(times.count == values.count, "\(times.count) times beside \(values.count) values")
        precondition(starts.isEmpty || starts.count == times.count, "\(starts.count) starts of \(times.count) values")
        (self.labels, self.times, self.values, self.starts) = (labels, times, values, starts)
    }
}

/// What a reader wants of each series in a window.
public enum Reading: Sendable, Hashable {
    /// Every sample.
    case all
    /// Only the newest sample, cheaper: O(1) per series where it is in the open chunk.
    case newest
}

/// Why a read was refused.
public enum SourceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// More samples than allowed; the selector that was being read.
    case tooManySamples(limit: Int, selector: String)
    /// More series than allowed.
    case tooManySeries(limit: Int, selector: String)
    /// The store cannot answer, and why.
    case unavailable(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .tooManySamples(let limit, let selector):
            "the selector \(selector) reads more than \(limit) samples; narrow it or shorten its range"
        case .tooManySeries(let limit, let selector):
            "the selector \(selector) reads more than \(limit) series; narrow it"
        case .unavailable(let reason): reason
        }
    }
}

/// How much one selection may read.
public struct ReadLimits: Sendable, Hashable {
    /// The greatest number of samples and of series.
    public var samples: Int, series: Int

    /// Limits by their parts.
    public init(samples: Int = 50_000_000, series: Int = 1_000_000) { (self.samples, self.series) = (samples, series) }
}

/// Series that were found, each decoded when it is asked for, so that a query over many holds few of them at a time.
/// What they show is one snapshot; they may be decoded on several threads at once, each more than once.
public protocol SelectedSeries: Sendable {
    /// How many series were found.
    var count: Int { get }
    /// Who a series is.
    func labels(of index: Int) -> Labels
    /// How many samples a series has in the window at the most, known without decoding.
    func bound(of index: Int) -> Int
    /// A series' samples in the window; none where its chunks reach into the window and its samples do not.
    func columns(of index: Int) throws(SourceError) -> SeriesColumns
}

/// Series that were decoded all at once.
struct DecodedSeries: SelectedSeries {
    let series: [SeriesColumns]
    var count: Int { series.count }
    func labels(of index: Int) -> Labels { series[index].labels }
    func bound(of index: Int) -> Int { series[index].times.count }
    func columns(of index: Int) -> SeriesColumns { series[index] }
}

extension SampleSource {
    /// For sources that are small, or that answer with decoded samples.
    public func find(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> any SelectedSeries {
        DecodedSeries(
            series: try select(matchers, after: after, through: through, reading: reading, limits: limits))
    }
}

/// What the query engine reads from: the store, a fixture, a remote server.
public protocol SampleSource: Sendable {
    /// The same as `select`, for decoding one by one: `limits.series` is held to, `limits.samples` is the caller's to
    /// hold to.
    func find(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> any SelectedSeries

    /// The series that all matchers fulfil, each with its samples in `(after, through]`, decoded once.
    /// Series without a sample there are left out. The order is by no rule; the values are a consistent snapshot.
    func select(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> [SeriesColumns]

    /// The label sets of series that some matcher list fulfils and that have samples in `[from, through]`.
    func series(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) throws(SourceError) -> [Labels]
    /// Sorted names of labels, of all series when `matchers` is empty.
    func labelNames(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) throws(SourceError) -> [String]
    /// Sorted values of a label.
    func labelValues(
        _ name: String, _ matchers: [[Matcher]], from: Timestamp, through: Timestamp
    ) throws(SourceError) -> [String]
}
