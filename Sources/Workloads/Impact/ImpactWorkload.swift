public import Basics
public import Model
public import SQL
internal import Synchronization

/// Computes what features brought and cost, a day at a time, into `phase3_business_metrics`. The table is the record;
/// series are a rounded view of it.
public final class ImpactWorkload: Workload {
    private struct Figures {
        var day: [ImpactDay] = []
        var lifts: [(feature: String, lift: Double)] = []
        var rates: [ImpactRate] = []
        var leadsSaved: Int64 = 0
        var interventions = (total: Int64(0), delivered: Int64(0), successful: Int64(0))
        var isKnown = false
    }

    /// `business_impact`.
    public let name = "business_impact"
    private let settings: ImpactSettings
    private let database: any SQLDatabase
    private let clock: any TimeSource
    private let figures = Mutex(Figures())

    /// How many days the rate of an outage's cost is from, and the lift.
    public static let window: Int64 = 28
    /// The longest report.
    static let longestReport: Int64 = 1100

    /// A workload that answers reports from `database`.
    public init(_ settings: ImpactSettings, database: any SQLDatabase, clock: any TimeSource) {
        (self.settings, self.database, self.clock) = (settings, database, clock)
    }

    /// Daily, at the time of the settings.
    public var schedule: WorkloadSchedule { .daily(at: settings.at, settings.zone) }
    /// See `ImpactSettings.timeLimit`.
    public var timeLimit: Milliseconds { settings.timeLimit }
    /// A success each day, an hour's grace; in a tenth of the limit.
    public var objectives: WorkloadObjectives { WorkloadObjectives(age: 25 * 3_600_000, duration: timeLimit / 10) }

    private func yesterday(_ now: Timestamp) -> CivilDate { settings.zone.date(at: now).adding(days: -1) }

    /// Computes every day since the record's last, the last few anew, and at the first run all that have events.
    @concurrent public func run(_ context: WorkloadContext) async throws -> WorkloadReport {
        let last = yesterday(context.now)
        let table = BusinessTables.metrics
        let newest = try await context.database.query("SELECT MAX(metric_date) AS d FROM \(table.name)").first?["d"]
            .text
        var first = newest.flatMap(CivilDate.init)?.adding(days: 1 - Int64(settings.recomputedDays))
        if first == nil { first = try await firstDay(context.database) }
        let start = max(
            first?.daysSinceEpoch ?? last.daysSinceEpoch, last.daysSinceEpoch - ImpactWorkload.longestReport)
        var rows = 0
        // A month at a time: each part is short enough for everybody else.
        for month in stride(from: min(start, last.daysSinceEpoch), through: last.daysSinceEpoch, by: 31) {
            guard !Task.isCancelled else { throw CancellationError() }
            let through = min(month + 30, last.daysSinceEpoch)
            rows += try await context.database.transaction(timeout: 60_000) { [settings] connection throws(SQLError) in
                let days = try ImpactWorkload.compute(settings, connection, month...through)
                try ImpactWorkload.write(days, connection, now: context.now)
                return days.count
            }
        }
        try await look(context.database, last)
        return WorkloadReport(rows: rows, details: ["through": .string(last.text), "rows": .number(Double(rows))])
    }

    private func firstDay(_ database: any SQLDatabase) async throws(SQLError) -> CivilDate? {
        var first: Int64?
        for feature in settings.features {
            let row = try await database.query("SELECT MIN(occurred_at) AS t FROM \(feature.table)").first
            if let moment = row?["t"].integer { first = min(first ?? moment, moment) }
        }
        return first.map { settings.zone.date(at: Timestamp(milliseconds: $0)) }
    }

    /// The figures of days, from the events.
    static func compute(
        _ settings: ImpactSettings, _ connection: any SQLConnection, _ days: ClosedRange<Int64>
    ) throws(SQLError) -> [ImpactDay] {
        var found: [ImpactDay] = []
        for day in days {
            let date = CivilDate(daysSinceEpoch: day)
            let (start, end) = (settings.zone.start(of: date), settings.zone.start(of: date.adding(days: 1)))
            for feature in settings.features {
                let row = try connection.query(
                    "SELECT COUNT(*) AS n, SUM(CASE WHEN success = 1 THEN 1 ELSE 0 END) AS s FROM \(feature.table) "
                        + "WHERE occurred_at >= ? AND occurred_at < ?",
                    [.integer(start.milliseconds), .integer(end.milliseconds)]
                ).first
                found.append(
                    feature.day(date, uses: row?["n"].integer ?? 0, successes: row?["s"].integer ?? 0))
            }
        }
        return found
    }

