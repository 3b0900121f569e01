/// Many tests at once.
public enum FalseDiscovery {
    /// The probabilities corrected by Benjamini and Hochberg, in the order given: those at or below a level *q* are a
    /// set of findings of which, on average, no more than the share *q* is false. NaN stays NaN and is not counted.
    ///
    /// - SeeAlso: Benjamini and Hochberg, "Controlling the false discovery rate", 1995; holds for tests that are
    ///   independent or positively dependent.
    public static func adjusted(_ probabilities: [Double]) -> [Double] {
        let order = probabilities.indices.filter { !probabilities[$0].isNaN }
            .sorted { probabilities[$0] < probabilities[$1] }
        var adjusted = probabilities
        var least = 1.0
        for rank in stride(from: order.count, through: 1, by: -1) {
            let index = order[rank - 1]
            least = min(least, probabilities[index] * Double(order.count) / Double(rank))
            adjusted[index] = least
        }
        return adjusted
    }
}
