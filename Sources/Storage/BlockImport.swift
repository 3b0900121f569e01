public import Basics
public import Model

/// What an import brought.
public struct ImportReport: Sendable, Hashable {
    /// Blocks, and their series and samples; a series counts in each block anew.
    public var blocks = 0, series = 0, samples = 0
    /// Blocks that were there already, by their name.
    public var known = 0
    /// The first and the last moment.
    public var oldest: Timestamp?, newest: Timestamp?
    /// What could not be taken over, a sentence each.
    public var remarks: [String] = []
}

/// Puts blocks into a data directory, beside a daemon that may be running there: they are made in
/// `imports`, on the same disk, and only when all of them are whole renamed to where the daemon looks for new blocks
/// every minute. One import at a time.
///
/// They carry the hint of late samples, so that nobody takes the head's samples to be older than they are.
public final class BlockImport {
    private struct Column {
        var times: [Int64] = []
        var values: [Double] = []
    }
    private let directory: String, stage: String
    private let files: any FileSystem
    private let lock: any FileLock
    private let shelf: BlockShelf
    private let memory: Int
    /// By two hours, then by series: what is not in a block yet.
    private var gathered: [Int64: [Int: Column]] = [:]
    private var numbers: [Labels: Int] = [:]
    private var labels: [Labels] = []
    private var bytes = 0
    /// By two hours: the blocks that are to become one.
    private var drafts: [Int64: [BlockMeta]] = [:]
    private var isOpen = true
    private var report = ImportReport()

    /// Begins in a data directory, which is made when missing; leftovers of an import that was killed are removed.
    ///
    /// - Parameter memory: So many bytes of samples and labels are gathered before they go to the disk.
    public init(
        into directory: String, files: any FileSystem, clock: any TimeSource, memory: Int = 64 << 20
    ) throws(StorageError) {
        (self.directory, self.files, self.memory) = (directory, files, memory)
        let folder = "\(directory)/imports"
        stage = "\(folder)/stage"
        shelf = BlockShelf(directory: stage, files: files, clock: clock)
        do {
            try files.createDirectory(folder)
            guard let taken = try files.lock("\(folder)/lock") else { throw StorageError.importing(directory) }
            lock = taken
            if try files.attributes(of: stage) != nil { try files.removeTree(stage) }
            try files.createDirectory(stage)
        } catch {
            throw StorageError(error)
        }
    }

    /// Gives up: nothing was changed.
    public func cancel() {
        guard isOpen else { return }
        isOpen = false
        try? files.removeTree(stage)
    }

    deinit { if isOpen { try? files.removeTree(stage) } }

    // MARK: Samples

