import Basics
import Model
import Testing
import Transport

@testable import Scraping
@testable import Web

/// The health documents that Vedette serves, and the series of its checks on `/metrics`.
@Suite struct HealthAPITests {
    private static let checks = """
        [{name: ml, url: 'http://h/health/ml?token=geheim', metrics: {p95_latency_ms: $.p95, model_loaded: $.loaded}},
         {name: db, url: 'postgresql://h/d', queries: [{name: orders, query: SELECT 1, labels: [region], metrics: [open]}]},
         {name: far, url: 'icmp://h'}]
        """

    private func bench() async throws -> WebBench {
        let bench = try await WebBench(checks: HealthAPITests.checks)
        for watched in bench.manager.targets {
            var report = HealthReport()
            report.durationSeconds = 0.0125
            switch watched.target.labels["check"] {
            case "ml":
                report.status = 200
                report.values = [.init("p95_latency_ms", 61.5), .init("model_loaded", 1, shown: .bool(true))]
                report.fail(.body, "too slow")
            case "db":
                report.values = ["eu", "us"].map {
                    .init("open", labels: [Label("region", $0), Label("query", "orders")], 2)
                }
            default: report.fail(.timeout, "timed out")
            }
            watched.setHealth(report)
        }
        return bench
    }
    private func body(_ answer: APIResponse) -> String { String(decoding: answer.body, as: UTF8.self) }

    @Test("Vedette's own document") func own() async throws {
        let answer = try await bench().answer("/health")
        #expect(answer.status == 200)
        #expect(body(answer) == #"{"status":"healthy","timestamp":"1970-01-01T00:10:00.000Z","version":"1"}"#)
    }

    @Test(
        "a check's document has the fields at the top",
        arguments: [
            (
                "ml", 200,
                #"{"status":"degraded","p95_latency_ms":61.5,"model_loaded":true,"latency_ms":12.5,"error":"too slow","#
            ),
            (
                "db", 200,
                #"{"status":"healthy","orders":[{"region":"eu","open":2},{"region":"us","open":2}],"latency_ms":12.5,"#
            ),
            ("far", 503, #"{"status":"unhealthy","latency_ms":12.5,"error":"timed out","#),
        ])
    func one(name: String, status: Int, start: String) async throws {
        let answer = try await bench().answer("/health/\(name)")
        #expect(answer.status == status)
        #expect(body(answer) == start + #""timestamp":"1970-01-01T00:10:00.000Z"}"#)
    }

    @Test("what is not known, and what was not looked at yet") func unknown() async throws {
        #expect(try await bench().answer("/health/nobody").status == 404)
        #expect(try await bench().answer("/health/ml", method: "POST").status == 405)
        let fresh = try await WebBench(checks: HealthAPITests.checks)
        let answer = await fresh.answer("/health/ml")
        #expect(answer.status == 503 && body(answer).hasPrefix(#"{"status":"unknown","#))
    }

    @Test("the whole is degraded when any is not well") func detailed() async throws {
        let answer = try await bench().answer("/health/detailed")
        let document = try JSON(parsing: answer.body)
        #expect(answer.status == 200 && document["status"]?.string == "degraded")
        #expect(document["services"]?["far"]?["status"]?.string == "unhealthy")
        #expect(document["services"]?["ml"]?["model_loaded"] == .bool(true))
        let empty = await (try WebBench()).answer("/health/detailed")
        #expect(body(empty).hasPrefix(#"{"status":"healthy","services":{},"#))
    }

    @Test("the checks' series are on the page for others, not for Vedette, up to a limit") func metrics() async throws {
        let bench = try await bench()
        let page = body(await bench.answer("/metrics"))
        #expect(page.contains("health_check_up{check=\"ml\",instance=\"h\",job=\"health_checks\"} 0\n"))
        #expect(page.contains("health_check_value{check=\"db\",field=\"open\",instance=\"h\",job=\"health_checks\""))
        #expect(page.contains("health_check_failure_info{check=\"far\""))
        #expect(page.contains("vedette_health_checks_not_exposed 0\n") && !page.contains("geheim"))
        var own = APIRequest(path: "/metrics")
        own.agent = Target.agent
        #expect(!body(await bench.api.answer(own)).contains("health_check_up"))
        var context = bench.api.context
        context.exposedChecks = { 1 }
        let cut = body(await API(context).answer(APIRequest(path: "/metrics")))
        #expect(cut.contains("vedette_health_checks_not_exposed 2\n") && !cut.contains("check=\"far\""))
    }
}
