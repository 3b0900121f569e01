internal import Basics
internal import Model

/// All that is known of rollbacks: the runs, the episodes of triggers that were acted on, and what the triggers saw
/// last. Pure: it is given what happened and the moment, and answers what changes.
struct RollbackBook: Sendable {
    /// How many runs that ended are kept, of those that acted and of those that only told.
    static let keptRuns = 200

    /// An episode of a trigger, from when it fired until it is clear, and the run it led to.
    struct Episode: Sendable, Hashable {
        static let table = "rollback.episodes"
        var firedAt: Timestamp
        var run: String
    }

    private(set) var runs: [String: RollbackRun] = [:]
    private(set) var episodes: [String: Episode] = [:]
    private(set) var readings: [String: TriggerReading] = [:]
    /// Keys of the journal whose entries are of another form.
    private(set) var unreadable: [String] = []
    private var lastNumber = 0

    /// What a decision comes to.
    struct Decision {
        var changes: [StateChange] = []
        /// Runs that begin.
        var begun: [String] = []
        /// Runs that take note of something: another cause, a wider run.
        var woken: [String] = []
        /// Runs that ended at once, or whose incident is over: they have something to tell.
        var told: [String] = []

        static func += (left: inout Decision, right: Decision) {
            left.changes += right.changes
            left.begun += right.begun
            left.woken += right.woken
            left.told += right.told
        }
    }

    /// What guards know.
    struct Guards {
        var settings: RollbackSettings
        /// The kill switch is on.
        var isStopped: Bool
        /// The peer that decides on what triggers ask for, in our place.
        var peerBeforeUs: String?
        var now: Timestamp
    }

    init() {}

    /// What the journal holds; the keys of entries of another form are `unreadable`.
    init(restoring store: any StateStore) {
        for (key, bytes) in store.entries(of: RollbackRun.table) {
            if let run = RollbackRun(bytes) { runs[run.id] = run } else { unreadable.append(key) }
        }
        for (trigger, bytes) in store.entries(of: Episode.table) {
            if let episode = Episode(bytes) { episodes[trigger] = episode } else { unreadable.append(trigger) }
        }
        unreadable.sort()
    }

