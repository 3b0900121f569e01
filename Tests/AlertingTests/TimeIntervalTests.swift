import Alerting
import Basics
import Settings
import Testing

@Suite struct TimeIntervalTests {
    private let zones: ZoneFinder = { CivilZone($0, files: SystemFiles()) }

    /// `DD Mon YY HH:MM +ZZZZ`.
    private func moment(_ text: String) throws -> Timestamp {
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let parts = text.split(separator: " ").map(String.init)
        let month = try #require(months.firstIndex(of: parts[1])) + 1
        let zone = parts[4].prefix(3) + ":" + parts[4].suffix(2)
        let (day, date) = (parts[0].count == 1 ? "0" + parts[0] : parts[0], month < 10 ? "0\(month)" : "\(month)")
        return try #require(Timestamp(rfc3339: "20\(parts[2])-\(date)-\(day)T\(parts[3]):00\(zone)"))
    }

    private func interval(_ text: String) throws -> TimeInterval {
        try TimeInterval(from: SettingsDocument(text, file: "t.yaml").map(), zones: zones)
    }

    @Test("Alertmanager's interval cases: what is read, what is in them, what is refused") func peers() throws {
        guard let data = try alertmanagerData("timeinterval_cases.yaml") else { return }
        var passed = 0
        for test in try data.takeMaps("parse") {
            let text: String = try test.require("yaml")
            let found = Result { () throws in
                try SettingsDocument(text, file: "t.yaml").root.list().map {
                    try TimeInterval(from: $0.map(), zones: zones)
                }
            }
            if let message: String = try test.take("error") {
                let error = #expect(throws: SettingsError.self, "\(text)") { try found.get() }
                #expect(error?.description.hasSuffix(message) == true, "\(error?.description ?? "") — \(message)")
            } else {
                let intervals = try found.get()
                for moment in try test.take("contains", default: [String]()) {
                    #expect(try intervals.contains { $0.contains(try self.moment(moment)) }, "\(text) \(moment)")
                }
                for moment in try test.take("excludes", default: [String]()) {
                    #expect(try !intervals.contains { $0.contains(try self.moment(moment)) }, "\(text) \(moment)")
                }
                let again = try intervals.map { try TimeInterval(json: $0.json, zones: zones) }
                #expect(again == intervals)
            }
            passed += 1
        }
        for test in try data.takeMaps("membership") {
            let interval = try ranges(try #require(try test.takeMap("interval")))
            for moment in try test.take("contains", default: [String]()) {
                #expect(interval.contains(try self.moment(moment)), "\(interval) \(moment)")
            }
            for moment in try test.take("excludes", default: [String]()) {
                #expect(!interval.contains(try self.moment(moment)), "\(interval) \(moment)")
            }
            passed += 1
        }
        for test in try data.takeMaps("complete") {
            let interval = try interval(try test.require("yaml"))
            for moment in try test.take("contains", default: [String]()) {
                #expect(interval.contains(try self.moment(moment)))
            }
            for moment in try test.take("excludes", default: [String]()) {
                #expect(!interval.contains(try self.moment(moment)))
            }
            passed += 1
        }
        for test in try data.takeMaps("time_range") {
            let text: String = try test.require("yaml")
            let found = try? interval("times: [\(text)]")
            let wanted = try test.take("minutes", as: [Int].self)
            #expect(found?.times == wanted.map { [$0[0]..<$0[1]] }, "\(text)")
            passed += 1
        }
        print("timeinterval_cases.yaml: \(passed) cases")
        #expect(passed >= 39)
    }

    @Test("Alertmanager's named intervals: which of them mute") func named() throws {
        guard let data = try alertmanagerData("timeinterval_cases.yaml") else { return }
        let named = try #require(try data.takeMap("named"))
        let intervals = try #require(try named.takeMap("intervals"))
        var byName: [String: [TimeInterval]] = [:]
        for name in intervals.keys { byName[name] = try intervals.takeMaps(name).map(ranges) }
        var passed = 0
        for test in try named.takeMaps("cases") {
            let zone = try #require(CivilZone(try test.require("zone"), files: SystemFiles()))
            let local = try #require(Timestamp(rfc3339: "\(try test.require("at") as String)Z"))
            let moment = local - zone.offset(at: local)
            let found = byName.filter { $0.value.contains { $0.contains(moment) } }.keys.sorted()
            #expect(found == (try test.take("muted_by", default: [])))
            passed += 1
        }
        #expect(passed == 6)
    }

    /// An interval by its numbers.
    private func ranges(_ map: SettingsMap) throws -> TimeInterval {
        func pairs(_ key: String) throws -> [[Int]] { try map.takeList(key).map { try [Int].read($0) } }
        var interval = TimeInterval()
        interval.times = try pairs("times").map { $0[0]..<$0[1] }
        interval.weekdays = try pairs("weekdays").map { $0[0]...$0[1] }
        interval.daysOfMonth = try pairs("days_of_month").map { TimeInterval.DayRange($0[0], $0[1]) }
        interval.months = try pairs("months").map { $0[0]...$0[1] }
        interval.years = try pairs("years").map { $0[0]...$0[1] }
        interval.zone = try map.take("location", as: String.self).flatMap(zones)
        return interval
    }
}
