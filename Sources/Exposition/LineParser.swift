internal import Basics
public import Model

/// Reads the parts of one line of Prometheus' text format or of OpenMetrics. A value over borrowed bytes: it must not
/// outlive them.
///
/// It is what the slow path of a scrape uses: a line that was not on the target's page before. It takes what
/// Prometheus' scraper takes; a strict one refuses what the formats' own documents refuse.
///
/// - SeeAlso: Prometheus, `model/textparse/promlex.l`, `openmetricslex.l`; prometheus/common, `expfmt/text_parse.go`.
@safe public struct LineParser {
    private let bytes: UnsafePointer<UInt8>
    private let end: Int
    private let lineStart: Int
    private let format: ExpositionFormat
    private let isStrict: Bool
    /// A series of more labels is a mistake: no real one comes near, and each costs a search for doubles.
    public static let labelLimit = 256
    /// Where reading goes on.
    public var offset: Int

    /// Parses from `offset` on; `bytes` end at `end`.
    public init(
        bytes: UnsafePointer<UInt8>, from offset: Int, end: Int, format: ExpositionFormat = .text,
        isStrict: Bool = false
    ) {
        unsafe self.bytes = bytes
        (self.end, self.offset, lineStart) = (end, offset, offset)
        (self.format, self.isStrict) = (format, isStrict)
    }

    private func failure(_ message: String) -> ExpositionError {
        ExpositionError(line: 0, column: offset - lineStart + 1, message: message)
    }

    private func byte(_ index: Int) -> UInt8 { unsafe index < end ? bytes[index] : 0x0A }

    /// Skips blanks and tabs, which may stand anywhere in the text format and nowhere in OpenMetrics.
    public mutating func skipBlanks() {
        while format == .text, offset < end, byte(offset) == 0x20 || byte(offset) == 0x09 { offset += 1 }
    }

    /// Whether a line ends here.
    public var isAtLineEnd: Bool { offset >= end || byte(offset) == 0x0A }

    /// Reads a series up to its value: `name{label="value"}` and the blanks behind it.
    public mutating func series() throws(ExpositionError) -> [Label] {
        var labels: [Label] = []
        skipBlanks()
        let start = offset
        while byte(offset).isNameByte { offset += 1 }
        if offset > start {
            guard !byte(start).isDigit else {
                offset = start
                throw failure("a metric's name cannot begin with a digit")
            }
            labels.append(Label(Labels.nameLabel, try text(start..<offset)))
        }
        skipBlanks()
        if byte(offset) == 0x7B {
            offset += 1
            try labelSet(into: &labels)
        } else if labels.isEmpty {
            throw failure("a metric's name is expected")
        }
        guard labels.contains(where: { $0.name == Labels.nameLabel }) else { throw failure("the metric has no name") }
        try blankBeforeValue()
        return labels
    }

    private mutating func blankBeforeValue() throws(ExpositionError) {
        guard format == .openMetrics else { return skipBlanks() }
        guard byte(offset) == 0x20 else { throw failure("one blank and a number are expected") }
        offset += 1
    }

    private mutating func labelSet(
        into labels: inout [Label], isExemplar: Bool = false
    ) throws(ExpositionError) {
        while true {
            skipBlanks()
            if byte(offset) == 0x7D {
                if isStrict, format == .openMetrics, byte(offset - 1) == 0x2C {
                    throw failure("a label is expected behind the comma")
                }
                offset += 1
                return
            }
            guard labels.count < LineParser.labelLimit else {
                throw failure("the series has more than \(LineParser.labelLimit) labels; expose fewer")
            }
            let isQuoted = byte(offset) == 0x22
            let name = isQuoted ? try quoted() : try labelName()
            skipBlanks()
            if isQuoted, !isExemplar, byte(offset) == 0x2C || byte(offset) == 0x7D {
                // A quoted name without a value is the metric's own.
                guard !labels.contains(where: { $0.name == Labels.nameLabel }) else {
                    throw failure("the metric has two names")
                }
                guard !name.isEmpty else { throw failure("the metric's name is empty") }
                labels.append(Label(Labels.nameLabel, name))
            } else {
                guard byte(offset) == 0x3D else { throw failure("'=' is expected behind the label's name") }
                offset += 1
                skipBlanks()
                guard byte(offset) == 0x22 else { throw failure("'\"' is expected before the label's value") }
                let value = try quoted()
                guard name != Labels.nameLabel || isExemplar else {
                    throw failure("__name__ is no label of its own; write the name before the brace")
                }
                guard !labels.contains(where: { $0.name.isSame(as: name) }) else {
                    throw failure("the label '\(name.prefix(64))' stands twice")
                }
                if !value.isEmpty { labels.append(Label(name, value)) }
            }
            skipBlanks()
            if byte(offset) == 0x2C {
                offset += 1
            } else if byte(offset) != 0x7D {
                throw failure("',' or '}' is expected behind the label's value")
            }
        }
    }

