internal import Basics
internal import Model
internal import Query
internal import Templates

/// Why an evaluation of a rule gave nothing; the state is then what it was.
struct RuleFailure: Error, CustomStringConvertible {
    var description: String
    /// The task was cancelled: no fault of the rule.
    var isCancellation = false
}

/// A sample that a rule gives.
struct RuleSample {
    var labels: Labels
    var value: Double
}

/// What an evaluation of an alerting rule decides.
struct AlertDecision {
    var samples: [RuleSample] = []
    /// Entries of the journal that are to be written.
    var changes: [StateChange] = []
    /// Alerts that the sink is to be told of.
    var told: [Alert] = []
}

/// One rule of a running group: its definition, its alerts, the series it gave last, and how it went.
struct RuleState {
    let definition: RuleDefinition
    /// Its identity in the group; equal rules are numbered.
    let identity: String
    var book: AlertBook
    /// When the entries that were restored were written, the latest.
    var restoredEvaluation = Timestamp.distantPast
    /// Restored alerts that the expression has not given since, and until when they stay as they are.
    private var unseen: Set<UInt64> = []
    private var settledAt = Timestamp.distantPast
    /// What the journal holds of each alert.
    var stored: [UInt64: ActiveAlert] = [:]
    /// The series of the last evaluation, which are marked stale when they are not given again.
    var given: [Labels: SeriesReference] = [:]
    var health = RuleHealth.unknown
    var lastError: String?
    var evaluationNanoseconds: UInt64 = 0
    var lastEvaluation: Timestamp?
    /// What a drift rule keeps.
    var driftMemory = DriftMemory()

    init(
        _ definition: RuleDefinition, identity: String, restoring entries: [StoredAlert] = [],
        settledAt: Timestamp = .distantPast
    ) {
        (self.definition, self.identity, self.settledAt) = (definition, identity, settledAt)
        for entry in entries {
            stored[entry.alert.labels.fingerprint] = entry.alert
            restoredEvaluation = max(restoredEvaluation, entry.evaluated)
        }
        book = entries.isEmpty ? AlertBook() : AlertBook(restoring: stored)
        unseen = Set(stored.keys)
    }

    /// Takes what another state of the same rule knows.
    mutating func adopt(_ other: RuleState) {
        (book, stored, given) = (other.book, other.stored, other.given)
        (restoredEvaluation, unseen, settledAt) = (other.restoredEvaluation, other.unseen, other.settledAt)
        (health, lastError, lastEvaluation) = (other.health, other.lastError, other.lastEvaluation)
        evaluationNanoseconds = other.evaluationNanoseconds
        driftMemory = other.driftMemory
    }

    /// Moves every moment, when the wall clock was moved.
    mutating func shift(by jump: Milliseconds) {
        book.shift(by: jump)
        driftMemory.shift(by: jump)
    }

    /// Alerts that the expression does not give stay as they are until then.
    mutating func settle(until moment: Timestamp) {
        unseen = Set(book.alerts.keys)
        settledAt = moment
    }

    // MARK: Recording

    /// The series under the rule's own name and labels.
    func recorded(_ result: [VectorSample], limit: Int) throws(RuleFailure) -> [RuleSample] {
        var samples: [RuleSample] = []
        samples.reserveCapacity(result.count)
        for sample in result {
            var labels = sample.labels
            labels[Labels.nameLabel] = definition.name
            for text in definition.labels { labels[text.name] = text.text }
            samples.append(RuleSample(labels: labels, value: sample.value))
        }
        if samples.count > 1, Set(samples.map(\.labels)).count < samples.count {
            throw RuleFailure(
                description: "vector contains metrics with the same labelset after applying rule labels")
        }
        if limit > 0, samples.count > limit {
            throw RuleFailure(description: "exceeded limit of \(limit) with \(samples.count) series")
        }
        return samples
    }

    // MARK: Alerting

    /// One step of the rule's alerts; those in `holding` stay as they are. Nothing changes when it throws.
    mutating func advance(
        _ result: [VectorSample], at now: Timestamp, in group: RuleGroupIdentity, _ context: RuleContext,
        holding: Set<UInt64> = []
    ) throws(RuleFailure) -> AlertDecision {
        if result.isEmpty, book.alerts.isEmpty { return AlertDecision() }
        return try advance(candidates(result, at: now, context), at: now, in: group, context, holding: holding)
    }

