import Basics
import Daemon
import Remote
import Scraping
import Synchronization
import Systemd
import TestSupport
import Transport

/// Targets, receivers, a disk and clocks in one process, all following a seed. A daemon runs in it until it is killed;
/// the next one finds what the last one left.
final class SimulatedWorld {
    /// A page that a receiver took.
    struct Delivery: Sendable {
        var at: Timestamp
        var key: String
        var isRepeat: Bool
        var body: JSON
    }

    /// How the receiver behaves towards one request.
    enum Mood: Sendable {
        case good, slow, broken, limited, deaf, gone, garbled
        /// It refuses, and its answer repeats all that it was told.
        case echo
    }

    /// What all tasks of the world share.
    final class Shared: Sendable {
        struct State {
            var log: [String] = []
            /// What the daemon's log says, with its fields.
            var printed: [String] = []
            var deliveries: [Delivery] = []
            var unknown: Set<String> = []
            /// What Redis holds, and whether it is away.
            var redis: [String: String] = [:]
            var isRedisAway = false
            /// The stage at which a reload fails.
            var reloadFault: ReloadStage?
            /// What was done outside, in order: flags that were set, programs that ran.
            var effects: [(at: Timestamp, what: String)] = []
        }
        let state = Mutex(State())
        /// A remote store, which takes what is sent to any `/api/v1/write`.
        let far = RecordingSink()
        let seed: UInt64
        /// The page of a target at a moment, nil when it is down.
        let page: @Sendable (_ url: String, _ at: Timestamp) -> String?
        let mood: @Sendable (_ at: Timestamp, _ random: UInt64) -> Mood

        init(
            seed: UInt64, page: @escaping @Sendable (String, Timestamp) -> String?,
            mood: @escaping @Sendable (Timestamp, UInt64) -> Mood
        ) {
            (self.seed, self.page, self.mood) = (seed, page, mood)
        }

        /// A program's end; `fail` and `not-done` do what their names say.
        func run(_ request: ProcessRequest, at: Timestamp) -> ProcessResult {
            let text = request.arguments.joined(separator: " ")
            return state.withLock { state in
                state.log.append("\(at) ran \(text)")
                if request.arguments.first == "did" {
                    let what = request.arguments.dropFirst().joined(separator: " ")
                    return ProcessResult(end: .exited(state.effects.contains { $0.what == what } ? 0 : 1))
                }
                state.effects.append((at, text))
                return ProcessResult(end: .exited(request.arguments.first == "fail" ? 1 : 0), output: Array("ran".utf8))
            }
        }

        func note(_ text: String) { state.withLock { $0.log.append(text) } }
    }

    let shared: Shared
    private(set) var files: MemoryFiles
    private(set) var executor: SimulatedExecutor
    private(set) var vedette: Vedette?
    private var incarnation: UInt64 = 0
    /// The environment.
    var variables: [String: String] = [:]
    /// Whether the disk never gives the log of earlier runs back.
    var replayHangs = false
    /// Who supervises the daemon.
    var manager: any ServiceManager = NoServiceManager()

    static let start = Timestamp(milliseconds: 1_790_000_000_000)
    /// The page of a target that takes a request and never answers.
    static let never = "never"

    init(
        seed: UInt64, configuration: String, rules: String,
        page: @escaping @Sendable (String, Timestamp) -> String?,
        mood: @escaping @Sendable (Timestamp, UInt64) -> Mood = { _, _ in .good }
    ) {
        shared = Shared(seed: seed, page: page, mood: mood)
        files = MemoryFiles()
        files.put("etc/vedette.yaml", configuration)
        files.put("etc/rules.yml", rules)
        executor = SimulatedExecutor(seed: seed, start: SimulatedWorld.start)
    }

    /// What happened, in order, with simulated times.
    var log: [String] { shared.state.withLock { $0.log } }
    var deliveries: [Delivery] { shared.state.withLock { $0.deliveries } }
    var printed: [String] { shared.state.withLock { $0.printed } }
    var now: Timestamp { executor.now() }

