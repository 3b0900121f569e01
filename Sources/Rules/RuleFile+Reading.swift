public import Basics
internal import Model
internal import Query
public import Settings
internal import Templates

extension RuleFile {
    /// Reads and checks a rule file; a mistake in an expression or a template has its own place in the file. `files`
    /// reads the data files that drift rules name; without it such rules are refused.
    ///
    /// - Parameter ignoringUnknownKeys: Keys of other tools are passed over.
    public init(
        _ bytes: [UInt8], file: String, files: (any FileSystem)? = nil, ignoringUnknownKeys: Bool = false
    ) throws(SettingsError) {
        path = file
        groups = []
        let root = try SettingsDocument(bytes, file: file, ignoringUnknownKeys: ignoringUnknownKeys).map()
        try add(root, files)
        try root.finish()
    }

    /// Reads the rules of a file that is not ours, for the look of them alone: in several documents, in Kubernetes'
    /// `PrometheusRule` resources, among keys of other tools. A group's name may come again in another document.
    ///
    /// - SeeAlso: prometheus-operator, `pkg/apis/monitoring/v1/prometheusrule_types.go`.
    public init(foreign bytes: [UInt8], file: String) throws(SettingsError) {
        path = file
        groups = []
        for document in try SettingsDocument.all(bytes, file: file) {
            let root = try document.map()
            var part = RuleFile(path: file, groups: [])
            try part.add(root.has("apiVersion") ? try root.takeMap("spec") ?? root : root, nil)
            groups += part.groups
        }
    }

    private mutating func add(_ root: SettingsMap, _ files: (any FileSystem)?) throws(SettingsError) {
        var places: [String: SourceLocation] = [:]
        var drifts: [String: SourceLocation] = [:]
        for map in try root.takeMaps("groups") {
            let group = try GroupDefinition(map, file: path, files)
            if let first = places.updateValue(group.location, forKey: group.name) {
                throw map.error(
                    "name", "groupname: \(group.name.goQuoted) is repeated in the same file, first at \(first)")
            }
            for rule in group.rules where rule.kind == .drift {
                guard let first = drifts.updateValue(rule.location, forKey: rule.name) else { continue }
                throw SettingsError(
                    rule.location,
                    "drift: \(rule.name.goQuoted) is the name of two rules, first at \(first), and names their series; "
                        + "rename one")
            }
            groups.append(group)
        }
    }
}

extension GroupDefinition {
    /// What a group says that is evaluated over our own store, whatever holds for others.
    public static let localSource = "local"

    init(_ map: SettingsMap, file: String, _ files: (any FileSystem)?) throws(SettingsError) {
        self.file = file
        location = map.location
        name = try map.require("name")
        guard !name.isEmpty else { throw map.error("name", "Groupname must not be empty") }
        interval = try map.takeDuration("interval")
        if interval == 0 { interval = nil }
        queryOffset = try map.takeDuration("query_offset")
        limit = try map.take("limit", default: 0)
        querySource = try map.take("query_source")
        let labels = try map.take("labels", default: [String: String]())
        try checkLabelNames(labels, in: map)
        rules = []
        for rule in try map.takeMaps("rules") {
            if rule.has("drift") {
                guard querySource == nil || querySource == GroupDefinition.localSource else {
                    throw rule.error(
                        "drift", "drift is judged over our own store; move the rule to a group without query_source")
                }
                rules.append(try RuleDefinition(drift: rule, under: labels, interval: interval, files: files))
            } else {
                rules.append(try RuleDefinition(rule, under: labels))
            }
        }
        try map.finish()
    }
}

