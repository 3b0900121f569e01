public import Basics
internal import Synchronization

/// The entries of a YAML map. Each is taken once by name; `finish` refuses what nobody took.
///
/// A class, so that taking through any reference marks the key. An entry without a value (`key:` or `key: null`) is
/// the same as no entry, as in Prometheus. `<<` merges maps: the map's own keys come before merged ones.
public final class SettingsMap {
    private let node: SettingsNode
    private struct Entry {
        var name: String
        var pair: SettingsNode.Pair
        var isTaken = false
    }
    /// In the order of the file.
    private var entries: [Entry] = []
    /// Where each key stands, of maps that are too long to look through.
    private var places: [String: Int] = [:]
    private static let shortMap = 12
    /// The keys that were asked for.
    private var known: [String] = []
    private var maps: [String: SettingsMap] = [:]

    init(_ node: SettingsNode) throws(SettingsError) {
        self.node = node
        guard case .map(let pairs) = node.content else { throw node.expected("a map") }
        try add(pairs, depth: 0)
    }

    init(empty node: SettingsNode) { self.node = node }

    private func add(_ pairs: [SettingsNode.Pair], depth: Int) throws(SettingsError) {
        var merges: [SettingsNode] = []
        for pair in pairs {
            guard case .scalar(let name, let style) = pair.key.content else { continue }
            if name == "<<", style == .plain {
                if case .list(let maps) = pair.value.content { merges += maps } else { merges.append(pair.value) }
            } else if place(of: name) == nil {
                entries.append(Entry(name: name, pair: pair))
                if entries.count > SettingsMap.shortMap {
                    if places.isEmpty {
                        for (place, entry) in entries.enumerated() { places[entry.name] = place }
                    } else {
                        places[name] = entries.count - 1
                    }
                }
            }
        }
        for merge in merges {
            guard case .map(let merged) = merge.content else { throw merge.expected("a map to merge") }
            guard depth < 8 else { throw merge.error("merged more than 8 levels deep") }
            try add(merged, depth: depth + 1)
        }
    }

    private func place(of key: String) -> Int? {
        places.isEmpty ? entries.firstIndex { $0.name == key } : places[key]
    }

    private func pair(_ key: String) -> SettingsNode.Pair? { place(of: key).map { entries[$0].pair } }

    /// Marks a key as asked for; answers its value.
    private func note(_ key: String) -> SettingsNode? {
        known.append(key)
        guard let place = place(of: key) else { return nil }
        entries[place].isTaken = true
        return entries[place].pair.value
    }

    /// The keys in the order of the file.
    public var keys: [String] { entries.map(\.name) }

    /// Where the map begins.
    public var location: SourceLocation { node.location }
    /// Where a key stands, or the map when it has no such key.
    public func location(of key: String) -> SourceLocation { pair(key)?.key.location ?? location }
    /// Whether a key is given with a value; does not take it.
    public func has(_ key: String) -> Bool { pair(key).map { !$0.value.isNull } ?? false }

    /// What variables gave to the values of the map and below: not to be repeated by what may be read.
    public var variableValues: [String] { node.variableValues }

    /// A mistake at a key's value, or at the map when the key is not given.
    public func error(_ key: String, _ message: String) -> SettingsError {
        SettingsError(pair(key)?.value.location ?? location, "\(key): \(message)")
    }
    /// A mistake of the map as a whole.
    public func error(_ message: String) -> SettingsError { SettingsError(location, message) }

    /// The value under a key as it stands; nil when there is none.
    public func takeNode(_ key: String) -> SettingsNode? {
        note(key).flatMap { $0.isNull ? nil : $0 }
    }

    /// The value under a key, nil when there is none.
    public func take<Value: SettingsReadable>(_ key: String, as type: Value.Type = Value.self) throws(SettingsError)
        -> Value?
    {
        guard let node = takeNode(key) else { return nil }
        return try prefixed(key) { () throws(SettingsError) in try Value.read(node) }
    }

    /// The value under a key, or a default.
    public func take<Value: SettingsReadable>(_ key: String, default value: Value) throws(SettingsError) -> Value {
        try take(key) ?? value
    }

    /// The value under a key, which must be given.
    public func require<Value: SettingsReadable>(_ key: String, as type: Value.Type = Value.self) throws(SettingsError)
        -> Value
    {
        guard let value: Value = try take(key) else { throw missing(key) }
        return value
    }

