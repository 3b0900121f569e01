import Basics
import Query
import Testing
import TestSupport

@Suite struct PrettyTests {
    @Test("a short query stays on its line") func short() throws {
        #expect(try Expression(parsing: "sum(rate(a[5m]))by(b)").pretty == "sum by (b) (rate(a[5m]))")
    }

    @Test("a long query is broken where it is long, as Prometheus breaks it") func long() throws {
        let text =
            "quantile by(foo,bar)(1.5, sum(rate(a_metric_with_a_long_name{job='one',instance=~'two.*'}[5m])) by (foo,bar)) "
            + "/ on(foo) group_left() clamp_max(another_metric{a='b'} offset 5m, 100) > bool -(max_over_time((x+y)[1h:1m]))"
        #expect(
            try Expression(parsing: text).pretty == """
                    quantile by (foo, bar) (
                      1.5,
                      sum by (foo, bar) (rate(a_metric_with_a_long_name{instance=~"two.*",job="one"}[5m]))
                    )
                  / on (foo) group_left ()
                    clamp_max(another_metric{a="b"} offset 5m, 100)
                > bool
                  -(max_over_time((x + y)[1h:1m]))
                """)
    }

    @Test(
        "the tree in Prometheus' JSON",
        arguments: [
            ("5m", #"{"type":"numberLiteral","val":"300"}"#),
            (
                "-foo{a!~'b'} offset -5m @ start()",
                #"{"expr":{"anchored":false,"matchers":[{"name":"a","type":"!~","value":"b"},"#
                    + #"{"name":"__name__","type":"=","value":"foo"}],"name":"foo","offset":-300000,"offsetExpr":null,"#
                    + #""smoothed":false,"startOrEnd":"start","timestamp":null,"type":"vectorSelector"},"op":"-","type":"unaryExpr"}"#
            ),
            (
                "round(a[1h:step()+1] @ 1.5)",
                nil
            ),
            (
                "last_over_time(a[1h:step()+1] @ 1.5)",
                #"{"args":[{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","#
                    + #""offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"#
                    + #""type":"vectorSelector"},"offset":0,"offsetExpr":null,"range":3600000,"rangeExpr":null,"#
                    + #""startOrEnd":null,"step":0,"stepExpr":{"lhs":{"lhs":null,"op":"step","rhs":null,"#
                    + #""type":"durationExpr","wrapped":false},"op":"+","rhs":{"duration":false,"type":"numberLiteral","#
                    + #""val":"1"},"type":"durationExpr","wrapped":false},"timestamp":1500,"type":"subquery"}],"#
                    + #""func":{"argTypes":["matrix"],"name":"last_over_time","returnType":"vector","variadic":0},"type":"call"}"#
            ),
            (
                "a * on (x) group_left b",
                #"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","#
                    + #""offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"#
                    + #""type":"vectorSelector"},"matching":{"card":"many-to-one","fillValues":{"lhs":null,"rhs":null},"#
                    + #""include":[],"labels":["x"],"on":true},"op":"*","rhs":{"anchored":false,"#
                    + #""matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"offsetExpr":null,"#
                    + #""smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#
            ),
        ] as [(String, String?)])
    func tree(text: String, expected: String?) throws {
        guard let expected else {
            #expect(throws: ParseError.self) { try Expression(parsing: text) }
            return
        }
        #expect(try Expression(parsing: text).json.text == expected)
    }
}
