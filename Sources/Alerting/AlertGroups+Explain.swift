public import Basics
public import Model

/// Why an alert is told to whom, or is not: the same decisions once more, in words.
extension AlertGroups {
    /// The labels of the alert with that fingerprint, 16 hexadecimal digits; nil when none is known.
    public func labels(fingerprint: String) -> Labels? {
        for group in groups.values {
            for labels in group.members.keys where labels.fingerprintText == fingerprint { return labels }
        }
        return nil
    }

    /// Routes, groups, what each stage says, when the group is looked at next.
    public func explain(_ labels: Labels, now: Timestamp) -> JSON {
        let status = status(of: labels, now: now)
        var alert: Alert?
        var found: [JSON] = []
        for group in groups.values.sorted(by: { $0.id < $1.id }) {
            guard let member = group.members[labels] else { continue }
            alert = member.alert
            found.append(explain(member, in: group, status, now: now))
        }
        return [
            "fingerprint": .string(labels.fingerprintText), "labels": JSON(labels),
            "known": .bool(alert != nil),
            "annotations": JSON(alert?.annotations ?? [:]),
            "startsAt": alert.map { .string($0.startsAt.rfc3339()) } ?? .null,
            "endsAt": alert?.endsAt.map { .string($0.rfc3339()) } ?? .null,
            "firing": .bool(alert.map { !$0.isResolved(at: now) } ?? false),
            "routes": .array(walk(labels)), "groups": .array(found),
        ]
    }

    // MARK: The way through the routes

    private func walk(_ labels: Labels) -> [JSON] {
        var steps: [JSON] = []
        let taken = Set(settings.tree.places(labels))
        func visit(_ place: Int, depth: Int, isPassed: Bool) -> Bool {
            let route = settings.tree.routes[place]
            let failing = route.matchers.first { !$0.matches(labels) }
            let isMatch = failing == nil && !isPassed
            let why =
                if isPassed { "an earlier sibling took the alert and does not continue" } else if let failing {
                    "\(failing.alertmanagerText) does not hold: \(failing.name) is \(labels[failing.name].goQuoted)"
                } else { taken.contains(place) ? "takes it" : "matches, and a child takes it" }
            let text = route.matchers.map(\.alertmanagerText).joined(separator: ",")
            steps.append([
                "matchers": .string("{\(text)}"), "depth": .number(Double(depth)), "receiver": .string(route.receiver),
                "matched": .bool(isMatch), "takes": .bool(isMatch && taken.contains(place)), "why": .string(why),
            ])
            guard isMatch else { return false }
            var isOver = false
            for child in route.children {
                if visit(child, depth: depth + 1, isPassed: isOver), !settings.tree.routes[child].continues {
                    isOver = true
                }
            }
            return true
        }
        _ = visit(0, depth: 0, isPassed: false)
        return steps
    }

    // MARK: One group

    private func explain(
        _ member: AlertGroup.Member, in group: AlertGroup, _ status: AlertStatus, now: Timestamp
    ) -> JSON {
        let stages = stages(member, group, status, now: now)
        return [
            "key": .string(group.key), "receiver": .string(group.receiver), "retired": .bool(group.isRetired),
            "labels": JSON(group.labels), "alerts": .number(Double(group.members.count)),
            "nextLook": .string(group.nextFlush.rfc3339()),
            "lastTold": group.lastTold.map { .string($0.rfc3339()) } ?? .null,
            "told": .bool(member.isTold),
            "stages": .array(
                stages.map { ["stage": .string($0.name), "passes": .bool($0.passes), "why": .string($0.why)] }),
            "verdict": .string(verdict(member, group, isHeld: stages.contains { !$0.passes }, now: now)),
        ]
    }

    private func stages(
        _ member: AlertGroup.Member, _ group: AlertGroup, _ status: AlertStatus, now: Timestamp
    ) -> [(name: String, passes: Bool, why: String)] {
        let sources = inhibitor.sources(of: member.alert.labels, now: now, all: true)
        let inhibited = sources.sorted().prefix(3).map { "\($0.fingerprintText) \($0.alertmanagerText)" }
        let mute = settings.mute(group, now: now)
        let silenced = status.silencedBy.compactMap { silences.all[$0] }.map {
            "\($0.id) by \($0.createdBy) until \($0.endsAt.rfc3339()): \($0.comment)"
        }
        let isOutside = mute?.reason == .activeTimeInterval
        let muting = mute?.reason == .muteTimeInterval ? mute?.names ?? [] : []
        return [
            (
                "inhibition", sources.isEmpty,
                sources.isEmpty ? "no source fires" : "held back by " + inhibited.joined(separator: "; ")
            ),
            (
                "active_time_intervals", !isOutside,
                group.activeIntervals.isEmpty
                    ? "none" : "\(isOutside ? "outside" : "within") \(group.activeIntervals.joined(separator: ", "))"
            ),
            (
                "mute_time_intervals", muting.isEmpty,
                muting.isEmpty
                    ? (group.muteIntervals.isEmpty
                        ? "none" : "outside \(group.muteIntervals.joined(separator: ", "))")
                    : "within \(muting.joined(separator: ", "))"
            ),
            (
                "silences", status.silencedBy.isEmpty,
                silenced.isEmpty ? "none matches" : silenced.joined(separator: "; ")
            ),
            (
                "flapping", member.flap == nil,
                member.flap.map { "began \($0.episodes) times; told again once it is steady" } ?? "steady"
            ),
        ]
    }

    private func verdict(_ member: AlertGroup.Member, _ group: AlertGroup, isHeld: Bool, now: Timestamp) -> String {
        let look = "at the next look at the group, \(group.nextFlush.rfc3339())"
        if member.isResolved(at: now) {
            return member.isTold ? "its end is told \(look)" : "over before it was told"
        }
        if isHeld { return "not told while that holds" + (member.isTold ? "; its end will be" : "") }
        if !member.isTold { return "told \(look)" }
        guard let last = group.lastTold else { return "told" }
        let again = last + group.repeatInterval
        return "told at \(last.rfc3339()); again after \(again.rfc3339()), or with news of the group"
    }
}
