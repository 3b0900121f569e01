import Basics
import Model
import SQL
import Synchronization
import TestSupport
import Testing

@testable import Workloads

/// Work that takes a while and ends as it is told, remembering when it was begun.
private final class Stint: Workload {
    let name = "stint"
    let schedule: WorkloadSchedule
    let timeLimit: Milliseconds
    let clock: any TimeSource
    let length = Mutex<Milliseconds>(1000)
    let failure = Mutex<WorkloadRefusal?>(nil)
    let starts = Mutex<[Timestamp]>([])
    let problem = Mutex<String?>(nil)
    var objectives: WorkloadObjectives { WorkloadObjectives(age: 7_200_000, duration: 60_000) }
    var trouble: String? { problem.withLock { $0 } }

    init(_ schedule: WorkloadSchedule, limit: Milliseconds = 600_000, clock: any TimeSource) {
        (self.schedule, timeLimit, self.clock) = (schedule, limit, clock)
    }
    @concurrent func run(_ context: WorkloadContext) async throws -> WorkloadReport {
        starts.withLock { $0.append(context.now) }
        try await clock.sleep(for: length.withLock { $0 })
        if let failure = failure.withLock({ $0 }) { throw failure }
        return WorkloadReport(rows: 7, details: "done")
    }
}

@Suite struct HostTests {
    static let start = Timestamp(rfc3339: "2026-11-20T10:00:00Z")!
    private let executor = SimulatedExecutor(seed: 1, start: HostTests.start)
    private let log = RecordingLog()
    private let files = MemoryFiles()

    private func host(_ workload: Stint, _ database: StubDatabase? = nil) -> WorkloadHost {
        WorkloadHost(
            [workload], database: database ?? StubDatabase(executor), folder: "data", files: files, clock: executor,
            log: log, version: "1.2")
    }

    private func minutes(_ stint: Stint) -> [Int64] {
        stint.starts.withLock { $0.map { ($0 - HostTests.start) / 60_000 } }
    }

    private func answer(_ host: WorkloadHost, _ request: WorkloadRequest) throws -> WorkloadResponse {
        let found = Mutex<WorkloadResponse?>(nil)
        executor.start {
            let answer = await host.answer(request)
            found.withLock { $0 = answer }
        }
        executor.run(for: 1)
        return try #require(found.withLock { $0 })
    }

