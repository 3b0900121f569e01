public import Basics
public import Model
public import Settings
internal import Synchronization
public import Transport

/// Keeps the loops supplied: looks at the discovery files every second, asks the remote sources each in its interval,
/// gives each target to one loop by its hash, and keeps the lists that the API shows.
public final class ScrapeManager: Sendable {
    private struct State {
        var watched: [Target: WatchedTarget] = [:]
        var order: [Target] = []
        var found = Discovered()
        var discovery: Discovery?
        /// When each remote source is asked next, by the steady clock; those that are being asked now.
        var due: [RemoteDiscovery: UInt64] = [:]
        var asking: Set<RemoteDiscovery> = []
    }

    private let state = Mutex(State())
    /// Held while targets are found and given away: what was found later must not arrive earlier.
    private let refreshing = Mutex(())
    private let mailboxes: [ScrapeLoop.Mailbox]
    private let network: DiscoveryNetwork?

    /// Loops that take their targets from these mailboxes. Without a transport, remote sources find nothing.
    public init(
        mailboxes: [ScrapeLoop.Mailbox], transport: (any HTTPTransport)? = nil,
        resolver: any NameResolver = NoResolver(), readFile: @escaping Secret.FileReader = { _ in [] }
    ) {
        self.mailboxes = mailboxes
        network = transport.map { DiscoveryNetwork(transport: $0, resolver: resolver, readFile: readFile) }
    }

    /// The targets, in the order of the configuration.
    public var targets: [WatchedTarget] {
        state.withLock { state in state.order.compactMap { state.watched[$0] } }
    }

    /// The scrape pools: the jobs' names, in the order of the configuration.
    public var pools: [String] { state.withLock { $0.discovery?.jobs.map(\.name) ?? [] } }

    /// Targets that relabelling dropped, of each pool as many as its `keep_dropped_targets` says.
    public var droppedTargets: [DroppedTarget] { state.withLock { $0.found.dropped } }

    /// How many targets of each pool relabelling dropped.
    public var droppedCounts: [String: Int] { state.withLock { $0.found.droppedCounts } }

    /// What the pool's `relabel_configs` make of a target's discovered labels, rule by rule; nil when there is no such
    /// pool.
    public func relabelSteps(pool: String, labels: Labels) -> [RelabelStep]? {
        let job = state.withLock { $0.discovery?.jobs.first { $0.name == pool } }
        return job.map { RelabelRule.steps(of: $0.rules, from: labels) }
    }

    /// Exchanges jobs and checks; targets that stay the same go on undisturbed.
    public func use(_ discovery: Discovery) {
        state.withLock { state in
            var discovery = discovery
            if let last = state.discovery { discovery.inherit(from: last) }
            state.discovery = discovery
            let remotes = Set(discovery.remotes)
            state.due = state.due.filter { remotes.contains($0.key) }
        }
        refresh()
    }

    /// Looks at the discovery files once.
    public func refresh() { refreshing.withLock { _ in giveAway() } }

    private func giveAway() {
        let changed = state.withLock { state -> [WatchedTarget]? in
            guard let found = state.discovery?.changes() else { return nil }
            state.found = found
            for target in found.targets { state.watched[target]?.setDiscovered(target.discovered) }
            guard found.targets != state.order else { return nil }
            var watched: [Target: WatchedTarget] = [:]
            for target in found.targets { watched[target] = state.watched[target] ?? WatchedTarget(target) }
            (state.watched, state.order) = (watched, found.targets)
            return found.targets.compactMap { watched[$0] }
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

    /// Looks at the discovery files every second and asks the remote sources until it is cancelled. A source that hangs
    /// holds up itself alone.
    public func run(clock: any TimeSource) async {
        await withDiscardingTaskGroup { questions in
            while true {
                for remote in due(at: clock.uptimeNanoseconds()) {
                    questions.addTask { [self] in await ask(remote) }
                }
                // Cancelled: the daemon ends.
                do { try await clock.sleep(for: 1000) } catch { return questions.cancelAll() }
                refresh()
            }
        }
    }

    /// The remote sources to be asked now; they are taken to be asked from here on.
    private func due(at now: UInt64) -> [RemoteDiscovery] {
        guard network != nil else { return [] }
        return state.withLock { state in
            let remotes = state.discovery?.remotes ?? []
            let due = remotes.filter { !state.asking.contains($0) && state.due[$0, default: 0] <= now }
            for remote in due {
                state.asking.insert(remote)
                state.due[remote] = now + UInt64(remote.refreshInterval) * 1_000_000
            }
            return due
        }
    }

    private func ask(_ remote: RemoteDiscovery) async {
        guard let result = await network?.ask(remote) else { return }
        state.withLock { state in
            state.asking.remove(remote)
            state.discovery?.take(result, of: remote)
        }
        refresh()
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
