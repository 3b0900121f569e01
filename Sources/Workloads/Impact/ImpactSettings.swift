public import Basics
public import Settings
internal import SQL

/// What a feature brings and costs.
public struct ImpactFeature: Sendable, Hashable {
    /// What the benefit is counted from.
    public enum Basis: String, Sendable, Hashable, CaseIterable {
        /// Every use.
        case uses
        /// Uses with a success.
        case successes
    }

    /// Its name, the `feature` label.
    public var name: String
    /// The table whose rows are its uses; it has `occurred_at`, `success`, `tenant_id` and `user_id`.
    public var table: String
    /// What the benefit is counted from.
    public var basis = Basis.uses
    /// The share of what is counted that brings `value`, in millionths, and the value.
    public var rate: Int64, value: Money
    /// What a day costs, used or not, and what a use costs.
    public var infrastructure: Money, costPerUse: Money
    /// Thousandths of an hour that a use saves.
    public var hoursSavedMillis: Int64
    /// What a year should bring net, from and to.
    public var target: ClosedRange<Money>?

    /// `rate · value`, exact: settings with more places than a millionth holds are refused.
    public var benefitPerUse: Money { value.scaled(by: rate, over: 1_000_000) }

    /// A day's figures from its counts.
    public func day(_ date: CivilDate, uses: Int64, successes: Int64) -> ImpactDay {
        ImpactDay(
            feature: name, date: date, uses: uses, successes: successes,
            benefit: benefitPerUse * (basis == .uses ? uses : successes), infrastructure: infrastructure,
            usageCost: costPerUse * uses, hoursSavedMillis: hoursSavedMillis * uses)
    }

    private init(
        _ name: String, _ table: String, _ rate: Int64, _ value: Int64, _ infrastructure: Int64, _ use: Int64,
        _ hours: Int64, _ target: ClosedRange<Int64>, basis: Basis = .uses
    ) {
        (self.name, self.table, self.rate, self.basis) = (name, table, rate, basis)
        self.value = Money(micros: value * 1_000_000)
        self.infrastructure = Money(micros: infrastructure * 1_000_000)
        (costPerUse, hoursSavedMillis) = (Money(micros: use), hours)
        let (low, high) = (target.lowerBound * 1_000_000_000, target.upperBound * 1_000_000_000)
        self.target = Money(micros: low)...Money(micros: high)
    }

    /// The four that ship.
    public static let shipped = [
        ImpactFeature(
            "realtime_intelligence", "realtime_intelligence_events", 50_000, 50, 15, 1000, 50, 75...120),
        ImpactFeature("property_vision", "property_vision_analyses", 30_000, 75, 20, 50_000, 83, 75...150),
        ImpactFeature(
            "churn_prevention", "churn_interventions", 150_000, 100, 10, 2000, 250, 55...80, basis: .successes),
        ImpactFeature("ai_coaching", "coaching_sessions", 100_000, 200, 15, 10_000, 500, 60...90),
    ]

    /// Reads an entry over a shipped feature of that name, or a new one.
    init(_ name: String, from map: SettingsMap, over base: ImpactFeature?) throws(SettingsError) {
        guard isSQLIdentifier(name) else {
            throw map.error("'\(name)' is no name of a feature; use small letters, digits and '_'")
        }
        func decimal(_ key: String, places: Int, _ old: Int64?) throws(SettingsError) -> Int64 {
            guard let text: String = try map.take(key) else {
                guard let old else { throw map.missing(key) }
                return old
            }
            guard let value = Money.fixed(text, places: places), value >= 0 else {
                throw map.error(key, "'\(text)' is no decimal number from 0 with at most \(places) places")
            }
            return value
        }
        self.name = name
        guard let table: String = try map.take("table") ?? base?.table else { throw map.missing("table") }
        guard isSQLIdentifier(table) else {
            throw map.error("table", "'\(table)' is no name of a table; use small letters, digits and '_'")
        }
        self.table = table
        basis = try map.take("count", default: base?.basis ?? .uses)
        rate = try decimal("rate", places: 6, base?.rate)
        value = Money(micros: try decimal("value", places: 6, base?.value.micros))
        infrastructure = Money(micros: try decimal("infrastructure_per_day", places: 6, base?.infrastructure.micros))
        costPerUse = Money(micros: try decimal("cost_per_use", places: 6, base?.costPerUse.micros))
        hoursSavedMillis = try decimal("hours_saved_per_use", places: 3, base?.hoursSavedMillis ?? 0)
        target = base?.target
        if let range = try map.take("target_per_year", as: [String].self) {
            let bounds = range.compactMap { Money($0) }
            guard range.count == 2, bounds.count == 2, bounds[0] <= bounds[1] else {
                throw map.error("target_per_year", "is a list of two amounts, the lower first")
            }
            target = bounds[0]...bounds[1]
        }
        guard value.micros.multipliedFullWidth(by: rate).high == 0, (value.micros * rate) % 1_000_000 == 0 else {
            throw map.error("rate", "rate · value has more than six places; give fewer")
        }
        try map.finish()
    }
}

/// `workloads.business_impact`: what the features bring, a day at a time.
public struct ImpactSettings: Sendable, Hashable {
    /// The time of day of the run for yesterday, milliseconds after midnight. Default: 01:00.
    public var at: Milliseconds = 3_600_000
    /// The zone whose days are counted. Default: UTC.
    public var zone = CivilZone.utc
    /// How many past days each run computes anew, since events come late. Default: 3.
    public var recomputedDays = 3
    /// The longest a run may take. Default: 10 min.
    public var timeLimit: Milliseconds = 600_000
    /// In the order of their names.
    public var features = ImpactFeature.shipped.sorted { $0.name < $1.name }

    /// The defaults.
    public init() {}

    /// Reads the section; `files` is where zones are found.
    public init(from map: SettingsMap, files: any FileSystem) throws(SettingsError) {
        self.init()
        if let text: String = try map.take("at") {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, parts.allSatisfy({ $0.count == 2 }), let hour = Int64(parts[0]),
                let minute = Int64(parts[1]), (0...23).contains(hour), (0...59).contains(minute)
            else { throw map.error("at", "'\(text)' is no time of day; write it as \"01:00\"") }
            at = (hour * 60 + minute) * 60_000
        }
        if let name: String = try map.take("time_zone") {
            guard let zone = CivilZone(name, files: files) else {
                throw map.error(
                    "time_zone",
                    "there is no zone '\(name)'; write it as Europe/Berlin, and see that tzdata is installed")
            }
            self.zone = zone
        }
        recomputedDays = try map.take("recompute_days", default: recomputedDays)
        guard (1...31).contains(recomputedDays) else { throw map.error("recompute_days", "must be from 1 to 31") }
        timeLimit = try map.takeDuration("time_limit", default: timeLimit)
        guard timeLimit >= 1000 else { throw map.error("time_limit", "must be at least 1s") }
        if let list = try map.takeMap("features") {
            for name in list.keys {
                guard let part = try list.takeMap(name) else { continue }
                let feature = try ImpactFeature(name, from: part, over: features.first { $0.name == name })
                features.removeAll { $0.name == name }
                features.append(feature)
            }
            try list.finish()
            features.sort { $0.name < $1.name }
        }
        try map.finish()
    }
}
