internal import Basics
internal import Model

/// Where the windows of a range vector lie, one for each step, in milliseconds.
struct WindowGrid: Sendable {
    /// Length of a window, left-open.
    var window: Int64
    /// End of the first step's window; later ones are `stride` apart (0 when `@` fixes them).
    var firstEnd: Int64
    var stride: Int64
    /// How many windows there are.
    var steps: Int
    /// Whether the windows reach for samples outside of them, and how far to either side.
    var reach: Reach?
    var reachBefore: Int64 = 0, reachAfter: Int64 = 0

    @inline(__always)
    func end(_ step: Int) -> Int64 { firstEnd &+ Int64(step) &* stride }
}

/// A range vector at all steps: its series, and where each step's window ends.
struct WindowedSeries {
    var feed: SeriesFeed
    /// What is read, nil for a subquery.
    var selector: VectorSelector?
    var windows: WindowGrid
    /// Whose names are dropped when the query ends, beside the series; empty: none.
    var dropsName: [Bool] = []
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

    private func find(
        _ selector: VectorSelector, after: Int64, through: Int64, reading: Reading
    ) throws(QueryError) -> SeriesFeed {
        try checkTime()
        let (limits, isMemory) = readLimits
        do throws(SourceError) {
            return .selected(
                try source.find(
                    selector.matchers, after: Timestamp(milliseconds: after), through: Timestamp(milliseconds: through),
                    reading: reading, limits: limits))
        } catch {
            if isMemory, case .tooManySamples = error { throw outOfMemory(reading: selector) }
            throw .source(error)
        }
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
        let feed = try find(node, after: first - lookback, through: last + lookback, reading: .all)
        let source = RowSource(feed: feed, selector: node, steps: grid.count) { columns, row in
            let (times, values) = (columns.times.span, columns.values.span)
            var next = 0
            for step in row.indices {
                let moment = first + Int64(step) * stride
                while next < times.count, times[next] < moment { next += 1 }
                let hasNext = next < times.count && times[next] <= moment + lookback
                if hasNext, times[next] == moment {
                    row[step] = values[next]
                } else if next > 0, times[next - 1] > moment - lookback {
                    row[step] =
                        hasNext
                        ? interpolated(times, values, next - 1, at: moment, isCounter: false) : values[next - 1]
                }
            }
            return false
        }
        return vector(of: feed, try rows(source).values, grid)
    }

    private func instantSelector(
        _ node: VectorSelector, _ grid: StepGrid, _ take: @escaping @Sendable (borrowing SeriesColumns, Int) -> Double
    ) throws(QueryError) -> StepVector {
        let source = try instantRows(node, grid, take)
        let values = try rows(source).values
        guard source.steps < grid.count else { return vector(of: source.feed, values, grid) }
        var vector = StepVector(labels: (0..<source.feed.count).map(source.feed.labels), values: values, steps: 1)
        vector.removeEmpty()
        try checkPoints(vector.count, grid.count)
        let all = vector.repeated(grid.count)
        count(all, grid)
        return all
    }

    /// What `take` makes of the newest sample of each series at each step; a single step for all where `@` fixes them.
    func instantRows(
        _ node: VectorSelector, _ grid: StepGrid, _ take: @escaping @Sendable (borrowing SeriesColumns, Int) -> Double
    ) throws(QueryError) -> RowSource {
        let (first, stride) = try target(node.shift, grid)
        let lookback = options.lookback
        let last = first + Int64(grid.count - 1) * stride
        if grid.count == 1 || stride == 0 {
            let feed = try find(node, after: first - lookback, through: last, reading: .newest)
            return RowSource(feed: feed, selector: node, steps: 1, keepsStale: true) { columns, row in
                let newest = columns.times.count - 1
                if columns.values[newest].isPresent { row[0] = take(columns, newest) }
                return false
            }
        }
        let feed = try find(node, after: first - lookback, through: last, reading: .all)
        return RowSource(feed: feed, selector: node, steps: grid.count, keepsStale: true) { columns, row in
            let (times, values) = (columns.times.span, columns.values.span)
            var (next, moment) = (0, first &- stride)
            for step in row.indices {
                moment &+= stride
                while next < times.count, times[next] <= moment { next &+= 1 }
                guard next > 0, times[next &- 1] > moment &- lookback, !values[next &- 1].isStaleMarker else {
                    continue
                }
                row[step] = take(columns, next &- 1)
            }
            return false
        }
    }

