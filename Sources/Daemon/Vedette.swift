internal import Basics
internal import Model
internal import Query
internal import Scraping
internal import Storage
internal import Synchronization
public import Web

/// What is given at the start, beside the file.
public struct StartOptions: Sendable {
    /// The configuration's path.
    public var configuration: String
    /// The data directory.
    public var dataDirectory: String

    /// Options by their parts.
    public init(configuration: String, dataDirectory: String) {
        (self.configuration, self.dataDirectory) = (configuration, dataDirectory)
    }
}

/// The assembled daemon, over a world that may be simulated.
public final class Vedette: Sendable {
    /// As printed by `--version`.
    public static let version = "0.1.0"

    private let world: World
    private let store: SeriesStore
    private let journal: Journal
    private let manager: ScrapeManager
    private let mailboxes: [ScrapeLoop.Mailbox]
    private let figures = ScrapeFigures()
    private let engine: QueryEngine
    private let startedAt: Timestamp
    private let isReady = Mutex(false)

    /// Opens the data directory, replays what is there, and stands ready to run.
    public init(_ options: StartOptions, settings: DaemonSettings, world: World) throws {
        self.world = world
        startedAt = world.clock.now()
        store = try SeriesStore(
            directory: options.dataDirectory, settings: settings.storage, files: world.files, clock: world.clock)
        journal = try Journal(directory: "\(options.dataDirectory)/journal", files: world.files)
        engine = QueryEngine(source: store, clock: world.clock)
        mailboxes = (0..<world.loopCount).map { _ in ScrapeLoop.Mailbox() }
        manager = ScrapeManager(mailboxes: mailboxes)
        manager.use(
            Discovery(
                jobs: settings.jobs, checks: settings.checks, files: world.files, figures: figures, log: world.log))
        tellOpening()
    }

    private func tellOpening() {
        let report = store.replay
        world.log.write(
            LogEvent(
                .info, "log-replayed",
                "replayed \(report.samples) samples of \(report.series) series from \(report.segments) segments"))
        for repair in report.repairs { world.log.write(LogEvent(.warning, "log-repaired", repair)) }
        if journal.recovery.damagedRecords > 0 {
            world.log.write(
                LogEvent(
                    .error, "journal-damaged",
                    "\(journal.recovery.damagedRecords) damaged records in the journal were left out"))
        }
        world.log.write(LogEvent(.info, "storage-bounds", store.boundsText))
    }

    /// Runs everything until the task is cancelled, then lets what is under way end.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            for mailbox in mailboxes {
                group.addTask { [self] in
                    await world.driveLoop(mailbox) { [self] fetcher in
                        ScrapeLoop(
                            mailbox: mailbox, fetcher: fetcher, clock: world.clock, sink: store, figures: figures,
                            log: world.log, readFile: { [files = world.files] in try files.contents(of: $0) })
                    }
                }
            }
            group.addTask { [self] in await manager.run(clock: world.clock) }
            group.addTask { [self] in await keepUp() }
            isReady.withLock { $0 = true }
            group.addTask { [self] in
                // Ends when the daemon does.
                while (try? await world.clock.sleep(for: 3_600_000)) != nil {}
                for mailbox in mailboxes { mailbox.stop() }
            }
            await group.waitForAll()
        }
        store.synchronizeLog()
    }

    /// Syncs the log and lets old samples go.
    private func keepUp() async {
        var untilForget = 60_000 as Milliseconds
        while true {
            do { try await world.clock.sleep(for: store.syncInterval) } catch { return }
            store.synchronizeLog()
            untilForget -= store.syncInterval
            if untilForget <= 0 {
                store.forgetOld()
                untilForget = 60_000
            }
        }
    }

    /// The HTTP interface over this daemon.
    public var api: API {
        API(
            APIContext(
                engine: engine, targets: manager, clock: world.clock, metrics: { [self] in metrics() },
                unreadiness: { [self] in isReady.withLock { $0 } ? nil : "Vedette is starting." },
                version: Vedette.version, startedAt: startedAt))
    }

    private func metrics() -> [MetricFamily] {
        let sources: [any MetricsSource] = [store, journal, figures, manager]
        return sources.flatMap { $0.metrics() } + ProcessFigures.metrics(files: world.files)
            + [MetricFamily(.gauge, "vedette_build_info", "What is running.", [(["version": Vedette.version], 1)])]
    }
}
