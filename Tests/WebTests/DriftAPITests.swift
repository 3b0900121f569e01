import Basics
import Model
import Rules
import TestSupport
import Testing

@testable import Web

@Suite struct DriftAPITests {
    @Test("a drift rule is an alerting rule with its features beside it") func rules() async throws {
        let bench = try await WebBench(
            rules: """
                groups:
                - name: g
                  interval: 100s
                  rules:
                  - drift: D
                    current: {expr: x, window: 100s}
                    reference: {window: 100s}
                    over: samples
                    minimum: 50
                    evaluations: 3
                """)
        for second in stride(from: 1.0, through: 100, by: 1) {
            bench.store.add(["__name__": "x", "feature": "a"], Timestamp(seconds: 400 + second), second)
            bench.store.add(["__name__": "x", "feature": "a"], Timestamp(seconds: 500 + second), second + 80)
            bench.store.add(["__name__": "x", "feature": "b"], Timestamp(seconds: 500 + second), 1)
        }
        await bench.scheduler.evaluate(at: Timestamp(seconds: 600), bench.clock)
        let answer = try await bench.json("/api/v1/rules", [("type", "alert")])
        let rule = try #require(answer.body["data"]?["groups"]?[0]?["rules"]?[0])
        #expect(rule["type"] == "alerting" && rule["state"] == "pending" && rule["name"] == "D")
        #expect(rule["query"] == "x" && rule["duration"] == 200 && rule["health"] == "ok")
        #expect(rule["alerts"]?[0]?["labels"] == ["alertname": "D", "feature": "a"])
        let features = try #require(rule["driftFeatures"]?.array)
        #expect(features.compactMap { $0["feature"]?.string } == ["a", "b"])
        #expect(features.compactMap { $0["state"]?.string } == ["drifted", "no_data"])
        #expect(features[0]["referenceCount"] == 100 && features[0]["currentCount"] == 100)
        let test = try #require(features[0]["tests"]?[1])
        #expect(test["test"] == "ks" && test["score"] == 0.8 && test["threshold"] == 0.1 && test["law"] == "exact")
        #expect((test["pValue"]?.number ?? 1) < 1e-9)
        #expect(features[1]["notes"] == ["0 reference observations where 50 are needed"])
    }
}
