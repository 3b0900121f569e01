import Alerting
import Basics
import Model
import Settings
import TestSupport
import Testing

/// What is journalled of a group's alerts, and what a restart makes of it.
@Suite struct AlertGroupStateTests {
    private func settings(flaps: Int) throws -> AlertingSettings {
        var settings = try alerting(
            """
            route: {receiver: a, group_by: [team], group_wait: 5s, group_interval: 10s, repeat_interval: 60s}
            inhibit_rules:
            - source_matchers: [alertname=Source]
              target_matchers: [alertname=Target]
              equal: [i]
            """, receivers: ["a"])
        settings.flapping.episodes = flaps
        (settings.flapping.within, settings.flapping.steady) = (60_000, 20_000)
        return settings
    }

    @Test("a look that tells of a whole group writes one entry, not one for each alert") func oneEntry() throws {
        var groups = AlertGroups(try settings(flaps: 0))
        let store = MemoryStore()
        store.commit(groups.take((0..<100).map { alert("Target", ["i": "\($0)"]) }, now: at(0)))
        let flush = groups.flush(now: at(5))
        #expect(flush.changes.map(\.table) == [AlertGroup.groupsTable])
        store.commit(flush.changes)
        // One of them is held back, one is new: the group's entry stays true of the others.
        store.commit(
            groups.take([alert("Source", ["i": "7"], from: 6), alert("Target", ["i": "new"], from: 6)], now: at(6)))
        let next = groups.flush(now: at(15))
        #expect(next.changes.filter { $0.table == AlertGroup.alertsTable }.count == 1)
        store.commit(next.changes)
        var restored = AlertGroups(try settings(flaps: 0))
        #expect(restored.restore(from: store, receivers: ["a"], now: at(16)).unreadable == 0)
        let members = restored.groups.values.flatMap(\.members.values)
        #expect(members.count == 102 && members.allSatisfy(\.isTold))
        #expect(members.filter(\.isHidden).map { $0.alert.labels["i"] } == ["7"])
    }

    @Test("entries of before they had numbers are read, and take the newer keys") func older() throws {
        let (store, settings) = (MemoryStore(), try settings(flaps: 0))
        var groups = AlertGroups(settings)
        store.commit(groups.take([alert("Target", ["i": "1"])], now: at(0)) + groups.flush(now: at(5)).changes)
        let group = try #require(groups.groups.values.first)
        let text = """
            {"group":\(JSON.string(group.id).text),"alert":{"labels":{"alertname":"Target","i":"1"},"annotations":{},\
            "value":"NaN","startsAt":0},"told":false,"held":true,"updated":0}
            """
        let new = try #require(store.entries(of: AlertGroup.alertsTable).keys.first)
        store.commit([
            StateChange(table: AlertGroup.alertsTable, key: new, value: nil),
            StateChange(table: AlertGroup.alertsTable, key: "\(group.id)\n{old}", value: Array(text.utf8)),
        ])
        for _ in 0..<2 {
            var restored = AlertGroups(settings)
            let result = restored.restore(from: store, receivers: ["a"], now: at(6))
            #expect(result.unreadable == 0)
            store.commit(result.changes)
            let member = try #require(restored.groups[group.id]?.members.values.first)
            #expect(!member.isTold && member.isHeld)
            #expect(store.entries(of: AlertGroup.alertsTable).keys.sorted() == [new])
        }
    }

