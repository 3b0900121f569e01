/// Several sums at once, each of which keeps what rounding loses, as `CompensatedSum` does.
struct CompensatedSums<Lanes: SIMD<Double>> {
    var totals = Lanes.zero
    var lost = Lanes.zero

    @inline(__always)
    mutating func add(_ terms: Lanes) {
        let next = totals + terms
        let added = next - totals
        lost += (totals - (next - added)) + (terms - added)
        totals = next
    }

    @inline(__always)
    func joined(with other: CompensatedSums) -> CompensatedSums {
        var joined = self
        joined.add(other.totals)
        joined.lost += other.lost
        return joined
    }

    @inline(__always)
    var value: Lanes { totals + lost }
}

/// Sums over windows that move forward, by additions alone: what has left a window cannot spoil it. Amortised, each
/// sample is added twice.
///
/// A window is the end of one part of the samples and the beginning of the next. For the one there are the sums from
/// each place to the part's end, for the other the sum up to the window's end; once a window has left the one part, the
/// other takes its place.
///
/// - SeeAlso: K. Tangwongsan and others, "General Incremental Sliding-Window Aggregation" (2015): two stacks.
struct SlidingSums<Lanes: SIMD<Double>> {
    /// The sums from places `start`, `start + 1`, … to `middle`.
    private var ends: [CompensatedSums<Lanes>] = []
    private var (start, middle, end) = (0, 0, 0)
    private var beginning = CompensatedSums<Lanes>()
    /// A sample of the window or one that has left it lately, for terms that are differences.
    private(set) var pivot = 0

    /// The sums over `low..<high`, which is not empty and does not move back.
    @inline(__always)
    mutating func move(
        to low: Int, _ high: Int, _ term: (_ place: Int, _ pivot: Int) -> Lanes
    ) -> CompensatedSums<Lanes> {
        if low >= middle {
            (start, middle, end, pivot) = (low, high, high, low)
            beginning = CompensatedSums()
            if ends.count < high - low {
                ends.append(contentsOf: repeatElement(CompensatedSums(), count: high - low - ends.count))
            }
            var sums = CompensatedSums<Lanes>()
            var place = high
            while place > low {
                place &-= 1
                sums.add(term(place, pivot))
                ends[place &- low] = sums
            }
            return sums
        }
        while end < high {
            beginning.add(term(end, pivot))
            end &+= 1
        }
        return ends[low &- start].joined(with: beginning)
    }
}
