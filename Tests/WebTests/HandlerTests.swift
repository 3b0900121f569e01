import Basics
import Model
import Rules
import Storage
import TestSupport
import Testing

@testable import Web

@Suite struct HandlerTests {
    @Test(
        "an error has its status and type",
        arguments: [
            ("/api/v1/query", [("query", "1 +")], 400, "bad_data", "1:4: parse error"),
            ("/api/v1/query", [], 400, "bad_data", "1:1: parse error"),
            ("/api/v1/query", [("query", "m + on() m")], 422, "execution", "found duplicate series"),
            ("/api/v1/query", [("query", "m"), ("timeout", "0")], 400, "bad_data", "timeout must be above 0"),
            (
                "/api/v1/query", [("query", "m"), ("timeout", "1e300")], 400, "bad_data",
                "invalid parameter \"timeout\""
            ),
            ("/api/v1/query", [("query", "m"), ("lookback_delta", "-1")], 400, "bad_data", "lookback_delta must be"),
            ("/api/v1/series", [], 400, "bad_data", "no match[] parameter provided"),
            ("/api/v1/series", [("match[]", "1")], 400, "bad_data", "invalid parameter \"match[]\""),
            (
                "/api/v1/series", [("match[]", "m offset 1m")], 400, "bad_data",
                "invalid parameter \"match[]\": \"m offset 1m\" is no selector; write a metric's name"
            ),
            (
                "/api/v1/series", [("match[]", "m @ 1")], 400, "bad_data",
                "invalid parameter \"match[]\": \"m @ 1\" is no selector; write a metric's name"
            ),
            ("/api/v1/label//values", [], 400, "bad_data", "invalid label name: \"\""),
            ("/api/v1/status/tsdb", [("limit", "0")], 400, "bad_data", "limit must be a positive number"),
        ] as [(String, [(String, String)], Int, String, String)])
    func errors(path: String, query: [(String, String)], status: Int, type: String, message: String) async throws {
        let bench = try await WebBench()
        for job in ["a", "b"] { bench.store.add(["__name__": "m", "job": job], Timestamp(seconds: 600), 1) }
        let (code, body) = try await bench.json(path, query)
        #expect(code == status && body["status"] == "error" && body["errorType"]?.string == type)
        #expect(body["error"]?.string?.hasPrefix(message) == true, "\(body.text)")
    }

    @Test("statistics and the plan come when they are asked for") func statistics() async throws {
        let bench = try await WebBench()
        for job in ["a", "b"] { bench.store.add(["__name__": "m", "job": job], Timestamp(seconds: 600), 1) }
        let query = [("query", "sum(m)"), ("time", "600")]
        #expect(try await bench.json("/api/v1/query", query).body["data"]?["stats"] == nil)
        let all = try await bench.json("/api/v1/query", query + [("stats", "all")]).body["data"]?["stats"]
        #expect(all?["samples"]?["totalQueryableSamples"] == 2 && all?["plan"] == nil)
        #expect(all?["samples"]?["totalQueryableSamplesPerStep"] == [[600, 2]])
        let range = [("query", "sum(m)"), ("start", "600"), ("end", "630"), ("step", "30"), ("stats", "explain")]
        let plan = try await bench.json("/api/v1/query_range", range).body["data"]?["stats"]?["plan"]
        #expect(plan?["node"] == "sum" && plan?["steps"] == 2 && plan?["children"]?[0]?["node"] == "m")
    }

    @Test(
        "no such path, no such method",
        arguments: [
            ("GET", "/api/v1/label/values", 404), ("GET", "/nothing", 404), ("GET", "/api/v1/labelx/a/values", 404),
            ("DELETE", "/api/v1/query", 405), ("POST", "/api/v1/label/a/values", 405), ("GET", "/-/reload", 405),
            ("POST", "/-/reload", 200), ("HEAD", "/-/healthy", 200), ("GET", "/-/ready", 200),
        ])
    func routes(method: String, path: String, status: Int) async throws {
        let bench = try await WebBench()
        #expect(await bench.answer(path, method: method).status == status)
    }

