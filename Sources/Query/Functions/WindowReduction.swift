internal import Basics
internal import Glibc
internal import Model

/// What a function makes of one window by itself, which is not empty; `absentValue` for nothing. O(*n*): what a sliding
/// window gives is held against it.
func reduce(
    _ function: WindowFunction, _ times: Span<Int64>, _ values: Span<Double>, _ parameters: [StepScalar], step: Int,
    moment: Int64
) -> Double {
    let last = values.count - 1
    switch function {
    case .rate, .increase, .delta: return absentValue  // They slide always.
    case .minOverTime: return values[extremum(values) { $0 < $1 }]
    case .maxOverTime: return values[extremum(values) { $0 > $1 }]
    case .irate, .idelta:
        guard last >= 1 else { return absentValue }
        let (before, now) = (values[last - 1], values[last])
        if function == .idelta { return now - before }
        return (now < before ? now : now - before) / (Double(times[last] - times[last - 1]) / 1000)
    case .deriv:
        guard last >= 1 else { return absentValue }
        return linearRegression(times, values, origin: times[0]).slope
    case .predictLinear:
        guard last >= 1 else { return absentValue }
        let (slope, intercept) = linearRegression(times, values, origin: moment)
        return slope * parameters[0][step] + intercept
    case .changes: return countNeighbours(values, isChange)
    case .resets: return countNeighbours(values) { $1 < $0 }
    case .countOverTime: return Double(values.count)
    case .lastOverTime: return values[last]
    case .firstOverTime: return values[0]
    case .presentOverTime: return 1
    case .tsOfFirstOverTime: return Double(times[0]) / 1000
    case .tsOfLastOverTime: return Double(times[last]) / 1000
    case .tsOfMinOverTime: return Double(times[extremum(values) { $0 <= $1 }]) / 1000
    case .tsOfMaxOverTime: return Double(times[extremum(values) { $0 >= $1 }]) / 1000
    case .sumOverTime:
        var sum = CompensatedSum()
        for index in values.indices { sum.add(values[index]) }
        return sum.value
    case .avgOverTime:
        return Mean.of(values)
    case .stddevOverTime, .stdvarOverTime:
        var variance = Variance()
        for index in values.indices { variance.add(values[index]) }
        return function == .stdvarOverTime ? variance.value : variance.value.squareRoot()
    case .quantileOverTime:
        var copy = copied(values)
        return quantile(parameters[0][step], of: &copy)
    case .madOverTime:
        var copy = copied(values)
        let median = quantile(0.5, of: &copy)
        for index in copy.indices { copy[index] = abs(copy[index] - median) }
        return copy.contains(where: \.isNaN) ? .nan : quantile(0.5, of: &copy)
    case .doubleExponentialSmoothing:
        return smoothed(values, level: parameters[0][step], trend: parameters[1][step])
    }
}

/// Whether two neighbours differ; a NaN is like any other.
@inline(__always)
func isChange(_ before: Double, _ now: Double) -> Bool { before != now && !(before.isNaN && now.isNaN) }

private func countNeighbours(_ values: Span<Double>, _ counts: (Double, Double) -> Bool) -> Double {
    var count = 0.0
    for index in 1..<max(1, values.count) where counts(values[index - 1], values[index]) { count += 1 }
    return count
}

/// The place of the value that beats all before it; a NaN is beaten by any number.
private func extremum(_ values: Span<Double>, _ beats: (Double, Double) -> Bool) -> Int {
    var best = 0
    for index in 1..<max(1, values.count) where beats(values[index], values[best]) || values[best].isNaN {
        best = index
    }
    return best
}

private func copied(_ values: Span<Double>) -> [Double] {
    var copy: [Double] = []
    copy.reserveCapacity(values.count)
    for index in values.indices { copy.append(values[index]) }
    return copy
}

/// Holt's linear method, levels and trends smoothed by their factors; absent with fewer than two samples.
private func smoothed(_ values: Span<Double>, level: Double, trend: Double) -> Double {
    guard values.count >= 2 else { return absentValue }
    var (before, now, slope) = (0.0, values[0], values[1] - values[0])
    for index in 1..<values.count {
        if index > 1 { slope = trend * (now - before) + (1 - trend) * slope }
        (before, now) = (now, level * values[index] + (1 - level) * (now + slope))
    }
    return now
}
