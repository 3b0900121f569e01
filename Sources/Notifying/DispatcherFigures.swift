internal import Alerting
internal import Basics
internal import Model
internal import Synchronization

/// The dispatcher's own figures, shared between the actor and whoever reads `/metrics`.
final class DispatcherFigures: Sendable {
    struct Gauges {
        var outboxLength = 0
        var oldest: Timestamp?
        var groups = 0
        var deadLetters = 0
    }

    let pages = LabelsCounter()
    let failures = LabelsCounter()
    let attempts = LabelsCounter()
    let retries = LabelsCounter()
    let refusals = LabelsCounter()
    let unknown = LabelsCounter()
    let suppressed = LabelsCounter()
    let received = LabelsCounter()
    let invalid = Counter()
    let handedOver = LabelsCounter()
    let unjournalled = Counter()
    let replayed = Counter()
    let unreadable = Counter()
    let latency = LatencyHistogram()
    /// Pages that a peer told in our place.
    let toldElsewhere = Counter()
    /// The peers as they were last looked at; nil: there are none.
    let peers = Mutex<PeerBook?>(nil)
    let gauges = Mutex(Gauges())

    /// Begins each configured channel's counters at 0, so that the first failure is seen as an increase.
    func begin(_ settings: NotifyingSettings) {
        for status in ["firing", "resolved"] { received.add(["status": status], 0) }
        for reason in Suppression.allCases { suppressed.add(["reason": reason.rawValue], 0) }
        for receiver in settings.receivers.values {
            for (_, channel) in receiver.channels {
                let labels: Labels = ["channel": channel.kind]
                pages.add(["channel": channel.kind, "receiver": receiver.name], 0)
                if let fallback = receiver.fallback {
                    handedOver.add(["fallback": fallback.receiver, "receiver": receiver.name], 0)
                }
                for counter in [attempts, retries, refusals, unknown] { counter.add(labels, 0) }
                for reason in FailureReason.allCases {
                    failures.add(["channel": channel.kind, "reason": reason.rawValue], 0)
                }
            }
        }
    }

    /// Counts a page that was given up.
    func refuse(_ channelID: String) { refusals.add(["channel": Delivery.kind(channelID)]) }

    func families(now: Timestamp, uptime: Int64) -> [MetricFamily] {
        let gauges = gauges.withLock { $0 }
        let oldest = gauges.oldest.map { Double(max(0, now - $0)) / 1000 } ?? 0
        func counter(_ name: String, _ help: String, _ counter: LabelsCounter) -> MetricFamily {
            MetricFamily(.counter, "vedette_\(name)", help, counter.values)
        }
        return [
            counter("notifications_total", "Pages that were decided, by channel and receiver.", pages),
            counter("notifications_failed_total", "Tries that failed, by reason.", failures),
            counter("notification_attempts_total", "Tries to deliver a page.", attempts),
            counter("notification_retries_total", "Tries beyond the first of a page.", retries),
            counter(
                "notifications_refused_total", "Pages given up: refused for good, expired or unconfigured.", refusals),
            counter("alerts_received_total", "Alerts from outside, by what they said.", received),
            MetricFamily(
                .counter, "vedette_alerts_invalid_total", "Alerts from outside that were refused.", invalid.value),
            counter("notifications_suppressed_total", "Alerts that a look at their group held back.", suppressed),
            counter("notifications_unknown_total", "Tries whose outcome is unknown; sent again, marked.", unknown),
            counter(
                "notifications_handed_over_total", "Pages that went to a receiver's fallback in its place.", handedOver),
            MetricFamily(
                .counter, "vedette_notifications_replayed_total", "Dead letters that were put on their way again.",
                replayed.value),
            MetricFamily(
                .counter, "vedette_notifications_unjournalled_total",
                "Pages sent though the journal could not be written.", unjournalled.value),
            MetricFamily(
                .counter, "vedette_notifying_unreadable_entries_total",
                "Entries of the journal that could not be read at a start.", unreadable.value),
            MetricFamily(.gauge, "vedette_outbox_length", "Pages on their way.", gauges.outboxLength),
            MetricFamily(
                .gauge, "vedette_outbox_oldest_seconds", "Age of the oldest page on its way.", [(Labels(), oldest)]),
            MetricFamily(.gauge, "vedette_dead_letters", "Pages given up and not looked at.", gauges.deadLetters),
            MetricFamily(.gauge, "vedette_alert_groups", "Groups of alerts.", gauges.groups),
            latency.family(),
        ] + (peers.withLock(\.self)?.families(toldByPeers: toldElsewhere.value, now: uptime) ?? [])
    }
}

/// Counts by label sets.
final class LabelsCounter: Sendable {
    private let counts = Mutex<[Labels: Int]>([:])
    func add(_ labels: Labels, _ amount: Int = 1) { counts.withLock { $0[labels, default: 0] += amount } }
    var values: [(Labels, Double)] {
        counts.withLock { $0 }.sorted { $0.key < $1.key }.map { ($0.key, Double($0.value)) }
    }
}

/// How long tries took, by channel.
final class LatencyHistogram: Sendable {
    private static let bounds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
    private struct Figures {
        var counts = [Int](repeating: 0, count: bounds.count + 1)
        var sum = 0.0
    }
    private let channels = Mutex<[String: Figures]>([:])

    func record(_ channel: String, seconds: Double) {
        let place = LatencyHistogram.bounds.firstIndex { seconds <= $0 } ?? LatencyHistogram.bounds.count
        channels.withLock { channels in
            channels[channel, default: Figures()].counts[place] += 1
            channels[channel]?.sum += seconds
        }
    }

    func family() -> MetricFamily {
        var family = MetricFamily(.histogram, "vedette_notification_latency_seconds", "How long tries took.", [])
        for (channel, figures) in channels.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            var total = 0
            for (bound, count) in zip(LatencyHistogram.bounds + [.infinity], figures.counts) {
                total += count
                let labels: Labels = ["channel": channel, "le": GoNumber.fixed(bound)]
                family.lines.append(MetricFamily.Line(suffix: "_bucket", labels: labels, value: Double(total)))
            }
            let labels: Labels = ["channel": channel]
            family.lines.append(MetricFamily.Line(suffix: "_sum", labels: labels, value: figures.sum))
            family.lines.append(MetricFamily.Line(suffix: "_count", labels: labels, value: Double(total)))
        }
        return family
    }
}
