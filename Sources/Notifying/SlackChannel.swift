internal import Alerting
public import Basics
internal import Model
public import Settings
internal import Transport

/// Slack by an incoming webhook or as a bot. In the style of evidence: Block Kit inside an attachment, whose colour
/// tells the severity; with templates: the attachment's own fields, as Alertmanager sends them.
///
/// - SeeAlso: docs.slack.dev, "Block Kit", "Sending messages using incoming webhooks", "chat.postMessage";
///   Alertmanager, `notify/slack`.
public struct SlackChannel: Channel {
    /// The webhook's address, or for a bot that of `chat.postMessage`.
    public var apiURL: Secret
    /// The bot's token; nil: a webhook, or a bot whose token stands in `http_config`.
    public var token: Secret?
    /// Whether a group's message is updated in place and its end told in the message's thread; for bots.
    public var updatesMessage = false
    /// Default: false, as in Alertmanager.
    public var sendsResolved = false
    /// Who to be, TLS, how long.
    public var client = ChannelClient()
    /// What texts are made with.
    public var texts = PageTexts()
    /// See `Channel`.
    public private(set) var effective: JSON = .null
    var templates = ChannelTemplates()
    var layout = SlackLayout()

    /// Slack's limits in characters, and ours on alerts shown one by one.
    static let maximumHeader = 150, maximumSection = 3000, maximumText = 12_000, maximumAlerts = 10
    private static let postMessage = "https://slack.com/api/chat.postMessage"

    /// A webhook with the defaults.
    public init(apiURL: Secret) { self.apiURL = apiURL }

    static let registration = ChannelKind(key: "slack_configs") { global, context throws(SettingsError) in
        let shared = try Global(global)
        return { map throws(SettingsError) in try SlackChannel(from: map, shared, context) }
    }

    /// The keys of `global`.
    private struct Global {
        var apiURL: Secret?, token: Secret?
        var appURL = SlackChannel.postMessage

        init(_ map: SettingsMap?) throws(SettingsError) {
            guard let map else { return }
            apiURL = try map.takeSecret("slack_api_url")
            if let apiURL { try map.checkURL(apiURL, "slack_api_url") }
            token = try map.takeSecret("slack_app_token")
            appURL = try map.take("slack_app_url", default: appURL)
            try map.checkURL(Secret(appURL), "slack_app_url")
            // The old way to name the bot's address.
            let isBotURL = apiURL?.path == nil && (try? apiURL?.reveal { _ in [] }) == appURL
            if token != nil, apiURL != nil, !isBotURL {
                throw map.error(
                    "slack_app_token",
                    "at most one of slack_app_token/slack_app_token_file & "
                        + "slack_api_url/slack_api_url_file must be configured; remove one of them")
            }
        }
    }

    private init(from map: SettingsMap, _ global: Global, _ context: ChannelContext) throws(SettingsError) {
        texts = context.texts
        client = try ChannelClient(from: map, defaults: context.http)
        let ownURL = try map.takeSecret("api_url")
        if let ownURL { try map.checkURL(ownURL, "api_url") }
        token = try map.takeSecret("app_token")
        let appURL = try map.take("app_url", default: global.appURL)
        try map.checkURL(Secret(appURL), "app_url")
        if ownURL != nil, token != nil {
            throw map.error(
                "app_token",
                "at most one of api_url/api_url_file & app_token/app_token_file must be configured; "
                    + "remove one of them")
        }
        let hasOwn = map.has("http_config") && client.http.authorization != nil
        if token == nil, ownURL == nil, !hasOwn { token = global.token }
        if token != nil {
            guard !hasOwn else {
                throw map.error("http_config", "authorization is given and so is an app token; remove one of them")
            }
            client.http.authorization = nil
            apiURL = Secret(appURL)
        } else if let url = ownURL ?? global.apiURL {
            apiURL = url
        } else {
            throw map.error(
                "api_url is missing: no Slack API URL nor App token set either inline or in a file; give it here or as "
                    + "slack_api_url under 'global'")
        }
        updatesMessage = try map.take("update_message", default: false)
        if updatesMessage, !isBot {
            throw map.error(
                "update_message",
                "update_message can only be used with bot tokens. api_url must be set to "
                    + "\(SlackChannel.postMessage), or app_token given")
        }
        sendsResolved = try map.take("send_resolved", default: sendsResolved)
        templates = try ChannelTemplates(
            from: map, SlackLayout.textKeys + SlackLayout.plainKeys, defaults: SlackLayout.defaults, texts)
        layout = try SlackLayout(from: map, texts)
        effective = shown(map, context)
        try map.finish()
    }