    static let hostile = [
        "9e18", "-9e18", "1e300", "-1e300", "NaN", "inf", "-inf", "x", "1e", "0x", "2026-13-01T00:00:00Z",
    ]

    @Test("a time that is none is refused, wherever it stands", arguments: hostile)
    func hostileTimes(text: String) async throws {
        let bench = try await WebBench()
        #expect(try await bench.json("/api/v1/query", [("query", "1"), ("time", text)]).status == 400)
        for name in ["start", "end"] {
            let times = [("start", "0"), ("end", "9")].filter { $0.0 != name } + [(name, text)]
            let range = try await bench.json("/api/v1/query_range", [("query", "1"), ("step", "1")] + times)
            #expect(range.status == 400 && range.body["errorType"] == "bad_data", "\(name)")
            #expect(try await bench.json("/api/v1/labels", times).status == 400)
            #expect(try await bench.json("/api/v1/series", [("match[]", "m")] + times).status == 400)
        }
    }

    @Test(
        "a moment is seconds or RFC 3339; without one it is now",
        arguments: [
            ("1.5", 1.5), ("-1", -1), ("1e3", 1000), ("1970-01-01T00:01:00Z", 60),
            ("1970-01-01T02:00:00.25+02:00", 0.25),
            ("", 600), ("9e14", 9e14), ("-9e14", -9e14),
        ])
    func times(text: String, seconds: Double) async throws {
        let bench = try await WebBench()
        let (status, body) = try await bench.json("/api/v1/query", [("query", "vector(2)"), ("time", text)])
        #expect(status == 200 && body["data"]?["result"]?[0]?["value"]?[0]?.number == seconds, "\(body.text)")
        // The greatest times there are, with the longest lookback, stay in range.
        let longest = [("query", "m offset 100y"), ("time", text), ("lookback_delta", "9.1e9")]
        #expect(try await bench.json("/api/v1/query", longest).status == 200)
    }

    @Test(
        "a range's parameters",
        arguments: [
            ("0", "9", "0", "zero or negative query resolution step widths are not accepted"),
            ("0", "9", "-1", "zero or negative query resolution step widths are not accepted"),
            ("0", "9", "1e18", "invalid parameter \"step\""), ("0", "9", "NaN", "invalid parameter \"step\""),
            ("0", "9", "1x", "invalid parameter \"step\""), ("0", "9", "", "invalid parameter \"step\""),
            ("", "9", "1", "invalid parameter \"start\""), ("0", "", "1", "invalid parameter \"end\""),
            ("9", "0", "1", "end timestamp must not be before start time"),
            (
                "0", "11001", "1",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
            ),
            ("-9e14", "9e14", "0.001", "exceeded maximum resolution of 11,000 points per timeseries."),
        ])
    func ranges(start: String, end: String, step: String, message: String) async throws {
        let bench = try await WebBench()
        let parameters = [("query", "1"), ("start", start), ("end", end), ("step", step)]
        let (status, body) = try await bench.json("/api/v1/query_range", parameters)
        #expect(status == 400 && body["errorType"] == "bad_data")
        #expect(body["error"]?.string?.hasPrefix(message) == true, "\(body.text)")
    }

    @Test("11,001 points are the most, as in Prometheus") func widest() async throws {
        let bench = try await WebBench()
        let parameters = [("query", "vector(1)"), ("start", "0"), ("end", "11000"), ("step", "1s")]
        let (status, body) = try await bench.json("/api/v1/query_range", parameters)
        #expect(status == 200 && body["data"]?["result"]?[0]?["values"]?.array?.count == 11_001)
    }

