internal import ArgumentParser
internal import Basics

/// `vedette pages`: the delivery ledger, pages on their way, dead letters.
struct PagesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pages", abstract: "What became of every page: the ledger, what is on its way, dead letters.",
        subcommands: [PagesLedger.self, PagesWaiting.self, PagesDead.self, PagesReplay.self, PagesDiscard.self],
        defaultSubcommand: PagesLedger.self)
}

/// `vedette pages ledger`.
struct PagesLedger: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "Each try with its time, answer, latency and next try; the newest first.")

    @Option(help: "How many lines.") var last = 50
    @Option(help: "Only this receiver's.") var receiver: String?
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let lines = try await client.get("/api/vedette/v1/pages")["ledger"]?.array ?? []
        let shown = lines.filter { receiver == nil || $0["receiver"]?.string == receiver }.prefix(max(0, last))
        guard output != .json else { return Output.line(JSON.array(Array(shown)).text) }
        let rows = shown.map { line in
            let latency = (line["latencySeconds"]?.number ?? 0) * 1000
            return [
                line["time"]?.string ?? "", line["channel"]?.string ?? "", line["outcome"]?.string ?? "",
                "\(line["attempt"]?.integer ?? 0)", "\(Int(latency)) ms", line["nextTry"]?.string ?? "",
                line["title"]?.string ?? "",
                [line["message"]?.string ?? "", line["note"]?.string ?? ""].filter { !$0.isEmpty }.joined(
                    separator: "; "),
            ]
        }
        Output.rows(["time", "channel", "outcome", "try", "took", "next try", "page", "answer"], rows, output)
    }
}

/// `vedette pages waiting`.
struct PagesWaiting: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "waiting", abstract: "Pages on their way; exits with 1 when there are any.")

    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let pages = try await client.get("/api/vedette/v1/pages")["waiting"]?.array ?? []
        let rows = pages.map { page in
            ["created", "channel", "attempts", "title", "lastError"].map { key in
                page[key]?.string ?? page[key]?.integer.map { "\($0)" } ?? ""
            }
        }
        Output.rows(["since", "channel", "tries", "page", "last answer"], rows, output)
        if !pages.isEmpty { throw ExitCode(1) }
    }
}

/// `vedette pages dead`.
struct PagesDead: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead", abstract: "Pages that were given up; exits with 1 when there are any.")

    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let letters = try await client.get("/api/vedette/v1/pages")["deadLetters"]?.array ?? []
        let rows = letters.map { letter in
            ["id", "time", "reason", "title", "message"].map { letter[$0]?.string ?? "" }
        }
        Output.rows(["id", "time", "reason", "page", "answer"], rows, output)
        if !letters.isEmpty { throw ExitCode(1) }
    }
}

/// Which dead letters are meant.
struct LetterChoice: ParsableArguments {
    @Argument(help: "Its id.") var id: String?
    @Flag(help: "All of them.") var all = false
    @OptionGroup var client: Client

    /// Does it, and prints how many there were.
    func act(_ action: String) async throws {
        guard (id != nil) != all else {
            throw Refusal("give the id of one letter, or --all; `vedette pages dead` lists them")
        }
        let data = try await client.post(
            "/api/vedette/v1/pages/dead", [("action", action)] + (id.map { [("id", $0)] } ?? []))
        Output.line("\(data["count"]?.integer ?? 0)")
    }
}

/// `vedette pages replay [ID]`.
struct PagesReplay: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Send a dead letter again, or all of them.")
    @OptionGroup var letters: LetterChoice
    func run() async throws { try await letters.act("replay") }
}

/// `vedette pages discard [ID]`.
struct PagesDiscard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "discard", abstract: "Throw a dead letter away, or all of them.")
    @OptionGroup var letters: LetterChoice
    func run() async throws { try await letters.act("discard") }
}
