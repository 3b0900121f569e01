public import Basics

/// The features of the churn model, in its order.
public enum ChurnFeature: String, Sendable, Hashable, CaseIterable {
    case daysSinceSignup = "days_since_signup"
    case loginCount = "login_count"
    case featureUsage = "feature_usage"
    case planTier = "plan_tier"
    case lastLoginDaysAgo = "last_login_days_ago"
    case sessionDuration = "session_duration"
    case apiCalls = "api_calls"

    /// The names of all.
    public static let names = allCases.map(\.rawValue)

    /// The upper bounds of its histogram, the same live and in a model's reference, so that the two can be compared.
    /// None for the plan, which is counted by its name.
    public var bounds: [Double] {
        switch self {
        case .daysSinceSignup: [30, 60, 90, 120, 180, 270, 365, 540, 730, 1095]
        case .loginCount: [0, 2, 5, 8, 12, 16, 20, 30, 50, 100]
        case .featureUsage: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
        case .planTier: []
        case .lastLoginDaysAgo: [0, 1, 3, 7, 10, 14, 21, 30, 45, 60, 90]
        case .sessionDuration: [2, 5, 8, 12, 16, 20, 25, 30, 45, 60]
        case .apiCalls: [0, 1, 2, 5, 10, 20, 50, 100, 200, 500]
        }
    }
}

/// A plan by its rank, 0 the cheapest.
public enum PlanTier: Int, Sendable, Hashable, CaseIterable {
    case free, starter, pro, enterprise

    /// Its name in series and tables.
    public var name: String { "\(self)" }

    /// Its rank by any name it is known by; other names are nil.
    public init?(_ name: String) {
        switch name.lowercased() {
        case "free", "trial": self = .free
        case "starter", "basic": self = .starter
        case "pro", "professional", "premium": self = .pro
        case "enterprise": self = .enterprise
        default: return nil
        }
    }
}

/// One customer as the model sees it: seven finite numbers of 0 or more.
public struct ChurnInput: Sendable, Hashable {
    /// Who it is; empty when it was not told.
    public var customer: String, tenant: String
    /// In the order of `ChurnFeature`.
    public var values: [Double]

    /// The plan.
    public var tier: PlanTier {
        PlanTier(rawValue: Int(values[ChurnFeature.allCases.firstIndex(of: .planTier) ?? 0])) ?? .free
    }

    /// Reads a request's object, strictly.
    public init(_ json: JSON, at place: String = "") throws(WorkloadRefusal) {
        let prefix = place.isEmpty ? "" : "\(place): "
        guard let members = json.members else {
            throw WorkloadRefusal(
                422, "\(prefix)\(json.kind) where an object is expected",
                cure: "send an object with \(ChurnFeature.names.joined(separator: ", "))")
        }
        let known = ChurnFeature.names + ["customer_id", "tenant_id"]
        for member in members where !known.contains(member.name) {
            let near = member.name.nearest(among: known).map { "did you mean '\($0)'?" }
            throw WorkloadRefusal(
                422, "\(prefix)unknown field '\(member.name)'",
                cure: near ?? "known are \(known.joined(separator: ", "))")
        }
        func name(_ field: String) throws(WorkloadRefusal) -> String {
            guard let value = json[field], value != .null else { return "" }
            guard let text = value.string, text.utf8.count <= 256, !text.utf8.contains(0) else {
                throw WorkloadRefusal(
                    422, "\(prefix)\(field) is \(value.kind)", cure: "give a text of at most 256 bytes")
            }
            return text
        }
        customer = try name("customer_id")
        tenant = try name("tenant_id")
        values = []
        for feature in ChurnFeature.allCases {
            guard let value = json[feature.rawValue], value != .null else {
                throw WorkloadRefusal(
                    422, "\(prefix)\(feature.rawValue) is missing", cure: "give all of the model's features")
            }
            values.append(try ChurnInput.number(value, feature, prefix))
        }
    }

    /// Nil when a value is missing or is none.
    init?(customer: String, tenant: String, values: [Double?]) {
        let found = values.compactMap { $0 }
        guard found.count == ChurnFeature.allCases.count, found.allSatisfy({ $0.isFinite && $0 >= 0 }) else {
            return nil
        }
        (self.customer, self.tenant, self.values) = (customer, tenant, found)
    }

    private static func number(
        _ value: JSON, _ feature: ChurnFeature, _ prefix: String
    ) throws(WorkloadRefusal) -> Double {
        if feature == .planTier {
            let names = PlanTier.allCases.map { "'\($0.name)'" }.joined(separator: ", ")
            if let text = value.string, let tier = PlanTier(text) { return Double(tier.rawValue) }
            if let rank = value.integer, PlanTier(rawValue: rank) != nil { return Double(rank) }
            let found =
                value.string.map { "'\($0.prefix(40))'" } ?? value.number.map { GoNumber.shortest($0) } ?? value.kind
            throw WorkloadRefusal(422, "\(prefix)plan_tier is \(found)", cure: "give one of \(names), or 0 to 3")
        }
        guard let number = value.number else {
            throw WorkloadRefusal(422, "\(prefix)\(feature.rawValue) is \(value.kind)", cure: "give a number")
        }
        guard number.isFinite, number >= 0, number < 1e12 else {
            throw WorkloadRefusal(
                422, "\(prefix)\(feature.rawValue) is \(GoNumber.shortest(number))", cure: "give a number of 0 or more")
        }
        return number
    }

    /// The features by name, as they are logged.
    var document: JSON {
        .object(zip(ChurnFeature.allCases, values).map { .init($0.rawValue, .number($1)) })
    }
}

/// How likely a customer is to leave, in words.
public enum ChurnRisk: String, Sendable, Hashable, CaseIterable {
    case low, medium, high

    /// From 0.4 medium, from 0.7 high.
    public init(probability: Double) {
        self = probability >= 0.7 ? .high : probability >= 0.4 ? .medium : .low
    }
}

/// The score that is given when there is no model: points for what is known to go before leaving.
///
/// Starts at 0.15; last login more than 30 days ago +0.35, more than 14 days +0.15; fewer than 5 logins +0.2; feature
/// usage below 0.2 +0.15; free plan +0.1, enterprise −0.1; fewer than 30 days since sign-up +0.05. Held in 0.02 … 0.98.
public enum ChurnRules {
    /// What each feature adds.
    public static func contributions(_ values: [Double]) -> [Double] {
        zip(ChurnFeature.allCases, values).map { feature, value in
            switch feature {
            case .daysSinceSignup: value < 30 ? 0.05 : 0
            case .loginCount: value < 5 ? 0.2 : 0
            case .featureUsage: value < 0.2 ? 0.15 : 0
            case .planTier: value == 0 ? 0.1 : value >= 3 ? -0.1 : 0
            case .lastLoginDaysAgo: value > 30 ? 0.35 : value > 14 ? 0.15 : 0
            case .sessionDuration, .apiCalls: 0
            }
        }
    }

    /// The score.
    public static func probability(_ values: [Double]) -> Double {
        min(0.98, max(0.02, contributions(values).reduce(0.15, +)))
    }
}
