internal import Alerting
internal import Basics
internal import Model

/// Pages that a peer may have told.
extension Outbox {
    /// When a page is to wait for peers that come before us.
    struct Hold: Sendable, Hashable {
        /// From its decision.
        var length: Milliseconds = 0
        /// Not before, whatever it says: nobody knows yet who is there.
        var floor = Timestamp.distantPast

        func end(of entry: OutboxEntry) -> Timestamp { max(entry.createdAt + length, floor) }
    }

    /// Whether peers tell of such a page too: no announcement, and nothing that a person sent again.
    func isShared(_ entry: OutboxEntry) -> Bool {
        told != nil && entry.notification.isOfGroup && !entry.isOld && !entry.isAside
            && !entry.notification.items.isEmpty
    }

    /// Lets a fresh page wait for the peers before us.
    func held(_ entry: OutboxEntry, now: Timestamp) -> OutboxEntry {
        guard isShared(entry), entry.attempts == 0, hold.end(of: entry) > now else { return entry }
        var held = entry
        (held.state, held.queuedAt) = (.waiting(until: hold.end(of: entry)), hold.end(of: entry))
        return held
    }

    /// Others are before us now, or fewer: what waits for them waits as long as it now must.
    mutating func use(_ hold: Hold, now: Timestamp) -> [StateChange] {
        guard hold != self.hold else { return [] }
        let floor = self.hold.floor
        self.hold = hold
        for entry in entries.values.sorted(by: { $0.sequence < $1.sequence }) {
            guard case .waiting(let until) = entry.state else { continue }
            if entry.attempts > 0 || !isShared(entry) {
                // Of those only the start was waited for.
                guard until == floor, hold.floor != floor else { continue }
                update(entry.id) { $0.state = .waiting(until: max(hold.floor, now)) }
            } else {
                let end = max(hold.end(of: entry), now)
                guard end != until else { continue }
                update(entry.id) { ($0.state, $0.queuedAt) = (.waiting(until: end), end) }
            }
            if isFirst(entry), let entry = entries[entry.id] { lineUp(entry, now: now) }
        }
        return drain()
    }

    /// Begins with peers. Nobody knows yet what they told meanwhile: pages that are on their way wait until they were
    /// asked, or until `floor`.
    mutating func begin(_ told: PeerLog, floor: Timestamp, now: Timestamp) -> [StateChange] {
        (self.told, hold) = (told, Hold(floor: floor))
        holdAll(now: now)
        return drain()
    }

    private mutating func holdAll(now: Timestamp) {
        for entry in entries.values.sorted(by: { $0.sequence < $1.sequence }) where isShared(entry) {
            guard entry.state != .sending else { continue }
            if case .waiting(let until) = entry.state, until >= hold.floor { continue }
            if entry.state == .queued { lanes.unready(entry.id, rank: entry.rank, channelID: entry.channelID) }
            let floor = hold.floor
            update(entry.id) { $0.state = .waiting(until: floor) }
            if isFirst(entry), let entry = entries[entry.id] { lineUp(entry, now: now) }
        }
    }

    private func isFirst(_ entry: OutboxEntry) -> Bool {
        lanes.pages(of: entry.notification.groupID, through: entry.channelID).first == entry.id
    }

    /// The key of what a channel was told of a group.
    private func key(_ entry: OutboxEntry) -> String {
        let path = path(entry.channelID)
        return PeerLog.key(entry.notification.groupKey, path.receiver, path.integration)
    }

    /// Whether its receiver knows all that a page says, so that it is not sent.
    ///
    /// - What fires is known when the receiver was told so since the alert began, or shortly before: daemons see a
    ///   beginning at different moments.
    /// - What is over is known when the receiver was told so after it began.
    /// - Of an alert that a later page here, or its group, says otherwise of, that later word counts as well.
    /// - What a peer told to be over after our senders last spoke of it fires no more as far as we know: should they
    ///   say that it does, it is told then.
    /// - What we told ourselves, and no peer, hides nothing that we decide to tell.
    /// - A repeat is known when a peer told something about then.
    ///
    /// - Parameter group: What the group knows by now; without it a repeat is taken for news.
    func isTold(_ entry: OutboxEntry, group: GroupState? = nil) -> Bool {
        guard isShared(entry), let known = told?.entries[key(entry)] else { return false }
        let page = entry.notification
        if page.reason == .repeated {
            guard let group, !known.isOurs,
                known.told + min(PeerMessage.tolerance, group.repeatInterval / 2) >= page.decidedAt
            else { return false }
        }
        var isByPeer = page.reason == .repeated
        var later: [UInt64: (isFiring: Bool, isBoth: Bool, startsAt: Timestamp)]?
        for (fingerprint, own) in page.knowledge {
            guard let mark = known.marks[fingerprint] else { return false }
            isByPeer = isByPeer || !mark.isOurs
            let knows = mark.knowledge == (own.isFiring ? .firing : .resolved)
            let slack = own.isFiring && !own.isBoth ? AlertGroups.peerPhase : 0
            if knows, mark.at + slack >= own.startsAt { continue }
            if later == nil { later = laterKnowledge(than: entry, group) }
            guard let last = later?[fingerprint], mark.knowledge == (last.isFiring ? .firing : .resolved),
                mark.at >= last.startsAt
            else { return false }
        }
        return isByPeer
    }

