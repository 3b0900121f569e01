internal import Basics
internal import Model
internal import Synchronization

/// What all groups count together.
final class RuleCounters: Sendable {
    let evaluations = Counter()
    let failures = Counter()
    let iterations = Counter()
    let missed = Counter()
    let refusedSamples = Counter()
    let badEntries = Counter()
}

/// One group's figures, to be read while it evaluates.
final class GroupFigures: Sendable {
    struct Values {
        var rules: Int
        var interval: Milliseconds
        var pending = 0
        var firing = 0
        var seconds = 0.0
        var lastEvaluation: Timestamp?
    }
    let key: String
    /// Owed while it runs: from slot to slot, and from rule to rule.
    let pulse = Pulse()
    private let storage: Mutex<Values>

    init(key: String, rules: Int, interval: Milliseconds) {
        self.key = key
        storage = Mutex(Values(rules: rules, interval: interval))
    }

    var values: Values { storage.withLock { $0 } }

    func set(_ books: [AlertBook]) {
        var (pending, firing) = (0, 0)
        for book in books where !book.alerts.isEmpty {
            for alert in book.alerts.values {
                if alert.state == .pending { pending += 1 }
                if alert.state == .firing { firing += 1 }
            }
        }
        storage.withLock { ($0.pending, $0.firing) = (pending, firing) }
    }

    func set(_ books: [AlertBook], at moment: Timestamp, seconds: Double) {
        set(books)
        storage.withLock { ($0.lastEvaluation, $0.seconds) = (moment, seconds) }
    }

    func set(_ books: [AlertBook], rules: Int, interval: Milliseconds) {
        set(books)
        storage.withLock { ($0.rules, $0.interval) = (rules, interval) }
    }
}

/// The metric families of all groups.
func ruleFamilies(_ counters: RuleCounters, _ groups: [GroupFigures]) -> [MetricFamily] {
    let values = groups.map { (Labels(["rule_group": $0.key]), $0.values) }
    func gauge(_ name: String, _ help: String, _ value: (GroupFigures.Values) -> Double?) -> MetricFamily {
        MetricFamily(.gauge, name, help, values.compactMap { labels, values in value(values).map { (labels, $0) } })
    }
    return [
        MetricFamily(
            .counter, "vedette_rule_evaluations_total", "Evaluations of rules.", counters.evaluations.value),
        MetricFamily(
            .counter, "vedette_rule_evaluation_failures_total", "Evaluations of rules that failed.",
            counters.failures.value),
        MetricFamily(
            .counter, "vedette_rule_group_iterations_total", "Evaluations of rule groups.", counters.iterations.value),
        MetricFamily(
            .counter, "vedette_rule_group_iterations_missed_total",
            "Evaluations of rule groups that were left out because the one before took too long.",
            counters.missed.value),
        MetricFamily(
            .counter, "vedette_rule_samples_refused_total", "Samples of rules that the store did not take.",
            counters.refusedSamples.value),
        MetricFamily(
            .counter, "vedette_rule_state_unreadable_total", "Entries of alert state that could not be read at start.",
            counters.badEntries.value),
        gauge("vedette_rule_group_last_duration_seconds", "How long a group's last evaluation took.") { $0.seconds },
        gauge("vedette_rule_group_interval_seconds", "The interval of a group.") { Double($0.interval) / 1000 },
        gauge("vedette_rule_group_last_evaluation_timestamp_seconds", "When a group was last evaluated.") {
            $0.lastEvaluation?.seconds
        },
        gauge("vedette_rule_group_rules", "The number of a group's rules.") { Double($0.rules) },
        MetricFamily(
            .gauge, "vedette_alerts", "Alerts of rules by state.",
            [
                (["state": "firing"], Double(values.reduce(0) { $0 + $1.1.firing })),
                (["state": "pending"], Double(values.reduce(0) { $0 + $1.1.pending })),
            ]),
    ]
}
