import Alerting
import Basics
import class Foundation.ProcessInfo
import Model
import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// The promise under random posts, failures, refusals, crashes, reloads, a broken disk, replayed dead letters and clock
/// jumps. Once receivers work: whatever fires is told in time; whoever was told that it fires is told that it is over,
/// also by a fallback, also of a receiver that is configured no more; no page is sent twice without a mark; a group's
/// pages arrive in order and, but for repeats, tell something new.
@Suite struct DeliveryModelTests {
    @Test("whoever is told that it fires is told that it is over; nothing decided is lost", arguments: 0..<seeds)
    func promise(seed: UInt64) throws {
        let model = try DeliveryModel(seed: seed)
        model.play(for: 1_200_000)
        try model.settle()
        let findings = model.findings()
        #expect(findings == [], "seed \(seed)")
        #expect(model.crashes > 1 && model.decidedCount > 20, "seed \(seed): \(model.crashes), \(model.decidedCount)")
    }
}

/// How many seeds are played; the environment's `VEDETTE_SEEDS` asks for more.
private let seeds = ProcessInfo.processInfo.environment["VEDETTE_SEEDS"].flatMap(UInt64.init) ?? 30

/// Rules, a daemon that is killed now and then, and receivers that fail.
private final class DeliveryModel {
    /// The same but for one receiver, `c`, which comes and goes.
    private static func text(withC: Bool) -> String {
        """
        flapping: {episodes: 0}
        route:
          receiver: a
          group_by: [alertname]
          group_wait: 5s
          group_interval: 30s
          repeat_interval: 3m
          routes:
          - {matchers: [severity=critical], receiver: b, group_by: ['...'], group_wait: 1s, continue: true}
          \(withC ? "- {matchers: [alertname!=X], receiver: c}" : "")
        receivers:
        - {name: a, webhook_configs: [{url: "http://a1/"}, {url: "http://a2/"}], fallback: {receiver: f, after: 40s}}
        - {name: b, webhook_configs: [{url: "http://b/"}]}
        - {name: f, webhook_configs: [{url: "http://f/"}], fallback: {receiver: g, after: 1h, failures: 4}}
        - {name: g, webhook_configs: [{url: "http://g/"}]}
        \(withC ? "- {name: c, webhook_configs: [{url: 'http://c/', send_resolved: false}, {url: 'http://c2/'}]}" : "")
        """
    }

    /// What receivers know, and what went wrong in their eyes.
    fileprivate struct Receivers: Sendable {
        /// `URL episode`, and the same with ` over`.
        var told: Set<String> = []
        /// What a page closed that knew no more than its group.
        var closed: Set<String> = []
        /// By URL and group: the episodes that were told to fire.
        var open: [String: Set<String>] = [:]
        /// Keys of pages that arrived; whether one was sent without the journal.
        var accepted: [String: Bool] = [:]
        var sequences: [String: Int] = [:]
        var findings: [String] = []
        var random: SeededRandom
        var faults = true
        var isDiskBroken = false
    }

    private let settings: [Bool: NotifyingSettings]
    private var hasC = true
    private let store: FragileStore
    private let receivers: ReceiversBox
    private var random: SeededRandom
    private var executor: SimulatedExecutor
    private var dispatcher: Dispatcher?
    private(set) var crashes = 0

    var decidedCount: Int { store.decided.count }

    init(seed: UInt64) throws {
        settings = [
            true: try NotifyingTests.settings(DeliveryModel.text(withC: true)),
            false: try NotifyingTests.settings(DeliveryModel.text(withC: false)),
        ]
        store = FragileStore()
        receivers = ReceiversBox(Receivers(random: SeededRandom(seed: seed &+ 1000)))
        random = SeededRandom(seed: seed)
        executor = SimulatedExecutor(seed: seed, start: at(1_000_000))
        start()
    }

    private var current: NotifyingSettings { settings[hasC] ?? .none }

    /// A new process over what the journal holds.
    private func start() {
        let transport = FakeTransport(executor) { [receivers, store] request in
            receivers.state.withLock { DeliveryModel.answer(request, &$0, store) }
        }
        let dispatcher = Dispatcher(
            current, store: store, clock: executor, transport: transport, random: SharedRandom(seed: random.next()),
            externalURL: "", files: noFiles)
        self.dispatcher = dispatcher
        executor.start { await dispatcher.run() }
    }

    /// Posts by the rules for a while, with kills, clock jumps, reloads, a broken disk and people at the dead letters.
    func play(for length: Milliseconds) {
        var rest = length
        while rest > 0 {
            let pause = Milliseconds.random(in: 1...6000, using: &random)
            executor.run(for: pause)
            rest -= pause
            post(Int.random(in: 0...3, using: &random))
            switch Int.random(in: 0..<60, using: &random) {
            case 0, 1: crash()
            case 2, 3: executor.jumpWallClock(by: Milliseconds.random(in: 0...120_000, using: &random))
            case 4: reload(Bool.random(using: &random))
            case 5: breakDisk(!store.isBroken)
            case 6: replay()
            default: break
            }
        }
    }

