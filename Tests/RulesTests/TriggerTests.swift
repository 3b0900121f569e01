import Basics
import Model
import Query
import Rules
import Settings
import TestSupport
import Testing

@Suite struct TriggerTests {
    // MARK: Settings

    private func read(_ text: String) throws -> TriggerSettings {
        let map = try SettingsDocument(text, file: "v.yaml").map()
        return try TriggerSettings(from: map, kinds: MetricKind.all(declaredIn: map))
    }

    static let directions: [(text: String, comparison: TriggerDefinition.Comparison)] = [
        ("metric: websocket_latency_p95", .above), ("metric: model_accuracy_current", .below),
        ("metric: conversion_rate_drop", .below), ("metric: data_quality_score_current", .below),
        ("metric: own, direction: above", .above), ("metric: own, direction: below", .below),
        ("metric: own, operator: '>='", .atLeast), ("metric: own, operator: '<='", .atMost),
        ("metric: own, operator: '<'", .below), ("metric: own, operator: '>'", .above),
        // What is written wins over the kind.
        ("metric: websocket_latency_p95, direction: below", .below), ("metric: declared", .below),
    ]

    @Test("which side is bad is written, or follows from the metric's kind", arguments: directions)
    func direction(text: String, comparison: TriggerDefinition.Comparison) throws {
        let read = try read(
            "metrics: [{name: declared, worse: down}]\n"
                + "rollback_triggers: {a: [{\(text), threshold: 1, duration: 1m, action: x}]}")
        #expect(read.rules.map(\.rule.trigger?.comparison) == [comparison])
    }

    static let wrong: [(text: String, error: String)] = [
        ("{metric: own, threshold: 1, duration: 1m, action: x}", "v.yaml:1:34: metric: nobody knows which way 'own'"),
        ("{metric: own, threshold: 1, duration: 1m, action: x}", "write direction: above or below here"),
        ("{metric: own, threshold: 1, duration: 1m, action: x}", "under metrics: - {name: own, worse: up}"),
        ("{metric: own, direction: up, threshold: 1, duration: 1m, action: x}", "'up' is none; write above or below"),
        ("{metric: own, operator: '!=', threshold: 1, duration: 1m, action: x}", "'!=' is none"),
        (
            "{metric: own, operator: '>', direction: above, threshold: 1, duration: 1m, action: x}",
            "stands beside operator"
        ),
        ("{metric: error_ratio, threshold: .nan, duration: 1m, action: x}", "finite"),
        ("{metric: error_ratio, threshold: .inf, duration: 1m, action: x}", "finite"),
        ("{metric: error_ratio, threshold: 1, action: x}", "duration"),
        ("{metric: error_ratio, threshold: 1, duration: 1m}", "action"),
        ("{metric: 'a + b', direction: above, threshold: 1, duration: 1m, action: x}", "is no metric's name"),
        ("{metric: 'a[5m]', direction: above, threshold: 1, duration: 1m, action: x}", "is no metric's name"),
        ("{metric: error_ratio, threshold: 1, duration: 1m, action: x, treshold: 2}", "treshold"),
        (
            "{metric: error_ratio, threshold: 1, duration: 1m, action: x}, "
                + "{metric: error_ratio, threshold: 2, duration: 1m, action: x}",
            "there are two triggers 'a/error_ratio'; give one of them a name of its own"
        ),
    ]

    @Test("what is wrong is refused, with its place and the cure", arguments: wrong)
    func refused(text: String, error: String) {
        let thrown = #expect(throws: SettingsError.self) { try read("rollback_triggers: {a: [\(text)]}") }
        #expect(thrown?.description.contains(error) == true, "\(thrown?.description ?? "nothing")")
        #expect(thrown?.description.hasPrefix("v.yaml:1:") == true)
    }

    @Test("two triggers of one metric have names of their own") func named() throws {
        let read = try read(
            """
            rollback_triggers:
              a:
              - {metric: error_ratio, threshold: 1, duration: 1m, action: x}
              - {metric: error_ratio, threshold: 2, duration: 1m, action: y, name: a/wide, labels: {team: 'a"b'}}
            """)
        #expect(read.rules.map(\.rule.name) == ["a/error_ratio", "a/wide"])
        #expect(read.rules.last?.rule.expression.text == #"error_ratio{team="a\"b"}"#)
    }

