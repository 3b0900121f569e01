internal import ArgumentParser
internal import Basics

/// `vedette rollback`: what may be taken back, what was, and the hand on the switch.
struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Plan, run, watch and cancel rollbacks.",
        subcommands: [
            RollbackPlan.self, RollbackStart.self, RollbackStatusCommand.self, RollbackShow.self, RollbackCancel.self,
        ])
}

/// `vedette rollback plan ACTION`: the plan against what is there now; nothing is changed.
struct RollbackPlan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Show what an action would do now, and change nothing.")

    @Argument(help: "The action's name.") var action: String
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let plan = try await client.get("/api/vedette/v1/rollbacks/plan", [("action", action)])
        if output == .json { return Output.line(plan.text) }
        let steps = (plan["steps"]?.array ?? []).enumerated().map { index, step in
            ["\(index + 1)", step["step"]?.string ?? "", step["now"]?.string ?? ""]
        }
        Output.rows(["#", "step", "now"], steps, output)
    }
}

/// `vedette rollback run ACTION`: a person's decision; neither mode nor cooldown nor budget holds it back.
struct RollbackStart: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Roll back now, whatever the mode; only the kill switch forbids it.")

    @Argument(help: "The action's name.") var action: String
    @Option(help: "Who asks, and why; it is told to the receivers.") var reason: String
    @OptionGroup var client: Client

    func run() async throws {
        let run = try await client.post("/api/vedette/v1/rollbacks", [("action", action), ("reason", reason)])
        let id = run["id"]?.string ?? ""
        Output.line("\(id) is under way; follow it with: vedette rollback show \(id)")
    }
}

/// `vedette rollback status`: guards, triggers, and the last runs; exits with 1 while one is under way.
struct RollbackStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show guards, triggers and rollbacks; exits with 1 while one is under way.")

    @Option(help: "table, json or csv; csv lists the rollbacks.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let status = try await client.get("/api/vedette/v1/rollbacks/status")
        let runs = try await client.get("/api/vedette/v1/rollbacks")["rollbacks"]?.array ?? []
        if output == .json {
            Output.line(JSON.object((status.members ?? []) + [JSON.Member("rollbacks", .array(runs))]).text)
        } else {
            if output == .table { show(status) }
            Output.rows(
                ["rollback", "action", "since", "outcome", "reason"],
                runs.map { run in
                    [
                        run["id"]?.string ?? "", run["action"]?.string ?? "", RollbackText.moment(run["created_at"]),
                        run["outcome"]?.string ?? "under way", run["reason"]?.string ?? "",
                    ]
                }, output)
        }
        if runs.contains(where: { $0["outcome"] == nil }) { throw ExitCode(1) }
    }

    private func show(_ status: JSON) {
        let budget = status["budget"]
        Output.line(
            "mode \(status["mode"]?.string ?? ""), kill switch "
                + (status["stopped"]?.bool == true ? "ON" : "off") + " (\(status["killSwitch"]?.string ?? "")), "
                + "\(budget?["left"]?.integer ?? 0) of \(budget?["runs"]?.integer ?? 0) left in "
                + (budget?["window"]?.string ?? ""))
        Output.line("")
        Output.rows(
            ["trigger", "state", "value", "condition", "action"],
            (status["triggers"]?.array ?? []).map { trigger in
                [
                    trigger["trigger"]?.string ?? "", trigger["state"]?.string ?? "",
                    trigger["value"]?.string ?? "", trigger["condition"]?.string ?? "",
                    trigger["action"]?.string ?? "",
                ]
            }, .table)
        Output.line("")
    }
}

/// `vedette rollback show ID`: the story of one.
struct RollbackShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Tell the story of one rollback.")

    @Argument(help: "The rollback's id; the newest when it is not given.") var id: String?
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let run: JSON
        if let id {
            run = try await client.get("/api/vedette/v1/rollbacks/\(id.percentEncoded)")
        } else {
            let runs = try await client.get("/api/vedette/v1/rollbacks")["rollbacks"]?.array ?? []
            guard let newest = runs.first else { return Output.line("there was no rollback yet") }
            run = newest
        }
        if output == .json { return Output.line(run.text) }
        if output == .table { for line in RollbackText.head(run) { Output.line(line) } }
        Output.rows(["status", "began", "took", "step", "detail", "before"], RollbackText.steps(run), output)
    }
}

/// `vedette rollback cancel ID`: after the step that it is at.
struct RollbackCancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "End a rollback after the step that it is at; what is done stays done.")

    @Argument(help: "The rollback's id.") var id: String
    @Option(help: "Who ends it.") var by = "a person"
    @OptionGroup var client: Client

    func run() async throws {
        _ = try await client.post("/api/vedette/v1/rollbacks/\(id.percentEncoded)/cancel", [("by", by)])
        Output.line("\(id) ends after the step that it is at; what is done stays done")
    }
}

/// A rollback for people.
enum RollbackText {
    static func moment(_ value: JSON?) -> String {
        value?.integer.map { "\(Timestamp(milliseconds: Int64($0)))" } ?? ""
    }

    static func head(_ run: JSON) -> [String] {
        var lines = [
            "\(run["id"]?.string ?? ""): \(run["action"]?.string ?? ""), "
                + (run["outcome"]?.string.map { "\($0): \(run["reason"]?.string ?? "")" } ?? "under way"),
            "began \(moment(run["created_at"]))"
                + (run["finished_at"] == nil ? "" : ", ended \(moment(run["finished_at"]))"),
        ]
        for cause in run["causes"]?.array ?? [] {
            let value =
                cause["value"]?.string.flatMap(Double.init).map { number in
                    ", it was " + GoNumber.shortest((number * 1000).rounded() / 1000, exponentFrom: 21)
                } ?? ""
            lines.append("because \(cause["text"]?.string ?? "")\(value)")
        }
        return lines + [""]
    }

    static func steps(_ run: JSON) -> [[String]] {
        (run["steps"]?.array ?? []).map { step in
            let length = step["ended_at"]?.integer.flatMap { end in step["begun_at"]?.integer.map { end - $0 } }
            return [
                step["status"]?.string ?? "", moment(step["begun_at"]), length.map { "\($0) ms" } ?? "",
                step["step"]?.string ?? "", (step["detail"]?.string ?? "").replacing("\n", with: " "),
                step["before"]?.string ?? "",
            ]
        }
    }
}
