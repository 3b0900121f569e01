import Alerting
import Basics
import Model
import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// What happens to pages that their receiver does not take: another receiver, dead letters, alerts about the path.
@Suite struct FallbackTests {
    private static let text = """
        route: {receiver: a, group_by: [alertname], group_wait: 1s, group_interval: 60s, routes: [
          {matchers: [alertname=~"Vedette.*"], receiver: c, group_by: [alertname, channel], group_wait: 1s}]}
        receivers:
        - {name: a, webhook_configs: [{url: "http://a/"}], fallback: {receiver: b, after: 2m}}
        - {name: b, webhook_configs: [{url: "http://b/"}], fallback: {receiver: c, failures: 3}}
        - {name: c, webhook_configs: [{url: "http://c/"}]}
        """

    /// A world whose receivers do as the table says; `ok` for those that are not in it.
    private final class Behaviour: Sendable {
        let answers: Mutex<[String: FakeTransport.Answer]>
        init(_ answers: [String: FakeTransport.Answer] = [:]) { self.answers = Mutex(answers) }
        func set(_ host: String, _ answer: FakeTransport.Answer?) { answers.withLock { $0[host] = answer } }
        @Sendable func answer(_ request: HTTPRequest) -> FakeTransport.Answer {
            answers.withLock { $0[request.url] } ?? ok
        }
    }

    private static let down = FakeTransport.Answer.failure(.unreachable("down"), after: 10)
    private static let gone = FakeTransport.Answer.response(HTTPResponse(status: 410), after: 10)

    private func told(_ world: World, _ host: String, name: String? = nil) -> [String] {
        world.transport.requests.filter { $0.url == "http://\(host)/" }.flatMap { request in
            (request.json?["alerts"]?.array ?? []).compactMap { alert -> String? in
                let alertName = alert["labels"]?["alertname"]?.string ?? ""
                guard name == nil || name == alertName else { return nil }
                return "\(alertName) \(alert["status"]?.string ?? "")"
            }
        }
    }

