import Alerting
import Basics
import Model
import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// A dispatcher in a simulated world; receivers answer by a closure.
final class World: Sendable {
    let executor: SimulatedExecutor
    let store: MemoryStore
    let transport: FakeTransport
    let dispatcher: Dispatcher

    init(
        _ text: String, store: MemoryStore = MemoryStore(), seed: UInt64 = 1, start: Double = 1_000_000,
        rules: Outbox.Rules = Outbox.Rules(), startDelay: Milliseconds = 0,
        _ answer: @escaping @Sendable (HTTPRequest) -> FakeTransport.Answer
    ) throws {
        executor = SimulatedExecutor(seed: seed, start: at(start))
        self.store = store
        transport = FakeTransport(executor, answer)
        dispatcher = Dispatcher(
            try settings(text), store: store, clock: executor, transport: transport, random: SharedRandom(seed: seed),
            externalURL: "http://v", files: noFiles, rules: rules, opening: at(start) + startDelay)
        executor.start { [dispatcher] in await dispatcher.run() }
    }

    func post(_ alerts: Alert...) {
        executor.start { [dispatcher] in await dispatcher.accept(alerts, committing: []) }
        executor.run(for: 0)
    }

    /// An alert that begins now.
    func fire(_ name: String, _ labels: [String: String] = [:]) {
        post(alert(name, labels, from: executor.now().seconds))
    }

    /// What a call of the actor gives.
    func ask<Value: Sendable>(_ body: @escaping @Sendable (Dispatcher) async -> Value) -> Value? {
        let result = Mutex<Value?>(nil)
        executor.start { [dispatcher] in
            let value = await body(dispatcher)
            result.withLock { $0 = value }
        }
        _ = executor.run(for: 0) { result.withLock { $0 != nil } }
        return result.withLock { $0 }
    }

    func metric(_ name: String) -> Double {
        dispatcher.metrics().first { $0.name == name }?.lines.reduce(0) { $0 + $1.value } ?? -1
    }
}

let ok = FakeTransport.Answer.response(HTTPResponse(status: 200), after: 10)

@Suite struct DispatcherTests {
    private let two = """
        route: {receiver: a, group_by: [alertname], group_wait: 10s, group_interval: 60s, routes: [
          {matchers: [team=b], receiver: b, group_wait: 5s}]}
        receivers:
        - {name: a, webhook_configs: [{url: "http://a/"}]}
        - {name: b, webhook_configs: [{url: "http://b/"}]}
        """

    @Test("a page goes out after the group's wait, its end after the interval, and the journal is empty then")
    func wholeWay() throws {
        let world = try World(two) { _ in ok }
        world.fire("A")
        world.executor.run(for: 9_900)
        #expect(world.transport.requests.isEmpty)
        world.executor.run(for: 200)
        #expect(world.transport.requests.map(\.url) == ["http://a/"])
        #expect(world.transport.requests.first?.json?["status"]?.string == "firing")
        world.post(alert("A", from: 1_000_000, to: world.executor.now().seconds))
        world.executor.run(for: 61_000)
        #expect(world.transport.requests.last?.json?["status"]?.string == "resolved")
        #expect(world.store.entries(of: "notifying.outbox").isEmpty)
        #expect(world.store.entries(of: AlertGroup.groupsTable).isEmpty)
        let snapshot = try #require(world.ask { await $0.snapshot() })
        #expect(snapshot.deliveries.map(\.outcome) == [.accepted, .accepted])
        #expect(snapshot.deliveries.first?.title == "[RESOLVED] A" && snapshot.groups.isEmpty)
        #expect(world.metric("vedette_notifications_total") == 2)
        #expect(world.metric("vedette_notification_latency_seconds") > 0)
    }

    @Test("an earlier deadline wakes the loop that sleeps for a later one") func wakes() throws {
        let world = try World(two) { _ in ok }
        world.fire("A")
        world.executor.run(for: 1000)
        world.fire("B", ["team": "b"])
        world.executor.run(for: 5100)
        #expect(world.transport.requests.map(\.url) == ["http://b/"])
    }

    @Test("a dead receiver and a slow one hold up nobody") func independence() throws {
        let world = try World(two) { request in
            request.url == "http://a/"
                ? .failure(.interrupted("timed out", requestWasSent: true), after: 10_000) : ok
        }
        for index in 0..<50 { world.fire("A\(index)") }
        world.executor.run(for: 11_000)
        world.fire("B", ["team": "b"])
        world.executor.run(for: 5100)
        #expect(world.transport.requests.filter { $0.url == "http://b/" }.count == 1)
        #expect(world.transport.requests.filter { $0.url == "http://a/" }.count == 4, "four at the same time")
        #expect(world.metric("vedette_outbox_length") == 50)
        world.executor.run(for: 20_000)
        #expect(world.metric("vedette_outbox_oldest_seconds") > 25)
        #expect(world.metric("vedette_notifications_unknown_total") >= 4)
    }

