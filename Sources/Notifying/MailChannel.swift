internal import Alerting
public import Basics
internal import Model
public import Settings
internal import Templates
public import Transport

/// Mail through a server of one's own.
///
/// - SeeAlso: Alertmanager, `notify/email`; RFC 5321, RFC 3834 ("Auto-Submitted").
public struct MailChannel: Channel {
    /// The server.
    public var host: String, port: Int
    /// How we call ourselves. Default: `localhost`.
    public var hello = "localhost"
    /// Whose account is used; empty: none. The identity is on whose behalf.
    public var username = "", identity = ""
    /// For PLAIN and LOGIN, and for CRAM-MD5.
    public var password: Secret?, secret: Secret?
    /// Whether the connection has to be secured by STARTTLS. Default: true.
    public var requiresTLS = true
    /// Whether TLS begins at once; by default on port 465.
    public var isImplicit = false
    /// TLS.
    public var options = HTTPOptions()
    /// Default: false, as in Alertmanager.
    public var sendsResolved = false
    /// The longest a session may take. Default: 1 min, since some servers greet slowly on purpose.
    public var timeout: Milliseconds = 60_000
    /// `rate_limit`; by default as fast as they come.
    public var rate: SendingRate?
    /// What texts are made with.
    public var texts = PageTexts()
    /// See `Channel`.
    public private(set) var effective: JSON = .null
    /// What variables gave to the entry, cut out of what is told like its secrets.
    private var variables: [Secret] = []
    var from: PageTemplate, to: PageTemplate
    var headers: [(name: String, template: PageTemplate)] = []
    var templates = ChannelTemplates()
    private var threading: Threading?

    /// How a group's mails belong together.
    private enum Threading: String { case none, daily }

    static let registration = ChannelKind(key: "email_configs") { global, context throws(SettingsError) in
        let shared = try Global(global)
        return { map throws(SettingsError) in try MailChannel(from: map, shared, context) }
    }

    /// The keys of `global`.
    private struct Global {
        var from: SettingsValue?, smarthost: String?, hello = "localhost", username = "", identity = ""
        var password: Secret?, secret: Secret?
        var requiresTLS = true, isImplicit: Bool?, options = HTTPOptions(), shownTLS: JSON?

        init(_ map: SettingsMap?) throws(SettingsError) {
            guard let map else { return }
            from = try map.take("smtp_from", as: SettingsValue.self)
            smarthost = try map.take("smtp_smarthost")
            if let smarthost, !smarthost.isEmpty { _ = try MailChannel.server(smarthost, "smtp_smarthost", map) }
            hello = try map.take("smtp_hello", default: hello)
            username = try map.take("smtp_auth_username", default: "")
            identity = try map.take("smtp_auth_identity", default: "")
            password = try map.takeSecret("smtp_auth_password")
            secret = try map.takeSecret("smtp_auth_secret")
            requiresTLS = try map.take("smtp_require_tls", default: true)
            isImplicit = try map.take("smtp_force_implicit_tls")
            if let tls = try map.takeMap("smtp_tls_config") { options = try HTTPOptions(tls: tls) }
            shownTLS = map.takeNode("smtp_tls_config").map { EffectiveWriter.masked(EffectiveWriter.json($0)) }
        }
    }

    private init(from map: SettingsMap, _ global: Global, _ context: ChannelContext) throws(SettingsError) {
        texts = context.texts
        guard let to = try map.takeTemplate("to", texts), !to.text.isEmpty else {
            throw map.error("to", "missing to address in email config; give one")
        }
        self.to = to
        guard let smarthost = try map.take("smarthost", as: String.self) ?? global.smarthost, !smarthost.isEmpty else {
            throw map.error("no global SMTP smarthost set; give smarthost here or smtp_smarthost under 'global'")
        }
        (host, port) = try MailChannel.server(smarthost, "smarthost", map)
        guard let from = try map.take("from", as: SettingsValue.self) ?? global.from, !from.text.isEmpty else {
            throw map.error("no global SMTP from set; give from here or smtp_from under 'global'")
        }
        self.from = try PageTemplate(from, key: "from", library: texts.library)
        let greeting = try map.take("hello", default: global.hello)
        if !greeting.isEmpty { hello = greeting }
        username = try map.take("auth_username", default: global.username)
        identity = try map.take("auth_identity", default: global.identity)
        password = try map.takeSecret("auth_password") ?? global.password
        secret = try map.takeSecret("auth_secret") ?? global.secret
        requiresTLS = try map.take("require_tls", default: global.requiresTLS)
        isImplicit = try map.take("force_implicit_tls") ?? global.isImplicit ?? (port == 465)
        options = global.options
        if let tls = try map.takeMap("tls_config") { options = try HTTPOptions(tls: tls) }
        sendsResolved = try map.take("send_resolved", default: false)
        rate = try map.takeRate()
        let timeout = try map.takeDuration("timeout", default: self.timeout)
        if timeout > 0 { self.timeout = timeout }
        templates = try ChannelTemplates(
            from: map, ["text", "html"], defaults: ["html": "{{ template \"email.default.html\" . }}"], texts)
        try readHeaders(map)
        try readThreading(map)
        variables = map.variableValues.filter { $0.utf8.count >= 8 }.map { Secret($0) }
        effective = shown(
            map, [("to", to.written), ("from", from.written), ("hello", greeting), ("smarthost", smarthost)], global)
        try map.finish()
    }

