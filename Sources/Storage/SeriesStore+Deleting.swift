public import Basics
public import Model
internal import Synchronization

extension SeriesStore {
    /// Deletes the samples in `[from, through]` of the series that fulfil all matchers; answers of how many series.
    /// They are out of sight at once, and in the log before that; a series' later samples stay, and those to come.
    ///
    /// In blocks it is a file beside each of them, durable before this returns.
    ///
    /// No checkpoint needs to keep a deletion: its segment goes no sooner than what it deletes goes into blocks.
    @discardableResult
    public func delete(_ matchers: [Matcher], from: Timestamp, through: Timestamp) throws(StorageError) -> Int {
        try upkeep.withLock { _ throws(StorageError) -> Int in
            // A block that cannot be read for a while would come back with all that it holds.
            do throws(FileError) { try shelf.reload() } catch { throw .file(error) }
            if let away = shelf.away { throw .block(away.reason) }
            let inHead = try deleteInHead(matchers, from: from, through: through)
            var inBlocks = 0
            for block in shelf.blocks where block.overlaps(from.milliseconds, through.milliseconds) {
                do throws(BlockDefect) {
                    inBlocks = max(
                        inBlocks,
                        try block.delete(
                            matchers, from: from.milliseconds, through: through.milliseconds, files))
                } catch {
                    throw .block(error.text)
                }
            }
            return max(inHead, inBlocks)
        }
    }

    private func deleteInHead(_ matchers: [Matcher], from: Timestamp, through: Timestamp) throws(StorageError) -> Int {
        let count = try log.withLock { (log) throws(StorageError) -> Int in
            // Until then older samples lie in another head. Under the log's lock, since the heads change places there.
            guard replay.state == .done else { throw .replaying }
            let range = (from: from.milliseconds, through: through.milliseconds)
            let (stones, late, lateStones) = head.withLock { head in
                let late = head.lateSlots(matchers, from: range.from, through: range.through)
                return (
                    head.tombstones(for: matchers, from: range.from, through: range.through), late,
                    // The log of all samples has them too, and may give them back as ones in order.
                    head.lateTombstones(of: late, from: range.from, through: range.through)
                )
            }
            guard !stones.isEmpty || !late.isEmpty || log.hasStaleLate else { return 0 }
            guard writePending(&log) else { throw .logRefused }
            if !late.isEmpty || log.hasStaleLate {
                head.withLock { head in
                    for slot in late { head.removeLate(after: range.from - 1, through: range.through, of: slot) }
                }
                guard attempt(&log, { (log) throws(FileError) in try rewriteLate(&log) }) else { throw .logRefused }
            }
            let logged = stones + lateStones
            guard !logged.isEmpty else { return late.count }
            let isLogged = attempt(&log) { (log) throws(FileError) in
                try SeriesStore.writeTombstones(logged, to: &log.writer, record: &log.record)
                // The segment stays as long as what was deleted: files of chunks still hold it.
                log.note(Head.rangeEnd(of: logged.map(\.range.upperBound).max() ?? .min), in: log.writer.segment)
            }
            guard isLogged else { throw .logRefused }
            head.withLock { head in for stone in stones { head.bury(stone) } }
            return max(stones.count, late.count)
        }
        figures.deletions.add(count)
        // Who deletes wants it deleted after a loss of power too.
        guard count == 0 || synchronizeLog() else { throw .logRefused }
        return count
    }

    /// Gives back the memory of closed chunks without a sample left, and writes blocks with deletions anew without what
    /// was deleted; answers of how many chunks and blocks.
    @discardableResult
    public func cleanTombstones() throws(StorageError) -> Int {
        let chunks = head.withLock { $0.removeBuried() }
        return try upkeep.withLock { _ throws(StorageError) -> Int in
            var cleaned = 0
            for block in shelf.blocks where !block.tombstones.isEmpty {
                do throws(BlockDefect) { try rewrite([block]) } catch { throw .block(error.text) }
                cleaned += 1
            }
            return chunks + cleaned
        }
    }

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
