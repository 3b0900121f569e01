import Foundation
import TestSupport
import Testing

/// The binary as a user meets it: one clear line for each mistake, and the demo.
@Suite struct CommandTests {
    private func refused(_ arguments: [String]) throws -> (status: Int32, line: String) {
        let outcome = try Program.vedette.run(arguments)
        let lines = outcome.errors.split(separator: "\n").filter { !$0.contains(" info ") }
        #expect(lines.count == 1, "\(outcome.errors)")
        return (outcome.status, lines.first.map(String.init) ?? "")
    }

    @Test(
        "a wrong configuration is one line with its place and cure",
        arguments: [
            (
                "scrape_configs: [{job_name: a, scrape_intervall: 5s}]",
                ":1:32: unknown key 'scrape_intervall'; did you mean 'scrape_interval'?"
            ),
            (
                "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod}]}]",
                "use static_configs, file_sd_configs, http_sd_configs or dns_sd_configs"
            ),
            ("route: {receiver: x}", "'x'"),
            ("rule_files: [no.yml]", "no.yml: cannot be read: No such file or directory; mend rule_files or the file"),
            ("a: &a [x]\nb: *c", ":2:4: there is no anchor &c above this alias; define it first"),
        ])
    func configuration(yaml: String, message: String) throws {
        let folder = try Folder()
        let file = try folder.put("vedette.yaml", yaml)
        for arguments in [["run", "--config", file, "--data-dir", "\(folder.path)/data"], ["check", "config", file]] {
            let (status, line) = try refused(arguments)
            #expect(status != 0)
            #expect(line.contains(message), "\(line)")
        }
    }

    @Test("a missing file, a bad address, a bad duration, an unwritable directory") func starting() throws {
        let folder = try Folder()
        let file = try folder.put("vedette.yaml", "")
        let cases: [([String], String)] = [
            (
                ["--config", "/nowhere.yaml"],
                "/nowhere.yaml: cannot be read: No such file or directory; give the file's path with --config"
            ),
            (["--config", file, "--listen", "here"], "'here' is no address; write HOST:PORT, such as 127.0.0.1:9470"),
            (
                ["--config", file, "--retention", "soon"],
                "--retention: 'soon' is no duration of at least 1m; write it as 15d or 12h"
            ),
            (
                ["--config", file, "--data-dir", "/proc/nowhere"],
                "/proc/nowhere: cannot mkdir: No such file or directory; check the directory's owner, mode and free space"
            ),
        ]
        for (arguments, message) in cases {
            let (status, line) = try refused(["run", "--data-dir", "\(folder.path)/data"] + arguments)
            #expect(status != 0)
            #expect(line.hasSuffix(message), "\(line)")
        }
    }

    @Test("the sample configuration and the rules are good") func samples() throws {
        let sample = try Program.vedette.run(["check", "config", "vedette.yaml"])
        #expect(sample.status == 0, "\(sample.errors)")
        // Whoever uses the example writes the secrets; nothing else is wrong with it.
        let example = try Program.vedette.run(["check", "config", "examples/phase3.yaml"])
        #expect(example.status == 1)
        let problems = example.errors.split(separator: "\n").filter { !$0.contains(": warning: ") }
        #expect(problems.count == 3, "\(example.errors)")
        #expect(problems.allSatisfy { $0.contains("'examples/secrets/") && $0.contains("is not there; ") })
        let rules = try Program.vedette.run([
            "check", "rules", "rules/vedette.yml", "rules/services.yml", "rules/demo.yml", "rules/drift.yml",
        ])
        #expect(rules.status == 0, "\(rules.errors)")
    }

    @Test("the demo pages an incident and its end; without rules it fails") func demo() throws {
        let played = try Program.vedette.run(["demo", "--seed", "7"])
        #expect(played.status == 0, "\(played.output)\(played.errors)")
        #expect(
            played.output.contains("Slack received: [RESOLVED]")
                && played.output.contains("PagerDuty received: [FIRING:1]"))
        let folder = try Folder()
        let empty = try folder.put("rules.yml", "groups: []\n")
        let silent = try Program.vedette.run(["demo", "--rules", empty, "--seconds", "3"])
        #expect(silent.status == 1)
    }
}
