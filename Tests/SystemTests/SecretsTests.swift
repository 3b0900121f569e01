import Basics
import Daemon
import Settings
import Synchronization
import TestSupport
import Testing
import Web

/// No secret is ever printed: a daemon with one in every place that takes one, among receivers and targets that fail,
/// and everything that it says of itself.
@Suite struct SecretsTests {
    /// A secret with a core that no escaping changes, so that it is found in whatever form it is shown.
    private static func secret(_ place: String) -> String { "s/+&=Zq7K\(place)9Xw" }

    /// Each core, with base64 of it wherever in a text it may stand.
    private static func forms(_ place: String) -> [String] {
        let core = Array("Zq7K\(place)9Xw".utf8)
        return ["Zq7K\(place)9Xw"]
            + (0..<3).map { shift in
                let text = Array(base64([UInt8](repeating: 0, count: shift) + core))
                // What the neighbours' bits are in is left out.
                let whole = text[[0, 2, 3][shift]..<(shift + core.count) * 8 / 6]
                return String(whole)
            }
    }

    private static let places = [
        "scrapepassword", "scrapeuserfile", "scrapepasswordfile", "scrapetoken", "scrapeheader", "scrapeoauth",
        "scrapeproxy",
        "targeturl", "sdtoken", "checkpassword", "checkbearer", "hookpath", "hookpassword", "hookproxy",
        "hookheader", "hookoauth", "hookfile", "hookquery", "payload", "slackurl", "slackfile", "slacktoken",
        "pagerduty",
        "pagerdutyfile", "smtp", "smtpsecret", "globalsmtp", "mailpassword", "mailheader", "peerpassword", "flagredis",
        "checkredis", "checkpostgres", "database", "webtoken", "webtokenfile", "varpassword", "varurl", "varpart",
        "command",
        "varlabelless",
    ]

