internal import Alerting
internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Model
internal import Notifying
internal import Replay
internal import Settings

/// `vedette alerts`: what fires, why it is told to whom, and who would be told under another configuration.
struct AlertsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alerts", abstract: "List alerts, explain one, try a changed configuration on the recorded ones.",
        subcommands: [AlertsList.self, AlertsExplain.self, AlertsWhatIf.self], defaultSubcommand: AlertsList.self)
}

/// `vedette alerts list`.
struct AlertsList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List alerts, those of others included; exits with 1 while one fires.")

    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let alerts = try await client.get("/api/v1/alerts")["alerts"]?.array ?? []
        let others = try await client.document("/api/v2/alerts").array ?? []
        if output == .json {
            Output.line(JSON.array(alerts).text)
        } else {
            // An alert of ours is told with external labels over its own.
            let told = others.map { (json: $0, labels: Labels($0["labels"]?.strings ?? [:])) }
            var rows: [[String]] = []
            for alert in alerts {
                let own = alert["labels"]?.strings ?? [:]
                let isTold = told.contains { one in own.allSatisfy { one.labels[$0.key] == $0.value } }
                if !isTold {
                    rows.append(row(alert, state: alert["state"]?.string ?? "", since: alert["activeAt"]?.string ?? ""))
                }
            }
            rows += told.map { one in
                let state = one.json["status"]?["state"]?.string ?? ""
                return row(
                    one.json, state: state == "active" ? "firing" : state, since: one.json["startsAt"]?.string ?? "")
            }
            Output.rows(["state", "severity", "alert", "since", "fingerprint", "summary"], rows, output)
        }
        if !others.isEmpty || alerts.contains(where: { $0["state"]?.string == "firing" }) { throw ExitCode(1) }
    }

    private func row(_ alert: JSON, state: String, since: String) -> [String] {
        let labels = Labels(alert["labels"]?.strings ?? [:])
        return [
            state, labels["severity"], labels["alertname"], since, labels.fingerprintText,
            alert["annotations"]?["summary"]?.string ?? "",
        ]
    }
}

/// `vedette alerts explain FINGERPRINT`.
struct AlertsExplain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Why an alert is told to whom, or is not: rule, routes, groups, every stage, channels, pages.")

    @Argument(help: "The alert's fingerprint; `vedette alerts` shows it.") var fingerprint: String
    @Option(help: "table or json.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let json = try await client.get("/api/vedette/v1/alerts/explain", [("fingerprint", fingerprint)])
        guard output == .table else { return Output.line(json.text) }
        for line in ExplanationText(json).lines { Output.line(Output.shown(line)) }
    }
}

/// An explanation as a person reads it.
private struct ExplanationText {
    private(set) var lines: [String] = []

    init(_ json: JSON) {
        func text(_ json: JSON?, _ key: String) -> String { json?[key]?.string ?? "" }
        lines.append(Labels(json["labels"]?.strings ?? [:]).description)
        if let rule = json["rule"], rule != .null {
            lines.append("rule     \(text(rule, "group")) in \(text(rule, "file")): \(text(rule, "expression"))")
            lines.append(
                "         \(text(rule, "state")) since \(text(rule, "activeAt")), value \(text(rule, "value"))")
        } else {
            lines.append("rule     none here; it was posted")
        }
        if json["known"]?.bool != true { lines.append("groups   in none yet: it does not fire") }
        for step in json["routes"]?.array ?? [] {
            let indent = String(repeating: "  ", count: step["depth"]?.integer ?? 0)
            let mark = step["takes"]?.bool == true ? "→" : step["matched"]?.bool == true ? "·" : "✗"
            lines.append(
                "route    \(indent)\(mark) \(text(step, "matchers")) \(text(step, "receiver")): \(text(step, "why"))")
        }
        for group in json["groups"]?.array ?? [] {
            let told = group["lastTold"]?.string.map { ", last told \($0)" } ?? ""
            lines.append(
                "group    \(text(group, "key")) → \(text(group, "receiver")), \(group["alerts"]?.integer ?? 0) alerts, "
                    + "next look \(text(group, "nextLook"))\(told)")
            for stage in group["stages"]?.array ?? [] {
                let mark = stage["passes"]?.bool == true ? "passes" : "HELD BACK"
                lines.append("         \(text(stage, "stage")): \(mark), \(text(stage, "why"))")
            }
            lines.append("         \(text(group, "verdict"))")
        }
        for member in json["channels"]?.members ?? [] {
            let ids = (member.value.array ?? []).compactMap(\.string).joined(separator: ", ")
            lines.append("told     \(member.name): \(ids.isEmpty ? "has no channel, so nobody" : ids)")
        }
        for page in json["pages"]?.array ?? [] {
            let failure = text(page, "lastError")
            lines.append(
                "on way   \(text(page, "channel")), \(page["attempts"]?.integer ?? 0) tries"
                    + (failure.isEmpty ? "" : ": \(failure)"))
        }
        for line in json["ledger"]?.array ?? [] {
            lines.append(
                "ledger   \(text(line, "time")) \(text(line, "channel")) \(text(line, "outcome")) \(text(line, "message"))"
            )
        }
    }
}

