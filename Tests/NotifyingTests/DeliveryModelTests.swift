import Alerting
import Basics
import class Foundation.ProcessInfo
import Model
import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// The promise under random posts, failures, crashes and clock jumps: every firing and every end that was decided
/// reaches every receiver at least once; what was journalled as accepted is never sent again; what may be a repetition
/// says so; a group's pages arrive in order and, but for repeats, tell something new.
@Suite struct DeliveryModelTests {
    @Test("nothing decided is lost, nothing journalled is repeated", arguments: 0..<seeds)
    func promise(seed: UInt64) throws {
        let model = try DeliveryModel(seed: seed)
        model.play(for: 1_200_000)
        model.settle()
        let findings = model.findings()
        #expect(findings == [], "seed \(seed)")
        #expect(model.crashes > 1 && model.decidedCount > 20, "seed \(seed): \(model.crashes), \(model.decidedCount)")
    }
}

/// How many seeds are played; the environment's `VEDETTE_SEEDS` asks for more.
private let seeds = ProcessInfo.processInfo.environment["VEDETTE_SEEDS"].flatMap(UInt64.init) ?? 30

/// Rules, a daemon that is killed now and then, and receivers that fail.
private final class DeliveryModel {
    private static let text = """
        flapping: {episodes: 0}
        route:
          receiver: a
          group_by: [alertname]
          group_wait: 5s
          group_interval: 30s
          repeat_interval: 3m
          routes:
          - {matchers: [severity=critical], receiver: b, group_by: ['...'], group_wait: 1s, continue: true}
          - {matchers: [alertname!=X], receiver: c}
        receivers:
        - {name: a, webhook_configs: [{url: "http://a1/"}, {url: "http://a2/"}]}
        - {name: b, webhook_configs: [{url: "http://b/"}]}
        - {name: c, webhook_configs: [{url: "http://c/", send_resolved: false}, {url: "http://c2/"}]}
        """

    /// What receivers know, and what went wrong in their eyes.
    fileprivate struct Receivers: Sendable {
        var told: Set<String> = []
        var accepted: Set<String> = []
        var sequences: [String: Int] = [:]
        var findings: [String] = []
        var random: SeededRandom
        var faults = true
    }

    private let settings: NotifyingSettings
    private let store: MemoryStore
    private let episodes: DecidedEpisodes
    private let receivers: ReceiversBox
    private var random: SeededRandom
    private var executor: SimulatedExecutor
    private var dispatcher: Dispatcher?
    private(set) var crashes = 0

    var decidedCount: Int { episodes.all.count }

    init(seed: UInt64) throws {
        settings = try NotifyingTests.settings(DeliveryModel.text)
        episodes = DecidedEpisodes(settings.tree)
        store = MemoryStore { [episodes] changes in episodes.learn(changes) }
        receivers = ReceiversBox(Receivers(random: SeededRandom(seed: seed &+ 1000)))
        random = SeededRandom(seed: seed)
        executor = SimulatedExecutor(seed: seed, start: at(1_000_000))
        start()
    }

    /// A new process over what the journal holds.
    private func start() {
        let transport = FakeTransport(executor) { [receivers, store] request in
            receivers.state.withLock { DeliveryModel.answer(request, &$0, store) }
        }
        let dispatcher = Dispatcher(
            settings, store: store, clock: executor, transport: transport, random: SharedRandom(seed: random.next()),
            externalURL: "", files: noFiles)
        self.dispatcher = dispatcher
        executor.start { await dispatcher.run() }
    }

    /// Posts by the rules for a while, with kills and clock jumps.
    func play(for length: Milliseconds) {
        var rest = length
        while rest > 0 {
            let pause = Milliseconds.random(in: 1...6000, using: &random)
            executor.run(for: pause)
            rest -= pause
            post(Int.random(in: 0...3, using: &random))
            switch Int.random(in: 0..<25, using: &random) {
            case 0: crash()
            case 1: executor.jumpWallClock(by: Milliseconds.random(in: 0...120_000, using: &random))
            default: break
            }
        }
    }

    /// The rules' state is in the journal too, in the same commits; a kill may come before the dispatcher took it.
    private func post(_ count: Int, over: Bool = false) {
        let now = executor.now()
        var alerts: [Alert] = []
        var changes: [StateChange] = []
        let table = store.entries(of: "rules")
        let names = over ? table.keys.sorted() : []
        for index in 0..<(over ? names.count : count) {
            let one = alert(
                ["X", "Y", "Z"].randomElement(using: &random) ?? "X",
                [
                    "i": "\(Int.random(in: 1...3, using: &random))",
                    "severity": Bool.random(using: &random) ? "critical" : "info",
                ], from: now.seconds)
            let key = over ? names[index] : "\(one.labels)"
            guard !changes.contains(where: { $0.key == key }) else { continue }
            guard let bytes = table[key], let json = try? JSON(parsing: bytes), var old = Alert(json: json) else {
                alerts.append(one)
                changes.append(StateChange(table: "rules", key: key, value: one.serialized))
                continue
            }
            if over || Int.random(in: 0..<3, using: &random) == 0 {
                old.endsAt = max(now, old.startsAt + 1)
                changes.append(StateChange(table: "rules", key: key, value: nil))
            }
            alerts.append(old)
        }
        executor.start { [dispatcher, alerts, changes] in await dispatcher?.accept(alerts, committing: changes) }
        executor.run(for: Int.random(in: 0..<10, using: &random) == 0 ? 0 : 1)
    }

