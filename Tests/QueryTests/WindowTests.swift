import Basics
import Model
import Synchronization
import Testing
import TestSupport

@testable import Query

/// Windows that slide give what windows looked at one by one give, whatever the samples.
@Suite struct WindowTests {
    private static let kinds = [
        "a walk", "a counter", "few values", "large and close", "spikes", "not numbers", "all sizes", "nothing changes",
    ]

    private func columns(_ kind: String, _ random: inout SeededRandom) -> SeriesColumns {
        var times: [Int64] = []
        var values: [Double] = []
        var time: Int64 = 1_790_000_000_000 + Int64.random(in: 0..<60_000, using: &random)
        var value = Double.random(in: 0..<100, using: &random)
        for _ in 0..<Int.random(in: 0...200, using: &random) {
            // Mostly regular, at times late, and now and then a gap.
            time += 15_000 + Int64.random(in: 0..<3, using: &random) * 7
            if random.next() % 40 == 0 { time += Int64.random(in: 0..<600_000, using: &random) }
            switch kind {
            case "a walk": value += Double.random(in: -1...1, using: &random)
            case "a counter": value = random.next() % 12 == 0 ? 0 : value + Double.random(in: 0...5, using: &random)
            case "few values": value = Double(random.next() % 4)
            case "large and close": value = 1e9 + Double.random(in: -1...1, using: &random)
            case "spikes": value = random.next() % 30 == 0 ? 1e15 : Double.random(in: 0...1, using: &random)
            case "not numbers":
                let odd = [Double.nan, .infinity, -.infinity, SpecialValue.stale, -0.0, 1]
                value = random.next() % 3 == 0 ? odd.randomElement(using: &random)! : 5
            case "all sizes":
                let size = Double.random(in: -320...308, using: &random)
                value = pow10(size) * (random.next() % 2 == 0 ? 1 : -1)
            default: break
            }
            times.append(time)
            values.append(value)
        }
        var columns = SeriesColumns(labels: Labels(), times: times, values: values)
        columns.removeStaleMarkers()
        return columns
    }

    private func pow10(_ exponent: Double) -> Double { Double("1e\(Int(exponent))") ?? 0 }

    /// The windows one by one.
    private func naive(_ slide: WindowSlide, _ columns: SeriesColumns) -> [Double] {
        (0..<slide.windows.steps).map { step in
            let end = slide.windows.end(step)
            let places = columns.times.indices.filter {
                columns.times[$0] > end - slide.windows.window && columns.times[$0] <= end
            }
            guard let first = places.first, let last = places.last else { return absentValue }
            return reduce(
                slide.function, columns.times.span.extracting(first...last),
                columns.values.span.extracting(first...last),
                slide.parameters, step: step, moment: slide.moments.time(step))
        }
    }

    private func areClose(_ one: Double, _ other: Double) -> Bool {
        if one.isPresent != other.isPresent || one.isNaN != other.isNaN { return false }
        return one == other || one.isNaN || abs(one - other) <= 1e-9 * max(abs(one), abs(other)) + 1e-300
    }

    @Test(
        "a window that slides gives what it gives by itself",
        arguments: WindowFunction.allCases.filter { ![.rate, .increase, .delta].contains($0) }, kinds)
    func slides(function: WindowFunction, kind: String) {
        for seed in UInt64(0)..<12 {
            var random = SeededRandom(seed: seed &* 131 &+ UInt64(kind.utf8.count))
            let columns = columns(kind, &random)
            let start = (columns.times.first ?? 0) + Int64.random(in: -300_000...300_000, using: &random)
            let steps = Int.random(in: 1...150, using: &random)
            let stride = [0, 1000, 15_000, 60_000, 700_000].randomElement(using: &random)!
            let window = [1000, 15_000, 61_000, 300_000, 3_600_000].randomElement(using: &random)!
            let ranks = [0, 0.1, 0.5, 0.95, 1, -1, 2, .nan]
            let parameters: [StepScalar] =
                switch function {
                case .doubleExponentialSmoothing: [.constant(0.3), .constant(0.7)]
                case .predictLinear: [.constant(600)]
                default: [.steps((0..<steps).map { _ in ranks.randomElement(using: &random)! })]
                }
            let slide = WindowSlide(
                function: function,
                windows: WindowGrid(window: Int64(window), firstEnd: start, stride: Int64(stride), steps: steps),
                parameters: parameters,
                moments: StepGrid(start: start + 5000, interval: max(1, Int64(stride)), count: steps),
                usesStartTimes: false)
            var row = Array(repeating: absentValue, count: steps)
            var span = row.mutableSpan
            if !columns.times.isEmpty { _ = slide.fill(&span, from: columns) }
            let expected = naive(slide, columns)
            if let step = (0..<steps).first(where: { !areClose(row[$0], expected[$0]) }) {
                Issue.record(
                    "seed \(seed), step \(step) of \(steps): \(row[step]) where \(expected[step]) is expected")
                return
            }
        }
    }

