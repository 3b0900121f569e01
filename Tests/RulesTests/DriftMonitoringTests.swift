import Basics
import Foundation
import Model
import Rules
import TestSupport
import Testing

/// A scored stream of five reference days and ten days after it, whose numbers shift more and more from the fifth on.
@Suite struct DriftMonitoringTests {
    private static let numbers = [
        "days_since_signup", "login_count", "feature_usage", "last_login_days_ago", "session_duration", "api_calls",
        "y_pred_proba",
    ]
    private static let rules = """
        groups:
        - name: churn
          interval: 1d
          rules:
          - drift: NumbersDrifted
            current: {expr: 'column{model="churn"}', window: 1d}
            reference: {file: reference.csv}
            over: samples
            minimum: 100
            evaluations: 2
          - drift: PlansDrifted
            current: {expr: 'plan_total{model="churn"}', window: 1d}
            reference: {file: plans.csv}
            over: categories
            category: plan
            minimum: 100
            evaluations: 2
        """

    private let day = 86_400.0

    @Test("drift fires on its second day and not before it begins") func churn() async throws {
        guard let url = Peers.file("ml/drift/monitoring.csv") else { return }
        let lines = try Peers.text(url).split(whereSeparator: \.isNewline).map { line in
            line.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let header = lines[0]
        let rows = lines.dropFirst().map { Dictionary(uniqueKeysWithValues: zip(header, $0)) }
        let names = DriftMonitoringTests.numbers
        let reference = rows.filter { $0["period"] == "reference" }
        let analysis = rows.filter { $0["period"] != "reference" }
        let files = MemoryFiles()
        files.put(
            "reference.csv",
            ([names] + reference.map { row in names.map { row[$0] ?? "" } }).map { $0.joined(separator: ",") }
                .joined(separator: "\n"))
        files.put(
            "plans.csv", (["plan_total"] + reference.map { $0["plan_tier"] ?? "" }).joined(separator: "\n"))
        let world = try await RuleWorld(DriftMonitoringTests.rules, files: files)
        var plans: [String: Double] = ["free": 0, "basic": 0, "pro": 0, "enterprise": 0]
        var (began, drifted): ([String: Int], [String: [Int]]) = ([:], [:])
        for chunk in 0..<10 {
            let start = Double(chunk) * day
            let rows = analysis.filter { $0["chunk"] == "\(chunk)" }
            try #require(rows.count == 200, "chunk \(chunk): \(rows.count)")
            // What the counters stand at when the day begins.
            for (plan, count) in plans {
                world.store.add(["__name__": "plan_total", "model": "churn", "plan": plan], at(start + 1), count)
            }
            for (index, row) in rows.enumerated() {
                let moment = at(start + 2 + Double(index))
                for name in names {
                    guard let value = Double(row[name] ?? "") else { continue }
                    world.store.add(["__name__": "column", "model": "churn", "feature": name], moment, value)
                }
                guard let plan = row["plan_tier"], !plan.isEmpty else { continue }
                if plans[plan] == nil {
                    world.store.add(["__name__": "plan_total", "model": "churn", "plan": plan], at(start + 1), 0)
                }
                plans[plan, default: 0] += 1
                world.store.add(
                    ["__name__": "plan_total", "model": "churn", "plan": plan], moment, plans[plan] ?? 0)
            }
            await world.evaluate(start + day)
            let features = await world.scheduler.status().flatMap { $0.rules.flatMap(\.driftFeatures) }
            for feature in features where feature.state == .drifted { drifted[feature.name, default: []].append(chunk) }
            for alert in await world.alerts() where alert.state == .firing && began[alert.labels["feature"]] == nil {
                began[alert.labels["feature"]] = chunk
            }
        }
        print("drift in the churn stream: firing since chunk \(began.sorted { $0.key < $1.key })")
        #expect(
            began == ["last_login_days_ago": 7, "session_duration": 7, "y_pred_proba": 7, "plan_total": 9])
        // No feature drifts on a day before the shift begins, and each goes on once it has.
        #expect(drifted.values.allSatisfy { $0.min() ?? 0 >= 5 })
        #expect(drifted["plan_total"] == [8, 9] && drifted["session_duration"] == [6, 7, 8, 9])
    }
}
