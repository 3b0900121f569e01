internal import Alerting
public import Basics
internal import Model
public import Settings
internal import Templates
internal import Transport

/// PagerDuty's Events API v2: one event for a group, triggered and resolved by one key; v1 for old service keys.
///
/// - SeeAlso: developer.pagerduty.com, "Send an Alert Event", "Send a Change Event"; Alertmanager, `notify/pagerduty`.
public struct PagerDutyChannel: Channel {
    /// The integration's key.
    public var key: Secret
    /// Whether the key is a `service_key`, of the API before this one.
    public var isServiceKey = false
    /// Default: `https://events.pagerduty.com/v2/enqueue`.
    public var url = "https://events.pagerduty.com/v2/enqueue"
    /// Default: true.
    public var sendsResolved = true
    /// Whether what a rollback or a deploy announces, an alert with the label `action`, is sent as a change event too.
    public var sendsChanges = false
    /// Who to be, TLS, how long.
    public var client = ChannelClient()
    /// What texts are made with.
    public var texts = PageTexts()
    /// See `Channel`.
    public private(set) var effective: JSON = .null
    var templates = ChannelTemplates()
    var details: TemplateTree?
    private var images: [[(key: String, template: PageTemplate)]] = []
    private var links: [[(key: String, template: PageTemplate)]] = []

    /// The greatest length of an event in bytes; longer ones lose details.
    static let maximumBytes = 512_000
    private static let oldURL = "https://events.pagerduty.com/generic/2010-04-15/create_event.json"

    /// A channel with the defaults.
    public init(routingKey: Secret) { key = routingKey }

    static let registration = ChannelKind(key: "pagerduty_configs") { global, context throws(SettingsError) in
        let url = try global?.take("pagerduty_url", as: String.self)
        if let global, let url { try global.checkURL(Secret(url), "pagerduty_url") }
        return { map throws(SettingsError) in try PagerDutyChannel(from: map, url: url, context) }
    }

    private static let textKeys = [
        "description", "client", "client_url", "source", "severity", "class", "component", "group",
    ]
    private static let defaults = [
        "description": "{{ template \"pagerduty.default.description\" .}}",
        "client": "{{ template \"pagerduty.default.client\" . }}",
        "client_url": "{{ template \"pagerduty.default.clientURL\" . }}",
    ]
    private static let defaultDetails = [
        "firing": "{{ .Alerts.Firing | toJson }}", "resolved": "{{ .Alerts.Resolved | toJson }}",
        "num_firing": "{{ .Alerts.Firing | len }}", "num_resolved": "{{ .Alerts.Resolved | len }}",
    ]

    init(from map: SettingsMap, url: String?, _ context: ChannelContext) throws(SettingsError) {
        let routing = try map.takeSecret("routing_key")
        let service = try map.takeSecret("service_key")
        guard let key = [routing, service].compactMap(\.self).first(where: { $0.path != nil || !$0.isEmpty }) else {
            throw map.error("missing service or routing key in PagerDuty config; give routing_key")
        }
        (self.key, isServiceKey) = (key, routing?.path == nil && routing?.isEmpty != false)
        self.url = try map.take("url", default: url ?? self.url)
        try map.checkURL(Secret(self.url), "url")
        texts = context.texts
        client = try ChannelClient(from: map, defaults: context.http)
        sendsResolved = try map.take("send_resolved", default: sendsResolved)
        sendsChanges = try map.take("change_events", default: false)
        if sendsChanges, isServiceKey {
            throw map.error("change_events", "a service_key knows no change events; give a routing_key")
        }
        templates = try ChannelTemplates(
            from: map, PagerDutyChannel.textKeys, defaults: PagerDutyChannel.defaults, texts)
        details = try takeDetails(map)
        images = try takeParts("images", ["src", "alt", "href"], map)
        links = try takeParts("links", ["href", "text"], map)
        effective = shown(map, context)
        try map.finish()
    }

