import Alerting
import Basics
import Model
import Settings
import Testing

/// Must a notification go out now? Alertmanager's cases, whose log is here what the group has told.
@Suite struct DedupTests {
    @Test("Alertmanager's cases: what was told decides what is news") func peers() throws {
        guard let data = try alertmanagerData("pipeline_cases.yaml") else { return }
        var passed = 0
        for test in try data.takeMaps("dedup") {
            let `repeat` = try test.take("repeat", as: String.self).flatMap(DurationText.parse) ?? 3_600_000
            var groups = AlertGroups(
                try alerting(
                    """
                    flapping: {episodes: 0}
                    route: {receiver: page, group_wait: 0s, group_interval: 1s, repeat_interval: \(max(1, `repeat`))ms}
                    """, receivers: ["page"]))
            let now = at(10_000_000)
            func alerts(_ numbers: [Int], over: Bool) -> [Alert] {
                numbers.map { alert("A", ["n": "\($0)"], from: 1000, to: over ? now.seconds : nil) }
            }
            let log = try test.takeMap("log")
            if let log {
                let text = try log.take("age", default: "1m")
                let age = DurationText.parse(text) ?? 9_000_000_000
                _ = groups.take(alerts(try log.take("firing", default: []), over: false), now: now - age)
                _ = groups.flush(now: now - age)
            }
            let (firing, resolved): ([Int], [Int]) = (
                try test.take("firing", default: []), try test.take("resolved", default: [])
            )
            // What was told and is in neither list left the group before; here it cannot, untold, so it goes on.
            _ = groups.take(alerts(firing, over: false) + alerts(resolved, over: true), now: now)
            let told = groups.flush(now: now).notifications
            let sendsResolved = try test.take("send_resolved", default: true)
            let isSent = told.contains { sendsResolved || $0.reason != .someResolved }
            #expect(isSent == (try test.require("send") as Bool), "\(firing) \(resolved) \(log == nil)")
            passed += 1
        }
        print("pipeline_cases.yaml: \(passed) cases of dedup")
        #expect(passed == 11)
    }
}
