import Alerting
import Basics
import class Foundation.ProcessInfo
import Model
import Notifying
import Settings
import Synchronization
import Transport

/// What a life of the delivery model has that others do not, and who is told what.
struct ModelKind: Sendable {
    /// Whether the clock is set back too: firings are then told apart by their labels alone.
    var jumpsBack: Bool
    /// Whether one notice may stand for many.
    var flaps: Bool
    var isExact: Bool { !jumpsBack && !flaps }

    init(_ seed: UInt64) { (jumpsBack, flaps) = (seed % 3 == 1, seed % 5 == 4) }

    static let values = ["alertname": ["X", "Y", "Z"], "i": ["1", "2", "3"], "severity": ["critical", "info"]]
    /// The URLs of a receiver, each with those of whoever may stand in.
    static let targets: [String: [[String]]] = [
        "a": [["http://a1/", "http://f/", "http://g/"], ["http://a2/", "http://f/", "http://g/"]],
        "b": [["http://b/"]], "m": [["http://m/"]],
    ]

    /// By variant; read once for all lives.
    var settings: Result<[NotifyingSettings], any Error> { flaps ? ModelKind.flapping : ModelKind.steady }
    private static let steady = Result { try variants("episodes: 0") }
    private static let flapping = Result { try variants("episodes: 3, within: 2m, steady: 40s") }

    private static func variants(_ flapping: String) throws -> [NotifyingSettings] {
        try (0..<4).map { try NotifyingTests.settings(text($0, flapping)) }
    }

    /// Variant 1 has no receiver `c`, which comes and goes; 2 tells `b` alone of one `i`, groups otherwise and mutes
    /// nothing; 3 tells `m` within the pauses alone.
    private static func text(_ variant: Int, _ flapping: String) -> String {
        let times = DeliveryReference.pauses.map { pause in
            let words = [pause.0, pause.1].map { "\($0 / 60):\($0 % 60 < 10 ? "0" : "")\($0 % 60)" }
            return "{start_time: '\(words[0])', end_time: '\(words[1])'}"
        }
        let mute = [
            ", mute_time_intervals: [pause]", ", mute_time_intervals: [pause]", "", ", active_time_intervals: [pause]",
        ]
        return """
            flapping: {\(flapping)}
            time_intervals: [{name: pause, time_intervals: [{times: [\(times.joined(separator: ", "))]}]}]
            inhibit_rules:
            - {source_matchers: [alertname=X, severity=critical], target_matchers: [alertname=Y], equal: [i]}
            route:
              receiver: a
              group_by: [alertname]
              group_wait: 5s
              group_interval: 30s
              repeat_interval: 3m
              routes:
              - {matchers: [component=vedette], receiver: b, group_by: [channel], group_wait: 1s, repeat_interval: 2h}
              - {matchers: [severity=critical], receiver: b, group_by: ['...'], group_wait: 1s, continue: true}
              - {matchers: [alertname=Z], receiver: m, continue: true\(mute[variant])}
              \(variant == 1 ? "" : "- {matchers: [alertname!=X], receiver: c, continue: true}")
              \(variant == 2 ? "- {matchers: [i=1], receiver: b}" : "")
              - {receiver: a\(variant == 2 ? ", group_by: [severity]" : "")}
            receivers:
            - {name: a, webhook_configs: [{url: "http://a1/"}, {url: "http://a2/"}], fallback: {receiver: f, after: 40s}}
            - {name: b, webhook_configs: [{url: "http://b/"}]}
            - {name: m, webhook_configs: [{url: "http://m/"}]}
            - {name: f, webhook_configs: [{url: "http://f/"}], fallback: {receiver: g, after: 1h, failures: 4}}
            - {name: g, webhook_configs: [{url: "http://g/"}]}
            \(variant == 1 ? "" : "- {name: c, webhook_configs: [{url: 'http://c/', send_resolved: false}, {url: 'http://c2/'}]}")
            """
    }
}

/// The clock over all processes of a life.
final class ModelClock: Sendable {
    private let state: Mutex<(executor: SimulatedExecutor, began: Milliseconds)>

    init(_ executor: SimulatedExecutor) { state = Mutex((executor, 0)) }

    var executor: SimulatedExecutor { state.withLock(\.executor) }
    /// Never set; goes on while no process runs.
    var steady: Milliseconds {
        state.withLock { $0.began + Milliseconds($0.executor.uptimeNanoseconds() / 1_000_000) }
    }

    /// Prints what happens, when `VEDETTE_TRACE` is set.
    func trace(_ text: @autoclosure () -> String) {
        guard ModelClock.isTraced else { return }
        print("\(steady) \(executor.now().rfc3339().dropFirst(11)) \(text())")
    }
    private static let isTraced = ProcessInfo.processInfo.environment["VEDETTE_TRACE"] != nil

