public import Model

/// A mistake in a page of metrics.
public struct ExpositionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// 1-based, the column in bytes.
    public var line: Int, column: Int
    /// What is wrong.
    public var message: String

    /// A mistake by its parts.
    public init(line: Int, column: Int, message: String) {
        (self.line, self.column, self.message) = (line, column, message)
    }

    /// `line:column: message`.
    public var description: String { "\(line):\(column): \(message)" }
}

/// Reads the parts of one line of Prometheus' text format 0.0.4. A value over borrowed bytes: it must not outlive them.
///
/// It is what the slow path of a scrape uses: a line that was not on the target's page before.
@safe public struct LineParser {
    private let bytes: UnsafePointer<UInt8>
    private let end: Int
    private let lineStart: Int
    /// A series of more labels is a mistake: no real one comes near, and each costs a search for doubles.
    public static let labelLimit = 256
    /// Where reading goes on.
    public var offset: Int

    /// Parses from `offset` on; `bytes` end at `end`.
    public init(bytes: UnsafePointer<UInt8>, from offset: Int, end: Int) {
        unsafe self.bytes = bytes
        (self.end, self.offset, lineStart) = (end, offset, offset)
    }

    private func failure(_ message: String) -> ExpositionError {
        ExpositionError(line: 0, column: offset - lineStart + 1, message: message)
    }

    private func byte(_ index: Int) -> UInt8 { unsafe index < end ? bytes[index] : 0x0A }

    /// Skips blanks and tabs.
    public mutating func skipBlanks() {
        while offset < end, byte(offset) == 0x20 || byte(offset) == 0x09 { offset += 1 }
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
        skipBlanks()
        return labels
    }

    private mutating func labelSet(into labels: inout [Label]) throws(ExpositionError) {
        while true {
            skipBlanks()
            if byte(offset) == 0x7D {
                offset += 1
                return
            }
            guard labels.count < LineParser.labelLimit else {
                throw failure("the series has more than \(LineParser.labelLimit) labels; expose fewer")
            }
            let isQuoted = byte(offset) == 0x22
            let name = isQuoted ? try quoted() : try labelName()
            skipBlanks()
            if isQuoted, byte(offset) == 0x2C || byte(offset) == 0x7D {
                // A quoted name without a value is the metric's own.
                guard !labels.contains(where: { $0.name == Labels.nameLabel }) else {
                    throw failure("the metric has two names")
                }
                labels.append(Label(Labels.nameLabel, name))
            } else {
                guard byte(offset) == 0x3D else { throw failure("'=' is expected behind the label's name") }
                offset += 1
                skipBlanks()
                guard byte(offset) == 0x22 else { throw failure("'\"' is expected before the label's value") }
                let value = try quoted()
                guard !labels.contains(where: { $0.name == name }) else {
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
        guard offset > start, !byte(start).isDigit else { throw failure("a label's name is expected") }
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
            default: value += [0x5C, byte(offset)]  // As Prometheus: an unknown escape stands for itself.
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

    /// Reads the optional timestamp in milliseconds and the line's end, and moves behind it.
    public mutating func timestampAndEnd() throws(ExpositionError) -> Int64? {
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

    /// Reads a comment line, checking `# TYPE`, and moves behind it.
    public mutating func comment() throws(ExpositionError) {
        offset += 1
        skipBlanks()
        let isType = word() == "TYPE"
        if isType {
            skipBlanks()
            if byte(offset) == 0x22 { _ = try quoted() } else { _ = word() }
            skipBlanks()
            let kind = word()
            guard ["counter", "gauge", "histogram", "summary", "untyped", "unknown"].contains(kind) else {
                throw failure(
                    "'\(kind.prefix(64))' is no type of metric; counter, gauge, histogram, summary or untyped")
            }
        }
        while !isAtLineEnd { offset += 1 }
        offset = min(offset + 1, end)
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
