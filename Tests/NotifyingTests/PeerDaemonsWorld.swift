import Alerting
import Basics
import Model
import Settings
import Synchronization
import Transport

@testable import Notifying

/// Several daemons in one simulated world, with a network between them that can be cut, and receivers that listen.
final class PeerDaemonsWorld: Sendable {
    /// What a receiver was sent.
    struct Page: Sendable {
        var sender: String
        var url: String
        var time: Timestamp
        var json: JSON
        var alerts: [(labels: Labels, isOver: Bool)] {
            (json["alerts"]?.array ?? []).map {
                ($0["labels"].flatMap(Labels.init(json:)) ?? Labels(), $0["status"]?.string == "resolved")
            }
        }
    }
    /// What goes wrong.
    struct Faults: Sendable {
        /// Pairs of names that do not reach each other, sorted.
        var cuts: Set<[String]> = []
        /// The longest that a message between daemons takes one way.
        var slowness: Milliseconds = 5
        /// Of how many messages between daemons one is lost, on its way there or back; 0: none.
        var losses = 0
        /// What daemons answer in place of what they should.
        var lies: [String: @Sendable (PeerMessage) -> PeerMessage] = [:]
        /// Daemons that take requests and never answer.
        var hanging: Set<String> = []
        /// What receivers do; nil: they take everything within 10 ms.
        var receiver: (@Sendable (_ sender: String, HTTPRequest) -> FakeTransport.Answer?)?
    }

    let executor: SimulatedExecutor
    let config: String
    let timeout: Milliseconds
    let names: [String]
    let faults = Mutex(Faults())
    private let pages = Mutex<[Page]>([])
    private let nodes = Mutex<[String: PeerDaemon]>([:])

    init(_ config: String, names: [String] = ["a", "b"], seed: UInt64 = 1, timeout: Milliseconds = 15_000) throws {
        executor = SimulatedExecutor(seed: seed, start: at(1_000_000))
        (self.config, self.names, self.timeout) = (config, names, timeout)
        for name in names { try start(name) }
    }

    func node(_ name: String) -> PeerDaemon? { nodes.withLock { $0[name] } }
    var living: [PeerDaemon] { nodes.withLock { $0 }.values.filter { !$0.isDead }.sorted { $0.name < $1.name } }
    /// What receivers were sent and took.
    var taken: [Page] { pages.withLock { $0 } }

    /// Starts a daemon, on what its last life left.
    func start(_ name: String, offset: Milliseconds = 0, config: String? = nil) throws {
        let store = node(name)?.store.copy() ?? KillableStore()
        var peers = PeerSettings(name: name, members: names.map { PeerMember(name: $0, url: "http://\($0)") })
        peers.timeout = timeout
        let daemon = try PeerDaemon(
            name, peers, settings(config ?? self.config), store: store, offset: offset, world: self)
        nodes.withLock { $0[name] = daemon }
    }

    func kill(_ name: String) { node(name)?.kill() }

    func cut(_ one: String, _ other: String) { faults.withLock { _ = $0.cuts.insert([one, other].sorted()) } }
    func heal() { faults.withLock { $0.cuts = [] } }

    /// Tells an alert to all daemons, as senders do, or to some.
    func post(_ alert: Alert, to names: [String]? = nil) {
        for daemon in living where names?.contains(daemon.name) ?? true {
            executor.start { [dispatcher = daemon.dispatcher] in await dispatcher.receive([alert], invalid: 0) }
        }
        executor.run(for: 0)
    }

    /// What a sender such as Prometheus tells every daemon each minute: alerts that fire, with an end four minutes
    /// ahead, and for a quarter of an hour those that are over.
    private struct Sent: Sendable {
        var alert: Alert
        var endedAt: Timestamp?
        var daemons: [String]?
    }
    private let sender = Mutex<[Labels: Sent]>([:])

    /// Begins an alert at the sender.
    @discardableResult
    func fire(_ name: String = "A", _ labels: [String: String] = [:], to daemons: [String]? = nil) -> Alert {
        let alert = alert(name, labels, from: executor.now().seconds)
        sender.withLock { $0[alert.labels] = Sent(alert: alert, daemons: daemons) }
        tell([alert.labels])
        return alert
    }

