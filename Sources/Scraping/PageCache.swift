internal import Basics
internal import Exposition
internal import Glibc
internal import Model

/// Why a page cannot be stored: the mistake, with its place where it has one, and how it counts.
struct PageError: Error {
    var failure: ScrapeFailure
    var error: ExpositionError

    /// A mistake in the page's text.
    init(_ error: ExpositionError) { (failure, self.error) = (.format, error) }
    /// More than the configuration allows; `column` 0: of the page as a whole.
    init(_ failure: ScrapeFailure, column: Int = 0, _ message: String) {
        (self.failure, error) = (failure, ExpositionError(line: 0, column: column, message: message))
    }

    var description: String { error.line == 0 ? error.message : "line \(error)" }
}

/// How a page is to be read.
struct PageOptions: Hashable, Sendable {
    var format = ExpositionFormat.text
    /// `honor_timestamps`, and `track_timestamps_staleness`: a series with a timestamp of its own ends too.
    var honorsTimestamps = true, tracksTimestamped = false
    /// Samples left by relabelling; 0: any number.
    var sampleLimit = 0
}

/// An exemplar that was not on the previous page, before its series is known by name.
private struct FreshExemplar {
    var reference: SeriesReference
    /// Where the line's series stands, and below which TYPE.
    var key: Range<Int>, type: MetricType
    var labels: [Label]
    var value: Double
    var timestamp: Int64?
}

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
        /// 0: a comment; `refused`: a series that the store does not take; `dropped`: one that relabelling drops.
        var reference: SeriesReference
        /// It had a timestamp of its own, so it gets no staleness marker.
        var isTimed = false
        /// The type that the TYPE line above says: how a bucket's bound is read depends on it.
        var type = MetricType.unknown
        /// The code of its exemplar's bytes; 0: it has none.
        var exemplarCode: UInt32 = 0
    }

    /// What a page held.
    struct Summary {
        var samples = 0
        /// Series that were not on the previous page.
        var added = 0
        /// Series of lines that the store refused.
        var refused = 0
        /// Samples that relabelling dropped.
        var dropped = 0
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
        let options: PageOptions
        var type: MetricType
    }

    /// The labels of series that have exemplars, and the exemplars of the page that is being read.
    private struct Exemplars {
        var known: [SeriesReference: Labels] = [:]
        var fresh: [FreshExemplar] = []
    }

    private static let refused = SeriesReference.max
    /// What `resolve` answers for a series that relabelling drops.
    static let dropped = SeriesReference.max - 1

    private static func isStored(_ reference: SeriesReference) -> Bool { reference != 0 && reference < dropped }

    private var page: [UInt8] = []
    private var lines: [Line] = []
    /// Whether the series of the previous page were marked stale since.
    private var isStale = false
    private var format = ExpositionFormat.text
    private var rest: Rest?
    /// Pages read while the store refused some of their series: now and then these are asked for again.
    private var refusals = 0
    /// Lines that took the slow way so far, each with a hash and a look-up.
    private(set) var parsedLines = 0
    /// What a page held that failed, up to the mistake.
    private(set) var failedSummary = Summary()
    private var exemplars = Exemplars()
    /// The code of all comments of the last page that was read, and what they say, until somebody takes it.
    private var commentCode: UInt32 = 0
    private var freshMetadata: [MetricMetadata]?
    /// Lines that are kept.
    var lineCount: Int { lines.count }

    /// Reads a page into the batch: its samples, then staleness markers of the series that are gone. `body` is
    /// exchanged for a buffer that can be used again. Of new lines about `slice` bytes are read. After an error the
    /// batch is not to be used.
    mutating func read(
        _ body: inout [UInt8], into batch: inout SampleBatch, _ options: PageOptions, slice: Int = .max,
        resolve: (inout [Label]) throws(PageError) -> SeriesReference?
    ) throws(PageError) -> Summary {
        abandon()
        let asksAgain = refusals > 0 && refusals % 16 == 0
        // What was good in one format need not be in another.
        let isComparable = options.format == format
        format = options.format
        if !body.isEmpty, body[body.count - 1] != 0x0A { body.append(0x0A) }
        var summary = Summary()
        var position = 0
        var index = 0
        try unsafe body.withUnsafeBufferPointer { (fresh) throws(PageError) in
            try unsafe page.withUnsafeBufferPointer { (old) throws(PageError) in
                guard let bytes = fresh.baseAddress else { return }
                let end = fresh.count
                while isComparable, position < end, index < lines.count {
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
                    do throws(PageError) {
                        try unsafe PageCache.readValue(
                            bytes, &position, end, &lines[index - 1], &batch, &exemplars, options, &summary)
                    } catch {
                        failedSummary = summary
                        throw error
                    }
                }
            }
        }
        if options.sampleLimit > 0, summary.samples - summary.dropped > options.sampleLimit {
            failedSummary = summary
            throw PageCache.overLimit(options)
        }
        guard position < body.count || index < lines.count else {
            try checkEnd(body, options, summary)
            finish(&body, summary)
            return summary
        }
        if options.format == .openMetrics, PageCache.isEnd(body, at: position) {
            failedSummary = summary
            throw PageError(
                unsafe body.withUnsafeBufferPointer {
                    unsafe PageCache.place(
                        ExpositionError(line: 0, column: 1, message: "text behind # EOF"), in: $0.baseAddress!,
                        at: position)
                })
        }
        let old = lines[index...]
        lines.removeLast(old.count)
        var rest = Rest(
            body: [], position: position, kept: index, old: old, used: Set(lines.lazy.map(\.reference)),
            summary: summary, options: options, type: typeAbove(body, options.format))
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
        resolve: (inout [Label]) throws(PageError) -> SeriesReference?
    ) throws(PageError) -> Summary {
        guard var rest = self.rest.take() else { preconditionFailure("there is no page to go on with") }
        do throws(PageError) {
            try readSlice(&rest, of: slice, into: &batch, resolve: resolve)
            if rest.position == rest.body.count { try checkEnd(rest.body, rest.options, rest.summary) }
        } catch {
            failedSummary = rest.summary
            if error.failure == .sampleLimit { failedSummary.samples += PageCache.samplesLeft(rest) }
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
            for line in rest.old where PageCache.isStored(line.reference) && !line.isTimed {
                if !rest.used.contains(line.reference) { batch.append(line.reference, SpecialValue.stale) }
            }
        }
        // The slices of the previous page go first, so that its buffer is the reader's alone.
        rest.known = [:]
        swap(&rest.body, &body)
        finish(&body, rest.summary)
        noteComments(rest.options.format)
        return rest.summary
    }

    private mutating func finish(_ body: inout [UInt8], _ summary: Summary) {
        isStale = false
        refusals = summary.refused > 0 ? refusals + 1 : 0
        swap(&page, &body)
    }

    /// Gives a page up that was not read to its end: what the previous one held is known again.
    private mutating func abandon() {
        exemplars.fresh.removeAll(keepingCapacity: true)
        guard case .some = rest else { return }
        if let rest = rest.take() { restore(rest) }
    }

    private mutating func restore(_ rest: Rest) { lines.replaceSubrange(rest.kept..., with: rest.old) }

    private static func readValue(
        _ bytes: UnsafePointer<UInt8>, _ position: inout Int, _ end: Int, _ line: inout Line,
        _ batch: inout SampleBatch, _ exemplars: inout Exemplars, _ options: PageOptions, _ summary: inout Summary
    ) throws(PageError) {
        let start = position
        guard let value = unsafe NumberParser.readValue(bytes, &position, end), unsafe bytes[position] <= 0x20 else {
            throw unsafe PageError(
                PageCache.place(
                    ExpositionError(line: 0, column: 1, message: "a number is expected"), in: bytes, at: start))
        }
        summary.samples += 1
        var timestamp: Int64?
        if unsafe bytes[position] == 0x0A {
            position += 1
        } else {
            var parser = unsafe LineParser(bytes: bytes, from: position, end: end, format: options.format)
            do throws(ExpositionError) {
                timestamp = try parser.timestampAndEnd()
                if parser.isAtExemplar {
                    try unsafe PageCache.takeExemplar(bytes, &parser, end, &line, &exemplars)
                }
            } catch {
                throw unsafe PageError(PageCache.place(error, in: bytes, at: position))
            }
            position = parser.offset
        }
        guard line.reference < PageCache.dropped else {
            if line.reference == PageCache.refused { summary.refused += 1 } else { summary.dropped += 1 }
            return
        }
        if let timestamp, options.honorsTimestamps {
            line.isTimed = !options.tracksTimestamped
            batch.append(line.reference, value, at: timestamp)
        } else {
            line.isTimed = false
            batch.append(line.reference, value)
        }
    }

    /// An exemplar is read when its bytes are not those that the line had before.
    private static func takeExemplar(
        _ bytes: UnsafePointer<UInt8>, _ parser: inout LineParser, _ end: Int, _ line: inout Line,
        _ exemplars: inout Exemplars
    ) throws(ExpositionError) {
        let start = parser.offset
        var stop = start
        while stop < end, unsafe bytes[stop] != 0x0A { stop += 1 }
        var code = CRC32C()
        unsafe code.add(UnsafeBufferPointer(start: bytes + start, count: stop - start).span.bytes)
        let known = max(1, code.value)
        if line.exemplarCode == known {
            parser.offset = min(stop + 1, end)
            return
        }
        let (labels, value, timestamp) = try parser.exemplar()
        line.exemplarCode = known
        let length = labels.reduce(0) { $0 + $1.name.unicodeScalars.count + $1.value.unicodeScalars.count }
        guard PageCache.isStored(line.reference), length <= Exemplar.labelLimit else { return }
        let key = Int(line.offset)..<Int(line.offset) + Int(line.keyCount)
        exemplars.fresh.append(
            FreshExemplar(
                reference: line.reference, key: key, type: line.type, labels: labels, value: value,
                timestamp: timestamp))
    }

    /// The exemplars of the page that was read last and that the page before did not have; `series` lays the target's
    /// labels over those of a line.
    mutating func takeExemplars(
        at moment: Timestamp, series: (inout [Label]) throws(PageError) -> Labels?
    ) -> [SeriesExemplar] {
        guard !exemplars.fresh.isEmpty else { return [] }
        if exemplars.known.count > lines.count { exemplars.known = [:] }
        var taken: [SeriesExemplar] = []
        for one in exemplars.fresh {
            var labels = exemplars.known[one.reference]
            if labels == nil {
                labels = unsafe page.withUnsafeBufferPointer { buffer in
                    // The line was read before: neither call can fail now.
                    var parser = unsafe LineParser(
                        bytes: buffer.baseAddress!, from: one.key.lowerBound, end: buffer.count)
                    guard var scraped = try? parser.series() else { return nil }
                    BucketBound.normalize(&scraped, of: one.type)
                    return try? series(&scraped)
                }
            }
            guard let labels else { continue }
            exemplars.known[one.reference] = labels
            let at = one.timestamp.map { Timestamp(milliseconds: $0) } ?? moment
            taken.append(
                SeriesExemplar(
                    reference: one.reference, series: labels,
                    exemplar: Exemplar(labels: Labels(one.labels), value: one.value, timestamp: at)))
        }
        exemplars.fresh.removeAll(keepingCapacity: true)
        return taken
    }

    /// Some lines of the page from the first that differs: known ones are found by a hash, others are parsed.
    private mutating func readSlice(
        _ rest: inout Rest, of slice: Int, into batch: inout SampleBatch,
        resolve: (inout [Label]) throws(PageError) -> SeriesReference?
    ) throws(PageError) {
        let body = rest.body
        let stop = slice < body.count - rest.position ? rest.position + slice : body.count
        try unsafe body.withUnsafeBufferPointer { (buffer) throws(PageError) in
            guard let bytes = buffer.baseAddress else { return }
            while rest.position < stop {
                let start = rest.position
                do throws(PageError) {
                    guard var line = try unsafe PageCache.key(bytes, &rest, buffer.count) else {
                        addComment(start..<rest.position)
                        continue
                    }
                    parsedLines += 1
                    if let known = rest.known[body[start..<rest.position]], rest.old[known].type == line.type {
                        line.reference = rest.old[known].reference
                        line.exemplarCode = rest.old[known].exemplarCode
                    } else {
                        var parser = unsafe LineParser(
                            bytes: bytes, from: start, end: buffer.count, format: rest.options.format)
                        var labels: [Label]
                        do throws(ExpositionError) { labels = try parser.series() } catch { throw PageError(error) }
                        BucketBound.normalize(&labels, of: line.type)
                        line.reference = try resolve(&labels) ?? PageCache.refused
                        if PageCache.isStored(line.reference) { rest.summary.added += 1 }
                    }
                    let limit = rest.options.sampleLimit
                    if limit > 0, line.reference != PageCache.dropped,
                        rest.summary.samples - rest.summary.dropped >= limit
                    {
                        throw PageCache.overLimit(rest.options)
                    }
                    try unsafe PageCache.readValue(
                        bytes, &rest.position, buffer.count, &line, &batch, &exemplars, rest.options, &rest.summary)
                    lines.append(line)
                    rest.used.insert(line.reference)
                } catch {
                    guard error.error.line == 0, error.error.column > 0 else { throw error }
                    var placed = error
                    placed.error = unsafe PageCache.place(error.error, in: bytes, at: start)
                    throw placed
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
        _ bytes: UnsafePointer<UInt8>, _ rest: inout Rest, _ end: Int
    ) throws(PageError) -> Line? {
        let start = rest.position
        var parser = unsafe LineParser(bytes: bytes, from: start, end: end, format: rest.options.format)
        parser.skipBlanks()
        if parser.isAtLineEnd, rest.options.format == .text {
            rest.position = min(parser.offset + 1, end)
            return nil
        }
        do throws(ExpositionError) {
            if unsafe bytes[parser.offset] == 0x23 {
                let comment = try parser.comment()
                if comment.kind == .type { rest.type = comment.type }
                rest.position = parser.offset
                if comment.kind == .end, rest.position < end {
                    rest.position = start
                    throw unsafe place(
                        ExpositionError(line: 0, column: 1, message: "text behind # EOF"), in: bytes, at: parser.offset)
                }
                return nil
            }
            _ = try parser.series()
        } catch {
            throw PageError(error)
        }
        rest.position = parser.offset
        return Line(
            offset: UInt32(start), keyCount: UInt32(rest.position - start), reference: 0, type: rest.type)
    }

    // MARK: The page's end

    private static let mark = Array("# EOF\n".utf8)

    /// Whether the line that ends before `position` is `# EOF`.
    private static func isEnd(_ body: [UInt8], at position: Int) -> Bool {
        guard position >= mark.count, position == mark.count || body[position - mark.count - 1] == 0x0A else {
            return false
        }
        for index in 0..<mark.count where body[position - mark.count + index] != mark[index] { return false }
        return true
    }

    /// An OpenMetrics page that is cut off lacks its last line.
    private mutating func checkEnd(_ body: [UInt8], _ options: PageOptions, _ summary: Summary) throws(PageError) {
        guard options.format == .openMetrics, !PageCache.isEnd(body, at: body.count) else { return }
        failedSummary = summary
        throw PageError(
            ExpositionError(
                line: body.reduce(into: 1) { if $1 == 0x0A { $0 += 1 } }, column: 1,
                message: "the page does not end with # EOF"))
    }

    private static func overLimit(_ options: PageOptions) -> PageError {
        PageError(.sampleLimit, "more samples than sample_limit, \(options.sampleLimit); raise it or expose less")
    }

    /// Lines of samples behind the place where reading ended.
    private static func samplesLeft(_ rest: Rest) -> Int {
        rest.body[rest.position...].split(separator: 0x0A).count { $0.first != 0x23 }
    }

    // MARK: Metadata

    /// The type that is in force behind the lines that are kept, which begin the body.
    private func typeAbove(_ body: [UInt8], _ format: ExpositionFormat) -> MetricType {
        for line in lines.reversed() where line.reference == 0 {
            var found: MetricType?
            PageCache.eachComment(of: line, in: body, format) { comment, _ in
                if comment.kind == .type { found = comment.type }
            }
            if let found { return found }
        }
        return .unknown
    }

    /// The comments of a block of a page; as they were read before, none is wrong.
    private static func eachComment(
        of line: Line, in page: [UInt8], _ format: ExpositionFormat, _ visit: (LineParser.Comment, LineParser) -> Void
    ) {
        unsafe page.withUnsafeBufferPointer { buffer in
            guard let bytes = buffer.baseAddress else { return }
            var position = Int(line.offset)
            let end = position + Int(line.keyCount)
            while position < end {
                var parser = unsafe LineParser(bytes: bytes, from: position, end: end, format: format)
                parser.skipBlanks()
                if parser.isAtLineEnd {
                    position = parser.offset + 1
                    continue
                }
                guard let comment = try? parser.comment() else { return }
                visit(comment, parser)
                position = parser.offset
            }
        }
    }

    /// Reads what the comments of the page say when they are not those of the page before.
    private mutating func noteComments(_ format: ExpositionFormat) {
        var code = CRC32C()
        unsafe page.withUnsafeBufferPointer { bytes in
            for line in lines where line.reference == 0 {
                let range = Int(line.offset)..<Int(line.offset) + Int(line.keyCount)
                unsafe code.add(UnsafeBufferPointer(rebasing: bytes[range]).span.bytes)
            }
        }
        guard code.value != commentCode else { return }
        commentCode = code.value
        var metadata: [MetricMetadata] = []
        var places: [ByteText: Int] = [:]
        for line in lines where line.reference == 0 {
            PageCache.eachComment(of: line, in: page, format) { comment, parser in
                guard comment.kind != .other, comment.kind != .end else { return }
                let name = parser.name(of: comment)
                let place = places[ByteText(name)] ?? metadata.count
                if place == metadata.count {
                    places[ByteText(name)] = place
                    metadata.append(MetricMetadata(metric: name))
                }
                switch comment.kind {
                case .type: metadata[place].type = comment.type
                case .help: metadata[place].help = parser.text(of: comment)
                default: metadata[place].unit = parser.text(of: comment)
                }
            }
        }
        freshMetadata = metadata
    }

    /// What the last page said of its metrics, once; nil while that is what was taken before.
    mutating func takeMetadata() -> [MetricMetadata]? { freshMetadata.take() }

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
        for line in lines where PageCache.isStored(line.reference) && !line.isTimed {
            batch.append(line.reference, SpecialValue.stale)
        }
    }

    /// Forgets the page.
    mutating func reset() {
        rest = nil
        page = []
        lines = []
        exemplars = Exemplars()
        isStale = false
    }
}
