import Basics
import Model
import Storage
import TestSupport
import Testing

@testable import Scraping
@testable import Web

/// Exemplars, metadata, deletions, and the formats of pages.
@Suite struct ExposedDataTests {
    private static let jobs = """
        scrape_configs:
        - job_name: b
          static_configs: [{targets: ["x:1", "y:1", "z:1"]}]
          relabel_configs:
          - {source_labels: [__address__], regex: "z.*", action: drop}
          - {source_labels: [__address__], target_label: host, regex: "(.):.*", replacement: "$1"}
        - job_name: a
          static_configs: [{targets: ["x:1"]}]
        """

    private func text(_ answer: APIResponse) -> String { String(decoding: answer.body, as: UTF8.self) }

    @Test("exemplars of the series that a query reads") func exemplars() async throws {
        let bench = try await WebBench()
        for (name, job) in [("m_bucket", "b"), ("m_bucket", "a"), ("other", "a")] {
            let labels: Labels = ["__name__": name, "job": job]
            let reference = try #require(bench.storage.reference(of: labels))
            for second in [1.5, 2.5] {
                let exemplar = Exemplar(
                    labels: ["trace_id": "\(job)\(second)"], value: second / 4, timestamp: Timestamp(seconds: second))
                bench.storage.append([SeriesExemplar(reference: reference, series: labels, exemplar: exemplar)])
            }
        }
        let query = ("query", "sum(rate(m_bucket[5m])) / none")
        let answer = await bench.answer("/api/v1/query_exemplars", [query, ("start", "2"), ("end", "2.5")])
        #expect(
            text(answer)
                == #"{"status":"success","data":[{"seriesLabels":{"__name__":"m_bucket","job":"a"},"exemplars":"#
                + #"[{"labels":{"trace_id":"a2.5"},"value":"0.625","timestamp":2.5}]},"#
                + #"{"seriesLabels":{"__name__":"m_bucket","job":"b"},"exemplars":"#
                + #"[{"labels":{"trace_id":"b2.5"},"value":"0.625","timestamp":2.5}]}]}"#)
        #expect(await bench.answer("/api/v1/query_exemplars", [("query", "1")]).status == 204)
        for wrong in [[("query", "m{")], [query, ("start", "3"), ("end", "2")], []] {
            #expect(try await bench.json("/api/v1/query_exemplars", wrong).status == 400)
        }
    }

    @Test("metadata by metric and by target, with Prometheus' limits") func metadata() async throws {
        let bench = try await WebBench(jobs: ExposedDataTests.jobs)
        let targets = bench.manager.targets
        #expect(targets.count == 3)
        targets[0].setMetadata([
            MetricMetadata(metric: "m", type: .counter, help: "M."), MetricMetadata(metric: "n", type: .gauge),
        ])
        targets[1].setMetadata([MetricMetadata(metric: "m", type: .counter, help: "M.")])
        targets[2].setMetadata([MetricMetadata(metric: "m", type: .gauge, help: "Other.", unit: "bytes")])
        let path = "/api/v1/metadata"
        #expect(
            text(await bench.answer(path))
                == #"{"status":"success","data":{"m":[{"type":"counter","unit":"","help":"M."},"#
                + #"{"type":"gauge","unit":"bytes","help":"Other."}],"n":[{"type":"gauge","unit":"","help":""}]}}"#)
        #expect(try await bench.json(path, [("metric", "n")]).body["data"]?.members?.map(\.name) == ["n"])
        #expect(try await bench.json(path, [("limit", "1")]).body["data"]?.members?.map(\.name) == ["m"])
        #expect(try await bench.json(path, [("limit_per_metric", "1")]).body["data"]?["m"]?.array?.count == 1)
        #expect(try await bench.json(path, [("limit", "x")]).body["error"] == "limit must be a number")
        let list = "/api/v1/targets/metadata"
        let all = try await bench.json(list).body["data"]?.array ?? []
        #expect(all.count == 4 && all[0]["target"]?["host"] == "x" && all[0]["metric"] == "m")
        let one = try await bench.json(list, [("metric", "m"), ("match_target", "{job=\"b\"}")]).body["data"]?.array
        #expect(one?.count == 2 && one?.allSatisfy { $0["metric"] == nil && $0["type"] == "counter" } == true)
        #expect(try await bench.json(list, [("limit", "1"), ("metric", "m")]).body["data"]?.array?.count == 1)
        #expect(try await bench.json(list, [("match_target", "{")]).status == 400)
    }

