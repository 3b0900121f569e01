import Alerting
import Basics
import Foundation
import Model
import Settings
import TestSupport
import Testing

@testable import Web

@Suite struct AlertmanagerAPITests {
    static let config = """
        route: {receiver: all, group_by: [alertname, job]}
        receivers: [{name: all, webhook_configs: [{url: "http://x/"}]}]
        """

    private func samples() throws -> JSON? {
        guard let file = Peers.file("alertmanager/samples/api.json") else { return nil }
        return try JSON(parsing: Peers.bytes(file))
    }

    @Test("what is refused is refused as Alertmanager refuses it") func errors() async throws {
        guard let samples = try samples() else { return }
        var passed = 0
        for member in samples["errors"]?.members ?? [] {
            let sample = member.value
            // Prometheus' own API lives there.
            if member.name == "v1" { continue }
            let bench = try await WebBench(notifying: AlertmanagerAPITests.config)
            bench.clock.advance(by: 1_796_000_000_000)
            let target = sample["path"]?.string ?? ""
            let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
            let body = sample["body"].map { $0 == .null ? [] : $0.serialized() } ?? []
            let answer = await bench.api.answer(
                APIRequest(
                    method: sample["method"]?.string ?? "", path: parts[0], query: parts.count > 1 ? parts[1] : "",
                    body: body))
            #expect(answer.status == sample["status"]?.integer, "\(member.name)")
            let text = String(decoding: answer.body, as: UTF8.self)
            #expect(text == sample["answer"]?.string, "\(member.name)")
            passed += 1
        }
        print("api.json: \(passed) refusals")
        #expect(passed == 20)
    }

    /// Alertmanager's samples with the moments of this bench.
    private func sampleAlerts(_ samples: JSON) -> JSON {
        .array(
            (samples["alerts"]?.array ?? []).map { alert in
                .object(
                    (alert.members ?? []).filter {
                        ["labels", "annotations", "startsAt", "generatorURL"].contains($0.name)
                            || ($0.name == "endsAt" && $0.value.string?.hasPrefix("2999") == true)
                    })
            })
    }

    @Test("alerts, groups, receivers and silences have the members that Alertmanager's have") func shapes() async throws
    {
        guard let samples = try samples() else { return }
        let bench = try await WebBench(notifying: AlertmanagerAPITests.config)
        // The samples' alerts began in 2024.
        bench.clock.advance(by: 1_796_000_000_000)
        #expect(await bench.post("/api/v2/alerts", sampleAlerts(samples)).status == 200)
        func times(_ json: JSON) -> JSON {
            switch json {
            case .array(let items): return .array(items.map(times))
            case .object(let members):
                return .object(
                    members.map { member in
                        let isMoment = ["updatedAt", "startsAt", "endsAt", "id"].contains(member.name)
                        return JSON.Member(member.name, isMoment ? .string("-") : times(member.value))
                    }.sorted { $0.name < $1.name })
            default: return json
            }
        }
        for (path, name) in [("alerts", "alerts"), ("alerts/groups", "groups"), ("receivers", "receivers")] {
            let answer = await bench.answer("/api/v2/\(path)")
            let body = try JSON(parsing: answer.body)
            #expect(times(body) == times(try #require(samples[name])), "\(path)")
        }
        let silence = try #require(samples["silences"]?[0]?.members).filter { !["id", "status"].contains($0.name) }
        let posted = await bench.post("/api/v2/silences", .object(silence))
        let id = try #require(try JSON(parsing: posted.body)["silenceID"]?.string)
        let list = try JSON(parsing: await bench.answer("/api/v2/silences").body)
        #expect(times(list) == times(try #require(samples["silences"])))
        let one = try JSON(parsing: await bench.answer("/api/v2/silence/\(id)").body)
        let sample = try #require(samples["silence"])
        #expect(one["id"]?.string == id && times(one) == times(sample))
        #expect(await bench.answer("/api/v2/silence/\(id)", method: "DELETE").status == 200)
        let ended = try JSON(parsing: await bench.answer("/api/v2/silence/\(id)").body)
        #expect(ended["status"]?["state"] == "expired")
        let status = try JSON(parsing: await bench.answer("/api/v2/status").body)
        #expect(status["cluster"]?["status"] == "disabled" && status["versionInfo"]?["version"]?.string != nil)
        #expect(status["config"]?["original"]?.string?.contains("receiver: all") == true)
    }

