internal import Basics
internal import Model

/// What a group tells at a look.
///
/// - Whatever was told as firing is told as over, also while a silence or a rule of inhibition holds it back: its
///   receiver has it on the screen. Only a time interval that mutes the whole group puts that off until it ends.
/// - What was held back and ended unseen is no news; it stands as over beside other news, as Alertmanager shows it.
/// - What began and ended between two looks, held back by nothing, is told as firing and then as over.
extension AlertGroup {
    /// What a flush decided.
    struct Flush {
        var notifications: [Notification] = []
        /// Members whose journalled state changed or ended.
        var changed: [Labels] = []
        var removed: [Labels] = []
        /// Episodes that are over and of which nothing is owed any more.
        var over: [Alert] = []
    }

    /// What a look finds, by what is told of it.
    private struct Findings {
        var firing: [Alert] = [], hasNews = false
        /// Whether any of them is the group's own.
        var hasOwn = false
        /// Whether something that was told fires on, or owes its end, and is not shown now.
        var leavesOpen = false
        /// Ends of what was told, ends of what was never told, ends of what was held back.
        var toldEnds: [Alert] = [], untoldEnds: [Alert] = [], quietEnds: [Alert] = []

        mutating func end(_ alert: Alert, wasTold: Bool, wasHeld: Bool, isHeld: Bool, isMuted: Bool) {
            if wasTold {
                if !isMuted { toldEnds.append(alert) }
            } else if !wasHeld, !isHeld {
                untoldEnds.append(alert)
            } else if !isHeld {
                quietEnds.append(alert)
            }
        }
    }

    /// What is to be told now; what it tells counts as told from here on. Call it at `nextFlush`, not before.
    ///
    /// - Parameters:
    ///   - isMuted: Whether a time interval holds the whole group back.
    ///   - isHeld: Whether a silence or a rule of inhibition holds an alert back.
    mutating func flush(
        now: Timestamp, flapping: Flapping = Flapping(), isMuted: Bool = false,
        isHeld: (Labels) -> Bool = { _ in false }
    ) -> Flush {
        nextFlush = now + groupInterval
        hasFlushed = true
        var findings = Findings()
        var held: Set<Labels> = []
        for (labels, member) in members {
            let isHeld = isMuted || isHeld(labels)
            if isHeld { held.insert(labels) }
            for ended in member.ended {
                findings.end(
                    ended.alert, wasTold: ended.wasTold, wasHeld: ended.wasHeld, isHeld: isHeld, isMuted: isMuted)
            }
            if let flap = member.flap, !flap.isSteady(member, flapping, now: now) {
                guard !isHeld, !flap.isTold || !member.isResolved(at: now) else {
                    findings.leavesOpen = findings.leavesOpen || flap.isTold || member.isTold
                    continue
                }
                findings.firing.append(flap.mark(member.alert, flapping))
                findings.hasOwn = findings.hasOwn || !member.isStray
                findings.hasNews = findings.hasNews || !flap.isTold
            } else if !member.isResolved(at: now) {
                guard !isHeld else {
                    findings.leavesOpen = findings.leavesOpen || member.isTold
                    continue
                }
                findings.firing.append(member.alert)
                findings.hasOwn = findings.hasOwn || !member.isStray
                findings.hasNews = findings.hasNews || !member.isTold || (member.isHidden && !member.isStray)
            } else {
                findings.end(
                    member.alert, wasTold: member.isTold, wasHeld: member.isHeld, isHeld: isHeld, isMuted: isMuted)
            }
        }
        let notifications = notifications(findings, now: now)
        return settle(notifications, held, flapping, isMuted: isMuted, now: now)
    }

    private mutating func notifications(_ findings: Findings, now: Timestamp) -> [Notification] {
        let (firing, untold) = (findings.firing, findings.untoldEnds)
        let isRepeatDue = !isRetired && findings.hasOwn && (lastTold.map { now - $0 >= repeatInterval } ?? false)
        let isNew = findings.hasNews || !untold.isEmpty
        guard isNew || !findings.toldEnds.isEmpty || isRepeatDue else { return [] }
        let ending: Notification.Reason = firing.isEmpty ? .allResolved : .someResolved
        let reason: Notification.Reason =
            isNew ? (lastTold == nil ? .first : .newAlerts) : findings.toldEnds.isEmpty ? .repeated : ending
        lastTold = now
        // What began and ended unseen is told as firing first, as it was decided, and as over right after.
        var notifications = [
            notification(
                reason, firing: firing + untold, resolved: findings.toldEnds + findings.quietEnds, now: now)
        ]
        if !untold.isEmpty { notifications.append(notification(ending, firing: firing, resolved: untold, now: now)) }
        for index in notifications.indices { notifications[index].leavesOpen = findings.leavesOpen }
        return notifications
    }

