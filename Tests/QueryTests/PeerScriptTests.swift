import Foundation
import Query
import Testing
import TestSupport

/// Prometheus' own scripts, on the statements that need no native histogram.
@Suite struct PeerScriptTests {
    /// Statements that are not tagged so and yet expect something of a native histogram in their data: an info about
    /// it, a collision with it.
    static let nativeToo: [String: Set<Int>] = [
        "aggregators.test": [239, 252, 378, 382, 386, 390, 404, 408, 412, 416, 520, 814, 817],
        "functions.test": [1649], "histograms.test": [1081, 1084], "info.test": [202], "native_histograms.test": [1419],
        "operators.test": [292],
    ]

    /// Statements whose result rests on names being dropped only at the end: so has Prometheus' runner it, and neither
    /// its default nor ours.
    static let delayed: [String: Set<Int>] = [
        "name_label_dropping.test": [59, 64, 69, 74, 89, 115, 119, 123], "type_and_unit.test": [77, 92, 222, 237],
    ]

    @Test("Prometheus' scripts pass on everything but native histograms", arguments: [true, false])
    func scripts(delaysNameRemoval: Bool) throws {
        guard let folder = Peers.folder("prometheus/promqltest") else {
            print("promqltest: skipped (no folder shared/peers beside the repository, and no VEDETTE_PEERS)")
            return
        }
        var isNative: [String: [Int: Bool]] = [:]
        for row in try Peers.text(folder.appendingPathComponent("EVALS.tsv")).split(separator: "\n").dropFirst() {
            let fields = row.split(separator: "\t").map(String.init)
            let line = Int(fields[1]) ?? 0
            isNative[fields[0], default: [:]][line] =
                fields[3].contains("native_histogram") || PeerScriptTests.nativeToo[fields[0]]?.contains(line) == true
        }
        var (passed, failed, skipped, delayed) = (0, 0, 0, 0)
        for (name, lines) in isNative.sorted(by: { $0.key < $1.key }) {
            var runner = ScriptRunner()
            runner.options.delaysNameRemoval = delaysNameRemoval
            for statement in try ScriptParser.parse(Peers.text(folder.appendingPathComponent(name))) {
                if lines[statement.line] == true {
                    skipped += 1
                    continue
                }
                if !delaysNameRemoval, PeerScriptTests.delayed[name]?.contains(statement.line) == true {
                    delayed += 1
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
        if delaysNameRemoval {
            print("promqltest: \(passed) passed, \(failed) failed, \(skipped) skipped (native histograms)")
        } else {
            print(
                "promqltest, names dropped at once: \(passed) passed, \(failed) failed, \(skipped) skipped "
                    + "(native histograms), \(delayed) skipped (they rest on names being dropped at the end)")
        }
        #expect(failed == 0)
        // Not one of them may be lost unnoticed.
        #expect(passed + delayed == 1299)
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
