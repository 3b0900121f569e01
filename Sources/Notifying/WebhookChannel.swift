internal import Alerting
public import Basics
internal import Model
public import Settings
internal import Templates
internal import Transport

/// Alertmanager's webhook: payload version 4, or a body of the receiver's own.
///
/// - SeeAlso: Alertmanager, `notify/webhook`.
public struct WebhookChannel: Channel {
    /// Where to; a secret, since tokens stand in it. It may be a template.
    public var url: Secret
    /// Default: true.
    public var sendsResolved = true
    /// How many alerts a page holds at most; 0: all. Default: 0.
    public var maximumAlerts = 0
    /// Who to be, TLS, how long.
    public var client = ChannelClient()
    /// What texts are made with.
    public var texts = PageTexts()
    /// See `Channel`.
    public private(set) var effective: JSON = .null
    var payload: TemplateTree?

    static let registration = ChannelKind(key: "webhook_configs") { _, context throws(SettingsError) in
        { map throws(SettingsError) in try WebhookChannel(from: map, context) }
    }

    /// A webhook with the defaults.
    public init(url: Secret) { self.url = url }

    init(from map: SettingsMap, _ context: ChannelContext) throws(SettingsError) {
        guard let url = try map.takeSecret("url"), url.path != nil || !url.isEmpty else {
            throw map.error("url is missing: one of url or url_file must be configured")
        }
        (self.url, texts) = (url, context.texts)
        sendsResolved = try map.take("send_resolved", default: sendsResolved)
        maximumAlerts = try map.take("max_alerts", default: maximumAlerts)
        guard maximumAlerts >= 0 else { throw map.error("max_alerts", "must not be negative; 0 means all") }
        client = try ChannelClient(from: map, defaults: context.http)
        payload = try map.takeNode("payload").map { node throws(SettingsError) in
            try TemplateTree(node, key: "payload", library: context.texts.library)
        }
        try checkTemplate(map)
        var writer = EffectiveWriter(map)
        writer.add("send_resolved", .bool(sendsResolved))
        writer.add("http_config", EffectiveWriter.http(map) ?? context.shownHTTP)
        // Alertmanager masks it whole; its tool of 0.25 wants an address there.
        if url.path == nil {
            writer.add("url", .string("http://secret/\(url)"))
        } else {
            writer.add("url", secret: url)
        }
        writer.add("max_alerts", .number(Double(maximumAlerts)))
        writer.copy("timeout", "payload")
        effective = writer.json
        try map.finish()
    }

    /// An address without templates must be one; one with templates must be well-formed.
    private func checkTemplate(_ map: SettingsMap) throws(SettingsError) {
        guard url.path == nil, let text = try? url.reveal({ _ in [] }) else { return }
        guard text.contains("{{") else { return try map.checkURL(url, "url") }
        do throws(TemplateError) {
            _ = try PageTemplate(text, library: texts.library)
        } catch {
            throw map.error("url", "invalid template syntax: it cannot be read as a template")  // Its text is secret.
        }
    }

    /// `webhook`.
    public var kind: String { "webhook" }

    /// A POST of the payload; the headers carry the key and what the payload has no room for.
    public func plan(for page: Page, reading files: @escaping Secret.FileReader) throws -> ChannelPlan {
        var renderer = PageRenderer(page, texts, files, sendsResolved: sendsResolved, limit: maximumAlerts)
        let address = try address(renderer, files)
        let (body, notes) = renderer.make { renderer in
            renderer.tree(payload, "payload")?.serialized() ?? standardBody(page, renderer)
        }
        var headers = [HTTPHeader("X-Vedette-Attempt", "\(page.attempt)")]
        if page.isPossiblyRepeated { headers.append(HTTPHeader("X-Vedette-Possibly-Repeated", "true")) }
        if page.isUnjournalled { headers.append(HTTPHeader("X-Vedette-Unjournalled", "true")) }
        if let receiver = page.standsInFor {
            headers.append(HTTPHeader("X-Vedette-Stands-In-For", receiver.percentEncoded))
        }
        if page.isOld {
            headers.append(HTTPHeader("X-Vedette-Decided-At", page.notification.decidedAt.rfc3339()))
        }
        let request = try client.post(body, to: address, page, headers: headers, reading: files)
        return client.plan([ChannelStep("page", .http(request))], notes: notes)
    }

    private func address(_ renderer: PageRenderer, _ files: Secret.FileReader) throws -> String {
        let text = try url.reveal(files)
        guard text.contains("{{") else { return try url.revealURL(reading: files) }
        do {
            let template = try PageTemplate(text, library: texts.library)
            return try Secret(renderer.address(template, "url")).revealURL(reading: files)
        } catch is UnusableURL {
            throw ChannelError(.template, UnusableURL().description)
        } catch {
            throw ChannelError(.template, "the template of url failed")  // Its words would show the secret.
        }
    }

