internal import Basics
internal import Query
internal import Settings
internal import Templates

extension RuleDefinition {
    /// Reads a rule that begins with `drift:`.
    init(
        drift map: SettingsMap, under groupLabels: [String: String], interval: Milliseconds?,
        files: (any FileSystem)?
    ) throws(SettingsError) {
        location = map.location
        kind = .drift
        let name: String = try map.require("drift")
        guard !name.isEmpty else { throw map.error("drift", "is empty; give the alert a name") }
        self.name = name
        for key in ["record", "alert"] where map.has(key) {
            throw map.error(key, "a rule is one of 'drift', 'alert' and 'record'; make two rules of it")
        }
        try map.refuse(["expr"], "write what is compared under current and reference")
        try map.refuse(["for"], "write the number of evaluations in a row under evaluations")
        hold = 0
        keepFiringFor = try map.takeDuration("keep_firing_for", default: 0)
        let labels = try map.take("labels", default: [String: String]())
        let annotationMap = try map.takeMap("annotations")
        try checkLabelNames(labels, in: map)
        if labels["feature"] != nil || groupLabels["feature"] != nil {
            throw map.error("labels", "'feature' is the label that a drift rule gives each alert; choose another name")
        }
        let drift = try DriftDefinition(map, interval: interval, files: files)
        try map.finish()
        self.drift = drift
        expression = drift.current.expression
        self.labels = try RuleDefinition.texts(
            groupLabels.merging(labels) { $1 }, of: name, areTemplates: true
        ) { name, error in
            RuleDefinition.mistake(error, named: name, in: try? map.takeMap("labels"), at: map.location(of: "labels"))
        }
        annotations = try RuleDefinition.texts(
            RuleDefinition.strings(annotationMap), of: name, areTemplates: true
        ) { name, error in
            RuleDefinition.mistake(error, named: name, in: annotationMap, at: map.location(of: "annotations"))
        }
    }
}

extension DriftDefinition {
    init(_ map: SettingsMap, interval: Milliseconds?, files: (any FileSystem)?) throws(SettingsError) {
        guard let written = try map.takeMap("current") else { throw map.missing("current") }
        guard let against = try map.takeMap("reference") else { throw map.missing("reference") }
        let source: SettingsValue = try written.require("expr")
        kind = try DriftDefinition.kind(map, of: source)
        current = try Window(written, source, kind, interval: interval, defaultOffset: 0)
        featureLabel = try map.take("feature", default: "feature")
        categoryLabel = try map.take("category", default: "category")
        if map.has("category"), kind != .categories {
            throw map.error("category", "only 'over: categories' has categories; leave it out or change over")
        }
        significance = try map.take("significance", default: 0.05)
        guard significance > 0, significance <= 0.5 else {
            throw map.error("significance", "must be above 0 and not above 0.5; 0.05 is usual")
        }
        let count: Int = try map.take("minimum", default: 200)
        guard count >= 1 else { throw map.error("minimum", "must be at least 1; 200 is usual") }
        minimum = Double(count)
        evaluations = try map.take("evaluations", default: 3)
        guard (1...10_000).contains(evaluations) else {
            throw map.error("evaluations", "must be between 1 and 10000")
        }
        tests = try DriftDefinition.tests(map, kind)
        soleFeature = DriftDefinition.soleFeature(current.expression, kind)
        reference = try DriftDefinition.reference(
            against, source, kind, interval: interval, after: current, files: files)
    }

    /// What the observations are: as written, or as the expression says for certain.
    private static func kind(_ map: SettingsMap, of source: SettingsValue) throws(SettingsError) -> Kind {
        if map.has("over") { return try map.take("over", default: Kind.samples) }
        if map.has("category") { return .categories }
        if let root = try? Expression(parsing: source.text).root, case .vector(let selector) = root,
            selector.name.hasSuffix("_bucket")
        {
            return .histogram
        }
        throw map.error(
            "over is missing: the expression does not say what it holds; write over: histogram, samples or categories")
    }

    private static func soleFeature(_ expression: Expression, _ kind: Kind) -> String {
        guard let name = expression.selectors.first?.name, !name.isEmpty else { return "" }
        return kind == .histogram && name.hasSuffix("_bucket") ? String(name.dropLast(7)) : name
    }

