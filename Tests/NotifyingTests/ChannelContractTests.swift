import Alerting
import Basics
import Model
import Notifying
import Settings
import Testing
import Transport

/// What every channel must keep. A new channel joins by a line in `all`.
struct ContractChannel: Sendable, CustomTestStringConvertible {
    var channel: any Channel
    /// An answer of the real service that means success.
    var success: ChannelAnswer
    /// What must never be shown.
    var secret: String
    /// The key by which the receiver joins trigger and resolve, if it does.
    var joiningKey: @Sendable (ChannelRequest) -> String?
    /// The header that is the same for each try.
    var tryHeader = "Idempotency-Key"
    /// Places of texts and the greatest length of each.
    var limits: [(path: String, limit: Int)]
    var testDescription: String { channel.kind }

    static let all: [ContractChannel] = {
        let secret = "https://hooks.example/services/T0/B0/xoxb-hunter2"
        var webhook = WebhookChannel(url: Secret(secret))
        webhook.client.http.basic = .init(username: "me", password: Secret("p4ssw0rd-hunter2"))
        var slack = SlackChannel(apiURL: Secret(secret))
        slack.sendsResolved = true
        let mail = try? settings(
            """
            route: {receiver: a}
            receivers:
            - name: a
              email_configs:
              - {to: "a@example.org, b@example.org", from: v@example.org, smarthost: "mail.example:587",
                 auth_username: me, auth_password: xoxb-hunter2, send_resolved: true, threading: {enabled: true}}
            """
        ).receivers["a"]?.channels.first?.channel
        return [
            ContractChannel(
                channel: webhook, success: .http(HTTPResponse(status: 204)), secret: "hunter2",
                joiningKey: { $0.json?["groupKey"]?.string }, limits: []),
            ContractChannel(
                channel: slack, success: .http(HTTPResponse(status: 200, body: Array("ok".utf8))), secret: "hunter2",
                joiningKey: { _ in "none" },
                limits: [
                    ("attachments.*.blocks.*.text.text", 3000), ("attachments.*.blocks.0.text.text", 150),
                    ("attachments.*.blocks.*.elements.*.text", 2000),
                ]),
            ContractChannel(
                channel: PagerDutyChannel(routingKey: Secret("R0UT1NG-hunter2")),
                success: .http(HTTPResponse(status: 202, body: Array(#"{"status":"success"}"#.utf8))),
                secret: "hunter2", joiningKey: { $0.json?["dedup_key"]?.string },
                limits: [("payload.summary", 1024), ("dedup_key", 255)]),
            ContractChannel(
                channel: mail ?? webhook, success: .mail(MailReceipt(command: "DATA", answer: MailAnswer(250, "ok"))),
                secret: "hunter2", joiningKey: { $0.header("References") }, tryHeader: "Message-Id", limits: []),
        ]
    }()
}

@Suite struct ChannelContractTests {
    private func request(_ contract: ContractChannel, _ notification: Notification, attempt: Int = 1) throws
        -> ChannelRequest
    {
        var page = Page(notification, key: "\(notification.id)/x")
        (page.attempt, page.isPossiblyRepeated) = (attempt, attempt > 1)
        page.externalURL = "https://vedette.example"
        return try contract.channel.plan(for: page, reading: noFiles).steps[0].request
    }

    @Test("every kind of channel stands in the contract") func complete() {
        #expect(ContractChannel.all.map(\.channel.kind) == ["webhook", "slack", "pagerduty", "email"])
    }

    @Test("a resolve carries the key of its trigger", arguments: ContractChannel.all)
    func sameKey(contract: ContractChannel) throws {
        let firing = try request(contract, notification([alert("A")]))
        let over = try request(contract, notification([alert("A", to: 5)], id: "n2", reason: .allResolved))
        #expect(contract.joiningKey(firing) != nil)
        #expect(contract.joiningKey(firing) == contract.joiningKey(over))
        #expect(firing != over)
    }

    @Test("the key of idempotency is the same for each try and differs between pages", arguments: ContractChannel.all)
    func idempotency(contract: ContractChannel) throws {
        let first = try request(contract, notification([alert("A")]))
        let again = try request(contract, notification([alert("A")]), attempt: 3)
        let other = try request(contract, notification([alert("A")], id: "n2"))
        #expect(first.header(contract.tryHeader) != nil)
        #expect(first.header(contract.tryHeader) == again.header(contract.tryHeader))
        #expect(first.header(contract.tryHeader) != other.header(contract.tryHeader))
        #expect(first != again, "a page that may be repeated says so")
    }

    @Test("texts keep to the limits, whatever the alerts hold", arguments: ContractChannel.all)
    func limits(contract: ContractChannel) throws {
        let nasty = String(repeating: "é<&>\"'`*_~|\u{1F525}\u{0}\n{{ }}", count: 300)
        let url = "https://x.example/?" + String(repeating: "&a=|>", count: 60)
        let alerts = (0..<100).map { index in
            var one = alert(
                nasty, ["i": "\(index)", "severity": nasty],
                annotations: ["summary": nasty, "description": nasty + "x", "runbook_url": url], value: .infinity,
                from: Double(index), to: index % 2 == 0 ? nil : 1000)
            one.generatorURL = url
            return one
        }
        let request = try request(contract, notification(alerts, labels: ["alertname": nasty]))
        if case .mail(let mail) = request {
            let lines = String(decoding: mail.message, as: UTF8.self).split(separator: "\r\n")
            #expect(lines.allSatisfy { $0.utf8.count <= 78 && $0.utf8.allSatisfy { (0x20..<0x7F).contains($0) } })
            return
        }
        let json = try #require(request.json)
        for (path, limit) in contract.limits {
            let texts = find(path.split(separator: ".").map(String.init)[...], in: json)
            #expect(!texts.isEmpty, "\(path) is not there")
            for text in texts { #expect(text.unicodeScalars.count <= limit, "\(path)") }
            #expect(path == "dedup_key" || path.hasSuffix("elements.*.text") || texts.contains { $0.contains("…") })
        }
        if contract.channel.kind == "pagerduty" { #expect(json.serialized().count <= 512_000) }
        if contract.channel.kind == "slack" {
            #expect(find(["attachments", "*", "blocks", "*", "type"], in: json).count <= 50)
            #expect(find(["attachments", "*", "blocks", "*", "text", "text"], in: json).joined().count < 13_000)
        }
    }

    @Test("no description, error or verdict shows a secret", arguments: ContractChannel.all)
    func noSecrets(contract: ContractChannel) throws {
        var dumped = ""
        dump(contract.channel, to: &dumped)
        for text in ["\(contract.channel)", String(reflecting: contract.channel), dumped] {
            #expect(!text.contains(contract.secret))
        }
        let secrets = contract.channel.secrets(reading: noFiles)
        #expect(secrets.contains { $0.contains(contract.secret) })
        let sent = try request(contract, notification([alert("A")]))
        #expect(secrets.contains { sent.shown.contains($0) }, "the secret is used")
        #expect(!contract.channel.destination.contains(contract.secret))
    }

    @Test("answers are judged", arguments: ContractChannel.all)
    func verdicts(contract: ContractChannel) throws {
        let page = Page(notification([alert("A")]), key: "k")
        func verdict(_ answer: ChannelAnswer) throws -> Verdict {
            try contract.channel.judgement(on: answer, to: 0, of: page).0
        }
        /// An answer by its code: the same number of mail has another meaning.
        func answer(_ code: Int) -> ChannelAnswer {
            guard case .mail = contract.success else { return .http(HTTPResponse(status: code)) }
            return .mail(MailReceipt(command: "DATA", answer: MailAnswer(code, "no")))
        }
        let isMail = contract.channel.kind == "email"
        #expect(try verdict(contract.success) == .accepted)
        for code in isMail ? [421, 450, 451, 452] : [408, 425, 429, 500, 502, 503, 504] {
            guard case .retry = try verdict(answer(code)) else {
                Issue.record("\(code) must be tried again")
                continue
            }
        }
        for code in isMail ? [500, 535, 550, 552, 554] : [301, 400, 401, 403, 404, 410, 413, 422] {
            guard case .refused = try verdict(answer(code)) else {
                Issue.record("\(code) must not be tried again")
                continue
            }
        }
        guard !isMail, contract.channel.kind != "webhook" else { return }
        let login = HTTPResponse(status: 200, body: Array("<html>Please log in\n\u{1}</html>".utf8))
        guard case .retry(.badAnswer, _, let text) = try verdict(.http(login)) else {
            Issue.record("a proxy's page is no receipt")
            return
        }
        #expect(text.hasSuffix("<html>Please log in  </html>"))
    }

    private func find(_ path: ArraySlice<String>, in json: JSON) -> [String] {
        guard let step = path.first else { return json.string.map { [$0] } ?? [] }
        let rest = path.dropFirst()
        if step == "*" { return (json.array ?? []).flatMap { find(rest, in: $0) } }
        if let index = Int(step) { return json[index].map { find(rest, in: $0) } ?? [] }
        return json[step].map { find(rest, in: $0) } ?? []
    }
}
