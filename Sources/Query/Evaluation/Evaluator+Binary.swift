internal import Basics
internal import Glibc
internal import Model

extension Evaluator {
    func binary(_ node: Binary, _ grid: StepGrid) throws(QueryError) -> StepValue {
        if node.matching?.fills == true, !options.allowsExperimental {
            throw .badRequest("binop fill modifiers are experimental and not enabled on this server")
        }
        let left = try evaluate(node.left, grid)
        let right = try evaluate(node.right, grid)
        let operation = node.operation
        if operation.isTrim { return .vector(try trimmed(node, left, right, grid)) }
        switch (left, right) {
        case (.scalar(let left), .scalar(let right)):
            return .scalar(
                left.combined(with: right, steps: grid.count) {
                    operation.isComparison ? (operation.holds($0, $1) ? 1 : 0) : operation.apply($0, $1)
                })
        case (.vector(let vector), .scalar(let scalar)):
            return .vector(try vectorScalar(node, vector, scalar, isSwapped: false))
        case (.scalar(let scalar), .vector(let vector)):
            return .vector(try vectorScalar(node, vector, scalar, isSwapped: true))
        case (.vector(let left), .vector(let right)):
            let matching = node.matching ?? Binary.Matching(cardinality: .oneToOne)
            if operation.isSet { return .vector(try combineSets(operation, left, right, matching)) }
            return .vector(try matched(node, matching, left, right))
        default: preconditionFailure("operands that passed no type check: \(node)")
        }
    }

    /// Only native histograms can be cut: of floats nothing is left, which is told.
    private func trimmed(
        _ node: Binary, _ left: StepValue, _ right: StepValue, _ grid: StepGrid
    ) throws(QueryError) -> StepVector {
        func count(_ value: StepValue) -> Int { if case .vector(let vector) = value { vector.count } else { 1 } }
        if count(left) > 0, count(right) > 0 {
            let operation = node.operation.rawValue
            inform(
                "incompatible sample types encountered for binary operator \(operation.goQuoted): "
                    + "float \(operation) float", at: node.left.range...node.right.range)
        }
        return StepVector(steps: grid.count)
    }

    private func vectorScalar(
        _ node: Binary, _ vector: StepVector, _ scalar: StepScalar, isSwapped: Bool
    ) throws(QueryError) -> StepVector {
        var vector = vector
        let operation = node.operation
        let steps = vector.steps
        var step = 0
        for index in vector.values.indices {
            let value = vector.values[index]
            if value.isPresent {
                let other = scalar[step]
                if operation.isArithmetic {
                    vector.values[index] = isSwapped ? operation.apply(other, value) : operation.apply(value, other)
                } else {
                    let holds = isSwapped ? operation.holds(other, value) : operation.holds(value, other)
                    vector.values[index] = node.returnsBool ? (holds ? 1 : 0) : (holds ? value : absentValue)
                }
            }
            step += 1
            if step == steps { step = 0 }
        }
        if operation.isArithmetic || node.returnsBool {
            try dropNames(&vector)
        } else {
            vector.removeEmpty()
        }
        return vector
    }

    // MARK: Vector with vector

    /// The labels by which series of both sides belong together.
    private func signature(_ labels: Labels, _ matching: Binary.Matching, _ names: [String]) -> Labels {
        Labels(
            sortedUnique: labels.sorted.filter {
                matching.isOn
                    ? names.holds($0.name) : $0.name != Labels.nameLabel && !names.holds($0.name)
            })
    }