    private func shown(_ map: SettingsMap, _ context: ChannelContext) -> JSON {
        var writer = EffectiveWriter(map)
        writer.add("send_resolved", .bool(sendsResolved))
        var http = EffectiveWriter.http(map) ?? context.shownHTTP
        if let token, case .object(var members) = http {
            let name = token.path == nil ? "credentials" : "credentials_file"
            members.removeAll { $0.name == "authorization" }
            let value = [JSON.Member("type", "Bearer"), JSON.Member(name, .string(token.path ?? token.description))]
            members.insert(JSON.Member("authorization", .object(value)), at: 0)
            http = .object(members)
        }
        writer.add("http_config", http)
        writer.add("api_url", secret: apiURL)
        writer.add("app_token", secret: token)
        writer.copy("app_url")
        writer.add(["channel", "username", "color", "title", "title_link", "pretext", "text"], of: templates)
        writer.copy("message_text", "fields")
        writer.add("short_fields", map.takeNode("short_fields").map(EffectiveWriter.json) ?? false)
        writer.add(
            ["footer", "fallback", "callback_id", "icon_emoji", "icon_url", "image_url", "thumb_url"], of: templates)
        writer.add("link_names", .bool(layout.linkNames))
        writer.copy("mrkdwn_in", "actions", "update_message", "timeout")
        return writer.json
    }

    /// Whether the API answers, not a webhook.
    private var isBot: Bool {
        if token != nil { return true }
        guard apiURL.path == nil, let url = try? apiURL.reveal({ _ in [] }) else { return false }
        return url.hasSuffix("/chat.postMessage")
    }

    /// `slack`.
    public var kind: String { "slack" }

    /// A POST of the message. A bot that has posted for this group before updates its message, and tells the end in the
    /// thread too, since an update makes no sound.
    public func plan(for page: Page, reading files: @escaping Secret.FileReader) throws -> ChannelPlan {
        var renderer = PageRenderer(page, texts, files, sendsResolved: sendsResolved)
        var name = try templates["channel"].map { try renderer.address($0, "channel") } ?? ""
        let (members, notes) = renderer.make { message(&$0) }
        let url = try apiURL.revealURL(reading: files)
        var headers: [HTTPHeader] = []
        if let token { headers.append(HTTPHeader("Authorization", "Bearer \(try token.reveal(files))")) }
        func post(_ members: [JSON.Member], to url: String) throws -> ChannelRequest {
            .http(try client.post(.object(members), to: url, page, headers: headers, reading: files))
        }
        if updatesMessage, let id = page.thread["channel"], let moment = page.thread["ts"] {
            name = id
            let place = [JSON.Member("channel", .string(name)), JSON.Member("ts", .string(moment))]
            let update = url.hasSuffix("chat.postMessage") ? "\(url.dropLast(16))chat.update" : url
            var steps = [ChannelStep("update", try post(place + members, to: update))]
            if !page.notification.isFiring {
                let end: [JSON.Member] = [
                    JSON.Member("channel", .string(name)), JSON.Member("thread_ts", .string(moment)),
                    JSON.Member("text", .string(slackText(page.notification.title, limit: 1000))),
                ]
                steps.append(ChannelStep("thread", try post(end, to: url)))
            }
            return client.plan(steps, notes: notes)
        }
        let place = name.isEmpty ? [] : [JSON.Member("channel", .string(name))]
        return client.plan([ChannelStep("post", try post(place + members, to: url))], notes: notes)
    }

