import Basics
import Model
import Synchronization
import TestSupport
import Testing

@testable import Storage

@Suite("Snapshots and imports") struct SnapshotTests {
    private static func everything(in files: MemoryFiles, _ directory: String) throws -> [Labels: [Int64: Double]] {
        try BlockTests.all(BlockTests.open(files, BlockTests.clock(at: BlockTests.start), directory: directory))
    }

    @Test(
        "a snapshot is a data directory with everything, links are used, late samples are in it",
        arguments: [true, false])
    func snapshot(takesLinks: Bool) throws {
        let files = MemoryFiles()
        if !takesLinks { files.setFailure { operation, _ in operation == "link" ? 18 : nil } }
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, clock) { $0.lateWindow = 86_400_000 }
        BlockTests.fill(store, series: 7, from: BlockTests.start, hours: 9, into: &expected)
        let time = BlockTests.start + 8 * 3_600_000 + 1
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
        batch.append(try #require(store.reference(of: BlockTests.labels(1))), 4711)
        #expect(store.append(batch).stored == 1)
        expected[BlockTests.labels(1)]?[time] = 4711
        let name = try store.snapshot()
        #expect(name.wholeMatch(of: /20231115T000000Z-[0-9a-f]{16}/) != nil, "\(name)")
        // What is appended later is not in it.
        var later: [Labels: [Int64: Double]] = [:]
        BlockTests.fill(store, series: 7, from: BlockTests.start + 9 * 3_600_000, hours: 4, into: &later)
        #expect(try SnapshotTests.everything(in: files, "d/snapshots/\(name)") == expected)
        #expect(try files.list("d/snapshots") == [name])
        let bare = try store.snapshot(skipHead: true)
        let blocks = try files.list("d/snapshots/\(bare)").filter { ULID($0) != nil }
        #expect(Set(blocks) == Set(store.shelf.blocks.map(\.meta.ulid.text)))
    }