    /// `increase` over whole windows, reckoned from pairs of neighbours.
    @Test("rates lose no reset, however many there are", arguments: kinds)
    func rates(kind: String) {
        for seed in UInt64(0)..<20 {
            var random = SeededRandom(seed: seed)
            let columns = columns(kind, &random)
            guard let start = columns.times.first, columns.values.allSatisfy(\.isFinite) else { continue }
            let windows = WindowGrid(
                window: 600_000, firstEnd: start, stride: Int64.random(in: 1000...900_000, using: &random), steps: 100)
            let slide = WindowSlide(
                function: .increase, windows: windows, parameters: [],
                moments: StepGrid(start: start, interval: windows.stride, count: 100), usesStartTimes: false)
            let alone = (0..<100).map { step in
                let end = windows.end(step)
                let one = WindowSlide(
                    function: .increase,
                    windows: WindowGrid(window: windows.window, firstEnd: end, stride: 1, steps: 1), parameters: [],
                    moments: slide.moments, usesStartTimes: false)
                let places = columns.times.indices.filter {
                    columns.times[$0] > end - windows.window && columns.times[$0] <= end
                }
                let columns = SeriesColumns(
                    labels: Labels(), times: places.map { columns.times[$0] }, values: places.map { columns.values[$0] }
                )
                var row = [absentValue]
                var span = row.mutableSpan
                _ = one.fill(&span, from: columns)
                return row[0]
            }
            var row = Array(repeating: absentValue, count: 100)
            var span = row.mutableSpan
            _ = slide.fill(&span, from: columns)
            if let step = (0..<100).first(where: { !areClose(row[$0], alone[$0]) }) {
                Issue.record("seed \(seed), step \(step): \(row[step]) where \(alone[step]) is expected")
                return
            }
        }
    }

