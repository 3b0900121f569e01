import Basics
import Query
import Testing
import TestSupport

@Suite struct ChartTests {
    private func chart(_ through: Double = 390) -> TerminalChart {
        var chart = TerminalChart(from: at(0), through: at(through), step: 30_000)
        (chart.width, chart.height) = (30, 4)
        return chart
    }

    private func line(_ name: String, _ values: [Double?]) -> TerminalChart.Line {
        var line = TerminalChart.Line(name: name, times: [], values: [])
        for (index, value) in values.enumerated() {
            guard let value else { continue }
            line.times.append(Int64(index) * 30_000)
            line.values.append(value)
        }
        return line
    }

    @Test("a rising line, its axis and its legend") func rising() {
        let lines = chart().draw([line("up{}", (0..<14).map { Double($0) })])
        #expect(
            lines == [
                " 13 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⢀⣀⠤⠔⠒⠊⠉",
                "    │⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⢀⣀⠤⠤⠒⠊⠁⠀⠀⠀⠀⠀⠀",
                "6.5 ┤⠀⠀⠀⠀⠀⠀⣀⠤⠔⠒⠊⠉⠁⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "  0 ┤⣀⠤⠤⠒⠒⠉⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "    └┬───────────────────────┬",
                "     00:00:00Z       00:06:30Z",
                "up{}  last 13, min 0, max 13",
            ])
    }

    @Test("a gap stays a gap, NaN and missing steps are marked and counted") func gaps() {
        let lines = chart().draw([line("m", [1, 2, nil, nil, nil, 5, 6, .nan, 6, 5, .infinity, 3, 2, 1])])
        #expect(
            lines == [
                "  6 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⢀⠔⠊⠀⠀⠀⠑⠤⡀⠀⠀⠀⠀⠀⠀⠀",
                "    │⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "3.5 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠐⢄⡀⠀⠀",
                "  1 ┤⡠⠒⠁⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠈⠢⢄",
                "         ·· ·     x     x     ",
                "    └┬───────────────────────┬",
                "     00:00:00Z       00:06:30Z",
                "m  last 1, min 1, max 6  (of 14 steps 1 NaN, 1 infinite, 3 missing)",
            ])
    }

    @Test("without colour each series has a picture; too many are told") func several() {
        var chart = chart()
        chart.greatestPictures = 2
        let lines = chart.draw([line("a", [1, 1, 1]), line("b", [3, 3]), line("c", [2])])
        #expect(
            lines == [
                "a  last 1, min 1, max 1  (of 14 steps 11 missing)",
                "3 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "2 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "1 ┤⣀⣀⣀⣀⡀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "         · · · · · · · · · · ·",
                "b  last 3, min 3, max 3  (of 14 steps 12 missing)",
                "3 ┤⠉⠉⠁⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "2 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "1 ┤⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀",
                "       · · · · · · · · · · · ·",
                "  └┬─────────────────────────┬",
                "   00:00:00Z         00:06:30Z",
                "and 1 more series; narrow the expression, or ask for a table",
            ])
    }

    @Test("with colour they share one") func colours() {
        var chart = chart()
        chart.hasColour = true
        let lines = chart.draw([line("a", [1, 1, 1]), line("b", [3, 3, 3])])
        #expect(lines.count == 4 + 1 + 2 + 2)
        #expect(lines[0].contains("\u{1B}[33m") && lines[3].contains("\u{1B}[36m"))
        #expect(lines.allSatisfy { !$0.contains("\u{1B}[") || $0.contains("\u{1B}[0m") })
    }

    @Test("whatever the values, every line fits the width", arguments: [20, 33, 80, 200])
    func widths(width: Int) {
        var random = SeededRandom(seed: UInt64(width))
        var chart = chart()
        chart.width = width
        for round in 0..<50 {
            let extreme = [
                0.0, 1e-300, -1e300, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNonzeroMagnitude, .nan,
                1,
            ]
            let values = (0..<14).map { _ in extreme[Int(random.next() % UInt64(extreme.count))] }
            let lines = chart.draw([line("m", values)])
            for text in lines.dropLast() { #expect(text.count <= max(width, 24), "round \(round): \(text)") }
        }
    }

    @Test("nothing is said to be nothing") func nothing() {
        #expect(chart().draw([]) == ["no series has a value there"])
        #expect(chart(0).draw([line("m", [1])]).count == 4 + 2 + 1)
    }

    @Test("a plan as a table") func plan() throws {
        let statistics = try JSON(
            parsing: Array(
                """
                {"timings":{"execTotalTime":0.0123,"execQueueTime":0,"resultSortTime":0.000002},
                "samples":{"samplesRead":32,"totalQueryableSamples":48,"peakSamples":60,"peakBytes":2048},
                "plan":{"node":"sum by (n)","series":4,"steps":3,"samples":32,"bytes":1536,"seconds":0.012,"ownSeconds":0.002,
                "children":[{"node":"rate()","series":4,"steps":3,"samples":32,"bytes":1024,"seconds":1.5,"ownSeconds":0.0000012,
                "children":[{"node":"m[1m]","series":4,"steps":3,"samples":32,"bytes":12,"seconds":0,"ownSeconds":0,"children":[]}]}]}}
                """.utf8))
        #expect(
            PlanTable.lines(statistics) == [
                "part         series  steps  samples   memory     time  own time",
                "sum by (n)        4      3       32  1.5 KiB  12.0 ms    2.0 ms",
                "└─ rate()         4      3       32  1.0 KiB    1.5 s    1.2 µs",
                "   └─ m[1m]       4      3       32     12 B   0.0 µs    0.0 µs",
                "samples: 32 read, 48 looked at, at most 60 and 2.0 KiB held",
                "time: 12.3 ms, of it waiting 0.0 µs, sorting 2.0 µs",
            ])
    }
}
