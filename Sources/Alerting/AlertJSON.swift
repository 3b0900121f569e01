public import Basics
public import Model

/// Alerts and notifications as the journal holds them: JSON, times in milliseconds.
extension Alert {
    /// All parts; a value that JSON has no number for stands as Prometheus' text.
    public var json: JSON {
        var members: [JSON.Member] = [
            JSON.Member("labels", JSON(labels.dictionary)), JSON.Member("annotations", JSON(annotations)),
            JSON.Member("value", value.isFinite ? .number(value) : .string(GoNumber.fixed(value))),
            JSON.Member("startsAt", JSON(startsAt)),
        ]
        if let endsAt { members.append(JSON.Member("endsAt", JSON(endsAt))) }
        if endsByTimeout { members.append(JSON.Member("timeout", true)) }
        if !generatorURL.isEmpty { members.append(JSON.Member("generatorURL", .string(generatorURL))) }
        return .object(members)
    }

    /// The alert that `json` holds; nil when a part is missing.
    public init?(json: JSON) {
        guard let labels = json["labels"]?.strings, let startsAt = json["startsAt"]?.timestamp,
            let value = json["value"]?.number ?? json["value"]?.string.flatMap(GoNumber.parse)
        else { return nil }
        self.init(
            labels: Labels(labels), annotations: json["annotations"]?.strings ?? [:], value: value, startsAt: startsAt,
            endsAt: json["endsAt"]?.timestamp, generatorURL: json["generatorURL"]?.string ?? "")
        endsByTimeout = json["timeout"]?.bool ?? false
    }
}

extension Notification {
    /// All parts.
    public var json: JSON {
        let json: JSON = [
            "id": .string(id), "groupID": .string(groupID), "groupKey": .string(groupKey),
            "receiver": .string(receiver), "reason": .string(reason.rawValue),
            "groupLabels": JSON(groupLabels.dictionary), "decidedAt": JSON(decidedAt),
            "items": .array(items.map { ["alert": $0.alert.json, "resolved": .bool($0.isResolved)] }),
            "routeLabels": JSON(routeLabels),
        ]
        guard leavesOpen, let members = json.members else { return json }
        return .object(members + [JSON.Member("open", true)])
    }

    /// The notification that `json` holds; nil when a part is missing.
    public init?(json: JSON) {
        guard let id = json["id"]?.string, let groupID = json["groupID"]?.string,
            let groupKey = json["groupKey"]?.string, let receiver = json["receiver"]?.string,
            let reason = json["reason"]?.string.flatMap(Reason.init(rawValue:)),
            let groupLabels = json["groupLabels"]?.strings, let decidedAt = json["decidedAt"]?.timestamp,
            let entries = json["items"]?.array
        else { return nil }
        var items: [Item] = []
        for entry in entries {
            guard let alert = entry["alert"].flatMap(Alert.init(json:)), let isResolved = entry["resolved"]?.bool else {
                return nil
            }
            items.append(Item(alert, isResolved: isResolved))
        }
        self.init(
            id: id, groupID: groupID, groupKey: groupKey, receiver: receiver, reason: reason,
            groupLabels: Labels(groupLabels), items: items, decidedAt: decidedAt)
        (routeLabels, leavesOpen) = (json["routeLabels"]?.strings ?? [:], json["open"]?.bool ?? false)
    }
}

extension JSON {
    /// Milliseconds since the Unix epoch.
    public init(_ moment: Timestamp) { self = .number(Double(moment.milliseconds)) }
    /// The moment, when it is whole milliseconds.
    public var timestamp: Timestamp? { integer.map { Timestamp(milliseconds: Int64($0)) } }
}
