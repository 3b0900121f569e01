import Basics
import Model
import Query
import Rules
import TestSupport
import Testing

@Suite struct RuleSchedulerTests {
    @Test("what a rule gives is seen by the next one, and marked stale when it ends") func recording() async throws {
        let world = try await RuleWorld(
            """
            groups:
            - name: g
              query_offset: 10s
              labels: {from: rules}
              rules:
              - {record: double, expr: base * 2}
              - {record: more, expr: double + 1, labels: {extra: "yes", from: ""}}
              - {record: none, expr: nothing}
            """)
        world.store.add(["__name__": "base", "n": "1"], at(50), 5)
        world.store.add(["__name__": "base", "n": "2"], at(50), 7)
        world.store.add(["__name__": "base", "n": "2"], at(100), SpecialValue.stale)
        await world.evaluate(60)
        await world.evaluate(120)
        #expect(world.stored(["__name__": "double", "n": "1", "from": "rules"]) == "50=10 110=10")
        #expect(world.stored(["__name__": "double", "n": "2", "from": "rules"]) == "50=14 110=stale")
        #expect(world.stored(["__name__": "more", "n": "1", "extra": "yes"]) == "50=11 110=11")
        #expect(world.stored(["__name__": "more", "n": "2", "extra": "yes"]) == "50=15 110=stale")
        #expect(world.recorder.commits == 0 && world.recorder.told.isEmpty)
        #expect(world.metric("vedette_rule_evaluations_total") == 6)
        #expect(world.metric("vedette_rule_group_rules", ["rule_group": "r.yaml;g"]) == 3)
    }

    private static let down = """
        groups:
        - name: g
          interval: 1m
          rules:
          - alert: Down
            expr: up == 0
            for: 1m
            labels: {severity: page, copy: "{{ $labels.job }}"}
            annotations: {summary: "{{ $labels.job }} has {{ $value }} since {{ .ExternalURL }}"}
        """
    private static let labels: Labels = ["alertname": "Down", "copy": "a", "job": "a", "severity": "page"]

