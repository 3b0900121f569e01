public import Basics
internal import Model
internal import Settings

/// Where targets come from that is asked over the network.
enum RemoteDiscovery: Hashable, Sendable {
    case http(HTTPDiscovery)
    case dns(DNSDiscovery)

    var refreshInterval: Milliseconds {
        switch self {
        case .http(let http): http.refreshInterval
        case .dns(let dns): dns.refreshInterval
        }
    }

    /// For messages; never a secret.
    var name: String {
        switch self {
        case .http(let http): http.url.prefix { $0 != "?" }.split(separator: "@").last.map(String.init) ?? ""
        case .dns(let dns): dns.names.joined(separator: ", ")
        }
    }
}

/// What discovery found.
struct Discovered: Sendable {
    /// In a stable order, each once.
    var targets: [Target] = []
    /// What relabelling dropped, by job as many as `keep_dropped_targets` says; and how many there were.
    var dropped: [DroppedTarget] = []
    var droppedCounts: [String: Int] = [:]
}

/// Turns jobs, discovery files, answers of other programs and checks into targets. It keeps the last good content of
/// each source: a file that is half written or gone for a moment removes no target.
public struct Discovery: Sendable {
    private struct Known {
        var attributes: FileAttributes?
        var groups: [TargetGroup] = []
        var error = ""
        var readAt: UInt64 = 0
    }

    let jobs: [ScrapeJob]
    private let checks: [HealthCheck]
    private let files: any FileSystem
    private let figures: ScrapeFigures
    private let log: any LogSink
    private var known: [String: Known] = [:]
    private var answers: [RemoteDiscovery: Known] = [:]
    private var isChanged = true
    private var problems: Set<String> = []

    /// Nothing is read yet.
    public init(
        jobs: [ScrapeJob], checks: [HealthCheck], files: any FileSystem, figures: ScrapeFigures, log: any LogSink
    ) {
        (self.jobs, self.checks, self.files, self.figures, self.log) = (jobs, checks, files, figures, log)
    }

    /// Takes over what another one has learnt, so that a reload loses no target until its sources were asked again.
    mutating func inherit(from other: Discovery) {
        let remotes = Set(self.remotes)
        answers = other.answers.filter { remotes.contains($0.key) }
        known = other.known
        problems = other.problems
    }

    /// What has to be asked over the network, each once.
    var remotes: [RemoteDiscovery] {
        var seen: Set<RemoteDiscovery> = []
        return jobs.flatMap { ScrapeJob.remotes(of: $0) }.filter { seen.insert($0).inserted }
    }

    /// The targets as of now; nil when nothing has changed since the last call. Only files whose attributes changed are
    /// read again.
    mutating func changes() -> Discovered? {
        var current: Set<String> = []
        var contents: [[TargetGroup]] = []
        for job in jobs {
            var groups: [TargetGroup] = []
            for pattern in job.fileDiscoveries.flatMap(\.files) {
                for path in files.glob(pattern) {
                    current.insert(path)
                    groups += read(path)
                }
            }
            contents.append(groups)
        }
        if known.contains(where: { !current.contains($0.key) }) {
            known = known.filter { current.contains($0.key) }
            isChanged = true
        }
        guard isChanged else { return nil }
        isChanged = false
        return targets(contents)
    }

    /// The targets as of now.
    public mutating func targets() -> [Target] {
        isChanged = true
        return changes()?.targets ?? []
    }

    private mutating func targets(_ contents: [[TargetGroup]]) -> Discovered {
        var found = Discovered()
        var seen: Set<Target> = []
        var mistakes: Set<String> = []
        for (job, fileGroups) in zip(jobs, contents) {
            var own: [Target] = []
            var count = 0
            for group in job.groups + fileGroups + ScrapeJob.remotes(of: job).flatMap({ answers[$0]?.groups ?? [] }) {
                for address in group.addresses {
                    switch job.outcome(address: address, labels: group.labels) {
                    case .target(let target):
                        if seen.insert(target).inserted { own.append(target) }
                    case .dropped(let discovered):
                        count += 1
                        if job.keptDropped == 0 || count <= job.keptDropped {
                            found.dropped.append(DroppedTarget(pool: job.name, discovered: discovered))
                        }
                    case .invalid(let reason): mistakes.insert("\(group.location): \(reason)")
                    }
                }
            }
            found.droppedCounts[job.name] = count
            if job.targetLimit > 0, own.count > job.targetLimit {
                let text =
                    "the job has \(own.count) targets, above target_limit, \(job.targetLimit); raise it or drop some"
                for index in own.indices { own[index].refusal = text }
            }
            found.targets += own
        }
        for mistake in mistakes.subtracting(problems).sorted() {
            figures.discoveryFailures.add()
            log.write(LogEvent(.error, "target-refused", mistake))
        }
        problems = mistakes
        found.targets += checks.map(\.target)
        return found
    }

    // MARK: Sources

    private mutating func read(_ path: String) -> [TargetGroup] {
        var failure = ""
        do {
            guard let attributes = try files.attributes(of: path) else {
                throw FileError(operation: "open", path: path, code: 2)
            }
            if let last = known[path], last.attributes == attributes { return last.groups }
            var bytes = try files.contents(of: path, limit: 16 << 20)
            if path.hasSuffix(".json") {
                // JSON may be indented by tabs, YAML may not; inside its texts there are none.
                for index in bytes.indices where bytes[index] == 0x09 { bytes[index] = 0x20 }
            }
            var groups: [TargetGroup] = []
            for node in try SettingsDocument(bytes, file: path).root.list() {
                guard !node.isNull else { throw node.error("an empty target group; remove it") }
                var group = try TargetGroup(from: try node.map())
                group.labels["__meta_filepath"] = path
                groups.append(group)
            }
            known[path] = Known(attributes: attributes, groups: groups)
            isChanged = true
            return groups
        } catch {
            failure = "\(error)"
        }
        let last = known[path]
        if last?.error != failure {
            figures.discoveryFailures.add()
            log.write(LogEvent(.error, "discovery-failed", "\(failure); its last good content stays", [("file", path)]))
            known[path, default: Known()].error = failure
        }
        return last?.groups ?? []
    }

