internal import Alerting
internal import Basics
internal import Settings
internal import Transport

/// What the channels' settings share.
struct ChannelContext: Sendable {
    var texts = PageTexts()
    /// `global.http_config`.
    var http = HTTPClientSettings()
    /// The same as it is shown.
    var shownHTTP = EffectiveWriter.standardHTTP
}

/// A kind of channel: the key of its list under a receiver, and how it is read. A new kind joins by a line in `all`.
struct ChannelKind: Sendable {
    /// Reads one entry of the list; a class of settings, so not for another thread.
    typealias Reader = (SettingsMap) throws(SettingsError) -> any Channel

    /// `webhook_configs`.
    let key: String
    /// Takes the kind's keys of `global`, which may be absent; what it gives reads entries with these as defaults.
    let prepare: @Sendable (SettingsMap?, ChannelContext) throws(SettingsError) -> Reader

    init(
        key: String, _ prepare: @escaping @Sendable (SettingsMap?, ChannelContext) throws(SettingsError) -> Reader
    ) {
        (self.key, self.prepare) = (key, prepare)
    }

    /// In the order of a receiver's channels.
    static let all = [
        WebhookChannel.registration, SlackChannel.registration, PagerDutyChannel.registration, MailChannel.registration,
    ]

    /// Alertmanager's others, refused by name, and the beginnings of their keys under `global`.
    static let foreign = [
        "discord", "incidentio", "jira", "mattermost", "msteams", "msteamsv2", "opsgenie", "pushover", "rocketchat",
        "sns", "telegram", "victorops", "webex", "wechat",
    ]

    /// The way out, for messages.
    static let offered: String = {
        let keys = all.map(\.key)
        return "use \(keys.dropLast().joined(separator: ", ")) or \(keys.last ?? "")"
    }()
}
