internal import Alerting
internal import Basics
internal import Model
internal import Settings

/// What a page shows of its alerts where the receiver gives no template: made once, laid out by each channel.
struct Evidence {
    /// One alert.
    struct Item {
        /// The summary, or what comes nearest; and the description, when it is another text.
        let what: String, more: String?
        let isResolved: Bool
        let name: String, severity: String
        /// `2.5`; nil: there is none.
        let value: String?
        let since: Timestamp, until: Timestamp?
        let labels: [(name: String, value: String)]
        /// Usable addresses alone.
        let runbook: String?, graph: String?
        /// Of the runbook; at the first alert of each alone.
        let firstSteps: String?
    }

    let title: String
    let severity: Severity
    let isFiring: Bool
    let items: [Item]
    /// Where this daemon is reached; may be empty.
    let externalURL: String
    /// What is odd about this page: a repeat, a failed template.
    let notes: [String]

    init(
        _ page: Page, _ items: [Notification.Item], _ texts: PageTexts, _ files: Secret.FileReader, notes: [String]
    ) {
        let notification = page.notification
        (title, severity, isFiring) = (notification.title, notification.severity, notification.isFiring)
        externalURL = page.externalURL
        var seen: Set<String> = []
        self.items = items.map { item in
            let alert = item.alert
            let summary = alert.annotations["summary"].flatMap { $0.isEmpty ? nil : $0 }
            let description = alert.annotations["description"].flatMap { $0.isEmpty ? nil : $0 }
            let what = summary ?? description ?? alert.name
            let url = alert.annotations["runbook_url"] ?? ""
            var steps: String?
            if !item.isResolved, let folder = texts.runbooks, seen.insert("\(alert.name)\n\(url)").inserted {
                steps = Runbook.firstSteps(alertName: alert.name, url: url, folder: folder, files: files)
            }
            return Item(
                what: what, more: description == what ? nil : description, isResolved: item.isResolved,
                name: alert.name, severity: alert.labels["severity"],
                value: alert.value.isFinite ? GoNumber.shortest(alert.value, exponentFrom: 21) : nil,
                since: alert.startsAt, until: item.isResolved ? alert.endsAt : nil,
                labels: alert.labels.sorted.map { ($0.name, $0.value) }, runbook: Evidence.usable(url),
                graph: Evidence.usable(alert.generatorURL), firstSteps: steps)
        }
        var notes = notes
        if page.isPossiblyRepeated { notes.append("try \(page.attempt): an earlier one may have arrived") }
        if let receiver = page.standsInFor { notes.append("in place of \(truncated(receiver, to: 100))") }
        if page.isOld { notes.append("sent late: decided \(notification.decidedAt.rfc3339())") }
        if page.isUnjournalled { notes.append("sent without the journal: may come again") }
        self.notes = notes
    }

    /// The names of the alerts behind the first `shown`, with how often each: `A, B ×3`; nil: there are none.
    func others(after shown: Int) -> String? {
        guard shown < items.count else { return nil }
        var counts: [(name: String, count: Int)] = []
        for item in items.dropFirst(shown) {
            if let index = counts.firstIndex(where: { $0.name == item.name }) {
                counts[index].count += 1
            } else {
                counts.append((item.name, 1))
            }
        }
        let names = counts.prefix(8).map { $0.count > 1 ? "\($0.name) ×\($0.count)" : $0.name }
        let rest = counts.count > 8 ? ", …" : ""
        return "and \(items.count - shown) more: \(names.joined(separator: ", "))\(rest)"
    }

    /// All of it in plain text.
    func text(limit: Int = 50) -> String {
        var blocks = [title]
        for item in items.prefix(limit) {
            var lines = ["\(item.isResolved ? "RESOLVED" : "FIRING"): \(item.what)"]
            if let more = item.more { lines.append(more) }
            lines += item.facts.map { "\($0.name): \($0.value)" }
            lines.append("labels: " + item.labels.map { "\($0.name)=\($0.value)" }.joined(separator: ", "))
            if let steps = item.firstSteps { lines.append("first steps:\n\(steps)") }
            blocks.append(lines.joined(separator: "\n"))
        }
        if let others = others(after: limit) { blocks.append(others) }
        if !externalURL.isEmpty { blocks.append(externalURL) }
        if !notes.isEmpty { blocks.append(notes.joined(separator: "\n")) }
        return blocks.joined(separator: "\n\n") + "\n"
    }

