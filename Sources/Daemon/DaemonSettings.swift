public import Basics
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
    /// `rule_files`, patterns of paths, relative to the file.
    public var ruleFiles: [String] = []
    /// `storage`.
    public var storage = StorageSettings()

    /// Reads a file. `files` is asked for nothing but this one.
    public init(path: String, files: any FileSystem) throws(SettingsError) {
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try files.contents(of: path, limit: 16 << 20)
        } catch {
            throw SettingsError(
                SourceLocation(file: path), "cannot be read: \(error.reason); give the file's path with --config")
        }
        let map = try SettingsDocument(bytes, file: path).map()
        try self.init(from: map, directory: path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "")
    }

    init(from map: SettingsMap, directory: String) throws(SettingsError) {
        if let global = try map.takeMap("global") {
            scrapeDefaults.interval = try global.takeDuration("scrape_interval", default: scrapeDefaults.interval)
            scrapeDefaults.timeout = try global.takeDuration(
                "scrape_timeout", default: min(scrapeDefaults.timeout, scrapeDefaults.interval))
            guard scrapeDefaults.timeout <= scrapeDefaults.interval else {
                throw global.error("scrape_timeout", "must not be above scrape_interval")
            }
            evaluationInterval = try global.takeDuration("evaluation_interval", default: evaluationInterval)
            guard evaluationInterval > 0 else { throw global.error("evaluation_interval", "must be above 0") }
            try global.finish()
        }
        var names: Set<String> = []
        for part in try map.takeMaps("scrape_configs") {
            let job = try ScrapeJob(from: part, defaults: scrapeDefaults, directory: directory)
            guard names.insert(job.name).inserted else {
                throw part.error("job_name", "'\(job.name)' is the name of two jobs; rename one")
            }
            jobs.append(job)
        }
        names = []
        for part in try map.takeMaps("health_checks") {
            let check = try HealthCheck(from: part, directory: directory)
            guard names.insert(check.name).inserted else {
                throw part.error("name", "'\(check.name)' is the name of two checks; rename one")
            }
            checks.append(check)
        }
        ruleFiles = try map.take("rule_files", default: [])
        ruleFiles = ruleFiles.map { $0.hasPrefix("/") || directory.isEmpty ? $0 : "\(directory)/\($0)" }
        if let part = try map.takeMap("storage") { storage = try StorageSettings(from: part) }
        try map.finish()
    }
}