    private static let configuration = """
        global:
          scrape_interval: 1s
          scrape_timeout: 500ms
          evaluation_interval: 1s
          smtp_smarthost: mail:587
          smtp_from: vedette@h
          smtp_auth_username: u
          smtp_auth_password: 's/+&=Zq7Kglobalsmtp9Xw'
          slack_api_url: http://slack/s/+&=Zq7Kslackurl9Xw
        rule_files: [rules.yml]
        scrape_configs:
        - job_name: basic
          basic_auth: {username: u, password: 's/+&=Zq7Kscrapepassword9Xw'}
          static_configs: [{targets: ['one:1']}]
        - job_name: files
          basic_auth: {username_file: secrets/scrapeuserfile, password_file: secrets/scrapepasswordfile}
          static_configs: [{targets: ['two:1']}]
        - job_name: bearer
          authorization: {credentials: 's/+&=Zq7Kscrapetoken9Xw'}
          http_headers: {X-Key: {secrets: ['s/+&=Zq7Kscrapeheader9Xw']}}
          proxy_url: http://u:Zq7Kscrapeproxy9Xw@proxy:3128
          static_configs: [{targets: ['three:1']}]
        - job_name: oauth
          oauth2: {client_id: c, client_secret: 's/+&=Zq7Kscrapeoauth9Xw', token_url: 'http://u:Zq7Ktargeturl9Xw@token/'}
          static_configs: [{targets: ['four:1']}]
        - job_name: variables
          basic_auth: {username: u, password: "${VARPASSWORD}"}
          static_configs: [{targets: ['five:1']}]
        - job_name: good
          static_configs: [{targets: ['good:1']}]
        - job_name: discovered
          http_sd_configs:
          - {url: 'http://u:Zq7Ksdtoken9Xw@sd/', refresh_interval: 5s}
        health_checks:
        - name: web
          url: http://six:1/health
          interval: 1s
          timeout: 500ms
          expect: {body: {$.status: healthy}}
        - name: basic
          url: http://seven:1/health
          interval: 1s
          timeout: 500ms
          basic_auth: {username: u, password: 's/+&=Zq7Kcheckpassword9Xw'}
        - name: bearer
          url: https://eight:1/health
          interval: 1s
          timeout: 500ms
          authorization: {credentials: 's/+&=Zq7Kcheckbearer9Xw'}
        - {name: cache, url: 'redis://nine:1', interval: 1s, timeout: 500ms, password: 's/+&=Zq7Kcheckredis9Xw'}
        - name: rows
          url: postgresql://ten:1/x
          interval: 1s
          timeout: 500ms
          username: u
          password: 's/+&=Zq7Kcheckpostgres9Xw'
        alerting:
          alertmanagers:
          - basic_auth: {username: u, password: 's/+&=Zq7Kpeerpassword9Xw'}
            static_configs: [{targets: ['eleven:1']}]
          peers:
            name: a
            members:
            - {name: b, url: 'http://fourteen:1', authorization: {credentials: 's/+&=Zq7Kpeertoken9Xw'}}
        database: {url: 'postgresql://u:Zq7Kdatabase9Xw@twelve:1/x'}
        web:
          tokens:
          - {name: reader, token: 's/+&=Zq7Kwebtoken9Xw', role: admin}
          - {name: other, token_file: secrets/webtokenfile, role: viewer}
          anonymous: viewer
        metrics: [{name: load, worse: up, exported: true}]
        rollback:
          mode: act
          flag_stores: [{name: flags, redis: {address: 'thirteen:1', username: u, password: 's/+&=Zq7Kflagredis9Xw'}}]
          actions:
            back:
              commands: [{name: tell, run: [fail, -H, "Token: ${COMMAND}"]}]
              flags: [chat]
              clears_within: 15s
        rollback_triggers: {load: [{metric: load, threshold: 1000, duration: 1s, action: back}]}
        route: {receiver: all, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1m}
        receivers:
        - name: all
          webhook_configs:
          - url: http://hook/Zq7Khookpath9Xw?key=Zq7Khookquery9Xw
            payload: {token: "${PAYLOAD}", text: '{{ .Status }}'}
            http_config:
              basic_auth: {username: u, password: 's/+&=Zq7Khookpassword9Xw'}
              proxy_url: http://u:Zq7Khookproxy9Xw@proxy:3128
              http_headers: {X-Key: {secrets: ['s/+&=Zq7Khookheader9Xw']}}
          - url_file: secrets/hookfile
            http_config:
              oauth2: {client_id: c, client_secret: 's/+&=Zq7Khookoauth9Xw', token_url: 'http://token/'}
          - url: ${VARURL}
          - url: http://hook/x/${VARPART}/y
          slack_configs:
          - {channel: '#a', title: '${VARLABELLESS:-none}'}
          - {channel: '#a', api_url_file: secrets/slackfile}
          - {channel: '#a', app_url: 'http://slack/api/', app_token: 's/+&=Zq7Kslacktoken9Xw'}
          pagerduty_configs:
          - {routing_key: 's/+&=Zq7Kpagerduty9Xw', url: 'http://pager/'}
          - {routing_key_file: secrets/pagerdutyfile, url: 'http://pager/'}
          email_configs:
          - {to: a@h, auth_username: u, auth_password: 's/+&=Zq7Kmailpassword9Xw', headers: {X-Key: '${MAILHEADER}'}}
          - {to: b@h, auth_username: u, auth_password: 's/+&=Zq7Ksmtp9Xw', auth_secret: 's/+&=Zq7Ksmtpsecret9Xw'}
        """

