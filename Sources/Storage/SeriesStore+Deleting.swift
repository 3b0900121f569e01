public import Basics
public import Model
internal import Synchronization

extension SeriesStore {
    /// Deletes the samples in `[from, through]` of the series that fulfil all matchers; answers of how many series.
    /// They are out of sight at once, and in the log before that; a series' later samples stay, and those to come.
    ///
    /// No checkpoint needs to keep a deletion: what it deletes was logged before it, and segments go oldest first.
    @discardableResult
    public func delete(_ matchers: [Matcher], from: Timestamp, through: Timestamp) throws(StorageError) -> Int {
        let count = try log.withLock { (log) throws(StorageError) -> Int in
            // Until then older samples lie in another head. Under the log's lock, since the heads change places there.
            guard replay.state == .done else { throw .replaying }
            let range = (from: from.milliseconds, through: through.milliseconds)
            let stones = head.withLock { $0.tombstones(for: matchers, from: range.from, through: range.through) }
            guard !stones.isEmpty else { return 0 }
            guard writePending(&log) else { throw .logRefused }
            let isLogged = attempt(&log) { (log) throws(FileError) in
                try SeriesStore.writeTombstones(stones, to: &log.writer, record: &log.record)
            }
            guard isLogged else { throw .logRefused }
            head.withLock { head in for stone in stones { head.bury(stone) } }
            return stones.count
        }
        figures.deletions.add(count)
        // Who deletes wants it deleted after a loss of power too.
        if count > 0 { synchronizeLog() }
        return count
    }

    /// Gives back the memory of closed chunks without a sample left; answers how many.
    @discardableResult
    public func cleanTombstones() -> Int { head.withLock { $0.removeBuried() } }

    /// Tombstones in records of at most about a mebibyte.
    private static func writeTombstones(
        _ stones: [Tombstone], to writer: inout LogWriter, record: inout [UInt8]
    ) throws(FileError) {
        record.removeAll(keepingCapacity: true)
        for stone in stones {
            if record.isEmpty { record.append(LogFormat.Record.tombstones.rawValue) }
            record.appendBigEndian(stone.reference)
            record.appendVarint(stone.range.lowerBound)
            record.appendVarint(stone.range.upperBound)
            if record.count > 1 << 20 {
                try writer.write(record)
                record.removeAll(keepingCapacity: true)
            }
        }
        if !record.isEmpty { try writer.write(record) }
    }
}
