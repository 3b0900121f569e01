public import Basics
public import Model
internal import Exposition
internal import Settings
public import Transport
internal import Synchronization

/// One thing to fetch again and again.
public struct Target: Sendable, Hashable {
    /// What its answer is.
    public enum Kind: Sendable, Hashable {
        /// A page of metrics.
        case metrics(PageSettings)
        /// A service's health document.
        indirect case health(HealthCheck)
    }

    /// What its answer is.
    public var kind: Kind
    /// The job's name, or `health_checks`.
    public var pool: String
    /// The labels of its series, `job` and `instance` among them.
    public var labels: Labels
    /// The labels before relabelling. They are for show: targets that differ in nothing else are one.
    public var discovered: Labels
    /// The URL as it is shown: of a check without what may be secret.
    public var url: String
    /// How often, and how long one fetch may take.
    public var interval: Milliseconds, timeout: Milliseconds
    /// A longer answer fails.
    public var bodyLimit: Int
    /// Authentication, TLS, proxy.
    public var client: HTTPClientSettings
    /// A Unix socket to connect to.
    public var unixSocket: String?
    /// Why it is not fetched but down: its job has more targets than `target_limit`.
    public var refusal: String?

    /// Whether it is a check.
    var isCheck: Bool { if case .health = kind { true } else { false } }

    /// The URL that is fetched.
    var address: String {
        guard case .health(let check) = kind else { return url }
        switch check.kind {
        case .tcp: return "http://\(check.instance)/"
        case .tls: return "https://\(check.instance)/"
        case .unix: return "http://unix/"
        case .http, .dns, .postgres, .redis, .systemd, .icmp: return check.url
        }
    }

    /// How this process names itself to what it scrapes, unlike every other one: what scrapes itself is told apart.
    public static let agent = "Vedette (\(String(UInt64.random(in: .min ... .max), radix: 16)))"

    /// Where in the interval its slot lies: stable, and spread over all targets.
    var phase: Milliseconds {
        var hash = FNV1a()
        hash.combine(url)
        hash.combine("\(labels.fingerprint)")
        return Milliseconds(hash.value % UInt64(max(1, interval)))
    }

    /// The request, with the secrets of this moment.
    func request(reading read: Secret.FileReader) throws -> HTTPRequest {
        var request = HTTPRequest(
            url: address, timeout: timeout, maximumResponseBytes: bodyLimit, unixSocket: unixSocket)
        request.headers = [HTTPHeader("User-Agent", Target.agent)]
        switch kind {
        case .metrics(let page):
            request.headers.append(HTTPHeader("Accept", ScrapeProtocol.accept(page.protocols, escaping: page.escaping)))
            request.headers.append(
                HTTPHeader("X-Prometheus-Scrape-Timeout-Seconds", GoNumber.fixed(Double(timeout) / 1000)))
        case .health(let check):
            if case .http = check.kind { request.purpose = .check } else { request.purpose = .connection }
            let isPlain = check.body.isEmpty && check.metrics.isEmpty
            request.headers.append(HTTPHeader("Accept", isPlain ? "*/*" : "application/json"))
        }
        try client.apply(to: &request, reading: read)
        return request
    }
}

extension Target {
    /// In all but `discovered`.
    public static func == (left: Target, right: Target) -> Bool {
        left.kind == right.kind && left.pool == right.pool && left.labels == right.labels && left.url == right.url
            && left.interval == right.interval && left.timeout == right.timeout && left.bodyLimit == right.bodyLimit
            && left.client == right.client && left.unixSocket == right.unixSocket && left.refusal == right.refusal
    }

    /// By what tells targets apart.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(pool)
        hasher.combine(labels)
        hasher.combine(url)
    }
}

/// A target that relabelling dropped, for who asks where it has gone.
public struct DroppedTarget: Sendable, Hashable {
    /// Its job.
    public var pool: String
    /// Its labels before relabelling.
    public var discovered: Labels
}

/// How a target's last fetch went.
public struct TargetStatus: Sendable, Hashable {
    /// As Prometheus' API names it.
    public enum Health: String, Sendable { case unknown, up, down }

    /// As of the last fetch.
    public var health: Health = .unknown
    /// Empty when it went well.
    public var lastError = ""
    /// When it began.
    public var lastScrape: Timestamp?
    /// How long it took.
    public var lastDurationSeconds = 0.0
    /// Samples on the last good page.
    public var samples = 0
}

/// A target and its last status, shared by the loop that fetches it and whoever shows it.
public final class WatchedTarget: Sendable {
    private struct State {
        var status = TargetStatus()
        var discovered: Labels
        var metadata: [MetricMetadata] = []
        var health: HealthReport?
    }

    /// What is fetched. Its `discovered` labels are those of the first time; see there for the present ones.
    public let target: Target
    private let state: Mutex<State>

    init(_ target: Target) {
        self.target = target
        state = Mutex(State(discovered: target.discovered))
    }

    /// How the last fetch went.
    public var status: TargetStatus { state.withLock { $0.status } }
    /// The labels before relabelling, as of the last discovery.
    public var discovered: Labels { state.withLock { $0.discovered } }
    /// What the last good page says of its metrics, in its order.
    public var metadata: [MetricMetadata] { state.withLock { $0.metadata } }

    /// What the last look found, of a check.
    public var health: HealthReport? { state.withLock { $0.health } }

    func setHealth(_ report: HealthReport) { state.withLock { $0.health = report } }
    func update(_ change: (inout TargetStatus) -> Void) { state.withLock { change(&$0.status) } }
    func setDiscovered(_ labels: Labels) { state.withLock { $0.discovered = labels } }
    func setMetadata(_ metadata: [MetricMetadata]) { state.withLock { $0.metadata = metadata } }
}
