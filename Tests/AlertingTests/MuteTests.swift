import Alerting
import Basics
import Model
import Testing

/// Time intervals and flapping.
@Suite struct MuteTests {
    private func play(
        _ text: String, through end: Int, _ posts: [(second: Int, start: Int, end: Int?)]
    ) throws -> [String] {
        var groups = AlertGroups(try alerting(text, receivers: ["page"]))
        var told: [String] = []
        for second in 0...end {
            for post in posts where post.second == second {
                _ = groups.take(
                    [alert("A", from: Double(post.start), to: post.end.map(Double.init))], now: at(Double(second)))
            }
            told += groups.flush(now: at(Double(second))).notifications.map {
                "\(second) \($0.firing.map { "\(Int($0.startsAt.seconds))" }.joined(separator: ","))/"
                    + $0.resolved.map { "\(Int($0.startsAt.seconds))" }.joined(separator: ",")
            }
        }
        return told
    }

    /// Muted in the first five minutes of 1970, told in the sixth.
    private let muted = """
        flapping: {episodes: 0}
        time_intervals:
        - name: night
          time_intervals: [{times: [{start_time: '00:02', end_time: '00:10'}]}]
        - name: day
          time_intervals: [{times: [{start_time: '00:00', end_time: '00:02'}]}, {times: [{start_time: '00:10', end_time: '24:00'}]}]
        route:
          receiver: page
          group_wait: 10s
          group_interval: 1m
          routes:
          - {KEY, matchers: [alertname=A]}
        """

    @Test(
        "a mute keeps everything back; after it, what fires is told, and the end of what was told",
        arguments: ["mute_time_intervals: [night]", "active_time_intervals: [day]"])
    func mute(key: String) throws {
        let text = muted.replacing("KEY", with: key)
        #expect(try play(text, through: 700, [(0, 0, nil), (130, 0, 130)]) == ["10 0/", "610 /0"])
        #expect(try play(text, through: 700, [(130, 130, nil)]) == ["620 130/"])
        #expect(try play(text, through: 700, [(130, 130, nil), (400, 130, 400)]) == [], "it began and ended within")
        #expect(
            try play(text, through: 700, [(0, 0, nil), (130, 0, 130), (200, 200, nil)]) == ["10 0/", "610 200/0"])
    }

    @Test("an alert that begins too often is told once as flapping, and as over when it stays so") func flapping()
        throws
    {
        let text = """
            flapping: {episodes: 3, within: 30m, steady: 10m}
            route: {receiver: page, group_wait: 0s, group_interval: 1m}
            """
        var posts: [(second: Int, start: Int, end: Int?)] = []
        for round in 0..<10 {
            posts += [(round * 120, round * 120, nil), (round * 120 + 60, round * 120, round * 120 + 60)]
        }
        let told = try play(text, through: 3000, posts)
        // Twice as it is; the third beginning is the notice; then nothing, until it has been over for ten minutes.
        #expect(told == ["0 0/", "60 /0", "120 120/", "180 /120", "240 240/", "1740 /1080"], "\(told)")
    }

    @Test("one that flaps and stays firing is a firing one again") func steadyFiring() throws {
        let text = """
            flapping: {episodes: 2, within: 30m, steady: 5m}
            route: {receiver: page, group_wait: 0s, group_interval: 1m, repeat_interval: 1h}
            """
        let told = try play(
            text, through: 5000,
            [(0, 0, nil), (60, 0, 60), (120, 120, nil), (180, 120, 180), (200, 200, nil), (4900, 200, 4900)])
        #expect(told == ["0 0/", "60 /0", "120 120/", "3720 200/", "4920 /200"], "\(told)")
    }
}
