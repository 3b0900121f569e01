internal import Basics
internal import Model
internal import Scraping

extension API {
    /// `{status, timestamp, version}`: that this daemon works, and nothing of what it watches.
    func health() -> APIResponse {
        .json(["status": "healthy", "timestamp": timestamp, "version": .string(context.version)])
    }

    /// What a check or a workload is like, in the shape of the systems' own health documents: its fields beside its
    /// `status`. 503 when it is unhealthy, or was not looked at yet.
    func health(of name: String) async -> APIResponse {
        for watched in context.targets.targets {
            guard case .health(let check) = watched.target.kind, check.name == name else { continue }
            let members = API.members(of: watched) + [JSON.Member("timestamp", timestamp)]
            return .json(.object(members), status: API.serves(members) ? 200 : 503)
        }
        if let workload = await workloads().first(where: { $0.name == name }) {
            let members = (workload.value.members ?? []) + [JSON.Member("timestamp", timestamp)]
            return .json(.object(members), status: API.serves(members) ? 200 : 503)
        }
        return .json(
            ["error": "there is no health check or workload of that name", "cure": "see /health/detailed"], status: 404)
    }

    /// `{status, services: {name: {…}}, timestamp}`: degraded when any is not healthy.
    func detailedHealth() async -> APIResponse {
        var services: [JSON.Member] = []
        for watched in context.targets.targets {
            guard case .health(let check) = watched.target.kind else { continue }
            services.append(JSON.Member(check.name, .object(API.members(of: watched))))
        }
        services += await workloads()
        let isWell = services.allSatisfy { $0.value["status"]?.string == "healthy" }
        return .json([
            "status": isWell ? "healthy" : "degraded", "services": .object(services), "timestamp": timestamp,
        ])
    }

    private var timestamp: JSON { .string(context.clock.now().description) }

    private static func serves(_ members: [JSON.Member]) -> Bool {
        ["healthy", "degraded"].contains(members.first { $0.name == "status" }?.value.string)
    }

    /// The workloads' own document, by their names; none when they do not run.
    private func workloads() async -> [JSON.Member] {
        guard let workloads = context.workloads else { return [] }
        let answer = await workloads.forward(APIRequest(path: "/health"))
        guard answer.status == 200 else { return [JSON.Member("workloads", ["status": "unhealthy"])] }
        // What answers otherwise is not one of ours.
        return (try? JSON(parsing: answer.body))?["services"]?.members ?? []
    }

    private static func members(of watched: WatchedTarget) -> [JSON.Member] {
        guard let report = watched.health else { return [JSON.Member("status", "unknown")] }
        var members = [JSON.Member("status", .string(report.standing))]
        var queries: [(name: String, rows: [[Label]: [JSON.Member]], order: [[Label]])] = []
        for value in report.values {
            guard let query = value.labels.first(where: { $0.name == "query" })?.value else {
                members.append(JSON.Member(value.field, value.shown))
                continue
            }
            if queries.last?.name != query { queries.append((query, [:], [])) }
            let key = value.labels.filter { $0.name != "query" }
            if queries[queries.count - 1].rows[key] == nil { queries[queries.count - 1].order.append(key) }
            queries[queries.count - 1].rows[key, default: []].append(JSON.Member(value.field, value.shown))
        }
        for (name, rows, order) in queries {
            let found = order.map { key in
                JSON.object(key.map { JSON.Member($0.name, .string($0.value)) } + (rows[key] ?? []))
            }
            members.append(JSON.Member(name, .array(found)))
        }
        members.append(JSON.Member("latency_ms", .number((report.durationSeconds * 1e5).rounded() / 100)))
        if !report.isUp { members.append(JSON.Member("error", .string(report.sentence))) }
        // A field of the document may be named as one of ours: ours counts.
        var seen: Set<String> = []
        return members.filter { seen.insert($0.name).inserted }
    }

    // MARK: Metrics

    /// The daemon's own figures and the series of its checks, so that another Prometheus sees what is watched here.
    /// This daemon itself is told the figures alone: it has these series, and would have them twice.
    func ownMetrics(_ request: APIRequest) -> APIResponse {
        var families = context.metrics()
        if request.agent != Target.agent { families += checkFamilies() }
        return .metrics(families, accept: request.accept)
    }

    private static let checkHelp = [
        "health_check_up": "Whether every expectation of the check is fulfilled.",
        "health_check_duration_seconds": "How long the check took, in all and by phase.",
        "health_check_status_code": "The status of the answer over HTTP; 0 without one.",
        "health_check_certificate_expiry_seconds":
            "When the first certificate of the chain ends, in seconds since 1970.",
        "health_check_failure_info": "Why the check fails; gone when it does not.",
        "health_check_value": "A field that the check reads.",
    ]

    private func checkFamilies() -> [MetricFamily] {
        let (limit, watched) = (context.exposedChecks(), context.targets.targets)
        var families: [String: MetricFamily] = [:]
        var (names, count): ([String], Int) = ([], 0)
        for target in watched {
            guard case .health(let check) = target.target.kind else { continue }
            count += 1
            guard count <= limit, let report = target.health else { continue }
            report.eachSeries(of: check) { series, value in
                var labels = target.target.labels
                for label in series.labels { labels[label.name] = label.value }
                if families[series.name] == nil {
                    names.append(series.name)
                    let help = API.checkHelp[series.name] ?? "As blackbox_exporter's."
                    families[series.name] = MetricFamily(.gauge, series.name, help, [(Labels, Double)]())
                }
                families[series.name]?.lines.append(.init(suffix: "", labels: labels, value: value))
            }
        }
        guard count > 0 else { return [] }
        let hidden = MetricFamily(
            .gauge, "vedette_health_checks_not_exposed",
            "Health checks beyond exposed_health_checks: their series are not here.", max(0, count - limit))
        return [hidden] + names.compactMap { families[$0] }
    }
}
