internal import ArgumentParser
internal import Basics

/// `vedette query EXPR`: one value of each series, now or at a moment.
struct QueryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "query", abstract: "Evaluate PromQL in the daemon.")

    @Argument(help: "The expression.") var expression: String
    @Option(help: "The moment: seconds since the Unix epoch or RFC 3339; now when it is not given.") var time: String?
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        var parameters = [("query", expression)]
        if let time { parameters.append(("time", time)) }
        let data = try await client.get("/api/v1/query", parameters)
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
}

/// `vedette alerts`: what fires and what is pending.
struct AlertsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alerts", abstract: "List alerts; exits with 1 while one fires.")

    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let alerts = try await client.get("/api/v1/alerts")["alerts"]?.array ?? []
        if output == .json {
            Output.line(JSON.array(alerts).text)
        } else {
            let rows = alerts.map { alert in
                [
                    alert["state"]?.string ?? "", alert["labels"]?["severity"]?.string ?? "",
                    alert["labels"]?["alertname"]?.string ?? "", alert["activeAt"]?.string ?? "",
                    alert["annotations"]?["summary"]?.string ?? "",
                ]
            }
            Output.rows(["state", "severity", "alert", "since", "summary"], rows, output)
        }
        if alerts.contains(where: { $0["state"]?.string == "firing" }) { throw ExitCode(1) }
    }
}