    private func crash() {
        crashes += 1
        executor.abandon()
        let down = Double.random(in: 0...60, using: &random)
        executor = SimulatedExecutor(seed: random.next(), start: executor.now() + Milliseconds(down * 1000))
        start()
    }

    /// All alerts end, all receivers work; then there must be nothing left to tell.
    func settle() {
        receivers.state.withLock { $0.faults = false }
        executor.run(for: 1000)
        post(0, over: true)
        executor.run(for: 600_000)
    }

    func findings() -> [String] {
        var findings = receivers.state.withLock { $0.findings }
        let decided = episodes.all
        let told = receivers.state.withLock { $0.told }
        findings += decided.subtracting(told).sorted().prefix(5).map { "never told: \($0)" }
        findings += told.subtracting(decided).sorted().prefix(5).map { "told, never decided: \($0)" }
        for table in ["rules", "notifying.outbox", "notifying.dead", AlertGroup.groupsTable, AlertGroup.alertsTable] {
            let left = store.entries(of: table).count
            if left > 0 { findings.append("\(left) entries are left in \(table)") }
        }
        return findings
    }

    /// A receiver looks at a request, and does something with it.
    private static func answer(_ request: HTTPRequest, _ state: inout Receivers, _ store: MemoryStore)
        -> FakeTransport.Answer
    {
        let key = request.header("Idempotency-Key") ?? ""
        if store.entries(of: "notifying.outbox")[key] == nil {
            state.findings.append("sent without a journal entry: \(key)")
        }
        if state.accepted.contains(key), request.header("X-Vedette-Possibly-Repeated") == nil {
            state.findings.append("repeated without a mark: \(key)")
        }
        let delay = Milliseconds.random(in: 1...3000, using: &state.random)
        switch state.faults ? Int.random(in: 0..<12, using: &state.random) : 11 {
        case 0: return .response(HTTPResponse(status: 503), after: delay)
        case 1:
            let wait = HTTPHeader("retry-after", "\(Int.random(in: 1...30, using: &state.random))")
            return .response(HTTPResponse(status: 429, headers: [wait]), after: delay)
        case 2: return .failure(.unreachable("connection refused"), after: delay)
        case 3: return .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        case 4:
            accept(request, key, &state)
            return .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        default:
            accept(request, key, &state)
            return .response(HTTPResponse(status: 200), after: delay)
        }
    }

    private static func accept(_ request: HTTPRequest, _ key: String, _ state: inout Receivers) {
        let isNew = state.accepted.insert(key).inserted
        // `HASH-CREATED-SEQUENCE/receiver/kind/index`: later pages of a group do not come before earlier ones.
        let parts = key.split(separator: "/", maxSplits: 1)
        let place = parts[0].split(separator: "-")
        if let sequence = Int(place[2]) {
            let group = "\(place[0])-\(place[1]) \(parts[1])"
            if sequence < state.sequences[group] ?? 0 { state.findings.append("out of order: \(key)") }
            state.sequences[group] = sequence
        }
        let reason = request.json?["notification_reason"]?.string ?? ""
        var isNews = !isNew || reason == Notification.Reason.repeated.rawValue
        for alert in request.json?["alerts"]?.array ?? [] {
            let labels = Labels(alert["labels"]?.strings ?? [:])
            let start = alert["startsAt"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? .distantPast
            let isOver = alert["status"]?.string == "resolved"
            let episode = "\(request.url) \(labels) \(start)\(isOver ? " over" : "")"
            isNews = state.told.insert(episode).inserted || isNews
        }
        if !isNews { state.findings.append("nothing new, though it says '\(reason)': \(key)") }
    }
}

private final class ReceiversBox: Sendable {
    let state: Mutex<DeliveryModel.Receivers>
    init(_ receivers: DeliveryModel.Receivers) { state = Mutex(receivers) }
}

/// Reads from the rules' own commits which episodes began and ended, and who is to be told.
private final class DecidedEpisodes: Sendable {
    private let tree: RouteTree
    private let state = Mutex<(decided: Set<String>, open: [String: Alert])>(([], [:]))

    init(_ tree: RouteTree) { self.tree = tree }

    var all: Set<String> { state.withLock { $0.decided } }

    func learn(_ changes: [StateChange]) {
        state.withLock { state in
            for change in changes where change.table == "rules" {
                if let bytes = change.value, let json = try? JSON(parsing: bytes), let alert = Alert(json: json) {
                    state.open[change.key] = alert
                    state.decided.formUnion(episodes(alert, isOver: false))
                } else if let alert = state.open.removeValue(forKey: change.key) {
                    state.decided.formUnion(episodes(alert, isOver: true))
                }
            }
        }
    }

    private func episodes(_ alert: Alert, isOver: Bool) -> [String] {
        tree.matches(alert.labels).flatMap { route in
            let urls =
                switch route.receiver {
                case "a": ["http://a1/", "http://a2/"]
                case "b": ["http://b/"]
                default: isOver ? ["http://c2/"] : ["http://c/", "http://c2/"]
                }
            return urls.map { "\($0) \(alert.labels) \(alert.startsAt)\(isOver ? " over" : "")" }
        }
    }
}
