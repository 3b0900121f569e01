internal import Alerting
internal import Basics
internal import Model

/// Tries and what comes of them.
extension Dispatcher {
    /// One try, from request to outcome.
    nonisolated func deliver(_ page: Page, _ entry: OutboxEntry) async {
        let began = clock.uptimeNanoseconds()
        guard let target = await channels[entry.channelID] else {
            let message = "\(entry.channelID) is not configured any more"
            return await finish(entry, .refused(.unconfigured, message), Receipt(), kind: "none", latency: 0)
        }
        let kind = target.channel.kind
        figures.attempts.add(["channel": kind])
        if entry.attempts > 1 { figures.retries.add(["channel": kind]) }
        let (outcome, receipt) = await Sending.outcome(
            of: page, through: target.channel, transport: transport, files: files, now: clock.now)
        let latency = Milliseconds((clock.uptimeNanoseconds() - began) / 1_000_000)
        await finish(entry, outcome, receipt, kind: kind, latency: latency)
    }

    private func finish(
        _ entry: OutboxEntry, _ outcome: Outbox.Outcome, _ receipt: Receipt, kind: String, latency: Milliseconds
    ) {
        let now = look()
        guard let (left, changes) = outbox.finish(entry.id, outcome, receipt, jitter: random.fraction(), now: now)
        else {
            return
        }
        store.commit(changes)
        figures.latency.record(kind, seconds: Double(latency) / 1000)
        var (shown, message) = (Delivery.Outcome.accepted, "")
        switch outcome {
        case .accepted: break
        case .refused(let reason, let text):
            (shown, message) = (.refused, text)
            figures.failures.add(["channel": kind, "reason": reason.rawValue])
        case .failed(let reason, let text, _, let mayHaveArrived):
            (shown, message) = (mayHaveArrived ? .unknown : .failed, text)
            figures.failures.add(["channel": kind, "reason": reason.rawValue])
            if mayHaveArrived { figures.unknown.add(["channel": kind]) }
        }
        let isGone = outbox.entries[entry.id] == nil
        if isGone, shown != .accepted { countRefusal(entry.channelID) }
        var next: Timestamp?
        if case .waiting(let until) = left.state, !isGone { next = until }
        deliveries.append(
            Delivery(
                time: now, receiver: entry.notification.receiver, channelID: entry.channelID, kind: kind,
                notificationID: entry.notification.id, groupKey: entry.notification.groupKey,
                title: entry.notification.title, isFiring: entry.notification.isFiring, attempt: entry.attempts,
                latency: latency, outcome: shown, message: message, nextTry: next))
        if deliveries.count > Dispatcher.rememberedDeliveries { deliveries.removeFirst() }
        figures.show(groups, &outbox)
        wake.signal()
    }

    func countRefusal(_ channelID: String) {
        let kind = channelID.split(separator: "/").dropLast().last.map(String.init) ?? "none"
        figures.refusals.add(["channel": kind])
    }
}
