internal import Basics
internal import Exposition
internal import Model
public import Storage

/// Reads OpenMetrics that comes in pieces, each sample with its time, into blocks. Memory: a line, and the newest time
/// of each series of one family.
public struct OpenMetricsImport: ~Copyable {
    private let blocks: BlockImport
    private var rest: [UInt8] = []
    private var line = 0
    private var isEnded = false
    private var family = ""
    private var seen: Set<String> = []
    private var newest: [Labels: Int64] = [:]

    /// Reads into these blocks.
    public init(into blocks: BlockImport) { self.blocks = blocks }

    private static let longestLine = 16 << 20
    /// The end of the year 9999: beyond it somebody has written milliseconds.
    private static let latest: Int64 = 253_402_300_799_999
    private static let suffixes = [
        "_total", "_created", "_bucket", "_sum", "_count", "_gsum", "_gcount", "_info",
    ]

    private func failure(_ message: String, column: Int = 1) -> ExpositionError {
        ExpositionError(line: line, column: column, message: message)
    }

    /// Reads a piece; it may end anywhere.
    public mutating func read(_ piece: [UInt8]) throws {
        rest += piece
        var start = 0
        while let end = rest[start...].firstIndex(of: 0x0A) {
            try read(line: start..<end + 1)
            start = end + 1
        }
        rest.removeFirst(start)
        guard rest.count <= OpenMetricsImport.longestLine else {
            line += 1
            throw failure("a line is longer than 16 MiB; is it OpenMetrics?")
        }
    }

    /// What follows the last piece: `# EOF` must have been there.
    public mutating func end() throws {
        if !rest.isEmpty { try read([0x0A]) }
        guard isEnded else {
            line += 1
            throw failure("the text does not end with # EOF; it is cut short, or the line is to be added")
        }
    }

    private mutating func read(line range: Range<Int>) throws {
        line += 1
        guard !isEnded else { throw failure("text behind # EOF; take it away") }
        var found: (labels: [Label], value: Double, time: Int64?, column: Int)?
        var comment: (LineParser.Comment.Kind, name: String)?
        let number = line
        do throws(ExpositionError) {
            try unsafe rest.withUnsafeBufferPointer { (buffer) throws(ExpositionError) in
                guard let base = buffer.baseAddress else { return }
                var parser = unsafe LineParser(
                    bytes: base, from: range.lowerBound, end: range.upperBound, format: .openMetrics, isStrict: true)
                guard !parser.isAtLineEnd else {
                    throw ExpositionError(line: 0, column: 1, message: "an empty line; take it away")
                }
                if unsafe base[parser.offset] == 0x23 {
                    let read = try parser.comment()
                    comment = (read.kind, parser.name(of: read))
                } else {
                    let labels = try parser.series()
                    let value = try parser.value()
                    let column = parser.offset - range.lowerBound + 1
                    let time = try parser.timestampAndEnd()
                    if parser.isAtExemplar { _ = try parser.exemplar() }
                    found = (labels, value, time, column)
                }
            }
        } catch {
            throw ExpositionError(line: number, column: error.column, message: error.message)
        }
        if let comment {
            isEnded = comment.0 == .end
            if !isEnded, comment.name != family { try begin(comment.name) }
        }
        guard let found else { return }
        guard let time = found.time else {
            throw failure("a sample without a timestamp; give its seconds behind the value", column: found.column)
        }
        guard abs(time) <= OpenMetricsImport.latest else {
            throw failure("a timestamp after the year 9999; timestamps are in seconds", column: found.column)
        }
        let labels = Labels(found.labels.filter { !$0.value.isEmpty })
        let name = labels[Labels.nameLabel]
        if !belongs(name) { try begin(name) }
        if let before = newest[labels], before >= time {
            throw failure(
                "a series' times do not rise; sort its samples by time, each time once", column: found.column)
        }
        newest[labels] = time
        try blocks.add(labels, Timestamp(milliseconds: time), found.value)
    }

    private func belongs(_ name: String) -> Bool {
        name == family && !family.isEmpty
            || name.hasPrefix(family) && OpenMetricsImport.suffixes.contains(String(name.dropFirst(family.count)))
                && !family.isEmpty
    }

    private mutating func begin(_ name: String) throws(ExpositionError) {
        guard seen.insert(name).inserted else {
            throw failure("the lines of '\(name)' do not stand together; put them one behind the other")
        }
        family = name
        newest.removeAll(keepingCapacity: true)
    }
}
