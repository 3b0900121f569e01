internal import Basics
internal import Glibc
internal import Model

extension Evaluator {
    func call(_ call: Call, _ grid: StepGrid) throws(QueryError) -> StepValue {
        if call.function.isExperimental, !options.allowsExperimental {
            throw .badRequest(
                "function \(call.function.name.goQuoted) is experimental and not enabled on this server")
        }
        switch call.function.kind {
        case .window(let function): return .vector(try window(function, call, grid))
        case .math(let function):
            var vector = try vector(call.arguments[0], grid)
            apply(function, to: &vector.values)
            try dropNames(&vector)
            return .vector(vector)
        case .date(let function): return .vector(try date(function, call, grid))
        case .special(let function): return try special(function, call, grid)
        }
    }

    private func special(_ function: SpecialFunction, _ call: Call, _ grid: StepGrid) throws(QueryError) -> StepValue {
        let arguments = call.arguments
        switch function {
        case .pi: return .scalar(.constant(.pi))
        case .time: return .scalar(.steps((0..<grid.count).map { Double(grid.time($0)) / 1000 }))
        case .start: return .scalar(.constant(Double(query.start) / 1000))
        case .end: return .scalar(.constant(Double(queryEnd) / 1000))
        case .step: return .scalar(.constant(isRange ? Double(query.interval) / 1000 : 0))
        case .range: return .scalar(.constant(Double(queryEnd - query.start) / 1000))
        case .maxOf, .minOf:
            let (left, right) = (try scalar(arguments[0], grid), try scalar(arguments[1], grid))
            return .scalar(
                left.combined(with: right, steps: grid.count) {
                    function == .maxOf ? goMaximum($0, $1) : goMinimum($0, $1)
                })
        case .scalar: return .scalar(onlyElement(try vector(arguments[0], grid), grid))
        case .vector:
            let scalar = try scalar(arguments[0], grid)
            return .vector(
                StepVector(labels: [Labels()], values: (0..<grid.count).map { scalar[$0] }, steps: grid.count))
        case .timestamp: return .vector(try timestamps(arguments[0], grid))
        case .startTimestamp:
            // What is computed has no beginning, and neither has anything while beginnings are not asked for.
            guard case .vector(let selector) = arguments[0].bare, options.usesStartTimes else {
                return .vector(StepVector(steps: grid.count))
            }
            var vector = try selectedStarts(selector, grid)
            try dropNames(&vector)
            return .vector(vector)
        case .info: return .vector(try info(call, grid))
        case .clamp, .clampMin, .clampMax, .round: return .vector(try bounded(function, call, grid))
        case .absent: return .vector(absent(arguments[0], try vector(arguments[0], grid), grid))
        case .absentOverTime:
            try check(reachOf: arguments[0], in: call, nil)
            return .vector(try absentOverTime(arguments[0], grid))
        case .sort, .sortDescending, .sortByLabel, .sortByLabelDescending:
            return .vector(try sorted(function, call, grid))
        case .labelReplace: return .vector(try labelReplace(call, grid))
        case .labelJoin: return .vector(try labelJoin(call, grid))
        case .histogramAvg, .histogramCount, .histogramSum, .histogramStddev, .histogramStdvar:
            return .vector(StepVector(steps: grid.count))
        case .histogramQuantiles: return .vector(try histogramQuantiles(call, grid))
        case .histogramQuantile, .histogramFraction: return .vector(try classicHistogram(function, call, grid))
        }
    }

    /// The value of the only series present at each step, else NaN.
    private func onlyElement(_ vector: StepVector, _ grid: StepGrid) -> StepScalar {
        var values = Array(repeating: Double.nan, count: grid.count)
        var counts = Array(repeating: 0, count: grid.count)
        for series in 0..<vector.count {
            for step in 0..<grid.count where vector.values[vector.base(series) + step].isPresent {
                counts[step] += 1
                values[step] = counts[step] == 1 ? vector.values[vector.base(series) + step] : .nan
            }
        }
        return .steps(values)
    }

    /// Of a selector, when its samples were taken; of anything else, the steps' own moments.
    private func timestamps(_ argument: Expr, _ grid: StepGrid) throws(QueryError) -> StepVector {
        var vector: StepVector
        if case .vector(let selector) = argument.bare {
            vector = try selectedTimes(selector, grid)
        } else {
            vector = try self.vector(argument, grid)
            for index in vector.values.indices where vector.values[index].isPresent {
                vector.values[index] = Double(grid.time(index % grid.count)) / 1000
            }
        }
        try dropNames(&vector)
        return vector
    }

    private func bounded(_ function: SpecialFunction, _ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        var vector = try vector(call.arguments[0], grid)
        let first = call.arguments.count > 1 ? try scalar(call.arguments[1], grid) : .constant(1)
        let second = call.arguments.count > 2 ? try scalar(call.arguments[2], grid) : .constant(.infinity)
        for index in vector.values.indices where vector.values[index].isPresent {
            let step = index % grid.count
            let value = vector.values[index]
            switch function {
            case .clampMin: vector.values[index] = goMaximum(first[step], value)
            case .clampMax: vector.values[index] = goMinimum(first[step], value)
            case .clamp:
                vector.values[index] =
                    second[step] < first[step]
                    ? absentValue : goMaximum(first[step], goMinimum(second[step], value))
            default:
                // The inverse, since 1 / 0.1 is 10 exactly and value / 0.1 is not.
                let inverse = 1 / first[step]
                vector.values[index] = (value * inverse + 0.5).rounded(.down) / inverse
            }
        }
        vector.removeEmpty()
        try dropNames(&vector)
        return vector
    }

