import Basics
import Model
import TestSupport
import Testing

@testable import Web

/// What clients of Prometheus' API rely on beyond queries.
@Suite struct PrometheusAPITests {
    private static let rules = """
        groups:
        - {name: b, rules: [{record: r, expr: vector(1), labels: {team: core}}, {alert: A, expr: up == 0}]}
        - {name: a, limit: 5, rules: [{alert: A, expr: up, labels: {team: web, templated: "{{ $value }}"}}]}
        - {name: c}
        """

    private func groups(_ bench: WebBench, _ parameters: [(String, String)]) async throws -> (String, next: String?) {
        let body = try await bench.json("/api/v1/rules", parameters).body
        let groups = (body["data"]?["groups"]?.array ?? []).map { group in
            let rules = (group["rules"]?.array ?? []).map { $0["name"]?.string ?? "" }
            return "\(group["name"]?.string ?? ""):\(rules.joined(separator: "+"))"
        }
        return (groups.joined(separator: " "), body["data"]?["groupNextToken"]?.string)
    }

    @Test(
        "rules by every filter",
        arguments: [
            ([], "a:A b:r+A c:"), ([("type", "alert")], "a:A b:A"), ([("type", "record")], "b:r"),
            ([("rule_name[]", "r")], "b:r"), ([("rule_group[]", "a"), ("rule_group[]", "c")], "a:A c:"),
            ([("file[]", "r.yaml")], "a:A b:r+A c:"), ([("file[]", "other.yaml")], ""),
            ([("match[]", "{team=\"core\"}")], "b:r"), ([("match[]", "{team=~\".+\"}")], "a:A b:r"),
            ([("match[]", "{team=\"core\"}"), ("match[]", "{team=\"web\"}")], "a:A b:r"),
            ([("match[]", "{templated=~\".+\"}")], ""),
        ] as [([(String, String)], String)])
    func filters(parameters: [(String, String)], expected: String) async throws {
        #expect(try await groups(WebBench(rules: PrometheusAPITests.rules), parameters).0 == expected)
    }

