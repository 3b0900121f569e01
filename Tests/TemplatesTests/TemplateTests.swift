import Basics
import Model
import Templates
import Testing

private func render(_ text: String, _ data: TemplateValue = .null) throws(TemplateError) -> String {
    try Template(parsing: text, name: "t", functions: .prometheus).render(data)
}

@Suite struct TemplateTests {
    @Test("a rule's text sees $labels, $value and the external ones") func rule() throws {
        let text =
            TemplateFunctions.prometheusDefinitions
            + "{{ $labels.instance }}/{{ .Labels.nope }}|{{ $value | humanize }} "
            + "{{ $externalLabels.dc }} {{ $externalURL }}"
        let data = TemplateFunctions.prometheusData(
            labels: ["instance": "a:1"], externalLabels: ["dc": "fra"], externalURL: "http://v", value: 1_234_567)
        #expect(try render(text, data) == "a:1/|1.235M fra http://v")
    }

    @Test(
        "Prometheus' functions",
        arguments: [
            (
                "{{ humanize 0.0 }} {{ humanize 1234567.0 }} {{ humanize 0.02 }} {{ humanize \"-5000\" }}",
                "0 1.235M 20m -5k"
            ),
            ("{{ humanize1024 1048576.0 }} {{ humanize1024 0.5 }}", "1Mi 0.5"),
            (
                "{{ humanizeDuration 0 }} {{ humanizeDuration 93784.0 }} {{ humanizeDuration -61 }}",
                "0s 1d 2h 3m 4s -1m 1s"
            ),
            ("{{ humanizeDuration 0.02 }} {{ humanizeDuration 1.5 }}", "20ms 1.5s"),
            ("{{ humanizePercentage 0.12345 }}", "12.35%"),
            ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
            ("{{ (1435065584.128 | toTime) }} {{ toDuration 1800 }}", "2015-06-23 13:19:44.128 +0000 UTC 30m0s"),
            ("{{ title \"aa bb CC\" }} {{ toUpper \"aé\" }}", "Aa Bb CC AÉ"),
            ("{{ match \"a+\" \"baa\" }} {{ reReplaceAll \"(a)b\" \"x$1\" \"zabab\" }}", "true zxaxa"),
            ("{{ graphLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
            ("{{ stripPort \"a:1\" }} {{ stripPort \"[::1]:9\" }} {{ stripPort \"::1\" }}", "a ::1 ::1"),
            ("{{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"10.0.0.1:80\" }}", "a:80 10.0.0.1:80"),
            ("{{ parseDuration \"1h30m\" }}", "5400"),
            ("{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"x\" (args 1 \"b\") }}", "1-b"),
            ("{{ define \"x\" }}<{{ . }}>{{ end }}{{ tmpl \"x\" 5 }}{{ tmpl \"x\" 6 | len }}", "<5>3"),
            ("{{ $x := 5.0 }}{{ if gt $x 4.0 }}{{ printf \"%.1f%%\" $x }}{{ end }}", "5.0%"),
        ])
    func functions(text: String, expected: String) throws {
        #expect(try render(text) == expected)
    }

    @Test("query, first, label, value and sortByLabel work on samples") func query() throws {
        var environment = TemplateEnvironment()
        environment.query = { text throws(TemplateFailure) in
            guard text == "up" else { throw TemplateFailure("no such metric") }
            return [(["instance": "b", "__value__": "t"], 11), (["instance": "a"], 21)]
        }
        func render(_ text: String) throws(TemplateError) -> String {
            try Template(parsing: text, name: "t", functions: .prometheus).render(.null, in: environment)
        }
        #expect(try render("{{ with query \"up\" }}{{ . | first | value }}{{ end }}") == "11")
        #expect(
            try render(
                "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}")
                == "a=21;b=11;")
        #expect(
            try render("{{ query \"up\" | first | strvalue }}{{ query \"up\" | first | label \"instance\" }}") == "tb")
        let error = #expect(throws: TemplateError.self) { try render("a\n {{ query \"down\" }}") }
        #expect(
            error?.description
                == "template: t:2:4: executing \"t\" at <query \"down\">: error calling query: no such metric")
        #expect(error?.line == 2 && error?.column == 5)
    }

    @Test(
        "what would not end or not fit is stopped",
        arguments: [
            "{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}",
            "{{ range 1000000 }}{{ range 1000 }}{{ end }}{{ end }}",
            "{{ range 100000 }}{{ \"0123456789012345678901234567890123456789\" }}{{ end }}",
            "{{ range 9000000000 }}{{ end }}", "{{ printf \"%9999999d%9999999d\" 1 1 }}",
        ])
    func limits(text: String) {
        #expect(throws: TemplateError.self) { try render(text) }
    }

    @Test("nesting past the limit is refused while parsing", arguments: ["{{ if 1 }}", "{{ ("])
    func nesting(opening: String) {
        let text =
            opening == "{{ ("
            ? "{{ " + String(repeating: "(", count: 50_000) : String(repeating: opening, count: 50_000)
        let error = #expect(throws: TemplateError.self) { try render(text) }
        #expect(error?.message == "nested too deeply" || error?.message == "unclosed action")
    }

    @Test("random templates end in a text or an error", arguments: [1, 2, 3])
    func fuzz(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = [
            "{{", "}}", "{{-", "-}}", " ", "if", "else", "end", "range", "with", "define", "template", "block", "\"x\"",
            "$x", ":=", "=", ".", ".a", ".a.b", "|", "(", ")", ",", "1", "-9223372036854775808", "1.5e3", "nil", "true",
            "printf", "\"%*d%.3f%q%x\"", "index", "slice", "len", "eq", "lt", "and", "call", "humanize", "toTime",
            "args",
            "tmpl", "first", "label", "sortByLabel", "'a'", "`r`", "/*", "*/", "\\", "é", "\n", "break", "continue",
        ]
        var rendered = 0
        for _ in 0..<4000 {
            let count = Int.random(in: 1...14, using: &random)
            let text =
                "{{ $x := 1 }}{{ " + (0..<count).map { _ in pieces.randomElement(using: &random)! + " " }.joined()
                + "}}"
            let data = TemplateValue.fields(["a": .fields(["b": .list([.int(.min), .string("s"), .double(.nan)])])])
            do {
                _ = try render(text, data)
                rendered += 1
            } catch {
                #expect(error.line >= 1 && error.column >= 1)
            }
        }
        #expect(rendered > 20)
    }
}