    private mutating func labelName() throws(ExpositionError) -> String {
        let start = offset
        while byte(offset).isNameByte, byte(offset) != 0x3A { offset += 1 }
        guard offset > start, !byte(start).isDigit else {
            offset = start
            throw failure("a label's name is expected")
        }
        return try text(start..<offset)
    }

    private mutating func quoted() throws(ExpositionError) -> String {
        offset += 1
        let start = offset
        while offset < end, byte(offset) != 0x22, byte(offset) != 0x0A, byte(offset) != 0x5C { offset += 1 }
        if byte(offset) == 0x22 {
            offset += 1
            return try text(start..<offset - 1)
        }
        return try escaped(from: start)
    }

    private mutating func escaped(from start: Int) throws(ExpositionError) -> String {
        var value = unsafe Array(UnsafeBufferPointer(start: bytes + start, count: offset - start))
        while true {
            guard offset < end, byte(offset) != 0x0A else { throw failure("the label's value does not end") }
            let current = byte(offset)
            offset += 1
            if current == 0x22 { break }
            guard current == 0x5C else {
                value.append(current)
                continue
            }
            switch byte(offset) {
            case 0x6E: value.append(0x0A)
            case 0x22, 0x5C: value.append(byte(offset))
            case 0x0A: throw failure("the label's value does not end")
            default:
                guard !isStrict || format == .openMetrics else {
                    throw failure("'\\' is followed by neither '\\', '\"' nor 'n'; write '\\\\'")
                }
                value += [0x5C, byte(offset)]  // As Prometheus: an unknown escape stands for itself.
            }
            offset += 1
        }
        guard let text = String(validating: value, as: UTF8.self) else { throw failure("invalid UTF-8") }
        return text
    }

    private func text(_ range: Range<Int>) throws(ExpositionError) -> String {
        let slice = unsafe UnsafeBufferPointer(start: bytes + range.lowerBound, count: range.count)
        guard let text = unsafe String(validating: slice, as: UTF8.self) else { throw failure("invalid UTF-8") }
        return text
    }

    /// Reads the value, which a blank or the line's end must follow.
    public mutating func value() throws(ExpositionError) -> Double {
        guard let value = unsafe NumberParser.readValue(bytes, &offset, end), byte(offset) <= 0x20 else {
            throw failure("a number is expected")
        }
        return value
    }

    /// Reads what stands between the value and an exemplar or the line's end: the optional timestamp, given in
    /// milliseconds. At the line's end it moves behind it; else `isAtExemplar` is true.
    public mutating func timestampAndEnd() throws(ExpositionError) -> Int64? {
        isAtExemplar = false
        if format == .openMetrics { return try secondsAndEnd() }
        skipBlanks()
        var timestamp: Int64?
        if !isAtLineEnd {
            let isNegative = byte(offset) == 0x2D
            if isNegative { offset += 1 }
            let start = offset
            var value: Int64 = 0
            while byte(offset).isDigit, offset - start < 18 {
                value = value * 10 + Int64(byte(offset) - 0x30)
                offset += 1
            }
            guard offset > start else { throw failure("a timestamp in milliseconds or the line's end is expected") }
            timestamp = isNegative ? -value : value
            skipBlanks()
        }
        guard isAtLineEnd else { throw failure("the line's end is expected") }
        offset = min(offset + 1, end)
        return timestamp
    }

