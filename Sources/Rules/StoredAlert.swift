internal import Basics
internal import Model

/// An alert in the journal, with what it takes to find its rule again.
///
/// Table `rules.alerts`; the key is file, group, rule and fingerprint; the value is JSON. `evaluated` is the moment of
/// the evaluation that wrote it: with the newest `ALERTS_FOR_STATE` sample in the store, which every evaluation
/// writes, it tells after a restart when the rule was last evaluated, without a write for every evaluation.
struct StoredAlert: Hashable {
    static let table = "rules.alerts"

    var file: String
    var group: String
    /// `RuleDefinition.identity`, and which of equal rules in the group.
    var rule: String
    var alert: ActiveAlert
    var evaluated: Timestamp

    /// Nobody was told of a trigger's alerts: an action followed from them.
    var isTrigger: Bool { rule.hasPrefix(RuleDefinition.Kind.trigger.rawValue + ";") }

    var key: String { StoredAlert.key(file: file, group: group, rule: rule, fingerprint: alert.labels.fingerprint) }

    static func key(file: String, group: String, rule: String, fingerprint: UInt64) -> String {
        "\(file)\n\(group)\n\(rule)\n\(hexadecimal(fingerprint))"
    }

    var bytes: [UInt8] {
        var members: [JSON.Member] = [
            .init("file", .string(file)), .init("group", .string(group)), .init("rule", .string(rule)),
            .init("evaluated", .integer(evaluated)), .init("state", .string(alert.state.rawValue)),
            .init("labels", JSON(alert.labels)), .init("annotations", JSON(alert.annotations)),
            .init("value", .string(GoNumber.fixed(alert.value))), .init("active_at", .integer(alert.activeAt)),
        ]
        for (name, moment) in [
            ("fired_at", alert.firedAt), ("resolved_at", alert.resolvedAt),
            ("keep_firing_since", alert.keepFiringSince), ("last_sent_at", alert.lastSentAt),
        ] {
            if let moment { members.append(.init(name, .integer(moment))) }
        }
        return JSON.object(members).serialized()
    }

    /// nil when the bytes are not such an entry.
    init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes),  // An entry of another form is counted by who reads it.
            let file = json["file"]?.string, let group = json["group"]?.string, let rule = json["rule"]?.string,
            let evaluated = json.moment("evaluated"), let state = json["state"]?.string.flatMap(ActiveAlert.State.init),
            let labels = json["labels"].flatMap(Labels.init(json:)), let annotations = json["annotations"]?.strings,
            let value = json["value"]?.string.flatMap(GoNumber.parse), let activeAt = json.moment("active_at")
        else { return nil }
        (self.file, self.group, self.rule, self.evaluated) = (file, group, rule, evaluated)
        alert = ActiveAlert(
            labels: labels, annotations: annotations, value: value, state: state, activeAt: activeAt,
            firedAt: json.moment("fired_at"), resolvedAt: json.moment("resolved_at"),
            keepFiringSince: json.moment("keep_firing_since"), lastSentAt: json.moment("last_sent_at"))
    }

    init(file: String, group: String, rule: String, alert: ActiveAlert, evaluated: Timestamp) {
        (self.file, self.group, self.rule, self.alert, self.evaluated) = (file, group, rule, alert, evaluated)
    }
}

extension JSON {
    /// Milliseconds; exact up to the year 287396.
    fileprivate static func integer(_ moment: Timestamp) -> JSON { .number(Double(moment.milliseconds)) }

    fileprivate func moment(_ name: String) -> Timestamp? {
        self[name]?.integer.map { Timestamp(milliseconds: Int64($0)) }
    }
}
