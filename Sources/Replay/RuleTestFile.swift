public import Basics
internal import Model
internal import Query
public import Rules
public import Settings

/// A file of unit tests for rules, in promtool's format: series that are written down, and what rules and expressions
/// make of them at given moments.
///
/// - SeeAlso: Prometheus, "Unit testing for rules"; `cmd/promtool/unittest.go`.
public struct RuleTestFile: Sendable {
    /// The path as the person gave it.
    public var path: String
    /// The rule files it names, patterns resolved.
    public var ruleFiles: [String] = []
    /// Patterns of rule files that no file matches.
    public var unmatched: [String] = []
    /// The groups of all rule files, in the order in which they are evaluated.
    public var groups: [GroupDefinition] = []
    /// Between two evaluations of all groups.
    public var evaluationInterval: Milliseconds
    /// Whether values may be one unit in the last place apart.
    public var isFuzzy: Bool
    /// In the order of the file.
    public var tests: [RuleTest]

    /// Reads a test file and the rule files that it names.
    public init(
        path: String, files: any FileSystem, ignoringUnknownKeys: Bool = false
    ) throws(SettingsError) {
        self.path = path
        let root = try SettingsDocument(
            RuleTestFile.contents(of: path, files), file: path, ignoringUnknownKeys: ignoringUnknownKeys
        ).map()
        let patterns = try root.takePaths("rule_files")
        evaluationInterval = try root.takeDuration("evaluation_interval", default: 0)
        if evaluationInterval == 0 { evaluationInterval = 60_000 }
        let order = try root.take("group_eval_order", default: [String]())
        if let twice = order.firstRepeated {
            throw root.error("group_eval_order", "group name repeated in evaluation order: \(twice)")
        }
        isFuzzy = try root.take("fuzzy_compare", default: false)
        tests = []
        for map in try root.takeMaps("tests") { tests.append(try RuleTest(map, interval: evaluationInterval)) }
        try root.finish()
        for pattern in patterns {
            let found = files.glob(pattern)
            if found.isEmpty { unmatched.append(pattern) }
            ruleFiles += found
        }
        for file in ruleFiles {
            let read = try RuleFile(
                RuleTestFile.contents(of: file, files), file: file, files: files,
                ignoringUnknownKeys: ignoringUnknownKeys)
            groups += read.groups
        }
        // Those that the order does not name come first, as they stand.
        let places = Dictionary(uniqueKeysWithValues: order.enumerated().map { ($1, $0 + 1) })
        groups = groups.enumerated().sorted {
            (places[$0.element.name] ?? 0, $0.offset) < (places[$1.element.name] ?? 0, $1.offset)
        }.map(\.element)
    }

    private static func contents(of path: String, _ files: any FileSystem) throws(SettingsError) -> [UInt8] {
        do throws(FileError) {
            return try files.contents(of: path, limit: SettingsLimits().bytes)
        } catch {
            throw SettingsError(SourceLocation(file: path), "cannot be read: \(error.reason); mend the path")
        }
    }
}

/// One test of a file: its series, and what is expected of rules and expressions over them.
public struct RuleTest: Sendable {
    /// A series, a value per interval.
    struct Input: Sendable {
        var labels: Labels
        var values: [Double?]
    }
    struct ExpectedAlert: Sendable, Hashable {
        var labels: [String: String]
        var annotations: [String: String]
    }
    struct AlertCase: Sendable {
        var at: Milliseconds
        var name: String
        var expected: [ExpectedAlert]
        var location: SourceLocation
    }
    struct ExpressionCase: Sendable {
        var expression: SettingsValue
        var at: Milliseconds
        var expected: [(labels: Labels, value: Double)]
        var location: SourceLocation
    }

    /// Its name, or empty.
    public var name: String
    /// Where it stands.
    public var location: SourceLocation
    var interval: Milliseconds
    var start: Timestamp
    var externalLabels: Labels
    var externalURL: String
    var inputs: [Input] = []
    var alerts: [AlertCase] = []
    var expressions: [ExpressionCase] = []

    /// The last moment that is asked for, from the start.
    var length: Milliseconds { max(alerts.map(\.at).max() ?? 0, expressions.map(\.at).max() ?? 0) }

