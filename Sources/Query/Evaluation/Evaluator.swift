internal import Basics
internal import Model

/// The state of one evaluation: what was read, what was noted, and when it has to end. Used by one thread.
final class Evaluator {
    let source: any SampleSource
    let limits: QueryLimits
    let options: QueryOptions
    /// The steps of the whole query, for `@ start()` and `@ end()`.
    let query: StepGrid
    let isRange: Bool
    var annotations = Annotations()
    private(set) var samplesRead = 0
    /// Points of the intermediate results so far; what a selector read is let go once they are made.
    private var points = 0
    private var widest: (selector: VectorSelector, samples: Int)?
    private let expression: Expression
    private let deadline: Deadline?

    init(
        source: any SampleSource, limits: QueryLimits, options: QueryOptions, expression: Expression, grid: StepGrid,
        isRange: Bool, deadline: Deadline?
    ) {
        (self.source, self.limits, self.options, self.expression) = (source, limits, options, expression)
        (self.query, self.isRange, self.deadline) = (grid, isRange, deadline)
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
                let columns = columns(of: vector, series: index, on: query, times)
                if !columns.times.isEmpty { series.append(columns) }
            }
            series.sort { $0.labels < $1.labels }
            return .matrix(series)
        }
    }

    func result(_ value: QueryValue) -> QueryResult {
        QueryResult(
            value: value, warnings: annotations.warnings, infos: annotations.infos, samplesRead: samplesRead)
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

    /// The present values of one series beside their times; `all` are the times of the grid, which series without a
    /// gap share.
    func columns(of vector: StepVector, series: Int, on grid: StepGrid, _ all: [Int64]) -> SeriesColumns {
        let base = vector.base(series)
        let slice = vector.values[base..<base + grid.count]
        if slice.allSatisfy(\.isPresent) {
            return SeriesColumns(labels: vector.labels[series], times: all, values: Array(slice))
        }
        var times: [Int64] = []
        var values: [Double] = []
        for step in 0..<grid.count where vector.values[base + step].isPresent {
            times.append(grid.time(step))
            values.append(vector.values[base + step])
        }
        return SeriesColumns(labels: vector.labels[series], times: times, values: values)
    }

    // MARK: Nodes

    func evaluate(_ expr: Expr, _ grid: StepGrid) throws(QueryError) -> StepValue {
        switch expr {
        case .number(let node): return .scalar(.constant(node.value))
        case .string(let node): return .string(node.value)
        case .paren(let node): return try evaluate(node.inner, grid)
        case .vector(let node): return .vector(try instantSelector(node, grid))
        case .invariant(let inner):
            let value = try evaluate(inner, grid.first)
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
        var areDistinct = true
        let firstName = vector.labels.first?.metricName
        for index in 0..<vector.count {
            let before = vector.labels[index]
            let after = before.withoutMetadata
            // Series that differ in more than their name stay different without it.
            if before.metricName != firstName || before.count - after.count > (firstName == "" ? 0 : 1) {
                areDistinct = false
            }
            vector.labels[index] = after
        }
        if !areDistinct { try vector.mergeDuplicates() }
    }

    // MARK: Limits

    /// Notes what a selector read.
    func didRead(_ samples: Int, by selector: VectorSelector) throws(QueryError) {
        samplesRead += samples
        if samples > widest?.samples ?? -1 { widest = (selector, samples) }
        guard samples + points <= limits.samples else { throw tooManySamples(samples + points) }
    }

    /// How many samples the next selector may read.
    var readLimits: ReadLimits {
        ReadLimits(samples: max(0, limits.samples - points), series: limits.series)
    }

    /// Refuses an intermediate result that is too large, before it is made.
    func checkPoints(_ series: Int, _ steps: Int) throws(QueryError) {
        points += series * steps
        guard points <= limits.samples else { throw tooManySamples(points) }
        try checkTime()
    }

    private func tooManySamples(_ count: Int) -> QueryError {
        let selector = widest.map { "; the widest selector is \($0.selector.bareText), \($0.samples) samples" } ?? ""
        return .limit(
            "query processing would load too many samples into memory: \(count) where \(limits.samples) are allowed"
                + selector)
    }

    /// Throws when the task was cancelled or the time is over. Called per node, and per series in long loops.
    func checkTime() throws(QueryError) {
        if Task.isCancelled { throw .cancelled }
        guard let deadline, deadline.isOver else { return }
        let selector = widest.map { "; the widest selector is \($0.selector.bareText), \($0.samples) samples" } ?? ""
        throw .timeout(
            "query timed out after \(DurationText.format(limits.timeout)) in expression evaluation" + selector)
    }

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
