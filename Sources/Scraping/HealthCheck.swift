public import Basics
public import Settings
public import Transport

/// An item of `health_checks`: a service's own document, read every interval.
public struct HealthCheck: Sendable, Hashable {
    /// A field of the document that becomes `health_check_value{field=…}`.
    public struct Metric: Sendable, Hashable {
        /// The `field` label.
        public var field: String
        /// Where its value stands.
        public var path: JSONPath
    }
    /// A condition on the document.
    public struct BodyExpectation: Sendable, Hashable {
        /// Where the value stands.
        public var path: JSONPath
        /// What it must be.
        public var expectation: Expectation
    }

    /// The `check` label, unique.
    public var name: String
    /// `http://` or `https://`.
    public var url: String
    /// 15 s and 5 s by default.
    public var interval: Milliseconds = 15_000, timeout: Milliseconds = 5000
    /// Labels of all its series.
    public var labels: [String: String] = [:]
    /// Statuses that are right; 200 to 299 when none is given.
    public var statuses: [Int] = []
    /// The longest it may take.
    public var latency: Milliseconds?
    /// Conditions on the document.
    public var body: [BodyExpectation] = []
    /// Fields to record, whatever the status.
    public var metrics: [Metric] = []
    /// Authentication, TLS, proxy.
    public var client = HTTPClientSettings()

    /// A check with the defaults.
    public init(name: String, url: String) { (self.name, self.url) = (name, url) }

    /// Documents above this fail the check.
    public static let bodyLimit = 1 << 20
}

extension HealthCheck {
    /// Reads an item of `health_checks`.
    public init(from map: SettingsMap) throws(SettingsError) {
        self.init(name: try map.require("name"), url: try map.require("url"))
        guard !name.isEmpty else { throw map.error("name", "it is empty; give the check a name") }
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else {
            throw map.error("url", "'\(url)' cannot be checked; write http://… or https://…")
        }
        guard !url.drop(while: { $0 != "/" }).dropFirst(2).prefix(while: { $0 != "/" }).contains("@") else {
            throw map.error("url", "it holds credentials, which would show in labels; use basic_auth")
        }
        interval = try map.takeDuration("interval", default: interval)
        timeout = try map.takeDuration("timeout") ?? min(timeout, interval)
        guard interval > 0, timeout > 0, timeout <= interval else {
            throw map.error("timeout", "must be above 0 and not above interval, \(DurationText.format(interval))")
        }
        labels = try map.take("labels", default: [:])
        client = try HTTPClientSettings(from: map, offersOAuth2: true)
        if let expect = try map.takeMap("expect") {
            if let node = expect.takeNode("status") {
                // One number or a list of them.
                let nodes = (try? node.list()) ?? [node]
                statuses = try nodes.map { (node) throws(SettingsError) in try Int.read(node) }
                guard statuses.allSatisfy((100..<600).contains) else {
                    throw expect.error("status", "an HTTP status is a number from 100 to 599")
                }
            }
            latency = try expect.takeDuration("latency")
            if let conditions = try expect.takeMap("body") { body = try HealthCheck.conditions(conditions) }
            try expect.finish()
        }
        if let fields = try map.takeMap("metrics") {
            for field in fields.keys {
                let text: String = try fields.require(field)
                metrics.append(Metric(field: field, path: try HealthCheck.path(text, fields, field)))
            }
            try fields.finish()
        }
        try map.finish()
    }

    private static func conditions(_ map: SettingsMap) throws(SettingsError) -> [BodyExpectation] {
        var conditions: [BodyExpectation] = []
        for key in map.keys {
            let path = try path(key, map, key)
            guard let node = map.takeNode(key) else {
                conditions.append(BodyExpectation(path: path, expectation: Expectation(anyOf: ["null"])))
                continue
            }
            // One value, or a list of which any will do.
            if let nodes = try? node.list() {
                let texts = try nodes.map { (node) throws(SettingsError) in try node.text() }
                conditions.append(BodyExpectation(path: path, expectation: Expectation(anyOf: texts)))
                continue
            }
            let text = try node.text()
            guard let expectation = Expectation(text) else {
                throw map.error(key, "'\(text)' cannot be compared; write a number behind <, <=, > or >=")
            }
            conditions.append(BodyExpectation(path: path, expectation: expectation))
        }
        try map.finish()
        return conditions
    }

    private static func path(_ text: String, _ map: SettingsMap, _ key: String) throws(SettingsError) -> JSONPath {
        guard let path = JSONPath(text) else {
            throw map.error(key, "'\(text)' is no JSON path; write it as $.services.database or $.items[0]")
        }
        return path
    }
}

/// What a check found.
public struct HealthReport: Sendable, Hashable {
    /// Why it failed, one clause each; empty when all is well.
    public var failures: [String] = []
    /// Fields found, with their values as numbers.
    public var values: [(field: String, value: Double)] = []

    /// Whether every expectation is fulfilled.
    public var isUp: Bool { failures.isEmpty }

    /// By all parts.
    public static func == (left: HealthReport, right: HealthReport) -> Bool {
        left.failures == right.failures && left.values.elementsEqual(right.values) { $0 == $1 }
    }
    /// By the failures.
    public func hash(into hasher: inout Hasher) { hasher.combine(failures) }
}

extension HealthCheck {
    /// Judges an answer, whatever its status: pure.
    public func judge(status: Int, body bytes: [UInt8], durationSeconds: Double, error: TransportError?) -> HealthReport
    {
        var report = HealthReport()
        if let error {
            report.failures.append(error.description)
            return report
        }
        if statuses.isEmpty ? !(200..<300).contains(status) : !statuses.contains(status) {
            let wanted = statuses.isEmpty ? "200 to 299" : statuses.map(String.init).joined(separator: " or ")
            report.failures.append("status \(status), expected \(wanted)")
        }
        if let latency, durationSeconds * 1000 > Double(latency) {
            let taken = Milliseconds((durationSeconds * 1000).rounded())
            report.failures.append("took \(taken)ms, expected at most \(DurationText.format(latency))")
        }
        guard !body.isEmpty || !metrics.isEmpty else { return report }
        let document: JSON
        do throws(JSONError) {
            document = try JSON(parsing: bytes)
        } catch {
            report.failures.append("the body is no JSON: \(error)")
            return report
        }
        for condition in body {
            guard let value = condition.path.value(in: document) else {
                report.failures.append("\(condition.path) is missing")
                continue
            }
            if !condition.expectation.isFulfilled(by: value) {
                report.failures.append(
                    "\(condition.path) is \(value.text.prefix(80)), expected \(condition.expectation)")
            }
        }
        for metric in metrics {
            guard let value = metric.path.value(in: document) else {
                report.failures.append("\(metric.path) is missing")
                continue
            }
            switch value {
            case .number(let number): report.values.append((metric.field, number))
            case .bool(let flag): report.values.append((metric.field, flag ? 1 : 0))
            default: report.failures.append("\(metric.path) is \(value.kind), expected a number or a boolean")
            }
        }
        return report
    }
}
