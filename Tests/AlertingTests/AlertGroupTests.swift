import Alerting
import Basics
import Model
import Testing

@Suite struct AlertGroupTests {
    private let tree: RouteTree

    init() throws {
        tree = try AlertingTests.tree(
            "receiver: page\ngroup_by: [alertname]\ngroup_wait: 10s\ngroup_interval: 60s\nrepeat_interval: 150s")
    }

    /// Runs posts against the clock; one line for each notification: time, reason, firing and resolved alerts.
    private func play(_ posts: [(Double, [Alert])], until end: Double) -> [String] {
        var groups = AlertGroups(tree)
        var lines: [String] = []
        for second in stride(from: 0, through: end, by: 1) {
            for (time, alerts) in posts where time == second { _ = groups.take(alerts, now: at(second)) }
            for told in groups.flush(now: at(second)).notifications {
                func list(_ alerts: [Alert]) -> String {
                    alerts.map { "\($0.labels["i"])@\(Int($0.startsAt.seconds))" }.joined(separator: ",")
                }
                lines.append("\(Int(second)) \(told.reason.rawValue): \(list(told.firing))|\(list(told.resolved))")
            }
        }
        return lines
    }

    @Test("a group waits, then tells what changed once an interval, then repeats") func timing() {
        let lines = play(
            [
                (0, [alert("A", ["i": "1"])]), (5, [alert("A", ["i": "2"], from: 5)]),
                (20, [alert("A", ["i": "3"], from: 20)]), (75, [alert("A", ["i": "1"], to: 75)]),
            ], until: 320)
        #expect(
            lines == [
                "10 first notification: 1@0,2@5|", "70 new alerts added: 1@0,2@5,3@20|",
                "130 some alerts resolved: 2@5,3@20|1@0", "310 repeat interval elapsed: 2@5,3@20|",
            ])
    }

    @Test("all over: told once, the group ends, and the next firing waits again") func ends() {
        let lines = play(
            [
                (0, [alert("A", ["i": "1"])]), (30, [alert("A", ["i": "1"], to: 30)]),
                (31, [alert("A", ["i": "1"], to: 30)]), (200, [alert("A", ["i": "1"], to: 30)]),
                (210, [alert("A", ["i": "1"], from: 210)]),
            ], until: 400)
        #expect(
            lines == [
                "10 first notification: 1@0|", "70 all alerts resolved: |1@0", "220 first notification: 1@210|",
                "400 repeat interval elapsed: 1@210|",
            ])
    }

    @Test("an old alert is told at once") func old() {
        #expect(play([(30, [alert("A", ["i": "1"], from: 1)])], until: 31) == ["30 first notification: 1@1|"])
    }

    @Test("what began and ended between two flushes is told, as firing and as over") func betweenFlushes() {
        let lines = play(
            [
                (0, [alert("A", ["i": "1"])]), (5, [alert("A", ["i": "1"], to: 5)]),
                (100, [alert("A", ["i": "1"], from: 100)]),
                (120, [alert("A", ["i": "1"], from: 100, to: 120)]), (130, [alert("A", ["i": "1"], from: 130)]),
                (140, [alert("A", ["i": "1"], from: 130, to: 140)]), (150, [alert("A", ["i": "1"], from: 150)]),
            ], until: 171)
        #expect(
            lines == [
                "10 first notification: 1@0|", "10 all alerts resolved: |1@0", "110 first notification: 1@100|",
                "170 new alerts added: 1@130,1@150|1@100", "170 some alerts resolved: 1@150|1@130",
            ])
    }

    @Test("an end in the future counts when it comes") func futureEnd() {
        #expect(
            play([(0, [alert("A", ["i": "1"], to: 40)])], until: 80)
                == ["10 first notification: 1@0|", "70 all alerts resolved: |1@0"])
    }

    @Test("told twice: earliest start, latest of two ends") func merge() {
        var groups = AlertGroups(tree)
        _ = groups.take([alert("A", from: 5)], now: at(5))
        _ = groups.take([alert("A", from: 3)], now: at(6))
        #expect(groups.take([alert("A", from: 4)], now: at(7)).isEmpty)
        _ = groups.take([alert("A", from: 4, to: 8)], now: at(9))
        _ = groups.take([alert("A", from: 4, to: 7)], now: at(9))
        let member = groups.groups.values.first?.members.values.first?.alert
        #expect(member?.startsAt == at(3) && member?.endsAt == at(8))
    }

    @Test("an alert told again with nothing but a new value is not journalled") func noWrite() {
        var groups = AlertGroups(tree)
        var one = alert("A")
        #expect(groups.take([one], now: at(0)).count == 2)
        one.value = 7
        one.annotations = ["summary": "7"]
        #expect(groups.take([one], now: at(1)).isEmpty)
        #expect(groups.flush(now: at(10)).notifications.first?.items.first?.alert.value == 7)
    }

    @Test("a group whose route is gone still tells the ends it owes, and nothing else") func retired() throws {
        var groups = AlertGroups(tree)
        let store = MemoryStore()
        store.commit(groups.take([alert("A"), alert("B")], now: at(0)))
        let first = groups.flush(now: at(10))
        store.commit(first.changes)
        #expect(first.notifications.map(\.receiver) == ["page", "page"])

        let other = try AlertingTests.tree(
            "receiver: mail\ngroup_by: [alertname]\ngroup_wait: 10s\ngroup_interval: 60s")
        store.commit(groups.replace(other, receivers: ["page", "mail"], now: at(20)))
        var restored = AlertGroups(other)
        let result = restored.restore(from: store, receivers: ["page", "mail"], now: at(20))
        #expect(result.unreadable == 0)
        for var groups in [groups, restored] {
            _ = groups.take([alert("A", to: 25)], now: at(25))
            var told: [String] = []
            for second in stride(from: 20.0, through: 300, by: 1) {
                told += groups.flush(now: at(second)).notifications.map {
                    "\($0.receiver) \($0.firing.map(\.name))\($0.resolved.map(\.name))"
                }
            }
            #expect(told.sorted() == ["mail [\"A\"][]", "mail [\"B\"][]", "mail [][\"A\"]", "page [][\"A\"]"])
        }
    }

    @Test("setting the wall clock moves the timers with it", arguments: [-3_600_000, 3_600_000])
    func clockJump(jump: Milliseconds) {
        var groups = AlertGroups(tree)
        _ = groups.take([alert("A")], now: at(0))
        groups.shiftTimers(by: jump)
        #expect(groups.nextFlush == at(10) + jump)
        #expect(groups.flush(now: at(9) + jump).notifications.isEmpty)
        #expect(groups.flush(now: at(10) + jump).notifications.count == 1)
    }

    @Test("a group that waits is told in time by a process whose clock is behind") func clockBehind() {
        var groups = AlertGroups(tree)
        let store = MemoryStore()
        store.commit(groups.take([alert("A", from: 7200)], now: at(7200)))
        var restored = AlertGroups(tree)
        _ = restored.restore(from: store, receivers: ["page"], now: at(3600))
        #expect(restored.nextFlush == at(3610))
        #expect(restored.flush(now: at(3610)).notifications.count == 1)
    }

    @Test("what a replay tells of an alert that was never told by its group is owed its end") func toldAgain() throws {
        var groups = AlertGroups(tree)
        _ = groups.take([alert("A")], now: at(0))
        let first = try #require(groups.flush(now: at(10)).notifications.first)
        var others = AlertGroups(tree)
        _ = others.take([alert("A")], now: at(0))
        #expect(others.tellAgain(first).map(\.table) == [AlertGroup.alertsTable])
        #expect(others.tellAgain(first).isEmpty)
        _ = others.take([alert("A", to: 5)], now: at(5))
        #expect(others.flush(now: at(10)).notifications.map(\.reason) == [.allResolved])
    }

    @Test("what is told later is known by its number, also after the clock was set back") func toldSince() throws {
        var groups = AlertGroups(tree)
        _ = groups.take([alert("A")], now: at(0))
        let first = try #require(groups.flush(now: at(10)).notifications.first)
        #expect(groups.groups[first.groupID]?.hasTold(since: first) == false)
        #expect(groups.shiftTimers(by: -3_600_000).map(\.table) == [AlertGroup.groupsTable])
        _ = groups.take([alert("A", to: -3500)], now: at(-3500))
        _ = groups.take([alert("A", ["b": "1"], from: -3500)], now: at(-3500))
        let second = try #require(groups.flush(now: at(-3000)).notifications.first)
        #expect(groups.groups[first.groupID]?.hasTold(since: first) == true)
        #expect(groups.groups[first.groupID]?.hasTold(since: second) == false)
    }
}

