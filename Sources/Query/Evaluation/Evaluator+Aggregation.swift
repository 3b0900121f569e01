internal import Basics
internal import Model

/// Which group each series belongs to, found once per query.
struct Grouping {
    /// The group of each series.
    var groups: [Int] = []
    /// The labels of each group.
    var labels: [Labels] = []

    /// Groups by the labels kept (`by`) or by all but the labels dropped (`without`).
    init(_ labels: [Labels], by names: [String], isWithout: Bool) {
        groups.reserveCapacity(labels.count)
        if !isWithout, names.isEmpty {
            groups = Array(repeating: 0, count: labels.count)
            self.labels = labels.isEmpty ? [] : [Labels()]
            return
        }
        var known: [Labels: Int] = [:]
        for series in labels {
            let key = Labels(
                sortedUnique: series.sorted.filter {
                    isWithout ? $0.name != Labels.nameLabel && !names.holds($0.name) : names.holds($0.name)
                })
            let group = known[key] ?? self.labels.count
            if group == self.labels.count {
                known[key] = group
                self.labels.append(key)
            }
            groups.append(group)
        }
    }
}

extension Evaluator {
    func aggregate(_ node: Aggregate, _ grid: StepGrid) throws(QueryError) -> StepVector {
        if node.operation.isExperimental, !options.allowsExperimental {
            throw .badRequest("\(node.operation.rawValue)() is experimental and not enabled on this server")
        }
        if node.operation == .countValues { return try countValues(node, grid) }
        var parameter = StepScalar.constant(0)
        if let expr = node.parameter { parameter = try scalar(expr, grid) }
        if let output = try aggregateRows(node, grid) { return output }
        let input = try vector(node.inner, grid)
        let grouping = Grouping(input.labels, by: node.grouping, isWithout: node.isWithout)
        try checkPoints(grouping.labels.count, grid.count)
        switch node.operation {
        case .topk, .bottomk, .limitk, .limitRatio:
            return try select(node, input, grouping, parameter, grid)
        default:
            if node.operation == .quantile, let range = node.parameter?.range {
                warnOfQuantiles(parameter, grid, at: range)
            }
            let values =
                node.operation == .quantile
                ? try quantiles(input, grouping, parameter, grid)
                : try reduce(node.operation, grouping, grid.count) { take in
                    let span = input.values.span
                    for series in 0..<input.count {
                        take(series, span.extracting(input.base(series)..<input.base(series) + input.steps))
                    }
                }
            var output = StepVector(labels: grouping.labels, values: values, steps: grid.count)
            if input.dropsName.contains(true) {
                output.dropsName = Array(repeating: false, count: output.count)
                for series in 0..<input.count where input.dropsName[series] {
                    output.dropsName[grouping.groups[series]] = true
                }
            }
            output.removeEmpty()
            return output
        }
    }

    /// Aggregates rows as they are made, where none of them is needed for anything else: nil for operations that need
    /// them all, for parts that are no rows, and where a plan or statistics are asked for.
    private func aggregateRows(_ node: Aggregate, _ grid: StepGrid) throws(QueryError) -> StepVector? {
        guard node.operation.isFold, grid.count > 1, !options.measures, !options.explains, !options.delaysNameRemoval
        else { return nil }
        let source: RowSource
        var (rated, keepsName): (Call?, Bool) = (nil, true)
        switch node.inner.bare {
        case .vector(let selector) where selector.reach == nil && selector.shift.at == nil:
            source = try instantRows(selector, grid) { columns, index in columns.values[index] }
        case .call(let call):
            guard case .window(let function) = call.function.kind,
                !call.function.isExperimental || options.allowsExperimental
            else { return nil }
            let (input, fill) = try windowRows(function, call, grid)
            source = RowSource(feed: input.feed, selector: input.selector, steps: grid.count, fill: fill)
            keepsName = function.keepsName
            if function == .rate || function == .increase { rated = call }
        default: return nil
        }
        let feed = source.feed
        let named = (0..<feed.count).map(feed.labels)
        var labels = named
        // Series that become equal without their names are to be put together first.
        if !keepsName, !dropAlikeNames(&labels) { return nil }
        let grouping = Grouping(labels, by: node.grouping, isWithout: node.isWithout)
        try checkPoints(grouping.labels.count, grid.count)
        var rates = Array(repeating: false, count: rated == nil ? 0 : feed.count)
        let values = try reduce(node.operation, grouping, grid.count) { take throws(QueryError) in
            let told = try walk(source) { index, row in
                if rated != nil { rates[index] = row.hasPresent }
                take(index, row)
            }
            if let rated { for index in told { noteOverlap(named[index].metricName, rated) } }
        }
        if let rated { for index in rates.indices where rates[index] { noteNonCounter(named[index], rated) } }
        var output = StepVector(labels: grouping.labels, values: values, steps: grid.count)
        output.removeEmpty()
        return output
    }

