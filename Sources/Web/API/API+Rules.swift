internal import Basics
internal import Model
internal import Notifying
internal import Rules

extension API {
    private static let never = Timestamp.goZero.rfc3339(trimmed: true)

    func rules(_ request: APIRequest) async -> APIResponse {
        let type = request.parameter("type")
        let names = (request.all("rule_name[]"), request.all("rule_group[]"), request.all("file[]"))
        var groups: [JSON] = []
        for group in await context.rules.status() {
            guard names.1.isEmpty || names.1.contains(group.name), names.2.isEmpty || names.2.contains(group.file)
            else {
                continue
            }
            let rules = group.rules.filter { rule in
                (names.0.isEmpty || names.0.contains(rule.definition.name))
                    && (type == nil || (type == "alert") == (rule.definition.kind != .recording))
            }
            if rules.isEmpty, type != nil || !names.0.isEmpty { continue }
            groups.append([
                "name": .string(group.name), "file": .string(group.file),
                "rules": .array(rules.map { API.rule($0, showsAlerts: request.parameter("exclude_alerts") != "true") }),
                "interval": .number(Double(group.interval) / 1000), "limit": .number(Double(group.limit)),
                "evaluationTime": .number(group.evaluationSeconds),
                "lastEvaluation": .string(group.lastEvaluation?.rfc3339(trimmed: true) ?? API.never),
            ])
        }
        return .success(["groups": .array(groups)])
    }

    private static func rule(_ rule: RuleStatus, showsAlerts: Bool) -> JSON {
        let definition = rule.definition
        var members: [JSON.Member] = []
        if definition.kind != .recording {
            members = [
                JSON.Member("state", .string(rule.state.rawValue)), JSON.Member("name", .string(definition.name)),
                JSON.Member("query", .string(rule.query)),
                JSON.Member("duration", .number(Double(rule.hold) / 1000)),
                JSON.Member("keepFiringFor", .number(Double(definition.keepFiringFor) / 1000)),
                JSON.Member("labels", JSON(definition.labelTexts)),
                JSON.Member("annotations", JSON(definition.annotationTexts)),
                JSON.Member(
                    "alerts", .array(showsAlerts ? rule.alerts.filter { $0.state != .inactive }.map(alert) : [])),
            ]
        } else {
            members = [JSON.Member("name", .string(definition.name)), JSON.Member("query", .string(rule.query))]
            if !definition.labels.isEmpty { members.append(JSON.Member("labels", JSON(definition.labelTexts))) }
        }
        members.append(JSON.Member("health", .string(rule.health.rawValue)))
        if let error = rule.lastError { members.append(JSON.Member("lastError", .string(error))) }
        members += [
            JSON.Member("evaluationTime", .number(rule.evaluationSeconds)),
            JSON.Member("lastEvaluation", .string(rule.lastEvaluation?.rfc3339(trimmed: true) ?? never)),
            // A drift rule is an alerting rule to those who know no other kinds.
            JSON.Member("type", .string(definition.kind == .recording ? "recording" : "alerting")),
        ]
        if definition.kind == .drift {
            members.append(JSON.Member("driftFeatures", .array(rule.driftFeatures.map(driftFeature))))
        }
        return .object(members)
    }

    private static func driftFeature(_ feature: DriftFeature) -> JSON {
        [
            "feature": .string(feature.name), "state": .string(feature.state.name),
            "notes": .array(feature.notes.map(JSON.string)),
            "referenceCount": .number(feature.referenceCount), "currentCount": .number(feature.currentCount),
            "tests": .array(
                feature.results.map { result in
                    [
                        "test": .string(result.test.rawValue), "score": .number(result.score),
                        "threshold": .number(result.threshold), "pValue": .number(result.probability),
                        "adjustedPValue": .number(result.adjusted), "law": .string(result.law),
                    ]
                }),
        ]
    }

    private static func alert(_ alert: ActiveAlert) -> JSON {
        var members = [
            JSON.Member("labels", labels(alert.labels)), JSON.Member("annotations", JSON(alert.annotations)),
            JSON.Member("state", .string(alert.state.rawValue)),
            JSON.Member("activeAt", .string(alert.activeAt.rfc3339(trimmed: true))),
        ]
        if let since = alert.keepFiringSince {
            members.append(JSON.Member("keepFiringSince", .string(since.rfc3339(trimmed: true))))
        }
        members.append(JSON.Member("value", .string(GoNumber.exponential(alert.value))))
        return .object(members)
    }

    func alerts() async -> APIResponse {
        let all = await context.rules.status().flatMap(\.alerts).filter { $0.state != .inactive }
        return .success(["alerts": .array(all.map(API.alert))])
    }

    /// The delivery ledger: pages on their way, the last tries, and what was given up.
    func pages() async -> APIResponse {
        let snapshot = await context.dispatcher.snapshot()
        let waiting = snapshot.outbox.map { entry -> JSON in
            [
                "id": .string(entry.id), "channel": .string(entry.channelID),
                "created": .string("\(entry.createdAt)"), "attempts": .number(Double(entry.attempts)),
                "unknownOutcomes": .number(Double(entry.unknownOutcomes)), "lastError": .string(entry.lastError),
            ]
        }
        let dead = snapshot.deadLetters.map { letter -> JSON in
            [
                "id": .string(letter.entry.id), "channel": .string(letter.entry.channelID),
                "time": .string("\(letter.diedAt)"), "reason": .string(letter.reason.rawValue),
                "message": .string(letter.message),
            ]
        }
        return .success([
            "waiting": .array(waiting), "deliveries": .array(snapshot.deliveries.map(API.delivery)),
            "deadLetters": .array(dead),
        ])
    }

    private static func delivery(_ delivery: Delivery) -> JSON {
        [
            "time": .string("\(delivery.time)"), "receiver": .string(delivery.receiver),
            "channel": .string(delivery.channelID), "kind": .string(delivery.kind),
            "id": .string(delivery.notificationID), "groupKey": .string(delivery.groupKey),
            "title": .string(delivery.title), "firing": .bool(delivery.isFiring),
            "attempt": .number(Double(delivery.attempt)), "latencySeconds": .number(Double(delivery.latency) / 1000),
            "outcome": .string(delivery.outcome.rawValue), "message": .string(delivery.message),
            "nextTry": delivery.nextTry.map { .string("\($0)") } ?? .null,
        ]
    }
}
