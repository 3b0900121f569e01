internal import Alerting
public import Basics
internal import Model
public import Settings
public import Transport

/// Slack by an incoming webhook: Block Kit inside an attachment, whose colour tells the severity.
///
/// - SeeAlso: docs.slack.dev, "Block Kit" and "Sending messages using incoming webhooks".
public struct SlackChannel: Channel {
    /// The webhook's address.
    public var apiURL: Secret
    /// A channel in place of the webhook's own, where Slack still allows that.
    public var channel: String?
    /// Name and icon in place of the webhook's own, where Slack still allows that.
    public var userName: String?, iconEmoji: String?, iconURL: String?
    /// Default: false, as in Alertmanager.
    public var sendsResolved = false
    /// The longest a try may take. Default: 10 s.
    public var timeout: Milliseconds = 10_000
    /// TLS, proxy.
    public var http = HTTPClientSettings()

    /// Slack's limits in characters, and ours on alerts shown one by one.
    static let maximumHeader = 150, maximumSection = 3000, maximumText = 12_000, maximumAlerts = 10

    /// A channel with the defaults.
    public init(apiURL: Secret) { self.apiURL = apiURL }

    init(from map: SettingsMap, apiURL: Secret?, defaults http: HTTPClientSettings) throws(SettingsError) {
        try map.refuse(
            ["app_token", "app_token_file", "app_url", "update_message"], "use api_url of an incoming webhook")
        guard let url = try map.takeSecret("api_url") ?? apiURL else {
            throw map.error("api_url is missing; give it here or as slack_api_url under 'global'")
        }
        self.apiURL = url
        try map.checkURL(url, "api_url")
        try map.refuse(
            [
                "title", "title_link", "pretext", "text", "message_text", "fields", "short_fields", "footer",
                "fallback",
                "callback_id", "image_url", "thumb_url", "link_names", "mrkdwn_in", "actions", "color",
            ], "leave it out; the message is made from the alerts' labels and annotations")
        channel = try map.takeLiteral("channel")
        userName = try map.takeLiteral("username")
        iconEmoji = try map.takeLiteral("icon_emoji")
        iconURL = try map.takeLiteral("icon_url")
        sendsResolved = try map.take("send_resolved", default: sendsResolved)
        (self.http, timeout) = try map.takeHTTP(http, timeout: timeout)
        try map.finish()
    }

    /// `slack`.
    public var kind: String { "slack" }

    /// A POST of the message.
    public func request(for page: Page, reading files: Secret.FileReader) throws -> HTTPRequest {
        HTTPRequest(
            method: "POST", url: try apiURL.revealURL(reading: files),
            headers: [
                HTTPHeader("Content-Type", "application/json"), HTTPHeader("User-Agent", "Vedette"),
                HTTPHeader("Idempotency-Key", page.key),
            ] + (try http.headers(reading: files)), body: message(page).serialized(), timeout: timeout,
            maximumResponseBytes: 64 << 10, options: http.options)
    }

    /// `ok` is good, or JSON that says so; anything else with 200 is a page of somebody in between.
    public func verdict(on response: HTTPResponse) -> Verdict {
        guard response.status == 200 else { return .standard(response) }
        let text = String(decoding: response.body.prefix(64), as: UTF8.self)
        if text == "ok" || text == "ok\n" { return .accepted }
        guard let json = try? JSON(parsing: response.body), let isGood = (json["ok"] ?? json["success"])?.bool else {
            return .retry(reason: .badAnswer, after: nil, "the answer is not Slack's: \(Verdict.shown(response.body))")
        }
        return isGood
            ? .accepted
            : .refused(reason: .clientError, "Slack refuses it: \(json["error"]?.string ?? "unknown error")")
    }

    /// The address and the credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] { revealed([apiURL] + http.allSecrets, files) }

    /// One for each address and channel.
    public var destination: String { Notifying.destination(kind, apiURL, channel ?? "") }
    /// One message in a second, three at once.
    ///
    /// - SeeAlso: docs.slack.dev, "Rate limits".
    public var rate: SendingRate? { SendingRate(burst: 3, interval: 1000) }

    private func message(_ page: Page) -> JSON {
        let title = truncated(page.notification.title, to: SlackChannel.maximumHeader)
        var members: [JSON.Member] = []
        for (name, value) in [
            ("channel", channel), ("username", userName), ("icon_emoji", iconEmoji), ("icon_url", iconURL),
        ] {
            if let value { members.append(JSON.Member(name, .string(value))) }
        }
        let attachment: JSON = [
            "color": .string(colour(page.notification)), "fallback": .string(title), "blocks": .array(blocks(page)),
        ]
        members.append(JSON.Member("attachments", [attachment]))
        return .object(members)
    }

