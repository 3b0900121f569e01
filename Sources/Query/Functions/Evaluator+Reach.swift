internal import Basics
internal import Model

/// The value at `moment` on the line from sample `index` to the next; a counter that fell begins at zero.
func interpolated(
    _ times: Span<Int64>, _ values: Span<Double>, _ index: Int, at moment: Int64, isCounter: Bool
) -> Double {
    let end = values[index + 1]
    let start = isCounter && end < values[index] ? 0 : values[index]
    return start + (end - start) * Double(moment - times[index]) / Double(times[index + 1] - times[index])
}

/// The samples of one window that reaches outside of itself: places in a series' columns, and the values at both ends.
private struct ReachedWindow {
    /// The first and the last sample that count, at or around the window's ends.
    var first: Int, last: Int
    var left: Double, right: Double
    /// The samples strictly between the ends.
    var inner: Range<Int>

    /// nil when there is no sample in the window.
    ///
    /// - Parameters:
    ///   - range: Places of the samples within reach, not empty.
    ///   - start: The open start of the window, and `end` its end.
    init?(
        _ times: Span<Int64>, _ values: Span<Double>, _ range: Range<Int>, from start: Int64, to end: Int64,
        isSmoothed: Bool, isCounter: Bool
    ) {
        let final = range.upperBound - 1
        // The newest sample at or before the start, else the first.
        first = range.lowerBound
        while first < final, times[first + 1] <= start { first += 1 }
        last = final
        if isSmoothed {
            last = range.lowerBound
            while last < final, times[last] < end { last += 1 }
        }
        guard times[last] > start, !isSmoothed || times[first] <= end else { return nil }
        left =
            isSmoothed && times[first] < start
            ? interpolated(times, values, first, at: start, isCounter: isCounter) : values[first]
        right =
            isSmoothed && last > range.lowerBound && times[last] > end
            ? interpolated(times, values, last - 1, at: end, isCounter: isCounter) : values[last]
        let from = times[first] <= start ? first + 1 : first
        let through = times[last] >= end ? last - 1 : last
        inner = from..<max(from, through + 1)
    }
}

extension WindowSlide {
    /// `rate`, `increase`, `delta`, `changes` and `resets` over `anchored` or `smoothed` windows.
    ///
    /// - SeeAlso: Prometheus, `promql/functions.go`, `extendedRate`, `pickFirstSampleIndices`.
    func slideReaching(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        let times = columns.times.span
        let values = columns.values.span
        var (low, high) = (0, 0)
        for step in row.indices {
            let end = windows.end(step)
            let start = end - windows.window
            while high < times.count, times[high] <= end + windows.reachAfter { high += 1 }
            while low < high, times[low] <= start - windows.reachBefore { low += 1 }
            guard low < high else { continue }
            if function == .changes || function == .resets {
                row[step] = transitions(times, values, low..<high, from: start)
                continue
            }
            let isCounter = function != .delta
            guard
                let window = ReachedWindow(
                    times, values, low..<high, from: start, to: end, isSmoothed: windows.reach == .smoothed,
                    isCounter: isCounter)
            else { continue }
            var result = window.right - window.left
            if isCounter {
                var previous = window.left
                for index in window.inner {
                    if values[index] < previous { result += previous }
                    previous = values[index]
                }
                if window.right < previous { result += previous }
            }
            row[step] = function == .rate ? result / (Double(windows.window) / 1000) : result
        }
    }

    /// Changes or resets from the newest sample at or before the window's start on.
    private func transitions(
        _ times: Span<Int64>, _ values: Span<Double>, _ range: Range<Int>, from start: Int64
    ) -> Double {
        guard times[range.upperBound - 1] > start else { return absentValue }
        var first = range.lowerBound
        while first + 1 < range.upperBound, times[first + 1] <= start { first += 1 }
        var count = 0.0
        for index in first + 1..<max(first + 1, range.upperBound) {
            let (before, now) = (values[index - 1], values[index])
            let counts = function == .resets ? now < before : before != now && !(before.isNaN && now.isNaN)
            if counts { count += 1 }
        }
        return count
    }

    /// `irate` and `resets` of counters that are known to have begun at some moments.
    func slideResets(_ columns: SeriesColumns, into row: inout MutableSpan<Double>) {
        var marks = Array(repeating: false, count: columns.times.count)
        for index in 1..<max(1, marks.count) {
            marks[index] = columns.values[index] < columns.values[index - 1] || columns.beginsAnew(at: index)
        }
        let times = columns.times.span
        let values = columns.values.span
        var (low, high) = (0, 0)
        for step in row.indices {
            let end = windows.end(step)
            while high < times.count, times[high] <= end { high += 1 }
            while low < high, times[low] <= end - windows.window { low += 1 }
            guard low < high else { continue }
            if function == .resets {
                var count = 0.0
                for index in low + 1..<max(low + 1, high) where marks[index] { count += 1 }
                row[step] = count
            } else if high - low >= 2 {
                let last = high - 1
                let increase = marks[last] ? values[last] : values[last] - values[last - 1]
                row[step] = increase / (Double(times[last] - times[last - 1]) / 1000)
            }
        }
    }
}

extension Evaluator {
    /// The samples of one window with its two ends, for an instant query over a range vector.
    func bounded(_ columns: SeriesColumns, _ windows: WindowGrid, _ reach: Reach) -> SeriesColumns {
        let (end, start) = (windows.firstEnd, windows.firstEnd - windows.window)
        var result = SeriesColumns(labels: columns.labels, times: [], values: [])
        guard !columns.times.isEmpty,
            let window = ReachedWindow(
                columns.times.span, columns.values.span, 0..<columns.times.count, from: start, to: end,
                isSmoothed: reach == .smoothed, isCounter: false)
        else { return result }
        result.times = [start] + columns.times[window.inner] + [end]
        result.values = [window.left] + columns.values[window.inner] + [window.right]
        return result
    }
}

extension SeriesColumns {
    /// Whether the count of sample `index` began after the sample before it.
    ///
    /// - SeeAlso: Prometheus, `promql/functions.go`, `isStartTimestampReset`.
    func beginsAnew(at index: Int) -> Bool {
        let (start, before) = (starts[index], times[index - 1])
        guard start != 0, start < times[index], start >= before else { return false }
        // A count that begins at the sample before is a delta, unless nothing was known of that one's beginning.
        return start > before || (starts[index - 1] != 0 && starts[index - 1] < before)
    }
}
