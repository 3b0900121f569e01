internal import Alerting
internal import Basics
internal import Model
internal import Notifying
internal import Rules
internal import Scraping

extension API {
    /// What the person on call wants first: what fires, what is down, which pages went out. No script, no asset.
    func firstPage() async -> APIResponse {
        let now = context.present
        let alerts = await context.rules.status().flatMap(\.alerts)
            .filter { $0.state != .inactive }.sorted {
                ($0.state == .firing ? 0 : 1, $0.activeAt) < ($1.state == .firing ? 0 : 1, $1.activeAt)
            }
        let targets = context.targets.targets
        let down = targets.filter { $0.status.health == .down }
        let pages = await context.dispatcher.snapshot()
        var html = Page.head(title: alerts.contains { $0.state == .firing } ? "Vedette: firing" : "Vedette")
        html += "<h1>Vedette</h1><p>\(targets.count) targets, \(down.count) down · "
        html +=
            "\(alerts.count { $0.state == .firing }) alerts fire, \(alerts.count { $0.state == .pending }) pending · "
        html += "\(pages.outbox.count) pages on their way, \(pages.deadLetters.count) given up</p>"
        html += Page.table(
            "Alerts", ["state", "severity", "alert", "summary", "since", "value", "runbook"], empty: "Nothing fires.",
            alerts.map { alert in
                let name = alert.labels["alertname"]
                let rest = alert.labels.dropping(["alertname", "severity"])
                return [
                    Page.text(alert.state.rawValue), Page.text(alert.labels["severity"]),
                    "\(Page.text(name)) <small>\(Page.text(rest.description))</small>",
                    Page.text(alert.annotations["summary"] ?? ""), Page.text(Page.age(now - alert.activeAt)),
                    Page.text(GoNumber.shortest(alert.value, exponentFrom: 21)),
                    Page.link(alert.annotations["runbook_url"] ?? ""),
                ]
            })
        html += Page.table(
            "Targets down", ["target", "since the last try", "why"], empty: "Every target answers.",
            down.map { watched in
                let status = watched.status
                return [
                    "\(Page.text(watched.target.url)) <small>\(Page.text(watched.target.labels.description))</small>",
                    Page.text(status.lastScrape.map { Page.age(now - $0) } ?? "never tried"),
                    Page.text(status.lastError),
                ]
            })
        html += alertsOfOthers(await context.dispatcher.alerting(), own: alerts.map(\.labels), now: now)
        html += Page.ledger("Last pages", pages.deliveries.prefix(20), now: now)
        html += "<p><a href=\"\(Page.text(context.routePrefix))/pages\">every page, and those given up</a></p>"
        html += "</body></html>\n"
        return APIResponse(contentType: "text/html; charset=utf-8", body: Array(html.utf8))
    }

    /// Alerts that were posted, and the silences that hold.
    private func alertsOfOthers(_ alerting: AlertGroups, own: [Labels], now: Timestamp) -> String {
        var others: [Labels: AlertGroup.Member] = [:]
        for group in alerting.groups.values {
            for (labels, member) in group.members where !member.isResolved(at: now) {
                let isOwn = own.contains { $0.sorted.allSatisfy { labels[$0.name].isSame(as: $0.value) } }
                if !isOwn, others.count < 500 { others[labels] = member }
            }
        }
        var html = ""
        if !others.isEmpty {
            let lookup = alerting.statusLookup(now: now)
            html += Page.table(
                "Alerts of others", ["state", "severity", "alert", "summary", "since", "runbook"], empty: "",
                others.sorted { ($0.value.alert.startsAt, $0.key) < ($1.value.alert.startsAt, $1.key) }.map {
                    labels, member in
                    let rest = labels.dropping(["alertname", "severity"])
                    return [
                        lookup.status(of: labels).isSuppressed ? "held back" : "firing", Page.text(labels["severity"]),
                        "\(Page.text(labels["alertname"])) <small>\(Page.text(rest.description))</small>",
                        Page.text(member.alert.annotations["summary"] ?? ""),
                        Page.text(Page.age(now - member.alert.startsAt)),
                        Page.link(member.alert.annotations["runbook_url"] ?? ""),
                    ]
                })
        }
        let silences = alerting.silences.all.values.filter { $0.state(at: now) == .active }
        guard !silences.isEmpty else { return html }
        return html
            + Page.table(
                "Silences", ["matchers", "by", "why", "ends in"], empty: "",
                silences.sorted { ($0.endsAt, $0.id) < ($1.endsAt, $1.id) }.prefix(100).map { silence in
                    [
                        Page.text(silence.matchers.map(\.alertmanagerText).joined(separator: " ")),
                        Page.text(silence.createdBy), Page.text(silence.comment),
                        Page.text(Page.age(silence.endsAt - now)),
                    ]
                })
    }

