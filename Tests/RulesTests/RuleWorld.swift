import Basics
import Model
import Query
import Rules
import TestSupport

/// Rules at work over a store and a journal in memory.
struct RuleWorld {
    let store: MemorySource
    let recorder: AlertRecorder
    let clock = StandingClock()
    let scheduler: RuleScheduler
    let files: MemoryFiles

    init(
        _ yaml: String, store: MemorySource = MemorySource(), recorder: AlertRecorder = AlertRecorder(),
        at start: Timestamp = at(0), files: MemoryFiles = MemoryFiles(), adjust: (inout RuleContext) -> Void = { _ in }
    ) async throws {
        (self.store, self.recorder, self.files) = (store, recorder, files)
        var context = RuleContext(engine: QueryEngine(source: store), samples: store, alerts: recorder)
        adjust(&context)
        scheduler = RuleScheduler(context, restoring: recorder)
        clock.advance(by: start.milliseconds)
        try await load(yaml)
    }

    func load(_ yaml: String) async throws {
        let groups = try RuleFile(Array(yaml.utf8), file: "r.yaml", files: files).groups
        await scheduler.update(to: groups, at: clock.now())
    }

    func evaluate(_ seconds: Double) async {
        clock.advance(by: at(seconds) - clock.now())
        await scheduler.evaluate(at: at(seconds), clock)
    }

    func alerts() async -> [ActiveAlert] { await scheduler.status().flatMap { $0.rules.flatMap(\.alerts) } }

    /// A stored series as text: `time=value …`, a staleness marker as `stale`.
    func stored(_ labels: Labels) -> String {
        guard let series = store.all.first(where: { $0.labels == labels }) else { return "none" }
        return zip(series.times, series.values)
            .map { "\($0 / 1000)=\($1.isStaleMarker ? "stale" : GoNumber.fixed($1))" }.joined(separator: " ")
    }

    func metric(_ name: String, _ labels: Labels = [:]) -> Double? {
        scheduler.metrics().first { $0.name == name }?.lines.first { $0.labels == labels }?.value
    }
}
