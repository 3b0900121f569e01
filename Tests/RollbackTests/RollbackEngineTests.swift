import Basics
import Glibc
import Model
import Query
import Settings
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Rollback

/// The engine in simulated time, with scripted programs.
@Suite struct RollbackEngineTests {
    private final class Pages: AnnouncementSink {
        let told = Mutex<[Announcement]>([])
        func announce(_ announcements: [Announcement], committing changes: [StateChange]) async -> Durability {
            told.withLock { $0 += announcements }
            return .durable
        }
        var summaries: [String] { told.withLock { $0 }.map { $0.alert.annotations["summary"] ?? "" } }
    }

    private struct Site {
        let executor = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_000))
        let pages = Pages()
        let log = RecordingLog()
        let files: MemoryFiles
        let processes: ScriptedProcesses
        let engine: RollbackEngine

        init(
            store: any StateStore = AlertRecorder(), files: MemoryFiles = MemoryFiles(),
            _ script: @escaping @Sendable ([String]) -> ProcessResult = { _ in ProcessResult(end: .exited(0)) }
        ) throws {
            self.files = files
            processes = ScriptedProcesses { arguments in script(arguments) }
            let settings = try SettingsDocument(
                """
                mode: act
                actions:
                  a: {commands: [{run: [stop, a], probe: [is, stopped]}], stabilise: 10s, clears_within: 5m}
                  b: {commands: [{run: [stop, b]}], stabilise: 10s, clears_within: 5m}
                """, file: "v.yaml"
            ).map()
            engine = RollbackEngine(
                try RollbackSettings(from: settings),
                RollbackContext(
                    store: store, clock: executor, files: files, processes: processes,
                    engine: QueryEngine(source: MemorySource()), announcements: pages, log: log,
                    redis: { RedisClient($0) { _ in [] } }, killSwitch: "stop"))
            executor.start { [engine] in await engine.run() }
        }

        func see(_ state: TriggerReading.State, _ action: String = "a") {
            let now = executor.now()
            executor.start { [engine] in
                await engine.accept([
                    TriggerReading(
                        trigger: "t", action: action, state: state, at: now, firedAt: state == .firing ? now : nil,
                        value: 3, condition: "m > 1 for 1m")
                ])
            }
            executor.run(for: 0)
        }

        func runs() -> [RollbackRun] {
            let found = Mutex<[RollbackRun]>([])
            executor.start { [engine] in
                let runs = await engine.runs
                found.withLock { $0 = runs }
            }
            executor.run(for: 0)
            return found.withLock { $0 }
        }
    }

    @Test("a clock that goes back does not put off the end of a wait", arguments: [0, 5_000, 30_000])
    func jump(after: Milliseconds) throws {
        let site = try Site()
        site.see(.firing)
        site.executor.run(for: after)
        site.executor.jumpWallClock(by: -86_400_000)
        site.executor.run(for: 311_000 - after)
        #expect(site.runs().map(\.outcome) == [.ineffective])
        #expect(site.runs().first?.reason.contains("not clear in time") == true)
    }

    @Test("the kill switch is on while there is anything of its name, or nobody can look")
    func killSwitch() throws {
        for (name, adjust) in [
            ("a file", { (files: MemoryFiles) in files.put("stop", "") }),
            ("a folder", { files in try? files.createDirectory("stop") }),
            ("a link to nothing", { files in try? files.createLink("stop", to: "nowhere") }),
            ("no answer", { files in files.setFailure { operation, _ in operation == "stat" ? 5 : nil } }),
        ] {
            let site = try Site()
            adjust(site.files)
            site.see(.firing)
            site.executor.run(for: 1000)
            #expect(site.runs().map(\.outcome) == [.refused], "\(name)")
            #expect(site.processes.ran.isEmpty, "\(name)")
        }
    }

    @Test("after a crash a command is settled by its probe, and never run twice without one", arguments: ["a", "b"])
    func crash(action: String) throws {
        let store = AlertRecorder()
        let first = try Site(store: store)
        first.see(.firing, action)
        first.executor.run(for: 1000)
        // As it was when the command had begun.
        var run = try #require(first.runs().first)
        let index = try #require(run.steps.firstIndex { $0.isActing })
        #expect(run.steps[index].status == .done)
        (run.steps[index].status, run.steps[index].endedAt) = (.begun, nil)
        for later in run.steps.indices.dropFirst(index + 1) { run.steps[later].status = .pending }
        first.executor.abandon()
        store.commit([run.change])
        let second = try Site(store: store)
        second.executor.run(for: 1000)
        let after = try #require(second.runs().first)
        if action == "a" {
            #expect(second.processes.ran == [["is", "stopped"]])
            #expect(after.outcome == nil && after.steps[index].status == .done)
        } else {
            #expect(second.processes.ran.isEmpty)
            #expect(after.outcome == .stopped && after.reason.hasPrefix("manual intervention required"))
            #expect(second.pages.summaries.last?.contains("STOPPED half-way") == true)
        }
    }

    @Test("on a disk that takes nothing, what a probe can settle is done; a command without one is left out and told")
    func fullDisk() throws {
        let disk = MemoryFiles()
        let journal = try Journal(directory: "j", files: disk, reservedBytes: 4096)
        let site = try Site(store: journal)
        disk.setFailure { operation, _ in ["write", "sync", "preallocate"].contains(operation) ? ENOSPC : nil }
        guard case .volatile = journal.commit([StateChange(table: "t", key: "k", value: [1])]) else {
            Issue.record("the disk took it")
            return
        }
        site.see(.firing, "a")
        site.executor.run(for: 1000)
        #expect(site.processes.ran == [["stop", "a"]])
        let byHand = Mutex<String?>(nil)
        site.executor.start { [engine = site.engine] in
            let run = try? await engine.start("b", reason: "me")
            byHand.withLock { $0 = run?.id }
        }
        site.executor.run(for: 1000)
        #expect(site.processes.ran == [["stop", "a"]], "nobody would know of it after a crash")
        let id = try #require(byHand.withLock { $0 })
        let run = try #require(site.runs().first { $0.id == id })
        #expect(run.outcome == .stopped)
        #expect(run.steps.contains { $0.detail.contains("not run, since the journal cannot be written") })
        #expect(site.pages.summaries.contains { $0.contains("STOPPED") })
    }

    @Test("an entry of the journal that cannot be read is told, and left") func unreadable() throws {
        let store = AlertRecorder()
        store.commit([StateChange(table: RollbackRun.table, key: "rb-7", value: Array("?".utf8))])
        let site = try Site(store: store)
        #expect(site.log.events.contains { $0.kind == "rollback-journal" && $0.message.contains("rb-7") })
        #expect(store.entries(of: RollbackRun.table)["rb-7"] != nil)
    }
}
