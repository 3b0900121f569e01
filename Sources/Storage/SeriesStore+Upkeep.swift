public import Basics
internal import Model
internal import Synchronization

/// What upkeep remembers from one time to the next.
struct Upkeep {
    /// Blocks that a retention horizon was applied to already, by their name and that horizon.
    var applied: [ULID: Set<Milliseconds>] = [:]
    /// Up to where the head was cut in this run.
    var cutThrough = Int64.min
}

extension SeriesStore {
    /// Stores closed chunks, cuts blocks from the head, compacts them, lets go of what is too old or too much, in
    /// memory, in blocks and in the log: call it every minute, from a thread that may be busy for seconds.
    public func maintain() {
        upkeep.withLock { upkeep in
            do throws(FileError) { try shelf.reload() } catch { report(BlockDefect(error)) }
            guard replay.state == .done else { return forgetHead(upkeep) }
            storeChunks()
            cutBlocks(&upkeep)
            forgetHead(upkeep)
            applyRetention(&upkeep)
            compactBlocks()
            upkeep.applied = upkeep.applied.filter { entry in shelf.blocks.contains { $0.meta.ulid == entry.key } }
        }
    }

    /// Lets go of what is too old in the head, or too much for memory.
    private func forgetHead(_ upkeep: Upkeep) {
        var bound = clock.now().milliseconds - settings.retention
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
        guard replay.state == .done else { return }
        // What a cut refuses is not in a block yet when the disk refuses the block.
        let cut = max(upkeep.cutThrough, shelf.headCut ?? .min)
        forgetSegments(before: max(head.withLock { $0.forgotten }, cut))
    }

    // MARK: Chunks of the head

    /// Writes the head's closed chunks to its files, so that only open ones are in memory.
    private func storeChunks() {
        while true {
            let chunks = head.withLock { $0.takeUnstored(4096) }
            defer { head.withLock { $0.endReading() } }
            guard !chunks.isEmpty else { return }
            do throws(FileError) {
                let places = try chunkFiles.append(chunks)
                head.withLock { head in for (chunk, place) in zip(chunks, places) { head.didStore(chunk, at: place) } }
                figures.storedChunks.add(chunks.count)
            } catch {
                head.withLock { $0.putBack(chunks) }
                figures.chunkFailures.add()
                return
            }
        }
    }

    // MARK: Cutting

    /// Cuts the head's oldest two hours into a block while it spans more than three.
    private func cutBlocks(_ upkeep: inout Upkeep) {
        while let range = rangeToCut(upkeep) {
            do throws(BlockDefect) {
                try cutBlock(range)
                upkeep.cutThrough = range.upperBound
            } catch {
                figures.blockFailures.add()
                report(error)
                return
            }
        }
    }

    private func rangeToCut(_ upkeep: Upkeep) -> Range<Int64>? {
        head.withLock { head in
            // Looking at every series is for when there can be something.
            let span = Head.rangeLength / 2 * 3
            guard head.maximumTime > .min + span, head.maximumTime - span > upkeep.cutThrough,
                let first = head.bounds().times?.lowerBound, head.maximumTime - first > span
            else { return nil }
            // No range is cut twice, whatever the head has of its time.
            let start = max(first.flooringDivision(by: Head.rangeLength) * Head.rangeLength, upkeep.cutThrough)
            return start..<start + Head.rangeLength
        }
    }