    /// Ends it there.
    func end(_ alert: Alert) {
        let now = executor.now()
        sender.withLock { $0[alert.labels]?.endedAt = now }
        tell([alert.labels])
    }

    /// Whether the sender says that it fires.
    func isFiring(_ labels: Labels) -> Bool {
        sender.withLock { $0[labels].map { $0.endedAt == nil } ?? false }
    }

    private func tell(_ labels: [Labels]) {
        let now = executor.now()
        let sent = sender.withLock { sender in
            sender = sender.filter { $0.value.endedAt.map { now - $0 < 900_000 } ?? true }
            return labels.sorted().compactMap { sender[$0] }
        }
        for one in sent {
            var alert = one.alert
            alert.endsAt = one.endedAt ?? now + 240_000
            let told = alert
            for daemon in living where one.daemons?.contains(daemon.name) ?? true {
                executor.start { [dispatcher = daemon.dispatcher] in await dispatcher.receive([told], invalid: 0) }
            }
        }
    }

    /// Lets time pass; each minute the sender tells again what fires.
    func run(_ seconds: Double) {
        let end = executor.now() + Milliseconds(seconds * 1000)
        while executor.now() < end {
            let minute = Timestamp(milliseconds: (executor.now().milliseconds / 60_000 + 1) * 60_000)
            executor.run(for: min(end, minute) - executor.now())
            if minute <= end { tell(sender.withLock { Array($0.keys) }) }
        }
        executor.run(for: 0)
    }

    /// What a call of a daemon gives.
    func ask<Value: Sendable>(_ name: String, _ body: @escaping @Sendable (Dispatcher) async -> Value) -> Value? {
        guard let dispatcher = node(name)?.dispatcher else { return nil }
        let result = Mutex<Value?>(nil)
        executor.start {
            let value = await body(dispatcher)
            result.withLock { $0 = value }
        }
        _ = executor.run(for: 0) { result.withLock { $0 != nil } }
        return result.withLock { $0 }
    }

    // MARK: The network

    fileprivate func send(_ request: HTTPRequest, from sender: PeerDaemon) async throws(TransportError) -> HTTPResponse
    {
        let host = String(request.url.dropFirst(7).prefix { $0 != "/" })
        guard !sender.isDead else { throw .unreachable("the daemon is dead") }
        if names.contains(host), request.url.hasSuffix(PeerLinks.path) {
            return try await exchange(request, sender, host)
        }
        let answer =
            faults.withLock { $0.receiver }?(sender.name, request) ?? .response(HTTPResponse(status: 200), after: 10)
        let (delay, result): (Milliseconds, Result<HTTPResponse, TransportError>) =
            switch answer {
            case .response(let response, let delay): (delay, .success(response))
            case .failure(let error, let delay): (delay, .failure(error))
            }
        if (try? result.get())?.status == 200 {
            let page = Page(sender: sender.name, url: request.url, time: executor.now(), json: request.json ?? .null)
            pages.withLock { $0.append(page) }
        }
        try await pause(delay)
        return try result.get()
    }

    private func exchange(
        _ request: HTTPRequest, _ sender: PeerDaemon, _ host: String
    ) async throws(TransportError) -> HTTPResponse {
        let faults = faults.withLock { $0 }
        func travel() async throws(TransportError) {
            try await pause(Milliseconds(executor.random() % UInt64(faults.slowness + 1)))
        }
        let isLost = faults.losses > 0 && executor.random() % UInt64(faults.losses) == 0
        let isLostBack = faults.losses > 0 && executor.random() % UInt64(faults.losses) == 0
        guard !faults.cuts.contains([sender.name, host].sorted()), !isLost else {
            try await pause(request.timeout)
            throw .interrupted("timed out", requestWasSent: true)
        }
        try await travel()
        guard let target = node(host), !target.isDead else { throw .unreachable("connection refused") }
        if faults.hanging.contains(host) {
            try await pause(request.timeout)
            throw .interrupted("timed out", requestWasSent: true)
        }
        let response: HTTPResponse
        do throws(PeerRefusal) {
            var body = try await target.dispatcher.exchange(request.body)
            var unreadable = 0
            if let lie = faults.lies[host], let message = PeerMessage(body, unreadable: &unreadable) {
                body = lie(message).serialized()
            }
            response = HTTPResponse(status: 200, body: body)
        } catch {
            response = HTTPResponse(status: error.status, body: Array(error.description.utf8))
        }
        guard !isLostBack, !target.isDead else {
            try await pause(request.timeout)
            throw .interrupted("timed out", requestWasSent: true)
        }
        try await travel()
        return response
    }

