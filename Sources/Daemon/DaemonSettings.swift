public import Basics
public import Model
public import Notifying
public import Rules
public import Scraping
public import Settings
public import Storage

/// The daemon's file, `vedette.yaml`: each section belongs to the room that reads it.
public struct DaemonSettings: Sendable {
    /// `global`.
    public var scrapeDefaults = ScrapeDefaults()
    /// `global.evaluation_interval`, 1 m by default.
    public var evaluationInterval: Milliseconds = 60_000
    /// `scrape_configs`.
    public var jobs: [ScrapeJob] = []
    /// `health_checks`.
    public var checks: [HealthCheck] = []
    /// `global.external_labels`, laid under the labels of every alert.
    public var externalLabels = Labels()
    /// The groups of all `rule_files`.
    public var groups: [GroupDefinition] = []
    /// `route`, `receivers`.
    public var notifying = NotifyingSettings.none
    /// What is odd and yet no mistake.
    public var warnings: [String] = []
    /// `storage`.
    public var storage = StorageSettings()

    /// Reads a file and the rule files it names; all is checked, and nothing is changed by it.
    public init(path: String, files: any FileSystem) throws(SettingsError) {
        let bytes = try DaemonSettings.contents(of: path, files, cure: "give the file's path with --config")
        let map = try SettingsDocument(bytes, file: path).map()
        try readGlobal(map)
        notifying = try NotifyingSettings(from: map)
        if let global = try map.takeMap("global") { try global.finish() }
        try readTargets(map)
        try readRules(map, files)
        if let part = try map.takeMap("storage") { storage = try StorageSettings(from: part) }
        try map.refuse(
            ["remote_write", "remote_read", "alerting", "scrape_config_files", "otlp", "tracing", "runtime"],
            "leave it out; routes and receivers stand in this file")
        try map.finish()
    }

    private mutating func readGlobal(_ map: SettingsMap) throws(SettingsError) {
        if let global = try map.takeMap("global") {
            scrapeDefaults.interval = try global.takeDuration("scrape_interval", default: scrapeDefaults.interval)
            scrapeDefaults.timeout = try global.takeDuration(
                "scrape_timeout", default: min(scrapeDefaults.timeout, scrapeDefaults.interval))
            guard scrapeDefaults.timeout <= scrapeDefaults.interval else {
                throw global.error("scrape_timeout", "must not be above scrape_interval")
            }
            evaluationInterval = try global.takeDuration("evaluation_interval", default: evaluationInterval)
            guard evaluationInterval > 0 else { throw global.error("evaluation_interval", "must be above 0") }
            externalLabels = Labels(try global.take("external_labels", default: [String: String]()))
        }
    }

    private mutating func readTargets(_ map: SettingsMap) throws(SettingsError) {
        var names: Set<String> = []
        for part in try map.takeMaps("scrape_configs") {
            let job = try ScrapeJob(from: part, defaults: scrapeDefaults)
            guard names.insert(job.name).inserted else {
                throw part.error("job_name", "'\(job.name)' is the name of two jobs; rename one")
            }
            jobs.append(job)
        }
        names = []
        for part in try map.takeMaps("health_checks") {
            let check = try HealthCheck(from: part)
            guard names.insert(check.name).inserted else {
                throw part.error("name", "'\(check.name)' is the name of two checks; rename one")
            }
            checks.append(check)
        }
    }

    private mutating func readRules(_ map: SettingsMap, _ files: any FileSystem) throws(SettingsError) {
        var read: Set<String> = []
        for pattern in try map.takePaths("rule_files") {
            let paths = files.glob(pattern)
            if paths.isEmpty { warnings.append("rule_files: no file matches '\(pattern)'") }
            // A file that two patterns name is one file.
            for path in paths where read.insert(path).inserted {
                groups += try DaemonSettings.ruleFile(path, files).groups
            }
        }
    }

    /// What it holds, in a few words.
    public var summary: String {
        let rules = groups.flatMap(\.rules).count
        return "\(jobs.count) scrape jobs, \(checks.count) health checks, \(rules) rules in \(groups.count) groups, "
            + "\(notifying.receivers.count) receivers"
    }

    /// Reads and checks one rule file.
    public static func ruleFile(_ path: String, _ files: any FileSystem) throws(SettingsError) -> RuleFile {
        try RuleFile(contents(of: path, files, cure: "mend rule_files or the file"), file: path, files: files)
    }

    private static func contents(
        of path: String, _ files: any FileSystem, cure: String
    ) throws(SettingsError) -> [UInt8] {
        let limit = SettingsLimits().bytes
        do throws(FileError) {
            return try files.contents(of: path, limit: limit)
        } catch {
            let message =
                error.code == FileError.tooLarge
                ? "the file is longer than \(limit) bytes; split it" : "cannot be read: \(error.reason); \(cure)"
            throw SettingsError(SourceLocation(file: path), message)
        }
    }
}