    @Test("groups name the receivers that were asked for, and come in Alertmanager's order") func groups() async throws
    {
        // As Alertmanager 0.25 answers.
        let bench = try await WebBench(
            notifying: """
                route:
                  receiver: z
                  group_by: [alertname]
                  routes:
                  - {matchers: [severity=critical], receiver: b, continue: true}
                  - {matchers: [severity=critical], receiver: b, group_by: [n], continue: true}
                  - {receiver: a, continue: true}
                  - {receiver: z}
                receivers: [{name: a}, {name: b}, {name: z}]
                """)
        let labels: JSON = ["alertname": "X", "n": "1", "severity": "critical"]
        #expect(await bench.post("/api/v2/alerts", .array([["labels": labels]])).status == 200)
        func groups(_ receiver: String?) async throws -> [String] {
            let body = try JSON(
                parsing: await bench.answer("/api/v2/alerts/groups", receiver.map { [("receiver", $0)] } ?? []).body)
            return (body.array ?? []).map { group in
                let names = group["alerts"]?[0]?["receivers"]?.array?.compactMap { $0["name"]?.string } ?? []
                return ([group["receiver"]?["name"]?.string ?? ""] + names).joined(separator: " ")
            }
        }
        #expect(try await groups(nil) == ["b a b b z", "a a b b z", "b a b b z", "z a b b z"])
        #expect(try await groups("a|z") == ["a a z", "z a z"])
        #expect(try await groups("b") == ["b b b", "b b b"])
    }

    // MARK: Sequences

    /// `$now`, `$now+5m`.
    private func resolved(_ text: String, from zero: Timestamp) throws -> String {
        guard text.hasPrefix("$now") else { return text }
        let rest = text.dropFirst(4)
        let length = rest.isEmpty ? 0 : try #require(DurationText.parse(String(rest.dropFirst())))
        return (zero + length).rfc3339()
    }

    private func json(_ node: SettingsNode, from zero: Timestamp) throws -> JSON {
        if node.isNull { return .null }
        if let map = try? node.map() {
            return .object(
                try map.keys.map { JSON.Member($0, try map.takeNode($0).map { try json($0, from: zero) } ?? .null) })
        }
        if let list = try? node.list() { return .array(try list.map { try json($0, from: zero) }) }
        if let value = try? Bool.read(node) { return .bool(value) }
        return .string(try resolved(try String.read(node), from: zero))
    }

