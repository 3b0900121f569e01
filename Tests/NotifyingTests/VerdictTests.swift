import Basics
import Notifying
import Settings
import Testing
import Transport

@Suite struct VerdictTests {
    @Test("Alertmanager's cases: which answers are errors, and which are tried again") func peers() throws {
        guard let bytes = try alertmanagerYAML("pipeline_cases.yaml") else { return }
        let data = try SettingsDocument(bytes, file: "pipeline_cases.yaml").map()
        var passed = 0
        for test in try data.takeMaps("retry") {
            let status: Int = try test.require("status")
            let verdict = Verdict.standard(HTTPResponse(status: status))
            let isRetried = try test.take("retry", default: false)
            switch verdict {
            case .accepted: #expect(!test.has("error"), "\(status)")
            case .refused: #expect(test.has("error") && !isRetried, "\(status)")
            case .retry: #expect(test.has("error") && isRetried, "\(status)")
            }
            passed += 1
        }
        #expect(passed == 7)
    }
}