    // MARK: Absence

    private func absent(_ argument: Expr, _ vector: StepVector, _ grid: StepGrid) -> StepVector {
        var values = Array(repeating: 1.0, count: grid.count)
        for index in vector.values.indices where vector.values[index].isPresent {
            values[index % grid.count] = absentValue
        }
        var result = StepVector(labels: [absentLabels(argument)], values: values, steps: grid.count)
        result.removeEmpty()
        return result
    }

    private func absentOverTime(_ argument: Expr, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let input = try windowed(argument, grid)
        let windows = input.windows
        let rows = try rows(input) { columns, row in
            slide(columns, windows, into: &row) { _, _, _ in 1 }
            return false
        }
        let present = StepVector(
            labels: Array(repeating: Labels(), count: input.feed.count), values: rows.values, steps: grid.count)
        return absent(argument, present, grid)
    }

    /// The labels that an absent selector would have: its `=` matchers, but none that is matched twice.
    private func absentLabels(_ argument: Expr) -> Labels {
        let matchers: [Matcher]
        switch argument.bare {
        case .vector(let node): matchers = node.matchers
        case .matrix(let node): matchers = node.selector.matchers
        default: return Labels()
        }
        var seen: Set<ByteText> = []
        var labels = Labels()
        for matcher in matchers where matcher.name != Labels.nameLabel {
            if matcher.operation == .equal, seen.insert(ByteText(matcher.name)).inserted {
                labels[matcher.name] = matcher.value
            } else {
                labels[matcher.name] = ""
            }
        }
        return labels
    }

    // MARK: Order

    private func sorted(_ function: SpecialFunction, _ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let vector = try vector(call.arguments[0], grid)
        guard !isRange else {
            warn(
                "sort is ineffective for range queries since results are always ordered by labels", at: call.range)
            return vector
        }
        guard grid.count == 1 else { return vector }
        var names: [String] = []
        for argument in call.arguments.dropFirst() { names.append(try string(argument, grid)) }
        let order: [Int]
        switch function {
        case .sort, .sortDescending:
            order = (0..<vector.count).sorted {
                let (left, right) = (vector.values[$0], vector.values[$1])
                if left.isNaN || right.isNaN { return !left.isNaN && right.isNaN }
                return function == .sort ? left < right : left > right
            }
        default:
            let isRising = function == .sortByLabel
            order = (0..<vector.count).sorted {
                isRising
                    ? vector.labels[$0].isBefore(vector.labels[$1], by: names)
                    : vector.labels[$1].isBefore(vector.labels[$0], by: names)
            }
        }
        var result = StepVector(
            labels: order.map { vector.labels[$0] }, values: order.map { vector.values[$0] }, steps: 1)
        if !vector.dropsName.isEmpty { result.dropsName = order.map { vector.dropsName[$0] } }
        return result
    }
}

extension Labels {
    /// By the values of some labels in natural order (numbers as numbers), then by all labels.
    fileprivate func isBefore(_ other: Labels, by names: [String]) -> Bool {
        for name in names {
            let order = naturalOrder(self[name], other[name])
            if order != 0 { return order < 0 }
        }
        return self < other
    }
}

/// Below 0: the left text comes first; runs of digits compare as numbers.
private func naturalOrder(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left.utf8), Array(right.utf8))
    var (first, second) = (0, 0)
    while first < left.count, second < right.count {
        if left[first].isDigit, right[second].isDigit {
            let one = left[first...].prefix { $0.isDigit }
            let two = right[second...].prefix { $0.isDigit }
            let (oneDigits, twoDigits) = (one.drop { $0 == 0x30 }, two.drop { $0 == 0x30 })
            if oneDigits.count != twoDigits.count { return oneDigits.count - twoDigits.count }
            for (digit, other) in zip(oneDigits, twoDigits) where digit != other { return Int(digit) - Int(other) }
            (first, second) = (one.endIndex, two.endIndex)
        } else {
            if left[first] != right[second] { return Int(left[first]) - Int(right[second]) }
            (first, second) = (first + 1, second + 1)
        }
    }
    return (left.count - first) - (right.count - second)
}

/// NaN when either is, unless the other is +Inf, and 0 rather than -0: as Go's `math.Max`.
func goMaximum(_ left: Double, _ right: Double) -> Double {
    if left == .infinity || right == .infinity { return .infinity }
    if left.isNaN || right.isNaN { return .nan }
    return left == right ? (left.sign == .minus ? right : left) : max(left, right)
}

/// NaN when either is, unless the other is -Inf, and -0 rather than 0: as Go's `math.Min`.
func goMinimum(_ left: Double, _ right: Double) -> Double {
    if left == -.infinity || right == -.infinity { return -.infinity }
    if left.isNaN || right.isNaN { return .nan }
    return left == right ? (left.sign == .minus ? left : right) : min(left, right)
}
