internal import Model

/// A range function over one series at a time: its window moves over the columns, and what one step has found serves
/// the next. O(1) per step and sample where the mathematics allow it; the others look at each window by itself.
struct WindowSlide: Sendable {
    let function: WindowFunction
    let windows: WindowGrid
    let parameters: [StepScalar]
    /// The steps as they were asked for, without `offset` and `@`.
    let moments: StepGrid
    /// Whether rates reckon with the moments at which their counters began.
    let usesStartTimes: Bool

    /// Writes a row, from a series without staleness markers.
    ///
    /// - Returns: Whether a counter that is known to have begun at some moment began before its last sample.
    func fill(_ row: inout MutableSpan<Double>, from columns: SeriesColumns) -> Bool {
        switch function {
        case _ where windows.reach != nil: slideReaching(columns, into: &row)
        case .rate, .increase, .delta: return slideRate(columns, into: &row)
        case .irate where startsMatter(columns), .resets where startsMatter(columns): slideResets(columns, into: &row)
        case _ where windows.steps == 1: slideAnew(columns, into: &row)
        case .changes: slideEvents(columns, into: &row, isChange)
        case .resets: slideEvents(columns, into: &row) { $1 < $0 }
        case .minOverTime: slideExtremum(columns, into: &row) { $0 < $1 }
        case .maxOverTime: slideExtremum(columns, into: &row) { $0 > $1 }
        case .tsOfMinOverTime: slideExtremum(columns, into: &row) { $0 < $1 }
        case .tsOfMaxOverTime: slideExtremum(columns, into: &row) { $0 > $1 }
        case .sumOverTime: slideSum(columns, into: &row)
        case .avgOverTime: slideSum(columns, into: &row)
        case .stddevOverTime, .stdvarOverTime: slideVariance(columns, into: &row)
        case .deriv, .predictLinear: slideLine(columns, into: &row)
        case .quantileOverTime: slideQuantile(columns, into: &row)
        default: slideAnew(columns, into: &row)
        }
        return false
    }

    /// Whether a series' counters are known to have begun at some moments, and that is asked for.
    func startsMatter(_ columns: SeriesColumns) -> Bool { usesStartTimes && !columns.starts.isEmpty }

    /// Each window by itself.
    private func slideAnew(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        slide(columns, windows, into: &row) { times, values, step in anew(times, values, step) }
    }

    @inline(__always)
    private func anew(_ times: Span<Int64>, _ values: Span<Double>, _ step: Int) -> Double {
        reduce(function, times, values, parameters, step: step, moment: moments.time(step))
    }

    // MARK: Extremes and events

    /// The best value, or its moment, by the samples that no later one in the window beats: amortised O(1) per step.
    @inline(__always)
    private func slideExtremum(
        _ columns: SeriesColumns, into row: inout MutableSpan<Double>, _ beats: (Double, Double) -> Bool
    ) {
        let (times, values) = (columns.times.span, columns.values.span)
        let givesTime = function == .tsOfMinOverTime || function == .tsOfMaxOverTime
        // Places of candidates from `first` on, the best one first; NaN is never one.
        var candidates: [Int] = []
        var first = 0
        slide(times, windows, into: &row) { low, high, fresh, _ in
            for place in fresh {
                let value = values[place]
                if value.isNaN { continue }
                while candidates.count > first, !beats(values[candidates[candidates.count - 1]], value) {
                    candidates.removeLast()
                }
                candidates.append(place)
            }
            while first < candidates.count, candidates[first] < low { first += 1 }
            let hasBest = first < candidates.count
            if givesTime { return Double(times[hasBest ? candidates[first] : high - 1]) / 1000 }
            return hasBest ? values[candidates[first]] : .nan
        }
    }

    /// How many neighbours in the window make an event of some kind: their places once, and two marks that move.
    @inline(__always)
    private func slideEvents(
        _ columns: SeriesColumns, into row: inout MutableSpan<Double>, _ isEvent: (Double, Double) -> Bool
    ) {
        let values = columns.values.span
        var (found, gone) = (0, 0)
        var events: [Int] = []
        for place in 1..<max(1, values.count) where isEvent(values[place - 1], values[place]) { events.append(place) }
        slide(columns.times.span, windows, into: &row) { low, high, _, _ in
            while found < events.count, events[found] < high { found += 1 }
            while gone < events.count, events[gone] <= low { gone += 1 }
            // Windows that do not touch: what lies between them is gone before it was found.
            found = max(found, gone)
            return Double(found - gone)
        }
    }

    // MARK: Sums

    private func slideSum(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        let values = columns.values.span
        let isMean = function == .avgOverTime
        slideSums(
            columns, into: &row, of: SIMD2<Double>.self, term: { place, _ in SIMD2(values[place], 0) },
            finish: { sums, low, high, _, _ in
                let count = Double(high - low)
                return isMean ? sums.totals[0] / count + sums.lost[0] / count : sums.totals[0] + sums.lost[0]
            })
    }