    private func shown(_ map: SettingsMap, _ texts: [(key: String, text: String)], _ global: Global) -> JSON {
        var writer = EffectiveWriter(map)
        writer.add("send_resolved", .bool(sendsResolved))
        for (key, text) in texts where !text.isEmpty { writer.add(key, .string(text)) }
        if !username.isEmpty { writer.add("auth_username", .string(username)) }
        writer.add("auth_password", secret: password)
        writer.add("auth_secret", secret: secret)
        if !identity.isEmpty { writer.add("auth_identity", .string(identity)) }
        var shown = headers.map { JSON.Member($0.name, .string($0.template.written)) }
        for (name, text) in [("From", from.written), ("To", to.written)]
        where !shown.contains(where: { $0.name == name }) {
            shown.append(JSON.Member(name, .string(text)))
        }
        writer.add("headers", .object(shown.sorted { $0.name < $1.name }))
        writer.add(["html", "text"], of: templates)
        writer.add("require_tls", .bool(requiresTLS))
        let tls = map.takeNode("tls_config").map { EffectiveWriter.masked(EffectiveWriter.json($0)) } ?? global.shownTLS
        writer.add("tls_config", tls)
        writer.copy("threading", "force_implicit_tls")
        return writer.json
    }

    private mutating func readHeaders(_ map: SettingsMap) throws(SettingsError) {
        var subject = ["Subject": "{{ template \"email.default.subject\" . }}"]
        if let part = try map.takeMap("headers") {
            for key in part.keys {
                let name = MailChannel.canonical(key)
                guard !key.isEmpty, key.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x3A }) else {
                    throw SettingsError(part.location(of: key), "'\(key)' is no header's name; write letters and -")
                }
                guard !headers.contains(where: { $0.name == name }) else {
                    throw SettingsError(
                        part.location(of: key), "duplicate header \"\(name)\" in email config; remove one of the two")
                }
                let value = try part.take(key, as: SettingsValue.self) ?? SettingsValue("")
                headers.append((name, try PageTemplate(value, key: key, library: texts.library)))
                if name == "Subject" { subject = [:] }
            }
            try part.finish()
        }
        var defaults = ChannelTemplates()
        try defaults.fill(subject, texts)
        if let template = defaults["Subject"] { headers.append(("Subject", template)) }
        headers.sort { $0.name < $1.name }
    }

    private mutating func readThreading(_ map: SettingsMap) throws(SettingsError) {
        guard let part = try map.takeMap("threading") else { return }
        let isOn = try part.take("enabled", default: false)
        let text = try part.take("thread_by_date", default: "daily")
        guard let choice = Threading(rawValue: text) else {
            throw part.error("thread_by_date", "threading.thread_by_date must be either 'none' or 'daily'")
        }
        try part.finish()
        threading = isOn ? choice : nil
    }

    /// `HOST:PORT`, IPv6 in brackets.
    private static func server(
        _ text: String, _ key: String, _ map: SettingsMap
    ) throws(SettingsError) -> (String, Int) {
        let place = text.lastIndex(of: ":") ?? text.endIndex
        var host = String(text[..<place])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        let port = place < text.endIndex ? String(text[text.index(after: place)...]) : ""
        // The names that a service's ports have (IANA).
        let names = ["smtp": 25, "submission": 587, "submissions": 465, "smtps": 465]
        guard let number = Int(port) ?? names[port], (1...65_535).contains(number) else {
            throw map.error(key, "address \(text): no port; write HOST:PORT, as in mail.example.org:587")
        }
        return (host.isEmpty ? "localhost" : host, number)
    }

    /// `X-Custom-Header` for `x-CUSTOM-header`.
    ///
    /// - SeeAlso: Go, `textproto.CanonicalMIMEHeaderKey`.
    private static func canonical(_ name: String) -> String {
        name.split(separator: "-", omittingEmptySubsequences: false)
            .map { $0.prefix(1).uppercased() + $0.dropFirst().lowercased() }.joined(separator: "-")
    }

    /// `email`.
    public var kind: String { "email" }

    /// One message for all addresses that do not have it yet.
    public func plan(for page: Page, reading files: @escaping Secret.FileReader) throws -> ChannelPlan {
        var renderer = PageRenderer(page, texts, files, sendsResolved: sendsResolved)
        let from = try renderer.address(self.from, "from")
        guard let senders = MailAddress.list(from), senders.count == 1, let sender = senders.first else {
            throw ChannelError(.clientError, "from is not one address: \(Verdict.shown(Array(from.utf8)))")
        }
        let recipients = try renderer.address(to, "to")
        let items = MailAddress.items(recipients)
        let addresses = items.compactMap { MailAddress($0)?.address }
        var notes = items.filter { MailAddress($0) == nil }.map { "'\(Verdict.shown(Array($0.utf8)))' is no address" }
        guard !addresses.isEmpty else {
            throw ChannelError(.clientError, "to holds no address: \(Verdict.shown(Array(recipients.utf8)))")
        }
        let finished = MailProgress(page.progress)
        var open: [String] = []
        for address in addresses where !finished.isDone(address) && !open.contains(address) { open.append(address) }
        let (text, failures) = renderer.make { message(page, sender, from, recipients, &$0) }
        notes += failures
        var mail = Mail(
            host: host, port: port, sender: sender.address, recipients: open, message: text.serialized())
        (mail.hello, mail.timeout, mail.options) = (hello, timeout, options)
        mail.security = isImplicit ? .implicit : requiresTLS ? .startTLS : .plain
        if !username.isEmpty {
            let revealed = { (secret: Secret?) throws in try secret.map { Secret(try $0.reveal(files)) } }
            mail.credentials = MailCredentials(
                username: username, password: try revealed(password), secret: try revealed(secret))
            mail.credentials?.identity = identity
        }
        var plan = ChannelPlan([ChannelStep("mail", .mail(mail))])
        plan.notes = notes
        return plan
    }

    /// By the answer to each address: who is refused for good does not hold up the others, and who is put off is asked
    /// again alone.
    public func verdict(on answer: ChannelAnswer, to step: ChannelStep, of page: Page) -> (Verdict, Receipt) {
        guard case .mail(let mail) = answer, case .mail(let sent) = step.request else { return (.foreign, Receipt()) }
        var progress = MailProgress(page.progress)
        var receipt = Receipt()
        var (late, words): ([String], [String]) = ([], [])
        for address in sent.recipients {
            let answer = mail.recipients[address]
            if let answer, answer.isPermanent {
                progress.refused.append(address)
                words.append("\(address) is refused: \(answer.shown)")
            } else if let answer, !answer.isAccepted {
                late.append(address)
                words.append("\(address) is put off: \(answer.shown)")
            } else if mail.isAccepted {
                progress.delivered.append(address)
            }
        }
        receipt.progress = progress.dictionary
        let text = words.joined(separator: "; ")
        if mail.isAccepted || mail.command == "RCPT" {
            if !late.isEmpty { return (.retry(reason: .serverError, after: nil, text), receipt) }
            if progress.delivered.isEmpty { return (.refused(reason: .clientError, text), receipt) }
            receipt.note = text
            return (.accepted, receipt)
        }
        receipt.progress = page.progress
        let whole = "the answer to \(mail.command.isEmpty ? "the connection" : mail.command) is \(mail.answer.shown)"
        guard mail.answer.isPermanent else { return (.retry(reason: .serverError, after: nil, whole), receipt) }
        return (.refused(reason: mail.command == "AUTH" ? .authError : .clientError, whole), receipt)
    }

    /// The credentials.
    public func secrets(reading files: Secret.FileReader) -> [String] {
        revealed([password, secret].compactMap(\.self) + variables, files)
    }

    /// One for each server.
    public var destination: String { "\(kind):\(host):\(port)" }
    /// The server, and to whom.
    public var addressee: String { "\(destination):\(to.text)" }

    // MARK: The message

    private func message(
        _ page: Page, _ sender: MailAddress, _ from: String, _ to: String, _ renderer: inout PageRenderer
    ) -> MailMessage {
        let evidence = renderer.evidence()
        var headers: [(name: String, value: String)] = []
        for (name, template) in self.headers {
            if let text = renderer.text(template, name) { headers.append((name, text)) }
        }
        for (name, value) in [("Subject", evidence.title), ("To", to), ("From", from)]
        where !headers.contains(where: { $0.name == name }) {
            headers.insert((name, value), at: 0)
        }
        let digest = Digest.hexadecimal(of: page.key, .sha256)
        let domain = sender.address.split(separator: "@").last ?? "localhost"
        // The same for each try, so that who gets it twice sees it once.
        var own = [("Message-Id", "<\(digest.prefix(32))@\(domain)>")]
        if let threading {
            let group = Digest.hexadecimal(of: page.notification.groupKey, .sha256).prefix(16)
            let date = threading == .daily ? page.notification.decidedAt.rfc3339().prefix(10) : ""
            let root = "<alert-\(group)-\(date)@alertmanager>"
            own += [("References", root), ("In-Reply-To", root)]
        }
        own += [("Date", MailMessage.date(page.notification.decidedAt)), ("Auto-Submitted", "auto-generated")]
        for (name, value) in own where !headers.contains(where: { $0.name == name }) { headers.append((name, value)) }
        return MailMessage(headers: headers, parts: parts(evidence, &renderer), boundary: String(digest.suffix(30)))
    }

    private func parts(_ evidence: Evidence, _ renderer: inout PageRenderer) -> [(type: String, text: String)] {
        let isOwn = renderer.isPlain || texts.style == .evidence
        var parts: [(type: String, text: String)] = []
        for (key, type) in [("text", "text/plain"), ("html", "text/html")] {
            if let template = templates[key], !renderer.isPlain {
                guard !template.text.isEmpty else { continue }  // An empty text means no such part.
                parts.append((type, renderer.text(template, key) ?? ""))
            } else if isOwn {
                parts.append((type, key == "text" ? evidence.text() : evidence.html))
            }
        }
        return parts
    }
}