    /// Starts a daemon on what is on the disk.
    func boot() throws {
        let clock = executor
        let log = NotingLog(shared: shared, clock: clock)
        var world = World(
            clock: clock, files: files, transport: SimulatedNetwork(shared: shared, clock: clock),
            workloads: SimulatedNetwork(shared: shared, clock: clock),
            processes: SimulatedProcesses(shared: shared, clock: clock),
            redis: { [shared] _ in SimulatedRedis(shared: shared, clock: clock) }, log: log,
            seed: shared.seed &+ incarnation, loopCount: 2
        ) { [shared] mailbox, make in
            let fetcher = SimulatedFetcher(shared: shared, clock: clock)
            let loop = make(fetcher)
            while !mailbox.shouldStop {
                let idle = loop.step(wait: 0)
                // Cancelled: the daemon ends.
                do { try await clock.sleep(for: max(1, min(idle, fetcher.untilNext, 50))) } catch { return }
            }
        }
        world.variables = { [variables] in variables[$0] }
        world.beforeReload = { [shared] stage in
            if shared.state.withLock({ $0.reloadFault == stage }) { throw NoSuchDay(stage: stage) }
        }
        world.manager = manager
        world.runLong = { [replayHangs] _, work in if !replayHangs { work() } }
        let settings = try DaemonSettings(path: "etc/vedette.yaml", files: files, variables: world.variables)
        let vedette = try Vedette(
            StartOptions(configuration: "etc/vedette.yaml", dataDirectory: "data", externalURL: "http://vedette"),
            settings: settings, world: world)
        self.vedette = vedette
        clock.start { await vedette.run() }
    }

    func run(for duration: Milliseconds) { executor.run(for: duration) }

    struct NoSuchDay: Error, CustomStringConvertible {
        var stage: ReloadStage
        var description: String { "no \(stage.rawValue) today" }
    }

    /// SIGKILL: what ran never runs again; the kernel keeps what it was given. The machine stays down for a while.
    func kill(downFor: Milliseconds) {
        shared.note("\(now) killed")
        executor.abandon()
        let later = now + downFor
        vedette = nil
        files = files.afterKill()
        incarnation += 1
        executor = SimulatedExecutor(seed: shared.seed &+ incarnation &* 7919, start: later)
    }
}

private struct NotingLog: LogSink {
    let shared: SimulatedWorld.Shared
    let clock: any TimeSource
    func write(_ event: LogEvent) {
        shared.note("\(clock.now()) \(event.kind): \(event.message)")
        let fields = event.fields.map { " \($0.name)=\($0.value)" }.joined()
        shared.state.withLock { $0.printed.append("\(event.kind): \(event.message)\(fields)") }
    }
}

/// The receivers' side of the network.
private struct SimulatedNetwork: HTTPTransport {
    let shared: SimulatedWorld.Shared
    let clock: SimulatedExecutor

    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        let random = clock.random()
        let mood = shared.mood(clock.now(), random)
        let key = request.headers.first { $0.name == "Idempotency-Key" }?.value ?? ""
        shared.note("\(clock.now()) request \(key) \(mood)")
        try await pause(Milliseconds(random % 40))
        if request.url.hasSuffix("/api/v1/write") {
            guard mood == .good else { return HTTPResponse(status: 500) }
            let answer = WriteReceiver(sink: shared.far, exemplars: nil).receive(
                request.body, contentType: "application/x-protobuf", contentEncoding: "snappy")
            return HTTPResponse(status: answer.status)
        }
        switch mood {
        case .gone: throw .unreachable("Couldn't connect to server")
        case .broken: return HTTPResponse(status: 503, body: Array("<html>busy</html>".utf8))
        case .echo:
            let headers = request.headers.map { "\($0.name): \($0.value)" }.joined(separator: "\n")
            let body = String(decoding: request.body, as: UTF8.self)
            return HTTPResponse(status: 400, body: Array("cannot POST \(request.url)\n\(headers)\n\(body)".utf8))
        case .limited: return HTTPResponse(status: 429, headers: [HTTPHeader("retry-after", "3")])
        case .slow: try await pause(4000)
        case .deaf, .garbled, .good: break
        }
        take(request, key: key)
        if mood == .deaf {
            // It arrived, and nobody says so.
            try await pause(request.timeout)
            shared.state.withLock { _ = $0.unknown.insert(key) }
            throw .interrupted("timed out", requestWasSent: true)
        }
        if mood == .garbled {
            shared.state.withLock { _ = $0.unknown.insert(key) }
            throw .interrupted("connection reset", requestWasSent: true)
        }
        return HTTPResponse(status: 200, body: Array("ok".utf8))
    }

    private func pause(_ length: Milliseconds) async throws(TransportError) {
        do throws(CancellationError) {
            try await clock.sleep(for: length)
        } catch {
            throw .interrupted("cancelled", requestWasSent: true)
        }
    }

    private func take(_ request: HTTPRequest, key: String) {
        let at = clock.now()
        let body = (try? JSON(parsing: request.body)) ?? .null
        shared.state.withLock { state in
            let isRepeat = state.deliveries.contains { $0.key == key }
            state.deliveries.append(.init(at: at, key: key, isRepeat: isRepeat, body: body))
            state.log.append("\(at) taken \(key) \(Digest.hexadecimal(of: body.text, .md5))")
        }
    }
}