    @Test("after its time the page goes to the fallback, marked, and so does its end, without the first receiver")
    func afterTime() throws {
        let behaviour = Behaviour(["http://a/": Self.down])
        let world = try World(Self.text, behaviour.answer)
        let began = world.executor.now().seconds
        world.fire("A")
        world.executor.run(for: 120_000)
        #expect(told(world, "b").isEmpty)
        world.executor.run(for: 2000)
        #expect(told(world, "b") == ["A firing"])
        #expect(
            world.transport.requests.last { $0.url == "http://b/" }?.header("X-Vedette-Stands-In-For") == "a")
        world.post(alert("A", from: began, to: world.executor.now().seconds))
        behaviour.set("http://a/", nil)
        let before = world.transport.requests.filter { $0.url == "http://a/" }.count
        world.executor.run(for: 120_000)
        #expect(told(world, "b") == ["A firing", "A resolved"])
        #expect(
            world.transport.requests.filter { $0.url == "http://a/" }.count == before, "never told, so no end is owed")
        let snapshot = try #require(world.ask { await $0.snapshot() })
        #expect(snapshot.outbox.isEmpty && snapshot.deadLetters.isEmpty)
        let outcomes = snapshot.ledger.reversed().filter { $0.title.contains("A") }.map(\.outcome)
        #expect(outcomes.contains(.handedOver) && outcomes.contains(.cancelled))
        for table in ["notifying.diverted", "notifying.threads", "notifying.outbox", "notifying.pages"] {
            #expect(world.store.entries(of: table).isEmpty, "\(table)")
        }
        #expect(world.metric("vedette_notifications_handed_over_total") == 1)
    }

    @Test("a page whose outcome is unknown is handed over, and its end goes to both", arguments: [false, true])
    func unknownOutcome(restarts: Bool) throws {
        let behaviour = Behaviour([
            "http://a/": .failure(.interrupted("timed out", requestWasSent: true), after: 10_000)
        ])
        var world = try World(Self.text, behaviour.answer)
        let began = world.executor.now().seconds
        world.fire("A")
        world.executor.run(for: 125_000)
        #expect(told(world, "b") == ["A firing"])
        if restarts {
            world.executor.abandon()
            world = try World(Self.text, store: world.store, start: world.executor.now().seconds, behaviour.answer)
        }
        behaviour.set("http://a/", nil)
        world.post(alert("A", from: began, to: world.executor.now().seconds))
        world.executor.run(for: 120_000)
        #expect(told(world, "a").last == "A resolved")
        #expect(told(world, "b").last == "A resolved")
        #expect(world.store.entries(of: "notifying.diverted").isEmpty)
    }

    @Test("a try that hangs does not hold the fallback back; its outcome is written down") func hangs() throws {
        let behaviour = Behaviour(["http://a/": .response(HTTPResponse(status: 200), after: 400_000)])
        let world = try World(Self.text, behaviour.answer)
        world.fire("A")
        world.executor.run(for: 123_000)
        #expect(told(world, "b") == ["A firing"])
        world.executor.run(for: 300_000)
        let ledger = try #require(world.ask { await $0.snapshot().ledger })
        #expect(ledger.first { $0.receiver == "a" && $0.outcome == .accepted }?.latency == 400_000)
        #expect(world.transport.requests.filter { $0.url == "http://a/" }.count == 1)
    }

    @Test("a chain goes on to the next fallback; the last one's failure is a dead letter") func chain() throws {
        let behaviour = Behaviour(["http://a/": Self.gone, "http://b/": Self.down, "http://c/": Self.gone])
        let world = try World(Self.text, behaviour.answer)
        world.fire("A")
        world.executor.run(for: 10_000)
        #expect(world.transport.requests.filter { $0.url == "http://a/" }.count == 1)
        #expect(world.transport.requests.filter { $0.url == "http://b/" }.count == 3)
        let snapshot = try #require(world.ask { await $0.snapshot() })
        let letters = snapshot.deadLetters.filter { $0.entry.title.contains(" A") }
        #expect(letters.map(\.entry.channelID) == ["c/webhook/0"])
        #expect(letters.first?.entry.standsInFor == "a")
    }

    @Test("a refusal for good is an alert of its own by the other receivers, and ends when the channel works again")
    func refusalAlert() throws {
        let behaviour = Behaviour(["http://a/": .response(HTTPResponse(status: 403), after: 10)])
        let world = try World(Self.text, behaviour.answer)
        world.fire("A")
        world.executor.run(for: 5000)
        #expect(told(world, "c") == ["VedettePageRefused firing"])
        behaviour.set("http://a/", nil)
        world.fire("B")
        world.executor.run(for: 65_000)
        #expect(told(world, "a", name: "B") == ["B firing"])
        #expect(told(world, "c") == ["VedettePageRefused firing", "VedettePageRefused resolved"])
    }

    @Test("a receiver that refuses the alert about itself is not told of it again and again") func noLoop() throws {
        let behaviour = Behaviour(["http://c/": Self.gone])
        let world = try World(Self.text, behaviour.answer)
        world.fire("VedetteSomething")
        world.executor.run(for: 7_000_000)
        let requests = world.transport.requests.filter { $0.url == "http://c/" }
        #expect(requests.count <= 3, "the page, the alert about it, the alert's end")
        #expect(world.metric("vedette_notifications_refused_total") == Double(requests.count))
    }

    @Test("a path that fails for long is an alert; it ends with the first page that gets through") func late() throws {
        let behaviour = Behaviour(["http://a/": Self.down])
        let text = Self.text.replacing(", fallback: {receiver: b, after: 2m}", with: "")
        let world = try World(text, behaviour.answer)
        world.fire("A")
        world.executor.run(for: 170_000)
        #expect(told(world, "c").isEmpty)
        world.executor.run(for: 20_000)
        #expect(told(world, "c") == ["VedettePagesNotDelivered firing"])
        behaviour.set("http://a/", nil)
        world.executor.run(for: 150_000)
        #expect(told(world, "c").last == "VedettePagesNotDelivered resolved")
    }

    @Test(
        "a dead letter is sent again under its key; of what is over by then, the end follows", arguments: [false, true])
    func replay(isOver: Bool) throws {
        let behaviour = Behaviour(["http://c/": Self.gone])
        let text = """
            route: {receiver: c, group_by: [alertname], group_wait: 1s, group_interval: 60s}
            receivers: [{name: c, webhook_configs: [{url: "http://c/"}]}]
            """
        let world = try World(text, behaviour.answer)
        let began = world.executor.now().seconds
        world.fire("A")
        world.executor.run(for: 1500)
        if isOver {
            world.post(alert("A", from: began, to: world.executor.now().seconds))
            world.executor.run(for: 70_000)
        }
        behaviour.set("http://c/", nil)
        let letters = try #require(world.ask { await $0.snapshot().deadLetters })
        let first = try #require(letters.last)
        let before = world.transport.requests.count
        #expect(world.ask { await $0.replay(first.entry.id) } == true)
        #expect(world.ask { await $0.replay(first.entry.id) } == false, "it is none any more")
        world.executor.run(for: 1000)
        let sent = world.transport.requests[before...].filter {
            $0.header("Idempotency-Key")?.hasPrefix(first.entry.notification.id) == true
        }
        #expect(sent.first?.header("Idempotency-Key") == first.entry.id)
        #expect(sent.first?.header("X-Vedette-Attempt") == "2")
        #expect((sent.first?.header("X-Vedette-Decided-At") != nil) == isOver)
        #expect(sent.map { $0.json?["status"]?.string } == (isOver ? ["firing", "resolved"] : ["firing"]))
    }

    @Test("all dead letters at once go in their order; none is left, and the refusal's alert ends") func replayAll()
        throws
    {
        let behaviour = Behaviour(["http://a/": Self.gone])
        let text = Self.text.replacing(", fallback: {receiver: b, after: 2m}", with: "")
        let world = try World(text, behaviour.answer)
        let began = world.executor.now().seconds
        world.fire("A")
        world.executor.run(for: 1500)
        world.post(alert("A", from: began, to: world.executor.now().seconds))
        world.executor.run(for: 70_000)
        behaviour.set("http://a/", nil)
        let before = world.transport.requests.count
        #expect(world.ask { await $0.replayAll() } == 2)
        world.executor.run(for: 400_000)
        let sent = world.transport.requests[before...].filter { $0.url == "http://a/" }
        #expect(sent.map { $0.json?["status"]?.string } == ["firing", "resolved"])
        #expect(told(world, "c").last == "VedettePageRefused resolved")
        #expect(world.store.entries(of: "notifying.dead").isEmpty)
    }

    @Test(
        "fallbacks that reach nobody are refused, with their place",
        arguments: [
            ("{receiver: x}", "no receiver is called 'x'"), ("{receiver: a}", "leads in a circle, a → a"),
            ("{receiver: b}", "leads in a circle, a → b → a"), ("{receiver: none}", "'none' has no channels"),
            ("{receiver: c, after: 0s}", "must be above 0 without 'failures'"),
            ("{receiver: c, failures: 0}", "must be 1 or more"),
            ("{after: 1m}", "receiver"), ("{receiver: c, befor: 1m}", "befor"),
        ])
    func settingsRefused(fallback: String, message: String) {
        let text = """
            route: {receiver: a}
            receivers:
            - {name: a, webhook_configs: [{url: "http://a/"}], fallback: \(fallback)}
            - {name: b, webhook_configs: [{url: "http://b/"}], fallback: {receiver: a}}
            - {name: c, webhook_configs: [{url: "http://c/"}]}
            - {name: none}
            """
        do {
            _ = try settings(text)
            Issue.record("accepted: \(fallback)")
        } catch {
            #expect("\(error)".hasPrefix("vedette.yaml:3:") && "\(error)".contains(message), "\(error)")
        }
    }

    @Test("a fallback of a receiver without channels is refused; the defaults are 5 minutes and no count")
    func settingsDefaults() throws {
        let text = """
            route: {receiver: a}
            receivers:
            - {name: a, fallback: {receiver: c}}
            - {name: c, webhook_configs: [{url: "http://c/"}]}
            """
        #expect(throws: SettingsError.self) { try settings(text) }
        let good = try settings(text.replacing("a, fall", with: "a, webhook_configs: [{url: 'http://a/'}], fall"))
        #expect(good.receivers["a"]?.fallback?.after == 300_000 && good.receivers["a"]?.fallback?.failures == nil)
    }

    @Test("by failures alone: no time is waited for", arguments: ["failures: 2", "failures: 2, after: 0s"])
    func failuresAlone(_ options: String) throws {
        let text = """
            route: {receiver: a, group_wait: 1s}
            receivers:
            - {name: a, webhook_configs: [{url: "http://a/"}], fallback: {receiver: c, \(options)}}
            - {name: c, webhook_configs: [{url: "http://c/"}]}
            """
        let fallback = try #require(try settings(text).receivers["a"]?.fallback)
        #expect(fallback.after == nil && fallback.failures == 2)
        let slow = Behaviour(["http://a/": .response(HTTPResponse(status: 200), after: 900_000)])
        let patient = try World(text, slow.answer)
        patient.fire("A")
        patient.executor.run(for: 1_000_000)
        #expect(told(patient, "c", name: "A").isEmpty, "slow is not failed")
        let behaviour = Behaviour(["http://a/": Self.down])
        let world = try World(text, behaviour.answer)
        world.fire("A")
        world.executor.run(for: 1_100)
        #expect(told(world, "c").isEmpty)
        world.executor.run(for: 2_000)
        #expect(told(world, "c") == ["A firing"])
    }
}
