import Basics
import Foundation
import Model
import Query
import Testing
import TestSupport

/// What nobody means well: each is refused with its place, soon, and leaves nothing behind.
@Suite(.serialized) struct HostileTests {
    private static func many(_ text: String, _ count: Int) -> String { String(repeating: text, count: count) }

    private static let refusals: [(String, String)] = [
        (
            many("a + ", 260_000) + "a",
            "1:524289: parse error: the query is 1040001 bytes long where 524288 are allowed"
        ),
        ("\n\"" + many("x", 1 << 20), "2:524288: parse error: the query is 1048578 bytes long"),
        (
            many("(", 10_000) + "a" + many(")", 10_000),
            "1:200: parse error: the expression is nested more than 200 deep"
        ),
        (many("-", 10_000) + "a", "1:200: parse error: the expression is nested more than 200 deep"),
        (
            many("abs(", 10_000) + "a" + many(")", 10_000),
            "1:797: parse error: the expression is nested more than 200"
        ),
        (many("sum(", 10_000), "1:797: parse error: the expression is nested more than 200 deep"),
        ("a" + many("[5m:1m]", 50_000), "1:1: parse error: subquery is only allowed on instant vector"),
        ("a" + many(" or a", 50_000), "more than 1000 operators follow each other"),
        ("a" + many("^a", 50_000), "the expression is nested more than 200 deep"),
        ("a offset " + many("(", 10_000), "the expression is nested more than 200 deep"),
        ("a{" + many("x=\"y\",", 50_000), "1:300003: parse error: unexpected end of input in label matching"),
        ("a{x=~\"" + many("(", 200_000) + "\"}", "1:6: parse error: bad regular expression"),
        ("a{x=~\"((a{100}){100}){100}\"}", "1:6: parse error: bad regular expression"),
        (many("9", 500_000) + "x", "1:1: parse error: bad number or duration syntax"),
        (many("f", 500_000) + "(a)", "1:1: parse error: unknown function with name"),
        (many("\"x\"", 100_000), "1:4: parse error: unexpected string"),
        ("a @ " + many("1", 400), "1:5: parse error: bad number or duration syntax"),
        ("a @ " + many("1", 300), "1:5: parse error: timestamp out of bounds for @ modifier"),
        ("a[" + many("1", 300) + "y]", "1:3: parse error: bad number or duration syntax"),
    ]

    @Test(
        "hostile queries are refused with their place, and the text of the refusal is short",
        arguments: refusals.indices)
    func refused(number: Int) {
        let (text, expected) = HostileTests.refusals[number]
        let error = #expect(throws: ParseError.self) { try Query.Expression(parsing: text) }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
        #expect((error?.description.utf8.count ?? 0) < 700)
    }

    @Test(
        "what parses and cannot be paid for is refused when it is evaluated",
        arguments: [
            (
                "label_replace(m, 'a', '$1', 'b', '((a{100}){100}){100}')",
                "invalid regular expression in label_replace()"
            ),
            ("vector(1)[100y:1s]", "a subquery has 3153600000 steps where 1000000 are allowed"),
            ("count_values('v', m * on (n) group_left sum by (n) (rate(m[1m:1ms])))", "would load too many samples"),
        ])
    func unpayable(text: String, expected: String) {
        let store = MemorySource()
        for number in 0..<100 { store.add(["__name__": "m", "n": "\(number)"], at(0), Double(number)) }
        var limits = QueryLimits()
        limits.samples = 1_000_000
        let engine = QueryEngine(source: store, limits: limits)
        let error = #expect(throws: QueryError.self) { try engine.instant(text, at: at(60)) }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
    }

    @Test("an expression that takes others for ever takes its text once") func patterns() throws {
        let store = MemorySource()
        for end in ["", "!"] { store.add(["__name__": "m", "n": HostileTests.many("a", 5000) + end], at(0), 1) }
        let engine = QueryEngine(source: store)
        for text in ["(a*)*", "(a|a)*", "(a|a?)+", "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)a"] {
            #expect(try engine.instant("m{n=~'\(text)'}", at: at(0)).value.samples.count == 1, "\(text)")
        }
        let replaced = try engine.instant("label_replace(m, 'n', '$2', 'n', '((a+)+)')", at: at(0)).value.samples
        #expect(Set(replaced.map { $0.labels["n"].count }) == [5000, 5001])
    }

    @Test("a century of seconds is refused") func century() {
        let engine = QueryEngine(source: MemorySource())
        let error = #expect(throws: QueryError.self) {
            try engine.range("m", from: at(0), through: at(3_155_760_000), step: 1000)
        }
        #expect(error?.description.hasPrefix("exceeded maximum resolution of 11,000 points per timeseries") == true)
    }

    @Test("a value for every step and series makes no table of all of them") func values() {
        let store = MemorySource()
        for number in 0..<200 {
            for sample in 0..<200 {
                store.add(["__name__": "m", "n": "\(number)"], at(Double(sample)), Double(number * 1000 + sample))
            }
        }
        var limits = QueryLimits()
        limits.samples = 500_000
        let engine = QueryEngine(source: store, limits: limits)
        let error = #expect(throws: QueryError.self) {
            try engine.range("count_values('v', m)", from: at(0), through: at(199), step: 1000)
        }
        #expect(error?.description.contains("where 500000 are allowed") == true)
    }

    @Test("a label given twice is no series") func labels() {
        let error = #expect(throws: ParseError.self) { try SeriesNotation.labels(parsing: #"m{a="1",a="2"}"#) }
        #expect(error?.message == #"label "a" is given twice in m{a="1",a="2"}"#)
    }

    @Test("refusals leave the memory as it was") func memory() throws {
        let texts = [
            HostileTests.many("a + ", 260_000), HostileTests.many("(", 100_000), HostileTests.many("abs(", 100_000),
            "a" + HostileTests.many(" or a", 100_000), "a{x=~\"" + HostileTests.many("(a|b?)*", 60_000) + "\"}",
            HostileTests.many("\"x\"", 100_000),
        ]
        func resident() throws -> Int {
            let status = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            return (Int(status.split(separator: " ")[1]) ?? 0) * 4096
        }
        for text in texts { _ = try? Query.Expression(parsing: text) }
        let before = try resident()
        for _ in 0..<4 { for text in texts { _ = try? Query.Expression(parsing: text) } }
        // Other suites run beside this one; what leaked would be more.
        #expect(try resident() - before < 150 << 20)
    }
}