    private func cutBlock(_ range: Range<Int64>) throws(BlockDefect) {
        // From here on nothing is added to that time in order; the chunks of it stay as they are.
        let unranked = head.withLock { head in
            head.refuse(before: range.upperBound)
            head.sealLate(before: range.upperBound)
            return head.snapshot()
        }
        let snapshot = unranked.ranked()
        let order = snapshot.sorted()
        do throws(FileError) {
            try log.withLock { (log) throws(FileError) in
                // What follows is in a segment of its own, so that this one can go in two hours.
                if log.writer.segmentSize > 0 { try log.writer.beginSegment() }
            }
            chunkFiles.cut()
        } catch {
            throw BlockDefect(error)
        }
        var isOwn = BlockMeta(ulid: ULID.none, minTime: range.lowerBound, maxTime: range.upperBound)
        isOwn.headCut = range.upperBound
        let isWritten = try writeFromHead(
            isOwn, order, snapshot, after: range.lowerBound - 1, through: range.upperBound - 1)
        if !isWritten {
            // All of it was deleted. No block tells so, and the log and the files of chunks still hold it.
            do throws(FileError) { try shelf.mark(range.upperBound) } catch { throw BlockDefect(error) }
        }
        try writeLate(before: range.lowerBound, order, snapshot)
        figures.cuts.add()
        head.withLock { head in
            head.dropSealedLate()
            figures.forgottenChunks.add(head.forget(before: range.upperBound))
        }
        do throws(FileError) {
            try log.withLock { (log) throws(FileError) in
                log.hasStaleLate = log.lateSegment >= 0
                // Not under references that the log does not have yet.
                if log.hasStaleLate, writePending(&log) { try rewriteLate(&log) }
            }
            try chunkFiles.forget(before: range.upperBound)
        } catch {
            // Both are read again at the next start, and change nothing then.
            throw BlockDefect(error)
        }
    }

    /// Writes a block of the head's samples in `(after, through]`, late ones among them; none, and false, where there
    /// are none.
    @discardableResult
    private func writeFromHead(
        _ meta: BlockMeta, _ order: [Int], _ snapshot: HeadSnapshot, after: Int64, through: Int64,
        lateOnly: Bool = false
    ) throws(BlockDefect) -> Bool {
        let draft: (ulid: ULID, path: String)
        do throws(FileError) { draft = try shelf.draft() } catch { throw BlockDefect(error) }
        var named = meta
        (named.ulid, named.sources) = (draft.ulid, [draft.ulid])
        let span = HeadSpan(after: after, through: through, lateOnly: lateOnly)
        guard let written = try writeHead(named, order, snapshot, span, into: draft.path) else { return false }
        do throws(BlockDefect) {
            try shelf.publish(written, from: draft.path)
            return true
        } catch {
            try? files.removeTree(draft.path)
            throw error
        }
    }

    /// Which of the head's samples go into a block.
    struct HeadSpan {
        var after: Int64, through: Int64
        var lateOnly = false
    }

    /// Writes a block's folder of the head's samples; nil, and no folder, where there are none.
    func writeHead(
        _ meta: BlockMeta, _ order: [Int], _ snapshot: HeadSnapshot, _ span: HeadSpan, into path: String
    ) throws(BlockDefect) -> BlockMeta? {
        do throws(FileError) {
            var writer = try BlockWriter(directory: path, files: files, meta: meta, symbols: snapshot.symbols)
            var rest = order[...]
            while !rest.isEmpty {
                try addSlice(rest.prefix(256), of: snapshot, to: &writer, span)
                rest = rest.dropFirst(256)
            }
            let written = try writer.finish()
            if written.series > 0 { return written }
            try files.removeTree(path)
            return nil
        } catch {
            // What cannot be removed now is removed at the next start.
            try? files.removeTree(path)
            throw BlockDefect(error)
        }
    }

    private func addSlice(
        _ places: ArraySlice<Int>, of snapshot: HeadSnapshot, to writer: inout BlockWriter, _ span: HeadSpan
    ) throws(FileError) {
        let parts = head.withLock { head in
            head.beginReading()
            return places.map { place -> HeadPart? in
                let (slot, generation) = snapshot.slots[place]
                guard head.series[Int(slot)].isLive, head.series[Int(slot)].generation == generation else { return nil }
                guard let part = head.part(Int(slot), after: span.after, through: span.through, reading: .all) else {
                    return nil
                }
                guard span.lateOnly else { return part }
                return part.late.map { HeadPart(late: $0) }
            }
        }
        let token = HeadReading(self)
        let open = chunkFiles.open
        for (place, part) in zip(places, parts) {
            guard let part else { continue }
            let chunks: [ChunkData]
            do throws(BlockDefect) {
                chunks = try part.chunkData(
                    after: span.after, through: span.through, directory: directory, open)
            } catch {
                throw FileError(operation: "read", path: error.text, code: 5)
            }
            try writer.add(snapshot.pairs(of: place), chunks)
        }
        withExtendedLifetime(token) {}
    }

