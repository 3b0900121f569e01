internal import Basics
internal import Model
internal import Synchronization

/// What the room tells of itself as series.
final class RollbackFigures: Sendable {
    private struct State {
        var ended: [String: [RollbackOutcome: Int]] = [:]
        var running: [String: Int] = [:]
        var triggers: [TriggerReading] = []
        var budgetLeft = 0
        var isStopped = false
    }
    private let state = Mutex(State())
    private let failures = LabelledCounter(known: RollbackStep.kindNames)

    func count(_ run: RollbackRun) {
        guard let outcome = run.outcome else { return }
        state.withLock { $0.ended[run.action, default: [:]][outcome, default: 0] += 1 }
    }

    func countFailure(of step: RollbackStep) { failures.add(step.kindName) }

    func show(_ book: RollbackBook, _ settings: RollbackSettings, isStopped: Bool, now: Timestamp) {
        let active = book.active
        state.withLock { state in
            // Begun at 0, so that a first run is seen as an increase.
            for name in settings.actions.keys {
                state.running[name] = 0
                if state.ended[name] == nil { state.ended[name] = [:] }
            }
            for name in Array(state.running.keys) { state.running[name] = active.count { $0.action == name } }
            state.triggers = book.readings.values.sorted { $0.trigger < $1.trigger }
            state.budgetLeft = book.budgetLeft(settings, now)
            state.isStopped = isStopped
        }
    }

    func families() -> [MetricFamily] {
        let state = state.withLock { $0 }
        let ended = state.ended.sorted { $0.key < $1.key }.flatMap { action, counts in
            RollbackOutcome.allCases.map { outcome -> (Labels, Double) in
                (["action": action, "outcome": outcome.rawValue], Double(counts[outcome] ?? 0))
            }
        }
        return [
            MetricFamily(.counter, "vedette_rollback_runs_total", "Rollbacks that ended, by how.", ended),
            MetricFamily(
                .gauge, "vedette_rollback_running", "Rollbacks under way.",
                state.running.sorted { $0.key < $1.key }.map { (["action": $0.key], Double($0.value)) }),
            MetricFamily(
                .counter, "vedette_rollback_step_failures_total", "Steps of rollbacks that failed, by kind.",
                failures.values.map { (["step": $0.name], Double($0.count)) }),
            MetricFamily(
                .gauge, "vedette_rollback_kill_switch", "Whether the kill switch forbids every rollback.",
                state.isStopped ? 1 : 0),
            MetricFamily(
                .gauge, "vedette_rollback_budget_remaining", "Rollbacks that may still begin by themselves.",
                state.budgetLeft),
            MetricFamily(
                .gauge, "vedette_rollback_trigger_state",
                "Where a trigger stands: 0 clear, 1 pending, 2 firing, -1 no data.",
                state.triggers.map { (["trigger": $0.trigger, "action": $0.action], $0.state.figure) }),
        ]
    }
}

extension TriggerReading.State {
    fileprivate var figure: Double {
        switch self {
        case .clear: 0
        case .pending: 1
        case .firing: 2
        case .noData: -1
        }
    }
}
