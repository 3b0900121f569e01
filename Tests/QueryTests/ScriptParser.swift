import Basics
import Model
import Query

/// What an `eval` must give.
struct Expectation {
    enum Match {
        case any, exact(String), pattern(SearchPattern)
        func accepts(_ text: String) -> Bool {
            switch self {
            case .any: true
            case .exact(let expected): expected == text
            case .pattern(let pattern): pattern.isFound(in: text)
            }
        }
    }
    var failures: [Match] = []
    var warnings: [Match] = []
    var infos: [Match] = []
    var forbidsWarnings = false
    var forbidsInfos = false
    var isOrdered = false
    var text: String?
    /// The times of an instant query's range vector.
    var times: (from: Int64, through: Int64, step: Int64)?
    var series: [SeriesNotation] = []
    var scalar: Double?
}

/// A statement of a test script in Prometheus' language, with its line.
struct Statement {
    enum Kind {
        case clear
        case load(step: Milliseconds, series: [SeriesNotation], starts: [StartNotation])
        case instant(at: Int64, query: String, Expectation)
        case range(from: Int64, through: Int64, step: Int64, query: String, Expectation)
    }
    var line: Int
    var kind: Kind
}

/// When the counts of a series' samples began, relative to the samples: `series@st _ -30s-1mx2`.
struct StartNotation {
    var labels: Labels
    /// One entry per interval, in milliseconds; nil: not known.
    var starts: [Milliseconds?]

    init(parsing line: String) throws {
        guard let mark = line.firstRange(of: "@st") else {
            throw ScriptError(line: 0, description: "no @st in \(line)")
        }
        labels = try SeriesNotation.labels(parsing: String(line[..<mark.lowerBound]))
        starts = []
        for word in line[mark.upperBound...].split(whereSeparator: { $0 == " " || $0 == "\t" }) {
            try append(String(word))
        }
    }

    private mutating func append(_ word: String) throws {
        let parts = word.split(separator: "x", omittingEmptySubsequences: false).map(String.init)
        let count = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        if parts[0] == "_" {
            starts += Array(repeating: nil, count: max(1, count))
            return
        }
        // The sign of the second number is behind the first one's digits and unit.
        let head = parts[0]
        let second = head.dropFirst().firstIndex { $0 == "-" || $0 == "+" }
        guard let first = signed(String(head[..<(second ?? head.endIndex)])) else {
            throw ScriptError(line: 0, description: "no start: \(word)")
        }
        let step = second.flatMap { signed(String(head[$0...])) } ?? 0
        for number in 0...count { starts.append(first + Int64(number) * step) }
    }

    private func signed(_ text: String) -> Milliseconds? {
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? String(text.dropFirst()) : text
        let value = digits.allSatisfy { $0 == "0" } ? 0 : DurationText.parse(digits)
        return value.map { text.hasPrefix("-") ? -$0 : $0 }
    }
}

struct ScriptError: Error, CustomStringConvertible {
    var line: Int
    var description: String
}

/// Reads a script; series with native histograms (`{{…}}`) are left out of loads, and an `eval` that expects one is
/// kept with what else it expects.
struct ScriptParser {
    private let lines: [Substring]
    private var index = 0

    init(_ text: String) { lines = text.split(separator: "\n", omittingEmptySubsequences: false) }

    static func parse(_ text: String) throws -> [Statement] {
        var parser = ScriptParser(text)
        var statements: [Statement] = []
        while let statement = try parser.next() { statements.append(statement) }
        return statements
    }

    private func trimmed(_ index: Int) -> String { String(lines[index]).trimmed }

    private mutating func next() throws -> Statement? {
        while index < lines.count {
            let text = trimmed(index)
            if text.isEmpty || text.hasPrefix("#") {
                index += 1
                continue
            }
            let line = index + 1
            index += 1
            let words = text.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
            if words[0] == "clear" { return Statement(line: line, kind: .clear) }
            if words[0].hasPrefix("load") {
                let (series, starts) = try loadedSeries()
                return Statement(
                    line: line, kind: .load(step: try duration(words[1], line), series: series, starts: starts))
            }
            guard words[0].hasPrefix("eval") else { throw ScriptError(line: line, description: "what is \(text)?") }
            return try evaluation(words, text, line)
        }
        return nil
    }

