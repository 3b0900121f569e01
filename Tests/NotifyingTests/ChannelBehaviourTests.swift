import Alerting
import Basics
import Model
@testable import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// What the channels do beyond the contract: threads, failed templates, first steps, tokens.
@Suite struct ChannelBehaviourTests {
    private func channels(
        _ receiver: String, style: PageStyle = .evidence, top: String = "", files: SettingsFiles = .none
    ) throws -> [any Channel] {
        let text = "\(top)\nroute: {receiver: a}\nreceivers:\n- name: a\n"
        let read = try settings(
            text + receiver.split(separator: "\n").map { "  \($0)\n" }.joined(), style: style, files: files)
        return try #require(read.receivers["a"]).channels.map(\.channel)
    }

    private func json(_ step: ChannelStep) -> JSON? { step.request.json }
    private func ok(_ text: String) -> ChannelAnswer { .http(HTTPResponse(status: 200, body: Array(text.utf8))) }

    // MARK: Slack

    private let botText = """
        slack_configs:
        - {app_token: xoxb-hunter2, channel: "#ops", send_resolved: true, update_message: true}
        """

    @Test("a bot posts, updates its message in place, and tells the end in the thread") func thread() throws {
        let channel = try #require(try channels(botText).first)
        let page = Page(notification([alert("A")]), key: "k")
        let first = try channel.plan(for: page, reading: noFiles)
        #expect(first.steps.map(\.name) == ["post"])
        #expect(json(first.steps[0])?["channel"]?.string == "#ops")
        #expect(first.steps[0].request.header("Authorization") == "Bearer xoxb-hunter2")
        #expect(first.steps[0].request.shown.hasPrefix("https://slack.com/api/chat.postMessage"))
        let answer = ok(#"{"ok":true,"channel":"C1","ts":"1.2"}"#)
        let (verdict, receipt) = channel.verdict(on: answer, to: first.steps[0], of: page)
        #expect(verdict == .accepted && receipt.thread == ["channel": "C1", "ts": "1.2"])

        var later = Page(notification([alert("A"), alert("B")], id: "n2", reason: .newAlerts), key: "k2")
        later.thread = ["channel": "C1", "ts": "1.2"]
        let second = try channel.plan(for: later, reading: noFiles)
        #expect(second.steps.map(\.name) == ["update"])
        #expect(second.steps[0].request.shown.hasPrefix("https://slack.com/api/chat.update"))
        #expect(json(second.steps[0])?["channel"]?.string == "C1" && json(second.steps[0])?["ts"]?.string == "1.2")

        var over = Page(notification([alert("A", to: 5)], id: "n3", reason: .allResolved), key: "k3")
        over.thread = later.thread
        let last = try channel.plan(for: over, reading: noFiles)
        #expect(last.steps.map(\.name) == ["update", "thread"])
        #expect(json(last.steps[1])?["thread_ts"]?.string == "1.2")
        #expect(channel.verdict(on: answer, to: last.steps[1], of: over).1.thread == [:])
    }

    @Test(
        "what Slack says with 200 is judged by its words",
        arguments: [
            ("ratelimited", "retry rateLimited"), ("internal_error", "retry serverError"),
            ("service_unavailable", "retry serverError"), ("token_revoked", "refused authError"),
            ("invalid_auth", "refused authError"), ("account_inactive", "refused authError"),
            ("channel_not_found", "refused clientError"), ("msg_blocks_too_long", "refused clientError"),
        ])
    func words(problem: String, expected: String) throws {
        let channel = try #require(try channels(botText).first)
        let verdict = try channel.verdict(
            on: HTTPResponse(status: 200, body: Array(#"{"ok":false,"error":"\#(problem)"}"#.utf8)))
        switch verdict {
        case .retry(let reason, _, let text): #expect("retry \(reason)" == expected && text.contains(problem))
        case .refused(let reason, let text): #expect("refused \(reason)" == expected && text.contains(problem))
        case .accepted: Issue.record("\(problem) is no receipt")
        }
    }

    @Test("a message that is gone is posted anew") func gone() throws {
        let channel = try #require(try channels(botText).first)
        var page = Page(notification([alert("A")]), key: "k")
        page.thread = ["channel": "C1", "ts": "1.2"]
        let (verdict, receipt) = try channel.judgement(
            on: ok(#"{"ok":false,"error":"message_not_found"}"#), to: 0, of: page)
        guard case .retry(.badAnswer, 0, _) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        page.thread = try #require(receipt.thread)
        #expect(try channel.plan(for: page, reading: noFiles).steps.map(\.name) == ["post"])
    }

    @Test("templates of the receiver count in the style of evidence; the rest is the evidence") func mixed() throws {
        let channel = try #require(
            try channels("slack_configs: [{api_url: 'http://s/', title: 'own {{ .Status }}'}]").first)
        let one = alert("A", ["severity": "critical"], annotations: ["summary": "it burns"], value: 7)
        let sent = try channel.request(for: Page(notification([one]), key: "k"), reading: noFiles).json
        let attachment = sent?["attachments"]?[0]
        #expect(attachment?["title"]?.string == "own firing" && attachment?["blocks"] == nil)
        #expect(attachment?["text"]?.string?.contains("it burns") == true)
        #expect(attachment?["text"]?.string?.contains("value 7") == true)
        #expect(attachment?["color"]?.string == "#a30200")
    }

    // MARK: Templates

    @Test("a template that fails does not hold the page back: it goes out in our words, and says what failed")
    func failures() throws {
        let bad = "{{ .Alerts.Nothing.More | toUpper }}"
        let receiver = """
            webhook_configs: [{url: "http://w/", payload: {a: "\(bad)"}}]
            slack_configs: [{api_url: "http://s/", title: "\(bad)", text: fine}]
            pagerduty_configs: [{routing_key: R, description: "\(bad)"}]
            email_configs: [{to: a@b.c, from: v@b.c, smarthost: "m:25", html: "\(bad)"}]
            """
        for style in [PageStyle.alertmanager, .evidence] {
            for channel in try channels(receiver, style: style) {
                let page = Page(notification([alert("Burns", annotations: ["summary": "it burns"])]), key: "k")
                let plan = try channel.plan(for: page, reading: noFiles)
                #expect(plan.notes.count == 1, "\(channel.kind)")
                #expect(plan.notes.first?.hasPrefix("the template of ") == true)
                let shown = plan.steps[0].request.shown.replacing("=\r\n", with: "")
                #expect(shown.contains("Burns"), "\(channel.kind)")
                if channel.kind != "webhook" || style == .evidence {
                    #expect(shown.contains("the template of"), "\(channel.kind) \(style)")
                }
            }
        }
    }

    @Test("a page whose address cannot be rendered is refused, without the address") func address() throws {
        let channel = try #require(
            try channels("webhook_configs: [{url: 'http://h/{{ slice .Status 99 }}hunter2'}]").first)
        let error = #expect(throws: ChannelError.self) {
            try channel.plan(for: Page(notification([alert("A")]), key: "k"), reading: noFiles)
        }
        #expect(error?.reason == .template && error?.description.contains("hunter2") == false)
    }

    @Test("an address may be a template, in the settings or in a file") func templatedAddress() throws {
        let read = try channels("webhook_configs: [{url: 'http://h/{{ .CommonLabels.team }}'}, {url_file: /u}]")
        let page = Page(notification([alert("A", ["team": "x"])]), key: "k")
        #expect(try read[0].request(for: page, reading: noFiles).url == "http://h/x")
        #expect(
            try read[1].request(for: page) { _ in Array("http://f/{{ .Status }}\n".utf8) }.url == "http://f/firing")
    }

    @Test("files of templates are read after the built-in ones, from the settings' folder") func files() throws {
        let files = SettingsFiles(
            glob: { $0 == "t/*.tmpl" ? ["t/a.tmpl", "t/b.tmpl"] : [] },
            read: {
                Array(
                    ($0 == "t/a.tmpl"
                        ? #"{{ define "slack.default.title" }}OWN {{ template "mine" . }}{{ end }}"#
                        : #"{{ define "mine" }}{{ .Status }}{{ end }}"#).utf8)
            })
        for style in [PageStyle.alertmanager, .evidence] {
            let channel = try #require(
                try channels(
                    "slack_configs: [{api_url: 'http://s/'}]", style: style, top: "templates: ['t/*.tmpl']",
                    files: files
                ).first)
            let sent = try channel.request(for: Page(notification([alert("A")]), key: "k"), reading: noFiles).json
            #expect(sent?["attachments"]?[0]?["title"]?.string == "OWN firing")
        }
        let broken = SettingsFiles(glob: { _ in ["t/x.tmpl"] }, read: { _ in Array("a\n{{ end }}".utf8) })
        let error = #expect(throws: SettingsError.self) { try settings("templates: [x]", files: broken) }
        #expect(error?.description.hasPrefix("t/x.tmpl:2:") == true, "\(error?.description ?? "")")
    }

    @Test("labels of the route are rendered, without circles") func routeLabels() throws {
        guard let bytes = try alertmanagerYAML("template_cases.yaml") else { return }
        let cases = try SettingsDocument(bytes, file: "template_cases.yaml").map().takeMaps("route_labels_function")
        #expect(cases.count == 6)
        for test in cases where !(try test.take("already_rendered", default: false)) {
            var told = notification(
                [alert("A")], labels: Labels(try test.take("group_labels", default: [String: String]())))
            told.routeLabels = try test.take("route_labels", default: [:])
            var renderer = PageRenderer(Page(told, key: "k"), PageTexts(), noFiles, sendsResolved: true)
            let text = renderer.text(try PageTemplate(try test.require("in")), "x")
            #expect(text == (try test.take("out")))
            if let error = try test.take("error_contains", as: String.self) {
                #expect(renderer.failures.first?.contains(error) == true)
            }
        }
    }

    // MARK: Evidence

    private static let runbook = """
        # Burns

        ## Meaning

        1. Not this list.

        ## First steps

        1. See **both** [pages](https://p.example).

           ```sh
           # how many
           vedette query 'up'
           ```
        2. Go `back`.

        ## Likely causes

        Fire.
        """

    @Test("the first steps are those of the runbook's section, or of its first list") func steps() {
        #expect(
            Runbook.firstSteps(in: ChannelBehaviourTests.runbook) == """
                1. See both pages (https://p.example).
                   # how many
                   vedette query 'up'
                2. Go back.
                """)
        #expect(Runbook.firstSteps(in: "words\n1. one\n   more\n2) two\nend") == "1. one\n   more\n2) two")
        #expect(Runbook.firstSteps(in: "# A\nnothing to do") == nil)
        let long = "1. \(String(repeating: "x", count: 300))\n2. \(String(repeating: "y", count: 300))"
        #expect(Runbook.firstSteps(in: long)?.hasSuffix("\n…") == true)
    }

    @Test("each page shows the evidence: value, since when, labels, runbook and first steps, graph, what else fires")
    func evidence() throws {
        let receiver = """
            webhook_configs: [{url: "http://w/"}]
            slack_configs: [{api_url: "http://s/"}]
            pagerduty_configs: [{routing_key: R}]
            email_configs: [{to: a@b.c, from: v@b.c, smarthost: "m:25"}]
            """
        var alerts = (0..<60).map { alert("Other", ["i": "\($0 + 100)"]) }
        var first = alert(
            "Burns", ["severity": "critical", "i": "0", "job": "a"],
            annotations: ["summary": "it burns", "runbook_url": "https://r.example/Burns"], value: 451,
            from: 1_700_000_000)
        first.generatorURL = "https://v.example/graph"
        alerts.append(first)
        let files: Secret.FileReader = { path in
            guard path == "books/Burns.md" else { throw CancellationError() }
            return Array(ChannelBehaviourTests.runbook.utf8)
        }
        for channel in try channels(receiver, top: "runbooks: books") {
            let page = Page(notification(alerts), key: "k")
            let shown = try channel.plan(for: page, reading: files).steps[0].request.shown.replacing("=\r\n", with: "")
            for text in [
                "it burns", "critical", "451", "2023-11-14T22:13:20", "https://r.example/Burns",
                "https://v.example/graph", "vedette query",
            ] { #expect(shown.contains(text), "\(channel.kind): \(text)") }
            if ["slack", "email"].contains(channel.kind) {
                #expect(shown.contains("more: Other "), "\(channel.kind)")
            }
        }
    }

    @Test("a name that leads out of the runbooks' folder is not read") func safeRunbook() {
        for name in ["../secret", "a/b", ".hidden", ""] {
            #expect(
                Runbook.firstSteps(alertName: name, url: "https://r/..", folder: "books") { path in
                    Issue.record("\(path) is read")
                    return []
                } == nil)
        }
    }

    // MARK: PagerDuty

    @Test("an announcement of a rollback is a change event too") func changes() throws {
        let read = try channels("pagerduty_configs: [{routing_key: R, change_events: true}]")
        let channel = try #require(read.first)
        let page = Page(notification([alert("Rollback", ["action": "kill_switch"])]), key: "k")
        let plan = try channel.plan(for: page, reading: noFiles)
        #expect(plan.steps.map(\.name) == ["event", "change"] && plan.steps[1].isOptional)
        #expect(plan.steps[1].request.shown.hasPrefix("https://events.pagerduty.com/v2/change/enqueue"))
        let sent = json(plan.steps[1])
        #expect(sent?["routing_key"]?.string == "R" && sent?["event_action"] == nil)
        #expect(sent?["payload"]?["source"]?.string == "Vedette")
        let other = Page(notification([alert("A")]), key: "k")
        #expect(try channel.plan(for: other, reading: noFiles).steps.count == 1)
    }

    @Test("an old service key speaks the API before this one") func serviceKey() throws {
        let channel = try #require(try channels("pagerduty_configs: [{service_key: S}]", style: .alertmanager).first)
        let page = Page(notification([alert("A")]), key: "k")
        let request = try channel.request(for: page, reading: noFiles)
        #expect(request.url == "https://events.pagerduty.com/generic/2010-04-15/create_event.json")
        #expect(request.json?["service_key"]?.string == "S" && request.json?["event_type"]?.string == "trigger")
        #expect(request.json?["details"]?["num_firing"] == 1)
    }

    @Test("details that are too long are left out, in Alertmanager's style all of them") func tooLong() throws {
        let long = String(repeating: "x", count: 9000)
        let many = (0..<80).map { alert("A", ["i": "\($0)"], annotations: ["summary": long]) }
        for (style, key) in [(PageStyle.alertmanager, "error"), (.evidence, "left_out")] {
            let channel = try #require(try channels("pagerduty_configs: [{routing_key: R}]", style: style).first)
            let request = try channel.request(for: Page(notification(many), key: "k"), reading: noFiles)
            #expect(request.body.count <= 512_000)
            #expect(request.json?["payload"]?["custom_details"]?[key] != nil)
        }
    }

    // MARK: Mail

    private func mail(_ more: String = "", to: String = "a@x.org, bad@x.org, late@x.org") throws -> any Channel {
        let text = "email_configs: [{to: '\(to)', from: 'Jörg <v@x.org>', smarthost: 'm:465'\(more)}]"
        return try #require(try channels(text).first)
    }

    @Test("each address is answered for: refused ones are noted, late ones tried again alone") func addresses() throws {
        let channel = try mail()
        var page = Page(notification([alert("A")]), key: "k")
        let receipt = MailReceipt(
            command: "DATA", answer: MailAnswer(250, "ok"),
            recipients: [
                "a@x.org": MailAnswer(250, ""), "bad@x.org": MailAnswer(550, "no"), "late@x.org": MailAnswer(451, ""),
            ])
        let (verdict, left) = try channel.judgement(on: .mail(receipt), to: 0, of: page)
        guard case .retry(.serverError, nil, let text) = verdict else {
            Issue.record("\(verdict)")
            return
        }
        #expect(text == "bad@x.org is refused: 550: no; late@x.org is put off: 451: ")
        page.progress = try #require(left.progress)
        guard case .mail(let next) = try channel.plan(for: page, reading: noFiles).steps[0].request else { return }
        #expect(next.recipients == ["late@x.org"] && next.security == .implicit)
        let taken = MailReceipt(
            command: "DATA", answer: MailAnswer(250, "ok"), recipients: ["late@x.org": MailAnswer(250, "")])
        #expect(try channel.judgement(on: .mail(taken), to: 0, of: page).0 == .accepted)
        let gone = MailReceipt(
            command: "RCPT", answer: MailAnswer(550, "no"), recipients: ["late@x.org": MailAnswer(550, "no")])
        let (last, note) = try channel.judgement(on: .mail(gone), to: 0, of: page)
        #expect(last == .accepted && note.note == "late@x.org is refused: 550: no", "the others have it")
    }

    @Test("what is no address is noted; when none is one, the page is refused") func noAddress() throws {
        let page = Page(notification([alert("A")]), key: "k")
        let plan = try mail(to: "a@, b@x.org").plan(for: page, reading: noFiles)
        #expect(plan.notes == ["'a@' is no address"])
        #expect(throws: ChannelError.self) { try mail(to: "a@").plan(for: page, reading: noFiles) }
    }

    @Test(
        "headers are in ASCII, whatever stands in them",
        arguments: [
            ("Subject", "plain text", "plain text"), ("Subject", "é", "=?utf-8?q?=C3=A9?="),
            ("Subject", "a\r\nBcc: x@y", "=?utf-8?q?a=0D=0ABcc:_x@y?="),
            ("To", "Jörg Ä <j@x.org>, b@x.org", "=?utf-8?q?J=C3=B6rg_=C3=84?= <j@x.org>, b@x.org"),
            ("From", "\"A, B\" <a@x.org>", "\"A, B\" <a@x.org>"),
        ])
    func headers(name: String, value: String, expected: String) {
        #expect(MailMessage.encoded(name, value) == expected)
    }

    @Test("long texts are broken softly, and read back as they were") func quotedPrintable() {
        let text =
            "é = " + String(repeating: "wörter ", count: 40) + "\n\ttab \n.\n" + String(repeating: "x", count: 76)
        let encoded = MailMessage.quotedPrintable(text)
        #expect(encoded.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 76 })
        var (bytes, rest): ([UInt8], [UInt8]) = ([], Array(encoded.replacing("=\r\n", with: "").utf8))
        while let byte = rest.first {
            rest.removeFirst()
            guard byte == 0x3D else {
                bytes.append(byte)
                continue
            }
            bytes.append(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) ?? 0)
            rest.removeFirst(2)
        }
        #expect(String(decoding: bytes, as: UTF8.self).replacing("\r\n", with: "\n") == text)
        let words = MailMessage.words(String(repeating: "ö", count: 80), after: 9).split(separator: "\r\n ")
        #expect(words.count > 4 && words.allSatisfy { $0.utf8.count <= 75 && $0.hasSuffix("?=") })
        #expect(
            MailMessage.date(Timestamp(rfc3339: "2026-11-20T23:42:07Z") ?? at(0)) == "Fri, 20 Nov 2026 23:42:07 +0000")
    }