    /// `ok` is good, or JSON that says so; anything else with 200 is a page of somebody in between.
    public func verdict(on answer: ChannelAnswer, to step: ChannelStep, of page: Page) -> (Verdict, Receipt) {
        var receipt = Receipt()
        guard case .http(let response) = answer else { return (.foreign, receipt) }
        guard response.status == 200 else { return (.standard(response), receipt) }
        let text = String(decoding: response.body.prefix(64), as: UTF8.self)
        if text == "ok" || text == "ok\n" { return (.accepted, receipt) }
        guard let json = try? JSON(parsing: response.body), let isGood = (json["ok"] ?? json["success"])?.bool else {
            let shown = Verdict.shown(response.body)
            return (.retry(reason: .badAnswer, after: nil, "the answer is not Slack's: \(shown)"), receipt)
        }
        guard isGood else {
            let problem = Verdict.shown(Array((json["error"]?.string ?? "unknown error").utf8))
            if step.name == "update", SlackChannel.lost.contains(problem) {
                receipt.thread = [:]
                return (.retry(reason: .badAnswer, after: 0, "\(problem): the message is posted anew"), receipt)
            }
            return (SlackChannel.verdict(on: problem), receipt)
        }
        if updatesMessage, step.name == "post", page.notification.isFiring, let id = json["channel"]?.string,
            let moment = json["ts"]?.string
        {
            receipt.thread = ["channel": id, "ts": moment]
        }
        // What fires again is a message of its own, which makes a sound.
        if updatesMessage, !page.notification.isFiring { receipt.thread = [:] }
        return (.accepted, receipt)
    }

    /// Errors after which a message cannot be updated any more.
    private static let lost: Set<String> = [
        "message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "thread_not_found",
    ]

    private static func verdict(on problem: String) -> Verdict {
        let text = "Slack refuses it: \(problem)"
        switch problem {
        case "ratelimited", "rate_limited": return .retry(reason: .rateLimited, after: nil, text)
        case "internal_error", "fatal_error", "service_unavailable", "request_timeout":
            return .retry(reason: .serverError, after: nil, text)
        case "token_revoked", "token_expired", "invalid_auth", "not_authed", "account_inactive", "missing_scope",
            "no_permission", "org_login_required":
            return .refused(reason: .authError, text)
        default: return .refused(reason: .clientError, text)
        }
    }

    /// The address, the token and the credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] {
        revealed([apiURL, token].compactMap(\.self) + client.http.allSecrets + client.variables, files)
    }

    /// One for each address or token, and channel.
    public var destination: String { Notifying.destination(kind, token ?? apiURL, templates["channel"]?.text ?? "") }
    /// One message in a second, three at once.
    ///
    /// - SeeAlso: docs.slack.dev, "Rate limits".
    public var rate: SendingRate? { client.rate ?? SendingRate(burst: 3, interval: 1000) }

    /// All members but the channel.
    private func message(_ renderer: inout PageRenderer) -> [JSON.Member] {
        var members: [JSON.Member] = []
        for key in ["username", "icon_emoji", "icon_url"] {
            if let text = renderer.text(templates[key], key), !text.isEmpty {
                members.append(JSON.Member(key, .string(text)))
            }
        }
        if layout.linkNames { members.append(JSON.Member("link_names", true)) }
        if let text = renderer.text(templates["message_text"], "message_text"), !text.isEmpty {
            members.append(JSON.Member("text", .string(text)))
        }
        let isOwn = layout.isGiven || templates.has(any: SlackLayout.textKeys)
        let attachment =
            isOwn && !renderer.isPlain
            ? layout.attachment(&renderer, templates) : SlackBlocks.attachment(renderer.evidence(), renderer, templates)
        members.append(JSON.Member("attachments", [.object(attachment)]))
        return members
    }
}