    private static func write(
        _ days: [ImpactDay], _ connection: any SQLConnection, now: Timestamp
    ) throws(SQLError) {
        let table = BusinessTables.metrics
        for day in days {
            try connection.execute(
                "DELETE FROM \(table.name) WHERE metric_date = ? AND tenant_id = '*' AND feature = ?",
                [.text(day.date.text), .text(day.feature)])
        }
        try connection.insert(
            into: table.name, table.columnNames,
            days.map { day in
                [
                    .text(day.date.text), "*", .text(day.feature), .integer(day.uses), .integer(day.successes),
                    .integer(day.benefit.micros), .integer(day.infrastructure.micros), .integer(day.usageCost.micros),
                    .integer(day.hoursSavedMillis), .integer(now.milliseconds),
                ]
            })
    }

    /// The days between, from the record; what it lacks is computed from the events.
    private static func days(
        _ settings: ImpactSettings, _ connection: any SQLConnection, _ range: ClosedRange<Int64>
    ) throws(SQLError) -> [ImpactDay] {
        let table = BusinessTables.metrics
        var known: [String: [ImpactDay]] = [:]
        try connection.each(
            "SELECT * FROM \(table.name) WHERE tenant_id = '*' AND metric_date >= ? AND metric_date <= ?",
            [
                .text(CivilDate(daysSinceEpoch: range.lowerBound).text),
                .text(CivilDate(daysSinceEpoch: range.upperBound).text),
            ]
        ) { row throws(SQLError) in
            let text = try row.text("metric_date")
            guard let date = CivilDate(text) else { throw SQLError(.refused, "'\(text)' is no day") }
            known[text, default: []].append(
                ImpactDay(
                    feature: try row.text("feature"), date: date, uses: try row.integer("uses"),
                    successes: try row.integer("successes"),
                    benefit: Money(micros: try row.integer("benefit_micros")),
                    infrastructure: Money(micros: try row.integer("infrastructure_micros")),
                    usageCost: Money(micros: try row.integer("usage_cost_micros")),
                    hoursSavedMillis: try row.integer("hours_saved_millis")))
        }
        var found: [ImpactDay] = []
        for day in range {
            let there = known[CivilDate(daysSinceEpoch: day).text] ?? []
            let names = Set(there.map(\.feature))
            found += there
            if !settings.features.allSatisfy({ names.contains($0.name) }) {
                found += try compute(settings, connection, day...day).filter { !names.contains($0.feature) }
            }
        }
        return found
    }

    /// Treatment and control of a feature: a unit has a success when it bought something in the days, after it was
    /// assigned. Units assigned after the days do not count.
    private static func lift(
        _ feature: String, _ settings: ImpactSettings, _ connection: any SQLConnection, _ range: ClosedRange<Int64>
    ) throws(SQLError) -> ConversionLift? {
        let start = settings.zone.start(of: CivilDate(daysSinceEpoch: range.lowerBound))
        let end = settings.zone.start(of: CivilDate(daysSinceEpoch: range.upperBound + 1))
        let rows = try connection.query(
            "SELECT variant, COUNT(*) AS units, SUM(CASE WHEN EXISTS (SELECT 1 FROM \(BusinessTables.purchases.name) p "
                + "WHERE p.tenant_id = a.tenant_id AND p.user_id = a.user_id AND p.occurred_at >= ? "
                + "AND p.occurred_at < ? AND p.occurred_at >= a.assigned_at) THEN 1 ELSE 0 END) AS hits "
                + "FROM \(BusinessTables.assignments.name) a WHERE feature = ? AND assigned_at < ? GROUP BY variant",
            [.integer(start.milliseconds), .integer(end.milliseconds), .text(feature), .integer(end.milliseconds)])
        guard !rows.isEmpty else { return nil }
        var lift = ConversionLift(treatment: 0, treatmentSuccesses: 0, control: 0, controlSuccesses: 0)
        for row in rows {
            let (units, hits) = (try row.integer("units"), row["hits"].integer ?? 0)
            switch try row.text("variant") {
            case "treatment": (lift.treatment, lift.treatmentSuccesses) = (units, hits)
            case "control": (lift.control, lift.controlSuccesses) = (units, hits)
            default: break
            }
        }
        return lift
    }

    /// A report over days, first and last included.
    public func report(from: CivilDate, to: CivilDate) async throws(SQLError) -> ImpactReport {
        let range = from.daysSinceEpoch...to.daysSinceEpoch
        return try await database.perform(timeout: 60_000) { [settings] connection throws(SQLError) in
            let days = try ImpactWorkload.days(settings, connection, range)
            var (lines, total) = ([ImpactLine](), ImpactLine("total", days: Int64(range.count)))
            for feature in settings.features {
                var line = ImpactLine(feature.name, days: Int64(range.count))
                for day in days where day.feature == feature.name { line.add(day) }
                line.target = feature.target
                line.lift = try ImpactWorkload.lift(feature.name, settings, connection, range)
                total.add(line)
                lines.append(line)
            }
            let targets = settings.features.compactMap(\.target)
            if targets.count == settings.features.count, !targets.isEmpty {
                let low = targets.map(\.lowerBound).reduce(.zero, +)
                total.target = low...targets.map(\.upperBound).reduce(.zero, +)
            }
            return ImpactReport(from: from, to: to, zone: settings.zone.name, lines: lines, total: total)
        }
    }