    private static func world(seed: UInt64) -> SimulatedWorld {
        let world = SimulatedWorld(
            seed: seed, configuration: configuration,
            rules: """
                groups:
                - name: g
                  rules:
                  - {alert: Down, expr: up == 0, for: 1s, annotations: {summary: '{{ $labels.instance }} is down'}}
                """,
            page: { url, _ in url.contains("good") ? "load 2000\n" : nil },
            mood: { _, random in [.echo, .broken, .gone, .garbled, .echo, .limited][Int(random % 6)] })
        let files = [
            "scrapeuserfile", "scrapepasswordfile", "slackfile", "hookfile", "pagerdutyfile", "webtokenfile",
        ]
        for name in files {
            let isAddress = ["slackfile", "hookfile"].contains(name)
            world.files.put("etc/secrets/\(name)", (isAddress ? "http://h/" : "") + secret(name) + "\n")
        }
        world.variables = [
            "VARPASSWORD": secret("varpassword"), "VARURL": "http://hook/\(secret("varurl"))",
            "VARPART": "Zq7Kvarpart9Xw",
            "PAYLOAD": secret("payload"), "MAILHEADER": secret("mailheader"), "COMMAND": secret("command"),
            "VARLABELLESS": secret("varlabelless"),
        ]
        return world
    }

