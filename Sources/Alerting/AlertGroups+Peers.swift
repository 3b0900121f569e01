public import Basics
public import Model

/// What other daemons told the same receivers, and their silences.
extension AlertGroups {
    /// What a receiver was told of a group, by whichever daemon. Alerts stand by their fingerprints.
    public struct Told: Sendable {
        /// The group's key and its receiver.
        public var groupKey: String, receiver: String
        /// When a peer last told something.
        public var at: Timestamp
        /// What it knows to fire; whether all of its channels know, and since when.
        public var firing: [UInt64: (at: Timestamp, isEverywhere: Bool)] = [:]
        /// What it knows to be over, and since when.
        public var resolved: [UInt64: Timestamp] = [:]

        /// Nothing told yet.
        public init(groupKey: String, receiver: String, at: Timestamp) {
            (self.groupKey, self.receiver, self.at) = (groupKey, receiver, at)
        }
    }

    /// How much later than it was told to fire an alert may begin here: two daemons that evaluate one rule see its
    /// beginning at different moments. What begins later still is another episode.
    public static let peerPhase: Milliseconds = 300_000

    /// An alert of which a receiver was told that it is over, and of which we know that it fires.
    struct Dispute: Hashable, Sendable {
        var group: String
        var labels: Labels
    }

    /// Takes what peers told as told by us: that an alert fires, so that it is no news here and its end is owed by us
    /// too; and when, so that a repeat waits from there. O(groups), and O(members) of those that are named.
    public mutating func learn(_ told: [Told], now: Timestamp) -> [StateChange] {
        guard !told.isEmpty, !groups.isEmpty else { return [] }
        let byName = Dictionary(
            told.map { (ByteText("\($0.receiver)\n\($0.groupKey)"), $0) }, uniquingKeysWith: { $1 })
        var changes: [StateChange] = []
        for id in Array(groups.keys) {
            guard let group = groups[id], let news = byName[ByteText("\(group.receiver)\n\(group.key)")] else {
                continue
            }
            changes += learn(news, id)
        }
        return changes
    }

    private mutating func learn(_ news: Told, _ id: String) -> [StateChange] {
        var changes: [StateChange] = []
        for (labels, member) in groups[id]?.members ?? [:] {
            let fingerprint = labels.fingerprint
            if let mark = news.firing[fingerprint] {
                disputes[Dispute(group: id, labels: labels)] = nil
                guard !member.isTold, mark.at + AlertGroups.peerPhase >= member.alert.startsAt else { continue }
                if mark.isEverywhere {
                    groups[id]?.members[labels]?.tell()
                } else if member.isHeld {
                    // Some of the channels know; when it is held back no more, the others are to be told.
                    groups[id]?.members[labels]?.tell()
                    groups[id]?.members[labels]?.isHidden = true
                } else {
                    continue
                }
                if let change = groups[id]?.memberChange(labels) { changes.append(change) }
            } else if let end = news.resolved[fingerprint], member.isTold, !member.isOver {
                disputes[Dispute(group: id, labels: labels)] = end
            }
        }
        return changes + noteTold(id, at: news.at)
    }

    /// A group's receiver was last told at a moment, not by us.
    public mutating func noteTold(_ id: String, at moment: Timestamp) -> [StateChange] {
        guard let group = groups[id], group.lastTold.map({ $0 < moment }) ?? true else { return [] }
        groups[id]?.lastTold = moment
        return groups[id].map { [$0.headerChange()] } ?? []
    }

    /// A peer told it, before we did: the repeat waits from that moment.
    public mutating func takeBack(_ id: String, toldAt moment: Timestamp) -> [StateChange] {
        guard groups[id] != nil else { return [] }
        groups[id]?.lastTold = moment
        return groups[id].map { [$0.headerChange()] } ?? []
    }

