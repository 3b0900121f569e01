internal import Basics
public import Model

/// The samples of a series as tests write them: `1 2 3`, `0+10x5`, `5-1x3`, `7x4`, `_`, `_x3`, `stale`.
///
/// A repetition `axn` means *n* + 1 values: the first and *n* more. nil stands for a gap.
///
/// - SeeAlso: Prometheus, "Unit testing for rules", series notation; `promql/parser/parse.go`.
public struct SeriesNotation: Sendable, Hashable {
    /// Who the series is.
    public var labels: Labels
    /// One entry per interval; nil: no sample there.
    public var values: [Double?]

    /// Reads `metric{label="value"} 0+10x5 _ stale`.
    public init(parsing line: String) throws(ParseError) {
        let split = SeriesNotation.endOfMetric(line)
        labels = try SeriesNotation.labels(parsing: String(line.utf8.prefix(split)) ?? "")
        values = try SeriesNotation.values(parsing: String(line.utf8.dropFirst(split)) ?? "")
    }

    /// Where the metric ends: at the closing brace outside of quotes, else at the first blank.
    private static func endOfMetric(_ line: String) -> Int {
        var quote: UInt8?
        var isEscaped = false
        var braces = 0
        for (index, byte) in line.utf8.enumerated() {
            if let open = quote {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\"), open != UInt8(ascii: "`") {
                    isEscaped = true
                } else if byte == open {
                    quote = nil
                }
            } else if "\"'`".utf8.contains(byte) {
                quote = byte
            } else if byte == UInt8(ascii: "{") {
                // Braces right after a blank outside of the metric are a native histogram.
                braces += 1
            } else if byte == UInt8(ascii: "}") {
                braces -= 1
                if braces == 0 { return index + 1 }
            } else if braces == 0, byte.isBlank {
                // `metric {a="b"}` is one metric; `metric 1` ends here.
                let rest = line.utf8.dropFirst(index).drop { $0.isBlank }
                let isDouble = rest.starts(with: "{{".utf8)
                if rest.first != UInt8(ascii: "{") || isDouble { return index }
            }
        }
        return line.utf8.count
    }

    /// Reads `metric{a="b"}`, `{a="b"}`, `{"quoted.name", a="b"}` or `metric`; no condition but `=`.
    public static func labels(parsing text: String) throws(ParseError) -> Labels {
        let trimmed = text.trimmed
        if trimmed == "{}" { return Labels() }
        let expr = try parsedSelector(trimmed)
        var labels: [Label] = []
        for matcher in expr.matchers {
            guard matcher.operation == .equal else {
                throw ParseError(line: 1, column: 1, message: "a series has only labels with =, not \(matcher)")
            }
            guard !labels.contains(where: { $0.name == matcher.name }) else {
                throw ParseError(
                    line: 1, column: 1, message: "label \(matcher.name.goQuoted) is given twice in \(trimmed)",
                    cure: "remove one of them")
            }
            labels.append(Label(matcher.name, matcher.value))
        }
        return Labels(labels)
    }

    private static func parsedSelector(_ text: String) throws(ParseError) -> VectorSelector {
        var parser = try Parser(text)
        return try parser.metric()
    }

    /// Reads the values alone.
    public static func values(parsing text: String) throws(ParseError) -> [Double?] {
        var values: [Double?] = []
        for word in text.split(whereSeparator: { $0 == " " || $0 == "\t" }) { try append(String(word), to: &values) }
        return values
    }

    private static func append(_ word: String, to values: inout [Double?]) throws(ParseError) {
        func bad() -> ParseError {
            ParseError(
                line: 1, column: 1, message: "bad value \"\(word)\" in a series",
                cure: "write numbers, a+bxn, axn, _ , _xn or stale")
        }
        if word == "stale" { return values.append(SpecialValue.stale) }
        if word == "_" { return values.append(nil) }
        if word.hasPrefix("_x") {
            guard let count = Int(word.dropFirst(2)), count >= 0, count < 10_000_000 else { throw bad() }
            values.append(contentsOf: repeatElement(nil, count: count))
            return
        }
        if let value = number(word) { return values.append(value) }
        guard let times = word.lastIndex(of: "x"), let count = Int(word[word.index(after: times)...]), count >= 0,
            count < 10_000_000
        else { throw bad() }
        let head = String(word[..<times])
        if let value = number(head) {
            values.append(contentsOf: repeatElement(Optional(value), count: count + 1))
            return
        }
        // `a+b` or `a-b`; a sign may also stand at the start or in an exponent.
        let bytes = Array(head.utf8)
        for index in bytes.indices.dropFirst()
        where bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") {
            guard let start = number(String(decoding: bytes[..<index], as: UTF8.self)),
                let step = number(String(decoding: bytes[index...], as: UTF8.self))
            else { continue }
            var value = start
            for _ in 0...count {
                values.append(value)
                value += step
            }
            return
        }
        throw bad()
    }

    private static func number(_ text: String) -> Double? {
        let isNegative = text.hasPrefix("-")
        let digits = isNegative || text.hasPrefix("+") ? String(text.dropFirst()) : text
        let value: Double? =
            switch digits.lowercased() {
            case "inf": .infinity
            case "nan": SpecialValue.notANumber
            // `0x5` repeats a zero; it is no hexadecimal number here.
            default: digits.lowercased().hasPrefix("0x") ? nil : NumberText.parse(digits)
            }
        return value.map { isNegative ? -$0 : $0 }
    }
}
