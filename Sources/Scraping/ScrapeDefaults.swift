public import Basics
public import Exposition
public import Settings

/// What `global:` says for every job that does not say otherwise.
public struct ScrapeDefaults: Sendable, Hashable {
    /// `scrape_interval` and `scrape_timeout`.
    public var interval: Milliseconds = 60_000, timeout: Milliseconds = 10_000
    /// What pages are held to.
    public var page = PageSettings()
    /// `body_size_limit`.
    public var bodySizeLimit = ScrapeJob.defaultBodyLimit
    /// `target_limit` and `keep_dropped_targets`; 0: any number.
    public var targetLimit = 0, keptDropped = 0
    /// `metric_name_escaping_scheme`, where it is given.
    public var escaping: EscapingScheme?

    /// Prometheus' defaults.
    public init() {}

    /// Takes the keys of `global` that concern scraping; its owner calls `finish`.
    public init(from map: SettingsMap) throws(SettingsError) {
        interval = try map.takeDuration("scrape_interval", default: interval)
        timeout = try map.takeDuration("scrape_timeout", default: min(timeout, interval))
        guard timeout <= interval else { throw map.error("scrape_timeout", "must not be above scrape_interval") }
        try page.take(from: map)
        (bodySizeLimit, targetLimit, keptDropped) = try ScrapeDefaults.limits(map, defaults: self)
        try page.takeNames(from: map, defaults: &self.escaping)
        try map.refuse(
            ["query_log_file", "scrape_failure_log_file"], "leave it out; failures stand in the daemon's log")
    }

    static func limits(
        _ map: SettingsMap, defaults: ScrapeDefaults
    ) throws(SettingsError) -> (body: Int, targets: Int, dropped: Int) {
        let body = try map.takeBytes("body_size_limit", default: 0)
        let targets = try map.takeLimit("target_limit"), dropped = try map.takeLimit("keep_dropped_targets")
        return (
            body == 0 ? defaults.bodySizeLimit : body, targets == 0 ? defaults.targetLimit : targets,
            dropped == 0 ? defaults.keptDropped : dropped
        )
    }
}

extension PageSettings {
    /// Takes the keys that `global` and a job have in common; what is not given stays.
    mutating func take(from map: SettingsMap) throws(SettingsError) {
        if let names = try map.take("scrape_protocols", as: [String].self) {
            protocols = []
            for name in names {
                let one = try PageSettings.known(name, map, "scrape_protocols")
                guard !protocols.contains(one) else {
                    throw map.error("scrape_protocols", "'\(name)' stands twice; remove one")
                }
                protocols.append(one)
            }
            guard !protocols.isEmpty else {
                throw map.error("scrape_protocols", "it is empty; leave it out, or name a protocol")
            }
        }
        func limit(_ key: String, _ current: Int) throws(SettingsError) -> Int {
            let given = try map.takeLimit(key)
            return given == 0 ? current : given
        }
        sampleLimit = try limit("sample_limit", sampleLimit)
        labelLimit = try limit("label_limit", labelLimit)
        labelNameLimit = try limit("label_name_length_limit", labelNameLimit)
        labelValueLimit = try limit("label_value_length_limit", labelValueLimit)
        hasExtraMetrics = try map.take("extra_scrape_metrics", default: hasExtraMetrics)
        // Classic histograms are scraped always; what concerns native ones waits for a store that has them.
        _ = try map.take("always_scrape_classic_histograms", default: false)
        for key in ["scrape_native_histograms", "convert_classic_histograms_to_nhcb"]
        where try map.take(key, default: false) {
            throw SettingsError(
                map.location(of: key), "\(key) is not offered; leave it out: classic histograms are scraped and stored")
        }
    }

    static func known(_ name: String, _ map: SettingsMap, _ key: String) throws(SettingsError) -> ScrapeProtocol {
        if let known = ScrapeProtocol(rawValue: name) { return known }
        let names = ScrapeProtocol.allCases.map(\.rawValue)
        guard name != "PrometheusProto" else {
            throw map.error(key, "PrometheusProto is not offered; write \(names.joined(separator: ", "))")
        }
        throw map.error(key, "'\(name)' is no scrape protocol; write \(names.joined(separator: ", "))")
    }

    /// Takes the schemes of names. The escaping that nobody gave follows from what names are allowed.
    mutating func takeNames(
        from map: SettingsMap, defaults given: inout EscapingScheme?
    ) throws(SettingsError) {
        switch try map.take("metric_name_validation_scheme", as: String.self) {
        case "legacy": isLegacy = true
        case "utf8": isLegacy = false
        case nil, "": break
        case .some(let text):
            throw map.error("metric_name_validation_scheme", "'\(text)' is not known; write utf8 or legacy")
        }
        if let text = try map.take("metric_name_escaping_scheme", as: String.self), !text.isEmpty {
            guard let scheme = EscapingScheme(rawValue: text) else {
                let known = EscapingScheme.allCases.map(\.rawValue).joined(separator: ", ")
                throw map.error("metric_name_escaping_scheme", "'\(text)' is not known; write \(known)")
            }
            given = scheme
        }
        escaping = given ?? (isLegacy ? .underscores : .allowUTF8)
        guard !isLegacy || escaping != .allowUTF8 else {
            throw map.error(
                "metric_name_escaping_scheme",
                "allow-utf-8 asks for names that metric_name_validation_scheme: legacy refuses; change one of the two")
        }
    }
}

extension SettingsMap {
    /// A whole number that is not negative; 0 when there is none.
    func takeLimit(_ key: String) throws(SettingsError) -> Int {
        let value = try take(key, default: 0)
        guard value >= 0 else { throw error(key, "must not be negative") }
        return value
    }
}
