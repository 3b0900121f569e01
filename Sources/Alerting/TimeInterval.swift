public import Basics
public import Settings

/// Finds a time zone by its IANA name; nil when there is none of that name.
public typealias ZoneFinder = @Sendable (_ name: String) -> CivilZone?

/// Recurring moments: those that fulfil every field given. Alertmanager's `time_intervals`.
///
/// - SeeAlso: Alertmanager, `timeinterval/timeinterval.go`.
public struct TimeInterval: Sendable, Hashable {
    /// Minutes of the day; the end is not part of it.
    public var times: [Range<Int>] = []
    /// Sunday is 0.
    public var weekdays: [ClosedRange<Int>] = []
    /// First and last day, each 1 to 31 or, from the month's end, -1 to -31.
    public var daysOfMonth: [DayRange] = []
    /// January is 1.
    public var months: [ClosedRange<Int>] = []
    /// Of the Gregorian calendar.
    public var years: [ClosedRange<Int>] = []
    /// Whose wall clock counts; UTC by default.
    public var zone: CivilZone?

    /// Days of a month, from either end.
    public struct DayRange: Sendable, Hashable {
        /// Both are part of it.
        public var first: Int, last: Int
        /// A range by its parts.
        public init(_ first: Int, _ last: Int) { (self.first, self.last) = (first, last) }
    }

    /// Every moment.
    public init() {}

    /// Whether a moment is in it.
    public func contains(_ moment: Timestamp) -> Bool {
        let local = moment + (zone?.offset(at: moment) ?? 0)
        let day = local.milliseconds.flooringDivision(by: 86_400_000)
        let minute = Int((local.milliseconds - day * 86_400_000) / 60_000)
        guard times.isEmpty || times.contains(where: { $0.contains(minute) }) else { return false }
        let weekday = Int((day + 4) - (day + 4).flooringDivision(by: 7) * 7)
        guard weekdays.isEmpty || weekdays.contains(where: { $0.contains(weekday) }) else { return false }
        let date = CivilDate(daysSinceEpoch: day)
        guard months.isEmpty || months.contains(where: { $0.contains(date.month) }),
            years.isEmpty || years.contains(where: { $0.contains(date.year) })
        else { return false }
        let length = CivilDate.days(inMonth: date.month, of: date.year)
        return daysOfMonth.isEmpty
            || daysOfMonth.contains { range in
                // Counted from the end, a first day before the month's own first is that one.
                let first = range.first > 0 ? range.first : max(1, length + 1 + range.first)
                let last = range.last > 0 ? min(range.last, length) : length + 1 + range.last
                return first <= last && (first...last).contains(date.day)
            }
    }

    /// What is wrong with an interval's text, in Alertmanager's words.
    public struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        /// One clause.
        public let description: String
    }
}

// MARK: Reading and writing

extension TimeInterval {
    static let weekdayNames = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
    static let monthNames = [
        "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
        "december",
    ]

    /// Reads `HH:MM` to `HH:MM`, `24:00` at the latest.
    public static func timeRange(_ start: String, _ end: String) throws(Failure) -> Range<Int> {
        let (first, last) = (try minute(start), try minute(end))
        guard first < 1440 else { throw Failure(description: "start time out of range") }
        guard first < last else { throw Failure(description: "start time cannot be equal or greater than end time") }
        return first..<last
    }

    private static func minute(_ text: String) throws(Failure) -> Int {
        let digits = Array(text.utf8)
        func number(_ place: Int) -> Int? {
            let pair = digits[place..<place + 2]
            return pair.allSatisfy { (0x30...0x39).contains($0) } ? Int(String(decoding: pair, as: UTF8.self)) : nil
        }
        guard digits.count == 5, digits[2] == UInt8(ascii: ":"), let hour = number(0), let minute = number(3),
            minute < 60, hour < 24 || (hour == 24 && minute == 0)
        else { throw Failure(description: "couldn't parse timestamp \(text), invalid format") }
        return hour * 60 + minute
    }

    private static func ends(_ text: String) throws(Failure) -> (String, String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count <= 2 else {
            throw Failure(description: "couldn't parse range \(text), invalid format")
        }
        return (parts[0], parts.last ?? "")
    }

    /// Reads `monday:friday` or `sunday`.
    public static func weekdayRange(_ text: String) throws(Failure) -> ClosedRange<Int> {
        func day(_ name: String) throws(Failure) -> Int {
            guard let place = weekdayNames.firstIndex(of: name.lowercased()) else {
                throw Failure(description: "\(name) is not a valid weekday")
            }
            return place
        }
        let (first, last) = try ends(text)
        let (from, to) = (try day(first), try day(last))
        guard from <= to else { throw Failure(description: "start day cannot be before end day") }
        return from...to
    }

    /// Reads `1:5`, `-3:-1` or `15`.
    public static func dayRange(_ text: String) throws(Failure) -> DayRange {
        func day(_ text: String) throws(Failure) -> Int {
            guard let day = Int(text) else { throw Failure(description: "\(text) is not a valid day of the month") }
            guard day != 0, (-31...31).contains(day) else {
                throw Failure(description: "\(text) is not a valid day of the month: out of range")
            }
            return day
        }
        let (first, last) = try ends(text)
        let (from, to) = (try day(first), try day(last))
        if from < 0, to > 0 { throw Failure(description: "end day must be negative if start day is negative") }
        // A month has 28 days at the least and 31 at the most.
        let isAfter = from > 0 && to < 0 ? from > 32 + to : from > to
        if isAfter { throw Failure(description: "end day \(to) is always before start day \(from)") }
        return DayRange(from, to)
    }

