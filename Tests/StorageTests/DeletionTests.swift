import Synchronization
import Basics
import Model
import TestSupport
import Testing

@testable import Storage

@Suite struct DeletionTests {
    private let start: Int64 = 1_790_000_000_000

    private func open(_ files: MemoryFiles, after milliseconds: Int64 = 0) throws -> SeriesStore {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start + milliseconds))
        let store = try SeriesStore(directory: "d", settings: StorageSettings(), files: files, clock: clock)
        store.replayLog()
        return store
    }

    /// One sample a second of the series `a` and `b`.
    private func fill(_ store: SeriesStore, rounds: Range<Int>) throws {
        for round in rounds {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + Int64(round) * 1000))
            for name in ["a", "b"] {
                batch.append(try #require(store.reference(of: ["__name__": name])), Double(round))
            }
            #expect(store.append(batch).stored == 2)
        }
    }

    /// The rounds that are left of a series.
    private func rounds(_ store: SeriesStore, _ name: String, _ reading: Reading = .all, through: Int = 10_000) throws
        -> [Int]
    {
        try store.select(
            [Matcher("__name__", equals: name)], after: .distantPast,
            through: Timestamp(milliseconds: start + Int64(through) * 1000), reading: reading, limits: ReadLimits()
        ).flatMap(\.values).map { Int($0) }
    }

    private func delete(_ store: SeriesStore, _ name: String, _ range: ClosedRange<Int>) throws {
        try store.delete(
            [Matcher("__name__", equals: name)], from: Timestamp(milliseconds: start + Int64(range.lowerBound) * 1000),
            through: Timestamp(milliseconds: start + Int64(range.upperBound) * 1000))
    }

    @Test("ranges join where they touch") func ranges() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<200 {
            var (stones, model) = (Tombstones(), Set<Int64>())
            for _ in 0..<6 {
                let first = Int64(random.next() % 40)
                let last = first + Int64(random.next() % 8)
                stones.add(first...last, to: 1)
                model.formUnion(first...last)
            }
            let found = stones[1]
            #expect((0..<60).allSatisfy { found.holds($0) == model.contains($0) })
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.upperBound + 1 < $1.lowerBound })
        }
        var all = Tombstones()
        all.add(.min ... .max, to: 0)
        all.add(5...6, to: 0)
        #expect(all[0] == [.min ... .max] && all[1].isEmpty)
        all.forget(before: .max, of: 0)
        #expect(!all.isEmpty)
    }

    @Test("what is deleted is not read, and what comes later is", arguments: [false, true]) func deletes(cleans: Bool)
        throws
    {
        let files = MemoryFiles()
        let store = try open(files)
        try fill(store, rounds: 0..<500)
        try delete(store, "a", 100...399)
        try delete(store, "a", 450...100_000)
        // Chunks of 120 samples: two of the closed ones lie in the first range.
        if cleans { #expect(try store.cleanTombstones() == 2) }
        let kept = Array(0..<100) + Array(400..<450)
        #expect(try rounds(store, "a") == kept && rounds(store, "b").count == 500)
        #expect(try rounds(store, "a", .newest) == [449] && rounds(store, "a", .newest, through: 300) == [99])
        // The end of the range lies ahead: samples to come are not deleted beforehand.
        try fill(store, rounds: 500..<503)
        #expect(try rounds(store, "a") == kept + [500, 501, 502] && rounds(store, "a", .newest) == [502])
        let survivor = try open(files.afterKill(), after: 600_000)
        #expect(try rounds(survivor, "a") == kept + [500, 501, 502] && rounds(survivor, "b").count == 503)
        #expect(survivor.replay.report.tombstones == 2 && survivor.replay.report.unknownReferences == 0)
    }

    @Test("a series without a sample left is not listed; others in its range are") func listing() throws {
        let store = try open(MemoryFiles())
        try fill(store, rounds: 0..<300)
        try delete(store, "a", 0...1000)
        let found = try store.series([], from: .distantPast, through: .distantFuture)
        #expect(found == [["__name__": "b"]])
        #expect(
            try store.delete([Matcher("__name__", equals: "none")], from: .distantPast, through: .distantFuture) == 0)
        #expect(try store.cleanTombstones() == 2)
        try fill(store, rounds: 300..<590)
        #expect(try rounds(store, "a") == Array(300..<590) && rounds(store, "b").count == 590)
        #expect(store.bounds.series == 2)
    }

    @Test("a deletion that the log refuses is none") func refused() throws {
        let files = MemoryFiles()
        let store = try open(files)
        try fill(store, rounds: 0..<5)
        files.setFreeBytes(0)
        #expect(throws: StorageError.self) { try delete(store, "a", 0...10) }
        #expect(try rounds(store, "a").count == 5)
    }

    @Test("deletions outlive a loss of power, and wait for the log to be read") func durable() throws {
        for seed in UInt64(1)...10 {
            var random = SeededRandom(seed: seed)
            let files = MemoryFiles()
            let store = try open(files)
            try fill(store, rounds: 0..<20)
            try delete(store, "a", 5...14)
            let disk = files.afterPowerLoss(random: &random)
            let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start + 30_000))
            let next = try SeriesStore(directory: "d", settings: StorageSettings(), files: disk, clock: clock)
            #expect(throws: StorageError.self) { try delete(next, "a", 0...10) }
            try fill(next, rounds: 20..<22)
            next.replayLog()
            #expect(try rounds(next, "a") == Array(0..<5) + Array(15..<22), "seed \(seed)")
        }
    }

    @Test("old deletions go with their samples, while others read") func forgotten() throws {
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start))
        var settings = StorageSettings()
        settings.retention = 600_000
        let store = try SeriesStore(directory: "d", settings: settings, files: MemoryFiles(), clock: clock)
        store.replayLog()
        try fill(store, rounds: 0..<400)
        try delete(store, "a", 0...10)
        try delete(store, "b", 0...1000)
        // The first chunk reaches beyond what is let go, and is there yet.
        clock.run(for: 700_000)
        store.maintain()
        #expect(try rounds(store, "a").first == 11)
        clock.run(for: 25_000)
        store.maintain()
        #expect(store.head.withLock { $0.deleted.slots.count } == 1)
        clock.run(for: 900_000)
        store.maintain()
        store.maintain()
        #expect(store.head.withLock { $0.deleted.isEmpty })
    }

    @Test("metadata of another writer is passed over and counted") func metadata() throws {
        let files = MemoryFiles()
        let store = try open(files)
        try fill(store, rounds: 0..<1)
        store.log.withLock { log in
            // A series, a counter, two fields.
            try? log.writer.write([6, 1, 1, 2, 4, 85, 78, 73, 84, 0, 4, 72, 69, 76, 80, 1, 65])
        }
        try fill(store, rounds: 1..<2)
        let survivor = try open(files.afterKill(), after: 10_000)
        #expect(survivor.replay.report.metadataRecords == 1 && survivor.replay.report.skippedRecords == 0)
        #expect(try rounds(survivor, "a") == [0, 1])
    }
}
