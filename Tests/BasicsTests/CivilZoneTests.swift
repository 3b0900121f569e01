import Basics
import Foundation
import TestSupport
import Testing

@Suite struct CivilZoneTests {
    private static let isThere = FileManager.default.fileExists(atPath: "/usr/share/zoneinfo/Europe/Berlin")

    /// Foundation knows the same zones; it is the judge.
    @Test(
        "offsets over 70 years are Foundation's", .enabled(if: isThere, "no time zones (Debian package tzdata)"),
        arguments: [
            "UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata",
            "Africa/Casablanca", "Pacific/Apia", "Asia/Tehran", "Europe/Dublin", "America/Santiago", "Asia/Beirut",
            "Etc/GMT+5", "Pacific/Chatham",
        ])
    func offsets(name: String) throws {
        let zone = try #require(CivilZone(name, files: SystemFiles()))
        let judge = try #require(TimeZone(identifier: name))
        var random = SeededRandom(seed: 11)
        for _ in 0..<4000 {
            let second = Int64.random(in: 0..<2_200_000_000, using: &random)
            let moment = Timestamp(milliseconds: second * 1000)
            let expected = judge.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second)))
            #expect(zone.offset(at: moment) == Int64(expected) * 1000, "\(name) at \(moment)")
        }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = judge
        for _ in 0..<1000 {
            let second = Int64.random(in: 0..<2_200_000_000, using: &random)
            let start = calendar.startOfDay(for: Date(timeIntervalSince1970: Double(second)))
            let parts = calendar.dateComponents([.year, .month, .day], from: start)
            let date = CivilDate(year: parts.year!, month: parts.month!, day: parts.day!)
            #expect(zone.start(of: date).seconds == start.timeIntervalSince1970, "\(name), \(date)")
        }
    }

    @Test("a time of day, also where clocks change", .enabled(if: isThere, "no time zones"))
    func times() throws {
        let berlin = try #require(CivilZone("Europe/Berlin", files: SystemFiles()))
        func at(_ month: Int, _ day: Int, _ hour: Int64) -> String {
            berlin.moment(of: CivilDate(year: 2026, month: month, day: day), at: hour * 3_600_000).rfc3339(
                trimmed: true)
        }
        #expect(at(11, 20, 1) == "2026-11-20T00:00:00Z")
        #expect(at(7, 1, 1) == "2026-06-30T23:00:00Z")
        #expect(at(3, 29, 2) == "2026-03-29T01:00:00Z")  // 02:00 does not exist: 03:00.
        #expect(at(10, 25, 3) == "2026-10-25T02:00:00Z")
    }

    @Test(
        "what is no zone is none",
        arguments: ["", "Nowhere/At_All", "../../etc/passwd", "/etc/passwd", "Europe", "zone.tab"])
    func refused(name: String) { #expect(CivilZone(name, files: SystemFiles()) == nil) }

    @Test("a damaged zone never traps", .enabled(if: isThere, "no time zones"))
    func damaged() throws {
        let bytes = try SystemFiles().contents(of: "/usr/share/zoneinfo/Europe/Berlin")
        #expect(CivilZone(name: "x", bytes: bytes)?.offset(at: at(1_790_000_000)) == 7_200_000)
        var random = SeededRandom(seed: 3)
        for _ in 0..<3000 {
            var bad = bytes
            if Bool.random(using: &random) { bad.removeLast(Int.random(in: 1..<bad.count, using: &random)) }
            for _ in 0..<3 { bad[Int.random(in: 0..<bad.count, using: &random)] = .random(in: 0...255, using: &random) }
            _ = CivilZone(name: "x", bytes: bad)?.start(of: CivilDate(year: 2026, month: 3, day: 29))
        }
    }
}
