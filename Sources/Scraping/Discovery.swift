public import Basics
internal import Model
internal import Settings

/// Turns jobs, discovery files and checks into targets. It keeps the last good content of each file: a file that is
/// half written or gone for a moment removes no target.
public struct Discovery: Sendable {
    private let jobs: [ScrapeJob]
    private let checks: [HealthCheck]
    private let files: any FileSystem
    private let figures: ScrapeFigures
    private let log: any LogSink
    private var known: [String: (attributes: FileAttributes, groups: [TargetGroup], error: String)] = [:]

    /// Nothing is read yet.
    public init(
        jobs: [ScrapeJob], checks: [HealthCheck], files: any FileSystem, figures: ScrapeFigures, log: any LogSink
    ) {
        (self.jobs, self.checks, self.files, self.figures, self.log) = (jobs, checks, files, figures, log)
    }

    /// The targets as of now, in a stable order, each once. Only files whose attributes changed are read again.
    public mutating func targets() -> [Target] {
        var targets: [Target] = []
        var seen: Set<Target> = []
        var current: Set<String> = []
        for job in jobs {
            var groups = job.groups
            for pattern in job.fileDiscoveries.flatMap(\.files) {
                for path in files.glob(pattern) {
                    current.insert(path)
                    groups += read(path)
                }
            }
            for group in groups {
                for address in group.addresses {
                    let target = job.target(address: address, group: group)
                    if seen.insert(target).inserted { targets.append(target) }
                }
            }
        }
        known = known.filter { current.contains($0.key) }
        return targets + checks.map(\.target)
    }

    private mutating func read(_ path: String) -> [TargetGroup] {
        var failure = ""
        do {
            guard let attributes = try files.attributes(of: path) else {
                throw FileError(operation: "open", path: path, code: 2)
            }
            if let last = known[path], last.attributes == attributes { return last.groups }
            let text = String(decoding: try files.contents(of: path, limit: 16 << 20), as: UTF8.self)
            var groups: [TargetGroup] = []
            for node in try SettingsDocument(text, file: path).root.list() {
                groups.append(try TargetGroup(from: try node.map()))
            }
            known[path] = (attributes, groups, "")
            return groups
        } catch {
            failure = "\(error)"
        }
        let last = known[path]
        if last?.error != failure {
            figures.discoveryFailures.add()
            log.write(LogEvent(.error, "discovery-failed", "\(failure); its last good content stays", [("file", path)]))
            known[path]?.error = failure
        }
        return last?.groups ?? []
    }
}

extension ScrapeJob {
    /// The target of one address, its labels after Prometheus' rules: `__…__` labels steer, all other `__` ones go.
    func target(address: String, group: TargetGroup) -> Target {
        var all: [String: String] = [
            "__address__": address, "__scheme__": scheme, "__metrics_path__": metricsPath, "job": name,
            "__scrape_interval__": DurationText.format(interval), "__scrape_timeout__": DurationText.format(timeout),
        ]
        for (name, values) in parameters { all["__param_\(name)"] = values.first }
        all.merge(group.labels) { $1 }
        let host = all["__address__"] ?? address
        let discovered = Labels(all)
        if all["instance"] == nil { all["instance"] = host }
        let path = all["__metrics_path__"] ?? metricsPath
        var url = "\(all["__scheme__"] ?? scheme)://\(host)\(path.hasPrefix("/") ? path : "/\(path)")"
        let query = self.query(all)
        if !query.isEmpty { url += (path.contains("?") ? "&" : "?") + query }
        let labels = Labels(all.filter { !$0.key.hasPrefix("__") })
        let every = DurationText.parse(all["__scrape_interval__"] ?? "") ?? interval
        return Target(
            kind: .metrics(honorsLabels: honorsLabels, honorsTimestamps: honorsTimestamps, sampleLimit: sampleLimit),
            pool: name, labels: labels, discovered: discovered, url: url,
            interval: every, timeout: min(every, DurationText.parse(all["__scrape_timeout__"] ?? "") ?? timeout),
            bodyLimit: bodySizeLimit,
            client: client, unixSocket: all["__unix_socket__"])
    }

    private func query(_ labels: [String: String]) -> String {
        var parts: [String] = []
        for (name, values) in parameters.sorted(by: { $0.key < $1.key }) {
            var values = values
            if let first = labels["__param_\(name)"], !values.isEmpty { values[0] = first }
            parts += values.map { "\(name.percentEncoded)=\($0.percentEncoded)" }
        }
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) where name.hasPrefix("__param_") {
            let parameter = String(name.dropFirst(8))
            if parameters[parameter] == nil { parts.append("\(parameter.percentEncoded)=\(value.percentEncoded)") }
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
        let rest = url.drop { $0 != "/" }.dropFirst(2)
        all["instance"] = all["instance"] ?? String(rest.prefix { $0 != "/" })
        return Target(
            kind: .health(self), pool: "health_checks", labels: Labels(all), discovered: discovered, url: url,
            interval: interval, timeout: timeout, bodyLimit: HealthCheck.bodyLimit, client: client)
    }
}
