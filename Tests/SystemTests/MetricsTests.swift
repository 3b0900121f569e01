import Basics
import Daemon
import TestSupport
import Testing
import Web

@Suite struct MetricsTests {
    /// Of remote stores, query sources and peers there are series where some are configured.
    static let remote = """

        remote_write: [{url: 'http://far/api/v1/write', name: far}]
        query_sources: [{name: mimir, url: 'http://mimir'}]
        alerting: {peers: {name: a, members: [{name: b, url: 'http://b'}]}}
        """

    @Test(
        "promtool finds nothing to blame in the daemon's own metrics",
        .enabled(if: Program.installed("promtool") != nil, "promtool is not installed (Debian package prometheus)"))
    func metrics() async throws {
        let world = SimulatedWorld(
            seed: 5, configuration: DeliverySystemTests.configuration + MetricsTests.remote,
            rules: DeliverySystemTests.rules, page: { _, at in at.milliseconds % 20_000 < 8000 ? nil : "load 1\n" })
        try world.boot()
        world.run(for: 60_000)
        let answer = await world.vedette?.api.answer(APIRequest(path: "/metrics"))
        let page = String(decoding: answer?.body ?? [], as: UTF8.self)
        let outcome = try #require(Program.installed("promtool")).run(["check", "metrics"], input: page)
        #expect(outcome.status == 0 && outcome.errors.isEmpty, "\(outcome.output)\(outcome.errors)")
        #expect(page.split(separator: "\n").count > 150)
    }

    @Test("rules wait for the log of earlier runs, and not for ever; queries say that it is missing")
    func heldRules() async throws {
        let world = SimulatedWorld(
            seed: 5, configuration: DeliverySystemTests.configuration, rules: DeliverySystemTests.rules,
            page: { _, _ in "load 1\n" })
        world.replayHangs = true
        try world.boot()
        func evaluations() async -> Int {
            let page = await world.vedette?.api.answer(APIRequest(path: "/metrics")).body ?? []
            let line = String(decoding: page, as: UTF8.self).split(separator: "\n")
                .first { $0.hasPrefix("vedette_rule_evaluations_total ") }
            return line?.split(separator: " ").last.flatMap { Int($0) } ?? -1
        }
        world.run(for: 590_000)
        #expect(await evaluations() == 0)
        let answer = await world.vedette?.api.answer(APIRequest(path: "/api/v1/query", query: "query=up"))
        let text = String(decoding: answer?.body ?? [], as: UTF8.self)
        #expect(text.contains("\"__name__\":\"up\"") && text.contains("is still being read"), "\(text)")
        world.run(for: 60_000)
        #expect(await evaluations() > 0)
    }

    @Test("every metric that the rules, dashboards and runbooks name is exposed") func names() async throws {
        // Of rollbacks there are series where some are configured.
        let rollback = """

            metrics: [{name: load, worse: up, exported: true}]
            rollback: {flag_stores: [{name: flags, file: flags.json}], actions: {back: {flags: [a]}}}
            rollback_triggers: {load: [{metric: load, threshold: 1000, duration: 1m, action: back}]}
            """
        let world = SimulatedWorld(
            seed: 5, configuration: DeliverySystemTests.configuration + rollback + MetricsTests.remote,
            rules: DeliverySystemTests.rules,
            page: { _, at in at.milliseconds % 20_000 < 8000 ? nil : "load 1\n" })
        // And of a control group's memory where there is one.
        world.files.put("/proc/self/cgroup", "0::/\n")
        for (name, text) in [("current", "1\n"), ("max", "2\n"), ("pressure", "some avg10=0.00 avg60=0.00\n")] {
            world.files.put("/sys/fs/cgroup/memory.\(name)", text)
        }
        try world.boot()
        world.run(for: 30_000)
        world.executor.suspend(for: 60_000)
        world.executor.jumpWallClock(by: 10_000)
        world.run(for: 30_000)
        let answer = await world.vedette?.api.answer(APIRequest(path: "/metrics"))
        let exposed = Set(
            String(decoding: answer?.body ?? [], as: UTF8.self).matches(of: /(?m)^vedette_[a-z_]+/).map { String($0.0) }
        )
        var missing: Set<String> = []
        let files = SystemFiles()
        for folder in ["rules", "dashboards", "runbooks"] {
            for name in try files.list("\(Program.root)/\(folder)") where name.contains(".") {
                let text = String(decoding: try files.contents(of: "\(Program.root)/\(folder)/\(name)"), as: UTF8.self)
                // The workloads' own are on the page of their process, and the daemon's of them where it hosts some;
                // those of connections are where there is a listener.
                let elsewhere = ["vedette_workload", "vedette_http_connections", "vedette_certificate_"]
                for match in text.matches(of: /\bvedette_[a-z_]+\b/)
                where !exposed.contains(String(match.0)) && !elsewhere.contains(where: match.0.hasPrefix) {
                    missing.insert("\(folder)/\(name): \(match.0)")
                }
            }
        }
        #expect(missing.isEmpty, "\(missing.sorted())")
    }
}
