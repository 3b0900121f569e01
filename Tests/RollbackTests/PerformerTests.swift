import Basics
import Foundation
import Model
import Query
import TestSupport
import Testing

@testable import Rollback

private func performer(
    _ files: any FileSystem = MemoryFiles(), _ processes: any Processes = SystemProcesses()
) -> RollbackPerformer {
    RollbackPerformer(
        files: files, processes: processes, engine: QueryEngine(source: MemorySource()), clock: StandingClock(),
        stores: [:])
}

/// Links of deployments, in memory and on the disk.
@Suite struct PerformerLinkTests {
    /// Releases with a file in each, and a link.
    private struct Site {
        let files: any FileSystem
        let folder: String
        /// Keeps the folder for as long as the site.
        let owner: Folder?

        init(isReal: Bool, releases: [String] = ["v1", "v2", "v10"]) throws {
            owner = isReal ? try Folder() : nil
            files = isReal ? SystemFiles() : MemoryFiles()
            folder = owner?.path ?? "srv"
            try files.createDirectory("\(folder)/releases")
            for release in releases {
                try files.createDirectory("\(folder)/releases/\(release)")
                try files.replace("\(folder)/releases/\(release)/app", with: Array("x".utf8))
            }
        }

        func link(to target: String) throws { try files.createLink("\(folder)/current", to: target) }
        var shown: String? { (try? files.readLink("\(folder)/current")) ?? nil }
        func deployment(_ release: String? = nil, requires: String? = nil) -> Deployment {
            Deployment(
                releases: "\(folder)/releases", link: "\(folder)/current", release: release, requires: requires)
        }
    }

    private func found(_ result: StepResult) -> String? {
        if case .done(_, let before) = result { return before }
        return nil
    }
    private func failure(_ result: StepResult) -> String? {
        if case .failed(let reason) = result { return reason }
        return nil
    }

    @Test("the release before is found, and the link keeps its form", arguments: [false, true], [false, true])
    func previous(isReal: Bool, isAbsolute: Bool) throws {
        let site = try Site(isReal: isReal)
        let prefix = isAbsolute ? "\(site.folder)/releases/" : "releases/"
        // A path in memory is absolute in no sense: there the two are told apart by their text alone.
        if isAbsolute, !isReal { return }
        try site.link(to: prefix + "v10")
        let work = performer(site.files)
        #expect(found(work.check(site.deployment(requires: "app"))) == "v2", "by number, not by letter")
        guard case .done(let detail, let before) = work.setLink(site.deployment(), to: "v2") else {
            Issue.record("not done")
            return
        }
        #expect(detail == "it shows v2" && before == prefix + "v10" && site.shown == prefix + "v2")
        // Once more, as after a crash: nothing more happens.
        #expect(found(work.setLink(site.deployment(), to: "v2")) == prefix + "v2")
        #expect(site.shown == prefix + "v2")
        #expect(found(work.check(site.deployment("v10"))) == "v10", "a named release may be a newer one")
        #expect(found(work.check(site.deployment(), lately: ("v2", "rb-1"))) == "v2", "another run went back just now")
        try site.files.replaceLink(site.deployment().link, to: prefix + "v10")
        #expect(found(work.check(site.deployment(), lately: ("v1", "rb-1"))) == "v2", "fixed forward in between")
    }

    @Test("a link that a crash left half made is no hindrance", arguments: [false, true])
    func leftOver(isReal: Bool) throws {
        let site = try Site(isReal: isReal)
        try site.link(to: "releases/v2")
        try site.files.createLink("\(site.folder)/current.new", to: "releases/zzz")
        #expect(found(performer(site.files).setLink(site.deployment(), to: "v1")) == "releases/v2")
        #expect(site.shown == "releases/v1")
        #expect(try site.files.readLink("\(site.folder)/current.new") == nil)
    }

