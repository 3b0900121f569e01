/// A sum that keeps what rounding loses (Kahan's, with Neumaier's improvement).
///
/// - SeeAlso: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974);
///   Prometheus, `util/kahansum`.
struct CompensatedSum {
    var sum = 0.0
    var compensation = 0.0

    @inline(__always)
    mutating func add(_ value: Double) {
        let total = sum + value
        // Knuth's two-sum: what Neumaier's comparison finds, without a branch that cannot be foreseen.
        let added = total - sum
        let lost = (sum - (total - added)) + (value - added)
        compensation = total.isInfinite ? 0 : compensation + lost
        sum = total
    }

    @inline(__always)
    var value: Double { sum + compensation }
}

/// A mean that does not overflow while its values do not: a sum first, and an incremental mean once the sum would be
/// infinite.
///
/// - SeeAlso: Prometheus, `promql/functions.go`, `funcAvgOverTime`.
struct Mean {
    private var sum = CompensatedSum()
    private var count = 0.0
    private var isIncremental = false

    @inline(__always)
    mutating func add(_ value: Double) {
        count += 1
        if !isIncremental {
            var next = sum
            next.add(value)
            if !next.sum.isInfinite || count == 1 {
                sum = next
                return
            }
            isIncremental = true
            sum.sum /= count - 1
            sum.compensation /= count - 1
        }
        let share = (count - 1) / count
        sum.sum *= share
        sum.compensation *= share
        sum.add(value / count)
    }

    var value: Double {
        isIncremental ? sum.value : sum.sum / count + sum.compensation / count
    }

    /// The mean of some values, one at least.
    static func of(_ values: Span<Double>) -> Double {
        var sum = CompensatedSum()
        for index in values.indices { sum.add(values[index]) }
        if sum.sum.isFinite {
            let count = Double(values.count)
            return sum.sum / count + sum.compensation / count
        }
        var mean = Mean()
        for index in values.indices { mean.add(values[index]) }
        return mean.value
    }
}

/// Population variance in one pass.
///
/// - SeeAlso: B. P. Welford, "Note on a method for calculating corrected sums of squares and products" (1962).
struct Variance {
    private var count = 0.0
    private var mean = CompensatedSum()
    private var squares = CompensatedSum()

    @inline(__always)
    mutating func add(_ value: Double) {
        count += 1
        let delta = value - mean.value
        mean.add(delta / count)
        squares.add(delta * (value - mean.value))
    }

    var value: Double { squares.value / count }
}

/// The `rank`-quantile of values by linear interpolation; NaN counts as the smallest. Sorts `values`.
///
/// - Returns: NaN for no values or a NaN rank, -Inf below 0, +Inf above 1.
func quantile(_ rank: Double, of values: inout [Double]) -> Double {
    guard !values.isEmpty, !rank.isNaN else { return .nan }
    if rank < 0 { return -.infinity }
    if rank > 1 { return .infinity }
    values.sort { $0 < $1 || ($0.isNaN && !$1.isNaN) }
    let position = rank * Double(values.count - 1)
    let lower = max(0, Int(position))
    let upper = min(values.count - 1, lower + 1)
    let weight = position - position.rounded(.down)
    return values[lower] * (1 - weight) + values[upper] * weight
}

/// Least squares over samples, times in seconds relative to `origin`; at least two samples.
///
/// - SeeAlso: Prometheus, `promql/functions.go`, `linearRegression`.
func linearRegression(
    _ times: Span<Int64>, _ values: Span<Double>, origin: Int64
) -> (slope: Double, intercept: Double) {
    // x, y, xy and x², each summed as `CompensatedSum` does it, four at a time.
    var sums = SIMD4<Double>.zero
    var compensations = SIMD4<Double>.zero
    let first = values[0]
    var isConstant = true
    for index in values.indices {
        let y = values[index]
        if y != first { isConstant = false }
        let x = Double(times[index] - origin) / 1000
        let terms = SIMD4(x, y, x * y, x * x)
        let totals = sums + terms
        let added = totals - sums
        compensations += (sums - (totals - added)) + (terms - added)
        sums = totals
    }
    if isConstant { return first.isInfinite ? (.nan, .nan) : (0, first) }
    // An infinite sum has lost nothing, and says NaN of what it lost.
    compensations.replace(with: 0, where: sums .== .infinity .| sums .== -.infinity)
    let (sum, count) = (sums + compensations, Double(values.count))
    let covariance = sum[2] - sum[0] * sum[1] / count
    let variance = sum[3] - sum[0] * sum[0] / count
    let slope = covariance / variance
    return (slope, sum[1] / count - slope * sum[0] / count)
}