    @Test("a restart at any moment finds what was told as it was", arguments: 0..<40) func restart(seed: UInt64) throws
    {
        var random = SeededRandom(seed: seed)
        let settings = try settings(flaps: seed % 2 == 0 ? 0 : 3)
        let store = MemoryStore()
        var groups = AlertGroups(settings)
        var firing: [Labels: Alert] = [:]
        var seen: Set<String> = []
        for second in 0..<300 {
            let now = at(Double(second))
            var posts: [Alert] = []
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                let name = Bool.random(using: &random) ? "Source" : "Target"
                let new = alert(
                    name, ["i": "\(Int.random(in: 0..<8, using: &random))", "team": "x"], from: Double(second))
                guard !posts.contains(where: { $0.labels == new.labels }) else { continue }
                if var old = firing.removeValue(forKey: new.labels) {
                    old.endsAt = now
                    posts.append(old)
                } else {
                    firing[new.labels] = new
                    posts.append(new)
                }
            }
            store.commit(groups.take(posts, now: now))
            store.commit(groups.flush(now: now).changes)
            var restored = AlertGroups(settings)
            let result = restored.restore(from: store, receivers: ["a"], now: now)
            #expect(result.unreadable == 0)
            #expect(shown(restored) == shown(groups), "seed \(seed), second \(second)")
            for member in groups.groups.values.flatMap(\.members.values) {
                if member.isHeld { seen.insert("held") }
                if member.isHidden { seen.insert("hidden") }
                if member.flap?.isTold == true { seen.insert("flap") }
            }
            if Int.random(in: 0..<20, using: &random) == 0 {
                store.commit(result.changes)
                groups = restored
            }
        }
        // Otherwise it proves little.
        #expect(seen.isSuperset(of: seed % 2 == 0 ? ["held", "hidden"] : ["held", "hidden", "flap"]), "seed \(seed)")
    }

    private func shown(_ groups: AlertGroups) -> [String] {
        groups.groups.values.flatMap { group in
            group.members.values.map { member in
                "\(group.id) \(member.alert) told \(member.isTold) held \(member.isHeld) hidden \(member.isHidden) "
                    + "flap \(String(describing: member.flap))"
            }
        }.sorted()
    }

    @Test("alerts whose labels differ only by how a character is written are grouped, silenced and resolved apart")
    func normalForms() throws {
        let settings = try alerting(
            """
            route: {receiver: a, group_by: [place], group_wait: 5s, group_interval: 10s, repeat_interval: 1h}
            inhibit_rules: [{source_matchers: [alertname=Source], target_matchers: [alertname=Target], equal: [place]}]
            """, receivers: ["a"])
        let (one, two) = ("caf\u{E9}", "cafe\u{301}")
        let store = MemoryStore()
        var groups = AlertGroups(settings)
        let silence = try Silence(
            matchers: [Matcher("place", equals: two)], startsAt: at(0), endsAt: at(12), createdBy: "me", comment: "",
            zones: { _ in nil })
        store.commit(try groups.set(silence, newID: "s", now: at(0)).changes)
        store.commit(groups.take([alert("Target", ["place": one]), alert("Target", ["place": two])], now: at(0)))
        #expect(groups.groups.count == 2)
        let first = groups.flush(now: at(5))
        #expect(first.notifications.flatMap(\.firing).map { $0.labels["place"].utf8.count } == [one.utf8.count])
        store.commit(first.changes)
        var restored = AlertGroups(settings)
        #expect(restored.restore(from: store, receivers: ["a"], now: at(6)).unreadable == 0)
        #expect(restored.groups.count == 2 && Set(restored.groups.keys) == Set(groups.groups.keys))
        let second = restored.flush(now: at(16))
        #expect(second.notifications.flatMap(\.firing).map { $0.labels["place"].utf8.count } == [two.utf8.count])
        // A source of the one holds back nothing of the other.
        _ = restored.take(
            [alert("Source", ["place": one], from: 17), alert("Target", ["place": one], from: 0, to: 18)], now: at(18))
        #expect(restored.status(of: Labels(["alertname": "Target", "place": two]), now: at(18)).inhibitedBy.isEmpty)
        #expect(!restored.status(of: Labels(["alertname": "Target", "place": one]), now: at(18)).inhibitedBy.isEmpty)
        let third = restored.flush(now: at(26))
        #expect(third.notifications.flatMap(\.resolved).map { $0.labels["place"].utf8.count } == [one.utf8.count])
        #expect(third.notifications.count == 1)
    }
}
