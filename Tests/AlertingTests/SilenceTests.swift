import Alerting
import Basics
import Model
import Settings
import Testing

@Suite struct SilenceTests {
    private let now = at(1_800_000_000)

    private func silence(
        _ matchers: String = "alertname=A", from start: Milliseconds = 0, to end: Milliseconds = 3_600_000,
        id: String = "", annotations: [String: String] = [:]
    ) throws -> Silence {
        try Silence(
            id: id, matchers: MatcherParser.matchers(matchers), startsAt: now + start, endsAt: now + end,
            createdBy: "me", comment: "why", annotations: annotations,
            zones: { CivilZone($0, files: SystemFiles()) })
    }

    private func length(_ text: String) throws -> Milliseconds {
        let isNegative = text.hasPrefix("-")
        let size = try #require(DurationText.parse(isNegative ? String(text.dropFirst()) : text))
        return isNegative ? -size : size
    }

    @Test("Alertmanager's cases: which silences are changed in place") func peersUpdate() throws {
        guard let data = try alertmanagerData("pipeline_cases.yaml") else { return }
        var passed = 0
        for test in try data.takeMaps("silence_update") {
            func read(_ key: String) throws -> Silence {
                let map = try #require(try test.takeMap(key))
                return try silence(
                    from: length(try map.require("starts")), to: length(try map.require("ends")), id: "x")
            }
            let isInPlace: Bool = try test.require("in_place")
            #expect(Silences.canUpdate(try read("stored"), to: try read("wanted"), now: now) == isInPlace)
            passed += 1
        }
        #expect(passed == 8)
    }

