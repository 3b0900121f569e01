internal import Basics
internal import Model

extension Evaluator {
    /// The labels by which a series and its info series belong together; Prometheus has them fixed too.
    private static let identifying = ["instance", "job"]
    /// The most values of an identifying label that are asked for by name.
    private static let mostValues = 1000

    /// `info(v, {…})`: the labels of the info series that share a series' instance and job.
    ///
    /// - SeeAlso: Prometheus, `promql/info.go`.
    func info(_ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let base = try vector(call.arguments[0], grid)
        var matchers: [Matcher] = []
        if call.arguments.count > 1, case .vector(let selector) = call.arguments[1] { matchers = selector.matchers }
        let names = try infoNames(matchers.filter { $0.name == Labels.nameLabel })
        let wanted = matchers.filter { $0.name != Labels.nameLabel }
        // Info series themselves are passed through.
        let isInfo = base.labels.map { labels in names.allSatisfy { $0.matches(labels.metricName) } }
        let selected = try infoSeries(call, base, isInfo, names + wanted, grid)
        let newest = try newestInfo(selected, base, grid)
        return try enriched(base, isInfo, selected, newest, wanted, grid)
    }

    /// Which metrics are info series: `target_info` unless something else is said.
    private func infoNames(_ matchers: [Matcher]) throws(QueryError) -> [Matcher] {
        if matchers.isEmpty { return [Matcher(Labels.nameLabel, equals: "target_info")] }
        if matchers.contains(where: { $0.operation == .equal || $0.operation == .matches }) { return matchers }
        do throws(PatternError) {
            return [try Matcher(Labels.nameLabel, .matches, ".+_info")] + matchers
        } catch {
            throw .execution(error.description)
        }
    }

    /// The moments of the newest samples of all info series that may belong to one of the series, in milliseconds.
    private func infoSeries(
        _ call: Call, _ base: StepVector, _ isInfo: [Bool], _ matchers: [Matcher], _ grid: StepGrid
    ) throws(QueryError) -> StepVector {
        var matchers = matchers
        var isIdentified = false
        for name in Evaluator.identifying {
            var values: Set<ByteText> = []
            for (index, labels) in base.labels.enumerated() where !isInfo[index] {
                values.insert(ByteText(labels[name]))
            }
            values.remove(ByteText(""))
            if values.isEmpty { continue }
            isIdentified = true
            // With more values than this, too many series are read instead.
            guard values.count <= Evaluator.mostValues else { continue }
            do throws(PatternError) {
                matchers.append(
                    try Matcher(name, .matches, values.sorted().map(\.text.regexQuoted).joined(separator: "|")))
            } catch {
                throw .execution(error.description)
            }
        }
        guard isIdentified else { return StepVector(steps: grid.count) }
        var selector = VectorSelector(name: "", matchers: matchers, range: call.range)
        selector.shift = call.arguments[0].firstShift ?? TimeShift()
        return try selectedTimes(selector, grid)
    }

    /// The newest info series of each metric name, instance and job at each step.
    private func newestInfo(
        _ selected: StepVector, _ base: StepVector, _ grid: StepGrid
    ) throws(QueryError) -> [ByteText: [Labels: [Int]]] {
        var isAsked = Array(repeating: false, count: grid.count)
        for index in base.values.indices where base.values[index].isPresent { isAsked[index % grid.count] = true }
        var newest: [ByteText: [Labels: [Int]]] = [:]
        for (index, labels) in selected.labels.enumerated() {
            if index & 0x3F == 0 { try checkTime() }
            let (name, key) = (ByteText(labels.metricName), labels.keeping(Evaluator.identifying))
            var winners = newest[name]?[key] ?? Array(repeating: -1, count: grid.count)
            for step in 0..<grid.count where isAsked[step] {
                let time = selected.values[selected.base(index) + step]
                guard time.isPresent else { continue }
                if winners[step] >= 0 {
                    let other = selected.values[selected.base(winners[step]) + step]
                    if other > time { continue }
                    guard other < time else {
                        let moment = Int64((time * 1000).rounded())
                        throw .execution(
                            "found duplicate series for info metric: existing \(selected.labels[winners[step]]) "
                                + "@ \(moment), new \(labels) @ \(moment)")
                    }
                }
                winners[step] = index
            }
            newest[name, default: [:]][key] = winners
        }
        return newest
    }