/// Random posts, flushes and crashes against the promise: every episode is told as firing once and as over once.
@Suite struct AlertGroupsModelTests {
    @Test("every episode is told, whatever happens between", arguments: 0..<100)
    func everyEpisode(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let tree = try AlertingTests.tree(
            """
            receiver: a
            group_by: [alertname]
            group_wait: 5s
            group_interval: 20s
            repeat_interval: 90s
            routes:
            - matchers: [i=~"1|2"]
              receiver: b
              group_by: ['...']
              continue: true
            - matchers: [alertname!=X]
              receiver: c
            """)
        let receivers: Set<String> = ["a", "b", "c"]
        let store = MemoryStore()
        var groups = AlertGroups(tree)
        var current: [Labels: Alert] = [:]
        var decided: Set<String> = []
        var told: Set<String> = []
        var ids: Set<String> = []
        var open: Set<String> = []
        for second in 0..<600 {
            let now = at(Double(second))
            var posts: [Alert] = []
            for _ in 0..<Int.random(in: 0...2, using: &random) where second < 400 {
                let name = ["X", "Y"].randomElement(using: &random) ?? "X"
                var one = alert(name, ["i": "\(Int.random(in: 1...4, using: &random))"], from: Double(second))
                if posts.contains(where: { $0.labels == one.labels }) { continue }
                if var old = current[one.labels] {
                    if Bool.random(using: &random) {
                        old.endsAt = now
                        current[one.labels] = nil
                    } else {
                        old.value = Double(second)
                    }
                    one = old
                } else {
                    current[one.labels] = one
                }
                posts.append(one)
                for route in tree.matches(one.labels) {
                    let episode = "\(route.receiver) \(one.labels) \(one.startsAt.seconds)"
                    decided.insert(episode)
                    if one.endsAt != nil { decided.insert(episode + " over") }
                }
            }
            if second == 400 {
                posts = current.values.map { alert in
                    var alert = alert
                    alert.endsAt = now
                    return alert
                }
                for one in posts {
                    for route in tree.matches(one.labels) {
                        decided.insert("\(route.receiver) \(one.labels) \(one.startsAt.seconds) over")
                    }
                }
            }
            store.commit(groups.take(posts.shuffled(using: &random), now: now))
            let flush = groups.flush(now: now)
            store.commit(flush.changes)
            for notification in flush.notifications {
                #expect(ids.insert(notification.id).inserted, "an id is used twice")
                for item in notification.items {
                    let episode = "\(notification.receiver) \(item.alert.labels) \(item.alert.startsAt.seconds)"
                    if item.isResolved {
                        #expect(open.remove(episode) != nil, "\(episode) is over but was not firing")
                        told.insert(episode + " over")
                    } else {
                        told.insert(episode)
                        open.insert(episode)
                    }
                }
            }
            if Int.random(in: 0..<50, using: &random) == 0 {
                groups = AlertGroups(tree)
                let restored = groups.restore(from: store, receivers: receivers, now: now)
                #expect(restored.unreadable == 0)
                store.commit(restored.changes)
            }
        }
        #expect(decided.symmetricDifference(told).sorted() == [])
        #expect(open.sorted() == [])
        #expect(groups.alertCount == 0)
        #expect(store.entries(of: AlertGroup.alertsTable).isEmpty && store.entries(of: AlertGroup.groupsTable).isEmpty)
    }
}

