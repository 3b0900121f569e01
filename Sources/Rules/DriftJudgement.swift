internal import Basics
internal import Model
internal import Statistics

/// What one evaluation says of all features of a drift rule. Pure: two sides in, features out.
struct DriftJudgement {
    let definition: DriftDefinition
    /// In the order of their names.
    private(set) var features: [DriftFeature] = []
    /// Faults of the data, each with its feature.
    private(set) var faults: [String] = []

    /// Judges every feature of either side and those with an alert; `active` are those that drifted last time.
    init(
        _ definition: DriftDefinition, reference: [String: DriftSide], current: [String: DriftSide],
        active: Set<String> = []
    ) {
        self.definition = definition
        let names = Set(reference.keys).union(current.keys).union(active)
        for name in names.sorted(by: { $0.isBefore($1) }) { judge(name, reference[name], current[name]) }
        correct()
        decide(active)
    }

    // MARK: One feature

    private mutating func judge(_ name: String, _ reference: DriftSide?, _ current: DriftSide?) {
        var feature = DriftFeature(name: name, state: .noData)
        feature.referenceCount = reference?.observations.count ?? 0
        feature.currentCount = current?.observations.count ?? 0
        for (side, text) in [(reference, "reference"), (current, "current")] {
            if let dropped = side?.dropped, dropped > 0 {
                feature.notes.append("\(dropped) \(text) values are NaN or infinite and left out")
            }
            if let fault = side?.fault {
                feature.notes.append("\(text): \(fault)")
                faults.append("\(name): \(text): \(fault)")
            }
        }
        defer { features.append(feature) }
        guard reference?.fault == nil, current?.fault == nil else { return }
        for (count, text) in [(feature.referenceCount, "reference"), (feature.currentCount, "current")]
        where count < definition.minimum {
            feature.notes.append(
                "\(GoNumber.fixed(count.rounded())) \(text) observations where \(Int(definition.minimum)) are needed")
        }
        guard let reference, let current,
            min(feature.referenceCount, feature.currentCount) >= definition.minimum
        else { return }
        guard let pair = DriftPair(reference.observations, current.observations) else {
            let fault = DriftPair.objection(reference.observations, current.observations)
            feature.notes.append(fault)
            faults.append("\(name): \(fault)")
            return
        }
        feature.state = .steady
        feature.notes += pair.notes
        feature.results = pair.results(of: definition)
    }

    // MARK: All together

    /// Corrects the probabilities of all features and tests as one family.
    private mutating func correct() {
        let adjusted = FalseDiscovery.adjusted(features.flatMap { $0.results.map(\.probability) })
        var next = 0
        for feature in features.indices {
            for result in features[feature].results.indices {
                features[feature].results[result].adjusted = adjusted[next]
                next += 1
            }
        }
    }

    /// A feature drifts when one test finds effect and significance together. One that drifted goes on until its score
    /// is below half the threshold or its probability above twice the level: without drift the score of a small sample
    /// stays above half the threshold by chance alone, so that the score by itself would never clear.
    private mutating func decide(_ active: Set<String>) {
        for index in features.indices where features[index].state != .noData {
            let (effect, level) = active.contains(features[index].name) ? (0.5, 2.0) : (1.0, 1.0)
            func drifted(_ effect: Double, _ level: Double) -> DriftFeature.Result? {
                features[index].results
                    .filter {
                        $0.score >= $0.threshold * effect && $0.adjusted <= definition.significance * level
                    }
                    .max { $0.score / $0.threshold < $1.score / $1.threshold }
            }
            guard let leading = drifted(1, 1) ?? drifted(effect, level) else { continue }
            features[index].state = .drifted
            features[index].leading = leading
        }
    }

    /// The share of features with data that drifted; nil when none has data.
    var share: Double? {
        let judged = features.count { $0.state != .noData }
        return judged == 0 ? nil : Double(features.count { $0.state == .drifted }) / Double(judged)
    }
}

/// Both sides of one feature in a form that tests take: counts over the same cells and, where there are any, values.
struct DriftPair {
    private let cells: Cells
    /// The cells with enough expected observations for the χ² laws.
    private let pooled: Cells
    /// Finite values, ascending, of raw samples.
    private var values: (reference: [Double], current: [Double])?
    /// The finite bounds of a histogram.
    private var edges: [Double]?
    /// Categories that are new or have vanished.
    private(set) var notes: [String] = []

    /// Numbers of no more distinct values in the reference than this are taken as categories: deciles of a constant
    /// reference are one edge, on whose right side any other constant lies as well.
    static let fewValues = 20

    /// nil when the sides cannot be compared.
    init?(_ reference: DriftObservations, _ current: DriftObservations) {
        var isOrdered = true
        switch (reference, current) {
        case (.buckets(let bounds, let counts), .buckets(let otherBounds, let others)) where bounds == otherBounds:
            cells = Cells(reference: counts, current: others)
            edges = bounds.dropLast()
        case (.values(let values), .buckets(let bounds, let counts)):
            cells = Cells(reference: DriftPair.counted(values, under: bounds), current: counts)
            edges = bounds.dropLast()
        case (.values(let first), .values(let second)):
            (cells, isOrdered) = DriftPair.cells(first, second)
            values = (first, second)
        case (.categories(let first), .categories(let second)):
            let names = Set(first.keys).union(second.keys).sorted { $0.isBefore($1) }
            cells = Cells(reference: names.map { first[$0] ?? 0 }, current: names.map { second[$0] ?? 0 })
            isOrdered = false
            notes =
                DriftPair.changes("new", names.filter { first[$0] ?? 0 == 0 && second[$0] ?? 0 > 0 })
                + DriftPair.changes("vanished", names.filter { first[$0] ?? 0 > 0 && second[$0] ?? 0 == 0 })
        default: return nil
        }
        pooled = cells.pooled(inOrder: isOrdered)
    }

