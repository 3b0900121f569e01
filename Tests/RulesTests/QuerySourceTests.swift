import Basics
import Model
import Query
import Rules
import Synchronization
import TestSupport
import Testing

/// Rules that another server evaluates.
@Suite struct QuerySourceTests {
    /// Answers by expression; a number of series, or an error.
    private final class Far: ExpressionSource {
        let answers = Mutex<[String: Result<[(labels: Labels, value: Double)], ExpressionSourceError>]>([:])
        let asked = Mutex<[String]>([])
        func instant(
            _ expression: String, at moment: Timestamp
        ) async throws(ExpressionSourceError) -> [(labels: Labels, value: Double)] {
            asked.withLock { $0.append("\(expression) @\(moment.milliseconds / 1000)") }
            return try (answers.withLock { $0[expression] } ?? .success([])).get()
        }
    }

    private static let rules = """
        groups:
        - name: g
          query_offset: 10s
          query_source: far
          rules:
          - {record: double, expr: base * 2}
          - alert: Down
            expr: up == 0
            for: 1m
            annotations: {summary: '{{ $labels.job }} {{ query "up" | len }}'}
        - name: here
          query_source: local
          rules:
          - {record: mine, expr: base}
        """

    private func world(_ far: Far, _ rules: String = rules) async throws -> RuleWorld {
        let world = try await RuleWorld(rules) { $0.sources = { $0 == "far" ? far : nil } }
        world.store.add(["__name__": "base"], at(50), 5)
        world.store.add(["__name__": "up", "job": "wrong"], at(50), 0)
        return world
    }

    @Test("its answers are recorded and feed the alerts, and our own store is not asked") func answers() async throws {
        let far = Far()
        let world = try await world(far)
        far.answers.withLock {
            $0["base * 2"] = .success([(["__name__": "base", "n": "1"], 14)])
            $0["up == 0"] = .success([(["__name__": "up", "job": "a"], 0)])
        }
        for time in [60, 120] { await world.evaluate(Double(time)) }
        #expect(world.stored(["__name__": "double", "n": "1"]) == "50=14 110=14")
        #expect(world.stored(["__name__": "mine"]) == "60=5 120=5")
        #expect(far.asked.withLock { $0 } == ["base * 2 @50", "up == 0 @50", "base * 2 @110", "up == 0 @110"])
        let told = try #require(world.recorder.told.first)
        #expect(told.labels == ["alertname": "Down", "job": "a"])
        #expect(told.annotations["summary"]?.contains("query is not offered in a group with query_source") == true)
        far.answers.withLock { $0["up == 0"] = .success([]) }
        await world.evaluate(180)
        #expect(world.recorder.told.last?.endsAt == at(180))
    }

    @Test("a failure keeps the alerts as they are and is alerted on; a silent server is asked once an evaluation")
    func failures() async throws {
        let far = Far()
        let world = try await world(far)
        far.answers.withLock { $0["up == 0"] = .success([(["job": "a"], 0)]) }
        await world.evaluate(60)
        await world.evaluate(120)
        #expect(await world.alerts().map(\.state) == [.firing])
        let away = ExpressionSourceError(.unreachable, "query source 'far': timed out")
        far.answers.withLock {
            $0["base * 2"] = .failure(away)
            $0["up == 0"] = .success([])
        }
        far.asked.withLock { $0 = [] }
        await world.evaluate(180)
        #expect(far.asked.withLock { $0 } == ["base * 2 @170"])
        #expect(await world.alerts().map(\.state) == [.firing])
        let failing = world.recorder.told.filter { $0.labels["alertname"] == "VedetteRuleEvaluationFailing" }
        #expect(failing.map { $0.labels["rule"] }.sorted() == ["Down", "double"])
        let texts = failing.compactMap { $0.annotations["description"] }
        #expect(
            texts.contains { $0.contains("query source 'far': timed out; not asked again in this evaluation") }
                && texts.contains { $0.contains("query source 'far': timed out. Its alerts") }, "\(texts)")
        // What is refused for one expression says nothing of the next.
        far.answers.withLock { $0["base * 2"] = .failure(ExpressionSourceError(.refused, "HTTP 422")) }
        await world.evaluate(240)
        #expect(await world.alerts().isEmpty)
        #expect(world.metric("vedette_rule_evaluation_failures_total") == 3)
    }

    @Test("a source that is not known fails its rules; without any, all is evaluated here, as tests of rules do")
    func unknown() async throws {
        let rules = "groups: [{name: g, query_source: gone, rules: [{record: mine, expr: base}]}]"
        let world = try await world(Far(), rules)
        await world.evaluate(60)
        #expect(world.metric("vedette_rule_evaluation_failures_total") == 1)
        let other = try await RuleWorld(rules)
        other.store.add(["__name__": "base"], at(50), 5)
        await other.evaluate(60)
        #expect(other.stored(["__name__": "mine"]) == "60=5")
    }

    @Test("drift is judged over our own store") func drift() {
        #expect {
            try RuleFile(
                Array("groups: [{name: g, query_source: far, rules: [{drift: D, model: m}]}]".utf8), file: "r.yaml")
        } throws: { error in
            "\(error)".hasPrefix("r.yaml:1:") && "\(error)".contains("move the rule to a group without query_source")
        }
    }
}
