public import Basics
internal import Query
internal import Settings

/// An item of `rollback.actions`: what is done to take something back.
public struct RollbackAction: Sendable, Hashable {
    /// After a run, its action rests. Default: 30 min.
    public static let defaultCooldown: Milliseconds = 1_800_000
    /// How long a trigger may stay true after what was done.
    static let defaultClearance: Milliseconds = 300_000

    /// How triggers and people name it.
    public var name: String
    /// Told with every page of its runs; also the member that is changed in flags with a value for each environment.
    public var environment: String?
    /// What it touches, beside flags and links: two runs that share something never run at the same time.
    public var services: [String] = []
    /// Switched off first.
    public var flags: [FlagTarget] = []
    /// Links set back to the release before.
    public var deployments: [Deployment] = []
    /// Run last, in order.
    public var commands: [CommandTarget] = []
    /// The rest before anything is verified. Default: 30 s.
    public var stabilise: Milliseconds = 30_000
    /// What must hold then.
    public var verification: Verification?
    /// How long the trigger may stay true after that, since its window must empty. Default: 5 min.
    public var clearsWithin = RollbackAction.defaultClearance
    /// How long it rests after a run.
    public var cooldown: Milliseconds
    /// Nil: as `rollback.mode` says.
    public var mode: RollbackSettings.Mode?
    /// Other actions that are part of it, with the place of each name.
    public var includes: [(name: String, location: SourceLocation)] = []
    /// Where it stands.
    public var location: SourceLocation

    init(
        _ name: String, from map: SettingsMap, stores: [String: FlagStoreSettings], cooldown: Milliseconds
    ) throws(SettingsError) {
        (self.name, location) = (name, map.location)
        environment = try map.take("environment")
        services = try map.take("services", default: [])
        for node in try map.takeList("flags") { flags.append(try FlagTarget(node, stores: stores, of: environment)) }
        if let part = try map.takeMap("deployment") { deployments.append(try Deployment(from: part)) }
        for part in try map.takeMaps("commands") { commands.append(try CommandTarget(from: part)) }
        stabilise = try map.takeDuration("stabilise", default: stabilise)
        if let part = try map.takeMap("verify") { verification = try Verification(from: part) }
        clearsWithin = try map.takeDuration("clears_within", default: clearsWithin)
        self.cooldown = try map.takeDuration("cooldown", default: cooldown)
        if map.has("mode") { mode = try map.take("mode", default: .observe) }
        for node in try map.takeList("includes") { includes.append((try node.text(), node.location)) }
        guard !flags.isEmpty || !deployments.isEmpty || !commands.isEmpty || !includes.isEmpty else {
            throw map.error("the action '\(name)' does nothing; give flags, a deployment, commands or includes")
        }
        try map.finish()
    }

    /// By all that is configured.
    public static func == (left: RollbackAction, right: RollbackAction) -> Bool {
        left.name == right.name && left.environment == right.environment && left.services == right.services
            && left.flags == right.flags && left.deployments == right.deployments && left.commands == right.commands
            && left.stabilise == right.stabilise && left.verification == right.verification
            && left.clearsWithin == right.clearsWithin && left.cooldown == right.cooldown && left.mode == right.mode
            && left.includes.elementsEqual(right.includes) { $0.name == $1.name }
    }
    /// By its name.
    public func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

/// A flag to switch off.
public struct FlagTarget: Sendable, Hashable {
    /// The flag's name, without the store's prefix.
    public var name: String
    /// The store's name.
    public var store: String
    /// The environment whose value is changed, in a flag that has one for each.
    public var environment: String?

    /// A flag by its parts.
    public init(name: String, store: String, environment: String? = nil) {
        (self.name, self.store, self.environment) = (name, store, environment)
    }

    /// A name, or a map with `name`, `store` and `environment`. The store may be left out where there is one alone.
    init(
        _ node: SettingsNode, stores: [String: FlagStoreSettings], of environment: String?
    ) throws(SettingsError) {
        self.environment = environment
        var given: String?
        var place = node.location
        if let map = try? node.map() {  // Not a map: a name alone.
            name = try map.require("name")
            given = try map.take("store")
            place = map.location(of: "store")
            self.environment = try map.take("environment") ?? environment
            try map.finish()
        } else {
            name = try node.text()
        }
        let known = stores.keys.sorted().joined(separator: ", ")
        guard let store = given ?? (stores.count == 1 ? stores.keys.first : nil) else {
            throw SettingsError(
                place,
                stores.isEmpty
                    ? "the flag '\(name)' has no store; describe one under rollback.flag_stores"
                    : "the flag '\(name)' may be in several stores; add store: one of \(known)")
        }
        guard stores[store] != nil else {
            let near = store.nearest(among: Set(stores.keys)).map { "; did you mean '\($0)'?" }
            throw SettingsError(place, "there is no flag store '\(store)'" + (near ?? "; known here: \(known)"))
        }
        self.store = store
    }
}

/// A folder of releases with a link to the one that runs.
public struct Deployment: Sendable, Hashable {
    /// The folder that holds a folder for each release.
    public var releases: String
    /// The symbolic link to the release that runs.
    public var link: String
    /// The release to go back to; nil: the one before, in the order of names with their numbers read as such.
    public var release: String?
    /// What must be in a release for it to be startable, from the release's folder; nil: anything at all.
    public var requires: String?

