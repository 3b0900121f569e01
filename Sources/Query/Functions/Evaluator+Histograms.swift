internal import Basics
internal import Model

/// One bucket of a classic histogram: how many observations were at most `bound`.
struct Bucket {
    var bound: Double
    var count: Double
}

extension Evaluator {
    private struct Histogram {
        var labels: Labels
        var name: String
        var buckets: [(bound: Double, series: Int)] = []
    }

    /// `histogram_quantile` and `histogram_fraction` over classic buckets.
    func classicHistogram(
        _ function: SpecialFunction, _ call: Call, _ grid: StepGrid
    ) throws(QueryError) -> StepVector {
        let isQuantile = function == .histogramQuantile
        let first = try scalar(call.arguments[0], grid)
        let second = isQuantile ? .constant(0) : try scalar(call.arguments[1], grid)
        let argument = call.arguments[isQuantile ? 1 : 2]
        let input = try vector(argument, grid)
        if isQuantile { warnOfQuantiles(first, grid, at: call.arguments[0].range) }
        var output = StepVector(steps: grid.count)
        for histogram in histograms(input, at: argument.range) {
            let index = output.addSeries(histogram.labels, drops: options.delaysNameRemoval)
            var isForced = false
            try reduce(histogram, input, into: &output, index) { step, buckets in
                isQuantile
                    ? bucketQuantile(first[step], &buckets, isForced: &isForced)
                    : bucketFraction(first[step], second[step], buckets)
            }
            if isForced { noteForced(histogram.name, at: argument.range) }
        }
        output.removeEmpty()
        try output.mergeDuplicates()
        return output
    }

    /// `histogram_quantiles(v, label, q…)`: a series for each quantile, told apart by a label.
    func histogramQuantiles(_ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let argument = call.arguments[0]
        let input = try vector(argument, grid)
        let label = try string(call.arguments[1], grid)
        let histograms = histograms(input, at: argument.range)
        var output = StepVector(steps: grid.count)
        for expr in call.arguments.dropFirst(2) {
            let rank = try scalar(expr, grid)
            warnOfQuantiles(rank, grid, at: expr.range)
            for histogram in histograms {
                // The label tells the first step's quantile: in practice all steps have the same.
                var labels = histogram.labels
                labels[label] = openMetricsText(rank[0])
                let index = output.addSeries(labels, drops: options.delaysNameRemoval)
                var isForced = false
                try reduce(histogram, input, into: &output, index) { step, buckets in
                    bucketQuantile(rank[step], &buckets, isForced: &isForced)
                }
                if isForced { noteForced(histogram.name, at: argument.range) }
            }
        }
        output.removeEmpty()
        try output.mergeDuplicates()
        return output
    }

    /// One histogram's buckets at each step, sorted by bound, and what becomes of them.
    private func reduce(
        _ histogram: Histogram, _ input: StepVector, into output: inout StepVector, _ index: Int,
        _ reduce: (Int, inout [Bucket]) -> Double
    ) throws(QueryError) {
        try checkTime()
        var buckets: [Bucket] = []
        for step in 0..<input.steps {
            buckets.removeAll(keepingCapacity: true)
            for (bound, series) in histogram.buckets {
                let value = input.values[input.base(series) + step]
                if value.isPresent { buckets.append(Bucket(bound: bound, count: value)) }
            }
            if !buckets.isEmpty { output.values[output.base(index) + step] = reduce(step, &buckets) }
        }
    }

    private func noteForced(_ name: String, at range: SourceRange) {
        inform(
            "input to histogram_quantile needed to be fixed for monotonicity "
                + "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
                + (name.isEmpty ? "" : " for metric name \(name.goQuoted)"), at: range)
    }

    /// Series that differ in `le` alone, their buckets sorted by bound.
    private func histograms(_ input: StepVector, at range: SourceRange) -> [Histogram] {
        var histograms: [Histogram] = []
        var places: [Labels: Int] = [:]
        for series in 0..<input.count {
            let labels = input.labels[series]
            guard let bound = GoNumber.parse(labels["le"]) else {
                warn(
                    "bucket label \"le\" is missing or has a malformed value of \(labels["le"].goQuoted)"
                        + (labels.metricName.isEmpty ? "" : " for metric name \(labels.metricName.goQuoted)"),
                    at: range)
                continue
            }
            // Two histograms that differ in name alone are two; without their names they then collide.
            let kept = Labels(sortedUnique: labels.sorted.filter { $0.name != "le" })
            let place = places[kept] ?? histograms.count
            if place == histograms.count {
                places[kept] = place
                histograms.append(
                    Histogram(
                        labels: options.delaysNameRemoval ? kept : kept.withoutMetadata, name: labels.metricName))
            }
            histograms[place].buckets.append((bound, series))
        }
        for place in histograms.indices { histograms[place].buckets.sort { $0.bound < $1.bound } }
        return histograms
    }
}

