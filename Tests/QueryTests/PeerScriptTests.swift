import Foundation
import Query
import Testing
import TestSupport

/// Prometheus' own scripts, on the statements whose tags name only what is built.
@Suite struct PeerScriptTests {
    /// Tags of statements that are run; a statement with any other tag is skipped and counted by that tag.
    static let supported: Set<String> = [
        "core", "subquery", "duration_expr", "binop_fill", "expect_annotation", "expect_fail",
        "maybe_delayed_name_removal", "type_unit_labels",
        "experimental_fn:mad_over_time", "experimental_fn:sort_by_label", "experimental_fn:sort_by_label_desc",
        "experimental_fn:double_exponential_smoothing", "experimental_fn:ts_of_first_over_time",
        "experimental_fn:ts_of_last_over_time", "experimental_fn:ts_of_max_over_time",
        "experimental_fn:ts_of_min_over_time", "experimental_fn:max_of", "experimental_fn:min_of",
        "experimental_fn:end", "experimental_fn:histogram_quantiles",
        "experimental_aggr:limitk",
        "extended_range_selector", "experimental_fn:info", "start_timestamp", "experimental_aggr:limit_ratio",
        "experimental_fn:range", "experimental_fn:start", "experimental_fn:step",
    ]

    /// Statements that are tagged as if they needed floats alone, while they expect something of a native histogram
    /// or of a start timestamp in their data.
    static let mistagged: [String: Set<Int>] = [
        "aggregators.test": [239, 252, 378, 382, 386, 390, 404, 408, 412, 416, 520, 814, 817],
        "functions.test": [1649], "histograms.test": [1081, 1084], "native_histograms.test": [1419],
        "operators.test": [292],
        "start_timestamps.test": [169],
    ]

    /// Statements whose result rests on names being dropped only at the end: so has Prometheus' runner it, and neither
    /// its default nor ours.
    static let delayed: [String: Set<Int>] = [
        "name_label_dropping.test": [59, 64, 69, 74, 89, 115, 119, 123], "type_and_unit.test": [77, 92, 222, 237],
    ]

    /// `core;experimental_fn:end,range` names three tags.
    static func tags(_ field: String) -> [String] {
        field.split(separator: ";").flatMap { tag in
            let names = tag.split(separator: ",").map(String.init)
            let prefix = names[0].prefix { $0 != ":" }
            return [names[0]] + names.dropFirst().map { "\(prefix):\($0)" }
        }
    }

    @Test("Prometheus' scripts pass on everything that is built", arguments: [true, false])
    func scripts(delaysNameRemoval: Bool) throws {
        guard let folder = Peers.folder("prometheus/promqltest") else {
            print("promqltest: skipped (no folder shared/peers beside the repository, and no VEDETTE_PEERS)")
            return
        }
        var tags: [String: [Int: [String]]] = [:]
        for row in try Peers.text(folder.appendingPathComponent("EVALS.tsv")).split(separator: "\n").dropFirst() {
            let fields = row.split(separator: "\t").map(String.init)
            tags[fields[0], default: [:]][Int(fields[1]) ?? 0] = PeerScriptTests.tags(fields[3])
        }
        var (passed, failed) = (0, 0)
        var skipped: [String: Int] = [:]
        for (name, lines) in tags.sorted(by: { $0.key < $1.key }) {
            var runner = ScriptRunner()
            runner.options.delaysNameRemoval = delaysNameRemoval
            for statement in try ScriptParser.parse(Peers.text(folder.appendingPathComponent(name))) {
                if PeerScriptTests.mistagged[name]?.contains(statement.line) == true {
                    skipped["tagged core but not", default: 0] += 1
                    continue
                }
                if !delaysNameRemoval, PeerScriptTests.delayed[name]?.contains(statement.line) == true {
                    skipped["with delayed name removal alone", default: 0] += 1
                    continue
                }
                if let unsupported = lines[statement.line]?.first(where: { !PeerScriptTests.supported.contains($0) }) {
                    skipped[unsupported, default: 0] += 1
                    continue
                }
                let complaint = runner.run(statement)
                guard statement.isEvaluation else { continue }
                if let complaint {
                    failed += 1
                    Issue.record("\(name):\(statement.line): \(complaint)")
                } else {
                    passed += 1
                }
            }
        }
        let reasons = skipped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
        let mode = delaysNameRemoval ? "" : " (names dropped at once)"
        print(
            "promqltest\(mode): \(passed) passed, \(failed) failed, \(skipped.values.reduce(0, +)) skipped (\(reasons))"
        )
        #expect(failed == 0)
        // Not one of them may be lost unnoticed.
        #expect(passed >= (delaysNameRemoval ? 1141 : 1129))
    }
}

extension Statement {
    var isEvaluation: Bool {
        switch kind {
        case .clear, .load: false
        case .instant, .range: true
        }
    }
}