    @Test("what cannot be gone back to is told before anything is changed", arguments: [false, true])
    func refused(isReal: Bool) throws {
        let site = try Site(isReal: isReal)
        let work = performer(site.files)
        #expect(failure(work.check(site.deployment()))?.contains("is no link") == true)
        try site.link(to: "releases/v1/")
        #expect(failure(work.check(site.deployment()))?.contains("v1 is the oldest release") == true)
        #expect(failure(work.check(site.deployment("v3")))?.contains("there is no release v3") == true)
        #expect(
            failure(work.check(site.deployment("v2", requires: "bin/app")))?.contains("there is no bin/app") == true)
        try site.files.createDirectory("\(site.folder)/releases/v0")
        #expect(failure(work.check(site.deployment()))?.contains("the release v0 is an empty folder") == true)
        try site.files.createLink("\(site.folder)/releases/v00", to: "v2")
        #expect(
            failure(work.check(site.deployment("v00")))?.contains("there is no release v00") == true, "a link is none")
        #expect(site.shown == "releases/v1/")
    }

    @Test("a link to a folder elsewhere is not taken for one of these releases", arguments: [false, true])
    func elsewhere(isReal: Bool) throws {
        let site = try Site(isReal: isReal)
        try site.files.createDirectory("\(site.folder)/elsewhere/v2")
        try site.link(to: "elsewhere/v2")
        // v1 is in `releases`, but not beside what the link shows: it would show nothing.
        let failure = failure(performer(site.files).check(site.deployment()))
        #expect(failure?.contains("elsewhere/v1") == true, "\(failure ?? "done")")
        #expect(site.shown == "elsewhere/v2")
    }

    @Test("a file in the link's place is left as it is", arguments: [false, true])
    func fileAsLink(isReal: Bool) throws {
        let site = try Site(isReal: isReal)
        try site.files.replace("\(site.folder)/current", with: Array("precious".utf8))
        let work = performer(site.files)
        #expect(failure(work.check(site.deployment()))?.contains("is no link") == true)
        #expect(failure(work.setLink(site.deployment("v1"), to: "v1"))?.contains("it was left as it is") == true)
        #expect(try site.files.contents(of: "\(site.folder)/current") == Array("precious".utf8))
    }

    @Test("where there is no link yet, a named release gets one", arguments: [false, true])
    func firstLink(isReal: Bool) throws {
        let site = try Site(isReal: isReal)
        #expect(found(performer(site.files).check(site.deployment("v2"))) == "v2")
        guard case .done = performer(site.files).setLink(site.deployment("v2"), to: "v2") else {
            Issue.record("not done")
            return
        }
        #expect(site.shown == "\(site.folder)/releases/v2")
    }

    @Test("a disk that fails is told with its path") func failing() throws {
        let site = try Site(isReal: false)
        let files = try #require(site.files as? MemoryFiles)
        try site.link(to: "releases/v2")
        files.setFailure { operation, _ in operation == "rename" ? 28 : nil }
        #expect(failure(performer(files).setLink(site.deployment(), to: "v1"))?.contains("current") == true)
        #expect(site.shown == "releases/v2")
        files.setFailure { _, _ in 5 }
        #expect(failure(performer(files).check(site.deployment()))?.hasPrefix("srv/") == true)
    }
}

/// Commands, as the machine runs them.
@Suite struct PerformerCommandTests {
    private func command(_ script: String, _ adjust: (inout CommandTarget) -> Void = { _ in }) -> CommandTarget {
        var command = CommandTarget(name: "c", arguments: ["sh", "-c", script])
        adjust(&command)
        return command
    }
    private func text(_ result: StepResult) -> String {
        switch result {
        case .done(let detail, _): "done: \(detail)"
        case .failed(let detail): "failed: \(detail)"
        case .unknown(let detail): "unknown: \(detail)"
        case .abandoned(let detail): "abandoned: \(detail)"
        case .interrupted: "interrupted"
        }
    }

