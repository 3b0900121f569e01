public import Basics
internal import Model
internal import Synchronization

/// How a run ended.
public enum WorkloadOutcome: String, Sendable, Hashable, CaseIterable { case success, failure, timeout }

/// A workload's state, for people and series.
public struct WorkloadStatus: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Since when a run is under way.
    public var runningSince: Timestamp?
    /// When the next is due; nil for never.
    public var nextRun: Timestamp?
    /// When the last run that was due by the schedule began.
    public var lastRun: Timestamp?
    /// When the last successful run ended.
    public var lastSuccess: Timestamp?
    /// How the last run ended, how long it took, and why it failed.
    public var lastOutcome: WorkloadOutcome?
    public var lastDuration: Milliseconds = 0
    public var lastError: String?
    /// How many runs ended how, and their rows.
    public var runs: [WorkloadOutcome: Int] = [:]
    public var rows = 0
    /// What is promised.
    public var objectives: WorkloadObjectives

    init(_ workload: any Workload) { (name, objectives) = (workload.name, workload.objectives) }

    /// What of the promises does not hold, one clause each.
    public func violations(at now: Timestamp) -> [String] {
        var found: [String] = []
        if let age = objectives.age {
            if let lastSuccess {
                if now - lastSuccess > age {
                    found.append("the last success is older than \(DurationText.format(age))")
                }
            } else if lastOutcome != nil {
                found.append("it has not succeeded yet")
            }
        }
        if let duration = objectives.duration, lastDuration > duration {
            found.append("the last run took longer than \(DurationText.format(duration))")
        }
        if let lastOutcome, lastOutcome != .success { found.append("the last run ended in \(lastOutcome.rawValue)") }
        return found
    }
}

/// The states of all workloads, read by whoever shows them while the host changes them.
final class WorkloadFigures: Sendable {
    private let states: Mutex<[WorkloadStatus]>

    init(_ workloads: [any Workload]) { states = Mutex(workloads.map(WorkloadStatus.init)) }

    var all: [WorkloadStatus] { states.withLock { $0 } }
    func status(of name: String) -> WorkloadStatus? { all.first { $0.name == name } }
    func change(_ name: String, _ body: (inout WorkloadStatus) -> Void) {
        states.withLock { states in
            if let index = states.firstIndex(where: { $0.name == name }) { body(&states[index]) }
        }
    }

    func metrics(at now: Timestamp) -> [MetricFamily] {
        let all = all
        func family(
            _ kind: MetricFamily.Kind, _ name: String, _ help: String, _ value: (WorkloadStatus) -> Double?
        ) -> MetricFamily {
            MetricFamily(
                kind, name, help,
                all.compactMap { status in value(status).map { (["workload": status.name] as Labels, $0) } })
        }
        let runs = all.flatMap { status in
            WorkloadOutcome.allCases.map { outcome in
                (
                    ["workload": status.name, "outcome": outcome.rawValue] as Labels,
                    Double(status.runs[outcome, default: 0])
                )
            }
        }
        return [
            MetricFamily(.counter, "vedette_workload_runs_total", "Runs of a workload by how they ended.", runs),
            family(.gauge, "vedette_workload_run_duration_seconds", "How long the last run took.") {
                $0.lastOutcome == nil ? nil : Double($0.lastDuration) / 1000
            },
            family(
                .gauge, "vedette_workload_last_success_timestamp_seconds", "When the last successful run ended."
            ) { $0.lastSuccess?.seconds },
            family(.gauge, "vedette_workload_last_run_outcome", "1 when the last run succeeded, else 0.") {
                $0.lastOutcome.map { $0 == .success ? 1 : 0 }
            },
            family(.counter, "vedette_workload_rows_total", "Rows that the runs worked on.") { Double($0.rows) },
            family(.gauge, "vedette_workload_running", "Whether a run is under way.") {
                $0.runningSince == nil ? 0 : 1
            },
            family(.gauge, "vedette_workload_objective_age_seconds", "How old the last success may be.") {
                $0.objectives.age.map { Double($0) / 1000 }
            },
            family(.gauge, "vedette_workload_objective_duration_seconds", "How long a run should take.") {
                $0.objectives.duration.map { Double($0) / 1000 }
            },
        ]
    }
}
