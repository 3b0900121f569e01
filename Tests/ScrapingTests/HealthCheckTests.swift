import Basics
import Model
import SQL
import Settings
import Systemd
import TestSupport
import Testing
import Transport

@testable import Scraping

/// A check by its YAML.
func check(_ yaml: String) throws -> HealthCheck {
    try HealthCheck(from: SettingsDocument(yaml, file: "v.yaml").map())
}

/// An answer over HTTP.
private func answer(
    _ status: Int, _ body: String = "", seconds: Double = 0.01, headers: [(String, String)] = []
) -> HealthAnswer {
    var answer = HealthAnswer()
    (answer.status, answer.body, answer.durationSeconds) = (status, Array(body.utf8), seconds)
    answer.details.headers = headers.map { HTTPHeader($0.0, $0.1) }
    return answer
}

private let moment = Timestamp(milliseconds: 1_790_000_000_000)

@Suite struct HealthCheckTests {
    private static let documents: [(String, String, [String: Double], String)] = [
        (
            #"{"status":"healthy","active_connections":12,"avg_latency_ms":43.5,"target_latency_ms":50,"healthy":true}"#,
            "status: healthy, $.avg_latency_ms: '< 100', $.healthy: true", ["avg_latency_ms": 43.5, "healthy": 1], ""
        ),
        (
            #"{"status":"degraded","avg_latency_ms":143.5,"healthy":false}"#,
            "status: healthy, avg_latency_ms: '< 100'", ["avg_latency_ms": 143.5, "healthy": 0],
            "status is \"degraded\", expected healthy; avg_latency_ms is 143.5, expected < 100"
        ),
        (
            #"{"services":{"mlModel":"up","database":"down"},"metrics":{"modelAccuracy":0.91}}"#,
            "$.services.database: [up, healthy], metrics.modelAccuracy: '>= 0.85'", ["metrics.modelAccuracy": 0.91],
            "$.services.database is \"down\", expected one of up, healthy"
        ),
        (
            #"{"status":"degraded","services":{"websocket":{"status":"healthy"},"ml":{"status":"degraded","p95_latency_ms":61}}}"#,
            "$.services.websocket.status: healthy, $.services.ml.status: healthy", ["$.services.ml.p95_latency_ms": 61],
            "$.services.ml.status is \"degraded\", expected healthy"
        ),
        ("{}", "$.status: healthy", ["p95": .nan], "$.status is missing; p95 is missing"),
        ("<html>", "$.status: healthy", [:], "the body is no JSON: 1:1: unexpected character"),
        (
            #"{"accuracy":0.84999}"#, "accuracy: '>= 0.85'", [:],
            "accuracy is 0.84999, expected >= 0.85"
        ),
    ]

    @Test("the health documents, as they are", arguments: documents)
    func judged(body: String, expect: String, fields: [String: Double], failures: String) throws {
        let metrics = fields.keys.sorted().map { "\(name($0)): '\($0)'" }.joined(separator: ", ")
        let check = try check(
            "{name: x, url: 'http://h/health', expect: {status: [200, 503], body: {\(expect)}}, metrics: {\(metrics)}}")
        let report = check.judge(answer(503, body), at: moment)
        #expect(report.sentence == failures)
        #expect(report.values.map(\.value) == fields.keys.sorted().compactMap { fields[$0]!.isNaN ? nil : fields[$0] })
    }
    private func name(_ path: String) -> String { path.replacing("$.", with: "").replacing(".", with: "_") }