    private func enriched(
        _ base: StepVector, _ isInfo: [Bool], _ selected: StepVector, _ newest: [ByteText: [Labels: [Int]]],
        _ wanted: [Matcher], _ grid: StepGrid
    ) throws(QueryError) -> StepVector {
        let names = wanted.map(\.name)
        let mayLack = wanted.allSatisfy { $0.matches("") }
        let metrics = newest.keys.sorted()
        var output = StepVector(steps: grid.count)
        var places: [Labels: Int] = [:]
        for series in 0..<base.count {
            if series & 0x3F == 0 { try checkTime() }
            let labels = base.labels[series]
            let key = labels.keeping(Evaluator.identifying)
            let winners = isInfo[series] ? [] : metrics.compactMap { newest[$0]?[key] }
            var last: (infos: [Int], place: Int?)?
            for step in 0..<grid.count {
                let value = base.values[base.base(series) + step]
                guard value.isPresent else { continue }
                let infos = winners.map { $0[step] }.filter { $0 >= 0 }
                if last?.infos != infos {
                    var place: Int?
                    if !infos.isEmpty || mayLack || isInfo[series] {
                        let merged = try merged(labels, infos.map { selected.labels[$0] }, names)
                        place = places[merged]
                        if place == nil {
                            try checkPoints(1, grid.count)
                            place = output.addSeries(merged, drops: base.drops(series))
                            places[merged] = place
                        }
                    }
                    last = (infos, place)
                }
                guard let place = last?.place else { continue }
                guard !output.values[output.base(place) + step].isPresent else {
                    throw .execution("vector cannot contain metrics with the same labelset")
                }
                output.values[output.base(place) + step] = value
            }
        }
        return output
    }

    /// A series' labels and those of its info series that it has not; `names`: only these, unless empty.
    private func merged(_ labels: Labels, _ infos: [Labels], _ names: [String]) throws(QueryError) -> Labels {
        var added = Labels()
        for info in infos {
            for label in info.sorted where label.name != Labels.nameLabel {
                guard names.isEmpty || names.holds(label.name) else { continue }
                let before = added[label.name]
                guard before.isEmpty || before.isSame(as: label.value) else {
                    throw .execution("conflicting label: \(label.name)")
                }
                if labels[label.name].isEmpty { added[label.name] = label.value }
            }
        }
        return labels.merging(added)
    }
}

extension Expr {
    /// When the first selector in it looks: its own `offset` and `@`, and those of the subqueries around it until an
    /// `@` fixes the moment.
    fileprivate var firstShift: TimeShift? {
        switch self {
        case .number, .string: return nil
        case .vector(let node): return node.shift
        case .matrix(let node): return node.selector.shift
        case .subquery(let node):
            guard var shift = node.inner.firstShift else { return nil }
            guard shift.at == nil else { return shift }
            shift.at = node.shift.at
            switch (shift.offset, node.shift.offset) {
            case (_, nil): break
            case (nil, let outer): shift.offset = outer
            case (let inner?, let outer?):
                let sum = DurationExpr.binary(.add, inner.term, outer.term)
                shift.offset = QueryDuration(
                    milliseconds: inner.milliseconds + outer.milliseconds, expression: sum, range: outer.range)
            }
            return shift
        case .call(let node):
            for argument in node.arguments { if let shift = argument.firstShift { return shift } }
            return nil
        case .aggregate(let node): return node.inner.firstShift ?? node.parameter?.firstShift
        case .binary(let node): return node.left.firstShift ?? node.right.firstShift
        case .unary(let node): return node.operand.firstShift
        case .paren(let node): return node.inner.firstShift
        case .invariant(let inner): return inner.firstShift
        }
    }
}

extension QueryDuration {
    fileprivate var term: DurationExpr {
        expression
            ?? .literal(NumberLiteral(value: Double(milliseconds) / 1000, isDuration: true, range: range))
    }
}

extension String {
    /// With a backslash before each character that means something in a regular expression.
    fileprivate var regexQuoted: String {
        var text = ""
        for character in self {
            if "\\.+*?()|[]{}^$".contains(character) { text.append("\\") }
            text.append(character)
        }
        return text
    }
}
