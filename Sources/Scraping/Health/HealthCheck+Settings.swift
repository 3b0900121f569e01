internal import Basics
internal import Model
internal import SQL
public import Settings
internal import Transport

extension HealthCheck {
    /// The URL's schemes and what each is for.
    private static let schemes =
        "http://, https://, tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH, dns://SERVER/NAME?type=A, postgresql://, "
        + "redis://, rediss://, systemd:UNIT or icmp://HOST"

    /// Reads an item of `health_checks`.
    ///
    /// - Parameter blackboxNames: What `blackbox_names` is where the item does not say.
    public init(from map: SettingsMap, blackboxNames: Bool = false) throws(SettingsError) {
        name = try map.require("name")
        url = try map.require("url")
        guard !name.isEmpty else { throw map.error("name", "it is empty; give the check a name") }
        let address = try CheckAddress(url, in: map)
        (shownURL, instance) = (address.shown, address.instance)
        kind = .tcp
        interval = try map.takeDuration("interval", default: interval)
        timeout = try map.takeDuration("timeout") ?? min(timeout, interval)
        guard interval > 0, timeout > 0, timeout <= interval else {
            throw map.error("timeout", "must be above 0 and not above interval, \(DurationText.format(interval))")
        }
        labels = try map.take("labels", default: [:])
        for label in HealthReport.ownLabels where labels[label] != nil {
            throw map.error("labels", "'\(label)' is a label that checks set themselves; choose another name")
        }
        offersBlackboxNames = try map.take("blackbox_names", default: blackboxNames)
        kind = try readKind(address, map)
        looksUp = !address.isNumeric || client.options.proxy != nil || client.options.proxyFromEnvironment
        if let expect = try map.takeMap("expect") {
            try readExpectations(expect)
            try expect.finish()
        }
        if case .systemd = kind, body.isEmpty, let path = JSONPath("$.ActiveState") {
            body = [BodyExpectation(path: path, expectation: Expectation(anyOf: ["active"]))]
        }
        if hasDocument, let fields = try map.takeMap("metrics") {
            for field in fields.keys { metrics.append(try HealthCheck.metric(field, fields)) }
            try fields.finish()
        }
        try map.finish()
    }

    /// Whether what is looked at has fields.
    private var hasDocument: Bool {
        switch kind {
        case .http, .dns, .redis, .systemd: true
        case .tcp, .tls, .unix, .postgres, .icmp: false
        }
    }

    // MARK: What is looked at

    private mutating func readKind(_ address: CheckAddress, _ map: SettingsMap) throws(SettingsError) -> Kind {
        switch address.scheme {
        case "http", "https":
            client = try HTTPClientSettings(from: map, offersOAuth2: true)
            return .http(unixSocket: try map.takePath("unix_socket"))
        case "tcp": return .tcp
        case "tls":
            if let part = try map.takeMap("tls_config") { client.options = try HTTPOptions(tls: part) }
            return .tls
        case "unix": return .unix(path: address.path)
        case "dns": return .dns(try HealthCheck.dns(address, map))
        case "postgres", "postgresql": return .postgres(try HealthCheck.postgres(url, interval, timeout, map))
        case "redis", "rediss": return .redis(try HealthCheck.redis(address, map))
        case "systemd": return .systemd(unit: address.instance)
        case "icmp": return .icmp(PingProbe(host: address.host))
        default: throw map.error("url", "'\(address.scheme):' cannot be checked; write \(HealthCheck.schemes)")
        }
    }

    private static func dns(_ address: CheckAddress, _ map: SettingsMap) throws(SettingsError) -> DNSProbe {
        let name = String(address.path.drop { $0 == "/" })
        var type = "A"
        for part in address.query.split(separator: "&") {
            guard part.hasPrefix("type=") else {
                throw map.error("url", "'\(part.prefix(20))' means nothing here; only ?type=… may follow the name")
            }
            type = String(part.dropFirst(5))
        }
        guard let question = DNSQuestion(name: name, type: type), !name.isEmpty else {
            let known = DNSQuestion.types.map(\.name).joined(separator: ", ")
            throw map.error("url", "'\(name)' with the type '\(type)' cannot be asked for; types: \(known)")
        }
        return DNSProbe(host: address.host, port: address.port ?? 53, question: question)
    }