    @Test(
        "what may have arrived is sent again with the same key, marked; what did not is not marked",
        arguments: [
            (TransportError.interrupted("timed out", requestWasSent: true), true),
            (.tooLarge(limitBytes: 9), true), (.unreachable("refused"), false),
            (.interrupted("cut", requestWasSent: false), false), (.invalid("bad"), false),
        ])
    func marked(error: TransportError, isMarked: Bool) throws {
        let count = Mutex(0)
        let world = try World(two) { _ in
            count.withLock { count in
                count += 1
                return count == 1 ? .failure(error, after: 10) : ok
            }
        }
        world.fire("A")
        world.executor.run(for: 12_000)
        let sent = world.transport.requests
        #expect(sent.count == 2)
        #expect(sent.first?.header("Idempotency-Key") == sent.last?.header("Idempotency-Key"))
        #expect(sent.map { $0.header("X-Vedette-Attempt") } == ["1", "2"])
        #expect(sent.last?.header("X-Vedette-Possibly-Repeated") == (isMarked ? "true" : nil))
        #expect(world.metric("vedette_notifications_unknown_total") == (isMarked ? 1 : 0))
        #expect(world.metric("vedette_notification_retries_total") == 1)
    }

    @Test("Retry-After is kept") func retryAfter() throws {
        let count = Mutex(0)
        let world = try World(two) { _ in
            count.withLock { count in
                count += 1
                let busy = HTTPResponse(status: 429, headers: [HTTPHeader("retry-after", "30")])
                return count == 1 ? .response(busy, after: 10) : ok
            }
        }
        world.fire("A")
        world.executor.run(for: 39_900)
        #expect(world.transport.requests.count == 1)
        world.executor.run(for: 200)
        #expect(world.transport.requests.count == 2)
    }

    @Test("a refused page is a dead letter, whose reason shows no secret") func refused() throws {
        let text = two.replacing("http://a/", with: "http://a/hooks/hunter2")
        let world = try World(text) { _ in
            .response(HTTPResponse(status: 404, body: Array("Cannot POST /hooks/hunter2".utf8)), after: 10)
        }
        world.fire("A")
        world.executor.run(for: 12_000)
        let snapshot = try #require(world.ask { await $0.snapshot() })
        #expect(snapshot.deadLetters.map(\.message) == ["the answer is 404: Cannot POST <secret>"])
        #expect(snapshot.outbox.isEmpty && world.transport.requests.count == 1)
        #expect(world.metric("vedette_notifications_refused_total") == 1)
        #expect(world.metric("vedette_notifications_failed_total") == 1)
    }

    @Test("a broken disk holds no page back; the page says so and is counted") func brokenDisk() throws {
        let world = try World(two) { _ in ok }
        world.store.breakDisk()
        world.fire("A")
        world.executor.run(for: 12_000)
        #expect(world.transport.requests.map { $0.header("X-Vedette-Unjournalled") } == ["true"])
        #expect(world.metric("vedette_notifications_unjournalled_total") == 1)
    }

    @Test("stopping lets tries end, begins none, and loses nothing") func stop() throws {
        let world = try World(two) { _ in .response(HTTPResponse(status: 200), after: 5000) }
        world.fire("A")
        world.executor.run(for: 11_000)
        world.fire("B")
        _ = world.ask { await $0.stop() }
        world.executor.run(for: 60_000)
        #expect(world.transport.requests.count == 1)
        let next = try World(two, store: world.store, start: world.executor.now().seconds) { _ in ok }
        next.executor.run(for: 20_000)
        #expect(next.transport.requests.map { $0.json?["groupLabels"]?["alertname"]?.string } == ["B"])
    }

    @Test("setting the wall clock delays nothing", arguments: [-3_600_000, 3_600_000])
    func clockSet(jump: Milliseconds) throws {
        let world = try World(two) { _ in ok }
        world.fire("A")
        world.executor.run(for: 2000)
        world.executor.jumpWallClock(by: jump)
        world.executor.run(for: 7900)
        #expect(world.transport.requests.isEmpty)
        world.executor.run(for: 300)
        #expect(world.transport.requests.count == 1)
    }

