public import Basics
internal import Model
public import Settings
public import Templates

/// What the texts of a page are made of where the receiver gives no template of its own.
public enum PageStyle: Sendable, Hashable {
    /// Alertmanager's default templates: the same file sends the same bodies.
    case alertmanager
    /// The evidence: value, since when, labels, runbook with its first steps, graph, what else fires.
    case evidence
}

/// How files that the settings name are found and read while the settings are.
public struct SettingsFiles: Sendable {
    /// The paths that a pattern matches, in order.
    public var glob: @Sendable (_ pattern: String) -> [String]
    /// A file, whole.
    public var read: Secret.FileReader

    /// Files by the two ways to get at them.
    public init(
        glob: @escaping @Sendable (_ pattern: String) -> [String], read: @escaping Secret.FileReader
    ) {
        (self.glob, self.read) = (glob, read)
    }

    /// The files of a disk.
    public init(_ files: any FileSystem) {
        self.init(glob: { files.glob($0) }, read: { try files.contents(of: $0) })
    }

    /// No files at all.
    public static let none = SettingsFiles(glob: { _ in [] }, read: { _ in [] })
}

/// What all channels make their texts with.
public struct PageTexts: Sendable {
    /// Default: evidence.
    public var style = PageStyle.evidence
    /// The built-in templates, and those of `templates` over them.
    public var library = TemplateLibrary.builtIn
    /// The folder of the runbooks; nil: none.
    public var runbooks: String?

    /// The defaults.
    public init() {}
}

/// Templates that texts may call by name. A later one of the same name counts.
public struct TemplateLibrary: Sendable {
    var templates: [Template]
    /// The names that files define: these are the person's own wish, as if given in the receiver.
    private(set) var ownNames: Set<String> = []

    init(_ templates: [Template]) { self.templates = templates }

    /// Adds the definitions of a file.
    mutating func add(_ text: String, file: String) throws(SettingsError) {
        do throws(TemplateError) {
            let template = try Template(parsing: text, name: file, functions: .alertmanager)
            ownNames.formUnion(template.definedNames)
            templates.append(template)
        } catch {
            throw SettingsError(
                SourceLocation(file: file, line: error.line, column: error.column),
                "invalid template syntax: \(error.message)")
        }
    }
}

/// A text of the settings in Go's template language.
public struct PageTemplate: Sendable {
    /// As written, save that variables are put in.
    public let text: String
    /// As it stands in the file, for whoever shows it.
    private(set) var written: String
    let template: Template

    /// Parses a text.
    ///
    /// - Parameter isHTML: Values are escaped for the places in the page where they stand.
    public init(_ text: String, library: TemplateLibrary = .builtIn, isHTML: Bool = false) throws(TemplateError) {
        (self.text, written) = (text, text)
        template = try Template(
            parsing: text, name: "", functions: .alertmanager, library: library.templates, isHTML: isHTML)
    }

    /// Parses a value of the settings; a mistake has its place in the file.
    init(_ value: SettingsValue, key: String, library: TemplateLibrary, isHTML: Bool = false) throws(SettingsError) {
        do throws(TemplateError) {
            try self.init(value.text, library: library, isHTML: isHTML)
            written = value.written
        } catch {
            throw SettingsError(
                value.location(line: error.line, column: error.column),
                "\(key): invalid template syntax: \(error.message)")
        }
    }
}

/// The templates of one entry of a receiver, by key: those given, and in Alertmanager's style its defaults.
struct ChannelTemplates: Sendable {
    private var templates: [String: PageTemplate] = [:]

    /// None, so that all is made from the evidence.
    init() {}

    /// Takes `keys` of a map. `defaults` are texts by key; one that calls a template which a file defines counts in
    /// both styles.
    init(
        from map: SettingsMap, _ keys: [String], defaults: [String: String], _ texts: PageTexts
    ) throws(SettingsError) {
        for key in keys {
            let isHTML = key == "html"
            if let value = try map.take(key, as: SettingsValue.self) {
                templates[key] = try PageTemplate(value, key: key, library: texts.library, isHTML: isHTML)
            }
        }
        try fill(defaults, texts)
    }

