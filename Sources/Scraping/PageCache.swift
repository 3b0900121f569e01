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
    }

    private static let refused = SeriesReference.max

    private var page: [UInt8] = []
    private var lines: [Line] = []
    /// Whether the series of the previous page were marked stale since.
    private var isStale = false
    /// Lines that took the slow way so far, each with a hash and a look-up.
    private(set) var parsedLines = 0

    /// Reads a page into the batch: its samples, then staleness markers of the series that are gone. `body` is
    /// exchanged for a buffer that can be used again. After an error nothing of the cache is left, and the batch is
    /// not to be used.
    mutating func read(
        _ body: inout [UInt8], into batch: inout SampleBatch, honorsTimestamps: Bool, limit: Int,
        resolve: (inout [Label]) throws(ExpositionError) -> SeriesReference?
    ) throws(ExpositionError) -> Summary {
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
                    guard position + count <= end,
                        unsafe memcmp(bytes + position, old.baseAddress.unsafelyUnwrapped + Int(line.offset), count)
                            == 0
                    else { return }
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
        if position < body.count || index < lines.count {
            try readRest(
                body, from: position, after: index, into: &batch, honorsTimestamps: honorsTimestamps, limit: limit,
                summary: &summary, resolve: resolve)
        }
        isStale = false
        swap(&page, &body)
        return summary
    }

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

    /// The rest of a page from the first line that differs: known lines are found by a hash, others are parsed.
    private mutating func readRest(
        _ body: [UInt8], from start: Int, after kept: Int, into batch: inout SampleBatch, honorsTimestamps: Bool,
        limit: Int, summary: inout Summary, resolve: (inout [Label]) throws(ExpositionError) -> SeriesReference?
    ) throws(ExpositionError) {
        let old = lines[kept...]
        let previous = page
        lines.removeLast(old.count)
        var byKey: [ArraySlice<UInt8>: Int] = [:]
        byKey.reserveCapacity(old.count)
        for (index, line) in zip(old.indices, old) where line.reference != 0 {
            byKey[previous[Int(line.offset)..<Int(line.offset) + Int(line.keyCount)]] = index
        }
        var used: Set<SeriesReference> = Set(lines.lazy.map(\.reference))
        try unsafe body.withUnsafeBufferPointer { (buffer) throws(ExpositionError) in
            guard let bytes = buffer.baseAddress else { return }
            var position = start
            while position < buffer.count {
                let lineStart = position
                do throws(ExpositionError) {
                    guard var line = try unsafe PageCache.key(bytes, &position, buffer.count) else {
                        lines.append(
                            Line(offset: UInt32(lineStart), keyCount: UInt32(position - lineStart), reference: 0))
                        continue
                    }
                    line.offset = UInt32(lineStart)
                    parsedLines += 1
                    if let known = byKey[body[lineStart..<position]] {
                        line.reference = old[known].reference
                    } else {
                        var parser = unsafe LineParser(bytes: bytes, from: lineStart, end: buffer.count)
                        var labels = try parser.series()
                        line.reference = try resolve(&labels) ?? PageCache.refused
                        if line.reference != PageCache.refused { summary.added += 1 }
                    }
                    lines.append(line)
                    used.insert(line.reference)
                    try unsafe PageCache.readValue(
                        bytes, &position, buffer.count, line.reference, &lines[lines.count - 1].isTimed, &batch,
                        honorsTimestamps, &summary)
                } catch {
                    // What the previous page held is known again, so that it can be marked stale.
                    lines.replaceSubrange(kept..., with: old)
                    throw unsafe error.line > 0 ? error : PageCache.place(error, in: bytes, at: lineStart)
                }
            }
        }
        guard limit == 0 || summary.samples <= limit else {
            lines.replaceSubrange(kept..., with: old)
            throw ExpositionError(
                line: 0, column: 0, message: "\(summary.samples) samples exceed sample_limit, \(limit)")
        }
        guard !isStale else { return }
        for line in old where line.reference != 0 && !line.isTimed && !used.contains(line.reference) {
            guard line.reference != PageCache.refused else { continue }
            batch.append(line.reference, SpecialValue.stale)
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
        guard !isStale else { return }
        isStale = true
        for line in lines where line.reference != 0 && line.reference != PageCache.refused && !line.isTimed {
            batch.append(line.reference, SpecialValue.stale)
        }
    }

    /// Forgets the page.
    mutating func reset() {
        page = []
        lines = []
        isStale = false
    }
}
