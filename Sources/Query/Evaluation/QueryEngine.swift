public import Basics
public import Model

/// Evaluates PromQL over a source of samples.
///
/// A range query is evaluated expression by expression for all its steps at once, over columns: each selector reads its
/// series once. An instant query is a range of one step. The engine keeps nothing between queries; calls are
/// synchronous, check for cancellation as they go, and may run in parallel.
public struct QueryEngine: Sendable {
    /// What it reads from.
    public let source: any SampleSource
    /// How much one query may take.
    public var limits: QueryLimits
    /// How queries are evaluated.
    public var options: QueryOptions
    /// What all queries may take together; nil: each for itself.
    public var budget: QueryBudget?
    private let clock: (any TimeSource)?
    private let workers: WorkPool?
    private var waitedNanoseconds: UInt64 = 0

    /// An engine; without a clock queries have no time limit, and without workers each runs on one thread.
    public init(
        source: any SampleSource, limits: QueryLimits = QueryLimits(), options: QueryOptions = QueryOptions(),
        budget: QueryBudget? = nil, clock: (any TimeSource)? = nil, workers: WorkPool? = nil
    ) {
        (self.source, self.limits, self.options, self.budget) = (source, limits, options, budget)
        (self.clock, self.workers) = (clock, workers)
    }

    /// Runs queries once the budget has a place for them; at once without a budget.
    public func admitted<Value>(
        _ body: (QueryEngine) throws(QueryError) -> Value
    ) async throws(QueryError) -> Value {
        guard let budget else { return try body(self) }
        return try await budget.admit { waited throws(QueryError) in
            var engine = self
            engine.waitedNanoseconds = waited
            return try body(engine)
        }
    }

    /// The value of a query at a moment.
    public func instant(_ text: String, at moment: Timestamp) throws(QueryError) -> QueryResult {
        try instant(QueryEngine.parse(text), at: moment)
    }

    /// The value of a parsed query at a moment.
    public func instant(_ expression: Expression, at moment: Timestamp) throws(QueryError) -> QueryResult {
        let grid = StepGrid(start: moment.milliseconds, interval: 1, count: 1)
        let evaluator = try evaluator(for: expression, grid, end: moment, isRange: false)
        let value = try evaluator.instantValue(of: expression.root, at: moment)
        return evaluator.result(value, waited: waitedNanoseconds)
    }

    /// The values of a query at `from`, `from + step`, … up to and including `through`.
    public func range(
        _ text: String, from: Timestamp, through: Timestamp, step: Milliseconds
    ) throws(QueryError) -> QueryResult {
        try range(QueryEngine.parse(text), from: from, through: through, step: step)
    }

    /// The values of a parsed query at `from`, `from + step`, … up to and including `through`.
    public func range(
        _ expression: Expression, from: Timestamp, through: Timestamp, step: Milliseconds
    ) throws(QueryError) -> QueryResult {
        guard step > 0 else {
            throw .badRequest("zero or negative query resolution step widths are not accepted; try a positive integer")
        }
        guard from <= through else { throw .badRequest("end timestamp must not be before start time") }
        guard expression.type == .vector || expression.type == .scalar else {
            throw .badRequest(
                "invalid expression type \(expression.type.rawValue.goQuoted) for range query, "
                    + "must be Scalar or instant Vector")
        }
        let steps = (through - from) / step + 1
        // As Prometheus counts: the first point is not among the 11,000.
        guard steps - 1 <= Int64(limits.points) else {
            throw .badRequest(
                "exceeded maximum resolution of \(grouped(limits.points)) points per timeseries. "
                    + "Try decreasing the query resolution (?step=XX)")
        }
        let grid = StepGrid(start: from.milliseconds, interval: step, count: Int(steps))
        let evaluator = try evaluator(for: expression, grid, end: through, isRange: true)
        let value = try evaluator.rangeValue(of: expression.prepared)
        return evaluator.result(value, waited: waitedNanoseconds)
    }

    private static func parse(_ text: String) throws(QueryError) -> Expression {
        do { return try Expression(parsing: text) } catch { throw .parse(error) }
    }

    private func evaluator(
        for expression: Expression, _ grid: StepGrid, end: Timestamp, isRange: Bool
    ) throws(QueryError) -> Evaluator {
        let deadline: Deadline? =
            if let clock, limits.timeout > 0 {
                Deadline(clock: clock, end: clock.uptimeNanoseconds() + UInt64(limits.timeout) * 1_000_000)
            } else {
                nil
            }
        return Evaluator(
            source: source, limits: limits, options: options, expression: expression, grid: grid,
            end: end.milliseconds, isRange: isRange, deadline: deadline, budget: budget, clock: clock,
            workers: workers)
    }
}

/// A number with a comma between thousands.
private func grouped(_ number: Int) -> String {
    number < 1000 ? "\(number)" : grouped(number / 1000) + "," + "\(1000 + number % 1000)".dropFirst()
}

/// When a query has to be over, by the steady clock.
struct Deadline: Sendable {
    let clock: any TimeSource
    let end: UInt64
    var isOver: Bool { clock.uptimeNanoseconds() >= end }
}
