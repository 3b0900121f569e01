public import Basics
public import Model
internal import Settings
public import Transport
internal import Synchronization

/// One thing to fetch again and again.
public struct Target: Sendable, Hashable {
    /// What its answer is.
    public enum Kind: Sendable, Hashable {
        /// A page of metrics.
        case metrics(honorsLabels: Bool, honorsTimestamps: Bool, sampleLimit: Int)
        /// A service's health document.
        case health(HealthCheck)
    }

    /// What its answer is.
    public var kind: Kind
    /// The job's name, or `health_checks`.
    public var pool: String
    /// The labels of its series, `job` and `instance` among them.
    public var labels: Labels
    /// The labels before `__` ones were dropped.
    public var discovered: Labels
    /// The whole URL.
    public var url: String
    /// How often, and how long one fetch may take.
    public var interval: Milliseconds, timeout: Milliseconds
    /// A longer answer fails.
    public var bodyLimit: Int
    /// Authentication, TLS, proxy.
    public var client: HTTPClientSettings
    /// A Unix socket to connect to.
    public var unixSocket: String?

    /// Where in the interval its slot lies: stable, and spread over all targets.
    var phase: Milliseconds {
        var hash = FNV1a()
        hash.combine(url)
        hash.combine("\(labels.fingerprint)")
        return Milliseconds(hash.value % UInt64(max(1, interval)))
    }

    /// The request, with the secrets of this moment.
    func request(reading read: Secret.FileReader) throws -> HTTPRequest {
        var request = HTTPRequest(url: url, timeout: timeout, maximumResponseBytes: bodyLimit, unixSocket: unixSocket)
        request.headers = [HTTPHeader("User-Agent", "Vedette")]
        if case .metrics = kind {
            request.headers.append(HTTPHeader("Accept", "text/plain;version=0.0.4;q=1,*/*;q=0.1"))
            request.headers.append(
                HTTPHeader("X-Prometheus-Scrape-Timeout-Seconds", GoNumber.fixed(Double(timeout) / 1000)))
        } else {
            request.headers.append(HTTPHeader("Accept", "application/json"))
        }
        try client.apply(to: &request, reading: read)
        return request
    }
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
    /// What is fetched.
    public let target: Target
    private let state = Mutex(TargetStatus())

    init(_ target: Target) { self.target = target }

    /// How the last fetch went.
    public var status: TargetStatus { state.withLock { $0 } }
    func update(_ change: (inout TargetStatus) -> Void) { state.withLock { change(&$0) } }
}