    @Test("a snapshot that finds no room leaves nothing") func fullDisk() throws {
        let files = MemoryFiles()
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, BlockTests.clock(at: BlockTests.start))
        BlockTests.fill(store, series: 7, from: BlockTests.start, hours: 5, into: &expected)
        files.setFreeBytes(2000)
        #expect(throws: StorageError.self) { try store.snapshot() }
        files.setFreeBytes(nil)
        #expect(try files.list("d/snapshots").isEmpty)
        #expect(try BlockTests.all(store) == expected)
    }

    @Test("a block that cannot be opened is known before a snapshot leaves it out") func unreadable() throws {
        let files = MemoryFiles()
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, BlockTests.clock(at: BlockTests.start))
        BlockTests.fill(store, series: 3, from: BlockTests.start, hours: 9, into: &expected)
        let again = try #require(store.shelf.blocks.first).meta.ulid.text
        try files.open("d/\(again)/index", .readWrite).truncate(to: 50)
        let fresh = try SeriesStore(
            directory: "d", settings: StorageSettings(), files: files.afterKill(),
            clock: BlockTests.clock(at: BlockTests.start + 9 * 3_600_000))
        #expect(fresh.setAside.isEmpty)
        fresh.openBlocks()
        #expect(fresh.setAside.map(\.name) == [again])
    }

    @Test("what is imported beside a running store is served after its upkeep, and what is removed is forgotten")
    func imports() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start + 20 * 86_400_000)
        let store = try BlockTests.open(files, clock)
        var expected: [Labels: [Int64: Double]] = [:]
        BlockTests.fill(
            store, series: 3, from: BlockTests.start + 20 * 86_400_000, hours: 0.5, maintains: false, into: &expected)
        // A bound so low that each range is written in several parts and united.
        let blocks = try BlockImport(into: "d", files: files, clock: clock, memory: 20_000)
        for number in 0..<5 {
            for time in stride(from: BlockTests.start, to: BlockTests.start + 6 * 3_600_000, by: 60_000) {
                try blocks.add(BlockTests.labels(number), Timestamp(milliseconds: time), Double(time % 1009))
                expected[BlockTests.labels(number), default: [:]][time] = Double(time % 1009)
            }
        }
        #expect(throws: StorageError.self) { try BlockImport(into: "d", files: files, clock: clock) }
        let report = try blocks.finish()
        #expect(report.blocks == 3 && report.samples == 5 * 360 && report.series == 15)
        #expect(try files.list("d/imports").allSatisfy { $0 == "lock" })
        store.maintain()
        #expect(try BlockTests.all(store) == expected)
        #expect(store.head.withLock { $0.minimumTime } < BlockTests.start)
        let gone = try #require(store.shelf.blocks.first)
        try files.removeTree(gone.directory)
        store.maintain()
        #expect(!store.shelf.blocks.contains { $0.meta.ulid == gone.meta.ulid })
        #expect(store.lastDefect.withLock { $0 } == nil)
    }

    @Test("what is imported from the future makes nothing old") func future() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start + 9 * 3_600_000)
        var expected: [Labels: [Int64: Double]] = [:]
        let store = try BlockTests.open(files, clock) { settings in
            settings.maximumAhead = 600_000
            settings.retentionRules = [RetentionRule(matchers: [Matcher("number", equals: "0")], keep: 86_400_000)]
        }
        BlockTests.fill(store, series: 2, from: BlockTests.start, hours: 9, into: &expected)
        let blocks = try BlockImport(into: "d", files: files, clock: clock)
        let time = BlockTests.start + 400 * 86_400_000
        try blocks.add(BlockTests.labels(0), Timestamp(milliseconds: time), 1)
        expected[BlockTests.labels(0)]?[time] = 1
        _ = try blocks.finish()
        store.maintain()
        store.maintain()
        #expect(try BlockTests.all(store) == expected)
    }

    @Test("a crash at any step of an import leaves none or whole blocks, and the next import goes")
    func crashes() throws {
        func add(_ files: MemoryFiles) throws -> ImportReport {
            let blocks = try BlockImport(
                into: "d", files: files, clock: BlockTests.clock(at: BlockTests.start), memory: 8000)
            for time in stride(from: BlockTests.start, to: BlockTests.start + 4 * 3_600_000, by: 60_000) {
                try blocks.add(["__name__": "m"], Timestamp(milliseconds: time), 1)
            }
            return try blocks.finish()
        }
        let whole = MemoryFiles()
        #expect(try add(whole).samples == 240)
        for step in stride(from: 1, to: whole.steps, by: 7) {
            let files = MemoryFiles()
            files.crash(atStep: step)
            _ = try? add(files)
            let after = files.afterKill()
            let store = try BlockTests.open(after, BlockTests.clock(at: BlockTests.start))
            #expect(store.setAside == [], "step \(step)")
            #expect(try add(after).samples == 240, "step \(step)")
            store.maintain()
            #expect(try BlockTests.all(store).values.first?.count == 240, "step \(step)")
        }
    }

    @Test("another directory is taken over with its head, and is not changed; a second time changes nothing")
    func another() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        do {
            let source = try BlockTests.open(files, clock, directory: "s")
            BlockTests.fill(source, series: 7, from: BlockTests.start, hours: 9, into: &expected)
            let lock = try files.open("s/lock", .readWrite)
            #expect(try lock.size() == 0)
            #expect(throws: StorageError.self) {
                try BlockImport(into: "d", files: files, clock: clock).take(over: "s")
            }
        }
        func state() throws -> [String: [UInt8]] {
            var state: [String: [UInt8]] = [:]
            for name in try files.tree("s") where !name.hasSuffix("lock") {
                state[name] = try files.contents(of: "s/\(name)")
            }
            return state
        }
        let before = try state()
        let report = try BlockImport(into: "d", files: files, clock: clock).take(over: "s")
        #expect(try state() == before)
        #expect(report.blocks > 1 && report.known == 0)
        let store = try BlockTests.open(files, clock)
        #expect(try BlockTests.all(store) == expected)
        #expect(store.shelf.blocks.allSatisfy { $0.meta.isOutOfOrder && $0.meta.headCut == nil })
        let again = try BlockImport(into: "d", files: files, clock: clock).take(over: "s")
        #expect(again.known == report.blocks - 1)
        store.maintain()
        #expect(try BlockTests.all(store) == expected)
        #expect(throws: StorageError.self) {
            try BlockImport(into: "d", files: files, clock: clock).take(over: "nowhere")
        }
    }

    @Test("a directory with a damaged block is not taken over, and the place is told where it lies", arguments: [0, 1])
    func damaged(part: Int) throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        var expected: [Labels: [Int64: Double]] = [:]
        let block: String
        do {
            let source = try BlockTests.open(files, clock, directory: "s")
            BlockTests.fill(source, series: 7, from: BlockTests.start, hours: 9, into: &expected)
            block = try #require(source.shelf.blocks.first).directory
        }
        let path = ["\(block)/index", "\(block)/chunks/000001"][part]
        let file = try files.open(path, .readWrite)
        // A length that ends early, a bit in the middle.
        if part == 0 { try file.truncate(to: 100) }
        if part == 1 {
            let place = try file.size() / 2
            try unsafe file.write([~(try file.read(at: place, count: 1)[0])].span.bytes, at: place)
        }
        let error = #expect(throws: StorageError.self) {
            try BlockImport(into: "d", files: files, clock: clock).take(over: "s")
        }
        #expect(error?.description.contains(path) ?? false, "\(String(describing: error))")
        #expect(try files.list("d").filter { ULID($0) != nil }.isEmpty)
    }

    @Test("half a snapshot that a killed daemon left goes at the next start") func halfMade() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: BlockTests.start)
        let store = try BlockTests.open(files, clock)
        let name = try store.snapshot()
        try files.createDirectory("d/snapshots/x.tmp-for-creation/wal")
        let killed = files.afterKill()
        _ = try BlockTests.open(killed, clock)
        #expect(try killed.list("d/snapshots") == [name])
    }
}
