internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Settings
internal import Synchronization
internal import Web

/// `vedette demo`: six simulated services and a bad release: it is seen, paged, rolled back, verified and priced; all
/// on loopback, in less than 90 seconds.
///
/// What it prints was read back from the daemon's API, from a receiver's recorded request, or from Redis. It exits
/// with 1 when the incident was not paged and resolved on both receivers, or not rolled back.
struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Play an incident on simulated services, from the first symptom to the last page.")

    @Option(help: "Chooses the victims and the second.") var seed: UInt64 = 1
    @Option(help: "The rule file.") var rules = "rules/demo.yml"
    @Option(help: "The longest it may take, in seconds.") var seconds = 85.0
    @Flag(help: "Fill a database with three years of a synthetic business instead, and play nothing.") var data = false
    @Option(help: "With --data: the configuration that names the database.") var config = "vedette.yaml"
    @Option(help: "With --data: where relative paths of the database start.") var dataDir = "data"
    @Option(help: "With --data: how many days there are.") var days = 1096
    @Option(help: "With --data: how many customers there are.") var customers = 3000

    func run() async throws {
        if data {
            return try await DemoData(seed: seed, days: days, customers: customers).fill(config: config, dataDir)
        }
        tuneAllocator()
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let stage = DemoStage(seed: seed, directory: directory.path)
        let executor = ThreadPoolExecutor(count: 3, name: "vedette-ctl")
        let outcome = try await stage.play(
            rules: rules, executor: executor, seconds: seconds)
        if !outcome { throw ExitCode(1) }
    }
}

/// The demo's services, receivers and daemon.
private final class DemoStage: Sendable {
    private let clock = SystemClock()
    private let business: DemoBusiness
    private let receivers = DemoReceivers()
    private let releases: DemoReleases
    private let directory: String
    private let start: UInt64
    private let handlers = ThreadPoolExecutor(count: 2, name: "vedette-demo")

    init(seed: UInt64, directory: String) {
        self.directory = directory
        let releases = DemoReleases(directory: directory)
        self.releases = releases
        business = DemoBusiness(seed: seed) { releases.isBad }
        start = clock.uptimeNanoseconds()
    }

    private var second: Double { Double(clock.uptimeNanoseconds() - start) / 1e9 }

