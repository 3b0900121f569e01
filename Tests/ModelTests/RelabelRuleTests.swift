import Model
import Testing

@Suite struct RelabelRuleTests {
    private static func rule(
        _ action: RelabelRule.Action = .replace, _ source: [String] = [], regex: String = "(.*)", modulus: UInt64 = 0,
        target: String = "", to replacement: String = "$1", separator: String = ";"
    ) throws -> RelabelRule {
        RelabelRule(
            action, sourceLabels: source, separator: separator, regex: try Pattern(regex), modulus: modulus,
            targetLabel: target, replacement: replacement)
    }

    private func apply(_ rules: [RelabelRule], to labels: Labels) -> Labels? {
        var result = labels.sorted
        return RelabelRule.apply(rules, to: &result) ? Labels(result) : nil
    }

    @Test("each action, as Prometheus' own cases have it") func actions() throws {
        let labels: Labels = ["a": "foo", "b": "bar", "c": "baz"]
        let cases: [(RelabelRule, Labels?)] = [
            (
                try Self.rule(.replace, ["a"], regex: "f(.*)", target: "d", to: "ch${1}-ch${1}"),
                ["a": "foo", "b": "bar", "c": "baz", "d": "choo-choo"]
            ),
            (
                try Self.rule(.replace, ["a", "b"], regex: "f(.*);(.*)r", target: "a", to: "b${1}${2}m"),
                ["a": "boobam", "b": "bar", "c": "baz"]
            ),
            (try Self.rule(.replace, ["a"], regex: ".*o", target: "b", to: ""), ["a": "foo", "c": "baz"]),
            (try Self.rule(.replace, ["a"], regex: "x", target: "b", to: "y"), labels),
            (
                try Self.rule(.replace, ["a"], regex: "(f)(oo)", target: "${2}", to: "${1}"),
                ["a": "foo", "b": "bar", "c": "baz", "oo": "f"]
            ),
            (try Self.rule(.replace, ["x"], regex: "(.*)", target: "${1}", to: "y"), labels),
            (try Self.rule(.drop, ["a"], regex: ".*o.*"), nil), (try Self.rule(.drop, ["a"], regex: "o"), labels),
            (try Self.rule(.keep, ["a"], regex: "f.*"), labels), (try Self.rule(.keep, ["a"], regex: "f"), nil),
            (try Self.rule(.keepequal, ["a"], target: "b"), nil), (try Self.rule(.dropequal, ["a"], target: "a"), nil),
            (try Self.rule(.keepequal, ["x"], target: "y"), labels),
            (
                try Self.rule(.hashmod, ["c"], modulus: 1000, target: "d"),
                ["a": "foo", "b": "bar", "c": "baz", "d": "976"]
            ),
            (
                try Self.rule(.labelmap, regex: "(b|c)", to: "x_$1"),
                ["a": "foo", "b": "bar", "c": "baz", "x_b": "bar", "x_c": "baz"]
            ),
            (try Self.rule(.labeldrop, regex: "a|b"), ["c": "baz"]),
            (try Self.rule(.labelkeep, regex: "a"), ["a": "foo"]),
            (
                try Self.rule(.uppercase, ["a", "b"], target: "d", separator: "ß-"),
                ["a": "foo", "b": "bar", "c": "baz", "d": "FOOß-BAR"]
            ),
            (try Self.rule(.lowercase, ["a"], target: "b"), ["a": "foo", "b": "foo", "c": "baz"]),
        ]
        for (rule, expected) in cases {
            #expect(apply([rule], to: labels) == expected, "\(rule.action) \(rule.regex.text)")
        }
    }

    @Test("the dot matches a line's end, an unknown group is nothing, a name may be any under UTF-8") func traps()
        throws
    {
        let rule = try Self.rule(.replace, ["a"], regex: "x.(y)", target: "my.label", to: "$1$2")
        #expect(apply([rule], to: ["a": "x\ny"]) == ["a": "x\ny", "my.label": "y"])
        var legacy = rule
        legacy.isLegacy = true
        #expect(apply([legacy], to: ["a": "x\ny"]) == ["a": "x\ny"])
        #expect(legacy != rule)
    }

    @Test("steps show what each rule made, up to the one that drops") func steps() throws {
        let rules = [
            try Self.rule(.replace, ["a"], target: "b"), try Self.rule(.drop, ["b"], regex: "1"),
            try Self.rule(.labeldrop, regex: "a"),
        ]
        let steps = RelabelRule.steps(of: rules, from: ["a": "1"])
        #expect(steps.map(\.isKept) == [true, false])
        #expect(steps[0].output == ["a": "1", "b": "1"])
        #expect(RelabelRule.steps(of: rules, from: ["a": "2"]).last?.output == ["b": "2"])
    }
}
