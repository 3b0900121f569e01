// What the inner loops cost: `make microbench`. A table of nanoseconds and allocations, on one thread; ends with 1 when
// a loop allocates that must not. Compare runs on one machine only.

import Basics
import CAllocations
import Exposition
import Glibc
import Model
import TestSupport

@testable import Query
@testable import Scraping
@testable import Storage

private let start: Int64 = 1_790_000_000_000

/// The rows, and whether a loop allocated that must not.
struct Report {
    private(set) var isSpoilt = false

    /// Runs `body` until a tenth of a second is over, after once without looking, and prints a row: the fastest run.
    mutating func measure(
        _ name: String, per unit: String, count: Int, mustNotAllocate: Bool = false, _ body: () throws -> Void
    )
        rethrows
    {
        let clock = SystemClock()
        try body()
        let allocations = vedette_allocations_of_this_thread()
        let begin = clock.uptimeNanoseconds()
        var (runs, fastest) = (0, UInt64.max)
        while clock.uptimeNanoseconds() - begin < 100_000_000 {
            let before = clock.uptimeNanoseconds()
            try body()
            fastest = min(fastest, clock.uptimeNanoseconds() - before)
            runs += 1
        }
        let made = vedette_allocations_of_this_thread() - allocations
        // A chunk that is full makes place for the next: that is a hundredth of a sample's share.
        let isTooMuch = mustNotAllocate && Double(made) >= 0.01 * Double(runs * count)
        if isTooMuch { isSpoilt = true }
        func padded(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.utf8.count)) + text
        }
        func rounded(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
        let nanoseconds = rounded(Double(fastest) / Double(count))
        print(
            name + String(repeating: " ", count: max(0, 32 - name.utf8.count)), padded(nanoseconds, 9), "ns/\(unit)",
            padded(rounded(Double(made) / Double(runs) / Double(count)), 8), "allocations/\(unit)",
            isTooMuch ? "MUST BE 0" : "")
    }
}

/// Pages of 1,008 series whose values change with the round, read again and again.
func measureScrapes(_ report: inout Report) throws {
    func page(_ round: Int) -> [UInt8] {
        var text = ""
        for series in 0..<1008 {
            if series % 42 == 0 { text += "# TYPE http_requests_\(series)_total counter\n" }
            let value = series % 3 == 0 ? "\(series * 1000 + round)" : "\(series).\(1000 + round % 7)"
            text += "http_requests_\(series / 42 * 42)_total{method=\"GET\",handler=\"/api/\(series)\"} \(value)\n"
        }
        return Array(text.utf8)
    }
    let pages = (0..<64).map(page)
    // Reading unescapes in place: each time from a copy.
    var body: [UInt8] = []
    var cache = PageCache()
    var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
    var round = 0
    var known: UInt64 = 0
    func scrape() throws {
        batch.reset(to: Timestamp(milliseconds: Int64(round) * 1000))
        body.removeAll(keepingCapacity: true)
        body += pages[round % 64]
        _ = try cache.read(&body, into: &batch, PageOptions()) { _ in
            known += 1
            return known
        }
        round += 1
    }
    for _ in 0..<3 { try scrape() }
    try report.measure("a page that is known, read", per: "sample", count: 1008, mustNotAllocate: true, scrape)
}

/// A store of 1,008 series that takes a batch each second, and gives 500 of them back.
func measureStore(_ report: inout Report) throws {
    let clock = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: start))
    let store = try SeriesStore(directory: "d", settings: StorageSettings(), files: MemoryFiles(), clock: clock)
    store.replayLog()
    let references = (0..<1008).compactMap { store.reference(of: ["__name__": "m\($0 / 500)", "n": "\($0)"]) }
    var batch = SampleBatch(timestamp: Timestamp(milliseconds: start))
    var (round, value) = (0, 0.0)
    func append() {
        batch.reset(to: Timestamp(milliseconds: start + Int64(round) * 1000))
        var series = 0
        while series < references.count {
            value += series % 3 == 0 ? 1 : 0.1
            batch.append(references[series], value)
            series += 1
        }
        _ = store.append(batch)
        round += 1
    }
    for _ in 0..<300 { append() }
    report.measure("a batch, stored and logged", per: "sample", count: references.count, mustNotAllocate: true, append)
    let matchers = [try Matcher("__name__", .equal, "m0")]
    let found = try store.find(
        matchers, after: Timestamp(milliseconds: start - 1), through: .distantFuture, reading: .all,
        limits: ReadLimits())
    var samples = 0
    for index in 0..<found.count { samples += try found.columns(of: index).times.count }
    try report.measure("a series, decoded", per: "sample", count: samples) {
        for index in 0..<found.count { _ = try found.columns(of: index) }
    }
}

/// Each range function over 11,000 windows of 120 samples, one sample further each.
func measureWindows(_ report: inout Report) {
    var random = SeededRandom(seed: 1)
    let count = 11_000
    var columns = SeriesColumns(labels: Labels(), times: [], values: [])
    var value = 100.0
    for place in 0..<count {
        columns.times.append(start + Int64(place) * 15_000)
        columns.values.append(value)
        value = random.next() % 500 == 0 ? 0 : value + Double.random(in: 0..<1, using: &random)
    }
    var row = Array(repeating: absentValue, count: count)
    for function in WindowFunction.allCases {
        let parameters: [StepScalar] =
            function == .doubleExponentialSmoothing ? [.constant(0.5), .constant(0.5)] : [.constant(0.9)]
        let slide = WindowSlide(
            function: function,
            windows: WindowGrid(window: 1_800_000, firstEnd: start, stride: 15_000, steps: count),
            parameters: parameters, moments: StepGrid(start: start, interval: 15_000, count: count),
            usesStartTimes: false)
        report.measure(function.rawValue, per: "step", count: count) {
            var span = row.mutableSpan
            _ = slide.fill(&span, from: columns)
        }
    }
}

func measureAnswers(_ report: inout Report) {
    var random = SeededRandom(seed: 1)
    var text: [UInt8] = []
    for point in 0..<20_000 {
        text += "[\(start / 1000 + Int64(point) * 60),\"\(Double(random.next() % 10_000) / 300)\"],".utf8
    }
    report.measure("an answer, compressed", per: "byte", count: text.count) { _ = Gzip.compress(text) }
}

/// Everything, in order.
func measureAll() throws -> Bool {
    var report = Report()
    try measureScrapes(&report)
    try measureStore(&report)
    measureWindows(&report)
    measureAnswers(&report)
    return report.isSpoilt
}

exit(try measureAll() ? 1 : 0)
