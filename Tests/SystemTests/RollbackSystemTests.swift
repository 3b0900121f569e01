import Basics
import Glibc
import Model
import Synchronization
import TestSupport
import Testing

@testable import Rollback

/// Rollbacks in a simulated world: metrics that go bad and missing, a Redis that goes away, kills, jumps of the clock.
@Suite struct RollbackSystemTests {
    static let configuration = """
        global: {scrape_interval: 1s, scrape_timeout: 500ms, evaluation_interval: 1s}
        scrape_configs:
        - job_name: a
          static_configs: [{targets: ['one:1']}]
        rollback:
          mode: act
          budget: {runs: 3, window: 60s}
          cooldown: 10s
          flag_stores: [{name: redis, redis: {}}]
          actions:
            chat:
              flags: [chat]
              commands:
              - {name: stop chat, run: [stop, chat], probe: [did, stop, chat]}
              stabilise: 2s
              verify: {expressions: [up == 1], passes: 2, of: 4, interval: 1s}
              clears_within: 15s
            models:
              flags: [models]
              commands: [{name: stop models, run: [stop, models]}]
              stabilise: 1s
              clears_within: 15s
            everything:
              includes: [chat, models]
              commands: [{name: tell all, run: [tell, all], probe: [did, tell, all]}]
              stabilise: 1s
              clears_within: 15s
        metrics:
        - {name: latency, worse: up, exported: true}
        - {name: errors, worse: up, exported: true}
        rollback_triggers:
          speed:
          - {metric: latency, threshold: 200, duration: 3s, action: chat}
          - {metric: latency, threshold: 400, duration: 3s, action: models, name: speed/models}
          errors:
          - {metric: errors, threshold: 10, duration: 2s, action: everything}
          business:
          - {metric: errors, threshold: 5, duration: 2s, action: alert_and_investigate}
        route: {receiver: hook, group_wait: 1s}
        receivers:
        - name: hook
          webhook_configs: [{url: 'http://hook/'}]
        """

    /// What the target's page says at a moment; nil when it is down.
    static func values(seed: UInt64, at: Timestamp, end: Timestamp) -> (latency: Int, errors: Int)? {
        guard at < end else { return (50, 0) }
        var random = SeededRandom(seed: seed &* 31 ^ UInt64(at.milliseconds / 7000))
        switch random.next() % 8 {
        case 0: return nil
        case 1, 2: return (300, 0)
        case 3: return (500, 0)
        case 4: return (90, 30)
        case 5: return (90, 7)
        default: return (50, 0)
        }
    }

    private static func world(seed: UInt64, trouble: Milliseconds) -> SimulatedWorld {
        let end = SimulatedWorld.start + trouble
        return SimulatedWorld(
            seed: seed, configuration: configuration, rules: "groups: []",
            page: { _, at in
                values(seed: seed, at: at, end: end).map { "latency \($0.latency)\nerrors \($0.errors)\n" }
            },
            mood: { at, random in at < end && random % 9 == 0 ? .broken : .good })
    }

    /// The runs that the journal on the disk holds.
    private static func runs(_ world: SimulatedWorld) -> [RollbackRun] {
        guard let journal = try? Journal(directory: "data/journal", files: world.files.afterKill()) else { return [] }
        return journal.entries(of: RollbackRun.table).values.compactMap(RollbackRun.init)
    }

