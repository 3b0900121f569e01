internal import Basics
internal import Model
internal import Remote
internal import Scraping
internal import Settings
internal import Synchronization
internal import Transport

/// What the daemon has to do with other servers: stores that samples are sent to. Threads and connections for it are
/// made when the first is configured.
final class RemoteLinks: MetricsSource {
    private let world: World
    private let tail: any LogTail
    private let clock: any TimeSource
    private let directory: String
    private let externalLabels: Labels
    /// What targets say of their metrics.
    let metadata = Mutex<@Sendable () -> [MetricMetadata]>({ [] })
    private let opened = Mutex<(writer: RemoteWriter, executor: ThreadPoolExecutor?)?>(nil)
    private let start = Wake()

    init(world: World, tail: any LogTail, clock: any TimeSource, directory: String, externalLabels: Labels) {
        (self.world, self.tail, self.clock, self.directory) = (world, tail, clock, directory)
        self.externalLabels = externalLabels
    }

    /// Puts the stores of other settings in place of the present ones.
    func update(to settings: DaemonSettings) async {
        let writer = opened.withLock { opened -> RemoteWriter? in
            if opened == nil, !settings.remoteWrite.isEmpty {
                let (transport, executor) = world.remote()
                let writer = RemoteWriter(
                    tail: tail, transport: transport, clock: clock, files: world.files, log: world.log,
                    directory: directory, externalLabels: externalLabels,
                    metadata: { [weak self] in self.map { links in links.metadata.withLock { $0 }() } ?? [] })
                opened = (writer, executor)
            }
            return opened?.writer
        }
        await writer?.update(to: settings.remoteWrite)
        if writer != nil { start.signal() }
    }

    /// Sends until it is cancelled.
    func run() async {
        while !Task.isCancelled {
            if let (writer, executor) = opened.withLock({ $0 }) {
                return await withTaskExecutorPreference(executor) { await writer.run() }
            }
            await start.wait()
        }
    }

    /// Each metric once, as the first target has it.
    static func metadata(of manager: ScrapeManager) -> [MetricMetadata] {
        var found: [String: MetricMetadata] = [:]
        for target in manager.targets {
            for one in target.metadata where found[one.metric] == nil { found[one.metric] = one }
        }
        return found.values.sorted { $0.metric.isBefore($1.metric) }
    }

    func metrics() -> [MetricFamily] { opened.withLock { $0?.writer }?.metrics() ?? [] }
}
