internal import Alerting
internal import Basics
internal import Model

/// The body of `POST /api/v2/alerts`.
///
/// - SeeAlso: Alertmanager, `api/v2/api.go`, `postAlertsHandler`.
struct PostedAlerts {
    /// Those that can be taken.
    private(set) var alerts: [Alert] = []
    /// What is wrong with the others.
    private(set) var mistakes: [String] = []

    init(_ body: [UInt8], resolveTimeout: Milliseconds, mode: MatcherMode, now: Timestamp) throws {
        var (place, mistaken): (Int, (any Error)?) = (0, nil)
        let other: JSON?
        do {
            // A text that cannot be read counts before an alert that cannot be taken, though that may come first.
            other = try JSON.elements(parsing: body) { item in
                guard mistaken == nil else { return }
                do {
                    try take(item, place, resolveTimeout: resolveTimeout, mode: mode, now: now)
                } catch {
                    mistaken = error
                }
                place += 1
            }
        } catch {
            throw PostedAlerts.unreadable("\(error)")
        }
        if let other, other != .null {
            throw PostedAlerts.unreadable(
                "json: cannot unmarshal \(other.kind.split(separator: " ").last ?? "") into Go value of type "
                    + "models.PostableAlerts")
        }
        if let mistaken { throw mistaken }
    }

    private mutating func take(
        _ item: JSON, _ place: Int, resolveTimeout: Milliseconds, mode: MatcherMode, now: Timestamp
    ) throws {
        guard let labels = item["labels"]?.members else {
            throw AlertmanagerError.schema(602, "\(place).labels in body is required")
        }
        let startsAt = try PostedAlerts.moment(item, "startsAt")
        var alert = Alert(
            labels: try PostedAlerts.labels(labels, place), startsAt: startsAt ?? now,
            endsAt: try PostedAlerts.moment(item, "endsAt"))
        for member in item["annotations"]?.members ?? [] {
            guard let text = member.value.string else { throw PostedAlerts.notText("annotations", member, place) }
            if !text.isEmpty { alert.annotations[member.name] = text }
        }
        alert.generatorURL = item["generatorURL"]?.string ?? ""
        if let end = alert.endsAt {
            if startsAt == nil { alert.startsAt = end }
        } else {
            (alert.endsAt, alert.endsByTimeout) = (now + resolveTimeout, true)
        }
        if let mistake = PostedAlerts.mistake(alert, mode) {
            mistakes.append(mistake)
        } else {
            alerts.append(alert)
        }
    }

    private static func labels(_ members: [JSON.Member], _ place: Int) throws -> Labels {
        var labels: [Label] = []
        labels.reserveCapacity(members.count)
        for member in members {
            guard let text = member.value.string else { throw notText("labels", member, place) }
            if !text.isEmpty { labels.append(Label(member.name, text)) }
        }
        labels.sort { $0.name.isBefore($1.name) }
        let isUnique = zip(labels, labels.dropFirst()).allSatisfy { !$0.name.isSame(as: $1.name) }
        return isUnique ? Labels(sortedUnique: labels) : Labels(labels)
    }

    private static func mistake(_ alert: Alert, _ mode: MatcherMode) -> String? {
        if alert.labels.isEmpty { return "at least one label pair required" }
        if let end = alert.endsAt, end < alert.startsAt { return "start time must be before end time" }
        for label in alert.labels.sorted where !mode.takes(labelName: label.name) {
            return "invalid label set: invalid name \(label.name.goQuoted)"
        }
        for name in alert.annotations.keys where !mode.takes(labelName: name) {
            return "invalid annotations: invalid name \(name.goQuoted)"
        }
        return nil
    }

    /// A moment; nil when it is not given or Go's zero.
    private static func moment(_ item: JSON, _ key: String) throws -> Timestamp? {
        guard let value = item[key], value != .null, value != "" else { return nil }
        guard let text = value.string, let moment = Timestamp(openAPI: text) else {
            let text = value.string ?? ""
            throw unreadable(
                "parsing time \(text.goQuoted) as \"2006-01-02\": cannot parse \(text.goQuoted) as \"2006\"")
        }
        return moment == .goZero ? nil : moment
    }

    private static func unreadable(_ reason: String) -> AlertmanagerError {
        AlertmanagerError(
            status: 400, code: 400, message: "parsing alerts body from \"\" failed, because \(reason)")
    }

    private static func notText(_ what: String, _ member: JSON.Member, _ place: Int) -> AlertmanagerError {
        .schema(601, "\(place).\(what).\(member.name) in body must be of type string: \(member.value.kind.goQuoted)")
    }
}
