/// A time zone of the IANA database: what a wall clock shows there, and when a day begins.
///
/// Read from the system's compiled files (`/usr/share/zoneinfo`); moments after the last recorded change follow the
/// rule that the file ends with.
///
/// - SeeAlso: RFC 8536, "The Time Zone Information Format (TZif)"; POSIX, the `TZ` variable.
public struct CivilZone: Sendable, Hashable {
    /// Its name, `Europe/Berlin`.
    public let name: String
    /// When clocks changed, in seconds since the Unix epoch, ascending, and what they showed from then on.
    private var changes: [Int64] = []
    private var offsets: [Int32] = []
    private var firstOffset: Int32 = 0
    /// What the clocks' time is called, `CET`, beside `offsets`.
    private var names: [String] = []
    private var firstName = "UTC"
    private var rule: Rule?

    /// No offset, ever.
    public static let utc = CivilZone(name: "UTC")

    private init(name: String) { self.name = name }

    /// Reads a zone of the system by its name; nil when there is none of that name.
    public init?(_ name: String, files: any FileSystem, folder: String = "/usr/share/zoneinfo") {
        if name == "UTC" {
            self = .utc
            return
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isSafe = parts.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { $0.isASCIIWord || $0 == 0x2D || $0 == 0x2B }
        }
        guard isSafe, name.utf8.count < 64,
            let bytes = try? files.contents(of: "\(folder)/\(name)", limit: 1 << 20)
        else { return nil }
        self.init(name: name, bytes: bytes)
    }

    /// Reads a compiled zone; nil when the bytes are none.
    public init?(name: String, bytes: [UInt8]) {
        self.name = name
        func integer(_ start: Int, _ count: Int) -> Int64 {
            var value: Int64 = bytes[start] >= 0x80 ? -1 : 0
            for byte in bytes[start..<start + count] { value = value << 8 | Int64(byte) }
            return value
        }
        /// The counts of a block's parts and its size in bytes.
        func header(_ start: Int, width: Int) -> (counts: [Int], size: Int)? {
            guard start + 44 <= bytes.count, bytes[start..<start + 4].elementsEqual("TZif".utf8) else { return nil }
            let counts = (0..<6).map { Int(integer(start + 20 + 4 * $0, 4)) }
            guard counts.allSatisfy({ (0..<100_000).contains($0) }), counts[4] > 0 else { return nil }
            let size =
                44 + counts[3] * (width + 1) + counts[4] * 6 + counts[5] + counts[2] * (width + 4) + counts[0]
                + counts[1]
            return start + size <= bytes.count ? (counts, size) : nil
        }
        guard bytes.count > 44, let old = header(0, width: 4) else { return nil }
        let isNew = bytes[4] >= UInt8(ascii: "2")
        let (start, width) = isNew ? (old.size, 8) : (0, 4)
        guard let (counts, size) = header(start, width: width) else { return nil }
        let (times, types) = (counts[3], counts[4])
        let indexes = start + 44 + times * width
        let records = indexes + times
        let texts = records + types * 6
        func called(_ type: Int) -> String {
            let start = min(Int(bytes[records + type * 6 + 5]), counts[5])
            return String(decoding: bytes[(texts + start)..<(texts + counts[5])].prefix { $0 != 0 }, as: UTF8.self)
        }
        for place in 0..<times {
            let type = Int(bytes[indexes + place])
            guard type < types else { return nil }
            changes.append(integer(start + 44 + place * width, width))
            offsets.append(Int32(integer(records + type * 6, 4)))
            names.append(called(type))
        }
        guard changes == changes.sorted() else { return nil }
        (firstOffset, firstName) = (Int32(integer(records, 4)), called(0))
        if isNew {
            let footer = bytes[(start + size)...].dropFirst().prefix { $0 != 0x0A }
            if !footer.isEmpty {
                guard let read = Rule(String(decoding: footer, as: UTF8.self)) else { return nil }
                rule = read
            }
        }
    }

