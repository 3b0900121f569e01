import Alerting
import Basics
import Model
import Settings
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Notifying

/// Daemons that share what they told.
@Suite struct PeerDaemonsTests {
    private let config = """
        flapping: {episodes: 0}
        route: {receiver: r, group_by: [alertname], group_wait: 10s, group_interval: 1m, repeat_interval: 10m}
        receivers: [{name: r, webhook_configs: [{url: "http://sink/1"}, {url: "http://sink/2"}]}]
        """
    private let one = """
        flapping: {episodes: 0}
        route: {receiver: r, group_by: [alertname], group_wait: 10s, group_interval: 1m, repeat_interval: 10m}
        receivers: [{name: r, webhook_configs: [{url: "http://sink/1"}]}]
        """

    @Test("of three daemons the first by name tells, once, of a beginning, of a repeat and of an end")
    func once() throws {
        let world = try PeerDaemonsWorld(config, names: ["a", "b", "c"])
        world.run(1)
        let alert = world.fire()
        world.run(700)
        #expect(world.taken.map(\.sender) == ["a", "a", "a", "a"] && Set(world.taken.map(\.url)).count == 2)
        world.end(alert)
        world.run(200)
        #expect(world.taken.count == 6 && world.taken.suffix(2).allSatisfy { $0.alerts[0].isOver })
        for name in world.names {
            #expect(world.ask(name) { await $0.pagesUnderWay } == 0)
            #expect(world.ask(name) { await $0.alerting().groups.isEmpty } == true)
            #expect(world.node(name)?.store.entries(of: "notifying.threads").isEmpty == true)
        }
        let told = world.node("b")?.dispatcher.metrics().first {
            $0.name == "vedette_notifications_told_by_peers_total"
        }
        #expect(told?.lines.first?.value ?? 0 >= 2)
    }

