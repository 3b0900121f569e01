public import Basics
public import Model
public import Settings
internal import Synchronization
public import Transport

/// A server with Prometheus' query API, which rules are evaluated by: Prometheus, Mimir, Thanos, VictoriaMetrics.
///
/// - SeeAlso: Prometheus, "HTTP API", "Instant queries".
public final class QuerySource: ExpressionSource, MetricsSource {
    /// Where it is.
    public let peer: RemotePeer
    private let client: RemoteClient
    private let clock: any TimeSource
    private let requests = Counter(), nanoseconds = Counter()
    private let failures = LabelledCounter(known: ExpressionSourceError.Kind.allCases.map(\.rawValue))
    /// The longest answer: some hundred thousand series.
    static let answerBytes = 16 << 20

    /// A source by its address; nothing is asked yet.
    public init(
        _ peer: RemotePeer, transport: any HTTPTransport, clock: any TimeSource,
        readFile: @escaping Secret.FileReader
    ) {
        (self.peer, self.clock) = (peer, clock)
        client = RemoteClient(peer, transport, clock, readFile)
    }

    /// See `ExpressionSource`.
    public func instant(
        _ expression: String, at moment: Timestamp
    ) async throws(ExpressionSourceError) -> [(labels: Labels, value: Double)] {
        requests.add()
        let begin = clock.uptimeNanoseconds()
        defer { nanoseconds.add(Int(clock.uptimeNanoseconds() - begin)) }
        do throws(ExpressionSourceError) {
            return try await ask(expression, moment)
        } catch {
            failures.add(error.kind.rawValue)
            throw ExpressionSourceError(error.kind, "query source '\(peer.name)': \(error.reason)")
        }
    }

    private func ask(
        _ expression: String, _ moment: Timestamp
    ) async throws(ExpressionSourceError) -> [(labels: Labels, value: Double)] {
        let form = [
            ("query", expression), ("time", GoNumber.fixed(moment.seconds)),
            ("timeout", DurationText.format(peer.timeout)),
        ].map { "\($0.0)=\($0.1.queryEscaped)" }.joined(separator: "&")
        let response: HTTPResponse
        do throws(RemoteFailure) {
            response = try await client.post(
                Array(form.utf8), to: "/api/v1/query",
                headers: [
                    HTTPHeader("Content-Type", "application/x-www-form-urlencoded"),
                    HTTPHeader("Accept", "application/json"),
                ], limit: QuerySource.answerBytes)
        } catch {
            if Task.isCancelled { throw ExpressionSourceError(.cancelled, "cancelled") }
            switch error.kind {
            case .network: throw ExpressionSourceError(.unreachable, error.reason)
            case .tooLarge: throw ExpressionSourceError(.tooLarge, error.reason)
            case .local: throw ExpressionSourceError(.local, error.reason)
            }
        }
        let answer = try? JSON(parsing: response.body)  // What is none is told below.
        guard response.status == 200 else {
            let text = answer?["error"]?.string.map { client.excerpt(Array($0.utf8)) } ?? client.excerpt(response.body)
            // 422: the expression cannot be evaluated; every other 4xx is an answer as well.
            let isAnswer = (400..<500).contains(response.status) && ![408, 429].contains(response.status)
            throw ExpressionSourceError(
                isAnswer ? .refused : .unavailable,
                "HTTP \(response.status)\(text.isEmpty ? "" : ": \(text)")")
        }
        guard let answer, answer["status"]?.string == "success", let data = answer["data"] else {
            throw ExpressionSourceError(
                .malformed, "the answer is not Prometheus': \(client.excerpt(response.body)); check the url")
        }
        // Of an expression's own oddities Prometheus warns in the same place.
        if let missing = answer["warnings"]?.array?.compactMap(\.string).first(where: { !$0.hasPrefix("PromQL ") }) {
            throw ExpressionSourceError(
                .partial, "the answer is not whole: \(client.excerpt(Array(missing.utf8)))")
        }
        return try QuerySource.samples(data)
    }

