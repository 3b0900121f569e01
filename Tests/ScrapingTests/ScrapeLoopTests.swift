import Basics
import Model
import Settings
import TestSupport
import Testing
import Transport

@testable import Scraping

@Suite struct ScrapeLoopTests {
    /// A loop over one job or some checks, stepped every 5 ms of simulated time.
    private final class Bench {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_123))
        let sink = RecordingSink()
        let figures = ScrapeFigures()
        let log = RecordingLog()
        let files = MemoryFiles()
        let fetcher: FakeFetcher
        let loop: ScrapeLoop
        let manager: ScrapeManager

        init(_ yaml: String, answer: @escaping (String) -> FakeFetcher.Answer) throws {
            let map = try SettingsDocument(yaml, file: "v.yaml").map()
            var jobs: [ScrapeJob] = []
            for part in try map.takeMaps("scrape_configs") {
                jobs.append(try ScrapeJob(from: part, defaults: ScrapeDefaults()))
            }
            var checks: [HealthCheck] = []
            for part in try map.takeMaps("health_checks") { checks.append(try HealthCheck(from: part)) }
            fetcher = FakeFetcher(clock: clock, answer: answer)
            let mailbox = ScrapeLoop.Mailbox()
            loop = ScrapeLoop(
                mailbox: mailbox, fetcher: fetcher, clock: clock, sink: sink, figures: figures, log: log,
                readFile: { [files] in try files.contents(of: $0) })
            manager = ScrapeManager(mailboxes: [mailbox])
            manager.use(Discovery(jobs: jobs, checks: checks, files: files, figures: figures, log: log))
        }

        func run(seconds: Double) {
            for _ in 0..<Int(seconds * 200) {
                loop.step(wait: 0)
                clock.run(for: 5)
            }
        }
        func count(_ name: String, _ labels: Labels = Labels()) -> Double? {
            figures.metrics().first { $0.name == name }?.lines.first { $0.labels == labels }?.value
        }
    }

    private static let job = """
        scrape_configs:
        - job_name: a
          scrape_interval: 1s
          static_configs: [{targets: ['h:1'], labels: {zone: z}}]
        """

    @Test("a page becomes series, with the five about the target, on the slot") func page() throws {
        let bench = try Bench(Self.job) { _ in
            .init(body: "# HELP x X.\n# TYPE x gauge\nx{zone=\"mine\"} 1\ny 2 1789999999000\n")
        }
        bench.run(seconds: 3)
        #expect(bench.sink.values(of: #"x{exported_zone="mine", instance="h:1", job="a", zone="z"}"#) == [1, 1, 1])
        let up = bench.sink.samples.filter { $0.labels.metricName == "up" }
        #expect(up.map(\.value) == [1, 1, 1])
        #expect(up[1].timestamp - up[0].timestamp == 1000 && up[2].timestamp - up[1].timestamp == 1000)
        #expect(
            bench.sink.samples.filter { $0.labels.metricName == "y" }.map(\.timestamp) == [
                1_789_999_999_000, 1_789_999_999_000, 1_789_999_999_000,
            ])
        #expect(bench.sink.values(of: #"scrape_samples_scraped{instance="h:1", job="a", zone="z"}"#) == [2, 2, 2])
        #expect(bench.sink.values(of: #"scrape_series_added{instance="h:1", job="a", zone="z"}"#) == [2, 0, 0])
        #expect(bench.manager.targets[0].status.health == .up)
    }

    @Test("a series that vanishes gets one staleness marker; lines may move, come and go") func staleness() throws {
        let pages = ["a 1\nb 2\nc 3\n", "c 4\na 5\n", "new 1\na 6\nb 7\nc 8\n", "", "a 9\n"]
        var round = -1
        let bench = try Bench(Self.job) { _ in
            round += 1
            return .init(body: pages[min(round, 4)])
        }
        bench.run(seconds: 5)
        func bits(_ name: String) -> [String] {
            bench.sink.samples.filter { $0.labels.metricName == name }.map {
                $0.value.isStaleMarker ? "stale" : "\($0.value)"
            }
        }
        #expect(bits("a") == ["1.0", "5.0", "6.0", "stale", "9.0"])
        #expect(bits("b") == ["2.0", "stale", "7.0", "stale"])
        #expect(bits("c") == ["3.0", "4.0", "8.0", "stale"])
        #expect(bits("new") == ["1.0", "stale"])
    }

    @Test(
        "nothing of a failed scrape is stored; its series are stale once; the failure is counted and told",
        arguments: [
            ("status", FakeFetcher.Answer(status: 503), "server returned HTTP status 503"),
            ("format", .init(body: "a 1\nb x\n"), "line 2:3: a number is expected"),
            ("format", .init(body: "<html>no</html>"), "line 1:1: a metric's name is expected"),
            (
                "format", .init(body: "a 1\n# TYPE b nonsense\n"),
                "line 2:18: 'nonsense' is no type of metric; counter, gauge, histogram, summary or untyped"
            ),
            ("timeout", .init(delay: 5000), "timed out; look why the target is slow, or raise the timeout"),
            ("unreachable", .init(error: .unreachable("Couldn't connect to server")), "Couldn't connect to server"),
            (
                "lookup", .init(error: .unreachable("no such host"), details: FetchDetails(cause: .resolve)),
                "no such host"
            ),
            (
                "body_limit", .init(body: String(repeating: "#", count: 2000)),
                "the page is longer than body_size_limit, 1024 bytes; raise it or expose less"
            ),
            (
                "sample_limit", .init(body: "a 1\nb 1\nc 1\n"),
                "more samples than sample_limit, 2; raise it or expose less"
            ),
        ] as [(String, FakeFetcher.Answer, String)])
    func failures(kind: String, answer: FakeFetcher.Answer, reason: String) throws {
        var round = -1
        let bench = try Bench(
            Self.job.replacing(
                "scrape_interval: 1s",
                with: "scrape_interval: 1s\n  scrape_timeout: 500ms\n  sample_limit: 2\n  body_size_limit: 1KB")
        ) { _ in
            round += 1
            return round == 1 || round == 2 ? answer : .init(body: "a \(round)\nb 1\n")
        }
        bench.run(seconds: 5.5)
        let a = bench.sink.samples.filter { $0.labels.metricName == "a" }
        #expect(a.count >= 3 && a[0].value == 0 && a[1].value.isStaleMarker && a[2].value >= 3)
        #expect(bench.sink.samples.filter { $0.labels.metricName == "up" }.map(\.value).starts(with: [1, 0, 0, 1]))
        #expect(bench.count("vedette_scrapes_failed_total", ["reason": kind]) == 2)
        let events = bench.log.events.filter { $0.kind == "target-down" }
        #expect(events.count == 1 && events[0].message == "http://h:1/metrics is down: \(reason)")
    }

    @Test("blanks before a value may come and go, as in a column that is kept aligned") func padding() throws {
        let pages = ["a  1\nb 1\n", "a 12\nb 2\n", "a   3\nb 3\n", "a\t4\nb 4\n"]
        var round = -1
        let bench = try Bench(Self.job) { _ in
            round += 1
            return .init(body: pages[min(round, 3)])
        }
        bench.run(seconds: 4)
        let values = bench.sink.samples.filter { $0.labels.metricName == "a" }.map(\.value)
        #expect(values == [1, 12, 3, 4])
        #expect(bench.sink.samples.filter { $0.labels.metricName == "up" }.map(\.value) == [1, 1, 1, 1])
    }

    @Test("a slow target misses its own slots, not those of others") func slowTarget() throws {
        let yaml = Self.job.replacing("['h:1']", with: "['slow:1', 'fast:1']").replacing(
            "scrape_interval: 1s", with: "scrape_interval: 2s\n  scrape_timeout: 2s")
        let bench = try Bench(yaml) { $0.contains("slow") ? .init(delay: 10_000) : .init(body: "a 1\n") }
        bench.run(seconds: 20)
        let fast = bench.fetcher.starts.filter { $0.url.contains("fast") }.map(\.at.milliseconds)
        #expect(zip(fast, fast.dropFirst()).allSatisfy { $1 - $0 == 2000 } && fast.count == 10)
        #expect(bench.sink.values(of: #"up{instance="fast:1", job="a", zone="z"}"#).allSatisfy { $0 == 1 })
        #expect(bench.sink.values(of: #"up{instance="slow:1", job="a", zone="z"}"#).allSatisfy { $0 == 0 })
    }

    @Test("a jump of the wall clock stops no scraping", arguments: [-7_200_000, 7_200_000] as [Int64]) func clockJump(
        jump: Int64
    ) throws {
        let bench = try Bench(Self.job) { _ in .init(body: "a 1\n") }
        bench.run(seconds: 5)
        bench.clock.jumpWallClock(by: jump)
        bench.run(seconds: 10)
        #expect((14...16).contains(bench.fetcher.starts.count))
    }

    @Test("a removed target ends its series, an added one begins; files are watched and a broken one changes nothing")
    func files() throws {
        let yaml = "scrape_configs: [{job_name: f, scrape_interval: 1s, file_sd_configs: [{files: [sd/*.json]}]}]"
        let bench = try Bench(yaml) { _ in .init(body: "a 1\n") }
        #expect(bench.manager.targets.isEmpty)
        bench.files.put("sd/one.json", #"[{"targets": ["x:1", "y:1"], "labels": {"l": "1"}}]"#)
        bench.manager.refresh()
        bench.run(seconds: 2)
        #expect(bench.manager.targets.map(\.target.url) == ["http://x:1/metrics", "http://y:1/metrics"])
        bench.files.put("sd/one.json", #"[{"targets": ["x:1""#)
        bench.manager.refresh()
        #expect(bench.manager.targets.count == 2)
        #expect(bench.count("vedette_discovery_failures_total") == 1)
        bench.files.put("sd/one.json", #"[{"targets": ["x:1"], "labels": {"l": "1"}}]"#)
        bench.manager.refresh()
        bench.run(seconds: 1)
        #expect(bench.sink.values(of: #"a{instance="y:1", job="f", l="1"}"#).last?.isStaleMarker == true)
        #expect(bench.sink.values(of: #"up{instance="y:1", job="f", l="1"}"#).last?.isStaleMarker == true)
        #expect(bench.sink.values(of: #"a{instance="x:1", job="f", l="1"}"#).last == 1)
    }

    @Test("an interval of nothing in a discovery file is refused with its place, and scrapes nothing to death")
    func zeroInterval() throws {
        let yaml = "scrape_configs: [{job_name: f, scrape_interval: 1s, file_sd_configs: [{files: [sd/*.json]}]}]"
        let bench = try Bench(yaml) { _ in .init(body: "a 1\n") }
        bench.files.put("sd/one.json", #"[{"targets": ["x:1"], "labels": {"__scrape_interval__": "0s"}}]"#)
        bench.manager.refresh()
        bench.run(seconds: 2)
        #expect(bench.manager.targets.isEmpty)
        let told = bench.log.events.first?.message ?? ""
        #expect(told.hasPrefix("sd/one.json:1:"))
        #expect(told.contains("labels: __scrape_interval__ is '0s', no duration above 0; write it as 15s"))
    }

    @Test("a line longer than the limit, a million series: refused and counted, the rest goes on") func hostile() throws
    {
        let yaml = Self.job.replacing("['h:1']", with: "['big:1', 'long:1', 'good:1']")
        let bench = try Bench(yaml) { url in
            if url.contains("long") { return .init(body: "a{b=\"\(String(repeating: "x", count: 70_000))\"} 1\n") }
            return .init(body: url.contains("big") ? (0..<3000).map { "s{n=\"\($0)\"} 1\n" }.joined() : "a 1\n")
        }
        bench.run(seconds: 2)
        #expect(bench.sink.values(of: #"up{instance="good:1", job="a", zone="z"}"#) == [1, 1])
        #expect(bench.sink.values(of: #"up{instance="long:1", job="a", zone="z"}"#) == [0, 0])
        #expect(bench.sink.values(of: #"up{instance="big:1", job="a", zone="z"}"#) == [1, 1])
    }

    @Test("a slot comes once, also when the clocks are a millisecond apart") func slotOnce() throws {
        let bench = try Bench(Self.job) { _ in .init(body: "a 1\n", delay: 0) }
        for _ in 0..<20 {
            bench.run(seconds: 0.5)
            bench.clock.jumpWallClock(by: -1)
        }
        let starts = bench.fetcher.starts.map(\.at.milliseconds)
        #expect(starts.count >= 9 && zip(starts, starts.dropFirst()).allSatisfy { $1 - $0 > 900 })
    }

    @Test("a large new page is read in slices: no other target waits for it, and it is stored whole or not at all")
    func largePage() throws {
        let yaml = Self.job.replacing("['h:1']", with: "['big:1', 'good:1']")
        let large = (0..<20_000).map { "s{n=\"\($0)\"} 1\n" }.joined()
        var isBad = false
        let bench = try Bench(yaml) { url in
            .init(body: url.contains("big") ? large + (isBad ? "s{" : "s{n=\"last\"} 1\n") : "a 1\n")
        }
        var slices = 0
        while bench.sink.values(of: #"up{instance="big:1", job="a", zone="z"}"#).isEmpty {
            // While there is more to read the loop is due at once.
            if bench.loop.step(wait: 0) == 0 { slices += 1 }
            bench.clock.run(for: 5)
        }
        #expect(slices == 3)
        #expect(bench.sink.samples.count { $0.labels.metricName == "s" } == 20_001)
        isBad = true
        bench.run(seconds: 3)
        #expect(bench.sink.values(of: #"up{instance="big:1", job="a", zone="z"}"#).last == 0)
        #expect(bench.sink.samples.count { $0.labels.metricName == "s" && $0.value.isStaleMarker } == 20_001)
        let good = bench.sink.samples.filter { $0.labels.metricName == "a" }.map(\.timestamp)
        #expect(good.count >= 3 && zip(good, good.dropFirst()).allSatisfy { $1 - $0 == 1000 })
    }

    @Test("a target that goes while its page is being read ends the series of the page before") func goesWhileRead()
        throws
    {
        var extra = ""
        let bench = try Bench(
            "scrape_configs: [{job_name: f, scrape_interval: 1s, file_sd_configs: [{files: [sd.json]}]}]"
        ) { _ in .init(body: "a 1\n\(extra)") }
        bench.files.put("sd.json", #"[{"targets": ["x:1"]}]"#)
        bench.manager.refresh()
        bench.run(seconds: 2)
        extra = (0..<20_000).map { "s{n=\"\($0)\"} 1\n" }.joined()
        while bench.loop.step(wait: 0) != 0 { bench.clock.run(for: 5) }
        bench.files.put("sd.json", "[]")
        bench.manager.refresh()
        bench.run(seconds: 2)
        #expect(bench.sink.values(of: #"a{instance="x:1", job="f"}"#).last?.isStaleMarker == true)
        #expect(!bench.sink.samples.contains { $0.labels.metricName == "s" })
    }

    @Test("a page of comments and empty lines costs no more than its bytes") func comments() throws {
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        for tail in ["a 1\n", "a 2\n# more\n", "a 3\n\n\n"] {
            var body = Array((String(repeating: "\n# x\n", count: 1000) + tail).utf8)
            batch.reset(to: Timestamp(milliseconds: 0))
            let summary = try cache.read(&body, into: &batch, PageOptions()) { _ in 7 }
            #expect(summary.samples == 1 && batch.count == 1 && cache.lineCount <= 3)
        }
        #expect(cache.parsedLines == 1)
    }

    @Test("a target that was away longer than history is kept begins its series anew") func longAway() throws {
        let bench = try Bench(Self.job) { _ in .init(body: "a 1\n") }
        bench.run(seconds: 2)
        bench.sink.forget()
        bench.run(seconds: 3)
        #expect(bench.sink.values(of: #"a{instance="h:1", job="a", zone="z"}"#).count >= 4)
        #expect(bench.sink.values(of: #"up{instance="h:1", job="a", zone="z"}"#).count >= 4)
    }

    @Test("series that the store refused are asked for again") func refusedSeries() throws {
        let sink = RecordingSink(seriesLimit: 1)
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        for round in 0..<20 {
            if round == 10 { sink.forget() }
            var body = Array("a 1\nb 1\n".utf8)
            batch.reset(to: Timestamp(milliseconds: Int64(round) * 1000))
            let summary = try cache.read(&body, into: &batch, PageOptions()) {
                sink.reference(of: Labels($0))
            }
            #expect(summary.refused == (round <= 16 && round != 16 ? 1 : 0))
        }
    }

    @Test("a target that is up again is told once") func upAgain() throws {
        var isGood = true
        let bench = try Bench(Self.job) { _ in .init(status: isGood ? 200 : 500, body: "a 1\n") }
        bench.run(seconds: 2)
        isGood = false
        bench.run(seconds: 2)
        isGood = true
        bench.run(seconds: 3)
        #expect(bench.log.events.map(\.kind) == ["target-down", "target-up"])
        #expect(bench.manager.targets[0].status.lastError.isEmpty)
    }

    @Test("authorization and parameters reach the request; secrets do not reach the status") func request() throws {
        let yaml = """
            scrape_configs:
            - job_name: a
              scrape_interval: 1s
              params: {module: [x, 'y z']}
              metrics_path: /probe
              scheme: https
              basic_auth: {username: u, password: geheim}
              static_configs: [{targets: ['h:1']}]
            """
        let bench = try Bench(yaml) { _ in .init(status: 401) }
        bench.run(seconds: 1.1)
        let request = try #require(bench.fetcher.requests.values.first)
        #expect(request.url == "https://h:1/probe?module=x&module=y%20z")
        #expect(request.headers.contains(HTTPHeader("Authorization", "Basic dTpnZWhlaW0=")))
        #expect(!"\(bench.manager.targets.map(\.status)) \(bench.manager.targets.map(\.target))".contains("geheim"))
    }
}

/// What a job asks of its pages, through a whole loop.
@Suite struct PageSettingsTests {
    private final class Bench {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_123))
        let sink = RecordingSink()
        let figures = ScrapeFigures()
        let log = RecordingLog()
        let exemplars = RecordingExemplars()
        let fetcher: FakeFetcher
        let loop: ScrapeLoop
        let manager: ScrapeManager

        init(_ keys: String, answer: @escaping (Int) -> FakeFetcher.Answer) throws {
            let yaml =
                "{job_name: j, scrape_interval: 1s, \(keys), static_configs: [{targets: ['h:1'], labels: {z: t}}]}"
            let job = try ScrapeJob(from: SettingsDocument(yaml, file: "v.yaml").map(), defaults: ScrapeDefaults())
            var round = -1
            fetcher = FakeFetcher(clock: clock) { _ in
                round += 1
                return answer(round)
            }
            let mailbox = ScrapeLoop.Mailbox()
            loop = ScrapeLoop(
                mailbox: mailbox, fetcher: fetcher, clock: clock, sink: sink, figures: figures, log: log,
                readFile: { _ in [] }, exemplars: exemplars)
            manager = ScrapeManager(mailboxes: [mailbox])
            manager.use(Discovery(jobs: [job], checks: [], files: MemoryFiles(), figures: figures, log: log))
        }
        func run(seconds: Double) {
            for _ in 0..<Int(seconds * 200) {
                loop.step(wait: 0)
                clock.run(for: 5)
            }
        }
        func values(_ name: String) -> [String] {
            sink.samples.filter { $0.labels.metricName == name }.map {
                $0.value.isStaleMarker ? "stale" : "\($0.value)"
            }
        }
        var status: TargetStatus { manager.targets[0].status }
    }

    @Test(
        "a page beyond a limit, or without a type that can be read, fails whole",
        arguments: [
            (
                "label_limit: 4", "a{b=\"c\"} 1\n", "text/plain",
                "line 2:1: the series has 5 labels, above label_limit, 4; raise it or drop some"
            ),
            (
                "label_name_length_limit: 8", "a{long_name_=\"c\"} 1\n", "text/plain",
                "line 2:1: the label's name 'long_name_' is longer than label_name_length_limit, 8"
            ),
            (
                "label_value_length_limit: 3", "a{b=\"long\"} 1\n", "text/plain",
                "line 2:1: the value of the label 'b' is longer than label_value_length_limit, 3"
            ),
            (
                "metric_name_validation_scheme: legacy", "{\"a.b\"} 1\n", "text/plain",
                "line 2:1: the name 'a.b' is not allowed by metric_name_validation_scheme: legacy"
            ),
            (
                "metric_relabel_configs: [{regex: __name__, action: labeldrop}]", "a 1\n", "text/plain",
                "line 1:1: metric_relabel_configs leave the series no name; keep __name__, or drop it"
            ),
            (
                "honor_labels: false", "a 1\n", "text/html",
                "the Content-Type 'text/html' is none that is read here; let the target say text/plain, or set fallback_scrape_protocol"
            ),
            (
                "honor_labels: false", "a 1\n", nil,
                "the answer has no Content-Type; let the target say text/plain, or set fallback_scrape_protocol"
            ),
            (
                "honor_labels: false", "a 1\n", "application/openmetrics-text",
                "line 3:1: the page does not end with # EOF"
            ),
        ] as [(String, String, String?, String)])
    func limits(keys: String, line: String, type: String?, message: String) throws {
        let bench = try Bench(keys) { _ in .init(body: "a 0\n" + line, contentType: type) }
        bench.run(seconds: 2)
        #expect(bench.status.lastError == message)
        #expect(Set(bench.values("up")) == ["0.0"] && bench.values("a").isEmpty)
    }

    @Test("a fallback is read where the type is missing or unknown, not where it is known") func fallback() throws {
        let types: [String?] = [nil, "text/html", "text/plain"]
        let bench = try Bench("fallback_scrape_protocol: OpenMetricsText1.0.0") { round in
            .init(body: round < 2 ? "a 1 1.5\n# EOF\n" : "a 1 1500\n", contentType: types[min(round, 2)])
        }
        bench.run(seconds: 3)
        #expect(bench.values("up") == ["1.0", "1.0", "1.0"])
        #expect(bench.sink.samples.filter { $0.labels.metricName == "a" }.map(\.timestamp) == [1500, 1500, 1500])
        #expect(
            bench.fetcher.requests.values.first?.headers.contains {
                $0.name == "Accept"
                    && $0.value.hasPrefix("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,")
            } == true)
    }

    @Test("metric relabelling drops and renames, is counted, and its limit is that of what is left") func relabelled()
        throws
    {
        let keys = """
            sample_limit: 2, extra_scrape_metrics: true, scrape_timeout: 500ms, metric_relabel_configs: \
            [{source_labels: [__name__], regex: 'go_.*', action: drop}, {source_labels: [x], target_label: __name__, regex: (.+)}]
            """
        let bench = try Bench(keys) { round in
            .init(body: "go_a 1\na{x=\"new\"} \(round)\ngo_b 2\nb 3\n" + (round == 2 ? "c 4\nd 5\ngo_c 6\n" : ""))
        }
        bench.run(seconds: 4)
        #expect(bench.values("new") == ["0.0", "1.0", "stale", "3.0"])
        #expect(bench.values("b") == ["3.0", "3.0", "stale", "3.0"] && bench.values("go_a").isEmpty)
        #expect(bench.values("up") == ["1.0", "1.0", "0.0", "1.0"])
        #expect(bench.values("scrape_samples_scraped") == ["4.0", "4.0", "7.0", "4.0"])
        #expect(bench.values("scrape_samples_post_metric_relabeling").prefix(2) == ["2.0", "2.0"])
        #expect(bench.values("scrape_series_added").prefix(2) == ["2.0", "0.0"])
        #expect(bench.values("scrape_timeout_seconds") == ["0.5", "0.5", "0.5", "0.5"])
        #expect(bench.values("scrape_sample_limit").first == "2.0")
        #expect(bench.values("scrape_body_size_bytes").first == "31.0")
    }

    @Test("a series with timestamps of its own ends when that is asked for", arguments: [true, false])
    func timestamped(isTracked: Bool) throws {
        let bench = try Bench("track_timestamps_staleness: \(isTracked)") { round in
            .init(body: round == 0 ? "a 1 1789999999000\nb 2\n" : "b 2\n")
        }
        bench.run(seconds: 2)
        #expect(bench.values("a") == (isTracked ? ["1.0", "stale"] : ["1.0"]))
    }

    @Test("a job above target_limit stores nothing but that it is down") func targetLimit() throws {
        let bench = try Bench("target_limit: 1, file_sd_configs: [], relabel_configs: []") { _ in .init(body: "a 1\n") }
        bench.run(seconds: 1)
        #expect(bench.values("up") == ["1.0"])
        let yaml = "{job_name: j, scrape_interval: 1s, target_limit: 1, static_configs: [{targets: ['h:1', 'i:1']}]}"
        let job = try ScrapeJob(from: SettingsDocument(yaml, file: "v.yaml").map(), defaults: ScrapeDefaults())
        bench.manager.use(
            Discovery(jobs: [job], checks: [], files: MemoryFiles(), figures: bench.figures, log: bench.log))
        bench.run(seconds: 1.5)
        #expect(bench.status.lastError == "the job has 2 targets, above target_limit, 1; raise it or drop some")
        #expect(
            bench.sink.values(of: #"up{instance="i:1", job="j"}"#).contains(0) && bench.values("a") == ["1.0", "stale"])
    }

    @Test("metadata and exemplars are handed on") func handedOn() throws {
        let page = "# TYPE a counter\n# HELP a A.\na_total 1 # {t=\"x\"} 2\n# EOF\n"
        let bench = try Bench("honor_labels: true") { _ in
            .init(body: page, contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8")
        }
        bench.run(seconds: 3)
        #expect(bench.manager.targets[0].metadata == [MetricMetadata(metric: "a", type: .counter, help: "A.")])
        #expect(
            bench.exemplars.all.map(\.series) == [["__name__": "a_total", "instance": "h:1", "job": "j", "z": "t"]])
    }

    @Test(
        "a token is asked for once, sent with each fetch, and asked for anew when it runs out; without one it is down")
    func oauth2() throws {
        var asked = 0
        let keys = "oauth2: {client_id: me, client_secret: geheim, token_url: 'http://t/token'}"
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_123))
        let fetcher = FakeFetcher(clock: clock) { url in
            guard url == "http://t/token" else { return .init(body: "a 1\n") }
            asked += 1
            return asked == 2
                ? .init(status: 500, body: "geheim")
                : .init(body: #"{"access_token": "t\#(asked)", "expires_in": 13}"#, contentType: "application/json")
        }
        let mailbox = ScrapeLoop.Mailbox()
        let (sink, log) = (RecordingSink(), RecordingLog())
        let loop = ScrapeLoop(
            mailbox: mailbox, fetcher: fetcher, clock: clock, sink: sink, figures: ScrapeFigures(), log: log,
            readFile: { _ in [] })
        let yaml = "{job_name: j, scrape_interval: 1s, \(keys), static_configs: [{targets: ['h:1', 'i:1']}]}"
        let job = try ScrapeJob(from: SettingsDocument(yaml, file: "v.yaml").map(), defaults: ScrapeDefaults())
        let manager = ScrapeManager(mailboxes: [mailbox])
        manager.use(Discovery(jobs: [job], checks: [], files: MemoryFiles(), figures: ScrapeFigures(), log: log))
        var sent: [String] = []
        for _ in 0..<1600 {
            loop.step(wait: 0)
            sent += fetcher.requests.values.flatMap(\.headers).filter { $0.name == "Authorization" }.map(\.value)
            clock.run(for: 5)
        }
        // Each holds for three seconds.
        #expect(asked == 4 && Set(sent).isSuperset(of: ["Bearer t1", "Bearer t3"]))
        let up = sink.values(of: #"up{instance="h:1", job="j"}"#)
        #expect(up.count == 8 && up.count { $0 == 1 } >= 7)
        let down = log.events.filter { $0.kind == "target-down" }.map(\.message)
        #expect(down.count == 1 && down[0].hasSuffix("is down: no token: HTTP status 500"))
    }
}
