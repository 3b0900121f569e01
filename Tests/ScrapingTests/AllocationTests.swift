import Basics
import CAllocations
import Exposition
import Model
import TestSupport
import Testing

@testable import Scraping

@Suite struct AllocationTests {
    /// A page of 1,008 series whose values change with the round, as most pages do.
    private func page(_ round: Int) -> [UInt8] {
        var text = ""
        for series in 0..<1008 {
            if series % 42 == 0 {
                text += "# HELP http_requests_\(series)_total Requests.\n# TYPE http_requests_\(series)_total counter\n"
            }
            let value = series % 3 == 0 ? "\(series * 1000 + round)" : "\(series).\(1000 + round % 7)"
            text +=
                "http_requests_\(series / 42 * 42)_total{service=\"svc-1\",method=\"GET\",handler=\"/api/\(series)\"} \(value)\n"
        }
        return Array(text.utf8)
    }

    @Test("zero allocations and zero look-ups over 100 steady scrapes of 1,008 series after the third") func steady()
        throws
    {
        let sink = RecordingSink(keeps: false)
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        var samples = 0
        func scrape(_ body: inout [UInt8], round: Int) throws {
            batch.reset(to: Timestamp(milliseconds: Int64(round) * 1000))
            samples += try cache.read(&body, into: &batch, PageOptions()) {
                sink.reference(of: Labels($0))
            }.samples
        }
        var bodies = (0..<103).map { page($0) }
        // A range's loop allocates in a debug build, and what is called first makes its metadata.
        func run(_ index: inout Int, to end: Int) throws {
            while index < end {
                try scrape(&bodies[index], round: index)
                index += 1
            }
        }
        var index = 0
        try run(&index, to: 3)
        let (allocations, parsed) = (vedette_allocations_of_this_thread(), cache.parsedLines)
        try run(&index, to: 103)
        let made = vedette_allocations_of_this_thread() - allocations
        #expect(made == 0)
        #expect(cache.parsedLines == parsed && parsed == 1008)
        #expect(samples == 103 * 1008)
    }

    /// A histogram's page as OpenMetrics, each bucket with an exemplar that stays.
    private func openPage(_ round: Int) -> [UInt8] {
        var text = "# HELP h_seconds H.\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n"
        for bucket in 0..<500 {
            text += "h_seconds_bucket{path=\"/\(bucket / 10)\",le=\"\(bucket % 10).5\"} \(bucket * 100 + round)"
            text += bucket % 2 == 0 ? " # {trace_id=\"\(bucket)\"} 0.25 1.5\n" : " 1700000000.\(round % 10)\n"
        }
        return Array((text + "# EOF\n").utf8)
    }

    @Test("zero allocations and look-ups on a steady OpenMetrics page, relabelled, with exemplars and timestamps")
    func openMetrics() throws {
        let sink = RecordingSink(keeps: false)
        var settings = PageSettings()
        settings.rules = [
            RelabelRule(.labeldrop, regex: try Pattern("nothing")),
            RelabelRule(sourceLabels: ["path"], regex: RelabelRule.anything, targetLabel: "handler"),
            RelabelRule(.drop, sourceLabels: ["path"], regex: try Pattern("/4.")),
        ]
        var cache = PageCache()
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        var bodies = (0..<53).map { openPage($0) }
        let options = PageOptions(format: .openMetrics)
        var exemplars = 0
        func run(_ index: inout Int, to end: Int) throws {
            while index < end {
                batch.reset(to: Timestamp(milliseconds: Int64(index) * 1000))
                let summary = try cache.read(&bodies[index], into: &batch, options) { (scraped) throws(PageError) in
                    guard try settings.complete(&scraped, with: ["job": "j"]) else { return PageCache.dropped }
                    return sink.reference(of: Labels(scraped))
                }
                #expect(summary.samples == 500 && summary.dropped == 100 && batch.count == 400)
                exemplars +=
                    cache.takeExemplars(at: batch.timestamp) { (scraped) throws(PageError) in
                        try settings.complete(&scraped, with: ["job": "j"]) ? Labels(scraped) : nil
                    }.count
                index += 1
            }
        }
        var index = 0
        try run(&index, to: 3)
        #expect(exemplars == 200)
        let (allocations, parsed) = (vedette_allocations_of_this_thread(), cache.parsedLines)
        // What the test's own checks allocate is left out.
        while index < 53 {
            batch.reset(to: Timestamp(milliseconds: 0))
            _ = try cache.read(&bodies[index], into: &batch, options) { (_) throws(PageError) in nil }
            exemplars += cache.takeExemplars(at: batch.timestamp) { (_) throws(PageError) in nil }.count
            index += 1
        }
        let made = vedette_allocations_of_this_thread() - allocations
        #expect(made == 0)
        #expect(cache.parsedLines == parsed && parsed == 500 && exemplars == 200)
    }

    @Test("the counter counts") func counter() {
        let before = vedette_allocations_of_this_thread()
        let array = [UInt8](repeating: 1, count: Int.random(in: 1000...2000))
        #expect(vedette_allocations_of_this_thread() > before && array.count >= 1000)
    }
}
