internal import Basics
internal import Glibc
internal import Model

extension Evaluator {
    /// A function of a range vector: each series' columns once, its window sliding over them.
    func window(_ function: WindowFunction, _ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let isMatrixFirst = function.parameters[0] == .matrix
        let argument = call.arguments[isMatrixFirst ? 0 : 1]
        try check(reachOf: argument, in: call, function)
        let input = try windowed(argument, grid)
        var parameters: [StepScalar] = []
        for (index, type) in function.parameters.enumerated() where type == .scalar {
            parameters.append(try scalar(call.arguments[index], grid))
        }
        try check(function, parameters, call, grid)
        try checkPoints(input.series.count, grid.count)
        var output = StepVector(
            labels: input.series.map(\.labels),
            values: Array(repeating: absentValue, count: input.series.count * grid.count), steps: grid.count)
        output.dropsName = input.dropsName
        var values = output.values.mutableSpan
        for (index, columns) in input.series.enumerated() where !columns.times.isEmpty {
            if index & 0x3F == 0 || grid.count > 64 { try checkTime() }
            let base = index * grid.count
            switch function {
            case _ where input.reach != nil:
                slideReaching(function, columns, input, grid.count, into: &values, at: base)
            case .rate, .increase, .delta:
                let overlaps = slideRate(function, columns, input, grid.count, into: &values, at: base)
                if overlaps { noteOverlap(columns.labels.metricName, at: call.arguments[0].range) }
            case .irate where startsMatter(columns), .resets where startsMatter(columns):
                slideResets(function, columns, input, grid.count, into: &values, at: base)
            case .minOverTime:
                slideExtremum(columns, input, grid.count, into: &values, at: base) { $0 < $1 }
            case .maxOverTime:
                slideExtremum(columns, input, grid.count, into: &values, at: base) { $0 > $1 }
            default:
                slide(columns, input, grid.count, into: &values, at: base) { times, values, step in
                    reduce(function, times, values, parameters, step: step, moment: grid.time(step))
                }
            }
        }
        output.removeEmpty()
        if function == .rate || function == .increase { noteNonCounters(output, call) }
        if !function.keepsName { try dropNames(&output) }
        return output
    }

    /// Only some functions know what to make of a window that reaches outside of itself.
    func check(reachOf argument: Expr, in call: Call, _ function: WindowFunction?) throws(QueryError) {
        guard case .matrix(let node) = argument.bare, let reach = node.selector.reach else { return }
        if let function, reach.functions.contains(function) { return }
        throw .execution(
            "\(reach.rawValue) modifier can only be used with: "
                + "\(reach.functions.map(\.rawValue).joined(separator: ", ")) - not with \(call.function.name)")
    }

    private func noteOverlap(_ name: String, at range: SourceRange) {
        warn(
            "sample has start time that overlaps with previous sample timestamp for metric \(name.goQuoted)", at: range)
    }

    /// Whether a series' counters are known to have begun at some moments, and that is asked for.
    func startsMatter(_ columns: SeriesColumns) -> Bool { options.usesStartTimes && !columns.starts.isEmpty }

    private func check(
        _ function: WindowFunction, _ parameters: [StepScalar], _ call: Call, _ grid: StepGrid
    ) throws(QueryError) {
        switch function {
        case .quantileOverTime: warnOfQuantiles(parameters[0], grid, at: call.arguments[0].range)
        case .doubleExponentialSmoothing:
            for (name, factor) in zip(["smoothing", "trend"], parameters) {
                for step in 0..<grid.count where !(factor[step] > 0 && factor[step] < 1) {
                    throw .execution(
                        "invalid \(name) factor. Expected: 0 < \(name == "smoothing" ? "sf" : "tf") < 1, "
                            + "got: \(GoNumber.fixed(factor[step]))")
                }
            }
        default: break
        }
    }

    /// Notes quantiles outside of 0…1, each once.
    func warnOfQuantiles(_ rank: StepScalar, _ grid: StepGrid, at range: SourceRange) {
        var last: UInt64?
        for step in 0..<grid.count where !(rank[step] >= 0 && rank[step] <= 1) {
            guard rank[step].bitPattern != last else { continue }
            last = rank[step].bitPattern
            warn(
                "quantile value should be between 0 and 1, got \(GoNumber.shortest(rank[step]))",
                at: range)
            if case .constant = rank { return }
        }
    }

    private func noteNonCounters(_ output: StepVector, _ call: Call) {
        var last = ""
        for labels in output.labels {
            let name = labels.metricName
            guard name != last, !name.isEmpty else { continue }
            last = name
            if !["_total", "_sum", "_count", "_bucket"].contains(where: name.hasSuffix) {
                inform(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                        + name.goQuoted, at: call.arguments[0].range)
            }
        }
    }

    /// Moves the window of each step over a series and writes what `reduce` makes of it. O(samples + steps) moves.
    @inline(__always)
    func slide(
        _ columns: SeriesColumns, _ input: WindowedSeries, _ steps: Int, into output: inout MutableSpan<Double>,
        at base: Int,
        _ reduce: (Span<Int64>, Span<Double>, Int) -> Double
    ) {
        let times = columns.times.span
        let values = columns.values.span
        var (low, high) = (0, 0)
        for step in 0..<steps {
            let end = input.end(step)
            while high < times.count, times[high] <= end { high += 1 }
            while low < high, times[low] <= end - input.window { low += 1 }
            guard low < high else { continue }
            output[base + step] = reduce(times.extracting(low..<high), values.extracting(low..<high), step)
        }
    }