    @Test("targets by state and pool, and how rules make them") func targets() async throws {
        let bench = try await WebBench(jobs: ExposedDataTests.jobs)
        let whole = try await bench.json("/api/v1/targets").body["data"]
        #expect(whole?["activeTargets"]?.array?.map { $0["scrapePool"]?.string } == ["a", "b", "b"])
        #expect(whole?["activeTargets"]?[1]?["discoveredLabels"]?["__address__"] == "x:1")
        #expect(whole?["droppedTargets"]?[0]?["discoveredLabels"]?["__address__"] == "z:1")
        #expect(whole?["droppedTargetCounts"] == ["a": 0, "b": 1])
        for (parameters, active, dropped) in [
            ([("state", "active")], 3, 0), ([("state", "dropped")], 0, 1), ([("scrapePool", "a")], 1, 0),
            ([("state", "Any"), ("scrapePool", "b")], 2, 1), ([("state", "none")], 0, 0),
        ] {
            let found = try await bench.json("/api/v1/targets", parameters).body["data"]
            #expect(found?["activeTargets"]?.array?.count == active, "\(parameters)")
            #expect(found?["droppedTargets"]?.array?.count == dropped, "\(parameters)")
        }
        #expect(try await bench.json("/api/v1/scrape_pools").body["data"] == ["scrapePools": ["a", "b"]])
        let path = "/api/v1/targets/relabel_steps"
        let steps = await bench.answer(path, [("scrapePool", "b"), ("labels", #"{"__address__":"x:1"}"#)])
        #expect(
            text(steps)
                == #"{"status":"success","data":{"steps":[{"rule":{"source_labels":["__address__"],"separator":";","#
                + #""regex":"z.*","replacement":"$1","action":"drop"},"output":{"__address__":"x:1"},"keep":true},"#
                + #"{"rule":{"source_labels":["__address__"],"separator":";","regex":"(.):.*","target_label":"host","#
                + #""replacement":"$1","action":"replace"},"output":{"__address__":"x:1","host":"x"},"keep":true}]}}"#)
        let dropped = try await bench.json(path, [("scrapePool", "b"), ("labels", #"{"__address__":"z:1"}"#)]).body
        #expect(dropped["data"]?["steps"]?.array?.last?["keep"] == false)
        for wrong in [
            [], [("scrapePool", "b")], [("scrapePool", "c"), ("labels", "{}")],
            [("scrapePool", "b"), ("labels", "[1]")],
        ] {
            #expect(try await bench.json(path, wrong).status == 400)
        }
    }

    @Test("samples are deleted when the start allows it, and not else", arguments: ["POST", "PUT"])
    func deletion(method: String) async throws {
        let path = "/api/v1/admin/tsdb/delete_series"
        for name in [path, "/api/v1/admin/tsdb/clean_tombstones", "/api/v1/admin/tsdb/snapshot"] {
            let closed = try await WebBench().answer(name, [("match[]", "m")], method: method)
            #expect(closed.status == 503)
            #expect(text(closed) == #"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#)
        }
        let bench = try await WebBench(allowsAdmin: true, readsStorage: true)
        for second in [580.0, 590, 600] {
            var batch = SampleBatch(timestamp: Timestamp(seconds: second))
            for job in ["a", "b"] {
                batch.append(try #require(bench.storage.reference(of: ["__name__": "m", "job": job])), second)
            }
            #expect(bench.storage.append(batch).stored == 2)
        }
        func values(_ query: String) async throws -> [String?] {
            try await bench.json("/api/v1/query", [("query", query)]).body["data"]?["result"]?.array?.map {
                $0["value"]?[1]?.string
            } ?? []
        }
        #expect(await bench.answer(path, method: method).status == 400)
        #expect(await bench.answer(path, [("match[]", "m{")], method: method).status == 400)
        let snapshot = "/api/v1/admin/tsdb/snapshot"
        #expect(await bench.answer(snapshot, [("skip_head", "maybe")], method: method).status == 400)
        let name = text(await bench.answer(snapshot, [("skip_head", "true")], method: method))
        #expect(
            name.wholeMatch(of: /\{"status":"success","data":\{"name":"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}"\}\}/) != nil)
        #expect(await bench.answer(path, [("match[]", "m")]).status == 405)
        let range = [("match[]", "m{job=\"a\"}"), ("start", "590"), ("end", "700")]
        let done = await bench.answer(path, range, method: method)
        #expect(done.status == 204 && done.body.isEmpty)
        #expect(try await values("sort(m)") == ["580", "600"])
        #expect(try await values("sum(count_over_time(m[1h]))") == ["4"])
        #expect(await bench.answer(path, [("match[]", "m"), ("match[]", "x")], method: method).status == 204)
        #expect(await bench.answer("/api/v1/admin/tsdb/clean_tombstones", method: method).status == 204)
        #expect(try await values("m").isEmpty)
        #expect(try await bench.json("/api/v1/series", [("match[]", "m")]).body["data"] == [])
        #expect(try await bench.json("/api/v1/features").body["data"]?["api"]?["admin"] == true)
    }

    @Test(
        "pages come in the format that is asked for",
        arguments: [
            (nil, "text/plain; version=0.0.4; charset=utf-8", "a_b_total 1\n", "m_x untyped\nm_x{instance=\"\""),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1",
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
                "{\"a.b_total\"} 1.0\n",
                "\"m.x\" unknown\n{\"m.x\",instance=\"\",le=\"1\",region=\"eu\"} 2.0 599.5\n# EOF\n"
            ),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8",
                "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8", "{\"a.b_total\"} 1\n",
                "{\"m.x\",instance=\"\",le=\"1\",region=\"eu\"} 2 599500\n"
            ),
        ] as [(String?, String, String, String)])
    func formats(accept: String?, type: String, own: String, federated: String) async throws {
        let bench = try await WebBench()
        bench.store.add(["__name__": "m.x", "le": "1"], Timestamp(seconds: 599.5), 2)
        let page = await bench.answer("/metrics", accept: accept)
        #expect(page.contentType == type && text(page).contains(own), "\(text(page))")
        for method in ["GET", "HEAD"] {
            let found = await bench.answer("/federate", [("match[]", "{le=\"1\"}")], method: method, accept: accept)
            #expect(
                found.status == 200 && found.contentType == type && text(found).contains(federated), "\(text(found))")
        }
    }

    @Test("the store's and the process' figures") func status() async throws {
        let bench = try await WebBench(readsStorage: true)
        var batch = SampleBatch(timestamp: Timestamp(seconds: 590))
        for job in ["a", "bb"] {
            batch.append(try #require(bench.storage.reference(of: ["__name__": "m", "job": job])), 1)
        }
        _ = bench.storage.append(batch)
        let body = try await bench.json("/api/v1/status/tsdb").body["data"]
        #expect(
            body?["headStats"] == [
                "numSeries": 2, "numLabelPairs": 3, "chunkCount": 2, "minTime": 590_000, "maxTime": 590_000,
            ])
        #expect(
            body?["memoryInBytesByLabelName"] == [["name": "job", "value": 3], ["name": "__name__", "value": 2]])
        #expect(try await bench.json("/api/v1/status/tsdb", [("limit", "10001")]).status == 400)
        let facts = try await bench.json("/api/v1/status/runtimeinfo").body["data"]
        #expect(facts?["reloadConfigSuccess"] == true && facts?["storageRetention"] == "")
    }
}