    private static func usable(_ url: String) -> String? {
        url.hasPrefix("http://") || url.hasPrefix("https://") ? url : nil
    }
}

extension Evidence.Item {
    /// What there is to say of it in one line each.
    var facts: [(name: String, value: String)] {
        let facts: [(name: String, value: String?)] = [
            ("severity", severity.isEmpty ? nil : severity), ("value", value), ("since", since.rfc3339()),
            ("until", until?.rfc3339()), ("runbook", runbook), ("graph", graph),
        ]
        return facts.compactMap { fact in fact.value.map { (fact.name, $0) } }
    }
}

/// A runbook's file: Markdown, one file for each alert.
enum Runbook {
    /// The greatest length of the steps in characters.
    static let maximumSteps = 600

    /// The first steps of an alert's runbook: `NAME.md` of the folder, else the file that its address ends with. Nil
    /// when there is none, or it has no steps.
    static func firstSteps(alertName: String, url: String, folder: String, files: Secret.FileReader) -> String? {
        let path = url.prefix { $0 != "?" && $0 != "#" }
        let last = path.split(separator: "/").last.map(String.init) ?? ""
        let names = [alertName, last.hasSuffix(".md") ? String(last.dropLast(3)) : last]
        for name in names where !name.isEmpty && !name.hasPrefix(".") && !name.contains("/") && !name.contains("\0") {
            // A runbook that is missing is no mistake.
            guard let bytes = try? files("\(folder)/\(name).md"), bytes.count < 1 << 20 else { continue }
            if let steps = firstSteps(in: String(decoding: bytes, as: UTF8.self)) { return steps }
        }
        return nil
    }

    /// The section "First steps" or "What to do", else the first numbered list, as plain text.
    static func firstSteps(in text: String) -> String? {
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
        let found = section(lines) ?? list(lines)
        var result: [String] = []
        var length = 0
        for line in plain(found ?? []) {
            length += line.count + 1
            guard length <= maximumSteps else {
                result.append("…")
                break
            }
            result.append(line)
        }
        return result.isEmpty ? nil : result.joined(separator: "\n")
    }

    private static func section(_ lines: [String]) -> [String]? {
        let titles = ["first steps", "what to do"]
        func level(_ line: String) -> Int { line.prefix { $0 == "#" }.count }
        guard
            let start = lines.firstIndex(where: { line in
                level(line) > 0 && titles.contains(line.dropFirst(level(line)).trimmed.lowercased())
            })
        else { return nil }
        var isCode = false
        var body: [String] = []
        for line in lines[(start + 1)...] {
            if isFence(line) { isCode.toggle() }
            // A comment of a script is no heading.
            if !isCode, (1...level(lines[start])).contains(level(line)) { break }
            body.append(line)
        }
        return body
    }

    private static func list(_ lines: [String]) -> [String]? {
        func isNumbered(_ line: String) -> Bool {
            let rest = line.drop { $0.isNumber }
            return rest.count < line.count && (rest.hasPrefix(". ") || rest.hasPrefix(") "))
        }
        guard let start = lines.firstIndex(where: isNumbered) else { return nil }
        return Array(lines[start...].prefix { isNumbered($0) || $0.isEmpty || $0.first?.isWhitespace == true })
    }

    private static func isFence(_ line: String) -> Bool { line.drop(while: \.isWhitespace).hasPrefix("```") }

    /// Without marks, fences and empty lines.
    private static func plain(_ lines: [String]) -> [String] {
        var isCode = false
        return lines.compactMap { line in
            if isFence(line) {
                isCode.toggle()
                return nil
            }
            guard !line.trimmed.isEmpty else { return nil }
            if isCode { return "   \(line.trimmed)" }
            var text = line.replacing("`", with: "").replacing("**", with: "")
            // [words](address) reads as words (address).
            if text.contains("](") { text = text.replacing("](", with: " (").replacing("[", with: "") }
            while text.last?.isWhitespace == true { text.removeLast() }
            return text
        }
    }
}
