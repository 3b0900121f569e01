internal import ArgumentParser
internal import Basics
internal import Glibc
internal import Query

/// `vedette query EXPR`: one value of each series at a moment, the values of a range drawn in the terminal, or how the
/// query was evaluated.
struct QueryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query", abstract: "Evaluate PromQL in the daemon.",
        discussion: """
            Without --start, the value of each series now or at --time. With --start, a range: drawn, or with --output as \
            values. Moments are seconds since the Unix epoch, RFC 3339, or how long ago: 2h.
            """)

    @Argument(help: "The expression.") var expression: String
    @Option(help: "The moment; now when it is not given.") var time: String?
    @Option(help: "The range's start.") var start: String?
    @Option(help: "The range's end; now when it is not given.") var end: String?
    @Option(help: "The range's step, 30s; as fits the width when it is not given.") var step: String?
    @Flag(help: "Show each part of the query with its series, samples, memory and time.") var explain = false
    @Option(help: "table, json or csv; a range is drawn when it is not given.") var output: OutputFormat?
    @Option(help: "Rows of the picture.") var height = 16
    @OptionGroup var client: Client

    func validate() throws {
        guard start != nil || (end == nil && step == nil) else {
            throw ValidationError("--end and --step belong to a range; give its --start too")
        }
        guard start == nil || time == nil else {
            throw ValidationError("--time is for a single moment; leave it out of a range")
        }
        guard (2...200).contains(height) else { throw ValidationError("--height is 2 to 200 rows") }
    }

    func run() async throws {
        if let start {
            try await runRange(from: moment(start, "--start"), through: end.map { try moment($0, "--end") } ?? now)
        } else {
            var parameters = [("query", expression)]
            if let time { parameters.append(("time", "\(try moment(time, "--time").seconds)")) }
            let data = try await ask("/api/v1/query", parameters)
            if !explain { show(data, output ?? .table) }
        }
    }

    private func runRange(from: Timestamp, through: Timestamp) async throws {
        guard from <= through else { throw Refusal("--start is after --end; exchange them") }
        let width = terminalColumns() ?? columnsVariable ?? 80
        var length = try step.map { try duration($0) } ?? max(1000, (through - from) / Int64(max(20, 2 * (width - 12))))
        if step == nil { length = (length + 999) / 1000 * 1000 }
        let data = try await ask(
            "/api/v1/query_range",
            [
                ("query", expression), ("start", "\(from.seconds)"), ("end", "\(through.seconds)"),
                ("step", "\(Double(length) / 1000)"),
            ])
        if explain { return }
        if let output { return show(data, output) }
        var chart = TerminalChart(from: from, through: through, step: length)
        (chart.width, chart.height) = (width, height)
        let isPlain = unsafe getenv("NO_COLOR") != nil
        chart.hasColour = terminalColumns() != nil && !isPlain
        let lines = (data["result"]?.array ?? []).map { one in
            let points = one["values"]?.array ?? []
            return TerminalChart.Line(
                name: series(one), times: points.map { Int64(((($0[0]?.number) ?? 0) * 1000).rounded()) },
                values: points.map { GoNumber.parse($0[1]?.string ?? "") ?? .nan })
        }
        for line in chart.draw(lines) { Output.line(line) }
    }

    /// The answer; what was explained is printed.
    private func ask(_ path: String, _ parameters: [(String, String)]) async throws -> JSON {
        let data = try await client.get(path, parameters + (explain ? [("stats", "explain")] : []))
        if explain {
            let statistics = data["stats"] ?? .null
            if output == .json {
                Output.line(statistics.text)
            } else {
                for line in PlanTable.lines(statistics) { Output.line(line) }
            }
        }
        return data
    }

    private func show(_ data: JSON, _ output: OutputFormat) {
        if output == .json { return Output.line((data["result"] ?? .null).text) }
        let result = data["result"]?.array ?? []
        switch data["resultType"]?.string {
        case "vector":
            Output.rows(["series", "value"], result.map { [series($0), $0["value"]?[1]?.string ?? ""] }, output)
        case "matrix":
            let rows = result.flatMap { one in
                (one["values"]?.array ?? []).map { [series(one), $0[0]?.text ?? "", $0[1]?.string ?? ""] }
            }
            Output.rows(["series", "time", "value"], rows, output)
        default: Output.rows(["value"], [[data["result"]?[1]?.string ?? ""]], output)
        }
    }

    private func series(_ entry: JSON) -> String {
        let labels = (entry["metric"]?.members ?? []).filter { $0.name != "__name__" }
        let text = labels.map { "\($0.name)=\(($0.value.string ?? "").goQuoted)" }.joined(separator: ", ")
        return (entry["metric"]?["__name__"]?.string ?? "") + "{\(text)}"
    }

    // MARK: Times

    private var now: Timestamp { SystemClock().now() }

    private func moment(_ text: String, _ option: String) throws -> Timestamp {
        if let seconds = Double(text), seconds.isFinite, abs(seconds) < 1e15 { return Timestamp(seconds: seconds) }
        if let moment = Timestamp(rfc3339: text) { return moment }
        if let ago = DurationText.parse(text) { return now - ago }
        throw Refusal(
            "\(option): \(text.goQuoted) is no moment; write seconds, 2026-11-20T03:00:00Z, or how long ago: 2h")
    }

    private func duration(_ text: String) throws -> Milliseconds {
        let length = Double(text).map { $0 < 1e12 ? Milliseconds($0 * 1000) : 0 } ?? DurationText.parse(text) ?? 0
        guard length > 0 else { throw Refusal("--step: \(text.goQuoted) is no duration above 0; write 30s") }
        return length
    }

    private var columnsVariable: Int? {
        guard let text = unsafe getenv("COLUMNS") else { return nil }
        return Int(unsafe String(cString: text)).flatMap { $0 >= 20 ? min($0, 1000) : nil }
    }
}
