internal import Basics
internal import Model
internal import Query
internal import Synchronization

/// A group at work: evaluates its rules in order at moments aligned to the clock.
///
/// An actor, since it changes once per interval; evaluation itself runs without interruption up to the sink's `await`,
/// and a change of its definition that comes in between waits for the end of the evaluation.
actor RuleGroup {
    nonisolated let figures: GroupFigures
    private let context: RuleContext
    private let counters: RuleCounters
    private var definition: GroupDefinition
    /// Those of the definition, and at the end the one that watches over them.
    private var rules: [RuleState]
    /// Series of rules that are no more, to be marked stale.
    private var orphans: [SeriesReference] = []
    private var batch = SampleBatch(timestamp: .distantPast)
    private var isEvaluating = false
    private var isRetired = false
    private var waiting: (definition: GroupDefinition?, at: Timestamp)?
    private var lastEvaluation: Timestamp?
    private var evaluationNanoseconds: UInt64 = 0

    init(
        _ definition: GroupDefinition, _ context: RuleContext, _ counters: RuleCounters,
        restoring entries: [StoredAlert], at now: Timestamp
    ) {
        (self.definition, self.context, self.counters) = (definition, context, counters)
        let known = Dictionary(grouping: entries, by: \.rule)
        rules = RuleGroup.numbered(definition).map { rule, identity in
            RuleState(
                rule, identity: identity, restoring: known[identity] ?? [], settledAt: now + context.settle)
        }
        figures = GroupFigures(
            key: definition.key, rules: definition.rules.count, interval: definition.interval ?? context.interval)
        figures.set(rules.map(\.book))
    }

    /// A group's rules, the watching one last, with their identities; of equal ones the second is `#1`.
    static func numbered(_ definition: GroupDefinition) -> [(RuleDefinition, String)] {
        var counts: [String: Int] = [:]
        return (definition.rules + [.evaluationFailing]).map { rule in
            let identity = rule.identity
            let number = counts[identity, default: 0]
            counts[identity] = number + 1
            return (rule, number == 0 ? identity : "\(identity)#\(number)")
        }
    }

    private var identity: RuleGroupIdentity {
        RuleGroupIdentity(
            file: definition.file, name: definition.name, interval: interval,
            queryOffset: definition.queryOffset ?? context.queryOffset, limit: definition.limit)
    }
    private var interval: Milliseconds { definition.interval ?? context.interval }

    /// How long one rule may take before the group counts as stuck: long, for what is slow is not dead.
    private var patience: Milliseconds { max(3 * interval, 120_000) }

    // MARK: The loop

    /// Evaluates at every slot until the task is cancelled or the group retires.
    func run(_ clock: any TimeSource) async {
        defer { figures.pulse.expect(by: nil) }
        var schedule = RuleSchedule(key: definition.key, interval: interval, clock: clock)
        while !Task.isCancelled, !isRetired {
            schedule.set(interval: interval)
            figures.pulse.expect(within: schedule.next - clock.now() + patience, clock)
            do { try await clock.sleep(until: schedule.next) } catch { return }
            guard !isRetired else { return }
            guard let due = schedule.due(clock) else { continue }
            if due.jump != 0 {
                for index in rules.indices { rules[index].shift(by: due.jump) }
                // What was scraped before is old now: as after a start, missing data ends nothing until it is fresh.
                for index in rules.indices { rules[index].settle(until: due.slot + context.settle) }
            }
            if context.isHeld() { continue }
            if due.missed > 0 { counters.missed.add(due.missed) }
            await evaluate(at: due.slot, clock)
        }
    }

    /// Evaluates all rules at one moment. What each gives is stored before the next is evaluated.
    func evaluate(at moment: Timestamp, _ clock: any TimeSource) async {
        guard !isEvaluating, !isRetired else { return }
        isEvaluating = true
        defer { isEvaluating = false }
        let group = identity
        let start = clock.uptimeNanoseconds()
        var begin = start
        var sights: [TriggerReading] = []
        // A server that does not answer one rule is not asked for the others: each would take as long again.
        var silence: RuleFailure?
        for index in rules.indices.dropLast() {
            if Task.isCancelled { break }
            figures.pulse.expect(within: patience, clock)
            do {
                let elsewhere = try await askSource(index, at: moment - group.queryOffset, &silence)
                let (decision, sight) = try decide(index, at: moment, in: group, elsewhere)
                if let sight { sights.append(sight) }
                if !decision.told.isEmpty || !decision.changes.isEmpty {
                    // One call: after a crash both are known or neither. And before the samples: a sample at a moment
                    // says that what was decided then is in the journal.
                    await context.alerts.accept(decision.told, committing: decision.changes)
                }
                write(decision.samples, of: index, at: moment - group.queryOffset)
            } catch {
                if error.isCancellation { break }
                counters.failures.add()
                rules[index].health = .failing
                rules[index].lastError = error.description
                if let blind = rules[index].definition.blindReading(at: moment) { sights.append(blind) }
            }
            counters.evaluations.add()
            let end = clock.uptimeNanoseconds()
            rules[index].evaluationNanoseconds = end &- begin
            rules[index].lastEvaluation = moment
            begin = end
        }
        if !sights.isEmpty, !Task.isCancelled { await context.rollback?.accept(sights) }
        await watch(at: moment, in: group)
        markOrphans(at: moment - group.queryOffset)
        evaluationNanoseconds = clock.uptimeNanoseconds() &- start
        lastEvaluation = moment
        counters.iterations.add()
        figures.set(rules.map(\.book), at: moment, seconds: Double(evaluationNanoseconds) / 1e9)
        await applyWaiting()
    }

    /// Alerts on rules that cannot be evaluated, without a rule of anybody's: their own alerts stay as they were.
    private func watch(at moment: Timestamp, in group: RuleGroupIdentity) async {
        let index = rules.endIndex - 1
        guard index >= 0, !Task.isCancelled else { return }
        var failing: [UInt64: AlertBook.Candidate] = [:]
        for rule in rules.dropLast() where rule.health == .failing {
            let candidate = rule.failing(in: group)
            failing[candidate.labels.fingerprint] = candidate
        }
        var unlimited = group
        unlimited.limit = 0
        // Without a limit nothing can throw.
        guard let decision = try? rules[index].advance(failing, at: moment, in: unlimited, context) else { return }
        if !decision.told.isEmpty || !decision.changes.isEmpty {
            await context.alerts.accept(decision.told, committing: decision.changes)
        }
        write(decision.samples, of: index, at: moment - group.queryOffset)
    }

    /// The value of a rule's expression on the server that the group names; nil: it is for the engine to evaluate.
    private func askSource(
        _ index: Int, at moment: Timestamp, _ silence: inout RuleFailure?
    ) async throws(RuleFailure) -> [VectorSample]? {
        let rule = rules[index].definition
        guard let name = definition.querySource, name != GroupDefinition.localSource, let sources = context.sources,
            rule.kind == .recording || rule.kind == .alerting
        else { return nil }
        if let silence { throw silence }
        guard let source = sources(name) else {
            throw RuleFailure(description: "query_source '\(name)' is none of query_sources")
        }
        do throws(ExpressionSourceError) {
            return try await source.instant(rule.expression.text, at: moment).map {
                VectorSample(labels: $0.labels, timestamp: moment, value: $0.value)
            }
        } catch {
            if error.isOfServer {
                silence = RuleFailure(description: "\(error.reason); not asked again in this evaluation")
            }
            throw RuleFailure(description: error.reason, isCancellation: error.kind == .cancelled)
        }
    }

    private func evaluated(_ index: Int, at moment: Timestamp) throws(RuleFailure) -> [VectorSample] {
        do {
            return try context.engine.instant(rules[index].definition.expression, at: moment).value.ruleSamples
        } catch {
            throw RuleFailure(description: error.description, isCancellation: error == .cancelled)
        }
    }

    /// Evaluates a rule's expression, unless that was done elsewhere, and takes its alerts one step further; of a
    /// trigger also what it sees.
    private func decide(
        _ index: Int, at moment: Timestamp, in group: RuleGroupIdentity, _ elsewhere: [VectorSample]?
    ) throws(RuleFailure) -> (AlertDecision, TriggerReading?) {
        if let drift = rules[index].definition.drift {
            return (try rules[index].drift(by: drift, at: moment, in: group, context), nil)
        }
        var context = context
        context.queriesInTemplates = elsewhere == nil
        let result: [VectorSample]
        if let elsewhere {
            result = elsewhere
        } else {
            result = try evaluated(index, at: moment - group.queryOffset)
        }
        var decision = AlertDecision()
        var sight: TriggerReading?
        switch rules[index].definition.kind {
        case .recording: decision.samples = try rules[index].recorded(result, limit: group.limit)
        case .alerting, .drift: decision = try rules[index].advance(result, at: moment, in: group, context)
        case .trigger:
            if let trigger = rules[index].definition.trigger {
                sight = try rules[index].sight(result, of: trigger, at: moment, in: group, context, &decision)
            }
        }
        rules[index].health = .ok
        rules[index].lastError = nil
        return (decision, sight)
    }

    // MARK: Samples

    /// Stores a rule's series, and staleness markers for those it gave last time and does not give now.
    private func write(_ samples: [RuleSample], of index: Int, at moment: Timestamp) {
        if samples.isEmpty, rules[index].given.isEmpty { return }
        batch.reset(to: moment)
        var given: [Labels: SeriesReference] = [:]
        given.reserveCapacity(samples.count)
        var refused = 0
        for sample in samples {
            guard let reference = rules[index].given[sample.labels] ?? context.samples.reference(of: sample.labels)
            else {
                refused += 1
                continue
            }
            given[sample.labels] = reference
            batch.append(reference, sample.value)
        }
        let stored = batch.count
        let ended = rules[index].given.filter { given[$0.key] == nil }
        for reference in ended.values.sorted() { batch.append(reference, SpecialValue.stale) }
        rules[index].given = given
        let markers = batch.count - stored
        let outcome = batch.count > 0 ? context.samples.append(batch) : AppendOutcome()
        refused += outcome.duplicates + outcome.outOfOrder + outcome.outOfBounds
        // A marker may be refused: another rule gives the series now.
        guard refused > markers else { return }
        counters.refusedSamples.add(refused)
        counters.failures.add()
        rules[index].health = .failing
        rules[index].lastError =
            "\(refused) samples were not stored: \(outcome.duplicates) have another value at this moment, "
            + "\(outcome.outOfOrder) are older than the newest, \(outcome.outOfBounds) are out of bounds, "
            + "the rest are new series that the store has no room for"
    }

    /// Marks the series of removed rules stale, unless another rule gives them.
    private func markOrphans(at moment: Timestamp) {
        guard !orphans.isEmpty else { return }
        var alive: Set<SeriesReference> = []
        for rule in rules { alive.formUnion(rule.given.values) }
        batch.reset(to: moment)
        for reference in orphans where !alive.contains(reference) { batch.append(reference, SpecialValue.stale) }
        orphans = []
        if batch.count > 0 { _ = context.samples.append(batch) }
    }

    // MARK: Changes

    /// Takes another definition of the group, or none: then it retires. State goes over by name and labels of rules.
    func update(to next: GroupDefinition?, at now: Timestamp) async {
        waiting = (next, now)
        if !isEvaluating { await applyWaiting() }
    }

    private func applyWaiting() async {
        guard let (next, now) = waiting else { return }
        waiting = nil
        var old: [String: RuleState] = [:]
        for rule in rules { old[rule.identity] = rule }
        let group = identity
        if let next {
            definition = next
            rules = RuleGroup.numbered(next).map { rule, identity in
                var state = RuleState(rule, identity: identity)
                if let known = old.removeValue(forKey: identity) { state.adopt(known) }
                return state
            }
        } else {
            isRetired = true
            rules = []
        }
        var (told, changes): ([Alert], [StateChange]) = ([], [])
        for (_, var rule) in old.sorted(by: { $0.key < $1.key }) {
            let decision = rule.retire(at: now, in: group, context)
            told += decision.told
            changes += decision.changes
            orphans += rule.given.values.sorted()
        }
        figures.set(rules.map(\.book), rules: definition.rules.count, interval: interval)
        if isRetired { markOrphans(at: now - group.queryOffset) }
        if !told.isEmpty || !changes.isEmpty { await context.alerts.accept(told, committing: changes) }
    }

    // MARK: What it shows

    var isOver: Bool { isRetired }

    var status: RuleGroupStatus {
        RuleGroupStatus(
            name: definition.name, file: definition.file, interval: interval, limit: definition.limit,
            evaluationSeconds: Double(evaluationNanoseconds) / 1e9, lastEvaluation: lastEvaluation,
            rules: rules.dropLast().map { rule in
                RuleStatus(
                    definition: rule.definition, hold: rule.hold(in: identity), health: rule.health,
                    lastError: rule.lastError,
                    evaluationSeconds: Double(rule.evaluationNanoseconds) / 1e9, lastEvaluation: rule.lastEvaluation,
                    alerts: rule.book.sorted.filter { $0.state != .inactive }, driftFeatures: rule.driftMemory.features)
            },
            failing: rules.last.map { $0.book.sorted.filter { $0.state != .inactive } } ?? [])
    }

    /// Every alert of every rule, those that are over too.
    var books: [[ActiveAlert]] { rules.map(\.book.sorted) }
}

extension GroupDefinition {
    /// Prometheus' form of a group's name in metrics.
    var key: String { "\(file);\(name)" }
}
