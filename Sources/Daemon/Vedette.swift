internal import Basics
internal import Model
internal import Notifying
internal import Query
internal import Rollback
internal import Rules
internal import Scraping
internal import Settings
internal import Storage
internal import Synchronization
internal import Transport
public import Web
internal import Workloads

/// What is given at the start, beside the file.
public struct StartOptions: Sendable {
    /// The configuration's path.
    public var configuration: String
    /// The data directory.
    public var dataDirectory: String
    /// Where people reach the daemon, for links in pages.
    public var externalURL: String
    /// Whether the workloads run as a child of this process; the demo and tests do without.
    public var hostsWorkloads = false
    /// Whether samples may be deleted over HTTP.
    public var allowsAdmin = false

    /// Options by their parts.
    public init(configuration: String, dataDirectory: String, externalURL: String) {
        (self.configuration, self.dataDirectory, self.externalURL) = (configuration, dataDirectory, externalURL)
    }
}

/// The assembled daemon, over a world that may be simulated.
public final class Vedette: Sendable {
    /// As printed by `--version`.
    public static let version = "0.1.0"
    /// How long pages under way may take when the daemon ends.
    static let drainLimit: Milliseconds = 10_000
    /// How long rules wait for the log of earlier runs; ten million samples take two seconds.
    static let holdLimit: Milliseconds = 600_000

    private let world: World
    private let options: StartOptions
    private let store: SeriesStore
    private let journal: Journal
    private let manager: ScrapeManager
    private let mailboxes: [ScrapeLoop.Mailbox]
    private let scrapeFigures = ScrapeFigures()
    private let engine: QueryEngine
    private let dispatcher: Dispatcher
    private let rollback: RollbackEngine
    private let child: WorkloadChild
    private let scheduler: RuleScheduler
    private let startedAt: Timestamp
    private let settings: Mutex<DaemonSettings>
    private let reload = Mutex(ReloadState())
    private let isReady = Mutex(false)
    private let stopping: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

    private struct ReloadState {
        var isGood = true
        var isRunning = false
        var at: Timestamp?
    }

    /// Opens the data directory, replays what is there, and stands ready to run.
    public init(_ options: StartOptions, settings: DaemonSettings, world: World) throws {
        (self.world, self.options) = (world, options)
        self.settings = Mutex(settings)
        startedAt = world.clock.now()
        stopping = AsyncStream.makeStream(of: Void.self)
        store = try SeriesStore(
            directory: options.dataDirectory, settings: settings.storage, files: world.files, clock: world.clock)
        do throws(FileError) {
            journal = try Journal(directory: "\(options.dataDirectory)/journal", files: world.files)
        } catch {
            throw StorageError.file(error)
        }
        var queries = QueryOptions()
        queries.defaultSubqueryStep = settings.evaluationInterval
        // What Prometheus keeps behind flags is a part of the language here.
        queries.allowsExperimental = true
        engine = QueryEngine(
            source: store, options: queries, budget: QueryBudget(clock: world.clock), clock: world.clock)
        // Rules and rollbacks do not share what people's queries may take: a heavy one stops no alert.
        var ruling = engine
        ruling.budget = nil
        let readFile = { @Sendable [files = world.files] (path: String) in try files.contents(of: path) }
        dispatcher = Dispatcher(
            settings.notifying, store: journal, clock: world.clock, transport: world.transport,
            random: SharedRandom(seed: world.seed), externalURL: options.externalURL, files: readFile)
        var rollbackContext = RollbackContext(
            store: journal, clock: world.clock, files: world.files, processes: world.processes, engine: ruling,
            announcements: dispatcher, log: world.log, redis: world.redis,
            killSwitch: "\(options.dataDirectory)/rollback.stop")
        rollbackContext.externalLabels = settings.externalLabels
        rollback = RollbackEngine(settings.rollback, rollbackContext)
        child = WorkloadChild(try WorkloadCommand(settings, options), world: world)
        var context = RuleContext(engine: ruling, samples: store, alerts: dispatcher)
        context.rollback = rollback
        context.interval = settings.evaluationInterval
        // After a time down the first evaluations would find no fresh sample: restored alerts wait for the first
        // scrapes.
        let slowest = (settings.jobs.map(\.interval) + settings.checks.map(\.interval)).max() ?? 0
        context.settle = 2 * max(settings.evaluationInterval, slowest)
        context.externalLabels = settings.externalLabels
        context.externalURL = options.externalURL
        // A rule that looks back into what is not read yet would see an incident's end, or its beginning.
        // But not for ever: beside a disk that hangs, rules without a past are better than none.
        let holdEnd = world.clock.uptimeNanoseconds() + UInt64(Vedette.holdLimit) * 1_000_000
        context.isHeld = { [store, clock = world.clock] in
            store.replay.state != .done && clock.uptimeNanoseconds() < holdEnd
        }
        scheduler = RuleScheduler(context, restoring: journal)
        mailboxes = (0..<world.loopCount).map { _ in ScrapeLoop.Mailbox() }
        manager = ScrapeManager(
            mailboxes: mailboxes, transport: world.transport, resolver: world.resolver, readFile: readFile)
        reload.withLock { $0.at = startedAt }
        tellOpening()
    }