    @Test("an alert's life in the store, the journal and at the sink") func alerting() async throws {
        let world = try await RuleWorld(RuleSchedulerTests.down) {
            $0.externalURL = "http://v"
            $0.externalLabels = ["site": "x", "severity": "none"]
        }
        for (time, value) in [(0.0, 1.0), (60, 0), (120, 0), (180, 0), (240, 0), (300, 1)] {
            world.store.add(["__name__": "up", "job": "a"], at(time), value)
        }
        await world.evaluate(0)
        #expect(world.recorder.commits == 0)
        await world.evaluate(60)
        #expect(await world.alerts().map(\.state) == [.pending])
        #expect(world.recorder.commits == 1 && world.recorder.told.isEmpty)
        await world.evaluate(120)
        let told = try #require(world.recorder.told.first)
        #expect(told.labels == RuleSchedulerTests.labels.merging(["site": "x"]))
        #expect(told.annotations == ["summary": "a has 0 since http://v"])
        #expect(told.startsAt == at(120) && told.endsAt == nil)
        #expect(told.generatorURL == "http://v/graph?g0.expr=up+%3D%3D+0&g0.tab=1")
        #expect(world.recorder.commits == 2)
        await world.evaluate(180)
        await world.evaluate(240)
        #expect(world.recorder.told.count == 2, "told again after more than a minute")
        #expect(world.recorder.commits == 2, "an unchanged alert changes nothing")
        await world.evaluate(300)
        #expect(world.recorder.told.last?.endsAt == at(300))
        #expect(world.recorder.commits == 3)
        #expect(await world.alerts().isEmpty)
        let ours = RuleSchedulerTests.labels
        #expect(
            world.stored(ours.merging(["__name__": "ALERTS", "alertstate": "pending"])) == "60=1 120=stale")
        #expect(
            world.stored(ours.merging(["__name__": "ALERTS", "alertstate": "firing"]))
                == "120=1 180=1 240=1 300=stale")
        #expect(
            world.stored(ours.merging(["__name__": "ALERTS_FOR_STATE"])) == "60=60 120=60 180=60 240=60 300=stale")
        await world.evaluate(1300)
        #expect(world.recorder.entries(of: "rules.alerts").isEmpty, "forgotten after 15 minutes")
    }

    @Test("a template's mistake is told in the text, and `query` asks the store") func templates() async throws {
        let world = try await RuleWorld(
            """
            groups:
            - name: g
              rules:
              - alert: A
                expr: up == 0
                annotations:
                  bad: "{{ first (query \\"nothing\\") }}"
                  asked: "{{ with query \\"up\\" }}{{ . | first | value | humanize }}{{ end }}"
            """)
        world.store.add(["__name__": "up"], at(60), 0)
        await world.evaluate(60)
        let annotations = try #require(world.recorder.told.first).annotations
        #expect(annotations["asked"] == "0")
        #expect(
            annotations["bad"]?.hasPrefix("<error expanding template: error executing template __alert_A: ") == true)
    }

    @Test(
        "a failed evaluation changes nothing and says why",
        arguments: [
            ("up == 0 and on () (a + on () b)", "found duplicate series for the match group"),
            ("up == 0 or dup", "vector contains metrics with the same labelset after applying alert labels"),
            ("up == 0 or many", "exceeded limit of 2 with 4 alerts"),
        ])
    func failures(expr: String, expected: String) async throws {
        let world = try await RuleWorld(
            "groups: [{name: g, limit: 2, rules: [{alert: A, expr: '\(expr)', labels: {d: ''}}]}]")
        world.store.add(["__name__": "up"], at(0), 0)
        world.store.add(["__name__": "a"], at(0), 0)
        world.store.add(["__name__": "b"], at(0), 0)
        await world.evaluate(0)
        #expect(await world.alerts().map(\.state) == [.firing])
        for name in ["1", "2"] {
            world.store.add(["__name__": "b", "n": name], at(60), 1)
            world.store.add(["__name__": "dup", "d": name], at(60), 1)
            for other in ["3", "4"] { world.store.add(["__name__": "many", "n": name, "o": other], at(60), 1) }
        }
        world.store.add(["__name__": "up"], at(60), 1)
        let commits = world.recorder.commits
        await world.evaluate(60)
        let rule = try #require(await world.scheduler.status().first?.rules.first)
        #expect(rule.health == .failing)
        #expect(rule.lastError?.contains(expected) == true, "\(rule.lastError ?? "")")
        #expect(rule.alerts.map(\.state) == [.firing])
        #expect(world.metric("vedette_rule_evaluation_failures_total") == 1)
        // The built-in alert, and nothing of the rule's own.
        #expect(world.recorder.commits == commits + 1)
        #expect(world.metric("vedette_alerts", ["state": "firing"]) == 2)
        let built = try #require(world.recorder.told.last)
        #expect(
            built.labels == [
                "alertname": "VedetteRuleEvaluationFailing", "component": "vedette", "severity": "high", "rule": "A",
                "rule_group": "g", "file": "r.yaml",
            ])
        #expect(built.annotations["description"]?.hasPrefix("r.yaml:1:") == true)
        #expect(built.annotations["description"]?.contains(expected) == true)
        #expect(await world.scheduler.status().first?.alerts.count == 2)
        for series in world.store.all where ["b", "dup", "many"].contains(series.labels["__name__"]) {
            world.store.add(series.labels, at(120), SpecialValue.stale)
        }
        await world.evaluate(120)
        #expect(world.recorder.told.last?.labels == built.labels && world.recorder.told.last?.endsAt == at(120))
    }

    @Test("the built-in alert survives a restart, and its end is told after it") func failureAfterRestart() async throws
    {
        let yaml = "groups: [{name: g, rules: [{record: r, expr: 'a + on () b'}]}]"
        let world = try await RuleWorld(yaml)
        for name in ["1", "2"] {
            world.store.add(["__name__": "a", "n": name], at(60), 1)
            world.store.add(["__name__": "b", "n": name], at(60), 1)
        }
        await world.evaluate(60)
        #expect(world.recorder.told.map(\.endsAt) == [nil])
        let after = try await RuleWorld(yaml, recorder: world.recorder.restarted(), at: at(90))
        #expect(await after.scheduler.status().first?.failing.map(\.state) == [.firing])
        await after.evaluate(120)
        #expect(after.recorder.told.last?.endsAt == at(120))
        #expect(await after.scheduler.status().first?.failing.isEmpty == true)
    }

    @Test("a refused sample is a failure of its rule") func refused() async throws {
        let world = try await RuleWorld("groups: [{name: g, rules: [{record: r, expr: vector(1)}]}]")
        world.store.add(["__name__": "r"], at(60), 2)
        await world.evaluate(60)
        let rule = try #require(await world.scheduler.status().first?.rules.first)
        #expect(rule.health == .failing)
        #expect(rule.lastError?.hasPrefix("1 samples were not stored: 1 have another value at this moment") == true)
    }

    @Test("a reload keeps what is unchanged and ends what is gone") func reload() async throws {
        func yaml(_ rules: String) -> String { "groups: [{name: g, rules: [\(rules)]}]" }
        let keep = "{alert: Keep, expr: up == 0, for: 2m}"
        let world = try await RuleWorld(
            yaml("{alert: Gone, expr: up == 0, labels: {x: y}}, \(keep), {record: r, expr: up}"))
        world.store.add(["__name__": "up"], at(0), 0)
        await world.evaluate(0)
        await world.evaluate(60)
        world.recorder.clear()
        try await world.load(yaml("{record: new, expr: up}, {alert: Keep, expr: up < 1, for: 2m}"))
        #expect(world.recorder.told.map(\.name) == ["Gone"])
        #expect(world.recorder.told.first?.endsAt == at(60))
        await world.evaluate(120)
        #expect(await world.alerts().map(\.state) == [.firing])
        #expect(await world.alerts().map(\.activeAt) == [at(0)])
        #expect(world.stored(["__name__": "r"]) == "0=0 60=0 120=stale")
        world.recorder.clear()
        try await world.load("groups: []")
        #expect(world.recorder.told.map(\.name) == ["Keep"])
        #expect(world.recorder.entries(of: "rules.alerts").isEmpty)
        #expect(await world.scheduler.status().isEmpty)
    }

    @Test("time spent down does not count towards `for`; what fired fires on") func restart() async throws {
        let yaml = """
            groups:
            - name: g
              interval: 1m
              rules:
              - {alert: Slow, expr: up == 0, for: 5m}
              - {alert: Fast, expr: up == 0}
            """
        var world = try await RuleWorld(yaml)
        for minute in 0..<30 { world.store.add(["__name__": "up"], at(Double(minute) * 60), 0) }
        for minute in 0...3 { await world.evaluate(Double(minute) * 60) }
        // Down for ten evaluations.
        let recorder = world.recorder.restarted()
        recorder.clear()
        world = try await RuleWorld(yaml, store: world.store, recorder: recorder, at: at(800))
        #expect(await world.alerts().map(\.state) == [.pending, .firing])
        await world.evaluate(14 * 60)
        #expect(await world.alerts().map(\.state) == [.pending, .firing])
        #expect(await world.alerts().first?.activeAt == at(600))
        #expect(world.recorder.told.map(\.name) == ["Fast"] && world.recorder.told.first?.startsAt == at(0))
        await world.evaluate(15 * 60)
        #expect(await world.alerts().map(\.state) == [.firing, .firing])
        #expect(await world.alerts().first?.firedAt == at(900))
        // Gone from the file while the daemon was down.
        let last = world.recorder.restarted()
        last.clear()
        world = try await RuleWorld("groups: []", store: world.store, recorder: last, at: at(1000))
        #expect(last.told.map(\.name).sorted() == ["Fast", "Slow"])
        #expect(last.told.allSatisfy { $0.endsAt == at(1000) })
        #expect(last.entries(of: "rules.alerts").isEmpty)
    }

    @Test("until the first scrapes are in, missing data ends nothing", arguments: [true, false])
    func settling(isStillBad: Bool) async throws {
        let yaml = "groups: [{name: g, interval: 1m, rules: [{alert: A, expr: up == 0}]}]"
        var world = try await RuleWorld(yaml)
        world.store.add(["__name__": "up"], at(0), 0)
        await world.evaluate(0)
        // Down for an hour, so that the store has nothing to show at first.
        let recorder = world.recorder.restarted()
        recorder.clear()
        world = try await RuleWorld(yaml, store: world.store, recorder: recorder, at: at(3590)) { $0.settle = 120_000 }
        await world.evaluate(3600)
        #expect(await world.alerts().map(\.state) == [.firing])
        #expect(recorder.told.allSatisfy { $0.endsAt == nil && $0.startsAt == at(0) })
        world.store.add(["__name__": "up"], at(3620), isStillBad ? 0 : 1)
        await world.evaluate(3660)
        #expect(await world.alerts().map(\.state) == [.firing])
        await world.evaluate(3720)
        #expect(await world.alerts().map(\.state) == (isStillBad ? [.firing] : []))
        #expect((recorder.told.last?.endsAt == nil) == isStillBad)
    }

    @Test("an entry that cannot be read is counted and removed") func unreadable() async throws {
        let recorder = AlertRecorder()
        recorder.commit([StateChange(table: "rules.alerts", key: "k", value: Array("rubbish".utf8))])
        let world = try await RuleWorld("groups: []", recorder: recorder)
        #expect(world.metric("vedette_rule_state_unreadable_total") == 1)
        #expect(recorder.entries(of: "rules.alerts").isEmpty)
    }
}