    @Test(
        "label names of any kind, escaped or not",
        arguments: [
            ("job", ["a", "b"]), ("none", []), ("a.b", ["x"]), ("U__a_2E_b", ["x"]), ("U__a_2e_b", ["x"]),
            ("U__job", ["a", "b"]), ("U__a_2E", []), ("U__a_zz_b", []), ("U__a_110000_b", []), ("U__x__y", ["under"]),
            ("\"<", []), ("héé", ["é"]),
        ])
    func labelValues(name: String, values: [String]) async throws {
        let bench = try await WebBench()
        let odd: Labels = ["__name__": "m", "job": "b", "a.b": "x", "x_y": "under", "héé": "é"]
        for labels in [["__name__": "m", "job": "a"], odd] { bench.store.add(labels, Timestamp(seconds: 1), 1) }
        let (status, body) = try await bench.json("/api/v1/label/\(name)/values")
        #expect(status == 200 && body["data"]?.array?.compactMap(\.string) == values, "\(body.text)")
    }

    @Test("what clients of Prometheus ask for besides") func status() async throws {
        let bench = try await WebBench(readsStorage: true)
        var batch = SampleBatch(timestamp: Timestamp(seconds: 600))
        for (name, job) in [("m", "a"), ("m", "b"), ("n", "a")] {
            batch.append(try #require(bench.storage.reference(of: ["__name__": name, "job": job])), 1)
        }
        #expect(bench.storage.append(batch).stored == 3)
        #expect(try await bench.json("/api/v1/metadata").body["data"] == .object([]))
        #expect(try await bench.json("/api/v1/query_exemplars", [("query", "m")]).body["data"] == .array([]))
        #expect(try await bench.json("/api/v1/status/config").body["data"]?["yaml"]?.string?.hasPrefix("#") == true)
        #expect(try await bench.json("/api/v1/status/flags").body["data"]?["query.lookback-delta"] == "5m")
        let data = try #require(try await bench.json("/api/v1/status/tsdb", [("limit", "1")]).body["data"])
        #expect(data["headStats"]?["numSeries"] == 3 && data["headStats"]?["numLabelPairs"] == 4)
        #expect(data["seriesCountByMetricName"] == [["name": "m", "value": 2]])
        #expect(data["labelValueCountByLabelName"] == [["name": "__name__", "value": 2]])
        #expect(data["seriesCountByLabelValuePair"] == [["name": "__name__=m", "value": 2]])
    }

    @Test("what is discovered has an instance only when one is configured") func discovered() async throws {
        let bench = try await WebBench(
            jobs: """
                scrape_configs:
                - job_name: j
                  static_configs: [{targets: ['a:1']}, {targets: ['b:1'], labels: {instance: mine}}]
                """)
        let targets = try #require(try await bench.json("/api/v1/targets").body["data"]?["activeTargets"]?.array)
        #expect(targets.map { $0["labels"]?["instance"] } == ["a:1", "mine"])
        #expect(targets.map { $0["discoveredLabels"]?["instance"] } == [nil, "mine"])
        #expect(targets.map { $0["discoveredLabels"]?["__address__"] } == ["a:1", "b:1"])
    }

    @Test("the first page shows a label as text, whatever it holds") func escaping() async throws {
        let bench = try await WebBench(
            rules: """
                groups:
                - name: g
                  rules: [{alert: A, expr: m, annotations: {summary: '{{ $labels.job }}', runbook_url: 'javascript:x'}}]
                """)
        bench.store.add(["__name__": "m", "job": "<script>alert(1)</script>"], Timestamp(seconds: 600), 1)
        await bench.scheduler.evaluate(at: Timestamp(seconds: 600), bench.clock)
        let answer = await bench.answer("/")
        let page = String(decoding: answer.body, as: UTF8.self)
        #expect(answer.status == 200 && answer.contentType == "text/html; charset=utf-8")
        #expect(page.contains("<title>Vedette: firing</title>") && page.contains("1 alerts fire"))
        #expect(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"))
        #expect(!page.contains("href=\"javascript"))
    }
}