    private func breakDisk(_ isBroken: Bool) {
        store.isBroken = isBroken
        receivers.state.withLock { $0.isDiskBroken = isBroken }
    }

    private func reload(_ hasC: Bool) {
        self.hasC = hasC
        executor.start { [dispatcher, current] in await dispatcher?.replace(current) }
        executor.run(for: 1)
    }

    private func replay() {
        executor.start { [dispatcher] in await dispatcher?.replayAll() }
        executor.run(for: 1)
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
        breakDisk(false)
        store.crash()
        let down = Double.random(in: 0...60, using: &random)
        executor = SimulatedExecutor(seed: random.next(), start: executor.now() + Milliseconds(down * 1000))
        start()
    }

    /// All receivers work: what fires is told in time. Then all alerts end, and there must be nothing left to tell.
    func settle() throws {
        receivers.state.withLock { $0.faults = false }
        breakDisk(false)
        reload(true)
        // What is under way may still fail.
        executor.run(for: 11_000)
        replay()
        // The group's wait and interval, the longest wait of ours and of a receiver's wish, twice a try.
        executor.run(for: 5_000 + 30_000 + 90_000 + 30_000 + 2 * 10_000)
        check(store.decided.filter { !$0.isOver })
        post(0, over: true)
        executor.run(for: 600_000)
        replay()
        // A refusal without a later page is told for an hour.
        executor.run(for: 3_700_000)
    }

    /// Finds decided episodes that neither the receiver nor its fallbacks know of.
    private func check(_ episodes: Set<Episode>) {
        receivers.state.withLock { receivers in
            for episode in episodes {
                for (urls, isTold) in targets(episode).map({ urls in
                    (urls, urls.contains { receivers.told.contains("\($0) \(episode.text)") })
                }) where !isTold {
                    receivers.findings.append("never told, \(urls): \(episode.text)")
                }
            }
        }
    }

    /// Who is to be told, each with whoever may stand in.
    private func targets(_ episode: Episode) -> [[String]] {
        current.tree.matches(episode.labels).flatMap { route -> [[String]] in
            switch route.receiver {
            case "a": [["http://a1/", "http://f/", "http://g/"], ["http://a2/", "http://f/", "http://g/"]]
            case "b": [["http://b/"]]
            // Alerts that end before the route comes back are not told there.
            default: []
            }
        }
    }

    func findings() -> [String] {
        check(store.decided)
        var findings = receivers.state.withLock { $0.findings }
        let (told, closed) = receivers.state.withLock { ($0.told, $0.closed) }
        let lost = store.lost
        for line in told.sorted() where !line.hasSuffix(" over") && !line.hasPrefix("http://c/ ") {
            if told.contains("\(line) over") || closed.contains(line) { continue }
            if lost.contains(where: { line.hasSuffix($0.text) }) { continue }
            findings.append("told that it fires and never that it is over: \(line)")
        }
        let known = Set(store.everDecided.map(\.text))
        for line in told.sorted() where !line.contains("alertname=\"Vedette") {
            let episode = line.split(separator: " ", maxSplits: 1).last.map(String.init) ?? ""
            if !known.contains(episode) { findings.append("told, never decided: \(line)") }
        }
        for table in [
            "rules", "notifying.outbox", "notifying.pages", "notifying.dead", "notifying.threads", "notifying.diverted",
            AlertGroup.groupsTable, AlertGroup.alertsTable,
        ] {
            let left = store.entries(of: table).count
            if left > 0 { findings.append("\(left) entries are left in \(table)") }
        }
        return findings
    }

    /// A receiver looks at a request, and does something with it.
    private static func answer(_ request: HTTPRequest, _ state: inout Receivers, _ store: FragileStore)
        -> FakeTransport.Answer
    {
        let key = request.header("Idempotency-Key") ?? ""
        let isUnjournalled = request.header("X-Vedette-Unjournalled") != nil
        if !store.holds("notifying.outbox", key) { state.findings.append("sent without a journal entry: \(key)") }
        if let wasUnjournalled = state.accepted[key], !wasUnjournalled,
            request.header("X-Vedette-Possibly-Repeated") == nil
        {
            state.findings.append("repeated without a mark: \(key)")
        }
        if isUnjournalled != state.isDiskBroken { state.findings.append("unjournalled \(isUnjournalled): \(key)") }
        let delay = Milliseconds.random(in: 1...3000, using: &state.random)
        switch state.faults ? Int.random(in: 0..<25, using: &state.random) : 24 {
        case 0, 1: return .response(HTTPResponse(status: 503), after: delay)
        case 2:
            let wait = HTTPHeader("retry-after", "\(Int.random(in: 1...30, using: &state.random))")
            return .response(HTTPResponse(status: 429, headers: [wait]), after: delay)
        case 3, 4: return .failure(.unreachable("connection refused"), after: delay)
        case 5: return .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        case 6, 7:
            accept(request, key, isUnjournalled, &state)
            return .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        case 8: return .response(HTTPResponse(status: 403), after: delay)
        default:
            accept(request, key, isUnjournalled, &state)
            return .response(HTTPResponse(status: 200), after: delay)
        }
    }

