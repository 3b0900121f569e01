import Basics
import Model
import Synchronization
import TestSupport
import Testing

@testable import Storage

/// What a disk that fails for a while, a restart at a bad moment or a hostile file may not do.
@Suite("Recovery") struct RecoveryTests {
    typealias Samples = [Labels: [Int64: Double]]
    private let start = BlockTests.start
    private static let hour: Int64 = 3_600_000

    private func open(_ files: MemoryFiles, _ change: (inout StorageSettings) -> Void = { _ in }) throws -> SeriesStore
    {
        try BlockTests.open(files, BlockTests.clock(at: start), change)
    }

    private func fill(_ store: SeriesStore, _ hours: Range<Double>, maintains: Bool = true, _ expected: inout Samples) {
        BlockTests.fill(
            store, series: 3, from: start + Int64(hours.lowerBound * 3_600_000),
            hours: hours.upperBound - hours.lowerBound, maintains: maintains, into: &expected)
    }

    private func delete(_ store: SeriesStore, _ hours: ClosedRange<Double>) throws {
        try store.delete(
            [], from: Timestamp(milliseconds: start + Int64(hours.lowerBound * 3_600_000)),
            through: Timestamp(milliseconds: start + Int64(hours.upperBound * 3_600_000)))
    }

    // MARK: The log

