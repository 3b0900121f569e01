public import Basics
public import Model
public import Settings
public import Transport

/// Targets with the labels they share: an item of `static_configs`, or of a discovery file.
public struct TargetGroup: Sendable, Hashable {
    /// `host:port`, one each.
    public var addresses: [String]
    /// Labels of all of them.
    public var labels: [String: String]
    /// Where the group was written.
    public var location: SourceLocation

    /// A group by its parts.
    public init(addresses: [String], labels: [String: String] = [:], location: SourceLocation) {
        (self.addresses, self.labels, self.location) = (addresses, labels, location)
    }
}

/// An item of `file_sd_configs`: patterns of file names, watched.
public struct FileDiscovery: Sendable, Hashable {
    /// Paths ending in `.json`, `.yml` or `.yaml`; `*` may stand in the last part.
    public var files: [String]
    /// How often the files are read again even if they look unchanged.
    public var refreshInterval: Milliseconds
}

/// An item of `http_sd_configs`: a program that answers with target groups.
public struct HTTPDiscovery: Sendable, Hashable {
    /// Asked with GET.
    public var url: String
    /// How often.
    public var refreshInterval: Milliseconds
    /// Authentication, TLS, proxy.
    public var client: HTTPClientSettings
}

/// An item of `dns_sd_configs`: names whose records are the targets.
public struct DNSDiscovery: Sendable, Hashable {
    /// What is asked for.
    public var names: [String]
    /// Which records.
    public var type: DNSRecordType
    /// The port of targets whose records have none.
    public var port: Int
    /// How often.
    public var refreshInterval: Milliseconds
}

/// An item of `scrape_configs`.
public struct ScrapeJob: Sendable, Hashable {
    /// `job_name`, unique.
    public var name: String
    /// `scrape_interval`, 1 m by default, and `scrape_timeout`, 10 s or the interval.
    public var interval: Milliseconds = 60_000, timeout: Milliseconds = 10_000
    /// `metrics_path` and `scheme`.
    public var metricsPath = "/metrics", scheme = "http"
    /// `params` of the URL.
    public var parameters: [String: [String]] = [:]
    /// How pages are read and what they are held to.
    public var page = PageSettings()
    /// Whether gzip is asked for.
    public var acceptsCompression = true
    /// A page longer than this, decompressed, fails the scrape. The default is 64 MiB.
    public var bodySizeLimit = ScrapeJob.defaultBodyLimit
    /// `target_limit`: with more targets than this all of the job are down; `keep_dropped_targets`: so many of those
    /// that relabelling dropped are shown. 0: any number.
    public var targetLimit = 0, keptDropped = 0
    /// Authentication, TLS, proxy.
    public var client = HTTPClientSettings()
    /// `relabel_configs`.
    public var rules: [RelabelRule] = []
    /// `static_configs`.
    public var groups: [TargetGroup] = []
    /// `file_sd_configs`, `http_sd_configs`, `dns_sd_configs`.
    public var fileDiscoveries: [FileDiscovery] = [], httpDiscoveries: [HTTPDiscovery] = []
    /// `dns_sd_configs`.
    public var dnsDiscoveries: [DNSDiscovery] = []

    /// Pages above this are refused when the file sets no limit, so that an endless body cannot fill the memory.
    public static let defaultBodyLimit = 64 << 20
    /// Pages of more samples are refused when the file sets no limit: each costs about 100 bytes while a page is new.
    public static let defaultSampleLimit = 500_000
    /// Longer names and values fail a scrape.
    public static let labelBytesLimit = 64 << 10

    /// A job with the defaults.
    public init(name: String) { self.name = name }
}

extension ScrapeJob {
    /// Service discoveries of Prometheus that are understood and not offered.
    public static let refusedDiscoveries = [
        "aws", "azure", "consul", "digitalocean", "docker", "dockerswarm", "ec2", "eureka", "gce", "hetzner", "ionos",
        "kubernetes", "kuma", "lightsail", "linode", "marathon", "nerve", "nomad", "oci", "openstack", "outscale",
        "ovhcloud", "puppetdb", "scaleway", "serverset", "stackit", "triton", "uyuni", "vultr",
    ].map { "\($0)_sd_configs" }

