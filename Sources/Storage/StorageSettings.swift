public import Basics
public import Settings

/// `storage:` in the daemon's file. Until history is written to blocks, the store is what fits these bounds.
public struct StorageSettings: Sendable, Hashable {
    /// Samples older than this are let go. The default is 24 h.
    public var maximumAge: Milliseconds = 24 * 3_600_000
    /// Chunks larger than this in all let the oldest go, and labels larger than this in all refuse new series. The
    /// default is 1 GiB.
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
    public init(from map: SettingsMap) throws(SettingsError) {
        maximumAge = try map.takeDuration("max_age", default: maximumAge)
        maximumBytes = try map.takeBytes("max_bytes", default: maximumBytes)
        maximumSeries = try map.take("max_series", default: maximumSeries)
        syncInterval = try map.takeDuration("sync_interval", default: syncInterval)
        maximumBacklog = try map.takeBytes("max_backlog", default: maximumBacklog)
        if let part = try map.takeMap("exemplars") {
            // Below 0 means off, as in Prometheus.
            maximumExemplars = max(0, try part.take("max_exemplars", default: maximumExemplars))
            try part.finish()
        }
        guard maximumAge >= 60_000 else { throw map.error("max_age", "must be at least 1m") }
        guard maximumBytes >= 1 << 20 else { throw map.error("max_bytes", "must be at least 1MB") }
        guard maximumSeries > 0 else { throw map.error("max_series", "must be above 0") }
        guard syncInterval >= 100 else { throw map.error("sync_interval", "must be at least 100ms") }
        try map.finish()
    }
}
