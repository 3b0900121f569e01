internal import Basics
internal import Model

/// The state of one evaluation: what was read, what was noted, and when it has to end. Used by one thread.
final class Evaluator {
    let source: any SampleSource
    let limits: QueryLimits
    let options: QueryOptions
    /// The steps of the whole query, for `@ start()`.
    let query: StepGrid
    /// Where the query ends, for `@ end()`; the last step may come before.
    let queryEnd: Int64
    let isRange: Bool
    var annotations = Annotations()
    /// What is held, against the limits.
    private var ledger: QueryLedger
    private let expression: Expression
    private let deadline: Deadline?
    private let clock: (any TimeSource)?
    let workers: WorkPool?
    private let startNanoseconds: UInt64
    private var sortNanoseconds: UInt64 = 0
    /// Samples looked at by step, while that is asked for and outside of subqueries.
    private var samplesPerStep: [Int]?
    /// The parts being evaluated, the innermost last; the first stands for the whole.
    private var plan: [PlanNode] = []

    init(
        source: any SampleSource, limits: QueryLimits, options: QueryOptions, expression: Expression, grid: StepGrid,
        end: Int64, isRange: Bool, deadline: Deadline?, budget: QueryBudget?, clock: (any TimeSource)?,
        workers: WorkPool?
    ) {
        (self.source, self.limits, self.options, self.expression) = (source, limits, options, expression)
        (self.query, queryEnd, self.isRange, self.deadline, self.clock) = (grid, end, isRange, deadline, clock)
        self.workers = workers
        ledger = QueryLedger(limits: limits, budget: budget)
        startNanoseconds = options.measures || options.explains ? clock?.uptimeNanoseconds() ?? 0 : 0
        if options.measures || options.explains { samplesPerStep = Array(repeating: 0, count: grid.count) }
        if options.explains { plan = [PlanNode(text: "", range: SourceRange(0, 0))] }
    }

    // MARK: The whole

    func instantValue(of expr: Expr, at moment: Timestamp) throws(QueryError) -> QueryValue {
        if expr.type == .matrix { return .matrix(try instantMatrix(expr.bare)) }
        switch try evaluate(expr, query) {
        case .scalar(let scalar): return .scalar(Sample(moment, scalar[0]))
        case .string(let text): return .string(text, at: moment)
        case .vector(var vector):
            try finish(&vector)
            var samples: [VectorSample] = []
            samples.reserveCapacity(vector.count)
            for index in 0..<vector.count where vector.values[index].isPresent {
                samples.append(
                    VectorSample(labels: vector.labels[index], timestamp: moment, value: vector.values[index]))
            }
            return .vector(samples)
        }
    }

    func rangeValue(of expr: Expr) throws(QueryError) -> QueryValue {
        switch try evaluate(expr, query) {
        case .string: throw .badRequest("a string has no range")
        case .scalar(let scalar):
            let times = (0..<query.count).map(query.time)
            return .matrix([
                SeriesColumns(labels: Labels(), times: times, values: (0..<query.count).map { scalar[$0] })
            ])
        case .vector(var vector):
            try finish(&vector)
            var series: [SeriesColumns] = []
            series.reserveCapacity(vector.count)
            let times = (0..<query.count).map(query.time)
            for index in 0..<vector.count {
                let columns = vector.columns(of: index, times)
                if !columns.times.isEmpty { series.append(columns) }
            }
            let start = samplesPerStep == nil ? 0 : clock?.uptimeNanoseconds() ?? 0
            series.sort { $0.labels < $1.labels }
            if samplesPerStep != nil { sortNanoseconds = (clock?.uptimeNanoseconds() ?? 0) - start }
            return .matrix(series)
        }
    }

    func result(_ value: QueryValue, waited: UInt64) -> QueryResult {
        var result = QueryResult(
            value: value, warnings: annotations.warnings, infos: annotations.infos, samplesRead: ledger.samplesRead)
        guard let samplesPerStep else { return result }
        var statistics = QueryStatistics()
        statistics.totalQueryableSamples = samplesPerStep.reduce(0, +)
        statistics.samplesPerStep = samplesPerStep.enumerated().map {
            (Timestamp(milliseconds: query.time($0.offset)), $0.element)
        }
        statistics.samplesRead = ledger.samplesRead
        (statistics.peakSamples, statistics.peakBytes) = (ledger.peak.samples, ledger.peak.bytes)
        statistics.waitedNanoseconds = waited
        statistics.evaluationNanoseconds = (clock?.uptimeNanoseconds() ?? 0) - startNanoseconds
        statistics.sortNanoseconds = sortNanoseconds
        statistics.plan = plan.first?.children.first
        result.statistics = statistics
        return result
    }

