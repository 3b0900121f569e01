import Alerting
import Basics
import Model
import Testing

@testable import Notifying

@Suite struct OutboxTests {
    @Test(
        "waits grow by half from 500 ms to a minute, with half as much jitter to each side",
        arguments: [
            (1, 0.5, 500), (2, 0.5, 750), (3, 0.5, 1125), (1, 0.0, 250), (1, 0.999, 749), (30, 0.5, 60_000),
            (30, 0.0, 30_000),
        ])
    func backOff(attempts: Int, jitter: Double, expected: Milliseconds) {
        #expect(Outbox().delay(after: attempts, asked: nil, jitter: jitter) == expected)
    }

    @Test(
        "a receiver's own wish counts when it is longer, up to an hour",
        arguments: [
            (100, 500), (20_000, 20_000), (86_400_000, 3_600_000),
        ])
    func asked(asked: Milliseconds, expected: Milliseconds) {
        #expect(Outbox().delay(after: 1, asked: asked, jitter: 0.5) == expected)
    }

    @Test(
        "Retry-After in seconds and as a date",
        arguments: [
            ("0", 0), ("120", 120_000), ("Fri, 20 Nov 2026 03:05:00 GMT", 60_000), ("Fri, 20 Nov 2026 03:00:00 GMT", 0),
            ("-1", nil), ("soon", nil), ("Fri, 20 Nov 2026 03:05:00 CET", nil), ("Fri, 31 Nov 2026 03:05:00 GMT", nil),
            ("99999999999999999", 31_536_000_000), ("", nil),
        ] as [(String, Milliseconds?)])
    func header(text: String, expected: Milliseconds?) {
        #expect(retryAfter(text, now: Timestamp(rfc3339: "2026-11-20T03:04:00Z") ?? .distantPast) == expected)
    }

    private let x = ["x": Outbox.Path(receiver: "x", destination: "x")]

    private func page(
        _ id: String, group: String = "g", severity: String = "warning", reason: Notification.Reason = .first
    )
        -> Notification
    {
        notification([alert("A", ["severity": severity])], id: id, group: group, reason: reason)
    }

    @Test("one group goes in order, the worst severity first, each channel within its bound") func order() throws {
        var rules = Outbox.Rules()
        rules.inFlight = 2
        var outbox = Outbox(rules: rules)
        _ = outbox.add(page("1", group: "a"), through: ["x", "y"], now: at(0))
        _ = outbox.add(page("2", group: "a"), through: ["x"], now: at(0))
        _ = outbox.add(page("3", group: "b", severity: "info"), through: ["x"], now: at(0))
        _ = outbox.add(page("4", group: "c", severity: "critical"), through: ["x"], now: at(0))
        #expect(outbox.takeDue(now: at(0)).entries.map(\.id) == ["4/x", "1/x", "1/y"])
        #expect(outbox.takeDue(now: at(0)).entries.isEmpty)
        _ = outbox.finish(
            "1/x", .failed(.serverError, "503", after: nil, mayHaveArrived: false), jitter: 0.5, now: at(1))
        #expect(outbox.takeDue(now: at(1)).entries.map(\.id) == ["3/x"], "2/x waits for 1/x")
        #expect(outbox.nextDue == at(1.5))
        _ = outbox.finish("4/x", .accepted, jitter: 0, now: at(2))
        let again = outbox.takeDue(now: at(2)).entries
        #expect(again.map(\.id) == ["1/x"] && again.first?.attempts == 2)
        _ = outbox.finish("3/x", .accepted, jitter: 0, now: at(2))
        _ = outbox.finish("1/x", .accepted, jitter: 0, now: at(2))
        #expect(outbox.takeDue(now: at(2)).entries.map(\.id) == ["2/x"])
    }

    @Test("a repeat is not queued behind news of its group") func repeats() {
        var outbox = Outbox()
        _ = outbox.add(page("1"), through: ["x"], now: at(0))
        #expect(outbox.add(page("2", reason: .repeated), through: ["x"], now: at(0)).isEmpty)
        let added = outbox.add(page("2", reason: .repeated), through: ["y"], now: at(0))
        #expect(added.map(\.table) == ["notifying.pages", "notifying.outbox", "notifying.ledger"])
    }