    // MARK: Sending

    /// What comes of one try.
    private func outcome(
        _ channel: any Channel, _ page: Page, _ answer: @escaping @Sendable (HTTPRequest) -> FakeTransport.Answer
    ) -> (Outbox.Outcome, Receipt, [HTTPRequest]) {
        let executor = SimulatedExecutor(seed: 1, start: at(0))
        let transport = FakeTransport(executor, answer)
        let result = Mutex<(Outbox.Outcome, Receipt)?>(nil)
        executor.start {
            let sent = await Sending.outcome(
                of: page, through: channel, transport: transport, files: noFiles, now: executor.now)
            result.withLock { $0 = sent }
        }
        executor.run(for: 60_000)
        let (outcome, receipt) = result.withLock { $0 } ?? (.refused(.expired, "no outcome"), Receipt())
        return (outcome, receipt, transport.requests)
    }

    @Test("a step that was taken is not sent again when a later one fails") func stepsTaken() throws {
        let channel = try #require(try channels(botText).first)
        var page = Page(notification([alert("A", to: 5)], reason: .allResolved), key: "k")
        page.thread = ["channel": "C1", "ts": "1.2"]
        let good = HTTPResponse(status: 200, body: Array(#"{"ok":true}"#.utf8))
        let (first, receipt, sent) = outcome(channel, page) { request in
            .response(request.url.hasSuffix("chat.update") ? good : HTTPResponse(status: 503), after: 1)
        }
        guard case .failed(.serverError, _, _, false) = first else {
            Issue.record("\(first)")
            return
        }
        #expect(sent.count == 2)
        page.progress = try #require(receipt.progress)
        let (second, last, rest) = outcome(channel, page) { _ in .response(good, after: 1) }
        #expect(second == .accepted && rest.map(\.url) == ["https://slack.com/api/chat.postMessage"])
        #expect(last.thread == [:])
    }

    @Test("a change event that is refused is noted: the page has arrived") func optional() throws {
        let channel = try #require(try channels("pagerduty_configs: [{routing_key: R, change_events: true}]").first)
        let page = Page(notification([alert("Rollback", ["action": "x"])]), key: "k")
        let (result, receipt, _) = outcome(channel, page) { request in
            .response(HTTPResponse(status: request.url.contains("change") ? 400 : 202), after: 1)
        }
        #expect(result == .accepted && receipt.note.hasPrefix("change: the answer is 400"))
    }

    @Test("a token is asked for, kept, and asked for anew when it is not taken") func token() throws {
        let channel = try #require(
            try channels(
                """
                webhook_configs:
                - url: http://w/
                  http_config: {oauth2: {client_id: me, client_secret: hunter2, token_url: "http://t/"}}
                """
            ).first)
        let count = Mutex(0)
        let page = Page(notification([alert("A")]), key: "k")
        let answer: @Sendable (HTTPRequest) -> FakeTransport.Answer = { request in
            guard request.url == "http://t/" else {
                let isGood = request.header("Authorization") != "Bearer old1"
                return .response(HTTPResponse(status: isGood ? 200 : 401), after: 1)
            }
            let number = count.withLock { count in
                count += 1
                return count
            }
            return .response(
                HTTPResponse(status: 200, body: Array(#"{"access_token":"old\#(number)"}"#.utf8)), after: 1)
        }
        let (first, _, one) = outcome(channel, page, answer)
        guard case .refused(.authError, let text) = first else {
            Issue.record("\(first)")
            return
        }
        #expect(one.count == 2 && !text.contains("hunter2"), "a fresh token that is not taken is not asked for again")
        let (second, _, two) = outcome(channel, page, answer)
        #expect(second == .accepted && two.map(\.url) == ["http://w/", "http://t/", "http://w/"])
    }

    @Test("what a broken connection means is stated") func broken() throws {
        let channel = try #require(try channels("webhook_configs: [{url: 'http://w/'}]").first)
        let page = Page(notification([alert("A")]), key: "k")
        let cases: [(TransportError, Outbox.Outcome)] = [
            (.unreachable("TLS refused"), .failed(.unreachable, "TLS refused", after: nil, mayHaveArrived: false)),
            (
                .interrupted("timed out", requestWasSent: true),
                .failed(.interrupted, "timed out", after: nil, mayHaveArrived: true)
            ),
        ]
        for (error, expected) in cases {
            #expect(outcome(channel, page) { _ in .failure(error, after: 1) }.0 == expected)
        }
        let redirect = HTTPResponse(status: 302, headers: [HTTPHeader("location", "http://w/")])
        guard case .refused(.clientError, _) = outcome(channel, page, { _ in .response(redirect, after: 1) }).0 else {
            Issue.record("a redirect is no receipt")
            return
        }
    }
}