    @Test("groups come in pages; a token that is none is refused") func pages() async throws {
        let bench = try await WebBench(rules: PrometheusAPITests.rules)
        let first = try await groups(bench, [("group_limit", "2")])
        #expect(first.0 == "a:A b:r+A")
        let second = try await groups(bench, [("group_limit", "2"), ("group_next_token", try #require(first.next))])
        #expect(second.0 == "c:" && second.next == nil)
        for wrong in [
            [("group_limit", "2"), ("group_next_token", "x")], [("group_next_token", "x")], [("group_limit", "-1")],
            [("type", "neither")], [("exclude_alerts", "maybe")],
        ] {
            #expect(try await bench.json("/api/v1/rules", wrong).status == 400, "\(wrong)")
        }
    }

    @Test("what is cut off says so") func limits() async throws {
        let bench = try await WebBench()
        for job in ["a", "b", "c"] { bench.store.add(["__name__": "m", "job": job], Timestamp(seconds: 600), 1) }
        for (path, parameters, count) in [
            ("/api/v1/series", [("match[]", "m")], 3), ("/api/v1/labels", [], 2), ("/api/v1/label/job/values", [], 3),
        ] {
            let cut = try await bench.json(path, parameters + [("limit", "1")])
            #expect(cut.body["data"]?.array?.count == 1, "\(path)")
            #expect(cut.body["warnings"] == ["results truncated due to limit"], "\(path)")
            let whole = try await bench.json(path, parameters + [("limit", "\(count)")])
            #expect(whole.body["data"]?.array?.count == count && whole.body["warnings"] == nil, "\(path)")
            #expect(try await bench.json(path, parameters + [("limit", "x")]).status == 400)
        }
        let query = try await bench.json("/api/v1/query", [("query", "m"), ("limit", "2")]).body
        #expect(query["data"]?["result"]?.array?.count == 2)
        #expect(query["warnings"] == ["results truncated due to limit"])
    }

    @Test("federation gives the newest samples with their times") func federation() async throws {
        let bench = try await WebBench()
        bench.store.add(["__name__": "m", "job": "b\n\"", "instance": "i"], Timestamp(seconds: 590.5), 1)
        bench.store.add(["__name__": "m", "job": "a"], Timestamp(seconds: 599), .infinity)
        bench.store.add(["__name__": "old"], Timestamp(seconds: 300), 1)
        bench.store.add(["__name__": "gone"], Timestamp(seconds: 599), SpecialValue.stale)
        bench.store.add(["__name__": "other"], Timestamp(seconds: 599), 0.25)
        let all = await bench.answer("/federate", [("match[]", "{__name__=~\".+\"}"), ("match[]", "other")])
        #expect(all.contentType.hasPrefix("text/plain; version=0.0.4"))
        #expect(
            String(decoding: all.body, as: UTF8.self) == """
                # TYPE m untyped
                m{instance="i",job="b\\n\\"",region="eu"} 1 590500
                m{instance="",job="a",region="eu"} +Inf 599000
                # TYPE other untyped
                other{instance="",region="eu"} 0.25 599000

                """)
        #expect(await bench.answer("/federate", [("match[]", "m{")]).status == 400)
        #expect(await bench.answer("/federate").body.isEmpty)
    }

    @Test("clients find what they look for") func small() async throws {
        let bench = try await WebBench(
            jobs: "scrape_configs: [{job_name: b}, {job_name: a, static_configs: [{targets: ['x:1', 'y:1']}]}]")
        #expect(try await bench.json("/api/v1/scrape_pools").body["data"]?["scrapePools"] != nil)
        #expect(try await bench.json("/api/v1/alertmanagers").body["data"]?["activeAlertmanagers"] == [])
        #expect(try await bench.json("/api/v1/notifications").body["data"] == [])
        let features = try await bench.json("/api/v1/features").body["data"]
        #expect(features?["promql_functions"]?["rate"] == true && features?["api"]?["admin"] == false)
    }

    @Test("a query is laid out and taken apart") func syntax() async throws {
        let bench = try await WebBench()
        #expect(
            try await bench.json("/api/v1/format_query", [("query", "sum(  m)by(a)")]).body["data"] == "sum by (a) (m)")
        let tree = try await bench.json("/api/v1/parse_query", [("query", "sum by (a) (m)")]).body["data"]
        #expect(tree?["type"] == "aggregation" && tree?["expr"]?["name"] == "m")
        for path in ["/api/v1/format_query", "/api/v1/parse_query"] {
            let wrong = try await bench.json(path, [("query", "sum(")])
            #expect(wrong.status == 400 && wrong.body["errorType"] == "bad_data")
        }
    }

    /// Grafana's requests as its Prometheus data source makes them: forms by POST, times in seconds, `X-` headers that
    /// nobody needs.
    ///
    /// - SeeAlso: Grafana, `packages/grafana-prometheus/src/datasource.ts`, `language_provider.ts`.
    @Test(
        "Grafana's data source",
        arguments: [
            ("GET", "/api/v1/status/buildinfo", "", "\"version\":"),
            ("POST", "/api/v1/query", "query=1%2B1&time=600", "\"scalar\",\"result\":[600,\"2\"]"),
            (
                "POST", "/api/v1/query_range",
                "query=sum+by+%28job%29+%28m%7Bjob%3D~%22a%7Cb%22%7D%29&start=570&end=600&step=15",
                #"{"metric":{"job":"a"},"values":[[570,"1"],[585,"1"],[600,"1"]]}"#
            ),
            ("POST", "/api/v1/labels", "start=0&end=600", #"["__name__","job"]"#),
            ("GET", "/api/v1/labels", "start=0&end=600&match%5B%5D=m&limit=40000", #"["__name__","job"]"#),
            ("GET", "/api/v1/label/job/values", "start=0&end=600&match%5B%5D=m%7Bjob%21%3D%22%22%7D", #"["a","b"]"#),
            ("GET", "/api/v1/label/__name__/values", "start=0&end=600", #"["m"]"#),
            (
                "POST", "/api/v1/series", "match%5B%5D=m%7Bjob%3D%22a%22%7D&start=0&end=600",
                #"[{"__name__":"m","job":"a"}]"#
            ),
            ("GET", "/api/v1/metadata", "limit=5000", #""data":{"#),
            ("GET", "/api/v1/rules", "", "\"groups\":"), ("GET", "/api/v1/alerts", "", "\"alerts\":"),
            ("POST", "/api/v1/query_exemplars", "query=m&start=0&end=600", "\"data\":["),
            ("GET", "/api/v1/targets", "state=active", "\"activeTargets\":"),
        ])
    func grafana(method: String, path: String, form: String, expected: String) async throws {
        let bench = try await WebBench()
        for job in ["a", "b"] { bench.store.add(["__name__": "m", "job": job], Timestamp(seconds: 560), 1) }
        let request =
            method == "POST"
            ? APIRequest(method: method, path: path, body: Array(form.utf8), isForm: true)
            : APIRequest(method: method, path: path, query: form)
        let answer = await bench.api.answer(request)
        let text = String(decoding: answer.body, as: UTF8.self)
        #expect(answer.status == 200 && answer.contentType == "application/json")
        #expect(text.hasPrefix(#"{"status":"success","data":"#) && text.contains(expected), "\(text)")
    }

    @Test(
        "a coding is taken or not",
        arguments: [
            ("gzip", true), ("gzip, deflate, br", true), ("deflate, GZIP;q=0.5", true), ("gzip;q=0", false),
            ("*", true), ("*;q=0", false), ("gzip;q=0, *", false), ("identity", false), ("", false),
        ])
    func codings(header: String, isTaken: Bool) {
        #expect(WebServer.accepts("gzip", header) == isTaken)
        #expect(!WebServer.accepts("gzip", nil))
    }
}
