internal import Basics
internal import Model

/// The moments at which an expression is evaluated: `count` of them from `start`, `interval` apart, in milliseconds.
struct StepGrid: Hashable {
    var start: Int64
    var interval: Int64
    var count: Int

    func time(_ step: Int) -> Int64 { start + Int64(step) * interval }
    var end: Int64 { time(count - 1) }
    /// The first step alone.
    var first: StepGrid { StepGrid(start: start, interval: interval, count: 1) }
}

/// No value at a step: the bits of the staleness marker, which no arithmetic produces and no selector returns.
let absentValue = SpecialValue.stale

extension Double {
    var isPresent: Bool { !isStaleMarker }
}

/// An instant vector at all steps at once: labels once per series, values in one flat column, series after series.
struct StepVector {
    /// Who the series are.
    var labels: [Labels] = []
    /// Whose names are dropped when the query ends; only with delayed name removal, else empty.
    var dropsName: [Bool] = []
    /// `labels.count × steps` values, `absentValue` where there is none.
    var values: [Double] = []
    /// Steps per series.
    let steps: Int

    init(steps: Int) { self.steps = steps }

    init(labels: [Labels], values: [Double], steps: Int) {
        assert(values.count == labels.count * steps)
        (self.labels, self.values, self.steps) = (labels, values, steps)
    }

    var count: Int { labels.count }

    /// The place of a series' first value.
    func base(_ series: Int) -> Int { series * steps }

    func drops(_ series: Int) -> Bool { dropsName.isEmpty ? false : dropsName[series] }

    /// Adds a series without any value and returns its number.
    mutating func addSeries(_ newLabels: Labels, drops: Bool = false) -> Int {
        if drops, dropsName.isEmpty { dropsName = Array(repeating: false, count: labels.count) }
        if drops || !dropsName.isEmpty { dropsName.append(drops) }
        labels.append(newLabels)
        values.append(contentsOf: repeatElement(absentValue, count: steps))
        return labels.count - 1
    }

    /// Removes series that have no value at any step.
    mutating func removeEmpty() {
        var kept = 0
        for series in 0..<count {
            let base = series * steps
            var hasValue = false
            for index in base..<base + steps where values[index].isPresent {
                hasValue = true
                break
            }
            guard hasValue else { continue }
            if kept != series {
                labels[kept] = labels[series]
                if !dropsName.isEmpty { dropsName[kept] = dropsName[series] }
                for step in 0..<steps { values[kept * steps + step] = values[base + step] }
            }
            kept += 1
        }
        guard kept < count else { return }
        labels.removeLast(count - kept)
        if !dropsName.isEmpty { dropsName.removeLast(dropsName.count - kept) }
        values.removeLast(values.count - kept * steps)
    }

    /// The same values at each of `count` steps; `self` has one step.
    func repeated(_ count: Int) -> StepVector {
        assert(steps == 1)
        var all = StepVector(steps: count)
        all.labels = labels
        all.dropsName = dropsName
        all.values.reserveCapacity(values.count * count)
        for value in values { all.values.append(contentsOf: repeatElement(value, count: count)) }
        return all
    }

    /// Puts series with equal labels together; throws when two of them have a value at the same step.
    ///
    /// Cost: one hash of labels per series.
    mutating func mergeDuplicates() throws(QueryError) {
        var seen: [Labels: Int] = [:]
        seen.reserveCapacity(count)
        var hasDuplicate = false
        for series in 0..<count {
            guard let first = seen.updateValue(series, forKey: labels[series]) else { continue }
            seen[labels[series]] = first
            hasDuplicate = true
            for step in 0..<steps where values[base(series) + step].isPresent {
                guard !values[base(first) + step].isPresent else {
                    throw .execution("vector cannot contain metrics with the same labelset")
                }
                values[base(first) + step] = values[base(series) + step]
                values[base(series) + step] = absentValue
            }
        }
        if hasDuplicate { removeEmpty() }
    }
}

/// The value of a scalar expression at all steps.
enum StepScalar {
    case constant(Double)
    case steps([Double])

    subscript(step: Int) -> Double {
        switch self {
        case .constant(let value): value
        case .steps(let values): values[step]
        }
    }

    func map(_ transform: (Double) -> Double) -> StepScalar {
        switch self {
        case .constant(let value): .constant(transform(value))
        case .steps(let values): .steps(values.map(transform))
        }
    }

    func combined(with other: StepScalar, steps: Int, _ combine: (Double, Double) -> Double) -> StepScalar {
        if case .constant(let left) = self, case .constant(let right) = other {
            return .constant(combine(left, right))
        }
        return .steps((0..<steps).map { combine(self[$0], other[$0]) })
    }
}

/// What an expression gives.
enum StepValue {
    case scalar(StepScalar)
    case vector(StepVector)
    case string(String)
}

extension StepValue {
    /// Series of a vector; 1 for anything else.
    var seriesCount: Int { if case .vector(let vector) = self { vector.count } else { 1 } }

    /// What it takes while it is held.
    var load: QueryLoad {
        switch self {
        case .scalar(.constant), .string: QueryLoad()
        case .scalar(.steps(let values)): QueryLoad(samples: values.count, bytes: values.count * 8)
        case .vector(let vector):
            QueryLoad(samples: vector.values.count, bytes: QueryLoad.bytes(series: vector.count, steps: vector.steps))
        }
    }
}

extension Labels {
    /// Without the name, and the type and unit that describe the metric: what is left when a value is computed.
    var withoutMetadata: Labels {
        guard sorted.contains(where: { $0.isMetadata }) else { return self }
        return Labels(sortedUnique: sorted.filter { !$0.isMetadata })
    }
}

extension Label {
    /// `__name__`, `__type__`, `__unit__`.
    var isMetadata: Bool {
        guard name.utf8.first == UInt8(ascii: "_") else { return false }
        return name == Labels.nameLabel || name == "__type__" || name == "__unit__"
    }
}