    /// Another process, after a while.
    func restart(seed: UInt64, after down: Milliseconds) {
        let steady = steady
        state.withLock {
            $0 = (SimulatedExecutor(seed: seed, start: $0.executor.now() + down), steady + down)
        }
    }
}

final class ReferenceBox: Sendable {
    let state = Mutex(DeliveryReference())
}

final class ReceiversBox: Sendable {
    let state: Mutex<ModelReceivers>
    init(_ receivers: ModelReceivers) { state = Mutex(receivers) }
}

/// What receivers know, and what went wrong in their eyes.
struct ModelReceivers: Sendable {
    /// `URL episode`, and the same with ` over`.
    var told: Set<String> = []
    /// Whether the last that a URL heard of an alert, `URL labels`, was its end.
    var last: [String: Bool] = [:]
    /// What a page closed that knew no more than its group.
    var closed: Set<String> = []
    /// Lines told while the disk was broken, and those of them of which a crash made the daemon forget.
    private var volatile: Set<String> = []
    private(set) var excused: Set<String> = []
    /// By URL and group: the episodes that were told to fire, and those of the last page in order.
    private var open: [String: Set<String>] = [:], shown: [String: Set<String>] = [:]
    /// What is known by a URL and a group.
    private var news: Set<String> = []
    /// Keys of pages that arrived; whether one was sent without the journal.
    private var accepted: [String: Bool] = [:]
    private var sequences: [String: Int] = [:]
    var findings: [String] = []
    var random: SeededRandom
    /// Whether episodes are told apart by their starts.
    let isExact: Bool
    var faults = true
    var isDiskBroken = false

    init(random: SeededRandom, isExact: Bool) { (self.random, self.isExact) = (random, isExact) }

    /// The disk is well again, or all that it did not take is gone.
    mutating func forget(_ isLost: Bool) {
        if isLost {
            excused.formUnion(volatile)
            // What it forgot to have told it tells again, and counts from there.
            (news, shown, sequences) = ([], [:], [:])
        }
        volatile = []
    }

    func episode(_ labels: Labels, _ start: Timestamp) -> String { isExact ? "\(labels) \(start)" : "\(labels)" }

    /// A receiver looks at a request, and does something with it.
    mutating func answer(_ request: HTTPRequest, _ store: FragileStore, _ clock: ModelClock) -> FakeTransport.Answer {
        let key = request.header("Idempotency-Key") ?? ""
        let isUnjournalled = request.header("X-Vedette-Unjournalled") != nil
        if !store.holds("notifying.outbox", key) { findings.append("sent without a journal entry: \(key)") }
        if let wasUnjournalled = accepted[key], !wasUnjournalled,
            request.header("X-Vedette-Possibly-Repeated") == nil
        {
            findings.append("repeated without a mark: \(key)")
        }
        if isUnjournalled != isDiskBroken { findings.append("unjournalled \(isUnjournalled): \(key)") }
        defer { clock.trace("\(request.url) \(key) \(request.header("X-Vedette-Attempt") ?? ""): \(trace)") }
        trace = ""
        let delay = Milliseconds.random(in: 1...3000, using: &random)
        switch faults ? Int.random(in: 0..<25, using: &random) : 24 {
        case 0, 1: return .response(HTTPResponse(status: 503), after: delay)
        case 2:
            let wait = HTTPHeader("retry-after", "\(Int.random(in: 1...30, using: &random))")
            return .response(HTTPResponse(status: 429, headers: [wait]), after: delay)
        case 3, 4: return .failure(.unreachable("connection refused"), after: delay)
        case 5: return .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        case 6, 7:
            accept(request, key, isUnjournalled)
            return .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        case 8: return .response(HTTPResponse(status: 403), after: delay)
        default:
            accept(request, key, isUnjournalled)
            return .response(HTTPResponse(status: 200), after: delay)
        }
    }

    /// What the last page that came said; empty when it did not come.
    private var trace = ""

