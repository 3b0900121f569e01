import Foundation
import Query
import Testing
import TestSupport

/// Our own scripts: every behaviour that we promise, in Prometheus' test language.
@Suite struct ScriptTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Scripts")

    @Test("a script of ours holds", arguments: ["selectors", "functions", "operators"])
    func script(name: String) throws {
        let text = try Peers.text(ScriptTests.folder.appendingPathComponent("\(name).test"))
        var runner = ScriptRunner()
        var count = 0
        for statement in try ScriptParser.parse(text) {
            if let complaint = runner.run(statement) { Issue.record("\(name).test:\(statement.line): \(complaint)") }
            if statement.isEvaluation { count += 1 }
        }
        #expect(count > 10)
    }
}
