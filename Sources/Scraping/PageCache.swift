internal import Basics
internal import Exposition
internal import Glibc
internal import Model

/// A target's previous page and what each of its lines meant. A line whose bytes up to the value are unchanged goes
/// straight to its series: one `memcmp`, no hashing, no label, no allocation. Only a line that was not there before is
/// parsed.
@safe struct PageCache {
    /// A line of the previous page.
    private struct Line {
        /// Where it begins on that page.
        var offset: UInt32
        /// Bytes up to the value, or of the whole line when it is a comment.
        var keyCount: UInt32
        /// 0: a comment; `refused`: a series that the store does not take.
        var reference: SeriesReference
        /// It had a timestamp of its own, so it gets no staleness marker.
        var isTimed = false
    }

    /// What a page held.
    struct Summary {
        var samples = 0
        /// Series that were not on the previous page.
        var added = 0
        /// Series of lines that the store refused.
        var refused = 0
        /// False when much of the page is new and was not read yet: go on with `resume`.
        var isWhole = true
    }

    /// What the slow way through a page needs to go on: it is taken in slices, so that one target with a new page of
    /// half a million lines does not keep a loop's others waiting.
    private struct Rest {
        var body: [UInt8]
        var position: Int
        /// Lines that were taken before the slow way began; behind them were `old`, of the previous page.
        let kept: Int
        let old: ArraySlice<Line>
        var known: [ArraySlice<UInt8>: Int] = [:]
        var used: Set<SeriesReference>
        var summary: Summary
        let honorsTimestamps: Bool
        let limit: Int
    }

    private static let refused = SeriesReference.max

    private var page: [UInt8] = []
    private var lines: [Line] = []
    /// Whether the series of the previous page were marked stale since.
    private var isStale = false
    private var rest: Rest?
    /// Pages read while the store refused some of their series: now and then these are asked for again.
    private var refusals = 0
    /// Lines that took the slow way so far, each with a hash and a look-up.
    private(set) var parsedLines = 0
    /// Lines that are kept.
    var lineCount: Int { lines.count }

    /// Reads a page into the batch: its samples, then staleness markers of the series that are gone. `body` is
    /// exchanged for a buffer that can be used again. Of new lines about `slice` bytes are read. After an error the
    /// batch is not to be used.
    mutating func read(
        _ body: inout [UInt8], into batch: inout SampleBatch, honorsTimestamps: Bool, limit: Int, slice: Int = .max,
        resolve: (inout [Label]) throws(ExpositionError) -> SeriesReference?
    ) throws(ExpositionError) -> Summary {
        abandon()
        let asksAgain = refusals > 0 && refusals % 16 == 0
        if !body.isEmpty, body[body.count - 1] != 0x0A { body.append(0x0A) }
        var summary = Summary()
        var position = 0
        var index = 0
        try unsafe body.withUnsafeBufferPointer { (fresh) throws(ExpositionError) in
            try unsafe page.withUnsafeBufferPointer { (old) throws(ExpositionError) in
                guard let bytes = fresh.baseAddress else { return }
                let end = fresh.count
                while position < end, index < lines.count {
                    let line = lines[index]
                    let count = Int(line.keyCount)
                    guard position + count <= end, !asksAgain || line.reference != PageCache.refused,
                        unsafe memcmp(bytes + position, old.baseAddress.unsafelyUnwrapped + Int(line.offset), count)
                            == 0
                    else { return }
                    // More blanks before the value than last time: the same series under a longer key.
                    if line.reference != 0, unsafe bytes[position + count] == 0x20 || bytes[position + count] == 0x09 {
                        return
                    }
                    lines[index].offset = UInt32(position)
                    index += 1
                    position += count
                    if line.reference == 0 { continue }
                    try unsafe PageCache.readValue(
                        bytes, &position, end, line.reference, &lines[index - 1].isTimed, &batch, honorsTimestamps,
                        &summary)
                }
            }
        }
        guard position < body.count || index < lines.count else {
            finish(&body, summary)
            return summary
        }
        let old = lines[index...]
        lines.removeLast(old.count)
        var rest = Rest(
            body: [], position: position, kept: index, old: old, used: Set(lines.lazy.map(\.reference)),
            summary: summary, honorsTimestamps: honorsTimestamps, limit: limit)
        swap(&rest.body, &body)
        rest.known.reserveCapacity(old.count)
        for (index, line) in zip(old.indices, old) where line.reference != 0 && line.reference != PageCache.refused {
            rest.known[page[Int(line.offset)..<Int(line.offset) + Int(line.keyCount)]] = index
        }
        self.rest = rest
        return try resume(&body, into: &batch, slice: slice, resolve: resolve)
    }

