internal import Alerting
public import Basics
internal import Model
public import Settings
public import Transport

/// Alertmanager's webhook: payload version 4.
///
/// - SeeAlso: Alertmanager, `notify/webhook`.
public struct WebhookChannel: Channel {
    /// Where to; a secret, since tokens stand in it.
    public var url: Secret
    /// Default: true.
    public var sendsResolved = true
    /// How many alerts a page holds at most; 0: all. Default: 0.
    public var maximumAlerts = 0
    /// The longest a try may take. Default: 10 s.
    public var timeout: Milliseconds = 10_000
    /// Who to be, TLS.
    public var http = HTTPClientSettings()

    /// A webhook with the defaults.
    public init(url: Secret) { self.url = url }

    init(from map: SettingsMap, defaults http: HTTPClientSettings) throws(SettingsError) {
        guard let url = try map.takeSecret("url") else { throw map.missing("url") }
        self.url = url
        try map.refuse(["payload"], "leave it out; the body is Alertmanager's version 4")
        sendsResolved = try map.take("send_resolved", default: sendsResolved)
        maximumAlerts = try map.take("max_alerts", default: maximumAlerts)
        guard maximumAlerts >= 0 else { throw map.error("max_alerts", "must not be negative; 0 means all") }
        (self.http, timeout) = try map.takeHTTP(http, timeout: timeout)
        try map.checkURL(url, "url")
        try map.finish()
    }

    /// `webhook`.
    public var kind: String { "webhook" }

    /// A POST of the payload; the headers carry the key and what the payload has no room for.
    public func request(for page: Page, reading files: Secret.FileReader) throws -> HTTPRequest {
        var headers = [
            HTTPHeader("Content-Type", "application/json"), HTTPHeader("User-Agent", "Vedette"),
            HTTPHeader("Idempotency-Key", page.key), HTTPHeader("X-Vedette-Attempt", "\(page.attempt)"),
        ]
        if page.isPossiblyRepeated { headers.append(HTTPHeader("X-Vedette-Possibly-Repeated", "true")) }
        if page.isUnjournalled { headers.append(HTTPHeader("X-Vedette-Unjournalled", "true")) }
        if let receiver = page.standsInFor {
            headers.append(HTTPHeader("X-Vedette-Stands-In-For", receiver.percentEncoded))
        }
        if page.isOld {
            headers.append(HTTPHeader("X-Vedette-Decided-At", page.notification.decidedAt.rfc3339()))
        }
        return HTTPRequest(
            method: "POST", url: try url.revealURL(reading: files),
            headers: headers + (try http.headers(reading: files)),
            body: payload(page).serialized(), timeout: timeout, maximumResponseBytes: 64 << 10, options: http.options)
    }

    /// By the status alone.
    public func verdict(on response: HTTPResponse) -> Verdict { .standard(response) }

    /// The address and the credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] { revealed([url] + http.allSecrets, files) }

    /// One for each address; no rate.
    public var destination: String { Notifying.destination(kind, url) }
    /// As fast as they come.
    public var rate: SendingRate? { nil }

    private func payload(_ page: Page) -> JSON {
        let notification = page.notification
        var items = notification.items
        if !sendsResolved { items.removeAll(where: \.isResolved) }
        let cut = maximumAlerts > 0 ? max(0, items.count - maximumAlerts) : 0
        let shown = Notification(
            id: notification.id, groupID: notification.groupID, groupKey: notification.groupKey,
            receiver: notification.receiver, reason: notification.reason, groupLabels: notification.groupLabels,
            items: Array(items.prefix(items.count - cut)), decidedAt: notification.decidedAt)
        return [
            "receiver": .string(quotedMeta(notification.receiver)),
            "status": .string(notification.isFiring ? "firing" : "resolved"),
            "alerts": .array(shown.items.map(\.alertmanagerJSON)),
            "notification_reason": .string(notification.reason.rawValue),
            "groupLabels": JSON(notification.groupLabels.dictionary),
            "commonLabels": JSON(shown.commonLabels.dictionary),
            "commonAnnotations": JSON(shown.commonAnnotations), "externalURL": .string(page.externalURL),
            "version": "4", "groupKey": .string(notification.groupKey), "truncatedAlerts": .number(Double(cut)),
        ]
    }
}

extension Notification.Item {
    /// An alert as Alertmanager's payloads hold it; one that fires ends at Go's zero time.
    var alertmanagerJSON: JSON {
        let end = (isResolved ? alert.endsAt : nil) ?? .goZero
        return [
            "status": .string(isResolved ? "resolved" : "firing"), "labels": JSON(alert.labels.dictionary),
            "annotations": JSON(alert.annotations), "startsAt": .string(alert.startsAt.rfc3339(trimmed: true)),
            "endsAt": .string(end.rfc3339(trimmed: true)), "generatorURL": .string(alert.generatorURL),
            "fingerprint": .string(alert.labels.fingerprintText),
        ]
    }
}

/// Go's `regexp.QuoteMeta`, through which Alertmanager passes the receiver's name.
func quotedMeta(_ text: String) -> String {
    let meta = "\\.+*?()|[]{}^$".unicodeScalars
    return text.unicodeScalars.map { (meta.contains($0) ? "\\" : "") + String($0) }.joined()
}

/// The values of secrets that can be read now.
func revealed(_ secrets: [Secret], _ files: Secret.FileReader) -> [String] {
    let values = secrets.compactMap { try? $0.reveal(files) }  // An unreadable one cannot leak.
    // A server that answers "cannot POST /path" tells the path alone.
    let paths = values.filter { $0.hasPrefix("http") }.compactMap { url -> String? in
        let rest = url.split(separator: "//", maxSplits: 1).last ?? ""
        return rest.firstIndex(of: "/").map { String(rest[$0...]) }
    }
    return (values + paths).filter { $0.utf8.count > 3 }
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

extension SettingsMap {
    /// `http_config`, nil when it is not given.
    func takeHTTPConfig() throws(SettingsError) -> HTTPClientSettings? {
        guard let map = try takeMap("http_config") else { return nil }
        let http = try HTTPClientSettings(from: map)
        try map.finish()
        return http
    }

    /// `http_config` and `timeout`, which every channel has.
    func takeHTTP(
        _ defaults: HTTPClientSettings, timeout: Milliseconds
    ) throws(SettingsError) -> (HTTPClientSettings, Milliseconds) {
        let http = try takeHTTPConfig()
        let given = try takeDuration("timeout", default: timeout)
        return (http ?? defaults, given == 0 ? timeout : given)
    }

    /// Refuses an address that stands in the settings and is none; one in a file is looked at when it is used.
    func checkURL(_ url: Secret, _ key: String) throws(SettingsError) {
        guard url.path == nil else { return }
        guard (try? url.revealURL(reading: { _ in [] })) != nil else {
            throw error(key, "must begin with http:// or https://")
        }
    }
}
