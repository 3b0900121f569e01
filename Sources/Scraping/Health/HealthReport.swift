public import Basics
public import Model
public import SQL
public import Transport

/// Why a check failed, as a label: few, and always the same.
public enum HealthReason: String, Sendable, Hashable, CaseIterable {
    /// There is no answer: see `FetchCause`.
    case request, resolve, refused, connect, timeout, tls, certificate, redirect, interrupted, answer, authentication
    case tooLarge = "too_large"
    /// No thread was free to look, or the look before still hangs.
    case busy
    /// The answer is not what was expected: its status, headers, text or document, how long it took.
    case status, header, body, latency
    /// A field that is to be recorded is missing or is no number; a query failed.
    case metric, query

    /// The same word.
    init(_ cause: FetchCause) { self = HealthReason(rawValue: cause.rawValue) ?? .answer }

    /// Whether the other side serves all the same.
    var isMild: Bool {
        switch self {
        case .header, .body, .latency, .metric, .query: true
        case .request, .resolve, .refused, .connect, .timeout, .tls, .certificate, .redirect, .interrupted, .answer,
            .authentication, .tooLarge, .busy, .status:
            false
        }
    }
}

/// What came back from a look, before it is judged.
public struct HealthAnswer: Sendable {
    /// The answer's status over HTTP; else 0.
    public var status = 0
    /// What was read over HTTP, and the document where it is known already.
    public var body: [UInt8] = [], document: JSON?
    /// From the start to the end.
    public var durationSeconds = 0.0
    /// How it went.
    public var details = FetchDetails()
    /// Why there is no answer: the word, and a clause.
    public var failure: HealthReport.Failure?
    /// A name server's answer.
    public var dns: DNSAnswer?
    /// What the queries found, by their places in the check.
    public var rows: [Int: Result<[SQLRow], SQLError>] = [:]

    /// Nothing yet.
    public init() {}
}

/// What a check found.
public struct HealthReport: Sendable, Hashable {
    /// An expectation that was not fulfilled.
    public struct Failure: Sendable, Hashable {
        /// For who counts, and for who reads.
        public var reason: HealthReason, text: String

        /// A failure by its parts.
        public init(_ reason: HealthReason, _ text: String) { (self.reason, self.text) = (reason, text) }
    }
    /// A value that is recorded.
    public struct Value: Sendable, Hashable {
        /// The `field` label, and further ones.
        public var field: String, labels: [Label]
        /// As a number, and as the document has it.
        public var value: Double, shown: JSON

        /// A value by its parts.
        public init(_ field: String, labels: [Label] = [], _ value: Double, shown: JSON? = nil) {
            (self.field, self.labels, self.value, self.shown) = (field, labels, value, shown ?? .number(value))
        }
        /// By the name and labels.
        public func hash(into hasher: inout Hasher) {
            hasher.combine(field)
            hasher.combine(labels)
        }
    }
    /// What stands behind the names of blackbox_exporter alone.
    struct Further: Sendable, Hashable {
        var failedExpression = false
        var bodyBytes = 0, contentLength = -1.0
        var answers = 0, authorities = 0, additionals = 0, serial: UInt32?
    }

    /// Why it failed; empty when all is well.
    public var failures: [Failure] = []
    /// Values found.
    public var values: [Value] = []
    /// The answer's status over HTTP, 0 without one.
    public var status = 0
    /// From the start to the end, and how it went.
    public var durationSeconds = 0.0, details = FetchDetails()
    /// The document's own word on how things are, where it says one.
    public var claim: String?
    var further = Further()

