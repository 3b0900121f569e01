public import Basics
public import Model
internal import Synchronization

/// Who still reads the log, and from which segment on. What they need stays, up to a bound.
final class LogHolds: Sendable {
    private let segments = Mutex<[String: Int]>([:])
    /// Segments that were let go although somebody needed them.
    let lost = Counter()

    func set(_ segment: Int?, for reader: String) { segments.withLock { $0[reader] = segment } }

    /// The first segment that anybody needs; nil: nobody needs any.
    var oldest: Int? { segments.withLock { $0.values.min() } }
    var readers: Int { segments.withLock { $0.count } }
}

extension SeriesStore {
    /// The first segment that a reader of the log still needs, of the newest ones that together are no larger than
    /// `StorageSettings.maximumBacklog`; nil: none is needed. Whoever removes segments leaves those from it on, and
    /// what a checkpoint takes away is of those before it.
    func oldestSegmentNeeded() -> Int? {
        guard let oldest = holds.oldest else { return nil }
        let current = log.withLock { $0.writer.segment }
        var (kept, room) = (current, settings.maximumBacklog)
        while kept > oldest {
            // What cannot be looked at counts as a whole segment.
            room -= (try? files.attributes(of: segmentPath(kept - 1)))?.size ?? LogFormat.segmentBytes
            guard room >= 0 else { break }
            kept -= 1
        }
        return kept
    }

    /// Counts the segments below `first` that are about to go and that a reader has not read.
    func noteLostSegments(below first: Int) {
        guard let oldest = holds.oldest, oldest < first else { return }
        holds.lost.add(first - oldest)
    }

    func segmentPath(_ segment: Int) -> String { "\(directory)/wal/\(LogFormat.segmentName(segment))" }
}

extension SeriesStore: LogTail {
    /// See `LogTail`.
    public var logEnd: LogPosition {
        log.withLock { LogPosition(segment: $0.writer.segment, offset: $0.writer.segmentSize) }
    }

    /// See `LogTail`.
    public var newestSampleTime: Int64? {
        head.withLock { $0.maximumTime == .min ? nil : $0.maximumTime }
    }

    /// See `LogTail`.
    public var lateWindow: Milliseconds { settings.lateWindow }

    /// See `LogTail`.
    public func newestCheckpoint() throws(FileError) -> Int? {
        try files.list("\(directory)/wal").compactMap { LogFormat.checkpointNumber($0) }.max()
    }

    /// See `LogTail`.
    public func holdLog(from segment: Int?, for reader: String) { holds.set(segment, for: reader) }

    /// See `LogTail`.
    public func readLog(from position: LogPosition, limit: Int) throws(FileError) -> LogPortion {
        let newest = logEnd
        var portion = LogPortion(end: min(position, newest))
        guard portion.end < newest else {
            portion.isLast = true
            return portion
        }
        let segment = portion.end.segment
        let isCurrent = segment == newest.segment
        guard try files.attributes(of: segmentPath(segment)) != nil else {
            let names = try files.list("\(directory)/wal")
            let next = names.compactMap { LogFormat.segmentNumber($0) }.first { $0 > segment } ?? newest.segment
            portion.missedSegments = next - segment
            portion.end = LogPosition(segment: next)
            return portion
        }
        var window = LogWindow(file: try files.open(segmentPath(segment), .read), from: portion.end.offset)
        window.end = isCurrent ? newest.offset : try window.file.size()
        let tear = try window.read(limit) { offset, record in
            if let content = LogRecord.Content(record) {
                portion.records.append(LogRecord(at: LogPosition(segment: segment, offset: offset), content))
            }
        }
        portion.end.offset = window.offset
        if let tear { portion.damage = "\(segmentPath(segment)): \(tear.reason) at byte \(tear.offset)" }
        if tear != nil || window.offset >= window.end {
            // Behind a tear nothing of the segment can be told; of the one being written what comes next can.
            portion.end = isCurrent ? newest : LogPosition(segment: segment + 1)
        }
        portion.isLast = portion.end >= newest
        return portion
    }

    /// See `LogTail`.
    public func readSeries(
        before position: LogPosition, checkpointOnly: Bool, _ take: (SeriesReference, Labels) -> Void
    ) throws(FileError) {
        let wal = "\(directory)/wal"
        let names = try files.list(wal)
        let checkpoint = names.compactMap { LogFormat.checkpointNumber($0) }.max()
        if let checkpoint {
            let folder = "\(wal)/checkpoint.\(LogFormat.segmentName(checkpoint))"
            for name in try files.list(folder) {
                var window = LogWindow(file: try files.open("\(folder)/\(name)", .read), from: 0)
                window.end = try window.file.size()
                try window.readSeries(take)
            }
        }
        if checkpointOnly { return }
        for segment in names.compactMap({ LogFormat.segmentNumber($0) })
        where segment > checkpoint ?? -1 && segment <= position.segment {
            var window = LogWindow(file: try files.open("\(wal)/\(LogFormat.segmentName(segment))", .read), from: 0)
            let size = try window.file.size()
            window.end = segment == position.segment ? min(size, position.offset) : size
            try window.readSeries(take)
        }
    }
}