    func play(
        rules: String, executor: ThreadPoolExecutor, seconds: Double
    ) async throws -> Bool {
        try releases.prepare()
        let redis = try await DemoRedis.start(in: directory, flag: rollback.flag, clock: clock)
        defer { redis?.stop() }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            var ports: [DemoBusiness.Service: Int] = [:]
            for service in DemoBusiness.Service.allCases {
                ports[service] = try await listen(in: &group) { [self] request in
                    guard !business.isDead(service, at: second) else { return .text("gone\n", status: 503) }
                    return .text(business.page(of: service, at: second))
                }
            }
            let pager = try await listen(in: &group) { [self] in receivers.take($0, at: second) }
            let file = "\(directory)/vedette.yaml"
            try write(configuration(ports, pager, rules, redis), to: file)
            try write(driftRule, to: "\(directory)/drift.yml")
            try write(DemoBusiness.featureReference, to: "\(directory)/reference.json")
            // A quiet business of two months: what an hour of each feature is worth.
            try await DemoData(seed: 1, days: 60, customers: 200).fill(config: file, "\(directory)/data", isQuiet: true)
            let log = StandardErrorLog(format: .text, clock: clock, minimum: .error)
            let world = World.machine(log: log)
            let vedette: Vedette
            do {
                let settings = try DaemonSettings(path: file, files: world.files, variables: world.variables)
                for warning in settings.warnings { throw Refusal(warning) }
                var options = StartOptions(
                    configuration: file, dataDirectory: "\(directory)/data", externalURL: "http://127.0.0.1")
                options.hostsWorkloads = true
                vedette = try Vedette(options, settings: settings, world: world)
            } catch {
                throw Refusal("\(error)")
            }
            let work = executor.start { await vedette.run() }
            let port = try await listen(in: &group) { [api = vedette.api] in await api.answer($0) }
            let outcome = try await tell(port: port, until: seconds, redis)
            vedette.stop()
            await work.value
            group.cancelAll()
            return outcome
        }
    }

    /// Starts a server on a free port of loopback.
    private func listen(
        in group: inout ThrowingTaskGroup<Void, any Error>, _ handler: @escaping WebServer.Handler
    ) async throws -> Int {
        let (ports, found) = AsyncStream.makeStream(of: Int.self)
        let server = WebServer(
            [.tcp(host: "127.0.0.1", port: 0)], executor: { [handlers] _ in handlers },
            onListening: { ports in for port in ports { found.yield(port) } },
            handler: handler)
        group.addTask { try await server.run() }
        for await port in ports { return port }
        throw Refusal("the demo's servers cannot listen on loopback")
    }

    private var rollback: (metric: String, threshold: Int, flag: String) {
        business.incident.slow.rollback ?? ("websocket_latency_p95", 200, "realtime_intelligence")
    }

    private var driftRule: String {
        """
        groups:
        - name: drift
          interval: 1s
          rules:
          - drift: ModelInputDrifted
            current: {expr: 'model_input_bucket', window: 5s}
            reference: {file: reference.json}
            tests: [psi, ks]
            minimum: 100
            evaluations: 2
            labels: {severity: warning, component: \(business.incident.slow.rawValue)}
            annotations: {summary: 'The model sees another {{ $labels.feature }} than it was trained on (PSI {{ printf "%.2f" $value }})'}

        """
    }

    private func configuration(
        _ ports: [DemoBusiness.Service: Int], _ pager: Int, _ rules: String, _ redis: DemoRedis?
    ) -> String {
        let path = rules.hasPrefix("/") ? rules : "\(currentDirectory())/\(rules)"
        let jobs = DemoBusiness.Service.allCases.map { service in
            """
            - job_name: \(service.rawValue)
              static_configs: [{targets: ['127.0.0.1:\(ports[service] ?? 0)'], labels: {component: \(service.rawValue)}}]
            """
        }
        return """
            global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}
            rule_files: ['\(path)', drift.yml]
            database: sqlite:demo.db
            workloads: {business_impact: {}}
            rollback:
              mode: act
              flag_stores: [{name: flags, \(redis.map { "redis: {unix_socket: \($0.socket)}" } ?? "file: flags.json")}]
              actions:
                rollback_release:
                  services: [\(business.incident.slow.rawValue)]
                  flags: [\(rollback.flag)]
                  deployment: {releases: releases, link: current, requires: bin/app}
                  stabilise: 2s
                  verify: {expressions: ['up{component="\(business.incident.slow.rawValue)"} == 1'], passes: 3, of: 5, interval: 1s}
                  clears_within: 40s
            rollback_triggers:
              performance_degradation:
              - {metric: \(rollback.metric), threshold: \(rollback.threshold), duration: 3s, action: rollback_release}
            scrape_configs:
            \(jobs.joined(separator: "\n"))
            route:
              receiver: on-call
              group_by: [alertname, component]
              group_wait: 1s
              group_interval: 1s
              repeat_interval: 1h
            receivers:
            - name: on-call
              slack_configs: [{api_url: 'http://127.0.0.1:\(pager)/slack', channel: '#incidents', send_resolved: true}]
              pagerduty_configs: [{routing_key: demo, url: 'http://127.0.0.1:\(pager)/v2/enqueue'}]

            """
    }

    // MARK: Telling

    /// The alerts that must have been paged.
    private var expected: [String] {
        let latency: [DemoBusiness.Service: String] = [
            .websocket: "WebSocketLatencyHigh", .ml: "MLInferenceSlowdown", .vision: "VisionAnalysisSlow",
            .coaching: "CoachingAnalysisSlow",
        ]
        return [
            latency[business.incident.slow] ?? "", "ServiceDown", "ModelAccuracyDegradation", "ModelInputDrifted",
            "rollback_release",
        ]
    }

    private func say(_ text: String) {
        let time = GoNumber.fixed((second * 10).rounded() / 10)
        Output.line(String(repeating: " ", count: max(0, 5 - time.count)) + "\(time)s  \(text)")
    }

    private func tell(port: Int, until limit: Double, _ redis: DemoRedis?) async throws -> Bool {
        var client = Client()
        (client.url, client.tokenFile, client.caFile) = ("http://127.0.0.1:\(port)", nil, nil)
        var health: [String: String] = [:]
        var states: [String: String] = [:]
        var toldPages = 0
        var quietSince = 0.0
        var steps: [String: String] = [:]
        var isReleased = false
        while second < limit {
            if !isReleased, second >= business.incident.begin {
                isReleased = true
                try releases.release()
                say(
                    "release \(DemoReleases.bad) is deployed; \(business.incident.slow.rawValue) gets slow, and its model sees other inputs"
                )
            }
            try await tellRollback(client, &steps, redis)
            try await tellTargets(client, &health)
            try await tellAlerts(client, &states)
            let pages = receivers.received
            for page in pages[toldPages...] { say("\(page.channel) received: \(page.text)") }
            toldPages = pages.count
            if !isComplete(pages) || states.values.contains("firing") { quietSince = second }
            // The last end is told within the group's interval.
            if second - quietSince > 2 { break }
            try await clock.sleep(for: 250)
        }
        let isRolledBack = try await tellStory(client, redis)
        return summarize(receivers.received) && isRolledBack
    }

    private func tellRollback(_ client: Client, _ steps: inout [String: String], _ redis: DemoRedis?) async throws {
        for run in try await client.get("/api/vedette/v1/rollbacks")["rollbacks"]?.array ?? [] {
            for step in run["steps"]?.array ?? [] {
                let (name, status) = (step["step"]?.string ?? "", step["status"]?.string ?? "")
                guard steps.updateValue(status, forKey: name) != status, status != "pending" else { continue }
                let detail = step["detail"]?.string ?? ""
                say(
                    "rollback: \(name): \(status == "begun" ? "under way" : status)\(detail.isEmpty ? "" : ", \(detail)")"
                )
            }
        }
    }

    /// The rollback as `vedette rollback show` tells it, what is there now, and what the incident cost.
    private func tellStory(_ client: Client, _ redis: DemoRedis?) async throws -> Bool {
        guard let run = try await client.get("/api/vedette/v1/rollbacks")["rollbacks"]?.array?.first else {
            Output.line("\n  missing: nothing was rolled back")
            return false
        }
        Output.line("\n$ vedette rollback show \(run["id"]?.string ?? "")")
        for line in RollbackText.head(run) { Output.line(line) }
        Output.rows(
            ["status", "took", "step", "detail"], RollbackText.steps(run).map { [$0[0], $0[2], $0[3], $0[4]] }, .table)
        Output.line("\n$ readlink current\n\(releases.current)")
        if let redis {
            Output.line("$ redis-cli get feature_flag:\(rollback.flag)\n\(await redis.flag(rollback.flag))")
        }
        let from = (run["causes"]?[0]?["fired_at"] ?? run["created_at"])?.integer ?? 0
        let to = run["finished_at"]?.integer ?? from
        let cost = try await client.document(
            "/api/v1/analytics/impact/outage",
            [
                ("features", rollback.flag), ("from", RollbackText.moment(.number(Double(from)))),
                ("to", RollbackText.moment(.number(Double(to)))),
            ])
        Output.line(
            "\nthe incident cost $\(cost["total"]?.string ?? "?") of \(rollback.flag)'s benefit in "
                + "\(GoNumber.fixed(cost["seconds"]?.number ?? 0)) s, by its mean of the last 28 days")
        return run["outcome"]?.string == "succeeded"
    }

    private func tellTargets(_ client: Client, _ health: inout [String: String]) async throws {
        let targets = try await client.get("/api/v1/targets")["activeTargets"]?.array ?? []
        for target in targets {
            let labels = target["labels"]
            let name = labels?["component"]?.string ?? labels?["job"]?.string ?? ""
            let now = target["health"]?.string ?? ""
            guard health.updateValue(now, forKey: name) != now, now != "unknown" else { continue }
            let error = target["lastError"]?.string ?? ""
            say("target \(name) is \(now)\(error.isEmpty ? "" : ": \(error)")")
        }
    }

    private func tellAlerts(_ client: Client, _ states: inout [String: String]) async throws {
        let alerts = try await client.get("/api/v1/alerts")["alerts"]?.array ?? []
        var present: [String: String] = [:]
        for alert in alerts {
            let labels = alert["labels"]?.strings ?? [:]
            // A trigger: what it leads to is told as a rollback.
            if labels["action"] != nil { continue }
            let name = [labels["alertname"], labels["component"], labels["level"]].compactMap(\.self).joined(
                separator: " ")
            let state = alert["state"]?.string ?? ""
            present[name] = state
            if states[name] != state {
                say(
                    "alert \(name) is \(state) (\(labels["severity"] ?? "")): \(alert["annotations"]?["summary"]?.string ?? "")"
                )
            }
        }
        for name in states.keys.sorted() where present[name] == nil { say("alert \(name) is over") }
        states = present
    }

    private func isPaged(_ name: String, _ pages: [DemoReceivers.Received], channel: String, resolved: Bool) -> Bool {
        pages.contains { $0.channel == channel && $0.isResolved == resolved && $0.text.contains(name) }
    }

    private func isComplete(_ pages: [DemoReceivers.Received]) -> Bool {
        expected.allSatisfy { name in
            ["Slack", "PagerDuty"].allSatisfy { channel in
                isPaged(name, pages, channel: channel, resolved: false)
                    && isPaged(name, pages, channel: channel, resolved: true)
            }
        }
    }

    private func summarize(_ pages: [DemoReceivers.Received]) -> Bool {
        Output.line("")
        for channel in ["Slack", "PagerDuty"] {
            let mine = pages.filter { $0.channel == channel }
            Output.line(
                "\(channel) received \(mine.count) pages, \(mine.count { $0.isResolved }) of them say that it is over")
            for name in expected where !isPaged(name, mine, channel: channel, resolved: false) {
                Output.line("  missing: no page says that \(name) fires")
            }
            for name in expected where !isPaged(name, mine, channel: channel, resolved: true) {
                Output.line("  missing: no page says that \(name) is over")
            }
        }
        return isComplete(pages)
    }
}