/// `vedette alerts whatif --config NEW`.
struct AlertsWhatIf: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "whatif",
        abstract: "Play the recorded alerts through a changed configuration; exits with 1 when it pages otherwise.")

    @Option(help: "The changed configuration.") var config: String
    @Option(help: "The configuration that it is compared with.") var old = "vedette.yaml"
    @Option(help: "Alerts to play in place of the daemon's record: JSON as amtool and the API print it.")
    var alerts: String?
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let (files, clock) = (SystemFiles(), SystemClock())
        let settings = try [old, config].map { try daemonSettings($0, files: files).notifying }
        let (recorded, end) = try await record(files, now: clock.now())
        guard !recorded.isEmpty else {
            throw Refusal("no alert is recorded yet; give some with --alerts FILE")
        }
        let silences = alerts == nil ? try await silences(settings[0].zones) : []
        let told = settings.map { AlertReplay.play(recorded, through: $0, silences: silences, until: end) }
        let (gone, added) = AlertReplay.difference(told[0], told[1])
        let rows = (gone.map { ("-", $0) } + added.map { ("+", $0) }).sorted {
            ($0.1.time, $0.1.channel, $0.0) < ($1.1.time, $1.1.channel, $1.0)
        }
        Output.rows(
            ["change", "time", "channel", "firing", "resolved", "page"],
            rows.map { mark, page in
                [mark, "\(page.time)", page.channel, "\(page.firing)", "\(page.resolved)", page.title]
            }, output)
        if output == .table {
            Output.line(
                "\(recorded.count) alerts: \(told[0].count) pages before, \(told[1].count) after; "
                    + "\(gone.count) gone, \(added.count) new")
        }
        if !rows.isEmpty { throw ExitCode(1) }
    }

    private func record(_ files: SystemFiles, now: Timestamp) async throws -> ([Alert], Timestamp) {
        guard let alerts else {
            let json = try await client.get("/api/vedette/v1/alerts/history")
            return (
                Alert.list(json["alerts"] ?? .array([]), now: now),
                json["now"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? now
            )
        }
        let list = try Alert.list(inFile: alerts, files, now: now)
        return (list, max(now, list.compactMap(\.endsAt).max() ?? now) + 3_600_000)
    }

    private func silences(_ zones: ZoneFinder) async throws -> [Silence] {
        var found: [Silence] = []
        for json in try await client.document("/api/v2/silences").array ?? [] {
            if let silence = try SilenceFile.silence(json, zones) { found.append(silence) }
        }
        return found
    }
}

extension Alert {
    /// Alerts as the API, amtool and `POST /api/v2/alerts` have them.
    static func list(_ json: JSON, now: Timestamp) -> [Alert] {
        (json.array ?? []).map { item in
            Alert(
                labels: Labels(item["labels"]?.strings ?? [:]), annotations: item["annotations"]?.strings ?? [:],
                startsAt: item["startsAt"]?.string.flatMap(Timestamp.init(rfc3339:)) ?? now,
                endsAt: item["endsAt"]?.string.flatMap(Timestamp.init(rfc3339:)).flatMap { $0 <= now ? $0 : nil },
                generatorURL: item["generatorURL"]?.string ?? "")
        }
    }

    /// The same from a file.
    static func list(inFile path: String, _ files: SystemFiles, now: Timestamp) throws -> [Alert] {
        do {
            let json = try JSON(parsing: files.contents(of: path))
            guard let items = json.array, items.allSatisfy({ $0["labels"]?.strings?.isEmpty == false }) else {
                throw Refusal("\(path): must hold a list of alerts, each with labels")
            }
            return list(json, now: now)
        } catch let error as JSONError {
            throw Refusal("\(path):\(error); write a list of alerts as JSON")
        } catch let error as FileError {
            throw Refusal("\(path) cannot be read: \(error.reason); check --alerts")
        }
    }
}