    @Test(
        "Alertmanager's acceptance sequences",
        arguments: [
            "silence/add_classic_mode", "api/add_alert_classic_mode",
            "api/status_of_alert_follows_silences_and_inhibitions_at_once", "api/filter_alerts", "api/utf8_alerts",
            "api/utf8_alerts_refused_in_classic_mode", "api/utf8_silences", "api/utf8_silences_refused_in_classic_mode",
        ])
    func sequence(id: String) async throws {
        guard let file = Peers.file("alertmanager/scenarios.yaml") else { return }
        let root = try SettingsDocument(Peers.bytes(file), file: "scenarios.yaml").map()
        let scenario = try #require(
            try root.takeMaps("scenarios").first { try $0.take("id", default: "") == id })
        let isClassic = try scenario.take("features", default: [String]()).contains("classic-mode")
        let config = (try scenario.require("config") as String).replacing("@", with: "")
        let bench = try await WebBench(notifying: config, mode: isClassic ? .classic : .fallback)
        let zero = bench.clock.now()
        var saved: [String: String] = [:]
        for step in try scenario.takeMaps("steps") {
            bench.clock.advance(by: Milliseconds((try step.take("wait", default: 0.0)) * 1000))
            try await play(step, bench, zero, &saved)
        }
    }

    private func play(
        _ step: SettingsMap, _ bench: WebBench, _ zero: Timestamp, _ saved: inout [String: String]
    ) async throws {
        let wanted = try step.take("status", as: Int.self)
        func judge(_ answer: APIResponse) throws {
            if let wanted { #expect(answer.status == wanted) }
            if let text: String = try step.take("body_contains") {
                #expect(String(decoding: answer.body, as: UTF8.self).contains(text))
            }
        }
        if let node = step.takeNode("post_alerts") {
            try judge(await bench.post("/api/v2/alerts", try json(node, from: zero)))
        }
        if let node = step.takeNode("post_silence") {
            let answer = await bench.post("/api/v2/silences", try json(node, from: zero))
            try judge(answer)
            if let name: String = try step.take("save_id") {
                saved[name] = try JSON(parsing: answer.body)["silenceID"]?.string
            }
        }
        if let name: String = try step.take("delete_silence") {
            try judge(await bench.answer("/api/v2/silence/\(saved[name] ?? "")", method: "DELETE"))
        }
        for (key, path) in [("get_alerts", "alerts"), ("get_groups", "alerts/groups"), ("get_silences", "silences")]
        where step.has(key) {
            let filters = try step.takeMap(key)?.take("filter", default: [String]()) ?? []
            let answer = await bench.answer("/api/v2/\(path)", filters.map { ("filter", $0) })
            try judge(answer)
            try compare(step, try #require(try JSON(parsing: answer.body).array), saved)
        }
    }

    private func compare(_ step: SettingsMap, _ found: [JSON], _ saved: [String: String]) throws {
        if let count: Int = try step.take("count") { #expect(found.count == count) }
        if let count: Int = try step.take("alerts_in_first") { #expect(found[0]["alerts"]?.array?.count == count) }
        if let node = step.takeNode("matchers_of_first") {
            let wanted = try json(node, from: .distantPast).array ?? []
            for (one, other) in zip(wanted, found[0]["matchers"]?.array ?? []) {
                for member in one.members ?? [] { #expect(other[member.name] == member.value) }
            }
        }
        func fingerprint(_ node: SettingsNode) throws -> JSON {
            .string(Labels(try [String: String].read(node)).fingerprintText)
        }
        func judge(_ want: SettingsMap, _ alert: JSON) throws {
            let status = alert["status"]
            if let state: String = try want.take("state") { #expect(status?["state"]?.string == state) }
            if want.has("silencedBy") {
                let ids = try want.take("silencedBy", default: [String]()).map { JSON.string(saved[$0] ?? "") }
                #expect(status?["silencedBy"]?.array == ids)
            }
            if let node = want.takeNode("fingerprint_of") {
                let wanted = try fingerprint(node)
                #expect(alert["fingerprint"] == wanted)
            }
            if want.has("inhibitedBy_fingerprints_of") {
                let sources = try want.takeList("inhibitedBy_fingerprints_of").map(fingerprint)
                #expect(status?["inhibitedBy"]?.array == sources)
            }
        }
        if let each = try step.takeMap("each") { for alert in found { try judge(each, alert) } }
        for want in try [step.takeMap("alert")].compactMap(\.self) + step.takeMaps("alerts") {
            let labels = try want.take("labels", default: [String: String]())
            let alert = try #require(found.first { $0["labels"]?.strings == labels }, "\(labels)")
            try judge(want, alert)
        }
    }

    @Test("a prefix stands before every path") func prefix() async throws {
        let bench = try await WebBench(notifying: AlertmanagerAPITests.config)
        var context = bench.api.context
        context.routePrefix = "/foo"
        let api = API(context)
        #expect(await api.answer(APIRequest(path: "/foo/api/v2/status")).status == 200)
        #expect(await api.answer(APIRequest(path: "/api/v2/status")).status == 404)
    }

    @Test(
        "hostile and sloppy bodies of silences end in a refusal",
        arguments: [
            (#"{"vedette.times":"[{\"days_of_month\":[\"-9223372036854775808\"]}]"}"#, "1", "false", 400),
            (#"{"team": 1}"#, "1", "false", 400), ("[]", "1", "false", 400),
            (#"{"vedette.times":"[{\"times\":[]"}"#, "1", "false", 400), ("{}", "1", #""true""#, 400),
            ("{}", "5", "null", 422), ("{}", #""9999-12-31T23:59:59-23:59""#, "true", 422),
            ("{}", #""2026-11-20T00:00:00+99:99""#, "true", 422), ("{}", "1", "false", 200),
        ])
    func hostileSilences(annotations: String, end: String, isRegex: String, status: Int) async throws {
        let bench = try await WebBench(notifying: AlertmanagerAPITests.config)
        let end = end.hasPrefix("\"") ? end : #""2027-01-01T00:00:00""#
        let body = """
            {"matchers": [{"name": "a", "value": "b", "isRegex": \(isRegex)}], "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": \(end), "createdBy": "me", "comment": "c", "annotations": \(annotations)}
            """
        let answer = await bench.api.answer(
            APIRequest(method: "POST", path: "/api/v2/silences", body: Array(body.utf8)))
        #expect(answer.status == status, "\(String(decoding: answer.body, as: UTF8.self))")
    }

    @Test("a filter of silences is one of their matchers; a text from a browser's page is no JSON") func strictness()
        async throws
    {
        let bench = try await WebBench(notifying: AlertmanagerAPITests.config)
        let silence: JSON = [
            "matchers": [["name": "a", "value": "b|c", "isRegex": true]], "startsAt": "1970-01-01T00:00:00Z",
            "endsAt": "2998-01-01T00:00:00Z", "createdBy": "me", "comment": "c",
        ]
        #expect(await bench.post("/api/v2/silences", silence).status == 200)
        for (filter, count) in [("zz!=b", 0), ("a=b", 0), ("a=~b|c", 1), ("a=b|c", 0)] {
            let answer = await bench.answer("/api/v2/silences", [("filter", filter)])
            #expect(try JSON(parsing: answer.body).array?.count == count, "\(filter)")
        }
        for (type, status) in [("text/plain", 415), ("", 415), ("application/json; charset=utf-8", 200)] {
            var request = APIRequest(method: "POST", path: "/api/v2/alerts", body: Array("[]".utf8))
            request.contentType = type
            #expect(await bench.api.answer(request).status == status, "\(type)")
        }
        #expect(await bench.post("/api/v2/alerts", .null).status == 200)
    }
}
