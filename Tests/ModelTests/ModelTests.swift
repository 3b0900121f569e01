import Basics
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

@Suite struct NormalFormTests {
    /// "é" as one character and as two: to Prometheus two texts.
    private let one = "caf\u{E9}", two = "cafe\u{301}"

    @Test("values that are written otherwise are other labels") func labels() {
        let (first, second): (Labels, Labels) = (["a": one], ["a": two])
        #expect(first != second && Set([first, second, ["a": one]]).count == 2)
        #expect((first < second) != (second < first))
        #expect(first.sorted[0] != second.sorted[0] && first.fingerprint != second.fingerprint)
    }

    @Test("names that are written otherwise are other labels") func names() {
        var labels = Labels([Label(one, "1"), Label(two, "2")])
        #expect(labels.count == 2 && labels[one] == "1" && labels[two] == "2")
        #expect(labels.keeping([one]).sorted.map(\.value) == ["1"] && labels.dropping([one])[two] == "2")
        #expect(Labels(json: JSON(labels)) == labels && labels.dictionary.count == 1)
        labels[one] = ""
        #expect(labels.count == 1 && labels[two] == "2")
    }

    @Test("matchers, relabelling and a store in memory tell them apart") func matchers() throws {
        #expect(!Matcher("a", equals: one).matches(two))
        #expect(try Matcher("a", .notEqual, one).matches(two))
        #expect(try !Matcher("a", .matches, "x|\(one)").matches(two))
        #expect(try Matcher("a", .matches, "x|\(one)|y").matches(one))
        #expect(Matcher("a", equals: one) != Matcher("a", equals: two))
        #expect(Matcher(one, equals: "") != Matcher(two, equals: ""))
        let store = MemorySource()
        for (value, text) in [(1.0, one), (2, two)] {
            store.add(["__name__": text, "a": text], Timestamp(milliseconds: 1), value)
        }
        let (from, to) = (Timestamp(milliseconds: 0), Timestamp(milliseconds: 2))
        #expect(try store.labelValues("a", [], from: from, through: to).count == 2)
        let found = try store.select(
            [Matcher("__name__", equals: two)], after: from, through: to, reading: .all, limits: ReadLimits())
        #expect(found.map(\.values) == [[2]])
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
