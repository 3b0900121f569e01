internal import Basics
internal import Model

/// A range vector at all steps: the columns of each series, and where each step's window ends.
struct WindowedSeries {
    var series: [SeriesColumns]
    /// Length of a window in milliseconds, left-open.
    var window: Int64
    /// End of the first step's window; later ones are `stride` apart (0 when `@` fixes them).
    var firstEnd: Int64
    var stride: Int64
    /// Whose names are dropped when the query ends, beside `series`; empty: none.
    var dropsName: [Bool] = []
    /// Whether the windows reach for samples outside of them, and how far to either side.
    var reach: Reach?
    var reachBefore: Int64 = 0, reachAfter: Int64 = 0

    func end(_ step: Int) -> Int64 { firstEnd + Int64(step) * stride }
}

extension Evaluator {
    /// The moment a selector looks at on the first step, and how far it moves from step to step.
    func target(_ shift: TimeShift, _ grid: StepGrid) throws(QueryError) -> (first: Int64, stride: Int64) {
        var back: Int64 = 0
        if let offset = shift.offset { back = try length(offset, mayBeNegative: true) }
        switch shift.at {
        case .time(let moment): return (moment.milliseconds - back, 0)
        case .start: return (query.start - back, 0)
        case .end: return (queryEnd - back, 0)
        case nil: return (grid.start - back, grid.interval)
        }
    }

    /// A duration that may depend on the query's own step and range.
    private func length(_ duration: QueryDuration, mayBeNegative: Bool = false) throws(QueryError) -> Int64 {
        guard let expression = duration.expression, !expression.isConstant else { return duration.milliseconds }
        let step = isRange ? Double(query.interval) / 1000 : 0
        let seconds = expression.seconds(step: step, range: Double(queryEnd - query.start) / 1000)
        switch DurationExpr.milliseconds(seconds, mayBeNegative: mayBeNegative) {
        case .success(let length): return length
        case .failure(let problem): throw .execution("\(problem.message) \(place(duration.range))")
        }
    }

    private func select(
        _ selector: VectorSelector, after: Int64, through: Int64, reading: Reading
    ) throws(QueryError) -> [SeriesColumns] {
        try checkTime()
        let series: [SeriesColumns]
        let (limits, isMemory) = readLimits
        do throws(SourceError) {
            series = try source.select(
                selector.matchers, after: Timestamp(milliseconds: after), through: Timestamp(milliseconds: through),
                reading: reading, limits: limits)
        } catch {
            if isMemory, case .tooManySamples = error { throw outOfMemory(reading: selector) }
            throw .source(error)
        }
        try didRead(series, by: selector)
        return series
    }

    /// The newest sample of each series at each step, no older than the lookback; `smoothed`, the line between it and
    /// the next.
    func instantSelector(_ node: VectorSelector, _ grid: StepGrid) throws(QueryError) -> StepVector {
        try checkReach(node)
        if node.reach == .smoothed { return try smoothedSelector(node, grid) }
        return try instantSelector(node, grid) { columns, index in columns.values[index] }
    }

    /// The moments of those samples in seconds instead of their values, for `timestamp()`.
    func selectedTimes(_ node: VectorSelector, _ grid: StepGrid) throws(QueryError) -> StepVector {
        try instantSelector(node, grid) { columns, index in Double(columns.times[index]) / 1000 }
    }

    /// When the counts behind those samples began, in seconds, for `start_timestamp()`; 0 where it is not known.
    func selectedStarts(_ node: VectorSelector, _ grid: StepGrid) throws(QueryError) -> StepVector {
        try instantSelector(node, grid) { columns, index in
            columns.starts.isEmpty ? 0 : Double(columns.starts[index]) / 1000
        }
    }

    private func checkReach(_ node: VectorSelector) throws(QueryError) {
        guard let reach = node.reach, !options.allowsExperimental else { return }
        throw .badRequest("\(reach.rawValue) modifier is experimental and not enabled on this server")
    }

