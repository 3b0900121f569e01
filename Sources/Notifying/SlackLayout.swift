internal import Basics
internal import Settings

/// The attachment as Alertmanager lays it out.
///
/// - SeeAlso: Alertmanager, `notify/slack`; docs.slack.dev, "Secondary message attachments".
struct SlackLayout: Sendable {
    private struct Field: Sendable {
        var title: PageTemplate, value: PageTemplate, isShort: Bool
    }
    private struct Action: Sendable {
        var parts: [(key: String, template: PageTemplate)], confirmation: [(key: String, template: PageTemplate)]
    }

    private var fields: [Field] = [], actions: [Action] = []
    private var mrkdwnIn: [String] = []
    /// Whether names and channels in the text become links.
    private(set) var linkNames = false
    /// Whether the receiver asks for this layout by more than its texts.
    var isGiven: Bool { !fields.isEmpty || !actions.isEmpty || !mrkdwnIn.isEmpty }

    /// The attachment's texts, and those of the message.
    static let textKeys = [
        "title", "title_link", "pretext", "text", "fallback", "callback_id", "footer", "image_url", "thumb_url",
    ]
    static let plainKeys = ["channel", "username", "icon_emoji", "icon_url", "message_text", "color"]
    /// What stands there when nothing is given.
    static let defaults: [String: String] = Dictionary(
        uniqueKeysWithValues: [
            ("username", "username"), ("color", "color"), ("title", "title"), ("title_link", "titlelink"),
            ("pretext", "pretext"), ("text", "text"), ("footer", "footer"), ("fallback", "fallback"),
            ("callback_id", "callbackid"), ("icon_emoji", "iconemoji"), ("icon_url", "iconurl"),
        ].map { ($0.0, "{{ template \"slack.default.\($0.1)\" . }}") })

    init() {}

    init(from map: SettingsMap, _ texts: PageTexts) throws(SettingsError) {
        linkNames = try map.take("link_names", default: false)
        mrkdwnIn = try map.take("mrkdwn_in", default: [])
        let areShort = try map.take("short_fields", default: false)
        for part in try map.takeMaps("fields") {
            guard let title = try part.takeTemplate("title", texts), !title.text.isEmpty else {
                throw part.error("missing title in Slack field configuration; give it one")
            }
            guard let value = try part.takeTemplate("value", texts), !value.text.isEmpty else {
                throw part.error("missing value in Slack field configuration; give it one")
            }
            fields.append(Field(title: title, value: value, isShort: try part.take("short", default: areShort)))
            try part.finish()
        }
        for part in try map.takeMaps("actions") { actions.append(try SlackLayout.action(part, texts)) }
    }

    private static func action(_ map: SettingsMap, _ texts: PageTexts) throws(SettingsError) -> Action {
        func parts(_ map: SettingsMap, _ keys: [String]) throws(SettingsError) -> [(
            key: String, template: PageTemplate
        )] {
            var parts: [(key: String, template: PageTemplate)] = []
            for key in keys {
                if let template = try map.takeTemplate(key, texts), !template.text.isEmpty {
                    parts.append((key, template))
                }
            }
            return parts
        }
        var action = Action(parts: try parts(map, ["type", "text", "url", "style", "name", "value"]), confirmation: [])
        let given = Set(action.parts.map(\.key))
        for key in ["type", "text"] where !given.contains(key) {
            throw map.error("missing \(key) in Slack action configuration; give it one")
        }
        guard given.contains("name") || given.contains("url") else {
            throw map.error("missing name or url in Slack action configuration; give one of them")
        }
        if let confirmation = try map.takeMap("confirm") {
            action.confirmation = try parts(confirmation, ["text", "title", "ok_text", "dismiss_text"])
            guard action.confirmation.first?.key == "text" else {
                throw confirmation.error("missing text in Slack confirmation configuration; give it one")
            }
            try confirmation.finish()
        }
        try map.finish()
        return action
    }

    /// The members in Alertmanager's order; texts that no template gives are the evidence.
    func attachment(_ renderer: inout PageRenderer, _ templates: ChannelTemplates) -> [JSON.Member] {
        let evidence = renderer.evidence()
        let (sections, shown) = SlackBlocks.sections(evidence)
        let fallbacks = [
            "title": evidence.title, "title_link": evidence.externalURL, "fallback": evidence.title,
            "text": sections.joined(separator: "\n\n"), "footer": SlackBlocks.notes(evidence, after: shown),
            "color": SlackBlocks.colour(evidence),
        ]
        var members: [JSON.Member] = []
        func add(_ key: String, isNeeded: Bool = false) {
            var text = renderer.text(templates[key], key) ?? fallbacks[key] ?? ""
            if key == "title" { text = truncated(text, to: 1024) }
            if isNeeded || !text.isEmpty { members.append(JSON.Member(key, .string(text))) }
        }
        for key in ["title", "title_link", "pretext"] { add(key) }
        for key in ["text", "fallback", "callback_id"] { add(key, isNeeded: true) }
        func rendered(_ parts: [(key: String, template: PageTemplate)], _ name: String) -> [JSON.Member] {
            parts.compactMap { part in
                let text = renderer.text(part.template, "\(name).\(part.key)") ?? ""
                return text.isEmpty ? nil : JSON.Member(part.key, .string(text))
            }
        }
        if !fields.isEmpty {
            let values = fields.map { field in
                JSON.object(
                    [
                        JSON.Member("title", .string(renderer.text(field.title, "fields.title") ?? "")),
                        JSON.Member("value", .string(renderer.text(field.value, "fields.value") ?? "")),
                        JSON.Member("short", .bool(field.isShort)),
                    ])
            }
            members.append(JSON.Member("fields", .array(values)))
        }
        if !actions.isEmpty {
            let values = actions.map { action in
                var parts = rendered(action.parts, "actions")
                if !action.confirmation.isEmpty {
                    parts.append(JSON.Member("confirm", .object(rendered(action.confirmation, "actions.confirm"))))
                }
                return JSON.object(parts)
            }
            members.append(JSON.Member("actions", .array(values)))
        }
        for key in ["image_url", "thumb_url"] { add(key) }
        add("footer", isNeeded: true)
        add("color")
        let marked = mrkdwnIn.isEmpty ? ["fallback", "pretext", "text"] : mrkdwnIn
        members.append(JSON.Member("mrkdwn_in", .array(marked.map { .string($0) })))
        return members
    }
}
