import Exposition
import Model
import Testing

@Suite struct NegotiationTests {
    @Test("the Accept header is Prometheus'") func accept() {
        #expect(
            ScrapeProtocol.accept([.openMetrics1, .openMetrics0, .text1, .text0], escaping: .allowUTF8)
                == "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                + "application/openmetrics-text;version=0.0.1;q=0.5,"
                + "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
        #expect(ScrapeProtocol.accept([.text0], escaping: .underscores) == "text/plain;version=0.0.4;q=0.6,*/*;q=0.5")
    }

    @Test(
        "content types",
        arguments: [
            ("text/plain", .text), ("text/plain; version=0.0.4; charset=utf-8", .text),
            ("TEXT/Plain;version=\"1.0.0\";", .text), ("application/openmetrics-text; version=1.0.0", .openMetrics),
            ("", nil), ("text/html", nil), ("text/plain; ;", nil), ("text/plain; a=b; a=c", nil), ("plain", nil),
            ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", nil),
        ] as [(String, ExpositionFormat?)])
    func contentType(text: String, format: ExpositionFormat?) {
        #expect(ScrapeProtocol.format(ofContentType: text) == format)
    }

    @Test(
        "names under each scheme, as prometheus/common escapes them",
        arguments: [
            ("no:escaping_required", "no:escaping_required", "no:escaping__required", "no:escaping_required"),
            (
                "mysystem.prod.west.cpu.load", "mysystem_prod_west_cpu_load",
                "mysystem_dot_prod_dot_west_dot_cpu_dot_load", "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load"
            ),
            ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
            ("label with 😱", "label_with__", "label__with____", "U__label_20_with_20__1f631_"),
            ("1a_b", "_a_b", "__a__b", "U___31_a__b"),
        ])
    func escaping(name: String, underscores: String, dots: String, values: String) {
        #expect(EscapingScheme.allowUTF8.escape(name) == name)
        #expect(EscapingScheme.underscores.escape(name) == underscores)
        #expect(EscapingScheme.dots.escape(name) == dots)
        #expect(EscapingScheme.values.escape(name) == values)
    }

    private static let families = [
        MetricFamily(.counter, "vedette_a_total", "A \"b\"\\.", [(["x.y": "z\n"], 3)]),
        MetricFamily(.gauge, "my.gauge", "G.", [(Labels(), 0.5)]),
    ]

    @Test(
        "a page in the format that the reader likes best, right by the strict reader",
        arguments: [
            (
                nil, "text/plain; version=0.0.4; charset=utf-8",
                "# HELP my_gauge G.\n# TYPE my_gauge gauge\nmy_gauge 0.5\n# HELP vedette_a_total A \"b\"\\\\.\n# TYPE vedette_a_total counter\nvedette_a_total{x_y=\"z\\n\"} 3\n"
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3",
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
                "# HELP \"my.gauge\" G.\n# TYPE \"my.gauge\" gauge\n{\"my.gauge\"} 0.5\n# HELP vedette_a A \\\"b\\\"\\\\.\n# TYPE vedette_a counter\nvedette_a_total{\"x.y\"=\"z\\n\"} 3.0\n# EOF\n"
            ),
            (
                "text/plain;version=1.0.0;escaping=values", "text/plain; version=1.0.0; charset=utf-8; escaping=values",
                "# HELP U__my_2e_gauge G.\n# TYPE U__my_2e_gauge gauge\nU__my_2e_gauge 0.5\n# HELP vedette_a_total A \"b\"\\\\.\n# TYPE vedette_a_total counter\nvedette_a_total{U__x_2e_y=\"z\\n\"} 3\n"
            ),
            (
                "application/json, application/openmetrics-text;q=0.1, */*;q=0.2",
                "text/plain; version=0.0.4; charset=utf-8",
                "# HELP my_gauge G.\n# TYPE my_gauge gauge\nmy_gauge 0.5\n# HELP vedette_a_total A \"b\"\\\\.\n# TYPE vedette_a_total counter\nvedette_a_total{x_y=\"z\\n\"} 3\n"
            ),
        ] as [(String?, String, String)])
    func answer(accept: String?, type: String, page: String) {
        let answer = ExpositionAnswer(accept: accept)
        #expect(answer.contentType == type)
        let written = answer.page(Self.families)
        #expect(String(decoding: written, as: UTF8.self) == page)
        #expect(MetricsChecker.mistake(in: written) == nil)
    }
}
