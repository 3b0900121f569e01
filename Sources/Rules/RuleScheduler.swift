public import Basics
public import Model
internal import Synchronization

/// Runs all rule groups, each in a loop of its own, and keeps their alerts' state in the journal.
///
/// Alert state survives a restart as it was. Time spent down does not count towards `for`: on its first evaluation a
/// pending alert is moved by the time that passed since its rule's last evaluation, less one interval. That moment is
/// the newest `ALERTS_FOR_STATE` sample or the journal entry's own, whichever is later. What fired goes on firing.
public actor RuleScheduler: MetricsSource {
    private let context: RuleContext
    private let counters = RuleCounters()
    private var groups: [(key: String, definition: GroupDefinition, group: RuleGroup)] = []
    /// Entries of the journal that no group has taken yet; nil once the first rules are loaded.
    private var restored: [StoredAlert]?
    private var unreadable: [StateChange] = []
    private let started: AsyncStream<RuleGroup>
    private let starter: AsyncStream<RuleGroup>.Continuation
    private nonisolated let figures = Mutex<[GroupFigures]>([])

    /// A scheduler without groups, which takes over what the journal holds; `update` gives it its first rules.
    public init(_ context: RuleContext, restoring store: any StateStore) {
        self.context = context
        (started, starter) = AsyncStream.makeStream(of: RuleGroup.self)
        var entries: [StoredAlert] = []
        for (key, bytes) in store.entries(of: StoredAlert.table).sorted(by: { $0.key < $1.key }) {
            if let entry = StoredAlert(bytes), entry.key == key {
                entries.append(entry)
            } else {
                counters.badEntries.add()
                unreadable.append(StateChange(table: StoredAlert.table, key: key, value: nil))
            }
        }
        restored = entries
    }

    /// Evaluates every group at its slots until the task is cancelled; call it once.
    public func run(_ clock: any TimeSource) async {
        await withDiscardingTaskGroup { loops in
            for await group in started {
                loops.addTask { await group.run(clock) }
            }
            loops.cancelAll()
        }
    }

    /// Puts these groups in place of the present ones. An equal group runs on untouched; a changed one keeps the state
    /// of rules with the same name and labels; what a removed rule fired is told to be over.
    public func update(to definitions: [GroupDefinition], at now: Timestamp) async {
        var old = groups
        groups = []
        let entries = Dictionary(grouping: restored ?? []) { "\($0.file);\($0.group)" }
        var taken: Set<String> = []
        var changed: [(RuleGroup, GroupDefinition?)] = []
        for definition in definitions {
            if let index = old.firstIndex(where: { $0.key == definition.key }) {
                let known = old.remove(at: index)
                groups.append((definition.key, definition, known.group))
                if known.definition != definition { changed.append((known.group, definition)) }
            } else {
                let group = RuleGroup(
                    definition, context, counters, restoring: entries[definition.key] ?? [], at: now)
                // Without entries nobody asks who took them.
                for (_, identity) in entries[definition.key] == nil ? [] : RuleGroup.numbered(definition) {
                    taken.insert("\(definition.key)\n\(identity)")
                }
                groups.append((definition.key, definition, group))
                starter.yield(group)
            }
        }
        let present = groups.map(\.group.figures)
        figures.withLock { $0 = present }
        let orphans = (restored ?? []).filter { !taken.contains("\($0.file);\($0.group)\n\($0.rule)") }
        restored = nil
        for (group, definition) in changed { await group.update(to: definition, at: now) }
        for (_, _, group) in old { await group.update(to: nil, at: now) }
        await end(orphans, at: now)
    }

    /// Ends alerts of rules that went away while the daemon was down.
    private func end(_ orphans: [StoredAlert], at now: Timestamp) async {
        var told: [Alert] = []
        var changes = unreadable
        unreadable = []
        for entry in orphans {
            changes.append(StateChange(table: StoredAlert.table, key: entry.key, value: nil))
            guard entry.alert.state == .firing, !entry.isTrigger else { continue }
            var over = entry.alert
            over.resolvedAt = now
            told.append(context.told(over, of: nil))
        }
        if !told.isEmpty || !changes.isEmpty { await context.alerts.accept(told, committing: changes) }
    }

    /// Groups whose evaluation is stuck, by name. Comes back at all only while the scheduler itself works.
    public func stuckGroups(_ clock: any TimeSource) -> [String] {
        groups.filter { $0.group.figures.pulse.isLate(clock) }.map(\.key)
    }

    /// Rules, alerts that fire, and the newest evaluation, without waiting for anybody.
    public nonisolated var summary: (rules: Int, firing: Int, lastEvaluation: Timestamp?) {
        let values = figures.withLock { $0 }.map(\.values)
        return (
            values.reduce(0) { $0 + $1.rules }, values.reduce(0) { $0 + $1.firing },
            values.compactMap(\.lastEvaluation).max()
        )
    }

    /// Evaluates every group once at one moment, in order: for tests, backtests and rule unit tests.
    public func evaluate(at moment: Timestamp, _ clock: any TimeSource) async {
        for (_, _, group) in groups { await group.evaluate(at: moment, clock) }
    }

    /// All groups as they stand, in the order they were given.
    public func status() async -> [RuleGroupStatus] {
        var all: [RuleGroupStatus] = []
        for (_, _, group) in groups { all.append(await group.status) }
        return all
    }

    /// Every group's figures.
    public nonisolated func metrics() -> [MetricFamily] {
        ruleFamilies(counters, figures.withLock { $0 })
    }
}