    /// One value per group and step, groups after one another. `walk` hands over each series' row.
    private func reduce(
        _ operation: Aggregate.Operator, _ grouping: Grouping, _ steps: Int,
        _ walk: (_ take: (Int, Span<Double>) -> Void) throws(QueryError) -> Void
    ) throws(QueryError) -> [Double] {
        switch operation {
        case .sum: try fold(grouping, steps, walk, CompensatedSum()) { $0.value }
        case .avg: try fold(grouping, steps, walk, Mean()) { $0.value }
        case .stddev: try fold(grouping, steps, walk, Variance()) { $0.value.squareRoot() }
        case .stdvar: try fold(grouping, steps, walk, Variance()) { $0.value }
        case .count: try fold(grouping, steps, walk, Tally()) { $0.count }
        case .group: try fold(grouping, steps, walk, Tally()) { _ in 1 }
        case .min: try fold(grouping, steps, walk, Least()) { $0.value }
        case .max: try fold(grouping, steps, walk, Greatest()) { $0.value }
        default: preconditionFailure("\(operation) is no fold")
        }
    }

    /// Runs over the rows once, series by series, with one state per group and step.
    @inline(__always)
    private func fold<State: FoldState>(
        _ grouping: Grouping, _ steps: Int, _ walk: (_ take: (Int, Span<Double>) -> Void) throws(QueryError) -> Void,
        _ initial: State, _ finish: (State) -> Double
    ) throws(QueryError) -> [Double] {
        let size = grouping.labels.count * steps
        var states = Array(repeating: initial, count: size)
        var output = Array(repeating: absentValue, count: size)
        try walk { series, row in
            let into = grouping.groups[series] * steps
            for step in row.indices {
                let value = row[step]
                guard value.isPresent else { continue }
                states[into + step].add(value)
                output[into + step] = 0
            }
        }
        for index in 0..<size where output[index].isPresent { output[index] = finish(states[index]) }
        return output
    }

    /// One quantile per group and step.
    private func quantiles(
        _ input: StepVector, _ grouping: Grouping, _ rank: StepScalar, _ grid: StepGrid
    ) throws(QueryError) -> [Double] {
        var output = Array(repeating: absentValue, count: grouping.labels.count * grid.count)
        var values: [Double] = []
        for (group, series) in members(of: grouping).enumerated() {
            try checkTime()
            for step in 0..<grid.count {
                values.removeAll(keepingCapacity: true)
                for index in series {
                    let value = input.values[input.base(index) + step]
                    if value.isPresent { values.append(value) }
                }
                guard !values.isEmpty else { continue }
                output[group * grid.count + step] = quantile(rank[step], of: &values)
            }
        }
        return output
    }

    private func members(of grouping: Grouping) -> [[Int]] {
        var members = Array(repeating: [Int](), count: grouping.labels.count)
        for (series, group) in grouping.groups.enumerated() { members[group].append(series) }
        return members
    }

    /// `topk`, `bottomk`, `limitk`, `limit_ratio`: some of the series themselves.
    private func select(
        _ node: Aggregate, _ input: StepVector, _ grouping: Grouping, _ parameter: StepScalar, _ grid: StepGrid
    ) throws(QueryError) -> StepVector {
        let isRatio = node.operation == .limitRatio
        for step in 0..<grid.count {
            let value = parameter[step]
            if value.isNaN { throw .execution("\(isRatio ? "Ratio" : "Parameter") value is NaN") }
            if !isRatio, abs(value) >= 9.223372036854775e18 {
                throw .execution("Scalar value \(GoNumber.shortest(value)) overflows int64")
            }
            if isRatio, abs(value) > 1 {
                let told = GoNumber.shortest(value)
                warn(
                    "ratio value should be between -1 and 1, got \(told), capping to \(value > 0 ? "1" : "-1")",
                    at: node.parameter?.range ?? node.range)
            }
            if case .constant = parameter { break }
        }
        let members = members(of: grouping)
        var output = input
        output.values = Array(repeating: absentValue, count: input.values.count)
        var order: [Int] = []
        for series in members {
            try checkTime()
            for step in 0..<grid.count {
                let present = series.filter { input.values[input.base($0) + step].isPresent }
                let chosen = choose(node.operation, present, parameter[step], input, step)
                for index in chosen {
                    output.values[output.base(index) + step] = input.values[input.base(index) + step]
                }
                if grid.count == 1 { order += chosen }
            }
        }
        if grid.count == 1 {
            // An instant query shows them in the order of their values.
            let unordered = output
            output = StepVector(
                labels: order.map { unordered.labels[$0] }, values: order.map { unordered.values[$0] }, steps: 1)
            if !unordered.dropsName.isEmpty { output.dropsName = order.map { unordered.dropsName[$0] } }
            return output
        }
        output.removeEmpty()
        return output
    }