    /// Adds a sample; those of a series may come in any order.
    public func add(_ series: Labels, _ time: Timestamp, _ value: Double) throws(StorageError) {
        guard Head.times.contains(time.milliseconds) else {
            throw .block("\(series): a sample at \(time.milliseconds) ms is out of reach")
        }
        let number: Int
        if let known = numbers[series] {
            number = known
        } else {
            number = labels.count
            numbers[series] = number
            labels.append(series)
            bytes += 128 + series.sorted.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 32 }
        }
        let range = time.milliseconds.flooringDivision(by: Head.rangeLength)
        if gathered[range]?[number] == nil { bytes += 160 }
        gathered[range, default: [:]][number, default: Column()].times.append(time.milliseconds)
        gathered[range]?[number]?.values.append(value)
        // Arrays grow by doubling.
        bytes += 32
        if bytes > memory { try flush() }
    }

    /// Writes what was gathered, a block for each two hours of it.
    private func flush() throws(StorageError) {
        do throws(BlockDefect) {
            for (range, columns) in gathered.sorted(by: { $0.key < $1.key }) { try write(columns, range) }
        } catch {
            throw .block(error.text)
        }
        (gathered, numbers, labels, bytes) = ([:], [:], [], 0)
    }

    private func write(_ columns: [Int: Column], _ range: Int64) throws(BlockDefect) {
        let order = columns.keys.sorted { labels[$0] < labels[$1] }
        let texts = order.flatMap { labels[$0].sorted.flatMap { [$0.name, $0.value] } }.sortedUnique()
        let start = range * Head.rangeLength
        var meta = BlockMeta(ulid: shelf.name(), minTime: start, maxTime: start + Head.rangeLength)
        meta.isOutOfOrder = true
        do throws(FileError) {
            var writer = try BlockWriter(
                directory: "\(stage)/\(meta.ulid.text)", files: files, meta: meta,
                symbols: texts)
            for number in order {
                guard let column = columns[number] else { continue }
                var gatherer = ColumnGatherer()
                gatherer.add(column.times, column.values)
                gatherer.settle()
                try writer.add(labels[number], gatherer.chunks())
            }
            meta = try writer.finish()
        } catch {
            throw BlockDefect(error)
        }
        drafts[range, default: []].append(meta)
        // No more files are open at once than of so many.
        if drafts[range]?.count ?? 0 >= 32 { try unite(range) }
    }

    private func unite(_ range: Int64) throws(BlockDefect) {
        guard let parts = drafts[range], parts.count > 1 else { return }
        var blocks: [Block] = []
        for part in parts { blocks.append(try Block(directory: "\(stage)/\(part.ulid.text)", files: files)) }
        let ulid = shelf.name()
        var whole = try Compactor(files: files).merge(
            blocks, into: "\(stage)/\(ulid.text)", as: ulid, oldest: nil)
        (whole.level, whole.sources, whole.parents) = (1, [ulid], [])
        do throws(FileError) {
            try files.replace("\(stage)/\(ulid.text)/meta.json", with: whole.json.serialized())
            for part in parts { try files.removeTree("\(stage)/\(part.ulid.text)") }
        } catch {
            throw BlockDefect(error)
        }
        drafts[range] = [whole]
    }

    /// Makes what was added part of the data directory.
    public func finish() throws(StorageError) -> ImportReport {
        try flush()
        do throws(BlockDefect) {
            for range in drafts.keys.sorted() {
                try unite(range)
                for meta in drafts[range] ?? [] { count(meta) }
            }
            try publish(drafts.sorted { $0.key < $1.key }.flatMap(\.value).map(\.ulid.text))
        } catch {
            cancel()
            throw .block(error.text)
        }
        return report
    }

    private func count(_ meta: BlockMeta) {
        report.blocks += 1
        report.series += meta.series
        report.samples += meta.samples
        let (first, last) = (Timestamp(milliseconds: meta.minTime), Timestamp(milliseconds: meta.maxTime))
        report.oldest = min(report.oldest ?? first, first)
        report.newest = max(report.newest ?? last, last)
    }

    private func publish(_ names: [String]) throws(BlockDefect) {
        do throws(FileError) {
            // Without a log, an empty one, promtool does not read a directory.
            if !names.isEmpty { try files.createDirectory("\(directory)/wal") }
            for name in names { try files.rename("\(stage)/\(name)", to: "\(directory)/\(name)") }
            try files.synchronize(directory: directory)
        } catch {
            throw BlockDefect(error)
        }
        cancel()
    }

    // MARK: Another directory

    /// Makes the blocks of another data directory, Prometheus' or ours, part of this one, and what is in its head as
    /// one more; that directory is not changed, and nobody should write there meanwhile. Blocks are linked where the
    /// disk allows it.
    public func take(over source: String) throws(StorageError) -> ImportReport {
        do {
            guard try files.attributes(of: source)?.isDirectory ?? false else {
                throw FileError(operation: "list", path: source, code: 2)
            }
            if try files.attributes(of: "\(source)/lock") != nil {
                // On a disk that only reads nobody writes.
                let taken = Result { try files.lock("\(source)/lock") }
                if case .success(nil) = taken {
                    throw StorageError.inUse(source)
                }
            }
            let copy = "\(stage)/copy"
            try files.createDirectory(copy)
            for name in try files.list(source) {
                let path = "\(source)/\(name)"
                if ULID(name) != nil {
                    try files.linkBlock(path, to: copy)
                } else if ["wal", "wbl", "chunks_head"].contains(name) {
                    // Reading a log cuts what is torn: that is done to a copy.
                    for file in try files.tree(path) {
                        try files.createDirectory("\(copy)/\(name)/\(file)".parentDirectory)
                        try files.copy("\(path)/\(file)", to: "\(copy)/\(name)/\(file)")
                    }
                }
            }
            let names = try blocks(of: copy)
            try publish(names)
        } catch {
            cancel()
            // A mistake is told where it was found, and not in the copy.
            if case .block(let text) = StorageError(error) {
                throw .block(text.replacing("\(stage)/copy/", with: "\(source)/"))
            }
            throw StorageError(error)
        }
        return report
    }

    /// Everything of a copied data directory as blocks in the stage.
    private func blocks(of copy: String) throws -> [String] {
        var settings = StorageSettings()
        (settings.retention, settings.maximumBytes, settings.lateWindow) = (.max / 4, .max / 4, .max / 4)
        let clock = FarClock()
        let store = try SeriesStore(directory: copy, settings: settings, files: files, clock: clock)
        store.replayLog()
        // Opened they are by now, and what was found in them is known.
        if let broken = store.setAside.first {
            throw StorageError.block("the block \(broken.name) cannot be read: \(broken.reason)")
        }
        for block in store.shelf.blocks { _ = try verifyBlock(at: block.directory, files) }
        if let failure = store.replay.failure { throw StorageError.block(failure) }
        let found = store.replay.report
        report.remarks += found.repairs.map { $0.replacing(copy + "/", with: "") }
        if found.skippedRecords > 0 {
            report.remarks.append("\(found.skippedRecords) records of the log hold what is not read, native histograms")
        }
        let snapshot = "\(copy)/\(SeriesStore.snapshotFolder)/\(try store.snapshot())"
        let present = try present()
        var names: [String] = []
        for name in try files.list(snapshot) where ULID(name) != nil {
            let path = "\(snapshot)/\(name)/meta.json"
            var meta = try BlockMeta(parsing: try files.contents(of: path), file: path)
            guard !present.contains(meta.ulid) else {
                report.known += 1
                continue
            }
            (meta.isOutOfOrder, meta.headCut) = (true, nil)
            try files.replace(path, with: meta.json.serialized())
            try files.rename("\(snapshot)/\(name)", to: "\(stage)/\(name)")
            names.append(name)
            count(meta)
        }
        return names
    }

    /// The blocks that are here, and those that they were made of.
    private func present() throws -> Set<ULID> {
        var found: Set<ULID> = []
        for name in try files.list(directory) {
            guard let ulid = ULID(name) else { continue }
            found.insert(ulid)
            let path = "\(directory)/\(name)/meta.json"
            guard let bytes = try? files.contents(of: path) else { continue }
            // A block that cannot be read is the daemon's matter.
            found.formUnion((try? BlockMeta(parsing: bytes, file: path).sources) ?? [])
        }
        return found
    }
}

