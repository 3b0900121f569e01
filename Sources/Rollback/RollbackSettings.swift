public import Basics
public import Settings
public import Transport

/// `rollback:` in the daemon's file: what may be taken back, how, and within which guards.
public struct RollbackSettings: Sendable, Hashable {
    /// Whether a trigger's action is carried out or only told.
    public enum Mode: String, Sendable, Hashable, CaseIterable {
        /// Says what it would do, with the plan.
        case observe
        /// Does it.
        case act
    }

    /// The action that every configuration has: it holds, and pages a person.
    public static let hold = "alert_and_investigate"

    /// Default: `observe`.
    public var mode = Mode.observe
    /// A file whose presence stops every action, but no page; nil: `rollback.stop` in the data directory.
    public var killSwitch: String?
    /// How many runs may begin within `budgetWindow`. Default: 3.
    public var budget = 3
    /// Default: 1 h.
    public var budgetWindow: Milliseconds = 3_600_000
    /// Where flags are kept, by name.
    public var stores: [String: FlagStoreSettings] = [:]
    /// By name; the built-in `alert_and_investigate` is not among them.
    public var actions: [String: RollbackAction] = [:]

    /// No actions.
    public init() {}

    /// Reads the section; names of stores and actions, and cycles of `includes`, are checked.
    public init(from map: SettingsMap) throws(SettingsError) {
        self.init()
        mode = try map.take("mode", default: mode)
        killSwitch = try map.takePath("kill_switch")
        if let limits = try map.takeMap("budget") {
            budget = try limits.take("runs", default: budget)
            budgetWindow = try limits.takeDuration("window", default: budgetWindow)
            guard budget > 0 else { throw limits.error("runs", "must be at least 1; use mode: observe to forbid all") }
            guard budgetWindow > 0 else { throw limits.error("window", "must be above 0") }
            try limits.finish()
        }
        let cooldown = try map.takeDuration("cooldown", default: RollbackAction.defaultCooldown)
        for part in try map.takeMaps("flag_stores") {
            let store = try FlagStoreSettings(from: part)
            guard stores.updateValue(store, forKey: store.name) == nil else {
                throw part.error("name", "'\(store.name)' is the name of two stores; rename one")
            }
        }
        if let list = try map.takeMap("actions") {
            for name in list.keys {
                let part = try list.takeNode(name)?.map() ?? list
                let action = try RollbackAction(name, from: part, stores: stores, cooldown: cooldown)
                actions[name] = action
            }
            try list.finish()
        }
        for action in actions.values.sorted(by: { $0.name < $1.name }) { try check(action) }
        try map.finish()
    }

    private func check(_ action: RollbackAction) throws(SettingsError) {
        guard action.name != RollbackSettings.hold else {
            throw SettingsError(action.location, "'\(action.name)' is built in; give the action another name")
        }
        for (name, place) in action.includes where actions[name] == nil {
            throw SettingsError(place, unknown(name))
        }
        // Depth first, with the path that led there, so that a cycle is told whole.
        var open = [(name: action.name, path: [action.name])]
        while let (name, path) = open.popLast() {
            for (next, place) in actions[name]?.includes ?? [] {
                guard !path.contains(next) else {
                    let cycle = (path + [next]).joined(separator: " → ")
                    throw SettingsError(place, "includes: a cycle, \(cycle); take one of them out")
                }
                open.append((next, path + [next]))
            }
        }
    }

    /// That an action is not there, with the nearest that is.
    public func unknown(_ name: String) -> String {
        let known = actions.keys.sorted() + [RollbackSettings.hold]
        let near = name.nearest(among: Set(known)).map { "; did you mean '\($0)'?" }
        return "there is no action '\(name)'" + (near ?? "; known here: \(known.joined(separator: ", "))")
    }

    /// Whether triggers may name it.
    public func knows(_ name: String) -> Bool { name == RollbackSettings.hold || actions[name] != nil }

    /// An action and all that it includes, itself first; each once.
    public func closure(of name: String) -> [RollbackAction] {
        var found: [RollbackAction] = []
        func add(_ name: String) {
            guard let action = actions[name], !found.contains(where: { $0.name == name }) else { return }
            found.append(action)
            for (next, _) in action.includes { add(next) }
        }
        add(name)
        return found
    }
}

/// An item of `rollback.flag_stores`.
public struct FlagStoreSettings: Sendable, Hashable {
    /// Where the flags are.
    public enum Place: Sendable, Hashable {
        /// Each flag is a key.
        case redis(RedisSettings)
        /// A JSON file: an object with a member for each flag.
        case file(String)
    }
    /// How actions name it.
    public var name: String
    /// Where the flags are.
    public var place: Place
    /// What stands before a flag's name in its key. Default: `feature_flag:`; of a file nothing.
    public var prefix: String

    init(from map: SettingsMap) throws(SettingsError) {
        name = try map.require("name")
        let redis = try map.takeMap("redis")
        let file = try map.takePath("file")
        switch (redis, file) {
        case (let redis?, nil):
            place = .redis(try RedisSettings(from: redis))
            try redis.finish()
        case (nil, let path?): place = .file(path)
        default: throw map.error("a flag store is in 'redis' or in a 'file'; give one of the two")
        }
        prefix = try map.take("prefix", default: file == nil ? "feature_flag:" : "")
        try map.finish()
    }
}
