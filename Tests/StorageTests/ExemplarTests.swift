import Basics
import Model
import TestSupport
import Testing

@testable import Storage

@Suite struct ExemplarTests {
    private let start: Int64 = 1_790_000_000_000

    private func open(_ files: MemoryFiles, maximum: Int = 100) throws -> SeriesStore {
        var settings = StorageSettings()
        settings.maximumExemplars = maximum
        let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start))
        let store = try SeriesStore(directory: "d", settings: settings, files: files, clock: clock)
        store.replayLog()
        return store
    }

    private func exemplar(_ offset: Int64, _ value: Double = 1, trace: String = "t") -> Exemplar {
        Exemplar(
            labels: ["trace_id": trace], value: value, timestamp: Timestamp(milliseconds: start + offset))
    }

    private func append(_ store: SeriesStore, _ name: String, _ exemplars: [Exemplar]) throws {
        let labels: Labels = ["__name__": name]
        let reference = try #require(store.reference(of: labels))
        store.append(exemplars.map { SeriesExemplar(reference: reference, series: labels, exemplar: $0) })
    }

    private func all(_ store: SeriesStore, _ pattern: String = ".+") throws -> [String] {
        try store.exemplars([[Matcher("__name__", .matches, pattern)]], from: .distantPast, through: .distantFuture)
            .flatMap { one in
                one.exemplars.map {
                    "\(one.series.metricName) \($0.labels["trace_id"]) \($0.value) \($0.timestamp.milliseconds - start)"
                }
            }
    }

    private func figure(_ store: SeriesStore, _ name: String) -> Double? {
        store.metrics().first { $0.name == "vedette_storage_exemplars\(name)" }?.lines.first?.value
    }

    @Test("Prometheus' verdicts") func verdicts() {
        var ring = ExemplarRing(capacity: 10)
        let long = Exemplar(
            labels: ["trace_id": String(repeating: "ü", count: 121)], value: 1, timestamp: Timestamp(milliseconds: 1))
        let longest = Exemplar(
            labels: ["trace_id": String(repeating: "ü", count: 120)], value: 1, timestamp: Timestamp(milliseconds: 1))
        #expect(ring.append(long, of: ["__name__": "a"]) == .tooLong)
        #expect(ring.append(longest, of: ["__name__": "a"]) == .stored)
        for (offset, value, trace, expected) in [
            (0, 5, "b", .stored), (0, 5, "b", .duplicate), (0, 5, "a", .outOfOrder), (0, 5, "c", .stored),
            (0, 4, "z", .outOfOrder), (0, 6, "a", .stored), (-1, 7, "a", .outOfOrder), (1, 1, "a", .stored),
            (1, 1, "a", .duplicate),
        ] as [(Int64, Double, String, ExemplarRing.Verdict)] {
            #expect(ring.append(exemplar(offset, value, trace: trace), of: ["__name__": "m"]) == expected)
        }
        var off = ExemplarRing(capacity: 0)
        #expect(off.append(exemplar(0), of: ["__name__": "m"]) == .off && off.count == 0)
    }

    @Test("the ring holds the newest, whatever their series", arguments: [1, 2, 3, 7]) func ring(capacity: Int) {
        var random = SeededRandom(seed: UInt64(capacity))
        var ring = ExemplarRing(capacity: capacity)
        var model: [(series: Labels, exemplar: Exemplar)] = []
        for round in 0..<200 {
            let series: Labels = ["__name__": "m\(random.next() % 4)"]
            let fresh = exemplar(Int64(round), Double(round))
            #expect(ring.append(fresh, of: series) == .stored)
            model.append((series, fresh))
            if model.count > capacity { model.removeFirst() }
            let expected = Dictionary(grouping: model, by: \.series).mapValues { $0.map(\.exemplar) }
            let found = ring.select([[]], from: .distantPast, through: .distantFuture)
            #expect(Dictionary(uniqueKeysWithValues: found.map { ($0.series, $0.exemplars) }) == expected)
            #expect(ring.seriesCount == expected.count && found.map(\.series) == found.map(\.series).sorted())
        }
    }

    @Test("a window of time, and several selectors") func select() throws {
        let store = try open(MemoryFiles())
        for name in ["a", "b", "c"] { try append(store, name, [exemplar(0), exemplar(10), exemplar(20)]) }
        let found = store.exemplars(
            [[Matcher("__name__", equals: "a")], [Matcher("__name__", equals: "c")]],
            from: Timestamp(milliseconds: start + 10), through: Timestamp(milliseconds: start + 19))
        #expect(found.map(\.series.metricName) == ["a", "c"] && found.allSatisfy { $0.exemplars == [exemplar(10)] })
    }

    @Test("a kill loses none; a run's own come behind those of the log") func restart() throws {
        let files = MemoryFiles()
        let first = try open(files)
        try append(first, "a", [exemplar(0, .infinity, trace: "x\"ü"), exemplar(5), exemplar(3)])
        try append(first, "b", [exemplar(-7, -0.5)])
        #expect(figure(first, "_appended_total") == 3 && figure(first, "_out_of_order_total") == 1)
        let disk = files.afterKill()
        let second = try SeriesStore(
            directory: "d", settings: StorageSettings(), files: disk,
            clock: SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start)))
        try append(second, "a", [exemplar(9)])
        #expect(try all(second) == ["a t 1.0 9"])
        second.replayLog()
        let expected = ["a x\"ü inf 0", "a t 1.0 5", "a t 1.0 9", "b t -0.5 -7"]
        #expect(try all(second) == expected)
        #expect(second.replay.report.exemplars == 3 && second.replay.report.unknownReferences == 0)
        try append(second, "a", [exemplar(9), exemplar(11)])
        #expect(
            try all(open(disk.afterKill())) == ["a x\"ü inf 0", "a t 1.0 5", "a t 1.0 9", "a t 1.0 11", "b t -0.5 -7"])
    }

    @Test("after a loss of power what was synchronized is there, and a torn tail is cut") func powerLoss() throws {
        for seed in UInt64(1)...30 {
            var random = SeededRandom(seed: seed)
            let files = MemoryFiles()
            let store = try open(files)
            for offset in 0..<20 { try append(store, "a", [exemplar(Int64(offset))]) }
            store.synchronizeLog()
            for offset in 20..<40 { try append(store, "a", [exemplar(Int64(offset))]) }
            let survivor = try open(files.afterPowerLoss(random: &random))
            let found = try all(survivor)
            let whole = (0..<40).map { "a t 1.0 \($0)" }
            #expect(found.count >= 20 && found == Array(whole.prefix(found.count)), "seed \(seed)")
        }
    }

    @Test("a full disk costs none in memory, and is counted") func fullDisk() throws {
        let files = MemoryFiles()
        let store = try open(files)
        try append(store, "a", [exemplar(0)])
        files.setFreeBytes(0)
        try append(store, "a", [exemplar(1)])
        #expect(try all(store).count == 2 && figure(store, "_unlogged_total") == 1)
        #expect(try all(open(files.afterKill())) == ["a t 1.0 0"])
    }

    @Test("0 switches them off, and then the log has none") func off() throws {
        let files = MemoryFiles()
        try append(open(files, maximum: 0), "a", [exemplar(0)])
        #expect(try all(open(files.afterKill())).isEmpty)
    }
}