    private func shown(_ map: SettingsMap, _ context: ChannelContext) -> JSON {
        var writer = EffectiveWriter(map)
        writer.add("send_resolved", .bool(sendsResolved))
        writer.add("http_config", EffectiveWriter.http(map) ?? context.shownHTTP)
        writer.add(isServiceKey ? "service_key" : "routing_key", secret: key)
        writer.add("url", .string(url))
        writer.add(["client", "client_url", "description"], of: templates)
        var given = map.takeNode("details").flatMap { EffectiveWriter.json($0).members } ?? []
        if texts.style == .alertmanager {
            for (name, text) in PagerDutyChannel.defaultDetails where !given.contains(where: { $0.name == name }) {
                given.append(JSON.Member(name, .string(text)))
            }
        }
        if !given.isEmpty { writer.add("details", .object(given.sorted { $0.name < $1.name })) }
        writer.copy("images", "links", "source", "severity", "class", "component", "group", "timeout")
        return writer.json
    }

    /// The given details, and in Alertmanager's style its own beside them.
    private func takeDetails(_ map: SettingsMap) throws(SettingsError) -> TemplateTree? {
        var pairs: [(key: PageTemplate, value: TemplateTree)] = []
        if let node = map.takeNode("details") {
            guard case .map(let given) = try TemplateTree(node, key: "details", library: texts.library) else {
                throw map.error("details", "expected a map")
            }
            pairs = given
        }
        if texts.style == .alertmanager {
            for (name, text) in PagerDutyChannel.defaultDetails where !pairs.contains(where: { $0.key.text == name }) {
                pairs.append(
                    (
                        key: try PageTemplate(SettingsValue(name), key: "details", library: texts.library),
                        value: .text(try PageTemplate(SettingsValue(text), key: "details", library: texts.library))
                    ))
            }
        }
        return pairs.isEmpty ? nil : .map(pairs)
    }

    private func takeParts(
        _ key: String, _ names: [String], _ map: SettingsMap
    ) throws(SettingsError) -> [[(key: String, template: PageTemplate)]] {
        var result: [[(key: String, template: PageTemplate)]] = []
        for part in try map.takeMaps(key) {
            var parts: [(key: String, template: PageTemplate)] = []
            for name in names {
                if let template = try part.takeTemplate(name, texts) { parts.append((name, template)) }
            }
            try part.finish()
            result.append(parts)
        }
        return result
    }

    /// `pagerduty`.
    public var kind: String { "pagerduty" }

    /// Trigger while anything fires, resolve when nothing does.
    public func plan(for page: Page, reading files: @escaping Secret.FileReader) throws -> ChannelPlan {
        let key = try key.reveal(files)
        var renderer = PageRenderer(page, texts, files, sendsResolved: sendsResolved)
        let (body, notes) = renderer.make { renderer in
            isServiceKey ? oldEvent(page, key, &renderer) : event(page, key, &renderer)
        }
        let address = isServiceKey ? PagerDutyChannel.oldURL : url
        var steps = [ChannelStep("event", .http(try client.post(body, to: address, page, reading: files)))]
        if sendsChanges, !page.notification.commonLabels["action"].isEmpty {
            let address = url.hasSuffix("/enqueue") ? "\(url.dropLast(8))/change/enqueue" : url
            let change = change(page, key, renderer.evidence())
            steps.append(
                ChannelStep(
                    "change", .http(try client.post(change, to: address, page, reading: files)), isOptional: true))
        }
        return client.plan(steps, notes: notes)
    }

    /// 202 is good; 200 only with PagerDuty's own words, since a page of a proxy is no receipt.
    public func verdict(on answer: ChannelAnswer, to step: ChannelStep, of page: Page) -> (Verdict, Receipt) {
        guard case .http(let response) = answer else { return (.foreign, Receipt()) }
        if response.status == 200, (try? JSON(parsing: response.body))?["status"]?.string != "success" {  // Or no JSON.
            let shown = Verdict.shown(response.body)
            return (.retry(reason: .badAnswer, after: nil, "the answer is not PagerDuty's: \(shown)"), Receipt())
        }
        let verdict = Verdict.standard(response)
        if case .retry(.rateLimited, nil, let text) = verdict {
            return (.retry(reason: .rateLimited, after: 30_000, text), Receipt())  // As PagerDuty asks.
        }
        // The old API says so when it is asked too often.
        if isServiceKey, response.status == 403, case .refused(_, let text) = verdict {
            return (.retry(reason: .rateLimited, after: 30_000, text), Receipt())
        }
        return (verdict, Receipt())
    }