    /// Arithmetic and comparison between series that match; labels are compared once, whatever the number of steps.
    private func matched(
        _ node: Binary, _ matching: Binary.Matching, _ left: StepVector, _ right: StepVector
    ) throws(QueryError) -> StepVector {
        let isSwapped = matching.cardinality == .oneToMany
        let (many, one) = isSwapped ? (right, left) : (left, right)
        let steps = left.steps
        guard (many.count > 0 && one.count > 0) || (matching.fills && many.count + one.count > 0) else {
            return StepVector(steps: steps)
        }
        let names = matching.labels
        let partners = try partners(in: one, matching, names, isSwapped: isSwapped)
        var join = Join(node: node, steps: steps, isSwapped: isSwapped, isOneToOne: matching.cardinality == .oneToOne)
        var presence: [Labels: [Bool]] = [:]
        for index in 0..<many.count {
            if index & 0x3F == 0 { try checkTime() }
            let labels = many.labels[index]
            let key = signature(labels, matching, names)
            let others = partners[key] ?? []
            let values = many.values.span.extracting(many.base(index)..<many.base(index) + steps)
            for other in others {
                join.begin(resultLabels(node, matching, labels, one.labels[other]), key, drops: dropsLater(node))
                try join.add(values, one.values.span.extracting(one.base(other)..<one.base(other) + steps))
            }
            if let fill = matching.fillRight {
                // Where none of its partners has a value.
                var filled = Array(repeating: fill, count: steps)
                for other in others {
                    for step in 0..<steps where one.values[one.base(other) + step].isPresent {
                        filled[step] = absentValue
                    }
                }
                join.begin(resultLabels(node, matching, labels, key), key, drops: dropsLater(node))
                try join.add(values, filled.span)
            }
            if matching.fillLeft != nil {
                var present = presence[key] ?? Array(repeating: false, count: steps)
                for step in 0..<steps where values[step].isPresent { present[step] = true }
                presence[key] = present
            }
        }
        guard let fill = matching.fillLeft else { return join.result }
        for index in 0..<one.count {
            let key = signature(one.labels[index], matching, names)
            let present = presence[key]
            let filled = (0..<steps).map { present?[$0] == true ? absentValue : fill }
            join.begin(resultLabels(node, matching, key, one.labels[index]), key, drops: dropsLater(node))
            try join.add(filled.span, one.values.span.extracting(one.base(index)..<one.base(index) + steps))
        }
        return join.result
    }

    /// Whether a comparison's name is dropped when the query ends.
    private func dropsLater(_ node: Binary) -> Bool { node.returnsBool && options.delaysNameRemoval }

    /// The series of the "one" side by signature.
    private func partners(
        in one: StepVector, _ matching: Binary.Matching, _ names: [String], isSwapped: Bool
    ) throws(QueryError) -> [Labels: [Int]] {
        var partners: [Labels: [Int]] = [:]
        partners.reserveCapacity(one.count)
        var repeated: [Labels] = []
        for index in 0..<one.count {
            let key = signature(one.labels[index], matching, names)
            partners[key, default: []].append(index)
            if partners[key]?.count == 2 { repeated.append(key) }
        }
        for key in repeated {
            try refuseOverlap(of: partners[key] ?? [], in: one, key: key, isSwapped: isSwapped)
        }
        return partners
    }

    /// The "one" side may not have two series of one signature at the same step.
    private func refuseOverlap(
        of series: [Int], in vector: StepVector, key: Labels, isSwapped: Bool
    ) throws(QueryError) {
        for step in 0..<vector.steps {
            var first: Int?
            for index in series where vector.values[vector.base(index) + step].isPresent {
                guard let other = first else {
                    first = index
                    continue
                }
                let told = [vector.labels[index].telling, vector.labels[other].telling].sorted { $0.isBefore($1) }
                throw .execution(
                    "found duplicate series for the match group \(key) on the \(isSwapped ? "left" : "right") "
                        + "hand-side of the operation: [\(told[0]), \(told[1])];many-to-many matching not allowed: "
                        + "matching labels must be unique on one side")
            }
        }
    }

    private func resultLabels(_ node: Binary, _ matching: Binary.Matching, _ many: Labels, _ one: Labels) -> Labels {
        var labels = many
        if node.operation.isArithmetic || (node.returnsBool && !options.delaysNameRemoval) {
            labels = labels.withoutMetadata
        }
        if matching.cardinality == .oneToOne {
            labels = matching.isOn ? labels.keeping(matching.labels) : labels.dropping(matching.labels)
        }
        for name in matching.include { labels[name] = one[name] }
        return labels
    }

    // MARK: Sets

