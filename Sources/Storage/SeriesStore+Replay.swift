internal import Basics
internal import Model
internal import Synchronization

/// How far the reading of an older run's log is.
public struct ReplayProgress: Sendable, Hashable {
    /// Where it stands.
    public enum State: String, Sendable, Hashable {
        case waiting
        case underWay = "in progress"
        case done
    }
    /// Where it stands.
    public var state = State.waiting
    /// The first and the last segment that are read, and the one that is being read; 0 without any.
    public var first = 0, last = 0, current = 0
    /// What was found so far; whole when it is done.
    public var report = ReplayReport()
    /// Why the log could not be read, if it could not.
    public var failure: String?

    /// Nothing found yet.
    public init(_ state: State = .waiting, first: Int = 0, last: Int = 0) {
        (self.state, self.first, self.last, current) = (state, first, last, first)
    }
}

extension SeriesStore {
    /// How far the reading of the log is.
    public var replay: ReplayProgress { progress.withLock { $0 } }

    /// Reads the log of earlier runs and puts it under what came since, in one step: until then the store knows only
    /// what was appended in this run. Call it once, from a thread that may be busy: about a second for every few
    /// million samples. Appending is held up only at the end, for about a microsecond a series.
    public func replayLog() {
        progress.withLock { $0.state = .underWay }
        let older = ReplayedHead()
        var exemplars = ExemplarRing(capacity: settings.maximumExemplars)
        let cut = shelf.headCut ?? .min
        let oldest = max(cut, clock.now().milliseconds - settings.retention)
        do throws(FileError) {
            let (stored, repairs) = try loadChunks(oldest: oldest)
            let replay = LogReplay(
                directory: "\(directory)/wal", files: files, through: firstSegment - 1, stored: stored,
                lateDirectory: "\(directory)/wbl", lateThrough: lastLateSegment)
            let (report, newest, failure) = try older.head.withLock { (head) throws(FileError) in
                head.lateWindow = settings.lateWindow
                head.refuse(before: cut)
                return try replay.run(into: &head, exemplars: &exemplars, oldest: oldest) { segment in
                    progress.withLock { $0.current = segment }
                }
            }
            progress.withLock { progress in
                progress.report = report
                progress.report.repairs += repairs
            }
            // What could not be read is as new as can be, and stays until the head is cut beyond it.
            let latest = clock.now().milliseconds + settings.maximumAhead
            log.withLock { $0.newest.merge(newest.mapValues { $0 == .max ? latest : $0 }) { $1 } }
            if let failure { progress.withLock { $0.failure = "\(failure.path): \(failure.reason)" } }
        } catch {
            // Of what could not be read nothing may go.
            log.withLock { log in for segment in 0..<firstSegment { log.newest[segment] = .max } }
            progress.withLock { $0.failure = "\(error.path): \(error.reason)" }
        }
        // Under the log's lock: nobody may append by a reference before the log knows it.
        var taken = SampleBatch(timestamp: Timestamp(milliseconds: 0))
        let late = log.withLock { log in
            head.withLock { head in
                older.head.withLock { replayed in
                    let late = replayed.absorb(&head, late: &taken)
                    log.pending += replayed.takeUnlogged()
                    swap(&head, &replayed)
                    return late
                }
            }
        }
        if taken.count > 0 { _ = logLate(taken) }
        head.withLock { $0.keepForReaders(older) }
        exemplarRing.withLock { ring in
            exemplars.take(ring)
            ring = exemplars
        }
        progress.withLock { progress in
            progress.report.staleSamples += late
            progress.state = .done
        }
        // What is broken in a block is told at the start, and not only to who asks for that time.
        for block in shelf.blocks {
            do throws(BlockDefect) { _ = try block.index } catch { block.report(error) }
        }
    }
}

extension SeriesStore {
    /// What earlier runs stored of closed chunks. It is in the log too, so a file that cannot be read costs time alone.
    private func loadChunks(oldest: Int64) throws(FileError) -> (
        chunks: [SeriesReference: HeadChunkFiles.Stored], repairs: [String]
    ) {
        do throws(FileError) { return try chunkFiles.load(oldest: oldest) } catch {
            return ([:], ["\(error.path): cannot \(error.operation): \(error.reason); the log is read instead"])
        }
    }
}

/// The head that the log is read into; afterwards that which it took the place of, while somebody reads its chunks.
final class ReplayedHead: Sendable {
    let head = Mutex(Head())
}

// Safe: a head owns its memory alone, as a value that is never copied.
extension Head: @unchecked Sendable {}

extension Head {
    /// Takes over everything of a head that was filled beside this one. Its references stay good: they are known as
    /// aliases from then on. Answers how many of its samples are not newer than what is here; those that are not too
    /// old for it are late ones from then on, and are told so that they are logged as such.
    mutating func absorb(_ other: inout Head, late accepted: inout SampleBatch) -> Int {
        var late = 0
        var table: [(generation: UInt32, reference: SeriesReference)] = Array(
            repeating: (0, 0), count: other.series.count)
        for slot in other.series.indices where other.series[slot].isLive {
            let labels = other.labels(at: slot)
            let hash = SeriesIndex.hash(labels)
            let reference = find(labels, hash: hash) ?? createUnlogged(labels, hash: hash)
            table[slot] = (other.series[slot].generation, reference)
            if let samples = other.late[UInt32(slot)] {
                for (time, value) in zip(samples.times, samples.values) {
                    _ = enterLate(Head.slot(reference), time, value)
                }
            }
            guard var all = other.part(slot, after: .min, through: .max, reading: .all) else { continue }
            all.late = nil
            var columns = ColumnGatherer()
            // Its chunks are in memory: chunks are stored once the log has been read.
            columns.add(all, after: .min, through: .max, directory: "", [:]) { _ in }
            for (time, value) in zip(columns.times, columns.values) {
                guard !replay(Head.slot(reference), time, value) else { continue }
                if time >= earliestLate, time != series[Head.slot(reference)].lastTime,
                    enterLate(Head.slot(reference), time, value)
                {
                    accepted.append(reference, value, at: time)
                } else {
                    late += 1
                }
            }
        }
        take(aliases: table, from: other)
        return late
    }
}
