import Basics
import Model
import Query
import Rules
import TestSupport
import Synchronization
import Testing

/// A store that takes nothing any more once its process is dead.
private final class MortalSink: SampleSink {
    let store: MemorySource
    let isDead = Mutex(false)
    /// Dead as soon as this one refuses commits.
    let failsAfter = Mutex<AlertRecorder?>(nil)
    init(_ store: MemorySource) { self.store = store }
    func reference(of labels: Labels) -> SeriesReference? { store.reference(of: labels) }
    func append(_ batch: borrowing SampleBatch) -> AppendOutcome {
        if isDead.withLock({ $0 }) || failsAfter.withLock({ $0?.isCrashed ?? false }) { return AppendOutcome() }
        return store.append(batch)
    }
}

/// Random series, crashes at random points, down for random times: the state that comes back is the one that a plain
/// model of the promise says, and every firing and every resolution that was decided reaches the sink.
@Suite struct RestartTests {
    private static let interval = 60.0

    /// The promise, told without a journal: what one series' alert is after each evaluation that took place.
    struct Model {
        var pendingFor: Int?
        var isFiring = false
        var quietSince: Double?

        /// `hold` in evaluations, `keep` in seconds of the wall clock.
        mutating func evaluate(isGiven: Bool, at now: Double, hold: Int, keep: Double) {
            if isGiven {
                quietSince = nil
                if isFiring { return }
                // Only evaluations that took place make a pending alert older.
                pendingFor = pendingFor.map { $0 + 1 } ?? 0
                if pendingFor ?? 0 >= hold { (isFiring, pendingFor) = (true, nil) }
            } else if isFiring {
                let since = quietSince ?? now
                quietSince = since
                if keep == 0 || now - since >= keep { (isFiring, quietSince) = (false, nil) }
            } else {
                pendingFor = nil
            }
        }
    }

    @Test("the state after a crash is as promised", arguments: 0..<300 as Range<UInt64>)
    func property(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let hold = Int.random(in: 0...4, using: &random)
        let keep = Double(Int.random(in: 0...3, using: &random)) * RestartTests.interval
        let yaml = """
            groups:
            - name: g
              interval: 1m
              rules:
              - {alert: A, expr: bad == 1, for: \(hold)m, keep_firing_for: \(Int(keep))s}
            """
        let store = MemorySource()
        let sink = MortalSink(store)
        var world = try await RuleWorld(yaml, store: store) { $0.samples = sink }
        var models = (0..<3).map { _ in Model() }
        var values = [0.0, 0, 0]
        var told = world.recorder.told
        var wasFiring = [false, false, false]
        var minute = 0
        for _ in 0..<40 {
            let now = Double(minute) * RestartTests.interval
            for index in 0..<3 {
                if Int.random(in: 0..<4, using: &random) == 0 { values[index] = 1 - values[index] }
                store.add(["__name__": "bad", "n": "\(index)"], at(now), values[index])
            }
            let crash = Int.random(in: 0..<8, using: &random)
            let before = world.recorder.commits
            if crash == 0 {
                // Before the commit: nothing of this evaluation survives.
                world.recorder.crash(atCommit: before + 1)
                sink.failsAfter.withLock { $0 = world.recorder }
            } else if crash == 1 {
                // Between the commit and the samples.
                sink.isDead.withLock { $0 = true }
            }
            await world.evaluate(now)
            let hasCommitted = crash != 0 && world.recorder.commits > before
            let tookPlace = crash > 1 || hasCommitted || (crash == 0 && world.recorder.commits == before)
            if tookPlace {
                for index in 0..<3 {
                    models[index].evaluate(isGiven: values[index] == 1, at: now, hold: hold, keep: keep)
                }
                let expected = models.map { $0.isFiring ? "firing" : $0.pendingFor != nil ? "pending" : "-" }
                let alerts = await world.alerts()
                let seen = (0..<3).map { index in
                    alerts.first { $0.labels["n"] == "\(index)" }?.state.rawValue ?? "-"
                }
                #expect(seen == expected, "seed \(seed), minute \(minute)")
                if seen != expected { return }
            }
            told += world.recorder.told
            world.recorder.clear()
            if tookPlace {
                for index in 0..<3 where models[index].isFiring != wasFiring[index] {
                    let last = told.last { $0.labels["n"] == "\(index)" }
                    #expect((last?.endsAt == nil) == models[index].isFiring, "seed \(seed), minute \(minute)")
                    wasFiring[index] = models[index].isFiring
                }
            }
            minute += 1
            guard crash <= 2 else { continue }
            sink.isDead.withLock { $0 = false }
            sink.failsAfter.withLock { $0 = nil }
            minute += Int.random(in: 0...6, using: &random)
            let recorder = world.recorder.restarted()
            world = try await RuleWorld(
                yaml, store: store, recorder: recorder, at: at(Double(minute) * RestartTests.interval - 1)
            ) { $0.samples = sink }
        }
    }
}
