import Alerting
import Basics
import Model
import Settings
import Testing

@Suite struct InhibitionTests {
    private func groups(_ rules: String) throws -> AlertGroups {
        AlertGroups(
            try alerting("route: {receiver: page, group_by: ['...']}\ninhibit_rules: \(rules)", receivers: ["page"]))
    }

    private func labels(_ map: SettingsMap, _ key: String) throws -> Labels {
        Labels(try map.take(key, default: [String: String]()))
    }

    private func isInhibited(_ labels: Labels, _ groups: AlertGroups) -> Bool {
        !groups.status(of: labels, now: at(10)).inhibitedBy.isEmpty
    }

    @Test("Alertmanager's cases of one rule: a source that fires, with equal labels") func oneRule() throws {
        guard let data = try alertmanagerData("pipeline_cases.yaml") else { return }
        var passed = 0
        for test in try data.takeMaps("inhibit_rule_has_source") {
            let equal = try test.take("equal", default: [String]())
            // As in the source, the matchers play no part: a mark on the alerts stands for the side that they are on.
            var groups = try groups(
                "[{source_matchers: [side=source], target_matchers: [side!=source], equal: [\(equal.joined(separator: ", "))]}]"
            )
            for source in try test.takeMaps("sources") {
                let isOver = try source.take("resolved", default: false)
                let labels = try labels(source, "labels").merging(["side": "source"])
                let alert = Alert(labels: labels, startsAt: at(0), endsAt: isOver ? at(5) : nil)
                _ = groups.take([alert], now: at(1))
            }
            let target = try labels(test, "labels")
            #expect(isInhibited(target, groups) == (try test.require("inhibited") as Bool), "\(target)")
            passed += 1
        }
        #expect(passed == 5)
    }

    @Test("Alertmanager's cases of two rules") func twoRules() throws {
        guard let data = try alertmanagerData("pipeline_cases.yaml") else { return }
        var passed = 0
        for test in try data.takeMaps("inhibit_two_rules") {
            var groups = try groups(try test.require("rules"))
            for node in try test.takeList("live_alerts") {
                let labels = Labels(try [String: String].read(node))
                _ = groups.take([Alert(labels: labels, startsAt: at(0))], now: at(1))
            }
            for entry in try test.takeMaps("cases") {
                let labels = try labels(entry, "labels")
                #expect(isInhibited(labels, groups) == (try entry.require("inhibited") as Bool), "\(labels)")
                passed += 1
            }
        }
        #expect(passed == 16)
    }

    @Test("Alertmanager's cases over time") func overTime() throws {
        guard let data = try alertmanagerData("pipeline_cases.yaml") else { return }
        for test in try data.takeMaps("inhibit_over_time") {
            var groups = try groups("[{source_match: {s: '1'}, target_match: {t: '1'}, equal: [e]}]")
            for node in try test.takeList("posts") {
                var labels = try [String: String].read(node)
                let isOver = labels.removeValue(forKey: "resolved") == "true"
                _ = groups.take(
                    [Alert(labels: Labels(labels), startsAt: at(0), endsAt: isOver ? at(2) : nil)], now: at(3))
            }
            for node in try test.takeList("inhibited") {
                #expect(isInhibited(Labels(try [String: String].read(node)), groups))
            }
            for node in try test.takeList("not_inhibited") {
                #expect(!isInhibited(Labels(try [String: String].read(node)), groups))
            }
        }
    }

    @Test("a target is let go only when its last source is over, also one whose time ran out") func everySource() throws
    {
        var groups = try groups("[{source_matchers: [s=1], target_matchers: [t=1], equal: [e]}]")
        let target: Labels = ["alertname": "T", "t": "1"]
        _ = groups.take(
            [alert("A", ["s": "1"]), alert("B", ["s": "1"], to: 50), Alert(labels: target, startsAt: at(0))],
            now: at(1))
        #expect(groups.status(of: target, now: at(2)).inhibitedBy.count == 2)
        _ = groups.take([alert("A", ["s": "1"], to: 20)], now: at(20))
        #expect(groups.status(of: target, now: at(20)).inhibitedBy == [alert("B", ["s": "1"]).labels.fingerprintText])
        #expect(!groups.status(of: target, now: at(50)).isSuppressed)
    }

    @Test("after a restart the sources are known") func restart() throws {
        let store = MemoryStore()
        var before = try groups("[{source_matchers: [s=1], target_matchers: [t=1]}]")
        store.commit(before.take([alert("A", ["s": "1"]), alert("T", ["t": "1"])], now: at(1)))
        var after = try groups("[{source_matchers: [s=1], target_matchers: [t=1]}]")
        _ = after.restore(from: store, receivers: ["page"], now: at(5))
        #expect(after.status(of: alert("T", ["t": "1"]).labels, now: at(5)).inhibitedBy.count == 1)
    }
}
