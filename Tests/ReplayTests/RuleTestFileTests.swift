import Basics
import Settings
import TestSupport
import Testing

@testable import Replay

/// Unit tests of rules, over files in memory.
@Suite struct RuleTestFileTests {
    private static let rules = """
        groups:
          - name: second
            rules:
              - record: doubled
                expr: 2 * counted
          - name: first
            rules:
              - record: counted
                expr: count(up)
              - alert: Down
                expr: up == 0
                for: 2m
                labels: {severity: page}
                annotations: {summary: "{{ $labels.instance }} at {{ $externalURL }} for {{ $externalLabels.team }}"}
        """

    private func run(_ tests: String, head: String = "") async throws -> [RuleTestOutcome] {
        let files = MemoryFiles()
        files.put("t/rules.yml", RuleTestFileTests.rules)
        files.put("t/test.yml", "rule_files: ['rules*.yml']\n\(head)\ntests:\n\(tests)\n")
        return await (try RuleTestFile(path: "t/test.yml", files: files)).run()
    }

    @Test("alerts fire after their time, with their texts, and groups keep their order") func passing() async throws {
        let outcomes = try await run(
            """
            - name: down
              interval: 30s
              external_labels: {team: core}
              external_url: http://v
              input_series:
                - {series: 'up{instance="a"}', values: '1 0x20'}
                - {series: 'up{instance="b"}', values: '1x20'}
              alert_rule_test:
                - {eval_time: 2m59s, alertname: Down}
                - eval_time: 3m
                  alertname: Down
                  exp_alerts:
                    - exp_labels: {severity: page, instance: a}
                      exp_annotations: {summary: "a at http://v for core"}
              promql_expr_test:
                - {expr: doubled, eval_time: 1m, exp_samples: [{labels: doubled, value: 4}]}
                - {expr: 'up{instance="b"}', eval_time: 90s, exp_samples: [{labels: 'up{instance="b"}', value: 1}]}
                - {expr: 'sum(up) / 0', exp_samples: [{value: .inf}]}
                - {expr: "time()", eval_time: 5s, exp_samples: [{value: 5}]}
            """, head: "group_eval_order: [first, second]")
        #expect(outcomes.map(\.name) == ["down"])
        #expect(outcomes.flatMap(\.failures).isEmpty, "\(outcomes)")
    }

    @Test("what is not as expected is told with its place, what was expected and what came") func failing() async throws
    {
        let outcomes = try await run(
            """
            - input_series: [{series: up, values: '0x5'}]
              alert_rule_test:
                - {eval_time: 5m, alertname: Down}
              promql_expr_test:
                - {expr: up, exp_samples: [{labels: up, value: 1}]}
                - {expr: up +}
            """)
        let failures = outcomes.flatMap(\.failures)
        #expect(failures.count == 3)
        #expect(
            failures.first == """
                t/test.yml:6:7: alertname: Down, time: 5m
                    expected: nothing
                    got: \n      Labels:{alertname="Down", severity="page"} Annotations:{summary=" at  for "}
                """)
        #expect(failures.dropFirst().first?.contains("expected: \n      up 1\n    got: \n      up 0") == true)
        #expect(failures.last?.hasPrefix("t/test.yml:9:") == true, "\(failures)")
    }

    @Test(
        "a mistake in the file has its place",
        arguments: [
            ("- {alert_rule_test: [{eval_time: 5m}]}", "t/test.yml:4:22: an item under alert_rule_test misses"),
            ("- {input_series: [{series: 'a{', values: 1}]}", "t/test.yml:4:"),
            ("- {input_series: [{series: a, values: '1 b'}]}", "t/test.yml:4:"),
            ("- {input_series: [{series: a, value: 1}]}", "t/test.yml:4:"),
            ("- {start_timestamp: yesterday}", "t/test.yml:4:21: start_timestamp: 'yesterday' is no moment"),
            (
                "- {promql_expr_test: [{expr: a, exp_samples: [{histogram: '{{}}'}]}]}",
                "t/test.yml:4:48: histogram: native histograms are not offered"
            ),
        ])
    func mistakes(text: String, message: String) async throws {
        do {
            _ = try await run(text)
            Issue.record("no error for \(text)")
        } catch let error as SettingsError {
            #expect(error.description.hasPrefix(message), "\(error)")
        }
    }
}
