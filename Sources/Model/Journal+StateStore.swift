public import Basics

/// The daemon's journal is the store of every room's small state.
extension Journal: StateStore {
    /// See `StateStore.commit`.
    @discardableResult
    public func commit(_ changes: [StateChange]) -> Durability {
        guard !changes.isEmpty else { return .durable }
        let failure = commit(changes.map { (table: $0.table, key: $0.key, value: $0.value) })
        return failure.map { .volatile(reason: $0.description) } ?? .durable
    }
}

extension Journal: MetricsSource {
    /// Commits, failures, size.
    public func metrics() -> [MetricFamily] {
        let figures = figures
        return [
            MetricFamily(.counter, "vedette_journal_commits_total", "Commits of small state.", figures.commits),
            MetricFamily(
                .counter, "vedette_journal_commit_failures_total", "Commits that the disk refused, kept in memory.",
                figures.failures),
            MetricFamily(
                .gauge, "vedette_journal_volatile", "1 while some state is in memory alone.", figures.isVolatile ? 1 : 0
            ),
            MetricFamily(
                .counter, "vedette_journal_lost_entries_total",
                "Values that the journal's file did not give back as they were written.", figures.lostEntries),
            MetricFamily(.gauge, "vedette_journal_bytes", "Bytes used in the journal's file.", figures.usedBytes),
        ]
    }
}
