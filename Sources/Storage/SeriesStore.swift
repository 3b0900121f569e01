public import Basics
internal import Model
internal import Synchronization

/// The store: series in memory with Prometheus' log beneath. Batches come in, columns go out.
///
/// A batch is in the log, which means in the kernel's hands, before `append` returns: `kill -9` loses nothing of it; a
/// loss of power loses at most `StorageSettings.syncInterval`. When the disk refuses the log, samples are kept in
/// memory all the same, since alerting must go on; the figures tell, and the series are logged anew when the disk is
/// back.
public final class SeriesStore: Sendable {
    struct LogState: ~Copyable {
        var writer: LogWriter
        /// Series that the log does not know yet.
        var pending: [(reference: SeriesReference, labels: Labels)] = []
        var record: [UInt8] = []
        var isBroken = false
        /// A broken log is tried again no sooner, by the steady clock.
        var retryNanoseconds: UInt64 = 0
        var syncedSize = 0
        var syncedSegment = -1
    }

    let head: Mutex<Head>
    let log: Mutex<LogState>
    let exemplarRing: Mutex<ExemplarRing>
    let figures = StorageFigures()
    let holds = LogHolds()
    let settings: StorageSettings
    let clock: any TimeSource
    let files: any FileSystem
    let directory: String
    private let lock: any FileLock
    let progress: Mutex<ReplayProgress>
    /// The first segment that this run writes.
    let firstSegment: Int

    /// Opens the store in `directory`, made when missing. It takes samples at once, and knows those of earlier runs
    /// after `replayLog`.
    public init(
        directory: String, settings: StorageSettings, files: any FileSystem, clock: any TimeSource
    ) throws(StorageError) {
        (self.settings, self.clock, self.files, self.directory) = (settings, clock, files, directory)
        let writer: LogWriter
        do throws(FileError) {
            try files.createDirectory(directory)
            guard let taken = try files.lock("\(directory)/lock") else {
                throw FileError(operation: "lock", path: directory, code: 0)
            }
            lock = taken
            let wal = "\(directory)/wal"
            try files.createDirectory(wal)
            let segments = try LogReplay.segments(in: wal, files)
            firstSegment = (segments.last ?? -1) + 1
            writer = try LogWriter(directory: wal, files: files, segment: firstSegment)
            progress = Mutex(ReplayProgress(first: segments.first ?? 0, last: segments.last ?? 0))
        } catch {
            throw error.operation == "lock" && error.code == 0 ? .locked(directory: directory) : .file(error)
        }
        head = Mutex(Head(asBeside: true))
        exemplarRing = Mutex(ExemplarRing(capacity: settings.maximumExemplars))
        log = Mutex(LogState(writer: writer))
    }

    // MARK: Upkeep

    /// Syncs the log to the disk: call it every `syncInterval`.
    public func synchronizeLog() {
        let work = log.withLock { log -> (file: any File, size: Int, segment: Int)? in
            let (size, segment) = (log.writer.segmentSize, log.writer.segment)
            return (segment, size) == (log.syncedSegment, log.syncedSize)
                ? nil : (log.writer.currentFile, size, segment)
        }
        guard let work else { return }
        let started = clock.uptimeNanoseconds()
        do throws(FileError) {
            try work.file.synchronize()
            log.withLock { ($0.syncedSize, $0.syncedSegment) = (work.size, work.segment) }
            figures.syncNanoseconds.add(Int(clock.uptimeNanoseconds() - started))
            figures.syncs.add()
        } catch {
            figures.logFailures.add()
            // The kernel may have dropped what it could not write, and will not say so again: begin anew.
            log.withLock { $0.isBroken = true }
        }
    }

    /// Lets go of what is too old or too much, in memory and in the log: call it every minute.
    public func forgetOld() {
        var bound = clock.now().milliseconds - settings.maximumAge
        while true {
            let excess = head.withLock { head in
                figures.forgottenChunks.add(head.forget(before: bound))
                return head.chunkBytes > settings.maximumBytes && bound < head.maximumTime - 60_000
            }
            guard excess else { break }
            // Too large in bytes: give up an eighth of the time that is kept, and look again.
            let newest = head.withLock { $0.maximumTime }
            bound += max(1000, (newest - bound) / 8)
            figures.forcedForgets.add()
        }
        // What is still to be read stays.
        if replay.state == .done { forgetSegments(before: bound) }
    }

    /// How often the log is to be synced.
    public var syncInterval: Milliseconds { settings.syncInterval }

    /// What is in memory now. O(series).
    public var bounds: StorageBounds {
        let (series, inside) = head.withLock { ($0.liveCount, $0.bounds()) }
        let oldest = inside.times.map { Timestamp(milliseconds: $0.lowerBound) }
        let newest = inside.times.map { Timestamp(milliseconds: $0.upperBound) }
        return StorageBounds(series: series, chunks: inside.chunks, oldest: oldest, newest: newest)
    }

    /// The bounds in words, for the daemon's first lines.
    public var boundsText: String {
        "history is kept for \(DurationText.format(settings.maximumAge)) and \(settings.maximumBytes >> 20) MiB of chunks,"
            + " whichever is less"
    }
}

/// How much is in memory, and of what time.
public struct StorageBounds: Sendable, Hashable {
    /// Series, and their chunks with the open ones.
    public var series: Int, chunks: Int
    /// The times of the first and of the last sample; nil without any.
    public var oldest: Timestamp?, newest: Timestamp?
}

/// Counts of the store.
final class StorageFigures: Sendable {
    let stored = Counter(), duplicates = Counter(), outOfOrder = Counter(), outOfBounds = Counter()
    let refusedSeries = Counter(), logFailures = Counter(), logRecords = Counter(), unloggedSamples = Counter()
    let forgottenChunks = Counter(), forcedForgets = Counter(), syncs = Counter(), syncNanoseconds = Counter()
    let checkpoints = Counter()
    let exemplars = Counter(), outOfOrderExemplars = Counter(), longExemplars = Counter(), unloggedExemplars = Counter()
    let deletions = Counter()
}
