public import Basics

/// A place in the store's log: where a record begins, or the log ends.
public struct LogPosition: Sendable, Hashable, Comparable {
    /// The segment's number, and bytes from its beginning.
    public var segment: Int, offset: Int

    /// A place by its parts.
    public init(segment: Int, offset: Int = 0) { (self.segment, self.offset) = (segment, offset) }

    /// The earlier one is less.
    public static func < (left: LogPosition, right: LogPosition) -> Bool {
        (left.segment, left.offset) < (right.segment, right.offset)
    }
}

/// What one record of the log says, as far as others than the store have a use for it.
public struct LogRecord: Sendable {
    /// What a record holds.
    public enum Content: Sendable {
        /// Series with the numbers that later records name them by.
        case series([(reference: SeriesReference, labels: Labels)])
        /// Samples, in the order they were stored.
        case samples(LoggedSamples)
        /// Exemplars of series.
        case exemplars([(reference: SeriesReference, exemplar: Exemplar)])
    }
    /// Where it begins.
    public var position: LogPosition
    /// What it holds.
    public var content: Content

    /// A record by its parts.
    public init(at position: LogPosition, _ content: Content) { (self.position, self.content) = (position, content) }
}

/// The samples of one record, in columns.
public struct LoggedSamples: Sendable {
    /// The series, beside `times` and `values`.
    public var references: [SeriesReference] = []
    /// Milliseconds since the Unix epoch.
    public var times: [Int64] = []
    /// The values, staleness markers included.
    public var values: [Double] = []

    /// No samples.
    public init() {}
}

/// A piece of the log.
public struct LogPortion: Sendable {
    /// Whole records, in the order they were written.
    public var records: [LogRecord] = []
    /// Where to read on.
    public var end: LogPosition
    /// Whether the log ends there for now.
    public var isLast = false
    /// Segments that were removed before they were read: what they held is missing.
    public var missedSegments = 0
    /// Why a piece of the log was passed over, if one was.
    public var damage: String?

    /// Nothing yet.
    public init(end: LogPosition) { self.end = end }
}

/// The store's log as others read it while it grows: those who send samples on. A reader keeps its place itself.
public protocol LogTail: Sendable {
    /// The place behind the newest whole record.
    var logEnd: LogPosition { get }
    /// The time of the newest sample in the store, in milliseconds; nil without any.
    var newestSampleTime: Int64? { get }
    /// How late samples may come that the store takes; 0: of a series each is newer than the one before.
    var lateWindow: Milliseconds { get }
    /// The segment that the newest checkpoint reaches to; nil without one.
    func newestCheckpoint() throws(FileError) -> Int?

    /// Reads on from a place, about `limit` bytes of the log and at least one record. Blocks.
    func readLog(from position: LogPosition, limit: Int) throws(FileError) -> LogPortion

    /// Every series that the log names before a place, from the newest checkpoint on; of a reference that is named
    /// twice the later one counts. With `checkpointOnly` what the checkpoint names. Blocks, about a second for a
    /// gigabyte.
    func readSeries(
        before position: LogPosition, checkpointOnly: Bool, _ take: (SeriesReference, Labels) -> Void
    ) throws(FileError)

    /// Keeps the log from a segment on for a reader, by its name, as far as the store's bound for that goes; nil: it
    /// needs none of it any more.
    func holdLog(from segment: Int?, for reader: String)
}

extension LogTail {
    /// None come late.
    public var lateWindow: Milliseconds { 0 }
}
