import Basics
import Settings
import Testing

@Suite struct SettingsDocumentTests {
    @Test(
        "what is no single strict document is refused with its place",
        arguments: [
            ("a: 1\nb: 2\na: 3", "x.yaml:3:1: the key 'a' is already given at x.yaml:1:1; keep one"),
            ("a: 1\n---\nb: 1", "x.yaml:2:1: a second document begins; put it in a file of its own"),
            ("a: *nowhere", "x.yaml:1:4: there is no anchor &nowhere above this alias; define it first"),
            ("a: &x [*x]", "x.yaml:1:8: there is no anchor &x above this alias; define it first"),
            ("? [a]\n: b", "x.yaml:1:3: a key must be a text, not a list or a map; quote it if it begins with { or ["),
            ("é: ü: 1", "x.yaml:1:7: not valid YAML: mapping values are not allowed in this context; "),
            ("a:\n\t- 1", "x.yaml:2:1: not valid YAML: while scanning for the next token: found character"),
            ("a: [1", "x.yaml:1:6: not valid YAML: while parsing a flow sequence: did not find expected ',' or ']'"),
            ("- 1", "x.yaml:1:1: expected a map, found a list"),
        ])
    func refused(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try SettingsDocument(text, file: "x.yaml").map() }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
    }

    @Test("bytes that are no UTF-8 are refused where they stand") func notUTF8() {
        let error = #expect(throws: SettingsError.self) {
            try SettingsDocument([0x61, 0x3A, 0x20, 0x31, 0x0A, 0xC3, 0x28], file: "x.yaml")
        }
        #expect(error?.location == SourceLocation(file: "x.yaml", line: 2, column: 2))
        #expect(error?.message.hasSuffix("save the file as UTF-8 text") == true)
    }

    @Test("an empty file is an empty map", arguments: ["", "# nothing\n", "---\n", "~", "\u{FEFF}"])
    func empty(text: String) throws {
        #expect(try SettingsDocument(text, file: "x.yaml").map().keys.isEmpty)
    }

    @Test("exploding anchors are refused at once, in values and in keys", arguments: [false, true])
    func explodingAnchors(inKey: Bool) {
        var text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
        for level in 1..<40 {
            text += "a\(level): &a\(level) [\(Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", "))]\n"
            if inKey, level == 4 { text += "? *a4\n: x\n" }
        }
        let error = #expect(throws: SettingsError.self) { try SettingsDocument(text, file: "x.yaml") }
        #expect(error?.location.line == 6)
    }

    @Test("deep nesting is refused", arguments: ["[", "- ", "{a: ", "? "])
    func nesting(opening: String) {
        let text = String(repeating: opening, count: 100_000)
        let error = #expect(throws: SettingsError.self) { try SettingsDocument(text, file: "x.yaml") }
        #expect(error?.location.line == 1)
    }

    @Test("a file past the limit is refused unread") func tooLong() {
        var limits = SettingsLimits()
        limits.bytes = 10
        let error = #expect(throws: SettingsError.self) {
            try SettingsDocument("a: 123456789", file: "x.yaml", limits: limits)
        }
        #expect(error?.description == "x.yaml: the file is longer than 10 bytes; split it")
    }
}

@Suite struct SettingsValueTests {
    @Test(
        "a place within a text is found in the file",
        arguments: [
            ("e: rate(x)", 1, 6, "1:9"),
            ("e: 'a + b'", 1, 5, "1:9"),
            (#"e: "a\"b + c""#, 1, 5, "1:10"),
            ("e: |\n    sum(\n      up)\n", 1, 1, "2:5"),
            ("e: |\n    sum(\n      up)\n", 2, 3, "3:7"),
            ("e: |-  # why\n  a\n\n  b\n", 3, 1, "4:3"),
            ("e: >\n  aa\n  bb\n", 1, 4, "3:3"),
            ("e: aa\n   bb\n", 1, 5, "2:5"),
            ("e: ab", 1, 3, "1:6"),
        ])
    func places(text: String, line: Int, column: Int, expected: String) throws {
        let value: SettingsValue = try SettingsDocument(text, file: "x.yaml").map().require("e")
        #expect(value.location(line: line, column: column).description == "x.yaml:\(expected)")
    }
}