    private mutating func secondsAndEnd() throws(ExpositionError) -> Int64? {
        var timestamp: Int64?
        if byte(offset) == 0x20, byte(offset + 1) != 0x23 { timestamp = try seconds() }
        if byte(offset) == 0x20, byte(offset + 1) == 0x23 {
            guard byte(offset + 2) == 0x20, byte(offset + 3) == 0x7B else {
                offset += 1
                throw failure("an exemplar is expected: # {LABELS} VALUE")
            }
            isAtExemplar = true
            return timestamp
        }
        guard offset < end, byte(offset) == 0x0A else { throw failure("the line's end is expected") }
        offset += 1
        return timestamp
    }

    /// A blank and seconds since the Unix epoch, in milliseconds.
    private mutating func seconds() throws(ExpositionError) -> Int64 {
        offset += 1
        let start = offset
        guard let seconds = unsafe NumberParser.readValue(bytes, &offset, end), byte(offset) <= 0x20,
            seconds.isFinite
        else {
            offset = start
            throw failure("a timestamp in seconds or the line's end is expected")
        }
        // As long as the text format's; who stores it refuses what lies so far away.
        return Int64(min(max(seconds * 1000, -1e17), 1e17))
    }

    /// Whether an exemplar follows: its place is `offset`, its end the line's.
    public private(set) var isAtExemplar = false

    /// Reads the exemplar behind ` # ` and the line's end, and moves behind it. Its timestamp is in milliseconds.
    public mutating func exemplar() throws(ExpositionError) -> (labels: [Label], value: Double, timestamp: Int64?) {
        isAtExemplar = false
        offset += 4
        var labels: [Label] = []
        try labelSet(into: &labels, isExemplar: true)
        try blankBeforeValue()
        let value = try value()
        let timestamp = byte(offset) == 0x20 ? try seconds() : nil
        guard offset < end, byte(offset) == 0x0A else { throw failure("the line's end is expected") }
        offset += 1
        return (labels, value, timestamp)
    }

    /// What a line that begins with `#` says. Names and texts are ranges of the page.
    public struct Comment: Sendable {
        /// HELP, TYPE, UNIT, the end of an OpenMetrics page, or nothing.
        public enum Kind: Sendable, Hashable { case help, type, unit, end, other }
        /// Which of them.
        public var kind = Kind.other
        /// Where the name and the text stand; the name without its quotes.
        public var name = 0..<0, text = 0..<0
        /// What a TYPE line says.
        public var type = MetricType.unknown
    }

    /// Reads a comment line and moves behind it.
    public mutating func comment() throws(ExpositionError) -> Comment {
        var comment = Comment()
        offset += 1
        if format == .openMetrics {
            guard byte(offset) == 0x20 else { throw failure("a comment begins with '# ' and HELP, TYPE, UNIT or EOF") }
            offset += 1
        }
        skipBlanks()
        let start = offset
        let keyword = word()
        switch keyword {
        case "HELP": comment.kind = .help
        case "TYPE": comment.kind = .type
        case "UNIT" where format == .openMetrics: comment.kind = .unit
        case "EOF" where format == .openMetrics && isAtLineEnd: comment.kind = .end
        default: break
        }
        if format == .openMetrics {
            guard comment.kind != .other else {
                offset = start
                throw failure("HELP, TYPE, UNIT or EOF is expected")
            }
            if comment.kind != .end { try metadata(&comment) }
        } else {
            skipBlanks()
            // Prometheus takes `# HELP` without a name for a remark.
            if comment.kind != .other, isAtLineEnd { comment.kind = .other }
            if comment.kind != .other { try metadata(&comment) }
        }
        while !isAtLineEnd { offset += 1 }
        offset = min(offset + 1, end)
        return comment
    }

