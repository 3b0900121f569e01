public import Basics

/// Where a system runs; variables may differ from one to the next.
public enum DeploymentStage: String, Sendable, Hashable, CaseIterable {
    /// On somebody's machine.
    case development
    /// As in production, for trying.
    case staging
    /// Where it counts.
    case production
}

/// How much a variable is needed.
public enum VariableLevel: String, Sendable, Hashable, CaseIterable {
    /// Nothing works without.
    case required
    /// Its absence is told.
    case recommended
    /// It may be absent.
    case optional
}

/// What a variable holds, with the bounds of that type.
public enum VariableKind: Sendable, Hashable {
    /// Any text.
    case text(TextBounds)
    /// An address `SCHEME://…`; `needsTLS`: in production only over TLS, save on this machine. A password in it is
    /// held to `leastPassword` characters.
    case url(schemes: [String], needsTLS: Bool, leastPassword: Int)
    /// `name@host`.
    case mail
    /// E.164, `+4930123456`; or a national number of a form such as `(###) ###-####`.
    case phone(format: String?)
    /// What nobody may read; `forbidden` values are refused besides the weak ones.
    case secret(TextBounds, forbidden: [String])
    /// A number within bounds, both inclusive.
    case number(least: Double?, greatest: Double?, isWhole: Bool)
    /// `true`, `yes`, `on`, `1` and their contraries.
    case boolean
    /// One of these, as written.
    case choice([String])
    /// A file or directory; `access`: what must be allowed.
    case path(PathBounds)

    /// Bounds of a text.
    public struct TextBounds: Sendable, Hashable {
        /// In characters.
        public var least = 0
        /// In characters.
        public var greatest: Int?
        /// What it may begin with; empty: anything.
        public var prefixes: [String] = []
    }

    /// Bounds of a path.
    public struct PathBounds: Sendable, Hashable {
        /// `file` or `directory`; nil: either.
        public var isDirectory: Bool?
        /// Whether it must be there.
        public var mustExist = true
        /// Whether it must be readable.
        public var isRead = true
        /// Whether it must be writable.
        public var isWritten = false
    }

    /// As the file names it.
    public var name: String {
        switch self {
        case .text: "text"
        case .url: "url"
        case .mail: "mail"
        case .phone: "phone"
        case .secret: "secret"
        case .number: "number"
        case .boolean: "boolean"
        case .choice: "choice"
        case .path: "path"
        }
    }

    static let names = ["text", "url", "mail", "phone", "secret", "number", "boolean", "choice", "path"]
}

/// One variable of the environment that a system is configured by.
public struct VariableDefinition: Sendable {
    /// Its name.
    public var name: String
    /// What it holds.
    public var kind: VariableKind
    /// How much it is needed, by where the system runs; where it does not stand it is not looked at.
    public var levels: [DeploymentStage: VariableLevel]
    /// What it is for, in a sentence.
    public var description: String
    /// What it belongs with, such as `Payments`; empty: nothing.
    public var group: String
    /// How a value looks; never of a secret.
    public var example: String?
    /// Where it stands in the file.
    public var location: SourceLocation

    /// Reads a file of variables: `variables`, a list of maps, each name once.
    public static func all(_ bytes: [UInt8], file: String) throws(SettingsError) -> [VariableDefinition] {
        let map = try SettingsDocument(bytes, file: file).map()
        var definitions: [VariableDefinition] = []
        var known: Set<String> = []
        for part in try map.takeMaps("variables") {
            let definition = try VariableDefinition(from: part)
            guard known.insert(definition.name).inserted else {
                throw part.error("name", "'\(definition.name)' is described twice; remove one")
            }
            definitions.append(definition)
        }
        try map.finish()
        guard !definitions.isEmpty else { throw map.error("variables is missing; describe at least one variable") }
        return definitions
    }

