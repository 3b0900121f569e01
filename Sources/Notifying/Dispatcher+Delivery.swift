internal import Alerting
internal import Basics
internal import Model

/// A page with the channel that it goes through; nil when that is gone.
struct Attempt: Sendable {
    var page: Page
    var entry: OutboxEntry
    var channel: (any Channel)?
}

/// What came of a try, on its way to the outbox.
struct Finished: Sendable {
    var entry: OutboxEntry
    var outcome: Outbox.Outcome
    var receipt = Receipt()
    var kind = "none"
    var latency: Milliseconds = 0
}

/// Tries and what comes of them.
extension Dispatcher {
    /// One try, from request to outcome.
    nonisolated func deliver(_ attempt: Attempt) async {
        let entry = attempt.entry
        let began = clock.uptimeNanoseconds()
        guard let channel = attempt.channel else {
            let message = "\(entry.channelID) is not configured any more"
            return await finish(Finished(entry: entry, outcome: .refused(.unconfigured, message)))
        }
        figures.attempts.add(["channel": channel.kind])
        if entry.attempts > 1 { figures.retries.add(["channel": channel.kind]) }
        let (outcome, receipt) = await Sending.outcome(
            of: attempt.page, through: channel, transport: transport, files: files, now: clock.now)
        let latency = Milliseconds((clock.uptimeNanoseconds() - began) / 1_000_000)
        await finish(
            Finished(entry: entry, outcome: outcome, receipt: receipt, kind: channel.kind, latency: latency))
    }

    /// Takes an outcome. The loop settles those that came meanwhile in one commit: when a thousand tries fail at once,
    /// a page that is due then does not wait for a thousand writes.
    private func finish(_ outcome: Finished) {
        finished.append(outcome)
        if isLoopOver {
            let now = look()
            commit(settle(now: now) + tellOfPaths(now: now))
        } else {
            wake.signal()
        }
    }

    /// Gives the outcomes to the outbox.
    func settle(now: Timestamp) -> [StateChange] {
        guard !finished.isEmpty else { return [] }
        defer { finished = [] }
        var changes: [StateChange] = []
        for done in finished {
            guard
                let left = outbox.finish(
                    done.entry.id, done.outcome, done.receipt, latency: done.latency, jitter: random.fraction(),
                    now: now)
            else { continue }
            changes += left.changes
            log(done)
            figures.latency.record(done.kind, seconds: Double(done.latency) / 1000)
            switch done.outcome {
            case .accepted: break
            case .refused(let reason, _): figures.failures.add(["channel": done.kind, "reason": reason.rawValue])
            case .failed(let reason, _, _, let mayHaveArrived):
                figures.failures.add(["channel": done.kind, "reason": reason.rawValue])
                if mayHaveArrived { figures.unknown.add(["channel": done.kind]) }
            }
        }
        return changes
    }

    /// Tells of the first failure of a page and of its end: what is between the two is in the ledger.
    private func log(_ done: Finished) {
        let entry = done.entry
        var fields = [
            ("page", entry.id), ("channel", entry.channelID), ("title", entry.title), ("attempt", "\(entry.attempts)"),
        ]
        switch done.outcome {
        case .accepted:
            fields.append(("latency_ms", "\(done.latency)"))
            log?.write(LogEvent(.info, "page-sent", "\(entry.channelID) took: \(entry.title)", fields))
        case .refused(let reason, let message):
            fields.append(("reason", reason.rawValue))
            log?.write(LogEvent(.error, "page-failed", "\(entry.channelID) refuses: \(message)", fields))
        case .failed(let reason, let message, _, _) where entry.attempts == 1:
            fields.append(("reason", reason.rawValue))
            log?.write(
                LogEvent(.warning, "page-failed", "\(entry.channelID): \(message); it is tried again", fields))
        case .failed: break
        }
    }

    /// Makes alerts of what happened to the ways out.
    func tellOfPaths(now: Timestamp) -> [StateChange] {
        var alerts: [Alert] = [], changes: [StateChange] = []
        for event in outbox.takeEvents() {
            switch event {
            case .accepted(let channelID) where pathAlerts.tells(of: channelID):
                // What was refused stays told of while nobody looked at its letter.
                let isUnseen = outbox.deadLetters.contains { $0.entry.channelID == channelID }
                alerts += pathAlerts.end(channelID, only: isUnseen ? PathAlerts.late : nil, now: now)
            case .accepted: break
            case .refused(let entry, let reason, let message):
                figures.refuse(entry.channelID)
                let receiver = outbox.path(entry.channelID).receiver
                if let alert = pathAlerts.refuse(entry, reason, message, receiver: receiver, now: now) {
                    alerts.append(alert)
                }
            case .late(let entry):
                let receiver = outbox.path(entry.channelID).receiver
                if let alert = pathAlerts.late(entry, receiver: receiver, now: now) { alerts.append(alert) }
            case .toldElsewhere(let groupID, let moment):
                figures.toldElsewhere.add()
                changes += groups.takeBack(groupID, toldAt: moment)
            case .handedOver(let receiver, let fallback):
                figures.handedOver.add(["fallback": fallback, "receiver": receiver])
            }
        }
        return changes + groups.take(alerts, now: now)
    }
}