    private func tellOpening() {
        let damaged = journal.recovery.damagedRecords
        if damaged > 0 {
            world.log.write(
                LogEvent(.error, "journal-damaged", "\(damaged) damaged records of the journal were left out"))
        }
        world.log.write(LogEvent(.info, "storage-bounds", store.boundsText))
        warn(of: settings.withLock { $0 })
    }

    /// Reads the log of earlier runs, while targets are scraped already. Rules wait for it, and queries say so.
    private func replayLog() async {
        await world.runLong("vedette-replay") { [store] in store.replayLog() }
        let (report, failure) = (store.replay.report, store.replay.failure)
        world.log.write(
            LogEvent(
                .info, "log-replayed",
                "replayed \(report.samples) samples of \(report.series) series from \(report.segments) segments"))
        for repair in report.repairs { world.log.write(LogEvent(.warning, "log-repaired", repair)) }
        if let failure {
            world.log.write(
                LogEvent(.error, "log-unreadable", "\(failure); samples of earlier runs are missing from there on"))
        }
    }

    private func warn(of settings: DaemonSettings) {
        for warning in settings.warnings + settings.unrecordedTriggers.map(\.problem.description) {
            world.log.write(LogEvent(.warning, "configuration", warning))
        }
    }

    var log: any LogSink { world.log }

    // MARK: Running

    /// Runs everything until `stop`; then nothing new is scraped or decided, and pages under way may end.
    public func run() async {
        manager.use(discovery(settings.withLock { $0 }))
        await scheduler.update(to: settings.withLock { $0.groups }, at: world.clock.now())
        await withTaskGroup(of: Void.self) { pages in
            pages.addTask { [self] in await dispatcher.run() }
            await withTaskGroup(of: Void.self) { work in
                for mailbox in mailboxes {
                    work.addTask { [self] in await world.driveLoop(mailbox) { [self] in loop(mailbox, $0) } }
                }
                work.addTask { [self] in await manager.run(clock: world.clock) }
                work.addTask { [self] in await scheduler.run(world.clock) }
                work.addTask { [self] in await rollback.run() }
                work.addTask { [self] in await child.run() }
                work.addTask { [self] in await keepUp() }
                work.addTask { [self] in await replayLog() }
                isReady.withLock { $0 = true }
                for await _ in stopping.stream {}
                isReady.withLock { $0 = false }
                for mailbox in mailboxes { mailbox.stop() }
                work.cancelAll()
            }
            await dispatcher.stop()
            pages.addTask { [self] in
                // Cut short when the pages are done first.
                try? await world.clock.sleep(for: Vedette.drainLimit)
            }
            await pages.next()
            pages.cancelAll()
        }
        store.synchronizeLog()
    }

    /// Lets `run` end.
    public func stop() { stopping.continuation.finish() }

    private func loop(_ mailbox: ScrapeLoop.Mailbox, _ fetcher: any Fetcher) -> ScrapeLoop {
        ScrapeLoop(
            mailbox: mailbox, fetcher: fetcher, clock: world.clock, sink: store, figures: scrapeFigures, log: world.log,
            readFile: { [files = world.files] in try files.contents(of: $0) },
            exemplars: store.keepsExemplars ? store : nil)
    }

    private func discovery(_ settings: DaemonSettings) -> Discovery {
        Discovery(
            jobs: settings.jobs + (WorkloadCommand.job(settings, options).map { [$0] } ?? []), checks: settings.checks,
            files: world.files, figures: scrapeFigures, log: world.log)
    }

