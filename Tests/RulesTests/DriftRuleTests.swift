import Basics
import Model
import Query
import Rules
import TestSupport
import Testing

/// Numbers of known shape by seed.
struct DriftNumbers {
    var random: SeededRandom
    init(_ seed: UInt64) { random = SeededRandom(seed: seed) }

    /// About normal: the sum of twelve uniform numbers, less six.
    mutating func normal(_ mean: Double = 0, _ deviation: Double = 1) -> Double {
        var sum = -6.0
        for _ in 0..<12 { sum += Double.random(in: 0..<1, using: &random) }
        return mean + deviation * sum
    }
}

extension MemorySource {
    /// One sample a second for each value, the last at `end`.
    func addSamples(_ feature: String, _ values: [Double], endingAt end: Double) {
        for (index, value) in values.enumerated() {
            add(["__name__": "x", "feature": feature], at(end - Double(values.count - 1 - index)), value)
        }
    }

    /// Cumulated bucket counts at a moment.
    func addBuckets(_ feature: String, _ counts: [String: Double], at seconds: Double, _ more: Labels = [:]) {
        for (bound, count) in counts {
            let labels: Labels = ["__name__": "h_bucket", "feature": feature, "le": bound]
            add(labels.merging(more), at(seconds), count)
        }
    }
}

@Suite struct DriftRuleTests {
    /// Reference [0 s, 1000 s], current windows of 500 s at multiples of 500 s after it.
    static func samplesRule(_ more: String = "") -> String {
        """
        groups:
        - name: g
          interval: 500s
          rules:
          - drift: Drifted
            current: {expr: x, window: 500s}
            reference: {expr: x, window: 1000s, offset: 500s}
            over: samples
            labels: {severity: warning}
            annotations: {summary: '{{ $labels.feature }}: {{ $labels.test }} {{ $value }} of {{ $labels.threshold }}'}
            \(more)
        """
    }
    static let fileRule = """
        groups:
        - name: g
          interval: 500s
          rules:
          - drift: Drifted
            current: {expr: x, window: 500s}
            reference: {file: reference.json}
            over: samples
        """
    static let labels: Labels = ["alertname": "Drifted", "feature": "a"]

    /// A world whose reference is 1000 standard normal values in a file.
    static func fileWorld(
        _ yaml: String = fileRule, seed: UInt64 = 1, recorder: AlertRecorder = AlertRecorder(),
        store: MemorySource = MemorySource(), at start: Timestamp = at(0)
    ) async throws -> RuleWorld {
        var numbers = DriftNumbers(seed)
        let values = (0..<1000).map { _ in numbers.normal() }
        let files = MemoryFiles()
        files.put("reference.json", #"{"features":{"a":{"values":\#(values)}}}"#)
        return try await RuleWorld(yaml, store: store, recorder: recorder, at: start, files: files)
    }

    @Test("a drift's whole life: pending, firing, told, over, forgotten") func life() async throws {
        let world = try await DriftRuleTests.fileWorld()
        var numbers = DriftNumbers(2)
        let means: [Double] = [0, 1, 1, 1, 1, 0, 0, 0]
        for (window, mean) in means.enumerated() {
            world.store.addSamples(
                "a", (0..<500).map { _ in numbers.normal(mean) }, endingAt: Double(window + 1) * 500)
        }
        await world.evaluate(500)
        #expect(await world.alerts().isEmpty)
        #expect(world.stored(["__name__": "drift_state", "rule": "Drifted", "feature": "a"]) == "500=0")
        #expect(world.stored(["__name__": "drift_share", "rule": "Drifted"]) == "500=0")
        await world.evaluate(1000)
        #expect(await world.alerts().map(\.state) == [.pending])
        #expect(world.recorder.commits == 1)
        await world.evaluate(1500)
        #expect(await world.alerts().map(\.state) == [.pending])
        await world.evaluate(2000)
        #expect(await world.alerts().map(\.state) == [.firing])
        let told = try #require(world.recorder.told.first)
        #expect(told.labels == DriftRuleTests.labels)
        #expect(told.startsAt == at(2000) && told.value > 0.1)
        #expect(told.generatorURL == "/graph?g0.expr=x&g0.tab=1")
        await world.evaluate(2500)
        #expect(await world.alerts().map(\.state) == [.firing])
        await world.evaluate(3000)
        #expect(await world.alerts().isEmpty)
        #expect(world.recorder.told.last?.endsAt == at(3000))
        let states = world.stored(["__name__": "drift_state", "rule": "Drifted", "feature": "a"])
        #expect(states == "500=0 1000=1 1500=1 2000=1 2500=1 3000=0")
        #expect(
            world.stored(DriftRuleTests.labels.merging(["__name__": "ALERTS", "alertstate": "firing"]))
                == "2000=1 2500=1 3000=stale")
        for test in ["psi", "ks"] {
            for name in ["drift_score", "drift_p_value", "drift_p_value_adjusted"] {
                let series: Labels = ["__name__": name, "rule": "Drifted", "feature": "a", "test": test]
                #expect(world.store.all.first { $0.labels == series }?.values.count == 6, "\(series)")
            }
        }
        await world.evaluate(3500)
        await world.evaluate(4000)
        #expect(world.recorder.entries(of: "rules.alerts").isEmpty, "forgotten after 15 minutes")
    }