    /// Takes what a source answered.
    mutating func take(_ result: Result<[TargetGroup], DiscoveryError>, of remote: RemoteDiscovery) {
        var entry = answers[remote] ?? Known()
        switch result {
        case .success(let groups):
            if entry.groups != groups { isChanged = true }
            entry = Known(groups: groups)
        case .failure(let error):
            if entry.error != error.description {
                figures.discoveryFailures.add()
                log.write(
                    LogEvent(
                        .error, "discovery-failed", "\(error); its last good answer stays", [("source", remote.name)]))
            }
            entry.error = error.description
        }
        answers[remote] = entry
    }
}

/// What became of an address.
enum TargetOutcome: Hashable {
    case target(Target)
    case dropped(Labels)
    case invalid(String)
}

extension ScrapeJob {
    static func remotes(of job: ScrapeJob) -> [RemoteDiscovery] {
        // A name that cannot be looked up holds up itself alone.
        let names = job.dnsDiscoveries.flatMap { source in
            source.names.map { name in
                var one = source
                one.names = [name]
                return one
            }
        }
        return job.httpDiscoveries.map { .http($0) } + names.map { .dns($0) }
    }

    /// The labels that relabelling begins with.
    func discovered(address: String, labels: [String: String]) -> Labels {
        var all: [String: String] = [
            "__scheme__": scheme, "__metrics_path__": metricsPath, "job": name,
            "__scrape_interval__": DurationText.format(interval), "__scrape_timeout__": DurationText.format(timeout),
        ]
        all.merge(labels.filter { !$0.value.isEmpty }) { $1 }
        all["__address__"] = address
        for (name, values) in parameters { all["__param_\(name)"] = values.first }
        return Labels(all)
    }

    /// The target of one address after Prometheus' rules: relabelled, `__…__` labels steer, all other `__` ones go.
    func outcome(address: String, labels: [String: String]) -> TargetOutcome {
        let discovered = discovered(address: address, labels: labels)
        var relabelled = discovered.sorted
        guard RelabelRule.apply(rules, to: &relabelled) else { return .dropped(discovered) }
        let all = Labels(relabelled).dictionary
        guard let host = all["__address__"] else { return .invalid("a target of the job '\(name)' has no __address__") }
        guard !host.contains("/") else {
            return .invalid("'\(host)' is no address; write host:port, the path goes into metrics_path")
        }
        let scheme = all["__scheme__"] ?? "http"
        guard scheme == "http" || scheme == "https" else {
            return .invalid("__scheme__ is '\(scheme)'; make it http or https")
        }
        guard let every = DurationText.parse(all["__scrape_interval__"] ?? ""), every > 0,
            let atMost = DurationText.parse(all["__scrape_timeout__"] ?? ""), atMost > 0, atMost <= every
        else {
            let given = "\(all["__scrape_interval__"] ?? "''") and \(all["__scrape_timeout__"] ?? "''")"
            return .invalid(
                "__scrape_interval__ and __scrape_timeout__ of \(host) are \(given); both are above 0, the latter not "
                    + "above the former")
        }
        let path = all["__metrics_path__"] ?? ""
        var url = "\(scheme)://\(host)\(path.hasPrefix("/") || path.isEmpty ? path : "/\(path)")"
        let query = self.query(all)
        if !query.isEmpty { url += (path.contains("?") ? "&" : "?") + query }
        var kept = all.filter { !$0.key.hasPrefix("__") }
        if kept["instance"] == nil { kept["instance"] = host }
        return .target(
            Target(
                kind: .metrics(page), pool: name, labels: Labels(kept), discovered: discovered, url: url,
                interval: every, timeout: atMost, bodyLimit: bodySizeLimit, client: client,
                unixSocket: all["__unix_socket__"]))
    }

    private func query(_ labels: [String: String]) -> String {
        var parts: [String] = []
        for (name, values) in parameters.sorted(by: { $0.key < $1.key }) {
            var values = values
            // A label that relabelling took away leaves the parameter as it was configured.
            if let first = labels["__param_\(name)"], !values.isEmpty { values[0] = first }
            parts += values.map { "\(name.percentEncoded)=\($0.percentEncoded)" }
        }
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) where name.hasPrefix("__param_") {
            let parameter = String(name.dropFirst(8))
            if parameters[parameter]?.isEmpty ?? true {
                parts.append("\(parameter.percentEncoded)=\(value.percentEncoded)")
            }
        }
        return parts.joined(separator: "&")
    }
}

extension HealthCheck {
    var target: Target {
        var all = labels
        all["check"] = name
        all["job"] = all["job"] ?? "health_checks"
        let discovered = Labels(all)
        all["instance"] = all["instance"] ?? instance
        var socket: String?
        switch kind {
        case .http(let path): socket = path
        case .unix(let path): socket = path
        case .tcp, .tls, .dns, .postgres, .redis, .systemd, .icmp: break
        }
        return Target(
            kind: .health(self), pool: "health_checks", labels: Labels(all), discovered: discovered, url: shownURL,
            interval: interval, timeout: timeout, bodyLimit: HealthCheck.bodyLimit, client: client, unixSocket: socket)
    }
}