    /// Whether every expectation is fulfilled.
    public var isUp: Bool { failures.isEmpty }
    /// The reasons, each once, in their order.
    public var reasons: [HealthReason] {
        failures.map(\.reason).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
    /// All of them on one line.
    public var sentence: String { failures.map(\.text).joined(separator: "; ") }

    /// `healthy`; `degraded` when it serves but not as expected; else `unhealthy`.
    public var standing: String {
        if isUp { return "healthy" }
        let claimsWorse = ["unhealthy", "down", "error", "critical", "failed", "inactive"].contains(claim?.lowercased())
        return claimsWorse || failures.contains { !$0.reason.isMild } ? "unhealthy" : "degraded"
    }

    /// A check that came to nothing.
    public init() {}

    /// A check that could not be made.
    init(_ reason: HealthReason, _ text: String, durationSeconds: Double = 0) {
        failures = [Failure(reason, text)]
        self.durationSeconds = durationSeconds
    }
}

extension HealthCheck {
    /// Judges an answer, whatever its status: pure.
    public func judge(_ answer: HealthAnswer, at now: Timestamp) -> HealthReport {
        var report = HealthReport()
        (report.status, report.durationSeconds, report.details) = (
            answer.status, answer.durationSeconds, answer.details
        )
        if !looksUp { report.details.phases.removeAll { $0.phase == .resolve } }
        if let failure = answer.failure {
            report.failures.append(failure)
            // What was seen of a certificate that is not trusted is told as well.
            return report
        }
        if case .http = kind { judgeHTTP(answer, &report) }
        if let dns = answer.dns { judge(dns, &report) }
        if let certificateDays {
            let days = answer.details.certificateExpiry.map { Double($0 - now) / 86_400_000 }
            if let days, days < certificateDays {
                let left = GoNumber.fixed((days * 10).rounded() / 10)
                report.fail(
                    .certificate,
                    "the certificate ends in \(left) days, expected at least \(GoNumber.fixed(certificateDays))")
            } else if days == nil {
                report.fail(.certificate, "the server showed no certificate")
            }
        }
        if let latency, answer.durationSeconds * 1000 > Double(latency) {
            let taken = Milliseconds((answer.durationSeconds * 1000).rounded())
            report.fail(.latency, "took \(taken)ms, expected at most \(DurationText.format(latency))")
        }
        judgeDocument(answer, &report)
        if case .postgres(let postgres) = kind {
            for (place, result) in answer.rows.sorted(by: { $0.key < $1.key }) {
                let (values, failures) = postgres.values(ofQuery: place, result)
                report.values += values
                report.failures += failures
            }
        }
        return report
    }

