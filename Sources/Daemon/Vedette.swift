public import Alerting
internal import Backup
public import Basics
internal import Glibc
internal import Model
internal import Notifying
internal import Query
internal import Remote
internal import Rollback
internal import Rules
internal import Scraping
internal import Settings
internal import Storage
internal import Synchronization
internal import Systemd
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
    /// Whether samples are taken by remote write, whatever the file says.
    public var takesRemoteWrite = false
    /// Which grammar of matchers counts.
    public var matcherMode = MatcherMode.fallback
    /// For how long after the start no group is told of: senders have that time to tell everything again.
    public var startDelay: Milliseconds = 0
    /// What every path begins with, empty or as `/vedette`.
    public var routePrefix = ""
    /// A file of Prometheus' `--web.config.file`, in place of the file's `web`.
    public var webConfiguration: String?

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

    let world: World
    let options: StartOptions
    private let store: SeriesStore
    private let journal: Journal
    /// The time of samples, rules and rollbacks.
    private let sampleClock: SampleClock
    let manager: ScrapeManager
    let mailboxes: [ScrapeLoop.Mailbox]
    private let scrapeFigures = ScrapeFigures()
    private let engine: QueryEngine
    let dispatcher: Dispatcher
    let links: AlertmanagerLinks
    private let peers: PeerLinks
    let rollback: RollbackEngine
    let child: WorkloadChild
    let remote: RemoteLinks
    private let receiver: WriteReceiver
    let scheduler: RuleScheduler
    private let startedAt: Timestamp
    private let settings: Mutex<DaemonSettings>
    let reload = Mutex(ReloadState())
    let hardships: Hardships
    let access: AccessGate
    let audit: AuditLog
    /// Those of the listener; nil: it speaks plain HTTP.
    let certificates: TLSCertificates?
    private let certificateProblem = Mutex<String?>(nil)
    private let server = Mutex<WebServer?>(nil)
    private let isReady = Mutex(false)
    let isStopping = Mutex(false)
    private let stopping: (stream: AsyncStream<Void>, continuation: AsyncStream<Void>.Continuation)

    /// Opens the data directory, replays what is there, and stands ready to run.
    public init(_ options: StartOptions, settings: DaemonSettings, world: World) throws {
        (self.world, self.options) = (world, options)
        self.settings = Mutex(settings)
        startedAt = world.clock.now()
        stopping = AsyncStream.makeStream(of: Void.self)
        sampleClock = SampleClock(world.clock)
        // The store makes the folder: whether there are samples is looked at before.
        let hasSamples = (try? world.files.list("\(options.dataDirectory)/wal").isEmpty) == false
        store = try SeriesStore(
            directory: options.dataDirectory, settings: settings.storage, files: world.files, clock: sampleClock)
        do throws(FileError) {
            journal = try Journal(directory: "\(options.dataDirectory)/journal", files: world.files)
        } catch {
            throw StorageError.file(error)
        }
        if hasSamples { sampleClock.goOn(from: journal) }
        var queries = QueryOptions()
        queries.defaultSubqueryStep = settings.evaluationInterval
        // What Prometheus keeps behind flags is a part of the language here.
        queries.allowsExperimental = true
        engine = QueryEngine(
            source: store, options: queries, budget: QueryBudget(clock: world.clock), clock: sampleClock,
            workers: world.workers)
        // Rules and rollbacks do not share what people's queries may take: a heavy one stops no alert.
        var ruling = engine
        ruling.budget = nil
        let readFile = { @Sendable [files = world.files] (path: String) in try files.contents(of: path) }
        dispatcher = Dispatcher(
            settings.notifying, store: journal, clock: world.clock, transport: world.transport,
            random: SharedRandom(seed: world.seed), externalURL: options.externalURL, files: readFile,
            opening: options.startDelay > 0 ? startedAt + options.startDelay : .distantPast,
            peers: settings.peers, log: world.log)
        peers = PeerLinks(dispatcher, clock: world.clock, transport: world.workloads, files: readFile)
        links = AlertmanagerLinks(
            settings.alertmanagers, next: dispatcher, clock: world.clock, transport: world.workloads, files: readFile)
        let told = WallTimes(clock: sampleClock, alerts: links, announcements: dispatcher)
        var rollbackContext = RollbackContext(
            store: journal, clock: sampleClock, files: world.files, processes: world.processes, engine: ruling,
            announcements: told, log: world.log, redis: world.redis,
            killSwitch: "\(options.dataDirectory)/rollback.stop")
        rollbackContext.externalLabels = settings.externalLabels
        rollbackContext.peerBeforeUs = { [dispatcher] in dispatcher.peerBeforeUs }
        rollback = RollbackEngine(settings.rollback, rollbackContext)
        hardships = Hardships(
            clock: world.clock, files: world.files, log: world.log, directory: options.dataDirectory,
            stamp: { [sampleClock] in sampleClock.now() })
        let web = try Vedette.web(options, settings, world)
        access = AccessGate(
            web, clock: world.clock, log: world.log, reckoner: world.reckoner, readFile: readFile)
        audit = AuditLog(journal, log: world.log)
        certificates = try web.tls.map { try TLSCertificates($0, files: world.files) }
        remote = RemoteLinks(
            world: world, tail: store, clock: sampleClock, directory: "\(options.dataDirectory)/remote_write",
            externalLabels: settings.externalLabels)
        receiver = WriteReceiver(sink: store, exemplars: store.keepsExemplars ? store : nil)
        child = WorkloadChild(try WorkloadCommand(settings, options), world: world)
        var context = RuleContext(engine: ruling, samples: store, alerts: told)
        context.rollback = rollback
        context.sources = { [remote] in remote.source($0) }
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
        remote.metadata.withLock { [manager] in $0 = { RemoteLinks.metadata(of: manager) } }
        reload.withLock { $0.at = startedAt }
        tellOpening()
    }

    /// Who may ask what, from the file that says so.
    static func web(
        _ options: StartOptions, _ settings: DaemonSettings, _ world: World
    ) throws -> WebSettings {
        guard let path = options.webConfiguration else { return settings.web }
        let bytes = try world.files.contents(of: path, limit: SettingsLimits().bytes)
        return try WebSettings(webConfiguration: SettingsDocument(bytes, file: path).map())
    }

    /// Whether the listener will speak TLS.
    public static func speaksTLS(
        _ options: StartOptions, _ settings: DaemonSettings, _ world: World
    ) throws -> Bool {
        try web(options, settings, world).tls != nil
    }

    /// Other limits for whoever serves this daemon.
    func use(_ limits: WebSettings.Limits) { server.withLock { $0?.use(limits) } }

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
        // Half of the program is there for the start alone.
        releaseAfterBurst()
    }

    func warn(of settings: DaemonSettings) {
        for warning in settings.warnings + settings.unrecordedTriggers.map(\.problem.description) {
            world.log.write(LogEvent(.warning, "configuration", warning))
        }
    }

    var log: any LogSink { world.log }

    // MARK: Running

    /// Runs everything until `stop`; then nothing new is scraped or decided, and pages under way may end.
    public func run() async {
        manager.use(discovery(settings.withLock { $0 }))
        await remote.update(to: settings.withLock { $0 })
        await scheduler.update(to: settings.withLock { $0.groups }, at: sampleClock.now())
        await withTaskGroup(of: Void.self) { pages in
            pages.addTask { [self] in await dispatcher.run() }
            pages.addTask { [self] in await supervise() }
            pages.addTask { [self] in await peers.run() }
            await withTaskGroup(of: Void.self) { work in
                for mailbox in mailboxes {
                    work.addTask { [self] in await world.driveLoop(mailbox) { [self] in loop(mailbox, $0) } }
                }
                work.addTask { [self] in await manager.run(clock: world.clock) }
                work.addTask { [self] in await scheduler.run(sampleClock) }
                work.addTask { [self] in await rollback.run() }
                work.addTask { [self] in await links.run() }
                work.addTask { [self] in await remote.run() }
                work.addTask { [self] in await child.run() }
                work.addTask { [self] in await keepUp() }
                work.addTask { [self] in await keepStore() }
                work.addTask { [self] in await replayLog() }
                isReady.withLock { $0 = true }
                for await _ in stopping.stream {}
                isReady.withLock { $0 = false }
                isStopping.withLock { $0 = true }
                world.manager.tell(
                    .stopping, .extending(2 * Vedette.drainLimit), .status("stopping: pages under way are sent"))
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
        await peers.flush()
        store.synchronizeLog()
        sampleClock.keep(in: journal)
    }

    /// Lets `run` end.
    public func stop() { stopping.continuation.finish() }

    private func loop(_ mailbox: ScrapeLoop.Mailbox, _ fetcher: any Fetcher) -> ScrapeLoop {
        ScrapeLoop(
            mailbox: mailbox, fetcher: fetcher, clock: sampleClock, sink: store, figures: scrapeFigures, log: world.log,
            readFile: { [files = world.files] in try files.contents(of: $0) },
            exemplars: store.keepsExemplars ? store : nil, prober: world.prober)
    }

    func discovery(_ settings: DaemonSettings) -> Discovery {
        Discovery(
            jobs: settings.jobs + (WorkloadCommand.job(settings, options).map { [$0] } ?? []), checks: settings.checks,
            files: world.files, figures: scrapeFigures, log: world.log)
    }

    /// Syncs the log and lets old samples go.
    private func keepUp() async {
        var untilForget = SampleClock.keptEvery
        // A clock that is set before the first minute is over is known of by this.
        sampleClock.keep(in: journal)
        while true {
            // Cancelled: the daemon ends.
            do { try await world.clock.sleep(for: store.syncInterval) } catch { return }
            store.synchronizeLog()
            refreshCertificates()
            if sampleClock.isToBeKept { sampleClock.keep(in: journal) }
            untilForget -= store.syncInterval
            if untilForget <= 0 {
                sampleClock.keep(in: journal)
                untilForget = SampleClock.keptEvery
            }
        }
    }

    /// Cuts and compacts blocks and lets old samples go, and tells what goes wrong with it.
    private func keepStore() async {
        var told: Set<SetAsideBlock> = []
        while true {
            for block in store.setAside where told.insert(block).inserted {
                log.write(
                    LogEvent(
                        .error, "block-set-aside",
                        "the block \(block.name) is not served, the others are: \(block.reason)",
                        [("block", block.name)]))
            }
            // Cancelled: the daemon ends.
            do { try await world.clock.sleep(for: SeriesStore.upkeepInterval) } catch { return }
            await world.runLong("vedette-storage") { [store] in store.maintain() }
            if let problem = store.takeProblem() {
                log.write(
                    LogEvent(
                        .error, "blocks-failed", "\(problem); samples stay in the head and the log until it is done"))
            }
        }
    }

    private func refreshCertificates() {
        do throws(TLSError) {
            guard try certificates?.refresh() == true else { return }
            certificateProblem.withLock { $0 = nil }
            log.write(LogEvent(.info, "certificate-read", "the listener's certificate was read again"))
        } catch {
            let isNew = certificateProblem.withLock { known in
                defer { known = error.description }
                return known != error.description
            }
            if isNew {
                log.write(LogEvent(.error, "certificate-refused", "\(error); the one read before stays in force"))
            }
        }
    }

    // MARK: Reloading

    var clock: any TimeSource { world.clock }
    /// The rules' time.
    var ruleTime: Timestamp { sampleClock.now() }

    func beforeReload(_ stage: ReloadStage) throws { try world.beforeReload(stage) }

    func readSettings() throws(SettingsError) -> DaemonSettings {
        try DaemonSettings(
            path: options.configuration, files: world.files, variables: world.variables, mode: options.matcherMode)
    }

    func use(_ fresh: DaemonSettings) { settings.withLock { $0 = fresh } }

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
        context.sampleTime = { [sampleClock] in sampleClock.now() }
        context.replay = { [store] in store.replay }
        (context.access, context.audit) = (access, audit)
        context.storage = store
        context.exposedChecks = { [self] in settings.withLock { $0.exposedChecks } }
        context.allowsAdmin = options.allowsAdmin
        context.stageBackup = { [self] in try await stageBackup() }
        context.removeBackup = { [self] in
            try BackupStage.remove($0, directory: options.dataDirectory, files: world.files)
        }
        context.receiver = { [self] in
            options.takesRemoteWrite || settings.withLock { $0.web.takesRemoteWrite } ? receiver : nil
        }
        context.routePrefix = options.routePrefix
        context.runtime = { [self] in runtimeFacts() }
        if options.hostsWorkloads, !settings.withLock({ $0.workloads.isEmpty }) {
            context.workloads = Forwarder(world.workloads, socket: WorkloadCommand.socket(options))
        }
        return API(context)
    }

    private func stageBackup() async throws -> (name: String, path: String) {
        let database: BackupStage.Database =
            switch settings.withLock({ $0.database.place }) {
            case .sqlite(let path): .sqlite(path)
            case .postgresql: .postgresql
            }
        let stage = try await BackupStage(
            of: store, journal, database, directory: options.dataDirectory, files: world.files, clock: world.clock)
        return (stage.name, absolute(stage.path))
    }

    private func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let here = unsafe getcwd(nil, 0) else { return path }
        defer { unsafe free(here) }
        return unsafe String(cString: here) + "/" + path
    }

    private func runtimeFacts() -> RuntimeFacts {
        var facts = RuntimeFacts()
        (facts.isReloadGood, facts.reloadedAt) = reload.withLock { ($0.isGood, $0.at) }
        facts.corruptions = journal.recovery.damagedRecords + store.replay.report.repairs.count
        facts.corruptions += journal.figures.lostEntries
        facts.retention = DurationText.format(settings.withLock { $0.storage.retention })
        facts.threads = ProcessFigures.threads(files: world.files)
        facts.processors = processorCount()
        facts.hostname = ProcessFigures.hostname(files: world.files)
        return facts
    }

    /// The figures of whoever serves this daemon.
    func addMetrics(of server: WebServer) { self.server.withLock { $0 = server } }

    private func metrics() -> [MetricFamily] {
        let sources: [any MetricsSource] =
            [
                store, journal, scrapeFigures, manager, scheduler, rollback, child, dispatcher, links, access,
                hardships, sampleClock, remote, receiver,
            ] + server.withLock { $0.map { [$0] } ?? [] } + (certificates.map { [$0] } ?? [])
        let reload = reload.withLock { $0 }
        return sources.flatMap { $0.metrics() } + [
            // Karma and Grafana ask for it to learn which API they speak to.
            MetricFamily(
                .gauge, "alertmanager_build_info", "The Alertmanager whose API is spoken here.",
                [(["version": API.alertmanagerVersion], 1)])
        ] + ProcessFigures.metrics(files: world.files, startedAt: startedAt) + [
            MetricFamily(.gauge, "vedette_build_info", "What is running.", [(["version": Vedette.version], 1)]),
            MetricFamily(
                .gauge, "vedette_config_generation", "How often the part's configuration was exchanged, from 1.",
                reload.generations.sorted { $0.key.rawValue < $1.key.rawValue }.map {
                    (["part": $0.key.rawValue], Double($0.value))
                }),
            MetricFamily(
                .gauge, "vedette_config_last_reload_successful", "Whether the last reading of the file went well.",
                reload.isGood ? 1 : 0),
            MetricFamily(
                .gauge, "vedette_config_last_reload_success_timestamp_seconds", "When the file was last read well.",
                [(Labels(), reload.at?.seconds ?? 0)]),
        ]
    }
}
