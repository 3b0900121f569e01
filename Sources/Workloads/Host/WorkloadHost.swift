public import Basics
public import Model
public import SQL
internal import Synchronization

/// Runs workloads by their schedules and answers for them. It is meant for a process of its own: what it hosts may fail
/// or grow without touching the alerting.
///
/// The last runs stand in `workloads.json` in its folder, so that after a restart one missed run is made up for, and
/// only one.
public actor WorkloadHost: MetricsSource, WorkloadRunner {
    private let workloads: [any Workload]
    private let database: any SQLDatabase
    private let files: any FileSystem
    private let folder: String
    nonisolated private let clock: any TimeSource
    private let log: any LogSink
    private let version: String
    private let figures: WorkloadFigures
    private let routes: [String: [String: WorkloadEndpoint]]
    nonisolated private let isMigrated = Mutex(false)

    /// How long after a failed run the next try comes, if the schedule's next is later.
    public static let retryDelay: Milliseconds = 600_000

    /// A host of `workloads`, each of another name; `folder` is made when it is missing.
    public init(
        _ workloads: [any Workload], database: any SQLDatabase, folder: String, files: any FileSystem,
        clock: any TimeSource, log: any LogSink, version: String = ""
    ) {
        precondition(Set(workloads.map(\.name)).count == workloads.count, "two workloads of one name")
        (self.workloads, self.database, self.folder, self.files) = (workloads, database, folder, files)
        (self.clock, self.log, self.version) = (clock, log, version)
        figures = WorkloadFigures(workloads)
        var routes: [String: [String: WorkloadEndpoint]] = [:]
        for endpoint in workloads.flatMap(\.endpoints) {
            routes[endpoint.path, default: [:]][endpoint.method] = endpoint
        }
        self.routes = routes
    }

    /// Runs the schedules until it is cancelled. What is under way then is cancelled too.
    public func run() async {
        restore()
        for workload in workloads { await workload.start() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.migrate() }
            for workload in workloads {
                group.addTask { await workload.accompany() }
                group.addTask { await self.keep(workload) }
            }
        }
    }

    /// Makes the tables before anybody needs them: what logs or reports does not wait for the first run, which may be
    /// days away after a restart.
    private func migrate() async {
        var pause: Milliseconds = 1000
        while !isMigrated.withLock({ $0 }) {
            do throws(SQLError) {
                try await database.migrate(BusinessTables.migrations, now: clock.now())
                isMigrated.withLock { $0 = true }
            } catch {
                if pause == 1000 {
                    log.write(
                        LogEvent(.warning, "workload-tables", "The workloads' tables cannot be made now: \(error)"))
                }
                do throws(CancellationError) { try await clock.sleep(for: pause) } catch { return }
                pause = min(pause * 2, 60_000)
            }
        }
    }

    /// The states of the workloads.
    public nonisolated var status: [WorkloadStatus] { figures.all }

    /// The workloads' runs, and their own series.
    public nonisolated func metrics() -> [MetricFamily] {
        figures.metrics(at: clock.now()) + workloads.flatMap { $0.metrics() }
    }

    // MARK: - Runs

    /// One workload's schedule.
    private func keep(_ workload: any Workload) async {
        while !Task.isCancelled {
            let now = clock.now()
            guard let due = due(workload, now: now) else { return }
            figures.change(workload.name) { $0.nextRun = max(due, now) }
            do throws(CancellationError) { try await clock.sleep(until: due) } catch { return }
            do throws(WorkloadRefusal) {
                _ = try await carryOut(workload, request: .null, isScheduled: true)
            } catch {
                // It was told where it happened. A run that was asked for is in the way: look again soon.
                if error.status == 409, figures.status(of: workload.name)?.runningSince != nil {
                    do throws(CancellationError) { try await clock.sleep(for: 1000) } catch { return }
                }
            }
        }
    }

    /// When the next run is due: a moment that is past stands for all runs that were missed.
    private func due(_ workload: any Workload, now: Timestamp) -> Timestamp? {
        guard workload.schedule != .onRequest else { return nil }
        guard let status = figures.status(of: workload.name), let last = status.lastRun else { return now }
        // A clock that was set back must not stop the work for as long.
        let base = min(last, now)
        guard let next = workload.schedule.next(after: base) else { return nil }
        guard let outcome = status.lastOutcome, outcome != .success else { return next }
        return min(next, base + WorkloadHost.retryDelay)
    }

    /// Runs a workload now.
    public func runNow(_ name: String, request: JSON) async throws(WorkloadRefusal) -> WorkloadReport {
        guard let workload = workloads.first(where: { $0.name == name }) else {
            throw WorkloadRefusal(404, "there is no workload '\(name)'", cure: "see GET /api/vedette/v1/workloads")
        }
        return try await carryOut(workload, request: request, isScheduled: false)
    }

    private enum Ending: Sendable {
        case report(WorkloadReport)
        case failed(WorkloadRefusal)
        case late
    }

    private func carryOut(
        _ workload: any Workload, request: JSON, isScheduled: Bool
    ) async throws(WorkloadRefusal) -> WorkloadReport {
        let name = workload.name
        // Looked at and set without an await between: no second run comes in.
        guard figures.status(of: name)?.runningSince == nil else {
            throw WorkloadRefusal(409, "'\(name)' is running already", cure: "wait for it to end")
        }
        let began = clock.now()
        let start = clock.uptimeNanoseconds()
        figures.change(name) { status in
            status.runningSince = began
            if isScheduled { status.lastRun = began }
        }
        let context = WorkloadContext(database: database, now: began, clock: clock, log: log, request: request)
        let ending = await race(workload, context)
        let duration = Milliseconds((clock.uptimeNanoseconds() - start) / 1_000_000)
        figures.change(name) { $0.runningSince = nil }
        if Task.isCancelled, case .failed = ending {
            throw WorkloadRefusal(503, "'\(name)' was stopped", cure: "ask again")
        }
        switch ending {
        case .report(let report):
            let ended = clock.now()
            figures.change(name) { status in
                status.lastSuccess = ended
                status.rows += report.rows
            }
            record(name, .success, duration, nil)
            return report
        case .failed(let refusal):
            record(name, .failure, duration, refusal.description)
            throw refusal
        case .late:
            // Recorded when its time ran out.
            save()
            throw WorkloadRefusal(
                503, "'\(name)' took longer than \(DurationText.format(workload.timeLimit))",
                cure: "give it more time, or fewer rows")
        }
    }

    /// The run against its limit. A run over it is told at once and cancelled; what it still brings is not used.
    private func race(_ workload: any Workload, _ context: WorkloadContext) async -> Ending {
        await withTaskGroup(of: Ending?.self) { group in
            group.addTask { await WorkloadHost.ending(of: workload, context, migrating: self.isMigrated) }
            group.addTask { [clock] in
                do throws(CancellationError) { try await clock.sleep(for: workload.timeLimit) } catch { return nil }
                return .late
            }
            while let first = await group.next() {
                guard let first else { continue }
                group.cancelAll()
                if case .late = first {
                    record(
                        workload.name, .timeout, workload.timeLimit,
                        "longer than \(DurationText.format(workload.timeLimit))")
                }
                return first
            }
            return .failed(WorkloadRefusal(503, "'\(workload.name)' was stopped", cure: "ask again"))
        }
    }

    @concurrent private static func ending(
        of workload: any Workload, _ context: WorkloadContext, migrating isMigrated: borrowing Mutex<Bool>
    ) async -> Ending {
        do {
            if !isMigrated.withLock({ $0 }) {
                try await context.database.migrate(BusinessTables.migrations, now: context.now)
                isMigrated.withLock { $0 = true }
            }
            return .report(try await workload.run(context))
        } catch let refusal as WorkloadRefusal {
            return .failed(refusal)
        } catch let error as SQLError {
            return .failed(
                WorkloadRefusal(503, "\(error)", cure: "see that the database \(context.database.address) is well"))
        } catch {
            return .failed(WorkloadRefusal(500, "\(error)", cure: "see the log"))
        }
    }

    private func record(_ name: String, _ outcome: WorkloadOutcome, _ duration: Milliseconds, _ error: String?) {
        figures.change(name) { status in
            status.runs[outcome, default: 0] += 1
            (status.lastOutcome, status.lastDuration, status.lastError) = (outcome, duration, error)
        }
        if let error {
            log.write(
                LogEvent(.warning, "workload-failed", "The workload '\(name)' failed: \(error)", [("workload", name)]))
        }
        save()
    }

    // MARK: - What survives a restart

    private var statePath: String { "\(folder)/workloads.json" }

    private func save() {
        let members = figures.all.map { status in
            JSON.Member(
                status.name,
                .object([
                    .init("last_run", status.lastRun.map { .number(Double($0.milliseconds)) } ?? .null),
                    .init("last_success", status.lastSuccess.map { .number(Double($0.milliseconds)) } ?? .null),
                    .init("last_outcome", status.lastOutcome.map { .string($0.rawValue) } ?? .null),
                ]))
        }
        do throws(FileError) {
            try files.createDirectory(folder)
            try files.replace(statePath, with: JSON.object(members).serialized())
        } catch {
            log.write(
                LogEvent(.warning, "workload-state", "The state of the workloads cannot be written: \(error)"))
        }
    }

    private func restore() {
        guard let bytes = try? files.contents(of: statePath, limit: 1 << 20) else { return }
        guard let state = try? JSON(parsing: bytes), state.members != nil else {
            log.write(
                LogEvent(
                    .warning, "workload-state", "\(statePath) is damaged and not used; every workload runs now"))
            return
        }
        func moment(_ value: JSON?) -> Timestamp? {
            value?.integer.map { Timestamp(milliseconds: Int64($0)) }
        }
        for workload in workloads {
            guard let entry = state[workload.name] else { continue }
            figures.change(workload.name) { status in
                status.lastRun = moment(entry["last_run"])
                status.lastSuccess = moment(entry["last_success"])
                status.lastOutcome = entry["last_outcome"]?.string.flatMap(WorkloadOutcome.init)
            }
        }
    }

    // MARK: - Answers

    /// What the host answers itself, to GET.
    public static let ownPaths = ["/health", "/api/v1/ml/health", "/api/vedette/v1/workloads"]

    /// Answers a request. Predictions do not wait for a run, nor for the database.
    public nonisolated func answer(_ request: WorkloadRequest) async -> WorkloadResponse {
        do throws(WorkloadRefusal) {
            let methods = WorkloadHost.ownPaths.contains(request.path) ? ["GET"] : routes[request.path]?.keys.sorted()
            guard let methods else {
                throw WorkloadRefusal(404, "there is no \(request.path)", cure: "see GET /api/vedette/v1/workloads")
            }
            let method = request.method == "HEAD" ? "GET" : request.method
            guard methods.contains(method) else {
                var refusal = WorkloadResponse(
                    WorkloadRefusal(
                        405, "\(request.path) does not take \(request.method)",
                        cure: "use \(methods.joined(separator: " or "))"))
                refusal.allowed = methods
                return refusal
            }
            guard let endpoint = routes[request.path]?[method] else {
                guard request.path == "/api/vedette/v1/workloads" else { return health() }
                try request.checkQuery([])
                return WorkloadResponse(statusDocument())
            }
            return WorkloadResponse(try await endpoint.handler(request, self))
        } catch {
            return WorkloadResponse(error)
        }
    }

    /// `{status, timestamp, version, services}`: degraded with 200 while all still answers, unhealthy never, since a
    /// process that is not well does not answer.
    private nonisolated func health() -> WorkloadResponse {
        let now = clock.now()
        let all = figures.all
        let services = workloads.map { workload in
            let status = all.first { $0.name == workload.name }
            let found = (status?.violations(at: now) ?? []) + (workload.trouble.map { [$0] } ?? [])
            return JSON.Member(
                workload.name,
                .object([
                    .init("status", found.isEmpty ? "healthy" : "degraded"),
                    .init("problems", .array(found.map(JSON.string))),
                ]))
        }
        let isWell = services.allSatisfy { $0.value["status"] == "healthy" }
        return WorkloadResponse(
            .object([
                .init("status", isWell ? "healthy" : "degraded"), .init("timestamp", .string(now.description)),
                .init("version", .string(version)), .init("services", .object(services)),
            ]))
    }

    private nonisolated func statusDocument() -> JSON {
        let now = clock.now()
        func text(_ moment: Timestamp?) -> JSON { moment.map { .string($0.description) } ?? .null }
        return [
            "workloads": .array(
                figures.all.map { status in
                    [
                        "name": .string(status.name), "running_since": text(status.runningSince),
                        "next_run": text(status.nextRun), "last_run": text(status.lastRun),
                        "last_success": text(status.lastSuccess),
                        "last_outcome": status.lastOutcome.map { .string($0.rawValue) } ?? .null,
                        "last_duration_ms": .number(Double(status.lastDuration)),
                        "last_error": status.lastError.map(JSON.string) ?? .null,
                        "runs": .object(
                            WorkloadOutcome.allCases.map {
                                .init($0.rawValue, .number(Double(status.runs[$0, default: 0])))
                            }),
                        "rows": .number(Double(status.rows)),
                        "violations": .array(status.violations(at: now).map(JSON.string)),
                    ]
                })
        ]
    }
}
