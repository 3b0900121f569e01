public import Basics
public import Settings

/// What is known of a metric beside its values: what it is measured in, and which way is worse.
public struct MetricKind: Sendable, Hashable {
    /// The way that is worse.
    public enum Worse: String, Sendable, Hashable, CaseIterable { case up, down }

    /// The metric's name.
    public var name: String
    /// `ms`, `ratio`, `%`; for people.
    public var unit: String
    /// The way that is worse.
    public var worse: Worse
    /// Whether a service exports it under this name, so that no rule needs to record it.
    public var isExported = false
    /// Where it is declared; nil: it is built in.
    public var location: SourceLocation?

    /// The names that triggers and alerts of the product use, with the recording rules of `rules/services.yml`.
    public static let builtIn: [String: MetricKind] = {
        let table: [(name: String, unit: String, worse: Worse)] = [
            ("websocket_latency_p50", "ms", .up), ("websocket_latency_p95", "ms", .up),
            ("websocket_latency_p99", "ms", .up), ("ml_inference_latency_p50", "ms", .up),
            ("ml_inference_latency_p95", "ms", .up), ("ml_inference_latency_p99", "ms", .up),
            ("vision_analysis_latency_p95", "ms", .up), ("coaching_analysis_latency_p95", "ms", .up),
            ("churn_intervention_latency_avg", "s", .up), ("api_response_time_p95", "s", .up),
            ("api_response_time_avg", "s", .up), ("error_rate_percentage", "%", .up), ("error_ratio", "ratio", .up),
            ("websocket_connection_failures", "%", .up), ("conversion_rate_drop", "%", .down),
            ("feature_usage_drop", "%", .down), ("system_uptime", "ratio", .down),
            ("model_accuracy_current", "ratio", .down), ("data_quality_score_current", "ratio", .down),
            ("users_affected", "users", .up),
        ]
        let exported: Set = ["model_accuracy_current", "data_quality_score_current"]
        return Dictionary(
            uniqueKeysWithValues: table.map {
                var kind = MetricKind(name: $0.name, unit: $0.unit, worse: $0.worse)
                kind.isExported = exported.contains($0.name)
                return ($0.name, kind)
            })
    }()

    init(name: String, unit: String, worse: Worse, location: SourceLocation? = nil) {
        (self.name, self.unit, self.worse, self.location) = (name, unit, worse, location)
    }

    /// The built-in kinds and those of the top-level list `metrics`.
    public static func all(declaredIn map: SettingsMap) throws(SettingsError) -> [String: MetricKind] {
        var kinds = builtIn
        for part in try map.takeMaps("metrics") {
            let name: String = try part.require("name")
            guard part.has("worse") else { throw part.missing("worse") }
            var kind = MetricKind(
                name: name, unit: try part.take("unit", default: ""), worse: try part.take("worse", default: .up),
                location: part.location)
            kind.isExported = try part.take("exported", default: false)
            try part.finish()
            if let first = kinds[name]?.location {
                throw part.error("name", "'\(name)' is declared twice, first at \(first); leave one out")
            }
            kinds[name] = kind
        }
        return kinds
    }
}
