import Basics
import Model
import SQL
import TestSupport
import Testing

@testable import Workloads

/// Business impact against a second computation in plain SQL.
@Suite(.serialized) struct ImpactTests {
    /// Both databases where PostgreSQL can be had.
    static let places = PostgresCluster.isInstalled ? ["SQLite", "PostgreSQL"] : ["SQLite"]
    /// 2026-10-25 has 25 hours in Berlin.
    static let now = Timestamp(rfc3339: "2026-10-26T12:00:00Z")!

    func open(_ place: String, _ folder: Folder) throws -> any SQLDatabase {
        guard place == "PostgreSQL" else {
            return SQLiteDatabase(path: "\(folder.path)/test.db", clock: SystemClock())
        }
        return try PostgresDatabase(
            url: try PostgresCluster.shared().makeDatabase(),
            password: { () throws(SQLError) in PostgresCluster.password }, clock: SystemClock())
    }

    func host(_ database: any SQLDatabase, _ settings: ImpactSettings) -> (WorkloadHost, ImpactWorkload) {
        let clock = HeldClock(Self.now.description)
        let impact = ImpactWorkload(settings, database: database, clock: clock)
        return (
            WorkloadHost(
                [impact], database: database, folder: "data", files: MemoryFiles(), clock: clock, log: RecordingLog()),
            impact
        )
    }

    /// A feature's constants, in millionths, by the table of definitions.
    struct Law {
        var feature: String, table: String, condition: String
        var benefit: Int64, day: Int64, use: Int64
    }
    static let laws = [
        Law(
            feature: "ai_coaching", table: "coaching_sessions", condition: "1 = 1", benefit: 20_000_000,
            day: 15_000_000, use: 10_000),
        Law(
            feature: "churn_prevention", table: "churn_interventions", condition: "success = 1", benefit: 15_000_000,
            day: 10_000_000, use: 2_000),
        Law(
            feature: "property_vision", table: "property_vision_analyses", condition: "1 = 1", benefit: 2_250_000,
            day: 20_000_000, use: 50_000),
        Law(
            feature: "realtime_intelligence", table: "realtime_intelligence_events", condition: "1 = 1",
            benefit: 2_500_000, day: 15_000_000, use: 1_000),
    ]

    struct Period {
        var name: String, days: Int64, from: String, begins: String, ends: String
    }
    static let periods: [String: [Period]] = [
        "UTC": [
            Period(
                name: "yesterday", days: 1, from: "2026-10-25", begins: "2026-10-25T00:00:00Z",
                ends: "2026-10-26T00:00:00Z"),
            Period(
                name: "week", days: 7, from: "2026-10-19", begins: "2026-10-19T00:00:00Z",
                ends: "2026-10-26T00:00:00Z"),
            Period(
                name: "all", days: 119, from: "2026-06-29", begins: "2026-06-29T00:00:00Z",
                ends: "2026-10-26T00:00:00Z"),
        ],
        "Europe/Berlin": [
            Period(
                name: "yesterday", days: 1, from: "2026-10-25", begins: "2026-10-24T22:00:00Z",
                ends: "2026-10-25T23:00:00Z"),
            Period(
                name: "week", days: 7, from: "2026-10-19", begins: "2026-10-18T22:00:00Z",
                ends: "2026-10-25T23:00:00Z"),
            Period(
                name: "all", days: 119, from: "2026-06-29", begins: "2026-06-28T22:00:00Z",
                ends: "2026-10-25T23:00:00Z"),
        ],
    ]

    @Test("a second computation agrees to the cent", arguments: places, ["UTC", "Europe/Berlin"])
    func agrees(place: String, zone: String) async throws {
        let folder = try Folder()
        let database = try open(place, folder)
        let business = SyntheticBusiness(seed: 3, until: CivilDate("2026-10-26")!, days: 120, customers: 200)
        try await business.fill(database, now: Self.now)
        var settings = ImpactSettings()
        settings.zone = try #require(CivilZone(zone, files: SystemFiles()))
        let (host, impact) = host(database, settings)
        // Each day and feature once, and a second run writes the same again.
        #expect(try await host.runNow("business_impact", request: .null).rows == 119 * 4)
        let record = try await database.query("SELECT * FROM phase3_business_metrics ORDER BY metric_date, feature")
        #expect(try await host.runNow("business_impact", request: .null).rows == 3 * 4)
        #expect(
            try await database.query("SELECT * FROM phase3_business_metrics ORDER BY metric_date, feature").map(
                \.values)
                == record.map(\.values))

