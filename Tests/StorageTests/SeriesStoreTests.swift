import Basics
import Glibc
import Model
import Storage
import TestSupport
import Testing

@Suite struct SeriesStoreTests {
    private let start: Int64 = 1_790_000_000_000

    private func clock(after milliseconds: Int64 = 0) -> SimulatedExecutor {
        SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start + milliseconds))
    }

    private func open(
        _ files: MemoryFiles, clock: SimulatedExecutor? = nil, _ change: (inout StorageSettings) -> Void = { _ in }
    ) throws -> SeriesStore {
        var settings = StorageSettings()
        change(&settings)
        let store = try SeriesStore(directory: "d", settings: settings, files: files, clock: clock ?? self.clock())
        store.replayLog()
        return store
    }

    private func all(_ store: SeriesStore, after: Int64 = -1) throws -> [Labels: [Int64: UInt64]] {
        let found = try store.select(
            [Matcher("__name__", .matches, ".+")], after: Timestamp(milliseconds: after), through: .distantFuture,
            reading: .all, limits: ReadLimits())
        return Dictionary(
            uniqueKeysWithValues: found.map { series in
                (series.labels, Dictionary(uniqueKeysWithValues: zip(series.times, series.values.map(\.bitPattern))))
            })
    }

    /// One scrape of `series` series; each value is told by series and round.
    private func scrape(_ store: SeriesStore, round: Int, series: Int) -> (AppendOutcome, [Labels: (Int64, UInt64)]) {
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + Int64(round) * 1000))
        var told: [Labels: (Int64, UInt64)] = [:]
        for number in 0..<series {
            let labels: Labels = ["__name__": "m\(number % 5)", "n": "\(number)", "job": "a"]
            guard let reference = store.reference(of: labels) else { continue }
            let value = Double(number * 1000 + round) + 0.5
            batch.append(reference, value)
            told[labels] = (batch.timestamp.milliseconds, value.bitPattern)
        }
        return (store.append(batch), told)
    }

    @Test("a crash at any byte of the log keeps every acknowledged sample, once, after a kill") func crashAtAnyByte()
        throws
    {
        let rehearsal = MemoryFiles()
        let store = try open(rehearsal)
        let opening = rehearsal.writtenBytes
        for round in 0..<12 { _ = scrape(store, round: round, series: 4 + round) }
        for byte in stride(from: 0, through: rehearsal.writtenBytes - opening, by: 1) {
            let files = MemoryFiles()
            let store = try open(files)
            files.crash(afterBytes: byte)
            var acknowledged: [Labels: [Int64: UInt64]] = [:]
            for round in 0..<12 {
                let (outcome, told) = scrape(store, round: round, series: 4 + round)
                guard outcome.isLogged else { break }
                for (labels, (time, bits)) in told { acknowledged[labels, default: [:]][time] = bits }
            }
            let survivor = try open(files.afterKill(), clock: clock(after: 20_000))
            let found = try all(survivor)
            for (labels, samples) in acknowledged {
                for (time, bits) in samples { #expect(found[labels]?[time] == bits, "crash after \(byte) bytes") }
            }
            // It goes on under the same references, and once more after another restart.
            let (outcome, _) = scrape(survivor, round: 15, series: 16)
            #expect(outcome.stored == 16 && outcome.isLogged, "crash after \(byte) bytes")
        }
    }

    @Test("a torn tail is cut at the last whole record and told") func tornTail() throws {
        let files = MemoryFiles()
        let store = try open(files)
        for round in 0..<3 { _ = scrape(store, round: round, series: 3) }
        files.crash(afterBytes: 20)
        _ = scrape(store, round: 3, series: 3)
        let survivor = try open(files.afterKill(), clock: clock(after: 5000))
        #expect(survivor.replay.report.samples == 9)
        #expect(survivor.replay.report.repairs.count == 1)
        #expect(
            survivor.replay.report.repairs.first?.hasPrefix("d/wal/00000000: the last fragment is cut short at byte ")
                == true)
        #expect(try open(files.afterKill()).replay.report.samples == 9)
    }

    @Test("a full disk costs no sample in memory, is counted, and the log begins anew when there is room")
    func fullDisk() throws {
        let files = MemoryFiles()
        let clock = self.clock()
        let store = try open(files, clock: clock)
        #expect(scrape(store, round: 0, series: 5).0.isLogged)
        files.setFreeBytes(10)
        #expect(!scrape(store, round: 1, series: 5).0.isLogged)
        #expect(try all(store).values.allSatisfy { $0.count == 2 })
        // Not tried again at once, and without a new segment for each attempt.
        let before = try files.list("d/wal")
        for _ in 0..<20 {
            clock.run(for: 200)
            #expect(!scrape(store, round: 1, series: 5).0.isLogged)
        }
        #expect(try files.list("d/wal").count <= before.count + 1)
        files.setFreeBytes(nil)
        clock.run(for: 1000)
        #expect(scrape(store, round: 2, series: 5).0.isLogged)
        let survivor = try open(files.afterKill(), clock: self.clock(after: 5000))
        #expect(survivor.replay.report.repairs.isEmpty && survivor.replay.report.unknownReferences == 0)
        #expect(try all(survivor).values.allSatisfy { $0.count == 2 })
    }

    @Test("duplicate, older and far samples are refused and told apart") func refusals() throws {
        let store = try open(MemoryFiles())
        let reference = try #require(store.reference(of: ["__name__": "m"]))
        func append(_ offset: Int64, _ value: Double) -> AppendOutcome {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + offset))
            batch.append(reference, value)
            return store.append(batch)
        }
        #expect(append(0, 1).stored == 1)
        #expect(append(0, 1).stored == 1)
        #expect(append(0, 2).duplicates == 1)
        #expect(append(-1, 1).outOfOrder == 1)
        #expect(append(700_000, 1).outOfBounds == 1)
        #expect(try all(store).values.first?.count == 1)
    }

    @Test("a sample too far ahead is not in the log, where it would make all that follow too old") func farAhead()
        throws
    {
        let files = MemoryFiles()
        let store = try open(files)
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start))
        for (name, time) in [("far", start + 10_000_000), ("near", start), ("later", start + 1)] as [(String, Int64)] {
            batch.append(try #require(store.reference(of: ["__name__": name])), 1, at: time)
        }
        #expect(store.append(batch).outOfBounds == 1)
        var ahead = SampleBatch(timestamp: Timestamp(milliseconds: start + 10_000_000))
        ahead.append(try #require(store.reference(of: ["__name__": "near"])), 1)
        #expect(store.append(ahead).outOfBounds == 1)
        let survivor = try open(files.afterKill())
        #expect(survivor.replay.report.samples == 2)
        #expect(try all(survivor).values.allSatisfy { $0.keys.allSatisfy { $0 <= start + 1 } })
    }

    @Test("labels larger than the limit refuse new series; what is let go gives its texts back") func labelLimit()
        throws
    {
        let clock = clock()
        let store = try open(MemoryFiles(), clock: clock) { ($0.maximumBytes, $0.retention) = (1 << 20, 60_000) }
        func fill(_ name: String) -> Int {
            var batch = SampleBatch(timestamp: clock.now())
            for number in 0..<40 {
                let labels: Labels = [
                    "__name__": name, "l": "\(name)\(number)" + String(repeating: "x", count: 50_000),
                ]
                if let reference = store.reference(of: labels) { batch.append(reference, 1) }
            }
            return store.append(batch).stored
        }
        func bytes() -> Double? {
            store.metrics().first { $0.name == "vedette_storage_label_bytes" }?.lines.first?.value
        }
        let first = fill("a")
        #expect(first == 21 && fill("b") == 0)
        clock.run(for: 200_000)
        store.maintain()
        store.maintain()
        #expect(bytes() == 0)
        #expect(fill("c") == 21)
    }

    @Test("samples are taken while the log is read; afterwards all is there, under the references that were given")
    func besideTheReplay() throws {
        let files = MemoryFiles()
        let first = try open(files)
        for round in 0..<300 { _ = scrape(first, round: round, series: 6) }
        let survivor = files.afterKill()
        let store = try SeriesStore(
            directory: "d", settings: StorageSettings(), files: survivor, clock: clock(after: 400_000))
        #expect(store.replay.state == .waiting && store.replay.last == 0)
        #expect(try all(store).isEmpty)
        // Two series that the log knows, and two that it does not; one late sample.
        for round in 299..<320 { #expect(scrape(store, round: round, series: 8).0.stored == 8) }
        let kept = try #require(store.reference(of: ["__name__": "m1", "n": "1", "job": "a"]))
        #expect(try all(store).count == 8)
        store.replayLog()
        #expect(store.replay.state == .done && store.replay.failure == nil)
        #expect(store.replay.report.samples == 1800 && store.replay.report.staleSamples == 6)
        let whole = try all(store)
        #expect(whole.count == 8)
        #expect(whole[["__name__": "m1", "n": "1", "job": "a"]]?.count == 320)
        #expect(whole[["__name__": "m2", "n": "7", "job": "a"]]?.count == 21)
        // An old reference and a new one are the same series.
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + 320_000))
        batch.append(kept, 7)
        #expect(store.append(batch).stored == 1)
        let fresh = try #require(store.reference(of: ["__name__": "m1", "n": "1", "job": "a"]))
        #expect(fresh != kept)
        batch.reset(to: Timestamp(milliseconds: start + 321_000))
        batch.append(fresh, 8)
        #expect(store.append(batch).stored == 1)
        for round in 322..<330 { #expect(scrape(store, round: round, series: 9).0.stored == 9) }
        let expected = try all(store)
        // The log of both runs, read by a third, and by a fourth that took samples before it.
        let third = try open(survivor.afterKill(), clock: clock(after: 400_000))
        #expect(try all(third) == expected)
        #expect(third.replay.report.unknownReferences == 0 && third.replay.report.staleSamples == 6)
    }

    @Test("references that were given during the replay survive a checkpoint and a broken log") func aliases() throws {
        let files = MemoryFiles()
        let first = try open(files)
        for round in 0..<3 { _ = scrape(first, round: round, series: 2) }
        let disk = files.afterKill()
        let clock = clock(after: 10_000)
        let store = try SeriesStore(directory: "d", settings: StorageSettings(), files: disk, clock: clock)
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + 10_000))
        let old = try #require(store.reference(of: ["__name__": "m0", "n": "0", "job": "a"]))
        let new = try #require(store.reference(of: ["__name__": "new"]))
        for reference in [old, new] { batch.append(reference, 1) }
        #expect(store.append(batch).stored == 2)
        store.replayLog()
        disk.setFailure { operation, _ in operation == "write" ? 28 : nil }
        batch.reset(to: Timestamp(milliseconds: start + 11_000))
        for reference in [old, new] { batch.append(reference, 2) }
        #expect(!store.append(batch).isLogged)
        disk.setFailure(nil)
        clock.run(for: 2000)
        batch.reset(to: Timestamp(milliseconds: start + 12_000))
        for reference in [old, new] { batch.append(reference, 3) }
        let outcome = store.append(batch)
        #expect(outcome.isLogged && outcome.stored == 2)
        // The new segment alone: it names every reference that is in use.
        let last = disk.afterKill()
        try last.remove("d/wal/00000000")
        try last.remove("d/wal/00000001")
        let reader = try open(last, clock: clock)
        #expect(reader.replay.report.unknownReferences == 0 && reader.replay.report.samples == 2)
    }

    @Test("a slot is not used more often than Prometheus' references allow") func generations() throws {
        let clock = clock()
        let store = try open(MemoryFiles(), clock: clock) { $0.retention = 1000 }
        var references: Set<SeriesReference> = []
        for round in 0..<300 {
            let reference = try #require(store.reference(of: ["__name__": "m", "round": "\(round)"]))
            #expect(references.insert(reference).inserted && reference < 1 << 39)
            var batch = SampleBatch(timestamp: clock.now())
            batch.append(reference, 1)
            #expect(store.append(batch).stored == 1)
            clock.run(for: 10_000)
            store.maintain()
            store.maintain()
        }
        #expect(Set(references.map { $0 & 0xFFFF_FFFF }).count == 3)
    }

    @Test("series beyond the limit are refused and counted") func seriesLimit() throws {
        let store = try open(MemoryFiles()) { $0.maximumSeries = 10 }
        #expect(scrape(store, round: 0, series: 15).0.stored == 10)
        #expect(store.metrics().first { $0.name == "vedette_storage_series_refused_total" }?.lines.first?.value == 5)
    }

    @Test("old chunks and idle series are let go; the rest, new series in freed slots, and a restart are right")
    func forgetting() throws {
        let files = MemoryFiles()
        let clock = clock()
        let store = try open(files, clock: clock) { $0.retention = 600_000 }
        for round in 0..<400 { _ = scrape(store, round: round, series: 3) }
        let idle = try #require(store.reference(of: ["__name__": "idle"]))
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start))
        batch.append(idle, 1)
        _ = store.append(batch)
        clock.run(for: 800_000)
        store.maintain()
        store.maintain()
        for round in 700..<800 { _ = scrape(store, round: round, series: 3) }
        let found = try all(store)
        #expect(found.count == 3)
        #expect(found.values.allSatisfy { $0.keys.min() ?? 0 >= start + 200_000 - 120_000 && $0.count >= 299 })
        let fresh = try #require(store.reference(of: ["__name__": "fresh"]))
        #expect(fresh != idle)
        batch.reset(to: Timestamp(milliseconds: start + 800_000))
        batch.append(idle, 2)
        #expect(store.append(batch).outOfBounds == 1)
        batch.reset(to: Timestamp(milliseconds: start + 800_000))
        batch.append(fresh, 3)
        #expect(store.append(batch).stored == 1)
        let again = try open(files.afterKill(), clock: clock)
        #expect(try all(again)[["__name__": "fresh"]]?.count == 1)
    }

    @Test("a bound in bytes lets the oldest go") func bytesBound() throws {
        let clock = clock()
        let store = try open(MemoryFiles(), clock: clock) { $0.maximumBytes = 40_000 }
        for round in 0..<3000 { _ = scrape(store, round: round, series: 10) }
        clock.run(for: 3_000_000)
        store.maintain()
        let bytes = store.metrics().first { $0.name == "vedette_storage_head_bytes" }?.lines.first?.value ?? 0
        #expect(bytes < 60_000)
        #expect(try all(store).values.allSatisfy { $0.count > 50 })
    }

    @Test(
        "the newest sample alone, and windows open on the left",
        arguments: [
            (0, 10_000, Reading.newest, [10_000]), (0, 5500, .newest, [5000]), (4000, 6000, .all, [5000, 6000]),
            (10_000, 99_000, .all, []), (-1, 0, .all, [0]),
        ] as [(Int64, Int64, Reading, [Int64])])
    func windows(after: Int64, through: Int64, reading: Reading, expected: [Int64]) throws {
        let store = try open(MemoryFiles())
        for round in 0...10 { _ = scrape(store, round: round, series: 1) }
        let found = try store.select(
            [Matcher("__name__", equals: "m0")], after: Timestamp(milliseconds: start + after),
            through: Timestamp(milliseconds: start + through), reading: reading, limits: ReadLimits())
        #expect(found.flatMap(\.times) == expected.map { $0 + start })
    }

    @Test(
        "matchers",
        arguments: [
            ("n", Matcher.Operation.equal, "3", 1), ("n", .matches, "1|2|30", 2), ("n", .matches, "1.?", 6),
            ("n", .notEqual, "3", 14),
            ("n", .matchesNot, "1.*", 9), ("absent", .equal, "", 15), ("absent", .notEqual, "", 0),
            ("absent", .matches, ".*", 15), ("n", .matches, "3|", 1),
        ])
    func matchers(name: String, operation: Matcher.Operation, value: String, count: Int) throws {
        let store = try open(MemoryFiles())
        _ = scrape(store, round: 0, series: 15)
        let found = try store.select(
            [Matcher(name, operation, value)], after: .distantPast, through: .distantFuture, reading: .newest,
            limits: ReadLimits())
        #expect(found.count == count)
        #expect(
            try store.series([[Matcher(name, operation, value)]], from: .distantPast, through: .distantFuture).count
                == count)
    }

    @Test("limits name what was read") func limits() throws {
        let store = try open(MemoryFiles())
        for round in 0..<10 { _ = scrape(store, round: round, series: 5) }
        let error = #expect(throws: SourceError.self) {
            try store.select(
                [Matcher("__name__", equals: "m1"), Matcher("job", equals: "a")], after: .distantPast,
                through: .distantFuture,
                reading: .all, limits: ReadLimits(samples: 5))
        }
        #expect(
            error?.description == #"the selector m1{job="a"} reads more than 5 samples; narrow it or shorten its range"#
        )
    }

    @Test("a second daemon on the directory is refused") func locked() throws {
        let files = MemoryFiles()
        let store = try open(files)
        #expect(throws: StorageError.self) { try open(files) }
        #expect(store.replay.report.samples == 0)
    }
}
