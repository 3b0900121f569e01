internal import Glibc

/// Two samples counted over the same cells: histogram buckets, bins between edges, categories.
///
/// Counts are whole or, from a histogram's increase, not quite; they are finite and not negative.
public struct Cells: Sendable, Hashable {
    /// How many observations fell into each cell.
    public var reference: [Double], current: [Double]

    /// Counts of as many cells on both sides.
    public init(reference: [Double], current: [Double]) {
        precondition(
            reference.count == current.count, "\(reference.count) reference cells beside \(current.count) current ones")
        (self.reference, self.current) = (reference, current)
    }

    /// How many observations there are.
    public var referenceTotal: Double { reference.reduce(0, +) }
    /// How many observations there are.
    public var currentTotal: Double { current.reduce(0, +) }
    /// Cells that hold an observation of either side.
    public var occupied: Int { zip(reference, current).count { $0 + $1 > 0 } }

    /// Without the cells that are empty on both sides, which tell nothing.
    public var withoutEmpty: Cells {
        let kept = reference.indices.filter { reference[$0] + current[$0] > 0 }
        return Cells(reference: kept.map { reference[$0] }, current: kept.map { current[$0] })
    }

    /// The population stability index Σ (q − p) ln(q / p), *p* reference and *q* current shares. A share of zero is
    /// replaced by `epsilon`, without renormalising; cells empty on both sides add nothing. NaN when a side is empty.
    public func psi(epsilon: Double = 1e-4) -> Double {
        let (total, other) = (referenceTotal, currentTotal)
        guard total > 0, other > 0 else { return .nan }
        var sum = 0.0
        for (r, c) in zip(reference, current) where r + c > 0 {
            let p = r > 0 ? r / total : epsilon
            let q = c > 0 ? c / other : epsilon
            sum += (q - p) * log(q / p)
        }
        return sum
    }

    /// P(PSI > `psi`) when both sides follow one law: PSI / (1/n + 1/m) is then χ² with one degree of freedom less
    /// than there are occupied cells.
    ///
    /// - SeeAlso: Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020.
    public func psiProbability(_ psi: Double) -> Double {
        let (total, other) = (referenceTotal, currentTotal)
        guard total > 0, other > 0, psi.isFinite else { return .nan }
        return SpecialFunctions.chiSquareSurvival(psi / (1 / total + 1 / other), degreesOfFreedom: occupied - 1)
    }

    /// The Jensen–Shannon distance, the root of the divergence in bits: 0 for equal shares, 1 for disjoint ones.
    public var jensenShannon: Double {
        let (total, other) = (referenceTotal, currentTotal)
        guard total > 0, other > 0 else { return .nan }
        var sum = 0.0
        for (r, c) in zip(reference, current) {
            let (p, q) = (r / total, c / other)
            let middle = (p + q) / 2
            if p > 0 { sum += p * log2(p / middle) }
            if q > 0 { sum += q * log2(q / middle) }
        }
        return (max(0, sum) / 2).squareRoot()
    }

    /// What a χ² test says.
    public struct ChiSquare: Sendable, Hashable {
        /// The statistic.
        public var statistic: Double
        /// One less than the occupied cells.
        public var degreesOfFreedom: Int
        /// P(χ² > statistic).
        public var probability: Double
        /// The effect: √(χ² / observations), 0 for equal shares, 1 for disjoint ones.
        public var cramersV: Double
        /// The smallest expected count; below 5 the law is rough, see `pooled`.
        public var minimumExpected: Double
    }

    /// The 2 × k contingency test, which takes both sides as samples: a goodness-of-fit test, which takes the reference
    /// as the law itself, gives a quarter of false alarms at 5 % for equal sizes.
    public var chiSquare: ChiSquare {
        let (total, other) = (referenceTotal, currentTotal)
        guard total > 0, other > 0 else {
            return ChiSquare(
                statistic: .nan, degreesOfFreedom: 0, probability: .nan, cramersV: .nan, minimumExpected: 0)
        }
        let all = total + other
        var statistic = 0.0
        var minimum = Double.infinity
        for (r, c) in zip(reference, current) where r + c > 0 {
            let (first, second) = ((r + c) * (total / all), (r + c) * (other / all))
            statistic += (r - first) * (r - first) / first + (c - second) * (c - second) / second
            minimum = min(minimum, first, second)
        }
        let freedom = occupied - 1
        return ChiSquare(
            statistic: statistic, degreesOfFreedom: freedom,
            probability: SpecialFunctions.chiSquareSurvival(statistic, degreesOfFreedom: freedom),
            cramersV: freedom > 0 ? (statistic / all).squareRoot() : 0, minimumExpected: minimum)
    }

    /// The cells joined until each expects at least `minimum` observations on both sides, or one is left: neighbours
    /// where the cells are in an order, else the rarest. The χ² laws hold for these.
    public func pooled(minimum: Double = 5, inOrder: Bool) -> Cells {
        let (total, other) = (referenceTotal, currentTotal)
        guard total > 0, other > 0 else { return self }
        let needed = minimum * (total + other) / min(total, other)
        var order = Array(reference.indices)
        if !inOrder {
            order.sort { left, right in
                let (first, second) = (reference[left] + current[left], reference[right] + current[right])
                return first == second ? left < right : first < second
            }
        }
        var pooled = Cells(reference: [], current: [])
        var open = (reference: 0.0, current: 0.0)
        for index in order {
            open.reference += reference[index]
            open.current += current[index]
            guard open.reference + open.current >= needed else { continue }
            pooled.reference.append(open.reference)
            pooled.current.append(open.current)
            open = (0, 0)
        }
        guard let last = pooled.reference.indices.last else {
            return Cells(reference: [total], current: [other])
        }
        pooled.reference[last] += open.reference
        pooled.current[last] += open.current
        return pooled
    }

    /// Kolmogorov's D between the cumulated shares at the edges of ordered cells: no more than D of the observations
    /// themselves, so that a test on it is conservative.
    public var cumulativeDistance: Double {
        let (total, other) = (referenceTotal, currentTotal)
        guard total > 0, other > 0 else { return .nan }
        var (first, second, distance) = (0.0, 0.0, 0.0)
        for (r, c) in zip(reference, current) {
            first += r
            second += c
            distance = max(distance, abs(first / total - second / other))
        }
        return distance
    }
}