    init(_ map: SettingsMap, interval standard: Milliseconds) throws(SettingsError) {
        location = map.location
        name = try map.take("name", default: "")
        interval = try map.takeDuration("interval", default: 0)
        if interval == 0 { interval = standard }
        start = try RuleTest.start(map)
        externalLabels = Labels(try map.take("external_labels", default: [String: String]()))
        externalURL = try map.take("external_url", default: "")
        for input in try map.takeMaps("input_series") { inputs.append(try RuleTest.input(input)) }
        for item in try map.takeMaps("alert_rule_test") { alerts.append(try RuleTest.alertCase(item)) }
        for item in try map.takeMaps("promql_expr_test") { expressions.append(try RuleTest.expressionCase(item)) }
        try map.finish()
    }

    private static func start(_ map: SettingsMap) throws(SettingsError) -> Timestamp {
        guard let text: String = try map.take("start_timestamp") else { return Timestamp(milliseconds: 0) }
        if let seconds = Double(text), seconds.isFinite, abs(seconds) < 1e11 { return Timestamp(seconds: seconds) }
        guard let moment = Timestamp(rfc3339: text) else {
            throw map.error(
                "start_timestamp",
                "'\(text)' is no moment; write seconds since 1970 or RFC 3339, such as 2026-11-25T00:00:00Z")
        }
        return moment
    }

    private static func input(_ map: SettingsMap) throws(SettingsError) -> Input {
        let series: SettingsValue = try map.require("series")
        let values: SettingsValue = try map.require("values")
        try map.finish()
        return Input(
            labels: try parsed(series, SeriesNotation.labels), values: try parsed(values, SeriesNotation.values))
    }

    /// A text read by one of the notation's parsers; a mistake has its own place in the file.
    private static func parsed<Value>(
        _ text: SettingsValue, _ parse: (String) throws(ParseError) -> Value
    ) throws(SettingsError) -> Value {
        do {
            return try parse(text.text)
        } catch {
            throw SettingsError(text.location(line: error.line, column: error.column), error.text)
        }
    }

    private static func alertCase(_ map: SettingsMap) throws(SettingsError) -> AlertCase {
        let at = try map.takeDuration("eval_time", default: 0)
        let name: String? = try map.take("alertname")
        guard let name, !name.isEmpty else {
            throw map.error("an item under alert_rule_test misses required attribute alertname")
        }
        var expected: [ExpectedAlert] = []
        for alert in try map.takeMaps("exp_alerts") {
            var labels = try alert.take("exp_labels", default: [String: String]())
            labels["alertname"] = name
            expected.append(
                ExpectedAlert(
                    labels: labels, annotations: try alert.take("exp_annotations", default: [String: String]())))
            try alert.finish()
        }
        try map.finish()
        return AlertCase(at: at, name: name, expected: expected, location: map.location)
    }

    private static func expressionCase(_ map: SettingsMap) throws(SettingsError) -> ExpressionCase {
        let expression: SettingsValue = try map.require("expr")
        let at = try map.takeDuration("eval_time", default: 0)
        var expected: [(labels: Labels, value: Double)] = []
        for sample in try map.takeMaps("exp_samples") {
            if sample.has("histogram") {
                throw SettingsError(
                    sample.location(of: "histogram"), "histogram: native histograms are not offered; use classic ones")
            }
            let labels: SettingsValue? = try sample.take("labels")
            let value: String = try sample.take("value", default: "0")
            guard let number = RuleTest.number(value) else {
                throw sample.error("value", "'\(value)' is no number")
            }
            let isNamed = labels.map { !$0.text.isEmpty } ?? false
            expected.append(
                (
                    isNamed
                        ? try labels.map { text throws(SettingsError) in
                            try parsed(text, SeriesNotation.labels)
                        } ?? Labels() : Labels(), number
                ))
            try sample.finish()
        }
        try map.finish()
        return ExpressionCase(expression: expression, at: at, expected: expected, location: map.location)
    }

    /// A value as the notation writes it, or in YAML's own way: `.inf`, `-.Inf`, `.nan`.
    private static func number(_ text: String) -> Double? {
        switch text.lowercased() {
        case ".inf", "+.inf": return .infinity
        case "-.inf": return -.infinity
        case ".nan": return .nan
        default: break
        }
        // What is no number is told by who asked, with its place.
        guard let values = try? SeriesNotation.values(parsing: text), values.count == 1 else { return nil }
        return values[0]
    }
}

extension [String] {
    fileprivate var firstRepeated: String? {
        var seen: Set<String> = []
        return first { !seen.insert($0).inserted }
    }
}