    private static func redis(_ address: CheckAddress, _ map: SettingsMap) throws(SettingsError) -> RedisProbe {
        var server = RedisSettings()
        (server.host, server.port) = (address.host, address.port ?? 6379)
        if let socket = try map.takePath("unix_socket") { server.unixSocket = socket }
        let database = address.path.drop { $0 == "/" }
        if !database.isEmpty {
            guard let number = Int(database), number >= 0 else {
                throw map.error(
                    "url", "'/\(database.prefix(20))' is no number of a database; write redis://HOST:6379/0")
            }
            server.database = number
        }
        server.username = try map.take("username")
        server.password = try map.takeSecret("password")
        guard server.username == nil || server.password != nil else { throw map.missing("password_file") }
        var probe = RedisProbe(server)
        probe.isEncrypted = address.scheme == "rediss"
        if probe.isEncrypted, let part = try map.takeMap("tls_config") { probe.options = try HTTPOptions(tls: part) }
        return probe
    }

    private static func postgres(
        _ url: String, _ interval: Milliseconds, _ timeout: Milliseconds, _ map: SettingsMap
    ) throws(SettingsError) -> PostgresCheck {
        let holdsPassword: Bool
        do throws(SQLError) {
            holdsPassword = try PostgresProbe.holdsPassword(url)
        } catch {
            throw map.error("url", "it cannot be read; write postgresql://USER@HOST:PORT/DATABASE")
        }
        guard !holdsPassword else {
            throw map.error("url", "it holds a password, which would be seen; use password_file")
        }
        var check = PostgresCheck(queries: [])
        check.username = try map.take("username")
        check.password = try map.takeSecret("password")
        for part in try map.takeMaps("queries") {
            let query = try PostgresCheck.Query(from: part, interval, timeout)
            guard !check.queries.contains(where: { $0.name == query.name }) else {
                throw part.error("name", "another query has the name '\(query.name)' already; choose another")
            }
            check.queries.append(query)
        }
        guard check.queries.count <= PostgresCheck.queryLimit else {
            throw map.error("queries", "at most \(PostgresCheck.queryLimit) may be given; make a second check")
        }
        return check
    }

    // MARK: What is expected

    private mutating func readExpectations(_ expect: SettingsMap) throws(SettingsError) {
        latency = try expect.takeDuration("latency")
        switch kind {
        case .http:
            try readStatuses(expect)
            for (key, isWanted) in [("text", true), ("not_text", false)] {
                for text in try HealthCheck.texts(key, expect) {
                    texts.append(TextExpectation(text: TextPattern(plain: text), isWanted: isWanted))
                }
            }
            for (key, isWanted) in [("matches", true), ("not_matches", false)] {
                for text in try HealthCheck.texts(key, expect) {
                    let pattern = try HealthCheck.pattern(key, expect) { () throws(PatternError) in
                        try TextPattern(expression: text)
                    }
                    texts.append(TextExpectation(text: pattern, isWanted: isWanted))
                }
            }
            if let part = try expect.takeMap("headers") { try readHeaders(part) }
            if let text = try expect.take("redirects", as: String.self) {
                guard text == "follow" || text == "refuse" else {
                    throw expect.error("redirects", "'\(text)' is not one of 'follow', 'refuse'")
                }
                refusesRedirects = text == "refuse"
                if refusesRedirects { client.options.followRedirects = false }
            }
        case .dns:
            codes = try HealthCheck.texts("rcode", expect).map { $0.uppercased() }
            for code in codes where !DNSAnswer.knownCodes.contains(code) {
                let known = DNSAnswer.knownCodes.joined(separator: ", ")
                throw expect.error("rcode", "'\(code)' is no answer of a name server; known: \(known)")
            }
            for text in try HealthCheck.texts("answers", expect) {
                answers.append(
                    try HealthCheck.pattern("answers", expect) { () throws(PatternError) in
                        try TextPattern(slashed: text)
                    })
            }
        case .tcp, .tls, .unix, .postgres, .redis, .systemd, .icmp: break
        }
        if url.hasPrefix("https:") || kind == .tls || url.hasPrefix("rediss:") {
            certificateDays = try expect.take("certificate_days")
        }
        if hasDocument, let conditions = try expect.takeMap("body") { body = try HealthCheck.conditions(conditions) }
    }

