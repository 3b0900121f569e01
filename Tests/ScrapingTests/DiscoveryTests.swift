import Basics
import Foundation
import Model
import Settings
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Scraping

/// Answers requests by URL.
final class TableTransport: HTTPTransport {
    private let state: Mutex<(answers: [String: HTTPResponse], requests: [HTTPRequest])>
    init(_ answers: [String: HTTPResponse]) { state = Mutex((answers, [])) }
    var requests: [HTTPRequest] { state.withLock { $0.requests } }
    func set(_ url: String, _ response: HTTPResponse?) { state.withLock { $0.answers[url] = response } }
    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        let answer = state.withLock { state in
            state.requests.append(request)
            return state.answers[request.url]
        }
        guard let answer else { throw .unreachable("Couldn't connect to server") }
        return answer
    }
}

/// Knows the names it is given.
struct TableResolver: NameResolver {
    var table: [String: [DNSRecord]]
    func records(of name: String, _ type: DNSRecordType) async throws(ResolverError) -> [DNSRecord] {
        guard let records = table["\(type.rawValue) \(name)"] else { throw ResolverError("the name server failed") }
        return records
    }
}

@Suite struct DiscoveryTests {
    private let figures = ScrapeFigures()
    private let log = RecordingLog()
    private let files = MemoryFiles()

    private func discovery(_ yaml: String, defaults: ScrapeDefaults = ScrapeDefaults()) throws -> Discovery {
        let map = try SettingsDocument(yaml, file: "v.yaml").map()
        var jobs: [ScrapeJob] = []
        for part in try map.takeMaps("scrape_configs") { jobs.append(try ScrapeJob(from: part, defaults: defaults)) }
        return Discovery(jobs: jobs, checks: [], files: files, figures: figures, log: log)
    }

    private func json(_ text: String, type: String = "application/json; charset=utf-8", status: Int = 200)
        -> HTTPResponse
    { HTTPResponse(status: status, headers: [HTTPHeader("content-type", type)], body: Array(text.utf8)) }

    @Test("labels steer a target, relabelling changes and drops it, what was dropped is kept for show")
    func relabelled()
        throws
    {
        var discovery = try discovery(
            """
            scrape_configs:
            - job_name: j
              scrape_interval: 30s
              params: {module: [a, b], x: [y]}
              keep_dropped_targets: 1
              static_configs:
              - targets: ['one:1', 'two:2', 'three:3', 'four:4']
                labels: {__meta_zone: z, env: e, __unix_socket__: /s, __param_late: l}
              relabel_configs:
              - {source_labels: [__address__], regex: 't.*', action: drop}
              - {source_labels: [__meta_zone], target_label: zone}
              - {source_labels: [__address__], regex: 'one:.*', target_label: __scrape_interval__, replacement: 15s}
              - {source_labels: [__address__], regex: 'one:.*', target_label: __scrape_timeout__, replacement: 5s}
              - {source_labels: [__address__], regex: 'one:.*', target_label: __scheme__, replacement: https}
              - {source_labels: [__address__], regex: 'one:.*', target_label: __metrics_path__, replacement: /probe}
              - {source_labels: [__address__], target_label: __param_module}
              - {regex: env, action: labeldrop}
              - {source_labels: [__address__], regex: 'four:.*', target_label: instance, replacement: vier}
            """)
        let changes = discovery.changes()
        let found = try #require(changes)
        let (one, four) = (found.targets[0], found.targets[1])
        #expect(one.url == "https://one:1/probe?module=one%3A1&module=b&x=y&late=l")
        #expect((one.interval, one.timeout) == (15_000, 5000) && (four.interval, four.timeout) == (30_000, 10_000))
        #expect(one.labels == ["instance": "one:1", "job": "j", "zone": "z"])
        #expect(four.labels == ["instance": "vier", "job": "j", "zone": "z"])
        #expect(one.discovered["__scrape_interval__"] == "30s" && one.discovered["env"] == "e")
        #expect(one.discovered["__param_module"] == "a" && one.unixSocket == "/s")
        #expect(found.dropped.map { $0.discovered["__address__"] } == ["two:2"])
        #expect(found.droppedCounts == ["j": 2])
        #expect(discovery.changes() == nil)
    }

