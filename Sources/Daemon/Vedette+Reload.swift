internal import Basics
internal import Notifying
internal import Rollback
internal import Rules
internal import Scraping
internal import Settings
internal import Synchronization
internal import Systemd
internal import Web

/// What a reload exchanges, in order: first every stage is made ready, then all are put in force.
public enum ReloadStage: String, Sendable, Hashable, CaseIterable {
    /// Reading and checking the file and all that it names.
    case settings
    case workloads, notifying, rollback, remote, rules, targets, web
}

extension Vedette {
    /// Reads the file again. Each part is made ready first, and whatever fails then leaves every part as it is; only
    /// when all are ready they are exchanged, which cannot fail, and have the next generation's number. What
    /// `storage`, `global.evaluation_interval` and `global.external_labels` say holds from the next start on. Answers
    /// what is wrong.
    @discardableResult
    public func reloadConfiguration(askedBy signal: String? = nil) async -> String? {
        // Over HTTP it stands in the audit record as every request does.
        guard let signal else { return await reloadAtOnce() }
        let entry = audit.begin(AuditEntry(signal: signal, now: clock.now()))
        let problem = await reloadAtOnce()
        audit.end(entry, status: problem == nil ? 200 : 400)
        return problem
    }

    private func reloadAtOnce() async -> String? {
        // One at a time: two that are half done would mix their files.
        guard reload.withLock({ $0.begin() }) else { return "another reload is under way; try again" }
        world.manager.tell(.reloading(uptimeNanoseconds: clock.uptimeNanoseconds()))
        defer {
            reload.withLock { $0.isRunning = false }
            // Whatever became of it: the daemon serves, with the new configuration or the old one.
            world.manager.tell(.ready)
        }
        let ready: (fresh: DaemonSettings, parts: [(stage: ReloadStage, apply: @Sendable () async -> Void)])
        do {
            ready = try prepareReload()
        } catch {
            reload.withLock { $0.isGood = false }
            log.write(LogEvent(.error, "reload-failed", "\(error); the configuration in force stays"))
            return "\(error)"
        }
        let generation = reload.withLock { ($0.generations.values.max() ?? 0) + 1 }
        for part in ready.parts {
            await part.apply()
            reload.withLock { $0.generations[part.stage] = generation }
        }
        let now = clock.now()
        reload.withLock { ($0.isGood, $0.at) = (true, now) }
        warn(of: ready.fresh)
        log.write(LogEvent(.info, "reloaded", "the configuration was read again, generation \(generation)"))
        return nil
    }

    private func prepareReload() throws -> (
        fresh: DaemonSettings, parts: [(stage: ReloadStage, apply: @Sendable () async -> Void)]
    ) {
        var parts: [(stage: ReloadStage, apply: @Sendable () async -> Void)] = []
        func stage(_ stage: ReloadStage, _ prepare: () throws -> @Sendable () async -> Void) throws {
            try beforeReload(stage)
            parts.append((stage, try prepare()))
        }
        try beforeReload(.settings)
        let fresh = try readSettings()
        parts.append((.settings, { [self] in use(fresh) }))
        try stage(.workloads) {
            let command = try WorkloadCommand(fresh, options)
            return { [child] in child.replace(command) }
        }
        try stage(.notifying) {
            { [dispatcher, links] in
                await dispatcher.replace(fresh.notifying)
                await dispatcher.replace(peers: fresh.peers)
                await links.replace(fresh.alertmanagers)
            }
        }
        try stage(.rollback) {
            { [rollback] in await rollback.replace(fresh.rollback, triggers: fresh.triggerNames) }
        }
        try stage(.remote) { { [remote] in await remote.update(to: fresh) } }
        try stage(.rules) { { [self] in await scheduler.update(to: fresh.groups, at: ruleTime) } }
        try stage(.targets) {
            let discovery = discovery(fresh)
            return { [manager] in manager.use(discovery) }
        }
        try stage(.web) {
            let web = try Vedette.web(options, fresh, world)
            guard (web.tls == nil) == (certificates == nil) else {
                throw NeedsRestart(what: "web.tls is \(web.tls == nil ? "gone" : "new")")
            }
            if let tls = web.tls { _ = try certificates?.refresh(tls) }
            return { [self] in
                access.replace(web)
                use(web.limits)
            }
        }
        return (fresh, parts)
    }

    /// The generation of each part: all the same, but for the moment of an exchange.
    public var generations: [ReloadStage: Int] { reload.withLock { $0.generations } }
}

/// What a running daemon cannot exchange.
private struct NeedsRestart: Error, CustomStringConvertible {
    var what: String
    var description: String { "\(what): that takes a restart; leave it as it was until then" }
}

struct ReloadState {
    var isGood = true
    var isRunning = false
    var at: Timestamp?
    var generations = Dictionary(uniqueKeysWithValues: ReloadStage.allCases.map { ($0, 1) })

    mutating func begin() -> Bool {
        defer { isRunning = true }
        return !isRunning
    }
}