    private mutating func readStatuses(_ expect: SettingsMap) throws(SettingsError) {
        guard let node = expect.takeNode("status") else { return }
        // One number or a list of them.
        let nodes = (try? node.list()) ?? [node]
        statuses = try nodes.map { (node) throws(SettingsError) in try Int.read(node) }
        guard statuses.allSatisfy((100..<600).contains) else {
            throw expect.error("status", "an HTTP status is a number from 100 to 599")
        }
    }

    private mutating func readHeaders(_ part: SettingsMap) throws(SettingsError) {
        for name in part.keys {
            guard let text = try part.take(name, as: String.self) else {
                headers.append(HeaderExpectation(name: name.lowercased(), value: nil))
                continue
            }
            let value = try HealthCheck.pattern(name, part) { () throws(PatternError) in
                try TextPattern(slashed: text)
            }
            headers.append(HeaderExpectation(name: name.lowercased(), value: value))
        }
        try part.finish()
    }

    /// One text or a list of them.
    private static func texts(_ key: String, _ map: SettingsMap) throws(SettingsError) -> [String] {
        guard let node = map.takeNode(key) else { return [] }
        let nodes = (try? node.list()) ?? [node]
        return try nodes.map { (node) throws(SettingsError) in try node.text() }
    }

    private static func pattern(
        _ key: String, _ map: SettingsMap, _ make: () throws(PatternError) -> TextPattern
    ) throws(SettingsError) -> TextPattern {
        do throws(PatternError) { return try make() } catch { throw map.error(key, "\(error); mend the expression") }
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

    /// `$.path`, or `{path: $.path, values: {healthy: 1}}`.
    private static func metric(_ field: String, _ fields: SettingsMap) throws(SettingsError) -> Metric {
        guard let node = fields.takeNode(field) else { throw fields.missing(field) }
        guard let part = try? node.map() else {
            return Metric(field: field, path: try path(try node.text(), fields, field))
        }
        let place = try path(try part.require("path"), part, "path")
        let values = try part.takeMap("values")
        var numbers: [String: Double] = [:]
        for key in values?.keys ?? [] { numbers[key] = try values?.require(key) }
        try values?.finish()
        try part.finish()
        return Metric(field: field, path: place, values: values == nil ? nil : numbers)
    }

    private static func path(_ text: String, _ map: SettingsMap, _ key: String) throws(SettingsError) -> JSONPath {
        guard let path = JSONPath(text) else {
            throw map.error(key, "'\(text)' is no JSON path; write it as $.services.database or $.items[0]")
        }
        return path
    }
}

extension PostgresCheck.Query {
    /// Statements that read; the transaction refuses what writes all the same.
    private static let verbs = ["SELECT", "WITH", "VALUES", "TABLE"]

    init(from map: SettingsMap, _ every: Milliseconds, _ limit: Milliseconds) throws(SettingsError) {
        name = try map.require("name")
        guard !name.isEmpty else { throw map.error("name", "it is empty; give the query a name") }
        var sql: String = try map.require("query")
        while let last = sql.last, last.isWhitespace || last == ";" { sql.removeLast() }
        let verb = sql.drop { $0.isWhitespace || $0 == "(" }.prefix { $0.isLetter }.uppercased()
        guard PostgresCheck.Query.verbs.contains(verb) else {
            let known = PostgresCheck.Query.verbs.joined(separator: ", ")
            throw map.error("query", "it is no query that reads; it must begin with one of \(known)")
        }
        interval = try map.takeDuration("interval", default: every)
        guard interval >= every else {
            throw map.error("interval", "must not be below the check's own, \(DurationText.format(every))")
        }
        let timeout = try map.takeDuration("timeout", default: limit)
        guard timeout > 0, timeout <= limit else {
            throw map.error("timeout", "must be above 0 and not above the check's own, \(DurationText.format(limit))")
        }
        let rows = try map.take("row_limit", default: 100)
        guard (1...10_000).contains(rows) else { throw map.error("row_limit", "is a number from 1 to 10000") }
        statement = PostgresProbe.Query(sql: sql, rowLimit: rows, timeout: timeout)
        labels = try map.take("labels", default: [String]())
        metrics = try map.take("metrics", default: [String]())
        guard !metrics.isEmpty else { throw map.error("metrics", "name at least one column whose number is recorded") }
        for label in labels where HealthReport.ownLabels.contains(label) || !label.isLegacyLabelName {
            throw map.error("labels", "'\(label)' cannot be a label here; rename the column by AS")
        }
        try map.finish()
    }
}

/// A check's URL by its parts.
struct CheckAddress {
    var scheme: String
    /// The host without brackets, and the port.
    var host = "", port: Int?
    /// With its slash; without the query.
    var path = ""
    var query = ""
    /// Without what may be secret.
    var shown: String
    /// The `instance` label.
    var instance: String

