import Model
import Testing

@Suite struct LabelsTests {
    @Test("Alertmanager's fingerprint and Prometheus' text form")
    func forms() {
        let labels: Labels = ["b": "2", "__name__": "up", "a": "1\"", "empty": ""]
        #expect(labels.description == "up{a=\"1\\\"\", b=\"2\"}")
        #expect(labels.withoutName.count == 2)
        #expect(Labels().fingerprintText == "cbf29ce484222325")
    }

    @Test("setting and removing keeps the order", arguments: [("a", "9"), ("c", ""), ("z", "1"), ("0", "1")])
    func set(name: String, value: String) {
        var labels: Labels = ["a": "1", "c": "3", "e": "5"]
        labels[name] = value
        #expect(labels[name] == value)
        #expect(labels.sorted == labels.sorted.sorted())
    }
}

@Suite struct PatternTests {
    @Test(
        "anchored on both ends, the dot matches a line end",
        arguments: [
            ("a.b", "a\nb", true), ("a", "ab", false), ("a|b", "b", true), ("", "", true), ("(?i)X", "x", true),
        ])
    func anchored(pattern: String, text: String, expected: Bool) throws {
        #expect(try Pattern(pattern).matches(text) == expected)
    }

    @Test(
        "a bad expression says why, in what was written",
        arguments: [
            ("a(", #"bad regular expression "a(": missing ): a("#),
            ("a)", #"bad regular expression "a)": unexpected ): a)"#),
            ("a)|(b", #"bad regular expression "a)|(b": unexpected ): a)|(b"#),
            ("[z-a]", #"bad regular expression "[z-a]": invalid character class range: z-a"#),
        ])
    func bad(pattern: String, message: String) {
        #expect(#expect(throws: PatternError.self) { try Pattern(pattern) }?.description == message)
        #expect(#expect(throws: PatternError.self) { try SearchPattern(pattern) }?.description == message)
    }

    @Test("replacement as in Go") func replace() throws {
        #expect(try Pattern("(.*)-(?P<n>.*)").expand("$n:${1}x$$", matching: "a-b") == "b:ax$")
        #expect(try SearchPattern("a*").replaceAll(in: "baac", with: "X") == "XbXcX")
    }
}