    @Test("what a failed cut was to write stays in the log") func failedCut() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        do {
            let store = try open(files)
            fill(store, 0..<1.9, maintains: false, &expected)
        }
        let disk = files.afterKill()
        let store = try open(disk)
        fill(store, 1.9..<3.2, maintains: false, &expected)
        disk.setFailure { operation, path in operation == "rename" && path.hasSuffix(BlockFormat.unfinished) ? 28 : nil
        }
        store.maintain()
        store.maintain()
        // The files of chunks are not synced: the log has to do.
        let left = disk.afterKill()
        for name in try left.list("d/chunks_head") { try left.remove("d/chunks_head/\(name)") }
        #expect(try BlockTests.all(try open(left)) == expected)
    }

    @Test(
        "a segment that cannot be read is told and stays; the others, and chunks, are read",
        arguments: [
            "d/wal/00000000", "d/wal/00000001", "d/chunks_head/000001",
        ])
    func unreadable(path: String) throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        for part in 0..<3 {
            let store = try open(files)
            fill(store, 0.8 * Double(part)..<0.8 * Double(part + 1), &expected)
        }
        let disk = files.afterKill()
        disk.setFailure { operation, failing in operation == "read" && failing == path ? 5 : nil }
        do {
            let store = try open(disk)
            let told = [store.replay.failure ?? ""] + store.replay.report.repairs
            #expect(told.contains { $0.hasPrefix(path) })
            let found = try BlockTests.all(store)
            let newest = start + Int64(2.3 * 3_600_000)
            #expect(
                found.allSatisfy { labels, samples in
                    samples.filter { $0.key > newest } == expected[labels]?.filter { $0.key > newest }
                })
            #expect(found.count == 3 || path == "d/wal/00000000")
            store.maintain()
            store.maintain()
        }
        disk.setFailure(nil)
        #expect(try BlockTests.all(try open(disk.afterKill())) == expected)
    }

    @Test("a log in another compression is not cut away") func compressed() throws {
        let files = MemoryFiles()
        try files.createDirectory("d/wal")
        let file = try files.open("d/wal/00000000", .create)
        // A whole record, full, compressed by zstd.
        var fragment: [UInt8] = [1 | 1 << 4]
        fragment.appendBigEndian(UInt16(3))
        fragment.appendBigEndian(CRC32C.of([7, 8, 9]))
        fragment += [7, 8, 9]
        try unsafe file.write(fragment.span.bytes, at: 0)
        let store = try open(files)
        #expect(store.replay.report.repairs.first?.contains("zstd") ?? false, "\(store.replay)")
        #expect(try file.size() == fragment.count)
        store.maintain()
        #expect(try files.attributes(of: "d/wal/00000000") != nil)
    }

    @Test("late samples are logged again after their log could not be begun") func lateLog() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: start)
        let store = try BlockTests.open(files, clock) { $0.lateWindow = 7_200_000 }
        var expected: Samples = [:]
        fill(store, 0..<1, &expected)
        let isFailing = Mutex(true)
        files.setFailure { operation, path in
            operation == "sync" && path == "d/wbl" && isFailing.withLock { $0 } ? 5 : nil
        }
        func late(_ offset: Int64) throws -> Bool {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + offset))
            batch.append(try #require(store.reference(of: BlockTests.labels(0))), 1)
            return store.append(batch).isLogged
        }
        #expect(try !late(1))
        isFailing.withLock { $0 = false }
        clock.run(for: 2000)
        #expect(try late(2))
    }

    @Test("a sync that the disk refused when a segment ended is done with the next one", arguments: 1...5)
    func earlierSegment(seed: UInt64) throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<3.2, maintains: false, &expected)
        files.setFailure { operation, path in operation == "sync" && path == "d/wal/00000000" ? 5 : nil }
        store.maintain()
        #expect(store.logEnd.segment == 1)
        files.setFailure(nil)
        fill(store, 3.2..<3.3, maintains: false, &expected)
        #expect(store.synchronizeLog())
        var random = SeededRandom(seed: seed)
        #expect(try BlockTests.all(try open(files.afterPowerLoss(random: &random))) == expected)
    }

    @Test("files of chunks but the last are whole after a loss of power", arguments: 1...5)
    func chunkFiles(seed: UInt64) throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<4.9, &expected)
        #expect(try files.list("d/chunks_head").count > 1)
        var random = SeededRandom(seed: seed)
        let left = files.afterPowerLoss(random: &random)
        for name in try files.list("d/chunks_head").dropLast() {
            #expect(
                try left.contents(of: "d/chunks_head/\(name)") == files.contents(of: "d/chunks_head/\(name)"), "\(name)"
            )
        }
    }

    @Test("closed chunks are stored the oldest first, though some could not be stored and are in a block")
    func storeOrder()
        throws
    {
        var head = Head()
        let labels = BlockTests.labels(0)
        let slot = Head.slot(head.create(labels, hash: SeriesIndex.hash(labels)))
        let range = Head.rangeLength
        for number in 0..<3 { _ = head.replay(slot, start + Int64(number) * range, 1) }
        let refused = head.takeUnstored(100)
        head.putBack(refused)
        head.endReading()
        #expect(refused.map(\.chunk.firstTime) == [start, start + range])
        // The first is in a block; its place in the table is the third's.
        let gone = head.forget(before: start + range)
        #expect(gone == 1)
        for number in 3..<5 { _ = head.replay(slot, start + Int64(number) * range, 1) }
        let taken = head.takeUnstored(100).map(\.chunk.firstTime)
        #expect(taken == (1..<4).map { start + Int64($0) * range })
        head.endReading()
    }

    // MARK: References

    @Test("chunks are found where a run had taken samples before it had read the log") func chunksAfterBeside() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        do {
            let store = try SeriesStore(
                directory: "d", settings: StorageSettings(), files: files, clock: BlockTests.clock(at: start))
            fill(store, 0..<0.1, maintains: false, &expected)
            store.replayLog()
        }
        let clock = BlockTests.clock(at: start + 3 * RecoveryTests.hour)
        let disk = files.afterKill()
        do {
            let store = try BlockTests.open(disk, clock)
            fill(store, 0.1..<2.5, &expected)
            #expect(try BlockTests.all(store) == expected)
        }
        let again = try BlockTests.open(disk.afterKill(), clock)
        #expect(again.replay.report.storedChunks > 0)
        #expect(try BlockTests.all(again) == expected)
    }

    private func write(_ writer: inout LogWriter, _ series: [(SeriesReference, Labels)]) throws {
        var record: [UInt8] = []
        try SeriesStore.writeSeries(series.map { (reference: $0.0, labels: $0.1) }, to: &writer, record: &record)
    }

    @Test("no series is given a reference that the log has for another one") func references() throws {
        let files = MemoryFiles()
        try files.createDirectory("d/wal")
        var writer = try LogWriter(directory: "d/wal", files: files, segment: 0)
        let (one, two, three): (Labels, Labels, Labels) = (["a": "1"], ["a": "2"], ["a": "3"])
        let taken: [SeriesReference] = [1 << 32 | 6, 1 << 32 | 0, 1 << 32 | 1, 3 << 32 | 2]
        // Twice the same series; one of another writer before the one that has what it would be given; one unnamed.
        try write(&writer, [(2 << 32 | 3, one), (taken[0], one), (200 << 32, two), (taken[1], three)])
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start))
        for reference in taken { batch.append(reference, 1) }
        var record: [UInt8] = []
        SeriesStore.encodeSamples(batch, into: &record)
        try writer.write(record)
        let store = try open(files)
        #expect(store.replay.report.unknownReferences == 2)
        for number in 2..<30 {
            let labels: Labels = ["a": "\(number)"]
            let reference = try #require(store.reference(of: labels))
            #expect(!taken.contains(reference) || labels == three, "\(labels)")
        }
    }

    @Test("late samples of two runs that took them before they had read the log stay with their series")
    func lateBeside()
        throws
    {
        let files = MemoryFiles()
        var disk = files
        var expected: Samples = [:]
        for run in 0..<3 {
            var settings = StorageSettings()
            settings.lateWindow = 7_200_000
            let clock = BlockTests.clock(at: start + Int64(run) * 600_000)
            let store = try SeriesStore(directory: "d", settings: settings, files: disk, clock: clock)
            for (offset, number) in [(0, run), (-5000, run), (-3000, run)] {
                let time = clock.now().milliseconds + Int64(offset)
                var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
                batch.append(try #require(store.reference(of: BlockTests.labels(number))), Double(run))
                #expect(store.append(batch).stored == 1)
                expected[BlockTests.labels(number), default: [:]][time] = Double(run)
            }
            store.replayLog()
            #expect(try BlockTests.all(store) == expected)
            disk = disk.afterKill()
        }
        #expect(try BlockTests.all(try open(disk)) == expected)
    }

    @Test("samples taken before the log was read are late ones where it has newer ones") func lateWhileReading() throws
    {
        let files = MemoryFiles()
        var expected: Samples = [:]
        do {
            let store = try open(files)
            fill(store, 0..<1, &expected)
        }
        let disk = files.afterKill()
        var settings = StorageSettings()
        (settings.lateWindow, settings.maximumAhead) = (7_200_000, .max / 4)
        let store = try SeriesStore(directory: "d", settings: settings, files: disk, clock: BlockTests.clock(at: start))
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + 1_800_001))
        batch.append(try #require(store.reference(of: BlockTests.labels(0))), 7)
        #expect(store.append(batch).stored == 1)
        expected[BlockTests.labels(0)]?[start + 1_800_001] = 7
        store.replayLog()
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try open(disk.afterKill())) == expected)
    }

    @Test("late samples are not logged anew under a reference that the log does not have") func lateReference() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        do {
            let store = try open(files)
            fill(store, 0..<3.2, maintains: false, &expected)
        }
        let disk = files.afterKill()
        var settings = StorageSettings()
        settings.lateWindow = 7_200_000
        let clock = BlockTests.clock(at: start + 3 * RecoveryTests.hour)
        let store = try SeriesStore(directory: "d", settings: settings, files: disk, clock: clock)
        var batch = SampleBatch(timestamp: clock.now())
        let reference = try #require(store.reference(of: BlockTests.labels(9)))
        for time in [clock.now().milliseconds, start + 8_000_000] { batch.append(reference, 9, at: time) }
        #expect(store.append(batch).stored == 2)
        store.replayLog()
        store.maintain()
        #expect(store.shelf.blocks.count == 1)
        for time in batch.timestamps { expected[BlockTests.labels(9), default: [:]][time] = 9 }
        #expect(try BlockTests.all(try open(disk.afterKill())) == expected)
    }

    @Test("a series that is gone but for late samples is cut once") func goneButLate() throws {
        let store = try open(MemoryFiles())
        var expected: Samples = [:]
        fill(store, 0..<0.5, maintains: false, &expected)
        let slot = Head.slot(try #require(store.reference(of: BlockTests.labels(0))))
        let time = start + 3 * RecoveryTests.hour
        _ = store.head.withLock { $0.enterLate(slot, time, 1) }
        expected[BlockTests.labels(0)]?[time] = 1
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + 6 * RecoveryTests.hour))
        batch.append(try #require(store.reference(of: BlockTests.labels(1))), 1)
        expected[BlockTests.labels(1)]?[batch.timestamp.milliseconds] = 1
        #expect(store.append(batch).stored == 1)
        store.maintain()
        #expect(store.shelf.blocks.count == 1)
        #expect(try BlockTests.all(store) == expected)
    }

    // MARK: Deletions

    @Test("what was deleted of a block that is not there any more does not come back from the log") func emptyBlock()
        throws
    {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<3.5, &expected)
        #expect(store.shelf.blocks.count == 1)
        try delete(store, 0...1.9999)
        #expect(try store.cleanTombstones() > 0 && store.shelf.blocks.isEmpty)
        for labels in expected.keys {
            expected[labels] = expected[labels]?.filter { $0.key >= start + 2 * RecoveryTests.hour }
        }
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
    }

    @Test("a block that could not be published leaves nothing that a deletion would not reach") func unpublished()
        throws
    {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<3.2, maintains: false, &expected)
        files.setFailure { operation, path in operation == "sync" && path == "d" ? 5 : nil }
        store.maintain()
        #expect(store.shelf.blocks.isEmpty && store.takeProblem() != nil)
        files.setFailure(nil)
        try delete(store, 0...1)
        for labels in expected.keys {
            expected[labels] = expected[labels]?.filter { $0.key > start + RecoveryTests.hour }
        }
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
        store.maintain()
        #expect(try BlockTests.all(store) == expected)
    }

    @Test("late samples that are in blocks, and deleted there, do not come back from a log that could not be removed")
    func staleLateLog() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files) { $0.lateWindow = 7_200_000 }
        fill(store, 0..<2.9, maintains: false, &expected)
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + 2 * RecoveryTests.hour - 7))
        batch.append(try #require(store.reference(of: BlockTests.labels(0))), 7)
        #expect(store.append(batch).stored == 1)
        fill(store, 2.9..<3.2, maintains: false, &expected)
        files.setFailure { operation, path in operation == "remove" && path.hasPrefix("d/wbl/") ? 5 : nil }
        store.maintain()
        #expect(store.shelf.blocks.count == 1)
        files.setFailure(nil)
        try delete(store, 0...2)
        for labels in expected.keys {
            expected[labels] = expected[labels]?.filter { $0.key > start + 2 * RecoveryTests.hour }
        }
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
    }

    @Test("a deletion that is not on the disk is not acknowledged") func unsynced() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<0.2, &expected)
        files.setFailure { operation, _ in operation == "sync" ? 5 : nil }
        #expect(throws: StorageError.self) { try delete(store, 0...1) }
    }

    // MARK: Blocks

    @Test(
        "a block whose disk was away is served again by itself, and nothing is deleted without it; a broken one is not")
    func away() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<5.5, &expected)
        let block = try #require(store.shelf.blocks.first)
        files.setFailure { operation, path in operation == "read" && path.hasPrefix(block.directory) ? 5 : nil }
        #expect(try BlockTests.all(store) != expected)
        #expect(store.setAside.map(\.name) == [block.meta.ulid.text])
        store.maintain()
        #expect(store.setAside.count == 1)
        #expect(throws: StorageError.self) { try delete(store, 0...1) }
        files.setFailure(nil)
        store.maintain()
        #expect(store.setAside == [])
        #expect(try BlockTests.all(store) == expected)
        files.flipBit(of: "\(block.directory)/chunks/000001", at: 40)
        #expect(try BlockTests.all(store) != expected)
        store.maintain()
        #expect(store.setAside.map(\.name) == [block.meta.ulid.text])
        #expect(store.setAside.first?.reason.hasSuffix("a chunk's checksum is wrong") ?? false)
    }

    @Test("a block that cannot be read does not take the place of those that it was made of") func heir() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        do {
            let store = try open(files)
            fill(store, 0..<3.2, &expected)
            let block = try #require(store.shelf.blocks.first)
            try files.linkBlock(block.directory, to: "copy")
            let heir = "d/\(store.shelf.name().text)"
            try files.rename("copy/\(block.meta.ulid.text)", to: heir)
            var meta = BlockMeta(
                ulid: try #require(ULID(heir.lastPathPart)), minTime: block.meta.minTime, maxTime: block.meta.maxTime)
            meta.parents = [.init(ulid: block.meta.ulid, minTime: meta.minTime, maxTime: meta.maxTime)]
            meta.headCut = block.meta.headCut
            try files.replace("\(heir)/meta.json", with: meta.json.serialized())
            try files.remove("\(heir)/index")
            files.put("\(heir)/index", "broken")
        }
        let store = try open(files.afterKill())
        #expect(store.setAside.count == 1)
        #expect(try BlockTests.all(store) == expected)
    }

    @Test("a missing segment of chunks is told") func missingSegment() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<3.2, &expected)
        let block = try #require(store.shelf.blocks.first)
        let disk = files.afterKill()
        try disk.rename("\(block.directory)/chunks/000001", to: "\(block.directory)/chunks/000002")
        let again = try open(disk)
        #expect(again.setAside.first?.reason == "\(block.directory)/chunks/000001: is missing, before 000002")
    }

    @Test("a series' length that makes no sense is told") func seriesLength() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<3.2, &expected)
        let block = try #require(store.shelf.blocks.first)
        let id = try #require(try block.index.everything().first)
        let disk = files.afterKill()
        let file = try disk.open("\(block.directory)/index", .readWrite)
        let length = [UInt8](repeating: 0xFF, count: 8) + [0x7F]
        try unsafe file.write(length.span.bytes, at: Int(id) * 16)
        let again = try open(disk)
        _ = try BlockTests.all(again)
        #expect(again.setAside.first?.reason.hasSuffix("a series is cut short") ?? false, "\(again.setAside)")
    }

    @Test("times that nobody can count with are told", arguments: ["-9223372036854775808", "9223372036854774784"])
    func bounds(time: String) throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<5.2, &expected)
        let block = try #require(store.shelf.blocks.first)
        let disk = files.afterKill()
        let path = "\(block.directory)/meta.json"
        let text = String(decoding: try disk.contents(of: path), as: UTF8.self)
        disk.put(
            path,
            text.replacing("\"minTime\":\(block.meta.minTime)", with: "\"minTime\":\(time)")
                .replacing("\"maxTime\":\(block.meta.maxTime)", with: "\"maxTime\":\(time)"))
        let again = try open(disk)
        again.maintain()
        #expect(again.setAside.first?.reason == "\(path): does not tell ulid, minTime and maxTime")
    }

    @Test("a sample from the beginning of time is refused", arguments: [Int64.min + 1, -1 << 62]) func longAgo(
        time: Int64
    )
        throws
    {
        let files = MemoryFiles()
        let store = try BlockTests.open(files, BlockTests.clock(at: start)) { $0.lateWindow = 60_000 }
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start))
        batch.append(try #require(store.reference(of: BlockTests.labels(0))), 1, at: time)
        #expect(store.append(batch).outOfBounds == 1)
        var expected: Samples = [:]
        fill(store, 0..<3.2, &expected)
        store.maintain()
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
    }

    @Test("a log with times that nobody can count with is read", arguments: [Int64.min, .max]) func hostileLog(
        time: Int64
    )
        throws
    {
        let files = MemoryFiles()
        for folder in ["d/wal", "d/wbl"] {
            try files.createDirectory(folder)
            var writer = try LogWriter(directory: folder, files: files, segment: 0)
            if folder == "d/wal" { try write(&writer, [(1 << 32 | 1, BlockTests.labels(0))]) }
            for moment in [start, time] {
                var batch = SampleBatch(timestamp: Timestamp(milliseconds: moment))
                batch.append(1 << 32 | 1, 1)
                var record: [UInt8] = []
                SeriesStore.encodeSamples(batch, into: &record)
                try writer.write(record)
            }
        }
        let store = try open(files) { ($0.retention, $0.lateWindow) = (.max / 4, .max / 4) }
        store.maintain()
        _ = try store.snapshot()
        #expect(try BlockTests.all(store) == [BlockTests.labels(0): [start: 1]])
    }

    // MARK: Chunks of the head

    @Test("a broken chunk of the head costs its own samples alone, and is told once") func brokenChunk() throws {
        let files = MemoryFiles()
        var expected: Samples = [:]
        let store = try open(files)
        fill(store, 0..<2.9, &expected)
        files.flipBit(of: "d/chunks_head/000001", at: 60)
        for _ in 0..<3 {
            let found = try BlockTests.all(store)
            let missing = expected.map { ($1.count - (found[$0]?.count ?? 0)) }
            #expect(missing.filter { $0 > 0 } == [120])
        }
        #expect(store.takeProblem() == "d/chunks_head/000001: byte 8: a chunk's checksum is wrong")
        _ = try BlockTests.all(store)
        #expect(store.takeProblem() == nil)
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
    }

    // MARK: Imports and snapshots

    @Test("what is imported into hours that the head holds is served beside them, and after cuts and restarts")
    func importIntoHead() throws {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: start)
        var expected: Samples = [:]
        let store = try BlockTests.open(files, clock)
        fill(store, 0..<2.5, &expected)
        let blocks = try BlockImport(into: "d", files: files, clock: clock)
        for number in 1..<5 {
            for time in stride(from: start + 15_000, to: start + 3 * RecoveryTests.hour, by: 90_000) {
                try blocks.add(BlockTests.labels(number), Timestamp(milliseconds: time), 5)
                // What is there already stays as it is.
                if expected[BlockTests.labels(number)]?[time] == nil {
                    expected[BlockTests.labels(number), default: [:]][time] = 5
                }
            }
        }
        _ = try blocks.finish()
        store.maintain()
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
        fill(store, 2.5..<9, &expected)
        #expect(try BlockTests.all(store) == expected)
        #expect(try BlockTests.all(try open(files.afterKill())) == expected)
    }

    @Test("blocks of Prometheus, one with an import, do not hide what the log has behind them")
    func importBesidePrometheus()
        throws
    {
        let files = MemoryFiles()
        let clock = BlockTests.clock(at: start)
        var expected: Samples = [:]
        do {
            let store = try BlockTests.open(files, clock)
            fill(store, 0..<3.5, &expected)
            let path = "\(try #require(store.shelf.blocks.first).directory)/meta.json"
            var meta = try BlockMeta(parsing: try files.contents(of: path), file: path)
            meta.headCut = nil
            try files.replace(path, with: meta.json.serialized())
        }
        let disk = files.afterKill()
        do {
            // One block from here to behind the head's.
            let other = try BlockTests.open(disk, clock, directory: "s")
            for time in [start + 60_001, start + 3 * RecoveryTests.hour] {
                var batch = SampleBatch(timestamp: Timestamp(milliseconds: time))
                batch.append(try #require(other.reference(of: BlockTests.labels(9))), 9)
                #expect(other.append(batch).stored == 1)
                expected[BlockTests.labels(9), default: [:]][time] = 9
            }
        }
        _ = try BlockImport(into: "d", files: disk, clock: clock).take(over: "s")
        do {
            let store = try BlockTests.open(disk, clock)
            store.maintain()
            #expect(store.shelf.blocks.count == 1)
        }
        #expect(try BlockTests.all(try open(disk.afterKill())) == expected)
    }

    @Test("a snapshot has late samples even where nothing came in order") func lateAlone() throws {
        let files = MemoryFiles()
        let store = try open(files) { $0.lateWindow = 7_200_000 }
        let slot = Head.slot(try #require(store.reference(of: BlockTests.labels(0))))
        _ = store.head.withLock { $0.enterLate(slot, start + 5, 1) }
        let name = try store.snapshot()
        let copy = try BlockTests.open(files, BlockTests.clock(at: start), directory: "d/snapshots/\(name)")
        #expect(try BlockTests.all(copy) == [BlockTests.labels(0): [start + 5: 1]])
    }
}
