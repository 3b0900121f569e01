public import Basics
public import Query
internal import Templates

/// A rule file: groups of rules, checked whole.
///
/// - SeeAlso: Prometheus, `model/rulefmt/rulefmt.go`.
public struct RuleFile: Sendable {
    /// The path as the person gave it.
    public var path: String
    /// In the order of the file; no name twice.
    public var groups: [GroupDefinition]
}

extension [GroupDefinition] {
    /// Rules that give series which an earlier rule of these gives too: the same name and the same labels; the second
    /// of each kind. Two recording rules then write over each other; two alerts are one. O(*n*).
    ///
    /// - SeeAlso: Prometheus, `cmd/promtool/main.go`, `checkDuplicates`.
    public var duplicateRules: [RuleDefinition] {
        var counts: [[String]: Int] = [:]
        return flatMap(\.rules).filter { rule in
            guard rule.kind == .recording || rule.kind == .alerting else { return false }
            let key = [rule.name] + rule.labels.flatMap { [$0.name, $0.text] }
            counts[key, default: 0] += 1
            return counts[key] == 2
        }
    }
}

/// Rules that are evaluated together, in order, at one moment.
public struct GroupDefinition: Sendable, Hashable {
    /// The file it stands in.
    public var file: String
    /// Unique in its file.
    public var name: String
    /// Between two evaluations; nil: the global evaluation interval.
    public var interval: Milliseconds?
    /// The most series or alerts that one rule may give; 0: no limit.
    public var limit: Int
    /// How far behind the moment of evaluation queries look; nil: the global offset.
    public var queryOffset: Milliseconds?
    /// The server that evaluates its recording and alerting rules, by its name or address; nil: our own store.
    public var querySource: String?
    /// In the order of the file.
    public var rules: [RuleDefinition]
    /// Where it stands.
    public var location: SourceLocation
}

/// One rule, with its group's labels laid under its own.
public struct RuleDefinition: Sendable, Hashable {
    /// What becomes of the expression's value.
    public enum Kind: String, Sendable, Hashable {
        /// It is stored as a series of its own.
        case recording
        /// Each of its series is an alert.
        case alerting
        /// Each feature that drifted is an alert.
        case drift
        /// Its series are held against a threshold, and an action follows.
        case trigger
    }
    /// What becomes of the expression's value.
    public var kind: Kind
    /// The series' or the alert's name.
    public var name: String
    /// What is evaluated; of a drift rule, what is judged.
    public var expression: Expression
    /// What a drift rule compares; nil for other rules.
    public var drift: DriftDefinition?
    /// How long an alert is pending before it fires.
    public var hold: Milliseconds
    /// How long an alert fires on after its expression has given nothing.
    public var keepFiringFor: Milliseconds
    /// Sorted by name; of alerts, templates.
    public var labels: [RuleText]
    /// Sorted by name, templates.
    public var annotations: [RuleText]
    /// Of a trigger, when its action is taken.
    public var trigger: TriggerDefinition?
    /// Where it stands.
    public var location: SourceLocation

    /// A trigger as a rule.
    init(
        trigger: TriggerDefinition, name: String, expression: Expression, hold: Milliseconds, location: SourceLocation
    ) {
        (kind, self.name, self.expression, self.hold, keepFiringFor) = (.trigger, name, expression, hold, 0)
        (labels, annotations) = ([RuleText("action", plain: trigger.action)], [])
        (self.trigger, self.location) = (trigger, location)
    }

    /// The rule that stands at the end of every group: it fires for each rule whose evaluation failed.
    static let evaluationFailing: RuleDefinition = {
        do {
            let text = "increase(vedette_rule_evaluation_failures_total[5m]) > 0"
            var rule = RuleDefinition(
                alert: "VedetteRuleEvaluationFailing", expression: try Expression(parsing: text))
            rule.labels = [RuleText("component", plain: "vedette"), RuleText("severity", plain: "high")]
            return rule
        } catch {
            preconditionFailure("\(error)")
        }
    }()

    private init(alert: String, expression: Expression) {
        (kind, name, self.expression, hold, keepFiringFor) = (.alerting, alert, expression, 0, 0)
        (labels, annotations, location) = ([], [], SourceLocation(file: "built-in"))
    }

    /// Its labels as written.
    public var labelTexts: [String: String] { Dictionary(uniqueKeysWithValues: labels.map { ($0.name, $0.text) }) }
    /// Its annotations as written.
    public var annotationTexts: [String: String] {
        Dictionary(uniqueKeysWithValues: annotations.map { ($0.name, $0.text) })
    }

    /// Its name and labels, by which it is the same rule after a change of its file.
    var identity: String {
        ([kind.rawValue, name] + labels.map { "\($0.name)=\($0.text.goQuoted)" }).joined(separator: ";")
    }

    /// By what it does, wherever it stands.
    public static func == (left: RuleDefinition, right: RuleDefinition) -> Bool {
        left.kind == right.kind && left.name == right.name && left.expression == right.expression
            && left.drift == right.drift && left.hold == right.hold && left.keepFiringFor == right.keepFiringFor
            && left.labels == right.labels
            && left.annotations == right.annotations && left.trigger == right.trigger
    }
    /// By what it does, wherever it stands.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(identity)
        hasher.combine(expression)
    }
}

/// The text of a label or an annotation, parsed once.
public struct RuleText: Sendable, Hashable {
    /// The label's or annotation's name.
    public let name: String
    /// As written.
    public let text: String
    /// nil when the text is plain.
    private let template: Template?

    /// A text that is not a template.
    init(_ name: String, plain text: String) { (self.name, self.text, template) = (name, text, nil) }

    /// A template, with Prometheus' variables defined before it.
    init(_ name: String, template text: String, of rule: String) throws(TemplateError) {
        (self.name, self.text) = (name, text)
        template =
            text.contains("{{")
            ? try Template(
                parsing: TemplateFunctions.prometheusDefinitions + text, name: "__alert_\(rule)",
                functions: .prometheus) : nil
    }

    /// The text for one alert; a mistake while running is told in the text itself, so that the alert still goes out.
    func expanded(_ data: TemplateValue, in environment: TemplateEnvironment) -> String {
        guard let template else { return text }
        do {
            return try template.render(data, in: environment)
        } catch {
            return "<error expanding template: error executing template \(template.name): \(error)>"
        }
    }

    /// Whether the text is plain, so that its expansion needs no data.
    var isPlain: Bool { template == nil }

    /// By name and text.
    public static func == (left: RuleText, right: RuleText) -> Bool {
        left.name == right.name && left.text == right.text
    }
    /// By name and text.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(text)
    }
}
