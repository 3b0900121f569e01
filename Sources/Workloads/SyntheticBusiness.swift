public import Basics
internal import Glibc
public import SQL

/// Years of a business that never was, by a seed: customers, usage, purchases, the events of four features, trials,
/// predictions and what came of them. The same seed and end give the same rows on either database.
public struct SyntheticBusiness: Sendable {
    /// The seed.
    public var seed: UInt64
    /// The last day with events, and how many days there are.
    public var until: CivilDate, days: Int
    /// How many customers.
    public var customers: Int

    /// Three years of 3,000 customers, unless it is told otherwise.
    public init(seed: UInt64, until: CivilDate, days: Int = 1096, customers: Int = 3000) {
        (self.seed, self.until, self.days, self.customers) = (seed, until, days, customers)
    }

    /// One customer's nature.
    private struct Customer {
        var tenant: String, user: String
        var signUp: Int64
        var tier: PlanTier
        var logins: Double, usage: Double, session: Double, calls: Double
        var churnedAt: Int64?
    }

    /// Makes the tables if need be, and fills them; tables that hold rows already are refused.
    ///
    /// - Returns: How many rows were written, by table.
    @discardableResult
    public func fill(_ database: any SQLDatabase, now: Timestamp) async throws(SQLError) -> [(table: String, rows: Int)]
    {
        try await database.migrate(BusinessTables.migrations, now: now)
        for table in [BusinessTables.customers, BusinessTables.realtime] {
            guard try await database.query("SELECT 1 FROM \(table.name) LIMIT 1").isEmpty else {
                throw SQLError(.refused, "\(table.name) holds rows already; give a fresh database")
            }
        }
        let rows = generate()
        // All or nothing: half a business would be a riddle.
        return try await database.transaction(timeout: 600_000) { connection throws(SQLError) in
            for (table, rows) in rows { try connection.insert(into: table.name, table.columnNames, rows) }
            return rows.map { (table: $0.0.name, rows: $0.1.count) }
        }
    }

    private var lastDay: Int64 { until.daysSinceEpoch }
    private var firstDay: Int64 { lastDay - Int64(days) + 1 }

    private func moment(_ day: Int64, _ random: inout SeededRandom) -> Int64 {
        day * 86_400_000 + Int64.random(in: 0..<86_400_000, using: &random)
    }

    private func generate() -> [(SQLTable, [[SQLValue]])] {
        var random = SeededRandom(seed: seed)
        var customers: [Customer] = []
        var (snapshots, outcomes, predictions): ([[SQLValue]], [[SQLValue]], [[SQLValue]]) = ([], [], [])
        var (usage, purchases): ([[SQLValue]], [[SQLValue]]) = ([], [])
        for number in 0..<self.customers {
            var customer = newCustomer(number, &random)
            live(&customer, &random, &snapshots, &outcomes, &predictions, &purchases)
            recentUsage(customer, &random, &usage)
            customers.append(customer)
        }
        let rows = customers.map { customer -> [SQLValue] in
            [
                .text(customer.tenant), .text(customer.user), .integer(customer.signUp * 86_400_000),
                .text(customer.tier.name), customer.churnedAt.map(SQLValue.integer) ?? .null,
            ]
        }
        let trials = trials(customers, &random, &purchases)
        // Numbered at last, so that the numbers are in no order of customers.
        for index in purchases.indices { purchases[index][0] = .int(index + 1) }
        return [
            (BusinessTables.customers, rows), (BusinessTables.snapshots, snapshots),
            (BusinessTables.outcomes, outcomes),
            (BusinessTables.predictions, predictions), (BusinessTables.usage, usage),
            (BusinessTables.purchases, purchases),
        ] + trials + events(customers, &random)
    }

    private func newCustomer(_ number: Int, _ random: inout SeededRandom) -> Customer {
        let tier = [PlanTier.free, .free, .free, .starter, .starter, .starter, .pro, .pro, .pro, .enterprise]
        return Customer(
            tenant: "tenant-\(number % 7)", user: "user-\(number)",
            signUp: firstDay + Int64.random(in: -400..<Int64(max(1, days - 30)), using: &random),
            tier: tier[Int.random(in: 0..<10, using: &random)], logins: exp(2.6 + 0.6 * normal(&random)),
            usage: min(1, max(0, 0.45 + 0.2 * normal(&random))), session: exp(2.7 + 0.5 * normal(&random)),
            calls: exp(2 + 1.1 * normal(&random)), churnedAt: nil)
    }

