import Exposition
import Foundation
import Model
import TestSupport
import Testing

@Suite struct MetricsCheckerTests {
    @Test("OpenMetrics' own cases: what must be read is, what must be refused is, with its line (peers)")
    func openMetrics() throws {
        guard let folder = Peers.file("prometheus/openmetrics/parsers") else { return }
        var counts = (good: 0, bad: 0)
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
            let folder = folder.appendingPathComponent(name)
            guard let page = try? Peers.bytes(folder.appendingPathComponent("metrics")) else { continue }
            let isGood = try Peers.text(folder.appendingPathComponent("test.json")).contains("\"shouldParse\": true")
            let mistake = MetricsChecker.mistake(in: page, format: .openMetrics)
            if isGood {
                counts.good += 1
                #expect(mistake == nil, "\(name): \(mistake?.description ?? "")")
            } else {
                counts.bad += 1
                let lines = page.count { $0 == 0x0A } + 2
                #expect((1...lines).contains(mistake?.line ?? 0), "\(name): \(mistake?.description ?? "is read")")
            }
        }
        print("openmetrics: \(counts.good) read, \(counts.bad) refused")
        #expect(counts == (44, 167))
    }

    @Test("the text format's own cases (peers)") func text() throws {
        guard let folder = Peers.file("prometheus/expfmt/fuzz-corpus") else { return }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(names.count == 26)
        for name in names {
            let mistake = MetricsChecker.mistake(
                in: try Peers.bytes(folder.appendingPathComponent(name)), format: .text)
            #expect((mistake != nil) == name.contains("error"), "\(name): \(mistake?.description ?? "is read")")
        }
        for name in ["expfmt/testdata/text", "textparse/alltypes.237mfs.prom.txt"] {
            let page = try Peers.bytes(
                folder.deletingLastPathComponent().deletingLastPathComponent()
                    .appendingPathComponent(name))
            #expect(MetricsChecker.mistake(in: page, format: .text)?.description == nil, "\(name)")
        }
    }

    @Test(
        "mistakes have line and column, and say what is wrong",
        arguments: [
            ("a 1", "1:1: the last line does not end; end it with a line feed"),
            ("a 1\na{b=\"\\t\"} 2\n", "2:7: '\\' is followed by neither '\\', '\"' nor 'n'; write '\\\\'"),
            ("# HELP a x\n# HELP a y\n", "2:1: a second HELP line of 'a'; keep one"),
            ("a 1\n# TYPE a gauge\n", "2:1: a line about 'a' stands behind its samples; put it before them"),
            (
                "# TYPE a counter\n# HELP b x\na_total 1\n# EOF\n",
                "3:1: the name 'a_total' belongs to 'a' in line 1; rename one"
            ),
            ("a 1\n\n# EOF\n", "2:1: an empty line"), ("a 1\n# EOF\nb 1\n# EOF", "3:1: text behind # EOF"),
            (
                "# TYPE a histogram\na_bucket{le=\"1\"} 1\n# EOF\n",
                "2:1: there is no bucket +Inf"
            ),
        ])
    func mistakes(page: String, message: String) {
        #expect(MetricsChecker.mistake(in: Array(page.utf8))?.description == message)
    }

    @Test(
        "customs of naming",
        arguments: [
            ("# HELP a_total A.\n# TYPE a_total counter\na_total 1\n", []),
            ("# HELP a A.\n# TYPE a counter\na_total 1\n# EOF\n", []),
            (
                "# TYPE a counter\na 1\n",
                ["1:1: a: no help text; add a HELP line", "1:1: a: a counter's name ends in _total"]
            ),
            (
                "# HELP x_total X.\n# TYPE x_total gauge\nx_total 1\n",
                ["1:1: x_total: only a counter's name ends in _total"]
            ),
            ("# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n", ["1:1: a_ms: write the unit 'ms' out"]),
            (
                "# HELP a_milliseconds A.\na_milliseconds{userId=\"1\"} 1\n",
                [
                    "1:1: a_milliseconds: write the label 'userId' in snake_case",
                    "1:1: a_milliseconds: use the base unit seconds in place of milliseconds",
                ]
            ),
            ("# HELP a:b A.\na:b 1\n", ["1:1: a:b: ':' is kept for recording rules"]),
            (
                "# HELP a_gauge A.\n# TYPE a_gauge gauge\na_gauge 1\n",
                ["1:1: a_gauge: a name does not tell the type, 'gauge'"]
            ),
        ])
    func lints(page: String, expected: [String]) {
        #expect(MetricsChecker.lints(of: Array(page.utf8)).map(\.description) == expected)
    }
}