    /// The vector of a feed's rows, without the series that have no value.
    private func vector(of feed: SeriesFeed, _ values: [Double], _ grid: StepGrid) -> StepVector {
        var vector = StepVector(labels: (0..<feed.count).map(feed.labels), values: values, steps: grid.count)
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
    func count(_ columns: SeriesColumns, _ windows: WindowGrid) {
        var (low, high) = (0, 0)
        for step in 0..<windows.steps {
            let end = windows.end(step)
            while high < columns.times.count, columns.times[high] <= end + windows.reachAfter { high += 1 }
            let start = end - windows.window - windows.reachBefore
            while low < high, columns.times[low] <= start { low += 1 }
            count(high - low, at: step)
        }
    }

    /// The series behind a range vector.
    func windowed(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> WindowedSeries {
        let before = load
        let isPlanned = beginPlan(expr.bare)
        let input = try read(expr, grid)
        if isPlanned { endPlan(input.feed.count, grid.count, since: before) }
        return input
    }

    /// The rows of a range vector, from samples without staleness markers, which are counted where that is asked for.
    func rows(_ input: WindowedSeries, _ fill: @escaping RowSource.Fill) throws(QueryError) -> (
        values: [Double], told: [Int]
    ) {
        let source = RowSource(
            feed: input.feed, selector: input.selector, steps: input.windows.steps, fill: fill)
        guard countsSamples else { return try rows(source) }
        return try rows(source, counting: { self.count($0, input.windows) })
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
            let feed = try find(
                node.selector, after: first - window - before, through: last + after, reading: .all)
            return WindowedSeries(
                feed: feed, selector: node.selector,
                windows: WindowGrid(
                    window: window, firstEnd: first, stride: stride, steps: grid.count, reach: reach,
                    reachBefore: before, reachAfter: after))
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
        let windows = WindowGrid(window: window, firstEnd: first, stride: stride, steps: grid.count)
        guard start <= last else {
            return WindowedSeries(feed: .points(StepVector(steps: 0), times: []), windows: windows)
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
        return WindowedSeries(
            feed: .points(vector, times: (0..<inner.count).map(inner.time)), windows: windows,
            dropsName: vector.dropsName)
    }

    /// A range vector as the value of an instant query.
    func instantMatrix(_ expr: Expr) throws(QueryError) -> [SeriesColumns] {
        let windowed = try windowed(expr, query)
        let feed = windowed.feed
        let (limits, isMemory) = readLimits
        var (read, result): ([SeriesColumns], [SeriesColumns]) = ([], [])
        var samples = 0
        for index in 0..<feed.count {
            if index & 0x3F == 0 { try checkTime() }
            let columns: SeriesColumns
            do throws(SourceError) { columns = try feed.columns(of: index) } catch { throw .source(error) }
            samples += columns.times.count
            if let selector = windowed.selector, samples > limits.samples {
                if isMemory { throw outOfMemory(reading: selector) }
                throw .source(.tooManySamples(limit: limits.samples, selector: selector.bareText))
            }
            read.append(columns)
        }
        if let selector = windowed.selector { try didRead(read, by: selector) }
        for (index, columns) in read.enumerated() {
            var columns = columns
            columns.removeStaleMarkers()
            if countsSamples { count(columns, windowed.windows) }
            if columns.times.isEmpty { continue }
            if let reach = windowed.windows.reach {
                columns = bounded(columns, windowed.windows, reach)
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
