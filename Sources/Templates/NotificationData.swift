public import Basics
internal import Model

/// What a notification's templates see as their dot.
///
/// - SeeAlso: Alertmanager, `template/template.go`, `Data`, `Alert`, `KV`.
public struct NotificationData: TemplateObject {
    /// One alert of the notification.
    public struct Item: TemplateObject {
        /// `firing` or `resolved`.
        public var status: String
        /// nil: none at all, which JSON tells apart from an empty set.
        public var labels: [String: String]?, annotations: [String: String]?
        /// `Timestamp.goZero` for never.
        public var startsAt: Timestamp, endsAt: Timestamp
        /// Where its expression is shown.
        public var generatorURL: String
        /// Its labels' hash, 16 hexadecimal digits.
        public var fingerprint: String

        /// An alert by its parts.
        public init(
            status: String, labels: [String: String]? = nil, annotations: [String: String]? = nil,
            startsAt: Timestamp = .goZero, endsAt: Timestamp = .goZero, generatorURL: String = "",
            fingerprint: String = ""
        ) {
            (self.status, self.labels, self.annotations) = (status, labels, annotations)
            (self.startsAt, self.endsAt) = (startsAt, endsAt)
            (self.generatorURL, self.fingerprint) = (generatorURL, fingerprint)
        }

        private var fields: [(name: String, value: TemplateValue)] {
            [
                ("Status", .string(status)), ("Labels", .object(LabelSet(labels))),
                ("Annotations", .object(LabelSet(annotations))), ("StartsAt", .time(startsAt)),
                ("EndsAt", .time(endsAt)), ("GeneratorURL", .string(generatorURL)),
                ("Fingerprint", .string(fingerprint)),
            ]
        }
        /// Its fields by name.
        public var plain: TemplateValue {
            .fields(Dictionary(uniqueKeysWithValues: fields.map { ($0.name, $0.value) }))
        }
        /// As Go prints a struct.
        public var text: String { "{" + fields.map(\.value.text).joined(separator: " ") + "}" }
        /// With Alertmanager's names, in its order.
        public var json: JSON {
            .object(
                zip(["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"], fields)
                    .map { JSON.Member($0, $1.value.json) })
        }
        /// A field.
        public func member(_ name: String, _ arguments: [TemplateValue]) throws(TemplateFailure) -> TemplateValue? {
            guard let field = fields.first(where: { $0.name == name }) else {
                throw TemplateFailure("can't evaluate field \(name) in type template.Alert")
            }
            return field.value
        }
    }

    /// The receiver's name.
    public var receiver: String
    /// `firing` while any alert fires.
    public var status: String
    /// The alerts, firing and resolved.
    public var alerts: [Item]
    /// Why it is sent.
    public var reason = ""
    /// What the group is made of, and what all of its alerts share.
    public var groupLabels: [String: String], commonLabels: [String: String], commonAnnotations: [String: String]
    /// Where this daemon is reached, without a slash at the end.
    public var externalURL: String

    /// A notification about alerts. The common sets are what every alert has with the same value; the status is
    /// `firing` while any alert fires.
    public init(receiver: String, alerts: [Item], groupLabels: [String: String], externalURL: String) {
        (self.receiver, self.alerts, self.groupLabels) = (receiver, alerts, groupLabels)
        self.externalURL = externalURL
        status = alerts.contains { $0.status == "firing" } ? "firing" : "resolved"
        func common(_ sets: [[String: String]]) -> [String: String] {
            (sets.first ?? [:]).filter { label in sets.allSatisfy { $0[label.key]?.isSame(as: label.value) ?? false } }
        }
        commonLabels = common(alerts.map { $0.labels ?? [:] })
        commonAnnotations = common(alerts.map { $0.annotations ?? [:] })
    }

