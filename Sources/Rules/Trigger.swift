public import Basics
internal import Model
internal import Query
public import Settings

/// When an action is to be taken: a metric beyond a threshold for so long.
public struct TriggerDefinition: Sendable, Hashable {
    /// On which side of the threshold the metric is bad.
    public enum Comparison: String, Sendable, Hashable, CaseIterable {
        case above = ">", below = "<", atLeast = ">=", atMost = "<="

        func holds(_ value: Double, _ threshold: Double) -> Bool {
            switch self {
            case .above: value > threshold
            case .below: value < threshold
            case .atLeast: value >= threshold
            case .atMost: value <= threshold
            }
        }
        /// Whether greater values are worse.
        var isUpward: Bool { self == .above || self == .atLeast }
    }

    /// The metric's name.
    public var metric: String
    /// The side that is bad.
    public var comparison: Comparison
    /// In the metric's own unit.
    public var threshold: Double
    /// What to do, by its name.
    public var action: String
    /// Where the action is named.
    public var actionLocation: SourceLocation
    /// What must be there for a value of the metric to be news; found from the recording rules.
    var evidence = Evidence.always
    /// How old a sample may be to be news.
    var freshness = Freshness()

    /// `websocket_latency_p95 > 200 for 10m`.
    public func text(hold: Milliseconds) -> String {
        "\(metric) \(comparison.rawValue) \(GoNumber.shortest(threshold, exponentFrom: 21))"
            + " for \(DurationText.format(hold))"
    }

    /// By what it does, wherever it stands.
    public static func == (left: TriggerDefinition, right: TriggerDefinition) -> Bool {
        left.metric == right.metric && left.comparison == right.comparison && left.threshold == right.threshold
            && left.action == right.action && left.evidence == right.evidence
            && left.freshness == right.freshness
    }
    /// By what it does, wherever it stands.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(metric)
        hasher.combine(threshold)
        hasher.combine(action)
    }
}

/// How old the newest sample of a series may be, by its job: two of the job's intervals, within which the next one is
/// due and in. A query's own look back of minutes would take a value for news that a restart has kept from ending.
public struct Freshness: Sendable, Hashable {
    /// The intervals of scrape jobs, by their names.
    public var intervals: [String: Milliseconds] = [:]
    /// The longest of all intervals: for what is not scraped by a known job.
    public var longest: Milliseconds = 60_000

    /// Nothing is known of any job.
    public init() {}

    func limit(for labels: Labels) -> Milliseconds { 2 * (intervals[labels["job"]] ?? longest) + 500 }
}

/// What has to be there for a recorded value to be news. A rate goes on for minutes after its target has died: its
/// window still holds samples. An automatic action must not be taken on those.
indirect enum Evidence: Sendable, Hashable {
    case always
    /// A series that these conditions select has a sample now.
    case series([Matcher])
    case all([Evidence])
    case any([Evidence])

    /// Of what a metric is made, down to the series that no rule records; and the metric itself.
    static func of(_ metric: String, recordedBy rules: [String: [Expression]]) -> Evidence {
        let itself = Evidence.series([Matcher(Labels.nameLabel, equals: metric)])
        return rules[metric] == nil ? itself : all([itself, of(metric, rules, within: [])]).simplified
    }

    private static func of(_ metric: String, _ rules: [String: [Expression]], within: Set<String>) -> Evidence {
        guard let expressions = rules[metric], !within.contains(metric) else { return .always }
        return any(expressions.map { of($0.root, rules, within: within.union([metric])) }).simplified
    }

    private static func of(_ expr: Expr, _ rules: [String: [Expression]], within: Set<String>) -> Evidence {
        let found: Evidence =
            switch expr.bare {
            case .number, .string, .paren, .invariant: .always
            case .vector(let selector): of(selector, rules, within: within)
            case .matrix(let matrix): of(matrix.selector, rules, within: within)
            case .subquery(let node):
                node.shift == TimeShift() ? of(node.inner, rules, within: within) : .always
            case .call(let call) where call.function.name.hasPrefix("absent"): .always
            case .call(let call): .all(call.arguments.map { of($0, rules, within: within) })
            case .aggregate(let node): of(node.inner, rules, within: within)
            case .unary(let node): of(node.operand, rules, within: within)
            case .binary(let node):
                switch node.operation {
                case .or: .any([of(node.left, rules, within: within), of(node.right, rules, within: within)])
                case .unless: of(node.left, rules, within: within)
                default: .all([of(node.left, rules, within: within), of(node.right, rules, within: within)])
                }
            }
        return found.simplified
    }

    /// The past cannot be missing now: a selector with an offset needs nothing.
    private static func of(_ selector: VectorSelector, _ rules: [String: [Expression]], within: Set<String>) -> Evidence
    {
        guard selector.shift == TimeShift() else { return .always }
        let name = selector.matchers.first { $0.name == Labels.nameLabel && $0.operation == .equal }?.value ?? ""
        return rules[name] == nil ? .series(selector.matchers) : of(name, rules, within: within)
    }

    private var simplified: Evidence {
        switch self {
        case .always, .series: return self
        case .all(let parts):
            let needed = parts.filter { $0 != .always }
            return needed.isEmpty ? .always : needed.count == 1 ? needed[0] : .all(needed)
        case .any(let parts):
            return parts.isEmpty || parts.contains(.always) ? .always : parts.count == 1 ? parts[0] : .any(parts)
        }
    }

    /// Whether it is there for a series with these labels: a label that both have must agree.
    func isThere(for labels: Labels, _ look: ([Matcher]) throws(SourceError) -> [Labels]) throws(SourceError) -> Bool {
        switch self {
        case .always: return true
        case .series(let matchers):
            for found in try look(matchers) where found.isCompatible(with: labels) { return true }
            return false
        case .all(let parts):
            for part in parts where !(try part.isThere(for: labels, look)) { return false }
            return true
        case .any(let parts):
            for part in parts where try part.isThere(for: labels, look) { return true }
            return false
        }
    }
}