    /// One of an enumeration's raw values under a key, or a default.
    public func take<Choice: RawRepresentable<String> & CaseIterable>(
        _ key: String, default value: Choice
    ) throws(SettingsError) -> Choice {
        guard let node = takeNode(key) else { return value }
        let text = try prefixed(key) { () throws(SettingsError) in try node.text() }
        guard let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            throw error(key, "'\(text)' is not one of \(known)")
        }
        return choice
    }

    /// A duration in Prometheus' form, `1h30m`.
    public func takeDuration(_ key: String, default value: Milliseconds) throws(SettingsError) -> Milliseconds {
        try takeDuration(key) ?? value
    }

    /// A duration in Prometheus' form, nil when there is none.
    public func takeDuration(_ key: String) throws(SettingsError) -> Milliseconds? {
        guard let node = takeNode(key) else { return nil }
        return try prefixed(key) { () throws(SettingsError) in
            let text = try node.text()
            guard let length = DurationText.parse(text) else {
                throw node.error("'\(text.prefix(60))' is no duration; write it as 30s, 5m or 1h30m")
            }
            return length
        }
    }

    /// A number of bytes in Prometheus' form, `512KiB` or `10MB`, both in powers of 1024.
    public func takeBytes(_ key: String, default value: Int) throws(SettingsError) -> Int {
        guard let node = takeNode(key) else { return value }
        return try prefixed(key) { () throws(SettingsError) in
            let text = try node.text()
            guard let count = byteCount(text) else {
                throw node.error("'\(text.prefix(60))' is no size; write it as 512KiB, 10MB or 2GB")
            }
            return count
        }
    }

    /// The path of a file under a key, nil when there is none; relative ones start from the folder of this file.
    public func takePath(_ key: String) throws(SettingsError) -> String? {
        guard let node = takeNode(key) else { return nil }
        return try prefixed(key) { () throws(SettingsError) in try node.path() }
    }

    /// The path of a file that has to be there, nil when there is none; see `SettingsDocument.neededFiles`.
    public func takeNeededPath(_ key: String) throws(SettingsError) -> String? {
        let path = try takePath(key)
        if let path { node.file.needed.withLock { $0.append((path, location(of: key))) } }
        return path
    }

    /// The paths of files in the list under a key; empty when there is none.
    public func takePaths(_ key: String) throws(SettingsError) -> [String] {
        try take(key, default: [String]()).map(node.resolved)
    }

    /// The map under a key, nil when there is none. The same object each time, so that several rooms may take their
    /// keys of a shared section such as `global` before one of them calls `finish`.
    public func takeMap(_ key: String) throws(SettingsError) -> SettingsMap? {
        if let map = maps[key] { return map }
        guard let node = takeNode(key) else { return nil }
        let map = try prefixed(key) { () throws(SettingsError) in try node.map() }
        maps[key] = map
        return map
    }

    /// The items of the list under a key; empty when there is none.
    public func takeList(_ key: String) throws(SettingsError) -> [SettingsNode] {
        guard let node = takeNode(key) else { return [] }
        return try prefixed(key) { () throws(SettingsError) in try node.list() }
    }

    /// The list of maps under a key; empty when there is none.
    public func takeMaps(_ key: String) throws(SettingsError) -> [SettingsMap] {
        var maps: [SettingsMap] = []
        for item in try takeList(key) { maps.append(try prefixed(key) { () throws(SettingsError) in try item.map() }) }
        return maps
    }

    /// The secret under a key, or in the file that its twin `KEY_file` names. Both together are refused.
    public func takeSecret(_ key: String) throws(SettingsError) -> Secret? {
        let fileKey = "\(key)_file"
        if has(key), has(fileKey) {
            throw error(fileKey, "at most one of \(key) & \(fileKey) must be configured; remove one of the two")
        }
        if let path = try takeNeededPath(fileKey) {
            _ = note(key)
            return Secret(file: path)
        }
        return try take(key, as: Secret.self)
    }

    /// Refuses keys that are understood but not offered; `alternative` tells what to do in their place. An empty list
    /// or map asks for nothing and passes.
    public func refuse(_ refused: [String], _ alternative: String) throws(SettingsError) {
        for key in refused where has(key) && pair(key)?.value.isEmpty == false {
            throw SettingsError(location(of: key), "\(key) is not offered; \(alternative)")
        }
        for key in refused { if let place = place(of: key) { entries[place].isTaken = true } }
    }

    /// Refuses the first key that nobody took.
    public func finish() throws(SettingsError) {
        guard !node.file.ignoresUnknownKeys else { return }
        for key in entries.lazy.filter({ !$0.isTaken }).map(\.name) {
            let known = Set(known)
            let near = key.nearest(among: known).map { "; did you mean '\($0)'?" }
            let list = known.isEmpty ? "" : "; known here: \(known.sorted().joined(separator: ", "))"
            throw SettingsError(location(of: key), "unknown key '\(key)'\(near ?? list)")
        }
    }

    /// The mistake that a required key is not given.
    public func missing(_ key: String) -> SettingsError { error("\(key) is missing; it must be given") }

    private func prefixed<Value>(
        _ key: String, _ body: () throws(SettingsError) -> Value
    ) throws(SettingsError) -> Value {
        do {
            return try body()
        } catch {
            throw SettingsError(error.location, "\(key): \(error.message)")
        }
    }
}