    /// Goes on with a page that was not whole, into the same batch; at the end `body` is the buffer to use again.
    mutating func resume(
        _ body: inout [UInt8], into batch: inout SampleBatch, slice: Int,
        resolve: (inout [Label]) throws(ExpositionError) -> SeriesReference?
    ) throws(ExpositionError) -> Summary {
        guard var rest = self.rest.take() else { preconditionFailure("there is no page to go on with") }
        do throws(ExpositionError) {
            try readSlice(&rest, of: slice, into: &batch, resolve: resolve)
        } catch {
            restore(rest)
            throw error
        }
        guard rest.position == rest.body.count else {
            rest.summary.isWhole = false
            self.rest = rest
            return rest.summary
        }
        rest.summary.isWhole = true
        if !isStale {
            for line in rest.old where line.reference != 0 && !line.isTimed && !rest.used.contains(line.reference) {
                guard line.reference != PageCache.refused else { continue }
                batch.append(line.reference, SpecialValue.stale)
            }
        }
        // The slices of the previous page go first, so that its buffer is the reader's alone.
        rest.known = [:]
        swap(&rest.body, &body)
        finish(&body, rest.summary)
        return rest.summary
    }

    private mutating func finish(_ body: inout [UInt8], _ summary: Summary) {
        isStale = false
        refusals = summary.refused > 0 ? refusals + 1 : 0
        swap(&page, &body)
    }

    /// Gives a page up that was not read to its end: what the previous one held is known again.
    private mutating func abandon() {
        guard case .some = rest else { return }
        if let rest = rest.take() { restore(rest) }
    }

    private mutating func restore(_ rest: Rest) { lines.replaceSubrange(rest.kept..., with: rest.old) }

    private static func readValue(
        _ bytes: UnsafePointer<UInt8>, _ position: inout Int, _ end: Int, _ reference: SeriesReference,
        _ isTimed: inout Bool, _ batch: inout SampleBatch, _ honorsTimestamps: Bool, _ summary: inout Summary
    ) throws(ExpositionError) {
        let start = position
        guard let value = unsafe NumberParser.readValue(bytes, &position, end), unsafe bytes[position] <= 0x20 else {
            throw unsafe PageCache.place(
                ExpositionError(line: 0, column: 1, message: "a number is expected"), in: bytes, at: start)
        }
        summary.samples += 1
        var timestamp: Int64?
        if unsafe bytes[position] == 0x0A {
            position += 1
        } else {
            var parser = unsafe LineParser(bytes: bytes, from: position, end: end)
            do throws(ExpositionError) {
                timestamp = try parser.timestampAndEnd()
            } catch {
                throw unsafe PageCache.place(error, in: bytes, at: position)
            }
            position = parser.offset
        }
        guard reference != refused else {
            summary.refused += 1
            return
        }
        if let timestamp, honorsTimestamps {
            isTimed = true
            batch.append(reference, value, at: timestamp)
        } else {
            isTimed = false
            batch.append(reference, value)
        }
    }

