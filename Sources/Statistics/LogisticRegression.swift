internal import Glibc

/// Rows of features with what became of them.
public struct LabelledRows: Sendable {
    /// How many features a row has.
    public let width: Int
    /// Row after row, all finite.
    public private(set) var features: [Double] = []
    /// One for each row.
    public private(set) var labels: [Bool] = []

    /// No rows.
    public init(width: Int) { self.width = width }

    /// How many rows there are.
    public var count: Int { labels.count }

    /// Adds a row.
    public mutating func append(_ row: some Collection<Double>, _ label: Bool) {
        precondition(row.count == width, "\(row.count) features beside \(width)")
        features += row
        labels.append(label)
    }

    /// Reserves room.
    public mutating func reserve(_ count: Int) {
        features.reserveCapacity(count * width)
        labels.reserveCapacity(count)
    }

    /// One row's features.
    public func row(_ index: Int) -> ArraySlice<Double> { features[index * width..<(index + 1) * width] }
}

/// Why a model cannot be fitted.
public enum LogisticError: Error, Hashable, Sendable, CustomStringConvertible {
    /// All rows have the same label.
    case oneClass(Bool)
    /// Fewer rows than features and the intercept.
    case tooFewRows(Int, needed: Int)
    /// Features depend on each other and no penalty chooses.
    case singular
    /// The steps did not end, after so many.
    case notConverged(Int)
    /// The caller's task was cancelled.
    case cancelled

    /// One sentence.
    public var description: String {
        switch self {
        case .oneClass(let label): "every row has the outcome \(label); rows of both outcomes are needed"
        case .tooFewRows(let count, let needed): "\(count) rows; at least \(needed) are needed"
        case .singular: "the features depend on each other; leave one out or give a penalty"
        case .notConverged(let steps): "no optimum after \(steps) steps; give a stronger penalty"
        case .cancelled: "cancelled"
        }
    }
}

/// A logistic regression: the probability of an outcome from standardised features.
///
/// It minimises `C · Σ log(1 + exp(−s f)) + |w|² / 2`, the intercept free, as scikit-learn does, but to the optimum:
/// Newton's steps end at a gradient of 1e-9 of a row, where scikit-learn's default stops 1e-3 short.
public struct LogisticRegression: Sendable, Hashable {
    /// The features' means and standard deviations (over all rows, not *n* − 1; 1 for a constant feature).
    public var means: [Double], deviations: [Double]
    /// Of the standardised features.
    public var coefficients: [Double]
    /// The log-odds of a row of means.
    public var intercept: Double

    /// A model by its parts.
    public init(means: [Double], deviations: [Double], coefficients: [Double], intercept: Double) {
        precondition(means.count == deviations.count && means.count == coefficients.count, "parts differ in length")
        (self.means, self.deviations, self.coefficients, self.intercept) = (means, deviations, coefficients, intercept)
    }

    /// What each feature adds to the log-odds, above those of a row of means.
    public func contributions(_ row: some Collection<Double>) -> [Double] {
        zip(row, means.indices).map { value, index in
            coefficients[index] * (value - means[index]) / deviations[index]
        }
    }

    /// The probability of the outcome; NaN when a feature is.
    public func probability(_ row: some Collection<Double>) -> Double {
        var sum = intercept
        for (value, index) in zip(row, means.indices) {
            sum += coefficients[index] * (value - means[index]) / deviations[index]
        }
        return logistic(sum)
    }

    /// Fits the rows at `places` (all when nil).
    ///
    /// - Parameter strength: *C*, the inverse of the penalty; infinite for none.
    /// - Complexity: O(*n k*²) a step, about eight steps.
    public static func fit(
        _ rows: LabelledRows, at places: [Int]? = nil, strength: Double = 1
    ) throws(LogisticError) -> LogisticRegression {
        precondition(strength > 0, "a strength of \(strength)")
        let places = places ?? Array(0..<rows.count)
        let width = rows.width
        guard places.count > width else { throw .tooFewRows(places.count, needed: width + 1) }
        let positive = places.count { rows.labels[$0] }
        guard positive > 0, positive < places.count else { throw .oneClass(positive > 0) }
        let (means, deviations) = moments(rows, places)
        var standardised: [Double] = []
        standardised.reserveCapacity(places.count * width)
        for place in places {
            for (index, value) in rows.row(place).enumerated() {
                standardised.append((value - means[index]) / deviations[index])
            }
        }
        let labels = places.map { rows.labels[$0] }
        let base = Double(positive) / Double(places.count)
        var newton = Newton(
            features: standardised, labels: labels, width: width, penalty: strength.isFinite ? 1 / strength : 0,
            start: Glibc.log(base / (1 - base)))
        let weights = try newton.solve()
        return LogisticRegression(
            means: means, deviations: deviations, coefficients: Array(weights.dropLast()),
            intercept: weights[width])
    }