extension Labels {
    fileprivate func isCompatible(with other: Labels) -> Bool {
        for label in other.sorted where label.name != Labels.nameLabel {
            let own = self[label.name]
            if !own.isEmpty, !own.isSame(as: label.value) { return false }
        }
        return true
    }
}

/// `rollback_triggers`: by category, each with its metric, threshold, duration and action.
public struct TriggerSettings: Sendable {
    /// The group's name and file, in the journal and the API.
    public static let groupName = "rollback_triggers"

    /// Each trigger as a rule, with the place of its metric's name.
    public var rules: [(rule: RuleDefinition, metricLocation: SourceLocation)] = []

    /// Reads the section; each metric's direction is given, or follows from its kind.
    public init(from map: SettingsMap, kinds: [String: MetricKind]) throws(SettingsError) {
        guard let categories = try map.takeMap("rollback_triggers") else { return }
        for category in categories.keys {
            for part in try categories.takeMaps(category) {
                let rule = try TriggerSettings.rule(part, category, kinds)
                guard !rules.contains(where: { $0.rule.name == rule.name }) else {
                    throw part.error(
                        "there are two triggers '\(rule.name)'; give one of them a name of its own: name: …")
                }
                rules.append((rule, part.location(of: "metric")))
            }
        }
        try categories.finish()
    }

    private static func rule(
        _ part: SettingsMap, _ category: String, _ kinds: [String: MetricKind]
    ) throws(SettingsError) -> RuleDefinition {
        let metric: String = try part.require("metric")
        let labels = try part.take("labels", default: [String: String]())
        let name = try part.take("name", default: "\(category)/\(metric)")
        let threshold: Double = try part.require("threshold")
        guard threshold.isFinite else { throw part.error("threshold", "must be a finite number") }
        guard let hold = try part.takeDuration("duration") else { throw part.missing("duration") }
        let action: String = try part.require("action")
        let comparison = try comparison(part, metric, kinds)
        try part.finish()
        let text =
            labels.isEmpty
            ? metric
            : metric + "{"
                + labels.sorted { $0.key < $1.key }
                .map { "\($0.key)=\($0.value.goQuoted)" }.joined(separator: ",") + "}"
        let expression: Expression
        do {
            expression = try Expression(parsing: text)
        } catch {
            throw part.error("metric", "'\(metric)' is no metric's name; compute it in a recording rule and name that")
        }
        guard case .vector = expression.root else {
            throw part.error("metric", "'\(metric)' is no metric's name; compute it in a recording rule and name that")
        }
        let trigger = TriggerDefinition(
            metric: metric, comparison: comparison, threshold: threshold, action: action,
            actionLocation: part.location(of: "action"))
        return RuleDefinition(
            trigger: trigger, name: name, expression: expression, hold: hold, location: part.location)
    }

    private static func comparison(
        _ part: SettingsMap, _ metric: String, _ kinds: [String: MetricKind]
    ) throws(SettingsError) -> TriggerDefinition.Comparison {
        let written: String? = try part.take("operator")
        let direction: String? = try part.take("direction")
        guard written == nil || direction == nil else {
            throw part.error("direction", "stands beside operator; leave one out")
        }
        if let written {
            guard let comparison = TriggerDefinition.Comparison(rawValue: written) else {
                throw part.error("operator", "'\(written)' is none; write '>', '>=', '<' or '<='")
            }
            return comparison
        }
        switch direction {
        case "above": return .above
        case "below": return .below
        case let other?: throw part.error("direction", "'\(other)' is none; write above or below")
        case nil: break
        }
        guard let kind = kinds[metric] else {
            throw part.error(
                "metric",
                "nobody knows which way '\(metric)' is worse; write direction: above or below here, "
                    + "or declare it for all under metrics: - {name: \(metric), worse: up}")
        }
        return kind.worse == .up ? .above : .below
    }

