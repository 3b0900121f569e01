import Basics
import Model
import Notifying
import TestSupport
import Testing

@testable import Web

@Suite struct NotifyingAPITests {
    private let config = """
        inhibit_rules: [{source_matchers: [alertname=Source], target_matchers: [alertname=Target], equal: [site]}]
        route:
          receiver: chat
          group_by: [alertname]
          routes:
          - {receiver: call, matchers: [severity=critical]}
        receivers:
        - {name: chat, webhook_configs: [{url: "http://chat/"}]}
        - name: call
        """

    private func bench() async throws -> WebBench {
        let bench = try await WebBench(notifying: config)
        let alerts: [JSON] = ["Source", "Target"].map { name in
            [
                "labels": ["alertname": .string(name), "site": "a", "severity": "warning"],
                "annotations": ["summary": "<b>&"],
            ]
        }
        #expect(await bench.post("/api/v2/alerts", .array(alerts)).status == 200)
        return bench
    }

    @Test("why an alert is not told: each stage, the way through the routes, what is next") func explain() async throws
    {
        let bench = try await bench()
        let silence: JSON = [
            "matchers": [["name": "site", "value": "a", "isRegex": false]], "startsAt": "1970-01-01T00:00:00Z",
            "endsAt": "1970-01-01T05:00:00Z", "createdBy": "ann", "comment": "moving",
        ]
        #expect(await bench.post("/api/v2/silences", silence).status == 200)
        let target: Labels = ["alertname": "Target", "site": "a", "severity": "warning"]
        let answer = try await bench.json(
            "/api/vedette/v1/alerts/explain", [("fingerprint", target.fingerprintText)])
        let data = try #require(answer.body["data"])
        let routes = data["routes"]?.array ?? []
        #expect(routes.map { $0["takes"]?.bool } == [true, false])
        #expect(routes[1]["why"] == "severity=\"critical\" does not hold: severity is \"warning\"")
        let group = try #require(data["groups"]?[0])
        let stages = group["stages"]?.array ?? []
        let held = stages.filter { $0["passes"] == false }.map { $0["stage"]?.string }
        #expect(held == ["inhibition", "silences"])
        #expect(stages[3]["why"]?.string?.hasSuffix("by ann until 1970-01-01T05:00:00.000Z: moving") == true)
        #expect(group["verdict"] == "not told while that holds")
        #expect(data["channels"]?["chat"] == ["chat/webhook/0"] && data["rule"] == .null)
        let unknown = try await bench.json("/api/vedette/v1/alerts/explain", [("fingerprint", "00")])
        #expect(unknown.status == 404)
    }

    @Test("pages show what others sent, silences and the ledger, with nothing of it as markup") func pages()
        async throws
    {
        let bench = try await bench()
        let first = String(decoding: await bench.answer("/").body, as: UTF8.self)
        #expect(first.contains("Alerts of others") && first.contains("&lt;b&gt;&amp;") && !first.contains("<b>&"))
        let ledger = String(decoding: await bench.answer("/pages").body, as: UTF8.self)
        #expect(ledger.contains("Given up") && ledger.contains("No page has gone out yet."))
    }

    @Test("dead letters: what is not there cannot be sent again; the first API is gone") func refusals() async throws {
        let bench = try await bench()
        let path = "/api/vedette/v1/pages/dead"
        #expect(await bench.answer(path, [("action", "replay"), ("id", "x")], method: "POST").status == 404)
        #expect(await bench.answer(path, [("action", "burn")], method: "POST").status == 400)
        let all = await bench.answer(path, [("action", "discard")], method: "POST")
        #expect(try JSON(parsing: all.body)["data"]?["count"] == 0)
        #expect(await bench.answer("/api/v1/alerts", method: "POST").status == 410)
    }

    @Test("peers exchange over HTTP, and amtool sees them") func peers() async throws {
        let path = "/api/vedette/v1/peers/exchange"
        let message: JSON = [
            "peer": "b", "epoch": "1", "sequence": 1, "more": false, "known": nil, "now": 600_000, "told": [],
            "silences": [
                [
                    "id": "5e7e0000-0000-4000-8000-000000000001",
                    "silence": [
                        "matchers": [["a", "=", "b"]], "startsAt": 0, "endsAt": 9_000_000, "createdBy": "me",
                        "comment": "", "annotations": .object([]), "updatedAt": 1,
                    ],
                ], ["id": "all", "silence": ["matchers": [["a", "=~", ".*"]]]],
            ],
        ]
        #expect(await (try WebBench()).post(path, message).status == 404)
        var settings = PeerSettings(
            name: "c", members: ["a", "b"].map { PeerMember(name: $0, url: "http://\($0):1") })
        settings.timeout = 1000
        let bench = try await WebBench(peers: settings)
        let waiting = try JSON(parsing: await bench.answer("/api/v2/status").body)["cluster"]
        #expect(waiting?["status"] == "settling" && waiting?["name"] == "c" && waiting?["peers"]?.array?.count == 1)
        let answer = await bench.post(path, message)
        #expect(answer.status == 200)
        let said = try JSON(parsing: answer.body)
        #expect(said["peer"] == "c" && said["known"]?["sequence"] == 1)
        #expect(try JSON(parsing: await bench.answer("/api/v2/silences").body).array?.count == 1)
        bench.clock.advance(by: 900)
        _ = await bench.post(path, message)
        bench.clock.advance(by: 900)
        let cluster = try JSON(parsing: await bench.answer("/api/v2/status").body)["cluster"]
        #expect(
            cluster?["status"] == "ready" && cluster?["peers"]?.array?.compactMap { $0["name"]?.string } == ["c", "b"])
        for (name, status) in [("c", 409), ("z", 403)] {
            let other = JSON.object(
                (message.members ?? []).map { $0.name == "peer" ? .init("peer", .string(name)) : $0 })
            #expect(await bench.post(path, other).status == status)
        }
        #expect(await bench.post(path, ["peer": "b"]).status == 400)
        var text = APIRequest(method: "POST", path: path, body: message.serialized())
        text.contentType = "text/plain"
        #expect(await bench.api.answer(text).status == 415)
    }

    @Test("the record holds what fires and what is over") func history() async throws {
        let bench = try await bench()
        let data = try await bench.json("/api/vedette/v1/alerts/history").body["data"]
        #expect(data?["alerts"]?.array?.compactMap { $0["labels"]?["alertname"]?.string } == ["Source", "Target"])
    }
}
