public import Basics
public import Model
public import Settings

/// How long samples of some series are kept: `retention_rules`.
public struct RetentionRule: Sendable, Hashable {
    /// Which series.
    public var matchers: [Matcher]
    /// How long.
    public var keep: Milliseconds

    /// A rule by its parts.
    public init(matchers: [Matcher], keep: Milliseconds) { (self.matchers, self.keep) = (matchers, keep) }
}

/// `storage:` in the daemon's file.
public struct StorageSettings: Sendable, Hashable {
    /// Samples older than this are let go, unless a rule says otherwise. The default is 40 days.
    public var retention: Milliseconds = 40 * 86_400_000
    /// Blocks, log and head on disk larger than this in all let the oldest blocks go; 0: no bound, the default.
    public var retentionBytes = 0
    /// The first that a series fulfils says how long it is kept.
    public var retentionRules: [RetentionRule] = []
    /// So far behind the newest sample samples may come late. The default is 0: they are refused.
    public var lateWindow: Milliseconds = 0
    /// Chunks in memory larger than this in all let the oldest go, and labels larger than this in all refuse new
    /// series. The default is 1 GiB.
    public var maximumBytes = 1 << 30
    /// Series beyond this many are refused and counted. The default is 2,000,000.
    public var maximumSeries = 2_000_000
    /// What a loss of power can cost at the most: the log is synced so often. The default is 5 s.
    public var syncInterval: Milliseconds = 5000
    /// The newest so many exemplars are kept; 0: none. The default is 100,000, as in Prometheus.
    public var maximumExemplars = 100_000
    /// Log that who sends samples on has not read yet is kept beyond its time, up to so many bytes. The default is
    /// 8 GiB.
    public var maximumBacklog = 8 << 30
    /// Samples further ahead of the clock are refused, as in Prometheus.
    public var maximumAhead: Milliseconds = 600_000

    /// The defaults.
    public init() {}
}

extension StorageSettings {
    /// Reads `storage:`.
    ///
    /// - Parameter selector: Reads a selector of PromQL.
    public init(
        from map: SettingsMap, selector read: (_ text: String) throws -> [Matcher]
    ) throws(SettingsError) {
        try map.refuse(["max_age"], "write retention_time: how long samples are kept, on disk")
        retention = try map.takeDuration("retention_time", default: retention)
        retentionBytes = try map.takeBytes("retention_size", default: retentionBytes)
        lateWindow = try map.takeDuration("out_of_order_time_window", default: lateWindow)
        // As Prometheus' file has it.
        if let part = try map.takeMap("tsdb") {
            lateWindow = try part.takeDuration("out_of_order_time_window", default: lateWindow)
            if let encoding = try part.takeMap("chunk_encoding") {
                let floats = try encoding.take("floats", default: "xor")
                guard floats == "xor" else {
                    throw encoding.error("\(floats) is not offered; write xor, which every reader knows")
                }
                try encoding.finish()
            }
            if let bounds = try part.takeMap("retention") {
                retention = try bounds.takeDuration("time", default: retention)
                retentionBytes = try bounds.takeBytes("size", default: retentionBytes)
                try bounds.refuse(["percentage"], "write size, in bytes")
                try bounds.finish()
            }
            try part.finish()
        }
        retentionRules = try map.takeMaps("retention_rules").map { (rule) throws(SettingsError) in
            let selector = try rule.require("selector", as: String.self)
            let matchers: [Matcher]
            do { matchers = try read(selector) } catch { throw rule.error("selector", "\(error)") }
            let keep = try rule.takeDuration("keep", default: 0)
            guard keep >= 7_200_000 else { throw rule.error("keep", "must be at least 2h, the length of a block") }
            try rule.finish()
            return RetentionRule(matchers: matchers, keep: keep)
        }
        maximumBytes = try map.takeBytes("max_bytes", default: maximumBytes)
        maximumSeries = try map.take("max_series", default: maximumSeries)
        syncInterval = try map.takeDuration("sync_interval", default: syncInterval)
        maximumBacklog = try map.takeBytes("max_backlog", default: maximumBacklog)
        if let part = try map.takeMap("exemplars") {
            // Below 0 means off, as in Prometheus.
            maximumExemplars = max(0, try part.take("max_exemplars", default: maximumExemplars))
            try part.finish()
        }
        guard retention >= 60_000 else { throw map.error("retention_time", "must be at least 1m") }
        guard maximumBytes >= 1 << 20 else { throw map.error("max_bytes", "must be at least 1MB") }
        guard maximumSeries > 0 else { throw map.error("max_series", "must be above 0") }
        guard syncInterval >= 100 else { throw map.error("sync_interval", "must be at least 100ms") }
        try map.finish()
    }
}
