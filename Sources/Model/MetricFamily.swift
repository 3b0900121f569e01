public import Basics

/// One metric with its samples, ready to be exposed: how every room tells its own figures.
public struct MetricFamily: Sendable {
    /// Prometheus' types.
    public enum Kind: String, Sendable { case counter, gauge, histogram, summary, untyped }
    /// One line; `suffix` such as `_bucket` follows the family's name.
    public struct Line: Sendable {
        /// What follows the family's name, the labels and the value.
        public var suffix: String, labels: Labels, value: Double
        /// When it was so; nil: now.
        public var timestamp: Timestamp?
        /// A line by its parts.
        public init(suffix: String, labels: Labels, value: Double, timestamp: Timestamp? = nil) {
            (self.suffix, self.labels, self.value, self.timestamp) = (suffix, labels, value, timestamp)
        }
    }

    /// The name, `vedette_scrapes_total`.
    public var name: String
    /// One sentence.
    public var help: String
    /// The type.
    public var kind: Kind
    /// The samples.
    public var lines: [Line]

    /// A family with its samples.
    public init(_ kind: Kind, _ name: String, _ help: String, _ samples: [(Labels, Double)]) {
        (self.kind, self.name, self.help) = (kind, name, help)
        lines = samples.map { Line(suffix: "", labels: $0.0, value: $0.1) }
    }

    /// A family with a single sample without labels.
    public init(_ kind: Kind, _ name: String, _ help: String, _ value: some BinaryInteger) {
        self.init(kind, name, help, [(Labels(), Double(value))])
    }
}

/// A room that has figures of its own to show.
public protocol MetricsSource: Sendable {
    /// Its families as they stand now.
    func metrics() -> [MetricFamily]
}