    /// Whether there is no name to look up.
    var isNumeric: Bool {
        scheme == "unix" || host.contains(":")
            || !host.isEmpty && host.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E }
    }

    /// Schemes that need a port in the URL.
    private static let needPort: Set = ["tcp", "tls"]

    init(_ url: String, in map: SettingsMap) throws(SettingsError) {
        guard let colon = url.firstIndex(of: ":") else {
            throw map.error("url", "it has no scheme; write http://HOST/PATH or tcp://HOST:PORT")
        }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw map.error("url", "it holds a blank or a control character; write %20 or take it out")
        }
        scheme = url[..<colon].lowercased()
        let rest = url[url.index(after: colon)...]
        if scheme == "systemd" {
            let unit = String(rest.hasPrefix("//") ? rest.dropFirst(2) : rest)
            let isPlain = unit.utf8.allSatisfy { $0.isASCIIWord || ":-_.\\@".utf8.contains($0) }
            guard !unit.isEmpty, isPlain, unit.contains("."), unit.utf8.count <= 255 else {
                throw map.error("url", "it names no unit; write systemd:nginx.service")
            }
            (shown, instance) = ("systemd:\(unit)", unit)
            return
        }
        guard rest.hasPrefix("//") else {
            throw map.error("url", "'//' is missing behind '\(scheme):'")
        }
        let behind = rest.dropFirst(2)
        let authority = behind.prefix { !"/?#".contains($0) }
        let tail = behind.dropFirst(authority.count).prefix { $0 != "#" }
        path = String(tail.prefix { $0 != "?" })
        query = String(tail.dropFirst(path.count).dropFirst())
        let isDatabase = scheme.hasPrefix("postgres")
        guard isDatabase || !authority.contains("@") else {
            let cure = scheme.hasPrefix("redis") ? "username and password_file" : "basic_auth"
            throw map.error("url", "it holds credentials, which would show in labels; use \(cure)")
        }
        if scheme == "unix" {
            guard authority.isEmpty, path.count > 1 else { throw map.error("url", "write unix:///run/NAME.sock") }
            (shown, instance) = ("unix://\(path)", path)
            return
        }
        if isDatabase {
            // libpq reads it; what it cannot read is told there, unprinted.
            let place = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
            let known = try? PostgresDatabase.address(of: url)
            (shown, instance) = (
                known ?? "\(scheme)://", String(place.prefix { $0 != "?" }).replacing("%2F", with: "/")
            )
            return
        }
        guard let (host, port) = CheckAddress.split(String(authority)), !host.isEmpty else {
            throw map.error("url", "it has no host; write \(scheme)://HOST")
        }
        guard port != nil || !CheckAddress.needPort.contains(scheme) else {
            throw map.error("url", "the port is missing; write \(scheme)://HOST:PORT")
        }
        (self.host, self.port, instance) = (host, port, String(authority))
        shown = "\(scheme)://\(authority)\(path)"
        if scheme == "dns" { shown += query.isEmpty ? "" : "?\(query)" } else if !query.isEmpty { shown += "?…" }
    }

    /// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT`; nil when it is none of them.
    private static func split(_ text: String) -> (host: String, port: Int?)? {
        var (host, behind) = (text[...], ""[...])
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            (host, behind) = (text[text.index(after: text.startIndex)..<end], text[text.index(after: end)...])
        } else if let colon = text.firstIndex(of: ":") {
            (host, behind) = (text[..<colon], text[colon...])
        }
        guard !behind.isEmpty else { return (String(host), nil) }
        guard behind.hasPrefix(":"), let port = Int(behind.dropFirst()), (1...65535).contains(port) else { return nil }
        return (String(host), port)
    }
}
