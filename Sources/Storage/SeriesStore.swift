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
        /// The newest sample's time in each segment.
        var newest: [Int: Int64] = [:]
        /// The log of late samples, once there are any, and its last segment.
        var late: LogWriter?
        var lateSegment = -1
        /// Whether that log may have segments with samples that are in blocks, or were deleted.
        var hasStaleLate = false

        init(writer: consuming LogWriter, lateSegment: Int) {
            self.writer = writer
            self.lateSegment = lateSegment
        }

        mutating func note(_ time: Int64, in segment: Int) { newest[segment] = max(newest[segment] ?? .min, time) }
    }

    let head: Mutex<Head>
    let log: Mutex<LogState>
    let exemplarRing: Mutex<ExemplarRing>
    let chunkFiles: HeadChunkFiles
    let shelf: BlockShelf
    /// Held by whoever cuts, compacts, deletes or copies blocks.
    let upkeep = Mutex(Upkeep())
    /// What last went wrong with a block.
    let lastDefect = Mutex<BlockDefect?>(nil)
    /// What queries found wrong with chunks of the head, and was told.
    let toldDefects = Mutex<Set<BlockDefect>>([])
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
    /// The last segment of the log of late samples that an earlier run wrote.
    let lastLateSegment: Int

    /// Opens the store in `directory`, made when missing. It takes samples at once, and knows those of earlier runs
    /// after `replayLog`.
    public init(
        directory: String, settings: StorageSettings, files: any FileSystem, clock: any TimeSource
    ) throws(StorageError) {
        (self.settings, self.clock, self.files, self.directory) = (settings, clock, files, directory)
        shelf = BlockShelf(directory: directory, files: files, clock: clock)
        do throws(FileError) {
            try files.createDirectory(directory)
            guard let taken = try files.lock("\(directory)/lock") else {
                throw FileError(operation: "lock", path: directory, code: 0)
            }
            lock = taken
            let (wal, wbl) = ("\(directory)/wal", "\(directory)/wbl")
            try files.createDirectory(wal)
            let segments = try LogReplay.segments(in: wal, files)
            let late = try files.attributes(of: wbl) == nil ? [] : LogReplay.segments(in: wbl, files)
            firstSegment = (segments.last ?? -1) + 1
            lastLateSegment = late.last ?? -1
            progress = Mutex(ReplayProgress(first: segments.first ?? 0, last: segments.last ?? 0))
            chunkFiles = try HeadChunkFiles(directory: "\(directory)/chunks_head", files: files)
            try shelf.open()
            log = Mutex(
                LogState(
                    writer: try LogWriter(directory: wal, files: files, segment: firstSegment),
                    lateSegment: late.last ?? -1))
        } catch {
            throw error.operation == "lock" && error.code == 0 ? .locked(directory: directory) : .file(error)
        }
        var fresh = Head(asBesideOfRun: firstSegment)
        fresh.lateWindow = settings.lateWindow
        // What would be let go at once is not taken.
        _ = fresh.forget(before: clock.now().milliseconds - settings.retention)
        // What is in blocks is not to be written a second time.
        if let cut = shelf.headCut { fresh.refuse(before: cut) }
        head = Mutex(fresh)
        exemplarRing = Mutex(ExemplarRing(capacity: settings.maximumExemplars))
    }

    // MARK: Upkeep

    /// Syncs the log to the disk: call it every `syncInterval`. Whether all that was written is there now.
    @discardableResult
    public func synchronizeLog() -> Bool {
        let (earlier, late, lateFile) = log.withLock { log in
            // A statement each: the writers are not to be copied.
            (log.writer.unsynced, log.late?.unsynced ?? [], log.late?.currentFile)
        }
        let work = log.withLock { log -> (file: any File, size: Int, segment: Int)? in
            let (size, segment) = (log.writer.segmentSize, log.writer.segment)
            return (segment, size) == (log.syncedSegment, log.syncedSize) && earlier.isEmpty && late.isEmpty
                ? nil : (log.writer.currentFile, size, segment)
        }
        guard let work else { return true }
        let started = clock.uptimeNanoseconds()
        do throws(FileError) {
            for file in earlier + late { try file.synchronize() }
            try work.file.synchronize()
            try lateFile?.synchronize()
            log.withLock { log in
                (log.syncedSize, log.syncedSegment) = (work.size, work.segment)
                log.writer.didSynchronize(earlier.count)
                log.late?.didSynchronize(late.count)
            }
            figures.syncNanoseconds.add(Int(clock.uptimeNanoseconds() - started))
            figures.syncs.add()
            return true
        } catch {
            figures.logFailures.add()
            // The kernel may have dropped what it could not write, and will not say so again: begin anew.
            log.withLock { $0.isBroken = true }
            return false
        }
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
        let size = settings.retentionBytes == 0 ? "" : " and \(settings.retentionBytes >> 20) MiB, whichever is less"
        return "history is kept for \(DurationText.format(settings.retention))\(size)"
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
    let late = Counter(), cuts = Counter(), compactions = Counter(), blockFailures = Counter()
    let blocksRemoved = Counter(), storedChunks = Counter(), chunkFailures = Counter()
}