    private func judgeHTTP(_ answer: HealthAnswer, _ report: inout HealthReport) {
        report.further.bodyBytes = answer.body.count
        report.further.contentLength =
            answer.details.headers.first { $0.name == "content-length" }.flatMap { Double($0.value) } ?? -1
        let status = answer.status
        if refusesRedirects, (300..<400).contains(status), status != 304 {
            let place = answer.details.redirect.map { " to \($0.prefix { $0 != "?" && $0 != "#" }.prefix(120))" } ?? ""
            report.fail(.redirect, "it redirects\(place), which is refused")
        } else if statuses.isEmpty ? !(200..<300).contains(status) : !statuses.contains(status) {
            let wanted = statuses.isEmpty ? "200 to 299" : statuses.map(String.init).joined(separator: " or ")
            report.fail(.status, "status \(status), expected \(wanted)")
        }
        for header in headers {
            let found = answer.details.headers.filter { $0.name == header.name }.map(\.value)
            if let value = header.value {
                guard !found.contains(where: value.isFulfilled) else { continue }
                // What another side sent may be long, and may be a secret.
                report.fail(
                    .header,
                    found.isEmpty
                        ? "the header \(header.name) is missing"
                        : "the header \(header.name) is another, expected \(value)")
                if value.isExpression { report.further.failedExpression = true }
            } else if !found.isEmpty {
                report.fail(.header, "the header \(header.name) is there, expected none")
            }
        }
        guard !texts.isEmpty else { return }
        let text = String(decoding: answer.body, as: UTF8.self)
        for expectation in texts where expectation.text.isFound(in: text) != expectation.isWanted {
            let what = expectation.text.isExpression ? "\(expectation.text)" : expectation.text.description.goQuoted
            report.fail(
                .body, expectation.isWanted ? "the body does not hold \(what)" : "the body holds \(what)")
            if expectation.text.isExpression { report.further.failedExpression = true }
        }
    }

    private func judge(_ answer: DNSAnswer, _ report: inout HealthReport) {
        report.further.answers = answer.records.count
        (report.further.authorities, report.further.additionals) = (answer.authorityCount, answer.additionalCount)
        report.further.serial = answer.serial
        let wanted = codes.isEmpty ? ["NOERROR"] : codes
        guard wanted.contains(answer.code) else {
            return report.fail(.status, "answered \(answer.code), expected \(wanted.joined(separator: " or "))")
        }
        guard case .dns(let probe) = kind else { return }
        let values = answer.records.filter { $0.type == probe.question.typeName }.map(\.value)
        if values.isEmpty, codes.isEmpty { report.fail(.body, "there is no record of type \(probe.question.typeName)") }
        for expected in answers where !values.contains(where: expected.isFulfilled) {
            report.fail(.body, "no record is \(expected)")
        }
    }

    private func judgeDocument(_ answer: HealthAnswer, _ report: inout HealthReport) {
        guard !body.isEmpty || !metrics.isEmpty else { return }
        let document: JSON
        if let known = answer.document {
            document = known
        } else {
            do throws(JSONError) {
                document = try JSON(parsing: answer.body)
            } catch {
                return report.fail(.body, "the body is no JSON: \(error)")
            }
        }
        let claim = document["status"]?.string ?? document["ActiveState"]?.string
        report.claim = claim.map { String($0.prefix(40)) }
        for condition in body {
            guard let value = condition.path.value(in: document) else {
                report.fail(.body, "\(condition.path) is missing")
                continue
            }
            if !condition.expectation.isFulfilled(by: value) {
                report.fail(
                    .body, "\(condition.path) is \(HealthCheck.shown(value)), expected \(condition.expectation)")
            }
        }
        for metric in metrics { record(metric, of: document, &report) }
    }

    /// A value for messages: short, and an object by its kind alone.
    private static func shown(_ value: JSON) -> String {
        switch value {
        case .object, .array: value.kind
        case .null, .bool, .number, .string: String(value.text.prefix(80))
        }
    }

    private func record(_ metric: Metric, of document: JSON, _ report: inout HealthReport) {
        guard let value = metric.path.value(in: document) else {
            return report.fail(.metric, "\(metric.path) is missing")
        }
        if let values = metric.values {
            // Texts, but also numbers and booleans as they are written.
            let text = value.string ?? value.text
            guard let number = values[text] else {
                return report.fail(.metric, "\(metric.path) is \(HealthCheck.shown(value)), which has no number here")
            }
            return report.values.append(.init(metric.field, number, shown: value))
        }
        switch value {
        case .number(let number): report.values.append(.init(metric.field, number, shown: value))
        case .bool(let flag): report.values.append(.init(metric.field, flag ? 1 : 0, shown: value))
        case .null, .string, .array, .object:
            report.fail(.metric, "\(metric.path) is \(value.kind), expected a number or a boolean")
        }
    }
}

extension HealthReport {
    mutating func fail(_ reason: HealthReason, _ text: String) { failures.append(Failure(reason, text)) }
}

extension PostgresCheck {
    /// What the rows of a query give: label columns and numbers; two rows with the same labels are a failure.
    func values(
        ofQuery place: Int, _ result: Result<[SQLRow], SQLError>
    ) -> (values: [HealthReport.Value], failures: [HealthReport.Failure]) {
        let query = queries[place]
        let rows: [SQLRow]
        switch result {
        case .success(let found): rows = found
        case .failure(let error):
            return ([], [.init(.query, "the query '\(query.name)' failed: \(error.message)")])
        }
        var (values, failures): ([HealthReport.Value], [HealthReport.Failure]) = ([], [])
        func fail(_ text: String) { failures.append(.init(.query, "the query '\(query.name)': \(text)")) }
        if let first = rows.first {
            for column in query.labels + query.metrics where !first.has(column) {
                fail("it has no column '\(column)'")
                return (values, failures)
            }
        }
        var seen: Set<[Label]> = []
        for row in rows {
            let labels = query.labels.map { Label($0, PostgresCheck.text(row[$0])) } + [Label("query", query.name)]
            guard seen.insert(labels).inserted else {
                fail("two rows have the same labels; add a column to labels, or group by them")
                return (values, failures)
            }
            for column in query.metrics {
                guard let number = row[column].number else {
                    fail("the column '\(column)' is \(row[column].kind), expected a number")
                    return (values, failures)
                }
                values.append(.init(column, labels: labels, number))
            }
        }
        return (values, failures)
    }

    private static func text(_ value: SQLValue) -> String {
        switch value {
        case .null, .blob: ""
        case .integer(let number): "\(number)"
        case .real(let number): "\(number)"
        case .text(let text): String(text.prefix(200))
        }
    }
}
