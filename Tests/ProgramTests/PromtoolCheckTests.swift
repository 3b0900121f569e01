import Foundation
import TestSupport
import Testing

/// promtool's verdicts on its own configurations and rule files, by the program itself.
@Suite struct PromtoolCheckTests {
    /// Configurations that are refused here, and by which key that is not offered.
    private static let notOffered = [
        "prometheus-aws-sd-empty-region.good.yml": "ec2_sd_configs",
        "config_with_service_discovery_files.yml": "file_sd_configs",
        "url_in_alert_targetgroup_with_relabel_config.good.yml": "relabel_configs",
        "url_in_alert_targetgroup_with_relabel_config.bad.yml": "relabel_configs",
    ]

    @Test("check config and check rules end as promtool's") func verdicts() throws {
        guard let folder = Peers.folder("prometheus/promtool") else {
            return print(
                "promtool checks: skipped (no folder shared/peers beside the repository, and no VEDETTE_PEERS)")
        }
        let table = try String(contentsOf: folder.appendingPathComponent("EXPECTATIONS.tsv"), encoding: .utf8)
        var (passed, skipped) = (0, 0)
        for line in table.split(separator: "\n").dropFirst() {
            let cells = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            guard cells[0] == "check config" || cells[0] == "check rules" else { continue }
            var options: [String] = []
            for option in ["--lint-fatal", "--syntax-only", "--lint=too-long-scrape-interval"]
            where cells[2].contains(option) { options.append(option) }
            let expected: Int32 =
                switch cells[3] {
                case "exit 1", "error": 1
                case "exit 3": 3
                default: 0
                }
            let outcome = try Program.vedette.run(
                cells[0].split(separator: " ").map(String.init) + options
                    + [folder.appendingPathComponent(cells[1]).path])
            if let key = PromtoolCheckTests.notOffered[cells[1]] {
                #expect(outcome.status == 1 && outcome.errors.contains("\(key) is not offered"), "\(line)")
                skipped += 1
            } else {
                #expect(outcome.status == expected, "\(line): \(outcome.errors)")
                passed += 1
            }
        }
        print("promtool check: \(passed) passed, 0 failed, \(skipped) refused by a key that is not offered")
        #expect(passed >= 15)
    }
}
