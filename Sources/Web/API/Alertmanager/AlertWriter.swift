internal import Alerting
internal import Basics
internal import Model

/// Writes alerts into a body, without a tree of values between: a list may hold a hundred thousand.
struct AlertWriter {
    private(set) var body: [UInt8] = []
    private let alerting: AlertGroups
    private let lookup: AlertGroups.StatusLookup
    private let now: Timestamp
    /// The texts of the last moments, since a list tells of few.
    private var moments = [(moment: Timestamp?, text: [UInt8])](repeating: (nil, []), count: 16)

    init(_ alerting: AlertGroups, now: Timestamp) {
        (self.alerting, self.now) = (alerting, now)
        lookup = alerting.statusLookup(now: now)
    }

    func status(of labels: Labels) -> AlertStatus { lookup.status(of: labels) }

    mutating func open(_ text: StaticString) { put(text) }
    mutating func close(_ text: StaticString) { put(text) }
    private mutating func put(_ text: StaticString) { body.append(literal: text) }

    mutating func group(_ group: AlertGroup, isFirst: Bool) {
        if !isFirst { body.append(UInt8(ascii: ",")) }
        put(#"{"labels":"#)
        write(group.labels)
        if !group.routeLabels.isEmpty {
            put(#","routeLabels":"#)
            JSON(group.routeLabels).write(to: &body)
        }
        put(#","receiver":{"name":"#)
        JSON.write(group.receiver, to: &body)
        put(#"},"alerts":["#)
    }

    mutating func write(
        _ member: AlertGroup.Member, _ fingerprint: UInt64, _ status: AlertStatus, _ receivers: [String],
        mutes: [String], isFirst: Bool
    ) {
        let alert = member.alert
        if !isFirst { body.append(UInt8(ascii: ",")) }
        put(#"{"annotations":"#)
        write(alert.annotations)
        put(#","endsAt":"#)
        // An alert of our own fires until we say otherwise; a client wants an end all the same.
        write(alert.endsAt ?? now + 300_000)
        put(#","fingerprint":""#)
        body.append(hexadecimal: fingerprint)
        put(#"","receivers":["#)
        for (place, receiver) in receivers.enumerated() {
            put(place == 0 ? #"{"name":"# : #",{"name":"#)
            JSON.write(receiver, to: &body)
            body.append(UInt8(ascii: "}"))
        }
        put(#"],"startsAt":"#)
        write(alert.startsAt)
        put(#","status":{"inhibitedBy":"#)
        write(status.inhibitedBy)
        put(#","mutedBy":"#)
        write(mutes)
        put(#","silencedBy":"#)
        write(status.silencedBy)
        put(status.isSuppressed || !mutes.isEmpty ? #","state":"suppressed"},"# : #","state":"active"},"#)
        put(#""updatedAt":"#)
        write(member.updatedAt)
        if !alert.generatorURL.isEmpty {
            put(#","generatorURL":"#)
            JSON.write(alert.generatorURL, to: &body)
        }
        put(#","labels":"#)
        write(alert.labels)
        body.append(UInt8(ascii: "}"))
    }

    private mutating func write(_ texts: [String]) {
        body.append(UInt8(ascii: "["))
        for (place, text) in texts.enumerated() {
            if place > 0 { body.append(UInt8(ascii: ",")) }
            JSON.write(text, to: &body)
        }
        body.append(UInt8(ascii: "]"))
    }

    private mutating func write(_ labels: Labels) { labels.write(to: &body) }
    private mutating func write(_ texts: [String: String]) { JSON.write(texts, to: &body) }

    private mutating func write(_ moment: Timestamp) {
        let place = Int(truncatingIfNeeded: moment.milliseconds &* 0x9E37 >> 8 & 15)
        if moments[place].moment != moment {
            moments[place] = (moment, Array(moment.rfc3339().utf8))
        }
        body.append(UInt8(ascii: "\""))
        body += moments[place].text
        body.append(UInt8(ascii: "\""))
    }
}