/// Reads a segment piece by piece, so that no more than a piece of it is in memory.
struct LogWindow {
    let file: any File
    /// Behind the last whole record that was read.
    private(set) var offset: Int
    /// Where the segment ends, as far as it may be read.
    var end = 0

    init(file: any File, from offset: Int) { (self.file, self.offset) = (file, offset) }

    /// Reads about `limit` bytes of records and at least one; tells each with its offset. Answers where the segment is
    /// damaged, if it is.
    mutating func read(
        _ limit: Int, _ body: (_ offset: Int, _ record: [UInt8]) -> Void
    ) throws(FileError) -> LogReader.Tear? {
        var size = limit
        while offset < end {
            // Fragments are told by their place in a page, so the piece begins with one.
            let base = offset / LogFormat.pageBytes * LogFormat.pageBytes
            let bytes = try file.read(at: base, count: min(end, offset + size) - base)
            var reader = LogReader(bytes, from: offset - base)
            let begin = offset
            var start = offset
            while let record = reader.next() {
                body(start, record)
                start = base + reader.wholeEnd
            }
            let isWhole = base + bytes.count >= end
            guard let tear = reader.tear else {
                // Whole to the end of the piece, but for padding.
                offset = base + bytes.count
                return nil
            }
            offset = start
            if isWhole { return LogReader.Tear(offset: base + tear.offset, reason: tear.reason) }
            if offset > begin { return nil }
            // A record longer than the piece, or a tear within it: the whole rest tells.
            size = size > LogFormat.segmentBytes / 4 ? end - offset : 4 * size
        }
        return nil
    }

    mutating func readSeries(_ take: (SeriesReference, Labels) -> Void) throws(FileError) {
        while offset < end {
            let tear = try read(1 << 20) { _, record in
                guard record.first == LogFormat.Record.series.rawValue,
                    case .series(let series) = LogRecord.Content(record)
                else { return }
                for (reference, labels) in series { take(reference, labels) }
            }
            if tear != nil { return }
        }
    }
}

extension LogFormat {
    /// The number in a segment's name; nil for other names.
    static func segmentNumber(_ name: String) -> Int? { name.count == 8 ? Int(name) : nil }
    /// The number in a checkpoint's name; nil for other names.
    static func checkpointNumber(_ name: String) -> Int? {
        name.hasPrefix("checkpoint.") ? Int(name.dropFirst(11)) : nil
    }
}

extension LogRecord.Content {
    /// What a record's bytes say; nil for what nobody else has a use for, and for a record that ends too early.
    init?(_ record: [UInt8]) {
        switch record.first.flatMap(LogFormat.Record.init(rawValue:)) {
        case .series:
            guard let series = LogRecord.Content.series(record) else { return nil }
            self = .series(series)
        case .samples:
            guard let samples = LogRecord.Content.samples(record) else { return nil }
            self = .samples(samples)
        case .exemplars:
            guard let exemplars = LogRecord.Content.exemplars(record) else { return nil }
            self = .exemplars(exemplars)
        default: return nil
        }
    }

    private static func series(_ record: [UInt8]) -> [(reference: SeriesReference, labels: Labels)]? {
        var decoder = RecordDecoder(record, from: 1)
        var series: [(reference: SeriesReference, labels: Labels)] = []
        while decoder.hasMore {
            let reference = decoder.uint64()
            series.append((reference, decoder.labels()))
        }
        return decoder.isBroken ? nil : series
    }

    private static func samples(_ record: [UInt8]) -> LoggedSamples? {
        var samples = LoggedSamples()
        var decoder = RecordDecoder(record, from: 1)
        guard decoder.hasMore else { return samples }
        let (reference, time) = (decoder.uint64(), Int64(bitPattern: decoder.uint64()))
        let capacity = (record.count - decoder.offset) / 10
        samples.references.reserveCapacity(capacity)
        samples.times.reserveCapacity(capacity)
        samples.values.reserveCapacity(capacity)
        while decoder.hasMore {
            samples.references.append(UInt64(bitPattern: Int64(bitPattern: reference) &+ decoder.varint()))
            samples.times.append(time &+ decoder.varint())
            samples.values.append(Double(bitPattern: decoder.uint64()))
        }
        return decoder.isBroken ? nil : samples
    }

    private static func exemplars(_ record: [UInt8]) -> [(reference: SeriesReference, exemplar: Exemplar)]? {
        var exemplars: [(reference: SeriesReference, exemplar: Exemplar)] = []
        var decoder = RecordDecoder(record, from: 1)
        guard decoder.hasMore else { return exemplars }
        let (first, base) = (decoder.uint64(), Int64(bitPattern: decoder.uint64()))
        while decoder.hasMore {
            let reference = UInt64(bitPattern: Int64(bitPattern: first) &+ decoder.varint())
            let time = Timestamp(milliseconds: base &+ decoder.varint())
            let value = Double(bitPattern: decoder.uint64())
            exemplars.append((reference, Exemplar(labels: decoder.labels(), value: value, timestamp: time)))
        }
        return decoder.isBroken ? nil : exemplars
    }
}
