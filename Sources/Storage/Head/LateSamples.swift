internal import Basics

/// Samples of a series that came after newer ones, sorted by time, until they go into blocks.
struct LateSamples {
    private(set) var times: [Int64] = []
    private(set) var values: [Double] = []

    /// Enters a sample: whether it is new, or equal to the one at its moment. O(*n*) at worst.
    mutating func insert(_ time: Int64, _ value: Double) -> Bool {
        let index = firstIndex(from: time)
        if index < times.count, times[index] == time { return values[index].bitPattern == value.bitPattern }
        times.insert(time, at: index)
        values.insert(value, at: index)
        return true
    }

    private func firstIndex(from time: Int64) -> Int {
        var (low, high) = (0, times.count)
        while low < high {
            let middle = (low + high) / 2
            if times[middle] < time { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func indices(after: Int64, through: Int64) -> Range<Int> {
        let first = after == .max ? times.count : firstIndex(from: after + 1)
        let end = through == .max ? times.count : firstIndex(from: through + 1)
        return first..<max(first, end)
    }

    /// Lets go of the samples in a range; whether there were any.
    @discardableResult
    mutating func remove(after: Int64, through: Int64) -> Bool {
        let range = indices(after: after, through: through)
        times.removeSubrange(range)
        values.removeSubrange(range)
        return !range.isEmpty
    }
}