    private func colour(_ notification: Notification) -> String {
        guard notification.isFiring else { return "good" }
        return switch notification.severity {
        case .critical: "#a30200"
        case .high: "#e8590c"
        case .warning: "#f2c744"
        case .info: "#439fe0"
        }
    }

    private func blocks(_ page: Page) -> [JSON] {
        let notification = page.notification
        let title = truncated(notification.title, to: SlackChannel.maximumHeader)
        var blocks: [JSON] = [["type": "header", "text": ["type": "plain_text", "text": .string(title)]]]
        var rest = SlackChannel.maximumText
        var shown = 0
        let items = sendsResolved ? notification.items : notification.items.filter { !$0.isResolved }
        for item in items.prefix(SlackChannel.maximumAlerts) {
            let text = section(item)
            rest -= text.unicodeScalars.count
            guard rest >= 0 || shown == 0 else { break }
            blocks.append(["type": "section", "text": ["type": "mrkdwn", "text": .string(text)]])
            shown += 1
        }
        var notes: [String] = []
        if items.count > shown { notes.append("and \(items.count - shown) more") }
        if !page.externalURL.isEmpty { notes.append("<\(slackURL(page.externalURL))|Vedette>") }
        if page.isPossiblyRepeated { notes.append("try \(page.attempt): an earlier one may have arrived") }
        if let receiver = page.standsInFor { notes.append("in place of \(slackText(receiver, limit: 100))") }
        if page.isOld { notes.append("sent late: decided \(slackTime(page.notification.decidedAt))") }
        if page.isUnjournalled { notes.append("sent without the journal: may come again") }
        if !notes.isEmpty {
            let text = notes.joined(separator: " · ")
            blocks.append([
                "type": "context", "elements": [["type": "mrkdwn", "text": .string(truncated(text, to: 2000))]],
            ])
        }
        return blocks
    }

    /// One alert: what, how bad, which value, since when, labels, links.
    private func section(_ item: Notification.Item) -> String {
        let alert = item.alert
        let what = alert.annotations["summary"] ?? alert.annotations["description"] ?? alert.name
        var text = "*\(slackText(what, limit: 400))*"
        if let more = alert.annotations["description"], more != what { text += "\n\(slackText(more, limit: 600))" }
        var facts = [item.isResolved ? "resolved" : slackText(alert.labels["severity"], limit: 40)]
        if alert.value.isFinite { facts.append("value \(GoNumber.shortest(alert.value, exponentFrom: 21))") }
        facts.append("since \(slackTime(alert.startsAt))")
        if item.isResolved, let end = alert.endsAt { facts.append("until \(slackTime(end))") }
        text += "\n" + facts.filter { !$0.isEmpty }.joined(separator: " · ")
        let labels = alert.labels.sorted.map { "\($0.name)=\($0.value)" }.joined(separator: ", ")
        text += "\n`\(slackText(labels.replacing("`", with: "'"), limit: 600))`"
        let links = [("Runbook", alert.annotations["runbook_url"] ?? ""), ("Graph", alert.generatorURL)].filter {
            $0.1.hasPrefix("http://") || $0.1.hasPrefix("https://")
        }.map { (name: $0.0, url: slackURL($0.1)) }.filter { $0.url.utf8.count < 450 }
        if !links.isEmpty { text += "\n" + links.map { "<\($0.url)|\($0.name)>" }.joined(separator: " · ") }
        return text
    }
}

/// Slack's three escapes, at most `limit` characters of result, none cut in two.
func slackText(_ text: String, limit: Int) -> String {
    var result = ""
    var rest = limit
    for scalar in text.unicodeScalars {
        let piece: String =
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            default: String(scalar)
            }
        rest -= piece.unicodeScalars.count
        guard rest > 0 else { return result + "…" }
        result += piece
    }
    return result
}

/// A URL inside `<…|…>`.
private func slackURL(_ url: String) -> String {
    url.replacing("|", with: "%7C").replacing(">", with: "%3E").replacing("<", with: "%3C")
        .replacing("&", with: "&amp;")
}

/// A moment in the reader's own time zone.
private func slackTime(_ moment: Timestamp) -> String {
    "<!date^\(moment.milliseconds.flooringDivision(by: 1000))^{date_short_pretty} {time_secs}|\(moment.rfc3339())>"
}