/// The quantile by linear interpolation inside a bucket; `buckets` are sorted by bound, and are repaired in place.
///
/// - SeeAlso: Prometheus, `promql/quantile.go`, `BucketQuantile`.
func bucketQuantile(_ rank: Double, _ buckets: inout [Bucket], isForced: inout Bool) -> Double {
    if rank.isNaN { return .nan }
    if rank < 0 { return -.infinity }
    if rank > 1 { return .infinity }
    guard buckets.last?.bound == .infinity else { return .nan }
    coalesce(&buckets)
    makeMonotonic(&buckets, isForced: &isForced)
    guard buckets.count >= 2 else { return .nan }
    let observations = buckets[buckets.count - 1].count
    if observations == 0 { return .nan }
    var target = rank * observations
    // As Go's sort.Search: the first place whose count is not below, NaN counts never being at least anything.
    var (low, high) = (0, buckets.count - 1)
    while low < high {
        let middle = (low + high) / 2
        if buckets[middle].count >= target { high = middle } else { low = middle + 1 }
    }
    if low == buckets.count - 1 { return buckets[buckets.count - 2].bound }
    if low == 0, buckets[0].bound <= 0 { return buckets[0].bound }
    var (start, count) = (0.0, buckets[low].count)
    if low > 0 {
        start = buckets[low - 1].bound
        count -= buckets[low - 1].count
        target -= buckets[low - 1].count
    }
    return start + (buckets[low].bound - start) * (target / count)
}

/// Buckets of an equal bound are one.
private func coalesce(_ buckets: inout [Bucket]) {
    var last = 0
    for index in 1..<max(1, buckets.count) {
        if buckets[index].bound == buckets[last].bound {
            buckets[last].count += buckets[index].count
        } else {
            last += 1
            buckets[last] = buckets[index]
        }
    }
    buckets.removeLast(buckets.count - last - 1)
}

/// Counts never fall: differences within rounding are flattened, real ones are forced and told.
private func makeMonotonic(_ buckets: inout [Bucket], isForced: inout Bool) {
    var previous = buckets[0].count
    for index in 1..<max(1, buckets.count) {
        let current = buckets[index].count
        if current == previous { continue }
        if areAlmostEqual(previous, current, tolerance: 1e-12) {
            buckets[index].count = previous
        } else if current < previous {
            buckets[index].count = previous
            isForced = true
        } else {
            previous = current
        }
    }
}

/// Whether two numbers differ by at most a share of their sum.
///
/// - SeeAlso: Prometheus, `util/almost/almost.go`.
func areAlmostEqual(_ left: Double, _ right: Double, tolerance: Double) -> Bool {
    if left.isStaleMarker || right.isStaleMarker { return left.isStaleMarker && right.isStaleMarker }
    if left.isNaN, right.isNaN { return true }
    if left == right { return true }
    let difference = abs(left - right)
    if left == 0 || right == 0 || abs(left) + abs(right) < .leastNormalMagnitude {
        return difference < tolerance * .leastNormalMagnitude
    }
    return difference / min(abs(left) + abs(right), .greatestFiniteMagnitude) < tolerance
}

/// The share of observations between two values; `buckets` are sorted by bound.
///
/// - SeeAlso: Prometheus, `promql/quantile.go`, `BucketFraction`.
func bucketFraction(_ lower: Double, _ upper: Double, _ buckets: [Bucket]) -> Double {
    var buckets = buckets
    guard buckets.last?.bound == .infinity else { return .nan }
    coalesce(&buckets)
    let count = buckets[buckets.count - 1].count
    if count == 0 || lower.isNaN || upper.isNaN { return .nan }
    if lower >= upper { return 0 }
    var rank = 0.0
    var (lowerRank, upperRank): (Double?, Double?)
    var start = buckets[0].bound <= 0 ? -Double.infinity : 0
    for bucket in buckets {
        func interpolated(_ value: Double) -> Double {
            // Nothing is known about where values lie in a bucket without a lower end.
            if start == -.infinity { return bucket.count }
            return rank + (bucket.count - rank) * (value - start) / (bucket.bound - start)
        }
        func rankOf(_ value: Double) -> Double? {
            if start >= value { return rank }
            return bucket.bound > value ? interpolated(value) : nil
        }
        lowerRank = lowerRank ?? rankOf(lower)
        upperRank = upperRank ?? rankOf(upper)
        if lowerRank != nil, upperRank != nil { break }
        rank = bucket.count
        start = bucket.bound
    }
    return (min(upperRank ?? count, count) - min(lowerRank ?? count, count)) / count
}

/// A number as OpenMetrics writes it in a label: `1.0`, `0.5`, `1e+06`.
private func openMetricsText(_ value: Double) -> String {
    let text = GoNumber.shortest(value)
    return value.isFinite && !text.contains(where: { $0 == "." || $0 == "e" }) ? text + ".0" : text
}
