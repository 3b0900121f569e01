internal import Basics
internal import Model
internal import Statistics
internal import Synchronization

/// Counts over fixed bounds.
struct FixedHistogram: Sendable {
    let bounds: [Double]
    /// One more than bounds.
    private(set) var counts: [Int]
    private(set) var sum = 0.0

    init(_ bounds: [Double]) {
        self.bounds = bounds
        counts = [Int](repeating: 0, count: bounds.count + 1)
    }

    mutating func add(_ value: Double) {
        var place = 0
        while place < bounds.count, value > bounds[place] { place += 1 }
        counts[place] += 1
        sum += value
    }

    /// Upper bound and how many are at most that, `+Inf` last.
    var cumulative: [(bound: String, count: Int)] {
        var total = 0
        return counts.indices.map { place in
            total += counts[place]
            return (place < bounds.count ? GoNumber.shortest(bounds[place]) : "+Inf", total)
        }
    }

    func lines(_ labels: Labels) -> [MetricFamily.Line] {
        cumulative.map { .init(suffix: "_bucket", labels: labels.merging(["le": $0.bound]), value: Double($0.count)) }
            + [
                .init(suffix: "_sum", labels: labels, value: sum),
                .init(suffix: "_count", labels: labels, value: Double(counts.reduce(0, +))),
            ]
    }
}

/// What the features of many customers look like: live, or of a training.
struct FeatureProfile: Sendable {
    var histograms = ChurnFeature.allCases.map { FixedHistogram($0.bounds) }
    var tiers = [Int](repeating: 0, count: PlanTier.allCases.count)

    mutating func add(_ values: some Collection<Double>) {
        for (index, value) in values.enumerated() {
            if ChurnFeature.allCases[index] == .planTier {
                tiers[min(max(0, Int(value)), tiers.count - 1)] += 1
            } else {
                histograms[index].add(value)
            }
        }
    }

    /// The reference that drift rules read: cumulative counts by bound, counts by category.
    var reference: JSON {
        let features = ChurnFeature.allCases.enumerated().map { index, feature in
            guard feature != .planTier else {
                let counts = PlanTier.allCases.map { JSON.Member($0.name, .number(Double(tiers[$0.rawValue]))) }
                return JSON.Member(feature.rawValue, ["categories": .object(counts)])
            }
            let buckets = histograms[index].cumulative.map { bound, count in
                ["le": .string(bound), "count": .number(Double(count))] as JSON
            }
            return JSON.Member(feature.rawValue, ["buckets": .array(buckets)])
        }
        return ["features": .object(features)]
    }
}

/// What the churn workload counts: every prediction, its features, its time.
final class ChurnFigures: Sendable {
    struct State {
        var profile = FeatureProfile()
        var probability = FixedHistogram([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
        var duration = FixedHistogram([0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1])
        var risks = [Int](repeating: 0, count: ChurnRisk.allCases.count)
        var sources: [String: Int] = ["model": 0, "previous_model": 0, "rules": 0]
        var accuracy: Double?
        var judged = 0
        var quality: Double?
        var refused = 0
    }
    let state = Mutex(State())

    func add(_ values: [Double], probability: Double, risk: ChurnRisk, source: String) {
        state.withLock { state in
            state.profile.add(values)
            state.probability.add(probability)
            state.risks[ChurnRisk.allCases.firstIndex(of: risk) ?? 0] += 1
            state.sources[source, default: 0] += 1
        }
    }

    func metrics() -> [MetricFamily] {
        let state = state.withLock { $0 }
        func histogram(_ name: String, _ help: String, _ lines: [MetricFamily.Line]) -> MetricFamily {
            var family = MetricFamily(.histogram, name, help, [])
            family.lines = lines
            return family
        }
        let features = ChurnFeature.allCases.enumerated().filter { $0.element != .planTier }
        var families = [
            MetricFamily(
                .counter, "churn_predictions_total", "Predictions by risk.",
                ChurnRisk.allCases.enumerated().map { (["risk": $1.rawValue] as Labels, Double(state.risks[$0])) }),
            MetricFamily(
                .counter, "churn_prediction_sources_total", "Predictions by what gave them.",
                state.sources.sorted { $0.key < $1.key }.map { (["source": $0.key] as Labels, Double($0.value)) }),
            MetricFamily(
                .counter, "churn_requests_refused_total", "Requests for a prediction that were refused.",
                state.refused),
            histogram(
                "churn_prediction_probability", "Probabilities that were given.", state.probability.lines(Labels())),
            histogram(
                "churn_prediction_duration_seconds", "How long a prediction took.", state.duration.lines(Labels())),
            histogram(
                "churn_feature_value", "Features that predictions were made from.",
                features.flatMap { state.profile.histograms[$0.offset].lines(["feature": $0.element.rawValue]) }),
            MetricFamily(
                .counter, "churn_plan_tier_total", "Plans of customers that predictions were made for.",
                PlanTier.allCases.map { (["category": $0.name] as Labels, Double(state.profile.tiers[$0.rawValue])) }),
        ]
        if let accuracy = state.accuracy {
            families.append(
                MetricFamily(
                    .gauge, "model_accuracy_current", "The share of predictions that the outcome bore out.",
                    [(["model": "churn"] as Labels, accuracy)]))
            families.append(
                MetricFamily(
                    .gauge, "model_accuracy_rows", "Predictions with an outcome, from which the accuracy is.",
                    [(["model": "churn"] as Labels, Double(state.judged))]))
        }
        if let quality = state.quality {
            families.append(
                MetricFamily(
                    .gauge, "data_quality_score_current",
                    "The share of training rows without a missing or wrong value.",
                    [(["model": "churn"] as Labels, quality)]))
        }
        return families
    }
}