    private func choose(
        _ operation: Aggregate.Operator, _ present: [Int], _ parameter: Double, _ input: StepVector, _ step: Int
    ) -> [Int] {
        func value(_ series: Int) -> Double { input.values[input.base(series) + step] }
        switch operation {
        case .topk, .bottomk:
            guard parameter >= 1 else { return [] }
            let isTop = operation == .topk
            func comesFirst(_ left: Int, _ right: Int) -> Bool {
                let (one, other) = (value(left), value(right))
                if one.isNaN || other.isNaN { return !one.isNaN && other.isNaN }
                return one == other ? left < right : isTop ? one > other : one < other
            }
            let count = Int(min(parameter, Double(present.count)))
            guard count <= 64 else { return Array(present.sorted(by: comesFirst).prefix(count)) }
            // A few are kept in order as the others pass by; most are sent away by one comparison with the last.
            var chosen: [Int] = []
            chosen.reserveCapacity(count + 1)
            for series in present {
                if chosen.count == count, !comesFirst(series, chosen[count - 1]) { continue }
                var place = chosen.count
                while place > 0, comesFirst(series, chosen[place - 1]) { place -= 1 }
                chosen.insert(series, at: place)
                if chosen.count > count { chosen.removeLast() }
            }
            return chosen
        case .limitk:
            guard parameter >= 1 else { return [] }
            return Array(present.prefix(Int(min(parameter, Double(present.count)))))
        default:
            // A series' place between 0 and 1 is fixed by its labels, so that r and r - 1 complement each other.
            return present.filter {
                let place = Double(mixed(input.labels[$0].fingerprint)) / 0x1p64
                return parameter >= 0 ? place < parameter : place >= 1 + max(parameter, -1)
            }
        }
    }

    /// `count_values("label", v)`: how many series have each value.
    private func countValues(_ node: Aggregate, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let label = try node.parameter.map { expr throws(QueryError) in try string(expr, grid) } ?? ""
        guard !label.isEmpty, !label.unicodeScalars.contains("\u{FFFD}") else {
            throw .execution("invalid label name \(label.goQuoted)")
        }
        let input = try vector(node.inner, grid)
        let names = node.grouping + (node.isWithout ? [] : [label])
        var output = StepVector(steps: grid.count)
        var places: [Labels: Int] = [:]
        for series in 0..<input.count {
            try checkTime()
            var last: (bits: UInt64, place: Int)?
            for step in 0..<grid.count {
                let value = input.values[input.base(series) + step]
                guard value.isPresent else { continue }
                var place = last?.place ?? 0
                if last?.bits != value.bitPattern {
                    var labels = input.labels[series]
                    labels[label] = GoNumber.fixed(value)
                    labels = Labels(
                        sortedUnique: labels.sorted.filter {
                            node.isWithout
                                ? $0.name != Labels.nameLabel && !names.holds($0.name) : names.holds($0.name)
                        })
                    if let known = places[labels] {
                        place = known
                    } else {
                        // There may be as many as there are values.
                        try checkPoints(1, grid.count)
                        place = output.addSeries(labels)
                    }
                    places[labels] = place
                    last = (value.bitPattern, place)
                }
                let index = output.base(place) + step
                output.values[index] = output.values[index].isPresent ? output.values[index] + 1 : 1
            }
        }
        return output
    }
}

/// Spreads a hash over all 64 bits (the finaliser of MurmurHash3).
private func mixed(_ hash: UInt64) -> UInt64 {
    var hash = hash
    hash = (hash ^ (hash >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    hash = (hash ^ (hash >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    return hash ^ (hash >> 33)
}

/// What is known of a group's values at a step while they come. A type and not a closure: the loop has no calls then.
private protocol FoldState {
    mutating func add(_ value: Double)
}

extension CompensatedSum: FoldState {}
extension Mean: FoldState {}
extension Variance: FoldState {}

private struct Tally: FoldState {
    var count = 0.0
    @inline(__always)
    mutating func add(_ value: Double) { count += 1 }
}

private struct Least: FoldState {
    var value = Double.nan
    @inline(__always)
    mutating func add(_ other: Double) { if other < value || value.isNaN { value = other } }
}

private struct Greatest: FoldState {
    var value = Double.nan
    @inline(__always)
    mutating func add(_ other: Double) { if other > value || value.isNaN { value = other } }
}

extension Span<Double> {
    /// Whether a row has a value.
    fileprivate var hasPresent: Bool {
        for index in indices where self[index].isPresent { return true }
        return false
    }
}

extension Aggregate.Operator {
    /// Whether its result is made value by value.
    fileprivate var isFold: Bool {
        switch self {
        case .sum, .avg, .min, .max, .count, .group, .stddev, .stdvar: true
        default: false
        }
    }
}
