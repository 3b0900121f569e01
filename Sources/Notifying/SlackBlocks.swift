internal import Basics
internal import Model

/// The evidence as Slack shows it.
enum SlackBlocks {
    /// An attachment of blocks.
    static func attachment(
        _ evidence: Evidence, _ renderer: PageRenderer, _ templates: ChannelTemplates
    ) -> [JSON.Member] {
        var renderer = renderer
        let colour = renderer.text(templates["color"], "color") ?? colour(evidence)
        return [
            JSON.Member("color", .string(colour)),
            JSON.Member("fallback", .string(truncated(evidence.title, to: SlackChannel.maximumHeader))),
            JSON.Member("blocks", .array(blocks(evidence))),
        ]
    }

    /// What tells the severity at a glance.
    static func colour(_ evidence: Evidence) -> String {
        guard evidence.isFiring else { return "good" }
        return switch evidence.severity {
        case .critical: "#a30200"
        case .high: "#e8590c"
        case .warning: "#f2c744"
        case .info: "#439fe0"
        }
    }

    private static func blocks(_ evidence: Evidence) -> [JSON] {
        let title = truncated(evidence.title, to: SlackChannel.maximumHeader)
        var blocks: [JSON] = [["type": "header", "text": ["type": "plain_text", "text": .string(title)]]]
        let (sections, shown) = sections(evidence)
        blocks += sections.map { ["type": "section", "text": ["type": "mrkdwn", "text": .string($0)]] }
        let notes = notes(evidence, after: shown)
        if !notes.isEmpty {
            blocks.append([
                "type": "context", "elements": [["type": "mrkdwn", "text": .string(truncated(notes, to: 2000))]],
            ])
        }
        return blocks
    }

    /// The alerts one by one, as many as fit.
    static func sections(_ evidence: Evidence) -> (texts: [String], shown: Int) {
        var rest = SlackChannel.maximumText
        var (texts, shown): ([String], Int) = ([], 0)
        for item in evidence.items.prefix(SlackChannel.maximumAlerts) {
            var parts = [section(item)]
            if let steps = item.firstSteps { parts.append("*First steps*\n\(slackText(steps, limit: 900))") }
            rest -= parts.reduce(0) { $0 + $1.unicodeScalars.count }
            guard rest >= 0 || shown == 0 else { break }
            texts += parts
            shown += 1
        }
        return (texts, shown)
    }

    /// What else fires, where to look, what is odd.
    static func notes(_ evidence: Evidence, after shown: Int) -> String {
        var notes: [String] = []
        if let others = evidence.others(after: shown) { notes.append(slackText(others, limit: 600)) }
        if !evidence.externalURL.isEmpty { notes.append("<\(slackURL(evidence.externalURL))|Vedette>") }
        notes += evidence.notes.map { slackText($0, limit: 400) }
        return notes.joined(separator: " · ")
    }

    /// One alert: what, how bad, which value, since when, labels, links.
    private static func section(_ item: Evidence.Item) -> String {
        var text = "*\(slackText(item.what, limit: 400))*"
        if let more = item.more { text += "\n\(slackText(more, limit: 600))" }
        var facts = [item.isResolved ? "resolved" : slackText(item.severity, limit: 40)]
        if let value = item.value { facts.append("value \(value)") }
        facts.append("since \(slackTime(item.since))")
        if let until = item.until { facts.append("until \(slackTime(until))") }
        text += "\n" + facts.filter { !$0.isEmpty }.joined(separator: " · ")
        let labels = item.labels.map { "\($0.name)=\($0.value)" }.joined(separator: ", ")
        text += "\n`\(slackText(labels.replacing("`", with: "'"), limit: 600))`"
        let links = [("Runbook", item.runbook), ("Graph", item.graph)].compactMap { name, url in
            url.map { (name: name, url: slackURL($0)) }
        }.filter { $0.url.utf8.count < 450 }
        if !links.isEmpty { text += "\n" + links.map { "<\($0.url)|\($0.name)>" }.joined(separator: " · ") }
        return text
    }
}

/// Slack's three escapes, at most `limit` characters of result, none cut in two.
func slackText(_ text: String, limit: Int) -> String {
    var result = ""
    var rest = limit
    for scalar in text.unicodeScalars {
        let piece: String =
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            default: String(scalar)
            }
        rest -= piece.unicodeScalars.count
        guard rest > 0 else { return result + "…" }
        result += piece
    }
    return result
}

/// A URL inside `<…|…>`.
private func slackURL(_ url: String) -> String {
    url.replacing("|", with: "%7C").replacing(">", with: "%3E").replacing("<", with: "%3C")
        .replacing("&", with: "&amp;")
}

/// A moment in the reader's own time zone.
private func slackTime(_ moment: Timestamp) -> String {
    "<!date^\(moment.milliseconds.flooringDivision(by: 1000))^{date_short_pretty} {time_secs}|\(moment.rfc3339())>"
}
