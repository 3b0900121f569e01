public import Basics
public import Model
public import Settings
internal import Synchronization
public import Transport

/// An Alertmanager that is told of our rules' alerts too: Prometheus' `alerting.alertmanagers`.
public struct AlertmanagerPeer: Sendable, Hashable {
    /// `http://host:9093`, without the API's path.
    public var url: String
    /// The longest a request may take. Default: 10 s.
    public var timeout: Milliseconds = 10_000
    /// Who to be, TLS, proxy.
    public var http = HTTPClientSettings()
    /// What becomes of an alert's labels on the way there.
    public var relabelRules: [RelabelRule] = []

    /// A peer with the defaults.
    public init(url: String) { self.url = url }
}

/// Tells Alertmanagers of alerts, as Prometheus does: news at once, all that fires every minute with an end four
/// minutes ahead, an end for a quarter of an hour. What could not be told is told at the next turn; nothing of it is
/// durable, since rules know what fires.
///
/// - SeeAlso: Prometheus, `notifier/manager.go` and `rules/alerting.go`.
public actor AlertmanagerLinks: AlertSink, MetricsSource {
    /// Between two tellings of what is no news.
    static let resend: Milliseconds = 60_000
    /// How long an end is told.
    static let retention: Milliseconds = 900_000
    /// How many alerts a request holds.
    static let batch = 256

    private var peers: [AlertmanagerPeer]
    private var alerts: [Labels: Alert] = [:]
    /// What each peer has not been told yet, by its address.
    private var news: [String: Set<Labels>] = [:]
    private var nextResend: Timestamp
    private let next: any AlertSink
    private let clock: any TimeSource
    private let transport: any HTTPTransport
    private let files: Secret.FileReader
    private let wake = Wake()
    private let figures = Mutex<[String: (sent: Int, errors: Int)]>([:])

    /// Passes alerts on to `next`, whose journal they belong to, and tells the peers.
    public init(
        _ peers: [AlertmanagerPeer], next: any AlertSink, clock: any TimeSource, transport: any HTTPTransport,
        files: @escaping Secret.FileReader
    ) {
        (self.peers, self.next, self.clock, self.transport, self.files) = (peers, next, clock, transport, files)
        nextResend = clock.now() + AlertmanagerLinks.resend
    }

    /// See `AlertSink.accept`.
    public func accept(_ alerts: [Alert], committing changes: [StateChange]) async {
        await next.accept(alerts, committing: changes)
        guard !peers.isEmpty else { return }
        for alert in alerts where self.alerts[alert.labels] != alert {
            self.alerts[alert.labels] = alert
            for peer in peers { news[peer.url, default: []].insert(alert.labels) }
        }
        if !alerts.isEmpty { wake.signal() }
    }

    /// Puts other peers in force; each is told everything.
    public func replace(_ peers: [AlertmanagerPeer]) {
        self.peers = peers
        news = Dictionary(peers.map { ($0.url, Set(alerts.keys)) }, uniquingKeysWith: { $1 })
        wake.signal()
    }

    /// Tells until cancelled.
    public func run() async {
        while !Task.isCancelled {
            let pause = await turn()
            await clock.wait(for: wake, atMost: pause)
        }
    }

    /// Tells every peer what it does not know; answers how long to rest.
    private func turn() async -> Milliseconds {
        let now = clock.now()
        if now >= nextResend {
            nextResend = now + AlertmanagerLinks.resend
            alerts = alerts.filter { $0.value.endsAt.map { now - $0 < AlertmanagerLinks.retention } ?? true }
            for peer in peers { news[peer.url] = Set(alerts.keys) }
        }
        let due = peers.compactMap { peer -> (AlertmanagerPeer, [Labels])? in
            guard let labels = news.removeValue(forKey: peer.url), !labels.isEmpty else { return nil }
            return (peer, labels.sorted())
        }
        var isEveryOneTold = true
        await withTaskGroup(of: (String, [Labels]).self) { tries in
            for (peer, labels) in due {
                let alerts = labels.compactMap { self.alerts[$0] }
                tries.addTask { (peer.url, await self.tell(peer, alerts, now: now) ? [] : labels) }
            }
            for await (url, left) in tries where !left.isEmpty {
                isEveryOneTold = false
                news[url, default: []].formUnion(left)
            }
        }
        return max(1, min(nextResend - clock.now(), isEveryOneTold ? AlertmanagerLinks.resend : 5000))
    }

    private nonisolated func tell(_ peer: AlertmanagerPeer, _ alerts: [Alert], now: Timestamp) async -> Bool {
        for start in stride(from: 0, to: alerts.count, by: AlertmanagerLinks.batch) {
            let part = alerts[start..<min(start + AlertmanagerLinks.batch, alerts.count)]
            let body = JSON.array(part.compactMap { peer.posted($0, now: now) })
            guard body != [] else { continue }
            let isTaken = await post(body, to: peer)
            figures.withLock { figures in
                figures[peer.url, default: (0, 0)].sent += isTaken ? part.count : 0
                figures[peer.url, default: (0, 0)].errors += isTaken ? 0 : 1
            }
            if !isTaken { return false }
        }
        return true
    }

    private nonisolated func post(_ body: JSON, to peer: AlertmanagerPeer) async -> Bool {
        do {
            let headers = try peer.http.headers(reading: files)
            let request = HTTPRequest(
                method: "POST", url: peer.url + "/api/v2/alerts",
                headers: [HTTPHeader("Content-Type", "application/json"), HTTPHeader("User-Agent", "Vedette")]
                    + headers,
                body: body.serialized(), timeout: peer.timeout, maximumResponseBytes: 64 << 10,
                options: peer.http.options)
            let status = try await transport.send(request).status
            // Refused for good: the same would be refused again.
            return (200..<300).contains(status) || (400..<500).contains(status)
        } catch {
            return false  // Counted, and told again.
        }
    }

    /// Alerts told and tries that failed, by peer.
    public nonisolated func metrics() -> [MetricFamily] {
        let figures = figures.withLock { $0 }.sorted { $0.key < $1.key }
        guard !figures.isEmpty else { return [] }
        return [
            MetricFamily(
                .counter, "vedette_alertmanager_sent_total", "Alerts told to an Alertmanager.",
                figures.map { (["alertmanager": $0.key], Double($0.value.sent)) }),
            MetricFamily(
                .counter, "vedette_alertmanager_errors_total", "Tries to tell an Alertmanager that failed.",
                figures.map { (["alertmanager": $0.key], Double($0.value.errors)) }),
        ]
    }
}

extension AlertmanagerPeer {
    /// An alert as `POST /api/v2/alerts` takes it; nil when the rules drop it.
    func posted(_ alert: Alert, now: Timestamp) -> JSON? {
        var labels = alert.labels.sorted
        guard RelabelRule.apply(relabelRules, to: &labels) else { return nil }
        let end = alert.endsAt ?? now + 4 * AlertmanagerLinks.resend
        return [
            "labels": JSON(Labels(labels)), "annotations": JSON(alert.annotations),
            "startsAt": .string(alert.startsAt.rfc3339()), "endsAt": .string(end.rfc3339()),
            "generatorURL": .string(alert.generatorURL),
        ]
    }
}
