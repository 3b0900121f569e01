internal import Alerting
public import Basics
internal import Model
internal import Settings
internal import Synchronization
public import Transport

/// What every channel over HTTP has: who to be, how long to wait, how fast to send.
public struct ChannelClient: Sendable {
    /// `http_config`.
    public var http = HTTPClientSettings()
    /// The longest a try may take. Default: 10 s.
    public var timeout: Milliseconds = 10_000
    /// `rate_limit`, in place of the kind's own rate.
    public var rate: SendingRate?
    /// What variables gave to the entry, cut out of what is told like its secrets.
    private(set) var variables: [Secret] = []
    /// The token of `http.oauth2`; kept while these settings are in force.
    let tokens = Mutexed<OAuth2Tokens?>(nil)

    /// The defaults.
    public init() {}

    init(from map: SettingsMap, defaults http: HTTPClientSettings) throws(SettingsError) {
        self.http = try map.takeHTTPConfig() ?? http
        let given = try map.takeDuration("timeout", default: timeout)
        if given > 0 { timeout = given }  // Alertmanager's 0 is no limit of its own.
        rate = try map.takeRate()
        // A short one is a word such as a channel's name, and no secret.
        variables = map.variableValues.filter { $0.utf8.count >= 8 }.map { Secret($0) }
    }

    /// A POST of JSON with what every channel's requests have; the steps carry a token when one is asked for.
    func post(
        _ body: JSON, to url: String, _ page: Page, headers: [HTTPHeader] = [], reading files: Secret.FileReader
    ) throws -> HTTPRequest {
        try post(body.serialized(), to: url, page, headers: headers, reading: files)
    }

    /// The same of a body that is JSON already.
    func post(
        _ body: [UInt8], to url: String, _ page: Page, headers: [HTTPHeader] = [], reading files: Secret.FileReader
    ) throws -> HTTPRequest {
        HTTPRequest(
            method: "POST", url: url,
            headers: [
                HTTPHeader("Content-Type", "application/json"), HTTPHeader("User-Agent", "Vedette"),
                HTTPHeader("Idempotency-Key", page.key),
            ] + headers + (try http.headers(reading: files)), body: body, timeout: timeout,
            maximumResponseBytes: 64 << 10, options: http.options)
    }

    /// A plan of HTTP requests.
    func plan(_ steps: [ChannelStep], notes: [String]) -> ChannelPlan {
        var plan = ChannelPlan(steps)
        plan.notes = notes
        plan.tokens = http.oauth2.map { settings in
            tokens.value.withLock { tokens in
                if let tokens, tokens.settings == settings { return tokens }
                let fresh = OAuth2Tokens(settings, timeout: timeout)
                tokens = fresh
                return fresh
            }
        }
        return plan
    }
}

/// A lock that copies of a value share.
final class Mutexed<Value: Sendable>: Sendable {
    let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
}

extension SettingsMap {
    /// `http_config`, nil when it is not given.
    func takeHTTPConfig() throws(SettingsError) -> HTTPClientSettings? {
        guard let map = try takeMap("http_config") else { return nil }
        let http = try HTTPClientSettings(from: map, offersOAuth2: true)
        try map.finish()
        return http
    }

    /// `rate_limit`: `burst` messages at once, then one `every` so often.
    func takeRate() throws(SettingsError) -> SendingRate? {
        guard let map = try takeMap("rate_limit") else { return nil }
        let burst = try map.take("burst", default: 1)
        guard (1...1_000_000).contains(burst) else {
            throw map.error("burst", "must be 1 or more, and 1000000 at the most")
        }
        guard let every: Milliseconds = try map.takeDuration("every") else { throw map.missing("every") }
        guard every > 0 else { throw map.error("every", "must be above 0; without a limit leave rate_limit out") }
        guard every <= 86_400_000 else { throw map.error("every", "must be a day at the most") }
        try map.finish()
        return SendingRate(burst: burst, interval: every)
    }

    /// Refuses an address that stands in the settings and is none; one in a file is looked at when it is used.
    func checkURL(_ url: Secret, _ key: String) throws(SettingsError) {
        guard url.path == nil else { return }
        guard (try? url.revealURL(reading: { _ in [] })) != nil else {
            throw error(key, "unsupported scheme: must begin with http:// or https://")
        }
        let address = (try? url.reveal { _ in [] }) ?? ""  // It stands in the settings.
        if address.contains("{{") { return }
        let host = address.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).first ?? ""
        let bare = host.split(separator: "@").last ?? ""
        // `host`, `host:port`, `[address]:port`.
        let port = bare.split(separator: "]").last?.split(separator: ":", omittingEmptySubsequences: false).dropFirst()
            .last
        guard !bare.isEmpty, !bare.contains(where: \.isWhitespace), bare.first != ":",
            port.map({ $0.allSatisfy(\.isNumber) && $0.utf8.count <= 5 }) ?? true
        else { throw error(key, "names no host, or a port that is none; write http://HOST:PORT/PATH") }
    }
}

extension Secret {
    /// A URL that is usable: `http://` or `https://`.
    func revealURL(reading files: FileReader) throws -> String {
        let url = try reveal(files)
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else { throw UnusableURL() }
        return url
    }
}

/// A secret address that is none; says nothing of it.
struct UnusableURL: Error, CustomStringConvertible {
    var description: String { "the secret URL does not begin with http:// or https://" }
}

/// The values of secrets that can be read now.
func revealed(_ secrets: [Secret], _ files: Secret.FileReader) -> [String] {
    let values = secrets.compactMap { try? $0.reveal(files) }  // An unreadable one cannot leak.
    // A server that answers "cannot POST /path" tells the path alone.
    let paths = values.filter { $0.hasPrefix("http") }.compactMap { url -> String? in
        let rest = url.split(separator: "//", maxSplits: 1).last ?? ""
        // A short one is a word that stands in other texts too, and no secret.
        return rest.firstIndex(of: "/").map { String(rest[$0...]) }.flatMap { $0.utf8.count > 8 ? $0 : nil }
    }
    return (values + paths).filter { $0.utf8.count > 3 }
}