    /// Drops the names whose removal was delayed.
    private func finish(_ vector: inout StepVector) throws(QueryError) {
        guard vector.dropsName.contains(true) else { return }
        for index in 0..<vector.count where vector.dropsName[index] {
            vector.labels[index] = vector.labels[index].withoutMetadata
        }
        vector.dropsName = []
        try vector.mergeDuplicates()
    }

    // MARK: Nodes

    func evaluate(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> StepValue {
        let before = ledger.load
        let isPlanned = beginPlan(expr)
        let value = try evaluateNode(expr, grid)
        if isPlanned { endPlan(value.seriesCount, grid.count, since: before) }
        try ledger.settle(to: before, keeping: value.load)
        return value
    }

    private func evaluateNode(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> StepValue {
        switch expr {
        case .number(let node): return .scalar(.constant(node.value))
        case .string(let node): return .string(node.value)
        case .paren(let node): return try evaluate(node.inner, grid)
        case .vector(let node): return .vector(try instantSelector(node, grid))
        case .invariant(let inner):
            let counts = samplesPerStep
            if counts != nil { samplesPerStep = [0] }
            let value = try evaluate(inner, grid.first)
            if let counts, let added = samplesPerStep?[0] { samplesPerStep = counts.map { $0 + added } }
            guard case .vector(let vector) = value, grid.count > 1 else {
                if case .scalar(let scalar) = value { return .scalar(.constant(scalar[0])) }
                return value
            }
            try checkPoints(vector.count, grid.count)
            return .vector(vector.repeated(grid.count))
        case .unary(let node): return try unary(node, grid)
        case .call(let node): return try call(node, grid)
        case .aggregate(let node): return .vector(try aggregate(node, grid))
        case .binary(let node): return try binary(node, grid)
        case .matrix, .subquery:
            preconditionFailure("a range vector outside a function passed the type check: \(expr)")
        }
    }

    func vector(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> StepVector {
        guard case .vector(let vector) = try evaluate(expr, grid) else {
            preconditionFailure("no vector where the type check promised one: \(expr)")
        }
        return vector
    }

    func scalar(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> StepScalar {
        guard case .scalar(let scalar) = try evaluate(expr, grid) else {
            preconditionFailure("no scalar where the type check promised one: \(expr)")
        }
        return scalar
    }

    func string(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> String {
        guard case .string(let text) = try evaluate(expr, grid) else {
            preconditionFailure("no string where the type check promised one: \(expr)")
        }
        return text
    }

    private func unary(_ node: Unary, _ grid: StepGrid) throws(QueryError) -> StepValue {
        switch try evaluate(node.operand, grid) {
        case .scalar(let scalar): return .scalar(node.isNegative ? scalar.map { -$0 } : scalar)
        case .string(let text): return .string(text)
        case .vector(var vector):
            guard node.isNegative else { return .vector(vector) }
            for index in vector.values.indices where vector.values[index].isPresent {
                vector.values[index] = -vector.values[index]
            }
            try dropNames(&vector)
            return .vector(vector)
        }
    }

    // MARK: Names

    /// Drops the names of all series, at once or when the query ends; series that become equal are put together.
    func dropNames(_ vector: inout StepVector) throws(QueryError) {
        if options.delaysNameRemoval {
            vector.dropsName = Array(repeating: true, count: vector.count)
            return
        }
        if !dropAlikeNames(&vector.labels) { try vector.mergeDuplicates() }
    }

    /// Drops the names; whether all were alike, so that series which differed without them still differ.
    func dropAlikeNames(_ labels: inout [Labels]) -> Bool {
        var areAlike = true
        let firstName = labels.first?.metricName
        for index in labels.indices {
            let before = labels[index]
            let after = before.withoutMetadata
            if before.metricName != firstName || before.count - after.count > (firstName == "" ? 0 : 1) {
                areAlike = false
            }
            labels[index] = after
        }
        return areAlike
    }

    // MARK: Limits

    /// Notes what a selector read and holds.
    func didRead(_ series: [SeriesColumns], by selector: VectorSelector) throws(QueryError) {
        try ledger.didRead(series, by: selector)
    }

    /// One walk over a feed.
    struct FeedReading {
        var tally: ReadTally
        /// As many samples as there may be, and how many of them are held.
        var bound: Int, held: Int
        /// Whether they are samples of the source.
        var isSelector: Bool
        /// Bytes held for it.
        var bytes: Int
    }

    /// Begins a walk; `selector` is nil for the points of a subquery, which are counted already.
    func begin(_ feed: SeriesFeed, of selector: VectorSelector?) throws(QueryError) -> FeedReading {
        let before = load.bytes
        let (bound, held, room) = try ledger.begin(feed, of: selector, threads: 1 + (workers?.helpers ?? 0))
        let refusal = SourceError.tooManySamples(limit: room, selector: selector?.bareText ?? "")
        let tally = ReadTally(limit: selector == nil ? .max : room, refusal: .source(refusal), deadline: deadline)
        return FeedReading(
            tally: tally, bound: bound, held: held, isSelector: selector != nil, bytes: load.bytes - before)
    }

    /// Ends a walk, or tells why it ended early.
    func end(_ reading: FeedReading) throws(QueryError) {
        try reading.tally.check()
        try checkTime()
        guard reading.isSelector else { return }
        try ledger.end(held: reading.held, read: reading.tally.count)
        // A range selector's own part of the plan ended before its series were read.
        if let parent = plan.indices.last, let child = plan[parent].children.indices.last {
            plan[parent].children[child].samples = reading.tally.count
            plan[parent].children[child].bytes = reading.bytes
        }
    }

    /// How much the next selector may read, and whether it is memory that binds.
    var readLimits: (limits: ReadLimits, isMemory: Bool) { ledger.readLimits }

    /// Refuses an intermediate result that is too large, before it is made.
    func checkPoints(_ series: Int, _ steps: Int) throws(QueryError) {
        try ledger.hold(QueryLoad(samples: series * steps, bytes: QueryLoad.bytes(series: series, steps: steps)))
        try checkTime()
    }

    /// Holds memory that is no points.
    func holdBytes(_ bytes: Int) throws(QueryError) { try ledger.hold(QueryLoad(samples: 0, bytes: bytes)) }

    /// The source refused a read for the sake of memory.
    func outOfMemory(reading selector: VectorSelector) -> QueryError {
        ledger.refusal(
            "query processing would take too much memory: the selector \(selector.bareText) reads more than the "
                + "\(readLimits.limits.samples) samples for which there is room in \(limits.bytes) bytes for this query "
                + "and what all running ones leave free; narrow it or shorten its range")
    }

    /// Throws when the task was cancelled or the time is over. Called per node, and per series in long loops.
    func checkTime() throws(QueryError) {
        if Task.isCancelled { throw .cancelled }
        guard let deadline, deadline.isOver else { return }
        let widest = ledger.widest.map { "; \($0.told)" } ?? ""
        throw .timeout("query timed out after \(DurationText.format(limits.timeout)) in expression evaluation" + widest)
    }

    // MARK: Costs

    /// Whether samples are counted by step now.
    var countsSamples: Bool { samplesPerStep != nil }

    /// Counts samples that a step looks at.
    func count(_ samples: Int, at step: Int) { samplesPerStep?[step] += samples }

    /// Evaluates without counting: the samples of a subquery count where its points are looked at.
    func uncounted<Value>(_ body: () throws(QueryError) -> Value) throws(QueryError) -> Value {
        let counts = samplesPerStep
        samplesPerStep = nil
        let value = try body()
        samplesPerStep = counts
        return value
    }

    /// Begins a part of the plan, when one is asked for; who gets true ends it.
    func beginPlan(_ expr: Expr) -> Bool {
        guard !plan.isEmpty, let text = expr.planText else { return false }
        var node = PlanNode(text: text, range: expr.range)
        node.nanoseconds = clock?.uptimeNanoseconds() ?? 0
        node.samples = ledger.samplesRead
        plan.append(node)
        return true
    }

    /// Ends the part that began last.
    func endPlan(_ series: Int, _ steps: Int, since before: QueryLoad) {
        var node = plan.removeLast()
        (node.series, node.steps) = (series, steps)
        node.nanoseconds = (clock?.uptimeNanoseconds() ?? 0) - node.nanoseconds
        node.samples = ledger.samplesRead - node.samples
        node.bytes = max(ledger.load.bytes - before.bytes, node.children.map(\.bytes).max() ?? 0)
        plan[plan.count - 1].children.append(node)
    }

    /// What is held now.
    var load: QueryLoad { ledger.load }

    // MARK: Notes

    func warn(_ message: String, at range: SourceRange) {
        annotations.warn("PromQL warning: \(message) \(place(range))")
    }

    func inform(_ message: String, at range: SourceRange) {
        annotations.inform("PromQL info: \(message) \(place(range))")
    }

    func place(_ range: SourceRange) -> String {
        let (line, column) = range.position(in: expression.text)
        return "(\(line):\(column))"
    }
}
