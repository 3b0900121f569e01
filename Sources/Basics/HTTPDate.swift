extension Timestamp {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]

    /// As HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///
    /// - SeeAlso: RFC 9110, 5.6.7.
    public var httpDate: String {
        let day = milliseconds.flooringDivision(by: 86_400_000)
        let date = CivilDate(daysSinceEpoch: day)
        let seconds = (milliseconds - day * 86_400_000) / 1000
        var bytes = Array("\(Timestamp.days[Int(((day % 7) + 7) % 7)]), ".utf8)
        bytes.append(decimal: Int64(date.day), digits: 2)
        bytes += " \(Timestamp.months[date.month - 1]) ".utf8
        bytes.append(decimal: Int64(date.year), digits: 4)
        for (mark, number) in [(" ", seconds / 3600), (":", seconds / 60 % 60), (":", seconds % 60)] {
            bytes += mark.utf8
            bytes.append(decimal: number, digits: 2)
        }
        return String(decoding: bytes, as: UTF8.self) + " GMT"
    }

    /// Reads such a date from 1970 on; nil when it is none.
    public init?(httpDate text: String) {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let year = Int(parts[3]),
            let month = Timestamp.months.firstIndex(of: String(parts[2])), (1970...9999).contains(year),
            (1...CivilDate.days(inMonth: month + 1, of: year)).contains(day)
        else { return nil }
        let time = parts[4].split(separator: ":").compactMap { Int64($0) }
        guard time.count == 3, time.allSatisfy({ (0..<61).contains($0) }), time[0] < 24 else { return nil }
        let days = CivilDate(year: year, month: month + 1, day: day).daysSinceEpoch
        self.init(milliseconds: ((days * 24 + time[0]) * 60 + time[1]) * 60_000 + time[2] * 1000)
    }
}
