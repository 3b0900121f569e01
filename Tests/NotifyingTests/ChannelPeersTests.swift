import Alerting
import Basics
import Foundation
import Model
@testable import Notifying
import Settings
import Templates
import TestSupport
import Testing
import Transport

/// The channels beside Alertmanager's own requests, mails, templates and verdicts on settings.
@Suite struct ChannelPeersTests {
    // MARK: Requests

    private static let offered = ["webhook_configs", "slack_configs", "pagerduty_configs", "email_configs"]

    /// The capture's settings, without the integrations that are not offered: each stands on a line of its own.
    private func captured() throws -> [any Channel]? {
        guard let bytes = try alertmanagerYAML("samples/capture_config.yml") else { return nil }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { line in
            let isOther = line.contains("_configs:") && !ChannelPeersTests.offered.contains { line.contains($0) }
            return !isOther
        }
        let read = try settings(lines.joined(separator: "\n"), style: .alertmanager)
        return try #require(read.receivers["all"]).channels.map(\.channel)
    }

    private func page(isOver: Bool) -> Page {
        let alerts = [("a", "critical", "2s", "x", 30), ("b", "warning", "1s", "y", 29)].map {
            name, severity, limit, graph, second in
            var alert = Alert(
                labels: ["alertname": "HighLatency", "instance": "\(name):80", "job": "api", "severity": severity],
                annotations: [
                    "runbook_url": "https://runbooks.example/HighLatency", "summary": "p99 above \(limit) on \(name)",
                ], startsAt: Timestamp(rfc3339: "2024-01-01T08:15:\(second)Z") ?? .distantPast)
            alert.generatorURL = "http://prom.example:9090/graph?g0.expr=\(graph)"
            if isOver { alert.endsAt = Timestamp(rfc3339: "2024-01-01T08:30:00Z") }
            return Notification.Item(alert, isResolved: isOver)
        }
        let labels: Labels = ["alertname": "HighLatency", "job": "api"]
        var page = Page(
            Notification(
                id: "1", groupID: "g", groupKey: "{}:\(labels.alertmanagerText)", receiver: "all",
                reason: isOver ? .allResolved : .first, groupLabels: labels, items: alerts,
                decidedAt: Timestamp(rfc3339: "2026-11-20T23:42:07Z") ?? .distantPast), key: "k")
        page.externalURL = "http://am.example:9093"
        return page
    }

    @Test(
        "each body is Alertmanager's own, member by member",
        arguments: ["webhook", "webhook_max1", "webhook_payload", "slackhook", "slackhook_full", "pd", "pd_full"],
        [false, true])
    func body(sample: String, isOver: Bool) throws {
        guard let samples = try alertmanagerJSON("samples/notifications.json"), let channels = try captured() else {
            return
        }
        let expected = try #require(samples[sample]?[isOver ? 1 : 0])
        let page = page(isOver: isOver)
        let sent = channels.compactMap { try? $0.request(for: page, reading: noFiles) }
        #expect(sent.count == 7)
        let request = try #require(sent.first { $0.url == "http://receiver.test/\(sample)" })
        #expect(try JSON(parsing: request.body).text == expected["body"]?.text)
        #expect(request.header("Content-Type") == expected["headers"]?["Content-Type"]?.string)
        #expect(request.method == expected["method"]?.string)
    }

