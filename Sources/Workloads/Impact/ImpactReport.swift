public import Basics

/// A feature's figures of one day.
public struct ImpactDay: Sendable, Hashable {
    /// Whose, and when by the report's calendar.
    public var feature: String, date: CivilDate
    /// Rows, and those with a success.
    public var uses: Int64, successes: Int64
    /// What it brought, and what it cost.
    public var benefit: Money, infrastructure: Money, usageCost: Money
    /// Thousandths of an hour.
    public var hoursSavedMillis: Int64

    /// All costs.
    public var cost: Money { infrastructure + usageCost }
    /// What is left.
    public var net: Money { benefit - cost }
}

/// Treatment against control: the relative change of the share of units with a success.
public struct ConversionLift: Sendable, Hashable {
    /// Units, and those with a success.
    public var treatment: Int64, treatmentSuccesses: Int64, control: Int64, controlSuccesses: Int64

    /// Lift by its counts.
    public init(treatment: Int64, treatmentSuccesses: Int64, control: Int64, controlSuccesses: Int64) {
        (self.treatment, self.treatmentSuccesses) = (treatment, treatmentSuccesses)
        (self.control, self.controlSuccesses) = (control, controlSuccesses)
    }

    /// The shares; nil without units.
    public var rates: (treatment: Double, control: Double)? {
        guard treatment > 0, control > 0 else { return nil }
        return (Double(treatmentSuccesses) / Double(treatment), Double(controlSuccesses) / Double(control))
    }

    /// (treatment − control) / control; nil when control is 0.
    public var value: Double? {
        guard let rates, rates.control > 0 else { return nil }
        return (rates.treatment - rates.control) / rates.control
    }

    /// Its 95 % interval, for one look at the data: the delta method, as `gbstats` has it for a relative effect.
    public var interval: ClosedRange<Double>? {
        guard let rates, let value else { return nil }
        let (a, b) = (rates.control, rates.treatment)
        let variance =
            b * (1 - b) / Double(treatment) / (a * a) + a * (1 - a) / Double(control) * b * b / (a * a * a * a)
        let half = 1.959_963_984_540_054 * variance.squareRoot()
        return value - half...value + half
    }
}

/// A feature's figures over days.
public struct ImpactLine: Sendable, Hashable {
    /// Whose; `total` of all.
    public var feature: String
    /// How many days, first and last included.
    public var days: Int64
    /// Sums.
    public var uses: Int64 = 0, successes: Int64 = 0, benefit = Money.zero, cost = Money.zero
    public var hoursSavedMillis: Int64 = 0
    /// What a year should bring net.
    public var target: ClosedRange<Money>?
    /// Nil when nobody is assigned.
    public var lift: ConversionLift?

    init(_ feature: String, days: Int64) { (self.feature, self.days) = (feature, days) }

    mutating func add(_ day: ImpactDay) {
        uses += day.uses
        successes += day.successes
        benefit += day.benefit
        cost += day.cost
        hoursSavedMillis += day.hoursSavedMillis
    }

    mutating func add(_ line: ImpactLine) {
        uses += line.uses
        successes += line.successes
        benefit += line.benefit
        cost += line.cost
        hoursSavedMillis += line.hoursSavedMillis
    }

    /// What is left.
    public var net: Money { benefit - cost }
    /// (benefit − cost) / cost; nil at cost 0.
    public var returnOnInvestment: Double? { cost.micros == 0 ? nil : Double(net.micros) / Double(cost.micros) }
    /// Benefit / cost; nil at cost 0.
    public var revenueToCost: Double? { cost.micros == 0 ? nil : Double(benefit.micros) / Double(cost.micros) }
    /// Cost / benefit; nil at benefit 0.
    public var costShare: Double? { benefit.micros == 0 ? nil : Double(cost.micros) / Double(benefit.micros) }
    /// The daily mean of what is left, times 365.
    public var projection: Money { days > 0 ? net.scaled(by: 365, over: days) : .zero }
    /// Whether the projection reaches the lower target; nil without one.
    public var meetsTarget: Bool? { target.map { projection >= $0.lowerBound } }
}

