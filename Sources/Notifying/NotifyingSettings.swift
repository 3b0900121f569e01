public import Alerting
public import Basics
public import Settings

/// A receiver's name with its channels.
public struct Receiver: Sendable {
    /// As the routes call it.
    public let name: String
    /// In the order of the file; the id is `receiver/kind/index`.
    public let channels: [(id: String, channel: any Channel)]
    /// Who is told when its channels fail.
    public var fallback: Fallback?
    /// What is in force, under Alertmanager's keys, with `<secret>` for secrets.
    public var effective: JSON = .null
    /// Its own labels, `name` among them.
    public var labels: [String: String] = [:]

    /// A receiver of channels, which get their ids here.
    public init(name: String, channels: [any Channel]) {
        self.name = name
        var counts: [String: Int] = [:]
        self.channels = channels.map { channel in
            let index = counts[channel.kind, default: 0]
            counts[channel.kind] = index + 1
            return (id: "\(name)/\(channel.kind)/\(index)", channel: channel)
        }
    }

    private init(_ receiver: Receiver, channels: [(id: String, channel: any Channel)]) {
        (name, self.channels, fallback) = (receiver.name, channels, receiver.fallback)
        (effective, labels) = (receiver.effective, receiver.labels)
    }

    /// The same with the ids that its channels had before, by whom they tell; `known` are all ids that are or were in
    /// use. One that tells somebody else gets an id that nobody had, so that nothing meant for another goes there.
    func keepingIDs(_ known: [String: String]) -> Receiver {
        guard !known.isEmpty else { return self }
        var taken: Set<String> = []
        var ids: [String?] = channels.map { id, channel in
            guard known[id] == channel.addressee, taken.insert(id).inserted else { return nil }
            return id
        }
        for (place, entry) in channels.enumerated() where ids[place] == nil {
            let prefix = "\(name)/\(entry.channel.kind)/"
            let before = known.filter { $0.value == entry.channel.addressee && $0.key.hasPrefix(prefix) }.keys.sorted()
            if let id = before.first(where: { !taken.contains($0) }) {
                taken.insert(id)
                ids[place] = id
                continue
            }
            var index = 0
            while known["\(prefix)\(index)"] != nil || taken.contains("\(prefix)\(index)") { index += 1 }
            taken.insert("\(prefix)\(index)")
            ids[place] = "\(prefix)\(index)"
        }
        return Receiver(self, channels: zip(channels, ids).map { (id: $1 ?? $0.id, channel: $0.channel) })
    }
}

extension NotifyingSettings {
    /// See `Receiver.keepingIDs`.
    func keepingIDs(_ known: [String: String]) -> NotifyingSettings {
        var settings = self
        settings.receivers = receivers.mapValues { $0.keepingIDs(known) }
        return settings
    }
}

/// `route`, `receivers` and Alertmanager's part of `global`.
public struct NotifyingSettings: Sendable {
    /// Who is told what and when.
    public var alerting: AlertingSettings
    /// The routes.
    public var tree: RouteTree { alerting.tree }
    /// Finds time zones, also for silences that recur.
    public var zones: ZoneFinder = { _ in nil }
    /// By name.
    public var receivers: [String: Receiver]
    /// After what time an alert from outside that is not told again is over. Default: 5 min.
    public var resolveTimeout: Milliseconds = 300_000
    /// Alertmanager's part of `global` as it is in force, with `<secret>` for secrets.
    public private(set) var effectiveGlobal: JSON = .object([])
    /// `templates` as the file gives them.
    public private(set) var templatePatterns: [String] = []
    /// What is odd and yet no mistake.
    public private(set) var warnings: [String] = []