    @Test("each mail is Alertmanager's own in envelope, headers and parts", arguments: [0, 1, 2, 3])
    func mail(index: Int) throws {
        guard let bytes = try alertmanagerYAML("samples/mail_\(index).txt"), let channels = try captured() else {
            return
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(
            omittingEmptySubsequences: false, whereSeparator: \.isNewline
        ).map(String.init)
        let isOver = index >= 2
        let channel = channels.filter { $0.kind == "email" }[index % 2 == 0 ? 1 : 0]
        guard case .mail(let mail) = try channel.plan(for: page(isOver: isOver), reading: noFiles).steps[0].request
        else {
            Issue.record("no mail")
            return
        }
        let dialogue = lines.prefix { $0.hasPrefix("C: ") }
        #expect(dialogue.first == "C: EHLO \(mail.hello)")
        #expect(dialogue.contains { $0.hasPrefix("C: MAIL FROM:<\(mail.sender)>") })
        #expect(dialogue.filter { $0.contains("RCPT") } == mail.recipients.map { "C: RCPT TO:<\($0)>" })
        let message = lines.dropFirst(dialogue.count).prefix { $0 != "." }.joined(separator: "\r\n")
        let (ours, theirs) = (Parsed(String(decoding: mail.message, as: UTF8.self)), Parsed(message))
        for name in ["Subject", "To", "From", "X-Team", "References", "In-Reply-To", "MIME-Version"] {
            #expect(ours.headers[name]?.trimmed == theirs.headers[name]?.trimmed, "\(name)")
        }
        #expect(Set(theirs.headers.keys).isSubset(of: ours.headers.keys))
        #expect(Set(ours.headers.keys).subtracting(theirs.headers.keys) == ["Auto-Submitted"])
        #expect(ours.parts.map(\.headers) == theirs.parts.map(\.headers))
        #expect(ours.parts.count == (index % 2 == 0 ? 1 : 2))
        if ours.parts.count == 2 { #expect(ours.parts[0].body == theirs.parts[0].body) }
        #expect(mail.security == .plain && mail.host == "mail.test" && mail.port == 25)
    }

    /// A message taken apart.
    private struct Parsed {
        var headers: [String: String] = [:]
        var parts: [(headers: [String: String], body: String)] = []

        init(_ text: String) {
            let (head, body) = Parsed.split(text)
            headers = head
            let boundary = head["Content-Type"]?.split(separator: "boundary=").last.map(String.init) ?? "?"
            for part in body.components(separatedBy: "--\(boundary)").dropFirst() where !part.hasPrefix("--") {
                let (headers, body) = Parsed.split(String(part.dropFirst()))
                parts.append((headers, body.hasSuffix("\r\n") ? String(body.dropLast(1)) : body))
            }
        }

        private static func split(_ text: String) -> ([String: String], String) {
            let pieces = text.components(separatedBy: "\r\n\r\n")
            var headers: [String: String] = [:]
            for line in pieces[0].components(separatedBy: "\r\n") {
                guard let colon = line.firstIndex(of: ":") else { continue }
                headers[String(line[..<colon])] = line[line.index(after: colon)...].trimmed
            }
            return (headers, pieces.dropFirst().joined(separator: "\r\n\r\n"))
        }
    }

    // MARK: Templates

    @Test(
        "the built-in templates give what Alertmanager's give",
        arguments: [
            "all_resolved", "empty_group_labels", "markup_and_utf8", "one_firing", "two_firing_one_resolved",
        ])
    func golden(name: String) throws {
        guard let golden = try alertmanagerJSON("template/golden/\(name).json"),
            let data = try alertmanagerJSON("template/data/\(name).json")
        else { return }
        var passed = 0
        let families = ["__subject", "__description", "__alertmanager", "slack.", "pagerduty.", "email."]
        for member in golden.members ?? [] where families.contains(where: { member.name.hasPrefix($0) }) {
            let template = try PageTemplate(
                "{{ template \"\(member.name)\" . }}", isHTML: member.name == "email.default.html")
            let output = try? template.template.render(.object(notificationData(data)))
            if member.name == "email.default.html" {
                // The page is our own; it tells the same.
                #expect(output?.contains("</html>") == true)
                for alert in data["alerts"]?.array ?? [] {
                    for value in (alert["labels"]?.strings ?? [:]).values.filter({ $0.utf8.allSatisfy(\.isASCIIWord) })
                    {
                        #expect(output?.contains(value) == true)
                    }
                }
            } else {
                #expect(output == member.value.string, "\(member.name)")
            }
            passed += 1
        }
        // Every name of the four families.
        #expect(passed == 21)
    }

    @Test("a rendered structure is reread as Alertmanager rereads it") func deepRender() throws {
        guard let bytes = try alertmanagerYAML("template_cases.yaml") else { return }
        let cases = try SettingsDocument(bytes, file: "template_cases.yaml").map().takeMaps("deep_render")
        #expect(cases.count == 9)
        for test in cases {
            let about: String = try test.require("about")
            let suffix = try test.take("suffix_every_string_with", default: "")
            let text = try test.take("input_yaml", as: String.self)
            let input = try text.map { try SettingsDocument($0, file: "").root } ?? test.takeNode("input")
            guard let input, let want = test.takeNode("want") else {
                #expect(about == "null stays")
                continue
            }
            let tree = try TemplateTree(input, key: "payload", library: .builtIn)
            let result = tree.render { $0.text + suffix }
            #expect(result == json(want), "\(about)")
        }
    }

    private func json(_ node: SettingsNode) -> JSON {
        switch node.shape {
        case .null: .null
        case .bool(let value): .bool(value)
        case .number(let value): .number(value)
        case .text(let text): .string(text)
        case .list(let items): .array(items.map(json))
        case .map(let pairs):
            .object(
                pairs.map { JSON.Member((try? $0.key.text()) ?? "", json($0.value)) }.sorted { $0.name < $1.name })
        }
    }

    // MARK: Settings

    /// Whether a text asks for nothing but what is offered.
    private func isOurs(_ text: String) -> Bool {
        let kinds = ChannelKind.foreign
        return !kinds.contains { text.contains("\($0)_") }
    }

    private func verdict(_ text: String, file: String) -> SettingsError? {
        do {
            let root = try SettingsDocument(text, file: file).map()
            _ = try NotifyingSettings(from: root, style: .alertmanager)
            try root.takeMap("global")?.finish()
            return nil
        } catch {
            return error
        }
    }

    @Test("whole files are taken and refused as Alertmanager does") func files() throws {
        guard let bytes = try alertmanagerYAML("config_cases.yaml") else { return }
        var counts = [0, 0, 0]
        for test in try SettingsDocument(bytes, file: "config_cases.yaml").map().takeMaps("files") {
            let file: String = try test.require("file")
            let text = String(decoding: try #require(try alertmanagerYAML(file)), as: UTF8.self)
            let error = verdict(text, file: file)
            guard isOurs(text) else {
                counts[2] += 1
                #expect(error != nil, "\(file) asks for what is not offered")
                continue
            }
            let accepts = try test.require("verdict") == "accept"
            #expect((error == nil) == accepts, "\(file): \(error?.description ?? "taken")")
            if let theirs = try test.take("error", as: String.self), let error {
                #expect(error.description.contains(theirs), "\(file): \(error) \(theirs)")
            }
            counts[accepts ? 0 : 1] += 1
        }
        print("config_cases.yaml: \(counts[0]) files taken, \(counts[1]) refused, \(counts[2]) not ours")
        #expect(counts[0] >= 10 && counts[1] >= 8)
    }

    @Test("single integrations are taken and refused as Alertmanager does") func integrations() throws {
        guard let bytes = try alertmanagerYAML("config_cases.yaml") else { return }
        let root = try SettingsDocument(bytes, file: "config_cases.yaml").map()
        var count = 0
        for test in try root.takeMaps("integrations") {
            let kind: String = try test.require("kind")
            guard ["webhook", "slack", "pagerduty", "email"].contains(kind) else { continue }
            let text: String = try test.require("yaml")
            let needsURL = kind == "slack" && !text.contains("api_url") && !text.contains("app_token")
            let lines = (text + (needsURL ? "\napi_url: http://example.com/" : "")).split(separator: "\n")
            let config = """
                global: {smtp_smarthost: 'localhost:25', smtp_from: a@example.org}
                route: {receiver: a}
                receivers:
                - name: a
                  \(kind)_configs:
                  -
                \(lines.map { "    \($0)" }.joined(separator: "\n"))
                """
            let error = verdict(config, file: "am.yml")
            let accepts = try test.take("accept", default: false)
            #expect((error == nil) == accepts, "\(text): \(error?.description ?? "taken")")
            if let theirs = try test.take("error", as: String.self), let error {
                #expect(error.description.contains(theirs), "\(error) \(theirs)")
            }
            count += 1
        }
        for test in try root.takeMaps("null_integration") {
            let key: String = try test.require("key")
            #expect(verdict("route: {receiver: a}\nreceivers: [{name: a, \(key): [null]}]", file: "am.yml") != nil)
        }
        for test in try root.takeMaps("host_port") {
            let text: String = try test.require("yaml")
            let error = verdict(
                "global: {smtp_smarthost: \(text)}\nroute: {receiver: a}\nreceivers: [{name: a}]", file: "")
            #expect((error != nil) == (try test.take("error", default: false)), "\(text)")
        }
        for test in try root.takeMaps("secret_template_url") {
            let url: String = try test.require("value")
            // What a masked configuration holds, or nothing, can never be sent to: refused here, unlike there.
            guard !["", "<secret>"].contains(url) else { continue }
            let error = verdict(
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: '\(url)'}]}]", file: "")
            #expect((error == nil) == (try test.take("ok", default: false)), "\(url)")
            if let theirs = try test.take("error_contains", as: String.self) {
                #expect(error?.description.contains(theirs) == true, "\(url) \(theirs)")
            }
        }
        print("config_cases.yaml: \(count) single integrations")
        #expect(count >= 32)
    }
}

private func strings(_ json: JSON?) -> [String: String] { json?.strings ?? [:] }

/// What templates see of a captured notification.
private func notificationData(_ json: JSON) -> NotificationData {
    func moment(_ json: JSON?) -> Timestamp { json?.string.flatMap { Timestamp(rfc3339: $0) } ?? .goZero }
    let items = (json["alerts"]?.array ?? []).map { alert in
        NotificationData.Item(
            status: alert["status"]?.string ?? "", labels: strings(alert["labels"]),
            annotations: strings(alert["annotations"]), startsAt: moment(alert["startsAt"]),
            endsAt: moment(alert["endsAt"]), generatorURL: alert["generatorURL"]?.string ?? "",
            fingerprint: alert["fingerprint"]?.string ?? "")
    }
    return NotificationData(
        receiver: json["receiver"]?.string ?? "", alerts: items, groupLabels: strings(json["groupLabels"]),
        externalURL: json["externalURL"]?.string ?? "")
}