    private static func moments(_ rows: LabelledRows, _ places: [Int]) -> ([Double], [Double]) {
        let (width, count) = (rows.width, Double(places.count))
        var (means, squares) = ([Double](repeating: 0, count: width), [Double](repeating: 0, count: width))
        for place in places {
            for index in 0..<width { means[index] += rows.features[place * width + index] }
        }
        for index in 0..<width { means[index] /= count }
        for place in places {
            for index in 0..<width {
                let distance = rows.features[place * width + index] - means[index]
                squares[index] += distance * distance
            }
        }
        let deviations = zip(squares, means).map { square, mean -> Double in
            let deviation = (square / count).squareRoot()
            // Below rounding of the mean the feature is constant.
            return deviation > 1e-12 * max(1, abs(mean)) ? deviation : 1
        }
        return (means, deviations)
    }
}

/// `1 / (1 + exp(−x))` without overflow.
@inline(__always)
func logistic(_ value: Double) -> Double {
    if value >= 0 { return 1 / (1 + Glibc.exp(-value)) }
    let power = Glibc.exp(value)
    return power / (1 + power)
}

/// Newton's method on the penalised log-loss, the last weight the intercept's.
private struct Newton {
    let features: [Double]
    let labels: [Bool]
    let width: Int
    let penalty: Double
    let start: Double

    mutating func solve() throws(LogisticError) -> [Double] {
        var weights = [Double](repeating: 0, count: width) + [start]
        var loss = loss(weights)
        let count = Double(labels.count)
        for _ in 0..<100 {
            if Task.isCancelled { throw .cancelled }
            let (gradient, hessian) = derivatives(weights)
            if gradient.allSatisfy({ abs($0) <= 1e-11 * count }) { return weights }
            guard let step = hessian.solvingPositiveDefinite(gradient) else { throw .singular }
            // Far from the optimum a whole step may overshoot.
            var (length, next, nextLoss) = (1.0, weights, Double.infinity)
            while length > 1e-10 {
                next = zip(weights, step).map { $0 - length * $1 }
                nextLoss = self.loss(next)
                // At the optimum the loss changes by less than its rounding.
                if nextLoss <= loss + 1e-13 * max(1, abs(loss)) { break }
                length /= 2
            }
            guard nextLoss.isFinite, next.allSatisfy({ abs($0) < 1e8 }) else { throw .notConverged(100) }
            let moved = zip(weights, next).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? 0
            (weights, loss) = (next, nextLoss)
            if moved <= 1e-13 { return weights }
        }
        throw .notConverged(100)
    }

    private func loss(_ weights: [Double]) -> Double {
        let (features, weights, labels, width) = (features.span, weights.span, labels.span, width)
        var total = 0.0
        var place = 0
        for row in 0..<labels.count {
            var sum = weights[width]
            for index in 0..<width { sum += weights[index] * features[place + index] }
            place += width
            let margin = labels[row] ? sum : -sum
            total += margin > 0 ? Glibc.log1p(Glibc.exp(-margin)) : Glibc.log1p(Glibc.exp(margin)) - margin
        }
        for index in 0..<width { total += penalty * weights[index] * weights[index] / 2 }
        return total
    }

    private func derivatives(_ weights: [Double]) -> ([Double], Matrix) {
        let size = width + 1
        var gradientSums = [Double](repeating: 0, count: size)
        var matrix = Matrix(rows: size, columns: size)
        accumulate(weights.span, &gradientSums, &matrix)
        for index in 0..<width {
            gradientSums[index] += penalty * weights[index]
            matrix[index, index] += penalty
        }
        return (gradientSums, matrix)
    }

    private func accumulate(_ weights: Span<Double>, _ gradientSums: inout [Double], _ matrix: inout Matrix) {
        let (features, labels, width) = (features.span, labels.span, width)
        let size = width + 1
        var gradient = gradientSums.mutableSpan
        var hessian = matrix.elements.mutableSpan
        var place = 0
        for row in 0..<labels.count {
            var sum = weights[width]
            for index in 0..<width { sum += weights[index] * features[place + index] }
            let probability = logistic(sum)
            let residual = probability - (labels[row] ? 1 : 0)
            let weight = probability * (1 - probability)
            for index in 0..<width {
                let value = features[place + index]
                gradient[index] += residual * value
                let scaled = weight * value
                for other in 0...index { hessian[index * size + other] += scaled * features[place + other] }
                hessian[width * size + index] += scaled
            }
            gradient[width] += residual
            hessian[width * size + width] += weight
            place += width
        }
    }
}
