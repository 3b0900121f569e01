public import Basics
public import Model
public import SQL
public import Settings
public import Transport

/// An item of `health_checks`: something that is looked at every interval, and what is expected of it.
public struct HealthCheck: Sendable, Hashable {
    /// What is looked at; the URL tells.
    public indirect enum Kind: Sendable, Hashable {
        /// A document over HTTP or HTTPS, perhaps through a Unix socket.
        case http(unixSocket: String?)
        /// A connection alone: over TCP, with TLS, to a Unix socket.
        case tcp, tls
        case unix(path: String)
        /// A name server's answer.
        case dns(DNSProbe)
        /// `SELECT 1`, and queries.
        case postgres(PostgresCheck)
        /// `PING`, and the fields of `INFO`.
        case redis(RedisProbe)
        /// A unit's properties.
        case systemd(unit: String)
        /// An echo.
        case icmp(PingProbe)

        /// Whether the loop's own thread fetches it, by libcurl; else a thread that may block looks at it.
        var isFetched: Bool {
            switch self {
            case .http, .tcp, .tls, .unix: true
            case .dns, .postgres, .redis, .systemd, .icmp: false
            }
        }
    }

    /// A field of the document that becomes `health_check_value{field=…}`.
    public struct Metric: Sendable, Hashable {
        /// The `field` label.
        public var field: String
        /// Where its value stands.
        public var path: JSONPath
        /// What its texts mean as numbers; without it the value is a number or a boolean.
        public var values: [String: Double]?
    }
    /// A condition on the document.
    public struct BodyExpectation: Sendable, Hashable {
        /// Where the value stands.
        public var path: JSONPath
        /// What it must be.
        public var expectation: Expectation
    }
    /// A condition on the answer's text.
    public struct TextExpectation: Sendable, Hashable {
        /// What is looked for.
        public var text: TextPattern
        /// Whether it must be found, or must not.
        public var isWanted: Bool
    }
    /// A condition on a header of the answer.
    public struct HeaderExpectation: Sendable, Hashable {
        /// Its name in lower case.
        public var name: String
        /// What it must be; nil: it must not be there.
        public var value: TextPattern?
    }

    /// The `check` label, unique.
    public var name: String
    /// Where it is; it may hold a token, so what is shown is `shownURL`.
    public var url: String
    /// What is looked at.
    public var kind: Kind
    /// The URL without what may be secret.
    public var shownURL: String
    /// The `instance` label.
    public var instance: String
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
    /// Conditions on the text and the headers.
    public var texts: [TextExpectation] = [], headers: [HeaderExpectation] = []
    /// How many days the certificate must still hold.
    public var certificateDays: Double?
    /// Whether a redirect fails.
    public var refusesRedirects = false
    /// What a name server must answer with; and records that must be among the answer's.
    public var codes: [String] = [], answers: [TextPattern] = []
    /// Fields to record, whatever the status.
    public var metrics: [Metric] = []
    /// Whether there is a name to look up, so that `resolve` is a phase of it.
    var looksUp = true
    /// Whether `probe_success` and its like are recorded too, as blackbox_exporter names them.
    public var offersBlackboxNames = false
    /// Authentication, TLS, proxy.
    public var client = HTTPClientSettings()

    /// Documents above this fail the check.
    public static let bodyLimit = 1 << 20
}

/// What is asked of a PostgreSQL server.
public struct PostgresCheck: Sendable, Hashable {
    /// A query whose columns become labels and values.
    public struct Query: Sendable, Hashable {
        /// The `query` label.
        public var name: String
        /// The statement and its limits.
        public var statement: PostgresProbe.Query
        /// Columns that become labels, and columns that become `health_check_value{field="COLUMN"}`.
        public var labels: [String], metrics: [String]
        /// How often it is run; in between its values stay.
        public var interval: Milliseconds
    }

    /// In place of the URL's, and of libpq's own.
    public var username: String?, password: Secret?
    /// Run in this order.
    public var queries: [Query]

    /// More queries are refused.
    static let queryLimit = 100
}

/// A text to compare with: as it is, or a regular expression.
public struct TextPattern: Sendable, Hashable, CustomStringConvertible {
    private enum Form: Sendable {
        case plain
        case search(SearchPattern)
    }

    private let form: Form
    /// As it was written, an expression between slashes.
    public let description: String
    private let text: String

    /// A text as it is.
    public init(plain text: String) { (self.text, description, form) = (text, text, .plain) }

    /// An expression, which may match anywhere in a text.
    public init(expression text: String) throws(PatternError) {
        (self.text, description) = (text, "/\(text)/")
        form = .search(try SearchPattern(text))
    }

    /// `/…/` is an expression, all else a text as it is.
    init(slashed text: String) throws(PatternError) {
        guard text.count >= 2, text.hasPrefix("/"), text.hasSuffix("/") else {
            self.init(plain: text)
            return
        }
        try self.init(expression: String(text.dropFirst().dropLast()))
    }

    /// Whether a text is this one, or is matched.
    public func isFulfilled(by other: String) -> Bool {
        if case .search(let pattern) = form { pattern.isFound(in: other) } else { other == text }
    }
    /// Whether it is found in a text.
    public func isFound(in other: String) -> Bool {
        if case .search(let pattern) = form { pattern.isFound(in: other) } else { other.contains(text) }
    }

    /// By how it was written.
    public static func == (left: TextPattern, right: TextPattern) -> Bool {
        left.description == right.description
    }
    /// By how it was written.
    public func hash(into hasher: inout Hasher) { hasher.combine(description) }
}

extension TextPattern {
    /// Whether it is an expression, for who counts those that failed.
    var isExpression: Bool { if case .search = form { true } else { false } }
}
