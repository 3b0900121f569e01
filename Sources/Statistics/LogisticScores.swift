internal import Glibc

/// How well probabilities fit what came.
public struct ClassifierScores: Sendable, Hashable {
    /// How many rows were judged.
    public var count = 0
    /// The share of rows on the right side of 0.5.
    public var accuracy = 0.0
    /// The chance that a row with the outcome stands above one without, ties counted half; nil with one class alone.
    public var areaUnderCurve: Double?
    /// The mean of −log p, in nats, p kept within 1e-15 of 0 and 1.
    public var logLoss = 0.0
    /// The mean squared distance.
    public var brier = 0.0

    /// Judges probabilities by what came. O(*n* log *n*).
    public init(_ probabilities: [Double], _ labels: [Bool]) {
        precondition(probabilities.count == labels.count, "\(probabilities.count) beside \(labels.count) labels")
        count = labels.count
        guard count > 0 else { return }
        var (right, loss, squares) = (0, 0.0, 0.0)
        for (probability, label) in zip(probabilities, labels) {
            if (probability >= 0.5) == label { right += 1 }
            let held = min(max(probability, 1e-15), 1 - 1e-15)
            loss -= Glibc.log(label ? held : 1 - held)
            let distance = probability - (label ? 1 : 0)
            squares += distance * distance
        }
        accuracy = Double(right) / Double(count)
        logLoss = loss / Double(count)
        brier = squares / Double(count)
        areaUnderCurve = ClassifierScores.area(probabilities, labels)
    }

    /// Mann and Whitney's statistic over middle ranks.
    private static func area(_ probabilities: [Double], _ labels: [Bool]) -> Double? {
        let positive = labels.count { $0 }
        guard positive > 0, positive < labels.count else { return nil }
        let order = probabilities.indices.sorted { probabilities[$0] < probabilities[$1] }
        var (rankSum, start) = (0.0, 0)
        while start < order.count {
            var end = start + 1
            while end < order.count, probabilities[order[end]] == probabilities[order[start]] { end += 1 }
            let middle = Double(start + end + 1) / 2
            for place in start..<end where labels[order[place]] { rankSum += middle }
            start = end
        }
        let (up, down) = (Double(positive), Double(labels.count - positive))
        return (rankSum - up * (up + 1) / 2) / (up * down)
    }
}

/// Rows parted by chance, each class alike in every part.
public struct StratifiedSplit: Sendable, Hashable {
    /// The places of the rows of each part, ascending.
    public var parts: [[Int]]

    /// Parts `places` of `labels` into shares, which sum to 1; the same generator, the same parts.
    public init(
        _ labels: [Bool], places: [Int], shares: [Double], random: inout some RandomNumberGenerator
    ) {
        parts = shares.map { _ in [] }
        for label in [false, true] {
            let members = places.filter { labels[$0] == label }.shuffled(using: &random)
            var (start, share) = (0, 0.0)
            for index in shares.indices {
                share += shares[index]
                let end = index == shares.count - 1 ? members.count : Int((Double(members.count) * share).rounded())
                parts[index] += members[start..<end]
                start = end
            }
        }
        for index in parts.indices { parts[index].sort() }
    }
}
