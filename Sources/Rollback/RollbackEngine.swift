public import Basics
public import Model
public import Query
internal import Settings
internal import Synchronization
public import Transport

/// What rollbacks work with.
public struct RollbackContext: Sendable {
    /// Holds runs and episodes, written before and after each step.
    public var store: any StateStore
    /// The clocks.
    public var clock: any TimeSource
    /// The disk: file flags, links, the kill switch.
    public var files: any FileSystem
    /// Runs commands.
    public var processes: any Processes
    /// Evaluates what is verified.
    public var engine: QueryEngine
    /// Tells receivers.
    public var announcements: any AnnouncementSink
    /// What happened, line by line.
    public var log: any LogSink
    /// Opens a Redis server.
    public var redis: @Sendable (RedisSettings) -> any Redis
    /// The kill switch where the configuration names none.
    public var killSwitch: String
    /// Laid under the labels of every page.
    public var externalLabels = Labels()
    /// The peer that decides on what triggers ask for; nil: we are the first of the peers, or alone.
    public var peerBeforeUs: @Sendable () -> String? = { nil }

    /// A context by its parts.
    public init(
        store: any StateStore, clock: any TimeSource, files: any FileSystem, processes: any Processes,
        engine: QueryEngine, announcements: any AnnouncementSink, log: any LogSink,
        redis: @escaping @Sendable (RedisSettings) -> any Redis, killSwitch: String
    ) {
        (self.store, self.clock, self.files, self.processes) = (store, clock, files, processes)
        (self.engine, self.announcements, self.log) = (engine, announcements, log)
        (self.redis, self.killSwitch) = (redis, killSwitch)
    }
}

/// Why a request of a person is refused; one sentence with the cure.
public struct RollbackRefusal: Error, Sendable, Hashable, CustomStringConvertible {
    /// The sentence.
    public var description: String
    /// Whether what was asked for does not exist.
    public var isUnknown = false
}

