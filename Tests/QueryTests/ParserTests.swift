import Model
import Query
import TestSupport
import Testing

@Suite struct ParserTests {
    @Test(
        "canonical text, as Prometheus prints it",
        arguments: [
            ("1", "1"), ("-1", "-1"), ("1e6", "1000000"), ("0x1F", "31"), ("1_000", "1000"), ("5m", "5m"),
            ("-5m", "-5m"),
            ("inF", "+Inf"), ("'a\"b'", #""a\"b""#), ("`a\\b`", #""a\\b""#), ("(1+2)*3", "(1 + 2) * 3"),
            ("-2^2", "-2 ^ 2"), ("2^3^2", "2 ^ 3 ^ 2"), ("inf^2", "Inf ^ 2"), ("a-b-c", "a - b - c"),
            ("a or b and c", "a or b and c"),
            ("foo", "foo"), ("{__name__=\"foo\"}", "{__name__=\"foo\"}"), ("foo{b='1',a!~'x',}", #"foo{a!~"x",b="1"}"#),
            ("{\"my.metric\",\"a.b\"=\"c\"}", #"{"a.b"="c",__name__="my.metric"}"#),
            ("foo offset 5m @ 1.5", "foo @ 1.500 offset 5m"), ("foo offset -1h", "foo offset -1h"),
            ("foo[5m] @ start() offset 90", "foo[5m] @ start() offset 1m30s"),
            ("rate(foo[5m])[1h:] offset 1d", "rate(foo[5m])[1h:] offset 1d"),
            ("foo[1h:5m] @ end()", "foo[1h:5m] @ end()"),
            ("SUM(foo) BY (a,b)", "sum by (a, b) (foo)"), ("sum by () (foo)", "sum(foo)"),
            ("count_values('v', foo) without(\"x.y\")", #"count_values without ("x.y") ("v", foo)"#),
            ("a==bool b", "a == bool b"), ("a AND ON(x) b", "a and on (x) b"), ("a atan2 b", "a atan2 b"),
            ("a * ignoring(x) group_left b", "a * ignoring (x) group_left () b"),
            ("a / on (x) group_right(y) b", "a / on (x) group_right (y) b"), ("a + ignoring() b", "a + b"),
            ("sum + by + offset", "sum + by + offset"), ("1 # comment\n+ 2", "1 + 2"), ("topk(5,foo)", "topk(5, foo)"),
            ("1 + on () foo", "1 + foo"), ("+foo", "+foo"), ("- - foo", "--foo"),
            ("foo{on='a',by='b',inf='c'}", #"foo{by="b",inf="c",on="a"}"#),
        ])
    func canonical(text: String, expected: String) throws {
        let expression = try Expression(parsing: text)
        #expect(expression.description == expected)
        #expect(try Expression(parsing: expected).description == expected)
    }

    @Test(
        "a mistake has its place, Prometheus' words and a cure",
        arguments: [
            ("", "1:1: parse error: no expression found in input"),
            ("foo bar", "1:5: parse error: unexpected identifier \"bar\" after the expression"),
            ("1 +", "1:4: parse error: unexpected end of input where an expression is expected"),
            ("\n  )", "2:3: parse error: unexpected \")\" where an expression is expected"),
            (
                "rate(foo)",
                "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector; "
                    + "add a range, for example [5m]"
            ),
            (
                "sum(foo[5m])",
                "1:5: parse error: expected type instant vector in aggregation expression, got range vector; "
                    + "wrap it in a function such as rate(), or remove the range"
            ),
            ("raet(foo[5m])", "1:1: parse error: unknown function with name \"raet\"; did you mean rate?"),
            ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier; write == bool"),
            ("foo and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
            (
                "{}",
                "1:1: parse error: vector selector must contain at least one non-empty matcher; name the metric, or "
                    + "add a matcher that does not match the empty string"
            ),
            (
                "foo{__name__=\"bar\"}",
                "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\"; remove one of them"
            ),
            ("foo{a=~\"(\"}", "1:8: parse error: bad regular expression \"(\": missing ): ("),
            ("foo[5m] offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"),
            (
                "foo offset 1m[5m]",
                "1:14: parse error: no offset modifiers allowed before range; write the offset after the "
                    + "range"
            ),
            (
                "sum(foo)[5m]",
                "1:9: parse error: ranges only allowed for vector selectors; write a subquery, for example "
                    + "[5m:1m]"
            ),
            ("foo[0m]", "1:5: parse error: duration must be greater than 0"),
            (
                "foo[5x]",
                "1:5: parse error: bad number or duration syntax: \"5x\"; write numbers as 1.5e3 or 0x1F and "
                    + "durations as 1h30m"
            ),
            ("\"abc", "1:1: parse error: unterminated quoted string"),
            (
                "topk(foo)",
                "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1"
            ),
            ("clamp(foo)", "1:1: parse error: expected 3 argument(s) in call to \"clamp\", got 1"),
            ("a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators; remove bool"),
            (
                "a * on (x) group_left (x) b",
                "1:25: parse error: label \"x\" must not occur in ON and GROUP clause at once"
            ),
            (
                "-foo[5m]",
                "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, "
                    + "got \"range vector\""
            ),
            ("foo @ inf", "1:7: parse error: timestamp out of bounds for @ modifier: +Inf"),
            ("foo $", "1:5: parse error: unexpected character: '$'"),
        ])
    func mistakes(text: String, expected: String) {
        let error = #expect(throws: ParseError.self) { try Expression(parsing: text) }
        #expect(error?.description == expected)
    }

    @Test(
        "nesting and chains have an end",
        arguments: [
            (String(repeating: "(", count: 100_000) + "1", "the expression is nested more than 200 deep"),
            (String(repeating: "-", count: 100_000) + "a", "the expression is nested more than 200 deep"),
            ("a[" + String(repeating: "(", count: 100_000), "the expression is nested more than 200 deep"),
            ("a offset " + String(repeating: "-", count: 100_000), "the expression is nested more than 200 deep"),
            ("1" + String(repeating: "^1", count: 100_000), "the expression is nested more than 200 deep"),
            ("1" + String(repeating: "+1", count: 100_000), "more than 1000 operators follow each other"),
            (
                "a[1" + String(repeating: "+1", count: 100_000),
                "more than 100 operators follow each other in a duration"
            ),
            (
                String(repeating: "(", count: 100) + "1"
                    + String(repeating: String(repeating: "+1", count: 20) + ")", count: 100),
                "more than 1000 operators follow each other"
            ),
        ])
    func depth(text: String, expected: String) {
        let error = #expect(throws: ParseError.self) { try Expression(parsing: text) }
        #expect(error?.message == expected)
    }

    @Test("the highest tree that is taken can be evaluated and printed") func height() throws {
        let text = "m" + String(repeating: " + m", count: 998)
        let expression = try Expression(parsing: text)
        #expect(expression.description == text)
        #expect(throws: Never.self) { try QueryEngine(source: MemorySource()).instant(expression, at: at(0)) }
    }

    @Test("selectors are found in order") func selectors() throws {
        let expression = try Expression(parsing: "sum(a) / rate(b[5m]) > max_over_time(c[1h:1m])")
        #expect(expression.selectors.map(\.name) == ["a", "b", "c"])
    }
}
