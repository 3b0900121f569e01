import Basics
import Foundation
import Model
import Query
import Rules
import Settings
import TestSupport
import Testing

/// What drift rules make of histograms, counters and files, good and bad.
@Suite struct DriftDataTests {
    private static func rule(_ kind: String, _ expr: String = "h_bucket", _ more: String = "") -> String {
        """
        groups:
        - name: g
          interval: 100s
          rules:
          - drift: D
            current: {expr: '\(expr)', window: 100s}
            reference: {expr: '\(expr)', window: 100s}
            over: \(kind)
            minimum: 100
            evaluations: 1
            \(more)
        """
    }

    private func feature(_ world: RuleWorld) async throws -> DriftFeature {
        try #require(await world.scheduler.status().first?.rules.first?.driftFeatures.first)
    }

    @Test("a histogram's window is the increase of its buckets, summed over series, its resets together")
    func histogram() async throws {
        let world = try await RuleWorld(
            DriftDataTests.rule("histogram", "h_bucket", "tests: [psi, ks, js, chi_square]"))
        // Reference (0 s, 100 s]: 100, 100, 100. Current (100 s, 200 s]: two series; one is reset and counts past its
        // old value in one bucket at once.
        world.store.addBuckets("a", ["1": 10, "2": 10, "+Inf": 10], at: 10)
        world.store.addBuckets("a", ["1": 110, "2": 210, "+Inf": 310], at: 90)
        world.store.addBuckets("a", ["1": 110, "2": 210, "+Inf": 310], at: 110)
        world.store.addBuckets("a", ["1": 120, "2": 170, "+Inf": 250], at: 150)
        world.store.addBuckets("b", ["1": 0, "2": 0, "+Inf": 0], at: 10)
        world.store.addBuckets("a", ["1": 0, "2": 0, "+Inf": 0], at: 120, ["instance": "2"])
        world.store.addBuckets("a", ["1": 0, "2": 0, "+Inf": 50], at: 190, ["instance": "2"])
        await world.evaluate(200)
        let feature = try await feature(world)
        #expect(feature.referenceCount == 300 && feature.currentCount == 300)
        // Shares 1/3 each against 120, 50, 130 of 300.
        let psi = zip([0.4, 50.0 / 300, 130.0 / 300], [1.0, 1, 1]).reduce(0.0) { sum, pair in
            sum + (pair.0 - 1.0 / 3) * logarithm(pair.0 * 3)
        }
        #expect(abs(feature.results[0].score - psi) < 1e-12, "\(feature.results)")
        #expect(abs(feature.results[1].score - 0.1) < 1e-12, "D at the edges is 2/3 - 170/300")
        #expect(await world.alerts().count == 1)
        let second = try #require(await world.scheduler.status().first?.rules.first?.driftFeatures.last)
        #expect(second.name == "b" && second.state == .noData)
    }

    private func logarithm(_ x: Double) -> Double { Foundation.log(x) }

    @Test(
        "histograms that cannot be compared are no data, with the reason in the rule's health",
        arguments: [
            (["1", "3", "+Inf"], "the reference has buckets (1, 2, +Inf) and the current window (1, 3, +Inf); "),
            (["1", "2"], "current: there is no bucket le=\"+Inf\"; select all buckets"),
            (["1", "two", "+Inf"], "current: the label le is 'two' and no bound; "),
        ])
    func unlike(bounds: [String], expected: String) async throws {
        let world = try await RuleWorld(DriftDataTests.rule("histogram"))
        func add(_ bounds: [String], _ value: Double, _ time: Double) {
            world.store.addBuckets(
                "a", Dictionary(uniqueKeysWithValues: bounds.enumerated().map { ($1, value * Double($0 + 1)) }),
                at: time)
        }
        add(["1", "2", "+Inf"], 0, 10)
        add(["1", "2", "+Inf"], 100, 90)
        add(bounds, 100, 110)
        add(bounds, 400, 190)
        await world.evaluate(200)
        let feature = try await feature(world)
        #expect(feature.state == .noData && feature.results.isEmpty)
        let rule = try #require(await world.scheduler.status().first?.rules.first)
        #expect(rule.health == .failing)
        #expect(rule.lastError?.hasPrefix("a: \(expected)") == true, "\(rule.lastError ?? "")")
        #expect(world.stored(["__name__": "drift_state", "rule": "D", "feature": "a"]) == "200=-1")
    }

    @Test("bounds that change inside a window, and counts that are NaN, are no data") func changing() async throws {
        let world = try await RuleWorld(DriftDataTests.rule("histogram"))
        world.store.addBuckets("a", ["1": 0, "+Inf": 0], at: 10)
        world.store.addBuckets("a", ["1": 300, "+Inf": 400], at: 90)
        world.store.addBuckets("a", ["1": 300, "+Inf": 400], at: 110)
        world.store.addBuckets("a", ["1": 300, "2": 10, "+Inf": 500], at: 190)
        world.store.addBuckets("b", ["1": .nan, "+Inf": 0], at: 150)
        await world.evaluate(200)
        let rule = try #require(await world.scheduler.status().first?.rules.first)
        #expect(rule.lastError?.contains("a: current: a histogram's buckets have samples at different moments") == true)
        #expect(rule.lastError?.contains("b: current: a bucket's count is NaN or infinite") == true)
    }