    @Test("it runs at once and then by its schedule; the series tell it") func schedule() throws {
        let stint = Stint(.every(3_600_000), clock: executor)
        let host = host(stint)
        executor.start { await host.run() }
        executor.run(for: 3 * 3_600_000 + 60_000)
        #expect(minutes(stint) == [0, 60, 120, 180])
        let families = host.metrics()
        let labels: Labels = ["workload": "stint"]
        #expect(
            value(families, "vedette_workload_runs_total", ["workload": "stint", "outcome": "success"]) == 4)
        #expect(
            value(families, "vedette_workload_runs_total", ["workload": "stint", "outcome": "timeout"]) == 0)
        #expect(value(families, "vedette_workload_run_duration_seconds", labels) == 1)
        #expect(value(families, "vedette_workload_rows_total", labels) == 28)
        #expect(value(families, "vedette_workload_last_run_outcome", labels) == 1)
        #expect(value(families, "vedette_workload_running", labels) == 0)
        #expect(value(families, "vedette_workload_objective_age_seconds", labels) == 7200)
        #expect(value(families, "vedette_workload_objective_duration_seconds", labels) == 60)
        #expect(
            value(families, "vedette_workload_last_success_timestamp_seconds", labels)
                == HostTests.start.seconds + 3 * 3600 + 1)
        let entry = try answer(host, WorkloadRequest("GET", "/api/vedette/v1/workloads")).body["workloads"]?[0]
        #expect(entry?["next_run"] == "2026-11-20T14:00:00.000Z" || entry?["next_run"] == "2026-11-20T14:00:00Z")
        #expect(entry?["last_outcome"] == "success")
        #expect(entry?["runs"]?["success"]?.integer == 4)
        executor.abandon()
    }

    @Test("of missed runs one is made up for") func catchUp() throws {
        let last = HostTests.start - 5 * 86_400_000 - 3_600_000
        files.put(
            "data/workloads.json",
            #"{"stint": {"last_run": \#(last.milliseconds), "last_success": \#(last.milliseconds), "#
                + #""last_outcome": "success"}}"#)
        let stint = Stint(.every(86_400_000), clock: executor)
        let host = host(stint)
        executor.start { await host.run() }
        executor.run(for: 100)
        #expect(host.status[0].lastSuccess == last)
        executor.run(for: 2 * 86_400_000)
        #expect(minutes(stint) == [0, 1440, 2880])
        executor.abandon()
    }

    @Test("a restart within the schedule runs nothing; a damaged state runs all") func restart() throws {
        let first = Stint(.every(86_400_000), clock: executor)
        let host = host(first)
        executor.start { await host.run() }
        executor.run(for: 3_600_000)
        let second = Stint(.every(86_400_000), clock: executor)
        let again = self.host(second)
        executor.start { await again.run() }
        executor.run(for: 3_600_000)
        #expect(minutes(second) == [])
        #expect(again.status[0].lastOutcome == .success)
        files.put("data/workloads.json", "{\"stint\"")
        let third = Stint(.every(86_400_000), clock: executor)
        let last = self.host(third)
        executor.start { await last.run() }
        executor.run(for: 1000)
        #expect(minutes(third) == [120])
        #expect(log.events.contains { $0.kind == "workload-state" })
        executor.abandon()
    }

    @Test("a failed run is told and tried again in ten minutes") func failure() throws {
        let stint = Stint(.every(86_400_000), clock: executor)
        stint.failure.withLock { $0 = WorkloadRefusal(409, "nothing to do", cure: "add rows") }
        let host = host(stint)
        executor.start { await host.run() }
        executor.run(for: 15 * 60_000)
        #expect(minutes(stint) == [0, 10])
        let status = host.status[0]
        #expect(status.runs == [.failure: 2])
        #expect(status.lastError == "nothing to do; add rows")
        #expect(status.lastSuccess == nil)
        let health = try answer(host, WorkloadRequest("GET", "/health"))
        #expect(health.status == 200)
        #expect(health.body["status"] == "degraded")
        #expect(health.body["version"] == "1.2")
        #expect(
            health.body["services"]?["stint"]?["problems"]
                == ["it has not succeeded yet", "the last run ended in failure"])
        #expect(log.events.map(\.kind) == ["workload-failed", "workload-failed"])
        stint.failure.withLock { $0 = nil }
        executor.run(for: 86_400_000)
        #expect(minutes(stint) == [0, 10, 20])
        let well = try answer(host, WorkloadRequest("GET", "/health"))
        // The age's promise is two hours, and the last success is older.
        #expect(
            well.body["services"]?["stint"]?["problems"] == ["the last success is older than 2h"])
        executor.abandon()
    }

    @Test("a run over its limit is ended and counted at the limit") func timeout() throws {
        let stint = Stint(.every(3_600_000), limit: 120_000, clock: executor)
        stint.length.withLock { $0 = 1_800_000 }
        let host = host(stint)
        executor.start { await host.run() }
        executor.run(for: 119_000)
        #expect(value(host.metrics(), "vedette_workload_running", ["workload": "stint"]) == 1)
        #expect(try answer(host, WorkloadRequest("GET", "/health")).body["status"] == "healthy")
        executor.run(for: 2000)
        #expect(host.status[0].runs == [.timeout: 1])
        #expect(host.status[0].runningSince == nil)
        #expect(host.status[0].lastDuration == 120_000)
        executor.run(for: 600_000)
        #expect(minutes(stint) == [0, 10])
        executor.abandon()
    }

    @Test("daily by the wall clock of a zone, across a change to winter time") func daily() throws {
        let zone = try #require(CivilZone("Europe/Berlin", files: SystemFiles()))
        let schedule = WorkloadSchedule.daily(at: 2 * 3_600_000 + 1_800_000, zone)
        var moment = Timestamp(rfc3339: "2026-10-24T00:00:00Z")!
        var found: [String] = []
        for _ in 0..<3 {
            moment = schedule.next(after: moment)!
            found.append(String(moment.description.prefix(16)))
        }
        // 02:30 comes twice on the 25th; it runs once.
        #expect(found[0] == "2026-10-24T00:30")
        #expect(["2026-10-25T00:30", "2026-10-25T01:30"].contains(found[1]))
        #expect(found[2] == "2026-10-26T01:30")
        // 02:30 does not exist on 2026-03-29.
        let spring = schedule.next(after: Timestamp(rfc3339: "2026-03-28T12:00:00Z")!)!
        #expect(zone.date(at: spring).text == "2026-03-29")
    }

    @Test("asked for while it runs it is refused, and the schedule goes on") func conflict() throws {
        let stint = Stint(.every(3_600_000), clock: executor)
        stint.length.withLock { $0 = 300_000 }
        let host = host(stint)
        executor.start { await host.run() }
        executor.run(for: 60_000)
        let error = Mutex<WorkloadRefusal?>(nil)
        executor.start {
            do throws(WorkloadRefusal) { _ = try await host.runNow("stint", request: .null) } catch let refusal {
                error.withLock { $0 = refusal }
            }
        }
        executor.run(for: 1)
        #expect(error.withLock { $0?.status } == 409)
        // Under way when the schedule is due: it waits its turn.
        executor.run(for: 57 * 60_000)
        executor.start { _ = try? await host.runNow("stint", request: .null) }
        executor.run(for: 10 * 60_000)
        #expect(minutes(stint) == [0, 58, 63])
        #expect(host.status[0].lastRun.map { ($0 - HostTests.start) / 60_000 } == 63)
        executor.abandon()
    }

    @Test("a dead database is told with a cure; it is asked for the tables until it is there") func deadDatabase()
        throws
    {
        let database = StubDatabase(executor)
        database.state.withLock { $0.failure = SQLError(.unreachable, "nobody there") }
        let stint = Stint(.onRequest, clock: executor)
        let host = host(stint, database)
        executor.start { await host.run() }
        executor.run(for: 5000)
        #expect(log.events.map(\.kind) == ["workload-tables"])
        let refusal = Mutex<WorkloadRefusal?>(nil)
        executor.start {
            do throws(WorkloadRefusal) { _ = try await host.runNow("stint", request: .null) } catch let error {
                refusal.withLock { $0 = error }
            }
        }
        executor.run(for: 1)
        #expect(refusal.withLock { $0?.status } == 503)
        #expect(refusal.withLock { $0?.message.contains("nobody there") } == true)
        database.state.withLock { $0.failure = nil }
        executor.run(for: 60_000)
        let calls = database.state.withLock { $0.calls }
        executor.run(for: 600_000)
        #expect(database.state.withLock { $0.calls } == calls)
        #expect(minutes(stint) == [])
        executor.abandon()
    }

    @Test(
        "paths and methods that nobody knows are told",
        arguments: [
            ("GET", "/nowhere", 404), ("POST", "/health", 405), ("GET", "/api/vedette/v1/workloads", 200),
            ("GET", "/api/v1/ml/health", 200),
        ])
    func answers(method: String, path: String, status: Int) throws {
        let host = host(Stint(.onRequest, clock: executor))
        #expect(try answer(host, WorkloadRequest(method, path)).status == status)
    }

    @Test("what a workload is in trouble about is in its health") func trouble() throws {
        let stint = Stint(.onRequest, clock: executor)
        let host = host(stint)
        #expect(try answer(host, WorkloadRequest("GET", "/health")).body["status"] == "healthy")
        stint.problem.withLock { $0 = "it limps" }
        let health = try answer(host, WorkloadRequest("GET", "/health"))
        #expect(health.body["services"]?["stint"] == ["status": "degraded", "problems": ["it limps"]])
    }
}
