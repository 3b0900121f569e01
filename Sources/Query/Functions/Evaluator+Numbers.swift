internal import Basics
internal import Glibc
internal import Model

extension Evaluator {
    /// Applies a function of one number to all present values.
    func apply(_ function: MathFunction, to values: inout [Double]) {
        switch function {
        case .abs: map(&values) { abs($0) }
        case .ceil: map(&values) { $0.rounded(.up) }
        case .floor: map(&values) { $0.rounded(.down) }
        case .exp: map(&values) { Glibc.exp($0) }
        case .ln: map(&values) { Glibc.log($0) }
        case .log2: map(&values) { Glibc.log2($0) }
        case .log10: map(&values) { Glibc.log10($0) }
        case .sqrt: map(&values) { $0.squareRoot() }
        case .sgn: map(&values) { $0 < 0 ? -1 : $0 > 0 ? 1 : $0 }
        case .acos: map(&values) { Glibc.acos($0) }
        case .acosh: map(&values) { Glibc.acosh($0) }
        case .asin: map(&values) { Glibc.asin($0) }
        case .asinh: map(&values) { Glibc.asinh($0) }
        case .atan: map(&values) { Glibc.atan($0) }
        case .atanh: map(&values) { Glibc.atanh($0) }
        case .cos: map(&values) { Glibc.cos($0) }
        case .cosh: map(&values) { Glibc.cosh($0) }
        case .sin: map(&values) { Glibc.sin($0) }
        case .sinh: map(&values) { Glibc.sinh($0) }
        case .tan: map(&values) { Glibc.tan($0) }
        case .tanh: map(&values) { Glibc.tanh($0) }
        case .deg: map(&values) { $0 * 180 / .pi }
        case .rad: map(&values) { $0 * .pi / 180 }
        }
    }

    private func map(_ values: inout [Double], _ transform: (Double) -> Double) {
        for index in values.indices where values[index].isPresent { values[index] = transform(values[index]) }
    }

    /// A part of each value's date in UTC; without an argument, of each step.
    func date(_ function: DateFunction, _ call: Call, _ grid: StepGrid) throws(QueryError) -> StepVector {
        guard let argument = call.arguments.first else {
            let values = (0..<grid.count).map { datePart(function, Double(grid.time($0)) / 1000) }
            return StepVector(labels: [Labels()], values: values, steps: grid.count)
        }
        var vector = try vector(argument, grid)
        map(&vector.values) { datePart(function, $0) }
        try dropNames(&vector)
        return vector
    }
}

/// A part of a moment's date; the moment in seconds since the Unix epoch, cut to a whole second.
private func datePart(_ function: DateFunction, _ value: Double) -> Double {
    // Go converts what does not fit to the least Int64; years are bounded here instead.
    let seconds = value.isFinite && abs(value) < 1e15 ? Int64(value) : 0
    let days = seconds.flooringDivision(by: 86_400)
    let second = seconds - days * 86_400
    let date = CivilDate(daysSinceEpoch: days)
    switch function {
    case .minute: return Double(second / 60 % 60)
    case .hour: return Double(second / 3600)
    case .dayOfMonth: return Double(date.day)
    case .dayOfWeek: return Double(date.weekday % 7)
    case .dayOfYear: return Double(days - CivilDate(year: date.year, month: 1, day: 1).daysSinceEpoch + 1)
    case .daysInMonth: return Double(CivilDate.days(inMonth: date.month, of: date.year))
    case .month: return Double(date.month)
    case .year: return Double(date.year)
    }
}
