internal import Basics
internal import Model

/// How groups and their alerts stand in the journal: JSON, times in milliseconds.
extension AlertGroup {
    /// One entry a group: all but its alerts.
    public static let groupsTable = "alerting.groups"
    /// One entry an alert of a group.
    public static let alertsTable = "alerting.alerts"

    func headerChange() -> StateChange {
        let header: JSON = [
            "key": .string(key), "receiver": .string(receiver), "labels": JSON(labels.dictionary),
            "createdAt": JSON(createdAt), "nextFlush": JSON(nextFlush), "lastTold": lastTold.map { JSON($0) } ?? .null,
            "sequence": .number(Double(sequence)),
        ]
        return StateChange(table: AlertGroup.groupsTable, key: id, value: header.serialized())
    }

    init?(id: String, header: [UInt8]) {
        guard let json = try? JSON(parsing: header),  // Told to the caller by nil.
            let key = json["key"]?.string, let receiver = json["receiver"]?.string,
            let labels = json["labels"]?.strings, let createdAt = json["createdAt"]?.timestamp,
            let nextFlush = json["nextFlush"]?.timestamp, let sequence = json["sequence"]?.integer
        else { return nil }
        self.init(
            id: id, key: key, receiver: receiver, labels: Labels(labels), createdAt: createdAt, nextFlush: nextFlush)
        self.sequence = sequence
        lastTold = json["lastTold"]?.timestamp
        hasFlushed = lastTold != nil
    }

    /// The entry of a member, or its end when there is no such member any more.
    func memberChange(_ labels: Labels) -> StateChange {
        let key = "\(id)\n\(labels.alertmanagerText)"
        guard let member = members[labels] else {
            return StateChange(table: AlertGroup.alertsTable, key: key, value: nil)
        }
        var value: [JSON.Member] = [
            JSON.Member("group", .string(id)), JSON.Member("alert", member.alert.json),
            JSON.Member("told", .bool(member.isTold)),
        ]
        for (name, isSet) in [("over", member.isOver), ("held", member.isHeld), ("hidden", member.isHidden)] where isSet
        {
            value.append(JSON.Member(name, true))
        }
        value.append(JSON.Member("updated", JSON(member.updatedAt)))
        if let flap = member.flap {
            value.append(
                JSON.Member(
                    "flap",
                    [
                        "episodes": .number(Double(flap.episodes)), "changedAt": JSON(flap.changedAt),
                        "told": .bool(flap.isTold),
                    ]))
        }
        if !member.ended.isEmpty {
            value.append(
                JSON.Member(
                    "ended",
                    .array(
                        member.ended.map {
                            ["alert": $0.alert.json, "told": .bool($0.wasTold), "held": .bool($0.wasHeld)]
                        })))
        }
        return StateChange(table: AlertGroup.alertsTable, key: key, value: JSON.object(value).serialized())
    }

    static func member(_ bytes: [UInt8]) -> (group: String, Member)? {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let group = json["group"]?.string, let alert = json["alert"].flatMap(Alert.init(json:)),
            let isTold = json["told"]?.bool
        else { return nil }
        let ended = (json["ended"]?.array ?? []).compactMap { entry -> Ended? in
            guard let alert = entry["alert"].flatMap(Alert.init(json:)), let wasTold = entry["told"]?.bool else {
                return nil
            }
            return Ended(alert: alert, wasTold: wasTold, wasHeld: entry["held"]?.bool ?? false)
        }
        var member = Member(alert: alert, updatedAt: json["updated"]?.timestamp ?? alert.startsAt)
        (member.isTold, member.isOver, member.ended) = (isTold, json["over"]?.bool ?? false, ended)
        (member.isHeld, member.isHidden) = (json["held"]?.bool ?? false, json["hidden"]?.bool ?? false)
        if let flap = json["flap"], let episodes = flap["episodes"]?.integer, let changed = flap["changedAt"]?.timestamp
        {
            member.flap = Flap(episodes: episodes, changedAt: changed)
            member.flap?.isTold = flap["told"]?.bool ?? false
        }
        return (group, member)
    }
}