    @Test(
        "a target that relabelling spoils is told and left out",
        arguments: [
            ("{target_label: __address__, replacement: ''}", "a target of the job 'j' has no __address__"),
            ("{target_label: __scheme__, replacement: ftp}", "__scheme__ is 'ftp'; make it http or https"),
            (
                "{target_label: __scrape_interval__, replacement: 0s}",
                "__scrape_interval__ and __scrape_timeout__ of h:1 are 0s and 10s"
            ),
            (
                "{target_label: __scrape_timeout__, replacement: 2m}",
                "__scrape_interval__ and __scrape_timeout__ of h:1 are 1m and 2m"
            ),
            ("{target_label: __address__, replacement: 'http://h'}", "'http://h' is no address; write host:port"),
        ])
    func spoiled(rule: String, message: String) throws {
        var discovery = try discovery(
            "scrape_configs: [{job_name: j, static_configs: [{targets: ['h:1']}], relabel_configs: [\(rule)]}]")
        #expect(discovery.targets().isEmpty && discovery.targets().isEmpty)
        #expect(log.events.count == 1)
        #expect(
            log.events[0].message.hasPrefix("v.yaml:1:") && log.events[0].message.contains(message), "\(log.events)")
    }

    @Test("above target_limit all targets of the job are down") func limit() throws {
        var discovery = try discovery(
            "scrape_configs: [{job_name: j, target_limit: 1, static_configs: [{targets: ['a:1', 'b:1']}]}]")
        let reasons = discovery.targets().map(\.refusal)
        #expect(
            reasons == Array(repeating: "the job has 2 targets, above target_limit, 1; raise it or drop some", count: 2)
        )
    }

    @Test("targets that differ only before relabelling are one") func same() throws {
        var discovery = try discovery(
            """
            scrape_configs: [{job_name: j, static_configs: [{targets: ['a:1'], labels: {__meta_x: '1'}}, \
            {targets: ['a:1'], labels: {__meta_x: '2'}}]}]
            """)
        #expect(discovery.targets().count == 1)
    }

    @Test("Prometheus' own files of target groups (peers)") func peers() throws {
        guard let folder = Peers.file("prometheus/file-sd") else { return }
        for (name, count) in [
            ("valid.json", 3), ("valid.yml", 3), ("valid2.yml", 3), ("valid3.yml", 3), ("invalid_nil.json", 0),
            ("invalid_nil.yml", 0),
        ] {
            files.put("sd/\(name)", try Peers.text(folder.appendingPathComponent(name)))
            var discovery = try discovery(
                "scrape_configs: [{job_name: j, file_sd_configs: [{files: [/sd/\(name), sd/\(name)]}]}]".replacing(
                    "/sd/\(name), ", with: ""))
            let targets = discovery.targets()
            #expect(targets.count == count, "\(name)")
            #expect(targets.allSatisfy { $0.discovered["__meta_filepath"] == "sd/\(name)" })
        }
        #expect(
            log.events.count == 2 && log.events.allSatisfy { $0.message.contains(": an empty target group; remove it") }
        )
    }

    @Test("programs and names are asked in their intervals; a source that fails keeps its targets") func remote() throws
    {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_000))
        let transport = TableTransport([
            "http://sd/targets": json(#"[{"targets": ["a:1"], "labels": {"l": "\ud83d\ude31"}}]"#)
        ])
        let resolver = TableResolver(table: [
            "SRV _m._tcp.x": [DNSRecord(host: "b.x.", port: 7), DNSRecord(host: "c.x.", port: 8)],
            "AAAA y": [DNSRecord(host: "::1")], "MX z": [DNSRecord(host: "mail.z.")],
            "A w": [DNSRecord(host: "10.0.0.1")],
        ])
        let mailbox = ScrapeLoop.Mailbox()
        let manager = ScrapeManager(mailboxes: [mailbox], transport: transport, resolver: resolver)
        let yaml = """
            scrape_configs:
            - job_name: h
              http_sd_configs: [{url: 'http://sd/targets', refresh_interval: 5s, basic_auth: {username: u, password: p}}]
            - job_name: d
              dns_sd_configs:
              - {names: [_m._tcp.x]}
              - {names: [y], type: aaaa, port: 80}
              - {names: [z], type: MX, port: 25}
              - {names: [nowhere, w], type: A, port: 1}
              relabel_configs: [{source_labels: [__meta_dns_srv_record_target, __meta_dns_mx_record_target], target_label: of}]
            """
        manager.use(try discovery(yaml))
        #expect(manager.targets.isEmpty && manager.pools == ["h", "d"])
        clock.start { await manager.run(clock: clock) }
        clock.run(for: 500)
        #expect(
            manager.targets.map(\.target.url) == [
                "http://a:1/metrics", "http://b.x:7/metrics", "http://c.x:8/metrics", "http://[::1]:80/metrics",
                "http://mail.z:25/metrics", "http://10.0.0.1:1/metrics",
            ])
        #expect(manager.targets[0].target.labels["l"] == "😱" && manager.targets[1].target.labels["of"] == "b.x.;")
        #expect(manager.targets[0].discovered["__meta_url"] == "http://sd/targets")
        #expect(transport.requests.count == 1)
        #expect(transport.requests[0].headers.contains(HTTPHeader("Authorization", "Basic dTpw")))
        #expect(transport.requests[0].headers.contains(HTTPHeader("X-Prometheus-Refresh-Interval-Seconds", "5")))
        for (answer, message) in [
            (json("[]", status: 500), "sd/targets: server returned HTTP status 500"),
            (json("[", type: "application/json"), "sd/targets:1:2: "),
            (json("[]", type: "text/html"), "sd/targets: the Content-Type is 'text/html'; let it be application/json"),
            (json(#"[{"targets": ["a:1"], "label": {}}]"#), "item 0: unknown key 'label'; known here: labels, targets"),
            (json(#"[{"targets": [1]}]"#), "item 0: targets and the values of labels are texts"),
            (json("[null]"), "item 0: a target group is expected"),
        ] {
            transport.set("http://sd/targets", answer)
            clock.run(for: 5000)
            #expect(log.events.last?.message.contains(message) == true, "\(log.events.last.map(\.message) ?? "")")
            #expect(manager.targets.count == 6)
        }
        // A reload keeps what was found until the sources are asked again.
        manager.use(try discovery(yaml.replacing("job_name: d", with: "job_name: e")))
        #expect(manager.targets.count == 6)
        transport.set("http://sd/targets", json("[]"))
        clock.run(for: 6000)
        #expect(manager.targets.count == 5)
        let steps = try #require(manager.relabelSteps(pool: "e", labels: ["__meta_dns_mx_record_target": "m"]))
        #expect(steps.map(\.output) == [["__meta_dns_mx_record_target": "m", "of": ";m"]])
        #expect(manager.relabelSteps(pool: "no", labels: [:]) == nil)
    }

    @Test("an example of Prometheus' own is read (peers)") func httpExample() throws {
        guard let file = Peers.file("prometheus/http-sd/http_sd.good.json") else { return }
        let items = try JSON(parsing: try Peers.text(file)).array ?? []
        let group = try TargetGroup(json: try #require(items.first), at: "x")
        #expect(group.addresses == ["127.0.0.1:9090"] && group.labels == ["__meta_datacenter": "bru1"])
    }

    @Test(
        "mistakes in a job have place and cure",
        arguments: [
            ("relabel_configs: [{action: replce}]", "action: 'replce' is no action; did you mean 'replace'?"),
            (
                "metric_relabel_configs: [{regex: '(', target_label: a}]",
                "regex: missing ): (; mend the expression (RE2's syntax)"
            ),
            (
                "relabel_configs: [{action: hashmod, target_label: a}]",
                "modulus: hashmod needs one above 0; give the number"
            ),
            (
                "http_sd_configs: [{url: 'ftp://a'}]",
                "url: 'ftp://a' cannot be asked; write http://HOST… or https://HOST…"
            ),
            (
                "http_sd_configs: [{url: 'http://'}]",
                "url: 'http://' cannot be asked; write http://HOST… or https://HOST…"
            ),
            (
                "dns_sd_configs: [{names: [a], type: A}]",
                "port: is missing; A records have none, so it must be given"
            ),
            (
                "dns_sd_configs: [{names: [a], type: TXT}]",
                "type: 'TXT' is no type of record; write SRV, A, AAAA, MX, NS"
            ),
            ("dns_sd_configs: [{}]", "names is missing; it must be given"),
            ("label_limit: -1", "label_limit: must not be negative"),
            ("scrape_protocols: []", "scrape_protocols: it is empty; leave it out, or name a protocol"),
            (
                "scrape_protocols: [PrometheusProto]",
                "scrape_protocols: PrometheusProto is not offered; write OpenMetricsText1.0.0, OpenMetricsText0.0.1, PrometheusText1.0.0, PrometheusText0.0.4"
            ),
            (
                "metric_name_validation_scheme: legacy, relabel_configs: [{target_label: a.b}]",
                "target_label: 'a.b' is no label's name; write letters, digits and '_'"
            ),
            (
                "consul_sd_configs: [{server: a}]",
                "consul_sd_configs is not offered; use static_configs, file_sd_configs, http_sd_configs or dns_sd_configs"
            ),
        ])
    func mistakes(part: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try discovery("scrape_configs: [{\(part), job_name: j}]") }
        let told = error?.description ?? ""
        #expect(told.hasPrefix("v.yaml:1:") && told.hasSuffix(": \(message)"), "\(told)")
    }
}