    /// Writes the late samples of a time that was cut before, in blocks of two hours.
    private func writeLate(before end: Int64, _ order: [Int], _ snapshot: HeadSnapshot) throws(BlockDefect) {
        let starts = head.withLock { head in
            Set(
                head.sealedLate.values.flatMap { late in
                    late.times.prefix { $0 < end }.map { $0.flooringDivision(by: Head.rangeLength) }
                })
        }
        for start in starts.sorted().map({ $0 * Head.rangeLength }) {
            var meta = BlockMeta(ulid: ULID.none, minTime: start, maxTime: start + Head.rangeLength)
            meta.isOutOfOrder = true
            try writeFromHead(
                meta, order, snapshot, after: start - 1, through: start + Head.rangeLength - 1, lateOnly: true)
        }
    }

    /// Begins the late samples' log anew with those that are not in blocks yet.
    func rewriteLate(_ log: inout LogState) throws(FileError) {
        log.hasStaleLate = true
        try beginLateLog(&log)
        let kept = head.withLock { head -> [(SeriesReference, LateSamples)] in
            Set(head.late.keys).union(head.sealedLate.keys).compactMap { slot in
                head.lateSamples(of: slot).map { (Head.reference(slot, head.series[Int(slot)].generation), $0) }
            }
        }
        for (reference, samples) in kept {
            var batch = SampleBatch(timestamp: Timestamp(milliseconds: samples.times.first ?? 0))
            for (time, value) in zip(samples.times, samples.values) { batch.append(reference, value, at: time) }
            SeriesStore.encodeSamples(batch, into: &log.record)
            try log.late?.write(log.record)
        }
        try log.late?.currentFile.synchronize()
        let wbl = "\(directory)/wbl"
        for number in try LogReplay.segments(in: wbl, files) where number < log.lateSegment {
            try files.removeTree("\(wbl)/\(LogFormat.segmentName(number))")
        }
        log.hasStaleLate = false
    }

    /// Tells of a block that could not be written or read.
    func report(_ defect: BlockDefect) { lastDefect.withLock { $0 = defect } }

    /// Tells of a place that cannot be read, the first time only: queries come to it again and again.
    func reportOnce(_ defect: BlockDefect) {
        let isNew = toldDefects.withLock { told in
            if told.count > 10_000 { told.removeAll() }
            return told.insert(defect).inserted
        }
        guard isNew else { return }
        figures.chunkFailures.add()
        report(defect)
    }

    /// What went wrong with a block since this was asked for last, in one sentence.
    public func takeProblem() -> String? { lastDefect.withLock { $0.take()?.text } }

    /// The blocks that cannot be read, and are not served.
    public var setAside: [SetAsideBlock] { shelf.setAside }

    /// How often `maintain` is to be called.
    public static let upkeepInterval: Milliseconds = 60_000

    // MARK: Retention

    /// Removes the oldest blocks while there is too much, and from the others what is kept for a shorter time.
    private func applyRetention(_ upkeep: inout Upkeep) {
        let newest = newestTime
        guard newest > .min else { return }
        let horizons = Set(settings.retentionRules.map(\.keep) + [settings.retention])
        let longest = horizons.max() ?? settings.retention
        for block in shelf.blocks {
            let age = newest - block.meta.maxTime
            if age >= longest {
                remove(block)
                continue
            }
            // A block is written anew once for each horizon that it passes, and only if that takes something away.
            let passed = horizons.filter { age >= $0 }
            guard passed.contains(where: { !(upkeep.applied[block.meta.ulid]?.contains($0) ?? false) }) else {
                continue
            }
            do throws(BlockDefect) {
                if try holdsExpired(block, age: age) { try rewrite([block]) }
                upkeep.applied[block.meta.ulid, default: []].formUnion(passed)
            } catch {
                figures.blockFailures.add()
                report(error)
            }
        }
        applySizeBound()
    }