    @Test("the rows of many series are the same on one thread and on four") func threads() throws {
        var random = SeededRandom(seed: 7)
        let store = MemorySource()
        for series in 0..<150 {
            let reference = store.reference(of: ["__name__": "m_total", "n": "\(series)", "g": "\(series % 7)"])
            var value = 0.0
            for sample in 0..<480 where random.next() % 50 != 0 {
                value = random.next() % 100 == 0 ? 0 : value + Double(random.next() % 10)
                if let reference { store.add(reference, at(Double(sample) * 15), value) }
            }
        }
        let pool = WorkPool(helpers: 3, name: "test")
        for query in [
            "sum by (g) (rate(m_total[5m]))", "stddev by (g) (m_total)", "m_total",
            "quantile_over_time(0.9, m_total[10m])",
        ] {
            func answer(_ workers: WorkPool?) throws -> [SeriesColumns] {
                try QueryEngine(source: store, workers: workers).range(
                    query, from: at(0), through: at(7200), step: 3000
                ).value.series
            }
            let (one, many) = (try answer(nil), try answer(pool))
            #expect(one.map(\.labels) == many.map(\.labels))
            #expect(one.map { $0.values.map(\.bitPattern) } == many.map { $0.values.map(\.bitPattern) })
            #expect(!one.isEmpty)
            // Where it is measured, the rows of an aggregation are all held before it; else they are not.
            var options = QueryOptions()
            options.measures = true
            let held = try QueryEngine(source: store, options: options).range(
                query, from: at(0), through: at(7200), step: 3000)
            #expect(one.map { $0.values.map(\.bitPattern) } == held.value.series.map { $0.values.map(\.bitPattern) })
        }
        var limits = QueryLimits()
        limits.samples = 360_500
        let error = #expect(throws: QueryError.self) {
            try QueryEngine(source: LooseSource(store), limits: limits, workers: pool).range(
                "m_total", from: at(0), through: at(7200), step: 3000)
        }
        #expect(error?.description.contains("reads more than") == true || error?.description.contains("360500") == true)
    }

    @Test("a source whose series cannot be read fails the query") func failure() {
        let source = FailingSource()
        for workers in [nil, WorkPool(helpers: 2, name: "test")] {
            let engine = QueryEngine(source: source, workers: workers)
            #expect(throws: QueryError.source(.unavailable("series 3 is gone"))) {
                try engine.range("rate(m[5m])", from: at(0), through: at(60), step: 15_000)
            }
        }
    }

    @Test("samples are counted as they are read when the source knows no good bound") func counting() throws {
        let store = MemorySource()
        for sample in 0..<100 { store.add(["__name__": "m"], at(Double(sample)), 1) }
        var options = QueryOptions()
        options.measures = true
        let loose = LooseSource(store)
        var engine = QueryEngine(source: loose, options: options)
        let result = try engine.range("sum_over_time(m[10s])", from: at(20), through: at(50), step: 1000)
        #expect(result.samplesRead == 40)
        engine.limits.samples = 60
        // The bound is beyond the limit, the samples are not; the points are 31.
        #expect(throws: QueryError.self) { try engine.range("m", from: at(20), through: at(80), step: 1000) }
        engine.limits.samples = 80
        #expect(try engine.range("sum_over_time(m[10s])", from: at(20), through: at(50), step: 1000).samplesRead == 40)
    }
}

/// A source that bounds its series at ten times what they hold.
private struct LooseSource: SampleSource {
    struct Loose: SelectedSeries {
        let series: any SelectedSeries
        var count: Int { series.count }
        func labels(of index: Int) -> Labels { series.labels(of: index) }
        func bound(of index: Int) -> Int { 10 * series.bound(of: index) }
        func columns(of index: Int) throws(SourceError) -> SeriesColumns { try series.columns(of: index) }
    }
    let source: MemorySource
    init(_ source: MemorySource) { self.source = source }

    func find(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> any SelectedSeries {
        Loose(
            series: try source.find(matchers, after: after, through: through, reading: reading, limits: ReadLimits()))
    }
    func select(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) throws(SourceError) -> [SeriesColumns] {
        try source.select(matchers, after: after, through: through, reading: reading, limits: limits)
    }
    func series(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [Labels] { [] }
    func labelNames(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [String] { [] }
    func labelValues(_ name: String, _ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [String] { [] }
}

/// A source one of whose series is broken.
private struct FailingSource: SampleSource {
    struct Broken: SelectedSeries {
        var count: Int { 5 }
        func labels(of index: Int) -> Labels { ["__name__": "m", "n": "\(index)"] }
        func bound(of index: Int) -> Int { 1 << 18 }
        func columns(of index: Int) throws(SourceError) -> SeriesColumns {
            if index == 3 { throw .unavailable("series 3 is gone") }
            return SeriesColumns(labels: labels(of: index), times: [0, 1000], values: [1, 2])
        }
    }
    func find(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) -> any SelectedSeries { Broken() }
    func select(
        _ matchers: [Matcher], after: Timestamp, through: Timestamp, reading: Reading, limits: ReadLimits
    ) -> [SeriesColumns] { [] }
    func series(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [Labels] { [] }
    func labelNames(_ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [String] { [] }
    func labelValues(_ name: String, _ matchers: [[Matcher]], from: Timestamp, through: Timestamp) -> [String] { [] }
}
