internal import Glibc

/// The two-sample Kolmogorov–Smirnov test.
public enum KolmogorovSmirnov {
    /// Which law gave a probability.
    public enum Law: String, Sendable, Hashable {
        /// Lattice paths counted: right for continuous data at any size, conservative with ties.
        case exact
        /// Kolmogorov's limit, taken where counting would cost more than `exactSteps`.
        case limit
    }

    /// The most steps of the exact count, about 3 ns each: 15 ms.
    public static let exactSteps = 5_000_000

    /// D = sup |F − G| of two ascending samples, ties by right-continuous distribution functions; NaN when one is
    /// empty. O(*n* + *m*).
    public static func distance(_ reference: [Double], _ current: [Double]) -> Double {
        guard !reference.isEmpty, !current.isEmpty else { return .nan }
        let (n, m) = (Double(reference.count), Double(current.count))
        var (i, j, distance) = (0, 0, 0.0)
        while i < reference.count, j < current.count {
            let value = min(reference[i], current[j])
            while i < reference.count, reference[i] == value { i += 1 }
            while j < current.count, current[j] == value { j += 1 }
            distance = max(distance, abs(Double(i) / n - Double(j) / m))
        }
        return distance
    }

    /// P(D ≥ `distance`) for samples of *n* and *m* observations of one continuous law, and the law it came from.
    public static func probability(
        _ distance: Double, _ n: Int, _ m: Int, steps: Int = exactSteps
    ) -> (value: Double, law: Law) {
        guard n > 0, m > 0, distance.isFinite else { return (.nan, .exact) }
        let divisor = greatestCommonDivisor(n, m)
        let (wide, narrow) = (max(n, m), min(n, m))
        let (multiple, isOver) = (wide / divisor).multipliedReportingOverflow(by: narrow)
        // D is a multiple of 1/lcm; beyond 2^52 the number of the multiple could not be told.
        if !isOver, multiple < 1 << 52 {
            let height = Int((distance * Double(multiple)).rounded())
            if height == 0 { return (1, .exact) }
            if n == m { return (min(1, outsideSquare(n, height)), .exact) }
            let band = Double(2 * height) / Double(wide / divisor) + 2
            if Double(wide) * min(band, Double(narrow + 1)) <= Double(steps) {
                return (min(1, outsideBand(wide, narrow, divisor, height)), .exact)
            }
        }
        let size = Double(n) * (Double(m) / (Double(n) + Double(m)))
        return (limit(distance * size.squareRoot()), .limit)
    }

    /// Kolmogorov's limit P(K > *x*); both series, each where it converges in a few terms.
    public static func limit(_ x: Double) -> Double {
        guard x > 0 else { return 1 }
        if x < 1 {
            let step = Double.pi * Double.pi / (8 * x * x)
            var sum = 0.0
            for k in stride(from: 1.0, through: 15, by: 2) { sum += exp(-k * k * step) }
            return max(0, min(1, 1 - (2 * Double.pi).squareRoot() / x * sum))
        }
        var (sum, sign) = (0.0, 1.0)
        for k in 1...20 {
            sum += sign * exp(-2 * Double(k * k) * x * x)
            sign = -sign
        }
        return max(0, min(1, 2 * sum))
    }

    /// The share of lattice paths from (0, 0) to (n, n) that reach a distance of `h` from the diagonal, by reflection.
    ///
    /// - SeeAlso: Gnedenko and Korolyuk, 1951; scipy 1.17, `_compute_prob_outside_square`.
    private static func outsideSquare(_ n: Int, _ h: Int) -> Double {
        var sum = 0.0
        for k in stride(from: n / h, through: 0, by: -1) {
            var term = 1.0
            for j in 0..<h { term *= Double(n - k * h - j) / Double(n + k * h + j + 1) }
            sum = term * (1 - sum)
        }
        return 2 * sum
    }

    /// The share of lattice paths from (0, 0) to (m, n), m ≥ n, that leave the band |x/m − y/n| < h/lcm: by columns,
    /// each entry the share among the paths to that point. All terms are positive, so that small shares keep digits.
    ///
    /// - SeeAlso: Hodges, "The significance probability of the Smirnov two-sample test", 1958; scipy 1.17,
    ///   `_compute_outer_prob_inside_method`.
    private static func outsideBand(_ m: Int, _ n: Int, _ divisor: Int, _ h: Int) -> Double {
        let (stepX, stepY) = (n / divisor, m / divisor)
        var low = 0
        var high = min((h + stepY - 1) / stepY, n + 1)
        var column = [Double](repeating: 1, count: min(2 * high + 2, n + 1))
        for y in low..<high { column[y] = 0 }
        for x in 1...m {
            let (lastLow, lastCount) = (low, high - low)
            // The first y with stepX x − stepY y < h, and the first beyond with stepY y − stepX x ≥ h.
            low = min(max((stepX * x - h).flooring(by: stepY) + 1, 0), n)
            high = min((stepX * x + h + stepY - 1) / stepY, n + 1)
            if high <= low { return 1 }
            var share = low == 0 ? 0.0 : 1.0
            for y in low..<high {
                let index = y - low
                let left = index + low - lastLow
                let before = left < column.count ? column[left] : 1
                share = (before * Double(x) + share * Double(y)) / Double(x + y)
                column[index] = share
            }
            let count = high - low
            if lastCount > count { for index in count..<lastCount { column[index] = 1 } }
        }
        return column[high - low - 1]
    }

    private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }
}

extension Int {
    /// The quotient rounded down, for a positive divisor.
    fileprivate func flooring(by divisor: Int) -> Int {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
