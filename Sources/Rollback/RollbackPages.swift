internal import Basics
internal import Glibc
internal import Model

/// What receivers are told of a run: one incident, from its beginning to its outcome.
enum RollbackPages {
    /// The alert's name, by which routes choose receivers.
    static let alertName = "Rollback"

    /// A run as an announcement; over once its incident is closed. `cost` is a sentence on what it cost so far.
    static func announcement(_ run: RollbackRun, number: Int, labels: Labels, cost: String?) -> Announcement {
        var own: [String: String] = [
            "alertname": alertName, "action": run.action, "rollback": run.thread, "severity": "critical",
        ]
        if let environment = run.environment { own["environment"] = environment }
        var annotations = [
            "summary": summary(run), "description": description(run), "runbook_url": "runbooks/Rollback.md",
            "rollback": run.id,
        ]
        if let cost {
            annotations["cost"] = cost
            annotations["description", default: ""] += "\nCost: \(cost)"
        }
        return Announcement(
            id: "\(run.id)-\(number)", thread: run.thread,
            alert: Alert(
                labels: labels.merging(Labels(own)), annotations: annotations,
                value: run.causes.last?.value ?? .nan, startsAt: run.createdAt,
                endsAt: run.isClosed ? run.closedAt ?? run.finishedAt : nil))
    }

    /// One line: what happens, or how it ended.
    static func summary(_ run: RollbackRun) -> String {
        guard let outcome = run.outcome else { return "\(run.action) begins: \(cause(run))" }
        if run.closedAt != nil { return "\(run.action): the trigger is clear again" }
        switch outcome {
        case .succeeded: return "\(run.action) succeeded: \(run.reason)"
        case .incomplete: return "\(run.action) helped, but is incomplete: a person must finish it"
        case .ineffective: return "\(run.action) was done and did NOT help: a person must look"
        case .stopped: return "\(run.action) STOPPED half-way: a person must look"
        case .cancelled: return "\(run.action) was cancelled half-way"
        case .absorbed: return "\(run.action) is taken over by \(run.absorbedBy ?? "a wider rollback")"
        case .observed: return "\(run.action) would be done (mode observe): \(cause(run))"
        case .refused: return "\(run.action) was NOT done: \(run.reason)"
        case .held: return "A person should look: \(cause(run))"
        }
    }

    /// Why, what was done, and what to do.
    static func description(_ run: RollbackRun) -> String {
        var lines = run.causes.map { "Because \(text($0))." }
        if !run.reason.isEmpty { lines.append("Outcome: \(run.reason).") }
        let shown = run.steps.filter { $0.kind != .announce }
        if !shown.isEmpty {
            lines.append(run.outcome == .observed || run.outcome == .refused ? "Plan:" : "Steps:")
            lines += shown.map { "- " + line($0) }
        }
        lines.append("See: vedette rollback show \(run.id)")
        return lines.joined(separator: "\n")
    }

    private static func line(_ step: RollbackStep) -> String {
        let mark =
            switch step.status {
            case .pending: "to do"
            case .begun: "now"
            case .done: "done"
            case .failed: "FAILED"
            case .skipped: "not done"
            case .unknown: "UNKNOWN"
            }
        return "[\(mark)] \(step.title)" + (step.detail.isEmpty ? "" : ": \(step.detail.prefix(300))")
    }

    private static func cause(_ run: RollbackRun) -> String { run.causes.first.map(text) ?? "" }

    private static func text(_ cause: RollbackCause) -> String {
        guard cause.trigger != nil else { return cause.text }
        let value = cause.value.map { ", it is \($0.forPeople)" } ?? ""
        let labels = cause.labels.withoutName
        return cause.text + value + (labels.isEmpty ? "" : " at \(labels)")
    }
}

extension Double {
    /// With six significant digits, as people read it.
    var forPeople: String {
        guard isFinite, self != 0 else { return GoNumber.shortest(self, exponentFrom: 21) }
        let scale = pow(10, 5 - log10(abs(self)).rounded(.down))
        return GoNumber.shortest(scale.isFinite ? (self * scale).rounded() / scale : self, exponentFrom: 21)
    }
}