    /// The end of what is stored, from which ages are counted. What was imported may lie in the future, or its block
    /// reach there: that makes nothing else old.
    private var newestTime: Int64 {
        let newest = max(head.withLock { $0.maximumTime }, shelf.blocks.map(\.meta.maxTime).max() ?? .min)
        return min(newest, clock.now().milliseconds + settings.maximumAhead)
    }

    /// How long a series is kept.
    func keep(of labels: Labels) -> Milliseconds {
        settings.retentionRules.first { rule in rule.matchers.allSatisfy { $0.matches(labels) } }?.keep
            ?? settings.retention
    }

    private func holdsExpired(_ block: Block, age: Milliseconds) throws(BlockDefect) -> Bool {
        guard !settings.retentionRules.isEmpty else { return age >= settings.retention }
        var rest = try block.index.everything()
        for rule in settings.retentionRules {
            let matching = SortedLists.intersect(rest, try block.index.select(rule.matchers))
            if !matching.isEmpty, age >= rule.keep { return true }
            rest = SortedLists.subtract(rest, matching)
        }
        return !rest.isEmpty && age >= settings.retention
    }

    private func remove(_ block: Block) {
        do throws(BlockDefect) {
            try shelf.remove([block])
            figures.blocksRemoved.add()
        } catch {
            figures.blockFailures.add()
            report(error)
        }
    }

    private func applySizeBound() {
        guard settings.retentionBytes > 0 else { return }
        do throws(FileError) {
            var bytes = shelf.blocks.reduce(0) { $0 + $1.bytes }
            for folder in ["wal", "wbl", "chunks_head"] { bytes += try files.treeBytes("\(directory)/\(folder)") }
            for block in shelf.blocks where bytes > settings.retentionBytes {
                bytes -= block.bytes
                remove(block)
            }
        } catch {
            figures.blockFailures.add()
            report(BlockDefect(error))
        }
    }

    // MARK: Compaction

    private func compactBlocks() {
        // As long as there is something to do, but no longer than a busy hour's worth at a time.
        for _ in 0..<64 {
            let blocks = shelf.blocks
            let plan = CompactionPlan(retention: settings.retention).next(blocks)
            guard !plan.isEmpty else { return }
            do throws(BlockDefect) {
                try rewrite(plan)
                figures.compactions.add()
            } catch {
                figures.blockFailures.add()
                report(error)
                return
            }
        }
    }

    /// Writes blocks anew as one, without what was deleted or is kept no longer, in their place.
    func rewrite(_ blocks: [Block]) throws(BlockDefect) {
        let newest = newestTime
        let keeps = settings.retentionRules.isEmpty ? nil : { (labels: Labels) in newest - self.keep(of: labels) }
        let draft: (ulid: ULID, path: String)
        do throws(FileError) { draft = try shelf.draft() } catch { throw BlockDefect(error) }
        do throws(BlockDefect) {
            // Once blocks that came late are in it, its end does not tell any more up to where the head was cut.
            let cut = blocks.allSatisfy(\.meta.isOutOfOrder) ? nil : shelf.headCut
            let written = try Compactor(files: files).merge(
                blocks, into: draft.path, as: draft.ulid, headCut: cut, oldest: keeps)
            if written.series == 0 {
                try? files.removeTree(draft.path)
                try shelf.remove(blocks)
            } else {
                try shelf.publish(written, from: draft.path, replacing: blocks)
            }
        } catch {
            try? files.removeTree(draft.path)
            throw error
        }
    }
}