    /// `min_over_time`, `max_over_time`: amortised O(1) per step, by the samples that no later one in the window beats.
    @inline(__always)
    private func slideExtremum(
        _ columns: SeriesColumns, _ input: WindowedSeries, _ steps: Int, into output: inout MutableSpan<Double>,
        at base: Int,
        _ beats: (Double, Double) -> Bool
    ) {
        let times = columns.times.span
        let values = columns.values.span
        if steps == 1 {
            let (low, high) = (
                times.firstIndex(after: input.end(0) - input.window), times.firstIndex(after: input.end(0))
            )
            guard low < high else { return }
            var best = Double.nan
            for index in low..<high where beats(values[index], best) || best.isNaN { best = values[index] }
            output[base] = best
            return
        }
        var (low, high, first) = (0, 0, 0)
        // Places of candidates from `first` on, the best one first; NaN is never one.
        var candidates: [Int] = []
        for step in 0..<steps {
            let end = input.end(step)
            while high < times.count, times[high] <= end {
                let value = values[high]
                if !value.isNaN {
                    while candidates.count > first, !beats(values[candidates[candidates.count - 1]], value) {
                        candidates.removeLast()
                    }
                    candidates.append(high)
                }
                high += 1
            }
            while low < high, times[low] <= end - input.window { low += 1 }
            while first < candidates.count, candidates[first] < low { first += 1 }
            guard low < high else { continue }
            output[base + step] = first < candidates.count ? values[candidates[first]] : .nan
        }
    }

    /// `rate`, `increase`, `delta`: O(1) per step, plus the counter resets inside the window.
    ///
    /// - SeeAlso: Prometheus, `promql/functions.go`, `extrapolatedRate`.
    /// - Returns: Whether a counter that is known to have begun at some moment began before its last sample.
    private func slideRate(
        _ function: WindowFunction, _ columns: SeriesColumns, _ input: WindowedSeries, _ steps: Int,
        into output: inout MutableSpan<Double>, at base: Int
    ) -> Bool {
        let times = columns.times.span
        let values = columns.values.span
        let isCounter = function != .delta
        let starts = isCounter && startsMatter(columns) ? columns.starts : []
        var resets: [Int] = []
        var overlaps: [Int] = []
        if isCounter {
            for index in 1..<max(1, values.count)
            where values[index] < values[index - 1] || (!starts.isEmpty && columns.beginsAnew(at: index)) {
                resets.append(index)
            }
        }
        if !starts.isEmpty {
            for index in 1..<starts.count
            where starts[index] != 0 && starts[index] < times[index - 1] && starts[index] != starts[index - 1] {
                overlaps.append(index)
            }
        }
        var hasOverlap = false
        let (hasStarts, hasResets) = (!starts.isEmpty, !resets.isEmpty)
        let divisor = function == .rate ? Double(input.window) / 1000 : 1
        var (low, high, firstReset) = (0, 0, 0)
        var end = input.firstEnd - input.stride
        for step in 0..<steps {
            end &+= input.stride
            let start = end - input.window
            while high < times.count, times[high] <= end { high += 1 }
            while low < high, times[low] <= start { low += 1 }
            // A counter that began inside the window stood at zero then.
            let zero = hasStarts && low < high && starts[low] > start && starts[low] < times[low] ? starts[low] : 0
            guard high - low >= 2 || zero != 0 else { continue }
            if !overlaps.isEmpty, overlaps.contains(where: { $0 > low && $0 < high }) { hasOverlap = true }
            var increase = values[high - 1] - values[low]
            if hasResets {
                while firstReset < resets.count, resets[firstReset] <= low { firstReset += 1 }
                var index = firstReset
                while index < resets.count, resets[index] < high {
                    increase += values[resets[index] - 1]
                    index += 1
                }
            }
            if zero != 0 {
                increase += values[low]
                let average = high - low < 2 ? 0 : Double(times[high - 1] - times[low]) / 1000 / Double(high - low - 1)
                let sampled = Double(times[high - 1] - zero) / 1000
                var toEnd = Double(end - times[high - 1]) / 1000
                if toEnd >= average * 1.1 { toEnd = average / 2 }
                let factor = (sampled + toEnd) / sampled
                output[base + step] = increase * (factor / divisor)
                continue
            }
            let sampled = Double(times[high - 1] - times[low]) / 1000
            let average = sampled / Double(high - low - 1)
            var toStart = Double(times[low] - start) / 1000
            var toEnd = Double(end - times[high - 1]) / 1000
            if toStart >= average * 1.1 { toStart = average / 2 }
            if isCounter, increase > 0, values[low] >= 0 {
                // A counter was never below zero: it did not begin before the line through its samples meets zero.
                toStart = min(toStart, sampled * (values[low] / increase))
            }
            if toEnd >= average * 1.1 { toEnd = average / 2 }
            output[base + step] = increase * ((sampled + toStart + toEnd) / sampled / divisor)
        }
        return hasOverlap
    }
}

extension Span<Int64> {
    /// The first place whose value, of ascending ones, is greater than `bound`.
    fileprivate func firstIndex(after bound: Int64) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] > bound { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// What a function makes of one window, which is not empty; `absentValue` for nothing.
private func reduce(
    _ function: WindowFunction, _ times: Span<Int64>, _ values: Span<Double>, _ parameters: [StepScalar], step: Int,
    moment: Int64
) -> Double {
    let last = values.count - 1
    switch function {
    case .rate, .increase, .delta, .minOverTime, .maxOverTime: return absentValue
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
    case .changes: return countNeighbours(values) { $0 != $1 && !($0.isNaN && $1.isNaN) }
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