    private var fields: [(name: String, value: TemplateValue)] {
        [
            ("Receiver", .string(receiver)), ("Status", .string(status)), ("Alerts", .object(AlertList(items: alerts))),
            ("NotificationReason", .string(reason)), ("GroupLabels", .object(LabelSet(groupLabels))),
            ("CommonLabels", .object(LabelSet(commonLabels))),
            ("CommonAnnotations", .object(LabelSet(commonAnnotations))), ("ExternalURL", .string(externalURL)),
        ]
    }
    /// Nothing that a template could go through.
    public var plain: TemplateValue { .string(text) }
    /// As Go prints a struct.
    public var text: String { "{" + fields.map(\.value.text).joined(separator: " ") + "}" }
    /// With Alertmanager's names, in its order.
    public var json: JSON {
        .object(
            fields.filter { $0.name != "NotificationReason" || !reason.isEmpty }.map { field in
                JSON.Member(
                    field.name == "NotificationReason"
                        ? "notification_reason" : field.name.prefix(1).lowercased() + field.name.dropFirst(),
                    field.value.json)
            })
    }
    /// A field.
    public func member(_ name: String, _ arguments: [TemplateValue]) throws(TemplateFailure) -> TemplateValue? {
        guard let field = fields.first(where: { $0.name == name }) else {
            throw TemplateFailure("can't evaluate field \(name) in type *template.Data")
        }
        return field.value
    }
}

/// `.Alerts`: a list with two parts.
private struct AlertList: TemplateObject {
    var items: [NotificationData.Item]

    var plain: TemplateValue { .list(items.map { .object($0) }) }
    func member(_ name: String, _ arguments: [TemplateValue]) -> TemplateValue? {
        switch name {
        case "Firing": .object(AlertList(items: items.filter { $0.status == "firing" }))
        case "Resolved": .object(AlertList(items: items.filter { $0.status == "resolved" }))
        default: nil
        }
    }
}

/// A label set or an annotation set, with Alertmanager's methods.
private struct LabelSet: TemplateObject {
    var values: [String: String]?
    init(_ values: [String: String]?) { self.values = values }

    /// By name, `alertname` first.
    private var pairs: [(key: String, value: String)] {
        (values ?? [:]).sorted { one, other in
            if (one.key == "alertname") != (other.key == "alertname") { return one.key == "alertname" }
            return one.key.isBefore(other.key)
        }.map { (key: $0.key, value: $0.value) }
    }

    var plain: TemplateValue { .strings(values ?? [:]) }
    var text: String { pairs.map { "\($0.key)=\($0.value)" }.joined(separator: ", ") }
    var json: JSON { values == nil ? .null : plain.json }
    func member(_ name: String, _ arguments: [TemplateValue]) throws(TemplateFailure) -> TemplateValue? {
        switch name {
        case "SortedPairs": return .object(LabelPairs(pairs: pairs))
        case "Names": return .list(pairs.map { .string($0.key) })
        case "Values": return .list(pairs.map { .string($0.value) })
        case "Remove":
            guard case .list(let names)? = arguments.first?.plain else {
                throw TemplateFailure("wrong number of args for Remove: want 1 got \(arguments.count)")
            }
            let gone = Set(names.map(\.text))
            return .object(LabelSet((values ?? [:]).filter { !gone.contains($0.key) }))
        default: return .string(values?[name] ?? "")
        }
    }
}

/// `.SortedPairs`: a list of names and values.
private struct LabelPairs: TemplateObject {
    var pairs: [(key: String, value: String)]

    var plain: TemplateValue {
        .list(pairs.map { .fields(["Name": .string($0.key), "Value": .string($0.value)]) })
    }
    var text: String { pairs.map { "\($0.key)=\($0.value)" }.joined(separator: ", ") }
    func member(_ name: String, _ arguments: [TemplateValue]) -> TemplateValue? {
        switch name {
        case "Names": .list(pairs.map { .string($0.key) })
        case "Values": .list(pairs.map { .string($0.value) })
        default: nil
        }
    }
}
