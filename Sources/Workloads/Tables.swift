public import SQL

/// The tables that the workloads read and write. Moments are milliseconds since the Unix epoch, days are texts such as
/// `2026-11-20`, money is whole millionths, truth is 0 or 1: the same statements give the same figures on both
/// databases. A unit is a user of a tenant, `(tenant_id, user_id)`.
public enum BusinessTables {
    private static let unit: [SQLTable.Column] = [.init("tenant_id", .text), .init("user_id", .text)]

    /// An event of a feature: one row is one use.
    private static func events(_ name: String, _ more: [SQLTable.Column]) -> SQLTable {
        SQLTable(
            name,
            [.init("id", .integer)] + unit + [.init("occurred_at", .integer), .init("success", .integer)] + more,
            key: ["id"], indexes: [["occurred_at"], ["tenant_id", "user_id"]])
    }

    /// Customers; `churned_at` is NULL of those who stayed.
    public static let customers = SQLTable(
        "customers",
        unit + [
            .init("signed_up_at", .integer), .init("plan_tier", .text), .init("churned_at", .integer, optional: true),
        ], key: ["tenant_id", "user_id"])

    /// A customer's features at a moment, and the outcome once it is known: what a model is trained on.
    public static let snapshots = SQLTable(
        "churn_snapshots",
        unit + [.init("observed_at", .integer)]
            + [
                "days_since_signup", "login_count", "feature_usage", "last_login_days_ago", "session_duration",
                "api_calls",
            ].map { .init($0, .real, optional: true) }
            + [.init("plan_tier", .text, optional: true), .init("churned", .integer, optional: true)],
        key: ["tenant_id", "user_id", "observed_at"], indexes: [["observed_at"]])

    /// What became of customers: `churned` within the horizon that `observed_at` ends.
    public static let outcomes = SQLTable(
        "churn_outcomes", unit + [.init("observed_at", .integer), .init("churned", .integer)],
        key: ["tenant_id", "user_id", "observed_at"], indexes: [["observed_at"]])

    /// Every answer of the model, with the features it was given.
    public static let predictions = SQLTable(
        "churn_predictions",
        [.init("id", .text)] + unit
            + [
                .init("predicted_at", .integer), .init("model_version", .integer), .init("source", .text),
                .init("probability", .real), .init("risk", .text), .init("features", .text),
            ], key: ["id"], indexes: [["predicted_at"], ["tenant_id", "user_id", "predicted_at"]])

    /// Uses of the product, a row for each customer and day with any.
    public static let usage = SQLTable(
        "customer_usage",
        unit + [
            .init("day", .text), .init("logins", .integer), .init("api_calls", .integer),
            .init("session_minutes", .real),
        ], key: ["tenant_id", "user_id", "day"])

    /// Purchases: the success that lift counts.
    public static let purchases = SQLTable(
        "purchases",
        [.init("id", .integer)] + unit + [.init("occurred_at", .integer), .init("amount_micros", .integer)],
        key: ["id"], indexes: [["tenant_id", "user_id", "occurred_at"], ["occurred_at"]])

    /// Events of the WebSocket manager's feature.
    public static let realtime = events(
        "realtime_intelligence_events", [.init("event_type", .text), .init("latency_ms", .real)])
    /// Interventions against churn; `success` is 1 when the customer stayed.
    public static let interventions = events(
        "churn_interventions",
        [
            .init("stage", .text), .init("channel", .text), .init("delivered", .integer),
            .init("churn_probability", .real), .init("latency_s", .real),
        ])
    /// Coaching sessions.
    public static let coaching = events(
        "coaching_sessions", [.init("duration_s", .real), .init("analysis_latency_ms", .real), .init("score", .real)])
    /// Analyses of properties.
    public static let vision = events(
        "property_vision_analyses",
        [.init("property_id", .text), .init("latency_ms", .real), .init("confidence", .real)])

    /// The record of business impact, a row for each day and feature; `tenant_id` is `*` for all tenants.
    public static let metrics = SQLTable(
        "phase3_business_metrics",
        [
            .init("metric_date", .text), .init("tenant_id", .text), .init("feature", .text), .init("uses", .integer),
            .init("successes", .integer), .init("benefit_micros", .integer), .init("infrastructure_micros", .integer),
            .init("usage_cost_micros", .integer), .init("hours_saved_millis", .integer),
            .init("computed_at", .integer),
        ], key: ["metric_date", "tenant_id", "feature"])

    /// Who is in which group of a feature's trial.
    public static let assignments = SQLTable(
        "ab_test_assignments",
        unit + [.init("feature", .text), .init("variant", .text), .init("assigned_at", .integer)],
        key: ["feature", "tenant_id", "user_id"])
    /// Experiments.
    public static let experiments = SQLTable(
        "ab_experiments",
        [
            .init("id", .text), .init("tenant_id", .text), .init("feature", .text), .init("name", .text),
            .init("status", .text), .init("started_at", .integer), .init("ended_at", .integer, optional: true),
        ], key: ["id"])
    /// What a unit did in an experiment.
    public static let results = SQLTable(
        "ab_experiment_results",
        [.init("experiment_id", .text)] + unit
            + [
                .init("variant", .text), .init("metric", .text), .init("value", .real), .init("success", .integer),
                .init("recorded_at", .integer),
            ], key: ["experiment_id", "tenant_id", "user_id", "metric"])

    /// All of them.
    public static let all = [
        customers, snapshots, outcomes, predictions, usage, purchases, realtime, interventions, coaching, vision,
        metrics, assignments, experiments, results,
    ]

    /// The history of the tables.
    public static let migrations = [SQLMigration("001-business", tables: all)]
}