    private func duration(_ text: String, _ line: Int) throws -> Milliseconds {
        let isNegative = text.hasPrefix("-")
        let digits = isNegative ? String(text.dropFirst()) : text
        if let value = DurationText.parse(digits) { return isNegative ? -value : value }
        guard let seconds = Double(text) else { throw ScriptError(line: line, description: "no duration: \(text)") }
        return Milliseconds(seconds * 1000)
    }

    /// The lines up to the next blank one.
    private mutating func block() -> [(line: Int, text: String)] {
        var block: [(line: Int, text: String)] = []
        while index < lines.count {
            let text = trimmed(index)
            if text.isEmpty || ["eval", "load", "clear"].contains(where: text.hasPrefix) { break }
            if !text.hasPrefix("#") { block.append((index + 1, text)) }
            index += 1
        }
        return block
    }

    private mutating func loadedSeries() throws -> ([SeriesNotation], [StartNotation]) {
        var series: [SeriesNotation] = []
        var starts: [StartNotation] = []
        for (line, text) in block() where !text.contains("{{") {
            do {
                if text.contains("@st") {
                    starts.append(try StartNotation(parsing: text))
                } else {
                    series.append(try SeriesNotation(parsing: text))
                }
            } catch {
                throw ScriptError(line: line, description: "\(error) in \(text)")
            }
        }
        return (series, starts)
    }

    private mutating func evaluation(_ words: [String], _ text: String, _ line: Int) throws -> Statement {
        var expectation = Expectation()
        if words[0] == "eval_fail" { expectation.failures.append(.any) }
        if words[0] == "eval_ordered" { expectation.isOrdered = true }
        func query(after count: Int) -> String {
            var rest = text[...]
            for _ in 0..<count {
                rest = rest.drop { $0 != " " }.drop { $0 == " " }
            }
            return String(rest)
        }
        for (place, content) in block() { try read(content, place, into: &expectation) }
        if words[1] == "instant" {
            return Statement(
                line: line,
                kind: .instant(at: try duration(words[3], line), query: query(after: 4), expectation))
        }
        return Statement(
            line: line,
            kind: .range(
                from: try duration(words[3], line), through: try duration(words[5], line),
                step: try duration(words[7], line), query: query(after: 8), expectation))
    }

    private func read(_ text: String, _ line: Int, into expectation: inout Expectation) throws {
        if text.hasPrefix("expected_fail_message") || text.hasPrefix("expected_fail_regexp") {
            expectation.failures = [
                try match(
                    (text.hasPrefix("expected_fail_message") ? "msg:" : "regex:")
                        + text.drop { $0 != " " })
            ]
            return
        }
        guard text.hasPrefix("expect ") || text.hasPrefix("expect\t") else {
            if text.contains("{{") { return }
            if let value = Double(text) ?? GoNumber.parse(text) {
                expectation.scalar = value
            } else {
                do {
                    expectation.series.append(try SeriesNotation(parsing: text))
                } catch {
                    throw ScriptError(line: line, description: "\(error) in \(text)")
                }
            }
            return
        }
        let words = text.split(separator: " ").map(String.init)
        let rest = words.dropFirst(2).joined(separator: " ")
        switch words[1] {
        case "fail": expectation.failures.append(try match(rest))
        case "warn": expectation.warnings.append(try match(rest))
        case "info": expectation.infos.append(try match(rest))
        case "no_warn": expectation.forbidsWarnings = true
        case "no_info": expectation.forbidsInfos = true
        case "ordered": expectation.isOrdered = true
        case "string":
            let quoted = text.drop { $0 != "\"" && $0 != "`" }
            expectation.text = String(quoted.dropFirst().dropLast())
        case "range":
            expectation.times = (
                try duration(words[4], line), try duration(words[6], line), try duration(words[8], line)
            )
        default: throw ScriptError(line: line, description: "what is \(text)?")
        }
    }

    private func match(_ text: String) throws -> Expectation.Match {
        let text = text.trimmed
        if text.hasPrefix("msg:") { return .exact(String(text.dropFirst(4)).trimmed) }
        if text.hasPrefix("regex:") { return .pattern(try SearchPattern(String(text.dropFirst(6)).trimmed)) }
        return .any
    }
}