    /// Alerts that senders tell of now, of which a receiver heard from a peer that they are over: those that still
    /// fire are news to it.
    public mutating func settleDisputes(_ alerts: [Alert], now: Timestamp) -> [StateChange] {
        guard !disputes.isEmpty else { return [] }
        var changes: [StateChange] = []
        let ids = Set(disputes.keys.map(\.group)).sorted()
        for alert in alerts {
            for id in ids {
                let dispute = Dispute(group: id, labels: alert.labels)
                guard let end = disputes[dispute] else { continue }
                guard let member = groups[id]?.members[alert.labels], !member.isResolved(at: now) else {
                    disputes[dispute] = nil
                    continue
                }
                guard now > end else { continue }
                disputes[dispute] = nil
                groups[id]?.members[alert.labels]?.isTold = false
                if let change = groups[id]?.memberChange(alert.labels) { changes.append(change) }
            }
        }
        return changes
    }

    /// When senders last spoke of each alert.
    func lastHeard() -> [Labels: Timestamp] {
        var heard: [Labels: Timestamp] = [:]
        for group in groups.values {
            for (labels, member) in group.members {
                heard[labels] = max(heard[labels] ?? .distantPast, member.updatedAt)
            }
        }
        return heard
    }

    /// What was taken again by ourselves was not heard of again.
    mutating func hearAgain(_ heard: [Labels: Timestamp]) {
        guard !heard.isEmpty else { return }
        for id in Array(groups.keys) {
            for labels in Array(groups[id]?.members.keys ?? [:].keys) {
                if let moment = heard[labels] { groups[id]?.members[labels]?.updatedAt = moment }
            }
        }
    }

    /// Takes up ends of alerts that were never told to us, but to a receiver by a peer: it may be gone by now, and the
    /// end is owed all the same. The group waits its whole interval, since the peer may tell it yet.
    ///
    /// - Parameter isTold: Whether a receiver knows that an alert of a group fires, and nothing is on its way there.
    public mutating func adopt(
        _ alerts: [Alert], now: Timestamp,
        isTold: (_ group: String, _ groupKey: String, _ receiver: String, _ alert: Alert) -> Bool
    ) -> [StateChange] {
        var changes: [StateChange] = []
        for alert in alerts where alert.isResolved(at: now) {
            for index in settings.tree.places(alert.labels) {
                let route = settings.tree.routes[index]
                let labels = route.groupLabels(of: alert.labels)
                let id = groupID(of: index, labels)
                guard groups[id]?.members[alert.labels] == nil,
                    isTold(id, route.groupKey(labels), route.receiver, alert)
                else { continue }
                if groups[id] == nil {
                    changes.append(begin(id, route: index, labels, lookingAt: now + route.groupInterval, now: now))
                }
                var member = AlertGroup.Member(alert: alert, updatedAt: now)
                (member.isTold, member.isOver) = (true, true)
                groups[id]?.members[alert.labels] = member
                if let change = groups[id]?.memberChange(alert.labels) { changes.append(change) }
            }
        }
        return changes
    }

    /// Takes a peer's silence when it is newer than ours of that id; of two that were changed in the same moment the
    /// one with the greater text counts, so that all peers keep the same.
    public mutating func merge(_ silence: Silence, now: Timestamp) -> [StateChange] {
        guard now - silence.endsAt <= Silences.retention else { return [] }
        var fresh = silence
        if let old = silences.all[silence.id] {
            guard old.updatedAt <= silence.updatedAt, old != silence else { return [] }
            if old.updatedAt == silence.updatedAt,
                !old.shared.serialized().lexicographicallyPrecedes(silence.shared.serialized())
            {
                return []
            }
            fresh.hasHeld = old.hasHeld
            fresh.isReminded = old.isReminded && old.endsAt == silence.endsAt
        }
        nextSilenceCheck = now
        return [silences.keep(fresh)]
    }
}

extension Silence {
    /// All that peers share of it, as the journal has it; its id apart.
    public var shared: JSON {
        var bare = self
        (bare.hasHeld, bare.isReminded) = (false, false)
        return .object(bare.members)
    }

    /// A silence that a peer told of; nil when it is none that may be made.
    public init?(id: String, shared json: JSON, zones: ZoneFinder) {
        self.init(id: id, json, zones: zones)
        guard startsAt <= endsAt, (try? Silences.check(matchers)) != nil else { return nil }  // Counted by the caller.
        (hasHeld, isReminded) = (false, false)
    }
}
