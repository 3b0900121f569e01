import Basics
import Model
import TestSupport
import Testing

@testable import Rules

/// The life of a single alert, minute by minute: what the expression gives, and what the alert then is.
@Suite struct AlertBookTests {

    /// `x` gives a value, `.` gives none; states: `-` unknown, `p` pending, `f` firing, `k` firing on, `i` inactive.
    @Test(
        "pending, firing, firing on, over",
        arguments: [
            // for 0: fires at once, is over at once.
            ("xx.x", 0, 0, "ffif"),
            // for 2m: pending is forgotten at once.
            ("xx.xxxx", 2, 0, "pp-ppff"),
            ("xxx.xxx", 2, 0, "ppfippf"),
            // keep_firing_for 2m: a gap of less is bridged, the gap's time begins anew.
            ("x.x..x...", 0, 2, "fkfkkfkki"),
            ("xxx..x", 1, 3, "pffkkf"),
            // Over for more than 15 minutes: forgotten.
            ("x.................x", 0, 0, "fiiiiiiiiiiiiiiii-f"),
        ])
    func life(given: String, hold: Int, keepFiringFor: Int, expected: String) {
        var book = AlertBook()
        let labels: Labels = ["alertname": "A"]
        var seen = ""
        for (minute, sign) in given.enumerated() {
            let candidate = AlertBook.Candidate(labels: labels, annotations: [:], value: 1)
            book = book.next(
                sign == "x" ? [labels.fingerprint: candidate] : [:], at: at(Double(minute) * 60),
                hold: Milliseconds(hold) * 60_000, keepFiringFor: Milliseconds(keepFiringFor) * 60_000)
            switch book.alerts[labels.fingerprint] {
            case nil: seen += "-"
            case let alert? where alert.state == .firing: seen += alert.keepFiringSince == nil ? "f" : "k"
            case let alert?: seen += alert.state == .pending ? "p" : "i"
            }
        }
        #expect(seen == expected)
    }

    @Test("moments, value and annotations") func moments() throws {
        let labels: Labels = ["alertname": "A"]
        var book = AlertBook()
        for minute in 0..<4 {
            book = book.next(
                minute < 3
                    ? [
                        labels.fingerprint: .init(
                            labels: labels, annotations: ["m": "\(minute)"], value: Double(minute))
                    ]
                    : [:], at: at(Double(minute) * 60), hold: 60_000, keepFiringFor: 0)
        }
        let alert = try #require(book.alerts[labels.fingerprint])
        #expect(alert.activeAt == at(0) && alert.firedAt == at(60) && alert.resolvedAt == at(180))
        #expect(alert.annotations == ["m": "2"] && alert.value == 2)
    }

    @Test("a firing alert whose `for` grew is pending again") func growth() {
        let labels: Labels = ["alertname": "A"]
        let given = [labels.fingerprint: AlertBook.Candidate(labels: labels, annotations: [:], value: 1)]
        var book = AlertBook().next(given, at: at(0), hold: 0, keepFiringFor: 0)
        book.markTold(labels.fingerprint, at: at(0))
        book = book.next(given, at: at(60), hold: 120_000, keepFiringFor: 0)
        #expect(book.sorted.map(\.state) == [.pending])
        #expect(book.sorted[0].firedAt == nil && book.sorted[0].activeAt == at(0))
    }

    @Test(
        "when the sink is told",
        arguments: [
            (ActiveAlert.State.pending, nil as Double?, nil as Double?, false), (.firing, nil, nil, true),
            (.firing, 940, nil, false), (.firing, 939, nil, true), (.inactive, 990, 1000, true),
            (.inactive, 1000, 1000, false),
        ])
    func telling(state: ActiveAlert.State, told: Double?, resolved: Double?, expected: Bool) {
        let alert = ActiveAlert(
            labels: [:], annotations: [:], value: 1, state: state, activeAt: at(0), resolvedAt: resolved.map { at($0) },
            lastSentAt: told.map { at($0) })
        #expect(AlertBook.mustTell(alert, at: at(1000), resendDelay: 60_000) == expected)
    }

    @Test("an entry of the journal gives its alert back") func entries() throws {
        let alert = ActiveAlert(
            labels: ["alertname": "A", "x": "ü\n"], annotations: ["s": "\"t\""], value: .nan, state: .firing,
            activeAt: at(1.5), firedAt: at(2), keepFiringSince: at(3), lastSentAt: at(4))
        let entry = StoredAlert(file: "f", group: "g", rule: "r", alert: alert, evaluated: at(5))
        #expect(StoredAlert(entry.bytes)?.alert.isSameState(as: alert) == true)
        #expect(StoredAlert(entry.bytes)?.key == entry.key)
        #expect(StoredAlert(Array("{}".utf8)) == nil)
    }
}

@Suite struct RuleScheduleTests {
    @Test("slots are aligned, spread by name, and missed ones are counted") func slots() {
        let clock = StandingClock()
        clock.advance(by: 1_000_000)
        var schedule = RuleSchedule(key: "f;g", interval: 60_000, clock: clock)
        let first = schedule.next
        #expect(first > clock.now() && first - clock.now() <= 60_000)
        func due() -> RuleSchedule.Due? { schedule.due(clock) }
        let early = due()
        #expect(early == nil)
        clock.advance(by: first - clock.now())
        let onTime = due()
        #expect(onTime == RuleSchedule.Due(slot: first, missed: 0, jump: 0))
        let again = due()
        #expect(again == nil)
        clock.advance(by: 185_000)
        let late = due()
        #expect(late == RuleSchedule.Due(slot: first + 180_000, missed: 2, jump: 0))
        let others = (0..<20).map { RuleSchedule(key: "f;\($0)", interval: 60_000, clock: clock).next }
        #expect(Set(others).count > 15)
        #expect(RuleSchedule(key: "f;g", interval: 60_000, clock: clock).next == schedule.next)
    }

    @Test("a jump of the wall clock moves the slots", arguments: [-3_600_000, 3_600_000])
    func jump(length: Milliseconds) {
        let clock = StandingClock()
        clock.advance(by: 10_000_000)
        var schedule = RuleSchedule(key: "f;g", interval: 60_000, clock: clock)
        clock.advance(by: schedule.next - clock.now())
        clock.jump(by: length)
        let due = schedule.due(clock)
        #expect(due?.jump == length && due?.missed == 0)
        #expect(due.map { clock.now() - $0.slot < 60_000 } == true)
        #expect(schedule.next - clock.now() <= 60_000)
    }
}
