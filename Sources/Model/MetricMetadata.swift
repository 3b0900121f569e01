/// What a metric is, as Prometheus and OpenMetrics name it. `unknown` is also the text format's `untyped`.
public enum MetricType: String, Sendable, Hashable, CaseIterable {
    case unknown, counter, gauge, histogram, gaugehistogram, summary, info, stateset
}

/// What a page says of a metric beside its samples: its TYPE, HELP and UNIT lines.
public struct MetricMetadata: Sendable, Hashable {
    /// The family's name as its TYPE line has it, so an OpenMetrics counter's without `_total`.
    public var metric: String
    /// `unknown` where the page says nothing.
    public var type: MetricType
    /// Unescaped; empty where the page says nothing.
    public var help: String
    /// Such as `seconds`; empty where the page says nothing.
    public var unit: String

    /// Metadata by its parts.
    public init(metric: String, type: MetricType = .unknown, help: String = "", unit: String = "") {
        (self.metric, self.type, self.help, self.unit) = (metric, type, help, unit)
    }
}