/// Carries rollbacks out: decides by the book, journals before and after each step, tells the receivers.
///
/// Nothing is awaited between a decision and its commit. The commit blocks: run it where that is allowed, as the
/// dispatcher.
public actor RollbackEngine: RollbackSink, MetricsSource {
    /// Pages that were handed over, by their identity.
    static let toldTable = "rollback.told"

    private var settings: RollbackSettings
    private var performer: RollbackPerformer
    private var book: RollbackBook
    private let context: RollbackContext
    private var wakes: [String: Wake] = [:]
    private let started: AsyncStream<String>
    private let starter: AsyncStream<String>.Continuation
    private nonisolated let figures = RollbackFigures()

    /// Takes up what the journal holds; `run` goes on with what was under way.
    public init(_ settings: RollbackSettings, _ context: RollbackContext) {
        (self.settings, self.context) = (settings, context)
        performer = RollbackEngine.performer(settings, context)
        book = RollbackBook(restoring: context.store)
        (started, starter) = AsyncStream.makeStream(of: String.self)
        for key in book.unreadable {
            context.log.write(
                LogEvent(
                    .error, "rollback-journal",
                    "the journal's entry \(key) is of another version: it was left as it is, and if it was under way, "
                        + "nobody goes on with it; see what it left behind"))
        }
        for run in book.active {
            wakes[run.id] = Wake()
            starter.yield(run.id)
        }
        figures.show(book, settings, isStopped: false, now: context.clock.now())
    }

    private static func performer(_ settings: RollbackSettings, _ context: RollbackContext) -> RollbackPerformer {
        let stores = settings.stores.mapValues { store -> (prefix: String, store: any FlagStore) in
            switch store.place {
            case .redis(let redis): (store.prefix, RedisFlags(redis: context.redis(redis)))
            case .file(let path): (store.prefix, FileFlags(path: path, files: context.files))
            }
        }
        return RollbackPerformer(
            files: context.files, processes: context.processes, engine: context.engine, clock: context.clock,
            stores: stores)
    }

    // MARK: Requests

    /// See `RollbackSink.accept`.
    public func accept(_ readings: [TriggerReading]) async { await carryOut(book.take(readings, guards())) }

    /// Puts other settings in force. What runs keeps its plan.
    public func replace(_ settings: RollbackSettings, triggers: Set<String>) async {
        if settings.stores != self.settings.stores { performer = RollbackEngine.performer(settings, context) }
        self.settings = settings
        await carryOut(book.keep(triggers, now: context.clock.now()))
    }

    /// A person asks for a rollback: it acts whatever the mode, the cooldown and the budget, but not against the kill
    /// switch.
    ///
    /// - Returns: The run, new or the one that does it already.
    public func start(_ action: String, reason: String) async throws(RollbackRefusal) -> RollbackRun {
        guard settings.actions[action] != nil else {
            throw RollbackRefusal(description: settings.unknown(action), isUnknown: true)
        }
        let (id, decision) = book.request(action, RollbackCause(text: reason), isByHand: true, guards())
        await carryOut(decision)
        guard let run = book.runs[id] else { throw RollbackRefusal(description: "the run is gone") }
        if run.outcome == .refused { throw RollbackRefusal(description: run.reason) }
        return run
    }

    /// A person ends a run after the step that it is at.
    public func cancel(_ id: String, by who: String) async throws(RollbackRefusal) -> RollbackRun {
        guard let run = book.runs[id] else {
            throw RollbackRefusal(
                description: "there is no rollback '\(id)'; see vedette rollback status", isUnknown: true)
        }
        guard run.outcome == nil else {
            throw RollbackRefusal(
                description: "\(id) is over: \(run.outcome?.rawValue ?? ""); nothing is left to cancel")
        }
        context.store.commit(book.update(id) { $0.cancelledBy = who })
        wakes[id]?.signal()
        return book.runs[id] ?? run
    }

    /// What an action would do now, against what is there. Nothing is changed.
    public func plan(_ action: String) async throws(RollbackRefusal) -> (run: RollbackRun, notes: [String]) {
        guard settings.actions[action] != nil else {
            throw RollbackRefusal(description: settings.unknown(action), isUnknown: true)
        }
        let run = RollbackRun(
            id: "plan", action: action, closure: settings.closure(of: action), cause: RollbackCause(text: "a plan"),
            now: context.clock.now())
        var notes: [String] = []
        for step in run.steps {
            switch step.kind {
            case .flag(let flag): notes.append(await performer.preview(flag))
            case .check(let deployment), .deployment(let deployment):
                switch performer.check(deployment) {
                case .done(let detail, _), .failed(let detail), .unknown(let detail), .abandoned(let detail):
                    notes.append(detail)
                case .interrupted: notes.append("")
                }
            case .verify(let verification):
                let unmet = performer.unmet(verification, since: .distantPast)
                notes.append(unmet.isEmpty ? "holds now" : unmet.joined(separator: "; "))
            case .command(let command):
                notes.append(command.probe == nil ? "no probe: a crash while it runs stops the plan" : "has a probe")
            case .announce, .stabilise, .clear: notes.append("")
            }
        }
        return (run, notes)
    }

    /// All runs that are kept, the newest first.
    public var runs: [RollbackRun] { book.sorted.reversed() }

    /// One run.
    public func run(_ id: String) throws(RollbackRefusal) -> RollbackRun {
        guard let run = book.runs[id] else {
            throw RollbackRefusal(
                description: "there is no rollback '\(id)'; see vedette rollback status", isUnknown: true)
        }
        return run
    }

    /// What guards and triggers say now.
    public var status: RollbackStatus {
        let now = context.clock.now()
        return RollbackStatus(
            mode: settings.mode, isStopped: isStopped, killSwitch: settings.killSwitch ?? context.killSwitch,
            budget: settings.budget, budgetWindow: settings.budgetWindow, budgetLeft: book.budgetLeft(settings, now),
            actions: settings.actions.values.sorted { $0.name < $1.name },
            triggers: book.readings.values.sorted { $0.trigger < $1.trigger })
    }

    // MARK: Guards

    private func guards() -> RollbackBook.Guards {
        RollbackBook.Guards(
            settings: settings, isStopped: isStopped, peerBeforeUs: context.peerBeforeUs(), now: context.clock.now())
    }

    /// A switch that cannot be looked at counts as on: an action can be made up for, an unwanted one cannot.
    private var isStopped: Bool {
        let path = settings.killSwitch ?? context.killSwitch
        do {
            // A link to nothing is there too.
            return try context.files.attributes(of: path) != nil || context.files.readLink(path) != nil
        } catch {
            return true
        }
    }

    // MARK: Carrying out

    /// Commits a decision, then tells what it tells. Nothing is awaited up to the commit, so that the journal never
    /// holds an older state of a run than the book. A page that a crash holds up is told at the next start.
    private func carryOut(_ decision: RollbackBook.Decision) async {
        var changes = decision.changes
        var pages: [Announcement] = []
        for id in decision.told {
            guard book.runs[id] != nil else { continue }
            changes += book.update(id) { $0.announced += 1 }
            guard let run = book.runs[id] else { continue }
            pages.append(page(of: run, number: run.announced))
            if run.outcome != nil, run.closedAt == nil { figures.count(run) }
            context.log.write(
                LogEvent(
                    run.outcome?.isGood ?? true ? .info : .warning, "rollback", RollbackPages.summary(run),
                    [("rollback", id), ("outcome", run.outcome?.rawValue ?? "begins")]))
        }
        for id in decision.begun { wakes[id] = Wake() }
        if !changes.isEmpty { context.store.commit(changes) }
        figures.show(book, settings, isStopped: isStopped, now: context.clock.now())
        for id in decision.begun { starter.yield(id) }
        for id in decision.woken { wakes[id]?.signal() }
        await tell(pages)
    }

    private func tell(_ pages: [Announcement]) async {
        guard !pages.isEmpty else { return }
        let told = pages.map { StateChange(table: RollbackEngine.toldTable, key: $0.id, value: []) }
        await context.announcements.announce(pages, committing: told)
    }

    /// Pages that were decided before a crash and never handed over.
    private func tellForgotten() async {
        let told = context.store.entries(of: RollbackEngine.toldTable)
        var pages: [Announcement] = []
        for run in book.sorted where run.announced > 0 {
            for number in 1...run.announced where told["\(run.id)-\(number)"] == nil {
                pages.append(page(of: run, number: number))
            }
        }
        await tell(pages)
        let known = book.sorted.map(\.id)
        let gone = told.keys.filter { key in !known.contains { key.hasPrefix($0 + "-") } }
        if !gone.isEmpty {
            context.store.commit(
                gone.sorted().map { StateChange(table: RollbackEngine.toldTable, key: $0, value: nil) })
        }
    }

    private func page(of run: RollbackRun, number: Int) -> Announcement {
        RollbackPages.announcement(run, number: number, labels: context.externalLabels, cost: cost(of: run))
    }

    /// What the features whose flags a run switches off would have earned since its first cause.
    private func cost(of run: RollbackRun) -> String? {
        let features = Set(run.steps.compactMap { if case .flag(let flag) = $0.kind { flag.name } else { nil } })
        guard !features.isEmpty else { return nil }
        let now = context.clock.now()
        let names = features.sorted().joined(separator: "|").goQuoted
        let since = run.causes.compactMap(\.firedAt).min() ?? run.createdAt
        // No price is known where the impact of the features is not counted.
        guard
            let hourly = try? context.engine.instant("sum(phase3_benefit_per_hour{feature=~\(names)})", at: now)
                .value.samples.first?.value, hourly.isFinite
        else { return nil }
        let hours = Double((run.finishedAt ?? now) - since) / 3_600_000
        return "about $\((hourly * hours).cents) so far, at $\(hourly.cents) an hour"
    }

    // MARK: Runs

    /// Carries out what begins, and goes on with what was under way, until cancelled.
    public func run() async {
        await tellForgotten()
        await withDiscardingTaskGroup { runs in
            for await id in started { runs.addTask { await self.drive(id) } }
            runs.cancelAll()
        }
    }

    private func drive(_ id: String) async {
        // What a crash interrupted: done or not, before anything else.
        for index in book.runs[id]?.steps.indices ?? 0..<0 where book.runs[id]?.steps[index].status == .begun {
            await settle(id, index)
        }
        while !Task.isCancelled, let move = book.next(id, isStopped: isStopped) {
            switch move {
            case .wait: await context.clock.wait(for: wakes[id]!, atMost: nil)
            case .skip(let index, let reason): end(id, index, .abandoned(reason))
            case .announce(let index):
                let now = context.clock.now()
                var decision = RollbackBook.Decision(told: [id])
                decision.changes = book.update(id) { run in
                    run.begin(index, now: now)
                    run.end(index, .done("told"), now: now)
                }
                await carryOut(decision)
            case .perform(let index): await perform(id, index)
            case .finish(let outcome, let reason):
                await carryOut(book.finish(id, outcome, reason, now: context.clock.now()))
                wakes[id] = nil
            }
        }
    }

    private func perform(_ id: String, _ index: Int) async {
        guard let step = book.runs[id]?.steps[index] else { return }
        let now = context.clock.now()
        let written = context.store.commit(book.update(id) { $0.begin(index, now: now) })
        if case .volatile(let reason) = written, case .command(let command) = step.kind, command.probe == nil {
            // After a crash nobody would know of it, and it would be run twice.
            return end(id, index, .failed("not run, since the journal cannot be written: \(reason)"))
        }
        end(id, index, await outcome(of: step, in: id))
    }

    /// A step that was begun before a crash: settled by looking, and done again only where that does no harm.
    private func settle(_ id: String, _ index: Int) async {
        guard let step = book.runs[id]?.steps[index] else { return }
        context.log.write(LogEvent(.warning, "rollback-resumed", "\(id) goes on at: \(step.title)"))
        if case .command(let command) = step.kind, let result = await performer.settle(command) {
            return end(id, index, result)
        }
        end(id, index, await outcome(of: step, in: id))
    }

    private func end(_ id: String, _ index: Int, _ result: StepResult) {
        let now = context.clock.now()
        let changes = book.update(id) { run in
            if case .abandoned(let reason) = result {
                run.skip(index, reason, now: now)
            } else {
                run.end(index, result, now: now)
            }
        }
        guard let step = book.runs[id]?.steps[index], result != .interrupted else { return }
        context.store.commit(changes)
        if step.status == .failed || step.status == .unknown { figures.countFailure(of: step) }
        context.log.write(
            LogEvent(
                step.status == .done ? .info : .warning, "rollback-step",
                "\(id): \(step.title): \(step.status.rawValue)" + (step.detail.isEmpty ? "" : ": \(step.detail)")))
    }

    private func outcome(of step: RollbackStep, in id: String) async -> StepResult {
        switch step.kind {
        case .check(let deployment):
            performer.check(deployment, lately: book.releaseSetLately(for: deployment, by: id, guards()))
        case .announce: .done("told")
        case .flag(let flag): await performer.switchOff(flag)
        case .deployment(let deployment):
            if let release = book.runs[id]?.releaseFound(for: deployment) {
                performer.setLink(deployment, to: release)
            } else {
                .failed("there is no startable release to go back to")
            }
        case .command(let command): await performer.run(command)
        case .stabilise(let length): await stabilise(id, until: (step.begunAt ?? context.clock.now()) + length, length)
        case .verify(let verification): await verify(verification, id)
        case .clear(let length):
            await seeClear(id, until: (step.begunAt ?? context.clock.now()) + length, limit: length)
        }
    }

    // MARK: Waiting steps

    /// Why a step that only waits is to be given up, if it is.
    private func reasonToLeave(_ id: String) -> StepResult? {
        if Task.isCancelled { return .interrupted }
        guard let run = book.runs[id] else { return .interrupted }
        if let wider = run.absorbedBy { return .abandoned("\(wider) takes over") }
        if let who = run.cancelledBy { return .abandoned("cancelled by \(who)") }
        return nil
    }

    /// Rests until a moment by the wall clock, but never longer than `limit`: the clock may be set.
    private func rest(_ id: String, until end: Timestamp, limit: Milliseconds) async -> StepResult? {
        let clock = context.clock
        let deadline = clock.uptimeNanoseconds() + UInt64(max(0, min(end - clock.now(), limit))) * 1_000_000
        while true {
            if let reason = reasonToLeave(id) { return reason }
            let now = clock.uptimeNanoseconds()
            guard now < deadline, let wake = wakes[id] else { return nil }
            await clock.wait(for: wake, atMost: Milliseconds((deadline - now + 999_999) / 1_000_000))
        }
    }

    private func stabilise(_ id: String, until end: Timestamp, _ length: Milliseconds) async -> StepResult {
        await rest(id, until: end, limit: length) ?? .done("waited \(DurationText.format(length))")
    }

    private func verify(_ verification: Verification, _ id: String) async -> StepResult {
        let since = book.runs[id]?.actedAt ?? .distantPast
        var passes = 0
        var last: [String] = []
        for round in 1...verification.rounds {
            last = performer.unmet(verification, since: since)
            if last.isEmpty { passes += 1 }
            if passes == verification.passes { return .done("\(passes) of \(round) looks found all well") }
            // What is left cannot be enough.
            if verification.rounds - round < verification.passes - passes { break }
            let next = context.clock.now() + verification.interval
            if let reason = await rest(id, until: next, limit: verification.interval) { return reason }
        }
        return .failed(
            "\(passes) looks found all well, \(verification.passes) were needed: "
                + last.joined(separator: "; "))
    }

    /// Waits for the triggers as `rest` does: the clock may be set.
    private func seeClear(_ id: String, until end: Timestamp, limit: Milliseconds) async -> StepResult {
        let clock = context.clock
        let deadline = clock.uptimeNanoseconds() + UInt64(max(0, min(end - clock.now(), limit))) * 1_000_000
        while true {
            guard let run = book.runs[id] else { return .interrupted }
            let (isClear, detail) = book.clearance(of: run, since: run.actedAt)
            if isClear { return .done("every trigger is clear") }
            if let reason = reasonToLeave(id) { return reason }
            let now = clock.uptimeNanoseconds()
            guard now < deadline, let wake = wakes[id] else { return .failed("not clear in time: \(detail)") }
            await clock.wait(for: wake, atMost: Milliseconds((deadline - now + 999_999) / 1_000_000))
        }
    }

    // MARK: Showing

    /// Its figures.
    public nonisolated func metrics() -> [MetricFamily] { figures.families() }
}

/// What guards and triggers say.
public struct RollbackStatus: Sendable {
    /// The mode of actions that name none.
    public var mode: RollbackSettings.Mode
    /// Whether the kill switch is on.
    public var isStopped: Bool
    /// Where the kill switch is.
    public var killSwitch: String
    /// Runs that may begin by themselves in a window, its length, and how many may still.
    public var budget: Int, budgetWindow: Milliseconds, budgetLeft: Int
    /// What may be done.
    public var actions: [RollbackAction]
    /// What the triggers saw last.
    public var triggers: [TriggerReading]
}

extension RollbackRun {
    /// When its last acting step ended: only what is measured later can show that it helped.
    var actedAt: Timestamp { steps.filter(\.isActing).compactMap(\.endedAt).max() ?? createdAt }
}

extension RollbackOutcome {
    /// Whether nobody needs to look.
    var isGood: Bool { self == .succeeded || self == .absorbed }
}

extension Double {
    /// With two decimals.
    fileprivate var cents: String {
        let hundredths = Int64((abs(self) * 100).rounded())
        let text = "\(hundredths / 100)." + String("\(100 + hundredths % 100)".dropFirst())
        return self < 0 && hundredths > 0 ? "-\(text)" : text
    }
}
