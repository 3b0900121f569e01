internal import Basics
internal import Model
internal import Query
internal import Statistics

/// What a running drift rule keeps between evaluations. Nothing of it has to survive a restart: the alerts do.
struct DriftMemory {
    /// The features as the last evaluation left them.
    var features: [DriftFeature] = []
    /// When a feature was last on either side.
    fileprivate var lastSeen: [String: Timestamp] = [:]
    /// When the rule was last judged.
    fileprivate var lastJudged: Timestamp?
    /// The reference window's content, and when it was read.
    fileprivate var reference: (definition: DriftDefinition, at: Timestamp, sides: [String: DriftSide])?

    mutating func shift(by jump: Milliseconds) {
        lastSeen = lastSeen.mapValues { $0 + jump }
        lastJudged = lastJudged.map { $0 + jump }
        reference = nil
    }
}

extension DriftDefinition {
    /// How long the content of the reference window is used again: a hundredth of its length, since reading a week of
    /// buckets at every evaluation would cost more than all else.
    var referenceAge: Milliseconds {
        if case .window(let window) = reference { window.length / 100 } else { 0 }
    }

    /// How long an alert is kept whose feature neither side knows any more: as long as the reference looks back, at
    /// least a day. A feature that was taken away must not fire for ever.
    var forgottenAfter: Milliseconds {
        let day: Milliseconds = 24 * 3_600_000
        if case .window(let window) = reference { return max(day, window.length) }
        return day
    }
}

extension RuleState {
    /// How long an alert is pending: `for`, or the evaluations that a drift has to last.
    func hold(in group: RuleGroupIdentity) -> Milliseconds {
        definition.drift.map { Milliseconds($0.evaluations - 1) * group.interval } ?? definition.hold
    }

    /// Reads both sides, judges all features and takes their alerts one step further. Nothing changes when it throws.
    mutating func drift(
        by definition: DriftDefinition, at now: Timestamp, in group: RuleGroupIdentity, _ context: RuleContext
    ) throws(RuleFailure) -> AlertDecision {
        let moment = now - group.queryOffset
        let reader = DriftReader(definition: definition)
        var memory = driftMemory
        let current = try reader.sides(of: series(of: definition.current, at: moment, context.engine))
        let reference = try reference(of: definition, at: moment, reader, context.engine, &memory)
        let active = Set(book.alerts.values.filter { $0.state != .inactive }.map { $0.labels[featureLabel] })
        let judged = DriftJudgement(
            definition, reference: reference, current: current, active: active)
        for name in Set(reference.keys).union(current.keys) { memory.lastSeen[name] = now }
        for name in active where memory.lastSeen[name] == nil { memory.lastSeen[name] = now }

        // Without data an alert stays as it is, unless its feature is long gone.
        let waiting = Set(
            judged.features.filter {
                $0.state == .noData && now - (memory.lastSeen[$0.name] ?? now) < definition.forgottenAfter
            }.map(\.name))
        let frozen = Set(
            book.alerts.filter { $0.value.state != .inactive && waiting.contains($0.value.labels[featureLabel]) }.keys)
        let before = book
        postpone(frozen, at: now, in: group, since: memory.lastJudged)
        var decision: AlertDecision
        do throws(RuleFailure) {
            decision = try advance(
                judged.drifted(rule: self.definition.name), at: now, in: group, context, holding: frozen)
        } catch {
            book = before
            throw error
        }
        decision.samples += judged.samples(rule: self.definition.name)
        memory.lastJudged = now
        memory.features = judged.features
        memory.lastSeen = memory.lastSeen.filter {
            now - $0.value < definition.forgottenAfter || active.contains($0.key)
        }
        driftMemory = memory
        health = judged.faults.isEmpty ? .ok : .failing
        lastError = judged.faults.isEmpty ? nil : judged.faults.joined(separator: "; ")
        return decision
    }

    /// Evaluations without data, and those that were not made, do not count towards `evaluations`: pending alerts are
    /// moved by their time.
    private mutating func postpone(
        _ frozen: Set<UInt64>, at now: Timestamp, in group: RuleGroupIdentity, since last: Timestamp?
    ) {
        let late = last.map { max(0, now - $0 - group.interval) } ?? 0
        if late > 0, !book.isRestored { book.shiftPending(by: late) }
        // The first evaluation after a restart moves pending alerts by all but the one interval.
        if !frozen.isEmpty { book.shiftPending(by: group.interval, only: frozen) }
    }

    private func reference(
        of definition: DriftDefinition, at moment: Timestamp, _ reader: DriftReader, _ engine: QueryEngine,
        _ memory: inout DriftMemory
    ) throws(RuleFailure) -> [String: DriftSide] {
        switch definition.reference {
        case .file(_, let features): return features.mapValues { DriftSide(observations: $0) }
        case .window(let window):
            if let known = memory.reference, known.definition == definition, moment >= known.at,
                moment - known.at < definition.referenceAge
            {
                return known.sides
            }
            let sides = try reader.sides(of: series(of: window, at: moment, engine))
            // What is still filling up, or at fault, is read again at once.
            let isWhole =
                !sides.isEmpty
                && sides.values.allSatisfy { $0.fault == nil && $0.observations.count >= definition.minimum }
            memory.reference = isWhole ? (definition, moment, sides) : nil
            return sides
        }
    }

    private func series(
        of window: DriftDefinition.Window, at moment: Timestamp, _ engine: QueryEngine
    ) throws(RuleFailure) -> [SeriesColumns] {
        do {
            return try engine.instant(window.query, at: moment).value.series
        } catch {
            throw RuleFailure(description: error.description, isCancellation: error == .cancelled)
        }
    }
}

/// The label of a feature on alerts and recorded series, whatever its label at the source is.
private let featureLabel = "feature"

extension DriftJudgement {
    /// Labels that texts of an alert may tell and that are no part of its identity, since they change while it lasts.
    static let passingLabels = ["test", "p_value", "threshold"]

    /// The features that drifted, as the samples of an alerting rule's expression.
    fileprivate func drifted(rule: String) -> [VectorSample] {
        features.compactMap { feature in
            guard let leading = feature.leading else { return nil }
            let labels: Labels = [
                featureLabel: feature.name, "test": leading.test.rawValue,
                "p_value": GoNumber.shortest(leading.adjusted), "threshold": GoNumber.shortest(leading.threshold),
            ]
            return VectorSample(labels: labels, timestamp: .distantPast, value: leading.score)
        }
    }

    /// The recorded series.
    fileprivate func samples(rule: String) -> [RuleSample] {
        var samples: [RuleSample] = []
        func add(_ name: String, _ labels: Labels, _ value: Double) {
            var labels = labels
            labels[Labels.nameLabel] = name
            samples.append(RuleSample(labels: labels, value: value))
        }
        for feature in features {
            var labels: Labels = ["rule": rule, featureLabel: feature.name]
            add("drift_state", labels, feature.state.rawValue)
            for result in feature.results {
                labels["test"] = result.test.rawValue
                add("drift_score", labels, result.score)
                add("drift_p_value", labels, result.probability)
                add("drift_p_value_adjusted", labels, result.adjusted)
            }
        }
        if let share { add("drift_share", ["rule": rule], share) }
        return samples
    }
}