    /// Some lines of the page from the first that differs: known ones are found by a hash, others are parsed.
    private mutating func readSlice(
        _ rest: inout Rest, of slice: Int, into batch: inout SampleBatch,
        resolve: (inout [Label]) throws(ExpositionError) -> SeriesReference?
    ) throws(ExpositionError) {
        let body = rest.body
        let stop = slice < body.count - rest.position ? rest.position + slice : body.count
        try unsafe body.withUnsafeBufferPointer { (buffer) throws(ExpositionError) in
            guard let bytes = buffer.baseAddress else { return }
            while rest.position < stop {
                let start = rest.position
                do throws(ExpositionError) {
                    guard var line = try unsafe PageCache.key(bytes, &rest.position, buffer.count) else {
                        addComment(start..<rest.position)
                        continue
                    }
                    line.offset = UInt32(start)
                    parsedLines += 1
                    guard rest.limit == 0 || rest.summary.samples < rest.limit else {
                        throw ExpositionError(
                            line: 0, column: 0,
                            message: "more samples than sample_limit, \(rest.limit); raise it or expose less")
                    }
                    if let known = rest.known[body[start..<rest.position]] {
                        line.reference = rest.old[known].reference
                    } else {
                        var parser = unsafe LineParser(bytes: bytes, from: start, end: buffer.count)
                        var labels = try parser.series()
                        line.reference = try resolve(&labels) ?? PageCache.refused
                        if line.reference != PageCache.refused { rest.summary.added += 1 }
                    }
                    lines.append(line)
                    rest.used.insert(line.reference)
                    try unsafe PageCache.readValue(
                        bytes, &rest.position, buffer.count, line.reference, &lines[lines.count - 1].isTimed, &batch,
                        rest.honorsTimestamps, &rest.summary)
                } catch {
                    throw unsafe error.line > 0 || error.column == 0
                        ? error : PageCache.place(error, in: bytes, at: start)
                }
            }
        }
    }

    /// Comments and empty lines that follow each other are one line of the cache: a page may hold nothing else.
    private mutating func addComment(_ range: Range<Int>) {
        if let last = lines.last, last.reference == 0, Int(last.offset) + Int(last.keyCount) == range.lowerBound {
            lines[lines.count - 1].keyCount += UInt32(range.count)
        } else {
            lines.append(Line(offset: UInt32(range.lowerBound), keyCount: UInt32(range.count), reference: 0))
        }
    }

    /// Moves behind a line's key: the series and the blanks before its value. Nil behind a comment or an empty line.
    private static func key(
        _ bytes: UnsafePointer<UInt8>, _ position: inout Int, _ end: Int
    ) throws(ExpositionError) -> Line? {
        let start = position
        var parser = unsafe LineParser(bytes: bytes, from: position, end: end)
        parser.skipBlanks()
        if parser.isAtLineEnd {
            position = min(parser.offset + 1, end)
            return nil
        }
        if unsafe bytes[parser.offset] == 0x23 {
            try parser.comment()
            position = parser.offset
            return nil
        }
        _ = try parser.series()
        position = parser.offset
        return Line(offset: UInt32(start), keyCount: UInt32(position - start), reference: 0)
    }

    /// Gives a mistake its line, counted from the page's begin.
    private static func place(
        _ error: ExpositionError, in bytes: UnsafePointer<UInt8>, at position: Int
    ) -> ExpositionError {
        var (line, column) = (1, position + error.column)
        for index in 0..<position where unsafe bytes[index] == 0x0A {
            line += 1
            column = position - index - 1 + error.column
        }
        return ExpositionError(line: line, column: column, message: error.message)
    }

    /// Marks every series of the previous page as stale, once, and keeps the page for the target's return.
    mutating func markStale(into batch: inout SampleBatch) {
        abandon()
        guard !isStale else { return }
        isStale = true
        for line in lines where line.reference != 0 && line.reference != PageCache.refused && !line.isTimed {
            batch.append(line.reference, SpecialValue.stale)
        }
    }

    /// Forgets the page.
    mutating func reset() {
        rest = nil
        page = []
        lines = []
        isStale = false
    }
}