    /// The triggers as a group, each with its evidence from the recording rules of `groups`.
    public func group(
        recordedBy groups: [GroupDefinition], freshness: Freshness, file: String
    ) -> GroupDefinition? {
        guard !rules.isEmpty else { return nil }
        var recorded: [String: [Expression]] = [:]
        for rule in groups.flatMap(\.rules) where rule.kind == .recording {
            recorded[rule.name, default: []].append(rule.expression)
        }
        return GroupDefinition(
            file: file, name: TriggerSettings.groupName, interval: nil, limit: 0, queryOffset: nil,
            rules: rules.map { entry in
                var rule = entry.rule
                let evidence = Evidence.of(rule.trigger?.metric ?? "", recordedBy: recorded)
                rule.trigger?.evidence = evidence
                rule.trigger?.freshness = freshness
                return rule
            }, location: rules[0].rule.location)
    }
}

extension RuleDefinition {
    /// What a trigger sees whose expression cannot be evaluated.
    func blindReading(at moment: Timestamp) -> TriggerReading? {
        trigger.map {
            TriggerReading(
                trigger: name, action: $0.action, state: .noData, at: moment, condition: $0.text(hold: hold))
        }
    }
}

extension RuleState {
    /// One step of a trigger: what it sees, and what the journal and the store are to hold of it.
    ///
    /// Only values that are news count. A series that was bad and is missing stays as it was when it fired, and starts
    /// again when it was pending.
    mutating func sight(
        _ result: [VectorSample], of trigger: TriggerDefinition, at now: Timestamp, in group: RuleGroupIdentity,
        _ context: RuleContext, _ decision: inout AlertDecision
    ) throws(RuleFailure) -> TriggerReading {
        let fresh: [VectorSample]
        do {
            fresh = try news(result, of: trigger, at: now - group.queryOffset, context.engine)
        } catch {
            throw RuleFailure(description: error.description)
        }
        let bad = fresh.filter { trigger.comparison.holds($0.value, trigger.threshold) }
        let seen = Set(fresh.map { fingerprint(of: $0.labels) })
        let missing = Set(book.alerts.filter { $0.value.state == .firing && !seen.contains($0.key) }.keys)
        // After a restart a pending series is waited for; time without a value must not take it nearer to an action.
        let unseen = Set(book.alerts.filter { $0.value.state == .pending && !seen.contains($0.key) }.keys)
        if !unseen.isEmpty { book.shiftPending(by: lastEvaluation.map { now - $0 } ?? group.interval, only: unseen) }
        decision = try advance(bad, at: now, in: group, context, holding: missing)
        decision.told = []
        let firing = book.alerts.filter { $0.value.state == .firing }
        let given = Set(bad.map { fingerprint(of: $0.labels) })
        let state: TriggerReading.State =
            if firing.keys.contains(where: given.contains) {
                .firing
            } else if !firing.isEmpty || fresh.isEmpty {
                .noData
            } else if book.alerts.values.contains(where: { $0.state == .pending }) {
                .pending
            } else {
                .clear
            }
        let worst = fresh.max { trigger.comparison.isUpward ? $0.value < $1.value : $0.value > $1.value }
        return TriggerReading(
            trigger: definition.name, action: trigger.action, state: state, at: now,
            firedAt: state == .firing ? firing.values.compactMap(\.firedAt).min() : nil, value: worst?.value,
            labels: worst?.labels ?? Labels(), condition: trigger.text(hold: definition.hold))
    }

    /// The values behind which there are series that are measured now.
    private func news(
        _ result: [VectorSample], of trigger: TriggerDefinition, at moment: Timestamp, _ engine: QueryEngine
    ) throws(SourceError) -> [VectorSample] {
        var looked: [[Matcher]: [Labels]] = [:]
        var fresh: [VectorSample] = []
        for sample in result where !sample.value.isNaN {
            let isThere = try trigger.evidence.isThere(for: sample.labels) { matchers throws(SourceError) in
                if let known = looked[matchers] { return known }
                let found = try measured(matchers, trigger.freshness, at: moment, engine)
                looked[matchers] = found
                return found
            }
            if isThere { fresh.append(sample) }
        }
        return fresh
    }

    private func measured(
        _ matchers: [Matcher], _ freshness: Freshness, at moment: Timestamp, _ engine: QueryEngine
    ) throws(SourceError) -> [Labels] {
        let widest = max(freshness.longest, freshness.intervals.values.max() ?? 0)
        let series = try engine.source.select(
            matchers, after: moment - (2 * widest + 500), through: moment, reading: .newest, limits: ReadLimits())
        return series.compactMap { columns in
            guard let time = columns.times.last, let value = columns.values.last, !value.isStaleMarker,
                moment.milliseconds - time <= freshness.limit(for: columns.labels)
            else { return nil }
            return columns.labels
        }
    }

    private func fingerprint(of labels: Labels) -> UInt64 {
        var labels = labels.withoutName
        for text in definition.labels { labels[text.name] = text.text }
        labels["alertname"] = definition.name
        return labels.fingerprint
    }
}
