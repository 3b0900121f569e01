/// The order of the values in a window that moves over a series: all values are sorted once, and the window is a set of
/// ranks. A quantile is found from where the last one was.
///
/// Cost: O(*n* log *n*) for all *n* values, O(1) to insert and to remove, and for a quantile a population count for
/// each 64 ranks between it and the one before.
struct RankedWindow {
    /// The values in their order, NaN first, and the place of each in it.
    private var sorted: [Double] = []
    private var ranks: [Int32] = []
    /// Which ranks are in the window, 64 to a word.
    private var words: [UInt64]
    private var count = 0
    /// How many ranks of the window lie in the words before `word`.
    private var (word, below) = (0, 0)

    init(_ values: Span<Double>) {
        var order: [(value: Double, place: Int32)] = []
        order.reserveCapacity(values.count)
        for place in values.indices { order.append((values[place], Int32(place))) }
        order.sort { $0.value < $1.value || ($0.value.isNaN && !$1.value.isNaN) }
        sorted.reserveCapacity(values.count)
        ranks = Array(repeating: 0, count: values.count)
        for rank in order.indices {
            sorted.append(order[rank].value)
            ranks[Int(order[rank].place)] = Int32(truncatingIfNeeded: rank)
        }
        words = Array(repeating: 0, count: values.count / 64 + 1)
    }

    /// Takes a sample into the window, by its place in the series.
    mutating func insert(_ place: Int) {
        let rank = Int(ranks[place])
        words[rank >> 6] |= 1 << UInt64(rank & 63)
        count += 1
        if rank >> 6 < word { below += 1 }
    }

    /// Takes a sample out of the window.
    mutating func remove(_ place: Int) {
        let rank = Int(ranks[place])
        words[rank >> 6] &= ~(1 << UInt64(rank & 63))
        count -= 1
        if rank >> 6 < word { below -= 1 }
    }

    /// The quantile by linear interpolation, as the function `quantile(_:of:)`.
    mutating func quantile(_ rank: Double) -> Double {
        guard count > 0, !rank.isNaN else { return .nan }
        if rank < 0 { return -.infinity }
        if rank > 1 { return .infinity }
        let position = rank * Double(count - 1)
        let lower = max(0, Int(position))
        let weight = position - position.rounded(.down)
        let value = self[lower]
        return value * (1 - weight) + self[min(count - 1, lower + 1)] * weight
    }

    /// The value that so many values of the window come before.
    private subscript(position: Int) -> Double {
        mutating get {
            while below > position {
                word -= 1
                below -= words[word].nonzeroBitCount
            }
            while below + words[word].nonzeroBitCount <= position {
                below += words[word].nonzeroBitCount
                word += 1
            }
            var bits = words[word]
            for _ in below..<position { bits &= bits - 1 }
            return sorted[word << 6 | bits.trailingZeroBitCount]
        }
    }
}
