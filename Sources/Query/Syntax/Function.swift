/// A function of the language: its signature, and what evaluates it.
///
/// - SeeAlso: Prometheus, `promql/parser/functions.go`.
public struct Function: Sendable, Hashable {
    /// Its name.
    public let name: String
    /// The kinds of its arguments; the last repeats when there are more.
    public let parameters: [ValueType]
    /// How many of `parameters`, from the end, may be left out; with `isOpen`, any number may follow.
    public let optional: Int
    /// Whether the last parameter may be given any number of times.
    public let isOpen: Bool
    /// The kind of its value.
    public let result: ValueType
    /// Whether Prometheus keeps it behind a flag.
    public let isExperimental: Bool
    let kind: Kind

    /// How it is evaluated.
    enum Kind: Sendable, Hashable {
        case window(WindowFunction)
        case math(MathFunction)
        case date(DateFunction)
        case special(SpecialFunction)
    }

    /// How many arguments may follow all but the last, below 0 for any number; 0: none is optional.
    var variadic: Int { kind == .special(.histogramQuantiles) ? 9 : isOpen ? -1 : optional }

    /// The fewest and the most arguments it takes.
    var arity: ClosedRange<Int> {
        let (least, variadic) = (parameters.count - 1, variadic)
        return variadic == 0 ? least + 1...least + 1 : least...(variadic < 0 ? .max : least + variadic)
    }

    /// The kind of argument number `index`.
    func parameter(_ index: Int) -> ValueType { parameters[min(index, parameters.count - 1)] }

    /// By name.
    public static func == (left: Function, right: Function) -> Bool { left.name == right.name }
    /// By name.
    public func hash(into hasher: inout Hasher) { hasher.combine(name) }

    /// All functions by name.
    public static let all: [String: Function] = {
        var all: [String: Function] = [:]
        func add(
            _ name: String, _ kind: Kind, _ parameters: [ValueType], optional: Int = 0, isOpen: Bool = false,
            result: ValueType = .vector, isExperimental: Bool = false
        ) {
            all[name] = Function(
                name: name, parameters: parameters, optional: optional, isOpen: isOpen, result: result,
                isExperimental: isExperimental, kind: kind)
        }
        for function in WindowFunction.allCases {
            add(
                function.rawValue, .window(function), function.parameters,
                isExperimental: function.isExperimental)
        }
        for function in MathFunction.allCases { add(function.rawValue, .math(function), [.vector]) }
        for function in DateFunction.allCases { add(function.rawValue, .date(function), [.vector], optional: 1) }
        for function in SpecialFunction.allCases {
            let signature = function.signature
            add(
                function.rawValue, .special(function), signature.parameters, optional: signature.optional,
                isOpen: signature.isOpen, result: signature.result, isExperimental: signature.isExperimental)
        }
        return all
    }()
}

/// Functions of one range vector that give at most one value per series and step.
enum WindowFunction: String, Sendable, CaseIterable {
    case rate, increase, delta, irate, idelta, deriv, changes, resets
    case predictLinear = "predict_linear"
    case avgOverTime = "avg_over_time", sumOverTime = "sum_over_time", minOverTime = "min_over_time"
    case maxOverTime = "max_over_time", countOverTime = "count_over_time", lastOverTime = "last_over_time"
    case firstOverTime = "first_over_time", presentOverTime = "present_over_time"
    case stddevOverTime = "stddev_over_time", stdvarOverTime = "stdvar_over_time"
    case quantileOverTime = "quantile_over_time", madOverTime = "mad_over_time"
    case tsOfFirstOverTime = "ts_of_first_over_time", tsOfLastOverTime = "ts_of_last_over_time"
    case tsOfMinOverTime = "ts_of_min_over_time", tsOfMaxOverTime = "ts_of_max_over_time"
    case doubleExponentialSmoothing = "double_exponential_smoothing"