/// Who of a page's addresses has it.
struct MailProgress {
    var delivered: [String], refused: [String]

    init(_ progress: [String: String]) {
        delivered = progress["delivered"]?.split(separator: " ").map(String.init) ?? []
        refused = progress["refused"]?.split(separator: " ").map(String.init) ?? []
    }

    var dictionary: [String: String] {
        ["delivered": delivered.joined(separator: " "), "refused": refused.joined(separator: " ")]
    }

    /// Whether it is not to be sent there again.
    func isDone(_ address: String) -> Bool { delivered.contains(address) || refused.contains(address) }
}

extension MailAnswer {
    fileprivate var shown: String { "\(code): \(Verdict.shown(Array(text.utf8)))" }
}

extension Evidence {
    /// All of it as a page.
    fileprivate var html: String {
        var content = ""
        for item in items.prefix(50) {
            content += "<h2>\(item.isResolved ? "Resolved: " : "")\(item.what.htmlEscaped)</h2>\n"
            if let more = item.more { content += "<p>\(more.htmlEscaped.replacing("\n", with: "<br>"))</p>\n" }
            let links = item.facts.map { fact -> (String, String) in
                let text = fact.value.htmlEscaped
                let isLink = fact.name == "runbook" || fact.name == "graph"
                return (fact.name, isLink ? "<a href=\"\(text)\">\(text)</a>" : text)
            }
            let rows = links + item.labels.map { ($0.name.htmlEscaped, $0.value.htmlEscaped) }
            content += "<table>" + rows.map { "<tr><td>\($0.0)</td><td>\($0.1)</td></tr>" }.joined(separator: "\n")
            content += "</table>\n"
            if let steps = item.firstSteps { content += "<p><b>First steps</b></p><pre>\(steps.htmlEscaped)</pre>\n" }
        }
        var last = others(after: 50).map { ["<p>\($0.htmlEscaped)</p>"] } ?? []
        if externalURL.hasPrefix("http") {
            let url = externalURL.htmlEscaped
            last.append("<p><a href=\"\(url)\">\(url)</a></p>")
        }
        if !notes.isEmpty {
            last.append("<p class=\"note\">\(notes.map(\.htmlEscaped).joined(separator: "<br>\n"))</p>")
        }
        return mailPage(
            title: title.htmlEscaped, isFiring: isFiring, content: content + last.joined(separator: "\n"))
    }
}
