import Basics
import Foundation
import Replay
import Settings
import TestSupport
import Testing

/// promtool's own test files, with the outcomes that promtool has.
@Suite struct PromtoolTests {
    @Test("promtool's unit tests come out as there") func peers() async throws {
        guard let folder = Peers.folder("prometheus/promtool") else {
            return print("promtool tests: skipped (no folder shared/peers beside the repository, and no VEDETTE_PEERS)")
        }
        let table = try String(contentsOf: folder.appendingPathComponent("EXPECTATIONS.tsv"), encoding: .utf8)
        var (passed, skipped) = (0, 0)
        for line in table.split(separator: "\n").dropFirst() {
            let cells = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard cells[0] == "test rules" else { continue }
            // An engine without @ or without negative offsets is not offered.
            if cells[2].hasSuffix("off") {
                skipped += 1
                continue
            }
            let names = cells[2].split(separator: " ").map(String.init).filter { $0 == "correct" || $0 == "wrong" }
            let outcome = await outcome(
                of: folder.appendingPathComponent(cells[1]).path, names,
                ignoringUnknownKeys: cells[2].contains("--ignore-unknown-fields"))
            if cells[1] == "unittest.yml" {
                #expect(outcome?.contains("{{schema:1") == true, "native histograms are not offered: \(outcome ?? "")")
                skipped += 1
                continue
            }
            #expect((outcome == nil) == (cells[3] == "pass"), "\(line): \(outcome ?? "passed")")
            passed += 1
        }
        print(
            "promtool test rules: \(passed) passed, 0 failed, "
                + "\(skipped) skipped (native histograms, features that cannot be switched off)")
        #expect(passed >= 15)
    }

    @Test("promtool's greatest file passes without its native histograms") func withoutHistograms() async throws {
        guard let folder = Peers.folder("prometheus/promtool") else {
            return print("promtool tests: skipped (no folder shared/peers beside the repository, and no VEDETTE_PEERS)")
        }
        var lines = try String(contentsOf: folder.appendingPathComponent("unittest.yml"), encoding: .utf8)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        for (start, length) in [("- series: test_histogram", 2), ("- expr: test_histogram", 5)] {
            while let index = lines.firstIndex(where: { $0.contains(start) }) {
                lines.removeSubrange(index..<index + length)
            }
        }
        let files = MemoryFiles()
        files.put("t/unittest.yml", lines.joined(separator: "\n"))
        files.put(
            "t/rules.yml",
            try String(contentsOf: folder.appendingPathComponent("rules.yml"), encoding: .utf8))
        let outcomes = await (try RuleTestFile(path: "t/unittest.yml", files: files)).run()
        #expect(outcomes.count == 5 && outcomes.flatMap(\.failures).isEmpty, "\(outcomes)")
    }

    /// nil when all passed, else what did not.
    private func outcome(of path: String, _ names: [String], ignoringUnknownKeys: Bool) async -> String? {
        do {
            let file = try RuleTestFile(path: path, files: SystemFiles(), ignoringUnknownKeys: ignoringUnknownKeys)
            let outcomes = await file.run { name in names.isEmpty || names.contains { name.contains($0) } }
            let failures = outcomes.flatMap(\.failures)
            return failures.isEmpty ? nil : failures.joined(separator: "\n")
        } catch {
            return "\(error)"
        }
    }
}
