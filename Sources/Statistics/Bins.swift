/// Cuts of the number line. A value on an edge belongs to the bin on its right; the outer bins are open.
public struct Bins: Sendable, Hashable {
    /// Strictly ascending; one less than there are bins.
    public let edges: [Double]

    /// Bins by their inner edges, which are sorted and made unique.
    public init(edges: [Double]) {
        var unique: [Double] = []
        for edge in edges.sorted() where edge != unique.last { unique.append(edge) }
        self.edges = unique
    }

    /// Bins at the deciles (with `count` 10) of ascending values, by linear interpolation as numpy does.
    public init(quantilesOf sorted: [Double], count: Int = 10) {
        guard !sorted.isEmpty, count > 1 else {
            self.init(edges: [])
            return
        }
        // The product and not the quotient: numpy's `linspace` rounds so, and an edge on a value decides its bin.
        let step = 1 / Double(count)
        self.init(edges: (1..<count).map { quantile(Double($0) * step, of: sorted) })
    }

    /// How many values of each bin there are. O(*n* log *k*).
    public func counts(_ values: [Double]) -> [Double] {
        var counts = [Double](repeating: 0, count: edges.count + 1)
        for value in values { counts[bin(of: value)] += 1 }
        return counts
    }

    /// The bin a value falls into.
    public func bin(of value: Double) -> Int {
        var (low, high) = (0, edges.count)
        while low < high {
            let middle = (low + high) / 2
            if edges[middle] <= value { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// A quantile of ascending values by linear interpolation between the two nearest ranks.
///
/// - SeeAlso: numpy, `lib/_function_base_impl.py`, `_lerp`, whose rounding it follows.
public func quantile(_ share: Double, of sorted: [Double]) -> Double {
    guard let last = sorted.indices.last else { return .nan }
    let place = share * Double(last)
    let index = min(Int(place), last)
    let (below, above) = (sorted[index], sorted[min(index + 1, last)])
    let weight = place - Double(index)
    return weight < 0.5 ? below + (above - below) * weight : above - (above - below) * (1 - weight)
}

/// The mean and the standard deviation with *n* in the denominator, in two passes; NaN for no values.
public func moments(_ values: [Double]) -> (mean: Double, deviation: Double) {
    guard !values.isEmpty else { return (.nan, .nan) }
    let count = Double(values.count)
    let mean = values.reduce(0, +) / count
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (mean, (squares / count).squareRoot())
}
