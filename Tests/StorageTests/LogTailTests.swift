import Basics
import Model
import TestSupport
import Testing

@testable import Storage

@Suite struct LogTailTests {
    private let start: Int64 = 1_790_000_000_000

    private func open(
        _ files: any FileSystem, after milliseconds: Int64 = 0, _ change: (inout StorageSettings) -> Void = { _ in }
    ) throws -> SeriesStore {
        var settings = StorageSettings()
        change(&settings)
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start + milliseconds))
        let store = try SeriesStore(directory: "d", settings: settings, files: files, clock: clock)
        store.replayLog()
        return store
    }

    /// One scrape; its value tells the round.
    private func scrape(_ store: SeriesStore, round: Int, series: Int) throws {
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + Int64(round) * 1000))
        for number in 0..<series {
            batch.append(try #require(store.reference(of: ["__name__": "m", "n": "\(number)"])), Double(round))
        }
        #expect(store.append(batch).stored == series)
    }

    /// Everything from a place on: `n@second=value` by labels' names, and how it was told.
    private func read(
        _ store: SeriesStore, from begin: LogPosition, limit: Int
    ) throws -> (samples: [String], end: LogPosition, missed: Int, damage: [String], portions: Int) {
        var known: [SeriesReference: Labels] = [:]
        try store.readSeries(before: begin, checkpointOnly: false) { known[$0] = $1 }
        var (samples, place, missed, damage, portions): ([String], LogPosition, Int, [String], Int) = (
            [], begin, 0, [], 0
        )
        while true {
            let portion = try store.readLog(from: place, limit: limit)
            #expect(portion.end > place || portion.isLast)
            var last = place
            for record in portion.records {
                #expect(record.position >= last && record.position < portion.end)
                last = record.position
                switch record.content {
                case .series(let named): for (reference, labels) in named { known[reference] = labels }
                case .samples(let logged):
                    for (index, reference) in logged.references.enumerated() {
                        let name = known[reference]?["n"] ?? "?"
                        samples.append("\(name)@\((logged.times[index] - start) / 1000)=\(Int(logged.values[index]))")
                    }
                case .exemplars(let exemplars): samples += exemplars.map { "\($0.exemplar.labels)" }
                }
            }
            missed += portion.missedSegments
            damage += portion.damage.map { [$0] } ?? []
            portions += 1
            place = portion.end
            if portion.isLast { return (samples, place, missed, damage, portions) }
        }
    }

    private func expected(_ rounds: Range<Int>, series: Int) -> [String] {
        rounds.flatMap { round in (0..<series).map { "\($0)@\(round)=\(round)" } }
    }

    @Test(
        "what was appended is read, in pieces of any size, over pages and restarts", arguments: [1, 100, 5000, 1 << 20])
    func pieces(limit: Int) throws {
        let files = MemoryFiles()
        var store = try open(files)
        for round in 0..<40 { try scrape(store, round: round, series: 200) }
        store = try open(files.afterKill(), after: 40_000)
        // As long as several pages.
        for round in 40..<45 { try scrape(store, round: round, series: 8000) }
        store.append([
            SeriesExemplar(
                reference: try #require(store.reference(of: ["__name__": "m", "n": "1"])), series: [:],
                exemplar: Exemplar(labels: ["trace_id": "x"], value: 1, timestamp: Timestamp(milliseconds: start)))
        ])
        let whole = try read(store, from: LogPosition(segment: 0), limit: limit)
        #expect(
            whole.samples == expected(0..<40, series: 200) + expected(40..<45, series: 8000) + ["{trace_id=\"x\"}"])
        #expect(whole.end == store.logEnd && whole.missed == 0 && whole.damage.isEmpty)
        #expect(limit > 1000 || whole.portions > 20)
        // Nothing more, then what comes.
        #expect(try store.readLog(from: whole.end, limit: limit).isLast)
        try scrape(store, round: 45, series: 3)
        #expect(try read(store, from: whole.end, limit: limit).samples == expected(45..<46, series: 3))
        #expect(store.newestSampleTime == start + 45_000)
    }

    @Test("each record's place is one to go on from, with the series that were named before it") func places() throws {
        let files = MemoryFiles()
        let store = try open(files)
        for round in 0..<30 { try scrape(store, round: round, series: 1 + round * 20) }
        let all = try store.readLog(from: LogPosition(segment: 0), limit: 1 << 20).records
        let whole = try read(store, from: LogPosition(segment: 0), limit: 1 << 20).samples
        #expect(all.count == 60)
        for record in all {
            let rest = try read(store, from: record.position, limit: 3000).samples
            #expect(rest == Array(whole.suffix(rest.count)) && !rest.contains { $0.hasPrefix("?") })
        }
    }

    @Test("a segment that a crash left torn is read to the tear, and the next one is read on") func torn() throws {
        let files = MemoryFiles()
        let store = try open(files)
        for round in 0..<5 { try scrape(store, round: round, series: 10) }
        let tear = store.logEnd
        files.crash(afterBytes: 20)
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: start + 5000))
        for number in 0..<50 { batch.append(try #require(store.reference(of: ["n": "x\(number)"])), 1) }
        #expect(!store.append(batch).isLogged)
        let survivor = files.afterKill()
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start + 9000))
        // Before the log of the earlier run is read, which mends it.
        let fresh = try SeriesStore(directory: "d", settings: StorageSettings(), files: survivor, clock: clock)
        try scrape(fresh, round: 9, series: 10)
        let found = try read(fresh, from: LogPosition(segment: 0), limit: 100)
        #expect(found.samples == expected(0..<5, series: 10) + expected(9..<10, series: 10))
        #expect(found.damage.count == 1)
        #expect(found.damage.first == "d/wal/00000000: the last fragment is cut short at byte \(tear.offset)")
        fresh.replayLog()
        #expect(try read(fresh, from: LogPosition(segment: 0), limit: 100).damage.isEmpty)
    }

    @Test("a place behind the end of an earlier segment, as after a loss of power, goes on with the next") func behind()
        throws
    {
        let files = MemoryFiles()
        try scrape(try open(files), round: 0, series: 3)
        let store = try open(files.afterKill(), after: 10_000)
        try scrape(store, round: 5, series: 3)
        let found = try read(store, from: LogPosition(segment: 0, offset: 1_000_000), limit: 100)
        #expect(found.samples == expected(5..<6, series: 3))
    }

    /// Six runs, each with a segment of its own, the last one open.
    private func lives(_ change: @escaping (inout StorageSettings) -> Void = { _ in }) throws -> SeriesStore {
        var files = MemoryFiles()
        for life in 0..<5 {
            let store = try open(files, after: Int64(life) * 10_000)
            try scrape(store, round: life * 10, series: 5)
            files = files.afterKill()
        }
        let store = try open(files, after: 50_000, change)
        try scrape(store, round: 50, series: 5)
        return store
    }

    private func segments(_ store: SeriesStore) throws -> [String] {
        try store.files.list("d/wal").map { $0.hasPrefix("checkpoint") ? "c\($0.suffix(1))" : String($0.suffix(1)) }
    }

    @Test("what a reader needs stays, and goes when it needs it no more") func holds() throws {
        let store = try lives()
        store.holdLog(from: 2, for: "a")
        store.holdLog(from: 3, for: "b")
        #expect(store.oldestSegmentNeeded() == 2)
        // All files are older than that.
        store.forgetSegments(before: .max)
        #expect(try segments(store) == ["2", "3", "4", "5", "c1"])
        #expect(store.holds.lost.value == 0)
        let found = try read(store, from: LogPosition(segment: 2), limit: 100)
        #expect(found.samples == [20, 30, 40, 50].flatMap { expected($0..<$0 + 1, series: 5) })
        store.holdLog(from: nil, for: "a")
        store.forgetSegments(before: .max)
        #expect(try segments(store) == ["3", "4", "5", "c2"])
        store.holdLog(from: nil, for: "b")
        #expect(store.oldestSegmentNeeded() == nil)
        store.forgetSegments(before: .max)
        #expect(try segments(store) == ["5", "c4"])
        #expect(store.holds.lost.value == 0)
    }

    @Test("a reader that falls behind the bound loses segments, which is counted and told") func bound() throws {
        let store = try lives { $0.maximumBacklog = 120 }
        let sizes = try (0..<5).map { try store.files.attributes(of: store.segmentPath($0))?.size ?? 0 }
        // The bound holds two of the segments that are closed.
        #expect(sizes[3] + sizes[4] <= 120 && sizes[2] + sizes[3] + sizes[4] > 120, "\(sizes)")
        store.holdLog(from: 0, for: "a")
        #expect(store.oldestSegmentNeeded() == 3)
        store.forgetSegments(before: .max)
        #expect(try segments(store) == ["3", "4", "5", "c2"])
        #expect(store.holds.lost.value == 3)
        let found = try read(store, from: LogPosition(segment: 0), limit: 100)
        #expect(found.missed == 3)
        #expect(found.samples == [30, 40, 50].flatMap { expected($0..<$0 + 1, series: 5) })
        #expect(try store.newestCheckpoint() == 2)
        var named = 0
        try store.readSeries(before: LogPosition(segment: 9), checkpointOnly: true) { _, _ in named += 1 }
        #expect(named == 5)
    }
}
