internal import Basics
internal import Model
internal import Scraping

extension API {
    /// Targets by pool, with `state` (`active`, `dropped`, `any`) and `scrapePool` to narrow them.
    func targets(_ request: APIRequest) -> APIResponse {
        let pool = request.parameter("scrapePool")
        let state = request.parameter("state")?.lowercased() ?? "any"
        var (active, dropped, counts): ([JSON], [JSON], JSON) = ([], [], .null)
        if state == "any" || state == "active" {
            active = context.targets.targets.filter { pool == nil || $0.target.pool == pool }
                .sorted { $0.target.pool.isBefore($1.target.pool) }.map(API.target)
        }
        if state == "any" || state == "dropped" {
            dropped = context.targets.droppedTargets.filter { pool == nil || $0.pool == pool }
                .sorted { $0.pool.isBefore($1.pool) }.map {
                    ["discoveredLabels": API.labels($0.discovered), "scrapePool": .string($0.pool)]
                }
            var known = Dictionary(context.targets.pools.map { ($0, 0) }, uniquingKeysWith: { one, _ in one })
            known.merge(context.targets.droppedCounts) { $1 }
            counts = .object(
                known.sorted { $0.key.isBefore($1.key) }.map { JSON.Member($0.key, .number(Double($0.value))) })
        }
        return .success([
            "activeTargets": .array(active), "droppedTargets": .array(dropped), "droppedTargetCounts": counts,
        ])
    }

    private static func target(_ watched: WatchedTarget) -> JSON {
        let (target, status) = (watched.target, watched.status)
        return [
            "discoveredLabels": labels(watched.discovered), "labels": labels(target.labels),
            "scrapePool": .string(target.pool), "scrapeUrl": .string(target.url), "globalUrl": .string(target.url),
            "lastError": .string(status.lastError),
            "lastScrape": .string((status.lastScrape ?? .goZero).rfc3339(trimmed: true)),
            "lastScrapeDuration": .number(status.lastDurationSeconds), "health": .string(status.health.rawValue),
            "scrapeInterval": .string(DurationText.format(target.interval)),
            "scrapeTimeout": .string(DurationText.format(target.timeout)),
        ]
    }

    func scrapePools() -> APIResponse {
        let pools = Set(context.targets.pools + context.targets.targets.map(\.target.pool))
        return .success(["scrapePools": .array(pools.sorted { $0.isBefore($1) }.map(JSON.string))])
    }

    /// What a pool's rules make of a target's labels; nothing follows a rule that drops it.
    func relabelSteps(_ request: APIRequest) throws(APIError) -> APIResponse {
        guard let pool = request.parameter("scrapePool") else { throw .badData("no scrapePool parameter provided") }
        guard let text = request.parameter("labels") else { throw .badData("no labels parameter provided") }
        guard let given = try? JSON(parsing: Array(text.utf8)), let members = given.members,
            members.allSatisfy({ $0.value.string != nil })
        else { throw .badData("error parsing labels: write a JSON object of texts, {\"job\":\"api\"}") }
        guard let steps = context.targets.relabelSteps(pool: pool, labels: Labels(json: given) ?? Labels()) else {
            throw .badData("error retrieving scrape config: scrape pool \(pool.goQuoted) not found")
        }
        let shown = steps.map { step -> JSON in
            ["rule": API.rule(step.rule), "output": API.labels(step.output), "keep": .bool(step.isKept)]
        }
        return .success(["steps": .array(shown)])
    }

    /// A rule as the file has it, what is empty left out.
    private static func rule(_ rule: RelabelRule) -> JSON {
        let texts = [
            ("separator", rule.separator), ("regex", rule.regex.text), ("target_label", rule.targetLabel),
            ("replacement", rule.replacement), ("action", rule.action.rawValue),
        ]
        var members = texts.filter { !$0.1.isEmpty }.map { JSON.Member($0.0, .string($0.1)) }
        if rule.modulus > 0 { members.append(JSON.Member("modulus", .number(Double(rule.modulus)))) }
        if !rule.sourceLabels.isEmpty {
            members.insert(JSON.Member("source_labels", .array(rule.sourceLabels.map(JSON.string))), at: 0)
        }
        return .object(members)
    }

    // MARK: Metadata

    /// A whole number, nil when it is not given; below 0 it stands for no limit.
    func number(_ name: String, _ request: APIRequest) throws(APIError) -> Int? {
        guard let text = request.parameter(name) else { return nil }
        guard let number = Int(text) else { throw .badData("\(name) must be a number") }
        return number
    }

    /// What targets say of their metrics, by metric; what several say alike is told once.
    func metadata(_ request: APIRequest) throws(APIError) -> APIResponse {
        let (limit, perMetric) = (try number("limit", request) ?? -1, try number("limit_per_metric", request) ?? -1)
        let wanted = request.parameter("metric")
        var found: [ByteText: [MetricMetadata]] = [:]
        for watched in context.targets.targets {
            for one in watched.metadata where wanted.map(one.metric.isSame) ?? true {
                let known = found[ByteText(one.metric)] ?? []
                guard perMetric <= 0 || known.count < perMetric, !known.contains(one) else { continue }
                found[ByteText(one.metric)] = known + [one]
            }
        }
        let sorted = found.sorted { $0.key < $1.key }.prefix(limit < 0 ? .max : limit)
        return .success(.object(sorted.map { JSON.Member($0.key.text, .array($0.value.map { API.metadata($0) })) }))
    }

    /// What each target says of its metrics. `limit` is looked at before each target, as Prometheus does.
    func targetMetadata(_ request: APIRequest) throws(APIError) -> APIResponse {
        let limit = try number("limit", request) ?? -1
        let wanted = request.parameter("metric")
        let matchers = try request.parameter("match_target").map { (text) throws(APIError) in
            try selector(text, parameter: "match_target")
        }
        var found: [JSON] = []
        for watched in context.targets.targets {
            if limit >= 0, found.count >= limit { break }
            let labels = watched.target.labels
            guard matchers?.allSatisfy({ $0.matches(labels) }) ?? true else { continue }
            for one in watched.metadata where wanted == nil || one.metric == wanted {
                var members = [JSON.Member("target", API.labels(labels))]
                if wanted == nil { members.append(JSON.Member("metric", .string(one.metric))) }
                found.append(.object(members + (API.metadata(one).members ?? [])))
            }
        }
        return .success(.array(found))
    }

    private static func metadata(_ one: MetricMetadata) -> JSON {
        ["type": .string(one.type.rawValue), "unit": .string(one.unit), "help": .string(one.help)]
    }
}