    /// Reads an item of `scrape_configs`.
    public init(from map: SettingsMap, defaults: ScrapeDefaults) throws(SettingsError) {
        self.init(name: try map.require("job_name"))
        guard !name.isEmpty else { throw map.error("job_name", "it is empty; give the job a name") }
        try takeTimes(map, defaults)
        metricsPath = try map.take("metrics_path", default: "/metrics")
        scheme = try map.take("scheme", default: "http")
        guard scheme == "http" || scheme == "https" else {
            throw map.error("scheme", "'\(scheme)' is not known; write http or https")
        }
        parameters = try map.take("params", default: [:])
        try takePage(map, defaults)
        acceptsCompression = try map.take("enable_compression", default: true)
        (bodySizeLimit, targetLimit, keptDropped) = try ScrapeDefaults.limits(map, defaults: defaults)
        client = try HTTPClientSettings(from: map, offersOAuth2: true)
        client.options.acceptCompression = acceptsCompression
        rules = try RelabelRule.read("relabel_configs", from: map, isLegacy: page.isLegacy)
        for part in try map.takeMaps("static_configs") { groups.append(try TargetGroup(from: part)) }
        for part in try map.takeMaps("file_sd_configs") { fileDiscoveries.append(try FileDiscovery(from: part)) }
        for part in try map.takeMaps("http_sd_configs") { httpDiscoveries.append(try HTTPDiscovery(from: part)) }
        for part in try map.takeMaps("dns_sd_configs") { dnsDiscoveries.append(try DNSDiscovery(from: part)) }
        try map.refuse(
            ScrapeJob.refusedDiscoveries, "use static_configs, file_sd_configs, http_sd_configs or dns_sd_configs")
        try map.refuse(
            ["native_histogram_bucket_limit", "native_histogram_min_bucket_factor"],
            "leave it out: classic histograms are scraped and stored")
        try map.refuse(["scrape_failure_log_file"], "leave it out; failures stand in the daemon's log")
        try map.finish()
        // Relabelling may mend an address.
        for group in groups where rules.isEmpty {
            for address in group.addresses where address.contains("/") {
                throw SettingsError(
                    group.location,
                    "targets: '\(address)' is no address; write host:port, the path goes into metrics_path")
            }
        }
    }

    /// Addresses of `static_configs` that are no targets after relabelling: those are left out at work.
    public var spoiledTargets: [SettingsError] {
        groups.flatMap { group in
            group.addresses.compactMap { address in
                guard case .invalid(let reason) = outcome(address: address, labels: group.labels) else { return nil }
                return SettingsError(group.location, "targets: \(reason)")
            }
        }
    }

    private mutating func takeTimes(_ map: SettingsMap, _ defaults: ScrapeDefaults) throws(SettingsError) {
        interval = try map.takeDuration("scrape_interval", default: defaults.interval)
        if interval == 0, map.has("scrape_interval") { interval = defaults.interval }
        let given = try map.takeDuration("scrape_timeout")
        timeout = given.flatMap { $0 == 0 ? nil : $0 } ?? min(defaults.timeout, interval)
        guard interval > 0 else { throw map.error("scrape_interval", "must be above 0") }
        guard timeout <= interval, timeout > 0 else {
            throw map.error(
                "scrape_timeout",
                "must be above 0 and not above scrape_interval, \(DurationText.format(interval)); shorten it")
        }
    }

    private mutating func takePage(_ map: SettingsMap, _ defaults: ScrapeDefaults) throws(SettingsError) {
        page = defaults.page
        page.honorsLabels = try map.take("honor_labels", default: false)
        page.honorsTimestamps = try map.take("honor_timestamps", default: true)
        page.tracksTimestamped = try map.take("track_timestamps_staleness", default: false)
        try page.take(from: map)
        var escaping = defaults.escaping
        try page.takeNames(from: map, defaults: &escaping)
        if let name = try map.take("fallback_scrape_protocol", as: String.self), !name.isEmpty {
            page.fallback = try PageSettings.known(name, map, "fallback_scrape_protocol")
        }
        page.rules = try RelabelRule.read("metric_relabel_configs", from: map, isLegacy: page.isLegacy)
    }
}

