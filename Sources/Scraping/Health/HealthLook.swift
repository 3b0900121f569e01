public import Basics
internal import Model
public import Settings
public import Transport

/// One look at one check, now and on this machine, with all that was seen: for who sets a check up.
public struct HealthLook: Sendable {
    /// An expectation in words, and why it is not fulfilled.
    public struct Verdict: Sendable, Hashable {
        /// As it stands in the configuration.
        public var expectation: String
        /// Nil when it is fulfilled, or when there is no answer to judge.
        public var failure: String?
        /// Whether it is.
        public var isFulfilled: Bool
    }

    /// What was found.
    public var report: HealthReport
    /// Each expectation by itself.
    public var verdicts: [Verdict]

    /// Looks. Blocks for at most the check's time and a second.
    public init(
        _ check: HealthCheck, fetcher: any Fetcher, prober: MachineProber, clock: any TimeSource,
        readFile: Secret.FileReader
    ) {
        var answer: HealthAnswer
        if check.kind.isFetched {
            answer = HealthLook.fetch(check, fetcher, clock, readFile)
        } else {
            var queries: [Int] = []
            if case .postgres(let postgres) = check.kind { queries = Array(postgres.queries.indices) }
            let deadline = ProbeDeadline(clock: clock, in: check.timeout)
            answer = prober.look(HealthProbe(check, queries: queries, deadline: deadline))
        }
        let now = clock.now()
        report = check.judge(answer, at: now)
        var verdicts = check.parts.map { words, part in
            guard answer.failure == nil else { return Verdict(expectation: words, failure: nil, isFulfilled: false) }
            let failures = part.judge(answer, at: now).failures.map(\.text)
            let failure = failures.isEmpty ? nil : failures.joined(separator: "; ")
            return Verdict(expectation: words, failure: failure, isFulfilled: failures.isEmpty)
        }
        if case .postgres(let postgres) = check.kind {
            verdicts += postgres.queries.indices.map { place in
                let failures = answer.rows[place].map { postgres.values(ofQuery: place, $0).failures.map(\.text) }
                return Verdict(
                    expectation: "query \(postgres.queries[place].name)", failure: failures?.first,
                    isFulfilled: failures?.isEmpty ?? false)
            }
        }
        self.verdicts = verdicts
    }

    private static func fetch(
        _ check: HealthCheck, _ fetcher: any Fetcher, _ clock: any TimeSource, _ readFile: Secret.FileReader
    ) -> HealthAnswer {
        let target = check.target
        do {
            var request = try target.request(reading: readFile)
            if let oauth2 = check.client.oauth2 {
                let asked = try oauth2.request(timeout: check.timeout, reading: readFile)
                let told = try once(asked, fetcher, clock)
                if let failure = told.failure { throw TransportError.unreachable("no token: \(failure.text)") }
                let token = try oauth2.token(status: told.status, body: told.body)
                request.headers.append(HTTPHeader("Authorization", token.authorization))
            }
            var answer = try once(request, fetcher, clock)
            guard answer.details.cause == .certificate, let asked = target.certificateRequest(after: answer) else {
                return answer
            }
            answer.details.certificateExpiry = try once(asked, fetcher, clock).details.certificateExpiry
            return answer
        } catch {
            var answer = HealthAnswer()
            answer.failure = HealthReport.Failure(.request, "the request cannot be made: \(error)")
            return answer
        }
    }

    private static func once(
        _ request: HTTPRequest, _ fetcher: any Fetcher, _ clock: any TimeSource
    ) throws(TransportError) -> HealthAnswer {
        let handle = try fetcher.prepare(request)
        defer { fetcher.discard(handle) }
        fetcher.start(handle)
        var found: HealthAnswer?
        // libcurl keeps the time; this bound is for a fetcher that does not.
        let end = clock.uptimeNanoseconds() + UInt64(request.timeout + 2000) * 1_000_000
        while found == nil, clock.uptimeNanoseconds() < end {
            fetcher.poll(for: 100) { result in found = HealthAnswer(result, result.body) }
        }
        guard let found else { throw .interrupted("timed out", requestWasSent: true) }
        return found
    }
}

extension Target {
    /// How to look at a certificate that was not trusted: when it ends is told all the same. Nothing is sent there. Nil
    /// when no time is left for it, or when it was another host's.
    func certificateRequest(after answer: HealthAnswer) -> HTTPRequest? {
        let left = timeout - Milliseconds(answer.durationSeconds * 1000)
        guard left >= 10, answer.details.redirects == 0, client.options.proxy == nil else { return nil }
        var request = HTTPRequest(url: address, timeout: left, unixSocket: unixSocket)
        request.purpose = .connection
        (request.options.insecureSkipVerify, request.options.serverName) = (true, client.options.serverName)
        return request
    }
}

extension HealthCheck {
    /// Each expectation as a check of its own, in words.
    var parts: [(words: String, check: HealthCheck)] {
        var bare = self
        (bare.statuses, bare.latency, bare.body, bare.texts, bare.headers) = (Array(100..<600), nil, [], [], [])
        (bare.certificateDays, bare.answers, bare.metrics) = (nil, [], [])
        bare.refusesRedirects = false
        bare.codes = DNSAnswer.knownCodes
        if case .postgres = kind { bare.kind = .tcp }
        var parts: [(words: String, check: HealthCheck)] = []
        func add(_ words: String, _ change: (inout HealthCheck) -> Void) {
            var part = bare
            change(&part)
            parts.append((words, part))
        }
        if case .http = kind {
            let wanted = statuses.isEmpty ? "200 to 299" : statuses.map(String.init).joined(separator: " or ")
            add("status: \(wanted)") { $0.statuses = statuses }
            if refusesRedirects { add("redirects: refuse") { $0.refusesRedirects = true } }
        }
        if case .dns = kind {
            add("rcode: \(codes.isEmpty ? "NOERROR" : codes.joined(separator: " or "))") { $0.codes = codes }
            for text in answers { add("answers: \(text)") { $0.answers = [text] } }
        }
        if let latency { add("latency: at most \(DurationText.format(latency))") { $0.latency = latency } }
        if let days = certificateDays {
            add("certificate: at least \(GoNumber.fixed(days)) days") { $0.certificateDays = days }
        }
        for header in headers {
            add("header \(header.name): \(header.value.map(\.description) ?? "missing")") { $0.headers = [header] }
        }
        for text in texts {
            add("body \(text.isWanted ? "holds" : "does not hold") \(text.text)") { $0.texts = [text] }
        }
        for condition in body { add("\(condition.path): \(condition.expectation)") { $0.body = [condition] } }
        for metric in metrics { add("\(metric.field) = \(metric.path)") { $0.metrics = [metric] } }
        return parts
    }
}