    private static func reference(
        _ map: SettingsMap, _ source: SettingsValue, _ kind: Kind, interval: Milliseconds?, after current: Window,
        files: (any FileSystem)?
    ) throws(SettingsError) -> Reference {
        guard map.has("file") else {
            let own: SettingsValue? = try map.take("expr")
            let begin = current.offset + current.length
            let window = try Window(map, own ?? source, kind, interval: interval, defaultOffset: begin)
            // What is on both sides makes them alike; the tests take the sides as independent.
            if own == nil || window.expression.description == current.expression.description, window.offset < begin {
                throw map.error(
                    "offset",
                    "the reference reaches into the current window; write an offset of at least "
                        + DurationText.format(begin))
            }
            return .window(window)
        }
        for key in ["expr", "window", "offset"] where map.has(key) {
            throw map.error(key, "the reference is a file; keep either the file or the expression")
        }
        let place = map.error("file", "").location
        let path = try map.takePath("file") ?? ""
        try map.finish()
        guard let files else { throw SettingsError(place, "file: no files can be read here; give an expression") }
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try files.contents(of: path, limit: 16 << 20)
        } catch {
            let message =
                error.code == FileError.tooLarge
                ? "'\(path)' is longer than 16 MiB; give a histogram or a sample of the values"
                : "'\(path)' cannot be read: \(error.reason); mend the path, which starts from the rule file's folder"
            throw SettingsError(place, "file: \(message)")
        }
        return .file(path: path, features: try DriftReferenceFile.features(bytes, path: path, kind))
    }

    /// The tests with their thresholds: a list of names, or a map of names to thresholds.
    private static func tests(_ map: SettingsMap, _ kind: Kind) throws(SettingsError) -> [DriftTest: Double] {
        guard let node = map.takeNode("tests") else {
            let defaults: [DriftTest] = kind == .categories ? [.chiSquare] : [.psi, .ks]
            return Dictionary(uniqueKeysWithValues: defaults.map { ($0, DriftTest.defaultThreshold) })
        }
        var tests: [DriftTest: Double] = [:]
        func add(_ name: String, _ threshold: Double, _ place: SourceLocation) throws(SettingsError) {
            guard let test = DriftTest(rawValue: name) else {
                let known = DriftTest.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
                throw SettingsError(place, "tests: '\(name)' is not one of \(known)")
            }
            if kind == .categories, test.needsOrder {
                throw SettingsError(
                    place, "tests: \(name) needs values in an order, categories have none; take chi_square, psi or js")
            }
            guard threshold > 0, threshold.isFinite, threshold <= test.greatest ?? threshold else {
                let bound = test.greatest.map { " and not above \(Int($0))" } ?? ""
                throw SettingsError(place, "tests: the threshold of \(name) must be above 0\(bound)")
            }
            guard tests.updateValue(threshold, forKey: test) == nil else {
                throw SettingsError(place, "tests: \(name) is named twice; keep one")
            }
        }
        // A list is told from a map by reading it as one.
        if let thresholds = try? node.map() {
            for key in thresholds.keys {
                let threshold: Double? = try thresholds.take(key)
                try add(key, threshold ?? DriftTest.defaultThreshold, thresholds.location(of: key))
            }
        } else {
            for item in try map.takeList("tests") {
                try add(try item.text(), DriftTest.defaultThreshold, item.location)
            }
        }
        guard !tests.isEmpty else { throw map.error("tests", "names no test; leave it out for the defaults") }
        return tests
    }
}

extension DriftDefinition.Window {
    init(
        _ map: SettingsMap, _ source: SettingsValue, _ kind: DriftDefinition.Kind, interval: Milliseconds?,
        defaultOffset: Milliseconds
    ) throws(SettingsError) {
        _ = try map.take("expr", as: SettingsValue.self)
        guard let length = try map.takeDuration("window") else { throw map.missing("window") }
        guard length > 0 else { throw map.error("window", "must be above 0") }
        self.length = length
        offset = try map.takeDuration("offset", default: defaultOffset)
        try map.finish()
        expression = try RuleDefinition.parsed(source)
        query = try DriftDefinition.Window.query(expression, source, kind, interval: interval, length, offset)
    }

    /// The expression over the window. Counters have to be read as they are, since a sum of counters hides their
    /// resets; samples may be of any expression, evaluated at the group's interval.
    private static func query(
        _ expression: Expression, _ source: SettingsValue, _ kind: DriftDefinition.Kind, interval: Milliseconds?,
        _ length: Milliseconds, _ offset: Milliseconds
    ) throws(SettingsError) -> Expression {
        let text: String
        switch expression.root {
        case .vector(let selector):
            guard selector.shift.offset == nil, selector.shift.at == nil else {
                throw SettingsError(source.location, "expr: write the offset under offset, beside window")
            }
            text = "\(expression.description)[\(length)ms] offset \(offset)ms"
        case .matrix, .subquery:
            throw SettingsError(source.location, "expr: write the window under window and not in the expression")
        default:
            guard expression.type == .vector else {
                throw SettingsError(
                    source.location, "expr: an instant vector is needed, this is a \(expression.type.rawValue)")
            }
            guard kind == .samples else {
                throw SettingsError(
                    source.location,
                    "expr: over: \(kind.rawValue) needs a plain selector of counters, whose increase over the window "
                        + "is taken; series of one feature are added up")
            }
            let step = interval.map { "\($0)ms" } ?? ""
            text = "(\(expression.description))[\(length)ms:\(step)] offset \(offset)ms"
        }
        do {
            return try Expression(parsing: text)
        } catch {
            throw SettingsError(source.location, "expr: cannot be read over a window: \(error.text)")
        }
    }
}