    @Test("a change that cannot be made in place ends the old silence and makes another") func replacement() throws {
        var silences = Silences()
        _ = try silences.set(silence(), newID: "1", now: now)
        var other = try silence("alertname=B", id: "1")
        #expect(try silences.set(other, newID: "2", now: now + 1000).id == "2")
        #expect(
            silences.all["1"]?.state(at: now + 1000) == .expired && silences.all["2"]?.state(at: now + 1000) == .active)
        other.id = "2"
        (other.startsAt, other.endsAt) = (now + 1000, now + 7_200_000)
        #expect(try silences.set(other, newID: "3", now: now + 2000).id == "2")
        #expect(throws: SilenceError.notFound) { try silences.set(silence(id: "9"), newID: "4", now: now) }
    }

    @Test(
        "what is refused, in Alertmanager's words",
        arguments: [
            ("a=b", 10, 5, "Failed to create silence: start time must be before end time"),
            ("a=b", -10, -5, "Failed to create silence: end time can't be in the past"),
            (
                "a=\"\",b=~\".*\"", 0, 5,
                "invalid silence: matcher set 0: at least one matcher must not match the empty string"
            ),
        ])
    func refusals(matchers: String, start: Milliseconds, end: Milliseconds, message: String) throws {
        var silences = Silences()
        let wanted = try silence(matchers, from: start, to: end)
        let error = #expect(throws: SilenceError.self) { try silences.set(wanted, newID: "1", now: now) }
        #expect(error?.description == message)
    }

    @Test("one that recurs holds only within its times, by the wall clock there, and knows the next ones")
    func recurrence() throws {
        let text =
            #"[{"weekdays":["sunday"],"times":[{"start_time":"01:30","end_time":"03:30"}],"location":"Europe/Berlin"}]"#
        // 2027-03-28: clocks in Berlin go forward at 02:00.
        let start = try #require(Timestamp(rfc3339: "2027-03-26T00:00:00Z"))
        var recurring = try silence(to: 40 * 86_400_000, annotations: [Silence.timesKey: text])
        (recurring.startsAt, recurring.endsAt) = (start, start + 40 * 86_400_000)
        let next = recurring.nextTimes(after: start, count: 3).map { "\($0.from.rfc3339()) \($0.to.rfc3339())" }
        #expect(
            next == [
                "2027-03-28T00:30:00.000Z 2027-03-28T01:30:00.000Z",
                "2027-04-03T23:30:00.000Z 2027-04-04T01:30:00.000Z",
                "2027-04-10T23:30:00.000Z 2027-04-11T01:30:00.000Z",
            ])
        #expect(recurring.state(at: start) == .pending)
        #expect(throws: SilenceError.self) { try silence(annotations: [Silence.timesKey: #"[{"days":[]}]"#]) }
    }

    // MARK: In groups

    private let page =
        "route: {receiver: page, group_by: [alertname], group_wait: 10s, group_interval: 1m, "
        + "repeat_interval: 1h}\nflapping: {episodes: 0}"

    /// What a receiver is told from now on, second by second, as `second firing resolved`.
    private func told(_ groups: inout AlertGroups, from start: Int, through end: Int) -> [String] {
        var told: [String] = []
        for second in start...end {
            for one in groups.flush(now: now + Milliseconds(second) * 1000).notifications {
                let (firing, resolved) = (one.firing.map { $0.labels["i"] }, one.resolved.map { $0.labels["i"] })
                told.append("\(second) \(firing.joined())/\(resolved.joined())")
            }
        }
        return told
    }

    private func post(_ groups: inout AlertGroups, _ i: String, at second: Int, from start: Int, to end: Int? = nil) {
        let alert = Alert(
            labels: ["alertname": "A", "i": Label("i", i).value], startsAt: now + Milliseconds(start) * 1000,
            endsAt: end.map { now + Milliseconds($0) * 1000 })
        _ = groups.take([alert], now: now + Milliseconds(second) * 1000)
    }

    @Test("whoever was told that it fires is told that it is over, though a silence holds it back by then")
    func endUnderSilence() throws {
        var groups = AlertGroups(try alerting(page, receivers: ["page"]))
        post(&groups, "1", at: 0, from: 0)
        post(&groups, "2", at: 0, from: 0)
        #expect(told(&groups, from: 0, through: 15) == ["10 12/"])
        _ = try groups.set(silence("i=1"), newID: "s", now: now + 20_000)
        post(&groups, "1", at: 30, from: 0, to: 30)
        #expect(told(&groups, from: 16, through: 100) == ["70 2/1"])
    }

    @Test("what a silence held back and what was over before it ended is no news") func quietEnd() throws {
        var groups = AlertGroups(try alerting(page, receivers: ["page"]))
        _ = try groups.set(silence("i=1"), newID: "s", now: now)
        post(&groups, "1", at: 0, from: 0)
        #expect(told(&groups, from: 0, through: 60) == [])
        post(&groups, "1", at: 61, from: 0, to: 61)
        #expect(told(&groups, from: 61, through: 200) == [])
        #expect(groups.groups.isEmpty)
    }

    @Test("what a silence held back is told when the silence ends; what was told and left out comes back as news")
    func silenceEnds() throws {
        var groups = AlertGroups(try alerting(page, receivers: ["page"]))
        post(&groups, "1", at: 0, from: 0)
        #expect(told(&groups, from: 0, through: 10) == ["10 1/"])
        _ = try groups.set(silence("i=~\"1|2\""), newID: "s", now: now + 11_000)
        post(&groups, "2", at: 12, from: 12)
        post(&groups, "3", at: 12, from: 12)
        #expect(told(&groups, from: 12, through: 120) == ["70 3/"])
        _ = try groups.expireSilence("s", now: now + 121_000)
        #expect(told(&groups, from: 121, through: 400) == ["130 123/"])
    }

    @Test("one that ends with its alerts ends when the last of them is over") func endsWithAlerts() throws {
        var groups = AlertGroups(try alerting(page, receivers: ["page"]))
        let wanted = try silence(annotations: [Silence.endsWithAlertsKey: "true"])
        _ = try groups.set(wanted, newID: "s", now: now)
        #expect(told(&groups, from: 0, through: 100) == [])
        #expect(groups.silences.all["s"]?.state(at: now + 100_000) == .active, "it has held nothing back yet")
        post(&groups, "1", at: 101, from: 101)
        #expect(told(&groups, from: 101, through: 150) == [])
        post(&groups, "1", at: 151, from: 101, to: 151)
        #expect(told(&groups, from: 151, through: 300) == [])
        #expect(groups.silences.all["s"]?.state(at: now + 300_000) == .expired)
    }

    @Test("its end is announced a quarter of an hour before, to those whom its alerts would reach, once")
    func announcement() throws {
        var groups = AlertGroups(
            try alerting(
                """
                route: {receiver: none, group_wait: 0s, routes: [{receiver: db, matchers: [team=db]}]}
                """, receivers: ["none", "db"]))
        _ = try groups.set(silence("team=db"), newID: "s", now: now)
        _ = groups.take(
            [Alert(labels: ["alertname": "A", "team": "db", "severity": "critical"], startsAt: now)], now: now)
        var told: [Notification] = []
        for second in stride(from: 0, through: 4000, by: 5) {
            told += groups.flush(now: now + Milliseconds(second) * 1000).notifications
        }
        let announced = told.filter { $0.items.contains { $0.alert.name == "VedetteSilenceEnding" } }
        #expect(announced.map(\.receiver) == ["db", "db"])
        #expect(announced.first?.decidedAt == now + 2_700_000 && announced.first?.isFiring == true)
        let words = announced.first?.items.first?.alert.annotations["summary"]
        #expect(words == "A silence by me ends in 15m; 1 alerts fire under it")
        #expect(announced.last?.items.contains { $0.isResolved && $0.alert.name == "VedetteSilenceEnding" } == true)
        #expect(announced.last?.firing.map(\.name) == ["A"], "the silence is over, and its alert is told")
    }

    @Test("silences are there after a restart") func restart() throws {
        let store = MemoryStore()
        var groups = AlertGroups(try alerting(page, receivers: ["page"]))
        let text = #"[{"weekdays":["monday"],"location":"Europe/Berlin"}]"#
        let wanted = try silence("i=~\"1|2\",team!=x", annotations: [Silence.timesKey: text, "ticket": "7"])
        store.commit(try groups.set(wanted, newID: "s", now: now).changes)
        var again = AlertGroups(try alerting(page, receivers: ["page"]))
        _ = again.restore(
            from: store, receivers: ["page"], zones: { CivilZone($0, files: SystemFiles()) }, now: now)
        #expect(again.silences.all == groups.silences.all && again.silences.all.count == 1)
    }
}