    /// Runs under way, the oldest first.
    var active: [RollbackRun] { sorted.filter { $0.outcome == nil } }
    /// All runs, the oldest first.
    var sorted: [RollbackRun] { runs.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) } }

    // MARK: Triggers

    /// Takes what triggers see at one evaluation.
    mutating func take(_ seen: [TriggerReading], _ guards: Guards) -> Decision {
        var decision = Decision()
        for reading in seen { readings[reading.trigger] = reading }
        // The widest first, so that the narrower ones join it and no run begins only to be absorbed.
        let firing = seen.filter { $0.state == .firing && episodes[$0.trigger] == nil }.sorted {
            let (one, two) = (
                guards.settings.closure(of: $0.action).count, guards.settings.closure(of: $1.action).count
            )
            return (two, $0.trigger) < (one, $1.trigger)
        }
        for reading in firing {
            let (id, begun) = request(reading.action, RollbackCause(reading), isByHand: false, guards)
            decision += begun
            let episode = Episode(firedAt: reading.firedAt ?? reading.at, run: id)
            episodes[reading.trigger] = episode
            decision.changes.append(episode.change(of: reading.trigger))
        }
        for reading in seen where reading.state == .clear || reading.state == .pending {
            guard let episode = episodes.removeValue(forKey: reading.trigger) else { continue }
            decision.changes.append(StateChange(table: Episode.table, key: reading.trigger, value: nil))
            decision += closed(episode.run, guards.now)
        }
        decision.woken += active.map(\.id)
        return decision
    }

    /// Forgets triggers that are configured no more: nobody will ever say that they are clear.
    mutating func keep(_ triggers: Set<String>, now: Timestamp) -> Decision {
        var decision = Decision()
        readings = readings.filter { triggers.contains($0.key) }
        for (trigger, episode) in episodes.sorted(by: { $0.key < $1.key }) where !triggers.contains(trigger) {
            episodes[trigger] = nil
            decision.changes.append(StateChange(table: Episode.table, key: trigger, value: nil))
            decision += closed(episode.run, now)
        }
        return decision
    }

    /// Closes the incident of a run that changed nothing, or did not help, once none of its triggers is true. One that
    /// was left half-way stays open: the trigger's end does not end that.
    private mutating func closed(_ id: String, _ now: Timestamp) -> Decision {
        guard var run = runs[id], let outcome = run.outcome, !run.isClosed, outcome.endsWithItsTrigger,
            !episodes.values.contains(where: { $0.run == id })
        else { return Decision() }
        run.isClosed = true
        run.closedAt = now
        runs[id] = run
        return Decision(changes: [run.change], told: [id])
    }

    // MARK: Requests

    /// Decides on a request: a new run, or one more cause of a run that does it already.
    mutating func request(
        _ action: String, _ cause: RollbackCause, isByHand: Bool, _ guards: Guards
    ) -> (id: String, decision: Decision) {
        if let running = active.first(where: { $0.actions.contains(action) && $0.cancelledBy == nil }) {
            let rest = guards.settings.actions[running.action]?.clearsWithin
            runs[running.id]?.join(cause, clearsWithin: rest)
            return (running.id, Decision(changes: changes(of: running.id), woken: [running.id]))
        }
        var run = RollbackRun(
            id: nextID(guards.now), action: action, closure: guards.settings.closure(of: action), cause: cause,
            now: guards.now)
        var decision = Decision()
        if let (outcome, reason) = obstacle(to: run, isByHand: isByHand, guards) {
            run.finish(outcome, reason, now: guards.now)
            // Of what a peer decides on the peer tells.
            let isPeers = !isByHand && guards.peerBeforeUs != nil
            run.isClosed = isByHand || isPeers
            decision.told = isPeers ? [] : [run.id]
        } else {
            for other in active where !other.resources.isDisjoint(with: run.resources) {
                run.waitsFor.append(other.id)
                // A part of this one: it need not go on by itself.
                guard Set(run.actions).isSuperset(of: other.actions) else { continue }
                run.thread = other.thread
                runs[other.id]?.absorbedBy = run.id
                decision.changes += changes(of: other.id)
                decision.woken.append(other.id)
            }
            decision.begun = [run.id]
        }
        runs[run.id] = run
        decision.changes.append(run.change)
        decision.changes += forgotten()
        return (run.id, decision)
    }

    /// What forbids a run, and the outcome that this is.
    private func obstacle(
        to run: RollbackRun, isByHand: Bool, _ guards: Guards
    ) -> (outcome: RollbackOutcome, reason: String)? {
        let (settings, now) = (guards.settings, guards.now)
        if !isByHand, let peer = guards.peerBeforeUs {
            return (.refused, "the peer '\(peer)' comes first and decides on it; ask for it by hand if it should not")
        }
        if run.action == RollbackSettings.hold { return (.held, "nothing is rolled back; a person should look") }
        if run.steps.isEmpty { return (.refused, "the action is not in the configuration any more") }
        if guards.isStopped { return (.refused, "the kill switch is on; remove its file to allow rollbacks") }
        guard !isByHand else { return nil }
        if settings.actions[run.action]?.mode ?? settings.mode == .observe {
            return (.observed, "the mode is observe: nothing was done; this is the plan")
        }
        let past = sorted.filter(\.isActing)
        for other in past.reversed() where other.actions.contains(run.action) {
            guard let ended = other.finishedAt else { continue }
            let rest = (settings.actions[run.action]?.cooldown ?? 0) - (now - ended)
            if rest > 0 {
                return (
                    .refused,
                    "it rests for another \(DurationText.format(rest)) after \(other.id); "
                        + "a second rollback of the same thing seldom helps"
                )
            }
            break
        }
        if budgetLeft(settings, now) <= 0 {
            return (
                .refused,
                "the budget is spent: \(settings.budget) in \(DurationText.format(settings.budgetWindow))"
            )
        }
        return nil
    }

    /// The release that another run lately set a link to, where the run's own action would still rest after that. One
    /// that began by itself goes no further back while the link shows it: two triggers of one bad release come one
    /// after the other, and each would take a release away. A person who asks twice means it.
    func releaseSetLately(for target: Deployment, by id: String, _ guards: Guards) -> (release: String, run: String)? {
        guard target.release == nil, let run = runs[id], run.causes.contains(where: { $0.trigger != nil }) else {
            return nil
        }
        let rest = guards.settings.actions[run.action]?.cooldown ?? 0
        for other in sorted.reversed() where other.id != id && guards.now - (other.finishedAt ?? guards.now) < rest {
            for step in other.steps where step.isDone {
                guard case .deployment(let done) = step.kind, done.link == target.link,
                    let release = other.releaseFound(for: done)
                else { continue }
                return (release, other.id)
            }
        }
        return nil
    }

    /// How many runs may still begin by themselves.
    func budgetLeft(_ settings: RollbackSettings, _ now: Timestamp) -> Int {
        let spent = runs.values.count { $0.isActing && now - $0.createdAt < settings.budgetWindow }
        return settings.budget - spent
    }

    /// Identities grow with the clock; two of one moment, or after the clock went back, differ by their number.
    private mutating func nextID(_ now: Timestamp) -> String {
        repeat { lastNumber += 1 } while runs["rb-\(now.milliseconds)-\(lastNumber)"] != nil
        return "rb-\(now.milliseconds)-\(lastNumber)"
    }

    /// Lets the oldest runs go that ended long ago.
    private mutating func forgotten() -> [StateChange] {
        let ended = sorted.filter { run in
            run.outcome != nil && !episodes.values.contains { $0.run == run.id }
        }
        // Apart from each other: cooldown and budget rest on runs that acted, and refusals without end must not push
        // these out.
        let kept = [ended.filter(\.isActing), ended.filter { !$0.isActing }]
        return kept.flatMap { $0.dropLast(RollbackBook.keptRuns) }.map { run in
            runs[run.id] = nil
            return StateChange(table: RollbackRun.table, key: run.id, value: nil)
        }
    }

    // MARK: Runs

    /// Changes a run; answers what the journal is to hold of it.
    mutating func update(_ id: String, _ body: (inout RollbackRun) -> Void) -> [StateChange] {
        guard var run = runs[id] else { return [] }
        body(&run)
        runs[id] = run
        return [run.change]
    }

    private func changes(of id: String) -> [StateChange] { runs[id].map { [$0.change] } ?? [] }

    /// What a run does next.
    func next(_ id: String, isStopped: Bool) -> RollbackRun.Move? {
        runs[id].flatMap { run in
            run.outcome != nil ? nil : run.next(isStopped: isStopped) { runs[$0]?.outcome != nil }
        }
    }

    /// Ends a run; who waited for it takes over what it did.
    mutating func finish(_ id: String, _ outcome: RollbackOutcome, _ reason: String, now: Timestamp) -> Decision {
        var decision = Decision(told: [id])
        guard var run = runs[id] else { return Decision() }
        run.finish(outcome, reason, now: now)
        // Its incident goes on as the wider run's: a resolve in between would page a second time.
        if outcome == .absorbed, let wider = run.absorbedBy.flatMap({ runs[$0] }), wider.thread == run.thread {
            run.isClosed = false
        }
        runs[id] = run
        decision.changes = [run.change]
        for waiting in active where waiting.waitsFor.contains(id) {
            if outcome == .absorbed, run.absorbedBy == waiting.id {
                decision.changes += update(waiting.id) { $0.inherit(run) }
                // Its triggers are now the wider run's.
                for (trigger, episode) in episodes where episode.run == id {
                    let moved = Episode(firedAt: episode.firedAt, run: waiting.id)
                    episodes[trigger] = moved
                    decision.changes.append(moved.change(of: trigger))
                }
            } else if waiting.absorbedBy == nil {
                // One release too far otherwise: what is before the present one has changed while it waited.
                decision.changes += update(waiting.id) { $0.inheritLinks(run) }
            }
            decision.woken.append(waiting.id)
        }
        return decision
    }

    /// Whether the triggers of a run are seen clear, after `since`; what is still true or unknown otherwise.
    func clearance(of run: RollbackRun, since: Timestamp) -> (isClear: Bool, detail: String) {
        var open: [String] = []
        for trigger in Set(run.causes.compactMap(\.trigger)).sorted() {
            guard let reading = readings[trigger], reading.at > since else {
                open.append("\(trigger) was not seen since")
                continue
            }
            switch reading.state {
            case .clear: break
            case .noData: open.append("\(trigger) has no data")
            case .pending, .firing:
                open.append(
                    "\(trigger) is at \(reading.value?.forPeople ?? "?")")
            }
        }
        return (open.isEmpty, open.joined(separator: "; "))
    }
}

extension RollbackOutcome {
    /// Whether the incident of such a run is over when its trigger is clear.
    var endsWithItsTrigger: Bool {
        switch self {
        case .observed, .refused, .held, .ineffective: true
        case .succeeded, .incomplete, .stopped, .cancelled, .absorbed: false
        }
    }
}

extension RollbackBook.Episode {
    func change(of trigger: String) -> StateChange {
        let json: JSON = ["fired_at": .number(Double(firedAt.milliseconds)), "run": .string(run)]
        return StateChange(table: RollbackBook.Episode.table, key: trigger, value: json.serialized())
    }

    fileprivate init?(_ bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes), let firedAt = json.rollbackMoment("fired_at"),
            let run = json["run"]?.string
        else { return nil }
        (self.firedAt, self.run) = (firedAt, run)
    }
}
