internal import Basics
internal import Model
internal import Query

/// One side of a feature as it was read: its observations, or what stands against them.
struct DriftSide: Hashable {
    var observations: DriftObservations
    /// A fault in the data itself, which no later evaluation mends: it is told in the rule's health.
    var fault: String?
    /// Values that are no finite numbers, left out.
    var dropped = 0
}

/// Turns the series of a window into observations by feature.
struct DriftReader {
    let definition: DriftDefinition
    /// The most values that one window of raw samples may hold: 16 MB, a second to sort.
    static let valueLimit = 2_000_000

    /// The sides by feature.
    func sides(of series: [SeriesColumns]) throws(RuleFailure) -> [String: DriftSide] {
        if definition.kind == .samples {
            let count = series.reduce(0) { $0 + $1.values.count }
            guard count <= DriftReader.valueLimit else {
                throw RuleFailure(
                    description: "a window holds \(count) samples where \(DriftReader.valueLimit) are allowed; shorten "
                        + "it, or record the feature as a histogram")
            }
        }
        var features: [String: [SeriesColumns]] = [:]
        for columns in series {
            let written = columns.labels[definition.featureLabel]
            let sole = definition.soleFeature.isEmpty ? columns.labels.metricName : definition.soleFeature
            features[written.isEmpty ? sole : written, default: []].append(columns)
        }
        var sides: [String: DriftSide] = [:]
        for (feature, series) in features {
            sides[feature] =
                switch definition.kind {
                case .histogram: buckets(series)
                case .samples: values(series)
                case .categories: categories(series)
                }
        }
        return sides
    }

    private func values(_ series: [SeriesColumns]) -> DriftSide {
        var values: [Double] = []
        values.reserveCapacity(series.reduce(0) { $0 + $1.values.count })
        var dropped = 0
        for columns in series {
            for value in columns.values {
                if value.isFinite { values.append(value) } else { dropped += 1 }
            }
        }
        values.sort()
        return DriftSide(observations: .values(values), dropped: dropped)
    }

    private func categories(_ series: [SeriesColumns]) -> DriftSide {
        var side = DriftSide(observations: .categories([:]))
        var counts: [String: Double] = [:]
        for columns in series {
            let category = columns.labels[definition.categoryLabel]
            if category.isEmpty {
                side.fault =
                    "a series has no label '\(definition.categoryLabel)'; name the category's label under category"
            }
            guard columns.values.allSatisfy(\.isFinite) else {
                side.fault = "the counter of '\(category)' is NaN or infinite"
                continue
            }
            counts[category, default: 0] += increase(of: columns.values)
        }
        side.observations = .categories(counts)
        return side
    }

    /// The sum of what a counter rose by; a fall is a reset, after which the whole value is new. PromQL's rule for
    /// `increase` without its extrapolation, so that counts stay counts: the rise up to the first sample in the window
    /// belongs to the window before.
    private func increase(of values: [Double]) -> Double {
        var sum = 0.0
        for index in values.indices.dropFirst() {
            sum += values[index] < values[index - 1] ? values[index] : values[index] - values[index - 1]
        }
        return sum
    }

    // MARK: Histograms

    private func buckets(_ series: [SeriesColumns]) -> DriftSide {
        var bounds: [Double] = []
        var cumulated: [Double] = []
        func faulty(_ fault: String) -> DriftSide {
            DriftSide(observations: .buckets(bounds: [], counts: []), fault: fault)
        }
        for (_, buckets) in Dictionary(grouping: series, by: { $0.labels.dropping([bucketLabel]) }) {
            var parts: [(bound: Double, columns: SeriesColumns)] = []
            for columns in buckets {
                let text = columns.labels[bucketLabel]
                guard let bound = GoNumber.parse(text), !bound.isNaN else {
                    return faulty("the label le is '\(text)' and no bound; select the buckets of a classic histogram")
                }
                parts.append((bound, columns))
            }
            parts.sort { $0.bound < $1.bound }
            guard parts.last?.bound == .infinity else {
                return faulty("there is no bucket le=\"+Inf\"; select all buckets")
            }
            if bounds.isEmpty {
                bounds = parts.map(\.bound)
                cumulated = Array(repeating: 0, count: bounds.count)
            }
            guard parts.map(\.bound) == bounds else {
                return faulty(
                    "series of the feature have different buckets, \(told(bounds)) and \(told(parts.map(\.bound))); "
                        + "let all expose the same")
            }
            guard parts.allSatisfy({ $0.columns.times == parts[0].columns.times }) else {
                return faulty(
                    "a histogram's buckets have samples at different moments: its bounds changed in the window; wait "
                        + "until the window has passed, or begin it later")
            }
            guard parts.allSatisfy({ $0.columns.values.allSatisfy(\.isFinite) }) else {
                return faulty("a bucket's count is NaN or infinite")
            }
            add(parts.map(\.columns.values), to: &cumulated)
        }
        var counts: [Double] = []
        for (index, count) in cumulated.enumerated() {
            let own = index == 0 ? count : count - cumulated[index - 1]
            guard own >= -1e-9 * max(1, count) else {
                return faulty("the count of bucket le=\"\(GoNumber.fixed(bounds[index]))\" is less than that below it")
            }
            counts.append(max(0, own))
        }
        return DriftSide(observations: .buckets(bounds: bounds, counts: counts))
    }

    /// Adds what each bucket rose by. The buckets of one histogram are reset together: when any falls, the values of
    /// all are new, also of one that has risen past its old count since.
    private func add(_ buckets: [[Double]], to sums: inout [Double]) {
        for step in (buckets.first?.indices ?? 0..<0).dropFirst() {
            let isReset = buckets.contains { $0[step] < $0[step - 1] }
            for (index, values) in buckets.enumerated() {
                sums[index] += isReset ? values[step] : values[step] - values[step - 1]
            }
        }
    }
}

private let bucketLabel = "le"

/// Bounds for messages: `0.1, 1, +Inf`, the middle left out of long lists.
func told(_ bounds: [Double]) -> String {
    let texts = bounds.map(GoNumber.fixed)
    let shown = texts.count <= 8 ? texts : Array(texts.prefix(4)) + ["…"] + Array(texts.suffix(3))
    return "(\(shown.joined(separator: ", ")))"
}