/// The targets' side of the network.
private final class SimulatedFetcher: Fetcher {
    private let shared: SimulatedWorld.Shared
    private let clock: SimulatedExecutor
    private var requests: [Int: HTTPRequest] = [:]
    private var running: [(handle: Int, due: Milliseconds, page: String?)] = []
    private var next = 0

    init(shared: SimulatedWorld.Shared, clock: SimulatedExecutor) { (self.shared, self.clock) = (shared, clock) }

    private var uptime: Milliseconds { Milliseconds(clock.uptimeNanoseconds() / 1_000_000) }
    var untilNext: Milliseconds { running.map { max(0, $0.due - uptime) }.min() ?? 1000 }

    func prepare(_ request: HTTPRequest) throws(TransportError) -> Int {
        next += 1
        requests[next] = request
        return next
    }
    func discard(_ handle: Int) { requests[handle] = nil }
    func start(_ handle: Int) {
        guard let request = requests[handle] else { return }
        let page = shared.page(request.url, clock.now())
        let isSilent = page == SimulatedWorld.never
        running.append((handle, uptime + (isSilent ? request.timeout : Milliseconds(clock.random() % 30)), page))
    }
    func poll(for wait: Milliseconds, _ finish: (consuming FetchResult) -> Void) {
        let done = running.filter { $0.due <= uptime }
        running.removeAll { $0.due <= uptime }
        for one in done {
            if one.page == SimulatedWorld.never {
                finish(
                    FetchResult(
                        handle: one.handle, status: 0, contentType: nil, body: [], durationSeconds: 0.5,
                        error: .interrupted("timed out", requestWasSent: true)))
                continue
            }
            finish(
                FetchResult(
                    handle: one.handle, status: one.page == nil ? 0 : 200, contentType: "text/plain",
                    body: Array((one.page ?? "").utf8), durationSeconds: 0.01,
                    error: one.page == nil ? .unreachable("Couldn't connect to server") : nil))
        }
    }
    func recycle(_ body: consuming [UInt8]) {}
}

/// Programs that note what they do to the world's table.
private struct SimulatedProcesses: Processes {
    let shared: SimulatedWorld.Shared
    let clock: SimulatedExecutor

    func run(_ request: ProcessRequest, timeout: Milliseconds, outputLimit: Int) async -> ProcessResult {
        // Cancelled or not, a program that was started runs to its end.
        try? await clock.sleep(for: Milliseconds(clock.random() % 400))
        return shared.run(request, at: clock.now())
    }
    func start(_ request: ProcessRequest) async -> Result<any ChildProcess, ProcessStartError> {
        .failure(ProcessStartError("nothing runs on in a simulated world"))
    }
}

/// A Redis that is a table, slow and away as the seed says.
private struct SimulatedRedis: Redis {
    let shared: SimulatedWorld.Shared
    let clock: SimulatedExecutor

    func value(of key: String) async throws(RedisError) -> [UInt8]? {
        try await pause()
        return shared.state.withLock { $0.redis[key] }.map { Array($0.utf8) }
    }
    func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(RedisError) -> Bool {
        try await pause()
        let at = clock.now()
        return shared.state.withLock { state in
            guard state.redis[key].map({ Array($0.utf8) }) == expected else { return false }
            state.redis[key] = String(decoding: value, as: UTF8.self)
            state.effects.append((at, "set \(key)"))
            state.log.append("\(at) redis set \(key)")
            return true
        }
    }
    private func pause() async throws(RedisError) {
        if shared.state.withLock({ $0.isRedisAway }) { throw .unreachable("Connection refused") }
        do throws(CancellationError) {
            try await clock.sleep(for: Milliseconds(clock.random() % 30))
        } catch {
            throw .interrupted("cancelled")
        }
    }
}
