/// The first Wasserstein distance: how far, on average, mass has to be moved.
public enum Wasserstein {
    /// ∫ |F − G| of two ascending samples, in their unit; NaN when one is empty. O(*n* + *m*).
    public static func distance(_ reference: [Double], _ current: [Double]) -> Double {
        guard !reference.isEmpty, !current.isEmpty else { return .nan }
        let (n, m) = (Double(reference.count), Double(current.count))
        var (i, j, sum) = (0, 0, 0.0)
        var last = min(reference[0], current[0])
        while i < reference.count || j < current.count {
            let value =
                i < reference.count && (j == current.count || reference[i] <= current[j]) ? reference[i] : current[j]
            if value > last { sum += abs(Double(i) / n - Double(j) / m) * (value - last) }
            last = value
            while i < reference.count, reference[i] == value { i += 1 }
            while j < current.count, current[j] == value { j += 1 }
        }
        return sum
    }

    /// The distance in standard deviations of the reference, one below 0.001 taken as 0.001, as evidently does.
    public static func standardised(_ distance: Double, deviation: Double) -> Double {
        distance / max(deviation, 0.001)
    }

    /// ∫ |F − G| over the bounded cells between `edges`, the mass of a cell spread evenly, and the reference's standard
    /// deviation by the same picture. `cells` has one cell below each edge and one above the last; the lowest begins at
    /// 0 when its edge is above it, as in Prometheus' `histogram_quantile`, and the mass of the highest lies on the
    /// last edge.
    public static func distance(_ cells: Cells, edges: [Double]) -> (distance: Double, deviation: Double) {
        let (total, other) = (cells.referenceTotal, cells.currentTotal)
        guard total > 0, other > 0, let first = edges.first, let highest = edges.last else { return (.nan, .nan) }
        var (low, before, sum, mean, square) = (first > 0 ? 0 : first, 0.0, 0.0, 0.0, 0.0)
        for (index, high) in edges.enumerated() {
            let share = cells.reference[index] / total
            let after = before + share - cells.current[index] / other
            sum += areaBetween(before, after) * (high - low)
            mean += share * (low + high) / 2
            square += share * (low * low + low * high + high * high) / 3
            (low, before) = (high, after)
        }
        let above = cells.reference[edges.count] / total
        mean += above * highest
        square += above * highest * highest
        return (sum, max(0, square - mean * mean).squareRoot())
    }

    /// The mean of |y| along a line from `a` to `b`.
    private static func areaBetween(_ a: Double, _ b: Double) -> Double {
        if a * b >= 0 { return (abs(a) + abs(b)) / 2 }
        return (a * a + b * b) / (2 * (abs(a) + abs(b)))
    }
}
