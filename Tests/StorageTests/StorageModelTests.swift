import Basics
import Foundation
import Model
import Synchronization
import TestSupport
import Testing

@testable import Storage

/// The whole store against a dumb model of it: random appends, late and doubled ones, deletions, cuts, compactions,
/// retention, imports, snapshots, a disk that fails, crashes and losses of power, all told by a seed.
@Suite("The store and its model") struct StorageModelTests {
    @Test("what was acknowledged is read, once, and nothing else", arguments: batches)
    func lives(_ seeds: Range<UInt64>) throws {
        for seed in seeds {
            let world = StorageWorld(seed: seed)
            do { try world.live(steps: 60) } catch { world.fail("\(error)") }
            for failure in world.failures.prefix(3) { Issue.record("seed \(seed): \(failure)") }
        }
    }
}

private let environment = ProcessInfo.processInfo.environment
/// How many seeds are played, by `VEDETTE_SEEDS`, and which is the first, by `VEDETTE_SEED`; some to a test case, so
/// that all cores have work.
private let batches: [Range<UInt64>] = {
    let count = environment["VEDETTE_SEEDS"].flatMap(UInt64.init) ?? 24
    let first = environment["VEDETTE_SEED"].flatMap(UInt64.init) ?? 0
    let size = max(1, min(100, count / 4))
    return stride(from: first, to: first + count, by: Int(size)).map { $0..<min($0 + size, first + count) }
}()

/// A clock that is set by hand, back too.
private final class HandClock: TimeSource {
    private let moment: Mutex<Int64>
    private let uptime = Mutex<UInt64>(1)
    init(_ moment: Int64) { self.moment = Mutex(moment) }

    func now() -> Timestamp { Timestamp(milliseconds: moment.withLock { $0 }) }
    func uptimeNanoseconds() -> UInt64 { uptime.withLock { $0 } }
    func sleep(for duration: Milliseconds) async throws(CancellationError) {}

    func go(_ milliseconds: Int64) {
        moment.withLock { $0 += milliseconds }
        uptime.withLock { $0 += UInt64(abs(milliseconds)) * 1_000_000 }
    }
}

/// What may be read of one series at one moment.
private struct Expected {
    /// The values that it may have: more than one where two were acknowledged.
    var values: Set<UInt64>
    /// Whether it has to be there.
    var isCertain = true
    /// Whether it is in memory alone, so that a restart may lose it.
    var isUnlogged = false
    /// Whether the log was synced since.
    var isSynced = false
}

