internal import Basics
internal import Model
internal import Notifying
internal import Rules

extension API {
    private static let never = Timestamp.goZero.rfc3339(trimmed: true)

    /// Groups and their rules, by every filter of Prometheus: `type`, `rule_name[]`, `rule_group[]`, `file[]`,
    /// `match[]` over the rules' own labels, and pages of `group_limit` groups, the next one from `group_next_token`.
    func rules(_ request: APIRequest) async throws(APIError) -> APIResponse {
        let filter = try RuleFilter(request, matchers: matchers(request))
        let limit = try whole("group_limit", request)
        var token = request.parameter("group_next_token")
        if token != nil, limit == nil {
            throw .badData("invalid parameter \"group_limit\": group_limit needs to be present in order to paginate")
        }
        var groups: [JSON] = []
        var next: String?
        for group in await context.rules.status().sorted(by: { ($0.file, $0.name) < ($1.file, $1.name) }) {
            let rules = group.rules.filter(filter.takes)
            guard filter.takes(group), !rules.isEmpty || !filter.isNarrow else { continue }
            let key = API.token(of: group)
            if let wanted = token {
                guard key == wanted else { continue }
                token = nil
            }
            if let limit, groups.count == limit {
                next = key
                break
            }
            groups.append([
                "name": .string(group.name), "file": .string(group.file),
                "rules": .array(rules.map { API.rule($0, showsAlerts: filter.showsAlerts) }),
                "interval": .number(Double(group.interval) / 1000), "limit": .number(Double(group.limit)),
                "evaluationTime": .number(group.evaluationSeconds),
                "lastEvaluation": .string(group.lastEvaluation?.rfc3339(trimmed: true) ?? API.never),
            ])
        }
        if token != nil {
            throw .badData("invalid parameter \"group_next_token\": invalid group_next_token; begin again without it")
        }
        var members = [JSON.Member("groups", .array(groups))]
        if let next { members.append(JSON.Member("groupNextToken", .string(next))) }
        return .success(.object(members))
    }

    private static func token(of group: RuleGroupStatus) -> String {
        Digest.of(Array("\(group.file);\(group.name)".utf8), .sha256).prefix(20).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }

    /// Which rules are asked for.
    private struct RuleFilter {
        var type: String?
        var names: [String], groups: [String], files: [String]
        var matchers: [[Matcher]]
        var showsAlerts: Bool

        init(_ request: APIRequest, matchers: [[Matcher]]) throws(APIError) {
            type = request.parameter("type")?.lowercased()
            guard type == nil || type == "alert" || type == "record" else {
                throw .badData(
                    "invalid parameter \"type\": not supported value \((request.parameter("type") ?? "").goQuoted)")
            }
            switch request.parameter("exclude_alerts")?.lowercased() {
            case nil, "false", "0", "f": showsAlerts = true
            case "true", "1", "t": showsAlerts = false
            default: throw .badData("invalid parameter \"exclude_alerts\": write true or false")
            }
            names = request.all("rule_name[]")
            (groups, files) = (request.all("rule_group[]"), request.all("file[]"))
            self.matchers = matchers
        }

        /// Whether groups without a rule that is asked for are left out.
        var isNarrow: Bool { type != nil || !names.isEmpty || !matchers.isEmpty }

        func takes(_ group: RuleGroupStatus) -> Bool {
            (groups.isEmpty || groups.contains(group.name)) && (files.isEmpty || files.contains(group.file))
        }

        func takes(_ rule: RuleStatus) -> Bool {
            guard names.isEmpty || names.contains(rule.definition.name),
                type == nil || (type == "alert") == (rule.definition.kind != .recording)
            else { return false }
            // A templated label is different in each alert: it says nothing of the rule.
            let labels = Labels(rule.definition.labelTexts.filter { !$0.value.contains("{{") })
            return matchers.isEmpty || matchers.contains { $0.allSatisfy { $0.matches(labels) } }
        }
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
}