    /// One step of the rule's alerts, those that are to be by their labels' fingerprints.
    mutating func advance(
        _ candidates: [UInt64: AlertBook.Candidate], at now: Timestamp, in group: RuleGroupIdentity,
        _ context: RuleContext, holding: Set<UInt64> = []
    ) throws(RuleFailure) -> AlertDecision {
        if candidates.isEmpty, book.alerts.isEmpty { return AlertDecision() }
        if book.isRestored {
            book.shiftPending(by: outage(before: now, in: group, context))
            book.isRestored = false
        }
        unseen = now < settledAt ? unseen.subtracting(candidates.keys) : []
        var next = book.next(
            candidates, at: now, hold: hold(in: group), keepFiringFor: definition.keepFiringFor,
            frozen: unseen.union(holding))
        if group.limit > 0, next.activeCount > group.limit {
            // What fires goes on firing: an excess of alerts is no good news.
            throw RuleFailure(description: "exceeded limit of \(group.limit) with \(next.activeCount) alerts")
        }
        var decision = AlertDecision()
        for (fingerprint, alert) in next.alerts.sorted(by: { $0.value.labels < $1.value.labels }) {
            let before = book.alerts[fingerprint]
            if AlertBook.mustTell(alert, at: now, resendDelay: context.resendDelay) {
                next.markTold(fingerprint, at: now)
                decision.told.append(context.told(alert, of: definition.expression))
                store(next.alerts[fingerprint] ?? alert, fingerprint, at: now, in: group, isTold: true, &decision)
            } else {
                store(alert, fingerprint, at: now, in: group, isTold: false, &decision)
            }
            if alert.state == .pending, let before, before.state == .firing, before.lastSentAt != nil {
                // It was told as firing, and its `for` grew since.
                var over = before
                over.resolvedAt = now
                decision.told.append(context.told(over, of: definition.expression))
            }
            appendSamples(of: alert, to: &decision.samples)
        }
        for fingerprint in book.alerts.keys.sorted() where next.alerts[fingerprint] == nil {
            stored[fingerprint] = nil
            decision.changes.append(
                StateChange(table: StoredAlert.table, key: key(fingerprint, in: group), value: nil))
        }
        if !decision.changes.isEmpty, decision.changes.allSatisfy({ $0.value == nil }),
            let pending = next.sorted.first(where: { $0.state == .pending })
        {
            // Removals alone would not tell when this evaluation was.
            append(pending, at: now, in: group, &decision)
        }
        book = next
        return decision
    }

    /// The built-in alert on this rule, which cannot be evaluated.
    func failing(in group: RuleGroupIdentity) -> AlertBook.Candidate {
        let built = RuleDefinition.evaluationFailing
        var labels: Labels = [
            "alertname": built.name, "rule": definition.name, "rule_group": group.name, "file": group.file,
        ]
        for text in built.labels { labels[text.name] = text.text }
        let annotations = [
            "summary": "The rule \(definition.name) can't be evaluated",
            "description": "\(definition.location): \(lastError ?? "it failed"). Its alerts keep the state they had: "
                + "a new incident that only this rule would see is not paged.",
            "runbook_url": "runbooks/\(built.name).md",
        ]
        return AlertBook.Candidate(labels: labels, annotations: annotations, value: 1)
    }

    /// The alerts that an expression's value stands for, their texts expanded.
    private func candidates(
        _ result: [VectorSample], at now: Timestamp, _ context: RuleContext
    ) throws(RuleFailure) -> [UInt64: AlertBook.Candidate] {
        var candidates: [UInt64: AlertBook.Candidate] = [:]
        let isPlain = definition.labels.allSatisfy(\.isPlain) && definition.annotations.allSatisfy(\.isPlain)
        var environment = TemplateEnvironment()
        environment.externalURL = context.externalURL
        environment.now = now.seconds
        let engine = context.engine
        let isLocal = context.queriesInTemplates
        environment.query = { text throws(TemplateFailure) in
            // Our own store would answer, with nothing.
            guard isLocal else { throw TemplateFailure("query is not offered in a group with query_source") }
            return try samples(of: text, at: now, engine)
        }
        for sample in result {
            let data =
                isPlain
                ? .null
                : TemplateFunctions.prometheusData(
                    labels: sample.labels.dictionary, externalLabels: context.externalLabels.dictionary,
                    externalURL: context.externalURL, value: sample.value)
            var labels = sample.labels.withoutName
            if definition.kind == .drift { labels = labels.dropping(DriftJudgement.passingLabels) }
            for text in definition.labels { labels[text.name] = text.expanded(data, in: environment) }
            labels["alertname"] = definition.name
            var annotations: [String: String] = [:]
            for text in definition.annotations { annotations[text.name] = text.expanded(data, in: environment) }
            let candidate = AlertBook.Candidate(labels: labels, annotations: annotations, value: sample.value)
            guard candidates.updateValue(candidate, forKey: labels.fingerprint) == nil else {
                throw RuleFailure(
                    description: "vector contains metrics with the same labelset after applying alert labels")
            }
        }
        return candidates
    }