private final class StorageWorld {
    private typealias Samples = [Labels: [Int64: Expected]]
    private var random: SeededRandom
    private var files = MemoryFiles()
    private let clock: HandClock
    private var store: SeriesStore?
    private var settings = StorageSettings()
    private var model: Samples = [:]
    private(set) var failures: [String] = []
    private var trace: [String] = []
    /// The newest moment that anything was stored at.
    private var newest = Int64.min / 2
    private var hasTrouble = false
    /// Moments of samples that were deleted, or were to be.
    private var deleted: [Labels: Set<Int64>] = [:]
    /// The series of which something is in memory alone.
    private var unlogged: Set<Int> = []
    /// What was refused for the sake of samples that a loss of power may take: the log has it too.
    private var refused: [(number: Int, time: Int64, value: Double)] = []
    /// Late samples that were taken before the log was read: which of them are late is known, and logged, thereafter.
    private var besideLate: [(number: Int, time: Int64)] = []
    private static let hour: Int64 = 3_600_000

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        let start: Int64 = [1_700_006_400_000, 1_700_006_400_000, 0, -400 * StorageWorld.hour][Int(seed % 4)]
        clock = HandClock(start + Int64(seed / 4 % 7) * 1_000_000)
        settings.lateWindow = [0, StorageWorld.hour, 5 * StorageWorld.hour][Int(seed / 4 % 3)]
        settings.retention = [960, 30, 12][Int(seed / 12 % 3)] * StorageWorld.hour
        if seed / 36 % 2 == 1 {
            settings.retentionRules = [
                RetentionRule(matchers: [Matcher("job", equals: "odd")], keep: 8 * StorageWorld.hour),
                RetentionRule(matchers: [Matcher("number", equals: "2")], keep: 100 * StorageWorld.hour),
            ]
        }
    }

    func fail(_ what: String) {
        failures.append("\(what); \(trace.suffix(25).joined(separator: ", "))")
    }

    private func pick(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }
    private func pick(_ bound: Int64) -> Int64 { Int64(random.next() % UInt64(bound)) }
    private var now: Int64 { clock.now().milliseconds }

    private func labels(_ number: Int) -> Labels {
        Labels(["__name__": "m\(number % 2)", "number": "\(number)", "job": number % 2 == 0 ? "even" : "odd"])
    }

    // MARK: A life

    func live(steps: Int) throws {
        open()
        for _ in 0..<steps where failures.isEmpty {
            try step()
            if files.hasCrashed { restart(losesPower: pick(4) == 0) }
            if !hasTrouble { try check() }
        }
        settle()
        restart(losesPower: false)
        // A crash that was to come does not.
        files.crash(atStep: 0)
        store?.maintain()
        try check()
    }

    private func step() throws {
        switch pick(100) {
        case 0..<34: scrape()
        case 34..<46: odd()
        case 46..<66: maintain()
        case 66..<73: delete()
        case 73..<77:
            trace.append("clean")
            do { _ = try store?.cleanTombstones() } catch { trace.append("(\(error))") }
            forgetOld()
        case 77..<80:
            trace.append("sync")
            sync()
        case 80..<83: try snapshot()
        case 83..<86: bring()
        case 86..<91: restart(losesPower: false)
        case 91..<96:
            trace.append("crash ahead")
            files.crash(atStep: files.steps + 1 + pick(40))
        default:
            if hasTrouble { settle() } else { trouble() }
        }
    }

    private func sync() {
        let failed = store?.figures.logFailures.value
        store?.synchronizeLog()
        guard !files.hasCrashed, failed == store?.figures.logFailures.value else { return }
        change { $0.isSynced = true }
    }

    private func change(_ body: (inout Expected) -> Void) {
        for (labels, samples) in model {
            for time in samples.keys { if var one = model[labels]?[time] { body(&one); model[labels]?[time] = one } }
        }
    }

    /// Of one kind of operation on the disk some fail.
    private func trouble() {
        let kinds = ["write", "sync", "rename", "remove", "open", "read", "mkdir", "truncate", "stat", "list", "link"]
        let kind = kinds[pick(kinds.count)]
        let share = UInt64(1 + pick(4))
        let generator = SharedRandom(seed: random.next())
        trace.append("trouble(\(kind), 1/\(share))")
        hasTrouble = true
        files.setFailure { operation, _ in operation == kind && generator.next() % share == 0 ? 28 : nil }
    }

    /// The disk is well again, and a minute's upkeep has seen it.
    private func settle() {
        guard hasTrouble else { return }
        trace.append("well")
        hasTrouble = false
        files.setFailure(nil)
        clock.go(2000)
        store?.maintain()
        forgetOld()
    }

    // MARK: Samples

    /// Appends samples one by one, and notes what was acknowledged.
    private func append(_ number: Int, _ time: Int64, _ value: Double) {
        guard let store, let reference = store.reference(of: labels(number)) else { return }
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
        if pick(2) == 0 { batch.append(reference, value) } else { batch.append(reference, value, at: time) }
        let outcome = store.append(batch)
        guard outcome.stored == 1 else {
            // What was too old may be found after a restart: the log has it, and what it was too old for was not done.
            refused.append((number, time, value))
            if files.hasCrashed || unlogged.contains(number) || outcome.outOfBounds == 1 && time <= now {
                note(number, time, value, isCertain: false, isLogged: false)
            }
            return
        }
        if !outcome.isLogged { unlogged.insert(number) }
        // A sample that equals the deleted last one of its series is taken and changes nothing, as in Prometheus.
        let isCertain = !(deleted[labels(number)]?.contains(time) ?? false)
        note(number, time, value, isCertain: isCertain, isLogged: outcome.isLogged && !files.hasCrashed)
        newest = max(newest, time)
    }

    private func note(_ number: Int, _ time: Int64, _ value: Double, isCertain: Bool, isLogged: Bool) {
        let bits = value.bitPattern
        guard var here = model[labels(number)]?[time] else {
            model[labels(number), default: [:]][time] = Expected(
                values: [bits], isCertain: isCertain, isUnlogged: !isLogged)
            return
        }
        here.values.insert(bits)
        if isCertain, !here.isCertain { (here.isCertain, here.isUnlogged, here.isSynced) = (true, !isLogged, false) }
        if isLogged { here.isUnlogged = false }
        model[labels(number)]?[time] = here
    }

    private func value() -> Double {
        switch pick(8) {
        case 0: Double(bitPattern: 0x7FF0_0000_0000_0002)
        case 1: Double(bitPattern: 0x7FF8_0000_0000_0000 | random.next() % 1000)
        case 2: -.infinity
        default: Double(pick(1000)) / 4
        }
    }

    private func scrape() {
        let present = (0..<6).filter { _ in pick(4) != 0 }
        let rounds = 1 + pick(6)
        clock.go(Int64(pick(5) == 0 ? pick(7_200_000) : 0))
        trace.append("scrape(\(present.count)x\(rounds))@\(now)")
        for _ in 0..<rounds {
            clock.go(1 + pick(Int64(1_500_000)))
            if pick(6) == 0 { clock.go(7_200_000 - (now % 7_200_000 + 7_200_000) % 7_200_000 - pick(Int64(2))) }
            for number in present where !files.hasCrashed { append(number, now, value()) }
        }
    }

    /// A sample that is late, doubled, ahead, or from long ago.
    private func odd() {
        for _ in 0..<1 + pick(6) where !files.hasCrashed {
            let number = pick(7)
            let reach = settings.lateWindow + 1_000_000
            var time = now - pick(reach + reach / 4)
            switch pick(8) {
            case 0: time = now + pick(Int64(900_000))
            case 1: time = model[labels(number)]?.keys.sorted().last ?? time
            case 2: time = model[labels(number)]?.keys.sorted().randomElement(using: &random) ?? time
            case 3: time -= 100 * StorageWorld.hour
            case 4: time = time.flooringDivision(by: 7_200_000) * 7_200_000 - Int64(pick(2))
            default: break
            }
            trace.append("odd(\(number))@\(time)")
            append(number, time, value())
        }
    }

    private func bring() {
        guard let store else { return }
        _ = store
        trace.append("import@\(now)")
        var given: [(Int, Int64, Double)] = []
        for _ in 0..<1 + pick(20) {
            given.append((pick(8), now - pick(Int64(9 * StorageWorld.hour)) + StorageWorld.hour, value()))
        }
        var isDone = false
        do {
            let blocks = try BlockImport(into: "d", files: files, clock: clock, memory: pick(2) == 0 ? 400 : 64 << 20)
            for (number, time, value) in given {
                try blocks.add(labels(number), Timestamp(milliseconds: time), value)
            }
            _ = try blocks.finish()
            isDone = true
        } catch { trace.append("(\(error))") }
        store.maintain()
        for (number, time, value) in given {
            note(number, time, value, isCertain: isDone && !files.hasCrashed, isLogged: isDone)
            if isDone { newest = max(newest, time) }
        }
        if !files.hasCrashed { forgetOld() }
    }

    // MARK: Upkeep

    private func maintain() {
        trace.append("maintain")
        clock.go(60_000)
        store?.maintain()
        forgetOld()
    }

    /// What is older than it is kept may be gone.
    private func forgetOld() {
        let latest = now + settings.maximumAhead
        for (labels, samples) in model {
            let keep = min(
                settings.retention,
                settings.retentionRules.first { rule in rule.matchers.allSatisfy { $0.matches(labels) } }?.keep
                    ?? settings.retention)
            for time in samples.keys where time < latest - keep { model[labels]?[time]?.isCertain = false }
        }
    }

    private func delete() {
        let matchers = [
            [Matcher("job", equals: "odd")], [Matcher("number", equals: "\(pick(6))")],
            [Matcher("__name__", equals: "m0")],
        ][pick(3)]
        var (from, through) = (now - pick(Int64(8 * StorageWorld.hour)), now + 1_000_000)
        switch pick(4) {
        case 0: from = .min / 4
        case 1: through = .max / 4
        default: through = from + pick(Int64(4 * StorageWorld.hour))
        }
        trace.append("delete(\(matchers), \(from)...\(through))")
        var isDone = false
        do {
            _ = try store?.delete(
                matchers, from: Timestamp(milliseconds: from), through: Timestamp(milliseconds: through))
            isDone = true
        } catch { trace.append("(\(error))") }
        for (labels, samples) in model where matchers.allSatisfy({ $0.matches(labels) }) {
            for time in samples.keys where (from...max(from, through)).contains(time) {
                deleted[labels, default: []].insert(time)
                // What was refused is in the log, and was not there to be deleted.
                let wasRefused = refused.contains { $0.time == time && self.labels($0.number) == labels }
                if isDone, !wasRefused { model[labels]?[time] = nil } else { model[labels]?[time]?.isCertain = false }
            }
        }
    }

    private func snapshot() throws {
        trace.append("snapshot")
        guard let name = try? store?.snapshot(), !files.hasCrashed, !hasTrouble else { return }
        // The crash that was to come may come here.
        let opened = try? SeriesStore(directory: "d/snapshots/\(name)", settings: settings, files: files, clock: clock)
        guard let copy = opened else { return }
        copy.replayLog()
        if files.hasCrashed { return }
        try compare(copy, "the snapshot")
        try? files.removeTree("d/snapshots/\(name)")
    }

    // MARK: Restarts

    private func restart(losesPower: Bool) {
        trace.append(losesPower ? "power loss" : "restart")
        hasTrouble = false
        unlogged = []
        store = nil
        files = losesPower ? files.afterPowerLoss(random: &random) : files.afterKill()
        change { one in
            if one.isUnlogged || losesPower && !one.isSynced { one.isCertain = false }
        }
        if losesPower {
            for (number, time, value) in refused { note(number, time, value, isCertain: false, isLogged: false) }
        }
        if pick(6) == 0 { clock.go(-pick(Int64(3_000_000))) }
        if pick(3) == 0 { clock.go(pick(Int64(2 * StorageWorld.hour))) }
        if pick(4) == 0 { files.crash(atStep: files.steps + 1 + pick(30)) }
        open()
    }

    private func open() {
        for _ in 0..<8 {
            do {
                let fresh = try SeriesStore(directory: "d", settings: settings, files: files, clock: clock)
                store = fresh
                besideLate = []
                if !files.hasCrashed, pick(3) == 0 { scrapeBeside() }
                fresh.replayLog()
                guard files.hasCrashed else {
                    if let failure = fresh.replay.failure { fail("replay: \(failure)") }
                    if !fresh.setAside.isEmpty { fail("set aside: \(fresh.setAside)") }
                    forgetOld()
                    return
                }
            } catch {
                guard files.hasCrashed else { return fail("does not open: \(error)") }
            }
            trace.append("crash in opening")
            for (number, time) in besideLate { model[labels(number)]?[time]?.isCertain = false }
            store = nil
            files = files.afterKill()
            change { if $0.isUnlogged { $0.isCertain = false } }
        }
        fail("does not open")
    }

    /// Samples that are appended while the log is not read yet: later than all before them.
    private func scrapeBeside() {
        clock.go(max(0, newest - now))
        for _ in 0..<1 + pick(3) {
            clock.go(1 + pick(Int64(600_000)))
            trace.append("beside@\(now)")
            for number in 0..<6 where pick(3) != 0 && !files.hasCrashed {
                // Late ones are sorted in once it is read, where they are taken at all.
                let isLate = settings.lateWindow > 0 && pick(4) == 0
                let time = isLate ? now - pick(settings.lateWindow / 2) : now
                append(number, time, value())
                if isLate { besideLate.append((number, time)) }
            }
        }
    }

    // MARK: Reading

    private func check() throws {
        guard let store, failures.isEmpty else { return }
        let found = try compare(store, "the store")
        try compareNewest(store, found)
        try compareLabels(store, found)
    }

    private func read(_ store: SeriesStore, _ matchers: [Matcher], _ reading: Reading, _ after: Int64, _ through: Int64)
        throws -> [Labels: [(time: Int64, bits: UInt64)]]
    {
        let columns = try store.select(
            matchers, after: Timestamp(milliseconds: after), through: Timestamp(milliseconds: through),
            reading: reading, limits: ReadLimits())
        var found: [Labels: [(time: Int64, bits: UInt64)]] = [:]
        for series in columns {
            if found[series.labels] != nil { fail("\(series.labels) is answered twice") }
            if !zip(series.times, series.times.dropFirst()).allSatisfy({ $0 < $1 }) { fail("times out of order") }
            found[series.labels] = zip(series.times, series.values).map { ($0, $1.bitPattern) }
        }
        return found
    }

    @discardableResult
    private func compare(_ store: SeriesStore, _ what: String) throws -> [Labels: [(time: Int64, bits: UInt64)]] {
        let found = try read(store, [Matcher("__name__", .matches, ".+")], .all, .min / 4, .max / 4)
        for (labels, samples) in found {
            for (time, bits) in samples {
                guard let expected = model[labels]?[time] else {
                    fail("\(what): \(labels) has a sample too many at \(time)")
                    return found
                }
                if !expected.values.contains(bits) { fail("\(what): \(labels) has another value at \(time)") }
            }
        }
        for (labels, samples) in model {
            let there = Set((found[labels] ?? []).map(\.time))
            for (time, expected) in samples where expected.isCertain && !there.contains(time) {
                fail("\(what): \(labels) has no sample at \(time), now \(now)")
                return found
            }
        }
        return found
    }

    private func compareNewest(_ store: SeriesStore, _ all: [Labels: [(time: Int64, bits: UInt64)]]) throws {
        let (after, through) = (now - pick(Int64(6 * StorageWorld.hour)), now + pick(Int64(2_000_000)) - 1_000_000)
        for reading in [Reading.newest, .all] {
            let found = try read(store, [Matcher("number", .notEqual, "77")], reading, after, max(after, through))
            for (labels, samples) in all {
                let wanted = samples.filter { $0.time > after && $0.time <= max(after, through) }
                let here = found[labels] ?? []
                let isRight =
                    reading == .all
                    ? here.map(\.time) == wanted.map(\.time) && here.map(\.bits) == wanted.map(\.bits)
                    : here.first?.time == wanted.last?.time && here.first?.bits == wanted.last?.bits
                if !isRight {
                    fail("\(reading) of \(labels) in (\(after), \(through)]: \(here) for \(wanted.suffix(3))")
                }
            }
        }
    }

    private func compareLabels(_ store: SeriesStore, _ all: [Labels: [(time: Int64, bits: UInt64)]]) throws {
        let matchers = [
            [try Matcher("number", .matches, "|[0-3]")], [try Matcher("absent", .equal, "")],
            [try Matcher("job", .notEqual, "odd"), try Matcher("number", .matchesNot, "2|4")],
            [try Matcher("job", .matches, "e.*"), try Matcher("absent", .matches, ".*")],
        ][pick(4)]
        let (from, through) = (now - pick(Int64(6 * StorageWorld.hour)), now)
        let listed = Set(
            try store.series([matchers], from: Timestamp(milliseconds: from), through: Timestamp(milliseconds: through))
        )
        for (labels, samples) in all {
            let isWanted = matchers.allSatisfy { $0.matches(labels) }
            if !isWanted, listed.contains(labels) { fail("\(labels) is listed for \(matchers)") }
            let isThere = samples.contains { (from...through).contains($0.time) }
            if isWanted, isThere, !listed.contains(labels) { fail("\(labels) is not listed for \(matchers)") }
        }
        let values = try store.labelValues(
            "number", [matchers], from: Timestamp(milliseconds: from), through: Timestamp(milliseconds: through))
        if Set(values) != Set(listed.map { $0["number"] }) { fail("values \(values) of \(listed)") }
    }
}