    /// Why two sides cannot be compared.
    static func objection(_ reference: DriftObservations, _ current: DriftObservations) -> String {
        if case .buckets(let bounds, _) = reference, case .buckets(let others, _) = current {
            return
                "the reference has buckets \(told(bounds)) and the current window \(told(others)); let both have the "
                + "same, or take a reference from after the change"
        }
        return "the reference holds \(reference.what) and the current window \(current.what); give a reference of "
            + "the same kind"
    }

    private static func changes(_ what: String, _ names: [String]) -> [String] {
        guard !names.isEmpty else { return [] }
        let shown = names.prefix(5).joined(separator: ", ") + (names.count > 5 ? ", … (\(names.count))" : "")
        return ["\(what) categories: \(shown)"]
    }

    /// How many values each bucket takes: those at or below its bound and above the last.
    private static func counted(_ values: [Double], under bounds: [Double]) -> [Double] {
        var counts = [Double](repeating: 0, count: bounds.count)
        var bucket = 0
        for value in values {
            while value > bounds[bucket] { bucket += 1 }
            counts[bucket] += 1
        }
        return counts
    }

    /// The cells of two samples: the reference's deciles, or, where it has few distinct values, the values themselves.
    private static func cells(_ reference: [Double], _ current: [Double]) -> (Cells, isOrdered: Bool) {
        guard let known = distinct(reference) else {
            let bins = Bins(quantilesOf: reference)
            return (Cells(reference: bins.counts(reference), current: bins.counts(current)), true)
        }
        // Values that the reference does not know: each its own cell while they are few, else all in one.
        let extra = distinct(current)?.filter { !known.contains($0) }
        let names = (known + (extra ?? [])).sorted()
        let places = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
        var cells = Cells(
            reference: Array(repeating: 0, count: names.count + 1), current: Array(repeating: 0, count: names.count + 1)
        )
        for value in reference { cells.reference[places[value] ?? names.count] += 1 }
        for value in current { cells.current[places[value] ?? names.count] += 1 }
        return (cells, false)
    }

    /// The distinct ones of ascending values; nil when they are many.
    private static func distinct(_ sorted: [Double]) -> [Double]? {
        var values: [Double] = []
        for value in sorted where value != values.last {
            guard values.count < fewValues else { return nil }
            values.append(value)
        }
        return values
    }

    // MARK: Tests

    /// All tests of a rule, the two that share Kolmogorov's D with one pass.
    func results(of definition: DriftDefinition) -> [DriftFeature.Result] {
        let tests = definition.orderedTests
        let smirnov = tests.contains(where: \.needsOrder) ? kolmogorovSmirnov : nil
        return tests.map { result(of: $0, threshold: definition.tests[$0] ?? 0, smirnov) }
    }

    /// One test. The score is over the cells as they are, the probability over pooled ones, for which its law holds; a
    /// distance without a law of its own takes the probability of the test on the same data: χ² beside
    /// Jensen–Shannon, Kolmogorov–Smirnov beside Wasserstein.
    private func result(
        of test: DriftTest, threshold: Double, _ smirnov: (distance: Double, probability: Double, law: String)?
    ) -> DriftFeature.Result {
        func result(_ score: Double, _ probability: Double, _ law: String) -> DriftFeature.Result {
            DriftFeature.Result(
                test: test, score: score, threshold: threshold, probability: probability, adjusted: probability,
                law: law)
        }
        switch test {
        case .psi: return result(cells.psi(), pooled.psiProbability(pooled.psi()), "chi-square")
        case .chiSquare: return result(cells.chiSquare.cramersV, pooled.chiSquare.probability, "chi-square")
        case .jensenShannon: return result(cells.jensenShannon, pooled.chiSquare.probability, "chi-square")
        case .ks:
            return result(smirnov?.distance ?? .nan, smirnov?.probability ?? .nan, smirnov?.law ?? "")
        case .wasserstein: return result(moved, smirnov?.probability ?? .nan, smirnov?.law ?? "")
        }
    }

    private var kolmogorovSmirnov: (distance: Double, probability: Double, law: String) {
        let distance: Double
        if let values {
            distance = KolmogorovSmirnov.distance(values.reference, values.current)
        } else {
            distance = cells.cumulativeDistance
        }
        // A count beyond 2^53 is no count any more; the limit law takes any size.
        let counts = [cells.referenceTotal, cells.currentTotal].map { Int(min($0.rounded(), 9e15)) }
        // On edges the law is conservative anyway and counts are great: less is spent on exactness there.
        let steps = values == nil ? KolmogorovSmirnov.exactSteps / 20 : KolmogorovSmirnov.exactSteps
        let (probability, law) = KolmogorovSmirnov.probability(distance, counts[0], counts[1], steps: steps)
        return (distance, probability, law.rawValue + (values == nil ? ", on bucket edges" : ""))
    }

    private var moved: Double {
        if let values {
            return Wasserstein.standardised(
                Wasserstein.distance(values.reference, values.current), deviation: moments(values.reference).deviation)
        }
        let (distance, deviation) = Wasserstein.distance(cells, edges: edges ?? [])
        return Wasserstein.standardised(distance, deviation: deviation)
    }
}
