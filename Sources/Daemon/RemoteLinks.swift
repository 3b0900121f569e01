internal import Basics
internal import Model
internal import Remote
internal import Rules
internal import Scraping
internal import Settings
internal import Synchronization
internal import Transport

/// What the daemon has to do with other servers: stores that samples are sent to, and servers that evaluate rules.
/// Threads and connections for it are made when the first is configured.
final class RemoteLinks: MetricsSource {
    private struct State {
        var transport: (any HTTPTransport)?
        var executor: ThreadPoolExecutor?
        var writer: RemoteWriter?
        /// By name or address.
        var sources: [String: QuerySource] = [:]
    }
    private let world: World
    private let tail: any LogTail
    private let clock: any TimeSource
    private let directory: String
    private let externalLabels: Labels
    /// What targets say of their metrics.
    let metadata = Mutex<@Sendable () -> [MetricMetadata]>({ [] })
    private let state = Mutex(State())
    private let start = Wake()

    init(world: World, tail: any LogTail, clock: any TimeSource, directory: String, externalLabels: Labels) {
        (self.world, self.tail, self.clock, self.directory) = (world, tail, clock, directory)
        self.externalLabels = externalLabels
    }

    /// Puts the stores and sources of other settings in place of the present ones.
    func update(to settings: DaemonSettings) async {
        let addresses = Set(settings.groups.compactMap(\.querySource)).compactMap { name in
            RemotePeer(address: name).map { (name, $0) }
        }
        let wanted = settings.querySources.map { ($0.name, $0) } + addresses
        let writer = state.withLock { state -> RemoteWriter? in
            let known = state.sources
            state.sources = [:]
            for (name, peer) in wanted {
                if let same = known[name], same.peer == peer {
                    state.sources[name] = same
                } else {
                    let transport = transport(&state)
                    state.sources[name] = QuerySource(
                        peer, transport: transport, clock: clock,
                        readFile: { [files = world.files] in try files.contents(of: $0) })
                }
            }
            if state.writer == nil, !settings.remoteWrite.isEmpty {
                let transport = transport(&state)
                state.writer = RemoteWriter(
                    tail: tail, transport: transport, clock: clock, files: world.files, log: world.log,
                    directory: directory, externalLabels: externalLabels,
                    metadata: { [weak self] in self.map { links in links.metadata.withLock { $0 }() } ?? [] })
            }
            return state.writer
        }
        await writer?.update(to: settings.remoteWrite)
        if writer != nil { start.signal() }
    }

    private func transport(_ state: inout State) -> any HTTPTransport {
        if let transport = state.transport { return transport }
        let (transport, executor) = world.remote()
        (state.transport, state.executor) = (transport, executor)
        return transport
    }

    /// The server that a rule group names.
    func source(_ name: String) -> QuerySource? { state.withLock { $0.sources[name] } }

    /// Sends until it is cancelled.
    func run() async {
        while !Task.isCancelled {
            let (writer, executor) = state.withLock { ($0.writer, $0.executor) }
            if let writer {
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

    func metrics() -> [MetricFamily] {
        let (writer, sources) = state.withLock { ($0.writer, $0.sources) }
        return (writer?.metrics() ?? [])
            + (sources.isEmpty ? [] : querySourceFamilies(sources.sorted { $0.key < $1.key }.map(\.value)))
    }
}