    private mutating func accept(_ request: HTTPRequest, _ key: String, _ isUnjournalled: Bool) {
        let isNew = accepted[key] == nil
        accepted[key] = (accepted[key] ?? false) || isUnjournalled
        // `HASH-CREATED-SEQUENCE/receiver/kind/index`: later pages of a group do not come before earlier ones.
        let parts = key.split(separator: "/", maxSplits: 1)
        let place = parts[0].split(separator: "-")
        let stream = "\(request.url) \(place[0])"
        let isOld = request.header("X-Vedette-Decided-At") != nil
        if let sequence = Int(place[2]), place.count == 3, !isOld {
            let group = "\(place[0])-\(place[1]) \(parts[1])"
            // After a page that did not come here nobody knows what this one shows anew.
            if sequence > (sequences[group] ?? 0) + 1 { shown[stream] = [] }
            if sequence < sequences[group] ?? 0 { findings.append("out of order: \(key)") }
            sequences[group] = sequence
        }
        let reason = request.json?["notification_reason"]?.string ?? ""
        let alerts = request.json?["alerts"]?.array ?? []
        let group = "\(request.url) \(request.json?["groupKey"]?.string ?? "")"
        trace = "\(reason): "
        if alerts.isEmpty { closed.formUnion(open[group] ?? []) }
        // Replays, and a receiver that was away and is back, may hear again what they know.
        let isAgain = !isNew || isOld || place.count > 3 || request.header("X-Vedette-Attempt") != "1"
        var isNews =
            isAgain || alerts.isEmpty || request.url.hasPrefix("http://c")
            || reason == Notification.Reason.repeated.rawValue
        var nowShown: Set<String> = []
        for alert in alerts {
            let labels = Labels(alert["labels"]?.strings ?? [:])
            let start = alert["startsAt"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? .distantPast
            let isOver = alert["status"]?.string == "resolved"
            let episode = "\(request.url) \(episode(labels, start))"
            last["\(request.url) \(labels)"] = isOver
            trace += "\(labels) \(isOver ? "over" : "fires"); "
            if !isOver, shown[stream]?.contains(episode) != true { isNews = true }
            if !isOver { nowShown.insert(episode) }
            if !isOver { open[group, default: []].insert(episode) }
            let isEnd = isOver ? " over" : ""
            told.insert("\(episode)\(isEnd)")
            if isDiskBroken, !isOver { volatile.formUnion([episode, "\(request.url) \(labels)"]) }
            // What closes a replayed page may be told by its group too.
            if place.count == 3 { isNews = news.insert("\(stream) \(episode)\(isEnd)").inserted || isNews }
        }
        if !isOld, place.count == 3 { shown[stream] = nowShown }
        if !isNews, isExact { findings.append("nothing new, though it says '\(reason)': \(key)") }
    }
}

/// One firing of an alert, or its end.
struct Episode: Hashable, Sendable {
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
final class FragileStore: StateStore {
    private struct Content {
        var tables: [String: [String: [UInt8]]] = [:]
        var decided: Set<Episode> = []
        var open: [String: Alert] = [:]
        /// Ids of notifications that were seen.
        var pages: Set<String> = []
    }
    private struct State {
        var now = Content()
        var durable: Content?
        var everDecided: Set<Episode> = []
        var lost: Set<Episode> = []
        var findings: [String] = []
    }
    private let state = Mutex(State())
    private let clock: ModelClock
    private let reference: ReferenceBox

    init(_ clock: ModelClock, _ reference: ReferenceBox) { (self.clock, self.reference) = (clock, reference) }

    /// What the rules decided and did not forget again.
    var decided: Set<Episode> { state.withLock { $0.now.decided } }
    var everDecided: Set<Episode> { state.withLock { $0.everDecided } }
    /// What a crash beside a broken disk made the rules forget.
    var lost: Set<Episode> { state.withLock { $0.lost } }
    /// The alerts that fire, by the rules.
    var open: [Alert] { state.withLock { Array($0.now.open.values) } }
    /// Decisions that nobody should have made.
    var findings: [String] { state.withLock(\.findings) }
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
                if change.table == "notifying.pages", let bytes = change.value { look(change.key, bytes, &state) }
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
                clock.trace("\(episode.isOver ? "over" : "fires") \(episode.labels)")
            }
            return state.durable == nil ? .durable : .volatile(reason: "no space left")
        }
    }
    func entries(of table: String) -> [String: [UInt8]] { state.withLock { $0.now.tables[table] ?? [:] } }
    func holds(_ table: String, _ key: String) -> Bool { state.withLock { $0.now.tables[table]?[key] != nil } }

    /// Looks at what was decided just now.
    private func look(_ id: String, _ bytes: [UInt8], _ state: inout State) {
        // What people replay was decided before.
        let parts = id.split(separator: "-")
        guard state.now.pages.insert(id).inserted, parts.count == 3, Int(parts[2]) != nil,
            let page = (try? JSON(parsing: bytes)).flatMap(Notification.init(json:))
        else { return }
        let (now, steady) = (clock.executor.now(), clock.steady)
        clock.trace(
            "decided \(id) \(page.receiver) \(page.reason.rawValue) \(page.firing.map { "+\($0.labels)" }) \(page.resolved.map { "-\($0.labels)" })"
        )
        let sources = state.now.open.values.map(\.labels)
        let findings = reference.state.withLock { reference -> [String] in
            var findings: [String] = []
            if reference.decide(page.groupID, isRepeat: page.reason == .repeated, steady: steady) {
                findings.append("repeated too soon: \(id)")
            }
            for labels in page.firing.map(\.labels)
            where reference.holds(labels, from: page.receiver, at: now, open: sources) {
                findings.append("told though held back, \(page.receiver): \(labels)")
            }
            return findings
        }
        state.findings += findings
    }

    func crash() {
        state.withLock { state in
            guard let durable = state.durable else { return }
            state.lost.formUnion(state.now.decided.subtracting(durable.decided))
            state.now = durable
        }
    }
}