    /// The key and the credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] {
        revealed([key] + client.http.allSecrets + client.variables, files)
    }

    /// One for each key.
    public var destination: String { Notifying.destination(kind, key) }
    /// 120 events in a minute.
    public var rate: SendingRate? { client.rate ?? SendingRate(burst: 120, interval: 500) }

    // MARK: Events

    private func event(_ page: Page, _ key: String, _ renderer: inout PageRenderer) -> JSON {
        let notification = page.notification
        let sender = renderer.text(templates["client"], "client") ?? "Vedette"
        var tail = [JSON.Member("client", .string(sender))]
        let address = renderer.text(templates["client_url"], "client_url") ?? page.externalURL
        if !address.isEmpty { tail.append(JSON.Member("client_url", .string(address))) }
        let images = rendered(self.images, "images", needed: "src", &renderer)
        if !images.isEmpty { tail.append(JSON.Member("images", .array(images))) }
        var links = rendered(self.links, "links", needed: "href", &renderer)
        if links.isEmpty, texts.style == .evidence || renderer.isPlain {
            links = notification.links.prefix(20).map { JSON(["href": $0.url, "text": $0.text]) }
        }
        if !links.isEmpty { tail.append(JSON.Member("links", .array(links))) }
        let head = payload(page, sender, &renderer)
        func whole(_ details: JSON) -> JSON {
            .object(
                [
                    JSON.Member("routing_key", .string(key)),
                    JSON.Member("dedup_key", .string(Digest.hexadecimal(of: notification.groupKey, .sha256))),
                    JSON.Member("event_action", .string(notification.isFiring ? "trigger" : "resolve")),
                    JSON.Member("payload", .object(head + [JSON.Member("custom_details", details)])),
                ] + tail)
        }
        return fitted(page, &renderer, whole)
    }

    private func payload(_ page: Page, _ sender: String, _ renderer: inout PageRenderer) -> [JSON.Member] {
        let notification = page.notification
        let summary = renderer.text(templates["description"], "description") ?? notification.title
        let usual = texts.style == .alertmanager && !renderer.isPlain ? "error" : notification.severity.name
        var severity = renderer.text(templates["severity"], "severity") ?? usual
        // PagerDuty takes four words, and refuses a page with any other.
        if !Severity.allCases.map(\.name).contains(severity) { severity = Severity(label: severity).name }
        var members: [JSON.Member] = [
            JSON.Member("summary", .string(truncated(summary, to: 1024))),
            JSON.Member("source", .string(renderer.text(templates["source"], "source") ?? sender)),
            JSON.Member("severity", .string(severity)),
        ]
        if texts.style == .evidence, let start = notification.items.map(\.alert.startsAt).min() {
            members.append(JSON.Member("timestamp", .string(start.rfc3339())))
        }
        for name in ["class", "component", "group"] {
            if let text = renderer.text(templates[name], name), !text.isEmpty {
                members.append(JSON.Member(name, .string(text)))
            }
        }
        return members
    }

    /// An event with as many details as it may have.
    private func fitted(_ page: Page, _ renderer: inout PageRenderer, _ whole: (JSON) -> JSON) -> JSON {
        let given = renderer.tree(details, "details")
        if texts.style == .alertmanager, let given {
            let body = whole(given)
            guard body.serialized().count > PagerDutyChannel.maximumBytes else { return body }
            return whole(["error": "the details are left out: with them the event is longer than 512 KB"])
        }
        var shown = renderer.items.count
        while true {
            let body = whole(evidenceDetails(page, renderer, given, shown: shown))
            guard shown > 0, body.serialized().count > PagerDutyChannel.maximumBytes else { return body }
            shown /= 2
        }
    }

    private func evidenceDetails(_ page: Page, _ renderer: PageRenderer, _ given: JSON?, shown: Int) -> JSON {
        let notification = page.notification
        let items = renderer.items.prefix(shown)
        let evidence = renderer.evidence()
        var details: [JSON.Member] = [
            JSON.Member("firing", .array(items.filter { !$0.isResolved }.map(\.alertmanagerJSON))),
            JSON.Member("num_firing", .number(Double(notification.firing.count))),
            JSON.Member("num_resolved", .number(Double(notification.resolved.count))),
            JSON.Member("resolved", .array(items.filter(\.isResolved).map(\.alertmanagerJSON))),
            JSON.Member("group_labels", JSON(notification.groupLabels)),
        ]
        let values = evidence.items.prefix(min(shown, 20)).compactMap { item in
            item.value.map { JSON.string("\(item.what): \($0) since \(item.since.rfc3339())") }
        }
        if !values.isEmpty { details.append(JSON.Member("values", .array(values))) }
        let steps = evidence.items.prefix(20).compactMap { item in
            item.firstSteps.map { JSON.Member(item.name, .string($0)) }
        }
        if !steps.isEmpty { details.append(JSON.Member("first_steps", .object(steps))) }
        let hidden = renderer.items.count - items.count
        if hidden > 0 { details.append(JSON.Member("left_out", .number(Double(hidden)))) }
        if page.attempt > 1 { details.append(JSON.Member("attempt", .number(Double(page.attempt)))) }
        if page.isPossiblyRepeated { details.append(JSON.Member("possibly_repeated", true)) }
        if page.isUnjournalled { details.append(JSON.Member("unjournalled", true)) }
        if let receiver = page.standsInFor { details.append(JSON.Member("in_place_of", .string(receiver))) }
        if page.isOld {
            details.append(JSON.Member("decided_at", .string(page.notification.decidedAt.rfc3339())))
        }
        let problems = renderer.notes
        if !problems.isEmpty { details.append(JSON.Member("notes", .array(problems.map { .string($0) }))) }
        for member in given?.members ?? [] {
            details.removeAll { $0.name == member.name }
            details.append(member)
        }
        return .object(details)
    }

    private func oldEvent(_ page: Page, _ key: String, _ renderer: inout PageRenderer) -> JSON {
        let notification = page.notification
        let description = renderer.text(templates["description"], "description") ?? notification.title
        var members = [
            JSON.Member("service_key", .string(key)),
            JSON.Member("incident_key", .string(Digest.hexadecimal(of: notification.groupKey, .sha256))),
            JSON.Member("event_type", .string(notification.isFiring ? "trigger" : "resolve")),
            JSON.Member("description", .string(truncated(description, to: 1024))),
        ]
        if notification.isFiring {
            members.append(
                JSON.Member("client", .string(renderer.text(templates["client"], "client") ?? "Vedette")))
            let address = renderer.text(templates["client_url"], "client_url") ?? page.externalURL
            if !address.isEmpty { members.append(JSON.Member("client_url", .string(address))) }
        }
        return fitted(page, &renderer) { .object(members + [JSON.Member("details", $0)]) }
    }

    private func change(_ page: Page, _ key: String, _ evidence: Evidence) -> JSON {
        let notification = page.notification
        let links = notification.links.prefix(20).map { JSON(["href": $0.url, "text": $0.text]) }
        var payload = [
            JSON.Member("summary", .string(truncated(notification.title, to: 1024))),
            JSON.Member("source", "Vedette"), JSON.Member("timestamp", .string(notification.decidedAt.rfc3339())),
        ]
        let details = evidence.items.first.map { item in
            Dictionary(item.labels.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }).merging(
                ["what": item.what, "description": item.more ?? ""]) { $1 }
        }
        payload.append(JSON.Member("custom_details", JSON(details ?? [:])))
        return ["routing_key": .string(key), "payload": .object(payload), "links": .array(Array(links))]
    }

    /// Entries whose needed part is not empty.
    private func rendered(
        _ entries: [[(key: String, template: PageTemplate)]], _ name: String, needed: String,
        _ renderer: inout PageRenderer
    ) -> [JSON] {
        entries.compactMap { parts in
            let members = parts.compactMap { part -> JSON.Member? in
                let text = renderer.text(part.template, "\(name).\(part.key)") ?? ""
                return text.isEmpty ? nil : JSON.Member(part.key, .string(text))
            }
            return members.contains { $0.name == needed } ? .object(members) : nil
        }
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
