import Basics
import Model
import Synchronization
import TestSupport
import Testing

@testable import Storage

@Suite("Blocks") struct BlockTests {
    /// A store with its clock, filled with a sample of each series every half minute.
    struct Filled {
        let clock: SimulatedExecutor
        let store: SeriesStore
        var expected: [Labels: [Int64: Double]] = [:]
        let start: Int64
    }

    static let start: Int64 = 1_700_006_400_000  // A multiple of two hours.

    static func clock(at moment: Int64) -> SimulatedExecutor {
        SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: moment))
    }

    static func open(
        _ files: any FileSystem, _ clock: SimulatedExecutor, directory: String = "d",
        _ change: (inout StorageSettings) -> Void = { _ in }
    ) throws -> SeriesStore {
        var settings = StorageSettings()
        settings.maximumAhead = .max / 4
        change(&settings)
        let store = try SeriesStore(directory: directory, settings: settings, files: files, clock: clock)
        store.replayLog()
        return store
    }

    static func labels(_ number: Int) -> Labels {
        Labels(["__name__": "m\(number % 3)", "number": "\(number)", "job": number % 2 == 0 ? "even" : "odd"])
    }

    /// Appends `hours` of samples; upkeep runs every ten minutes of them.
    static func fill(
        _ store: SeriesStore, series: Int, from: Int64, hours: Double, step: Int64 = 30_000, maintains: Bool = true,
        into expected: inout [Labels: [Int64: Double]]
    ) {
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: from))
        let end = from + Int64(hours * 3_600_000)
        for time in stride(from: from, to: end, by: Int(step)) {
            batch.reset(to: Timestamp(milliseconds: time))
            for number in 0..<series {
                guard let reference = store.reference(of: labels(number)) else { continue }
                let value = Double(time / 1000 % 977) * Double(number + 1)
                batch.append(reference, value)
                expected[labels(number), default: [:]][time] = value
            }
            _ = store.append(batch)
            if maintains, time % 600_000 == 0 { store.maintain() }
        }
    }

    static func all(_ store: SeriesStore) throws -> [Labels: [Int64: Double]] {
        let columns = try store.select(
            [try Matcher("__name__", .matches, ".+")], after: Timestamp(milliseconds: 0),
            through: Timestamp(milliseconds: .max / 2), reading: .all, limits: ReadLimits())
        var found: [Labels: [Int64: Double]] = [:]
        for series in columns {
            #expect(zip(series.times, series.times.dropFirst()).allSatisfy { $0 < $1 })
            #expect(found[series.labels] == nil, "a series is answered twice")
            found[series.labels] = Dictionary(uniqueKeysWithValues: zip(series.times, series.values))
        }
        return found
    }

    @Test("series that differ only by how a character is written stay two: in the head, the log, blocks, a merge")
    func normalForms() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        let (one, two) = ("caf\u{E9}", "cafe\u{301}")
        var store = try BlockTests.open(files, clock)
        var expected: [Labels: [Int64: Double]] = [:]
        for time in stride(from: BlockTests.start, to: BlockTests.start + 12 * 3_600_000, by: 60_000) {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
            for (value, text) in [(1.0, one), (2, two)] {
                // The value differs in one pair, the name in the other.
                for labels: Labels in [["__name__": "m", "place": text], ["__name__": "n", text: "x"]] {
                    batch.append(try #require(store.reference(of: labels)), value)
                    expected[labels, default: [:]][time] = value
                }
            }
            #expect(store.append(batch).stored == 4)
            if time % 600_000 == 0 { store.maintain() }
        }
        for isReopened in [false, true] {
            if isReopened {
                store = try BlockTests.open(files.afterKill(), clock)
            }
            #expect(!store.shelf.blocks.isEmpty)
            #expect(try BlockTests.all(store) == expected)
            for (value, text) in [(1.0, one), (2, two)] {
                for matchers in [
                    [Matcher("place", equals: text)], [try Matcher("place", .matches, "x|\(text)")],
                    [try Matcher(text, .matches, ".+")],
                ] {
                    let found = try store.select(
                        matchers, after: Timestamp(milliseconds: 0), through: Timestamp(milliseconds: .max / 2),
                        reading: .all, limits: ReadLimits())
                    #expect(found.count == 1 && Set(found[0].values) == [value] && found[0].values.count == 720)
                }
            }
            let (from, to) = (Timestamp(milliseconds: 0), Timestamp(milliseconds: .max / 2))
            let name = [try Matcher("__name__", .matches, ".+")]
            for matchers in [[], [name]] {
                #expect(
                    try store.labelValues("place", matchers, from: from, through: to).map { Array($0.utf8) } == [
                        Array(two.utf8), Array(one.utf8),
                    ])
                #expect(try store.labelNames(matchers, from: from, through: to).count == 4)
            }
        }
    }

    @Test("the head is cut into blocks of two hours, and nothing is missing, before and after a restart")
    func cutting() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        do {
            let store = try BlockTests.open(files, clock)
            BlockTests.fill(store, series: 7, from: BlockTests.start, hours: 9, into: &expected)
            store.maintain()
            #expect(store.shelf.blocks.count >= 2)
            #expect(try BlockTests.all(store) == expected)
            #expect(store.lastDefect.withLock { $0 } == nil)
            let head = store.bounds
            #expect(head.oldest.map { $0.milliseconds >= BlockTests.start + 6 * 3_600_000 } ?? false)
        }
        let again = try BlockTests.open(files.afterKill(), BlockTests.clock(at: BlockTests.start))
        #expect(try BlockTests.all(again) == expected)
        #expect(again.replay.report.storedChunks > 0)
        #expect(again.replay.report.repairs == [])
    }

    @Test("blocks are compacted by level; the oldest go by age")
    func compacting() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, clock) { $0.retention = 30 * 86_400_000 }
        let start = BlockTests.start / 21_600_000 * 21_600_000
        BlockTests.fill(store, series: 3, from: start, hours: 30, step: 120_000, into: &expected)
        store.maintain()
        #expect(store.shelf.blocks.map(\.meta.level).max() == 3)
        #expect(try BlockTests.all(store) == expected)
        let metas = store.shelf.blocks.map(\.meta)
        #expect(zip(metas, metas.dropFirst()).allSatisfy { $0.maxTime <= $1.minTime })
        #expect(store.lastDefect.withLock { $0 } == nil)
    }

    // MARK: Late samples

    @Test("late samples within the window are taken, outlive a kill, and go into blocks")
    func late() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, clock) { $0.lateWindow = 6 * 3_600_000 }
        BlockTests.fill(store, series: 3, from: BlockTests.start, hours: 4, into: &expected)
        var random = SeededRandom(seed: 7)
        func addLate(_ store: SeriesStore, hoursBack: Double) {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
            for number in 0..<3 {
                guard let reference = store.reference(of: BlockTests.labels(number)) else { continue }
                for _ in 0..<50 {
                    let newest = BlockTests.start + 4 * 3_600_000
                    let time = newest - Int64(random.next() % UInt64(hoursBack * 3_600_000)) / 1000 * 1000 - 1
                    batch.append(reference, Double(time % 1000), at: time)
                    expected[BlockTests.labels(number), default: [:]][time] = Double(time % 1000)
                }
            }
            let outcome = store.append(batch)
            #expect(outcome.stored == 150 && outcome.isLogged, "\(outcome)")
        }
        addLate(store, hoursBack: 3.9)
        #expect(try BlockTests.all(store) == expected)
        do {
            let killed = try BlockTests.open(files.afterKill(), clock) { $0.lateWindow = 0 }
            #expect(try BlockTests.all(killed) == expected)
        }
        BlockTests.fill(store, series: 3, from: BlockTests.start + 4 * 3_600_000 + 30_000, hours: 6, into: &expected)
        store.maintain()
        #expect(store.head.withLock { $0.late.isEmpty })
        #expect(try BlockTests.all(store) == expected)
        #expect(store.lastDefect.withLock { $0 } == nil)
        let again = try BlockTests.open(files.afterKill(), clock)
        #expect(try BlockTests.all(again) == expected)
        // Older than the window.
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: BlockTests.start))
        batch.append(try #require(store.reference(of: BlockTests.labels(0))), 1, at: BlockTests.start)
        #expect(store.append(batch).stored == 0)
    }

    @Test("the newest sample is a late one where what came in order is in blocks, or never was") func newestIsLate()
        throws
    {
        let store = try BlockTests.open(MemoryFiles(), BlockTests.clock(at: BlockTests.start)) {
            $0.lateWindow = 6 * 3_600_000
        }
        var expected: [Labels: [Int64: Double]] = [:]
        BlockTests.fill(store, series: 1, from: BlockTests.start, hours: 3.2, into: &expected)
        let time = BlockTests.start + 3_600_000
        #expect(store.head.withLock { $0.minimumTime } > time)
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
        batch.append(try #require(store.reference(of: BlockTests.labels(7))), 7)
        #expect(store.append(batch).stored == 1)
        let found = try store.select(
            [Matcher("number", equals: "7")], after: Timestamp(milliseconds: time - 1),
            through: Timestamp(milliseconds: time + 5), reading: .newest, limits: ReadLimits())
        #expect(found.map(\.times) == [[time]])
    }

    @Test("a cut that fails is tried again the next time, and loses nothing") func cutAgain() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, clock)
        BlockTests.fill(store, series: 2, from: BlockTests.start, hours: 3.2, maintains: false, into: &expected)
        files.setFailure { operation, path in
            operation == "rename" && path.hasSuffix(BlockFormat.unfinished) ? 28 : nil
        }
        store.maintain()
        #expect(store.shelf.blocks.isEmpty && store.takeProblem() != nil)
        #expect(try BlockTests.all(store) == expected)
        files.setFailure(nil)
        store.maintain()
        #expect(store.shelf.blocks.count == 1 && store.takeProblem() == nil)
        #expect(try BlockTests.all(store) == expected)
    }

    @Test("late samples that come while others are being written to a block stay") func lateMeanwhile() throws {
        let store = try BlockTests.open(MemoryFiles(), BlockTests.clock(at: BlockTests.start))
        let reference = try #require(store.reference(of: BlockTests.labels(0)))
        let slot = Head.slot(reference)
        let (before, after) = store.head.withLock { head in
            _ = head.enterLate(slot, 10, 1)
            _ = head.enterLate(slot, 30, 3)
            head.sealLate(before: 30)
            _ = head.enterLate(slot, 20, 2)
            let before = head.lateSamples(of: UInt32(slot))?.times
            head.dropSealedLate()
            return (before, head.lateSamples(of: UInt32(slot))?.times)
        }
        #expect(before == [10, 20, 30])
        #expect(after == [20, 30])
    }

    @Test("deleting reaches blocks, the head and late samples, and holds after cleaning and restarts")
    func deleting() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, clock) { $0.lateWindow = 6 * 3_600_000 }
        BlockTests.fill(store, series: 6, from: BlockTests.start, hours: 7, into: &expected)
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        let late = BlockTests.start + 5 * 3_600_000 + 77
        batch.append(try #require(store.reference(of: BlockTests.labels(1))), 5, at: late)
        #expect(store.append(batch).stored == 1)
        let (from, through) = (BlockTests.start + 1_800_000, BlockTests.start + 6 * 3_600_000 + 1_800_000)
        let count = try store.delete(
            [try Matcher("job", .equal, "odd")], from: Timestamp(milliseconds: from),
            through: Timestamp(milliseconds: through))
        #expect(count == 3)
        for number in [1, 3, 5] {
            expected[BlockTests.labels(number)] = expected[BlockTests.labels(number)]?.filter {
                !(from...through).contains($0.key)
            }
        }
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try BlockTests.open(files.afterKill(), clock)) == expected)
        #expect(try store.cleanTombstones() > 0)
        #expect(store.shelf.blocks.allSatisfy { $0.tombstones.isEmpty })
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try BlockTests.open(files.afterKill(), clock)) == expected)
    }

    // MARK: Retention

    @Test("rules keep some series shorter and others longer than the rest; a bound of bytes lets the oldest go")
    func retention() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let start = BlockTests.start / 21_600_000 * 21_600_000
        let hour: Int64 = 3_600_000
        let rules = [
            RetentionRule(matchers: [try Matcher("__name__", .equal, "m0")], keep: 6 * hour),
            RetentionRule(matchers: [try Matcher("__name__", .equal, "m1")], keep: 60 * hour),
        ]
        let store = try BlockTests.open(files, clock) { settings in
            settings.retention = 24 * hour
            settings.retentionRules = rules
        }
        BlockTests.fill(store, series: 3, from: start, hours: 48, step: 300_000, into: &expected)
        store.maintain()
        store.maintain()
        let found = try BlockTests.all(store)
        let newest = start + 48 * hour
        func oldest(_ number: Int) -> Int64 { found[BlockTests.labels(number)]?.keys.min() ?? .max }
        // Blocks are of two hours, or larger: as long late may what is kept no longer go, and never sooner.
        #expect((newest - 14 * hour...newest - 5 * hour).contains(oldest(0)))
        #expect(oldest(1) == start)
        #expect((newest - 32 * hour...newest - 23 * hour).contains(oldest(2)))
        for number in 0..<3 {
            let wanted = expected[BlockTests.labels(number)]?.filter { $0.key >= oldest(number) }
            #expect(found[BlockTests.labels(number)] == wanted)
        }
        #expect(store.lastDefect.withLock { $0 } == nil)

        let small = try BlockTests.open(files.afterKill(), clock) { $0.retentionBytes = 30_000 }
        small.maintain()
        #expect(small.shelf.blocks.count < store.shelf.blocks.count)
    }

    // MARK: Disks that fail

    /// A life of the store: cuts, late samples, a deletion, compaction. What was acknowledged is in `expected`; the
    /// last two batches, whose syncs may not have returned, are answered.
    @discardableResult
    private func live(
        _ files: MemoryFiles, _ expected: inout [Labels: [Int64: Double]], unsure: inout [Labels: Set<Int64>]
    ) -> [(Labels, Int64)] {
        var recent: [[(Labels, Int64)]] = [[], []]
        let clock = BlockTests.clock(at: BlockTests.start)
        let start = BlockTests.start / 21_600_000 * 21_600_000
        guard let store = try? BlockTests.open(files, clock, { $0.lateWindow = 4 * 3_600_000 }) else { return [] }
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        var number: Int64 = 0
        for time in stride(from: start, through: start + 12 * 3_600_000, by: 900_000) {
            batch.reset(to: Timestamp(milliseconds: time))
            number += 1
            var given: [(Labels, Int64, Double)] = []
            for series in 0..<3 {
                guard let reference = store.reference(of: BlockTests.labels(series)) else { continue }
                batch.append(reference, Double(time % 7919), at: time)
                given.append((BlockTests.labels(series), time, Double(time % 7919)))
                if number % 5 == 0 {
                    batch.append(reference, 3, at: time - 3_000_001)
                    given.append((BlockTests.labels(series), time - 3_000_001, 3))
                }
            }
            let isAcknowledged = store.append(batch).isLogged
            if isAcknowledged { recent = [recent[1], given.map { ($0.0, $0.1) }] }
            for (labels, time, value) in given {
                if isAcknowledged {
                    expected[labels, default: [:]][time] = value
                } else {
                    unsure[labels, default: []].insert(time)
                }
            }
            if number == 20 {
                let (from, through) = (start + 3_600_000, start + 2 * 3_600_000)
                let isDeleted =
                    (try? store.delete(
                        [Matcher("job", .equal, "odd")], from: Timestamp(milliseconds: from),
                        through: Timestamp(milliseconds: through))) != nil
                for key in expected[BlockTests.labels(1)]?.keys.filter({ (from...through).contains($0) }) ?? [] {
                    if isDeleted { expected[BlockTests.labels(1)]?[key] = nil }
                    // What was to be deleted may be gone, and may be there.
                    if !isDeleted { unsure[BlockTests.labels(1), default: []].insert(key) }
                }
            }
            if time % 1_800_000 == 0 { store.maintain() }
            if number == 40 { _ = try? store.cleanTombstones() }
            store.synchronizeLog()
        }
        return recent[0] + recent[1]
    }

    private func check(
        _ store: SeriesStore, _ expected: [Labels: [Int64: Double]], _ unsure: [Labels: Set<Int64>], _ place: String
    ) throws {
        let found = try BlockTests.all(store)
        for (labels, samples) in expected {
            let doubtful = unsure[labels] ?? []
            let here = (found[labels] ?? [:]).filter { !doubtful.contains($0.key) }
            let wanted = samples.filter { !doubtful.contains($0.key) }
            guard here != wanted else { continue }
            let missing = wanted.keys.filter { here[$0] == nil }.sorted().prefix(5)
            let surplus = here.keys.filter { wanted[$0] == nil }.sorted().prefix(5)
            Issue.record("\(place): \(labels): missing \(missing), surplus \(surplus)")
        }
    }

    @Test("a kill at any write, sync, rename or removal loses nothing acknowledged, and doubles nothing")
    func kill() throws {
        let whole = MemoryFiles()
        var (expected, unsure): ([Labels: [Int64: Double]], [Labels: Set<Int64>]) = ([:], [:])
        live(whole, &expected, unsure: &unsure)
        let steps = whole.steps
        #expect(steps > 300)
        try check(try BlockTests.open(whole.afterKill(), BlockTests.clock(at: 0)), expected, unsure, "no kill")
        for step in 1...steps {
            let files = MemoryFiles()
            files.crash(atStep: step)
            (expected, unsure) = ([:], [:])
            live(files, &expected, unsure: &unsure)
            let disk = files.afterKill()
            let store = try BlockTests.open(disk, BlockTests.clock(at: BlockTests.start)) {
                $0.lateWindow = 4 * 3_600_000
            }
            try check(store, expected, unsure, "killed at step \(step) of \(steps)")
            #expect(store.setAside == [], "killed at step \(step)")
            store.maintain()
            try check(store, expected, unsure, "upkeep after a kill at step \(step) of \(steps)")
        }
    }

    @Test("after a loss of power all that was synced is there; what is half written is told and passed over")
    func powerLoss() throws {
        let whole = MemoryFiles()
        var (expected, unsure): ([Labels: [Int64: Double]], [Labels: Set<Int64>]) = ([:], [:])
        live(whole, &expected, unsure: &unsure)
        let steps = whole.steps
        for step in stride(from: 1, through: steps, by: 3) {
            let files = MemoryFiles()
            files.crash(atStep: step)
            (expected, unsure) = ([:], [:])
            let recent = live(files, &expected, unsure: &unsure)
            var random = SeededRandom(seed: UInt64(step))
            let disk = files.afterPowerLoss(random: &random)
            let store = try BlockTests.open(disk, BlockTests.clock(at: BlockTests.start)) {
                $0.lateWindow = 4 * 3_600_000
            }
            // The batch that was being written, and the one before whose sync did not return.
            for (labels, time) in recent { unsure[labels, default: []].insert(time) }
            try check(store, expected, unsure, "power lost at step \(step) of \(steps)")
            #expect(store.setAside == [], "power lost at step \(step)")
        }
    }

    @Test("a disk that is full for a while costs nothing of what was acknowledged")
    func fullDisk() throws {
        let whole = MemoryFiles()
        var (expected, unsure): ([Labels: [Int64: Double]], [Labels: Set<Int64>]) = ([:], [:])
        live(whole, &expected, unsure: &unsure)
        let written = whole.writtenBytes
        for part in 1...40 {
            let files = MemoryFiles()
            files.setFreeBytes(written * part / 41)
            (expected, unsure) = ([:], [:])
            live(files, &expected, unsure: &unsure)
            files.setFreeBytes(nil)
            let store = try BlockTests.open(files.afterKill(), BlockTests.clock(at: BlockTests.start)) {
                $0.lateWindow = 4 * 3_600_000
            }
            try check(store, expected, unsure, "full after \(part)/41 of the bytes")
            store.maintain()
            try check(store, expected, unsure, "upkeep after a disk full at \(part)/41 of the bytes")
        }
    }
}