    /// A deployment by its parts.
    public init(releases: String, link: String, release: String? = nil, requires: String? = nil) {
        (self.releases, self.link, self.release, self.requires) = (releases, link, release, requires)
    }

    init(from map: SettingsMap) throws(SettingsError) {
        guard let releases = try map.takePath("releases") else { throw map.missing("releases") }
        guard let link = try map.takePath("link") else { throw map.missing("link") }
        (self.releases, self.link) = (releases, link)
        let to: String? = try map.take("to")
        release = to == "previous" ? nil : to
        if let release, release.isEmpty || release.contains("/") {
            throw map.error("to", "is 'previous' or the name of a release, a folder in \(releases)")
        }
        requires = try map.take("requires")
        try map.finish()
    }
}

/// A program to run.
public struct CommandTarget: Sendable, Hashable {
    /// What it is for; unique by habit.
    public var name: String
    /// The program and its arguments; no shell reads them.
    public var arguments: [String]
    /// The arguments and the probe as the file has them, where variables gave some of it: these are shown.
    public var writtenArguments: [String]?, writtenProbe: [String]?
    /// Where it runs; nil: where the daemon runs.
    public var directory: String?
    /// A program whose exit status 0 says that the command has done its work: asked after a crash. Nil: nobody knows.
    public var probe: [String]?
    /// After that it is killed. Default: 30 s.
    public var timeout: Milliseconds = 30_000
    /// Address space in bytes. Default: 512 MiB.
    public var memoryBytes = 512 << 20
    /// How much of what it writes is kept, in bytes. Default: 4 KiB.
    public var outputBytes = 4 << 10

    /// A command by its parts.
    public init(name: String, arguments: [String], probe: [String]? = nil) {
        (self.name, self.arguments, self.probe) = (name, arguments, probe)
    }

    init(from map: SettingsMap) throws(SettingsError) {
        arguments = try map.require("run")
        guard let program = arguments.first, !program.isEmpty else {
            throw map.error("run", "is a list of a program and its arguments, [systemctl, stop, ml-services]")
        }
        writtenArguments = try CommandTarget.written("run", map)
        writtenProbe = try CommandTarget.written("probe", map)
        name = try map.take("name", default: (writtenArguments ?? arguments).joined(separator: " "))
        directory = try map.takePath("directory")
        probe = try map.take("probe")
        if let probe, probe.first?.isEmpty ?? true {
            throw map.error("probe", "is a list of a program and its arguments; leave it out where there is none")
        }
        timeout = try map.takeDuration("timeout", default: timeout)
        memoryBytes = try map.takeBytes("memory", default: memoryBytes)
        outputBytes = try map.takeBytes("output", default: outputBytes)
        guard timeout > 0 else { throw map.error("timeout", "must be above 0; a command without end blocks the plan") }
        guard memoryBytes >= 1 << 20 else { throw map.error("memory", "must be at least 1MiB") }
        guard (0...(64 << 10)).contains(outputBytes) else {
            throw map.error("output", "must be at most 64KiB: it is kept in the journal")
        }
        try map.finish()
    }

    private static func written(_ key: String, _ map: SettingsMap) throws(SettingsError) -> [String]? {
        let values = try map.take(key, default: [SettingsValue]())
        return values.contains { $0.written != $0.text } ? values.map(\.written) : nil
    }
}

/// What must hold after a rollback: all conditions at once, in `passes` of `rounds` looks.
public struct Verification: Sendable, Hashable {
    /// Health checks that must be up.
    public var checks: [String] = []
    /// PromQL: each must give something; a comparison must hold for every series, and any other value must not be 0.
    public var expressions: [String] = []
    /// How many looks must find all conditions true. Default: 3.
    public var passes = 3
    /// How many looks there are at the most. Default: 5.
    public var rounds = 5
    /// The time between two looks. Default: 5 s.
    public var interval: Milliseconds = 5_000

    /// Nothing to verify.
    public init() {}

    init(from map: SettingsMap) throws(SettingsError) {
        checks = try map.take("checks", default: [])
        for node in try map.takeList("expressions") {
            let text = try node.text()
            do throws(QueryError) {
                _ = try Verification.parsed(text)
            } catch {
                throw SettingsError(node.location, "expressions: \(error)")
            }
            expressions.append(text)
        }
        passes = try map.take("passes", default: passes)
        rounds = try map.take("of", default: max(passes, rounds))
        interval = try map.takeDuration("interval", default: interval)
        guard !checks.isEmpty || !expressions.isEmpty else {
            throw map.error("nothing is verified; give checks or expressions, or leave verify out")
        }
        guard passes > 0, passes <= rounds, rounds <= 1000 else {
            throw map.error("passes", "must be from 1 to 'of', and that at most 1000")
        }
        try map.finish()
    }

    /// All of it as PromQL, each with what it is called. A check counts once it looked after `since`.
    func conditions(since: Timestamp) -> [(name: String, expression: String)] {
        checks.map { check in
            let up = "health_check_up{check=\(check.goQuoted)}"
            return ("check \(check)", "min(\(up)) == 1 and min(timestamp(\(up))) > \(GoNumber.fixed(since.seconds))")
        } + expressions.map { ($0, $0) }
    }

    /// What it looks at, for people.
    var text: String { (checks.map { "check \($0)" } + expressions).joined(separator: "; ") }

    static func parsed(_ text: String) throws(QueryError) -> Expression {
        do throws(ParseError) { return try Expression(parsing: text) } catch { throw .parse(error) }
    }
}