    /// By sums of differences to a sample of the window, whose squares cancel little as long as that sample is typical.
    private func slideVariance(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        let values = columns.values.span
        let isRoot = function == .stddevOverTime
        slideSums(
            columns, into: &row, of: SIMD2<Double>.self,
            term: { place, pivot in
                let difference = values[place] - values[pivot]
                return SIMD2(difference, difference * difference)
            },
            finish: { sums, low, high, pivot, _ in
                let count = Double(high - low)
                let (sum, squares) = (sums.value[0], sums.value[1] / count)
                let variance = squares - (sum / count) * (sum / count)
                if squares == 0 { return 0 }
                // Where deviations are small beside the values, Prometheus' own rounding shows: its way is gone then.
                let mean = values[pivot] + sum / count
                guard variance >= squares * 1e-3, variance * 1e10 >= mean * mean else { return nil }
                return isRoot ? variance.squareRoot() : variance
            })
    }

    /// Least squares by sums of differences to a sample of the window.
    private func slideLine(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        let (times, values) = (columns.times.span, columns.values.span)
        let isSlope = function == .deriv
        var (lastChange, seen) = (0, 1)
        slideSums(
            columns, into: &row, of: SIMD4<Double>.self,
            term: { place, pivot in
                let (x, y) = (Double(times[place] - times[pivot]) / 1000, values[place] - values[pivot])
                return SIMD4(x, y, x * y, x * x)
            },
            finish: { sums, low, high, pivot, step in
                guard high - low >= 2 else { return absentValue }
                while seen < high {
                    if values[seen] != values[seen - 1] { lastChange = seen }
                    seen += 1
                }
                let (sum, count) = (sums.value, Double(high - low))
                let isConstant = lastChange <= low
                let covariance = sum[2] - sum[0] * sum[1] / count
                let slope = covariance / (sum[3] - sum[0] * sum[0] / count)
                // Sums over times and values as they are, as Prometheus forms them, lose digits that these do not.
                // Where it has few left, its answer is found in its way.
                let origin = isSlope ? times[low] : moments.time(step)
                let meanTime = Double(times[pivot] - origin) / 1000 + sum[0] / count
                let meanValue = values[pivot] + sum[1] / count
                if isConstant { return isSlope ? 0 : values[low] }
                // Differences to an outlier have lost their digits.
                guard abs(values[pivot]) <= 1e3 * abs(meanValue) else { return nil }
                let lost = abs(meanTime * meanValue * count) * 1e-5
                if isSlope { return abs(covariance) > lost ? slope : nil }
                let duration = parameters[0][step]
                let result = meanValue + slope * (duration - meanTime)
                let doubt = abs(lost / covariance * slope * (abs(duration) + abs(meanTime)))
                return doubt <= abs(result) ? result : nil
            })
    }

    /// Sums of what `term` makes of each sample, beside a sample near by, for each window.
    ///
    /// - Parameter finish: Makes the result of the sums over the samples `low..<high`; nil: the window is looked at by
    ///   itself, as are those with infinities and numbers whose squares are too large.
    @inline(__always)
    private func slideSums<Lanes: SIMD<Double>>(
        _ columns: SeriesColumns, into row: inout MutableSpan<Double>, of _: Lanes.Type,
        term: (_ place: Int, _ pivot: Int) -> Lanes,
        finish: (_ sums: CompensatedSums<Lanes>, _ low: Int, _ high: Int, _ pivot: Int, _ step: Int) -> Double?
    ) {
        let (times, values) = (columns.times.span, columns.values.span)
        var sums = SlidingSums<Lanes>()
        var (lastWild, lastNaN) = (-1, -1)
        let needsTwo = function == .deriv || function == .predictLinear
        slide(times, windows, into: &row) { low, high, fresh, step in
            for place in fresh where !(abs(values[place]) < 1e100) {
                if values[place].isNaN { lastNaN = place } else { lastWild = place }
            }
            if lastNaN >= low { return needsTwo && high - low < 2 ? absentValue : .nan }
            if lastWild < low {
                let sum = sums.move(to: low, high, term)
                if let result = finish(sum, low, high, sums.pivot, step) { return result }
            }
            return anew(times.extracting(low..<high), values.extracting(low..<high), step)
        }
    }

    // MARK: Order

    private func slideQuantile(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        var ranked = RankedWindow(columns.values.span)
        var (first, end) = (0, 0)
        slide(columns.times.span, windows, into: &row) { low, high, _, step in
            // Windows that do not touch: what lies between them was never in one.
            while first < min(low, end) {
                ranked.remove(first)
                first += 1
            }
            (first, end) = (low, max(end, low))
            while end < high {
                ranked.insert(end)
                end += 1
            }
            return ranked.quantile(parameters[0][step])
        }
    }

    // MARK: Rates

