public import Alerting
public import Basics
public import Settings
internal import Transport

/// A receiver's name with its channels.
public struct Receiver: Sendable {
    /// As the routes call it.
    public let name: String
    /// In the order of the file; the id is `receiver/kind/index`.
    public let channels: [(id: String, channel: any Channel)]
    /// Who is told when its channels fail.
    public var fallback: Fallback?

    /// A receiver of channels, which get their ids here.
    public init(name: String, channels: [any Channel]) {
        self.name = name
        var counts: [String: Int] = [:]
        self.channels = channels.map { channel in
            let index = counts[channel.kind, default: 0]
            counts[channel.kind] = index + 1
            return (id: "\(name)/\(channel.kind)/\(index)", channel: channel)
        }
    }
}

/// `route`, `receivers` and Alertmanager's part of `global`.
public struct NotifyingSettings: Sendable {
    /// Who is told what and when.
    public var alerting: AlertingSettings
    /// The routes.
    public var tree: RouteTree { alerting.tree }
    /// Finds time zones, also for silences that recur.
    public var zones: ZoneFinder = { _ in nil }
    /// By name.
    public var receivers: [String: Receiver]
    /// After what time an alert from outside that is not told again is over. Default: 5 min.
    public var resolveTimeout: Milliseconds = 300_000

    /// Settings by their parts.
    public init(tree: RouteTree, receivers: [Receiver]) {
        alerting = AlertingSettings(tree: tree)
        self.receivers = Dictionary(receivers.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    }

    /// Nobody is told anything.
    public static let none = NotifyingSettings(tree: RouteTree(receiver: "none"), receivers: [])

    /// Takes its sections of the daemon's file. `global` is shared with other rooms: whoever owns the file calls its
    /// `finish`.
    public init(
        from root: SettingsMap, mode: MatcherMode = .fallback, zones: @escaping ZoneFinder = { _ in nil }
    ) throws(SettingsError) {
        self.zones = zones
        var http = HTTPClientSettings()
        var (slackURL, pagerDutyURL): (Secret?, String) = (nil, "https://events.pagerduty.com/v2/enqueue")
        if let global = try root.takeMap("global") {
            resolveTimeout = try global.takeDuration("resolve_timeout", default: resolveTimeout)
            http = try global.takeHTTPConfig() ?? http
            slackURL = try global.takeSecret("slack_api_url")
            if let slackURL { try global.checkURL(slackURL, "slack_api_url") }
            pagerDutyURL = try global.take("pagerduty_url", default: pagerDutyURL)
            try global.checkURL(Secret(pagerDutyURL), "pagerduty_url")
            let others = ["smtp_", "opsgenie_", "wechat_", "victorops_", "telegram_", "webex_", "rocketchat_", "jira_"]
            let more = ["mattermost_webhook_url", "mattermost_webhook_url_file", "slack_app_token", "slack_app_url"]
            let refused = global.keys.filter { key in more.contains(key) || others.contains { key.hasPrefix($0) } }
            try global.refuse(refused, offered)
        }
        try root.refuse(["templates"], "leave it out; messages are made from the alerts' labels and annotations")
        try root.refuse(
            ["tracing", "event_recorder"], "leave it out; deliveries are listed by the API and in /metrics")
        var receivers: [Receiver] = []
        var maps: [String: SettingsMap] = [:]
        for map in try root.takeMaps("receivers") {
            let receiver = try Receiver(from: map, slackURL: slackURL, pagerDutyURL: pagerDutyURL, http: http)
            guard !receivers.contains(where: { $0.name == receiver.name }) else {
                throw map.error("name", "the receiver '\(receiver.name)' is already defined; give it another name")
            }
            receivers.append(receiver)
            maps[receiver.name] = map
        }
        alerting = try AlertingSettings(
            from: root, receivers: Set(receivers.map(\.name)), fallback: "none", mode: mode, zones: zones)
        self.receivers = Dictionary(uniqueKeysWithValues: receivers.map { ($0.name, $0) })
        try NotifyingSettings.check(self.receivers, maps)
    }
}

private let offered = "use webhook_configs, slack_configs or pagerduty_configs"

extension Receiver {
    init(
        from map: SettingsMap, slackURL: Secret?, pagerDutyURL: String, http: HTTPClientSettings
    ) throws(SettingsError) {
        let name: String = try map.require("name")
        guard !name.isEmpty else { throw map.error("name", "must not be empty") }
        let kinds = [
            "discord", "email", "incidentio", "jira", "mattermost", "msteams", "msteamsv2", "opsgenie", "pushover",
            "rocketchat", "sns", "telegram", "victorops", "webex", "wechat",
        ]
        try map.refuse(kinds.map { "\($0)_configs" }, offered)
        try map.refuse(["labels"], "leave it out")
        var channels: [any Channel] = []
        for map in try map.takeMaps("webhook_configs") {
            channels.append(try WebhookChannel(from: map, defaults: http))
        }
        for map in try map.takeMaps("slack_configs") {
            channels.append(try SlackChannel(from: map, apiURL: slackURL, defaults: http))
        }
        for map in try map.takeMaps("pagerduty_configs") {
            channels.append(try PagerDutyChannel(from: map, url: pagerDutyURL, defaults: http))
        }
        let fallback = try map.takeMap("fallback").map { map throws(SettingsError) in try Fallback(from: map) }
        try map.finish()
        self.init(name: name, channels: channels)
        self.fallback = fallback
    }
}