    private func pause(_ length: Milliseconds) async throws(TransportError) {
        do { try await executor.sleep(for: length) } catch { throw .interrupted("cancelled", requestWasSent: true) }
    }
}

/// One life of one daemon.
final class PeerDaemon: HTTPTransport {
    let name: String
    let store: KillableStore
    let dispatcher: Dispatcher
    private let world: PeerDaemonsWorld
    private let transport: Gate
    private let tasks = Mutex<[Task<Void, Never>]>([])

    /// Its way out: nothing leaves a dead daemon.
    private final class Gate: HTTPTransport {
        let daemon = Mutex<PeerDaemon?>(nil)
        func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
            guard let daemon = daemon.withLock(\.self) else { throw .unreachable("no daemon") }
            return try await daemon.send(request)
        }
    }

    init(
        _ name: String, _ peers: PeerSettings, _ settings: NotifyingSettings, store: KillableStore,
        offset: Milliseconds, world: PeerDaemonsWorld
    ) {
        (self.name, self.store, self.world) = (name, store, world)
        let clock = OffsetClock(world.executor, offset)
        transport = Gate()
        dispatcher = Dispatcher(
            settings, store: store, clock: clock, transport: transport,
            random: SharedRandom(seed: world.executor.random()), externalURL: "http://v", files: noFiles,
            peers: world.names.count > 1 ? peers : nil)
        let links = PeerLinks(dispatcher, clock: clock, transport: transport, files: noFiles)
        transport.daemon.withLock { $0 = self }
        let running = [
            world.executor.start { [dispatcher] in await dispatcher.run() }, world.executor.start { await links.run() },
        ]
        tasks.withLock { $0 = running }
    }

    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        try await world.send(request, from: self)
    }

    var isDead: Bool { store.isDead }

    /// As `kill -9` does.
    func kill() {
        store.die()
        for task in tasks.withLock({ $0 }) { task.cancel() }
    }
}

/// A clock that is wrong.
struct OffsetClock: TimeSource {
    let clock: SimulatedExecutor, offset: Milliseconds
    init(_ clock: SimulatedExecutor, _ offset: Milliseconds) { (self.clock, self.offset) = (clock, offset) }
    func now() -> Timestamp { clock.now() + offset }
    func uptimeNanoseconds() -> UInt64 { clock.uptimeNanoseconds() }
    func sleep(for duration: Milliseconds) async throws(CancellationError) { try await clock.sleep(for: duration) }
}

/// A store that takes nothing from a daemon that is dead.
final class KillableStore: StateStore {
    private let state: Mutex<(tables: [String: [String: [UInt8]]], isDead: Bool)>
    private init(_ tables: [String: [String: [UInt8]]]) { state = Mutex((tables, false)) }
    convenience init() { self.init([:]) }
    func copy() -> KillableStore { KillableStore(state.withLock { $0.tables }) }
    var isDead: Bool { state.withLock { $0.isDead } }
    func die() { state.withLock { $0.isDead = true } }

    @discardableResult
    func commit(_ changes: [StateChange]) -> Durability {
        state.withLock { state in
            guard !state.isDead else { return }
            for change in changes { state.tables[change.table, default: [:]][change.key] = change.value }
        }
        return .durable
    }
    func entries(of table: String) -> [String: [UInt8]] { state.withLock { $0.tables[table] ?? [:] } }
}
