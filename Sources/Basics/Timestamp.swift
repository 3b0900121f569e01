/// A length of time in milliseconds.
public typealias Milliseconds = Int64

/// A moment: milliseconds since the Unix epoch, as Prometheus stores it.
public struct Timestamp: Hashable, Comparable, Sendable {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    public var milliseconds: Int64

    /// A moment from its milliseconds since the Unix epoch.
    @inlinable
    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    /// A moment from its seconds since the Unix epoch, rounded to the nearest millisecond.
    public init(seconds: Double) { milliseconds = Int64((seconds * 1000).rounded()) }

    /// Seconds since the Unix epoch.
    public var seconds: Double { Double(milliseconds) / 1000 }

    /// 0001-01-01T00:00:00Z, by which Prometheus' and Alertmanager's JSON says never.
    public static let goZero = Timestamp(milliseconds: -62_135_596_800_000)
    /// The earliest and latest moments that can be told.
    public static let distantPast = Timestamp(milliseconds: .min / 4)
    public static let distantFuture = Timestamp(milliseconds: .max / 4)

    /// Earlier first.
    @inlinable
    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.milliseconds < right.milliseconds }
    /// The moment `length` later.
    @inlinable
    public static func + (moment: Timestamp, length: Milliseconds) -> Timestamp {
        Timestamp(milliseconds: moment.milliseconds + length)
    }
    /// The moment `length` earlier.
    @inlinable
    public static func - (moment: Timestamp, length: Milliseconds) -> Timestamp {
        Timestamp(milliseconds: moment.milliseconds - length)
    }
    /// The time from the second moment to the first.
    @inlinable
    public static func - (left: Timestamp, right: Timestamp) -> Milliseconds { left.milliseconds - right.milliseconds }
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC with milliseconds, `2026-11-20T03:00:00.000Z`.
    public var description: String { rfc3339() }

    /// RFC 3339 in UTC; milliseconds are left out when `trimmed` and zero, as Go's `time.RFC3339Nano` does.
    public func rfc3339(trimmed: Bool = false) -> String {
        var bytes: [UInt8] = []
        writeRFC3339(trimmed: trimmed, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the same.
    public func writeRFC3339(trimmed: Bool = false, to output: inout [UInt8]) {
        let day = milliseconds.flooringDivision(by: 86_400_000)
        let date = CivilDate(daysSinceEpoch: day)
        let rest = milliseconds - day * 86_400_000
        let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60)
        output.append(decimal: Int64(date.year), digits: 4)
        for (mark, number) in [(0x2D as UInt8, Int64(date.month)), (0x2D, Int64(date.day)), (0x54, hour)] {
            output.append(mark)
            output.append(decimal: number, digits: 2)
        }
        for number in [minute, second] {
            output.append(0x3A)
            output.append(decimal: number, digits: 2)
        }
        let fraction = rest % 1000
        if !trimmed || fraction != 0 {
            output.append(0x2E)
            output.append(decimal: fraction, digits: 3)
            while trimmed, output.last == 0x30 { output.removeLast() }
        }
        output.append(0x5A)
    }

    /// The first and the last moment that RFC 3339 can write.
    private static let first = Timestamp(
        milliseconds: CivilDate(year: 0, month: 1, day: 1).daysSinceEpoch * 86_400_000)
    private static let last = Timestamp(
        milliseconds: CivilDate(year: 10_000, month: 1, day: 1).daysSinceEpoch * 86_400_000 - 1)

    /// Reads RFC 3339, with any fraction of a second (cut to milliseconds) and any offset; nil when it is not that.
    public init?(rfc3339 text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count else { return nil }
            var value = 0
            for byte in bytes[range] {
                guard byte >= 0x30, byte <= 0x39 else { return nil }
                value = value * 10 + Int(byte - 0x30)
            }
            return value
        }
        func byte(_ index: Int, in allowed: String) -> Bool {
            index < bytes.count && allowed.utf8.contains(bytes[index])
        }
        guard let year = number(0..<4), byte(4, in: "-"), let month = number(5..<7), byte(7, in: "-"),
            let day = number(8..<10), byte(10, in: "Tt "), let hour = number(11..<13), byte(13, in: ":"),
            let minute = number(14..<16), byte(16, in: ":"), let second = number(17..<19),
            (1...12).contains(month), (1...CivilDate.days(inMonth: month, of: year)).contains(day),
            hour < 24, minute < 60, second <= 60
        else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if byte(index, in: ".") {
            index += 1
            let start = index
            var scale: Int64 = 100
            while index < bytes.count, let digit = number(index..<index + 1) {
                fraction += Int64(digit) * scale
                scale /= 10
                index += 1
            }
            guard index > start else { return nil }
        }
        var offset: Int64 = 0
        if byte(index, in: "Zz") {
            index += 1
        } else {
            guard byte(index, in: "+-"), let hours = number(index + 1..<index + 3), byte(index + 3, in: ":"),
                let minutes = number(index + 4..<index + 6)
            else { return nil }
            offset = Int64(hours * 60 + minutes) * 60_000 * (bytes[index] == 0x2D ? -1 : 1)
            guard hours < 24, minutes < 60 else { return nil }
            index += 6
        }
        guard index == bytes.count else { return nil }
        let days = CivilDate(year: year, month: month, day: day).daysSinceEpoch
        let time = Int64(hour) * 3_600_000 + Int64(minute) * 60_000 + Int64(second) * 1000 + fraction
        self.init(milliseconds: days * 86_400_000 + time - offset)
        // What an offset takes out of the years 0 to 9999 could not be written again.
        guard self >= Timestamp.first, self <= Timestamp.last else { return nil }
    }
}

/// A day of the proleptic Gregorian calendar.
public struct CivilDate: Hashable, Sendable {
    /// Year, month 1 to 12, day 1 to 31.
    public var year: Int, month: Int, day: Int

    /// A day by its parts, which are not checked.
    public init(year: Int, month: Int, day: Int) { (self.year, self.month, self.day) = (year, month, day) }

    /// The day so many days after 1970-01-01.
    ///
    /// - SeeAlso: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    public init(daysSinceEpoch days: Int64) {
        let shifted = days + 719_468
        let era = shifted.flooringDivision(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * monthIndex + 2) / 5 + 1)
        month = Int(monthIndex < 10 ? monthIndex + 3 : monthIndex - 9)
        year = Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01.
    ///
    /// - SeeAlso: Howard Hinnant, `days_from_civil`.
    public var daysSinceEpoch: Int64 {
        let shiftedYear = Int64(year) - (month <= 2 ? 1 : 0)
        let era = shiftedYear.flooringDivision(by: 400)
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// Monday 1 to Sunday 7 (ISO 8601).
    public var weekday: Int {
        let days = daysSinceEpoch + 3
        return Int(days - days.flooringDivision(by: 7) * 7) + 1
    }

    /// The number of days in a month, 28 to 31.
    public static func days(inMonth month: Int, of year: Int) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        default: 31
        }
    }
}

extension Int64 {
    /// The quotient rounded towards negative infinity; `divisor` is above 0.
    @inlinable
    public func flooringDivision(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
