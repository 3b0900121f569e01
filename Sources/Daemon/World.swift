public import Basics
public import Scraping
public import Settings
public import Systemd
public import Transport

/// Everything the daemon has from outside: time, disk, network, chance, and where its log goes. Tests and backtests
/// hand in a simulated one.
public struct World: Sendable {
    /// The clocks.
    public var clock: any TimeSource
    /// The disk.
    public var files: any FileSystem
    /// The network for single requests: pages.
    public var transport: any HTTPTransport
    /// The way to the workloads' process, apart from that of the pages: what hangs there holds up nothing else.
    public var workloads: any HTTPTransport
    /// The way to remote stores and query servers, made when there is one, and threads for what is sent there: it may
    /// be much, and slow.
    public var remote: @Sendable () -> (transport: any HTTPTransport, executor: ThreadPoolExecutor?)
    /// Starts programs: the commands of rollbacks, and the workloads.
    public var processes: any Processes
    /// Opens a Redis server.
    public var redis: @Sendable (RedisSettings) -> any Redis
    /// Looks up names for `dns_sd_configs`.
    public var resolver: any NameResolver = NoResolver()
    /// Looks at what health checks have to wait for; without it they fail.
    public var prober: (any Prober)?
    /// Where log events go.
    public var log: any LogSink
    /// The seed of jitter.
    public var seed: UInt64
    /// How many scrape loops there are.
    public var loopCount: Int
    /// Drives one scrape loop until its mailbox says stop.
    public var driveLoop: @Sendable (_ mailbox: ScrapeLoop.Mailbox, _ make: @escaping LoopMaker) async -> Void

    /// Where hashes of passwords are reckoned.
    public var reckoner: ThreadPoolExecutor?
    /// Who helps with wide queries; without them each runs on one thread.
    public var workers: WorkPool?
    /// The environment that `${NAME}` in the configuration comes from.
    public var variables: Variables.Source = { _ in nil }
    /// Who supervises the process.
    public var manager: any ServiceManager = NoServiceManager()
    /// Called before each stage of a reload; what it throws fails the stage. For tests.
    public var beforeReload: @Sendable (_ stage: ReloadStage) throws -> Void = { _ in }

    /// Runs work that keeps a thread busy for long.
    public var runLong: @Sendable (_ name: String, _ work: @escaping @Sendable () -> Void) async -> Void = {
        name, work in
        await withCheckedContinuation { continuation in
            startThread(named: name) {
                work()
                continuation.resume()
            }
        }
    }

    /// Makes a loop over a fetcher, on the thread that will own both.
    public typealias LoopMaker = @Sendable (any Fetcher) -> ScrapeLoop

    /// A world by its parts.
    public init(
        clock: any TimeSource, files: any FileSystem, transport: any HTTPTransport,
        workloads: any HTTPTransport, processes: any Processes,
        redis: @escaping @Sendable (RedisSettings) -> any Redis, log: any LogSink, seed: UInt64, loopCount: Int,
        driveLoop: @escaping @Sendable (_ mailbox: ScrapeLoop.Mailbox, _ make: @escaping LoopMaker) async -> Void
    ) {
        (self.clock, self.files, self.transport, self.log) = (clock, files, transport, log)
        (self.workloads, self.processes, self.redis) = (workloads, processes, redis)
        remote = { (workloads, nil) }
        (self.seed, self.loopCount, self.driveLoop) = (seed, loopCount, driveLoop)
    }

    /// The machine: system clocks, the file system, libcurl, a thread for each scrape loop.
    ///
    /// - Parameter descriptors: How many file descriptors the process may have. Scrapes take half of them at the most.
    public static func machine(
        log: any LogSink, loopCount: Int = processorCount(), descriptors: Int = 1024
    ) -> World {
        let clock = SystemClock()
        let files = SystemFiles()
        var world = World(
            clock: clock, files: files, transport: CurlTransport(clock: clock), workloads: CurlTransport(clock: clock),
            processes: SystemProcesses(),
            redis: { RedisClient($0) { try files.contents(of: $0) } }, log: log,
            seed: UInt64.random(in: 0 ... .max), loopCount: loopCount
        ) { mailbox, make in
            await withCheckedContinuation { continuation in
                startThread(named: "vedette-scrape") {
                    let fetcher = CurlFetcher(
                        clock: clock, connections: min(8192, max(8, descriptors / 2 / loopCount)))
                    mailbox.setWake(fetcher.wake)
                    let loop = make(fetcher)
                    while !mailbox.shouldStop {
                        mailbox.pulse.expect(within: 120_000, clock)
                        loop.step(wait: 30_000)
                    }
                    continuation.resume()
                }
            }
        }
        world.remote = { (CurlTransport(clock: clock), ThreadPoolExecutor(count: 1, name: "vedette-remote")) }
        world.reckoner = ThreadPoolExecutor(count: 1, name: "vedette-login")
        world.workers = WorkPool(helpers: processorCount() - 1, name: "vedette-query")
        world.variables = environmentVariable
        world.resolver = SystemResolver()
        world.prober = MachineProber(
            clock: clock, files: { try files.contents(of: $0) }, units: BusUnitStates(clock: clock))
        return world
    }
}