    /// By the status alone.
    public func verdict(on answer: ChannelAnswer, to step: ChannelStep, of page: Page) -> (Verdict, Receipt) {
        guard case .http(let response) = answer else { return (.foreign, Receipt()) }
        return (.standard(response), Receipt())
    }

    /// The address and the credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] {
        revealed([url] + client.http.allSecrets + client.variables, files)
    }

    /// One for each address: behind one host may stand many receivers, of which one alone asks for a pause.
    public var destination: String { Notifying.destination(kind, url) }
    /// As fast as they come, unless the receiver says otherwise.
    public var rate: SendingRate? { client.rate }

    private func standardBody(_ page: Page, _ renderer: PageRenderer) -> [UInt8] {
        let (notification, items) = (page.notification, renderer.items)
        let told = sendsResolved ? notification.items.count : notification.items.count { !$0.isResolved }
        var body: [UInt8] = []
        body.reserveCapacity(1024 + 512 * items.count)
        body.append(literal: #"{"receiver":"#)
        JSON.write(quotedMeta(notification.receiver), to: &body)
        body.append(literal: notification.isFiring ? #","status":"firing""# : #","status":"resolved""#)
        body.append(literal: #","alerts":["#)
        for index in items.indices {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            items[index].writeAsAlertmanager(to: &body)
        }
        body.append(literal: #"],"notification_reason":"#)
        JSON.write(notification.reason.rawValue, to: &body)
        body.append(literal: #","groupLabels":"#)
        notification.groupLabels.write(to: &body)
        body.append(literal: #","commonLabels":"#)
        Notification.commonLabels(of: items).write(to: &body)
        body.append(literal: #","commonAnnotations":"#)
        JSON.write(Notification.commonAnnotations(of: items), to: &body)
        body.append(literal: #","externalURL":"#)
        JSON.write(page.externalURL, to: &body)
        body.append(literal: #","version":"4","groupKey":"#)
        JSON.write(notification.groupKey, to: &body)
        body.append(literal: #","truncatedAlerts":"#)
        body.append(decimal: Int64(told - items.count))
        if texts.style == .evidence {
            body.append(literal: #","evidence":"#)
            renderer.evidence().json.write(to: &body)
        }
        body.append(UInt8(ascii: "}"))
        return body
    }
}

extension Evidence {
    /// What Alertmanager's payload has no room for, beside its members.
    fileprivate var json: JSON {
        let items = items.map { item -> JSON in
            var members = [JSON.Member("name", .string(item.name)), JSON.Member("what", .string(item.what))]
            members += item.facts.map { JSON.Member($0.name, .string($0.value)) }
            if let steps = item.firstSteps { members.append(JSON.Member("firstSteps", .string(steps))) }
            return .object(members)
        }
        var members: [JSON.Member] = [
            JSON.Member("title", .string(title)), JSON.Member("severity", .string(severity.name)),
            JSON.Member("alerts", .array(items)),
        ]
        if !notes.isEmpty { members.append(JSON.Member("notes", .array(notes.map { .string($0) }))) }
        return .object(members)
    }
}

extension Notification.Item {
    /// Appends an alert as Alertmanager's payloads hold it; one that fires ends at Go's zero time.
    fileprivate func writeAsAlertmanager(to output: inout [UInt8]) {
        output.append(literal: isResolved ? #"{"status":"resolved","labels":"# : #"{"status":"firing","labels":"#)
        alert.labels.write(to: &output)
        output.append(literal: #","annotations":"#)
        JSON.write(alert.annotations, to: &output)
        output.append(literal: #","startsAt":""#)
        alert.startsAt.writeRFC3339(trimmed: true, to: &output)
        output.append(literal: #"","endsAt":""#)
        ((isResolved ? alert.endsAt : nil) ?? .goZero).writeRFC3339(trimmed: true, to: &output)
        output.append(literal: #"","generatorURL":"#)
        JSON.write(alert.generatorURL, to: &output)
        output.append(literal: #","fingerprint":""#)
        output.append(hexadecimal: alert.labels.fingerprint)
        output.append(literal: "\"}")
    }

    /// The same as a value.
    var alertmanagerJSON: JSON {
        let end = (isResolved ? alert.endsAt : nil) ?? .goZero
        return [
            "status": .string(isResolved ? "resolved" : "firing"), "labels": JSON(alert.labels),
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