    // MARK: Series

    private static let gauge = """
        metrics: [{name: m, worse: up, exported: true}]
        rollback_triggers: {t: [{metric: m, threshold: 10, duration: 30s, action: x, name: t}]}
        """
    private static func series(_ instance: String) -> Labels {
        ["__name__": "m", "job": "j", "instance": instance]
    }

    /// The trigger's states as each of the rows is scraped, by the instances' names.
    private func states(_ rows: [[String: Double]], in given: TriggerWorld? = nil) async throws -> [TriggerReading
        .State?]
    {
        let world: TriggerWorld
        if let given { world = given } else { world = try await TriggerWorld(TriggerTests.gauge) }
        var states: [TriggerReading.State?] = []
        for row in rows {
            states.append(
                await world.turn("t") { store, now in
                    for (name, value) in row { store.add(TriggerTests.series(name), now, value) }
                }?.state)
        }
        return states
    }

    @Test("NaN is no value: it neither fires nor clears") func notANumber() async throws {
        let nan = ["a": Double.nan]
        #expect(try await states([nan, nan, nan, nan, nan]) == [.noData, .noData, .noData, .noData, .noData])
        #expect(
            try await states([["a": 11], ["a": 11], ["a": 11], nan, nan, ["a": 11], ["a": 10]])
                == [.pending, .pending, .firing, .noData, .noData, .firing, .clear])
        #expect(
            try await states([["a": 11], ["a": 11], nan, ["a": 11], ["a": 11], ["a": 11]])
                == [.pending, .pending, .noData, .pending, .pending, .firing])
    }

    @Test("infinities are values") func infinite() async throws {
        #expect(
            try await states([["a": .infinity], ["a": .infinity], ["a": .infinity], ["a": -.infinity]])
                == [.pending, .pending, .firing, .clear])
    }

    @Test("it is clear when every series is") func twoSeries() async throws {
        let bad = ["a": 11.0, "b": 12]
        let half = ["a": 11.0, "b": 1]
        #expect(
            try await states([bad, bad, bad, half, ["a": 1, "b": 1]]) == [.pending, .pending, .firing, .firing, .clear])
        // One fires, the other is new and pending.
        #expect(
            try await states([["a": 11], ["a": 11], ["a": 11], ["a": 1, "b": 11], ["a": 1, "b": 1]])
                == [.pending, .pending, .firing, .pending, .clear])
        // The bad one goes missing: the good one says nothing of it.
        let gone = ["a": SpecialValue.stale, "b": 1]
        #expect(
            try await states([half, half, half, gone, ["b": 1], ["b": 1], half, ["a": 2, "b": 1]])
                == [.pending, .pending, .firing, .noData, .noData, .noData, .firing, .clear])
    }

    @Test("the worst series is told") func worst() async throws {
        let world = try await TriggerWorld(TriggerTests.gauge)
        _ = try await states([["a": 11, "b": 12], ["a": 11, "b": 12], ["a": 11, "b": 12]], in: world)
        let reading = try #require(world.sights.readings.last)
        #expect(reading.value == 12 && reading.labels["instance"] == "b" && reading.condition == "m > 10 for 30s")
    }

    // MARK: Restarts

    private func restarted(_ world: TriggerWorld, after seconds: Double) async throws -> TriggerWorld {
        try await TriggerWorld(
            TriggerTests.gauge, from: world.now + seconds, store: world.store, recorder: world.recorder.restarted())
    }

    @Test("pending over a restart: the time spent down does not count") func pendingRestart() async throws {
        let world = try await TriggerWorld(TriggerTests.gauge)
        #expect(try await states([["a": 11], ["a": 11]], in: world) == [.pending, .pending])
        let after = try await restarted(world, after: 600)
        #expect(try await states([["a": 11], ["a": 11]], in: after) == [.firing, .firing])
        // 15 s were spent before and 15 s, one interval, pass with the restart; not a moment earlier than 30 s in all.
        let early = try await TriggerWorld(TriggerTests.gauge)
        #expect(try await states([["a": 11]], in: early) == [.pending])
        let later = try await restarted(early, after: 600)
        #expect(try await states([["a": 11], ["a": 11]], in: later) == [.pending, .firing])
    }

    @Test("while the first scrapes are waited for, a pending trigger comes no nearer to its action")
    func settling() async throws {
        let world = try await TriggerWorld(TriggerTests.gauge)
        #expect(try await states([["a": 11]], in: world) == [.pending])
        let after = try await TriggerWorld(
            TriggerTests.gauge, from: world.now + 600, store: world.store, recorder: world.recorder.restarted(),
            settle: 120_000)
        #expect(
            try await states([[:], [:], [:], ["a": 11], ["a": 11], ["a": 11]], in: after)
                == [.noData, .noData, .noData, .pending, .firing, .firing])
        // What was spent before the restart still counts.
        let late = try await TriggerWorld(TriggerTests.gauge)
        #expect(try await states([["a": 11], ["a": 11]], in: late) == [.pending, .pending])
        let soon = try await TriggerWorld(
            TriggerTests.gauge, from: late.now + 600, store: late.store, recorder: late.recorder.restarted(),
            settle: 120_000)
        #expect(try await states([[:], [:], ["a": 11]], in: soon) == [.noData, .noData, .firing])
    }

    @Test("firing over a restart: no data until it is measured, then the same episode") func firingRestart()
        async throws
    {
        let world = try await TriggerWorld(TriggerTests.gauge)
        #expect(try await states([["a": 11], ["a": 11], ["a": 11]], in: world).last == .firing)
        let firedAt = world.sights.readings.last?.firedAt
        #expect(firedAt == at(45))
        let after = try await restarted(world, after: 60)
        #expect(try await states([[:], [:], ["a": 11]], in: after) == [.noData, .noData, .firing])
        #expect(after.sights.readings.last?.firedAt == firedAt)
        let again = try await restarted(after, after: 60)
        #expect(try await states([[:], ["a": 9], ["a": 9]], in: again) == [.noData, .clear, .clear])
        let last = try await restarted(again, after: 60)
        #expect(try await states([["a": 9], ["a": 11]], in: last) == [.clear, .pending], "a new episode")
    }

    @Test("what was stored before a restart is no news, though a query still finds it") func staleValues() async throws
    {
        let text = """
            metrics: [{name: m, worse: up, exported: true}]
            rollback_triggers: {t: [{metric: m, threshold: 10, duration: 0s, action: x, name: t}]}
            """
        let rules = try RuleFile(
            Array("groups: [{name: g, rules: [{record: m, expr: 'avg_over_time(raw[5m])'}]}]".utf8), file: "r",
            files: MemoryFiles()
        ).groups
        for recorded in [[], rules] {
            let store = MemorySource()
            // The raw series ended with the daemon a minute ago, the metric was recorded then.
            for second in [0.0, 15, 30] {
                store.add(TriggerTests.series("a"), at(second), 99)
                store.add(["__name__": "raw", "job": "j", "instance": "a"], at(second), 99)
            }
            let world = try await TriggerWorld(text, rules: recorded, from: 90, store: store)
            #expect(try await states([[:], [:], [:], [:]], in: world) == [.noData, .noData, .noData, .noData])
            let fresh = await world.turn("t") { store, now in
                store.add(
                    recorded.isEmpty ? TriggerTests.series("a") : ["__name__": "raw", "job": "j", "instance": "a"], now,
                    99)
            }
            #expect(fresh?.state == .firing, "and it is seen once it is measured")
        }
    }

    @Test("nobody is told of a trigger's own alerts, restarted or removed") func untold() async throws {
        let world = try await TriggerWorld(TriggerTests.gauge)
        _ = try await states([["a": 11], ["a": 11], ["a": 11]], in: world)
        let after = try await restarted(world, after: 60)
        _ = try await states([["a": 11]], in: after)
        await after.scheduler.update(to: [], at: at(after.now))
        #expect(world.recorder.told.isEmpty && after.recorder.told.isEmpty)
        #expect(after.recorder.entries(of: "rules.alerts").isEmpty)
    }
}
