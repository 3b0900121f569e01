internal import ArgumentParser
internal import Basics
internal import Model
internal import Replay
internal import Settings

/// `vedette test`: runs what people wrote down of their rules.
struct TestCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "test", abstract: "Run unit tests of rules.", subcommands: [TestRules.self])
}

struct TestRules: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rules", abstract: "Run unit tests of rules, in promtool's format.")

    @Argument(help: "The test files.") var files: [String]
    @Option(help: "Run only tests whose name a regular expression finds; may be repeated.") var run: [String] = []
    @Flag(help: "Pass over keys that are not known, in test and rule files.") var ignoreUnknownFields = false
    @Option(help: ArgumentHelp("Write the outcomes as JUnit XML as well.", valueName: "file")) var junit: String?

    func run() async throws {
        var patterns: [Pattern] = []
        for text in run {
            do { patterns.append(try Pattern("(?:.*)(?:\(text))(?:.*)")) } catch {
                throw Refusal("--run '\(text)' is no regular expression: \(error)")
            }
        }
        var isGood = true
        var report = JUnitReport()
        for file in files {
            Output.line("Unit Testing:  \(file)")
            let problems = await problems(of: file, patterns, &report)
            if problems.isEmpty {
                Output.line("  SUCCESS\n")
            } else {
                isGood = false
                Output.problem("  FAILED:\n" + problems.map { "  " + $0 }.joined(separator: "\n") + "\n")
            }
        }
        if let junit { try write(report.text, to: junit) }
        if !isGood { throw ExitCode(1) }
    }

    private func problems(of path: String, _ patterns: [Pattern], _ report: inout JUnitReport) async -> [String] {
        let file: RuleTestFile
        do throws(SettingsError) {
            file = try RuleTestFile(path: path, files: SystemFiles(), ignoringUnknownKeys: ignoreUnknownFields)
        } catch {
            report.add(path, [("", [error.description])])
            return [error.description]
        }
        for pattern in file.unmatched { Output.line("  WARNING: no file match pattern \(pattern)") }
        let outcomes = await file.run { name in
            patterns.isEmpty || patterns.contains { $0.matches(name) }
        }
        report.add(path, outcomes.map { ($0.name, $0.failures) })
        return outcomes.flatMap(\.failures)
    }
}

/// Outcomes as continuous integration reads them: a suite for each file, a case for each test.
///
/// - SeeAlso: the JUnit XML format, https://github.com/testmoapp/junitxml
private struct JUnitReport {
    private var suites = ""

    mutating func add(_ file: String, _ cases: [(name: String, failures: [String])]) {
        let failed = cases.count { !$0.failures.isEmpty }
        suites +=
            "  <testsuite name=\"\(escaped(file))\" tests=\"\(cases.count)\" failures=\"\(failed)\" errors=\"0\">\n"
        for (number, one) in cases.enumerated() {
            let name = one.name.isEmpty ? "test \(number + 1)" : one.name
            suites += "    <testcase name=\"\(escaped(name))\""
            if one.failures.isEmpty {
                suites += "/>\n"
                continue
            }
            suites += ">\n"
            for failure in one.failures {
                let title = failure.split(separator: "\n").first.map(String.init) ?? ""
                suites += "      <failure message=\"\(escaped(title))\">\(escaped(failure))</failure>\n"
            }
            suites += "    </testcase>\n"
        }
        suites += "  </testsuite>\n"
    }

    var text: String { "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n\(suites)</testsuites>\n" }

    private func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\n": result += "&#10;"
            // XML has no way to write the other control characters.
            case _ where scalar.value < 0x20 && scalar != "\t": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