    /// Settings by their parts.
    public init(tree: RouteTree, receivers: [Receiver]) {
        alerting = AlertingSettings(tree: tree)
        self.receivers = Dictionary(receivers.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    }

    /// What peers call a channel: its kind and its place among its receiver's channels of that kind, `webhook[0]`.
    func integration(_ channelID: String, of receiver: String) -> String {
        var count = 0
        let channels = receivers[receiver]?.channels ?? []
        guard let own = channels.first(where: { $0.id == channelID }) else { return channelID }
        for (id, channel) in channels where channel.kind == own.channel.kind {
            if id == channelID { break }
            count += 1
        }
        return "\(own.channel.kind)[\(count)]"
    }

    /// Nobody is told anything.
    public static let none = NotifyingSettings(tree: RouteTree(receiver: "none"), receivers: [])

    /// Takes its sections of the daemon's file. `global` is shared with other rooms: whoever owns the file calls its
    /// `finish`.
    ///
    /// - Parameter style: What pages say where a receiver gives no template.
    /// - Parameter files: Where the files of `templates` are found.
    public init(
        from root: SettingsMap, style: PageStyle = .evidence, files: SettingsFiles = .none,
        mode: MatcherMode = .fallback, zones: @escaping ZoneFinder = { _ in nil }
    ) throws(SettingsError) {
        self.zones = zones
        var context = ChannelContext()
        context.texts.style = style
        context.texts.runbooks = try root.takePath("runbooks")
        templatePatterns = try root.take("templates", default: [])
        for pattern in try root.takePaths("templates") {
            for path in files.glob(pattern) {
                let bytes: [UInt8]
                do {
                    bytes = try files.read(path)
                } catch {
                    throw root.error("templates", "\(path) cannot be read: \(error)")
                }
                try context.texts.library.add(String(decoding: bytes, as: UTF8.self), file: path)
            }
        }
        let global = try root.takeMap("global")
        if let global {
            resolveTimeout = try global.takeDuration("resolve_timeout", default: resolveTimeout)
            context.http = try global.takeHTTPConfig() ?? context.http
            context.shownHTTP = EffectiveWriter.http(global) ?? context.shownHTTP
            let refused = global.keys.filter { key in ChannelKind.foreign.contains { key.hasPrefix("\($0)_") } }
            try global.refuse(refused, ChannelKind.offered)
        }
        var readers: [(key: String, read: ChannelKind.Reader)] = []
        for kind in ChannelKind.all { readers.append((kind.key, try kind.prepare(global, context))) }
        effectiveGlobal = NotifyingSettings.effective(global, context.shownHTTP, resolveTimeout)
        if style == .alertmanager, root.takeNode("tracing") != nil {
            // Pages do not depend on it, and the file is to be taken as it is.
            warnings.append("tracing is not offered and has no effect; deliveries are listed by the API")
        }
        try root.refuse(
            ["tracing", "event_recorder"].filter { $0 != "tracing" || style == .evidence },
            "leave it out; deliveries are listed by the API and in /metrics")
        var receivers: [Receiver] = []
        var maps: [String: SettingsMap] = [:]
        for map in try root.takeMaps("receivers") {
            let receiver = try Receiver(from: map, readers)
            guard !receivers.contains(where: { $0.name == receiver.name }) else {
                throw map.error("name", "the receiver '\(receiver.name)' is already defined; give it another name")
            }
            receivers.append(receiver)
            maps[receiver.name] = map
        }
        if style == .alertmanager, !root.has("route") {
            throw root.error("no route provided in config; add 'route: {receiver: …}'")
        }
        alerting = try AlertingSettings(
            from: root, receivers: Set(receivers.map(\.name)), fallback: "none", mode: mode, zones: zones)
        self.receivers = Dictionary(uniqueKeysWithValues: receivers.map { ($0.name, $0) })
        try NotifyingSettings.check(self.receivers, maps)
    }
}

extension Receiver {
    init(
        from map: SettingsMap, _ readers: [(key: String, read: ChannelKind.Reader)]
    ) throws(SettingsError) {
        let name: String = try map.require("name")
        guard !name.isEmpty else { throw map.error("name", "missing name in receiver; give it one") }
        try map.refuse(ChannelKind.foreign.map { "\($0)_configs" }, ChannelKind.offered)
        let labels = try map.take("labels", default: [String: String]())
        if let other = labels["name"], other != name {
            throw map.error("labels", "the label name must match the receiver's name '\(name)'; remove it")
        }
        var channels: [any Channel] = []
        var writer = EffectiveWriter(map)
        writer.copy("name", "labels")
        for (key, read) in readers {
            let before = channels.count
            for item in try map.takeList(key) {
                guard !item.isNull else { throw item.error("\(key): an empty entry; remove it or give it its keys") }
                channels.append(try read(item.map()))
            }
            let shown = channels[before...].map(\.effective)
            if !shown.isEmpty { writer.add(key, .array(shown)) }
        }
        let fallback = try map.takeMap("fallback").map { map throws(SettingsError) in try Fallback(from: map) }
        try map.finish()
        self.init(name: name, channels: channels)
        self.fallback = fallback
        effective = writer.json
        self.labels = labels.merging(["name": name]) { $1 }
    }
}
