public import Alerting
public import Basics
public import Model
public import Settings
internal import Transport

/// What receivers would get, shown and not sent.
public enum Preview {
    /// An alert to show where none is given.
    public static func sample(now: Timestamp) -> Alert {
        Alert(
            labels: [
                "alertname": "ErrorRateSpiking", "severity": "critical", "service": "api", "instance": "api-1:8080",
            ],
            annotations: [
                "summary": "7.3 % of the API's requests fail", "description": "The bound is 5 % over five minutes.",
                "runbook_url": "https://runbooks.example/ErrorRateSpiking",
            ], value: 7.3, startsAt: now - 300_000, generatorURL: "http://127.0.0.1:9470/graph?g0.expr=error_ratio")
    }

    /// The notifications that alerts make together: by the routes, or all in one group for one receiver.
    public static func notifications(
        for alerts: [Alert], _ settings: NotifyingSettings, receiver: String? = nil, now: Timestamp
    ) -> [Notification] {
        if let receiver {
            let items = alerts.map { Notification.Item($0, isResolved: $0.isResolved(at: now)) }
            let labels = Labels(["alertname": alerts.first?.name ?? ""])
            return [
                Notification(
                    id: "preview", groupID: "preview", groupKey: "{}:\(labels.alertmanagerText)", receiver: receiver,
                    reason: .first, groupLabels: labels, items: items, decidedAt: now)
            ]
        }
        var groups = AlertGroups(settings.alerting)
        let firing = alerts.map { alert in
            var alert = alert
            alert.endsAt = nil
            return alert
        }
        _ = groups.take(firing, now: now)
        let last = groups.groups.values.map(\.nextFlush).max() ?? now
        return groups.flush(now: last).notifications
    }

    /// The requests of one channel as text: method, address, headers and body, every secret masked.
    public static func lines(
        _ notification: Notification, _ channel: any Channel, id: String, externalURL: String,
        files: @escaping Secret.FileReader
    ) -> [String] {
        var page = Page(notification, key: "\(notification.id)/\(id)")
        page.externalURL = externalURL
        let plan: ChannelPlan
        do {
            plan = try channel.plan(for: page, reading: files)
        } catch {
            return ["cannot be made: \(error)"]
        }
        var lines: [String] = plan.notes.map { "note: \($0)" }
        for step in plan.steps {
            switch step.request {
            case .http(let request):
                lines.append("\(request.method) \(request.url)")
                for header in request.headers {
                    let isSecret = header.name.lowercased() == "authorization"
                    lines.append("\(header.name): \(isSecret ? Secret("").description : header.value)")
                }
                lines += ["", String(decoding: request.body, as: UTF8.self)]
            case .mail(let mail):
                lines.append("MAIL FROM:<\(mail.sender)> over \(mail.host):\(mail.port)")
                lines += mail.recipients.map { "RCPT TO:<\($0)>" }
                lines.append(String(decoding: mail.message, as: UTF8.self).replacing("\r\n", with: "\n"))
            }
        }
        let secrets = channel.secrets(reading: files)
        return lines.map { Secret.cut(secrets, outOf: $0) }
    }
}
