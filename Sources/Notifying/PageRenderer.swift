internal import Alerting
internal import Basics
internal import Model
internal import Settings
internal import Templates

/// Renders the templates of one page, and remembers which failed.
struct PageRenderer {
    let page: Page
    let texts: PageTexts
    let files: Secret.FileReader
    /// The alerts that this channel tells of.
    let items: [Notification.Item]
    /// `title failed: …`, once for each try to use one.
    private(set) var failures: [String] = []
    /// Whether no template is used, since one failed.
    private(set) var isPlain = false
    private let kept = Kept()

    /// What templates see, made when the first of them is used: a page may tell of a thousand alerts, and most bodies
    /// use no template.
    private final class Kept {
        var data: NotificationData?
        var environment: TemplateEnvironment?
    }

    /// - Parameter limit: The greatest number of alerts told; 0: all.
    init(_ page: Page, _ texts: PageTexts, _ files: @escaping Secret.FileReader, sendsResolved: Bool, limit: Int = 0) {
        (self.page, self.texts, self.files) = (page, texts, files)
        let notification = page.notification
        var items = notification.items
        if !sendsResolved { items.removeAll(where: \.isResolved) }
        if limit > 0 { items = Array(items.prefix(limit)) }
        self.items = items
    }

    private var externalURL: String {
        var externalURL = page.externalURL
        while externalURL.hasSuffix("/") { externalURL.removeLast() }
        return externalURL
    }

    /// What templates see.
    var data: NotificationData {
        if let data = kept.data { return data }
        let notification = page.notification
        var data = NotificationData(
            receiver: quotedMeta(notification.receiver), alerts: items.map(\.data),
            groupLabels: notification.groupLabels.dictionary, externalURL: externalURL)
        data.reason = notification.reason.rawValue
        kept.data = data
        return data
    }

    private var environment: TemplateEnvironment {
        if let environment = kept.environment { return environment }
        var environment = TemplateEnvironment()
        (environment.externalURL, environment.now) = (externalURL, page.now.seconds)
        environment.zone = { [files] name in
            // A name is no way out of the folder; a zone that cannot be read is none.
            guard !name.isEmpty, !name.contains(".."),
                name.utf8.allSatisfy({ $0.isASCIIWord || "/+-".utf8.contains($0) }),
                let bytes = try? files("/usr/share/zoneinfo/\(name)")
            else { return nil }
            return CivilZone(name: name, bytes: bytes)
        }
        environment.routeLabel = PageRenderer.routeLabels(
            page.notification.routeLabels, data, environment, texts.library, [])
        kept.environment = environment
        return environment
    }

    /// Renders a label of the route, which may ask for others, but not for itself.
    private static func routeLabels(
        _ labels: [String: String], _ data: NotificationData, _ base: TemplateEnvironment,
        _ library: TemplateLibrary, _ busy: Set<String>
    ) -> @Sendable (String) throws(TemplateFailure) -> String {
        { name throws(TemplateFailure) in
            guard let text = labels[name] else { return "" }
            guard !busy.contains(name) else { throw TemplateFailure("route label cycle detected: \(name)") }
            var environment = base
            environment.routeLabel = routeLabels(labels, data, base, library, busy.union([name]))
            do throws(TemplateError) {
                return try PageTemplate(text, library: library).template.render(.object(data), in: environment)
            } catch {
                throw TemplateFailure(error.message)
            }
        }
    }

    /// The text of a template; nil when there is none, or none is used any more.
    mutating func text(_ template: PageTemplate?, _ key: String) -> String? {
        guard let template, !isPlain else { return nil }
        do {
            return try render(template)
        } catch {
            failures.append("\(key) failed: \(error.message)")
            return nil
        }
    }

    /// The text of a template that says where the page goes, so that nothing can stand in for it.
    func address(_ template: PageTemplate, _ key: String) throws -> String {
        do {
            return try render(template)
        } catch {
            throw ChannelError(.template, "the template of \(key) failed: \(error.message)")
        }
    }

    /// A structure; nil when one of its templates failed, or none is used any more.
    mutating func tree(_ tree: TemplateTree?, _ key: String) -> JSON? {
        guard let tree, !isPlain else { return nil }
        do {
            return try tree.render { try render($0) }
        } catch {
            failures.append("\(key) failed: \((error as? TemplateError)?.message ?? "\(error)")")
            return nil
        }
    }

    private func render(_ template: PageTemplate) throws(TemplateError) -> String {
        try template.template.render(.object(data), in: environment)
    }

    /// Makes something twice when a template fails: the second time without templates, since a page that tells half of
    /// it wrongly is worse than one in our own words.
    mutating func make<Value>(_ body: (inout PageRenderer) throws -> Value) rethrows -> (Value, notes: [String]) {
        let value = try body(&self)
        guard !failures.isEmpty else { return (value, []) }
        isPlain = true
        return (try body(&self), notes)
    }

    /// The failures in words.
    var notes: [String] { failures.map { "the template of \($0)" } }

    /// The evidence of this page.
    func evidence() -> Evidence { Evidence(page, items, texts, files, notes: notes) }
}

extension Notification.Item {
    /// As templates see it; an alert that fires ends at Go's zero time.
    fileprivate var data: NotificationData.Item {
        NotificationData.Item(
            status: isResolved ? "resolved" : "firing", labels: alert.labels.dictionary, annotations: alert.annotations,
            startsAt: alert.startsAt, endsAt: (isResolved ? alert.endsAt : nil) ?? .goZero,
            generatorURL: alert.generatorURL, fingerprint: alert.labels.fingerprintText)
    }
}
