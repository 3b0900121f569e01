internal import Alerting
internal import ArgumentParser
internal import Basics
internal import Glibc
internal import Model

/// `vedette silence`: what people do not want to hear of for a while.
struct SilenceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "silence", abstract: "Add, list and end silences.",
        subcommands: [SilenceAdd.self, SilenceList.self, SilenceExpire.self, SilenceImport.self],
        defaultSubcommand: SilenceList.self)
}

/// `vedette silence add alertname=X team=db --duration 2h`.
struct SilenceAdd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Silence alerts; prints the silence's id.",
        discussion: """
            One that recurs: --times '[{"weekdays":["sunday"],"times":[{"start_time":"02:00","end_time":"04:00"}],
            "location":"Europe/Berlin"}]' --duration 90d; its next times are printed.
            """)

    @Argument(help: "Matchers, such as alertname=X or team=~'a|b'; a bare first word is an alert's name.")
    var matchers: [String]
    @Option(help: "For how long.") var duration = "1h"
    @Option(help: "From when on, RFC 3339; now by default.") var start: String?
    @Option(help: "Who makes it; the user's name by default.") var author: String?
    @Option(help: "Why.") var comment: String
    @Option(help: "When it recurs: a JSON list of time intervals in Alertmanager's form.") var times: String?
    @Flag(help: "End it when the last alert that it holds back is over.") var untilResolved = false
    @OptionGroup var client: Client

    func run() async throws {
        let clock = SystemClock()
        guard !comment.trimmed.isEmpty else { throw Refusal("--comment is empty; say why") }
        guard let length = DurationText.parse(duration), length > 0 else {
            throw Refusal("--duration: '\(duration)' is no duration; write it as 2h or 30m")
        }
        var begin = clock.now()
        if let start {
            guard let moment = Timestamp(rfc3339: start) else {
                throw Refusal("--start: '\(start)' is no moment; write it as 2026-11-20T03:00:00Z")
            }
            begin = moment
        }
        var annotations: [String: String] = [:]
        if let times { annotations[Silence.timesKey] = times }
        if untilResolved { annotations[Silence.endsWithAlertsKey] = "true" }
        let files = SystemFiles()
        let silence: Silence
        do {
            silence = try Silence(
                matchers: parsed(), startsAt: begin, endsAt: begin + length,
                createdBy: author ?? userName(), comment: comment, annotations: annotations,
                zones: { CivilZone($0, files: files) })
        } catch {
            throw Refusal("\(error)")
        }
        let answer = try await client.exchange("/api/v2/silences", SilenceFile.json(silence))
        Output.line(answer["silenceID"]?.string ?? "")
        guard times != nil else { return }
        for next in silence.nextTimes(after: clock.now(), count: 10) { Output.line("  \(next.from) – \(next.to)") }
    }

    private func parsed() throws -> [Matcher] {
        var found: [Matcher] = []
        for (place, text) in matchers.enumerated() {
            let isName = place == 0 && !text.contains { "=!~".contains($0) }
            do {
                found += isName ? [Matcher("alertname", equals: text)] : try MatcherParser.matchers(text)
            } catch {
                throw Refusal("\(error); write name=value or name=~expression")
            }
        }
        return found
    }
}

/// `vedette silence list`.
struct SilenceList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List silences; as JSON, `vedette silence import` and amtool take them.")

    @Flag(help: "Those that are over too.") var expired = false
    @Option(help: "Only those that this person made.") var createdBy: String?
    @Option(help: "table, json or csv.") var output = OutputFormat.table
    @OptionGroup var client: Client

    func run() async throws {
        let all = try await client.document("/api/v2/silences", [("expired", expired ? "true" : "false")]).array ?? []
        let shown = all.filter { createdBy == nil || $0["createdBy"]?.string == createdBy }
        guard output != .json else { return Output.line(JSON.array(shown).text) }
        let rows = shown.map { silence in
            let matchers = (silence["matchers"]?.array ?? []).map(SilenceFile.text).joined(separator: " ")
            let isRecurring = silence["annotations"]?[Silence.timesKey] != nil
            let ends = silence["annotations"]?[Silence.endsWithAlertsKey]?.string == "true"
            return [
                silence["id"]?.string ?? "", silence["status"]?["state"]?.string ?? "", matchers,
                (silence["endsAt"]?.string ?? "") + (isRecurring ? ", recurring" : "")
                    + (ends ? ", or with its alerts" : ""),
                silence["createdBy"]?.string ?? "", silence["comment"]?.string ?? "",
            ]
        }
        Output.rows(["id", "state", "matchers", "ends", "by", "comment"], rows, output)
    }
}

