import Basics
import Exposition
import Glibc
import Model
import Testing

@Suite struct LineParserTests {
    private func parse(_ line: String) throws -> (Labels, Double, Int64?) {
        let bytes = Array(line.utf8) + [0x0A]
        return try unsafe bytes.withUnsafeBufferPointer { buffer in
            var parser = unsafe LineParser(bytes: buffer.baseAddress!, from: 0, end: buffer.count)
            let labels = try parser.series()
            let value = try parser.value()
            return (Labels(labels), value, try parser.timestampAndEnd())
        }
    }

    @Test(
        "lines as Prometheus' scraper accepts them",
        arguments: [
            ("up 1", "up", 1, nil), ("a{b=\"c\"} 2.5 1700000000000", "a{b=\"c\"}", 2.5, 1_700_000_000_000),
            ("a { b = \"c\" , } -1e3 -5", "a{b=\"c\"}", -1000, -5), ("a{} +Inf", "a", .infinity, nil),
            ("a{b=\"x\\\"y\\\\z\\nw\\t\"} 0", #"a{b="x\"y\\z\nw\\t"}"#, 0, nil), ("a:b 1", "a:b", 1, nil),
            ("{\"my.name\",b=\"c\"} 1", #"{"my.name", b="c"}"#, 1, nil), ("a{b=\"\"} 1", "a", 1, nil),
            ("\ta\t1\t", "a", 1, nil),
        ] as [(String, String, Double, Int64?)])
    func accepted(line: String, series: String, value: Double, timestamp: Int64?) throws {
        let (labels, parsed, time) = try parse(line)
        #expect(labels.description == series)
        #expect(parsed == value && time == timestamp)
    }

    @Test(
        "mistakes have a column",
        arguments: [
            ("9a 1", "0:1: a metric's name cannot begin with a digit"), ("a", "0:2: a number is expected"),
            ("a x", "0:4: a number is expected"),
            ("a{b} 1", "0:4: '=' is expected behind the label's name"),
            ("a{b=\"c} 1", "0:10: the label's value does not end"),
            ("a{b=\"c\" d=\"e\"} 1", "0:9: ',' or '}' is expected behind the label's value"),
            ("a{b=\"1\",b=\"2\"} 1", "0:14: the label 'b' stands twice"),
            ("a 1 2 3", "0:7: the line's end is expected"),
            ("a 1 x", "0:5: a timestamp in milliseconds or the line's end is expected"),
            ("{b=\"c\"} 1", "0:8: the metric has no name"), ("a 0x1p3", "0:4: a number is expected"),
            ("a 1_000", "0:4: a number is expected"), ("a 1e400", "0:8: a number is expected"),
        ])
    func refused(line: String, message: String) {
        let error = #expect(throws: ExpositionError.self) { try parse(line) }
        #expect(error?.description == message)
    }

    @Test("numbers are read to the last bit", arguments: 0..<200) func numbers(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            let value: Double
            switch random.next() % 4 {
            case 0: value = Double(bitPattern: random.next())
            case 1: value = Double(Int64.random(in: -1_000_000...1_000_000, using: &random)) / 1000
            case 2: value = Double.random(in: 0...1, using: &random)
            default: value = Double(random.next() >> 8)
            }
            guard value.isFinite else { continue }
            #expect(try parse("a \(value)").1.bitPattern == value.bitPattern, "\(value), seed \(seed)")
        }
    }

    @Test("what is written is read back") func writer() throws {
        let family = MetricFamily(
            .gauge, "vedette_x", "Help\\ with\nlines.", [(["a": "b\"\\\n"], 1.5), (Labels(), .nan)])
        #expect(
            String(decoding: TextWriter.page([family]), as: UTF8.self)
                == "# HELP vedette_x Help\\\\ with\\nlines.\n# TYPE vedette_x gauge\nvedette_x{a=\"b\\\"\\\\\\n\"} 1.5\nvedette_x NaN\n"
        )
    }
}