    /// `rate`, `increase`, `delta`: O(1) per step.
    ///
    /// - SeeAlso: Prometheus, `promql/functions.go`, `extrapolatedRate`.
    private func slideRate(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) -> Bool {
        let (times, values) = (columns.times.span, columns.values.span)
        let isCounter = function != .delta
        let starts = isCounter && startsMatter(columns) ? columns.starts : []
        var resets = CounterResets()
        var overlaps: [Int] = []
        if isCounter {
            for place in 1..<max(1, values.count)
            where values[place] < values[place - 1] || (!starts.isEmpty && columns.beginsAnew(at: place)) {
                resets.add(place, after: values[place - 1])
            }
        }
        if !starts.isEmpty {
            for place in 1..<starts.count
            where starts[place] != 0 && starts[place] < times[place - 1] && starts[place] != starts[place - 1] {
                overlaps.append(place)
            }
        }
        var hasOverlap = false
        let (hasStarts, hasResets) = (!starts.isEmpty, !resets.places.isEmpty)
        let divisor = function == .rate ? Double(windows.window) / 1000 : 1
        slide(times, windows, into: &row) { low, high, _, step in
            let end = windows.end(step)
            let start = end &- windows.window
            // A counter that began inside the window stood at zero then.
            let zero = hasStarts && starts[low] > start && starts[low] < times[low] ? starts[low] : 0
            guard high - low >= 2 || zero != 0 else { return absentValue }
            if !overlaps.isEmpty, overlaps.contains(where: { $0 > low && $0 < high }) { hasOverlap = true }
            var increase = values[high - 1] - values[low]
            if hasResets { increase = resets.add(to: increase, low, high) }
            if zero != 0 {
                increase += values[low]
                let average = high - low < 2 ? 0 : Double(times[high - 1] - times[low]) / 1000 / Double(high - low - 1)
                let sampled = Double(times[high - 1] - zero) / 1000
                var toEnd = Double(end - times[high - 1]) / 1000
                if toEnd >= average * 1.1 { toEnd = average / 2 }
                let factor = (sampled + toEnd) / sampled
                return increase * (factor / divisor)
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
            return increase * ((sampled + toStart + toEnd) / sampled / divisor)
        }
        return hasOverlap
    }
}

/// Moves the window of each step over a series and writes what `reduce` makes of the samples in it, when there is one.
@inline(__always)
func slide(
    _ columns: SeriesColumns, _ windows: WindowGrid, into row: inout MutableSpan<Double>,
    _ reduce: (Span<Int64>, Span<Double>, Int) -> Double
) {
    let (times, values) = (columns.times.span, columns.values.span)
    slide(times, windows, into: &row) { low, high, _, step in
        reduce(times.extracting(low..<high), values.extracting(low..<high), step)
    }
}

/// Moves the window of each step over a series: `reduce` is given the places `low..<high` of the samples in the window,
/// which is not empty, those behind the windows before that came since it was called last, and the step.
/// O(samples + steps); O(log samples) for a single step.
@inline(__always)
func slide(
    _ times: Span<Int64>, _ windows: WindowGrid, into row: inout MutableSpan<Double>,
    _ reduce: (_ low: Int, _ high: Int, _ fresh: Range<Int>, _ step: Int) -> Double
) {
    var (low, high, seen) = (0, 0, 0)
    if windows.steps == 1 || windows.stride == 0 {
        high = times.firstIndex(after: windows.firstEnd)
        low = times.firstIndex(after: windows.firstEnd - windows.window)
        seen = low
    }
    var end = windows.firstEnd &- windows.stride
    for step in row.indices {
        end &+= windows.stride
        while high < times.count, times[high] <= end { high &+= 1 }
        while low < high, times[low] <= end &- windows.window { low &+= 1 }
        guard low < high else { continue }
        row[step] = reduce(low, high, seen..<high, step)
        seen = high
    }
}

/// Where a counter began anew, and what it stood at before, summed up from the first time on.
private struct CounterResets {
    private(set) var places: [Int] = []
    /// Sums over the first, the first two, … resets; none when one of them is not finite.
    private var sums: [CompensatedSum] = [CompensatedSum()]
    private var values: [Double] = []
    private var isTame = true
    private var (gone, found) = (0, 0)

    mutating func add(_ place: Int, after value: Double) {
        places.append(place)
        values.append(value)
        if !(abs(value) < 1e100) { isTame = false }
        var sum = sums[sums.count - 1]
        sum.add(value)
        sums.append(sum)
    }

    /// Adds what the resets behind the first sample of a window took away. Windows move forward.
    @inline(__always)
    mutating func add(to increase: Double, _ low: Int, _ high: Int) -> Double {
        while gone < places.count, places[gone] <= low { gone += 1 }
        found = max(found, gone)
        while found < places.count, places[found] < high { found += 1 }
        if found - gone >= 4, isTame {
            let lost = (sums[found].sum - sums[gone].sum) + (sums[found].compensation - sums[gone].compensation)
            let total = increase + lost
            if abs(total) > abs(lost) * 1e-3 { return total }
        }
        // One after the other, as Prometheus does it.
        var total = increase
        for index in gone..<found { total += values[index] }
        return total
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
