internal import Basics
internal import Synchronization

extension SeriesStore {
    /// Where snapshots lie, in the data directory.
    public static let snapshotFolder = "snapshots"

    /// Makes a folder below `snapshots` that holds everything as blocks, as Prometheus' own: the blocks that there are,
    /// by hard links, and the head's samples as one more. Answers its name. It can be served, or copied elsewhere, as a
    /// data directory; it takes the place of what it shares with the data directory until somebody removes it.
    ///
    /// Appending goes on meanwhile; upkeep waits. Memory: eight bytes for each label in the head.
    ///
    /// - Parameter skipHead: Leaves out what is not in blocks yet, the newest three hours or so.
    public func snapshot(skipHead: Bool = false) throws(StorageError) -> String {
        var random = SystemRandomNumberGenerator()
        let digits = hexadecimal(UInt64.random(in: 0 ... .max, using: &random), digits: 16)
        let second = Timestamp(milliseconds: clock.now().milliseconds.flooringDivision(by: 1000) * 1000)
        let moment = second.rfc3339(trimmed: true).filter { $0 != "-" && $0 != ":" }
        let name = "\(moment)-\(digits)"
        try snapshot(named: name, skipHead: skipHead)
        return name
    }

    /// Opens every block, so that those that cannot be opened are among `setAside`: they are in no snapshot.
    public func openBlocks() {
        for block in shelf.blocks {
            do throws(BlockDefect) { _ = try block.index } catch { block.report(error) }
        }
    }

    private func snapshot(named name: String, skipHead: Bool) throws(StorageError) {
        try upkeep.withLock { _ throws(StorageError) in
            guard skipHead || replay.state == .done else { throw .replaying }
            let folder = "\(directory)/\(SeriesStore.snapshotFolder)"
            let (final, draft) = ("\(folder)/\(name)", "\(folder)/\(name)\(BlockFormat.unfinished)")
            do throws(BlockDefect) {
                do throws(FileError) {
                    // Without a log, an empty one, promtool does not read a directory.
                    try files.createDirectory("\(draft)/wal")
                    for block in shelf.blocks { try files.linkBlock(block.directory, to: draft) }
                } catch {
                    throw BlockDefect(error)
                }
                if !skipHead { try snapshotHead(into: draft) }
                do throws(FileError) {
                    try files.synchronize(directory: draft)
                    try files.rename(draft, to: final)
                    try files.synchronize(directory: folder)
                } catch {
                    throw BlockDefect(error)
                }
            } catch {
                try? files.removeTree(draft)
                throw .block(error.text)
            }
        }
    }

    private func snapshotHead(into folder: String) throws(BlockDefect) {
        let (unranked, times) = head.withLock { head in
            let late = Array(head.late.values) + Array(head.sealedLate.values)
            let inOrder = head.bounds().times
            let first = (late.compactMap(\.times.first) + [inOrder?.lowerBound].compactMap { $0 }).min()
            let last = (late.compactMap(\.times.last) + [inOrder?.upperBound].compactMap { $0 }).max()
            return (head.snapshot(), first.flatMap { first in last.map { first...$0 } })
        }
        guard let times else { return }
        let snapshot = unranked.ranked()
        var meta = BlockMeta(ulid: shelf.name(), minTime: times.lowerBound, maxTime: times.upperBound + 1)
        meta.sources = [meta.ulid]
        let span = HeadSpan(after: times.lowerBound - 1, through: times.upperBound)
        _ = try writeHead(meta, snapshot.sorted(), snapshot, span, into: "\(folder)/\(meta.ulid.text)")
    }
}

extension FileSystem {
    /// A block's folder once more below `folder`: what never changes by links, the small files copied.
    func linkBlock(_ block: String, to folder: String) throws(FileError) {
        let target = "\(folder)/\(block.lastPathPart)"
        try createDirectory("\(target)/chunks")
        for name in try list("\(block)/chunks") where Int(name) != nil {
            try linkOrCopy("\(block)/chunks/\(name)", to: "\(target)/chunks/\(name)")
        }
        try linkOrCopy("\(block)/index", to: "\(target)/index")
        for name in ["meta.json", "tombstones"] where try attributes(of: "\(block)/\(name)") != nil {
            try copy("\(block)/\(name)", to: "\(target)/\(name)")
        }
        try synchronize(directory: "\(target)/chunks")
        try synchronize(directory: target)
    }
}