    /// Puts an alert into the journal when what it holds of it is out of date.
    private mutating func store(
        _ alert: ActiveAlert, _ fingerprint: UInt64, at now: Timestamp, in group: RuleGroupIdentity, isTold: Bool,
        _ decision: inout AlertDecision
    ) {
        if let known = stored[fingerprint], known.isSameState(as: alert), !isTold || known.saysTheSame(as: alert) {
            return
        }
        stored[fingerprint] = alert
        append(alert, at: now, in: group, &decision)
    }

    private func append(
        _ alert: ActiveAlert, at now: Timestamp, in group: RuleGroupIdentity, _ decision: inout AlertDecision
    ) {
        let entry = StoredAlert(file: group.file, group: group.name, rule: identity, alert: alert, evaluated: now)
        decision.changes.append(StateChange(table: StoredAlert.table, key: entry.key, value: entry.bytes))
    }

    private func key(_ fingerprint: UInt64, in group: RuleGroupIdentity) -> String {
        StoredAlert.key(file: group.file, group: group.name, rule: identity, fingerprint: fingerprint)
    }

    private func appendSamples(of alert: ActiveAlert, to samples: inout [RuleSample]) {
        guard alert.state != .inactive else { return }
        var labels = alert.labels
        labels[Labels.nameLabel] = "ALERTS_FOR_STATE"
        let seconds = Double(alert.activeAt.milliseconds.flooringDivision(by: 1000))
        samples.append(RuleSample(labels: labels, value: seconds))
        labels[Labels.nameLabel] = "ALERTS"
        labels["alertstate"] = alert.state.rawValue
        samples.append(RuleSample(labels: labels, value: 1))
    }

    /// How long the rule was not evaluated because the daemon was down: from the last evaluation, but for the one
    /// interval that passes anyway.
    private func outage(before now: Timestamp, in group: RuleGroupIdentity, _ context: RuleContext) -> Milliseconds {
        let pending = book.alerts.values.filter { $0.state == .pending }
        guard !pending.isEmpty else { return 0 }
        var last = restoredEvaluation
        let matchers = [
            Matcher(Labels.nameLabel, equals: "ALERTS_FOR_STATE"), Matcher("alertname", equals: definition.name),
        ]
        let ours = Set(pending.map(\.labels))
        // Without an answer the journal's own moment counts: the alert is then pending a little longer.
        let series =
            (try? context.engine.source.select(
                matchers, after: last - group.queryOffset - 1, through: now, reading: .newest, limits: ReadLimits()))
            ?? []
        for columns in series where ours.contains(columns.labels.withoutName) {
            if let time = columns.times.last { last = max(last, Timestamp(milliseconds: time) + group.queryOffset) }
        }
        return max(0, now - last - group.interval)
    }

    /// Ends everything, when the rule is no more: what fires is told to be over.
    mutating func retire(at now: Timestamp, in group: RuleGroupIdentity, _ context: RuleContext) -> AlertDecision {
        var decision = AlertDecision()
        for alert in book.sorted {
            let fingerprint = alert.labels.fingerprint
            decision.changes.append(
                StateChange(table: StoredAlert.table, key: key(fingerprint, in: group), value: nil))
            // Of a trigger nobody was told.
            guard alert.state == .firing, definition.kind != .trigger else { continue }
            var over = alert
            over.resolvedAt = now
            decision.told.append(context.told(over, of: definition.expression))
        }
        book = AlertBook()
        stored = [:]
        return decision
    }
}

extension QueryValue {
    /// The samples of a vector; a scalar is one sample without labels, as rules and templates take it.
    var ruleSamples: [VectorSample] {
        switch self {
        case .vector(let samples): samples
        case .scalar(let sample): [VectorSample(labels: Labels(), timestamp: sample.timestamp, value: sample.value)]
        default: []
        }
    }

}

/// What a template's `query` gives.
private func samples(
    of text: String, at now: Timestamp, _ engine: QueryEngine
) throws(TemplateFailure) -> [(labels: Labels, value: Double)] {
    do {
        return try engine.instant(text, at: now).value.ruleSamples.map { (labels: $0.labels, value: $0.value) }
    } catch {
        throw TemplateFailure(error.description)
    }
}

/// What a rule has to know of its group.
struct RuleGroupIdentity {
    var file: String
    var name: String
    var interval: Milliseconds
    var queryOffset: Milliseconds
    var limit: Int
}
