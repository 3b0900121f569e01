public import Basics
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
    /// Whether a scraped label wins over the target's; else it becomes `exported_NAME`.
    public var honorsLabels = false
    /// Whether a timestamp on the page counts.
    public var honorsTimestamps = true
    /// Whether gzip is asked for.
    public var acceptsCompression = true
    /// A page longer than this, decompressed, fails the scrape. The default is 64 MiB.
    public var bodySizeLimit = ScrapeJob.defaultBodyLimit
    /// A page of more samples than this fails the scrape. The default is 500,000.
    public var sampleLimit = ScrapeJob.defaultSampleLimit
    /// Authentication, TLS, proxy.
    public var client = HTTPClientSettings()
    /// `static_configs`.
    public var groups: [TargetGroup] = []
    /// `file_sd_configs`.
    public var fileDiscoveries: [FileDiscovery] = []

    /// Pages above this are refused when the file sets no limit, so that an endless body cannot fill the memory.
    public static let defaultBodyLimit = 64 << 20
    /// Pages of more samples are refused when the file sets no limit: each costs about 100 bytes while a page is new.
    public static let defaultSampleLimit = 500_000
    /// Longer names and values fail a scrape.
    public static let labelBytesLimit = 64 << 10

    /// A job with the defaults.
    public init(name: String) { self.name = name }
}

/// Intervals for the whole file, `global:`.
public struct ScrapeDefaults: Sendable, Hashable {
    /// `scrape_interval` and `scrape_timeout`.
    public var interval: Milliseconds = 60_000, timeout: Milliseconds = 10_000

    /// Prometheus' defaults.
    public init() {}
}

extension ScrapeJob {
    /// Keys of Prometheus' grammar that are understood and not offered.
    private static let refused = [
        "relabel_configs", "metric_relabel_configs", "http_sd_configs", "dns_sd_configs", "consul_sd_configs",
        "kubernetes_sd_configs", "docker_sd_configs", "dockerswarm_sd_configs", "ec2_sd_configs", "azure_sd_configs",
        "gce_sd_configs", "openstack_sd_configs", "digitalocean_sd_configs", "hetzner_sd_configs", "nomad_sd_configs",
        "eureka_sd_configs", "linode_sd_configs", "marathon_sd_configs", "puppetdb_sd_configs", "scaleway_sd_configs",
    ]

    /// Reads an item of `scrape_configs`.
    public init(from map: SettingsMap, defaults: ScrapeDefaults) throws(SettingsError) {
        self.init(name: try map.require("job_name"))
        guard !name.isEmpty else { throw map.error("job_name", "it is empty; give the job a name") }
        interval = try map.takeDuration("scrape_interval", default: defaults.interval)
        let given = try map.takeDuration("scrape_timeout")
        timeout = given ?? min(defaults.timeout, interval)
        guard interval > 0 else { throw map.error("scrape_interval", "must be above 0") }
        guard timeout <= interval, timeout > 0 else {
            throw map.error(
                "scrape_timeout", "must be above 0 and not above scrape_interval, \(DurationText.format(interval))")
        }
        metricsPath = try map.take("metrics_path", default: "/metrics")
        scheme = try map.take("scheme", default: "http")
        guard scheme == "http" || scheme == "https" else {
            throw map.error("scheme", "'\(scheme)' is not known; write http or https")
        }
        parameters = try map.take("params", default: [:])
        honorsLabels = try map.take("honor_labels", default: false)
        honorsTimestamps = try map.take("honor_timestamps", default: true)
        acceptsCompression = try map.take("enable_compression", default: true)
        bodySizeLimit = try map.takeBytes("body_size_limit", default: 0)
        if bodySizeLimit == 0 { bodySizeLimit = ScrapeJob.defaultBodyLimit }
        sampleLimit = try map.take("sample_limit", default: 0)
        guard sampleLimit >= 0 else { throw map.error("sample_limit", "must not be negative") }
        if sampleLimit == 0 { sampleLimit = ScrapeJob.defaultSampleLimit }
        client = try HTTPClientSettings(from: map)
        client.options.acceptCompression = acceptsCompression
        for part in try map.takeMaps("static_configs") { groups.append(try TargetGroup(from: part)) }
        for part in try map.takeMaps("file_sd_configs") {
            let files = try part.takePaths("files")
            guard !files.isEmpty else { throw part.missing("files") }
            for file in files where !["json", "yml", "yaml"].contains(where: { file.hasSuffix(".\($0)") }) {
                throw part.error("files", "'\(file)' must end in .json, .yml or .yaml")
            }
            let refresh = try part.takeDuration("refresh_interval", default: 300_000)
            try part.finish()
            fileDiscoveries.append(FileDiscovery(files: files, refreshInterval: refresh))
        }
        try map.refuse(ScrapeJob.refused, "use static_configs or file_sd_configs")
        try map.finish()
    }
}

extension TargetGroup {
    /// Reads an item of `static_configs` or of a discovery file.
    public init(from map: SettingsMap) throws(SettingsError) {
        let addresses: [String] = try map.take("targets", default: [])
        for address in addresses where address.isEmpty || address.contains("/") {
            throw map.error("targets", "'\(address)' is no address; write host:port, the path goes into metrics_path")
        }
        for address in addresses where address.contains("@") {
            throw map.error("targets", "an address holds credentials, which would show in labels; use basic_auth")
        }
        let labels: [String: String] = try map.take("labels", default: [:])
        for name in ["__scrape_interval__", "__scrape_timeout__"] {
            guard let text = labels[name], DurationText.parse(text) ?? 0 <= 0 else { continue }
            throw map.error("labels", "\(name) is '\(text)', no duration above 0; write it as 15s")
        }
        self.init(addresses: addresses, labels: labels, location: map.location)
        try map.finish()
    }
}
