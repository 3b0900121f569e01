import Basics
import Foundation
import Model
import Rules
import TestSupport
import Testing

/// The peers' pairs through a rule: what it records is what scipy and evidently say of the same samples.
@Suite struct DriftPeerRuleTests {
    private static func rule(_ kind: String, _ tests: String) -> String {
        """
        groups:
        - name: g
          interval: 1d
          rules:
          - drift: D
            current: {expr: x, window: 1d}
            reference: {file: reference.json}
            over: \(kind)
            minimum: 1
            evaluations: 1
            tests: \(tests)
        """
    }

    private func pairs(_ kind: String) throws -> [(pair: JSON, expected: JSON)] {
        guard let folder = Peers.file("ml/drift") else { return [] }
        let pairs = try JSON(parsing: Peers.bytes(folder.appendingPathComponent("pairs.json"))).array ?? []
        let expected = try JSON(parsing: Peers.bytes(folder.appendingPathComponent("expected.json")))["cases"]
        return pairs.filter { $0["kind"]?.string == kind }.map { ($0, expected?[$0["id"]?.string ?? ""] ?? .null) }
    }

    private func recorded(_ world: RuleWorld, _ name: String, _ test: String) -> Double? {
        world.store.all.first { $0.labels["__name__"] == name && $0.labels["test"] == test }?.values.last
    }

    private func isClose(_ value: Double?, _ expected: JSON?, _ relative: Double) -> Bool {
        guard let value, let expected = expected?.number else { return false }
        return abs(value - expected) <= max(relative * abs(expected), 1e-12)
    }

    @Test("numbers") func numeric() async throws {
        var (checked, withoutData) = (0, 0)
        for (pair, expected) in try pairs("numeric") {
            let id = pair["id"]?.string ?? ""
            let files = MemoryFiles()
            let finite = (pair["reference"]?.array ?? []).filter { $0.number?.isFinite ?? false }
            files.put("reference.json", JSON.object([.init("features", ["a": ["values": .array(finite)]])]).text)
            let world = try await RuleWorld(
                DriftPeerRuleTests.rule("samples", "[psi, ks, js, wasserstein]"), files: files)
            for (second, value) in (pair["current"]?.array ?? []).enumerated() {
                let number =
                    value.number ?? (value.string == "-Infinity" ? -.infinity : value == .null ? .nan : .infinity)
                world.store.add(["__name__": "x", "feature": "a"], at(Double(second + 1)), number)
            }
            await world.evaluate(86_400)
            let ours = expected["scipy"]
            guard ours?["ks"]?["statistic"]?.number != nil else {
                #expect(world.stored(["__name__": "drift_state", "rule": "D", "feature": "a"]) == "86400=-1", "\(id)")
                withoutData += 1
                continue
            }
            #expect(isClose(recorded(world, "drift_score", "ks"), ours?["ks"]?["statistic"], 1e-9), "\(id)")
            if let exact = ours?["ks"]?["p_exact"], exact.number != nil {
                #expect(isClose(recorded(world, "drift_p_value", "ks"), exact, 1e-6), "\(id)")
            }
            let moved = ours?["wasserstein"]?["w1_over_std"]
            if moved?.number != nil {
                #expect(isClose(recorded(world, "drift_score", "wasserstein"), moved, 1e-9), "\(id)")
            }
            // Few distinct values are categories, as evidently has it.
            let deciles = ours?["binned"]?["ref_deciles"]
            if Set(finite).count > 20 {
                #expect(isClose(recorded(world, "drift_score", "psi"), deciles?["psi_eps1e4"], 1e-9), "\(id)")
                #expect(isClose(recorded(world, "drift_score", "js"), deciles?["js_distance_base2"], 1e-9), "\(id)")
            } else if Set(pair["current"]?.array ?? []).count <= 20 {
                let theirs = expected["evidently"]?["psi"]
                #expect(isClose(recorded(world, "drift_score", "psi"), theirs, 1e-9), "\(id)")
            }
            checked += 1
        }
        #expect((checked == 19 && withoutData == 2) || (checked == 0 && Peers.folder("ml") == nil), "\(checked)")
    }

    @Test("categories") func categorical() async throws {
        var checked = 0
        for (pair, expected) in try pairs("categorical") {
            guard let theirs = expected["scipy"]?["categorical"], theirs["ref_counts"]?.array != nil else { continue }
            let id = pair["id"]?.string ?? ""
            let levels = (theirs["levels"]?.array ?? []).map { $0.string ?? "" }
            let reference = (theirs["ref_counts"]?.array ?? []).compactMap(\.number)
            let current = (theirs["cur_counts"]?.array ?? []).compactMap(\.number)
            let counts = JSON.object(zip(levels, reference).map { .init($0, .number($1)) })
            let files = MemoryFiles()
            files.put("reference.json", JSON.object([.init("features", ["x": ["categories": counts]])]).text)
            let world = try await RuleWorld(
                DriftPeerRuleTests.rule("categories", "[psi, chi_square, js]"), files: files)
            for (level, count) in zip(levels, current) {
                world.store.add(["__name__": "x", "category": level], at(1), 7)
                world.store.add(["__name__": "x", "category": level], at(2), 7 + count)
            }
            await world.evaluate(86_400)
            #expect(isClose(recorded(world, "drift_score", "psi"), theirs["psi_eps1e4"], 1e-9), "\(id)")
            #expect(isClose(recorded(world, "drift_score", "js"), theirs["js_distance_base2"], 1e-9), "\(id)")
            if theirs["cramers_v"]?.number != nil {
                #expect(isClose(recorded(world, "drift_score", "chi_square"), theirs["cramers_v"], 1e-9), "\(id)")
            }
            let test = theirs["chi2_contingency"]
            if (test?["min_expected"]?.number ?? 0) >= 5 {
                #expect(isClose(recorded(world, "drift_p_value", "chi_square"), test?["p"], 1e-6), "\(id)")
            }
            checked += 1
        }
        #expect(checked >= 3 || Peers.folder("ml") == nil, "\(checked)")
    }

    @Test("without drift nothing fires in a week of hourly evaluations", arguments: [200, 1000])
    func falseAlarms(size: Int) async throws {
        let seed: UInt64 = 7
        var numbers = DriftNumbers(seed)
        let files = MemoryFiles()
        let names = (0..<4).map { "f\($0)" }
        let features = names.map { name in
            JSON.Member(name, ["values": .array((0..<size).map { _ in .number(numbers.normal()) })])
        }
        files.put("reference.json", JSON.object([.init("features", .object(features))]).text)
        let world = try await RuleWorld(
            DriftPeerRuleTests.rule("samples", "[psi, ks]").replacing("1d", with: "1h")
                .replacing("evaluations: 1", with: "evaluations: 3"), files: files)
        var (single, firing) = (0, 0)
        for hour in 1...168 {
            for name in names {
                world.store.addSamples(
                    name, (0..<size).map { _ in numbers.normal() }, endingAt: Double(hour) * 3600)
            }
            await world.evaluate(Double(hour) * 3600)
            let rule = try #require(await world.scheduler.status().first?.rules.first)
            single += rule.driftFeatures.count { $0.state == .drifted }
            firing += rule.alerts.count { $0.state == .firing }
        }
        print("without drift, \(size) observations: \(single) of \(168 * 4) feature-hours drifted, \(firing) fired")
        #expect(firing == 0, "seed \(seed)")
        #expect(Double(single) < 0.05 * 168 * 4, "seed \(seed): \(single)")
    }
}
