internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Exposition
internal import Query
internal import Rules
internal import Scraping
internal import Settings

/// `vedette check`: reads files as the daemon would, and starts nothing.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check configuration and rule files, and pages of metrics.",
        subcommands: [CheckConfig.self, CheckRules.self, CheckMetrics.self, CheckTarget.self])
}

struct CheckConfig: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check a configuration with the rule files it names.")

    @Argument(help: "The configuration files.") var files = ["vedette.yaml"]
    @Flag(help: "Read the configuration alone: not its rules, certificates and secrets, and no lints.")
    var syntaxOnly = false
    @OptionGroup var lints: LintOptions
    @OptionGroup var client: Client

    func run() async throws {
        var (isGood, finds) = (true, 0)
        for file in files {
            do throws(SettingsError) {
                let settings = try DaemonSettings(
                    path: file, files: SystemFiles(), variables: environmentVariable, alone: syntaxOnly)
                for warning in settings.warnings { Output.problem("\(file): warning: \(warning)") }
                let problems =
                    syntaxOnly
                    ? [] : missing(settings) + settings.jobs.flatMap(\.spoiledTargets) + (await unknown(settings))
                for problem in problems { Output.problem(settings.variables.masked(problem).description) }
                isGood = isGood && problems.isEmpty
                if problems.isEmpty { Output.line("\(file): good: \(settings.summary)") }
                if !syntaxOnly { finds += lints.look(at: settings.groups) + lints.look(at: settings.jobs) }
            } catch {
                Output.problem(error.description)
                isGood = false
            }
        }
        if !isGood { throw ExitCode(1) }
        try lints.end(finds)
    }

    /// Certificates and secrets that are not where the configuration says.
    private func missing(_ settings: DaemonSettings) -> [SettingsError] {
        settings.neededFiles.compactMap { path, location in
            do throws(FileError) {
                if try SystemFiles().attributes(of: path) != nil { return nil }
                return SettingsError(location, "'\(path)' is not there; mend the path or write the file")
            } catch {
                return SettingsError(location, "'\(path)' cannot be looked at: \(error.reason)")
            }
        }
    }

    /// Triggers whose metric neither a rule nor a declaration nor the running daemon's store knows.
    private func unknown(_ settings: DaemonSettings) async -> [SettingsError] {
        var problems: [SettingsError] = []
        for (metric, problem) in settings.unrecordedTriggers {
            // Without a daemon there are no series to look at.
            let known = try? await client.get("/api/v1/query", [("query", "count(\(metric))")])["result"]?.array
            if known?.isEmpty ?? true { problems.append(problem) }
        }
        return problems
    }
}

struct CheckRules: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rules", abstract: "Check rule files.")

    @Argument(help: "The rule files.") var files: [String]
    @OptionGroup var lints: LintOptions
    @Flag(help: "Pass over keys that are not known.") var ignoreUnknownFields = false
    @Flag(help: "Look at the form alone, for files that are not ours: no lints, other tools' keys and resources pass.")
    var syntaxOnly = false

    func run() throws {
        var (isGood, finds) = (true, 0)
        for file in files {
            do throws(SettingsError) {
                let rules = try DaemonSettings.ruleFile(
                    file, SystemFiles(), ignoringUnknownKeys: ignoreUnknownFields, isForeign: syntaxOnly)
                Output.line(
                    "\(file): good: \(rules.groups.flatMap(\.rules).count) rules in \(rules.groups.count) groups")
                if !syntaxOnly { finds += lints.look(at: rules.groups) }
            } catch {
                Output.problem(error.description)
                isGood = false
            }
        }
        if !isGood { throw ExitCode(1) }
        try lints.end(finds)
    }
}

/// What is looked at beyond whether a file is right.
///
/// - SeeAlso: Prometheus, `cmd/promtool/main.go`, `--lint`.
struct LintOptions: ParsableArguments {
    enum Lint: String, ExpressibleByArgument, CaseIterable {
        case all
        case duplicateRules = "duplicate-rules"
        case tooLongScrapeInterval = "too-long-scrape-interval"
        case none
    }

    @Option(help: "Which habits to look for.") var lint = Lint.all
    @Flag(help: "Exit with 3 when a lint finds something.") var lintFatal = false

    /// Tells duplicate rules; answers how many.
    func look(at groups: [GroupDefinition]) -> Int {
        guard lint == .all || lint == .duplicateRules else { return 0 }
        let duplicates = groups.duplicateRules
        for rule in duplicates {
            let labels = rule.labels.map { "\($0.name)=\($0.text.goQuoted)" }.joined(separator: ", ")
            Output.problem(
                "\(rule.location): warning: duplicate rule \(rule.name) {\(labels)}; "
                    + "two rules that give the same series disturb each other, remove one")
        }
        return duplicates.count
    }

    /// Tells jobs whose series are stale before the next scrape; answers how many.
    func look(at jobs: [ScrapeJob]) -> Int {
        guard lint == .all || lint == .tooLongScrapeInterval else { return 0 }
        let lookback = QueryOptions().lookback
        let slow = jobs.filter { $0.interval >= lookback }
        for job in slow {
            Output.problem(
                "warning: the job '\(job.name)' is scraped every \(DurationText.format(job.interval)), and queries look "
                    + "back \(DurationText.format(lookback)): its series are missing in between; make scrape_interval 2m"
            )
        }
        return slow.count
    }

    func end(_ finds: Int) throws {
        if finds > 0, lintFatal { throw ExitCode(3) }
    }
}

enum MetricsFormat: String, ExpressibleByArgument, CaseIterable {
    case text, openmetrics
}

struct CheckMetrics: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics",
        abstract: "Check a page of metrics, strictly, and the customs of naming.",
        discussion: "Mistakes are told as FILE:LINE:COLUMN. With neither, exit status 0; with either, 1.")

    @Argument(help: "The pages; - is standard input.") var files = ["-"]
    @Option(help: "The pages' format. By default OpenMetrics where the last line is # EOF.") var format: MetricsFormat?
    @Flag(help: "Leave out the customs of naming.") var noLint = false

    /// Longer pages are refused.
    private static let limit = 256 << 20

    func run() throws {
        let format: ExpositionFormat? = format.map { $0 == .text ? .text : .openMetrics }
        var isGood = true
        for file in files {
            let name = file == "-" ? "stdin" : file
            let page: [UInt8]
            do throws(FileError) {
                page =
                    file == "-"
                    ? try StandardInput.contents(limit: CheckMetrics.limit)
                    : try SystemFiles().contents(of: file, limit: CheckMetrics.limit)
            } catch {
                throw Refusal("\(name): cannot be read: \(error.reason)")
            }
            if let mistake = MetricsChecker.mistake(in: page, format: format) {
                Output.problem("\(name):\(mistake)")
                isGood = false
                continue
            }
            let lints = noLint ? [] : MetricsChecker.lints(of: page, format: format)
            for lint in lints { Output.problem("\(name):\(lint)") }
            isGood = isGood && lints.isEmpty
            let counts = MetricsChecker.counts(in: page, format: format) ?? (0, 0)
            if lints.isEmpty {
                Output.line("\(name): good: \(counts.samples) samples in \(counts.families) families")
            }
        }
        if !isGood { throw ExitCode(1) }
    }
}
