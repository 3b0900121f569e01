import Basics
import Daemon
import Synchronization
import TestSupport
import Testing
import Web

@Suite struct ReloadTests {
    private func world() throws -> SimulatedWorld {
        let world = SimulatedWorld(
            seed: 9, configuration: DeliverySystemTests.configuration, rules: DeliverySystemTests.rules,
            page: { url, _ in url.contains("one") ? nil : "load 9\n" })
        try world.boot()
        world.run(for: 15_000)
        return world
    }

    private func alerts(_ world: SimulatedWorld) async -> [String] {
        let answer = await world.vedette?.api.answer(APIRequest(path: "/api/v1/alerts"))
        let body = try? JSON(parsing: answer?.body ?? [])
        return (body?["data"]?["alerts"]?.array ?? []).map { $0["labels"]?["alertname"]?.string ?? "" }.sorted()
    }

    @Test("a wrong file changes nothing and is told; a right one changes targets, rules and routes") func reload()
        async throws
    {
        let world = try world()
        #expect(await alerts(world) == ["Down", "Hot", "Hot"])
        world.files.put("etc/rules.yml", "groups: [{name: g, rules: [{alert: Down, expr: 'up =='}]}]")
        let problem = await world.vedette?.reloadConfiguration()
        #expect(problem?.hasPrefix("etc/rules.yml:1:") == true)
        #expect(await alerts(world) == ["Down", "Hot", "Hot"])
        let page = await world.vedette?.api.answer(APIRequest(path: "/metrics"))
        let text = String(decoding: page?.body ?? [], as: UTF8.self)
        #expect(text.contains("vedette_config_last_reload_successful 0\n"))
        world.files.put(
            "etc/rules.yml",
            "groups: [{name: g, rules: [{alert: Down, expr: 'up == 0', for: 2s, labels: {severity: critical}}]}]")
        #expect(await world.vedette?.reloadConfiguration() == nil)
        world.run(for: 10_000)
        #expect(await alerts(world) == ["Down"])
        // What the removed rule fired is told to be over.
        let told = world.deliveries.flatMap { $0.body["alerts"]?.array ?? [] }
            .filter { $0["labels"]?["alertname"]?.string == "Hot" && $0["status"]?.string == "resolved" }
        #expect(Set(told.map { $0["labels"]?["instance"]?.string }) == ["two:1", "three:1"])
    }

    @Test("a page under way may end when the daemon is told to stop") func drain() throws {
        let world = SimulatedWorld(
            seed: 4, configuration: DeliverySystemTests.configuration, rules: DeliverySystemTests.rules,
            page: { url, _ in url.contains("one") ? nil : "load 1\n" }, mood: { _, _ in .slow })
        try world.boot()
        let isUnderWay = world.executor.run(for: 30_000) { world.log.contains { $0.contains("request") } }
        #expect(isUnderWay && world.deliveries.isEmpty)
        world.vedette?.stop()
        world.run(for: 8000)
        #expect(world.deliveries.count == 1)
        let later = try Journal(directory: "data/journal", files: world.files.afterKill())
        #expect(later.entries(of: "notifying.outbox").isEmpty)
    }

    @Test("a fault in any stage of a reload leaves every part on the old generation", arguments: ReloadStage.allCases)
    func fault(stage: ReloadStage) async throws {
        let world = SimulatedWorld(
            seed: 9, configuration: DeliverySystemTests.configuration, rules: DeliverySystemTests.rules,
            page: { _, _ in "load 1\n" })
        world.shared.state.withLock { $0.reloadFault = stage }
        try world.boot()
        world.run(for: 3000)
        world.files.put(
            "etc/rules.yml", "groups: [{name: other, rules: [{alert: Other, expr: 'up == 1'}]}]")
        let problem = await world.vedette?.reloadConfiguration()
        #expect(problem == "no \(stage.rawValue) today")
        #expect(Set(world.vedette?.generations.values.map(\.self) ?? []) == [1])
        let answer = await world.vedette?.api.answer(APIRequest(path: "/api/v1/rules"))
        let rules = String(decoding: answer?.body ?? [], as: UTF8.self)
        #expect(rules.contains("Down") && !rules.contains("Other"))
        world.shared.state.withLock { $0.reloadFault = nil }
        #expect(await world.vedette?.reloadConfiguration() == nil)
        #expect(Set(world.vedette?.generations.values.map(\.self) ?? []) == [2])
    }
}
