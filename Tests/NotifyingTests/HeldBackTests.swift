import Alerting
import Basics
import Model
import Notifying
import Synchronization
import Testing
import Transport

/// Ends that are owed while something else holds back, fails or moves the clock; each was found by the delivery model.
@Suite struct HeldBackTests {
    private static let text = """
        route: {receiver: a, group_by: [alertname], group_wait: 1s, group_interval: 60s, routes: [
          {matchers: [component=vedette], receiver: c}]}
        receivers:
        - {name: a, webhook_configs: [{url: "http://a/"}], fallback: {receiver: b, after: 2m}}
        - {name: b, webhook_configs: [{url: "http://b/"}]}
        - {name: c, webhook_configs: [{url: "http://c/"}]}
        """
    private final class Receivers: Sendable {
        let answers: Mutex<[String: FakeTransport.Answer]>
        init(_ answers: [String: FakeTransport.Answer]) { self.answers = Mutex(answers) }
        @Sendable func answer(_ request: HTTPRequest) -> FakeTransport.Answer {
            answers.withLock { $0[request.url] } ?? ok
        }
    }

    /// What a receiver was told, `i status`.
    private func told(_ world: World, _ host: String) -> [String] {
        world.transport.requests.filter { $0.url == "http://\(host)/" }.flatMap { request in
            (request.json?["alerts"]?.array ?? []).map {
                "\($0["labels"]?["i"]?.string ?? "") \($0["status"]?.string ?? "")"
            }
        }
    }

    private func silence(_ world: World, _ name: String, _ value: String) throws {
        let now = world.executor.now()
        let silence = try Silence(
            matchers: [Matcher(name, equals: value)], startsAt: now, endsAt: now + 3_000_000, createdBy: "me",
            comment: "quiet", zones: { _ in nil })
        #expect(world.ask { try? await $0.setSilence(silence) } != nil)
    }

    @Test("a group is not over while an alert that was told fires behind a silence: whoever stood in is told its end")
    func silencedRest() throws {
        let receivers = Receivers(["http://a/": .failure(.unreachable("down"), after: 10)])
        let world = try World(Self.text, receivers.answer)
        let began = world.executor.now().seconds
        world.post(alert("A", ["i": "1"], from: began), alert("A", ["i": "2"], from: began))
        world.executor.run(for: 150_000)
        #expect(told(world, "b") == ["1 firing", "2 firing"])
        try silence(world, "i", "1")
        world.post(alert("A", ["i": "2"], from: began, to: world.executor.now().seconds))
        world.executor.run(for: 130_000)
        #expect(told(world, "b").last == "2 resolved")
        world.post(alert("A", ["i": "1"], from: began, to: world.executor.now().seconds))
        world.executor.run(for: 130_000)
        #expect(told(world, "b") == ["1 firing", "2 firing", "2 resolved", "1 resolved"])
        for table in ["notifying.diverted", "notifying.threads", "notifying.outbox"] {
            let left = world.store.entries(of: table).keys.filter { $0.contains("\"A\"") || $0.contains("/a/") }
            #expect(left == [], "\(table)")
        }
    }

    @Test("an end is not taken from a receiver whose page of the beginning is still under way") func underWay() throws {
        let receivers = Receivers(["http://a/": .failure(.interrupted("cut", requestWasSent: true), after: 200_000)])
        let world = try World(Self.text, receivers.answer)
        let began = world.executor.now().seconds
        world.post(alert("A", ["i": "1"], from: began), alert("A", ["i": "2"], from: began))
        world.executor.run(for: 30_000)
        world.post(alert("A", ["i": "1"], from: began, to: world.executor.now().seconds))
        world.executor.run(for: 165_000)
        receivers.answers.withLock { $0 = [:] }
        world.executor.run(for: 100_000)
        #expect(told(world, "a").contains("1 resolved"))
        #expect(told(world, "b").contains("1 resolved"))
    }