    init(from map: SettingsMap) throws(SettingsError) {
        location = map.location
        name = try map.require("name", as: String.self)
        let bytes = Array(name.utf8)
        guard !bytes.isEmpty, bytes.indices.allSatisfy({ bytes[$0].isNamePart(first: $0 == 0) }) else {
            throw map.error("name", "must be letters, digits and _, and not begin with a digit")
        }
        description = try map.take("description", default: "")
        group = try map.take("group", default: "")
        levels = try VariableDefinition.levels(map)
        kind = try VariableKind(from: map)
        if case .secret = kind {
            try map.refuse(["example"], "an example of a secret ends up in use")
        } else {
            example = try map.take("example")
        }
        try map.finish()
    }

    /// `level: required` with `environments`, or a level for each: `level: {production: required, staging: optional}`.
    private static func levels(_ map: SettingsMap) throws(SettingsError) -> [DeploymentStage: VariableLevel] {
        if let node = map.takeNode("level"), (try? node.text()) == nil {
            try map.refuse(["environments"], "the level names them already")
            let part = try node.map()
            var levels: [DeploymentStage: VariableLevel] = [:]
            for stage in DeploymentStage.allCases where part.has(stage.rawValue) {
                levels[stage] = try part.take(stage.rawValue, default: VariableLevel.required)
            }
            try part.finish()
            return levels
        }
        let level = try map.take("level", default: VariableLevel.required)
        guard map.has("environments") else {
            _ = map.takeNode("environments")
            return Dictionary(uniqueKeysWithValues: DeploymentStage.allCases.map { ($0, level) })
        }
        var levels: [DeploymentStage: VariableLevel] = [:]
        for item in try map.takeList("environments") {
            let text = try item.text()
            guard let stage = DeploymentStage(rawValue: text) else {
                throw item.error("environments: '\(text)' is not one of 'development', 'staging', 'production'")
            }
            levels[stage] = level
        }
        guard !levels.isEmpty else { throw map.error("environments", "names none; leave it out to mean all") }
        return levels
    }
}

extension VariableKind {
    init(from map: SettingsMap) throws(SettingsError) {
        let type = try map.require("type", as: String.self)
        switch type {
        case "text": self = .text(try TextBounds(from: map, least: 1))
        case "url":
            let schemes = try map.take("schemes", default: ["https", "http"])
            self = .url(
                schemes: schemes.map { $0.lowercased() }, needsTLS: try map.take("tls", default: true),
                leastPassword: try map.take("min_length", default: 12))
        case "mail": self = .mail
        case "phone":
            let format: String? = try map.take("format")
            if let format, !format.contains("#") {
                throw map.error("format", "has no place for a digit; write # for each, such as (###) ###-####")
            }
            self = .phone(format: format)
        case "secret":
            self = .secret(
                try TextBounds(from: map, least: 16), forbidden: try map.take("forbidden", default: [String]()))
        case "number":
            let (least, greatest): (Double?, Double?) = (try map.take("min"), try map.take("max"))
            if let least, let greatest, least > greatest { throw map.error("max", "is below min; exchange the two") }
            self = .number(least: least, greatest: greatest, isWhole: try map.take("integer", default: false))
        case "boolean": self = .boolean
        case "choice":
            let choices = try map.require("choices", as: [String].self)
            guard !choices.isEmpty else { throw map.error("choices", "names none; write at least one") }
            self = .choice(choices)
        case "path": self = .path(try PathBounds(from: map))
        default:
            let near = type.nearest(among: VariableKind.names).map { "; did you mean '\($0)'?" }
            throw map.error(
                "type",
                "'\(type)' is no type" + (near ?? "; write one of \(VariableKind.names.joined(separator: ", "))"))
        }
    }
}

extension VariableKind.TextBounds {
    init(from map: SettingsMap, least: Int) throws(SettingsError) {
        self.least = try map.take("min_length", default: least)
        greatest = try map.take("max_length")
        prefixes = try map.take("prefixes", default: [])
        if let greatest, greatest < self.least { throw map.error("max_length", "is below the least length") }
    }
}

extension VariableKind.PathBounds {
    private enum Kind: String, CaseIterable { case file, directory, any }

    init(from map: SettingsMap) throws(SettingsError) {
        let kind = try map.take("kind", default: Kind.any)
        isDirectory = kind == .any ? nil : kind == .directory
        mustExist = try map.take("exists", default: true)
        isRead = try map.take("readable", default: true)
        isWritten = try map.take("writable", default: false)
    }
}