    /// What the wall clock is ahead of UTC.
    public func offset(at moment: Timestamp) -> Milliseconds { time(at: moment).offset }

    /// What the time there is called, `CET` or `CEST`.
    public func abbreviation(at moment: Timestamp) -> String { time(at: moment).name }

    private func time(at moment: Timestamp) -> (offset: Milliseconds, name: String) {
        let seconds = moment.milliseconds.flooringDivision(by: 1000)
        guard let last = changes.last, seconds < last else {
            if let rule {
                let (offset, name) = rule.time(at: seconds)
                return (offset * 1000, name)
            }
            return (Int64(offsets.last ?? firstOffset) * 1000, names.last ?? firstName)
        }
        var (low, high) = (0, changes.count)
        while low < high {
            let middle = (low + high) / 2
            if changes[middle] <= seconds { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? (Int64(firstOffset) * 1000, firstName) : (Int64(offsets[low - 1]) * 1000, names[low - 1])
    }

    /// The day that a calendar shows there.
    public func date(at moment: Timestamp) -> CivilDate {
        CivilDate(daysSinceEpoch: (moment.milliseconds + offset(at: moment)).flooringDivision(by: 86_400_000))
    }

    /// The first moment of a day there: midnight, or what follows it where clocks skip midnight.
    public func start(of date: CivilDate) -> Timestamp {
        let days = date.daysSinceEpoch
        // Some offsets are beyond 12 hours; changes of a whole day have happened.
        var low = Timestamp(milliseconds: (days - 2) * 86_400_000)
        var high = Timestamp(milliseconds: (days + 2) * 86_400_000)
        // The calendar's day only grows, but for an hour's return at midnight, where the first one is found or the
        // second: each is the start of a day for all that follows.
        while high - low > 1 {
            let middle = low + (high - low) / 2
            if self.date(at: middle).daysSinceEpoch < days { low = middle } else { high = middle }
        }
        return high
    }

    /// The moment of a time of day there, `milliseconds` after midnight by the wall clock; one that is skipped comes
    /// as much later as the clocks go forward.
    public func moment(of date: CivilDate, at milliseconds: Milliseconds) -> Timestamp {
        let local = date.daysSinceEpoch * 86_400_000 + milliseconds
        let before = offset(at: Timestamp(milliseconds: local - 86_400_000))
        let guess = Timestamp(milliseconds: local - before)
        let after = offset(at: guess)
        if after == before { return guess }
        let second = Timestamp(milliseconds: local - after)
        return offset(at: second) == after ? second : guess
    }
}

/// A zone's rule for all years, as POSIX' `TZ` writes it: `CET-1CEST,M3.5.0,M10.5.0/3`.
private struct Rule: Sendable, Hashable {
    /// A day of every year and the second of that day.
    struct Change: Sendable, Hashable {
        enum Day: Sendable, Hashable {
            /// Week 5 is the last; Sunday is 0.
            case weekday(month: Int, week: Int, weekday: Int)
            /// 1 to 365, 29 February never counted; or 0 to 365 with it.
            case julian(Int), ordinal(Int)
        }
        var day: Day
        var second: Int64 = 7200

        /// Seconds since the epoch by the wall clock.
        func moment(in year: Int) -> Int64 {
            let first = CivilDate(year: year, month: 1, day: 1).daysSinceEpoch
            let days: Int64
            switch day {
            case .ordinal(let number): days = first + Int64(number)
            case .julian(let number):
                let isLeap = CivilDate.days(inMonth: 2, of: year) == 29
                days = first + Int64(number - 1) + (isLeap && number > 59 ? 1 : 0)
            case .weekday(let month, let week, let weekday):
                let start = CivilDate(year: year, month: month, day: 1)
                var date = 1 + (weekday - start.weekday % 7 + 7) % 7 + (week - 1) * 7
                while date > CivilDate.days(inMonth: month, of: year) { date -= 7 }
                days = start.daysSinceEpoch + Int64(date - 1)
            }
            return days * 86_400 + second
        }
    }

    var standard: Int64
    var standardName: String
    var summer: (offset: Int64, start: Change, end: Change)?
    var summerName = ""

    static func == (left: Rule, right: Rule) -> Bool {
        left.standard == right.standard && left.summer?.offset == right.summer?.offset
            && left.summer?.start == right.summer?.start && left.summer?.end == right.summer?.end
    }
    func hash(into hasher: inout Hasher) { hasher.combine(standard) }

    func time(at seconds: Int64) -> (offset: Int64, name: String) {
        guard let summer else { return (standard, standardName) }
        let year = CivilDate(daysSinceEpoch: (seconds + standard).flooringDivision(by: 86_400)).year
        let start = summer.start.moment(in: year) - standard
        let end = summer.end.moment(in: year) - summer.offset
        // South of the equator summer goes over the turn of the year.
        let isSummer = start < end ? seconds >= start && seconds < end : seconds >= start || seconds < end
        return isSummer ? (summer.offset, summerName) : (standard, standardName)
    }

    init?(_ text: String) {
        var rest = text[...]
        guard let name = Rule.name(&rest), let west = Rule.time(&rest) else { return nil }
        (standard, standardName) = (-west, name)
        if rest.isEmpty { return }
        guard let name = Rule.name(&rest) else { return nil }
        summerName = name
        var ahead = standard + 3600
        if rest.first != "," {
            guard let west = Rule.time(&rest) else { return nil }
            ahead = -west
        }
        guard let start = Rule.change(&rest), let end = Rule.change(&rest), rest.isEmpty else { return nil }
        summer = (ahead, start, end)
    }

    private static func name(_ rest: inout Substring) -> String? {
        if rest.first == "<" {
            guard let end = rest.firstIndex(of: ">") else { return nil }
            let name = rest[..<end].dropFirst()
            rest = rest[rest.index(after: end)...]
            return String(name)
        }
        let name = rest.prefix { $0.isLetter }
        rest = rest.dropFirst(name.count)
        return name.count >= 3 ? String(name) : nil
    }

    private static func number(_ rest: inout Substring) -> Int64? {
        let digits = rest.prefix { $0.isASCII && $0.isNumber }
        rest = rest.dropFirst(digits.count)
        return digits.count > 4 ? nil : Int64(digits)
    }

    /// `[+-]hh[:mm[:ss]]` in seconds.
    private static func time(_ rest: inout Substring) -> Int64? {
        let sign: Int64 = rest.first == "-" ? -1 : 1
        if rest.first == "-" || rest.first == "+" { rest = rest.dropFirst() }
        guard var total = number(&rest) else { return nil }
        total *= 3600
        var unit: Int64 = 60
        while rest.first == ":", unit > 0 {
            rest = rest.dropFirst()
            guard let part = number(&rest) else { return nil }
            total += part * unit
            unit /= 60
        }
        return sign * total
    }

    /// `,M3.5.0/2`, `,J60` or `,59`.
    private static func change(_ rest: inout Substring) -> Change? {
        guard rest.first == "," else { return nil }
        rest = rest.dropFirst()
        var change: Change
        if rest.first == "M" {
            rest = rest.dropFirst()
            guard let month = number(&rest), rest.first == ".", (1...12).contains(month) else { return nil }
            rest = rest.dropFirst()
            guard let week = number(&rest), rest.first == ".", (1...5).contains(week) else { return nil }
            rest = rest.dropFirst()
            guard let weekday = number(&rest), (0...6).contains(weekday) else { return nil }
            change = Change(day: .weekday(month: Int(month), week: Int(week), weekday: Int(weekday)))
        } else {
            let isJulian = rest.first == "J"
            if isJulian { rest = rest.dropFirst() }
            guard let day = number(&rest), (isJulian ? 1...365 : 0...365).contains(day) else { return nil }
            change = Change(day: isJulian ? .julian(Int(day)) : .ordinal(Int(day)))
        }
        if rest.first == "/" {
            rest = rest.dropFirst()
            guard let second = time(&rest) else { return nil }
            change.second = second
        }
        return change
    }
}
