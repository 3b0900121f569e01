public import Basics
public import Model
internal import Synchronization

/// Keeps the loops supplied: looks at the discovery files every second, gives each target to one loop by its hash, and
/// keeps the list that the API shows.
public final class ScrapeManager: Sendable {
    private struct State {
        var watched: [Target: WatchedTarget] = [:]
        var order: [Target] = []
        var discovery: Discovery?
    }

    private let state = Mutex(State())
    private let mailboxes: [ScrapeLoop.Mailbox]

    /// Loops that take their targets from these mailboxes.
    public init(mailboxes: [ScrapeLoop.Mailbox]) { self.mailboxes = mailboxes }

    /// The targets, in the order of the configuration.
    public var targets: [WatchedTarget] {
        state.withLock { state in state.order.compactMap { state.watched[$0] } }
    }

    /// Exchanges jobs and checks; targets that stay the same go on undisturbed.
    public func use(_ discovery: Discovery) {
        state.withLock { $0.discovery = discovery }
        refresh()
    }

    /// Looks at the discovery files once.
    public func refresh() {
        let changed = state.withLock { state -> [WatchedTarget]? in
            guard let targets = state.discovery?.targets(), targets != state.order else { return nil }
            var watched: [Target: WatchedTarget] = [:]
            for target in targets { watched[target] = state.watched[target] ?? WatchedTarget(target) }
            (state.watched, state.order) = (watched, targets)
            return targets.compactMap { watched[$0] }
        }
        guard let changed else { return }
        var shares = Array(repeating: [WatchedTarget](), count: mailboxes.count)
        for watched in changed {
            var hash = FNV1a()
            hash.combine(watched.target.url)
            hash.combine("\(watched.target.labels.fingerprint)")
            shares[Int(hash.value >> 33) % mailboxes.count].append(watched)
        }
        for (mailbox, share) in zip(mailboxes, shares) { mailbox.set(share) }
    }

    /// Looks at the discovery files every second until it is cancelled.
    public func run(clock: any TimeSource) async {
        while true {
            // Cancelled: the daemon ends.
            do { try await clock.sleep(for: 1000) } catch { return }
            refresh()
        }
    }
}

extension ScrapeManager: MetricsSource {
    /// Targets by pool and health.
    public func metrics() -> [MetricFamily] {
        var counts: [Labels: Double] = [:]
        for watched in targets {
            counts[["scrape_job": watched.target.pool, "health": watched.status.health.rawValue], default: 0] += 1
        }
        let lines = counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        return [MetricFamily(.gauge, "vedette_targets", "Targets by pool and health.", lines)]
    }
}
