import Basics
import Settings
import Testing

@testable import Rollback

@Suite struct RollbackSettingsTests {
    private func read(_ text: String) throws -> RollbackSettings {
        try RollbackSettings(from: SettingsDocument(text, file: "v.yaml").map())
    }

    static let wrong: [(text: String, error: String)] = [
        ("actions: {a: {}}", "the action 'a' does nothing"),
        ("actions: {a: {flags: [x]}}", "the flag 'x' has no store"),
        (
            "flag_stores: [{name: r, redis: {}}]\nactions: {a: {flags: [{name: x, store: q}]}}",
            "v.yaml:2:33: there is no flag store 'q'"
        ),
        ("flag_stores: [{name: r, redis: {}}, {name: f, file: f.json}]\nactions: {a: {flags: [x]}}", "several stores"),
        ("flag_stores: [{name: r}]", "in 'redis' or in a 'file'"),
        ("flag_stores: [{name: r, redis: {}}, {name: r, file: f}]", "two stores"),
        ("flag_stores: [{name: r, redis: {address: 'a:b'}}]", "is no address"),
        ("actions: {a: {includes: [b]}}", "v.yaml:1:26: there is no action 'b'"),
        ("actions:\n  a: {includes: [b]}\n  b: {includes: [c]}\n  c: {includes: [a]}", "a → b → c → a"),
        ("actions: {a: {includes: [a]}}", "a cycle, a → a"),
        ("actions: {a: {commands: [{run: []}]}}", "is a list of a program"),
        ("actions: {a: {commands: [{run: [x], timeout: 0s}]}}", "above 0"),
        ("actions: {a: {commands: [{run: [x], output: 1GiB}]}}", "at most 64KiB"),
        ("actions: {a: {commands: [{run: [x], memory: 512KiB}]}}", "at least 1MiB"),
        ("actions: {a: {deployment: {releases: r}}}", "link is missing"),
        ("actions: {a: {deployment: {releases: r, link: l, to: a/b}}}", "the name of a release"),
        ("actions: {a: {commands: [{run: [x]}], verify: {}}}", "nothing is verified"),
        ("actions: {a: {commands: [{run: [x]}], verify: {checks: [c], passes: 3, of: 2}}}", "from 1 to 'of'"),
        ("actions: {a: {commands: [{run: [x]}], verify: {expressions: ['up ==']}}}", "parse error"),
        ("actions: {a: {commands: [{run: [x]}], mode: maybe}}", "mode"),
        ("actions: {alert_and_investigate: {commands: [{run: [x]}]}}", "built in"),
        ("actions: {a: {command: [x]}}", "command"),
        ("budget: {runs: 0}", "at least 1"),
        ("mode: yes", "mode"),
    ]

    @Test("what is wrong is refused, with its place and the cure", arguments: wrong)
    func refused(text: String, error: String) {
        let thrown = #expect(throws: SettingsError.self) { try read(text) }
        #expect(thrown?.description.contains(error) == true, "\(thrown?.description ?? "nothing")")
        #expect(thrown?.description.hasPrefix("v.yaml:") == true)
    }

    @Test("a plan has every step of all that is included, each once, in its order") func plan() throws {
        let settings = try read(
            """
            flag_stores: [{name: r, redis: {}}]
            actions:
              small:
                flags: [chat]
                commands: [{run: [stop, chat]}]
                stabilise: 5s
              wide:
                includes: [small, other]
                flags: [chat, extra]
                deployment: {releases: r, link: current}
                verify: {checks: [app]}
              other: {flags: [vision], deployment: {releases: r, link: current}}
            """)
        let run = RollbackRun(
            id: "1", action: "wide", closure: settings.closure(of: "wide"),
            cause: RollbackCause(trigger: "t", text: "x"), now: Timestamp(milliseconds: 0))
        #expect(
            run.steps.map(\.key) == [
                "check:current", "announce", "flag:r/chat", "flag:r/extra", "flag:r/vision", "link:current",
                "command:stop chat", "stabilise", "verify", "clear",
            ])
        #expect(run.steps.first { $0.key == "stabilise" }?.kind == .stabilise(30_000), "the longest of all")
        #expect(RollbackRun(run.json.serialized()) == run, "it survives the journal")
    }

    @Test("releases are in the order of their numbers") func releases() {
        let sorted = ["v10", "v9", "2026-01-02", "v9.10", "v9.9", "v009.1", "v", "2026-01-1"]
            .sorted(by: RollbackPerformer.isOlder)
        #expect(sorted == ["2026-01-1", "2026-01-02", "v", "v9", "v009.1", "v9.9", "v9.10", "v10"])
    }
}