/// Business impact over days of a zone, first and last included.
public struct ImpactReport: Sendable, Hashable {
    /// The days.
    public var from: CivilDate, to: CivilDate
    /// The zone's name.
    public var zone: String
    /// By feature, and in all.
    public var lines: [ImpactLine], total: ImpactLine

    /// A JSON object: money as texts with two places, exact ones beside them.
    public var json: JSON {
        [
            "from": .string(from.text), "to": .string(to.text), "days": .number(Double(total.days)),
            "time_zone": .string(zone), "features": .array(lines.map(ImpactReport.json)),
            "total": ImpactReport.json(total),
        ]
    }

    private static func json(_ line: ImpactLine) -> JSON {
        var members: [JSON.Member] = [
            .init("feature", .string(line.feature)), .init("uses", .number(Double(line.uses))),
            .init("successes", .number(Double(line.successes))), .init("benefit", .string(line.benefit.description)),
            .init("cost", .string(line.cost.description)), .init("net", .string(line.net.description)),
            .init("benefit_exact", .string(line.benefit.exact)), .init("cost_exact", .string(line.cost.exact)),
            .init("roi", line.returnOnInvestment.map(JSON.number) ?? .null),
            .init("revenue_to_cost", line.revenueToCost.map(JSON.number) ?? .null),
            .init("cost_share", line.costShare.map(JSON.number) ?? .null),
            .init("hours_saved", .number(Double(line.hoursSavedMillis) / 1000)),
            .init("projected_net_per_year", .string(line.projection.description)),
        ]
        if let target = line.target {
            members.append(
                .init(
                    "target_per_year",
                    .array([.string(target.lowerBound.description), .string(target.upperBound.description)])))
            members.append(.init("meets_target", line.meetsTarget.map(JSON.bool) ?? .null))
        }
        if let lift = line.lift {
            members.append(
                .init(
                    "conversion",
                    [
                        "treatment_units": .number(Double(lift.treatment)),
                        "treatment_rate": lift.rates.map { .number($0.treatment) } ?? .null,
                        "control_units": .number(Double(lift.control)),
                        "control_rate": lift.rates.map { .number($0.control) } ?? .null,
                        "lift": lift.value.map(JSON.number) ?? .null,
                        "interval_95": lift.interval.map { .array([.number($0.lowerBound), .number($0.upperBound)]) }
                            ?? .null,
                    ]))
        }
        return .object(members)
    }
}

/// What a feature brings in a while, for the cost of an outage.
public struct ImpactRate: Sendable, Hashable {
    /// Whose.
    public var feature: String
    /// The mean daily benefit it is from.
    public var daily: Money

    /// A rate by its parts.
    public init(feature: String, daily: Money) { (self.feature, self.daily) = (feature, daily) }

    /// Of an hour.
    public var hourly: Money { daily.scaled(by: 1, over: 24) }
    /// What an outage of so long takes away: the daily mean by its share of a day of 24 hours.
    public func cost(of length: Milliseconds) -> Money { daily.scaled(by: max(0, length), over: 86_400_000) }
}

extension CivilDate {
    /// `2026-11-20`.
    public var text: String {
        func padded(_ value: Int, _ width: Int) -> String {
            String(repeating: "0", count: max(0, width - String(value).count)) + String(value)
        }
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
    }

    /// Reads `2026-11-20`; nil when it is no day.
    public init?(_ text: String) {
        guard text.utf8.count == 10, let start = Timestamp(rfc3339: "\(text)T00:00:00Z") else { return nil }
        self.init(daysSinceEpoch: start.milliseconds / 86_400_000)
    }

    /// So many days later.
    public func adding(days: Int64) -> CivilDate { CivilDate(daysSinceEpoch: daysSinceEpoch + days) }
}