    @Test("timers that a set clock moved are moved after a crash too", arguments: [-3_600_000, 3_600_000])
    func jumpAndCrash(jump: Milliseconds) throws {
        let text = Self.text.replacing("group_interval: 60s", with: "group_interval: 60s, repeat_interval: 30m")
        var world = try World(text) { _ in ok }
        let began = world.executor.now().seconds
        world.post(alert("A", ["i": "1"], from: began))
        world.executor.run(for: 10_000)
        world.executor.jumpWallClock(by: jump)
        world.executor.run(for: 90_000)
        world.executor.abandon()
        world = try World(text, store: world.store, start: world.executor.now().seconds) { _ in ok }
        world.executor.run(for: 60_000)
        #expect(told(world, "a").isEmpty, "a repeat is not due for half an hour")
        world.post(alert("A", ["i": "2"], from: world.executor.now().seconds))
        world.executor.run(for: 61_000)
        #expect(told(world, "a") == ["1 firing", "2 firing"])
    }

    @Test("a replay beside a group that ends unseen leaves nothing behind") func unseenEnd() throws {
        let receivers = Receivers(["http://c/": .response(HTTPResponse(status: 410), after: 10)])
        let text = """
            route: {receiver: c, group_by: [alertname], group_wait: 1s, group_interval: 60s}
            receivers: [{name: c, webhook_configs: [{url: "http://c/"}]}]
            """
        let world = try World(text, receivers.answer)
        let began = world.executor.now().seconds
        world.post(alert("A", ["i": "1"], from: began))
        world.executor.run(for: 2000)
        world.post(alert("A", ["i": "1"], from: began, to: world.executor.now().seconds))
        world.executor.run(for: 61_000)
        try silence(world, "alertname", "A")
        let again = world.executor.now().seconds
        world.post(alert("A", ["i": "1"], from: again))
        receivers.answers.withLock { $0 = [:] }
        world.executor.run(for: 2000)
        let letters = try #require(world.ask { await $0.snapshot().deadLetters })
        let first = try #require(letters.filter { $0.entry.title.contains(" A") }.last)
        #expect(world.ask { await $0.replay(first.entry.id) } == true)
        world.executor.run(for: 5000)
        #expect(told(world, "c").suffix(2) == ["1 firing", "1 resolved"])
        world.post(alert("A", ["i": "1"], from: again, to: world.executor.now().seconds))
        world.executor.run(for: 61_000)
        #expect(world.store.entries(of: "notifying.threads").isEmpty)
    }

    @Test("a replay of what was told beside something silenced leaves nothing behind", arguments: [false, true])
    func besideSilenced(withEnd: Bool) throws {
        let receivers = Receivers([:])
        let text = """
            route: {receiver: c, group_by: [alertname], group_wait: 1s, group_interval: 60s}
            receivers: [{name: c, webhook_configs: [{url: "http://c/"}]}]
            """
        let world = try World(text, receivers.answer)
        func post(_ number: String, from began: Double, isOver: Bool = false) {
            world.post(alert("A", ["i": number], from: began, to: isOver ? world.executor.now().seconds : nil))
        }
        func refuse(_ isRefused: Bool) {
            let refusal = FakeTransport.Answer.response(HTTPResponse(status: 410), after: 10)
            receivers.answers.withLock { $0 = isRefused ? ["http://c/": refusal] : [:] }
        }
        let began = world.executor.now().seconds
        post("1", from: began)
        world.executor.run(for: 2000)
        try silence(world, "i", "1")
        refuse(true)
        post("2", from: began)
        world.executor.run(for: 61_000)
        if !withEnd { refuse(false) }
        post("2", from: began, isOver: true)
        world.executor.run(for: 61_000)
        refuse(false)
        post("1", from: began, isOver: true)
        world.executor.run(for: 61_000)
        #expect(world.store.entries(of: "notifying.threads").keys.filter { $0.contains("\"A\"") } == [])
        let letters = try #require(world.ask { await $0.snapshot().deadLetters })
        #expect(letters.count { $0.entry.title.contains(" A") } == (withEnd ? 2 : 1))
        #expect(world.ask { await $0.replayAll() } == letters.count)
        world.executor.run(for: 5000)
        let last = told(world, "c").suffix(withEnd ? 3 : 2)
        #expect(last.first == "2 firing" && Set(last.dropFirst()) == ["2 resolved"])
        world.executor.run(for: 130_000)
        let left = world.store.entries(of: "notifying.threads").keys.filter { $0.contains("\"A\"") }
        #expect(left == [])
    }
}
