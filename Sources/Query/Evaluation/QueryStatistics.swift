public import Basics

/// What a query cost, as `stats=all` of Prometheus' API tells it, and with `explains` the plan.
public struct QueryStatistics: Sendable {
    /// Samples that an instant query at each step would look at, in all.
    public var totalQueryableSamples = 0
    /// The same for each step.
    public var samplesPerStep: [(time: Timestamp, samples: Int)] = []
    /// Samples read from the source, each once.
    public var samplesRead = 0
    /// The most samples and points, and the most bytes, that were held at once.
    public var peakSamples = 0, peakBytes = 0
    /// Nanoseconds spent waiting for a place, and evaluating; 0 without a clock.
    public var waitedNanoseconds: UInt64 = 0, evaluationNanoseconds: UInt64 = 0
    /// Of these, sorting the result.
    public var sortNanoseconds: UInt64 = 0
    /// What each part of the expression took; nil unless asked for.
    public var plan: PlanNode?

    /// As in Prometheus' answer; `perStep` as with `stats=all`.
    ///
    /// - SeeAlso: Prometheus, `util/stats/query_stats.go`.
    public func json(perStep: Bool) -> JSON {
        func seconds(_ nanoseconds: UInt64) -> JSON { .number(Double(nanoseconds) / 1e9) }
        let inner = evaluationNanoseconds - min(evaluationNanoseconds, sortNanoseconds)
        var samples: [JSON.Member] = []
        if perStep {
            samples.append(
                JSON.Member(
                    "totalQueryableSamplesPerStep",
                    .array(
                        samplesPerStep.map {
                            [.number(Double($0.time.milliseconds) / 1000), .number(Double($0.samples))]
                        }
                    )))
        }
        samples += [
            JSON.Member("totalQueryableSamples", .number(Double(totalQueryableSamples))),
            JSON.Member("samplesRead", .number(Double(samplesRead))),
            JSON.Member("peakSamples", .number(Double(peakSamples))),
            JSON.Member("peakBytes", .number(Double(peakBytes))),
        ]
        var members: [JSON.Member] = [
            JSON.Member(
                "timings",
                .object([
                    JSON.Member("evalTotalTime", seconds(evaluationNanoseconds)),
                    JSON.Member("resultSortTime", seconds(sortNanoseconds)),
                    JSON.Member("queryPreparationTime", 0),
                    JSON.Member("innerEvalTime", seconds(inner)),
                    JSON.Member("execQueueTime", seconds(waitedNanoseconds)),
                    JSON.Member("execTotalTime", seconds(waitedNanoseconds + evaluationNanoseconds)),
                ])),
            JSON.Member("samples", .object(samples)),
        ]
        if let plan { members.append(JSON.Member("plan", plan.json)) }
        return .object(members)
    }
}

/// A part of a query as it was evaluated, with the parts that it was made from.
public struct PlanNode: Sendable, Hashable {
    /// The part, without the parts inside it: `sum by (job)`, `rate`, a whole selector.
    public var text: String
    /// Its place in the query's text.
    public var range: SourceRange
    /// Series that it gives, and the steps of each.
    public var series = 0, steps = 0
    /// Samples that it and all below it read.
    public var samples = 0
    /// Bytes that were held at most while it was evaluated, what was held before it left out.
    public var bytes = 0
    /// Nanoseconds that it and all below it took; 0 without a clock.
    public var nanoseconds: UInt64 = 0
    /// What it was made from.
    public var children: [PlanNode] = []

    /// Nanoseconds without those of the parts below.
    public var ownNanoseconds: UInt64 {
        nanoseconds - min(nanoseconds, children.reduce(0) { $0 + $1.nanoseconds })
    }

    /// For the API's `stats=explain`.
    public var json: JSON {
        .object([
            JSON.Member("node", .string(text)), JSON.Member("series", .number(Double(series))),
            JSON.Member("steps", .number(Double(steps))), JSON.Member("samples", .number(Double(samples))),
            JSON.Member("bytes", .number(Double(bytes))), JSON.Member("seconds", .number(Double(nanoseconds) / 1e9)),
            JSON.Member("ownSeconds", .number(Double(ownNanoseconds) / 1e9)),
            JSON.Member("children", .array(children.map(\.json))),
        ])
    }
}

extension Expr {
    /// How a plan names it; nil for what only holds another part together.
    var planText: String? {
        switch self {
        case .number, .string, .paren, .invariant: nil
        case .vector, .matrix: description
        case .subquery(let node): "subquery \(node.suffix)"
        case .call(let node): "\(node.function.name)()"
        case .aggregate(let node): node.head.trimmed
        case .binary(let node): node.operatorText
        case .unary(let node): node.isNegative ? "-" : "+"
        }
    }
}