    @Test("new settings: a channel that is gone still tells the end of what it told, then it is let go") func reload()
        throws
    {
        let world = try World(two) { _ in ok }
        world.fire("A")
        world.executor.run(for: 11_000)
        let began = world.executor.now().seconds - 11
        let other = try settings(
            "route: {receiver: b, group_wait: 1s}\nreceivers: [{name: b, webhook_configs: [{url: 'http://b/'}]}]")
        _ = world.ask { await $0.replace(other) }
        world.executor.run(for: 5000)
        #expect(world.transport.requests.last?.url == "http://b/", "an alert that fires finds its new receiver")
        #expect(world.ask { await $0.snapshot().leaving } == ["a/webhook/0"])
        world.fire("C")
        world.post(alert("A", from: began, to: world.executor.now().seconds))
        world.executor.run(for: 400_000)
        let told = world.transport.requests.map { "\($0.url) \($0.json?["status"]?.string ?? "")" }
        #expect(told.filter { $0.hasPrefix("http://a/") } == ["http://a/ firing", "http://a/ resolved"])
        #expect(world.ask { await $0.snapshot().leaving } == [])
        #expect(world.ask { await $0.snapshot().deadLetters.isEmpty } == true)
    }

    @Test("a channel that is gone takes what was on its way; after a restart that is a dead letter with its reason")
    func leavingRestart() throws {
        let isDown = Mutex(true)
        let answer: @Sendable (HTTPRequest) -> FakeTransport.Answer = { request in
            request.url == "http://a/" && isDown.withLock { $0 } ? .failure(.unreachable("down"), after: 10) : ok
        }
        let world = try World(two, answer)
        world.fire("A")
        world.executor.run(for: 11_000)
        let other = try settings(
            "route: {receiver: b, group_wait: 1s}\nreceivers: [{name: b, webhook_configs: [{url: 'http://b/'}]}]")
        _ = world.ask { await $0.replace(other) }
        isDown.withLock { $0 = false }
        world.executor.run(for: 5000)
        #expect(world.transport.requests.filter { $0.url == "http://a/" }.count > 1)
        world.executor.abandon()
        let text = "route: {receiver: b, group_wait: 1s}\nreceivers: [{name: b, webhook_configs: [{url: 'http://b/'}]}]"
        let next = try World(text, store: world.store, start: world.executor.now().seconds, answer)
        next.executor.run(for: 400_000)
        let letters = try #require(next.ask { await $0.snapshot().deadLetters })
        #expect(letters.map(\.reason) == [.unconfigured] && letters.map(\.entry.channelID) == ["a/webhook/0"])
        let names = next.transport.requests.flatMap { $0.json?["alerts"]?.array ?? [] }
            .map { $0["labels"]?["alertname"]?.string }
        #expect(names.contains("VedettePageRefused"))
        #expect(next.ask { await $0.replay(letters[0].entry.id) } == false, "nobody is there to take it")
        #expect(next.ask { await $0.discard(letters[0].entry.id) } == true)
        #expect(next.ask { await $0.snapshot().ledger.first?.outcome } == .discarded)
    }

    @Test("a test page is sent once, through each channel, and tells what came of it") func testPage() throws {
        let receiver = try #require(
            try settings(
                """
                route: {receiver: a}
                receivers: [{name: a, webhook_configs: [{url: "http://a/"}, {url: "http://b/"}]}]
                """
            ).receivers["a"])
        let executor = SimulatedExecutor(seed: 1, start: at(0))
        let transport = FakeTransport(executor) {
            $0.url == "http://a/" ? ok : .failure(.unreachable("no route"), after: 5)
        }
        let results = Mutex<[TestPage.Result]>([])
        executor.start {
            let sent = await TestPage.send(
                to: receiver, transport: transport, clock: executor, externalURL: "", files: noFiles)
            results.withLock { $0 = sent }
        }
        executor.run(for: 1000)
        #expect(results.withLock { $0.map(\.message) } == ["accepted", "failed: no route"])
        #expect(results.withLock { $0.map(\.latency) } == [10, 5])
        #expect(transport.requests.count == 2)
        #expect(transport.requests.first?.json?["commonLabels"]?["alertname"]?.string == "VedetteTest")
    }

    @Test("the same seed gives the same requests at the same moments", arguments: [1, 2, 3])
    func deterministic(seed: UInt64) throws {
        func play() throws -> [String] {
            let lines = Mutex<[String]>([])
            let world = try World(two, seed: seed) { request in
                lines.withLock { $0.append("\(request.url) \(String(decoding: request.body, as: UTF8.self))") }
                return request.url == "http://a/" ? .response(HTTPResponse(status: 503), after: 700) : ok
            }
            for index in 0..<20 { world.fire("A\(index)", ["team": index % 2 == 0 ? "b" : "c"]) }
            world.executor.run(for: 120_000)
            return lines.withLock { $0 } + ["\(world.executor.jobsRun)"]
        }
        let first = try play()
        #expect(first.count > 30)
        #expect(try play() == first)
    }
}
