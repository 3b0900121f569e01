import Basics
import Settings
import Testing

private func map(_ text: String) throws(SettingsError) -> SettingsMap {
    try SettingsDocument(text, file: "conf/a.yaml").map()
}

@Suite struct SettingsMapTests {
    @Test("every kind of value is read, with its default where it is not given") func kinds() throws {
        let settings = try map(
            """
            name: 5
            count: 0x10
            ratio: 1.5
            quoted: "yes"
            on: yes
            wait: 1h30m
            size: 512KiB
            none: ~
            list: [a, 'b', 3]
            labels: {severity: critical, team: ""}
            limit: .inf
            """)
        #expect(try settings.take("name", default: "") == "5")
        #expect(try settings.take("count", default: 0) == 16)
        #expect(try settings.take("ratio", default: 0.0) == 1.5)
        #expect(try settings.require("quoted") as String == "yes")
        #expect(try settings.take("on", default: false))
        #expect(try settings.takeDuration("wait", default: 0) == 5_400_000)
        #expect(try settings.takeBytes("size", default: 0) == 524_288)
        #expect(try settings.take("none", default: "default") == "default")
        #expect(try settings.take("list", default: [String]()) == ["a", "b", "3"])
        #expect(try settings.take("labels", default: [String: String]()) == ["severity": "critical", "team": ""])
        #expect(try settings.take("limit", default: 0.0) == .infinity)
        #expect(try settings.takeDuration("absent", default: 7) == 7)
        try settings.finish()
    }

    @Test("merged maps give what the map itself does not say") func merges() throws {
        let settings = try map("base: &b {a: 1, b: 2}\nall:\n  <<: *b\n  b: 3\n")
        let all = try #require(try settings.takeMap("all"))
        #expect(try all.take("a", default: 0) == 1)
        #expect(try all.take("b", default: 0) == 3)
        try all.finish()
    }

    @Test(
        "a mistake names place and cure",
        arguments: [
            ("a: [1]", "conf/a.yaml:1:4: a: expected a whole number, found a list"),
            ("a: 'x'", "conf/a.yaml:1:4: a: expected a whole number, found a quoted text"),
            ("b: 1x", "conf/a.yaml:1:4: b: '1x' is no duration; write it as 30s, 5m or 1h30m"),
            ("l:\n  - 1\n  - ~", "conf/a.yaml:3:5: l: an empty item; remove it or give it a value"),
            ("l: x", "conf/a.yaml:1:4: l: expected a list, found 'x'"),
            ("s: 10mb", "conf/a.yaml:1:4: s: '10mb' is no size; write it as 512KiB, 10MB or 2GB"),
            ("c: gold", "conf/a.yaml:1:4: c: 'gold' is not one of 'red', 'blue'"),
            ("m: 3", "conf/a.yaml:1:4: m: expected a map, found '3'"),
            (
                "x_file: y\nx: z",
                "conf/a.yaml:1:9: x_file: at most one of x & x_file must be configured; remove one of the two"
            ),
            ("x: [secret]", "conf/a.yaml:1:4: x: expected a secret text"),
            ("old: 1", "conf/a.yaml:1:1: old is not offered; use new"),
            ("\nlabel: {}\n\nlables: {}", "conf/a.yaml:4:1: unknown key 'lables'; did you mean 'label'?"),
        ])
    func mistakes(text: String, message: String) throws {
        enum Colour: String, CaseIterable { case red, blue }
        let error = #expect(throws: SettingsError.self) {
            let settings = try map(text)
            _ = try settings.take("a", default: 0)
            _ = try settings.takeDuration("b")
            _ = try settings.take("l", default: [Int]())
            _ = try settings.takeBytes("s", default: 0)
            _ = try settings.take("c", default: Colour.red)
            _ = try settings.takeMap("m")
            _ = try settings.takeMap("label")
            _ = try settings.takeSecret("x")
            try settings.refuse(["old"], "use new")
            try settings.finish()
        }
        #expect(error?.description == message)
    }

    @Test("a required key that is missing is named") func missing() throws {
        let error = #expect(throws: SettingsError.self) { try map("  a: 1").require("b") as String }
        #expect(error?.description == "conf/a.yaml:1:3: b is missing; it must be given")
    }

    @Test("a secret is never printed, and a file's is read at use") func secrets() throws {
        let settings = try map("a: hunter2\nb_file: sub/key\nc_file: /etc/key")
        let (a, b, c) = (
            try #require(try settings.takeSecret("a")), try #require(try settings.takeSecret("b")),
            try #require(try settings.takeSecret("c"))
        )
        for text in ["\(a)", String(reflecting: a), "\([a])", "\(b)"] {
            #expect(!text.contains("hunter2") && text.contains("<secret>"))
        }
        #expect(Mirror(reflecting: a).children.isEmpty)
        #expect(b.path == "conf/sub/key" && c.path == "/etc/key")
        #expect(try a.reveal { _ in [] } == "hunter2")
        #expect(try b.reveal { Array(" \($0)\n".utf8) } == "conf/sub/key")
    }
}
