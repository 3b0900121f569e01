import Basics
import Glibc
import Model
import Query
import Synchronization
import Testing
import TestSupport

@Suite struct BudgetTests {
    private func store(series: Int = 4, samples: Int = 20) -> MemorySource {
        let store = MemorySource()
        for number in 0..<series {
            for sample in 0..<samples { store.add(["__name__": "m", "n": "\(number)"], at(Double(sample) * 15), 1) }
        }
        return store
    }

    private func limits(_ change: (inout QueryBudget.Limits) -> Void) -> QueryBudget.Limits {
        var limits = QueryBudget.Limits()
        change(&limits)
        return limits
    }

    @Test("what a query held is given back, whether it ended well or not")
    func holdings() throws {
        let budget = QueryBudget()
        var engine = QueryEngine(source: store(), budget: budget)
        _ = try engine.range("sum(rate(m[1m]))", from: at(0), through: at(285), step: 15_000)
        #expect(budget.figures.bytes == 0 && budget.figures.samples == 0)
        #expect(budget.figures.peakBytes > 4 * 20 * 16)
        engine.limits.samples = 100
        #expect(throws: QueryError.self) { try engine.range("m", from: at(0), through: at(285), step: 1000) }
        #expect(budget.figures.bytes == 0 && budget.figures.samples == 0)
    }

    @Test("what all queries together may not hold, one of them may not either; the selector is named")
    func together() throws {
        let budget = QueryBudget(limits { $0.samples = 100 })
        let engine = QueryEngine(source: store(), budget: budget)
        let error = #expect(throws: QueryError.self) {
            try engine.range("m", from: at(0), through: at(285), step: 15_000)
        }
        #expect(
            error?.description.hasPrefix("all running queries would hold more than 100 samples or 1073741824 bytes")
                == true)
        #expect(error?.description.hasSuffix("; the widest selector is m, 4 series with 80 samples") == true)
        #expect(budget.figures.stopped == 1 && budget.figures.samples == 0)
    }

    @Test("a query's memory has a limit of its own")
    func memory() throws {
        var limits = QueryLimits()
        limits.bytes = 4000
        var engine = QueryEngine(source: store(), limits: limits)
        let error = #expect(throws: QueryError.self) {
            try engine.range("m", from: at(0), through: at(285), step: 1000)
        }
        #expect(error?.description.contains("bytes where 4000 are allowed; the widest selector is m, 4 series") == true)
        engine.limits.bytes = 1000
        let reading = #expect(throws: QueryError.self) { try engine.instant("m[1h]", at: at(285)) }
        #expect(
            reading?.description.contains(
                "the selector m reads more than the 62 samples for which there is room in 1000")
                == true)
    }

    @Test("a place is waited for in order, and one more than the queue holds is refused")
    func places() async throws {
        let budget = QueryBudget(limits { ($0.queries, $0.waiting) = (1, 2) })
        let order = Recorder()
        let hasStarted = Wake()
        // It blocks, so it has a thread of its own: it holds its place until the others stand in the queue.
        let first = ThreadPoolExecutor(count: 1, name: "first").start {
            _ = try? await budget.admit { _ in
                hasStarted.signal()
                while budget.figures.waiting < 2 { sched_yield() }
                order.add("0")
            }
        }
        await hasStarted.wait()
        await withTaskGroup(of: Void.self) { group in
            for number in 1...2 {
                group.addTask { _ = try? await budget.admit { _ in order.add("\(number)") } }
                while budget.figures.waiting < number, order.texts.isEmpty { await Task.yield() }
            }
        }
        await first.value
        #expect(order.texts == ["0", "1", "2"])
        #expect(budget.figures.running == 0 && budget.figures.waiting == 0)
    }

    @Test("a full queue refuses at once, and who is cancelled leaves it")
    func full() async throws {
        let budget = QueryBudget(limits { ($0.queries, $0.waiting) = (1, 1) })
        let answers = Recorder()
        @Sendable func ask() async {
            do throws(QueryError) {
                try await budget.admit { _ in }
                answers.add("admitted")
            } catch {
                answers.add(error.description)
            }
        }
        let isOver = Counter()
        let hasStarted = Wake()
        let first = ThreadPoolExecutor(count: 1, name: "first").start {
            _ = try? await budget.admit { _ in
                hasStarted.signal()
                while isOver.value == 0 { sched_yield() }
            }
        }
        await hasStarted.wait()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await ask() }
            while budget.figures.waiting < 1 { await Task.yield() }
            await ask()
            group.cancelAll()
        }
        isOver.add()
        await first.value
        #expect(
            answers.texts == [
                "too many queries: 1 run and 1 wait, which is as many as may; try again later", "query was canceled",
            ])
        #expect(budget.figures.running == 0 && budget.figures.waiting == 0 && budget.figures.refused == 1)
    }

    @Test("statistics count what Prometheus counts")
    func statistics() throws {
        var options = QueryOptions()
        options.measures = true
        let engine = QueryEngine(source: store(), options: options)
        let rate = try engine.range("sum(rate(m[1m]))", from: at(60), through: at(120), step: 30_000)
        #expect(rate.statistics?.samplesPerStep.map(\.samples) == [16, 16, 16])
        #expect(rate.statistics?.totalQueryableSamples == 48)
        #expect(rate.statistics?.samplesRead == 4 * 8)
        let fixed = try engine.range("m @ 60 + m", from: at(60), through: at(120), step: 30_000)
        #expect(fixed.statistics?.samplesPerStep.map(\.samples) == [8, 8, 8])
        let subquery = try engine.instant("sum_over_time(sum(m)[1m:15s])", at: at(120))
        #expect(subquery.statistics?.totalQueryableSamples == 4)
        let json = try #require(rate.statistics?.json(perStep: true).text)
        #expect(json.contains(#""totalQueryableSamplesPerStep":[[60,16],[90,16],[120,16]],"totalQueryableSamples":48"#))
        #expect(json.contains(#""execQueueTime":0"#))
    }

    @Test("a plan has a node for each part, with what it gave and read")
    func plan() throws {
        var options = QueryOptions()
        options.explains = true
        let engine = QueryEngine(source: store(), options: options)
        let result = try engine.range(
            "sum by (n) (rate(m[1m])) > (2 * m{n='1'})", from: at(60), through: at(120), step: 30_000)
        let plan = try #require(result.statistics?.plan)
        // 8 samples of each series for the rate, and those of one series since the lookback before the first step.
        #expect(plan.text == ">" && plan.samples == 32 + 9)
        #expect(plan.children.map(\.text) == ["sum by (n)", "*"])
        let rate = plan.children[0].children[0]
        #expect(rate.text == "rate()" && rate.series == 4 && rate.steps == 3 && rate.samples == 32)
        #expect(rate.children.map(\.text) == ["m[1m]"])
        #expect(rate.children[0].bytes > 32 * 16)
        #expect(plan.children[1].children.map(\.text) == [#"m{n="1"}"#])
    }
}

/// Texts in the order in which they came.
private final class Recorder: Sendable {
    private let list = Mutex<[String]>([])
    var texts: [String] { list.withLock { $0 } }
    func add(_ text: String) { list.withLock { $0.append(text) } }
}
