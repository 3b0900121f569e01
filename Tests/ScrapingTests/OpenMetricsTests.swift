import Basics
import Exposition
import Foundation
import Model
import Synchronization
import TestSupport
import Testing

@testable import Scraping

/// Remembers exemplars.
final class RecordingExemplars: ExemplarSink {
    private let state = Mutex<[SeriesExemplar]>([])
    var all: [SeriesExemplar] { state.withLock { $0 } }
    func append(_ exemplars: [SeriesExemplar]) { state.withLock { $0 += exemplars } }
}

@Suite struct OpenMetricsTests {
    /// Reads one page as a scrape does; the series with values and timestamps, or the mistake.
    private func read(
        _ page: String, _ format: ExpositionFormat = .openMetrics
    ) -> (series: [String], mistake: String?) {
        let sink = RecordingSink()
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 7))
        var body = Array(page.utf8)
        do throws(PageError) {
            _ = try cache.read(&body, into: &batch, PageOptions(format: format)) { sink.reference(of: Labels($0)) }
        } catch {
            return ([], error.description)
        }
        _ = sink.append(batch)
        return (sink.samples.map { "\($0.labels) \($0.value) \($0.timestamp)" }, nil)
    }

    @Test(
        "what Prometheus' scraper takes is taken",
        arguments: [
            ("a 1\n# EOF\n", ["a 1.0 7"]), ("a 1\n# EOF", ["a 1.0 7"]), ("# EOF\n", []),
            ("a_total{b=\"c\",} 1 1.5\n# EOF\n", [#"a_total{b="c"} 1.0 1500"#]),
            ("# TYPE a counter\na_total 1 # {x=\"y # \"} 2 3.5\n# EOF\n", ["a_total 1.0 7"]),
            ("# UNIT a_s s\n# HELP a_s x\na_s 2 -1\n# EOF\n", ["a_s 2.0 -1000"]),
            ("{\"a.b\",c=\"d\"} 1\n# EOF\n", [#"{"a.b", c="d"} 1.0 7"#]),
            // Its scraper knows no families: samples may stand anywhere, a type may be told twice.
            ("# TYPE a counter\nb 1\n# TYPE a gauge\na 1\n# EOF\n", ["b 1.0 7", "a 1.0 7"]),
            (
                "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"1e6\"} 2\n# EOF\n",
                [#"a_bucket{le="1.0"} 1.0 7"#, #"a_bucket{le="1e+06"} 2.0 7"#]
            ),
            (
                "# TYPE a summary\na{quantile=\".5\"} 1\n# TYPE b gauge\nb{le=\"1\"} 1\n# EOF\n",
                [#"a{quantile="0.5"} 1.0 7"#, #"b{le="1"} 1.0 7"#]
            ),
        ] as [(String, [String])])
    func accepted(page: String, series: [String]) {
        let result = read(page)
        #expect(result.mistake == nil && result.series == series, "\(result)")
    }

    @Test(
        "what it refuses is refused, with its place",
        arguments: [
            ("", "line 1:1: the page does not end with # EOF"),
            ("a 1\n", "line 2:1: the page does not end with # EOF"),
            ("\n# EOF\n", "line 1:1: a metric's name is expected"),
            ("a 1\n# EOF\nb 1\n", "line 3:1: text behind # EOF"),
            ("# x\n# EOF\n", "line 1:3: HELP, TYPE, UNIT or EOF is expected"),
            ("a  1\n# EOF\n", "line 1:3: a number is expected"),
            ("a 1 \n# EOF\n", "line 1:5: a timestamp in seconds or the line's end is expected"),
            ("a\t1\n# EOF\n", "line 1:2: one blank and a number are expected"),
            ("a 1 # {x=\"y\"\n# EOF\n", "line 1:13: ',' or '}' is expected behind the label's value"),
            ("a 1 # {\"x\"} 1\n# EOF\n", "line 1:11: '=' is expected behind the label's name"),
            (
                "# TYPE a untyped\n# EOF\n",
                "line 1:17: 'untyped' is no type of metric; counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown"
            ),
            ("# UNIT a s\n# EOF\n", "line 1:11: the unit 's' is no suffix of the metric's name"),
        ])
    func refused(page: String, mistake: String) { #expect(read(page).mistake == mistake) }

    @Test("Prometheus' own pages are read whole (peers)") func peers() throws {
        guard let folder = Peers.file("prometheus/textparse") else { return }
        let pages: [(String, ExpositionFormat, Int)] = [
            ("alltypes.237mfs.nometa.prom.txt", .text, 1857), ("alltypes.237mfs.prom.txt", .text, 1857),
            ("alltypes.5mfs.om.txt", .openMetrics, 53), ("1histogram.om.txt", .openMetrics, 42),
            ("../expfmt/testdata/text", .text, 248),
        ]
        for (name, format, count) in pages {
            let text = try Peers.text(folder.appendingPathComponent(name))
            let result = read(text, format)
            #expect(
                result.mistake == nil && result.series.count == count,
                "\(name): \(result.mistake ?? "\(result.series.count)")")
        }
        // What the strict reader accepts the scrape reads too.
        let cases = folder.deletingLastPathComponent().appendingPathComponent("openmetrics/parsers")
        for name in try FileManager.default.contentsOfDirectory(atPath: cases.path).sorted() {
            guard let page = try? Peers.text(cases.appendingPathComponent("\(name)/metrics")),
                MetricsChecker.mistake(in: Array(page.utf8), format: .openMetrics) == nil
            else { continue }
            #expect(read(page).mistake == nil, "\(name): \(read(page).mistake ?? "")")
        }
    }

    @Test("metadata is kept, and told anew only when it changes") func metadata() throws {
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        func metadata(_ page: String, _ format: ExpositionFormat = .openMetrics) throws -> [MetricMetadata]? {
            var body = Array(page.utf8)
            batch.reset(to: Timestamp(milliseconds: 0))
            _ = try cache.read(&body, into: &batch, PageOptions(format: format)) { _ in 7 }
            return cache.takeMetadata()
        }
        let page =
            "# HELP a_s A \\\"b\\\\n\\n.\n# TYPE a_s counter\n# UNIT a_s s\na_s_total 1\n# TYPE b info\nb_info 1\n# EOF\n"
        let expected = [
            MetricMetadata(metric: "a_s", type: .counter, help: "A \"b\\n\n.", unit: "s"),
            MetricMetadata(metric: "b", type: .info),
        ]
        #expect(try metadata(page) == expected)
        #expect(try metadata(page) == nil)
        #expect(try metadata(page.replacing("b_info 1", with: "b_info{x=\"y\"} 1")) == nil)
        #expect(try metadata(page.replacing("info\n", with: "gauge\n"))?.last?.type == .gauge)
        #expect(
            try metadata("# HELP \"x.y\" \\\\ \\\"\n#nothing\n# HELP\n", .text) == [
                MetricMetadata(metric: "x.y", help: "\\ \\\"")
            ])
    }

    @Test("an exemplar is told once, with the labels of its series; none of a page that failed") func exemplars() throws
    {
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        func exemplars(_ page: String) -> [SeriesExemplar] {
            var body = Array(page.utf8)
            batch.reset(to: Timestamp(milliseconds: 0))
            let result = try? cache.read(&body, into: &batch, PageOptions(format: .openMetrics)) { _ in 7 }
            guard result != nil else {
                cache.reset()
                return []
            }
            return cache.takeExemplars(at: Timestamp(milliseconds: 42)) { labels in
                labels.append(Label("job", "j"))
                return Labels(labels)
            }
        }
        let page = "# TYPE a histogram\na_bucket{le=\"1\"} 1 # {trace_id=\"x\"} 0.5\n# EOF\n"
        let expected = SeriesExemplar(
            reference: 7, series: [Labels.nameLabel: "a_bucket", "le": "1.0", "job": "j"],
            exemplar: Exemplar(labels: ["trace_id": "x"], value: 0.5, timestamp: Timestamp(milliseconds: 42)))
        #expect(exemplars(page) == [expected])
        #expect(exemplars(page.replacing("} 1 #", with: "} 2 #")) == [])
        #expect(exemplars(page.replacing("} 0.5", with: "} 0.5 1.5")).map(\.exemplar.timestamp.milliseconds) == [1500])
        #expect(exemplars(page.replacing("\"x\"", with: "\"z\"") + "x") == [])
        #expect(exemplars(page.replacing("\"x\"", with: "\"z\"")).count == 1)
        #expect(exemplars(page.replacing("\"x\"", with: "\"\(String(repeating: "z", count: 121))\"")) == [])
        #expect(exemplars(page.replacing("{trace_id=\"x\"}", with: "{}")).count == 1)
    }
}