    /// Puts the defaults in.
    mutating func fill(_ defaults: [String: String], _ texts: PageTexts) throws(SettingsError) {
        for (key, text) in defaults.sorted(by: { $0.key < $1.key }) where templates[key] == nil {
            let isOwn = texts.library.ownNames.contains { text.contains("\"\($0)\"") }
            guard isOwn || texts.style == .alertmanager else { continue }
            templates[key] = try PageTemplate(
                SettingsValue(text), key: key, library: texts.library, isHTML: key == "html")
        }
    }

    subscript(key: String) -> PageTemplate? {
        get { templates[key] }
        set { templates[key] = newValue }
    }
    /// Whether any of the keys has a template.
    func has(any keys: [String]) -> Bool { keys.contains { templates[$0] != nil } }
}

/// A structure whose texts are templates: `payload`, `details`.
indirect enum TemplateTree: Sendable {
    case value(JSON)
    case text(PageTemplate)
    case list([TemplateTree])
    case map([(key: PageTemplate, value: TemplateTree)])

    /// Reads a value of any shape; keys that are no texts are left out, as Alertmanager does.
    init(_ node: SettingsNode, key: String, library: TemplateLibrary) throws(SettingsError) {
        switch node.shape {
        case .null: self = .value(.null)
        case .bool(let value): self = .value(.bool(value))
        case .number(let value): self = .value(.number(value))
        case .text:
            let value = try SettingsValue.read(node)
            self = .text(try PageTemplate(value, key: key, library: library))
        case .list(let items):
            var list: [TemplateTree] = []
            for item in items { list.append(try TemplateTree(item, key: key, library: library)) }
            self = .list(list)
        case .map(let pairs):
            var map: [(key: PageTemplate, value: TemplateTree)] = []
            for (name, value) in pairs {
                guard case .text = name.shape else { continue }
                let text = try SettingsValue.read(name)
                map.append(
                    (
                        key: try PageTemplate(text, key: key, library: library),
                        value: try TemplateTree(value, key: key, library: library)
                    ))
            }
            self = .map(map)
        }
    }

    /// The structure with its texts rendered; one that then reads as YAML of another kind becomes that. Members are in
    /// the order of their names, as Go writes them.
    ///
    /// - SeeAlso: Alertmanager, `template.DeepCopyWithTemplate`.
    func render(_ render: (PageTemplate) throws -> String) rethrows -> JSON {
        switch self {
        case .value(let json): return json
        case .text(let template): return TemplateTree.reread(try render(template))
        case .list(let items): return .array(try items.map { try $0.render(render) })
        case .map(let pairs):
            let members = try pairs.map { JSON.Member(try render($0.key), try $0.value.render(render)) }
            return .object(members.sorted { $0.name < $1.name })
        }
    }

    /// What a rendered text is: itself, or what it says as YAML.
    static func reread(_ text: String) -> JSON {
        var limits = SettingsLimits()
        limits.values = 100_000
        // What is no YAML is a text.
        guard let root = try? SettingsDocument(text, file: "", limits: limits).root else { return .string(text) }
        if case .text = root.shape { return .string(text) }
        return json(root)
    }

    private static func json(_ node: SettingsNode) -> JSON {
        switch node.shape {
        case .null: return .null
        case .bool(let value): return .bool(value)
        case .number(let value): return .number(value)
        case .text(let text): return .string(text)
        case .list(let items): return .array(items.map(json))
        case .map(let pairs):
            let members = pairs.compactMap { pair -> JSON.Member? in
                guard case .text(let name) = pair.key.shape else { return nil }
                return JSON.Member(name, json(pair.value))
            }
            return .object(members.sorted { $0.name < $1.name })
        }
    }
}

extension SettingsMap {
    /// A template under a key.
    func takeTemplate(_ key: String, _ texts: PageTexts) throws(SettingsError) -> PageTemplate? {
        guard let value = try take(key, as: SettingsValue.self) else { return nil }
        return try PageTemplate(value, key: key, library: texts.library)
    }
}