    @Test("categories: the increase by label, resets whole, new and vanished ones told") func categories() async throws
    {
        let world = try await RuleWorld(
            DriftDataTests.rule("categories", "plan_total", "category: plan\n    tests: [chi_square, js, psi]"))
        func add(_ plan: String, _ values: [(Double, Double)]) {
            for (time, value) in values { world.store.add(["__name__": "plan_total", "plan": plan], at(time), value) }
        }
        add("free", [(10, 0), (90, 300), (110, 300), (150, 400), (190, 200)])
        add("pro", [(10, 50), (90, 150), (110, 150), (190, 150)])
        add("new", [(110, 0), (190, 100)])
        await world.evaluate(200)
        let feature = try await feature(world)
        #expect(feature.name == "plan_total" && feature.state == .drifted)
        #expect(feature.referenceCount == 400 && feature.currentCount == 400)
        #expect(feature.notes == ["new categories: new", "vanished categories: pro"])
        // 300/0/100 against 300/100/0 in the order free, new, pro.
        #expect(abs((feature.results.first { $0.test == .chiSquare }?.score ?? 0) - 0.5) < 1e-12)
        #expect(await world.alerts().first?.labels == ["alertname": "D", "feature": "plan_total"])
    }

    @Test("constants and few distinct values are categories; what is no number is left out") func constants()
        async throws
    {
        let world = try await RuleWorld(DriftDataTests.rule("samples", "x"))
        for (feature, (before, now)) in ["a": (1.0, 1.0), "b": (1.0, 2.0), "c": (1.0, .nan)] {
            for second in 1...100 {
                world.store.add(["__name__": "x", "feature": feature], at(Double(second)), before)
                world.store.add(["__name__": "x", "feature": feature], at(Double(second + 100)), now)
            }
        }
        world.store.add(["__name__": "x", "feature": "a"], at(150), .infinity)
        world.store.add(["__name__": "x", "feature": "a"], at(150.5), 1)
        await world.evaluate(200)
        let features = try #require(await world.scheduler.status().first?.rules.first?.driftFeatures)
        #expect(features.map(\.state) == [.steady, .drifted, .noData])
        #expect(features[0].notes == ["1 current values are NaN or infinite and left out"])
        #expect(features[0].results.map(\.score) == [0, 0])
        #expect(
            features[2].notes == [
                "100 current values are NaN or infinite and left out", "0 current observations where 100 are needed",
            ])
        #expect(await world.alerts().map(\.labels["feature"]) == ["b"])
    }

    @Test("a source that refuses is a failed evaluation, and what fired stays") func refused() async throws {
        let world = try await RuleWorld(DriftDataTests.rule("samples", "x")) { $0.engine.limits.samples = 250 }
        func add(_ from: Int, _ through: Int, _ value: Double) {
            for second in from...through { world.store.add(["__name__": "x"], at(Double(second)), value) }
        }
        add(1, 100, 1)
        add(101, 200, 2)
        await world.evaluate(200)
        #expect(await world.alerts().map(\.state) == [.firing])
        for second in 201...300 {
            for part in 1...3 { world.store.add(["__name__": "x"], at(Double(second) + Double(part) / 10), 1) }
        }
        await world.evaluate(300)
        #expect(await world.alerts().map(\.state) == [.firing])
        let rule = try #require(await world.scheduler.status().first?.rules.first)
        #expect(rule.health == .failing && rule.lastError?.contains("250 samples") == true, "\(rule.lastError ?? "")")
    }

    static let base = "current: {expr: x, window: 1h}\n    over: samples\n    "
    static let week = "\(base)reference: {window: 7d}\n    "
    /// The keys of a rule, and how its mistake begins.
    static let badRules: [(String, String)] = [
        ("reference: {window: 1h}", "r.yaml:3:5: current is missing; it must be given"),
        (base, "r.yaml:3:5: reference is missing; it must be given"),
        ("\(base)reference: {expr: x}", "r.yaml:6:16: window is missing; it must be given"),
        (
            "\(base)reference: {window: 7d, offset: 30m}",
            "r.yaml:6:37: offset: the reference reaches into the current window; write an offset of at least 1h"
        ),
        (
            "\(base)reference: {file: none.json}",
            "r.yaml:6:23: file: 'none.json' cannot be read: No such file or directory; mend the path, which starts from"
        ),
        (
            "\(base)reference: {file: bad.json}",
            "bad.json:1:15: a name is missing; mend the JSON, or name the file .csv if it is one"
        ),
        ("\(base)reference: {file: bad.csv}", "bad.csv:3:1: 3 fields where the header has 2; mend the row"),
        (
            "\(base)reference: {file: half.json}",
            "half.json: features.a.buckets: the last bucket must be le \"+Inf\", the count of all observations"
        ),
        (
            "\(base)reference: {file: bucket.json}",
            "bucket.json: a: buckets cannot be compared with samples; give values, or use over: histogram"
        ),
        (
            "\(week)tests: [psi, kl]",
            "r.yaml:7:18: tests: 'kl' is not one of 'psi', 'ks', 'chi_square', 'js', 'wasserstein'"
        ),
        ("\(week)tests: {ks: 2}", "r.yaml:7:13: tests: the threshold of ks must be above 0 and not above 1"),
        (
            "\(week)for: 5m",
            "r.yaml:7:5: for is not offered; write the number of evaluations in a row under evaluations"
        ),
        ("\(week)evaluation: 3", "r.yaml:7:5: unknown key 'evaluation'; did you mean 'evaluations'?"),
        (
            "current: {expr: x, window: 1h}\n    reference: {window: 7d}",
            "r.yaml:3:5: over is missing: the expression does not say what it holds; write over: histogram, samples or"
        ),
        (
            "current: {expr: sum(x_bucket), window: 1h}\n    reference: {window: 7d}\n    over: histogram",
            "r.yaml:4:21: expr: over: histogram needs a plain selector of counters, whose increase over the window is"
        ),
        (
            "current: {expr: 'x[5m]', window: 1h}\n    reference: {window: 7d}\n    over: samples",
            "r.yaml:4:21: expr: write the window under window and not in the expression"
        ),
        (
            "current: {expr: 'x{', window: 1h}\n    reference: {window: 7d}\n    over: samples",
            "r.yaml:4:24: could not parse expression: parse error: "
        ),
        (
            "current: {expr: x, window: 1h}\n    reference: {window: 7d}\n    over: categories\n    tests: [ks]",
            "r.yaml:7:13: tests: ks needs values in an order, categories have none; take chi_square, psi or js"
        ),
        (
            "\(week)labels: {feature: x}",
            "r.yaml:7:13: labels: 'feature' is the label that a drift rule gives each alert; choose another name"
        ),
        (
            "\(base)reference: {window: 7d}\n  - drift: A\n    \(week)",
            "r.yaml:7:5: drift: \"A\" is the name of two rules, first at r.yaml:3:5, and names their series; rename one"
        ),
    ]

    @Test("mistakes in a drift rule have their place and their cure", arguments: DriftDataTests.badRules)
    func mistakes(rule: String, expected: String) {
        let files = MemoryFiles()
        files.put("bad.json", #"{"features": {,}}"#)
        files.put("bad.csv", "a,b\n1,2\n1,2,3\n")
        files.put(
            "bucket.json", #"{"features": {"a": {"buckets": [{"le": "1", "count": 3}, {"le": "+Inf", "count": 3}]}}}"#)
        files.put("half.json", #"{"features": {"a": {"buckets": [{"le": "1", "count": 3}]}}}"#)
        let text = "groups:\n- rules:\n  - drift: A\n    \(rule)\n  name: g\n"
        let error = #expect(throws: SettingsError.self) { try RuleFile(Array(text.utf8), file: "r.yaml", files: files) }
        #expect(error?.description.hasPrefix(expected) == true, "\(error?.description ?? "")")
    }

    @Test("a CSV's columns of numbers are values, others categories; quotes and gaps are understood") func csv()
        async throws
    {
        let files = MemoryFiles()
        let rows = (0..<300).map { "\($0 % 100),\($0 % 3 == 0 ? "\"a, b\"" : "c")," }
        files.put("rules/ref.csv", "x,plan,empty\r\n" + rows.joined(separator: "\r\n"))
        let yaml = """
            groups: [{name: g, rules: [
              {drift: X, current: {expr: x, window: 1h}, over: samples, reference: {file: ref.csv}},
              {drift: P, current: {expr: p, window: 1h}, over: categories, reference: {file: ref.csv}}]}]
            """
        let rules = try RuleFile(Array(yaml.utf8), file: "rules/r.yaml", files: files).groups[0].rules
        guard case .file(let path, let features)? = rules[0].drift?.reference else {
            Issue.record("no file")
            return
        }
        #expect(path == "rules/ref.csv")
        #expect(features["x"] == .values((0..<300).map { Double($0 % 100) }.sorted()))
        #expect(features["plan"] == .categories(["a, b": 100, "c": 200]))
        #expect(features["empty"]?.count == 0)
        guard case .file(_, let categories)? = rules[1].drift?.reference else { return }
        #expect(categories["x"]?.count == 300 && categories["x"] != features["x"])
    }
}
