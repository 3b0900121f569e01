public import Basics
public import Settings

/// `route`, `inhibit_rules`, `time_intervals`, `flapping`: everything that decides who is told what and when.
public struct AlertingSettings: Sendable, Hashable {
    /// The routes.
    public var tree: RouteTree
    /// Which alerts make others untold.
    public var inhibitRules: [InhibitRule] = []
    /// By name.
    public var intervals: [String: [TimeInterval]] = [:]
    /// When one notice stands for many.
    public var flapping = Flapping()
    /// Which grammar of matchers and label names counts.
    public var matcherMode = MatcherMode.fallback

    /// Routes alone.
    public init(tree: RouteTree) { self.tree = tree }

    /// The intervals that hold a group back, and by which key of the route.
    ///
    /// - SeeAlso: Alertmanager, `notify.TimeMuteStage` and `TimeActiveStage`.
    func mute(_ group: AlertGroup, now: Timestamp) -> (reason: Suppression, names: [String])? {
        func names(_ wanted: [String]) -> [String] {
            wanted.filter { intervals[$0]?.contains { $0.contains(now) } ?? false }.sorted()
        }
        if !group.activeIntervals.isEmpty, names(group.activeIntervals).isEmpty {
            return (.activeTimeInterval, group.activeIntervals.sorted())
        }
        let muting = group.muteIntervals.isEmpty ? [] : names(group.muteIntervals)
        return muting.isEmpty ? nil : (.muteTimeInterval, muting)
    }

    /// Takes its sections of the daemon's file. Without a route, everything goes to `fallback`.
    ///
    /// - Parameter receivers: The known names.
    public init(
        from root: SettingsMap, receivers: Set<String>, fallback: String, mode: MatcherMode = .fallback,
        zones: ZoneFinder
    ) throws(SettingsError) {
        matcherMode = mode
        for key in ["time_intervals", "mute_time_intervals"] {
            for map in try root.takeMaps(key) {
                let name: String = try map.take("name", default: "")
                guard !name.isEmpty else { throw map.error("missing name in time interval; give it one") }
                guard intervals[name] == nil else {
                    throw map.error("name", "mute time interval \"\(name)\" is not unique; give it another name")
                }
                intervals[name] = []
                for part in try map.takeMaps("time_intervals") {
                    intervals[name]?.append(try TimeInterval(from: part, zones: zones))
                }
                try map.finish()
            }
        }
        for node in try root.takeList("inhibit_rules") where !node.isNull {
            inhibitRules.append(try InhibitRule(from: try node.map(), mode: mode))
        }
        if let map = try root.takeMap("flapping") {
            flapping.episodes = try map.take("episodes", default: flapping.episodes)
            guard flapping.episodes == 0 || flapping.episodes > 1 else {
                throw map.error("episodes", "must be 2 or more, or 0 for never")
            }
            flapping.within = try map.takeDuration("within", default: flapping.within)
            flapping.steady = try map.takeDuration("steady", default: flapping.steady)
            try map.finish()
        }
        tree = try RouteTree(
            from: root, receivers: receivers, intervals: Set(intervals.keys), fallback: fallback, mode: mode)
    }
}

extension InhibitRule {
    init(from map: SettingsMap, mode: MatcherMode) throws(SettingsError) {
        name = try map.take("name", default: "")
        sources = try map.takeMatchers(
            matchers: "source_matchers", equal: "source_match", regular: "source_match_re", mode: mode
        ).map(\.matcher)
        targets = try map.takeMatchers(
            matchers: "target_matchers", equal: "target_match", regular: "target_match_re", mode: mode
        ).map(\.matcher)
        equal = try map.take("equal", default: [String]())
        for name in equal where !mode.takes(labelName: name) {
            throw map.error("equal", "invalid label name \"\(name)\" in equal list; \(mode.cure)")
        }
        try map.finish()
    }
}