extension FileDiscovery {
    init(from map: SettingsMap) throws(SettingsError) {
        let files = try map.takePaths("files")
        guard !files.isEmpty else { throw map.missing("files") }
        for file in files where !["json", "yml", "yaml"].contains(where: { file.hasSuffix(".\($0)") }) {
            throw map.error("files", "'\(file)' must end in .json, .yml or .yaml")
        }
        let refresh = try map.takeDuration("refresh_interval", default: 300_000)
        try map.finish()
        self.init(files: files, refreshInterval: refresh)
    }
}

extension HTTPDiscovery {
    init(from map: SettingsMap) throws(SettingsError) {
        let url: String = try map.require("url")
        guard url.isWebAddress else {
            throw map.error("url", "'\(url.withoutCredentials)' cannot be asked; write http://HOST… or https://HOST…")
        }
        let refresh = try map.takeDuration("refresh_interval", default: 60_000)
        guard refresh > 0 else { throw map.error("refresh_interval", "must be above 0") }
        let client = try HTTPClientSettings(from: map, offersOAuth2: true)
        try map.finish()
        self.init(url: url, refreshInterval: refresh, client: client)
    }
}

extension DNSDiscovery {
    init(from map: SettingsMap) throws(SettingsError) {
        let names: [String] = try map.take("names", default: [])
        guard !names.isEmpty else { throw map.missing("names") }
        let text = try map.take("type", default: "SRV")
        guard let type = DNSRecordType(rawValue: text.uppercased()) else {
            let known = DNSRecordType.allCases.map(\.rawValue).joined(separator: ", ")
            throw map.error("type", "'\(text)' is no type of record; write \(known)")
        }
        let port = try map.take("port", default: 0)
        guard (0...65_535).contains(port) else { throw map.error("port", "a port is a number up to 65535") }
        guard type == .srv || port > 0 else {
            throw map.error("port", "is missing; \(type.rawValue) records have none, so it must be given")
        }
        let refresh = try map.takeDuration("refresh_interval", default: 30_000)
        guard refresh > 0 else { throw map.error("refresh_interval", "must be above 0") }
        try map.finish()
        self.init(names: names, type: type, port: port, refreshInterval: refresh)
    }
}

extension String {
    /// Whether it is `http://` or `https://` and a host.
    fileprivate var isWebAddress: Bool {
        for scheme in ["http://", "https://"] where lowercased().hasPrefix(scheme) {
            let rest = dropFirst(scheme.count)
            return rest.first.map { !"/?#:@".contains($0) && !$0.isWhitespace } ?? false
        }
        return false
    }

    /// For messages.
    fileprivate var withoutCredentials: String {
        guard let at = lastIndex(of: "@") else { return self }
        return String(self[index(after: at)...])
    }
}

extension TargetGroup {
    /// Reads an item of `static_configs` or of a discovery file.
    public init(from map: SettingsMap) throws(SettingsError) {
        let addresses: [String] = try map.take("targets", default: [])
        for address in addresses where address.isEmpty {
            throw map.error("targets", "an address is empty; write host:port")
        }
        for address in addresses where address.contains("@") {
            throw map.error("targets", "an address holds credentials, which would show in labels; use basic_auth")
        }
        let labels: [String: String] = try map.take("labels", default: [:])
        for name in labels.keys.sorted() where name.isEmpty {
            throw map.error("labels", "a label has no name; give it one")
        }
        for name in ["__scrape_interval__", "__scrape_timeout__"] {
            guard let text = labels[name], DurationText.parse(text) ?? 0 <= 0 else { continue }
            throw map.error("labels", "\(name) is '\(text)', no duration above 0; write it as 15s")
        }
        self.init(addresses: addresses, labels: labels, location: map.location)
        try map.finish()
    }
}