    @Test("what is refused or too old is kept as a dead letter, the oldest ones let go") func deadLetters() throws {
        var rules = Outbox.Rules()
        rules.deadLetters = 2
        var outbox = Outbox(rules: rules)
        let store = MemoryStore()
        for (index, outcome) in [
            Outbox.Outcome.refused(.clientError, "404"),
            .failed(.unreachable, "down", after: nil, mayHaveArrived: false),
            .refused(.authError, "403"),
        ].enumerated() {
            store.commit(outbox.add(page("\(index)"), through: ["x"], now: at(0)))
            store.commit(outbox.takeDue(now: at(1)).changes)
            let late = index == 1 ? 86_400.0 : 1
            store.commit(outbox.finish("\(index)/x", outcome, jitter: 0, now: at(late))?.changes ?? [])
        }
        #expect(outbox.entries.isEmpty)
        #expect(outbox.deadLetters.map(\.reason) == [.expired, .authError])
        #expect(outbox.deadLetters.first?.message == "given up after 1d: down")
        var restored = Outbox(rules: rules)
        #expect(restored.restore(from: store, paths: x, now: at(9)).unreadable == 0)
        #expect(restored.deadLetters.map(\.reason) == [.authError, .expired] && restored.entries.isEmpty)
    }

    @Test("after a crash a begun try may have arrived; a waiting one keeps its time") func restore() throws {
        var outbox = Outbox()
        let store = MemoryStore()
        store.commit(outbox.add(page("1", group: "a"), through: ["x", "gone"], now: at(0)))
        store.commit(outbox.add(page("2", group: "b"), through: ["x"], now: at(0)))
        store.commit(outbox.takeDue(now: at(0)).changes)
        let cut = Outbox.Outcome.failed(.interrupted, "cut", after: 30_000, mayHaveArrived: true)
        store.commit(outbox.finish("2/x", cut, jitter: 0, now: at(1))?.changes ?? [])
        store.commit([StateChange(table: "notifying.outbox", key: "bad", value: [1])])
        var restored = Outbox()
        let result = restored.restore(from: store, paths: x, now: at(5))
        #expect(result.unknown == 2 && result.unreadable == 1)
        #expect(restored.deadLetters.map(\.reason) == [.unconfigured, .unconfigured])
        #expect(restored.deadLetters.last?.message.hasPrefix("it was told that this fires") == true)
        #expect(restored.nextDue == at(31))
        let due = restored.takeDue(now: at(40)).entries
        #expect(due.map(\.id) == ["1/x", "2/x"])
        #expect(due.map(\.attempts) == [2, 2] && due.map(\.unknownOutcomes) == [1, 1])
    }

    @Test("who knows newer things of a group gets an older page of it marked as old") func olderPage() throws {
        var paths: [String: Outbox.Path] = [:]
        for (id, fallback) in [("a/webhook/0", "f"), ("a/webhook/1", "f"), ("f/webhook/0", "g"), ("g/webhook/0", nil)] {
            var path = Outbox.Path(receiver: String(id.prefix(1)), destination: id)
            path.fallback = fallback.map { Fallback(receiver: $0) }
            path.fallback?.after = nil
            paths[id] = path
        }
        var outbox = Outbox()
        _ = outbox.replace(paths, now: at(0))
        func finish(_ id: String, _ outcome: Outbox.Outcome, _ second: Double) {
            #expect(outbox.finish(id, outcome, jitter: 0, now: at(second)) != nil, "\(id)")
        }
        func page(_ id: String) -> Notification {
            var page = self.page(id, reason: .newAlerts)
            page.receiver = "a"
            return page
        }
        let refused = Outbox.Outcome.refused(.authError, "403")
        _ = outbox.add(page("9-1-1"), through: ["a/webhook/0", "a/webhook/1"], now: at(0))
        #expect(outbox.takeDue(now: at(0)).entries.count == 2)
        finish("9-1-1/a/webhook/0", refused, 1)
        #expect(outbox.takeDue(now: at(1)).entries.map(\.id) == ["9-1-1/f/webhook/0"])
        finish("9-1-1/f/webhook/0", .accepted, 2)
        _ = outbox.add(page("9-1-2"), through: ["a/webhook/0"], now: at(3))
        for (place, id) in ["a", "f", "g"].map({ "9-1-2/\($0)/webhook/0" }).enumerated() {
            #expect(outbox.takeDue(now: at(4 + Double(place))).entries.map(\.id) == [id])
            finish(id, refused, 4.5 + Double(place))
        }
        #expect(outbox.replay("9-1-2/g/webhook/0", isOld: false, isAside: true, end: nil, now: at(9)) != nil)
        #expect(outbox.takeDue(now: at(9)).entries.map(\.isOld) == [false])
        finish("9-1-2/g/webhook/0", .accepted, 10)
        // The other channel's try of the first page, under way all the while, is refused at last.
        finish("9-1-1/a/webhook/1", refused, 11)
        let late = outbox.takeDue(now: at(11)).entries
        #expect(late.map(\.id) == ["9-1-1/g/webhook/0"] && late.first?.isOld == true)
    }
}
