internal import Alerting
internal import Basics
internal import Model
internal import Notifying
internal import Rules

/// Pages, the ledger, dead letters, and why.
extension API {
    /// Pages on their way, the ledger, dead letters, destinations that wait.
    func pages() async -> APIResponse {
        let snapshot = await context.dispatcher.snapshot()
        let waiting = snapshot.outbox.map { entry -> JSON in
            [
                "id": .string(entry.id), "channel": .string(entry.channelID), "title": .string(entry.title),
                "created": .string("\(entry.createdAt)"), "attempts": .number(Double(entry.attempts)),
                "unknownOutcomes": .number(Double(entry.unknownOutcomes)), "lastError": .string(entry.lastError),
                "standsInFor": entry.standsInFor.map { .string($0) } ?? .null,
            ]
        }
        let dead = snapshot.deadLetters.map { letter -> JSON in
            [
                "id": .string(letter.entry.id), "channel": .string(letter.entry.channelID),
                "title": .string(letter.entry.title), "time": .string("\(letter.diedAt)"),
                "reason": .string(letter.reason.rawValue), "message": .string(letter.message),
            ]
        }
        let held = snapshot.held.map { held -> JSON in
            [
                "destination": .string(held.destination), "until": .string("\(held.until)"),
                "asked": .bool(held.isPaused), "waiting": .number(Double(held.waiting)),
            ]
        }
        return .success([
            "waiting": .array(waiting), "deliveries": .array(snapshot.deliveries.map(\.json)),
            "ledger": .array(snapshot.ledger.map(\.json)), "deadLetters": .array(dead), "held": .array(held),
            "leaving": .array(snapshot.leaving.map { .string($0) }),
        ])
    }

    /// `action` is `replay` or `discard`; `id` names a dead letter, without one all are meant.
    func deadLetters(_ request: APIRequest) async throws -> APIResponse {
        let dispatcher = context.dispatcher
        let count: Int
        switch (request.parameter("action"), request.parameter("id")) {
        case ("replay", let id?): count = await dispatcher.replay(id) ? 1 : 0
        case ("replay", nil): count = await dispatcher.replayAll()
        case ("discard", let id?): count = await dispatcher.discard(id) ? 1 : 0
        case ("discard", nil): count = await dispatcher.discardAll()
        default: throw APIError.badData("action must be replay or discard")
        }
        if let id = request.parameter("id"), count == 0 {
            throw APIError.notFound("there is no dead letter '\(id)', or its channel is not configured any more")
        }
        return .success(["count": .number(Double(count))])
    }

    /// Alerts that were told to us and are over, and those that fire: what a changed configuration is tried on.
    func alertHistory() async -> APIResponse {
        let (alerting, now) = (await context.dispatcher.alerting(), context.clock.now())
        let alerts = alerting.recorded(now: now).map { alert -> JSON in
            [
                "labels": JSON(alert.labels), "annotations": JSON(alert.annotations),
                "startsAt": .string(alert.startsAt.rfc3339()),
                "endsAt": alert.endsAt.map { .string($0.rfc3339()) } ?? .null,
                "generatorURL": .string(alert.generatorURL),
            ]
        }
        return .success(["now": .string(now.rfc3339()), "alerts": .array(alerts)])
    }

    /// Why an alert is told to whom, or is not, by its fingerprint.
    func explainAlert(_ request: APIRequest) async throws -> APIResponse {
        guard let fingerprint = request.parameter("fingerprint") else {
            throw APIError.badData("fingerprint is missing; `vedette alerts` lists them")
        }
        var (rule, labels): (JSON, Labels?) = (.null, nil)
        for group in await context.rules.status() {
            for alert in group.alerts {
                let outer = context.externalLabels.merging(alert.labels)
                guard outer.fingerprintText == fingerprint || alert.labels.fingerprintText == fingerprint else {
                    continue
                }
                labels = outer
                rule = [
                    "group": .string(group.name), "file": .string(group.file),
                    "state": .string(alert.state.rawValue), "activeAt": .string("\(alert.activeAt)"),
                    "value": .string(GoNumber.shortest(alert.value, exponentFrom: 21)),
                    "expression": .string(
                        group.rules.first { $0.definition.name == alert.labels["alertname"] }?.query ?? ""),
                ]
            }
        }
        guard let explanation = await context.dispatcher.explain(fingerprint: fingerprint, labels: labels) else {
            throw APIError.notFound(
                "no alert has the fingerprint '\(fingerprint)'; `vedette alerts` lists those that fire")
        }
        return .success(.object((explanation.members ?? []) + [JSON.Member("rule", rule)]))
    }
}
