import Alerting
import Basics
import Model
import Notifying
import Settings
import Testing

@testable import Replay

@Suite struct AlertReplayTests {
    private func settings(_ text: String) throws -> NotifyingSettings {
        try NotifyingSettings(from: SettingsDocument(text, file: "v.yaml").map())
    }

    private func at(_ seconds: Double) -> Timestamp { Timestamp(seconds: seconds) }

    private func alert(_ name: String, _ severity: String, from start: Double, to end: Double?) -> Alert {
        Alert(labels: ["alertname": name, "severity": severity], startsAt: at(start), endsAt: end.map(at))
    }

    private let receivers = """
        receivers:
        - {name: chat, webhook_configs: [{url: "http://chat/"}]}
        - {name: call, pagerduty_configs: [{routing_key: k}]}
        """

    @Test("recorded alerts through two configurations: which pages go, which come") func difference() throws {
        let old = try settings("route: {receiver: chat, group_wait: 10s, group_interval: 1m}\n\(receivers)")
        let new = try settings(
            """
            route:
              receiver: chat
              group_wait: 10s
              group_interval: 1m
              routes: [{receiver: call, matchers: [severity=critical]}]
            \(receivers)
            """)
        let alerts = [alert("A", "critical", from: 0, to: 100), alert("B", "info", from: 500, to: nil)]
        let before = AlertReplay.play(alerts, through: old, until: at(1000))
        let after = AlertReplay.play(alerts, through: new, until: at(1000))
        func text(_ pages: [AlertReplay.Told]) -> [String] {
            pages.map { "\(Int($0.time.seconds)) \($0.channel) \($0.firing)/\($0.resolved)" }
        }
        #expect(text(before) == ["10 chat/webhook/0 1/0", "130 chat/webhook/0 0/1", "510 chat/webhook/0 1/0"])
        let (gone, added) = AlertReplay.difference(before, after)
        #expect(text(gone) == ["10 chat/webhook/0 1/0", "130 chat/webhook/0 0/1"])
        #expect(text(added) == ["10 call/pagerduty/0 1/0", "130 call/pagerduty/0 0/1"])
        #expect(AlertReplay.difference(before, before).gone.isEmpty)
    }

    @Test("silences hold when they held") func silences() throws {
        let settings = try settings("route: {receiver: chat, group_wait: 10s, group_interval: 1m}\n\(receivers)")
        let silence = try Silence(
            id: "s", matchers: [Matcher("alertname", equals: "A")], startsAt: at(0), endsAt: at(200), createdBy: "me",
            comment: "", zones: { _ in nil })
        let told = AlertReplay.play(
            [alert("A", "info", from: 0, to: nil)], through: settings, silences: [silence], until: at(1000))
        #expect(told.map(\.time) == [at(250)])
    }
}