    /// Marks what was told, and lets go of what is over.
    private mutating func settle(
        _ notifications: [Notification], _ held: Set<Labels>, _ flapping: Flapping, isMuted: Bool, now: Timestamp
    ) -> Flush {
        var flush = Flush(notifications: notifications)
        let isSent = !notifications.isEmpty
        // Of whom the journal needs to know only that they were told; and who were not, and are as they were.
        var told: [Labels] = [], kept: [Labels] = []
        var next = members.startIndex
        while next < members.endIndex {
            let index = next
            members.formIndex(after: &next)
            let old = members.values[index]
            var member = old
            let isHeld = !held.isEmpty && held.contains(old.alert.labels)
            // Muted, an end that is owed waits.
            if !member.ended.isEmpty {
                flush.over += member.ended.filter { !isMuted || !$0.wasTold }.map(\.alert)
                member.ended.removeAll { !isMuted || !$0.wasTold }
            }
            if let flap = member.flap {
                let isUnseen = isHeld && !flap.isTold && member.isResolved(at: now)
                if isUnseen || (!isMuted && flap.isSteady(member, flapping, now: now)) { member.flap = nil }
            }
            let isOver = member.isResolved(at: now) && member.flap == nil
            if isOver, !(isMuted && (member.isTold || !member.ended.isEmpty)) {
                flush.removed.append(old.alert.labels)
                flush.over.append(member.alert)
                continue
            }
            let isMerelyTold = isSent && !isHeld && !old.isDirty && old.number > 0 && member.isSame(as: old)
            if isHeld {
                if !member.isTold { member.isHeld = true } else if isSent { member.isHidden = true }
            } else if isSent {
                member.tell()
            }
            if isSent { member.isDirty = false }
            guard !member.isSame(as: old) || (isSent && old.isDirty) else {
                if isHeld, old.number > toldThrough { kept.append(old.alert.labels) }
                continue
            }
            members.values[index] = member
            if isMerelyTold { told.append(old.alert.labels) } else { flush.changed.append(old.alert.labels) }
        }
        for labels in flush.removed { members[labels] = nil }
        // What was told of many stands in the group's entry, and the few others are written again behind it.
        if told.count > kept.count {
            toldThrough = lastNumber
            flush.changed += kept
        } else {
            flush.changed += told
        }
        return flush
    }

    /// Begins the ids of the group's notifications; a group of the same name that begins later has others.
    private var idPrefix: String { "\(hexadecimal(idHash))-\(createdAt.milliseconds)-" }

    /// Whether it told anything after a notification of its name. By numbers: clocks are set.
    public func hasTold(since notification: Notification) -> Bool {
        guard notification.id.hasPrefix(idPrefix) else { return true }
        return Int(notification.id.dropFirst(idPrefix.count).prefix { $0 != "-" }).map { sequence > $0 } ?? true
    }

    private mutating func notification(
        _ reason: Notification.Reason, firing: [Alert], resolved: [Alert], now: Timestamp
    ) -> Notification {
        sequence += 1
        let shown = firing.map { alert in
            var alert = alert
            alert.endsAt = nil
            return Notification.Item(alert, isResolved: false)
        }
        var notification = Notification(
            id: "\(idPrefix)\(sequence)", groupID: id, groupKey: key,
            receiver: receiver, reason: reason, groupLabels: labels,
            items: shown + resolved.map { Notification.Item($0, isResolved: true) }, decidedAt: now)
        notification.routeLabels = routeLabels
        return notification
    }
}

extension AlertGroup.Member {
    /// Whether nothing differs that a flush may change.
    fileprivate func isSame(as other: AlertGroup.Member) -> Bool {
        isTold == other.isTold && isHeld == other.isHeld && isHidden == other.isHidden && flap == other.flap
            && ended.count == other.ended.count
    }
}