extension StorageError {
    fileprivate init(_ error: any Error) {
        switch error {
        case let error as StorageError: self = error
        case let error as FileError: self = .file(error)
        case let error as BlockDefect: self = .block(error.text)
        default: self = .block("\(error)")
        }
    }
}

/// For reading a log of any age: nothing in it is too old, or ahead.
private struct FarClock: TimeSource {
    func now() -> Timestamp { Timestamp(milliseconds: 0) }
    func uptimeNanoseconds() -> UInt64 { 0 }
    func sleep(for duration: Milliseconds) async throws(CancellationError) {}
}

/// Reads every list, series and chunk of a block, and checks their codes; throws what is wrong first.
public func verifyBlock(
    at directory: String, _ files: any FileSystem
) throws(StorageError) -> (series: Int, samples: Int) {
    do throws(BlockDefect) {
        let block = try Block(directory: directory, files: files)
        var (series, samples) = (0, 0)
        try block.index.eachSeries(try block.index.everything(), from: .min, through: .max) {
            _, _, places throws(BlockDefect) in
            series += 1
            for run in readableRuns(places) {
                let read = try block.read(run)
                for chunk in read.chunks where chunk.data.count > 1 {
                    samples += Int(read.bytes.bigEndian(at: chunk.data.lowerBound, as: UInt16.self))
                }
            }
            return true
        }
        guard series == block.meta.series else {
            throw BlockDefect("\(directory)/meta.json", "tells of \(block.meta.series) series, there are \(series)")
        }
        return (series, samples)
    } catch {
        throw .block(error.text)
    }
}