    private mutating func metadata(_ comment: inout Comment) throws(ExpositionError) {
        if format == .openMetrics {
            guard byte(offset) == 0x20 else { throw failure("a metric's name is expected") }
            offset += 1
        }
        if byte(offset) == 0x22 {
            let start = offset + 1
            _ = try quoted()
            comment.name = start..<offset - 1
        } else {
            let start = offset
            while byte(offset).isNameByte { offset += 1 }
            guard offset > start, !byte(start).isDigit else {
                offset = start
                throw failure("a metric's name is expected")
            }
            comment.name = start..<offset
        }
        if format == .openMetrics {
            guard byte(offset) == 0x20 else { throw failure("one blank and a text are expected behind the name") }
            offset += 1
        } else {
            if isStrict, byte(offset) > 0x20 { throw failure("a metric's name is expected") }
            skipBlanks()
        }
        let start = offset
        while !isAtLineEnd { offset += 1 }
        comment.text = start..<offset
        if format == .text {
            // Prometheus' own text parser takes no blanks behind a type; some exporters write them.
            while comment.text.count > 0, comment.kind == .type, byte(comment.text.upperBound - 1) <= 0x20 {
                comment.text = start..<comment.text.upperBound - 1
            }
        }
        let text = try text(comment.text)
        if comment.kind == .type {
            guard let type = LineParser.type(text, in: format) else {
                throw failure(
                    format == .text
                        ? "'\(text.prefix(64))' is no type of metric; counter, gauge, histogram, summary or untyped"
                        : "'\(text.prefix(64))' is no type of metric; counter, gauge, histogram, gaugehistogram, summary, "
                            + "info, stateset or unknown")
            }
            comment.type = type
        } else if comment.kind == .unit, !text.isEmpty {
            guard try self.text(comment.name).hasSuffix("_" + text) else {
                throw failure("the unit '\(text.prefix(64))' is no suffix of the metric's name")
            }
        }
    }

    private static func type(_ text: String, in format: ExpositionFormat) -> MetricType? {
        switch format {
        case .text:
            let types: [String: MetricType] = [
                "counter": .counter, "gauge": .gauge, "histogram": .histogram, "summary": .summary,
                "untyped": .unknown, "unknown": .unknown,
            ]
            return types[text]
        case .openMetrics: return MetricType(rawValue: text)
        }
    }

    /// The name in a comment, its escapes resolved.
    public func name(of comment: Comment) -> String { unescaped(comment.name, quotes: true) }
    /// The text of a comment: a HELP's with its escapes resolved.
    public func text(of comment: Comment) -> String {
        unescaped(comment.text, quotes: format == .openMetrics, isRaw: comment.kind != .help)
    }

    private func unescaped(_ range: Range<Int>, quotes: Bool, isRaw: Bool = false) -> String {
        let slice = unsafe UnsafeBufferPointer(start: bytes + range.lowerBound, count: range.count)
        guard !isRaw, unsafe slice.contains(0x5C) else { return unsafe String(decoding: slice, as: UTF8.self) }
        var result: [UInt8] = []
        var index = range.lowerBound
        while index < range.upperBound {
            let next = index + 1 < range.upperBound ? byte(index + 1) : 0
            guard byte(index) == 0x5C, next == 0x5C || next == 0x6E || (quotes && next == 0x22) else {
                result.append(byte(index))
                index += 1
                continue
            }
            result.append(next == 0x6E ? 0x0A : next)
            index += 2
        }
        return String(decoding: result, as: UTF8.self)
    }

    private mutating func word() -> String {
        let start = offset
        while byte(offset) > 0x20 { offset += 1 }
        return unsafe String(decoding: UnsafeBufferPointer(start: bytes + start, count: offset - start), as: UTF8.self)
    }
}

extension UInt8 {
    fileprivate var isDigit: Bool { self &- 0x30 < 10 }
    fileprivate var isNameByte: Bool {
        (self | 0x20) &- 0x61 < 26 || self &- 0x30 < 10 || self == 0x5F || self == 0x3A
    }
}
