import Alerting
import Basics
import Model
import Testing
import Transport

@testable import Notifying

/// Buckets of tokens, and receivers that misbehave in ways of their own.
@Suite struct PathFaultTests {
    private func page(_ id: String, _ severity: String) -> Alerting.Notification {
        notification([alert("A", ["severity": severity])], id: id, group: id)
    }

    /// An outbox whose channels `x` and `y`, of two receivers, share a destination that takes one message a second.
    private func shared(burst: Int = 1) -> Outbox {
        var outbox = Outbox()
        let paths = ["x", "y"].map { name in
            var path = Outbox.Path(receiver: name, destination: "d")
            path.rate = SendingRate(burst: burst, interval: 1000)
            return (name, path)
        }
        _ = outbox.replace(Dictionary(uniqueKeysWithValues: paths), now: at(0))
        return outbox
    }

    /// Takes what is due and lets it arrive at once.
    private func take(_ outbox: inout Outbox, _ now: Timestamp) -> [String] {
        let taken = outbox.takeDue(now: now).entries.map(\.id)
        for id in taken { _ = outbox.finish(id, .accepted, jitter: 0, now: now) }
        return taken
    }

    @Test("two receivers share their destination's bucket, one message a second; the worst severity goes first")
    func sharedBucket() {
        var outbox = shared()
        for (index, severity) in ["info", "warning", "critical"].enumerated() {
            _ = outbox.add(page("\(index)", severity), through: ["x", "y"], now: at(0))
        }
        var told: [String] = []
        for second in 0..<6 {
            let moment = at(Double(second))
            #expect(second == 0 || outbox.nextDue == moment)
            let taken = take(&outbox, moment)
            #expect(taken.count == 1)
            told += taken
            #expect(take(&outbox, moment + 999).isEmpty, "the bucket is empty")
        }
        #expect(told == ["2/x", "2/y", "1/x", "1/y", "0/x", "0/y"])
        #expect(outbox.entries.isEmpty)
    }

    @Test("a page that comes while the bucket is empty is due when it has a token again, before older, lesser ones")
    func nextToken() {
        var outbox = shared(burst: 2)
        for id in ["1", "2", "3"] { _ = outbox.add(page(id, "info"), through: ["x"], now: at(0)) }
        #expect(take(&outbox, at(0)) == ["1/x", "2/x"])
        _ = outbox.add(page("4", "critical"), through: ["y"], now: at(0.5))
        #expect(take(&outbox, at(0.5)).isEmpty)
        #expect(outbox.nextDue == at(1))
        #expect(take(&outbox, at(1)) == ["4/y"])
        #expect(outbox.nextDue == at(2))
        #expect(take(&outbox, at(2)) == ["3/x"])
        #expect(take(&outbox, at(60)).isEmpty)
        _ = outbox.add(page("5", "info"), through: ["x", "y"], now: at(60))
        #expect(take(&outbox, at(60)) == ["5/x", "5/y"], "the bucket is full again")
    }

    /// What libcurl gives for it, what the ledger says of it, and whether the page is given up at once.
    struct Fault: Sendable, CustomTestStringConvertible {
        var name: String
        var answer: FakeTransport.Answer
        var outcome: Delivery.Outcome
        var message: String
        var testDescription: String { name }
    }
    private static let table = [
        // A post's redirect is never followed: its answer stands.
        Fault(
            name: "redirects in circles",
            answer: .response(HTTPResponse(status: 302, headers: [HTTPHeader("location", "http://a/")]), after: 10),
            outcome: .refused, message: "the answer is 302"),
        Fault(
            name: "refuses TLS",
            answer: .failure(.unreachable("TLS connect error: alert handshake failure"), after: 10),
            outcome: .failed, message: "alert handshake failure"),
        Fault(
            name: "hangs after the body",
            answer: .failure(.interrupted("timed out", requestWasSent: true), after: 10_000),
            outcome: .unknown, message: "timed out"),
        Fault(
            name: "answers 200 with an error inside",
            answer: .response(
                HTTPResponse(status: 200, body: Array(#"{"ok":false,"error":"channel_not_found"}"#.utf8)), after: 10),
            outcome: .refused, message: "channel_not_found"),
    ]

    @Test("each ends in a stated outcome and an alert by another receiver; others are told on time", arguments: table)
    func outcome(_ fault: Fault) throws {
        let text = """
            route: {receiver: a, group_by: [alertname], group_wait: 1s, routes: [
              {matchers: [component=vedette], receiver: good}, {matchers: [alertname=Good], receiver: good}]}
            receivers:
            - {name: a, slack_configs: [{api_url: "http://a/", channel: c}]}
            - {name: good, webhook_configs: [{url: "http://good/"}]}
            """
        let world = try World(text) { $0.url.hasPrefix("http://a/") ? fault.answer : ok }
        world.fire("A")
        world.executor.run(for: 60_000)
        world.fire("Good")
        world.executor.run(for: 1_050)
        func told() -> [String] {
            world.transport.requests.filter { $0.url == "http://good/" }.flatMap { request in
                (request.json?["alerts"]?.array ?? []).compactMap { $0["labels"]?["alertname"]?.string }
            }
        }
        #expect(told().last == "Good")
        world.executor.run(for: 200_000)
        let lines = try #require(world.ask { await $0.snapshot().ledger }).filter {
            $0.receiver == "a" && $0.outcome.isTry
        }
        #expect(
            !lines.isEmpty && lines.allSatisfy { $0.outcome == fault.outcome && $0.message.contains(fault.message) })
        let name = fault.outcome == .refused ? "VedettePageRefused" : "VedettePagesNotDelivered"
        #expect(told().contains(name))
        let page = world.transport.requests.first {
            $0.json?["alerts"]?.array?.first?["labels"]?["alertname"]?.string == name
        }
        #expect(
            page?.json?["alerts"]?.array?.first?["annotations"]?["runbook_url"]?.string == "runbooks/\(name).md")
    }
}
