import Alerting
import Basics
import Model
@testable import Notifying
import Settings
import Testing
import Transport

@Suite struct PayloadTests {
    private var alerts: [Alert] {
        [("a", "critical", "2s", "x", 30), ("b", "warning", "1s", "y", 29)].map {
            name, severity, limit, graph, second in
            var alert = Alert(
                labels: ["alertname": "HighLatency", "instance": "\(name):80", "job": "api", "severity": severity],
                annotations: [
                    "runbook_url": "https://runbooks.example/HighLatency", "summary": "p99 above \(limit) on \(name)",
                ], startsAt: Timestamp(rfc3339: "2024-01-01T08:15:\(second)Z") ?? .distantPast)
            alert.generatorURL = "http://prom.example:9090/graph?g0.expr=\(graph)"
            return alert
        }
    }

    private func page(isOver: Bool) -> Page {
        let items = alerts.map { alert in
            var alert = alert
            if isOver { alert.endsAt = Timestamp(rfc3339: "2024-01-01T08:30:00Z") }
            return Notification.Item(alert, isResolved: isOver)
        }
        let labels: Labels = ["alertname": "HighLatency", "job": "api"]
        var page = Page(
            Notification(
                id: "1", groupID: "g", groupKey: "{}:\(labels.alertmanagerText)", receiver: "all",
                reason: isOver ? .allResolved : .first, groupLabels: labels, items: items, decidedAt: at(0)), key: "k")
        page.externalURL = "http://am.example:9093"
        return page
    }

    @Test(
        "a webhook's body is Alertmanager's own, member by member", arguments: ["webhook", "webhook_max1"],
        [false, true])
    func webhook(sample: String, isOver: Bool) throws {
        guard let samples = try alertmanagerJSON("samples/notifications.json") else { return }
        let expected = try #require(samples[sample]?[isOver ? 1 : 0]?["body"])
        var channel = WebhookChannel(url: Secret("http://receiver.test"))
        channel.maximumAlerts = sample == "webhook" ? 0 : 1
        channel.texts.style = .alertmanager
        let sent = try channel.request(for: page(isOver: isOver), reading: noFiles)
        #expect(sent.body == expected.serialized(), "\(expected.text)")
    }

    @Test("a PagerDuty event has Alertmanager's key and details", arguments: [false, true])
    func pagerDuty(isOver: Bool) throws {
        guard let samples = try alertmanagerJSON("samples/notifications.json") else { return }
        let expected = try #require(samples["pd"]?[isOver ? 1 : 0]?["body"])
        let channel = PagerDutyChannel(routingKey: Secret("RK"))
        let sent = try #require(try channel.request(for: page(isOver: isOver), reading: noFiles).json)
        for name in ["routing_key", "dedup_key", "event_action"] { #expect(sent[name] == expected[name], "\(name)") }
        for name in ["num_firing", "num_resolved"] {
            #expect(
                sent["payload"]?["custom_details"]?[name] == expected["payload"]?["custom_details"]?[name], "\(name)")
        }
        for name in ["firing", "resolved"] {
            func sets(_ json: JSON) -> Set<Set<JSON.Member>> {
                Set(
                    (json["payload"]?["custom_details"]?[name]?.array ?? []).map {
                        Set(
                            ($0.members ?? []).map { member in
                                JSON.Member(member.name, member.value.strings.map { JSON($0) } ?? member.value)
                            })
                    })
            }
            #expect(sets(sent) == sets(expected))
        }
        #expect(sent["payload"]?["severity"]?.string == "critical")
        #expect(
            sent["payload"]?["summary"]?.string
                == (isOver ? "[RESOLVED] HighLatency api" : "[FIRING:2] HighLatency api"))
        #expect(sent["links"]?[0] == ["href": "https://runbooks.example/HighLatency", "text": "Runbook HighLatency"])
        #expect(sent["payload"]?["timestamp"]?.string == "2024-01-01T08:15:29.000Z")
    }

    @Test(
        "PagerDuty's severities",
        arguments: [
            ("critical", "critical"), ("high", "error"), ("warning", "warning"), ("info", "info"), ("", "warning"),
        ])
    func severities(label: String, expected: String) throws {
        let page = Page(notification([alert("A", ["severity": label])]), key: "k")
        let sent = try PagerDutyChannel(routingKey: Secret("RK")).request(for: page, reading: noFiles).json
        #expect(sent?["payload"]?["severity"]?.string == expected)
    }

    @Test("a Slack message tells what, how bad, the value, since when, labels and links") func slack() throws {
        var one = alert(
            "HighLatency", ["severity": "critical", "job": "api"],
            annotations: ["summary": "p99 <2 s> & more", "runbook_url": "https://r.example/x"], value: 2.5,
            from: 1_700_000_000)
        one.generatorURL = "https://v.example/graph?a=1&b=2"
        var page = Page(notification([one], labels: ["alertname": "HighLatency"]), key: "k")
        (page.externalURL, page.isPossiblyRepeated, page.attempt) = ("https://v.example", true, 2)
        let sent = try SlackChannel(apiURL: Secret("https://h.example")).request(for: page, reading: noFiles).json
        let attachment = try #require(sent?["attachments"]?[0])
        #expect(attachment["color"]?.string == "#a30200")
        #expect(attachment["blocks"]?[0]?["text"]?["text"]?.string == "[FIRING:1] HighLatency: p99 <2 s> & more")
        #expect(
            attachment["blocks"]?[1]?["text"]?["text"]?.string == """
                *p99 &lt;2 s&gt; &amp; more*
                critical · value 2.5 · since \
                <!date^1700000000^{date_short_pretty} {time_secs}|2023-11-14T22:13:20.000Z>
                `alertname=HighLatency, job=api, severity=critical`
                <https://r.example/x|Runbook> · <https://v.example/graph?a=1&amp;b=2|Graph>
                """)
        #expect(
            attachment["blocks"]?[2]?["elements"]?[0]?["text"]?.string
                == "<https://v.example|Vedette> · try 2: an earlier one may have arrived")
    }

    @Test("a Slack message is green when all is over") func slackOver() throws {
        var channel = SlackChannel(apiURL: Secret("https://h.example"))
        channel.sendsResolved = true
        let page = Page(notification([alert("A", to: 5)], reason: .allResolved), key: "k")
        #expect(try channel.request(for: page, reading: noFiles).json?["attachments"]?[0]?["color"]?.string == "good")
    }

    @Test("texts are cut as Alertmanager cuts them") func cut() throws {
        guard let bytes = try alertmanagerYAML("pipeline_cases.yaml") else { return }
        let cases = try SettingsDocument(bytes, file: "pipeline_cases.yaml").map().takeMaps("truncate")
        #expect(cases.count == 9)
        for test in cases {
            let (text, limit): (String, Int) = (try test.require("in"), try test.require("n"))
            #expect(truncated(text, to: limit) == (try test.require("scalars")), "\(text)")
        }
    }
}