/// Alerts that another route takes after a reload.
@Suite struct MovedAlertTests {
    @Test("an alert that a new route takes is told there; here only its end, and no repeat") func moved() throws {
        var groups = AlertGroups(try tree("receiver: a\ngroup_wait: 0s\ngroup_interval: 10s\nrepeat_interval: 60s"))
        func told(_ seconds: ClosedRange<Int>) -> [String] {
            var told: [String] = []
            for second in seconds {
                told += groups.flush(now: at(Double(second))).notifications.map {
                    "\(second) \($0.receiver) \($0.firing.map(\.name).sorted())\($0.resolved.map(\.name).sorted())"
                }
            }
            return told
        }
        _ = groups.take([alert("X"), alert("Y")], now: at(0))
        #expect(told(0...5) == ["0 a [\"X\", \"Y\"][]"])
        let moved = try tree(
            """
            receiver: a
            group_wait: 0s
            group_interval: 10s
            repeat_interval: 60s
            routes:
            - receiver: b
              matchers: [alertname=~"X|Y"]
            """)
        _ = groups.replace(moved, receivers: ["a", "b"], now: at(6))
        #expect(
            told(6...200) == [
                "6 b [\"X\", \"Y\"][]", "66 b [\"X\", \"Y\"][]", "126 b [\"X\", \"Y\"][]", "186 b [\"X\", \"Y\"][]",
            ])
        _ = groups.take([alert("X", to: 201), alert("Y", to: 201)], now: at(201))
        #expect(Set(told(201...230)) == ["206 a [][\"X\", \"Y\"]", "206 b [][\"X\", \"Y\"]"])
        #expect(groups.groups.isEmpty)
    }
}
