internal import Basics
internal import Settings

/// Puts together what is in force, under Alertmanager's keys and in its order, with `<secret>` for secrets.
///
/// Keys that Alertmanager did not have in 0.25 stand there only when the file gives them, since its tools read
/// strictly; keys of our own do not stand there at all.
struct EffectiveWriter {
    private let map: SettingsMap
    private(set) var members: [JSON.Member] = []

    /// What was read of a map, each of whose keys has been taken.
    init(_ map: SettingsMap) { self.map = map }

    var json: JSON { .object(members) }

    /// A value by its key; nil: it is not there.
    mutating func add(_ key: String, _ value: JSON?) {
        if let value { members.append(JSON.Member(key, value)) }
    }

    /// Keys as the file gives them.
    mutating func copy(_ keys: String...) {
        for key in keys { add(key, map.takeNode(key).map(EffectiveWriter.json)) }
    }

    /// A template that is in force.
    mutating func add(_ keys: [String], of templates: ChannelTemplates) {
        for key in keys { add(key, templates[key].map { .string($0.written) }) }
    }

    /// A secret, or the file that it stands in.
    mutating func add(_ key: String, secret: Secret?) {
        guard let secret else { return }
        if let path = secret.path {
            add("\(key)_file", .string(path))
        } else if !secret.isEmpty {
            add(key, .string(secret.description))
        }
    }

    /// A value as it was written, in the file's order, variables too.
    static func json(_ node: SettingsNode) -> JSON {
        switch node.asWritten.shape {
        case .null: .null
        case .bool(let value): .bool(value)
        case .number(let value): .number(value)
        case .text(let text): .string(text)
        case .list(let items): .array(items.map(json))
        case .map(let pairs):
            .object(pairs.compactMap { pair in (try? pair.key.text()).map { JSON.Member($0, json(pair.value)) } })
        }
    }

    private static let secretKeys: Set<String> = [
        "password", "credentials", "client_secret", "bearer_token", "key", "secrets", "proxy_connect_header",
    ]

    /// An `http_config` or a `tls_config`, secrets masked.
    static func masked(_ json: JSON) -> JSON {
        switch json {
        case .array(let items): return .array(items.map(masked))
        case .object(let members):
            return .object(
                members.map { member in
                    let name = member.name
                    if secretKeys.contains(name) { return JSON.Member(name, hidden(member.value)) }
                    if name == "proxy_url" || name == "token_url", let url = member.value.string {
                        return JSON.Member(name, .string(withoutPassword(url)))
                    }
                    return JSON.Member(name, masked(member.value))
                })
        default: return json
        }
    }

    /// Every text in it masked, its form kept.
    private static func hidden(_ json: JSON) -> JSON {
        switch json {
        case .array(let items): .array(items.map(hidden))
        case .object(let members): .object(members.map { JSON.Member($0.name, hidden($0.value)) })
        default: .string(Secret("").description)
        }
    }

    private static func withoutPassword(_ url: String) -> String {
        guard let start = url.ranges(of: "://").first?.upperBound, let end = url[start...].firstIndex(of: "@"),
            let colon = url[start..<end].firstIndex(of: ":")
        else { return url }
        return "\(url[...colon])xxxxx\(url[end...])"
    }

    /// `http_config` with its defaults; nil without one.
    static func http(_ map: SettingsMap?) -> JSON? {
        guard let node = map?.takeNode("http_config"), case .object(var members) = masked(json(node)) else {
            return nil
        }
        if let place = members.firstIndex(where: { $0.name == "authorization" }),
            case .object(let parts) = members[place].value, !parts.contains(where: { $0.name == "type" })
        {
            members[place].value = .object([JSON.Member("type", "Bearer")] + parts)
        }
        for key in ["follow_redirects", "enable_http2"] where !members.contains(where: { $0.name == key }) {
            members.append(JSON.Member(key, true))
        }
        return .object(members)
    }

    static let standardHTTP: JSON = ["follow_redirects": true, "enable_http2": true]
}

extension NotifyingSettings {
    /// Alertmanager's part of `global` as it is in force.
    static func effective(_ global: SettingsMap?, _ http: JSON, _ resolveTimeout: Milliseconds) -> JSON {
        var members = [
            JSON.Member("resolve_timeout", .string(DurationText.format(resolveTimeout))),
            JSON.Member("http_config", http),
        ]
        if let global {
            var writer = EffectiveWriter(global)
            writer.copy("smtp_from", "smtp_hello", "smtp_smarthost", "smtp_auth_username")
            for key in ["smtp_auth_password", "smtp_auth_secret"] { writer.mask(key) }
            writer.copy("smtp_auth_identity", "smtp_require_tls", "smtp_force_implicit_tls")
            writer.add(
                "smtp_tls_config",
                global.takeNode("smtp_tls_config").map { EffectiveWriter.masked(EffectiveWriter.json($0)) })
            for key in ["slack_api_url", "slack_app_token"] { writer.mask(key) }
            writer.copy("slack_app_url", "pagerduty_url")
            members += writer.members
        }
        return .object(members)
    }
}

extension EffectiveWriter {
    /// A secret as the file gives it, or its file.
    mutating func mask(_ key: String) {
        if let text = try? map.takeNode(key)?.text(), !text.isEmpty { add(key, .string(Secret("").description)) }
        copy("\(key)_file")
    }
}