/// `vedette silence expire ID…`.
struct SilenceExpire: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "expire", abstract: "End silences now.")

    @Argument(help: "Their ids.") var ids: [String]
    @OptionGroup var client: Client

    func run() async throws {
        for id in ids {
            guard try await client.isFound("/api/v2/silence/\(id.percentEncoded)") else {
                throw Refusal("there is no silence '\(id)'; `vedette silence list` shows their ids")
            }
            _ = try await client.exchange("/api/v2/silence/\(id.percentEncoded)", method: "DELETE")
        }
    }
}

/// `vedette silence import FILE`.
struct SilenceImport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Make the silences of a file that `list --output json` or amtool wrote.")

    @Argument(help: "The file.") var file: String
    @OptionGroup var client: Client

    func run() async throws {
        let list: JSON
        do {
            list = try JSON(parsing: SystemFiles().contents(of: file))
        } catch {
            throw Refusal("\(file): \(error); give what `vedette silence list --output json` prints")
        }
        guard let silences = list.array, silences.allSatisfy({ $0["matchers"]?.array?.isEmpty == false }) else {
            throw Refusal(
                "\(file): must hold a list of silences; give what `vedette silence list --output json` prints")
        }
        for silence in silences {
            let kept = (silence.members ?? []).filter { !["id", "status", "updatedAt"].contains($0.name) }
            let answer = try await client.exchange("/api/v2/silences", .object(kept))
            Output.line(answer["silenceID"]?.string ?? "")
        }
    }
}

/// The name of the person who runs the command.
private func userName() -> String {
    for name in ["USER", "LOGNAME"] {
        if let value = unsafe getenv(name) { return unsafe String(cString: value) }
    }
    guard let entry = unsafe getpwuid(getuid()), let name = unsafe entry.pointee.pw_name else { return "unknown" }
    return unsafe String(cString: name)
}

/// A silence as Alertmanager's API has it.
enum SilenceFile {
    static func json(_ silence: Silence) -> JSON {
        [
            "matchers": .array(
                silence.matchers.map {
                    [
                        "name": .string($0.name), "value": .string($0.value), "isRegex": .bool($0.pattern != nil),
                        "isEqual": .bool($0.operation == .equal || $0.operation == .matches),
                    ]
                }), "startsAt": .string(silence.startsAt.rfc3339()), "endsAt": .string(silence.endsAt.rfc3339()),
            "createdBy": .string(silence.createdBy), "comment": .string(silence.comment),
            "annotations": JSON(silence.annotations),
        ]
    }

    static func text(_ matcher: JSON) -> String {
        let isEqual = matcher["isEqual"]?.bool ?? true
        let mark = matcher["isRegex"]?.bool == true ? (isEqual ? "=~" : "!~") : isEqual ? "=" : "!="
        return "\(matcher["name"]?.string ?? "")\(mark)\((matcher["value"]?.string ?? "").goQuoted)"
    }

    /// Nil when it is not complete.
    static func silence(_ json: JSON, _ zones: ZoneFinder) throws -> Silence? {
        guard let start = json["startsAt"]?.string.flatMap(Timestamp.init(rfc3339:)),
            let end = json["endsAt"]?.string.flatMap(Timestamp.init(rfc3339:))
        else { return nil }
        let matchers = try (json["matchers"]?.array ?? []).flatMap { try MatcherParser.utf8(text($0)) }
        return try Silence(
            id: json["id"]?.string ?? "", matchers: matchers, startsAt: start, endsAt: end,
            createdBy: json["createdBy"]?.string ?? "", comment: json["comment"]?.string ?? "",
            annotations: json["annotations"]?.strings ?? [:], zones: zones)
    }
}
