import Basics
import Glibc
import Model
import Synchronization
import TestSupport
import Testing

/// The assembled daemon in a simulated world: failing targets, failing receivers, kills, jumps of the clock.
@Suite struct DeliverySystemTests {
    static let configuration = """
        global: {scrape_interval: 1s, scrape_timeout: 500ms, evaluation_interval: 1s}
        rule_files: [rules.yml]
        scrape_configs:
        - job_name: a
          static_configs: [{targets: ['one:1', 'two:1', 'three:1']}]
        route: {receiver: hook, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
        receivers:
        - name: hook
          webhook_configs: [{url: 'http://hook/'}]
        """
    static let rules = """
        groups:
        - name: g
          rules:
          - alert: Down
            expr: up == 0
            for: 2s
            labels: {severity: critical}
            annotations: {summary: '{{ $labels.instance }} is down'}
          - alert: Hot
            expr: load > 5
            keep_firing_for: 3s
            labels: {severity: warning}
        """

    /// A world whose trouble ends after `trouble` milliseconds; before that all follows the seed.
    private static func world(seed: UInt64, trouble: Milliseconds) -> SimulatedWorld {
        let end = SimulatedWorld.start + trouble
        return SimulatedWorld(
            seed: seed, configuration: configuration, rules: rules,
            page: { url, at in
                guard at < end else { return "load 1\n" }
                var random = SeededRandom(seed: seed ^ UInt64(at.milliseconds / 9000) &* 31 ^ url.utf8.reduce(0) { $0 &* 31 &+ UInt64($1) })
                switch random.next() % 5 {
                case 0: return nil
                case 1: return "load 9\n"
                default: return "load 2\n"
                }
            },
            mood: { at, random in
                guard at < end else { return .good }
                // Spells of trouble, and single faults between them.
                let spell = SeededRandom.one(seed ^ UInt64(at.milliseconds / 15_000)) % 4
                let moods: [SimulatedWorld.Mood] = [.good, .good, .broken, .limited, .gone, .deaf, .garbled, .slow]
                return spell == 0 ? moods[Int(2 + random % 6)] : moods[Int(random % 16) % 8 == 2 ? 6 : 0]
            })
    }

    /// Plays a seed to its end and answers what is wrong, if anything.
    private static func play(seed: UInt64) throws -> (problems: [String], log: [String]) {
        let trouble: Milliseconds = 120_000
        let world = world(seed: seed, trouble: trouble)
        var random = SeededRandom(seed: seed &* 977)
        var decided: Set<String> = []
        try world.boot()
        while world.now - SimulatedWorld.start < trouble {
            let until = world.now + Milliseconds.random(in: 500...40_000, using: &random)
            while world.now < until {
                world.run(for: min(until - world.now, 3000))
                collect(world, &decided)
            }
            switch random.next() % 4 {
            case 0, 1:
                world.kill(downFor: Milliseconds.random(in: 0...20_000, using: &random))
                try world.boot()
            case 2 where jumps(seed): world.executor.jumpWallClock(by: Milliseconds.random(in: 0...3000, using: &random))
            default: break
            }
        }
        world.run(for: 240_000)
        collect(world, &decided)
        return (problems(world, decided), world.log)
    }

    /// Every third seed sets the clock now and then. Alerts are moved with it, so that a firing is then known by its
    /// labels alone.
    private static func jumps(_ seed: UInt64) -> Bool { seed % 3 == 0 }

    private static func episode(_ labels: [String: String], since: String, _ seed: UInt64) -> String {
        "\(Labels(labels))" + (jumps(seed) ? "" : " since \(since)")
    }

    /// What rules decided: each firing that the journal knows of, over or not, by its alert and its begin.
    private static func collect(_ world: SimulatedWorld, _ decided: inout Set<String>) {
        guard let journal = try? Journal(directory: "data/journal", files: world.files.afterKill()) else { return }
        for (_, bytes) in journal.entries(of: "rules.alerts") {
            guard let entry = try? JSON(parsing: bytes), let firedAt = entry["fired_at"]?.integer,
                let labels = entry["labels"]?.strings
            else { continue }
            decided.insert(episode(labels, since: "\(Timestamp(milliseconds: Int64(firedAt)))", world.shared.seed))
        }
    }

    private static func problems(_ world: SimulatedWorld, _ decided: Set<String>) -> [String] {
        var problems: [String] = []
        var last: [Labels: String] = [:]
        var told: [String: Set<String>] = ["firing": [], "resolved": []]
        var keys: [String: Int] = [:]
        for delivery in world.deliveries {
            keys[delivery.key, default: 0] += 1
            for alert in delivery.body["alerts"]?.array ?? [] {
                let names = alert["labels"]?.strings ?? [:]
                let labels = Labels(names)
                let status = alert["status"]?.string ?? ""
                told[status]?.insert(episode(names, since: alert["startsAt"]?.string ?? "", world.shared.seed))
                last[labels] = status
            }
        }
        for (status, episodes) in told.sorted(by: { $0.key < $1.key }) {
            for episode in decided.sorted() where !episodes.contains(episode) {
                problems.append("never told as \(status): \(episode)")
            }
        }
        if decided.isEmpty { problems.append("nothing fired at all") }
        for (labels, status) in last where status != "resolved" { problems.append("never told that it is over: \(labels)") }
        if world.deliveries.isEmpty { problems.append("nothing was paged at all") }
        let kills = world.log.count { $0.hasSuffix("killed") }
        let unknown = world.shared.state.withLock { $0.unknown }
        for (key, count) in keys where count > 1 && !unknown.contains(key) && kills == 0 {
            problems.append("\(key) was accepted \(count) times")
        }
        return problems
    }

    static let seeds: Range<UInt64> = {
        let count = unsafe getenv("VEDETTE_SEEDS").flatMap { unsafe UInt64(String(cString: $0)) } ?? 60
        return 0..<count
    }()

    @Test("every firing and every resolution that a rule decided reaches its receiver at least once", arguments: seeds)
    func delivery(seed: UInt64) throws {
        let (problems, _) = try DeliverySystemTests.play(seed: seed)
        #expect(problems.isEmpty, "seed \(seed): \(problems.joined(separator: "; "))")
    }

    @Test("the same seed gives the same event log, byte for byte", arguments: [3, 17, 40] as [UInt64])
    func determinism(seed: UInt64) throws {
        let first = try DeliverySystemTests.play(seed: seed).log
        let second = try DeliverySystemTests.play(seed: seed).log
        #expect(first.count > 50)
        #expect(first == second, "seed \(seed)")
    }
}

extension SeededRandom {
    fileprivate static func one(_ seed: UInt64) -> UInt64 {
        var random = SeededRandom(seed: seed)
        return random.next()
    }
}
