public import Basics
public import Query

/// What a drift rule compares, by which tests, and when it says that a feature drifted.
///
/// The law that a score follows without drift is known, so effect and significance are asked for together: a large
/// score of few observations and a sure but tiny difference of many are both no drift.
public struct DriftDefinition: Sendable, Hashable {
    /// What the observations of a feature are.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// The increase of a classic histogram's buckets.
        case histogram
        /// The samples of series, each one observation.
        case samples
        /// The increase of counters, one for each category.
        case categories
    }
    /// An expression read over a window that ends at the evaluation's moment less the offset.
    public struct Window: Sendable, Hashable {
        /// As it was written.
        public var expression: Expression
        /// Left-open.
        public var length: Milliseconds
        /// How far back its end lies.
        public var offset: Milliseconds
        /// The expression with the window and the offset.
        var query: Expression
    }
    /// What the current window is compared with.
    public enum Reference: Sendable, Hashable {
        case window(Window)
        /// The content of a file, read with the rules.
        case file(path: String, features: [String: DriftObservations])
    }

    /// What the observations are.
    public var kind: Kind
    /// What is judged.
    public var current: Window
    /// What it is compared with.
    public var reference: Reference
    /// The label that tells features apart.
    public var featureLabel: String
    /// The name of the one feature when series have no such label; empty: their metric's name.
    var soleFeature: String
    /// The label of a category.
    public var categoryLabel: String
    /// Each test with the score from which it counts, in the order of `DriftTest`.
    public var tests: [DriftTest: Double]
    /// The level of the false discovery rate over all features and tests of the rule.
    public var significance: Double
    /// The observations on each side below which a feature has no data.
    public var minimum: Double
    /// How many evaluations in a row a feature has to drift in before its alert fires.
    public var evaluations: Int

    /// The tests in a fixed order.
    var orderedTests: [DriftTest] { DriftTest.allCases.filter { tests[$0] != nil } }
}

/// The tests of a drift rule; each score grows with the effect and is 0 where both sides are alike.
public enum DriftTest: String, Sendable, Hashable, CaseIterable {
    /// The population stability index.
    case psi
    /// Kolmogorov's D.
    case ks
    /// Cramér's V of the χ² contingency test.
    case chiSquare = "chi_square"
    /// The Jensen–Shannon distance, base 2.
    case jensenShannon = "js"
    /// The first Wasserstein distance in standard deviations of the reference.
    case wasserstein

    /// Whether it needs values that have an order.
    var needsOrder: Bool { self == .ks || self == .wasserstein }
    /// The score from which it counts when the rule says nothing.
    public static let defaultThreshold = 0.1
    /// The greatest score there is; nil: no bound.
    var greatest: Double? {
        switch self {
        case .ks, .chiSquare, .jensenShannon: 1
        case .psi, .wasserstein: nil
        }
    }
}

/// The observations of one feature on one side.
public enum DriftObservations: Sendable, Hashable {
    /// Counts of each bucket alone, not cumulated, beside their upper bounds; the last bound is infinite.
    case buckets(bounds: [Double], counts: [Double])
    /// Finite values, ascending.
    case values([Double])
    /// Counts by category.
    case categories([String: Double])

    /// How many there are.
    public var count: Double {
        switch self {
        case .buckets(_, let counts): counts.reduce(0, +)
        case .values(let values): Double(values.count)
        case .categories(let counts): counts.values.reduce(0, +)
        }
    }
    /// For messages.
    var what: String {
        switch self {
        case .buckets: "buckets"
        case .values: "values"
        case .categories: "categories"
        }
    }
}

/// How a feature stands after the last evaluation.
public struct DriftFeature: Sendable, Hashable {
    /// What an evaluation says of it.
    public enum State: Double, Sendable, Hashable {
        case noData = -1
        case steady = 0
        case drifted = 1
        /// `no_data`, `ok`, `drifted`.
        public var name: String {
            switch self {
            case .noData: "no_data"
            case .steady: "ok"
            case .drifted: "drifted"
            }
        }
    }
    /// One test's result.
    public struct Result: Sendable, Hashable {
        /// Which test.
        public var test: DriftTest
        /// The effect.
        public var score: Double
        /// The score from which it counts.
        public var threshold: Double
        /// The probability of such a score without drift.
        public var probability: Double
        /// The same, corrected over all features and tests of the rule.
        public var adjusted: Double
        /// Whether the probability is an approximation, and which.
        public var law: String
    }
    /// The feature's name.
    public var name: String
    /// What this evaluation says.
    public var state: State
    /// Why there is no data; what was left out or is new.
    public var notes: [String] = []
    /// Empty without data.
    public var results: [Result] = []
    /// The result that an alert tells of: of those that drifted the one furthest above its threshold.
    public var leading: Result?
    /// How many observations there are.
    public var referenceCount = 0.0, currentCount = 0.0
}