    var parameters: [ValueType] {
        switch self {
        case .quantileOverTime: [.scalar, .matrix]
        case .predictLinear: [.matrix, .scalar]
        case .doubleExponentialSmoothing: [.matrix, .scalar, .scalar]
        default: [.matrix]
        }
    }
    var isExperimental: Bool {
        switch self {
        case .madOverTime, .tsOfFirstOverTime, .tsOfLastOverTime, .tsOfMinOverTime, .tsOfMaxOverTime,
            .doubleExponentialSmoothing:
            true
        default: false
        }
    }
    /// Whether the result is one of the samples, so that it keeps the metric's name.
    var keepsName: Bool { self == .lastOverTime || self == .firstOverTime }
}

/// Functions of a single number.
enum MathFunction: String, Sendable, CaseIterable {
    case abs, ceil, floor, exp, ln, log2, log10, sqrt, sgn, acos, acosh, asin, asinh, atan, atanh, cos, cosh, sin, sinh
    case tan, tanh, deg, rad
}

/// Functions of a moment in UTC; without an argument, of the step's.
enum DateFunction: String, Sendable, CaseIterable {
    case minute, hour, month, year
    case dayOfMonth = "day_of_month", dayOfWeek = "day_of_week", dayOfYear = "day_of_year"
    case daysInMonth = "days_in_month"
}

/// Functions with a way of their own.
enum SpecialFunction: String, Sendable, CaseIterable {
    case absent, absentOverTime = "absent_over_time", clamp, clampMin = "clamp_min", clampMax = "clamp_max"
    case histogramFraction = "histogram_fraction", histogramQuantile = "histogram_quantile"
    case histogramQuantiles = "histogram_quantiles"
    // Of native histograms alone: of floats they give nothing.
    case histogramAvg = "histogram_avg", histogramCount = "histogram_count", histogramSum = "histogram_sum"
    case histogramStddev = "histogram_stddev", histogramStdvar = "histogram_stdvar"
    case labelJoin = "label_join", labelReplace = "label_replace", maxOf = "max_of", minOf = "min_of", pi, round
    case scalar, sort, sortDescending = "sort_desc", sortByLabel = "sort_by_label"
    case sortByLabelDescending = "sort_by_label_desc", start, end, step, range, time, timestamp, vector, info
    case startTimestamp = "start_timestamp"

    typealias Signature = (
        parameters: [ValueType], optional: Int, isOpen: Bool, result: ValueType, isExperimental: Bool
    )

    var signature: Signature {
        switch self {
        case .absent, .sort, .sortDescending, .timestamp, .histogramAvg, .histogramCount, .histogramSum,
            .histogramStddev, .histogramStdvar:
            ([.vector], 0, false, .vector, false)
        case .absentOverTime: ([.matrix], 0, false, .vector, false)
        case .clamp: ([.vector, .scalar, .scalar], 0, false, .vector, false)
        case .clampMin, .clampMax: ([.vector, .scalar], 0, false, .vector, false)
        case .histogramFraction: ([.scalar, .scalar, .vector], 0, false, .vector, false)
        case .histogramQuantile: ([.scalar, .vector], 0, false, .vector, false)
        case .histogramQuantiles: ([.vector, .string, .scalar, .scalar], 1, true, .vector, true)
        case .labelJoin: ([.vector, .string, .string, .string], 1, true, .vector, false)
        case .labelReplace: ([.vector, .string, .string, .string, .string], 0, false, .vector, false)
        case .maxOf, .minOf: ([.scalar, .scalar], 0, false, .scalar, true)
        case .pi, .time: ([], 0, false, .scalar, false)
        case .start, .end, .step, .range: ([], 0, false, .scalar, true)
        case .round: ([.vector, .scalar], 1, false, .vector, false)
        case .scalar: ([.vector], 0, false, .scalar, false)
        case .sortByLabel, .sortByLabelDescending: ([.vector, .string], 1, true, .vector, true)
        case .vector: ([.scalar], 0, false, .vector, false)
        case .info: ([.vector, .vector], 1, false, .vector, true)
        case .startTimestamp: ([.vector], 0, false, .vector, true)
        }
    }
}