    /// What became of every page: the ledger, what is on its way, what was given up.
    func ledgerPage() async -> APIResponse {
        let now = context.clock.now()
        let pages = await context.dispatcher.snapshot()
        var html = Page.head(title: "Vedette: pages") + "<h1>Pages</h1>"
        html += Page.table(
            "On their way", ["since", "channel", "page", "tries", "last answer"], empty: "None.",
            pages.outbox.prefix(500).map { entry in
                [
                    Page.text(Page.age(now - entry.createdAt)), Page.text(entry.channelID), Page.text(entry.title),
                    "\(entry.attempts)", Page.text(entry.lastError),
                ]
            })
        html += Page.table(
            "Given up", ["when", "channel", "page", "why"],
            empty: "None.",
            pages.deadLetters.prefix(500).map { letter in
                [
                    Page.text(Page.age(now - letter.diedAt) + " ago"), Page.text(letter.entry.channelID),
                    Page.text(letter.entry.title), Page.text(letter.message),
                ]
            })
        html += Page.ledger("Ledger", pages.ledger[...], now: now) + "</body></html>\n"
        return APIResponse(contentType: "text/html; charset=utf-8", body: Array(html.utf8))
    }
}

/// Pieces of a page; everything from outside goes through `text`.
enum Page {
    static func head(title: String) -> String {
        """
        <!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="10">
        <meta name="viewport" content="width=device-width"><title>\(text(title))</title><style>
        body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222;background:#fff}
        table{border-collapse:collapse;width:100%}th{text-align:left;color:#666;font-weight:500}
        td,th{padding:.3rem .6rem .3rem 0;border-bottom:1px solid #ddd;vertical-align:top}small{color:#777}
        @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#333}}
        </style></head><body>

        """
    }

    static func text(_ text: String) -> String { text.htmlEscaped }

    /// A link when it is a web address, else plain text: `javascript:` never becomes one.
    static func link(_ address: String) -> String {
        guard address.hasPrefix("https://") || address.hasPrefix("http://") else { return text(address) }
        return "<a rel=\"noreferrer\" href=\"\(text(address))\">runbook</a>"
    }

    static func age(_ length: Milliseconds) -> String { DurationText.format(max(0, length) / 1000 * 1000) }

    /// Lines of the delivery ledger.
    static func ledger(_ title: String, _ lines: ArraySlice<Delivery>, now: Timestamp) -> String {
        table(
            title, ["when", "channel", "page", "outcome", "took", "next try"], empty: "No page has gone out yet.",
            lines.map { line in
                let words = [line.message, line.note].filter { !$0.isEmpty }.joined(separator: "; ")
                return [
                    text(age(now - line.time) + " ago"), text(line.channelID), text(line.title),
                    text("\(line.outcome.rawValue) \(words) (try \(line.attempt))"), text("\(line.latency) ms"),
                    text(line.nextTry.map { "in " + age($0 - now) } ?? ""),
                ]
            })
    }

    /// A heading and a table of cells that are HTML already.
    static func table(_ title: String, _ columns: [String], empty: String, _ rows: [[String]]) -> String {
        var html = "<h2>\(text(title))</h2>"
        guard !rows.isEmpty else { return html + "<p>\(text(empty))</p>" }
        html += "<table><tr>" + columns.map { "<th>\(text($0))</th>" }.joined() + "</tr>"
        for row in rows { html += "<tr>" + row.map { "<td>\($0)</td>" }.joined() + "</tr>" }
        return html + "</table>"
    }
}