    @Test("when the one that told is dead, the next tells the repeat and the end, and waits for nobody")
    func takesOver() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        let alert = world.fire()
        world.run(30)
        #expect(world.taken.map(\.sender) == ["a"])
        world.kill("a")
        world.run(700)
        #expect(world.taken.map(\.sender) == ["a", "b"])
        #expect(world.taken.last?.json["notification_reason"]?.string == "repeat interval elapsed")
        world.end(alert)
        world.run(61)
        #expect(world.taken.map(\.sender) == ["a", "b", "b"] && world.taken.last?.alerts.first?.isOver == true)
        // The first is back, with a journal that says that it fires.
        try world.start("a")
        world.run(600)
        #expect(
            world.taken.count == 3,
            "\(world.taken.map { ($0.sender, $0.time.seconds - 1_000_000, $0.json["notification_reason"]?.string ?? "", $0.alerts.map(\.isOver)) })"
        )
    }

    @Test("a repeat is taken over however short its interval is", arguments: [5, 20]) func shortRepeats(seconds: Int)
        throws
    {
        let config = one.replacing("group_interval: 1m", with: "group_interval: 5s")
            .replacing("repeat_interval: 10m", with: "repeat_interval: \(seconds)s")
        let world = try PeerDaemonsWorld(config)
        world.run(1)
        world.fire()
        world.run(50)
        let before = world.taken
        #expect(before.count > 1 && before.allSatisfy { $0.sender == "a" })
        world.kill("a")
        world.run(60)
        let gap = world.taken.dropFirst(before.count).first.map { $0.time - before[before.count - 1].time }
        #expect(gap ?? 0 > 0 && gap ?? 99_000 <= Milliseconds(seconds + 20) * 1000)
    }

    @Test("one that never heard of an alert tells its end when whoever told is dead") func unknownEnd() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        let alert = world.fire(to: ["a"])
        world.run(30)
        world.kill("a")
        world.run(30)
        var end = alert
        end.endsAt = world.executor.now()
        world.post(end, to: ["b"])
        world.run(120)
        #expect(world.taken.map(\.sender) == ["a", "b"] && world.taken.last?.alerts.first?.isOver == true)
    }

    @Test("the second pages after its wait when the first does not, and the first learns of it") func waits() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        world.faults.withLock {
            $0.receiver = { sender, _ in
                sender == "a" ? .failure(.unreachable("no route"), after: 10) : nil
            }
        }
        world.fire()
        world.run(24)
        #expect(world.taken.isEmpty)
        world.run(2)
        #expect(world.taken.map(\.sender) == ["b"])
        world.faults.withLock { $0.receiver = nil }
        world.run(300)
        #expect(world.taken.count == 1)
    }

    @Test("parted, each tells for itself; together again, one does") func partition() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        world.cut("a", "b")
        world.run(30)
        let alert = world.fire()
        world.run(40)
        #expect(world.taken.map(\.sender).sorted() == ["a", "b"])
        world.heal()
        world.run(30)
        world.end(alert)
        world.run(120)
        #expect(world.taken.count == 3 && world.taken.last?.alerts.first?.isOver == true)
    }

    @Test("a peer that hangs holds up nothing") func hangs() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        world.faults.withLock { $0.hanging = ["a", "b"] }
        world.run(30)
        world.fire()
        world.run(11)
        #expect(!world.taken.isEmpty)
    }

    @Test("a silence made here holds there, its end too, and both survive a restart") func silences() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        let silence = try Silence(
            matchers: [Matcher("alertname", equals: "A")], startsAt: world.executor.now(),
            endsAt: world.executor.now() + 3_600_000, createdBy: "me", comment: "why", zones: { _ in nil })
        let id = world.ask("b") { dispatcher in
            do throws(SilenceError) { return try await dispatcher.setSilence(silence) } catch { return "" }
        }
        world.run(0.5)
        let known = try #require(id)
        #expect(world.ask("a") { await $0.alerting().silences.all[known]?.comment } == "why")
        world.kill("a")
        try world.start("a")
        world.run(1)
        world.fire()
        world.run(120)
        #expect(world.taken.isEmpty)
        let now = world.executor.now()
        #expect(world.ask("a") { await $0.alerting().silences.all[known]?.state(at: now) } == .active)
        _ = world.ask("a") { dispatcher in
            do throws(SilenceError) { try await dispatcher.expireSilence(known) } catch { return false }
            return true
        }
        world.run(120)
        #expect(world.ask("b") { await $0.alerting().silences.all[known]?.state(at: now + 1000) } == .expired)
        #expect(world.taken.count == 1)
    }

    @Test("a silenced alert that a peer told is owed its end") func heldBack() throws {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        world.cut("a", "b")
        let silence = try Silence(
            matchers: [Matcher("alertname", equals: "A")], startsAt: world.executor.now(),
            endsAt: world.executor.now() + 3_600_000, createdBy: "me", comment: "", zones: { _ in nil })
        _ = world.ask("b") { dispatcher in
            do throws(SilenceError) { return try await dispatcher.setSilence(silence) } catch { return "" }
        }
        let alert = world.fire()
        world.run(60)
        #expect(world.taken.map(\.sender) == ["a"])
        world.heal()
        world.run(70)
        world.kill("a")
        world.end(alert)
        world.run(120)
        #expect(world.taken.map(\.sender) == ["a", "b"] && world.taken.last?.alerts.first?.isOver == true)
    }

    @Test("a clock that is wrong makes nobody silent", arguments: [-7_200_000, -60_000, 60_000, 7_200_000])
    func wrongClock(offset: Milliseconds) throws {
        let world = try PeerDaemonsWorld(one)
        world.kill("a")
        try world.start("a", offset: offset)
        world.run(30)
        let alert = world.fire()
        world.run(60)
        #expect(!world.taken.isEmpty)
        world.kill("a")
        world.run(60)
        world.end(alert)
        world.run(120)
        #expect(world.taken.contains { $0.alerts.contains { $0.isOver } })
        // And again: what the wrong clock said does not hide it.
        let before = world.taken.count
        world.fire()
        world.run(60)
        #expect(world.taken.dropFirst(before).contains { $0.sender == "b" && !$0.alerts[0].isOver })
    }

    @Test("what a peer says of times to come, of receivers unknown here, or in no form, hides nothing") func lies()
        throws
    {
        let world = try PeerDaemonsWorld(one)
        world.run(1)
        let labels: Labels = ["alertname": "A"]
        let ahead = world.executor.now() + 3_600_000
        world.faults.withLock {
            $0.receiver = { sender, _ in sender == "a" ? .failure(.unreachable("no"), after: 5) : nil }
            $0.lies["a"] = { message in
                var message = message
                var entry = PeerLog.Entry(
                    groupKey: "{}:{alertname=\"A\"}", receiver: "r", integration: "webhook[0]", told: ahead, teller: "a"
                )
                entry.marks[labels.fingerprint] = PeerLog.Mark(knowledge: .firing, at: ahead)
                message.entries.append(entry)
                entry.receiver = "unknown"
                message.entries.append(entry)
                return message
            }
        }
        world.fire()
        world.run(60)
        #expect(world.taken.map(\.sender) == ["b"])
        #expect(world.ask("b") { await $0.outbox.told?.entries.count } == 1)
        #expect(world.ask("b") { await $0.peers?.book.members["a"]?.refused ?? 0 } ?? 0 > 0)
        let refusal = world.ask("b") { dispatcher in
            do throws(PeerRefusal) { _ = try await dispatcher.exchange(Array("{}".utf8)) } catch { return error.status }
            return 0
        }
        #expect(refusal == 400)
    }

    @Test("of another configuration a peer's groups are not ours, and both tell") func otherConfiguration() throws {
        let world = try PeerDaemonsWorld(one)
        world.kill("b")
        try world.start("b", config: one.replacing("group_by: [alertname]", with: "group_by: [alertname, team]"))
        world.run(1)
        world.fire("A", ["team": "x"])
        world.run(60)
        #expect(world.taken.map(\.sender).sorted() == ["a", "b"])
    }

    @Test("what was told is kept within bounds, and what peers knew long ago is let go") func bounds() {
        var log = PeerLog(name: "a")
        let page = notification((0..<10_500).map { alert("A", ["i": "\($0)"]) })
        #expect(log.note(page, "r", "webhook[0]", thread: nil, now: at(0)) != nil)
        #expect(log.entries.values.first?.marks.count == PeerLog.mostMarks)
        #expect(log.forget(now: at(1)).isEmpty)
        #expect(log.forget(now: at(8 * 86_400)).count == 1 && log.entries.isEmpty)
    }

    @Test("of two words on an alert the newer one counts, in whatever order they come", arguments: 0..<30)
    func merges(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let entries = (0..<20).map { _ in
            var entry = PeerLog.Entry(
                groupKey: "g", receiver: "r", integration: "w", told: at(.random(in: 0...9, using: &random)),
                teller: "x")
            for alert in 0..<3 where Bool.random(using: &random) {
                entry.marks[UInt64(alert)] = PeerLog.Mark(
                    knowledge: [.firing, .leftOut, .resolved].randomElement(using: &random) ?? .firing,
                    at: at(.random(in: 0...9, using: &random)))
            }
            return entry
        }
        func merged(_ entries: [PeerLog.Entry]) -> PeerLog.Entry? {
            var log = PeerLog(name: "me")
            for entry in entries { _ = log.merge(entry, latest: at(100)) }
            return log.entries.values.first
        }
        let one = merged(entries)
        let other = merged(entries.shuffled(using: &random))
        #expect(one?.marks == other?.marks && one?.told == other?.told, "seed \(seed)")
        #expect(one.flatMap { PeerLog.Entry(json: $0.json) } == one, "seed \(seed)")
    }
}