    @Test("what a command says is kept, and 0 alone is success") func status() async {
        let work = performer()
        #expect(text(await work.run(command("echo hello; echo world >&2"))) == "done: exit status 0: hello\nworld")
        #expect(text(await work.run(command("exit 3"))) == "failed: exit status 3")
        #expect(text(await work.run(command("kill -9 $$"))) == "failed: ended by signal 9")
        let missing = CommandTarget(name: "c", arguments: ["/nowhere/program"])
        #expect(text(await work.run(missing)).hasPrefix("failed: not started: /nowhere/program: No such file"))
        let noFolder = command("true") { $0.directory = "/nowhere" }
        #expect(text(await work.run(noFolder)).hasPrefix("failed: not started: sh: No such file"))
        // No shell reads the arguments.
        let plain = CommandTarget(name: "c", arguments: ["echo", "$HOME; `id`"])
        #expect(text(await work.run(plain)) == "done: exit status 0: $HOME; `id`")
    }

    @Test("a command without end is killed with all that it started", .timeLimit(.minutes(1))) func endless() async {
        let result = await performer().run(command("sleep 1000 & echo begun; sleep 1000") { $0.timeout = 300 })
        #expect(text(result) == "failed: killed after 300ms: begun")
        // One that does not listen to polite signals.
        let deaf = await performer().run(command("trap '' TERM INT HUP; while :; do :; done") { $0.timeout = 200 })
        #expect(text(deaf) == "failed: killed after 200ms")
    }

    @Test("what a command left behind does not hold it up", .timeLimit(.minutes(1))) func background() async {
        let result = await performer().run(command("sleep 30 & echo started") { $0.timeout = 20_000 })
        #expect(text(result) == "done: exit status 0: started")
    }

    @Test("of a gigabyte of output the beginning is kept, and the memory stays small", .timeLimit(.minutes(1)))
    func gigabyte() async throws {
        // In a process of its own: other tests beside it need memory too.
        await #expect(processExitsWith: .success) {
            func residentKilobytes() throws -> Int {
                let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
                let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
                return Int(line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first ?? "") ?? 0
            }
            let before = try residentKilobytes()
            #expect(before > 0)
            let tests = PerformerCommandTests()
            let result = await performer().run(
                tests.command("head -c 1073741824 /dev/zero | tr '\\0' x") {
                    ($0.timeout, $0.outputBytes) = (60_000, 100)
                })
            #expect(
                tests.text(result) == "done: exit status 0: " + String(repeating: "x", count: 100)
                    + " … (1073741824 bytes in all)")
            #expect(try residentKilobytes() - before < 64 << 10)
        }
        let endless = await performer().run(command("yes") { ($0.timeout, $0.outputBytes) = (300, 4) })
        #expect(text(endless).hasPrefix("failed: killed after 300ms: y\ny … ("))
    }

    @Test("a command that wants more memory than it may have fails") func memory() async {
        let hungry = command("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}") { $0.memoryBytes = 64 << 20 }
        let result = text(await performer().run(hungry))
        #expect(result.hasPrefix("failed: "), "\(result)")
        let enough = command("x=$(head -c 2000000 /dev/zero | tr '\\0' x); echo ${#x}")
        #expect(text(await performer().run(enough)) == "done: exit status 0: 2000000")
    }

    @Test("after a crash the probe says whether it was done; without one nobody knows") func probe() async {
        func settled(_ probe: [String]?, timeout: Milliseconds = 5000) async -> String? {
            var target = CommandTarget(name: "c", arguments: ["false"], probe: probe)
            target.timeout = timeout
            return await performer().settle(target).map(text)
        }
        #expect(await settled(["true"]) == "done: its probe says that it was done before the restart")
        #expect(await settled(["false"]) == nil, "not done: it may be run")
        #expect(await settled(nil)?.hasPrefix("unknown: the daemon ended while it ran, and without a probe") == true)
        #expect(await settled(["/nowhere/probe"])?.hasPrefix("unknown: ") == true)
        #expect(await settled(["sleep", "1000"], timeout: 200)?.contains("killed after 200ms") == true)
        #expect(await settled(["sh", "-c", "kill -9 $$"])?.hasPrefix("unknown: ") == true)
    }
}