    /// What each feature brings in a day: the mean over the 28 days before the one of `moment`.
    public func rates(before moment: Timestamp) async throws(SQLError) -> [ImpactRate] {
        let last = yesterday(moment).daysSinceEpoch
        return try await database.perform(timeout: 60_000) { [settings] connection throws(SQLError) in
            try ImpactWorkload.rates(settings, connection, through: last)
        }
    }

    private static func rates(
        _ settings: ImpactSettings, _ connection: any SQLConnection, through last: Int64
    ) throws(SQLError) -> [ImpactRate] {
        let days = try days(settings, connection, last - window + 1...last)
        return settings.features.map { feature in
            let sum = days.filter { $0.feature == feature.name }.map(\.benefit).reduce(.zero, +)
            return ImpactRate(feature: feature.name, daily: sum.scaled(by: 1, over: window))
        }
    }

    /// What an outage of features took away, each and in all; a name that is no feature is refused.
    public func outage(
        of features: [String], from: Timestamp, to: Timestamp
    ) async throws -> (each: [(feature: String, cost: Money)], total: Money) {
        let known = settings.features.map(\.name)
        for name in features where !known.contains(name) {
            let near = name.nearest(among: known).map { "did you mean '\($0)'?" }
            throw WorkloadRefusal(
                422, "there is no feature '\(name)'", cure: near ?? "known are \(known.joined(separator: ", "))")
        }
        let each = try await rates(before: from).filter { features.contains($0.feature) }
            .map { (feature: $0.feature, cost: $0.cost(of: to - from)) }
        return (each, each.map(\.cost).reduce(.zero, +))
    }

    private func look(_ database: any SQLDatabase, _ day: CivilDate) async throws(SQLError) {
        let last = day.daysSinceEpoch
        let fresh = try await database.perform(timeout: 60_000) { [settings] connection throws(SQLError) in
            var fresh = Figures()
            fresh.isKnown = true
            fresh.day = try ImpactWorkload.days(settings, connection, last...last)
            fresh.rates = try ImpactWorkload.rates(settings, connection, through: last)
            for feature in settings.features {
                let range = last - ImpactWorkload.window + 1...last
                guard let lift = try ImpactWorkload.lift(feature.name, settings, connection, range)?.value else {
                    continue
                }
                fresh.lifts.append((feature.name, lift))
            }
            let table = BusinessTables.interventions.name
            let counts = try connection.query(
                "SELECT COUNT(*) AS n, SUM(delivered) AS d, SUM(success) AS s FROM \(table)"
            ).first
            fresh.interventions = (
                counts?["n"].integer ?? 0, counts?["d"].integer ?? 0, counts?["s"].integer ?? 0
            )
            let start = settings.zone.start(of: day)
            let end = settings.zone.start(of: day.adding(days: 1))
            let saved = try connection.query(
                "SELECT COUNT(*) AS n FROM (SELECT DISTINCT tenant_id, user_id FROM \(table) "
                    + "WHERE success = 1 AND occurred_at >= ? AND occurred_at < ?) AS saved",
                [.integer(start.milliseconds), .integer(end.milliseconds)]
            ).first
            fresh.leadsSaved = saved?["n"].integer ?? 0
            return fresh
        }
        guard !Task.isCancelled else { return }
        figures.withLock { $0 = fresh }
    }

    // MARK: - Answers

    /// The days that a request asks for: `from` and `to`, or a `period` that ends yesterday.
    static func range(
        _ query: [String: String], yesterday: CivilDate
    ) throws(WorkloadRefusal) -> (from: CivilDate, to: CivilDate) {
        func day(_ name: String) throws(WorkloadRefusal) -> CivilDate? {
            guard let text = query[name] else { return nil }
            guard let date = CivilDate(text) else {
                throw WorkloadRefusal(400, "\(name) is '\(text.prefix(40))'", cure: "write a day as 2026-11-20")
            }
            return date
        }
        let (from, to) = (try day("from"), try day("to"))
        if let period = query["period"] {
            guard from == nil, to == nil else {
                throw WorkloadRefusal(400, "period stands beside from or to", cure: "leave one out")
            }
            let lengths: [String: Int64] = ["day": 1, "week": 7, "month": 30, "quarter": 90, "year": 365]
            guard let length = lengths[period] else {
                throw WorkloadRefusal(
                    400, "period is '\(period.prefix(40))'", cure: "give one of day, week, month, quarter, year")
            }
            return (yesterday.adding(days: 1 - length), yesterday)
        }
        let isAhead = (from?.daysSinceEpoch ?? .min) > yesterday.daysSinceEpoch
        let end = to ?? (isAhead ? from : nil) ?? yesterday
        let start = from ?? end
        let length = end.daysSinceEpoch - start.daysSinceEpoch + 1
        guard (1...longestReport).contains(length) else {
            throw WorkloadRefusal(
                400, "from \(start.text) to \(end.text) are \(length) days",
                cure: "give from 1 to \(longestReport) days, from before to")
        }
        return (start, end)
    }

