public import Basics

/// One event that a sample counted, mostly by the trace it belongs to.
public struct Exemplar: Hashable, Sendable {
    /// `trace_id` and the like.
    public var labels: Labels
    /// What was observed.
    public var value: Double
    /// When: its own time, else its sample's.
    public var timestamp: Timestamp

    /// An exemplar by its parts.
    public init(labels: Labels, value: Double, timestamp: Timestamp) {
        (self.labels, self.value, self.timestamp) = (labels, value, timestamp)
    }

    /// Names and values together may have so many characters (Unicode scalars).
    ///
    /// - SeeAlso: OpenMetrics 1.0, "Exemplars".
    public static let labelLimit = 128
}

/// An exemplar with the series it belongs to.
public struct SeriesExemplar: Hashable, Sendable {
    /// The store's number of the series, and its labels.
    public var reference: SeriesReference, series: Labels
    /// The event.
    public var exemplar: Exemplar

    /// An exemplar by its parts.
    public init(reference: SeriesReference, series: Labels, exemplar: Exemplar) {
        (self.reference, self.series, self.exemplar) = (reference, series, exemplar)
    }
}

/// The exemplars of one series, the oldest first.
public struct SeriesExemplars: Hashable, Sendable {
    /// The series' labels.
    public var series: Labels
    /// The events.
    public var exemplars: [Exemplar]

    /// Exemplars by their parts.
    public init(series: Labels, exemplars: [Exemplar]) { (self.series, self.exemplars) = (series, exemplars) }
}

/// Where exemplars go.
public protocol ExemplarSink: Sendable {
    /// Takes the exemplars of one stored page that were not on the page before, in its order; never those of a page
    /// that failed.
    func append(_ exemplars: [SeriesExemplar])
}