/// The series of the head at a moment, for writing them in the order of their labels: each as the ranks of its names
/// and values among the sorted symbols. Memory: eight bytes a label.
struct HeadSnapshot {
    var symbols: [String] = []
    var slots: [(slot: UInt32, generation: UInt32)] = []
    /// Where each series' ranks begin; one more than there are series.
    var starts: [Int] = [0]
    var ranks: [UInt32] = []

    func pairs(of place: Int) -> ArraySlice<UInt32> { ranks[starts[place]..<starts[place + 1]] }

    /// The places in the order of labels.
    func sorted() -> [Int] {
        slots.indices.sorted { left, right in
            pairs(of: left).lexicographicallyPrecedes(pairs(of: right))
        }
    }
}

/// The head's series with the head's own numbers of their symbols.
struct UnrankedSnapshot {
    fileprivate var series = HeadSnapshot()
    fileprivate var numbers: [UInt32] = []

    /// Sorts the symbols, and puts their ranks in the place of their numbers: to be done outside of the head's lock.
    func ranked() -> HeadSnapshot {
        var result = series
        let order = series.symbols.indices.sorted { series.symbols[$0].isBefore(series.symbols[$1]) }
        var ranking = [UInt32](repeating: 0, count: Int(numbers.max() ?? 0) + 1)
        for (rank, place) in order.enumerated() { ranking[Int(numbers[place])] = UInt32(rank) }
        result.symbols = order.map { series.symbols[$0] }
        for place in result.ranks.indices { result.ranks[place] = ranking[Int(result.ranks[place])] }
        return result
    }
}

extension Head {
    /// The series as they are now, to be ranked. O(labels).
    func snapshot() -> UnrankedSnapshot {
        var snapshot = UnrankedSnapshot()
        for (text, number) in index.symbols.inUse {
            snapshot.series.symbols.append(text)
            snapshot.numbers.append(number)
        }
        snapshot.series.slots.reserveCapacity(index.slots.count)
        snapshot.series.starts.reserveCapacity(index.slots.count + 1)
        for slot in index.slots {
            snapshot.series.slots.append((slot, series[Int(slot)].generation))
            snapshot.series.ranks += symbolPairs(of: Int(slot))
            snapshot.series.starts.append(snapshot.series.ranks.count)
        }
        return snapshot
    }
}

extension HeadPart {
    /// Its samples in `(after, through]` as chunks. Chunks of one series do not cross the bounds of blocks, so whole
    /// ones are taken as they are, but where samples were deleted or came late.
    func chunkData(
        after: Int64, through: Int64, directory: String, _ files: [Int: any File]
    ) throws(BlockDefect) -> [ChunkData] {
        for chunk in closed {
            guard let place = chunk.storedPlace, files[Int(place >> 32)] == nil else { continue }
            let name = BlockFormat.segmentName(Int(place >> 32))
            throw BlockDefect("\(directory)/chunks_head/\(name)", at: Int(place & 0xFFFF_FFFF), "the file is gone")
        }
        let isWhole = closed.allSatisfy { $0.firstTime > after && $0.lastTime <= through }
        guard deleted.isEmpty, late == nil, isWhole else {
            var gatherer = ColumnGatherer()
            try gatherer.add(self, after: after, through: through, directory: directory, files) {
                error throws(BlockDefect) in throw error
            }
            gatherer.settle()
            return gatherer.chunks()
        }
        var chunks: [ChunkData] = []
        for chunk in closed {
            if let place = chunk.storedPlace {
                guard let file = files[Int(place >> 32)] else { continue }
                let (bytes, data) = try HeadChunkFiles.read(chunk, in: file, directory: directory)
                chunks.append(
                    ChunkData(firstTime: chunk.firstTime, lastTime: chunk.lastTime, bytes: Array(bytes[data])))
            } else {
                chunks.append(chunk.data)
            }
        }
        if openCount > 0 {
            var gatherer = ColumnGatherer()
            var rest = self
            rest.closed = []
            gatherer.add(rest, after: after, through: through, directory: directory, files) { _ in }
            chunks += gatherer.chunks()
        }
        return chunks
    }
}
