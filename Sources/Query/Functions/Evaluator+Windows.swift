internal import Basics
internal import Glibc
internal import Model

extension Evaluator {
    /// A function of a range vector: each series' columns once, its window sliding over them.
    func window(_ function: WindowFunction, _ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        let (input, fill) = try windowRows(function, call, grid)
        let rows = try rows(input, fill)
        var output = StepVector(
            labels: (0..<input.feed.count).map(input.feed.labels), values: rows.values, steps: grid.count)
        output.dropsName = input.dropsName
        for index in rows.told { noteOverlap(output.labels[index].metricName, call) }
        output.removeEmpty()
        if function == .rate || function == .increase { for labels in output.labels { noteNonCounter(labels, call) } }
        if !function.keepsName { try dropNames(&output) }
        return output
    }

    /// What a function reads, and how it makes a row of it.
    func windowRows(
        _ function: WindowFunction, _ call: Call, _ grid: StepGrid
    ) throws(QueryError) -> (input: WindowedSeries, fill: RowSource.Fill) {
        let isMatrixFirst = function.parameters[0] == .matrix
        let argument = call.arguments[isMatrixFirst ? 0 : 1]
        try check(reachOf: argument, in: call, function)
        var parameters: [StepScalar] = []
        for (index, type) in function.parameters.enumerated() where type == .scalar {
            parameters.append(try scalar(call.arguments[index], grid))
        }
        try check(function, parameters, call, grid)
        let input = try windowed(argument, grid)
        let slide = WindowSlide(
            function: function, windows: input.windows, parameters: parameters, moments: grid,
            usesStartTimes: options.usesStartTimes)
        return (input, { columns, row in slide.fill(&row, from: columns) })
    }

    /// Only some functions know what to make of a window that reaches outside of itself.
    func check(reachOf argument: Expr, in call: Call, _ function: WindowFunction?) throws(QueryError) {
        guard case .matrix(let node) = argument.bare, let reach = node.selector.reach else { return }
        if let function, reach.functions.contains(function) { return }
        throw .execution(
            "\(reach.rawValue) modifier can only be used with: "
                + "\(reach.functions.map(\.rawValue).joined(separator: ", ")) - not with \(call.function.name)")
    }

    func noteOverlap(_ name: String, _ call: Call) {
        warn(
            "sample has start time that overlaps with previous sample timestamp for metric \(name.goQuoted)",
            at: call.arguments[0].range)
    }

    private func check(
        _ function: WindowFunction, _ parameters: [StepScalar], _ call: Call, _ grid: StepGrid
    ) throws(QueryError) {
        switch function {
        case .quantileOverTime: warnOfQuantiles(parameters[0], grid, at: call.arguments[0].range)
        case .doubleExponentialSmoothing:
            for (name, factor) in zip(["smoothing", "trend"], parameters) {
                for step in 0..<grid.count where !(factor[step] > 0 && factor[step] < 1) {
                    throw .execution(
                        "invalid \(name) factor. Expected: 0 < \(name == "smoothing" ? "sf" : "tf") < 1, "
                            + "got: \(GoNumber.fixed(factor[step]))")
                }
            }
        default: break
        }
    }

    /// Notes quantiles outside of 0…1, each once.
    func warnOfQuantiles(_ rank: StepScalar, _ grid: StepGrid, at range: SourceRange) {
        var last: UInt64?
        for step in 0..<grid.count where !(rank[step] >= 0 && rank[step] <= 1) {
            guard rank[step].bitPattern != last else { continue }
            last = rank[step].bitPattern
            warn(
                "quantile value should be between 0 and 1, got \(GoNumber.shortest(rank[step]))",
                at: range)
            if case .constant = rank { return }
        }
    }

    /// Notes that a rate is taken of what does not look like a counter.
    func noteNonCounter(_ labels: Labels, _ call: Call) {
        let name = labels.metricName
        guard !name.isEmpty, !["_total", "_sum", "_count", "_bucket"].contains(where: name.hasSuffix) else { return }
        inform(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \(name.goQuoted)",
            at: call.arguments[0].range)
    }
}
