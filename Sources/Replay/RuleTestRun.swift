internal import Basics
internal import Model
internal import Query
internal import Rules
internal import Settings

/// What a test came to.
public struct RuleTestOutcome: Sendable {
    /// The test's name, or empty.
    public var name: String
    /// What was not as expected, several lines each, beginning with its place; empty when all was.
    public var failures: [String] = []
}

extension RuleTestFile {
    /// Runs its tests, those that `isChosen` picks by name, each with rules and series of its own.
    public func run(where isChosen: (String) -> Bool = { _ in true }) async -> [RuleTestOutcome] {
        var outcomes: [RuleTestOutcome] = []
        for test in tests where isChosen(test.name) {
            var run = RuleTestRun(test, of: self)
            outcomes.append(RuleTestOutcome(name: test.name, failures: await run.failures()))
        }
        return outcomes
    }
}

/// One test at work, over a store in memory.
private struct RuleTestRun {
    let test: RuleTest
    let file: RuleTestFile
    let source = MemorySource()
    let engine: QueryEngine
    let scheduler: RuleScheduler
    let clock: SimulatedExecutor
    /// Of each input, how many of its values are in the store.
    var given: [Int]

    init(_ test: RuleTest, of file: RuleTestFile) {
        (self.test, self.file) = (test, file)
        var options = QueryOptions()
        options.defaultSubqueryStep = file.evaluationInterval
        options.allowsExperimental = true
        engine = QueryEngine(source: source, options: options)
        clock = SimulatedExecutor(seed: 0, start: test.start)
        let nobody = Nobody()
        var context = RuleContext(engine: engine, samples: source, alerts: nobody)
        context.interval = test.interval
        (context.externalLabels, context.externalURL) = (test.externalLabels, test.externalURL)
        scheduler = RuleScheduler(context, restoring: nobody)
        given = Array(repeating: 0, count: test.inputs.count)
    }

    /// Evaluates all groups at every interval, and holds what they give against what is expected.
    mutating func failures() async -> [String] {
        await scheduler.update(to: file.groups, at: test.start)
        var found: [String] = []
        let alerts = test.alerts.sorted { $0.at < $1.at }
        var next = alerts.startIndex
        let end = test.length
        var elapsed: Milliseconds = 0
        while elapsed <= end {
            give(through: elapsed)
            await scheduler.evaluate(at: test.start + elapsed, clock)
            let groups = await scheduler.status()
            let mistakes = groups.flatMap(\.rules).compactMap { rule in
                rule.lastError.map {
                    "\(rule.definition.location): rule: \(rule.definition.name), time: "
                        + "\(DurationText.format(elapsed)), err: \($0)"
                }
            }
            if !mistakes.isEmpty { return found + mistakes }
            // An alert at a moment between two evaluations is that of the former.
            while next < alerts.endIndex, alerts[next].at < elapsed + file.evaluationInterval {
                if let failure = compare(alerts[next], groups) { found.append(failure) }
                next += 1
            }
            elapsed += file.evaluationInterval
        }
        give(through: end)
        return found + test.expressions.compactMap(compare)
    }

    /// Puts the values up to a moment into the store: rules do not see into the future.
    private mutating func give(through elapsed: Milliseconds) {
        for (index, input) in test.inputs.enumerated() {
            let count = min(input.values.count, Int(elapsed / test.interval) + 1)
            guard given[index] < count, let reference = source.reference(of: input.labels) else { continue }
            for number in given[index]..<count {
                guard let value = input.values[number] else { continue }
                source.add(reference, test.start + Milliseconds(number) * test.interval, value)
            }
            given[index] = count
        }
    }

    private func compare(_ one: RuleTest.AlertCase, _ groups: [RuleGroupStatus]) -> String? {
        let firing = groups.flatMap(\.rules).filter {
            $0.definition.kind == .alerting && $0.definition.name == one.name
        }
        .flatMap(\.alerts).filter { $0.state == .firing }
        .map { RuleTest.ExpectedAlert(labels: $0.labels.dictionary, annotations: $0.annotations) }
        let (expected, got) = (one.expected.map(\.text).sorted(), firing.map(\.text).sorted())
        guard expected != got else { return nil }
        return failure(
            "alertname: \(one.name), time: \(DurationText.format(one.at))", at: one.location, expected, got)
    }

    private func compare(_ one: RuleTest.ExpressionCase) -> String? {
        let title = "expr: \(one.expression.text.goQuoted), time: \(DurationText.format(one.at))"
        let result: QueryResult
        do throws(QueryError) {
            result = try engine.instant(one.expression.text, at: test.start + one.at)
        } catch {
            var place = one.expression.location
            if case .parse(let mistake) = error {
                place = one.expression.location(line: mistake.line, column: mistake.column)
            }
            return "\(place): \(named)\(title), err: \(error)"
        }
        let samples: [(labels: Labels, value: Double)]
        switch result.value {
        case .vector(let vector): samples = vector.map { ($0.labels, $0.value) }
        case .scalar(let scalar): samples = [(Labels(), scalar.value)]
        case .string, .matrix:
            return "\(one.location): \(named)\(title), err: the result is no vector and no scalar"
        }
        let (expected, got) = (
            one.expected.sorted { $0.labels < $1.labels }, samples.sorted { $0.labels < $1.labels }
        )
        let isEqual =
            expected.count == got.count
            && zip(expected, got).allSatisfy { $0.labels == $1.labels && isSame($0.value, $1.value) }
        guard !isEqual else { return nil }
        func text(_ sample: (labels: Labels, value: Double)) -> String {
            "\(sample.labels) \(GoNumber.shortest(sample.value))"
        }
        return failure(title, at: one.location, expected.map(text), got.map(text))
    }

    private func isSame(_ one: Double, _ two: Double) -> Bool {
        if one == two || (one.isNaN && two.isNaN) { return true }
        return file.isFuzzy && (one.nextUp == two || one.nextDown == two)
    }

    private var named: String { test.name.isEmpty ? "" : "name: \(test.name), " }

    private func failure(_ title: String, at place: SourceLocation, _ expected: [String], _ got: [String]) -> String {
        func list(_ items: [String]) -> String {
            items.isEmpty ? "nothing" : items.map { "\n      " + $0 }.joined()
        }
        return "\(place): \(named)\(title)\n    expected: \(list(expected))\n    got: \(list(got))"
    }
}

extension RuleTest.ExpectedAlert {
    /// A line to compare by: labels and annotations in order.
    fileprivate var text: String {
        func list(_ texts: [String: String]) -> String {
            texts.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.goQuoted)" }.joined(separator: ", ")
        }
        // An empty label is none; an empty annotation is one.
        let labels = labels.filter { !$0.value.isEmpty }
        return "Labels:{\(list(labels))} Annotations:{\(list(annotations))}"
    }
}

/// Who is told of alerts in a test, and keeps nothing of them.
private struct Nobody: AlertSink, StateStore {
    func accept(_ alerts: [Alert], committing changes: [StateChange]) async {}
    func commit(_ changes: [StateChange]) -> Durability { .durable }
    func entries(of table: String) -> [String: [UInt8]] { [:] }
}
