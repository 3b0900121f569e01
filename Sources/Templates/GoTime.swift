internal import Basics

/// A moment with what clocks show somewhere; in UTC by itself.
struct ZonedTime: TemplateObject {
    var moment: Timestamp
    /// Ahead of UTC.
    var offset: Milliseconds = 0
    /// `CET`.
    var zone = "UTC"

    var plain: TemplateValue { .time(moment) }
    /// As Go's `Time.String` writes it.
    var text: String { GoTime.format(self, "2006-01-02 15:04:05.999999999 -0700 MST") }
    func member(_ name: String, _ arguments: [TemplateValue]) -> TemplateValue? { nil }
}

/// Go's layouts, which show how `Mon Jan 2 15:04:05 MST 2006` is to be written.
///
/// - SeeAlso: Go, `time/format.go`.
enum GoTime {
    private static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    private static let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

    private enum Part: Equatable {
        case literal(String)
        case longMonth, month, numberMonth, zeroMonth, longDay, day
        case numberDay, spaceDay, zeroDay, spaceYearDay, zeroYearDay
        case hour, hour12, zeroHour12, minute, zeroMinute, second, zeroSecond
        case longYear, year, upperHalf, lowerHalf, zone
        case offset(isZ: Bool, hasColon: Bool, parts: Int)
        /// With zeroes at the end or without.
        case fraction(separator: Character, digits: Int, isTrimmed: Bool)
    }

    /// The longest first, where one begins another.
    private static let words: [(String, Part)] = [
        ("January", .longMonth), ("Jan", .month), ("Monday", .longDay), ("Mon", .day), ("MST", .zone),
        ("2006", .longYear), ("__2", .spaceYearDay), ("002", .zeroYearDay), ("01", .zeroMonth), ("02", .zeroDay),
        ("03", .zeroHour12), ("04", .zeroMinute), ("05", .zeroSecond), ("06", .year), ("15", .hour), ("_2", .spaceDay),
        ("1", .numberMonth), ("2", .numberDay), ("3", .hour12), ("4", .minute), ("5", .second), ("PM", .upperHalf),
        ("pm", .lowerHalf), ("-07:00:00", .offset(isZ: false, hasColon: true, parts: 3)),
        ("-07:00", .offset(isZ: false, hasColon: true, parts: 2)),
        ("-070000", .offset(isZ: false, hasColon: false, parts: 3)),
        ("-0700", .offset(isZ: false, hasColon: false, parts: 2)),
        ("-07", .offset(isZ: false, hasColon: false, parts: 1)),
        ("Z07:00:00", .offset(isZ: true, hasColon: true, parts: 3)),
        ("Z07:00", .offset(isZ: true, hasColon: true, parts: 2)),
        ("Z070000", .offset(isZ: true, hasColon: false, parts: 3)),
        ("Z0700", .offset(isZ: true, hasColon: false, parts: 2)),
        ("Z07", .offset(isZ: true, hasColon: false, parts: 1)),
    ]

    /// The parts of a layout, each with its own text.
    private static func parts(_ layout: String) -> [(part: Part, text: String)] {
        var parts: [(Part, String)] = []
        var literal = ""
        var rest = layout[...]
        while let first = rest.first {
            var found = words.first { rest.hasPrefix($0.0) }
            if found?.0 == "Jan" || found?.0 == "Mon", rest.dropFirst(3).first?.isLowercase == true { found = nil }
            if first == "." || first == ",", let digit = rest.dropFirst().first, digit == "0" || digit == "9" {
                let run = rest.dropFirst().prefix { $0 == digit }
                if !(rest.dropFirst(1 + run.count).first?.isNumber ?? false) {
                    found = (
                        String(first) + run,
                        .fraction(separator: first, digits: run.count, isTrimmed: digit == "9")
                    )
                }
            }
            guard let (text, part) = found else {
                literal.append(first)
                rest = rest.dropFirst()
                continue
            }
            if !literal.isEmpty { parts.append((.literal(literal), literal)) }
            literal = ""
            parts.append((part, text))
            rest = rest.dropFirst(text.count)
        }
        if !literal.isEmpty { parts.append((.literal(literal), literal)) }
        return parts
    }

    private static func padded(_ number: Int, _ width: Int, with pad: Character = "0") -> String {
        let digits = String(abs(number))
        return (number < 0 ? "-" : "") + String(repeating: pad, count: max(0, width - digits.count)) + digits
    }

