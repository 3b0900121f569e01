public import Basics
public import Model

/// Alerts and notifications as the journal holds them: JSON, times in milliseconds.
extension Alert {
    /// Appends all parts as an object. The value is left out when there is none, NaN; another one that JSON has no
    /// number for stands as Prometheus' text.
    public func write(to output: inout [UInt8]) {
        output.append(literal: #"{"labels":"#)
        labels.write(to: &output)
        if !annotations.isEmpty {
            output.append(literal: #","annotations":"#)
            JSON.write(annotations, to: &output)
        }
        if value.bitPattern != Double.nan.bitPattern {
            output.append(literal: #","value":"#)
            if value.isFinite { JSON.write(value, to: &output) } else { JSON.write(GoNumber.fixed(value), to: &output) }
        }
        output.append(literal: #","startsAt":"#)
        JSON.write(startsAt, to: &output)
        if let endsAt {
            output.append(literal: #","endsAt":"#)
            JSON.write(endsAt, to: &output)
        }
        if endsByTimeout { output.append(literal: #","timeout":true"#) }
        if !generatorURL.isEmpty {
            output.append(literal: #","generatorURL":"#)
            JSON.write(generatorURL, to: &output)
        }
        output.append(UInt8(ascii: "}"))
    }

    /// All parts as an object.
    public var serialized: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(512)
        write(to: &output)
        return output
    }

    /// The alert that `json` holds; nil when a part is missing.
    public init?(json: JSON) {
        guard let labels = json["labels"].flatMap(Labels.init(json:)), let startsAt = json["startsAt"]?.timestamp,
            let value = json["value"].map({ $0.number ?? $0.string.flatMap(GoNumber.parse) }) ?? .nan
        else { return nil }
        self.init(
            labels: labels, annotations: json["annotations"]?.strings ?? [:], value: value, startsAt: startsAt,
            endsAt: json["endsAt"]?.timestamp, generatorURL: json["generatorURL"]?.string ?? "")
        endsByTimeout = json["timeout"]?.bool ?? false
    }
}

extension Notification {
    /// Appends all parts as an object.
    public func write(to output: inout [UInt8]) {
        let texts: [(StaticString, String)] = [
            (#"{"id":"#, id), (#","groupID":"#, groupID), (#","groupKey":"#, groupKey), (#","receiver":"#, receiver),
            (#","reason":"#, reason.rawValue),
        ]
        for (name, text) in texts {
            output.append(literal: name)
            JSON.write(text, to: &output)
        }
        output.append(literal: #","groupLabels":"#)
        groupLabels.write(to: &output)
        output.append(literal: #","decidedAt":"#)
        JSON.write(decidedAt, to: &output)
        output.append(literal: #","items":["#)
        for index in items.indices {
            output.append(literal: index == 0 ? #"{"alert":"# : #",{"alert":"#)
            items[index].alert.write(to: &output)
            output.append(literal: items[index].isResolved ? #","resolved":true}"# : #","resolved":false}"#)
        }
        output.append(literal: #"],"routeLabels":"#)
        JSON.write(routeLabels, to: &output)
        if leavesOpen { output.append(literal: #","open":true"#) }
        output.append(UInt8(ascii: "}"))
    }

    /// All parts as an object.
    public var serialized: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(512 + 384 * items.count)
        write(to: &output)
        return output
    }

    /// The notification that `json` holds; nil when a part is missing.
    public init?(json: JSON) {
        guard let id = json["id"]?.string, let groupID = json["groupID"]?.string,
            let groupKey = json["groupKey"]?.string, let receiver = json["receiver"]?.string,
            let reason = json["reason"]?.string.flatMap(Reason.init(rawValue:)),
            let groupLabels = json["groupLabels"].flatMap(Labels.init(json:)),
            let decidedAt = json["decidedAt"]?.timestamp,
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
            groupLabels: groupLabels, items: items, decidedAt: decidedAt)
        (routeLabels, leavesOpen) = (json["routeLabels"]?.strings ?? [:], json["open"]?.bool ?? false)
    }
}

extension JSON {
    /// Milliseconds since the Unix epoch.
    public init(_ moment: Timestamp) { self = .number(Double(moment.milliseconds)) }
    /// Appends milliseconds since the Unix epoch.
    public static func write(_ moment: Timestamp, to output: inout [UInt8]) {
        write(Double(moment.milliseconds), to: &output)
    }
    /// The moment, when it is whole milliseconds.
    public var timestamp: Timestamp? { integer.map { Timestamp(milliseconds: Int64($0)) } }
}