    private func smoothedSelector(_ node: VectorSelector, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let (first, stride) = try target(node.shift, grid)
        let lookback = options.lookback
        let last = first + Int64(grid.count - 1) * stride
        let series = try select(node, after: first - lookback, through: last + lookback, reading: .all)
        try checkPoints(series.count, grid.count)
        var vector = StepVector(steps: grid.count)
        vector.labels = series.map(\.labels)
        vector.values = Array(repeating: absentValue, count: series.count * grid.count)
        for (index, columns) in series.enumerated() {
            try checkTime()
            var columns = columns
            columns.removeStaleMarkers()
            let base = vector.base(index)
            let (times, values) = (columns.times, columns.values)
            var next = 0
            for step in 0..<grid.count {
                let moment = first + Int64(step) * stride
                while next < times.count, times[next] < moment { next += 1 }
                let hasNext = next < times.count && times[next] <= moment + lookback
                if hasNext, times[next] == moment {
                    vector.values[base + step] = values[next]
                } else if next > 0, times[next - 1] > moment - lookback {
                    vector.values[base + step] =
                        hasNext
                        ? interpolated(times.span, values.span, next - 1, at: moment, isCounter: false)
                        : values[next - 1]
                }
            }
        }
        count(vector, grid)
        vector.removeEmpty()
        return vector
    }

    @inline(__always)
    private func instantSelector(
        _ node: VectorSelector, _ grid: StepGrid, _ take: (SeriesColumns, Int) -> Double
    ) throws(QueryError) -> StepVector {
        let (first, stride) = try target(node.shift, grid)
        let lookback = options.lookback
        let last = first + Int64(grid.count - 1) * stride
        let isSingle = grid.count == 1 || stride == 0
        let series = try select(node, after: first - lookback, through: last, reading: isSingle ? .newest : .all)
        var vector = StepVector(steps: grid.count)
        if isSingle {
            vector.labels.reserveCapacity(series.count)
            vector.values.reserveCapacity(series.count * grid.count)
            for columns in series {
                guard let value = columns.values.last, !value.isStaleMarker else { continue }
                vector.labels.append(columns.labels)
                vector.values.append(
                    contentsOf: repeatElement(take(columns, columns.times.count - 1), count: grid.count))
            }
            count(vector, grid)
            return vector
        }
        try checkPoints(series.count, grid.count)
        vector.labels = series.map(\.labels)
        vector.values = Array(repeating: absentValue, count: series.count * grid.count)
        var output = vector.values.mutableSpan
        for (index, columns) in series.enumerated() {
            try checkTime()
            let base = index * grid.count
            let (times, values) = (columns.times.span, columns.values.span)
            var next = 0
            for step in 0..<grid.count {
                let moment = first + Int64(step) * stride
                while next < times.count, times[next] <= moment { next += 1 }
                guard next > 0, times[next - 1] > moment - lookback, !values[next - 1].isStaleMarker else { continue }
                output[base + step] = take(columns, next - 1)
            }
        }
        count(vector, grid)
        vector.removeEmpty()
        return vector
    }

    /// Counts the samples of an instant vector at each step.
    private func count(_ vector: StepVector, _ grid: StepGrid) {
        guard countsSamples else { return }
        for step in 0..<grid.count {
            var present = 0
            for series in 0..<vector.count where vector.values[series * grid.count + step].isPresent { present += 1 }
            count(present, at: step)
        }
    }

    /// Counts the samples in each step's window.
    private func count(_ input: WindowedSeries, _ grid: StepGrid) {
        guard countsSamples else { return }
        for columns in input.series {
            var (low, high) = (0, 0)
            for step in 0..<grid.count {
                let end = input.end(step)
                while high < columns.times.count, columns.times[high] <= end + input.reachAfter { high += 1 }
                let start = end - input.window - input.reachBefore
                while low < high, columns.times[low] <= start { low += 1 }
                count(high - low, at: step)
            }
        }
    }