    @Test("a score between half and all of the threshold keeps what fires and starts nothing") func hysteresis()
        async throws
    {
        let rule = DriftRuleTests.fileRule + "\n    tests: {ks: 0.3}\n    evaluations: 1"
        let world = try await DriftRuleTests.fileWorld(rule)
        var numbers = DriftNumbers(3)
        // D is about 0.2 for a shift of half a deviation, 0.38 for one of 1, 0.08 for one of 0.2.
        for (window, mean) in [0.5, 1, 0.5, 0.2, 0.5].enumerated() {
            world.store.addSamples(
                "a", (0..<500).map { _ in numbers.normal(mean) }, endingAt: Double(window + 1) * 500)
        }
        var seen: [Bool] = []
        for window in 1...5 {
            await world.evaluate(Double(window) * 500)
            seen.append(await !world.alerts().isEmpty)
        }
        #expect(seen == [false, true, true, false, false])
    }

    @Test("without data an alert neither fires nor clears, and the time does not count") func noData() async throws {
        let world = try await DriftRuleTests.fileWorld()
        var numbers = DriftNumbers(4)
        for window in [1, 2, 5, 7] {
            world.store.addSamples("a", (0..<500).map { _ in numbers.normal(1) }, endingAt: Double(window) * 500)
        }
        var states: [ActiveAlert.State?] = []
        for window in 1...8 {
            await world.evaluate(Double(window) * 500)
            states.append(await world.alerts().first?.state)
        }
        // Drift at 1, 2, nothing at 3 and 4, drift at 5: the third in a row of those with data.
        #expect(states == [.pending, .pending, .pending, .pending, .firing, .firing, .firing, .firing])
        let state = world.stored(["__name__": "drift_state", "rule": "Drifted", "feature": "a"])
        #expect(state == "500=1 1000=1 1500=-1 2000=-1 2500=1 3000=-1 3500=1 4000=-1")
        let feature = try #require(await world.scheduler.status().first?.rules.first?.driftFeatures.first)
        #expect(feature.state == .noData)
        #expect(feature.notes == ["0 current observations where 200 are needed"])
        #expect(
            world.stored(["__name__": "drift_share", "rule": "Drifted"])
                == "500=1 1000=1 1500=stale 2500=1 3000=stale 3500=1 4000=stale")
    }

    @Test("an evaluation that was left out does not count either") func missed() async throws {
        let world = try await DriftRuleTests.fileWorld()
        var numbers = DriftNumbers(5)
        for window in 1...8 {
            world.store.addSamples("a", (0..<500).map { _ in numbers.normal(1) }, endingAt: Double(window) * 500)
        }
        await world.evaluate(500)
        await world.evaluate(3000)
        #expect(await world.alerts().map(\.state) == [.pending], "the second in a row, after a long pause")
        await world.evaluate(3500)
        #expect(await world.alerts().map(\.state) == [.firing])
    }

    @Test("a restart keeps what fires and what is pending") func restart() async throws {
        var world = try await DriftRuleTests.fileWorld()
        var numbers = DriftNumbers(6)
        for window in 1...20 {
            world.store.addSamples("a", (0..<500).map { _ in numbers.normal(1) }, endingAt: Double(window) * 500)
        }
        await world.evaluate(500)
        await world.evaluate(1000)
        var recorder = world.recorder.restarted()
        recorder.clear()
        world = try await DriftRuleTests.fileWorld(recorder: recorder, store: world.store, at: at(5100))
        #expect(await world.alerts().map(\.state) == [.pending])
        await world.evaluate(5500)
        #expect(await world.alerts().map(\.state) == [.firing], "two before, one after")
        recorder = world.recorder.restarted()
        recorder.clear()
        world = try await DriftRuleTests.fileWorld(recorder: recorder, store: MemorySource(), at: at(6000))
        await world.evaluate(6500)
        #expect(await world.alerts().map(\.state) == [.firing], "no data after the restart")
        #expect(recorder.told.allSatisfy { $0.endsAt == nil })
        try await world.load("groups: []")
        #expect(recorder.told.last?.endsAt == at(6500))
    }

    @Test("a feature that nobody knows any more is given up after a day") func forgotten() async throws {
        let world = try await RuleWorld(DriftRuleTests.samplesRule("evaluations: 1"))
        var numbers = DriftNumbers(7)
        world.store.addSamples("a", (0..<1000).map { _ in numbers.normal() }, endingAt: 1000)
        world.store.addSamples("a", (0..<500).map { _ in numbers.normal(2) }, endingAt: 1500)
        await world.evaluate(1500)
        #expect(await world.alerts().map(\.labels["severity"]) == ["warning"])
        let summary = try #require(await world.alerts().first?.annotations["summary"])
        #expect(summary.hasPrefix("a: psi ") && summary.hasSuffix(" of 0.1"), "\(summary)")
        for step in 1...171 { await world.evaluate(1500 + Double(step) * 500) }
        #expect(await world.alerts().count == 1)
        for step in 172...175 { await world.evaluate(1500 + Double(step) * 500) }
        #expect(await world.alerts().isEmpty)
    }

    @Test("features are corrected together: one p of 0.03 counts alone and not among twenty") func family() async throws
    {
        func world(_ features: Int) async throws -> RuleWorld {
            let world = try await RuleWorld(
                DriftRuleTests.samplesRule(
                    "tests: {ks: 0.03}\n    evaluations: 1"))
            for feature in 0..<features {
                // Evenly spread ranks; the first feature's current window is moved by 8 % of them: p = 0.025.
                let move = feature == 0 ? 80.0 : 0
                world.store.addSamples("f\(feature)", (0..<1000).map { Double($0) }, endingAt: 1000)
                world.store.addSamples(
                    "f\(feature)", (0..<500).map { Double($0) * 2 + 0.5 + move }, endingAt: 1500)
            }
            await world.evaluate(1500)
            return world
        }
        let alone = try await world(1)
        let among = try await world(20)
        #expect(await alone.alerts().count == 1)
        #expect(await among.alerts().isEmpty)
        let first = try #require(await among.scheduler.status().first?.rules.first?.driftFeatures.first)
        let result = try #require(first.results.first)
        #expect(result.probability < 0.05 && result.adjusted > 0.05, "\(result)")
    }

    @Test("an equal reload touches nothing; another reference file is another rule's content") func reload()
        async throws
    {
        let world = try await DriftRuleTests.fileWorld(DriftRuleTests.fileRule + "\n    evaluations: 1")
        var numbers = DriftNumbers(8)
        for window in 1...3 {
            world.store.addSamples("a", (0..<500).map { _ in numbers.normal(2) }, endingAt: Double(window) * 500)
        }
        await world.evaluate(500)
        #expect(await world.alerts().map(\.state) == [.firing])
        try await world.load(DriftRuleTests.fileRule + "\n    evaluations: 1")
        await world.evaluate(1000)
        #expect(await world.alerts().map(\.state) == [.firing])
        world.files.put(
            "reference.json", #"{"features":{"a":{"values":\#((0..<1000).map { _ in numbers.normal(2) })}}}"#)
        try await world.load(DriftRuleTests.fileRule + "\n    evaluations: 1")
        #expect(await world.alerts().map(\.state) == [.firing])
        await world.evaluate(1500)
        #expect(await world.alerts().isEmpty)
    }
}
