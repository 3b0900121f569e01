import Basics
import Foundation
import Model
import Query
import Testing
import TestSupport

/// Mutations of well-formed queries: none may crash, and what parses prints, in one line and in several, and parses
/// again to the same tree. `VEDETTE_FUZZ` multiplies the rounds.
@Suite struct FuzzTests {
    static let corpus: [String] = {
        var corpus = [
            "sum by (job, \"a.b\") (rate(http_requests_total{code=~\"5..\",job!=\"x\"}[5m] offset -1h)) / 2",
            "topk(3, a) or on () bottomk without (b) (2, c) unless ignoring (d) e and f",
            "a * on (x) group_left (y, z) b > bool 1e3 <= atan2 0x1F", "a + on (x) fill_left (0) fill_right (NaN) b",
            "max_over_time(rate(a[1m])[1h:30s] @ end())", "{\"quoted.name\", a='b', c!~`d`} @ 1609746000.5 offset 1d2h",
            "histogram_quantile(0.9, sum by (le) (increase(h_bucket[step() * 2 + 5m])))", "- -1 ^ -2 ^ +a % 3",
            "info(a, {__name__=~'.+_info', b=~'.*'})", "rate(a[5m] anchored) + rate(b[5m] smoothed) - c smoothed",
            "label_replace(a, 'b', '$1', 'c', '(.*)')", "count_values(\"v\", a)", "a[max_of(1m, step()):min_of(5s, 1)]",
            "sort_by_label(a, 'b', 'c')", "a </ 5 >/ b", "absent_over_time(a[5m] offset (3 * 1m))",
            "\"te\\\"xt\\u00e9\"",
            "limit_ratio(-0.5, a)", "a offset -(2 ^ 3)", "1_000.5e-3 + .5 - 5. * Inf",
            "start() + end() + range() + step()",
            "predict_linear(a[1h], 3600) == bool a{Inf='x', NaN!='y'}", "by by by",
            "sum by (by, on) (offset offset 5m)",
            "double_exponential_smoothing(a[10m], 0.5, 0.5)", "histogram_quantiles(a, 'q', 0.1, 0.5)",
        ]
        guard let file = Peers.folder("prometheus/promqltest/EVALS.tsv"), let text = try? Peers.text(file) else {
            return corpus
        }
        for row in text.split(separator: "\n").dropFirst() {
            if let query = row.split(separator: "\t").last { corpus.append(String(query)) }
        }
        return corpus
    }()

    private static let words = [
        "(", ")", "[", "]", "{", "}", ",", ":", "@", "=", "=~", "!~", "!=", "==", "</", ">/", "<=", "^", "-", "+", "%",
        "*",
        " by ", " without ", " on ", " ignoring ", " group_left ", " group_right ", " bool ", " offset ", " anchored",
        " smoothed", " and ", " or ", " unless ", " atan2 ", " fill ", "fill_left(0)", "5m", "1h30m", "0", "1e9", "0x",
        "Inf",
        "NaN", "\"", "'", "`", "\\", "#", "\n", "__name__", "sum", "rate", "abs", "step()", "min_of(1,2)", "start()",
        "_", ".",
        "é", "\u{0}", "🙂", "[5m:]", "{a=\"b\"}", "inf", "0755", "1y",
    ]