    /// A quarter at a time: what the model sees, what becomes of it, and what is bought meanwhile.
    private func live(
        _ customer: inout Customer, _ random: inout SeededRandom, _ snapshots: inout [[SQLValue]],
        _ outcomes: inout [[SQLValue]], _ predictions: inout [[SQLValue]], _ purchases: inout [[SQLValue]]
    ) {
        let identity: [SQLValue] = [.text(customer.tenant), .text(customer.user)]
        var day = max(firstDay, customer.signUp + 30)
        while day <= lastDay, customer.churnedAt == nil {
            let quiet = min(200, exp(2.3 + 0.9 * normal(&random))).rounded(.down)
            let logins = max(0, (customer.logins * exp(0.3 * normal(&random))).rounded(.down))
            let calls = max(0, (customer.calls * exp(0.5 * normal(&random))).rounded(.down))
            let session = (customer.session * exp(0.2 * normal(&random)) * 100).rounded() / 100
            let share = (min(1, max(0, customer.usage + 0.05 * normal(&random))) * 10_000).rounded() / 10_000
            let age = Double(day - customer.signUp)
            let values = [age, logins, share, Double(customer.tier.rawValue), quiet, session, calls]
            // The outcome's law: as the model's, with a logarithm that it does not know.
            let tiers = [0, -0.35, -0.8, -1.3]
            let score =
                0.1 - 0.0012 * age - 0.055 * logins - 2.2 * share + tiers[customer.tier.rawValue] + 0.085 * quiet
                - 0.018 * session - 0.12 * log1p(calls)
            let leaves = Double.random(in: 0..<1, using: &random) < 1 / (1 + exp(-score))
            let at = day * 86_400_000 + 43_200_000
            let end = day + 90
            let isKnown = end <= lastDay
            snapshots.append(
                identity + [
                    .integer(at), .real(age), .real(logins), .real(share), .real(quiet), .real(session), .real(calls),
                    .text(customer.tier.name), isKnown ? .bool(leaves) : .null,
                ])
            let bought = Int.random(in: 0...2, using: &random) + customer.tier.rawValue
            for _ in 0..<bought {
                let when = moment(day + Int64.random(in: 0..<60, using: &random), &random)
                guard when < (lastDay + 1) * 86_400_000 else { continue }
                let cents = Int64.random(in: 900..<20_000, using: &random)
                purchases.append([.null] + identity + [.integer(when), .integer(cents * 10_000)])
            }
            // The last year's predictions are there, by the rules that served before any model.
            if day > lastDay - 365 {
                let probability = ChurnRules.probability(values)
                let features = ChurnInput(customer: "", tenant: "", values: values)?.document.text ?? "{}"
                predictions.append(
                    [.text("demo-\(seed)-\(predictions.count + 1)")] + identity + [
                        .integer(at), 0, "rules", .real(probability),
                        .text(ChurnRisk(probability: probability).rawValue), .text(features),
                    ])
            }
            if isKnown {
                outcomes.append(identity + [.integer(end * 86_400_000), .bool(leaves)])
                if leaves { customer.churnedAt = moment(day + Int64.random(in: 30..<90, using: &random), &random) }
            }
            day = end
        }
    }

    /// The last 60 days, a row for each with any use.
    private func recentUsage(_ customer: Customer, _ random: inout SeededRandom, _ usage: inout [[SQLValue]]) {
        guard customer.churnedAt == nil else { return }
        for day in max(customer.signUp, lastDay - 59)...max(customer.signUp, lastDay) where day <= lastDay {
            guard Double.random(in: 0..<1, using: &random) < min(0.9, customer.logins / 30) else { continue }
            usage.append([
                .text(customer.tenant), .text(customer.user), .text(CivilDate(daysSinceEpoch: day).text),
                .int(Int.random(in: 1...4, using: &random)), .int(Int(customer.calls) / 20),
                .real((customer.session * 10).rounded() / 10),
            ])
        }
    }

