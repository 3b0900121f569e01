import Basics
import Exposition
import Foundation
import Model
import TestSupport
import Testing

@testable import Scraping

/// Pages that are broken at random. `VEDETTE_FUZZ_SECONDS` says how long to look, about; 2 by default.
@Suite struct ExpositionFuzzTests {
    private static let seeds = [
        "# HELP a A.\n# TYPE a counter\na{b=\"c\",d=\"e\\\"f\\\\\\n\"} 1.5e3 1700000000000\na 2\n",
        "{\"my.name\",\"x.y\"=\"z\"} 1\n# TYPE \"my.name\" gauge\n",
        "a_bucket{le=\"1\"} NaN\na_bucket{le=\"+Inf\"} -Inf\n",
        "# TYPE a histogram\n# UNIT a_s s\na_s_bucket{le=\"1\"} 1 1.5 # {trace_id=\"x # \"} 0.5 1.5\na_s_count 2\n# EOF\n",
        "# TYPE i info\ni_info{v=\"1\"} 1\n# TYPE s stateset\ns{s=\"on\"} 1\n# EOF\n",
        "\n \t\na\t{ b = \"c\" , }\t+1 \t-5\n",
    ]
    private static let fragments = [
        "{", "}", "\"", "\\", "\n", " ", "\t", ",", "=", "#", " # {", "# EOF\n", "# TYPE a ", "# HELP ", "# UNIT ",
        "\0",
        "\u{FF}", "é", "😱", "1e999", "-", "0x1p3", "1_0", "NaN", "9223372036854775808", "__name__", "le=\"", "+Inf",
    ]

    private func pages() throws -> [[UInt8]] {
        var pages = Self.seeds.map { Array($0.utf8) }
        guard let folder = Peers.folder("prometheus") else { return pages }
        let cases = folder.appendingPathComponent("openmetrics/parsers")
        for name in try FileManager.default.contentsOfDirectory(atPath: cases.path).sorted() {
            if let page = try? Peers.bytes(cases.appendingPathComponent("\(name)/metrics")) { pages.append(page) }
        }
        let corpus = folder.appendingPathComponent("expfmt/fuzz-corpus")
        for name in try FileManager.default.contentsOfDirectory(atPath: corpus.path).sorted() {
            pages.append(try Peers.bytes(corpus.appendingPathComponent(name)))
        }
        return pages
    }

    private func mutate(_ page: [UInt8], _ pages: [[UInt8]], _ random: inout SeededRandom) -> [UInt8] {
        var page = page
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let place = Int.random(in: 0...page.count, using: &random)
            switch Int.random(in: 0..<7, using: &random) {
            case 0: page.insert(UInt8.random(in: 0...255, using: &random), at: place)
            case 1: page.insert(contentsOf: Array(Self.fragments.randomElement(using: &random)!.utf8), at: place)
            case 2: page.removeSubrange(place..<Int.random(in: place...page.count, using: &random))
            case 3: page = Array(page[..<place])
            case 4: page += pages.randomElement(using: &random)!
            case 5: page.insert(contentsOf: page[..<place], at: place)
            default: if place < page.count { page[place] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
            }
        }
        return Array(page.prefix(64 << 10))
    }

    /// What a page means to a reader that has not seen another before; nil when it is refused.
    private func fresh(_ page: [UInt8], _ options: PageOptions) -> [String]? {
        var cache = PageCache()
        return read(page, options, &cache, RecordingSink(), slice: .max)
    }

    private func read(
        _ page: [UInt8], _ options: PageOptions, _ cache: inout PageCache, _ sink: RecordingSink, slice: Int
    ) -> [String]? {
        var batch = SampleBatch(timestamp: Timestamp(milliseconds: 1))
        var body = page
        do throws(PageError) {
            var summary = try cache.read(&body, into: &batch, options, slice: slice) { sink.reference(of: Labels($0)) }
            while !summary.isWhole {
                summary = try cache.resume(&body, into: &batch, slice: slice) { sink.reference(of: Labels($0)) }
            }
            #expect(summary.samples >= summary.added - summary.refused)
        } catch {
            // The loop forgets a page that failed, and stores nothing of the batch.
            cache.reset()
            return nil
        }
        let before = sink.samples.count
        _ = sink.append(batch)
        return sink.samples[before...].filter { !$0.value.isStaleMarker }.map {
            "\($0.labels) \($0.value.bitPattern) \($0.timestamp)"
        }
    }

    @Test("broken pages: no crash, nothing half, and what was on the page before changes nothing") func fuzz() throws {
        let text = ProcessInfo.processInfo.environment["VEDETTE_FUZZ_SECONDS"]
        let rounds = 20_000 * (text.flatMap { Int($0) } ?? 2)
        let pages = try pages()
        let seed = ProcessInfo.processInfo.environment["VEDETTE_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1
        var random = SeededRandom(seed: seed)
        var accepted = 0
        var cache = PageCache()
        var sink = RecordingSink()
        var last = pages[0]
        for round in 0..<rounds {
            if round % 64 == 0 { (cache, sink) = (PageCache(), RecordingSink()) }
            // A page mostly resembles the one before.
            let source = round % 3 == 0 ? pages.randomElement(using: &random)! : last
            let page = mutate(source, pages, &random)
            let options = PageOptions(
                format: Bool.random(using: &random) ? .text : .openMetrics,
                honorsTimestamps: Bool.random(using: &random), sampleLimit: round % 5 == 0 ? 3 : 0)
            let expected = fresh(page, options)
            let found = read(page, options, &cache, sink, slice: round % 2 == 0 ? .max : 16)
            guard expected == found else {
                Issue.record(
                    "seed \(seed), round \(round): \(page.debugText) gives \(found ?? ["nil"]), alone \(expected ?? ["nil"])"
                )
                return
            }
            #expect(cache.lineCount <= page.count + 1)
            if found != nil { accepted += 1 }
            last = page
            // The strict reader takes nothing that the scrape does not.
            if MetricsChecker.mistake(in: page, format: options.format) == nil, options.sampleLimit == 0 {
                #expect(expected != nil, "seed \(seed), round \(round): \(page.debugText)")
            }
        }
        #expect(accepted > rounds / 20)
    }
}

extension [UInt8] {
    fileprivate var debugText: String { String(decoding: self, as: UTF8.self).debugDescription }
}
