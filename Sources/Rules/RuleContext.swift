public import Basics
public import Model
public import Query

/// What all rule groups work with.
public struct RuleContext: Sendable {
    /// Evaluates their expressions.
    public var engine: QueryEngine
    /// Evaluates the expressions of groups that name a `query_source`, found by its name; nil: those are evaluated like
    /// all others, as tests of rules do.
    public var sources: (@Sendable (_ name: String) -> (any ExpressionSource)?)?
    /// Takes the series of recording rules, `ALERTS` and `ALERTS_FOR_STATE`.
    public var samples: any SampleSink
    /// Is told of alerts.
    public var alerts: any AlertSink
    /// Acts on triggers; nil: nobody does.
    public var rollback: (any RollbackSink)?
    /// The interval of groups that name none.
    public var interval: Milliseconds = 60_000
    /// The offset of groups that name none.
    public var queryOffset: Milliseconds = 0
    /// How soon an alert that fires on is told again.
    public var resendDelay: Milliseconds = 60_000
    /// How long after a restart a restored alert is kept as it was while its expression gives it no value: until the
    /// first scrapes are in, missing data says nothing. Only then may it be over.
    public var settle: Milliseconds = 0
    /// While it is true nothing is evaluated: the store does not know its past yet.
    public var isHeld: @Sendable () -> Bool = { false }
    /// Laid under the labels of every alert that is told.
    public var externalLabels = Labels()
    /// Where this daemon is reached, without a slash at the end.
    public var externalURL = ""

    /// Whether `query` in templates may ask the engine: not where the expression was evaluated elsewhere.
    var queriesInTemplates = true

    /// What groups cannot do without.
    public init(engine: QueryEngine, samples: any SampleSink, alerts: any AlertSink) {
        (self.engine, self.samples, self.alerts) = (engine, samples, alerts)
    }

    /// An alert as the sink is told of it.
    func told(_ alert: ActiveAlert, of expression: Expression?) -> Alert {
        Alert(
            labels: externalLabels.merging(alert.labels), annotations: alert.annotations, value: alert.value,
            startsAt: alert.firedAt ?? alert.activeAt, endsAt: alert.resolvedAt,
            generatorURL: expression.map { externalURL + graphPath(of: $0.text) } ?? "")
    }
}

/// The address of an expression's graph, as Prometheus writes it.
///
/// - SeeAlso: Prometheus, `util/strutil/strconv.go`, `TableLinkForExpression`.
func graphPath(of expression: String) -> String {
    "/graph?g0.expr=\(expression.queryEscaped)&g0.tab=1"
}