    /// Syncs the log and lets old samples go.
    private func keepUp() async {
        var untilForget: Milliseconds = 60_000
        while true {
            // Cancelled: the daemon ends.
            do { try await world.clock.sleep(for: store.syncInterval) } catch { return }
            store.synchronizeLog()
            untilForget -= store.syncInterval
            if untilForget <= 0 {
                store.forgetOld()
                untilForget = 60_000
            }
        }
    }

    // MARK: Reloading

    /// Reads the file again. All of it is checked first; only then are targets, rules and receivers exchanged. What
    /// `storage`, `global.evaluation_interval` and `global.external_labels` say holds from the next start on. Answers
    /// what is wrong.
    @discardableResult
    public func reloadConfiguration() async -> String? {
        // One at a time: two that are half done would mix their files.
        guard
            reload.withLock({ state in
                defer { state.isRunning = true }
                return !state.isRunning
            })
        else { return "another reload is under way; try again" }
        defer { reload.withLock { $0.isRunning = false } }
        let fresh: DaemonSettings
        do throws(SettingsError) {
            fresh = try DaemonSettings(path: options.configuration, files: world.files)
        } catch {
            reload.withLock { $0.isGood = false }
            world.log.write(LogEvent(.error, "reload-failed", "\(error); the configuration in force stays"))
            return error.description
        }
        do {
            child.replace(try WorkloadCommand(fresh, options))
        } catch {
            world.log.write(LogEvent(.error, "workloads-not-started", "\(error)"))
        }
        settings.withLock { $0 = fresh }
        await dispatcher.replace(fresh.notifying)
        await rollback.replace(fresh.rollback, triggers: fresh.triggerNames)
        await scheduler.update(to: fresh.groups, at: world.clock.now())
        manager.use(discovery(fresh))
        let now = world.clock.now()
        reload.withLock { ($0.isGood, $0.at) = (true, now) }
        warn(of: fresh)
        world.log.write(LogEvent(.info, "reloaded", "the configuration was read again"))
        return nil
    }

    // MARK: Showing

    /// The HTTP interface over this daemon.
    public var api: API {
        var context =
            APIContext(
                engine: engine, targets: manager, rules: scheduler, rollback: rollback, dispatcher: dispatcher,
                clock: world.clock,
                metrics: { [self] in metrics() },
                unreadiness: { [self] in isReady.withLock { $0 } ? nil : "Vedette is starting or stopping." },
                reload: { [self] in await reloadConfiguration() }, version: Vedette.version, startedAt: startedAt)
        context.externalLabels = settings.withLock { $0.externalLabels }
        context.replay = { [store] in store.replay }
        context.storage = store
        context.allowsAdmin = options.allowsAdmin
        context.runtime = { [self] in runtimeFacts() }
        if options.hostsWorkloads, !settings.withLock({ $0.workloads.isEmpty }) {
            context.workloads = Forwarder(world.workloads, socket: WorkloadCommand.socket(options))
        }
        return API(context)
    }

    private func runtimeFacts() -> RuntimeFacts {
        var facts = RuntimeFacts()
        (facts.isReloadGood, facts.reloadedAt) = reload.withLock { ($0.isGood, $0.at) }
        facts.corruptions = journal.recovery.damagedRecords + store.replay.report.repairs.count
        facts.retention = DurationText.format(settings.withLock { $0.storage.maximumAge })
        facts.threads = ProcessFigures.threads(files: world.files)
        facts.processors = processorCount()
        facts.hostname = ProcessFigures.hostname(files: world.files)
        return facts
    }

    private func metrics() -> [MetricFamily] {
        let sources: [any MetricsSource] = [
            store, journal, scrapeFigures, manager, scheduler, rollback, child, dispatcher,
        ]
        let reload = reload.withLock { $0 }
        return sources.flatMap { $0.metrics() } + ProcessFigures.metrics(files: world.files) + [
            MetricFamily(.gauge, "vedette_build_info", "What is running.", [(["version": Vedette.version], 1)]),
            MetricFamily(
                .gauge, "vedette_config_last_reload_successful", "Whether the last reading of the file went well.",
                reload.isGood ? 1 : 0),
            MetricFamily(
                .gauge, "vedette_config_last_reload_success_timestamp_seconds", "When the file was last read well.",
                [(Labels(), reload.at?.seconds ?? 0)]),
        ]
    }
}