    @Test("fields are read whatever the status; status and latency are judged") func status() throws {
        let check = try check("{name: x, url: 'http://h/health', expect: {latency: 100ms}, metrics: {a: $.a}}")
        let report = check.judge(answer(503, #"{"a": 7}"#, seconds: 0.25), at: moment)
        #expect(report.sentence == "status 503, expected 200 to 299; took 250ms, expected at most 100ms")
        #expect(report.reasons == [.status, .latency])
        #expect(report.values.first?.value == 7)
    }

    @Test("enumerations become numbers; what is not listed fails and says so") func enumerations() throws {
        let check = try check(
            "{name: x, url: 'http://h', metrics: {state: {path: $.status, values: {healthy: 1, degraded: 0.5}}}}")
        #expect(check.judge(answer(200, #"{"status":"degraded"}"#), at: moment).values.first?.value == 0.5)
        let report = check.judge(answer(200, #"{"status":"odd"}"#), at: moment)
        #expect(report.sentence == "$.status is \"odd\", which has no number here")
        #expect(report.values.isEmpty && report.reasons == [.metric] && report.standing == "degraded")
    }

    @Test("a document a thousand levels deep is refused, not read") func deep() throws {
        let check = try check("{name: x, url: 'http://h', metrics: {a: $.a}}")
        let report = check.judge(answer(200, String(repeating: "[", count: 1000)), at: moment)
        #expect(report.sentence == "the body is no JSON: 1:129: nested deeper than 128")
    }

    @Test(
        "text and headers",
        arguments: [
            ("text: ok", "all ok", "", ""), ("text: [a, ok]", "ok", "", #"the body does not hold "a""#),
            ("not_text: error", "an error", "", #"the body holds "error""#),
            ("matches: 'v[0-9]+'", "v12", "", ""), ("matches: '^v$'", "v12", "", "the body does not hold /^v$/"),
            ("not_matches: 'v[0-9]'", "v12", "", "the body holds /v[0-9]/"),
            ("headers: {X-A: b}", "", "b", ""), ("headers: {X-A: /^b/}", "", "bcd", ""),
            ("headers: {X-A: b}", "", "secret", "the header x-a is another, expected b"),
            ("headers: {X-B: b}", "", "b", "the header x-b is missing"),
            ("headers: {X-A: null}", "", "b", "the header x-a is there, expected none"),
        ])
    func texts(expect: String, body: String, header: String, failure: String) throws {
        let check = try check("{name: x, url: 'http://h', expect: {\(expect)}}")
        #expect(check.judge(answer(200, body, headers: [("x-a", header)]), at: moment).sentence == failure)
    }

    @Test("a certificate is counted in days") func certificate() throws {
        let check = try check("{name: x, url: 'tls://h:443', expect: {certificate_days: 14}}")
        var seen = HealthAnswer()
        #expect(check.judge(seen, at: moment).sentence == "the server showed no certificate")
        seen.details.certificateExpiry = moment + 13 * 86_400_000
        #expect(check.judge(seen, at: moment).sentence == "the certificate ends in 13 days, expected at least 14")
        seen.details.certificateExpiry = moment + 14 * 86_400_000
        #expect(check.judge(seen, at: moment).isUp)
    }

    @Test("a redirect that is refused tells where it leads, but no token") func redirect() throws {
        let check = try check("{name: x, url: 'http://h', expect: {redirects: refuse, status: 302}}")
        #expect(!check.client.options.followRedirects)
        var seen = answer(302)
        seen.details.redirect = "http://elsewhere/login?token=geheim"
        let report = check.judge(seen, at: moment)
        #expect(report.sentence == "it redirects to http://elsewhere/login, which is refused")
        #expect(report.reasons == [.redirect])
    }

    @Test(
        "what a URL may hold is not shown",
        arguments: [
            ("http://h:1/a?token=geheim", "http://h:1/a?…", "h:1"), ("https://h/a#geheim", "https://h/a", "h"),
            ("postgresql://u@h:5432/d?sslmode=require", "postgresql://u@h:5432/d", "h:5432"),
            ("dns://[::1]:53/a.b?type=AAAA", "dns://[::1]:53/a.b?type=AAAA", "[::1]:53"),
            ("systemd:nginx.service", "systemd:nginx.service", "nginx.service"),
            ("unix:///run/a.sock", "unix:///run/a.sock", "/run/a.sock"), ("icmp://h", "icmp://h", "h"),
            ("rediss://h/2", "rediss://h/2", "h"), ("tcp://h:22", "tcp://h:22", "h:22"),
        ])
    func shown(url: String, shown: String, instance: String) throws {
        let target = try check("{name: x, url: '\(url)'}").target
        #expect(target.url == shown && target.labels["instance"] == instance)
        #expect(target.labels["check"] == "x" && target.labels["job"] == "health_checks")
    }

    @Test(
        "mistakes name place and cure",
        arguments: [
            ("{name: x}", "v.yaml:1:1: url is missing; it must be given"),
            (
                "{name: x, url: 'http://a', expect: {body: {$.a: '< b'}}}",
                "v.yaml:1:49: $.a: '< b' cannot be compared; write a number behind <, <=, > or >="
            ),
            (
                "{name: x, url: 'http://a', metrics: {a: $..b}}",
                "v.yaml:1:41: a: '$..b' is no JSON path; write it as $.services.database or $.items[0]"
            ),
            (
                "{name: x, url: 'http://a', intervall: 5s}",
                "v.yaml:1:28: unknown key 'intervall'; did you mean 'interval'?"
            ),
            (
                "{name: x, url: 'http://u:geheim@a'}",
                "v.yaml:1:16: url: it holds credentials, which would show in labels; use basic_auth"
            ),
            (
                "{name: x, url: 'redis://:geheim@a'}",
                "v.yaml:1:16: url: it holds credentials, which would show in labels; use username and password_file"
            ),
            (
                "{name: x, url: 'postgresql://u:geheim@a/b'}",
                "v.yaml:1:16: url: it holds a password, which would be seen; use password_file"
            ),
            (
                "{name: x, url: 'postgresql://a/b?password=geheim'}",
                "v.yaml:1:16: url: it holds a password, which would be seen; use password_file"
            ),
            ("{name: x, url: 'tcp://a'}", "v.yaml:1:16: url: the port is missing; write tcp://HOST:PORT"),
            ("{name: x, url: 'systemd:nginx'}", "v.yaml:1:16: url: it names no unit; write systemd:nginx.service"),
            (
                "{name: x, url: \"http://a\\r\\nX: y\"}",
                "v.yaml:1:16: url: it holds a blank or a control character; write %20 or take it out"
            ),
            (
                "{name: x, url: 'dns://a/b?type=ANY'}",
                "v.yaml:1:16: url: 'b' with the type 'ANY' cannot be asked for; types: "
                    + "A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, CAA"
            ),
            (
                "{name: x, url: 'postgresql://a/b', queries: [{name: q, query: 'DELETE FROM t', metrics: [a]}]}",
                "v.yaml:1:63: query: it is no query that reads; it must begin with one of "
                    + "SELECT, WITH, VALUES, TABLE"
            ),
            (
                "{name: x, url: 'http://a', labels: {phase: y}}",
                "v.yaml:1:36: labels: 'phase' is a label that checks set themselves; choose another name"
            ),
            (
                "{name: x, url: 'http://a', expect: {matches: '('}}",
                "v.yaml:1:46: matches: bad regular expression \"(\": missing ): (; mend the expression"
            ),
        ])
    func mistakes(yaml: String, message: String) throws {
        let error = #expect(throws: SettingsError.self) { try check(yaml) }
        #expect(error?.description == message)
        #expect(error?.description.contains("geheim") == false)
    }

    @Test("a scheme that is none is told with those that are") func scheme() throws {
        let error = #expect(throws: SettingsError.self) { try check("{name: x, url: 'ftp://a/?t=geheim'}") }
        #expect(error?.description.hasPrefix("v.yaml:1:16: url: 'ftp:' cannot be checked; write http://, ") == true)
        #expect(error?.description.contains("geheim") == false)
    }

    @Test("blackbox_exporter's names stand beside ours where they are wanted") func blackbox() throws {
        let check = try check("{name: x, url: 'https://h', blackbox_names: true, expect: {matches: nothing}}")
        var seen = answer(200, "body")
        seen.details.phases = [
            .init(.resolve, 0.1), .init(.connect, 0.2), .init(.tls, 0.3), .init(.processing, 0.4),
            .init(.transfer, 0.5),
        ]
        (seen.details.isEncrypted, seen.details.ipVersion, seen.details.httpVersion) = (true, 4, 1.1)
        seen.details.certificateExpiry = moment
        var series: [String: Double] = [:]
        check.judge(seen, at: moment).eachSeries(of: check) { key, value in
            series[key.name + key.labels.map { " \($0.name)=\($0.value)" }.joined()] = value
        }
        #expect(series["probe_success"] == 0 && series["probe_failed_due_to_regex"] == 1)
        #expect(series["probe_http_duration_seconds phase=tls"] == 0.3 && series["probe_http_ssl"] == 1)
        #expect(series["probe_ssl_earliest_cert_expiry"] == 1_790_000_000 && series["probe_ip_protocol"] == 4)
        #expect(series["probe_dns_lookup_time_seconds"] == 0.1 && series["probe_http_version"] == 1.1)
        #expect(series["health_check_duration_seconds phase=resolve"] == 0.1)
        #expect(series["health_check_failure_info reason=body"] == 1)
        #expect(series["probe_http_content_length"] == -1 && series["probe_http_uncompressed_body_length"] == 4)
    }

    @Test("a name server's answer is judged by its code and its records") func dns() throws {
        let check = try check("{name: x, url: 'dns://h/a.b', expect: {answers: [10.0.0.1, '/^10[.]/']}}")
        guard case .dns(let probe) = check.kind else { return #expect(Bool(false), "\(check.kind)") }
        func judge(_ code: UInt8, _ addresses: [[UInt8]]) -> String {
            var bytes: [UInt8] = [0, 7, 0x81, 0x80 | code, 0, 1, 0, UInt8(addresses.count), 0, 0, 0, 0]
            bytes += [1, 0x61, 1, 0x62, 0, 0, 1, 0, 1]
            for address in addresses { bytes += [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4] + address }
            var seen = HealthAnswer()
            seen.dns = DNSAnswer(bytes, to: probe.question, id: 7)
            return check.judge(seen, at: moment).sentence
        }
        #expect(judge(0, [[10, 0, 0, 1]]) == "")
        #expect(judge(0, [[10, 0, 0, 2]]) == "no record is 10.0.0.1")
        #expect(judge(0, []) == "there is no record of type A; no record is 10.0.0.1; no record is /^10[.]/")
        #expect(judge(3, []) == "answered NXDOMAIN, expected NOERROR")
    }
}

/// Units by a table.
private struct TableUnits: UnitStates {
    func properties(of unit: String, timeout: Milliseconds) throws(UnitError) -> UnitProperties {
        guard unit != "slow.service" else { throw UnitError("systemd did not answer in time", isTimeout: true) }
        return UnitProperties(
            texts: ["ActiveState": unit == "good.service" ? "active" : "failed"], numbers: ["NRestarts": 3])
    }
}

@Suite struct MachineProberTests {
    @Test(
        "a unit's properties are a document",
        arguments: [
            ("good.service", "healthy", ""),
            ("bad.service", "unhealthy", "$.ActiveState is \"failed\", expected one of active"),
            ("slow.service", "unhealthy", "systemd did not answer in time"),
        ])
    func units(unit: String, standing: String, sentence: String) throws {
        let check = try check("{name: x, url: 'systemd:\(unit)', metrics: {restarts: $.NRestarts}}")
        let prober = MachineProber(clock: SystemClock(), files: { _ in [] }, units: TableUnits())
        let deadline = ProbeDeadline(clock: SystemClock(), in: 1000)
        let answer = prober.look(HealthProbe(check, queries: [], deadline: deadline))
        let report = check.judge(answer, at: moment)
        #expect(report.standing == standing && report.sentence == sentence)
        #expect(report.values.map(\.value) == (unit == "slow.service" ? [] : [3]))
    }

    @Test("a password's file that is missing is told, and nobody is asked") func password() throws {
        let check = try check("{name: x, url: 'redis://127.0.0.1:1', password_file: p}")
        let prober = MachineProber(
            clock: SystemClock(), files: { path in throw FileError(operation: "open", path: path, code: 2) },
            units: TableUnits())
        let deadline = ProbeDeadline(clock: SystemClock(), in: 1000)
        let answer = prober.look(HealthProbe(check, queries: [], deadline: deadline))
        #expect(answer.failure?.reason == .request)
        #expect(answer.failure?.text.hasPrefix("the password's file cannot be read") == true)
    }
}

/// Checks through a whole loop, with a prober that is told what to answer and when.
@Suite struct HealthLoopTests {
    private final class TestProber: Prober {
        let started = RecordedProbes()
        func start(_ probe: HealthProbe, _ finish: @escaping @Sendable (HealthAnswer) -> Void) {
            started.add(probe, finish)
        }
    }

    private final class Bench {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_123))
        let sink = RecordingSink()
        let figures = ScrapeFigures()
        let log = RecordingLog()
        let prober = TestProber()
        let fetcher: FakeFetcher
        let loop: ScrapeLoop
        let manager: ScrapeManager

        init(_ yaml: String, answer: @escaping (String) -> FakeFetcher.Answer = { _ in .init() }) throws {
            fetcher = FakeFetcher(clock: clock, answer: answer)
            let mailbox = ScrapeLoop.Mailbox()
            loop = ScrapeLoop(
                mailbox: mailbox, fetcher: fetcher, clock: clock, sink: sink, figures: figures, log: log,
                readFile: { _ in Array("geheim".utf8) }, prober: prober)
            manager = ScrapeManager(mailboxes: [mailbox])
            manager.use(
                Discovery(jobs: [], checks: [try check(yaml)], files: MemoryFiles(), figures: figures, log: log))
        }
        func run(seconds: Double) {
            for _ in 0..<Int(seconds * 200) {
                loop.step(wait: 0)
                clock.run(for: 5)
            }
        }
        func values(_ name: String, _ label: String = "") -> [String] {
            sink.samples.filter { sample in
                sample.labels.metricName == name && (label.isEmpty || sample.labels.description.contains(label))
            }.map { $0.value.isStaleMarker ? "stale" : GoNumber.fixed($0.value) }
        }
    }

    @Test("phases, values and reasons are series; what is gone ends") func series() throws {
        var round = 0
        let bench = try Bench("{name: x, url: 'http://h/?token=geheim', interval: 1s, metrics: {a: $.a}}") { url in
            #expect(url == "http://h/?token=geheim")
            round += 1
            var answer = FakeFetcher.Answer(status: round == 2 ? 500 : 200, body: round == 2 ? "{}" : #"{"a": 7}"#)
            answer.details.phases = [.init(.connect, 0.25)]
            return answer
        }
        while round < 3 { bench.run(seconds: 0.005) }
        bench.run(seconds: 0.1)
        #expect(bench.values("health_check_up") == ["1", "0", "1"])
        #expect(bench.values("health_check_value", "field=\"a\"") == ["7", "stale", "7"])
        #expect(bench.values("health_check_failure_info", "reason=\"status\"") == ["1", "stale"])
        #expect(bench.values("health_check_failure_info", "reason=\"metric\"") == ["1", "stale"])
        #expect(bench.values("health_check_duration_seconds", "phase=\"connect\"") == ["0.25", "0.25", "0.25"])
        #expect(bench.values("health_check_status_code") == ["200", "500", "200"])
        let shown = "\(bench.manager.targets.map { ($0.target.url, $0.status, $0.target.labels) })"
        #expect(!shown.contains("geheim"))
        #expect(!bench.log.events.contains { $0.message.contains("geheim") } && !bench.log.events.isEmpty)
    }

    @Test("a request that cannot be made fails the check, as a series too") func request() throws {
        let bench = try Bench("{name: x, url: 'http://h', interval: 1s, basic_auth: {username: u, password_file: p}}") {
            _ in .init(status: 0, error: .unreachable("refused"))
        }
        bench.run(seconds: 1.2)
        #expect(bench.values("health_check_up") == ["0"])
        #expect(bench.values("health_check_failure_info", "reason=\"connect\"") == ["1"])
    }

    @Test("a certificate that is not trusted is looked at once more, and when it ends is told") func untrusted() throws
    {
        let bench = try Bench("{name: x, url: 'https://h/', interval: 1s}") { _ in
            .init(status: 0, error: .unreachable("certificate has expired"))
        }
        bench.fetcher.answerRequest = { request in
            var answer = FakeFetcher.Answer(status: 0)
            if request.purpose == .check {
                answer.error = .unreachable("certificate has expired")
                answer.details.cause = .certificate
            } else {
                #expect(request.options.insecureSkipVerify && request.headers.isEmpty)
                answer.details.certificateExpiry = Timestamp(milliseconds: 1_700_000_000_000)
            }
            return answer
        }
        bench.run(seconds: 1.2)
        #expect(bench.values("health_check_up") == ["0"])
        #expect(bench.values("health_check_certificate_expiry_seconds") == ["1700000000"])
        #expect(bench.values("health_check_failure_info", "reason=\"certificate\"") == ["1"])
    }

    @Test("a look by another thread comes back to the loop") func probed() throws {
        let bench = try Bench("{name: x, url: 'icmp://h', interval: 1s, timeout: 500ms}")
        bench.run(seconds: 1)
        let (probe, finish) = try #require(bench.prober.started.all.first)
        #expect(probe.begin())
        #expect(!probe.begin())
        var answer = HealthAnswer()
        answer.durationSeconds = 0.125
        finish(answer)
        bench.run(seconds: 0.1)
        #expect(bench.values("health_check_up") == ["1"])
        #expect(bench.values("health_check_duration_seconds") == ["0.125"])
    }

    @Test("what waits for a thread all its time fails, and never begins") func waiting() throws {
        let bench = try Bench("{name: x, url: 'icmp://h', interval: 2s, timeout: 500ms}")
        bench.run(seconds: 3.1)
        #expect(bench.values("health_check_up") == ["0"])
        #expect(bench.values("health_check_failure_info", "reason=\"busy\"") == ["1"])
        #expect(try !#require(bench.prober.started.all.first).probe.begin())
    }

    @Test("what hangs is told of, never begun twice, and forgotten when it comes back") func hanging() throws {
        let bench = try Bench("{name: x, url: 'icmp://h', interval: 2s, timeout: 500ms}")
        while bench.prober.started.all.isEmpty { bench.run(seconds: 0.005) }
        let (probe, finish) = bench.prober.started.all[0]
        #expect(probe.begin())
        bench.run(seconds: 4.1)
        #expect(bench.values("health_check_up") == ["0", "0", "0"])
        #expect(bench.values("health_check_failure_info", "timeout") == ["1", "stale"])
        #expect(bench.prober.started.all.count == 1)
        finish(HealthAnswer())
        bench.run(seconds: 2)
        #expect(bench.prober.started.all.count == 2)
        #expect(bench.values("health_check_up") == ["0", "0", "0"])
    }

    @Test("a query runs in its own interval, and its values stay in between") func queries() throws {
        let bench = try Bench(
            """
            {name: x, url: 'postgresql://h/d', interval: 1s, timeout: 500ms, queries: [
              {name: q, query: SELECT 1, metrics: [n], interval: 2s}, {name: r, query: SELECT 2, metrics: [n]}]}
            """)
        bench.prober.started.answer = { probe in
            var answer = HealthAnswer()
            for place in probe.queries {
                answer.rows[place] = .failure(SQLError(.refused, "of \(place) in \(probe.queries.count)"))
            }
            return answer
        }
        bench.run(seconds: 4.1)
        #expect(bench.prober.started.all.map(\.probe.queries) == [[0, 1], [1], [0, 1], [1]])
        #expect(
            bench.manager.targets[0].status.lastError
                == "the query 'q' failed: of 0 in 2; the query 'r' failed: of 1 in 1")
    }
}