    /// The columns behind a range vector, without staleness markers.
    func windowed(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> WindowedSeries {
        let before = load
        let isPlanned = beginPlan(expr.bare)
        let input = try read(expr, grid)
        if isPlanned { endPlan(input.series.count, grid.count, since: before) }
        count(input, grid)
        return input
    }

    private func read(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> WindowedSeries {
        switch expr.bare {
        case .matrix(let node):
            let window = try length(node.window)
            let (first, stride) = try target(node.selector.shift, grid)
            let last = first + Int64(grid.count - 1) * stride
            try checkReach(node.selector)
            let reach = node.selector.reach
            let before = reach == nil ? 0 : options.lookback
            let after = reach == .smoothed ? options.lookback : 0
            var series = try select(
                node.selector, after: first - window - before, through: last + after, reading: .all)
            for index in series.indices { series[index].removeStaleMarkers() }
            return WindowedSeries(
                series: series, window: window, firstEnd: first, stride: stride, reach: reach, reachBefore: before,
                reachAfter: after)
        case .subquery(let node): return try read(node, grid)
        default: preconditionFailure("no range vector where the type check promised one: \(expr)")
        }
    }

    private func read(_ node: Subquery, _ grid: StepGrid) throws(QueryError) -> WindowedSeries {
        let (first, stride) = try target(node.shift, grid)
        let last = first + Int64(grid.count - 1) * stride
        let window = try length(node.window)
        var step = options.defaultSubqueryStep
        if let written = node.step { step = try length(written) }
        // Absolute multiples of the step, the first strictly after the window's open end.
        let start = ((first - window).flooringDivision(by: step) + 1) * step
        guard start <= last else {
            return WindowedSeries(series: [], window: window, firstEnd: first, stride: stride)
        }
        let steps = (last - start) / step + 1
        // Judged before anything is built: a few characters can ask for more steps than there is memory.
        guard steps <= limits.subquerySteps else {
            throw .limit(
                "a subquery has \(steps) steps where \(limits.subquerySteps) are allowed; shorten its range or lengthen its step"
            )
        }
        try checkPoints(1, Int(steps))
        let inner = StepGrid(start: start, interval: step, count: Int(steps))
        let vector = try uncounted { () throws(QueryError) -> StepVector in try self.vector(node.inner, inner) }
        var series: [SeriesColumns] = []
        series.reserveCapacity(vector.count)
        let times = (0..<inner.count).map(inner.time)
        try holdBytes(vector.values.count * 16)
        for index in 0..<vector.count { series.append(columns(of: vector, series: index, on: inner, times)) }
        return WindowedSeries(
            series: series, window: window, firstEnd: first, stride: stride, dropsName: vector.dropsName)
    }

    /// A range vector as the value of an instant query.
    func instantMatrix(_ expr: Expr) throws(QueryError) -> [SeriesColumns] {
        let windowed = try windowed(expr, query)
        var result: [SeriesColumns] = []
        for (index, columns) in windowed.series.enumerated() where !columns.times.isEmpty {
            var columns = columns
            if let reach = windowed.reach {
                columns = bounded(columns, windowed, reach)
                if columns.times.isEmpty { continue }
            }
            if !windowed.dropsName.isEmpty, windowed.dropsName[index] {
                columns.labels = columns.labels.withoutMetadata
            }
            result.append(columns)
        }
        return result
    }
}

extension SeriesColumns {
    /// Takes staleness markers out; O(*n*), and no copy when there is none.
    mutating func removeStaleMarkers() {
        guard let first = values.firstIndex(where: { $0.isStaleMarker }) else { return }
        var kept = first
        for index in first..<values.count where !values[index].isStaleMarker {
            (values[kept], times[kept]) = (values[index], times[index])
            if !starts.isEmpty { starts[kept] = starts[index] }
            kept += 1
        }
        if !starts.isEmpty { starts.removeLast(starts.count - kept) }
        values.removeLast(values.count - kept)
        times.removeLast(times.count - kept)
    }
}
