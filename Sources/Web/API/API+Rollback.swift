internal import Basics
internal import Model
internal import Rollback

extension API {
    /// GET: all rollbacks that are kept, the newest first. POST with `action` and `reason`: a person asks for one.
    func rollbacks(_ request: APIRequest) async throws -> APIResponse {
        guard request.method == "POST" else {
            let texts = ["true": true, "false": false]
            guard let isActive = texts[request.parameter("active") ?? "false"] else {
                throw APIError.badData("active must be true or false")
            }
            let runs = await context.rollback.runs.filter { !isActive || $0.outcome == nil }
            return .success(["rollbacks": .array(runs.map(\.shown))])
        }
        guard let action = request.parameter("action") else {
            throw APIError.badData("the parameter 'action' is missing")
        }
        guard let reason = request.parameter("reason") else {
            throw APIError.badData("the parameter 'reason' is missing: who asks, and why; it is told to the receivers")
        }
        return try await answering { () throws(RollbackRefusal) in
            try await context.rollback.start(action, reason: reason).shown
        }
    }

    /// One rollback.
    func oneRollback(_ id: String) async throws -> APIResponse {
        try await answering { () throws(RollbackRefusal) in try await context.rollback.run(id).shown }
    }

    /// A person ends one.
    func cancelRollback(_ id: String, _ request: APIRequest) async throws -> APIResponse {
        let who = request.parameter("by") ?? "a person"
        return try await answering { () throws(RollbackRefusal) in
            try await context.rollback.cancel(id, by: who).shown
        }
    }

    /// What an action would do now.
    func rollbackPlan(_ request: APIRequest) async throws -> APIResponse {
        guard let action = request.parameter("action") else {
            throw APIError.badData("the parameter 'action' is missing")
        }
        return try await answering { () throws(RollbackRefusal) in
            let (run, notes) = try await context.rollback.plan(action)
            let steps = zip(run.steps, notes).map { step, note -> JSON in
                ["step": .string(step.title), "now": .string(note)]
            }
            return [
                "action": .string(action), "includes": .array(run.actions.dropFirst().map { .string($0) }),
                "steps": .array(steps),
            ]
        }
    }

    /// The guards and what the triggers saw last.
    func rollbackStatus() async -> APIResponse {
        let status = await context.rollback.status
        let triggers = status.triggers.map { reading -> JSON in
            [
                "trigger": .string(reading.trigger), "state": .string(reading.state.rawValue),
                "condition": .string(reading.condition), "action": .string(reading.action),
                "value": reading.value.map { .string(GoNumber.fixed($0)) } ?? .null,
                "labels": JSON(reading.labels), "at": .string("\(reading.at)"),
                "firingSince": reading.firedAt.map { .string("\($0)") } ?? .null,
            ]
        }
        return .success([
            "mode": .string(status.mode.rawValue), "stopped": .bool(status.isStopped),
            "killSwitch": .string(status.killSwitch),
            "budget": [
                "runs": .number(Double(status.budget)), "window": .string(DurationText.format(status.budgetWindow)),
                "left": .number(Double(status.budgetLeft)),
            ],
            "actions": .array(
                status.actions.map { ["action": .string($0.name), "mode": .string(($0.mode ?? status.mode).rawValue)] }),
            "triggers": .array(triggers),
        ])
    }

    private func answering(_ body: () async throws(RollbackRefusal) -> JSON) async throws -> APIResponse {
        do throws(RollbackRefusal) {
            return .success(try await body())
        } catch {
            throw APIError(
                status: error.isUnknown ? 404 : 409, type: error.isUnknown ? "not_found" : "conflict",
                message: error.description)
        }
    }
}