    /// Who is in which group, and what the treatment bought for it.
    private func trials(
        _ customers: [Customer], _ random: inout SeededRandom, _ purchases: inout [[SQLValue]]
    ) -> [(SQLTable, [[SQLValue]])] {
        var (assignments, experiments, results): ([[SQLValue]], [[SQLValue]], [[SQLValue]]) = ([], [], [])
        let uplift = [
            "realtime_intelligence": 0.10, "property_vision": 0.02, "churn_prevention": 0.06, "ai_coaching": 0.04,
        ]
        let began = max(firstDay, lastDay - 120)
        for (feature, effect) in uplift.sorted(by: { $0.key < $1.key }) {
            experiments.append([
                .text("exp-\(feature)"), "*", .text(feature), .text("\(feature) against none"), "running",
                .integer(began * 86_400_000), nil,
            ])
            for customer in customers where customer.churnedAt == nil && customer.signUp <= lastDay {
                let isTreated = Bool.random(using: &random)
                let at = max(began, customer.signUp) * 86_400_000
                let identity: [SQLValue] = [.text(customer.tenant), .text(customer.user)]
                let variant = SQLValue.text(isTreated ? "treatment" : "control")
                assignments.append(identity + [.text(feature), variant, .integer(at)])
                let converts = Double.random(in: 0..<1, using: &random) < (isTreated ? effect : 0)
                if converts {
                    let when = moment(lastDay - Int64.random(in: 0..<28, using: &random), &random)
                    let cents = Int64.random(in: 900..<20_000, using: &random)
                    purchases.append([.null] + identity + [.integer(when), .integer(cents * 10_000)])
                }
                results.append(
                    [.text("exp-\(feature)")] + identity + [
                        variant, "converted", converts ? 1.0 : 0.0, .bool(converts), .integer(lastDay * 86_400_000),
                    ])
            }
        }
        return [
            (BusinessTables.assignments, assignments), (BusinessTables.experiments, experiments),
            (BusinessTables.results, results),
        ]
    }

    /// The features' events: growth over the years, fewer at weekends, noise.
    private func events(_ customers: [Customer], _ random: inout SeededRandom) -> [(SQLTable, [[SQLValue]])] {
        let kinds: [(SQLTable, Double, Double)] = [
            (BusinessTables.realtime, 120, 0.97), (BusinessTables.vision, 45, 0.93),
            (BusinessTables.interventions, 14, 0.62), (BusinessTables.coaching, 11, 0.9),
        ]
        return kinds.map { table, base, success in
            var rows: [[SQLValue]] = []
            for day in firstDay...lastDay {
                let growth = 0.6 + 0.8 * Double(day - firstDay) / Double(max(1, days))
                let isWeekend = CivilDate(daysSinceEpoch: day).weekday > 5
                let mean = base * growth * (isWeekend ? 0.35 : 1)
                let count = max(0, Int((mean + mean.squareRoot() * normal(&random)).rounded()))
                for _ in 0..<count {
                    let customer = customers[Int.random(in: 0..<customers.count, using: &random)]
                    let succeeds = Double.random(in: 0..<1, using: &random) < success
                    rows.append(
                        [
                            .int(rows.count + 1), .text(customer.tenant), .text(customer.user),
                            .integer(moment(day, &random)), .bool(succeeds),
                        ] + details(table, succeeds, &random))
                }
            }
            return (table, rows)
        }
    }

    private func details(_ table: SQLTable, _ succeeds: Bool, _ random: inout SeededRandom) -> [SQLValue] {
        func latency(_ median: Double, _ random: inout SeededRandom) -> SQLValue {
            .real((median * exp(0.4 * normal(&random)) * 100).rounded() / 100)
        }
        func share(_ random: inout SeededRandom) -> SQLValue {
            .real((Double.random(in: 0.4..<1, using: &random) * 1000).rounded() / 1000)
        }
        switch table.name {
        case BusinessTables.realtime.name:
            let kinds: [SQLValue] = ["lead_update", "price_change", "message", "alert"]
            return [kinds[Int.random(in: 0..<4, using: &random)], latency(28, &random)]
        case BusinessTables.vision.name:
            return [
                .text("property-\(Int.random(in: 0..<5000, using: &random))"), latency(900, &random), share(&random),
            ]
        case BusinessTables.interventions.name:
            let stages: [SQLValue] = ["early_warning", "active_risk", "critical"]
            let channels: [SQLValue] = ["email", "phone", "in_app"]
            let isDelivered = succeeds || Double.random(in: 0..<1, using: &random) < 0.8
            return [
                stages[Int.random(in: 0..<3, using: &random)], channels[Int.random(in: 0..<3, using: &random)],
                .bool(isDelivered), share(&random), latency(12, &random),
            ]
        default: return [latency(600, &random), latency(1300, &random), share(&random)]
        }
    }

    /// Box and Muller's transform.
    private func normal(_ random: inout SeededRandom) -> Double {
        let first = Double.random(in: .leastNonzeroMagnitude..<1, using: &random)
        let second = Double.random(in: 0..<1, using: &random)
        return (-2 * log(first)).squareRoot() * cos(2 * .pi * second)
    }
}
