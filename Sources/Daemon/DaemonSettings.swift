public import Alerting
public import Basics
public import Model
public import Notifying
internal import Query
public import Remote
public import Rollback
public import Rules
public import Scraping
public import Settings
public import Storage
public import Web
public import Workloads

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
    /// Whether checks record blackbox_exporter's names too where they do not say.
    public var offersBlackboxNames = false
    /// Of how many checks the series are on `/metrics`.
    public var exposedChecks = 1000
    /// `global.external_labels`, laid under the labels of every alert.
    public var externalLabels = Labels()
    /// The groups of all `rule_files`.
    public var groups: [GroupDefinition] = []
    /// `rollback`.
    public var rollback = RollbackSettings()
    /// Triggers whose metric no rule records and no service is said to export: they need a series in the store.
    public var unrecordedTriggers: [(metric: String, problem: SettingsError)] = []
    /// `database`.
    public var database = DatabaseSettings()
    /// `workloads`.
    public var workloads = WorkloadSettings()
    /// `alerting`: Alertmanagers that are told of our rules' alerts too.
    public var alertmanagers: [AlertmanagerPeer] = []
    /// `alerting.peers`: daemons that are given the same alerts; nil: there are none.
    public var peers: PeerSettings?
    /// `remote_write`: stores that all samples are sent to.
    public var remoteWrite: [RemoteWriteSettings] = []
    /// `global.query_source`: the one of groups that name none; nil: our own store.
    private var ruleSource: String?
    /// `query_sources`: servers that rules are evaluated by.
    public var querySources: [RemotePeer] = []
    /// `route`, `receivers`.
    public var notifying = NotifyingSettings.none
    /// The files that it rests on besides, secrets and certificates, with the place that names each.
    public var neededFiles: [(path: String, location: SourceLocation)] = []
    /// What is odd and yet no mistake.
    public var warnings: [String] = []
    /// `web`.
    public var web = WebSettings()
    /// `storage`.
    public var storage = StorageSettings()
    /// The variables that it names, and what of them no message may repeat.
    public let variables: Variables

    /// Reads a file and the rule files it names; all is checked, and nothing is changed by it.
    ///
    /// - Parameters:
    ///   - variables: Where `${NAME}` in it and in `scrape_config_files` comes from; it is shown as written.
    ///   - mode: Which grammar of matchers counts.
    ///   - alone: The rule files are not read.
    public init(
        path: String, files: any FileSystem, variables: @escaping Variables.Source, mode: MatcherMode = .fallback,
        alone: Bool = false
    ) throws(SettingsError) {
        self.variables = Variables(variables)
        do throws(SettingsError) {
            try read(path, files, mode, alone: alone)
        } catch {
            throw self.variables.masked(error)
        }
        warnings = warnings.map(self.variables.masked)
        unrecordedTriggers = unrecordedTriggers.map { ($0.metric, self.variables.masked($0.problem)) }
    }

    private mutating func read(
        _ path: String, _ files: any FileSystem, _ mode: MatcherMode, alone: Bool
    ) throws(SettingsError) {
        let bytes = try DaemonSettings.contents(of: path, files, cure: "give the file's path with --config")
        let document = try SettingsDocument(bytes, file: path, variables: variables)
        let map = try document.map()
        try readGlobal(map)
        notifying = try NotifyingSettings(
            from: map, style: DaemonSettings.isAlertmanagers(map) ? .alertmanager : .evidence,
            files: SettingsFiles(files), mode: mode, zones: { DaemonSettings.zone($0, files) })
        warnings += notifying.warnings
        if let global = try map.takeMap("global") { try global.finish() }
        try readTargets(map, files)
        if alone { _ = try map.takePaths("rule_files") } else { try readRules(map, files) }
        if let part = try map.takeMap("storage") {
            storage = try StorageSettings(from: part, selector: DaemonSettings.matchers)
        }
        database = try DatabaseSettings(from: map)
        if let part = try map.takeMap("workloads") { workloads = try WorkloadSettings(from: part, files: files) }
        if let part = try map.takeMap("rollback") { rollback = try RollbackSettings(from: part) }
        try readTriggers(map, file: path)
        if let part = try map.takeMap("web") { web = try WebSettings(from: part) }
        if let part = try map.takeMap("alerting") {
            if let others = try part.takeMap("peers") {
                peers = try PeerSettings(from: others, hostname: ProcessFigures.hostname(files: files))
            }
            alertmanagers = try AlertmanagerPeer.all(from: part)
        }
        remoteWrite = try RemoteWriteSettings.all(from: map)
        try readSources(map)
        try map.refuse(
            ["remote_read"], "leave it out; rules ask another server by query_source, see query_sources")
        try map.refuse(
            ["otlp", "tracing", "runtime"], "leave it out; routes and receivers stand in this file")
        try map.finish()
        neededFiles = document.neededFiles
    }

    /// Whether a file holds nothing but what an Alertmanager's may: its pages then look as they always did.
    private static func isAlertmanagers(_ map: SettingsMap) -> Bool {
        let sections: Set = [
            "global", "route", "receivers", "inhibit_rules", "templates", "time_intervals", "mute_time_intervals",
        ]
        return map.has("route") && map.keys.allSatisfy(sections.contains)
    }

    /// A time zone of this machine; `Local` is its own.
    private static func zone(_ name: String, _ files: any FileSystem) -> CivilZone? {
        guard name == "Local" else { return CivilZone(name, files: files) }
        return (try? files.contents(of: "/etc/localtime")).flatMap { CivilZone(name: name, bytes: $0) } ?? .utc
    }

    private mutating func readGlobal(_ map: SettingsMap) throws(SettingsError) {
        if let global = try map.takeMap("global") {
            scrapeDefaults = try ScrapeDefaults(from: global)
            evaluationInterval = try global.takeDuration("evaluation_interval", default: evaluationInterval)
            guard evaluationInterval > 0 else { throw global.error("evaluation_interval", "must be above 0") }
            let given = try global.take("external_labels", default: [String: String]())
            for name in given.keys.sorted() where name.isEmpty {
                throw global.error("external_labels", "a label has no name; give it one")
            }
            externalLabels = Labels(given)
            ruleSource = try global.take("query_source")
            offersBlackboxNames = try global.take("blackbox_names", default: false)
            exposedChecks = try global.take("exposed_health_checks", default: exposedChecks)
            guard exposedChecks >= 0 else { throw global.error("exposed_health_checks", "is a number from 0") }
        }
    }

    private mutating func readTargets(_ map: SettingsMap, _ files: any FileSystem) throws(SettingsError) {
        var names: Set<String> = []
        try readJobs(map, &names)
        for pattern in try DaemonSettings.patterns("scrape_config_files", map) {
            let paths = files.glob(pattern)
            if paths.isEmpty { warnings.append("scrape_config_files: no file matches '\(pattern)'") }
            for path in paths {
                let bytes = try DaemonSettings.contents(of: path, files, cure: "mend scrape_config_files or the file")
                let part = try SettingsDocument(bytes, file: path, variables: variables).map()
                try readJobs(part, &names)
                try part.finish()
            }
        }
        names = []
        for part in try map.takeMaps("health_checks") {
            let check = try HealthCheck(from: part, blackboxNames: offersBlackboxNames)
            guard names.insert(check.name).inserted else {
                throw part.error("name", "'\(check.name)' is the name of two checks; rename one")
            }
            checks.append(check)
        }
    }

    private mutating func readJobs(_ map: SettingsMap, _ names: inout Set<String>) throws(SettingsError) {
        for part in try map.takeMaps("scrape_configs") {
            let job = try ScrapeJob(from: part, defaults: scrapeDefaults)
            guard names.insert(job.name).inserted else {
                throw part.error("job_name", "'\(job.name)' is the name of two jobs; rename one")
            }
            jobs.append(job)
        }
    }

    /// Patterns of file names; `*` may stand in their last part alone.
    private static func patterns(_ key: String, _ map: SettingsMap) throws(SettingsError) -> [String] {
        let patterns = try map.takePaths(key)
        for pattern in patterns
        where pattern.prefix(upTo: pattern.lastIndex(of: "/") ?? pattern.startIndex).contains("*") {
            throw map.error(key, "'\(pattern)' cannot be searched; write * behind the last / alone")
        }
        return patterns
    }

    private mutating func readRules(_ map: SettingsMap, _ files: any FileSystem) throws(SettingsError) {
        var read: Set<String> = []
        for pattern in try DaemonSettings.patterns("rule_files", map) {
            let paths = files.glob(pattern)
            if paths.isEmpty { warnings.append("rule_files: no file matches '\(pattern)'") }
            // A file that two patterns name is one file.
            for path in paths where read.insert(path).inserted {
                groups += try DaemonSettings.ruleFile(path, files).groups
            }
        }
    }

    private mutating func readSources(_ map: SettingsMap) throws(SettingsError) {
        querySources = try RemotePeer.querySources(from: map)
        func check(_ name: String, _ place: SourceLocation) throws(SettingsError) {
            let known = querySources.map(\.name) + [GroupDefinition.localSource]
            guard !known.contains(name), RemotePeer(address: name) == nil else { return }
            let near = name.nearest(among: known).map { "did you mean '\($0)'?" }
            throw SettingsError(
                place,
                "query_source: '\(name)' is none of query_sources; \(near ?? "add it there, or give its address")")
        }
        if let ruleSource {
            try check(ruleSource, (try map.takeMap("global"))?.location(of: "query_source") ?? map.location)
        }
        for index in groups.indices {
            if let name = groups[index].querySource {
                try check(name, groups[index].location)
            } else {
                groups[index].querySource = ruleSource
            }
        }
    }

    private mutating func readTriggers(_ map: SettingsMap, file: String) throws(SettingsError) {
        let kinds = try MetricKind.all(declaredIn: map)
        let triggers = try TriggerSettings(from: map, kinds: kinds)
        let recorded = Set(groups.flatMap(\.rules).filter { $0.kind == .recording }.map(\.name))
        for (rule, place) in triggers.rules {
            guard let trigger = rule.trigger else { continue }
            guard rollback.knows(trigger.action) else {
                throw SettingsError(trigger.actionLocation, "action: \(rollback.unknown(trigger.action))")
            }
            if recorded.contains(trigger.metric) || kinds[trigger.metric]?.isExported == true { continue }
            let problem = SettingsError(
                place,
                "metric: no rule of rule_files records '\(trigger.metric)'"
                    + (trigger.metric.nearest(among: recorded).map { "; did you mean '\($0)'?" }
                        ?? "; record it, or, where a service exports it under this name, say so: "
                        + "metrics: - {name: \(trigger.metric), worse: up, exported: true}"))
            unrecordedTriggers.append((trigger.metric, problem))
        }
        var freshness = Freshness()
        for job in jobs { freshness.intervals[job.name] = job.interval }
        freshness.longest = max(
            evaluationInterval,
            (jobs.map(\.interval) + checks.map(\.interval) + groups.compactMap(\.interval)).max() ?? 0)
        if let group = triggers.group(recordedBy: groups, freshness: freshness, file: file) { groups.append(group) }
    }

    /// The names of all triggers.
    public var triggerNames: Set<String> {
        Set(groups.flatMap(\.rules).filter { $0.kind == .trigger }.map(\.name))
    }

    /// What it holds, in a few words.
    public var summary: String {
        let triggers = triggerNames.count
        let rules = groups.flatMap(\.rules).count - triggers
        let ruleGroups = groups.count - (triggers > 0 ? 1 : 0)
        return "\(jobs.count) scrape jobs, \(checks.count) health checks, \(rules) rules in \(ruleGroups) groups, "
            + "\(notifying.receivers.count) receivers"
            + (triggers > 0 || !rollback.actions.isEmpty
                ? ", \(triggers) triggers, \(rollback.actions.count) rollback actions" : "")
    }

    /// Reads and checks one rule file.
    public static func ruleFile(
        _ path: String, _ files: any FileSystem, ignoringUnknownKeys: Bool = false, isForeign: Bool = false
    ) throws(SettingsError) -> RuleFile {
        let bytes = try contents(of: path, files, cure: "mend rule_files or the file")
        if isForeign { return try RuleFile(foreign: bytes, file: path) }
        return try RuleFile(bytes, file: path, files: files, ignoringUnknownKeys: ignoringUnknownKeys)
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

extension DaemonSettings {
    private struct NoSelector: Error, CustomStringConvertible {
        let description = "is no selector; write a metric's name and labels alone, such as {job=\"web\"}"
    }

    /// The matchers of a selector.
    static func matchers(_ text: String) throws -> [Matcher] {
        guard case .vector(let selector) = try Expression(parsing: text).root else { throw NoSelector() }
        return selector.matchers
    }
}
