internal import Alerting
internal import Basics
internal import Model
internal import Notifying

extension API {
    // MARK: Taking

    /// Alerts from outside. The good ones of a list are taken though others are refused.
    func postAlerts(_ request: APIRequest) async throws -> APIResponse {
        let (timeout, settings) = await context.dispatcher.posting()
        let now = context.clock.now()
        let posted = try PostedAlerts(request.body, resolveTimeout: timeout, mode: settings.matcherMode, now: now)
        if !posted.alerts.isEmpty { await context.dispatcher.receive(posted.alerts, invalid: posted.mistakes.count) }
        guard posted.mistakes.isEmpty else {
            throw AlertmanagerError.bad(posted.mistakes.joined(separator: "; "))
        }
        return APIResponse(contentType: "application/json", body: [])
    }

    // MARK: Showing

    /// What a list of alerts is narrowed by.
    struct AlertFilter {
        var matchers: [Matcher], receiverMatchers: [Matcher]
        var receiver: SearchPattern?
        var active: Bool, silenced: Bool, inhibited: Bool, muted: Bool

        func takes(_ labels: Labels, _ status: AlertStatus, isMuted: Bool) -> Bool {
            guard matchers.allSatisfy({ $0.matches(labels) }) else { return false }
            if !active, !status.isSuppressed, !isMuted { return false }
            if !silenced, !status.silencedBy.isEmpty { return false }
            if !inhibited, !status.inhibitedBy.isEmpty { return false }
            return muted || !isMuted
        }

        func takes(receiver name: String) -> Bool { receiver?.isFound(in: name) ?? true }
    }

    private func alertFilter(_ request: APIRequest, _ settings: AlertingSettings) throws -> AlertFilter {
        var filter = AlertFilter(
            matchers: try matchers(request, "filter", settings),
            receiverMatchers: try matchers(request, "receiver_matchers", settings),
            active: try flag(request, "active"), silenced: try flag(request, "silenced"),
            inhibited: try flag(request, "inhibited"), muted: try flag(request, "muted"))
        if let text = request.parameter("receiver") {
            do {
                filter.receiver = try SearchPattern("^(?:\(text))$")
            } catch {
                throw AlertmanagerError.bad("failed to parse receiver param: \(AlertmanagerError.expression(error))")
            }
        }
        return filter
    }

    /// Every alert that fires, each once, by fingerprint; what holds it back is looked up now.
    func alertList(_ request: APIRequest) async throws -> APIResponse {
        let (alerting, now) = (await context.dispatcher.alerting(), context.clock.now())
        let filter = try alertFilter(request, alerting.settings)
        let known = await receiverLabels(filter)
        var writer = AlertWriter(alerting, now: now)
        var shown: [(fingerprint: UInt64, member: AlertGroup.Member, status: AlertStatus, receivers: [String])] = []
        var seen: Set<Labels> = []
        for group in alerting.groups.values {
            for (labels, member) in group.members where !member.isResolved(at: now) && seen.insert(labels).inserted {
                let receivers = alerting.settings.tree.matches(labels).map(\.receiver)
                guard receivers.contains(where: filter.takes(receiver:)),
                    known.map({ !$0.isDisjoint(with: receivers) }) ?? true
                else { continue }
                let status = writer.status(of: labels)
                guard filter.takes(labels, status, isMuted: false) else { continue }
                shown.append((labels.fingerprint, member, status, receivers))
            }
        }
        shown.sort { $0.fingerprint < $1.fingerprint }
        writer.open("[")
        for (place, one) in shown.enumerated() {
            writer.write(one.member, one.fingerprint, one.status, one.receivers, mutes: [], isFirst: place == 0)
        }
        writer.close("]\n")
        return APIResponse(contentType: "application/json", body: writer.body)
    }

    /// The groups with what fires in them.
    func alertGroups(_ request: APIRequest) async throws -> APIResponse {
        let (alerting, now) = (await context.dispatcher.alerting(), context.clock.now())
        let filter = try alertFilter(request, alerting.settings)
        let known = await receiverLabels(filter)
        var writer = AlertWriter(alerting, now: now)
        writer.open("[")
        var isFirst = true
        let isShown = { (receiver: String) in filter.takes(receiver: receiver) && known?.contains(receiver) ?? true }
        let groups = alerting.groups.values.filter { isShown($0.receiver) }
        for group in groups.sorted(by: AlertGroup.isShownBefore) {
            let mutes = alerting.mutes(of: group, now: now)
            var shown: [(item: Notification.Item, member: AlertGroup.Member, status: AlertStatus)] = []
            for (labels, member) in group.members where !member.isResolved(at: now) {
                let status = writer.status(of: labels)
                guard filter.takes(labels, status, isMuted: !mutes.isEmpty) else { continue }
                shown.append((Notification.Item(member.alert, isResolved: false), member, status))
            }
            guard !shown.isEmpty else { continue }
            writer.group(group, isFirst: isFirst)
            isFirst = false
            for (place, index) in Notification.order(shown.map(\.item)).enumerated() {
                let one = shown[index]
                let labels = one.member.alert.labels
                // Of the groups that are asked for, sorted, each as often as it has one; unlike in the list of alerts.
                let receivers = alerting.settings.tree.matches(labels).map(\.receiver).filter(isShown)
                writer.write(
                    one.member, labels.fingerprint, one.status, receivers.sorted { $0.isBefore($1) }, mutes: mutes,
                    isFirst: place == 0)
            }
            writer.close("]}")
        }
        writer.close("]\n")
        return APIResponse(contentType: "application/json", body: writer.body)
    }

    /// The names of receivers whose labels fulfil the filter; nil: it does not ask.
    private func receiverLabels(_ filter: AlertFilter) async -> Set<String>? {
        guard !filter.receiverMatchers.isEmpty else { return nil }
        return Set(
            await context.dispatcher.receivers().filter { receiver in
                filter.receiverMatchers.allSatisfy { $0.matches(Labels(receiver.labels)) }
            }.map(\.name))
    }
}

extension AlertGroup {
    /// Alertmanager's order: by the number of labels, by labels, by receiver. Whichever lacks the first name that only
    /// one of them has comes first.
    ///
    /// - SeeAlso: prometheus/common, `LabelSet.Before`; Alertmanager, `dispatch.AlertGroups`.
    fileprivate static func isShownBefore(_ one: AlertGroup, _ other: AlertGroup) -> Bool {
        guard one.labels.count == other.labels.count else { return one.labels.count < other.labels.count }
        for (left, right) in zip(one.labels.sorted, other.labels.sorted) where left != right {
            return left.name.isSame(as: right.name) ? left.value.isBefore(right.value) : right.name.isBefore(left.name)
        }
        return one.receiver.isBefore(other.receiver)
    }
}
