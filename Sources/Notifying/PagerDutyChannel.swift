internal import Alerting
public import Basics
internal import Model
public import Settings
public import Transport

/// PagerDuty's Events API v2: one event for a group, triggered and resolved by one key.
///
/// - SeeAlso: developer.pagerduty.com, "Send an Alert Event"; Alertmanager, `notify/pagerduty`.
public struct PagerDutyChannel: Channel {
    /// The integration's key.
    public var routingKey: Secret
    /// Default: `https://events.pagerduty.com/v2/enqueue`.
    public var url = "https://events.pagerduty.com/v2/enqueue"
    /// Default: true.
    public var sendsResolved = true
    /// What the event says of its sender. Default: `Vedette`.
    public var client = "Vedette"
    /// Class, component, group and source of the event; the source is the client by default.
    public var eventClass: String?, component: String?, group: String?, source: String?
    /// The longest a try may take. Default: 10 s.
    public var timeout: Milliseconds = 10_000
    /// TLS, proxy.
    public var http = HTTPClientSettings()

    /// The greatest length of an event in bytes; longer ones lose details.
    static let maximumBytes = 512_000

    /// A channel with the defaults.
    public init(routingKey: Secret) { self.routingKey = routingKey }

    init(from map: SettingsMap, url: String, defaults http: HTTPClientSettings) throws(SettingsError) {
        try map.refuse(["service_key", "service_key_file"], "use routing_key of an Events API v2 integration")
        guard let key = try map.takeSecret("routing_key") else { throw map.missing("routing_key") }
        routingKey = key
        self.url = try map.take("url", default: url)
        try map.checkURL(Secret(self.url), "url")
        sendsResolved = try map.take("send_resolved", default: sendsResolved)
        try map.refuse(
            ["description", "details", "images", "links", "severity", "client_url"],
            "leave it out; it is made from the alerts' labels and annotations")
        client = try map.takeLiteral("client") ?? client
        eventClass = try map.takeLiteral("class")
        component = try map.takeLiteral("component")
        group = try map.takeLiteral("group")
        source = try map.takeLiteral("source")
        (self.http, timeout) = try map.takeHTTP(http, timeout: timeout)
        try map.finish()
    }

    /// `pagerduty`.
    public var kind: String { "pagerduty" }

    /// Trigger while anything fires, resolve when nothing does.
    public func request(for page: Page, reading files: Secret.FileReader) throws -> HTTPRequest {
        let key = try routingKey.reveal(files)
        var shown = page.notification.items.count
        var body = event(page, routingKey: key, shown: shown).serialized()
        while body.count > PagerDutyChannel.maximumBytes, shown > 0 {
            shown /= 2
            body = event(page, routingKey: key, shown: shown).serialized()
        }
        return HTTPRequest(
            method: "POST", url: url,
            headers: [
                HTTPHeader("Content-Type", "application/json"), HTTPHeader("User-Agent", "Vedette"),
                HTTPHeader("Idempotency-Key", page.key),
            ] + (try http.headers(reading: files)), body: body, timeout: timeout, maximumResponseBytes: 64 << 10,
            options: http.options)
    }

    /// 202 is good; 200 only with PagerDuty's own words, since a page of a proxy is no receipt.
    public func verdict(on response: HTTPResponse) -> Verdict {
        if response.status == 200, (try? JSON(parsing: response.body))?["status"]?.string != "success" {  // Or no JSON.
            return .retry(
                reason: .badAnswer, after: nil, "the answer is not PagerDuty's: \(Verdict.shown(response.body))")
        }
        let verdict = Verdict.standard(response)
        if case .retry(.rateLimited, nil, let text) = verdict {
            return .retry(reason: .rateLimited, after: 30_000, text)  // As PagerDuty asks.
        }
        return verdict
    }

    /// The routing key and the credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] {
        revealed([routingKey] + http.allSecrets, files)
    }

    /// One for each key.
    public var destination: String { Notifying.destination(kind, routingKey) }
    /// 120 events in a minute.
    public var rate: SendingRate? { SendingRate(burst: 120, interval: 500) }

    private func event(_ page: Page, routingKey: String, shown: Int) -> JSON {
        let notification = page.notification
        var members: [JSON.Member] = [
            JSON.Member("routing_key", .string(routingKey)),
            JSON.Member("dedup_key", .string(Digest.hexadecimal(of: notification.groupKey, .sha256))),
            JSON.Member("event_action", .string(notification.isFiring ? "trigger" : "resolve")),
            JSON.Member("payload", payload(page, shown: shown)), JSON.Member("client", .string(client)),
        ]
        if !page.externalURL.isEmpty { members.append(JSON.Member("client_url", .string(page.externalURL))) }
        let links = notification.links.prefix(20).map { JSON(["href": $0.url, "text": $0.text]) }
        if !links.isEmpty { members.append(JSON.Member("links", .array(Array(links)))) }
        return .object(members)
    }

    private func payload(_ page: Page, shown: Int) -> JSON {
        let notification = page.notification
        let severity =
            switch notification.severity {
            case .critical: "critical"
            case .high: "error"
            case .warning: "warning"
            case .info: "info"
            }
        var members: [JSON.Member] = [
            JSON.Member("summary", .string(truncated(notification.title, to: 1024))),
            JSON.Member("source", .string(source ?? client)), JSON.Member("severity", .string(severity)),
        ]
        if let start = notification.items.map(\.alert.startsAt).min() {
            members.append(JSON.Member("timestamp", .string(start.rfc3339())))
        }
        for (name, value) in [("class", eventClass), ("component", component), ("group", group)] {
            if let value { members.append(JSON.Member(name, .string(value))) }
        }
        let items = notification.items.prefix(shown)
        var details: [JSON.Member] = [
            JSON.Member("firing", .array(items.filter { !$0.isResolved }.map(\.alertmanagerJSON))),
            JSON.Member("num_firing", .number(Double(notification.firing.count))),
            JSON.Member("num_resolved", .number(Double(notification.resolved.count))),
            JSON.Member("resolved", .array(items.filter(\.isResolved).map(\.alertmanagerJSON))),
            JSON.Member("group_labels", JSON(notification.groupLabels.dictionary)),
        ]
        let hidden = notification.items.count - items.count
        if hidden > 0 { details.append(JSON.Member("left_out", .number(Double(hidden)))) }
        if page.attempt > 1 { details.append(JSON.Member("attempt", .number(Double(page.attempt)))) }
        if page.isPossiblyRepeated { details.append(JSON.Member("possibly_repeated", true)) }
        if page.isUnjournalled { details.append(JSON.Member("unjournalled", true)) }
        members.append(JSON.Member("custom_details", .object(details)))
        return .object(members)
    }
}

extension Notification {
    /// Runbooks and graphs of the alerts, each address once.
    var links: [(url: String, text: String)] {
        var seen: Set<String> = []
        var links: [(url: String, text: String)] = []
        for item in items {
            let name = item.alert.name
            let candidates = [
                (item.alert.annotations["runbook_url"] ?? "", "Runbook \(name)"),
                (item.alert.generatorURL, "Graph \(name)"),
            ]
            for (url, text) in candidates
            where (url.hasPrefix("http://") || url.hasPrefix("https://")) && seen.insert(url).inserted {
                links.append((url, text))
            }
        }
        return links
    }
}

extension SettingsMap {
    /// A text without template actions, which are not offered here.
    func takeLiteral(_ key: String) throws(SettingsError) -> String? {
        let text: String? = try take(key)
        if let text, text.contains("{{") { throw error(key, "templates are not offered here; write a plain text") }
        return text
    }
}
