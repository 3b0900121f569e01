internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Settings
internal import Workloads

/// `vedette workloads`: the process that hosts them, and how they are.
struct WorkloadsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workloads", abstract: "Host the workloads; show how they are.",
        subcommands: [WorkloadsServe.self, WorkloadsStatus.self], defaultSubcommand: WorkloadsServe.self)
}

/// `vedette workloads serve`: what `vedette run` starts as a child.
struct WorkloadsServe: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the workloads on a Unix socket in the data directory; `vedette run` does it by itself.")

    @Option(help: "The configuration file.") var config = "vedette.yaml"
    @Option(help: "Where series and state are kept.") var dataDir = "data"
    @Option(help: "Log lines as text or json, or to journald.") var logFormat: LogFormat?

    func run() async throws {
        tuneAllocator()
        ignoreHangup()
        let world = World.machine(log: LogFormat.sink(logFormat), loopCount: 1)
        do {
            let settings = try DaemonSettings(path: config, files: world.files, variables: world.variables)
            guard !settings.workloads.isEmpty else {
                throw Refusal("\(config): no workloads are configured; describe them under workloads:")
            }
            try await WorkloadProcess.serve(settings, dataDirectory: dataDir, world: world)
        } catch {
            throw Refusal("\(error)")
        }
    }
}

/// `vedette workloads status`: the last run of each; exits with 1 when an objective is missed or a run failed.
struct WorkloadsStatus: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the workloads are; exits with 1 when one is not well.")

    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let document = try await client.document("/api/vedette/v1/workloads")
        let all = document["workloads"]?.array ?? []
        if output == .json {
            Output.line(document.text)
        } else {
            Output.rows(
                ["workload", "last run", "outcome", "took", "next run", "rows", "not well"],
                all.map { one in
                    [
                        one["name"]?.string ?? "", one["last_run"]?.string ?? "never",
                        one["running_since"]?.string == nil ? one["last_outcome"]?.string ?? "" : "running",
                        one["last_duration_ms"]?.integer.map { "\($0) ms" } ?? "", one["next_run"]?.string ?? "",
                        one["rows"]?.integer.map(String.init) ?? "",
                        ((one["violations"]?.array ?? []) + [one["last_error"] ?? .null]).compactMap(\.string)
                            .joined(separator: "; "),
                    ]
                }, output)
        }
        let isWell = all.allSatisfy { ($0["violations"]?.array ?? []).isEmpty && $0["last_error"]?.string == nil }
        if !isWell { throw ExitCode(1) }
    }
}

/// `vedette impact report`: what the features brought and cost.
struct ImpactCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "impact", abstract: "What features bring and cost.", subcommands: [ImpactReportCommand.self])
}

struct ImpactReportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Benefit, cost, return and projection by feature; yesterday by default.")

    @Option(help: "The first day, such as 2026-11-20.") var from: String?
    @Option(help: "The last day; yesterday when it is not given.") var to: String?
    @Option(help: "In place of days: day, week, month, quarter or year, ending yesterday.") var period: String?
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let parameters = [("from", from), ("to", to), ("period", period)].compactMap { name, value in
            value.map { (name, $0) }
        }
        let report = try await client.document("/api/v1/analytics/impact", parameters)
        if output == .json { return Output.line(report.text) }
        if output == .table {
            Output.line(
                "\(report["from"]?.string ?? "") to \(report["to"]?.string ?? ""), "
                    + "\(report["days"]?.integer ?? 0) days, \(report["time_zone"]?.string ?? "")")
        }
        let lines = (report["features"]?.array ?? []) + [report["total"] ?? .null]
        Output.rows(
            [
                "feature", "uses", "benefit", "cost", "net", "roi", "revenue_to_cost", "hours_saved",
                "projected_net_per_year", "lift", "lift_low", "lift_high",
            ],
            lines.map { line in
                func text(_ name: String) -> String { line[name]?.string ?? "" }
                func ratio(_ value: JSON?) -> String {
                    value?.number.map { GoNumber.shortest(($0 * 10_000).rounded() / 10_000, exponentFrom: 21) }
                        ?? (output == .csv ? "" : "-")
                }
                let conversion = line["conversion"]
                return [
                    text("feature"), ratio(line["uses"]), text("benefit"), text("cost"), text("net"),
                    ratio(line["roi"]), ratio(line["revenue_to_cost"]), ratio(line["hours_saved"]),
                    text("projected_net_per_year"), ratio(conversion?["lift"]),
                    ratio(conversion?["interval_95"]?[0]), ratio(conversion?["interval_95"]?[1]),
                ]
            }, output)
    }
}