        for period in try #require(Self.periods[zone]) {
            let moments = [period.begins, period.ends].map {
                SQLValue.integer(Timestamp(rfc3339: $0)!.milliseconds)
            }
            let report = try await impact.report(from: CivilDate(period.from)!, to: CivilDate("2026-10-25")!)
            #expect(report.total.days == period.days)
            var (benefit, cost) = (Int64(0), Int64(0))
            for (line, law) in zip(report.lines, Self.laws) {
                #expect(line.feature == law.feature)
                let row = try #require(
                    try await database.query(
                        "SELECT COUNT(*) AS uses, "
                            + "SUM(CASE WHEN \(law.condition) THEN CAST(\(law.benefit) AS BIGINT) ELSE 0 END) "
                            + "AS benefit, CAST(\(law.day) AS BIGINT) * \(period.days) + COUNT(*) * \(law.use) AS cost "
                            + "FROM \(law.table) WHERE occurred_at >= ? AND occurred_at < ?", moments
                    ).first)
                let place = "\(zone) \(period.name) \(law.feature)"
                #expect(try row.integer("uses") > 0, "\(place)")
                #expect(line.uses == (try row.integer("uses")), "\(place)")
                #expect(line.benefit.micros == (try row.integer("benefit")), "\(place)")
                #expect(line.cost.micros == (try row.integer("cost")), "\(place)")
                #expect(
                    line.returnOnInvestment == Double(line.benefit.micros - line.cost.micros) / Double(line.cost.micros)
                )
                // The daily mean times 365, to the millionth.
                let yearly = Double(line.benefit.micros - line.cost.micros) / Double(period.days) * 365
                #expect(abs(Double(line.projection.micros) - yearly) <= 1, "\(place)")
                benefit += try row.integer("benefit")
                cost += try row.integer("cost")
                try await checkLift(line, database, moments, place)
            }
            #expect(report.total.benefit.micros == benefit)
            #expect(report.total.cost.micros == cost)
            #expect(report.total.net.description == Money(micros: benefit - cost).description)
            #expect(report.total.target == Money("265,000")!...Money("440,000")!)
        }
    }

    func checkLift(_ line: ImpactLine, _ database: any SQLDatabase, _ moments: [SQLValue], _ place: String) async throws
    {
        let rows = try await database.query(
            "SELECT a.variant AS variant, COUNT(DISTINCT a.user_id) AS units, "
                + "COUNT(DISTINCT CASE WHEN p.id IS NOT NULL THEN a.user_id END) AS hits FROM ab_test_assignments a "
                + "LEFT JOIN purchases p ON p.tenant_id = a.tenant_id AND p.user_id = a.user_id "
                + "AND p.occurred_at >= ? AND p.occurred_at < ? AND p.occurred_at >= a.assigned_at "
                + "WHERE a.feature = ? AND a.assigned_at < ? GROUP BY a.variant ORDER BY a.variant",
            moments + [.text(line.feature), moments[1]])
        let lift = try #require(line.lift)
        #expect(rows.map { $0["units"].integer } == [lift.control, lift.treatment], "\(place)")
        #expect(rows.map { $0["hits"].integer } == [lift.controlSuccesses, lift.treatmentSuccesses], "\(place)")
    }

    @Test("late events of the last days are counted by the next run; older ones are closed") func late() async throws {
        let folder = try Folder()
        let database = try open("SQLite", folder)
        let (host, impact) = host(database, ImpactSettings())
        func event(_ id: Int, _ moment: String) async throws {
            try await database.insert(
                into: "coaching_sessions", BusinessTables.coaching.columnNames,
                [[.int(id), "t", "u", .integer(Timestamp(rfc3339: moment)!.milliseconds), 1, 1.0, 1.0, 1.0]])
        }
        try await database.migrate(BusinessTables.migrations, now: Self.now)
        try await event(1, "2026-10-10T12:00:00Z")
        #expect(try await host.runNow("business_impact", request: .null).rows == 16 * 4)
        try await event(2, "2026-10-23T12:00:00Z")
        try await event(3, "2026-10-22T12:00:00Z")
        _ = try await host.runNow("business_impact", request: .null)
        let report = try await impact.report(from: CivilDate("2026-10-10")!, to: CivilDate("2026-10-25")!)
        #expect(report.lines.first { $0.feature == "ai_coaching" }?.uses == 2)
        #expect(report.lines.first { $0.feature == "ai_coaching" }?.benefit.description == "40.00")
    }

    @Test("without a cost there is no return on investment, without a control's success no lift") func undefined()
        throws
    {
        var line = ImpactLine("a", days: 1)
        #expect(line.returnOnInvestment == nil && line.revenueToCost == nil && line.costShare == nil)
        line.benefit = Money("10")!
        #expect(line.returnOnInvestment == nil)
        #expect(line.costShare == 0)
        line.cost = Money("4")!
        #expect(line.returnOnInvestment == 1.5)
        #expect(line.revenueToCost == 2.5)
        line.lift = ConversionLift(treatment: 10, treatmentSuccesses: 5, control: 10, controlSuccesses: 0)
        #expect(line.lift?.value == nil && line.lift?.interval == nil)
        #expect(ConversionLift(treatment: 0, treatmentSuccesses: 0, control: 5, controlSuccesses: 1).value == nil)
        let report = ImpactReport(
            from: CivilDate("2026-10-25")!, to: CivilDate("2026-10-25")!, zone: "UTC", lines: [line],
            total: ImpactLine("total", days: 1))
        #expect(report.json["features"]?[0]?["conversion"]?["lift"] == .null)
        #expect(report.json["total"]?["roi"] == .null)
    }

    @Test(
        "money is read exactly; a decimal comma is a mistake",
        arguments: [
            ("265,000", 265_000_000_000), ("2_000.5", 2_000_500_000), ("-2.5", -2_500_000), ("0.000001", 1),
            ("1,234,567.89", 1_234_567_890_000), ("0,05", nil), ("0,050", nil), ("1,", nil), (",5", nil),
            ("1,,000", nil),
            ("1000,000", nil), ("1.", nil), ("", nil), ("-", nil), ("1e3", nil), ("0.0000001", nil),
            ("99999999999999", nil), ("1.000,5", nil),
        ] as [(String, Int64?)])
    func money(text: String, micros: Int64?) { #expect(Money(text)?.micros == micros) }

    @Test("amounts are told in cents, halves to even, and exactly") func amounts() {
        #expect(Money(micros: 5_000).description == "0.00" && Money(micros: 15_000).description == "0.02")
        #expect(Money(micros: -12_505_000).description == "-12.50" && Money(micros: -4_000).description == "0.00")
        #expect(Money(micros: -12_505_000).exact == "-12.505" && Money(micros: 1).exact == "0.000001")
        #expect(
            Money(micros: 5).scaled(by: 1, over: 2).micros == 2 && Money(micros: 7).scaled(by: 1, over: 2).micros == 4)
    }

    @Test("a lift and its interval by hand") func lift() throws {
        let lift = ConversionLift(treatment: 1000, treatmentSuccesses: 120, control: 1000, controlSuccesses: 100)
        #expect(abs(try #require(lift.value) - 0.2) < 1e-12)
        // var = .12·.88/1000/.01 + .1·.9/1000·.0144/.0001
        let half = 1.959_963_984_540_054 * (0.01056 + 0.01296).squareRoot()
        let interval = try #require(lift.interval)
        #expect(abs(interval.lowerBound - (0.2 - half)) < 1e-12)
        #expect(abs(interval.upperBound - (0.2 + half)) < 1e-12)
    }

    @Test("the projection is the daily mean times 365, rounded once") func projection() {
        var line = ImpactLine("a", days: 7)
        line.benefit = Money("100")!
        #expect(line.projection.description == "5214.29")
        #expect(line.projection.micros == 5_214_285_714)
        line = ImpactLine("a", days: 1)
        line.cost = Money("15")!
        #expect(line.projection.description == "-5475.00")
    }

    @Test("series, answers and an outage's cost") func answers() async throws {
        let folder = try Folder()
        let database = try open("SQLite", folder)
        try await SyntheticBusiness(seed: 3, until: CivilDate("2026-10-26")!, days: 60, customers: 50)
            .fill(database, now: Self.now)
        let (host, impact) = host(database, ImpactSettings())
        #expect(impact.metrics().isEmpty)
        _ = try await host.runNow("business_impact", request: .null)
        let day = try await impact.report(from: CivilDate("2026-10-25")!, to: CivilDate("2026-10-25")!)
        for line in day.lines {
            #expect(
                value(impact.metrics(), "phase3_revenue_impact_daily", ["feature": line.feature])
                    == Double(line.benefit.micros) / 1e6)
        }
        let saved = try await database.query(
            "SELECT COUNT(DISTINCT user_id) AS n FROM churn_interventions WHERE success = 1 AND occurred_at >= ? "
                + "AND occurred_at < ?",
            ["2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z"].map { .integer(Timestamp(rfc3339: $0)!.milliseconds) }
        ).first?["n"].integer
        #expect(value(impact.metrics(), "leads_saved_from_churn") == saved.map(Double.init))
        let week = await host.get("/api/v1/analytics/impact", ["period": "week"])
        #expect(week.body["from"] == "2026-10-19")
        #expect(week.body["to"] == "2026-10-25")
        #expect(week.body["days"]?.integer == 7)

        // An hour of an outage is a 24th of the mean of the 28 days before.
        let month = try await impact.report(from: CivilDate("2026-09-28")!, to: CivilDate("2026-10-25")!)
        let outage = await host.get(
            "/api/v1/analytics/impact/outage",
            ["from": "2026-10-26T10:00:00Z", "to": "2026-10-26T11:00:00Z", "features": "ai_coaching"])
        let hourly = Double(month.lines[0].benefit.micros) / 28 / 24 / 1e6
        #expect(abs(Double(try #require(outage.body["total"]?.string))! - hourly) <= 0.0051, "\(outage.body.text)")
        for (path, query, status) in [
            ("", ["period": "weak"], 400), ("", ["form": "2026-10-01"], 400), ("", ["from": "2026-13-01"], 400),
            ("", ["from": "2026-10-02", "to": "2026-10-01"], 400), ("", ["from": "2026-10-02", "period": "day"], 400),
            ("/outage", ["from": "2026-10-26T10:00:00Z"], 400),
            (
                "/outage",
                ["from": "2026-10-26T10:00:00Z", "to": "2026-10-26T11:00:00Z", "features": "ai_coachin"], 422
            ),
        ] as [(String, [String: String], Int)] {
            let answer = await host.get("/api/v1/analytics/impact" + path, query)
            #expect(answer.status == status, "\(query) \(answer.body.text)")
            #expect(answer.body["cure"]?.string?.isEmpty == false)
        }
    }

    @Test("a business is made once") func once() async throws {
        let folder = try Folder()
        let database = try open("SQLite", folder)
        let business = SyntheticBusiness(seed: 3, until: CivilDate("2026-10-26")!, days: 40, customers: 20)
        let rows = try await business.fill(database, now: Self.now)
        #expect(rows.allSatisfy { $0.rows > 0 || $0.table == "churn_outcomes" }, "\(rows)")
        let error = await #expect(throws: SQLError.self) { try await business.fill(database, now: Self.now) }
        #expect(error?.message.contains("holds rows already") == true)
    }
}
