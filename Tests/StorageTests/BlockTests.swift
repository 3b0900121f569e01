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
}
