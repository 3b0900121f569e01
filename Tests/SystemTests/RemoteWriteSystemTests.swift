import Basics
import Daemon
import Model
import TestSupport
import Testing
import Web

/// The daemon that sends its samples on, killed now and then.
@Suite struct RemoteWriteSystemTests {
    /// What the daemon has of a job: `series @milliseconds value`.
    private func stored(_ world: SimulatedWorld) async throws -> Set<String> {
        let answer = await world.vedette?.api.answer(
            APIRequest(path: "/api/v1/query", query: "query=%7Bjob%3D%22a%22%7D%5B1h%5D"))
        let data = try JSON(parsing: answer?.body ?? [])["data"]?["result"]?.array ?? []
        var found: Set<String> = []
        for one in data {
            let labels = Labels((one["metric"]?.strings ?? [:]).merging(["site": "x"]) { $1 })
            for pair in one["values"]?.array ?? [] {
                let time = Int64(((pair[0]?.number ?? 0) * 1000).rounded())
                found.insert("\(labels) @\(time) \(pair[1]?.string ?? "")")
            }
        }
        return found
    }

    @Test("over kills, and over a store that fails, each sample that is stored arrives", arguments: [1, 2, 3])
    func arrives(seed: UInt64) async throws {
        let configuration = DeliverySystemTests.configuration.replacing(
            "evaluation_interval: 1s}", with: "evaluation_interval: 1s, external_labels: {site: x}}")
        let end = SimulatedWorld.start + 150_000
        let world = SimulatedWorld(
            seed: seed, configuration: configuration + MetricsTests.remote, rules: DeliverySystemTests.rules,
            page: { _, at in "load \(at.milliseconds % 7)\n" },
            mood: { at, random in at < end && random % 4 == 0 ? .broken : .good })
        try world.boot()
        var random = SeededRandom(seed: seed)
        for _ in 0..<8 {
            world.run(for: Milliseconds(3000 + random.next() % 12_000))
            world.kill(downFor: 1000)
            try world.boot()
        }
        world.run(for: 120_000)
        let arrived = Set(
            world.shared.far.samples.filter { $0.labels["job"] == "a" && !$0.value.isStaleMarker }.map {
                "\($0.labels) @\($0.timestamp) \(GoNumber.api($0.value))"
            })
        // What came in the last seconds is on its way.
        let late = world.now.milliseconds - 10_000
        let missing = try await stored(world).subtracting(arrived).filter { text in
            (text.split(separator: "@").last?.split(separator: " ").first).flatMap { Int64($0) } ?? 0 < late
        }
        #expect(missing.isEmpty, "seed \(seed): \(missing.count) missing, such as \(missing.sorted().prefix(3))")
        #expect(arrived.count > 1000)
    }

    @Test("a reload gives a running daemon its first remote store, and takes it away again") func reload() async throws
    {
        let world = SimulatedWorld(
            seed: 4, configuration: DeliverySystemTests.configuration, rules: DeliverySystemTests.rules,
            page: { _, _ in "load 1\n" })
        try world.boot()
        world.run(for: 20_000)
        func reload(_ text: String) {
            world.files.put("etc/vedette.yaml", text)
            world.executor.start { [vedette = world.vedette] in await vedette?.reloadConfiguration(askedBy: "test") }
            world.run(for: 30_000)
        }
        reload(DeliverySystemTests.configuration + MetricsTests.remote)
        let count = world.shared.far.count
        #expect(count > 50)
        reload(DeliverySystemTests.configuration)
        let last = world.shared.far.count
        world.run(for: 30_000)
        #expect(world.shared.far.count == last)
    }
}