    /// A moment as a layout shows it.
    static func format(_ time: ZonedTime, _ layout: String) -> String {
        let local = time.moment.milliseconds + time.offset
        let dayNumber = local.flooringDivision(by: 86_400_000)
        let (date, rest) = (CivilDate(daysSinceEpoch: dayNumber), Int(local - dayNumber * 86_400_000))
        let (hour, minute, second, fraction) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000)
        let weekday = Int((dayNumber + 4) - (dayNumber + 4).flooringDivision(by: 7) * 7)
        let yearDay = Int(dayNumber - CivilDate(year: date.year, month: 1, day: 1).daysSinceEpoch) + 1
        let hour12 = hour % 12 == 0 ? 12 : hour % 12
        return parts(layout).map { part, _ in
            switch part {
            case .literal(let text): return text
            case .longMonth: return months[date.month - 1]
            case .month: return String(months[date.month - 1].prefix(3))
            case .numberMonth: return String(date.month)
            case .zeroMonth: return padded(date.month, 2)
            case .longDay: return days[weekday]
            case .day: return String(days[weekday].prefix(3))
            case .numberDay: return String(date.day)
            case .spaceDay: return padded(date.day, 2, with: " ")
            case .zeroDay: return padded(date.day, 2)
            case .spaceYearDay: return padded(yearDay, 3, with: " ")
            case .zeroYearDay: return padded(yearDay, 3)
            case .hour: return padded(hour, 2)
            case .hour12: return String(hour12)
            case .zeroHour12: return padded(hour12, 2)
            case .minute: return String(minute)
            case .zeroMinute: return padded(minute, 2)
            case .second: return String(second)
            case .zeroSecond: return padded(second, 2)
            case .longYear: return padded(date.year, 4)
            case .year: return padded(date.year % 100, 2)
            case .upperHalf: return hour >= 12 ? "PM" : "AM"
            case .lowerHalf: return hour >= 12 ? "pm" : "am"
            case .zone: return time.zone
            case .offset(let isZ, let hasColon, let count):
                if isZ, time.offset == 0 { return "Z" }
                let size = Int(abs(time.offset) / 1000)
                let numbers = [size / 3600, size / 60 % 60, size % 60].prefix(count).map { padded($0, 2) }
                return (time.offset < 0 ? "-" : "+") + numbers.joined(separator: hasColon ? ":" : "")
            case .fraction(let separator, let count, let isTrimmed):
                var digits = String((padded(fraction, 3) + "000000").prefix(count))
                if isTrimmed { while digits.last == "0" { digits.removeLast() } }
                return digits.isEmpty ? "" : "\(separator)\(digits)"
            }
        }.joined()
    }

    /// Reads a text in a layout; the time of day and the offset are those it tells, else midnight in UTC.
    static func parse(_ text: String, _ layout: String) throws(TemplateFailure) -> ZonedTime {
        var (year, month, day) = (1, 1, 1)
        var (hour, minute, second, fraction) = (0, 0, 0, 0)
        var (half, yearDay): (Bool?, Int?)
        var offset: Milliseconds = 0
        var zone = "UTC"
        var rest = text[...]
        func failure(_ part: String) -> TemplateFailure {
            TemplateFailure(
                "parsing time \(text.goQuoted) as \(layout.goQuoted): cannot parse \(String(rest).goQuoted) as "
                    + part.goQuoted)
        }
        func number(_ part: String, _ widths: ClosedRange<Int>) throws(TemplateFailure) -> Int {
            let digits = rest.prefix(widths.upperBound).prefix { $0.isASCII && $0.isNumber }
            guard digits.count >= widths.lowerBound, let number = Int(digits) else { throw failure(part) }
            rest = rest.dropFirst(digits.count)
            return number
        }
        func name(_ part: String, among names: [String]) throws(TemplateFailure) -> Int {
            guard let index = names.firstIndex(where: { rest.lowercased().hasPrefix($0.lowercased()) }) else {
                throw failure(part)
            }
            rest = rest.dropFirst(names[index].count)
            return index
        }
        for (part, text) in parts(layout) {
            switch part {
            case .literal(let literal):
                guard rest.hasPrefix(literal) else { throw failure(literal) }
                rest = rest.dropFirst(literal.count)
            case .longMonth: month = try name(text, among: months) + 1
            case .month: month = try name(text, among: months.map { String($0.prefix(3)) }) + 1
            case .numberMonth: month = try number(text, 1...2)
            case .zeroMonth: month = try number(text, 2...2)
            case .longDay: _ = try name(text, among: days)
            case .day: _ = try name(text, among: days.map { String($0.prefix(3)) })
            case .numberDay: day = try number(text, 1...2)
            case .spaceDay:
                if rest.first == " " { rest = rest.dropFirst() }
                day = try number(text, 1...2)
            case .zeroDay: day = try number(text, 2...2)
            case .spaceYearDay, .zeroYearDay: yearDay = try number(text, 3...3)
            case .hour: hour = try number(text, 2...2)
            case .hour12: hour = try number(text, 1...2)
            case .zeroHour12: hour = try number(text, 2...2)
            case .minute: minute = try number(text, 1...2)
            case .zeroMinute: minute = try number(text, 2...2)
            case .second: second = try number(text, 1...2)
            case .zeroSecond: second = try number(text, 2...2)
            case .longYear: year = try number(text, 4...4)
            case .year:
                let short = try number(text, 2...2)
                year = short >= 69 ? 1900 + short : 2000 + short
            case .upperHalf, .lowerHalf: half = try name(text, among: ["AM", "PM"]) == 1
            case .zone:
                let letters = rest.prefix { $0.isUppercase }
                guard letters.count >= 3 else { throw failure(text) }
                zone = String(letters)
                rest = rest.dropFirst(letters.count)
            case .offset(let isZ, let hasColon, let count):
                if isZ, rest.first == "Z" {
                    rest = rest.dropFirst()
                    continue
                }
                guard let sign = rest.first, sign == "+" || sign == "-" else { throw failure(text) }
                rest = rest.dropFirst()
                var size: Milliseconds = 0
                for index in 0..<count {
                    if index > 0, hasColon {
                        guard rest.first == ":" else { throw failure(text) }
                        rest = rest.dropFirst()
                    }
                    size += Milliseconds(try number(text, 2...2)) * [3_600_000, 60_000, 1000][index]
                }
                offset = sign == "-" ? -size : size
            case .fraction:
                guard let separator = rest.first, separator == "." || separator == "," else { continue }
                rest = rest.dropFirst()
                let digits = rest.prefix { $0.isASCII && $0.isNumber }
                guard !digits.isEmpty else { throw failure(text) }
                fraction = Int((String(digits) + "00").prefix(3)) ?? 0
                rest = rest.dropFirst(digits.count)
            }
        }
        guard rest.isEmpty else {
            throw TemplateFailure("parsing time \(text.goQuoted): extra text: \(String(rest).goQuoted)")
        }
        if let half { hour = hour % 12 + (half ? 12 : 0) }
        var date = CivilDate(year: year, month: month, day: day)
        for (isRight, what) in [
            ((1...12).contains(month), "month"), (hour < 24, "hour"), (minute < 60, "minute"), (second < 60, "second"),
            (day >= 1 && CivilDate(daysSinceEpoch: date.daysSinceEpoch) == date || !(1...12).contains(month), "day"),
        ] where !isRight {
            throw TemplateFailure("parsing time \(text.goQuoted): \(what) out of range")
        }
        if let yearDay {
            let first = CivilDate(year: year, month: 1, day: 1)
            date = CivilDate(daysSinceEpoch: first.daysSinceEpoch + Int64(yearDay) - 1)
            guard date.year == year else {
                throw TemplateFailure("parsing time \(text.goQuoted): day-of-year out of range")
            }
        }
        let seconds = Int64(hour * 3600 + minute * 60 + second)
        let local = date.daysSinceEpoch * 86_400_000 + seconds * 1000 + Int64(fraction)
        return ZonedTime(
            moment: Timestamp(milliseconds: local - offset), offset: offset,
            zone: offset == 0 ? zone : zone == "UTC" ? "" : zone)
    }
}

extension TemplateCall {
    /// A moment, with the zone it is shown in.
    func time(_ index: Int) throws(TemplateFailure) -> ZonedTime {
        if case .object(let object) = arguments[index], let time = object as? ZonedTime { return time }
        guard case .time(let moment) = arguments[index].plain else {
            throw TemplateFailure("wrong type for value; expected time.Time; got \(arguments[index].typeName)")
        }
        return ZonedTime(moment: moment)
    }
}
