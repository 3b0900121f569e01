import Basics
import Model
import Query
import Testing
import TestSupport

@Suite struct LimitTests {
    private func store(series: Int, samples: Int) -> MemorySource {
        let store = MemorySource()
        for number in 0..<series {
            for sample in 0..<samples { store.add(["__name__": "m", "n": "\(number)"], at(Double(sample) * 15), 1) }
        }
        return store
    }

    @Test(
        "grouping, matching and sets go by the bytes of labels",
        arguments: [
            ("count by (place) (m)", 2), ("sum(count by (place) (m))", 1), ("m * on (place) m", 2),
            ("m and on (place) m{place='caf\u{E9}'}", 1), ("m unless on (place) m{place='cafe\u{301}'}", 1),
            ("m{place!='caf\u{E9}'}", 1), ("m{place=~'x|caf\u{E9}'}", 1), ("count_values('v', m)", 1),
            ("label_replace(m, 'place', 'x', 'place', 'caf\u{E9}')", 2), ("topk by (place) (1, m)", 2),
        ])
    func normalForms(query: String, count: Int) throws {
        let store = MemorySource()
        for text in ["caf\u{E9}", "cafe\u{301}"] { store.add(["__name__": "m", "place": text], at(10), 1) }
        let found = try QueryEngine(source: store).instant(query, at: at(10)).value.samples
        #expect(found.count == count && Set(found.map(\.labels)).count == count)
    }

    @Test(
        "a subquery of more steps than memory is refused before it is built",
        arguments: [
            "count_over_time(nothing[292y:1ms])", "vector(time())[292y:1ms]",
            "sum_over_time(sum_over_time(vector(1)[30d:50ms])[5m:1m])",
        ])
    func hugeSubqueries(query: String) {
        let engine = QueryEngine(source: MemorySource())
        let error = #expect(throws: QueryError.self) {
            try engine.instant(query, at: Timestamp(milliseconds: 1_790_000_000_000))
        }
        #expect(
            error?.description.contains("steps where 1000000 are allowed; shorten its range or lengthen its step")
                == true)
    }

    @Test(
        "a limit names itself, its value and the selector",
        arguments: [
            ("m[1h]", "the selector {__name__=\"m\"} reads more than 30 samples; narrow it or shorten its range"),
            (
                "sum(m{n='1'}) + sum(m{n!='2'})",
                "the selector {n!=\"2\", __name__=\"m\"} reads more than 2 series; narrow it"
            ),
        ])
    func samples(query: String, expected: String) throws {
        var limits = QueryLimits()
        limits.samples = 30
        limits.series = 2
        let engine = QueryEngine(source: store(series: query == "m[1h]" ? 2 : 4, samples: 20), limits: limits)
        let error = #expect(throws: QueryError.self) { try engine.instant(query, at: at(300)) }
        #expect(error?.description == expected)
    }

    @Test("an intermediate result is refused before it is made") func points() throws {
        var limits = QueryLimits()
        limits.samples = 100
        let engine = QueryEngine(source: store(series: 4, samples: 20), limits: limits)
        let error = #expect(throws: QueryError.self) {
            try engine.range("m", from: at(0), through: at(285), step: 1000)
        }
        #expect(
            error?.description
                == "query processing would load too many samples into memory: 1224 where 100 are allowed; "
                + "the widest selector is m, 4 series with 80 samples")
    }

    @Test(
        "11,000 points, a step above 0 and an order of time",
        arguments: [
            (
                0.0, 11_001.0, 1_000,
                "exceeded maximum resolution of 11,000 points per timeseries. "
                    + "Try decreasing the query resolution (?step=XX)"
            ),
            (0, 10, 0, "zero or negative query resolution step widths are not accepted; try a positive integer"),
            (10, 0, 1_000, "end timestamp must not be before start time"),
        ])
    func resolution(from: Double, through: Double, step: Milliseconds, expected: String) {
        let engine = QueryEngine(source: MemorySource())
        let error = #expect(throws: QueryError.self) {
            try engine.range("m", from: at(from), through: at(through), step: step)
        }
        #expect(error?.description == expected)
    }

    @Test("the time is up by the steady clock") func timeout() {
        let engine = QueryEngine(source: store(series: 2, samples: 2), clock: RacingClock())
        let error = #expect(throws: QueryError.self) { try engine.instant("sum(m)", at: at(15)) }
        #expect(error?.description == "query timed out after 2m in expression evaluation")
    }

    @Test("a cancelled task gets no answer") func cancellation() async {
        let engine = QueryEngine(source: store(series: 2, samples: 2))
        let error = await withTaskGroup(of: QueryError?.self) { group in
            group.addTask {
                while !Task.isCancelled { await Task.yield() }
                do {
                    _ = try engine.instant("m", at: at(15))
                    return nil
                } catch {
                    return error as? QueryError
                }
            }
            group.cancelAll()
            return await group.next() ?? nil
        }
        #expect(error == .cancelled)
    }

    @Test("histograms that differ in name alone collide", arguments: [false, true])
    func histograms(isDelayed: Bool) {
        var options = QueryOptions()
        options.delaysNameRemoval = isDelayed
        let store = MemorySource()
        for name in ["a", "b"] {
            for bound in ["1", "+Inf"] { store.add(["__name__": name, "le": bound], at(0), 1) }
        }
        let engine = QueryEngine(source: store, options: options)
        let error = #expect(throws: QueryError.self) {
            try engine.instant("histogram_quantile(0.5, {__name__=~'a|b'})", at: at(0))
        }
        #expect(error?.description == "vector cannot contain metrics with the same labelset")
    }

    @Test("names are dropped at once unless removal is delayed", arguments: [false, true])
    func names(isDelayed: Bool) throws {
        var options = QueryOptions()
        options.delaysNameRemoval = isDelayed
        let engine = QueryEngine(source: store(series: 1, samples: 20), options: options)
        let query = "label_replace(count_over_time(m[1m]), 'was', '$1', '__name__', '(.+)')"
        let labels = try engine.instant(query, at: at(285)).value.samples.map(\.labels)
        #expect(labels == [isDelayed ? ["n": "0", "was": "m"] : ["n": "0"]])
    }
}

/// Each look at it finds an hour gone by.
private final class RacingClock: TimeSource {
    private let looks = Counter()
    func now() -> Timestamp { at(0) }
    func uptimeNanoseconds() -> UInt64 {
        looks.add()
        return UInt64(looks.value) * 3_600_000_000_000
    }
    func sleep(for duration: Milliseconds) async throws(CancellationError) {}
}