extension RuleDefinition {
    init(_ map: SettingsMap, under groupLabels: [String: String]) throws(SettingsError) {
        location = map.location
        let record: String? = try map.take("record")
        let alert: String? = try map.take("alert")
        let written: SettingsValue? = try map.take("expr")
        hold = try map.takeDuration("for", default: 0)
        keepFiringFor = try map.takeDuration("keep_firing_for", default: 0)
        let labels = try map.take("labels", default: [String: String]())
        let annotationMap = try map.takeMap("annotations")
        try checkLabelNames(labels, in: map)
        let hasFor = map.has("for") && hold != 0
        try map.finish()
        switch (record, alert) {
        case (let record?, nil): (kind, name) = (.recording, record)
        case (nil, let alert?): (kind, name) = (.alerting, alert)
        case (nil, nil): throw map.error("one of 'record' or 'alert' must be set")
        default: throw map.error("alert", "only one of 'record' and 'alert' must be set; make two rules of it")
        }
        guard !name.isEmpty else { throw map.error("one of 'record' or 'alert' must be set") }
        guard let written, !written.text.isEmpty else {
            throw map.error(kind == .recording ? "record" : "alert", "field 'expr' must be set in rule")
        }
        if kind == .recording {
            for (field, isGiven) in [
                ("for", hasFor), ("keep_firing_for", keepFiringFor != 0), ("annotations", annotationMap != nil),
            ] where isGiven {
                throw map.error(field, "invalid field '\(field)' in recording rule; only alerts have it")
            }
            if name.contains(where: { $0 == "{" || $0 == "}" }) {
                throw map.error(
                    "record", "braces present in the recording rule name; should it be in expr?: \(name)")
            }
        }
        expression = try RuleDefinition.parsed(written)
        guard expression.type == .vector || expression.type == .scalar else {
            throw SettingsError(
                written.location,
                "expr: a rule needs an instant vector or a scalar, this is a \(expression.type.rawValue)")
        }
        self.labels = try RuleDefinition.texts(
            groupLabels.merging(labels) { $1 }, of: name, areTemplates: kind == .alerting
        ) { name, error in
            RuleDefinition.mistake(error, named: name, in: try? map.takeMap("labels"), at: map.location(of: "labels"))
        }
        annotations = try RuleDefinition.texts(
            RuleDefinition.strings(annotationMap), of: name, areTemplates: true
        ) { name, error in
            RuleDefinition.mistake(error, named: name, in: annotationMap, at: map.location(of: "annotations"))
        }
    }

    static func parsed(_ written: SettingsValue) throws(SettingsError) -> Expression {
        do {
            return try Expression(parsing: written.text)
        } catch {
            throw SettingsError(
                written.location(line: error.line, column: error.column),
                "could not parse expression: parse error: \(error.text)")
        }
    }

    static func strings(_ map: SettingsMap?) throws(SettingsError) -> [String: String] {
        guard let map else { return [:] }
        var strings: [String: String] = [:]
        for key in map.keys { strings[key] = try map.take(key) ?? "" }
        return strings
    }

    static func texts(
        _ strings: [String: String], of rule: String, areTemplates: Bool,
        mistake: (String, TemplateError) -> SettingsError
    ) throws(SettingsError) -> [RuleText] {
        var texts: [RuleText] = []
        for (name, text) in strings.sorted(by: { $0.key.isBefore($1.key) }) {
            guard areTemplates else {
                texts.append(RuleText(name, plain: text))
                continue
            }
            do {
                texts.append(try RuleText(name, template: text, of: rule))
            } catch {
                throw mistake(name, error)
            }
        }
        return texts
    }

    /// A template's mistake at its own place; the variables that are defined before it do not count.
    static func mistake(
        _ error: TemplateError, named name: String, in map: SettingsMap?, at place: SourceLocation
    ) -> SettingsError {
        let shift = error.line == 1 ? TemplateFunctions.prometheusDefinitions.utf8.count : 0
        // A value that cannot be read again has been told of before.
        let value: SettingsValue? = try? map?.take(name) ?? nil
        let location = value?.location(line: error.line, column: max(1, error.column - shift)) ?? place
        return SettingsError(location, "\(name): bad template: \(error.message)")
    }
}

func checkLabelNames(_ labels: [String: String], in map: SettingsMap) throws(SettingsError) {
    for name in labels.keys.sorted() where name.isEmpty || name == Labels.nameLabel {
        throw map.error("labels", "invalid label name: \(name); it is not for labels to change a metric's name")
    }
}
