public import Basics
public import Settings

/// `workloads.churn`: the prediction of who will leave.
public struct ChurnSettings: Sendable, Hashable {
    /// How often the model is trained. Default: 7 d.
    public var every: Milliseconds = 7 * 86_400_000
    /// The longest a training may take. Default: 10 min.
    public var timeLimit: Milliseconds = 600_000
    /// The most rows it is trained on, the newest. Default: 200,000.
    public var rows = 200_000
    /// Decides the split. Default: 42.
    public var seed: UInt64 = 42
    /// How many versions are kept. Default: 5.
    public var versions = 5
    /// A model below these on the rows held back is refused, and the old one stays. Defaults: 0.7 and 0.6.
    public var minimumAccuracy = 0.7, minimumArea = 0.6
    /// The query that gives the training rows: the seven features by name and `churned`; nil: `churn_snapshots`.
    public var query: String?
    /// How often predictions are compared with outcomes. Default: 1 h.
    public var judgeEvery: Milliseconds = 3_600_000
    /// How long after a prediction its outcome counts. Default: 90 d.
    public var horizon: Milliseconds = 90 * 86_400_000
    /// How many predictions may wait for the database. Default: 10,000.
    public var logLimit = 10_000

    /// The defaults.
    public init() {}

    /// Reads the section.
    public init(from map: SettingsMap) throws(SettingsError) {
        self.init()
        every = try map.takeDuration("every", default: every)
        timeLimit = try map.takeDuration("time_limit", default: timeLimit)
        rows = try map.take("rows", default: rows)
        let number = try map.take("seed", default: Int(seed))
        guard let seed = UInt64(exactly: number) else { throw map.error("seed", "must be 0 or more") }
        self.seed = seed
        versions = try map.take("versions", default: versions)
        query = try map.take("query")
        judgeEvery = try map.takeDuration("judge_every", default: judgeEvery)
        horizon = try map.takeDuration("horizon", default: horizon)
        logLimit = try map.take("log_limit", default: logLimit)
        if let gate = try map.takeMap("gate") {
            minimumAccuracy = try gate.take("accuracy", default: minimumAccuracy)
            minimumArea = try gate.take("roc_auc", default: minimumArea)
            for (key, value) in [("accuracy", minimumAccuracy), ("roc_auc", minimumArea)] {
                guard (0...1).contains(value) else { throw gate.error(key, "is a share from 0 to 1") }
            }
            try gate.finish()
        }
        for (key, value) in [
            ("every", every), ("time_limit", timeLimit), ("judge_every", judgeEvery), ("horizon", horizon),
        ] {
            guard value >= 1000 else { throw map.error(key, "must be at least 1s") }
        }
        guard (50...1_000_000).contains(rows) else { throw map.error("rows", "must be from 50 to 1000000") }
        guard (2...1000).contains(versions) else {
            throw map.error("versions", "must be from 2 to 1000: the version before is what a broken one falls back to")
        }
        guard (1...1_000_000).contains(logLimit) else { throw map.error("log_limit", "must be from 1 to 1000000") }
        try map.finish()
    }
}