@Suite struct RuleLoopTests {
    private func world(seed: UInt64) -> (SimulatedExecutor, MemorySource, RuleScheduler) {
        let simulation = SimulatedExecutor(seed: seed, start: at(1_000_000))
        let store = MemorySource()
        let context = RuleContext(engine: QueryEngine(source: store), samples: store, alerts: AlertRecorder())
        return (simulation, store, RuleScheduler(context, restoring: AlertRecorder()))
    }

    private func groups() throws -> [GroupDefinition] {
        let yaml = """
            groups:
            - {name: a, interval: 15s, rules: [{record: a, expr: time()}]}
            - {name: b, interval: 1m, rules: [{record: b, expr: time()}]}
            """
        return try RuleFile(Array(yaml.utf8), file: "r.yaml").groups
    }

    @Test(
        "groups are evaluated at their own aligned slots, whatever the clock does", arguments: 0..<20 as Range<UInt64>)
    func slots(seed: UInt64) throws {
        let (simulation, store, scheduler) = world(seed: seed)
        let groups = try groups()
        let task = simulation.start {
            await scheduler.update(to: groups, at: simulation.now())
            await scheduler.run(simulation)
        }
        simulation.run(for: 300_000)
        func times(_ name: String) -> [Int64] { store.all.first { $0.labels.metricName == name }?.times ?? [] }
        #expect(times("a").count == 20 && times("b").count == 5)
        #expect(Set(times("a").map { $0 % 15_000 }).count == 1)
        #expect(Set(times("b").map { $0 % 60_000 }).count == 1)
        simulation.jumpWallClock(by: 3_600_000)
        simulation.run(for: 60_000)
        #expect(times("a").count >= 23 && times("a").last ?? 0 > at(1_003_900).milliseconds)
        simulation.jumpWallClock(by: -7_200_000)
        simulation.run(for: 120_000)
        #expect(times("a").first ?? 0 < at(1_000_000).milliseconds, "evaluated where the clock now stands")
        #expect(Set(times("a").map { $0 % 15_000 }).count == 1)
        task.cancel()
        simulation.run(for: 1000)
        let count = times("a").count
        simulation.run(for: 300_000)
        #expect(times("a").count == count)
    }
}