    /// `and`, `or`, `unless`: presence per signature and step.
    private func combineSets(
        _ operation: Binary.Operator, _ left: StepVector, _ right: StepVector, _ matching: Binary.Matching
    ) throws(QueryError) -> StepVector {
        let steps = left.steps
        let names = matching.labels
        // `or` asks which signatures the left side has, the others which the right side has.
        let (asked, filtered) = operation == .or ? (left, right) : (right, left)
        var presence: [Labels: [Bool]] = [:]
        for index in 0..<asked.count {
            let key = signature(asked.labels[index], matching, names)
            var present = presence[key] ?? Array(repeating: false, count: steps)
            presence[key] = nil
            for step in 0..<steps where asked.values[asked.base(index) + step].isPresent { present[step] = true }
            presence[key] = present
        }
        var output = filtered
        for index in 0..<filtered.count {
            let present = presence[signature(filtered.labels[index], matching, names)]
            for step in 0..<steps where (present?[step] ?? false) != (operation == .and) {
                output.values[output.base(index) + step] = absentValue
            }
        }
        output.removeEmpty()
        guard operation == .or else { return output }
        var both = left
        if !left.dropsName.isEmpty || !output.dropsName.isEmpty {
            both.dropsName = (0..<left.count).map(left.drops) + (0..<output.count).map(output.drops)
        }
        both.labels += output.labels
        both.values += output.values
        if left.count > 0, output.count > 0 { try both.mergeDuplicates() }
        return both
    }
}

/// Where the results of a join come together: several pairs may give one series, at different steps.
private struct Join {
    private var vector: StepVector
    private var places: [Labels: Int] = [:]
    private let node: Binary
    private let isSwapped: Bool
    private let isOneToOne: Bool
    /// What has been matched at each step, filtered out or not: the group of labels in one-to-one matching, else the
    /// resulting series.
    private var isTaken: [Bool] = []
    private var takers: [Labels: Int] = [:]
    private var place = 0
    private var taker = 0

    init(node: Binary, steps: Int, isSwapped: Bool, isOneToOne: Bool) {
        vector = StepVector(steps: steps)
        (self.node, self.isSwapped, self.isOneToOne) = (node, isSwapped, isOneToOne)
    }

    /// Turns to the series of these labels, made when there is none; `key` is the signature of the pair that follows.
    mutating func begin(_ labels: Labels, _ key: Labels, drops: Bool) {
        place = places[labels] ?? vector.addSeries(labels, drops: drops)
        places[labels] = place
        taker = isOneToOne ? takers[key] ?? takers.count : place
        if isOneToOne { takers[key] = taker }
        let size = (taker + 1) * vector.steps
        if isTaken.count < size { isTaken += repeatElement(false, count: size - isTaken.count) }
    }

    /// Adds a pair of series, the "many" side first.
    mutating func add(_ many: Span<Double>, _ one: Span<Double>) throws(QueryError) {
        for step in 0..<vector.steps where many[step].isPresent && one[step].isPresent {
            let (left, right) = isSwapped ? (one[step], many[step]) : (many[step], one[step])
            let result: Double
            if node.operation.isArithmetic {
                result = node.operation.apply(left, right)
            } else {
                let holds = node.operation.holds(left, right)
                result = node.returnsBool ? (holds ? 1 : 0) : holds ? left : absentValue
            }
            try set(result, step)
        }
    }

    private mutating func set(_ value: Double, _ step: Int) throws(QueryError) {
        let mark = taker * vector.steps + step
        guard !isTaken[mark] else {
            throw .execution(
                isOneToOne
                    ? "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                    : "multiple matches for labels: grouping labels must ensure unique matches")
        }
        isTaken[mark] = true
        guard value.isPresent else { return }
        let index = vector.base(place) + step
        guard !vector.values[index].isPresent else {
            throw .execution("vector cannot contain metrics with the same labelset")
        }
        vector.values[index] = value
    }

    /// The series that have a value at some step.
    var result: StepVector {
        var result = vector
        result.removeEmpty()
        return result
    }
}

extension Binary.Operator {
    /// Arithmetic, as Go does it.
    @inline(__always)
    func apply(_ left: Double, _ right: Double) -> Double {
        switch self {
        case .add: left + right
        case .subtract: left - right
        case .multiply: left * right
        case .divide: left / right
        case .modulo: fmod(left, right)
        case .power: pow(left, right)
        case .atan2: Glibc.atan2(left, right)
        default: .nan
        }
    }

    /// Comparison, as IEEE 754 has it.
    @inline(__always)
    func holds(_ left: Double, _ right: Double) -> Bool {
        switch self {
        case .equal: left == right
        case .notEqual: left != right
        case .less: left < right
        case .greater: left > right
        case .lessOrEqual: left <= right
        case .greaterOrEqual: left >= right
        default: false
        }
    }
}

extension Labels {
    /// With the name among the labels, as errors of vector matching tell series.
    fileprivate var telling: String {
        "{\(sorted.map { "\($0.name)=\($0.value.goQuoted)" }.joined(separator: ", "))}"
    }
}