    /// Reads `january:march` or `7`.
    public static func monthRange(_ text: String) throws(Failure) -> ClosedRange<Int> {
        func month(_ name: String) throws(Failure) -> Int {
            if let place = monthNames.firstIndex(of: name.lowercased()) { return place + 1 }
            guard let number = Int(name), (1...12).contains(number) else {
                throw Failure(description: "\(name) is not a valid month")
            }
            return number
        }
        let (first, last) = try ends(text)
        let (from, to) = (try month(first), try month(last))
        guard from <= to else { throw Failure(description: "end month \(last) is before start month \(first)") }
        return from...to
    }

    /// Reads `2020:2025` or `2026`.
    public static func yearRange(_ text: String) throws(Failure) -> ClosedRange<Int> {
        func year(_ text: String) throws(Failure) -> Int {
            guard let year = Int(text) else { throw Failure(description: "\(text) is not a valid year") }
            return year
        }
        let (first, last) = try ends(text)
        let (from, to) = (try year(first), try year(last))
        guard from <= to else { throw Failure(description: "end year \(to) is before start year \(from)") }
        return from...to
    }

    /// Reads a zone's name.
    public static func zone(_ name: String, _ zones: ZoneFinder) throws(Failure) -> CivilZone? {
        if name.isEmpty || name == "UTC" { return .utc }
        guard let zone = zones(name) else {
            throw Failure(description: "unknown time zone \(name)")
        }
        return zone
    }

    /// Reads one entry of a list of intervals.
    public init(from map: SettingsMap, zones: ZoneFinder) throws(SettingsError) {
        for part in try map.takeMaps("times") {
            let (start, end): (String, String) = (
                try part.take("start_time", default: ""), try part.take("end_time", default: "")
            )
            guard !start.isEmpty, !end.isEmpty else {
                throw part.error("both start and end times must be provided; add start_time and end_time")
            }
            do { times.append(try TimeInterval.timeRange(start, end)) } catch { throw part.error("\(error)") }
            try part.finish()
        }
        weekdays = try TimeInterval.ranges(map, "weekdays", TimeInterval.weekdayRange)
        daysOfMonth = try TimeInterval.ranges(map, "days_of_month", TimeInterval.dayRange)
        months = try TimeInterval.ranges(map, "months", TimeInterval.monthRange)
        years = try TimeInterval.ranges(map, "years", TimeInterval.yearRange)
        if let name: String = try map.take("location") {
            do { zone = try TimeInterval.zone(name, zones) } catch {
                throw map.error("location", "\(error); write a name such as Europe/Berlin")
            }
        }
        try map.finish()
    }

    private static func ranges<Span>(
        _ map: SettingsMap, _ key: String, _ read: (String) throws(Failure) -> Span
    ) throws(SettingsError) -> [Span] {
        var found: [Span] = []
        for node in try map.takeList(key) {
            let text = try node.text()
            do { found.append(try read(text)) } catch { throw node.error("\(key): \(error)") }
        }
        return found
    }

    /// As Alertmanager writes it; reads back to the same.
    public var json: JSON {
        func clock(_ minute: Int) -> JSON {
            let (hour, minute) = (minute / 60, minute % 60)
            return .string("\(hour < 10 ? "0" : "")\(hour):\(minute < 10 ? "0" : "")\(minute)")
        }
        func list(_ name: String, _ ranges: [(Int, Int)], _ text: (Int) -> String) -> [JSON.Member] {
            guard !ranges.isEmpty else { return [] }
            return [
                JSON.Member(
                    name,
                    .array(ranges.map { .string($0 == $1 ? text($0) : "\(text($0)):\(text($1))") }))
            ]
        }
        var members: [JSON.Member] = []
        if !times.isEmpty {
            members.append(
                JSON.Member(
                    "times",
                    .array(times.map { ["start_time": clock($0.lowerBound), "end_time": clock($0.upperBound)] })))
        }
        members += list("weekdays", weekdays.map { ($0.lowerBound, $0.upperBound) }) { TimeInterval.weekdayNames[$0] }
        members += list("days_of_month", daysOfMonth.map { ($0.first, $0.last) }) { "\($0)" }
        members += list("months", months.map { ($0.lowerBound, $0.upperBound) }) { TimeInterval.monthNames[$0 - 1] }
        members += list("years", years.map { ($0.lowerBound, $0.upperBound) }) { "\($0)" }
        if let zone { members.append(JSON.Member("location", .string(zone.name))) }
        return .object(members)
    }

    /// Reads what `json` writes.
    public init(json: JSON, zones: ZoneFinder) throws(Failure) {
        guard let members = json.members else { throw Failure(description: "a time interval must be an object") }
        for member in members {
            let texts = (member.value.array ?? []).compactMap(\.string)
            switch member.name {
            case "times":
                for part in member.value.array ?? [] {
                    times.append(
                        try TimeInterval.timeRange(part["start_time"]?.string ?? "", part["end_time"]?.string ?? ""))
                }
            case "weekdays": for text in texts { weekdays.append(try TimeInterval.weekdayRange(text)) }
            case "days_of_month": for text in texts { daysOfMonth.append(try TimeInterval.dayRange(text)) }
            case "months": for text in texts { months.append(try TimeInterval.monthRange(text)) }
            case "years": for text in texts { years.append(try TimeInterval.yearRange(text)) }
            case "location": zone = try TimeInterval.zone(member.value.string ?? "", zones)
            default: throw Failure(description: "a time interval has no field '\(member.name)'")
            }
        }
    }
}