    private static func play(seed: UInt64, kills: Bool = true) throws -> (problems: [String], world: SimulatedWorld) {
        let trouble: Milliseconds = 150_000
        let world = world(seed: seed, trouble: trouble)
        world.shared.state.withLock { state in
            for flag in ["chat", "models"] {
                state.redis["feature_flag:\(flag)"] = #"{"enabled":true,"rollout_percentage":50}"#
            }
        }
        var random = SeededRandom(seed: seed &* 1117)
        var known = Known()
        try world.boot()
        while world.now - SimulatedWorld.start < trouble {
            world.run(for: Milliseconds.random(in: 50...6000, using: &random))
            known.look(runs(world), world)
            world.shared.state.withLock { $0.isRedisAway = random.next() % 6 == 0 }
            // Somebody switches flags on again.
            if random.next() % 4 == 0 {
                world.shared.state.withLock { $0.redis["feature_flag:chat"] = #"{"enabled":true,"owner":"x"}"# }
            }
            guard kills, random.next() % 2 == 0 else { continue }
            world.kill(downFor: Milliseconds.random(in: 0...4000, using: &random))
            known.look(runs(world), world)
            try world.boot()
        }
        world.shared.state.withLock { $0.isRedisAway = false }
        world.run(for: 180_000)
        known.look(runs(world), world)
        return (known.problems + problems(runs(world), world, seed, trouble), world)
    }

    /// What was seen on the disk while the world ran.
    private struct Known {
        var problems: [String] = []
        private var done: [String: (effects: Int, at: Timestamp)] = [:]

        /// A command without a probe runs at most once for each run that began it.
        mutating func look(_ runs: [RollbackRun], _ world: SimulatedWorld) {
            let ran = world.shared.state.withLock { $0.effects.count { $0.what == "stop models" } }
            let begun = runs.filter { run in
                run.steps.contains { step in
                    guard case .command(let command) = step.kind else { return false }
                    return command.arguments == ["stop", "models"] && step.begunAt != nil
                        && !step.detail.hasPrefix("done by")
                }
            }
            if ran > begun.count { problems.append("stop models ran \(ran) times in \(begun.count) runs") }
            for run in runs {
                for (index, step) in run.steps.enumerated() where step.status == .done {
                    let key = "\(run.id)/\(index)"
                    guard let ended = step.endedAt else {
                        problems.append("\(key) is done at no time")
                        continue
                    }
                    if let first = done[key]?.at, first != ended { problems.append("\(key) was done again") }
                    done[key] = (ran, ended)
                }
            }
        }
    }

    private static func problems(
        _ runs: [RollbackRun], _ world: SimulatedWorld, _ seed: UInt64, _ trouble: Milliseconds
    ) -> [String] {
        var problems: [String] = []
        if runs.isEmpty { problems.append("nothing was ever decided") }
        var told: [String: String] = [:]
        for delivery in world.deliveries {
            for alert in delivery.body["alerts"]?.array ?? [] {
                let annotations = alert["annotations"]?.strings ?? [:]
                told[annotations["rollback"] ?? "", default: ""] += annotations["description"] ?? ""
            }
        }
        let acting = runs.filter { $0.isActing }.sorted { $0.createdAt < $1.createdAt }
        for run in runs.sorted(by: { $0.createdAt < $1.createdAt }) {
            guard run.outcome != nil else {
                problems.append("\(run.id) never ended")
                continue
            }
            if told[run.id]?.contains("Outcome:") != true { problems.append("no page tells how \(run.id) ended") }
            // In order, and none left out in silence.
            if run.isActing, run.outcome != .absorbed, run.outcome != .cancelled, run.outcome != .stopped {
                for step in run.steps where step.status == .pending || step.status == .begun {
                    problems.append("\(run.id) ended and left out: \(step.title)")
                }
            }
            if run.outcome == .succeeded, run.steps.contains(where: { $0.isActing && $0.status != .done }) {
                problems.append("\(run.id) succeeded without a step")
            }
            // Fresh data, and bad.
            let seen = stride(from: Int64(-1700), through: 0, by: 50).compactMap {
                values(seed: seed, at: run.createdAt + $0, end: SimulatedWorld.start + trouble)
            }
            if seen.isEmpty { problems.append("\(run.id) began on missing data") }
            let isBad = seen.contains { $0.latency > 200 || $0.errors > 5 }
            if !isBad { problems.append("\(run.id) began on good data") }
        }
        for (index, run) in acting.enumerated() {
            let inWindow = acting[...index].count { run.createdAt - $0.createdAt < 60_000 }
            if inWindow > 3 { problems.append("\(run.id) is over the budget: \(inWindow) in a minute") }
            // One at a time on a set of services.
            for other in acting[..<index] where !other.resources.isDisjoint(with: run.resources) {
                guard let ended = other.finishedAt else { continue }
                let began = run.steps.filter(\.isActing).filter { !$0.detail.hasPrefix("done by") }
                    .compactMap(\.begunAt).min()
                if let began, began < ended { problems.append("\(run.id) acted before \(other.id) ended") }
            }
        }
        return problems
    }

    static let seeds: Range<UInt64> = {
        let count = unsafe getenv("VEDETTE_SEEDS").flatMap { unsafe UInt64(String(cString: $0)) } ?? 60
        return 0..<count
    }()

    @Test(
        "no step known done is done again, none is skipped, never on missing data, never over budget, always an outcome page",
        arguments: seeds)
    func rollback(seed: UInt64) throws {
        let (problems, world) = try RollbackSystemTests.play(seed: seed)
        let text = "seed \(seed): \(problems.joined(separator: "; "))"
        #expect(
            problems.isEmpty,
            "\(text)\n\(world.log.filter { $0.contains("rollback") || $0.contains("kill") || $0.contains("ran ") || $0.contains("target-") }.joined(separator: "\n"))"
        )
    }

    @Test("the seeds reach every outcome that triggers can lead to")
    func outcomes() throws {
        let wanted: [RollbackOutcome] = [
            .succeeded, .incomplete, .ineffective, .stopped, .absorbed, .refused, .held,
        ]
        var seen: Set<RollbackOutcome> = []
        for seed in 0..<30 as Range<UInt64> where !Set(wanted).isSubset(of: seen) {
            let (_, world) = try RollbackSystemTests.play(seed: seed)
            seen.formUnion(RollbackSystemTests.runs(world).compactMap(\.outcome))
        }
        for outcome in wanted {
            #expect(seen.contains(outcome), "no seed of 0..<30 ends with \(outcome)")
        }
    }
}
