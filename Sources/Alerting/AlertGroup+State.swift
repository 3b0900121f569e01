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
            "key": .string(key), "receiver": .string(receiver), "labels": JSON(labels),
            "createdAt": JSON(createdAt), "nextFlush": JSON(nextFlush), "lastTold": lastTold.map { JSON($0) } ?? .null,
            "sequence": .number(Double(sequence)), "toldThrough": .number(Double(toldThrough)),
        ]
        return StateChange(table: AlertGroup.groupsTable, key: id, value: header.serialized())
    }

    init?(id: String, header: [UInt8]) {
        guard let json = try? JSON(parsing: header),  // Told to the caller by nil.
            let key = json["key"]?.string, let receiver = json["receiver"]?.string,
            let labels = json["labels"].flatMap(Labels.init(json:)), let createdAt = json["createdAt"]?.timestamp,
            let nextFlush = json["nextFlush"]?.timestamp, let sequence = json["sequence"]?.integer
        else { return nil }
        self.init(
            id: id, key: key, receiver: receiver, labels: labels, createdAt: createdAt, nextFlush: nextFlush)
        self.sequence = sequence
        toldThrough = json["toldThrough"]?.integer ?? 0
        lastNumber = toldThrough
        lastTold = json["lastTold"]?.timestamp
        hasFlushed = lastTold != nil
    }

    /// The entry of a member under a fresh number, or its end when there is no such member any more.
    mutating func memberChange(_ labels: Labels) -> StateChange {
        let key = memberKey(labels)
        guard let index = members.index(forKey: labels) else {
            return StateChange(table: AlertGroup.alertsTable, key: key, value: nil)
        }
        lastNumber += 1
        members.values[index].number = lastNumber
        return StateChange(table: AlertGroup.alertsTable, key: key, value: members.values[index].serialized)
    }

    /// `hash of the group's id-fingerprint`, in hexadecimal digits.
    func memberKey(_ labels: Labels) -> String {
        let fingerprint = labels.fingerprint
        return unsafe String(unsafeUninitializedCapacity: 33) { text in
            for (place, number) in [(0, idHash), (17, fingerprint)] {
                for digit in 0..<16 {
                    let value = UInt8(truncatingIfNeeded: number >> UInt64(60 - 4 * digit) & 15)
                    unsafe text[place + digit] = value < 10 ? 0x30 + value : 0x57 + value
                }
            }
            unsafe text[16] = UInt8(ascii: "-")
            return 33
        }
    }

    /// Takes up a member that was journalled, and what the group's entry has to say of it.
    mutating func restore(_ found: Member) {
        var member = found
        lastNumber = max(lastNumber, member.number)
        if member.number > 0, member.number <= toldThrough { member.tell() }
        members[member.alert.labels] = member
    }
}

extension AlertGroup.Member {
    /// Its entry. What an entry of its group says of all members up to a number counts more.
    fileprivate var serialized: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        bytes.append(literal: #"{"alert":"#)
        alert.write(to: &bytes)
        if isTold { bytes.append(literal: #","told":true"#) }
        if isOver { bytes.append(literal: #","over":true"#) }
        if isHeld { bytes.append(literal: #","held":true"#) }
        if isHidden { bytes.append(literal: #","hidden":true"#) }
        bytes.append(literal: #","updated":"#)
        JSON.write(updatedAt, to: &bytes)
        bytes.append(literal: #","number":"#)
        bytes.append(decimal: Int64(number))
        if let flap {
            bytes.append(literal: #","flap":{"episodes":"#)
            bytes.append(decimal: Int64(flap.episodes))
            bytes.append(literal: #","changedAt":"#)
            JSON.write(flap.changedAt, to: &bytes)
            bytes.append(literal: flap.isTold ? #","told":true}"# : #","told":false}"#)
        }
        for (place, ended) in ended.enumerated() {
            bytes.append(literal: place == 0 ? #","ended":[{"alert":"# : #",{"alert":"#)
            ended.alert.write(to: &bytes)
            bytes.append(literal: ended.wasTold ? #","told":true"# : #","told":false"#)
            bytes.append(literal: ended.wasHeld ? #","held":true}"# : #","held":false}"#)
        }
        if !ended.isEmpty { bytes.append(UInt8(ascii: "]")) }
        bytes.append(UInt8(ascii: "}"))
        return Array(bytes[...])
    }
}

extension AlertGroup {
    /// Of which group an entry is: its id in older entries, else the hash of it.
    enum Owner {
        case id(String)
        case hash(UInt64)

        func id(_ ids: [UInt64: String]) -> String? {
            switch self {
            case .id(let id): id
            case .hash(let hash): ids[hash]
            }
        }
    }

    static func member(_ key: String, _ bytes: [UInt8]) -> (owner: Owner, Member)? {
        guard let json = try? JSON(parsing: bytes),  // Told to the caller by nil.
            let owner = json["group"]?.string.map(Owner.id) ?? UInt64(key.prefix(16), radix: 16).map(Owner.hash),
            let alert = json["alert"].flatMap(Alert.init(json:))
        else { return nil }
        let ended = (json["ended"]?.array ?? []).compactMap { entry -> Ended? in
            guard let alert = entry["alert"].flatMap(Alert.init(json:)), let wasTold = entry["told"]?.bool else {
                return nil
            }
            return Ended(alert: alert, wasTold: wasTold, wasHeld: entry["held"]?.bool ?? false)
        }
        var member = Member(alert: alert, updatedAt: json["updated"]?.timestamp ?? alert.startsAt)
        (member.isTold, member.isOver, member.ended) = (json["told"]?.bool ?? false, json["over"]?.bool ?? false, ended)
        (member.isHeld, member.isHidden) = (json["held"]?.bool ?? false, json["hidden"]?.bool ?? false)
        if let flap = json["flap"], let episodes = flap["episodes"]?.integer, let changed = flap["changedAt"]?.timestamp
        {
            member.flap = Flap(episodes: episodes, changedAt: changed)
            member.flap?.isTold = flap["told"]?.bool ?? false
        }
        member.number = json["number"]?.integer ?? 0
        return (owner, member)
    }
}
