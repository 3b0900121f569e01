import Basics
import Model
import Query
import TestSupport

/// Runs a script's statements against the engine, as Prometheus' own runner does.
///
/// - SeeAlso: Prometheus, `promql/promqltest/test.go`.
struct ScriptRunner {
    private var store = MemorySource()
    var options: QueryOptions = {
        var options = QueryOptions()
        options.delaysNameRemoval = true
        options.allowsExperimental = true
        options.usesStartTimes = true
        return options
    }()

    /// Executes a statement; what is wrong, or nil.
    mutating func run(_ statement: Statement) -> String? {
        switch statement.kind {
        case .clear:
            store = MemorySource()
            return nil
        case .load(let step, let series, let starts):
            for notation in starts {
                for (index, start) in notation.starts.enumerated() {
                    guard let start else { continue }
                    let time = Timestamp(milliseconds: Int64(index) * step)
                    store.begin(notation.labels, sampleAt: time, at: time + start)
                }
            }
            for notation in series {
                for (index, value) in notation.values.enumerated() {
                    guard let value else { continue }
                    store.add(notation.labels, Timestamp(milliseconds: Int64(index) * step), value)
                }
            }
            return nil
        case .instant(let moment, let query, let expectation):
            return instant(query, moment, expectation)
        case .range(let from, let through, let step, let query, let expectation):
            return range(query, from, through, step, expectation)
        }
    }

    private var engine: QueryEngine { QueryEngine(source: store, options: options) }

    private func instant(_ query: String, _ moment: Int64, _ expectation: Expectation) -> String? {
        let result: QueryResult
        do {
            result = try engine.instant(query, at: Timestamp(milliseconds: moment))
        } catch {
            return judge(error, expectation)
        }
        guard expectation.failures.isEmpty else { return "it was expected to fail" }
        if let complaint = annotations(result, expectation) { return complaint }
        if let complaint = compare(result.value, expectation, at: moment) { return complaint }
        if let complaint = fixedAgrees(query, moment, expectation) { return complaint }
        return rangeAgrees(query, moment, result.value, expectation)
    }

    /// The same query with its selectors fixed at the moment by `@`, evaluated at other moments.
    private func fixedAgrees(_ query: String, _ moment: Int64, _ expectation: Expectation) -> String? {
        guard let fixed = try? Expression(parsing: query).root.fixed(at: Timestamp(milliseconds: moment)) else {
            return nil
        }
        for other in moment == 0 ? [-1000, 0, 1000] : [-10 * moment, 0, moment / 5, moment, 10 * moment] {
            do {
                let result = try engine.instant(fixed.description, at: Timestamp(milliseconds: other))
                if let complaint = compare(result.value, expectation, at: moment) {
                    return "as \(fixed) at \(other): \(complaint)"
                }
            } catch {
                return "as \(fixed) at \(other): \(error)"
            }
        }
        return nil
    }

    /// The same query as the middle of a range of three steps.
    private func rangeAgrees(
        _ query: String, _ moment: Int64, _ value: QueryValue, _ expectation: Expectation
    ) -> String? {
        if expectation.isOrdered { return nil }
        if ["step()", "range()", "start()", "end()"].contains(where: query.contains) { return nil }
        switch value {
        case .string, .matrix: return nil
        case .scalar, .vector: break
        }
        let ranged: QueryResult
        do {
            ranged = try engine.range(
                query, from: Timestamp(milliseconds: moment - 60_000),
                through: Timestamp(milliseconds: moment + 60_000),
                step: 60_000)
        } catch {
            return "as a range: \(error)"
        }
        var middle: [VectorSample] = []
        for series in ranged.value.series {
            guard let index = series.times.firstIndex(of: moment) else { continue }
            middle.append(
                VectorSample(
                    labels: series.labels, timestamp: Timestamp(milliseconds: moment), value: series.values[index]))
        }
        if case .scalar(let sample) = value {
            return middle.count == 1 && close(middle[0].value, sample.value) ? nil : "as a range: \(middle)"
        }
        return compare(.vector(middle), expectation, at: moment).map { "as a range: \($0)" }
    }