    private func refusal(_ error: SQLError) -> WorkloadRefusal {
        WorkloadRefusal(503, "\(error)", cure: "see that the database \(database.address) is well")
    }

    /// See `Workload`.
    public var endpoints: [WorkloadEndpoint] {
        [
            WorkloadEndpoint("GET", "/api/v1/analytics/impact") { [self] request, _ throws(WorkloadRefusal) in
                try request.checkQuery(["from", "to", "period"])
                let (from, to) = try ImpactWorkload.range(request.query, yesterday: yesterday(clock.now()))
                do throws(SQLError) { return try await report(from: from, to: to).json } catch { throw refusal(error) }
            },
            WorkloadEndpoint("GET", "/api/v1/analytics/impact/outage") { [self] request, _ throws(WorkloadRefusal) in
                try await outage(request)
            },
        ]
    }

    private func outage(_ request: WorkloadRequest) async throws(WorkloadRefusal) -> JSON {
        try request.checkQuery(["from", "to", "features"])
        guard let from = request.query["from"].flatMap({ Timestamp(rfc3339: $0) }),
            let to = request.query["to"].flatMap({ Timestamp(rfc3339: $0) }), from <= to
        else {
            throw WorkloadRefusal(
                400, "from and to are not both moments, from first", cure: "write them as 2026-11-20T10:00:00Z")
        }
        let names = request.query["features"].map { $0.split(separator: ",").map(String.init) }
        do {
            let (each, total) = try await outage(of: names ?? settings.features.map(\.name), from: from, to: to)
            return [
                "from": .string(from.description), "to": .string(to.description),
                "seconds": .number(Double(to - from) / 1000),
                "features": .object(each.map { .init($0.feature, .string($0.cost.description)) }),
                "total": .string(total.description),
            ]
        } catch let error as WorkloadRefusal {
            throw error
        } catch let error as SQLError {
            throw refusal(error)
        } catch {
            throw WorkloadRefusal(500, "\(error)", cure: "see the log")
        }
    }

    /// See `Workload`.
    public func metrics() -> [MetricFamily] {
        let figures = figures.withLock { $0 }
        guard figures.isKnown else { return [] }
        func family(_ name: String, _ help: String, _ samples: [(String, Double)]) -> MetricFamily {
            MetricFamily(.gauge, name, help, samples.map { (["feature": $0.0] as Labels, $0.1) })
        }
        let (total, delivered, successful) = figures.interventions
        return [
            family(
                "phase3_revenue_impact_daily", "What a feature brought on the last day of the record.",
                figures.day.map { ($0.feature, $0.benefit.approximate) }),
            family(
                "phase3_cost_daily", "What a feature cost on that day.",
                figures.day.map { ($0.feature, $0.cost.approximate) }),
            family(
                "phase3_net_impact_daily", "What was left of it on that day.",
                figures.day.map { ($0.feature, $0.net.approximate) }),
            family(
                "phase3_roi_daily", "(benefit − cost) / cost of that day.",
                figures.day.compactMap { day in
                    day.cost.micros == 0
                        ? nil : (day.feature, Double(day.net.micros) / Double(day.cost.micros))
                }),
            family(
                "phase3_benefit_per_hour", "What an hour without the feature costs, from the last 28 days.",
                figures.rates.map { ($0.feature, $0.hourly.approximate) }),
            family(
                "conversion_rate_lift", "(treatment − control) / control over the last 28 days.",
                figures.lifts.map { ($0.feature, $0.lift) }),
            MetricFamily(
                .gauge, "leads_saved_from_churn", "Customers with a successful intervention on the last day.",
                figures.leadsSaved),
            MetricFamily(.gauge, "churn_interventions_total", "Interventions against churn in all.", total),
            MetricFamily(.gauge, "churn_interventions_delivered", "Those that were delivered.", delivered),
            MetricFamily(
                .gauge, "churn_interventions_successful", "Those after which the customer stayed.", successful),
        ]
    }
}