    /// The samples of an answer's `data`.
    static func samples(_ data: JSON) throws(ExpressionSourceError) -> [(labels: Labels, value: Double)] {
        func value(_ pair: JSON?) throws(ExpressionSourceError) -> Double {
            guard let text = pair?[1]?.string, let value = GoNumber.parse(text) else {
                throw ExpressionSourceError(.malformed, "a sample of the answer has no value")
            }
            return value
        }
        switch data["resultType"]?.string {
        case "scalar": return [(Labels(), try value(data["result"]))]
        case "vector":
            guard let result = data["result"]?.array else {
                throw ExpressionSourceError(.malformed, "the answer has no result")
            }
            var samples: [(labels: Labels, value: Double)] = []
            samples.reserveCapacity(result.count)
            for one in result {
                guard let metric = one["metric"], let labels = Labels(json: metric),
                    metric.members?.allSatisfy({ $0.value.string != nil }) == true
                else {
                    throw ExpressionSourceError(
                        .malformed,
                        one["histogram"] == nil
                            ? "a sample of the answer has no labels" : "the answer has native histograms")
                }
                samples.append((labels, try value(one["value"])))
            }
            return samples
        case let type:
            throw ExpressionSourceError(
                .malformed, "the answer is of type '\(String((type ?? "none").prefix(20)))', not a vector or scalar")
        }
    }

    /// What was asked of it.
    public func metrics() -> [MetricFamily] { querySourceFamilies([self]) }

    fileprivate var row: (labels: Labels, requests: Int, seconds: Double, failures: [(name: String, count: Int)]) {
        (Labels(["source": peer.name]), requests.value, Double(nanoseconds.value) / 1e9, failures.values)
    }
}

/// The metric families of several sources.
public func querySourceFamilies(_ sources: [QuerySource]) -> [MetricFamily] {
    let rows = sources.map(\.row)
    return [
        MetricFamily(
            .counter, "vedette_query_source_requests_total", "Expressions that another server was asked for.",
            rows.map { ($0.labels, Double($0.requests)) }),
        MetricFamily(
            .counter, "vedette_query_source_seconds_total", "How long its answers took, in all.",
            rows.map { ($0.labels, $0.seconds) }),
        MetricFamily(
            .counter, "vedette_query_source_failures_total", "Expressions that it gave no value for, by reason.",
            rows.flatMap { row in
                row.failures.map { (row.labels.merging(["reason": $0.name]), Double($0.count)) }
            }),
    ]
}

extension RemotePeer {
    /// The name of the store of our own, which no source may have.
    public static let localName = "local"

    /// Reads `query_sources`: servers that rule groups name in `query_source`.
    ///
    ///     query_sources:
    ///       - { name: mimir, url: "https://mimir.example.org/prometheus", timeout: 10s }
    public static func querySources(from map: SettingsMap) throws(SettingsError) -> [RemotePeer] {
        var all: [RemotePeer] = []
        for part in try map.takeMaps("query_sources") {
            let name: String = try part.require("name")
            guard !name.isEmpty, name != localName, !name.hasPrefix("http") else {
                throw part.error("name", "must not be empty, '\(localName)' or an address; give it another")
            }
            guard !all.contains(where: { $0.name == name }) else {
                throw part.error("name", "'\(name)' is the name of two sources; rename one")
            }
            var peer = try RemotePeer(from: part, name: name, timeoutKey: "timeout", timeout: 10_000)
            guard peer.timeout <= 60_000 else { throw part.error("timeout", "must be 1m at the most") }
            while peer.url.hasSuffix("/") { peer.url.removeLast() }
            try part.finish()
            all.append(peer)
        }
        return all
    }

    /// A source that a rule group names by its address alone; nil when it is none.
    public init?(address: String) {
        guard address.hasPrefix("http://") || address.hasPrefix("https://") else { return nil }
        self.init(name: "", url: address)
        while url.hasSuffix("/") { url.removeLast() }
        (name, timeout) = (shownURL, 10_000)
    }
}