    private static func accept(_ request: HTTPRequest, _ key: String, _ isUnjournalled: Bool, _ state: inout Receivers)
    {
        let isNew = state.accepted[key] == nil
        state.accepted[key] = (state.accepted[key] ?? false) || isUnjournalled
        // `HASH-CREATED-SEQUENCE/receiver/kind/index`: later pages of a group do not come before earlier ones.
        let parts = key.split(separator: "/", maxSplits: 1)
        let place = parts[0].split(separator: "-")
        let isOld = request.header("X-Vedette-Decided-At") != nil
        if let sequence = Int(place[2]), place.count == 3, !isOld {
            let group = "\(place[0])-\(place[1]) \(parts[1])"
            if sequence < state.sequences[group] ?? 0 { state.findings.append("out of order: \(key)") }
            state.sequences[group] = sequence
        }
        let reason = request.json?["notification_reason"]?.string ?? ""
        let alerts = request.json?["alerts"]?.array ?? []
        let group = "\(request.url) \(request.json?["groupKey"]?.string ?? "")"
        if alerts.isEmpty { state.closed.formUnion(state.open[group] ?? []) }
        // Replays, and a receiver that was away and is back, may hear again what they know.
        let isAgain = !isNew || isOld || place.count > 3 || request.header("X-Vedette-Attempt") != "1"
        var isNews =
            isAgain || alerts.isEmpty || request.url.hasPrefix("http://c")
            || reason == Notification.Reason.repeated.rawValue
        for alert in alerts {
            let labels = Labels(alert["labels"]?.strings ?? [:])
            let start = alert["startsAt"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? .distantPast
            let isOver = alert["status"]?.string == "resolved"
            let episode = "\(request.url) \(labels) \(start)"
            if !isOver { state.open[group, default: []].insert(episode) }
            isNews = state.told.insert("\(episode)\(isOver ? " over" : "")").inserted || isNews
        }
        if !isNews { state.findings.append("nothing new, though it says '\(reason)': \(key)") }
    }
}

private final class ReceiversBox: Sendable {
    let state: Mutex<DeliveryModel.Receivers>
    init(_ receivers: DeliveryModel.Receivers) { state = Mutex(receivers) }
}

/// One firing of an alert, or its end.
private struct Episode: Hashable, Sendable {
    var labels: Labels
    var start: Timestamp
    var isOver: Bool
    var text: String

    init(_ alert: Alert, isOver: Bool) {
        (labels, start, self.isOver) = (alert.labels, alert.startsAt, isOver)
        text = "\(alert.labels) \(alert.startsAt)\(isOver ? " over" : "")"
    }
}

/// A store whose disk may be broken: a crash then forgets what was committed meanwhile. It reads from the rules' own
/// commits which episodes began and ended.
private final class FragileStore: StateStore {
    private struct Content {
        var tables: [String: [String: [UInt8]]] = [:]
        var decided: Set<Episode> = []
        var open: [String: Alert] = [:]
    }
    private struct State {
        var now = Content()
        var durable: Content?
        var everDecided: Set<Episode> = []
        var lost: Set<Episode> = []
    }
    private let state = Mutex(State())

    /// What the rules decided and did not forget again.
    var decided: Set<Episode> { state.withLock { $0.now.decided } }
    var everDecided: Set<Episode> { state.withLock { $0.everDecided } }
    /// What a crash beside a broken disk made the rules forget.
    var lost: Set<Episode> { state.withLock { $0.lost } }
    var isBroken: Bool {
        get { state.withLock { $0.durable != nil } }
        // With the next commit everything is on the disk again.
        set { state.withLock { $0.durable = newValue ? $0.durable ?? $0.now : nil } }
    }

    @discardableResult
    func commit(_ changes: [StateChange]) -> Durability {
        state.withLock { state in
            for change in changes {
                state.now.tables[change.table, default: [:]][change.key] = change.value
                guard change.table == "rules" else { continue }
                var episode: Episode?
                if let bytes = change.value, let json = try? JSON(parsing: bytes), let alert = Alert(json: json) {
                    state.now.open[change.key] = alert
                    episode = Episode(alert, isOver: false)
                } else if let alert = state.now.open.removeValue(forKey: change.key) {
                    episode = Episode(alert, isOver: true)
                }
                guard let episode else { continue }
                state.now.decided.insert(episode)
                state.everDecided.insert(episode)
            }
            return state.durable == nil ? .durable : .volatile(reason: "no space left")
        }
    }
    func entries(of table: String) -> [String: [UInt8]] { state.withLock { $0.now.tables[table] ?? [:] } }
    func holds(_ table: String, _ key: String) -> Bool { state.withLock { $0.now.tables[table]?[key] != nil } }

    func crash() {
        state.withLock { state in
            guard let durable = state.durable else { return }
            state.lost.formUnion(state.now.decided.subtracting(durable.decided))
            state.now = durable
        }
    }
}
