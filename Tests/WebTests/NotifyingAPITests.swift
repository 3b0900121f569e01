import Basics
import Model
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

    @Test("the record holds what fires and what is over") func history() async throws {
        let bench = try await bench()
        let data = try await bench.json("/api/vedette/v1/alerts/history").body["data"]
        #expect(data?["alerts"]?.array?.compactMap { $0["labels"]?["alertname"]?.string } == ["Source", "Target"])
    }
}
