import Basics
import Settings
import TestSupport
import Testing

@testable import Workloads

@Suite struct WorkloadSettingsTests {
    func workloads(_ text: String) throws -> WorkloadSettings {
        let document = try SettingsDocument(text, file: "vedette.yaml")
        return try WorkloadSettings(from: try document.root.map(), files: SystemFiles())
    }

    func database(_ text: String) throws -> DatabaseSettings {
        try DatabaseSettings(from: try SettingsDocument(text, file: "vedette.yaml").root.map())
    }

    @Test("nothing is hosted that is not asked for; an empty section is the defaults") func defaults() throws {
        #expect(try workloads("memory: 512MiB").isEmpty)
        let settings = try workloads("churn: {}\nbusiness_impact: {}")
        #expect(settings.churn == ChurnSettings())
        #expect(settings.impact == ImpactSettings())
        #expect(settings.impact?.features.map(\.benefitPerUse.exact) == ["20.00", "15.00", "2.25", "2.50"])
    }

    @Test("every key") func all() throws {
        let settings = try workloads(
            """
            memory: 256MiB
            open_files: 64
            churn:
              every: 1d
              time_limit: 1m
              rows: 1000
              seed: 7
              versions: 3
              query: SELECT 1
              judge_every: 30m
              horizon: 30d
              log_limit: 5
              gate: { accuracy: 0.8, roc_auc: 0.75 }
            business_impact:
              at: "02:30"
              time_zone: Europe/Berlin
              recompute_days: 5
              time_limit: 2m
              features:
                ai_coaching: { rate: "0.2" }
                reviews: { table: review_events, count: successes, rate: "0.5", value: "3.10", infrastructure_per_day: "1",
                  cost_per_use: "0.0001", hours_saved_per_use: "0.125", target_per_year: ["1,000", "2_000"] }
            """)
        let churn = try #require(settings.churn)
        #expect(churn.seed == 7 && churn.rows == 1000 && churn.versions == 3 && churn.logLimit == 5)
        #expect(churn.minimumAccuracy == 0.8 && churn.minimumArea == 0.75 && churn.horizon == 30 * 86_400_000)
        let impact = try #require(settings.impact)
        #expect(impact.at == 9_000_000 && impact.zone.name == "Europe/Berlin" && impact.recomputedDays == 5)
        #expect(impact.features.map(\.name).suffix(2) == ["realtime_intelligence", "reviews"])
        #expect(impact.features[0].benefitPerUse.exact == "40.00")
        let day = try #require(impact.features.last).day(CivilDate("2026-10-25")!, uses: 3, successes: 2)
        #expect(day.benefit.exact == "3.10" && day.cost.exact == "1.0003" && day.hoursSavedMillis == 375)
    }

    @Test(
        "mistakes are told with their place",
        arguments: [
            ("memory: 64MiB", "1:9: memory"), ("open_files: 1", "open_files"), ("chrun: {}", "chrun"),
            ("churn: { every: 10ms }", "every: must be at least 1s"), ("churn: { rows: 10 }", "rows"),
            ("churn: { seed: -1 }", "seed"), ("churn: { versions: 1 }", "versions"),
            ("churn: { log_limit: 0 }", "log_limit"), ("churn: { gate: { accuracy: 70 } }", "accuracy"),
            ("churn: { gate: { acuracy: 0.7 } }", "acuracy"), ("business_impact: { at: \"25:00\" }", "at"),
            ("business_impact: { at: \"1:00\" }", "at"), ("business_impact: { time_zone: Berlin }", "no zone 'Berlin'"),
            ("business_impact: { time_zone: ../../etc/passwd }", "no zone"),
            ("business_impact: { recompute_days: 0 }", "recompute_days"),
            ("business_impact: { features: { Big: {} } }", "no name of a feature"),
            ("business_impact: { features: { extra: {} } }", "table"),
            ("business_impact: { features: { ai_coaching: { table: \"a; DROP\" } } }", "no name of a table"),
            ("business_impact: { features: { ai_coaching: { value: \"-1\" } } }", "no decimal number"),
            ("business_impact: { features: { ai_coaching: { value: \"0.0000001\" } } }", "at most 6 places"),
            ("business_impact: { features: { ai_coaching: { rate: \"0.000001\", value: \"0.1\" } } }", "more than six"),
            (
                "business_impact: { features: { ai_coaching: { target_per_year: [\"2\", \"1\"] } } }",
                "target_per_year"
            ),
        ])
    func mistakes(text: String, part: String) {
        let error = #expect(throws: SettingsError.self) { try workloads(text) }
        #expect(error.map { "\($0)".hasPrefix("vedette.yaml:1:") && "\($0)".contains(part) } == true, "\(error!)")
    }

    @Test("databases by text and by map") func databases() throws {
        #expect(try database("a: 1").place == .sqlite("vedette.db"))
        #expect(try database("database: sqlite:/var/x.db").place == .sqlite("/var/x.db"))
        #expect(try database("database: postgresql://u@h/d").place == .postgresql(Secret("postgresql://u@h/d")))
        let map = try database("database: { url: \"postgresql://u@h/d\", password: pw, timeout: 3s }")
        #expect(map.timeout == 3000)
        #expect(map.password == Secret("pw"))
    }

    @Test(
        "a database that cannot be is refused, and its password is not repeated",
        arguments: [
            "database: mysql://u:hush@h/d", "database: \"sqlite:\"", "database: { password: hush }",
            "database: { url: \"sqlite:a.db\", password: hush }",
            "database: { url: \"postgresql://u:hush@h/d\", timeout: 0s }",
            "database: { url: \"postgresql://u:hush@[h/d\" }",
            "database: { url: \"postgresql://u@h/d\", pasword: hush }",
        ])
    func badDatabases(text: String) {
        let error = #expect(throws: SettingsError.self) { try database(text) }
        #expect(error.map { !"\($0)".contains("hush") } == true, "\(error!)")
    }
}
