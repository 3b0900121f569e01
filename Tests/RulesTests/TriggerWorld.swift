import Basics
import Foundation
import Model
import Query
import Rules
import Settings
import Synchronization
import TestSupport

/// Remembers what triggers saw.
final class SightRecorder: RollbackSink {
    private let state = Mutex<[TriggerReading]>([])
    var readings: [TriggerReading] { state.withLock { $0 } }
    func accept(_ readings: [TriggerReading]) async { state.withLock { $0 += readings } }
}

/// Recording rules and triggers at work over raw series in memory.
final class TriggerWorld {
    let store: MemorySource
    let recorder: AlertRecorder
    let sights = SightRecorder()
    let clock = StandingClock()
    let scheduler: RuleScheduler
    private let step: Double
    private(set) var now: Double

    /// `step`: seconds between two scrapes and between two evaluations.
    init(
        _ text: String, rules: [GroupDefinition] = [], step: Double = 15, from start: Double = 0,
        store: MemorySource = MemorySource(), recorder: AlertRecorder = AlertRecorder(), settle: Milliseconds = 0
    ) async throws {
        (self.store, self.recorder, self.step, now) = (store, recorder, step, start)
        let map = try SettingsDocument(text, file: "v.yaml").map()
        let triggers = try TriggerSettings(from: map, kinds: MetricKind.all(declaredIn: map))
        var freshness = Freshness()
        freshness.longest = Milliseconds(step * 1000)
        var context = RuleContext(engine: QueryEngine(source: store), samples: store, alerts: recorder)
        context.interval = Milliseconds(step * 1000)
        (context.rollback, context.settle) = (sights, settle)
        scheduler = RuleScheduler(context, restoring: recorder)
        clock.advance(by: at(start).milliseconds)
        var groups = rules
        if let group = triggers.group(recordedBy: rules, freshness: freshness, file: "v.yaml") { groups.append(group) }
        await scheduler.update(to: groups, at: at(start))
    }

    /// The recording rules of a rule file of the repository.
    static func recordingRules(_ path: String) throws -> [GroupDefinition] {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(Program.root)/\(path)")))
        return try RuleFile(bytes, file: path, files: MemoryFiles()).groups.map { group in
            var group = group
            group.rules = group.rules.filter { $0.kind == .recording }
            return group
        }
    }

    /// One step on: `write` puts in what is scraped then, and all is evaluated.
    ///
    /// - Returns: What the trigger saw.
    @discardableResult
    func turn(_ trigger: String, _ write: (MemorySource, Timestamp) -> Void = { _, _ in }) async -> TriggerReading? {
        now += step
        clock.advance(by: at(now) - clock.now())
        write(store, at(now))
        let before = sights.readings.count
        await scheduler.evaluate(at: at(now), clock)
        return sights.readings.dropFirst(before).last { $0.trigger == trigger }
    }
}