    /// The paths that answer a GET, as the source lists them.
    private static func paths() throws -> [String] {
        var paths: Set<String> = []
        let files = SystemFiles()
        for folder in ["Sources/Web/API", "Sources/Web/API/Alertmanager"] {
            for name in try files.list("\(Program.root)/\(folder)") where name.hasSuffix(".swift") {
                let text = String(
                    decoding: try files.contents(of: "\(Program.root)/\(folder)/\(name)"), as: UTF8.self)
                for match in text.matches(of: /"(\/[a-zA-Z0-9\/_-]*)": ?\(\s*\[\s*"GET"/) {
                    paths.insert(String(match.1))
                }
            }
        }
        // These are told apart by a function.
        for name in ["status", "receivers", "alerts", "alerts/groups", "silences"] { paths.insert("/api/v2/\(name)") }
        return paths.sorted()
    }

    private static func leaks(in text: String) -> [String] {
        places.filter { place in forms(place).contains(where: text.contains) }
    }

    @Test("nothing that a whole run says holds a secret", arguments: [1, 2, 3] as [UInt64])
    func run(seed: UInt64) throws {
        let world = SecretsTests.world(seed: seed)
        try world.boot()
        world.run(for: 30_000)
        let api = try #require(world.vedette?.api)
        // Somebody tries tokens, good and bad; who did is in the record.
        for token in [SecretsTests.secret("webtoken"), SecretsTests.secret("webtokenfile"), "none"] {
            var request = APIRequest(method: "POST", path: "/-/reload", query: "token=\(token.percentEncoded)")
            request.peer = .tcp(address: "192.0.2.1")
            request.credentials.authorization = "Bearer \(token)"
            world.executor.start { _ = await api.answer(request) }
        }
        world.run(for: 60_000)
        var found: [String: [String]] = [:]
        let log = world.printed.joined(separator: "\n")
        found["log"] = SecretsTests.leaks(in: log)
        let paths = try SecretsTests.paths()
        #expect(paths.count > 35)
        for path in ["/api/v1/targets", "/api/v2/status", "/metrics", "/", "/pages"] { #expect(paths.contains(path)) }
        let queries = [
            "",
            "query=up&match[]={__name__=~\".%2B\"}&start=1790000000&end=1790000060&step=10&action=back&scrapePool=basic"
                + "&labels=%7B%7D&state=any&expr=up",
        ]
        var prints = Set<String>()
        let alerts = world.answers(api, [APIRequest(path: "/api/v2/alerts")]).values.joined()
        for match in alerts.matches(of: /"fingerprint":"([0-9a-f]+)"/) { prints.insert(String(match.1)) }
        #expect(!prints.isEmpty)
        var requests: [APIRequest] = []
        for path in paths + ["/health/web", "/health/basic", "/health/bearer", "/api/v1/label/instance/values"] {
            for query in queries + prints.prefix(2).map({ "fingerprint=\($0)" }) {
                requests.append(APIRequest(path: path, query: query))
            }
        }
        let answers = world.answers(api, requests)
        #expect(answers.count >= paths.count)
        var sizes = 0
        for (what, text) in answers {
            sizes += text.utf8.count
            found[what] = SecretsTests.leaks(in: text)
        }
        #expect(sizes > 100_000 && log.utf8.count > 1000)
        for (place, leaks) in found.sorted(by: { $0.key < $1.key }) where !leaks.isEmpty {
            Issue.record("seed \(seed): \(place) shows \(Set(leaks).sorted())")
        }
        // What failed did fail: there is something to tell.
        #expect(log.contains("rollback") || log.contains("page"))
    }

    @Test("the search finds a secret in each of its forms") func search() {
        for place in SecretsTests.places {
            let secret = SecretsTests.secret(place)
            #expect(SecretsTests.configuration.contains("Zq7K\(place)9Xw") || !secret.isEmpty)
            for text in [
                secret, secret.percentEncoded, base64(Array("u:\(secret)".utf8)), base64(Array("uu:\(secret)".utf8)),
                base64(Array(secret.utf8)), "\"\(secret)\"".goQuoted,
            ] {
                #expect(SecretsTests.leaks(in: "x\(text)y") == [place], "\(text)")
            }
        }
    }

    @Test("errors about a configuration do not repeat what variables gave")
    func errors() {
        let value = "Zq7Kvalue9Xw"
        let cases = [
            "global: {scrape_interval: \"${X}\"}", "scrape_configs: [{job_name: a, scheme: \"${X}\"}]",
            "route: {receiver: \"${X}\"}", "rule_files: [\"${X}\"]\nscrape_configs: \"${X}\"",
            "scrape_configs: [{job_name: \"${X}\"}, {job_name: \"${X}\"}]",
            "scrape_configs: [{job_name: a, relabel_configs: [{action: \"${X}\"}]}]",
            "scrape_configs: [{job_name: a, relabel_configs: [{regex: \"(${X}\", target_label: b}]}]",
            "health_checks: [{name: a, url: \"${X}\"}]", "health_checks: [{name: a, url: \"${X}://h/\"}]",
            "database: \"${X}\"", "workloads: {churn: {every: \"${X}\"}}", "storage: {max_bytes: \"${X}\"}",
            "web: {users: [{name: a, password_hash: \"${X}\"}]}", "web: {tokens: [{name: a, sha256: \"${X}\"}]}",
            "scrape_configs: [{job_name: a, basic_auth: {username: u, password_file: x, password: \"${X}\"}}]",
            "rollback: {flag_stores: [{name: a, redis: {address: \"${X}:0\"}}]}",
            "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: \"${X}\"}]}]",
            "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: \"http://h/\", channel: b, title: \"{{ ${X}\"}]}]",
            "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: \"http://h/\", channel: b, title: \"${X} {{\"}]}]",
            "route: {receiver: a, matchers: [\"${X}\"]}\nreceivers: [{name: a}]",
        ]
        for yaml in cases {
            let files = MemoryFiles()
            files.put("etc/vedette.yaml", yaml)
            do throws(SettingsError) {
                let settings = try DaemonSettings(path: "etc/vedette.yaml", files: files, variables: { _ in value })
                #expect(!settings.warnings.joined().contains(value), "\(yaml)")
                if !yaml.contains("rule_files") { Issue.record("accepted: \(yaml)") }
            } catch {
                #expect(!error.description.contains("Zq7K"), "\(yaml): \(error)")
                #expect(error.location.line > 0, "\(yaml): \(error)")
            }
        }
    }
}

extension SimulatedWorld {
    /// What the daemon answers, headers and body, by path and query; those that have not come after ten seconds lack.
    fileprivate func answers(_ api: API, _ requests: [APIRequest]) -> [String: String] {
        let shared = Answers()
        for request in requests {
            executor.start {
                let answer = await api.answer(request)
                let headers = answer.headers.map { "\($0.0): \($0.1)" }.joined(separator: "\n")
                let text = "\(headers)\n\(String(decoding: answer.body, as: UTF8.self))"
                let query = request.parameters.map { "\($0.name)=\($0.value)" }.joined(separator: "&")
                shared.texts.withLock { $0["\(request.path)?\(query)"] = text }
            }
        }
        run(for: 10_000)
        return shared.texts.withLock { $0 }
    }

    private final class Answers: Sendable {
        let texts = Mutex<[String: String]>([:])
    }
}