    private func laterKnowledge(
        than entry: OutboxEntry, _ group: GroupState?
    ) -> [UInt64: (isFiring: Bool, isBoth: Bool, startsAt: Timestamp)] {
        var found: [UInt64: (isFiring: Bool, isBoth: Bool, startsAt: Timestamp)] = [:]
        let pages = lanes.pages(of: entry.notification.groupID, through: entry.channelID)
        for id in pages.drop(while: { $0 != entry.id }).dropFirst() {
            found.merge(entries[id]?.notification.knowledge ?? [:], uniquingKeysWith: { $1 })
        }
        for alert in entry.notification.firing {
            let fingerprint = alert.labels.fingerprint
            guard found[fingerprint] == nil, let state = group?.member(alert.labels) else { continue }
            if state.isOver {
                found[fingerprint] = (false, false, alert.startsAt)
            } else {
                // Whatever is said later than that is said later than all that we know.
                found[fingerprint] = (false, false, max(alert.startsAt, state.heardAt))
            }
        }
        return found
    }

    /// Ends a page that a peer told; its end is owed by us too.
    mutating func drop(told entry: OutboxEntry, now: Timestamp) {
        guard let known = told?.entries[key(entry)] else { return }
        record(entry, .cancelled, "\(known.teller) told it at \(known.told.rfc3339())", now: now)
        var receipt = Receipt()
        if !known.thread.isEmpty { receipt.thread = known.thread }
        stand(entry, receipt, now: now)
        events.append(.toldElsewhere(groupID: entry.notification.groupID, at: known.told))
        remove(entry, now: now)
    }

    /// What a group knows of an alert: whether it is over, and when its senders last spoke of it.
    typealias MemberState = (isOver: Bool, heardAt: Timestamp)
    /// What a group knows of its alerts, and after what time it is told again.
    struct GroupState {
        var repeatInterval: Milliseconds
        var member: (Labels) -> MemberState?
    }

    /// Drops the first page of each group, as long as peers told it.
    ///
    /// - Parameters:
    ///   - keys: Of which groups and channels something was learnt; nil: any whose wait is over.
    ///   - group: What a group knows by now.
    mutating func dropTold(
        _ keys: Set<String>?, group: (String) -> GroupState?, now: Timestamp
    ) -> [StateChange] {
        guard told != nil, !entries.isEmpty else { return [] }
        for entry in entries.values.sorted(by: { $0.sequence < $1.sequence }) {
            guard let entry = entries[entry.id], entry.state != .sending, isShared(entry), isFirst(entry) else {
                continue
            }
            if let keys {
                guard keys.contains(key(entry)) else { continue }
            } else {
                if case .waiting(let until) = entry.state, until > now { continue }
            }
            // Those behind it are looked at when they come forward.
            if isTold(entry, group: group(entry.notification.groupID)) { drop(told: entry, now: now) }
        }
        return drain()
    }

    /// A channel was told something: that is for the peers to know.
    mutating func note(_ entry: OutboxEntry, _ receipt: Receipt, now: Timestamp) {
        guard isShared(entry) else { return }
        let path = path(entry.channelID)
        let change = told?.note(
            entry.notification, path.receiver, path.integration, thread: receipt.thread, now: now)
        if let change { changes.append(change) }
    }

    /// Ends that a channel does not want to be told.
    mutating func noteEnds(_ notification: Notification, untoldThrough channelID: String, now: Timestamp) {
        guard told != nil, notification.isOfGroup else { return }
        let path = path(channelID)
        if let change = told?.noteEnds(notification, path.receiver, path.integration, now: now) {
            changes.append(change)
        }
    }
}