    private func range(
        _ query: String, _ from: Int64, _ through: Int64, _ step: Int64, _ expectation: Expectation
    ) -> String? {
        let result: QueryResult
        do {
            result = try engine.range(
                query, from: Timestamp(milliseconds: from), through: Timestamp(milliseconds: through), step: step)
        } catch {
            return judge(error, expectation)
        }
        guard expectation.failures.isEmpty else { return "it was expected to fail" }
        if let complaint = annotations(result, expectation) { return complaint }
        let series = result.value.series
        if series.map(\.labels) != series.map(\.labels).sorted() { return "a range result that is not sorted" }
        if let scalar = expectation.scalar {
            return series.count == 1 && series[0].values.allSatisfy { close($0, scalar) } ? nil : "got \(series)"
        }
        return compare(series, expectation.series) { from + Int64($0) * step }
    }

    private func judge(_ error: QueryError, _ expectation: Expectation) -> String? {
        guard !expectation.failures.isEmpty else { return "error: \(error)" }
        return expectation.failures.allSatisfy { $0.accepts(error.description) } ? nil : "another error: \(error)"
    }

    private func annotations(_ result: QueryResult, _ expectation: Expectation) -> String? {
        for (name, got, expected, isForbidden) in [
            ("warn", result.warnings, expectation.warnings, expectation.forbidsWarnings),
            ("info", result.infos, expectation.infos, expectation.forbidsInfos),
        ] {
            if isForbidden, !got.isEmpty { return "no \(name) expected, got \(got)" }
            for match in expected where !got.contains(where: match.accepts) { return "missing \(name), got \(got)" }
            if !expected.isEmpty, let extra = got.first(where: { text in !expected.contains { $0.accepts(text) } }) {
                return "unexpected \(name) \(extra)"
            }
        }
        return nil
    }

    private func compare(_ value: QueryValue, _ expectation: Expectation, at moment: Int64) -> String? {
        switch value {
        case .string(let text, _): return text == expectation.text ? nil : "got string \(text)"
        case .scalar(let sample):
            guard let expected = expectation.scalar else { return "got scalar \(sample.value)" }
            return close(sample.value, expected) ? nil : "got \(sample.value)"
        case .matrix(let series):
            let times = expectation.times ?? (moment, moment, 1)
            return compare(series, expectation.series) { times.from + Int64($0) * times.step }
        case .vector(let samples):
            if let scalar = expectation.scalar {
                return samples.count == 1 && samples[0].labels.isEmpty && close(samples[0].value, scalar)
                    ? nil : "got \(samples)"
            }
            if samples.count != expectation.series.count { return "got \(shown(samples))" }
            for (index, expected) in expectation.series.enumerated() {
                let place =
                    expectation.isOrdered ? index : samples.firstIndex { $0.labels == expected.labels } ?? samples.count
                guard place < samples.count, samples[place].labels == expected.labels,
                    let value = expected.values.first ?? nil, close(samples[place].value, value)
                else { return "got \(shown(samples))" }
            }
            return nil
        }
    }

    private func shown(_ samples: [VectorSample]) -> String {
        samples.isEmpty ? "nothing" : samples.map { "\($0.labels) \($0.value)" }.joined(separator: "; ")
    }

    private func compare(
        _ series: [SeriesColumns], _ expected: [SeriesNotation], _ time: (Int) -> Int64
    ) -> String? {
        let shown = series.map { "\($0.labels) \(zip($0.times, $0.values).map { "\($0.1)@\($0.0)" })" }
        let wanted = expected.filter { $0.values.contains { $0 != nil } }
        if series.count != wanted.count { return "got \(shown)" }
        for notation in wanted {
            guard let found = series.first(where: { $0.labels == notation.labels }) else { return "got \(shown)" }
            var points: [(time: Int64, value: Double)] = []
            for (index, value) in notation.values.enumerated() {
                if let value { points.append((time(index), value)) }
            }
            guard points.map(\.time) == found.times, zip(points, found.values).allSatisfy({ close($0.value, $1) })
            else { return "got \(shown)" }
        }
        return nil
    }

    /// Equal within a millionth of their sum, as Prometheus' runner judges.
    private func close(_ left: Double, _ right: Double) -> Bool {
        if left == right || (left.isNaN && right.isNaN) { return true }
        guard left.isFinite, right.isFinite else { return false }
        let difference = abs(left - right)
        let size = abs(left) + abs(right)
        return size < .leastNormalMagnitude ? difference < 1e-6 * .leastNormalMagnitude : difference / size < 1e-6
    }
}