    private func mutated(_ text: String, _ random: inout SeededRandom) -> String {
        var bytes = Array(text.utf8)
        for _ in 0...Int(random.next() % 4) {
            let place = bytes.isEmpty ? 0 : Int(random.next() % UInt64(bytes.count + 1))
            let length = min(Int(random.next() % 8), bytes.count - place)
            switch random.next() % 7 {
            case 0: bytes.removeSubrange(place..<place + length)
            case 1: if place < bytes.count { bytes[place] = UInt8(truncatingIfNeeded: random.next()) }
            case 2: bytes.insert(contentsOf: Array(bytes[place..<place + length]), at: place)
            case 3:
                let other = Array(Self.corpus[Int(random.next() % UInt64(Self.corpus.count))].utf8)
                let start = Int(random.next() % UInt64(max(1, other.count)))
                bytes.replaceSubrange(place..., with: other[min(start, other.count)...])
            case 4: bytes = Array(bytes.prefix(place))
            default:
                let word = Self.words[Int(random.next() % UInt64(Self.words.count))]
                bytes.replaceSubrange(place..<place + (random.next() % 2 == 0 ? 0 : length), with: word.utf8)
            }
            if bytes.count > 2000 { bytes.removeLast(bytes.count - 2000) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A tree's JSON with the conditions of selectors in the order in which they are printed.
    private func tree(_ expression: Query.Expression) -> String { ordered(expression.json).text }

    private func ordered(_ json: JSON) -> JSON {
        switch json {
        case .array(let elements): .array(elements.map(ordered))
        case .object(let members):
            .object(
                members.map { member in
                    guard member.name == "matchers", let matchers = member.value.array else {
                        return JSON.Member(member.name, ordered(member.value))
                    }
                    return JSON.Member(member.name, .array(matchers.sorted { $0.text < $1.text }))
                })
        default: json
        }
    }

    /// Whether it parsed.
    @discardableResult
    private func check(_ text: String, _ note: String) -> Bool {
        guard let expression = try? Query.Expression(parsing: text) else { return false }
        let wanted = tree(expression)
        for printed in [expression.description, expression.pretty] {
            do {
                let again = tree(try Query.Expression(parsing: printed))
                if again != wanted {
                    Issue.record("\(note): \(text.goQuoted) prints \(printed.goQuoted): \(again) for \(wanted)")
                }
            } catch {
                Issue.record("\(note): \(text.goQuoted) prints \(printed.goQuoted): \(error)")
            }
        }
        return true
    }

    @Test("the corpus itself prints and parses again") func corpus() {
        for (number, text) in Self.corpus.enumerated() { check(text, "line \(number)") }
    }

    @Test("mutations never crash; what parses prints and parses again to the same tree", arguments: [1, 2, 3, 4])
    func mutations(seed: UInt64) {
        let times = ProcessInfo.processInfo.environment["VEDETTE_FUZZ"].flatMap { Int($0) } ?? 1
        var random = SeededRandom(seed: seed)
        var parsed = 0
        for round in 0..<2000 * max(1, times) {
            let text = mutated(Self.corpus[Int(random.next() % UInt64(Self.corpus.count))], &random)
            if check(text, "seed \(seed), round \(round)") { parsed += 1 }
        }
        // Mutations that all fail to parse would show nothing.
        #expect(parsed > 200 * max(1, times), "seed \(seed): \(parsed) parsed")
    }

    @Test("what parses can be evaluated or is refused", arguments: [11, 12])
    func evaluations(seed: UInt64) {
        let times = ProcessInfo.processInfo.environment["VEDETTE_FUZZ"].flatMap { Int($0) } ?? 1
        var random = SeededRandom(seed: seed)
        let store = MemorySource()
        for (number, name) in ["a", "b", "c", "h_bucket", "metric", "http_requests_total"].enumerated() {
            for sample in 0..<10 {
                for bound in ["1", "+Inf"] {
                    store.add(
                        ["__name__": name, "le": bound, "job": "j\(number)"], at(Double(sample) * 60),
                        sample == 5 ? .nan : Double(sample * number))
                }
            }
        }
        var limits = QueryLimits()
        (limits.samples, limits.subquerySteps) = (20_000, 2000)
        var options = QueryOptions()
        (options.allowsExperimental, options.usesStartTimes, options.explains) = (true, true, true)
        let engine = QueryEngine(source: store, limits: limits, options: options)
        for _ in 0..<1000 * max(1, times) {
            let text = mutated(Self.corpus[Int(random.next() % UInt64(Self.corpus.count))], &random)
            _ = try? engine.instant(text, at: at(300))
            _ = try? engine.range(text, from: at(0), through: at(600), step: 60_000)
        }
    }
}
