internal import Model

/// Series by label, each a number: lists in ascending order. The head's index and a block's answer alike.
protocol LabelIndex {
    /// Why a list cannot be had.
    associatedtype Failure: Error
    /// All series.
    func everything() throws(Failure) -> [UInt32]
    /// The series that have a label.
    func list(_ name: String, _ value: String) throws(Failure) -> [UInt32]
    /// The series that have some wanted value of a label.
    func union(of name: String, where isWanted: (String) -> Bool) throws(Failure) -> [UInt32]
}

extension LabelIndex {
    /// The series that fulfil all matchers, ascending.
    func select(_ matchers: [Matcher]) throws(Failure) -> [UInt32] {
        var result: [UInt32]?
        var excluded: [[UInt32]] = []
        // An equality with a value is the cheapest to read and mostly the narrowest.
        for matcher in matchers.sorted(by: { $0.cost < $1.cost }) {
            if matcher.matches("") {
                // Series without the label fulfil it: take away those with a value that does not.
                excluded.append(try union(of: matcher.name) { !matcher.matches($0) })
            } else {
                let list = try matching(matcher)
                result = result.map { SortedLists.intersect($0, list) } ?? list
                if result?.isEmpty ?? false { return [] }
            }
        }
        var series: [UInt32]
        if let result { series = result } else { series = try everything() }
        for list in excluded where !list.isEmpty { series = SortedLists.subtract(series, list) }
        return series
    }

    private func matching(_ matcher: Matcher) throws(Failure) -> [UInt32] {
        let texts: [String]?
        switch matcher.operation {
        case .equal: texts = [matcher.value]
        case .matches: texts = matcher.pattern?.alternatives
        default: texts = nil
        }
        guard let texts else { return try union(of: matcher.name) { matcher.matches($0) } }
        var lists: [[UInt32]] = []
        for text in texts { lists.append(try list(matcher.name, text)) }
        return SortedLists.merge(lists)
    }
}

/// Operations on lists in ascending order.
enum SortedLists {
    static func merge(_ lists: [[UInt32]]) -> [UInt32] {
        guard lists.count > 1 else { return lists.first ?? [] }
        var merged = lists.flatMap { $0 }
        merged.sort()
        var count = 0
        for index in merged.indices where count == 0 || merged[index] != merged[count - 1] {
            merged[count] = merged[index]
            count += 1
        }
        merged.removeLast(merged.count - count)
        return merged
    }

    static func intersect(_ left: [UInt32], _ right: [UInt32]) -> [UInt32] {
        var (result, i, j): ([UInt32], Int, Int) = ([], 0, 0)
        result.reserveCapacity(min(left.count, right.count))
        while i < left.count, j < right.count {
            if left[i] == right[j] {
                result.append(left[i])
                (i, j) = (i + 1, j + 1)
            } else if left[i] < right[j] {
                i += 1
            } else {
                j += 1
            }
        }
        return result
    }

    static func subtract(_ left: [UInt32], _ right: [UInt32]) -> [UInt32] {
        var (result, j): ([UInt32], Int) = ([], 0)
        for slot in left {
            while j < right.count, right[j] < slot { j += 1 }
            if j == right.count || right[j] != slot { result.append(slot) }
        }
        return result
    }
}

extension Matcher {
    /// Cheaper matchers are read first.
    fileprivate var cost: Int {
        switch operation {
        case .equal: name == Labels.nameLabel ? 1 : 0
        case .matches: pattern?.alternatives == nil ? 3 : 2
        case .notEqual: 4
        case .matchesNot: 5
        }
    }
}
