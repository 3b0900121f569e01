internal import Basics
internal import Model

/// What the store knows of one series apart from its labels.
@safe struct HeadSeries {
    var open = OpenChunk()
    /// First and last of the closed chunks, as numbers in the head's table plus 1; 0: none.
    var firstClosed: UInt32 = 0
    var lastClosed: UInt32 = 0
    var labelOffset: UInt32 = 0
    var labelCount: UInt16 = 0
    /// Grows when the slot is used again, so that an old reference is known as such; 0 is never in use.
    var generation: UInt32 = 0
    var isLive = false
    /// Made since the last collection, so it may still be waiting for its first sample.
    var isFresh = true

    var lastTime: Int64 { open.lastTime }
    var lastValue: Double { open.lastValue }
}

/// A closed chunk in its series' list.
struct ChunkNode {
    var chunk: ClosedChunk
    var next: UInt32
}

/// A closed chunk that is to go into a file.
struct UnstoredChunk {
    var reference: SeriesReference
    var node: UInt32
    var chunk: ClosedChunk
}

/// The series in memory. Not for concurrent use: the store locks.
struct Head: ~Copyable {
    private(set) var index = SeriesIndex()
    private(set) var series: [HeadSeries] = []
    private var freeSlots: [UInt32] = []
    private var labelPairs: [UInt32] = []
    private var nodes: [ChunkNode] = []
    private var freeNode: UInt32 = 0
    /// Closed chunks that may still be in memory: slot and node.
    private var unstored: [(slot: UInt32, node: UInt32, firstTime: Int64)] = []
    private(set) var arena = ChunkArena()
    /// Buffers taken out of use while readers may still hold them.
    private var garbage: [ClosedChunk] = []
    private(set) var readers = 0
    private(set) var liveCount = 0
    private(set) var createdCount = 0
    private(set) var removedCount = 0
    private(set) var chunkCount = 0
    private(set) var maximumTime: Int64 = .min
    private var lastRange: Range<Int64> = 0..<0
    /// Samples before this are refused: what was there has been let go, or is in blocks.
    var minimumTime: Int64 { max(forgotten, cut) }
    /// Samples before this were let go.
    private(set) var forgotten: Int64 = .min
    private var cut: Int64 = .min

    /// Where references of a head that was filled beside this one lead, by their slot.
    private var aliases: [(generation: UInt32, reference: SeriesReference)] = []
    private var unlogged: [SeriesReference] = []
    /// The generations that slots in use must be beyond before they are used again.
    private var reserved: [UInt32: UInt32] = [:]
    /// A head out of use whose chunks are still being read.
    private var retired: ReplayedHead?
    /// The first generation but one of a head that is filled beside another one; 0: it is not.
    private let besideGeneration: UInt32
    private var isBeside: Bool { besideGeneration > 0 }
    /// Samples that came after newer ones, by slot.
    private(set) var late: [UInt32: LateSamples] = [:]
    /// Those of them that are being written to blocks: what comes meanwhile is not lost with them.
    private(set) var sealedLate: [UInt32: LateSamples] = [:]
    /// How far behind the newest sample of all they may be; 0: none are taken.
    var lateWindow: Milliseconds = 0
    /// What was deleted and may still lie in chunks.
    private(set) var deleted = Tombstones()

    /// The last generation of a slot, which is not used again after it: Prometheus takes references of at most five
    /// bytes, of which four tell the slot and one bit the head.
    static let lastGeneration: UInt32 = 127

    /// An empty head. What is filled beside another one, to be absorbed by it, counts its generations from 128 or more,
    /// so that its references are known wherever they are kept: each run from another one, since the log of late
    /// samples is read when the series of all runs are known.
    init(asBesideOfRun run: Int? = nil) {
        besideGeneration = run.map { Head.lastGeneration + 1 + UInt32($0 % 120) } ?? 0
    }

    /// Whether a reference is of a head that was filled beside another one.
    static func isBeside(_ reference: SeriesReference) -> Bool { reference >> 32 > lastGeneration }

    static func slot(_ reference: SeriesReference) -> Int { Int(reference & 0xFFFF_FFFF) }
    static func reference(_ slot: UInt32, _ generation: UInt32) -> SeriesReference {
        UInt64(generation) << 32 | UInt64(slot)
    }

    // MARK: Series

    func labels(at slot: Int) -> Labels {
        let entry = series[slot]
        var labels: [Label] = []
        labels.reserveCapacity(Int(entry.labelCount))
        for pair in 0..<Int(entry.labelCount) {
            let offset = Int(entry.labelOffset) + 2 * pair
            labels.append(Label(index.symbols[labelPairs[offset]], index.symbols[labelPairs[offset + 1]]))
        }
        return Labels(sortedUnique: labels)
    }

    /// The numbers of a series' names and values, in turn.
    func symbolPairs(of slot: Int) -> ArraySlice<UInt32> {
        let entry = series[slot]
        return labelPairs[Int(entry.labelOffset)..<Int(entry.labelOffset) + 2 * Int(entry.labelCount)]
    }

    func find(_ labels: Labels, hash: UInt64) -> SeriesReference? {
        let (slot, collided) = index.candidate(hash, labels)
        if let slot, self.labels(at: Int(slot)) == labels { return Head.reference(slot, series[Int(slot)].generation) }
        return collided.map { Head.reference($0, series[Int($0)].generation) }
    }

    /// Enters a new series, under `wanted` when the log has given it that reference.
    mutating func create(_ labels: Labels, hash: UInt64, as wanted: SeriesReference? = nil) -> SeriesReference {
        let slot: UInt32
        if let wanted {
            slot = UInt32(Head.slot(wanted))
            while series.count < Int(slot) {
                freeSlots.append(UInt32(series.count))
                series.append(HeadSeries())
            }
            // The log names slots in ascending order mostly: a search for each would be one of all gaps.
            if series.count == Int(slot) { series.append(HeadSeries()) } else { freeSlots.removeAll { $0 == slot } }
        } else if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = UInt32(series.count)
            series.append(HeadSeries())
        }
        var entry = HeadSeries()
        entry.generation =
            wanted.map { UInt32($0 >> 32) } ?? max(series[Int(slot)].generation, besideGeneration) + 1
        entry.isLive = true
        entry.labelOffset = UInt32(labelPairs.count)
        entry.labelCount = UInt16(labels.count)
        labelPairs += index.insert(labels, hash: hash, slot: slot)
        series[Int(slot)] = entry
        liveCount += 1
        createdCount += 1
        return Head.reference(slot, entry.generation)
    }

    /// Enters a new series under a reference that the log does not have for it yet.
    mutating func createUnlogged(_ labels: Labels, hash: UInt64) -> SeriesReference {
        let reference = create(labels, hash: hash)
        unlogged.append(reference)
        return reference
    }

    /// The series that were entered so since the last call.
    mutating func takeUnlogged() -> [(reference: SeriesReference, labels: Labels)] {
        defer { unlogged = [] }
        return unlogged.map { ($0, labels(at: Head.slot($0))) }
    }

    /// Whether a series can be entered under this reference, by its number alone.
    static func isPlausible(_ reference: SeriesReference) -> Bool {
        slot(reference) < 1 << 28 && !isBeside(reference)
    }

    // MARK: Aliases

    /// The reference of this head that another head's reference stands for; 0 when it leads nowhere.
    private func resolved(_ reference: SeriesReference) -> SeriesReference {
        let slot = Head.slot(reference)
        guard slot < aliases.count, aliases[slot].generation == UInt32(reference >> 32) else { return 0 }
        return aliases[slot].reference
    }

    /// Puts the references of an absorbed head in force here.
    mutating func take(aliases: [(generation: UInt32, reference: SeriesReference)], from other: borrowing Head) {
        self.aliases = aliases
        readers = other.readers
        if maximumTime < other.maximumTime { maximumTime = other.maximumTime }
        (forgotten, cut) = (other.forgotten, max(cut, other.cut))
        lateWindow = other.lateWindow
    }

    /// Keeps the absorbed head while somebody reads its chunks.
    mutating func keepForReaders(_ other: ReplayedHead) {
        if readers > 0 { retired = other }
    }

    /// References that another writer's log has for series here, as long as some of that log is kept.
    var foreign: [SeriesReference: SeriesReference] = [:]

    /// Every foreign reference with the slot that it leads to.
    var foreignSlots: [(reference: SeriesReference, slot: UInt32)] {
        foreign.compactMap { reference, own in
            let slot = Head.slot(own)
            guard series[slot].isLive, series[slot].generation == UInt32(own >> 32) else { return nil }
            return (reference, UInt32(slot))
        }
    }

    /// Every alias with the slot that it leads to.
    var aliasedSlots: [(reference: SeriesReference, slot: UInt32)] {
        aliases.enumerated().compactMap { index, alias in
            let slot = Head.slot(alias.reference)
            guard alias.generation != 0, slot < series.count, series[slot].isLive,
                series[slot].generation == UInt32(alias.reference >> 32)
            else { return nil }
            return (Head.reference(UInt32(index), alias.generation), UInt32(slot))
        }
    }

    // MARK: Samples

    /// Appends samples in place; the outcome counts what was refused. No allocation but chunks.
    mutating func append(
        _ references: Span<SeriesReference>, _ values: Span<Double>, _ times: Span<Int64>, at common: Int64,
        latest: Int64, outcome: inout AppendOutcome, late accepted: inout SampleBatch
    ) {
        let hasTimes = times.count > 0
        let total = series.count
        for index in references.indices {
            var reference = references[index]
            if Head.isBeside(reference), !isBeside { reference = resolved(reference) }
            let slot = Head.slot(reference)
            let time = hasTimes ? times[index] : common
            guard slot < total, series[slot].generation == UInt32(reference >> 32), series[slot].isLive else {
                outcome.outOfBounds += 1
                outcome.gone += 1
                continue
            }
            let last = series[slot].lastTime
            if time < minimumTime || time > latest || time <= last {
                if time < last || time < minimumTime, time >= earliestLate {
                    guard enterLate(slot, time, values[index]) else {
                        outcome.duplicates += 1
                        continue
                    }
                    accepted.append(reference, values[index], at: time)
                    outcome.stored += 1
                    continue
                }
                guard time >= minimumTime, time <= latest else {
                    outcome.outOfBounds += 1
                    continue
                }
                if time == last {
                    if series[slot].lastValue.bitPattern == values[index].bitPattern {
                        outcome.stored += 1
                    } else {
                        outcome.duplicates += 1
                    }
                } else {
                    outcome.outOfOrder += 1
                }
                continue
            }
            put(slot, time, values[index])
            outcome.stored += 1
        }
    }

    /// Times that are counted with and told in a block's `meta.json`: 285,000 years either way.
    static let times: ClosedRange<Int64> = -(1 << 53)...1 << 53

    /// Before this samples are too old even for the late; the greatest number while none are taken.
    var earliestLate: Int64 {
        lateWindow > 0 && maximumTime > .min + lateWindow ? maximumTime - lateWindow : .max
    }

    /// Enters a sample among the late ones; false where there is another value at its moment.
    mutating func enterLate(_ slot: Int, _ time: Int64, _ value: Double) -> Bool {
        late[UInt32(slot), default: LateSamples()].insert(time, value)
    }

    /// Lets go of a series' late samples in a range.
    mutating func removeLate(after: Int64, through: Int64, of slot: UInt32) {
        late[slot]?.remove(after: after, through: through)
        if late[slot]?.times.isEmpty ?? false { late[slot] = nil }
        sealedLate[slot]?.remove(after: after, through: through)
        if sealedLate[slot]?.times.isEmpty ?? false { sealedLate[slot] = nil }
    }

    /// Sets the late samples before `time` apart, to be written to blocks.
    mutating func sealLate(before time: Int64) {
        for (slot, samples) in late {
            let range = samples.indices(after: .min, through: time - 1)
            guard !range.isEmpty else { continue }
            for index in range {
                _ = sealedLate[slot, default: LateSamples()].insert(samples.times[index], samples.values[index])
            }
            late[slot]?.remove(after: .min, through: time - 1)
            if late[slot]?.times.isEmpty ?? false { late[slot] = nil }
        }
    }

    /// Lets go of the late samples that were set apart: they are in blocks.
    mutating func dropSealedLate() { sealedLate = [:] }

    /// All late samples of a series.
    func lateSamples(of slot: UInt32) -> LateSamples? {
        guard !late.isEmpty || !sealedLate.isEmpty else { return nil }
        guard var all = sealedLate[slot] else { return late[slot] }
        if let fresh = late[slot] {
            for (time, value) in zip(fresh.times, fresh.values) { _ = all.insert(time, value) }
        }
        return all
    }

    /// Refuses samples before `time` from now on: they are being written to a block.
    mutating func refuse(before time: Int64) { cut = max(cut, time) }

    /// One sample as the log has it; false when it is not newer than the last.
    mutating func replay(_ slot: Int, _ time: Int64, _ value: Double) -> Bool {
        guard time > series[slot].lastTime, time >= minimumTime else { return false }
        put(slot, time, value)
        return true
    }

    private mutating func put(_ slot: Int, _ time: Int64, _ value: Double) {
        if !series[slot].open.isEmpty, series[slot].open.isFull || series[slot].open.firstTime < rangeStart(of: time) {
            closeChunk(of: slot)
        }
        series[slot].open.append(time, value, &arena)
        if time > maximumTime { maximumTime = time }
    }

    /// Chunks do not cross two-hour bounds, where blocks will be cut.
    static let rangeLength: Int64 = 2 * 3_600_000

    /// The last moment of the two hours that a time lies in: its chunk goes no sooner than that is let go.
    static func rangeEnd(of time: Int64) -> Int64 {
        guard times.contains(time) else { return time }
        return (time.flooringDivision(by: rangeLength) + 1) * rangeLength - 1
    }

    /// Where the range of a time begins. Samples come in order mostly, and a division costs more than the rest.
    private mutating func rangeStart(of time: Int64) -> Int64 {
        if !lastRange.contains(time) {
            let start = time.flooringDivision(by: Head.rangeLength) &* Head.rangeLength
            let (end, isBeyond) = start.addingReportingOverflow(Head.rangeLength)
            lastRange = start..<(isBeyond ? .max : end)
        }
        return lastRange.lowerBound
    }

    private mutating func closeChunk(of slot: Int) {
        append(series[slot].open.close(&arena), to: slot)
        let number = series[slot].lastClosed
        unstored.append((UInt32(slot), number, nodes[Int(number - 1)].chunk.firstTime))
    }

    /// Puts a chunk behind those that a series has.
    private mutating func append(_ chunk: ClosedChunk, to slot: Int) {
        let number: UInt32
        if freeNode != 0 {
            number = freeNode
            freeNode = nodes[Int(number - 1)].next
            nodes[Int(number - 1)] = ChunkNode(chunk: chunk, next: 0)
        } else {
            nodes.append(ChunkNode(chunk: chunk, next: 0))
            number = UInt32(nodes.count)
        }
        if series[slot].lastClosed == 0 {
            series[slot].firstClosed = number
        } else {
            nodes[Int(series[slot].lastClosed - 1)].next = number
        }
        series[slot].lastClosed = number
        chunkCount += 1
    }

    // MARK: Storing chunks

    /// Closed chunks that are in memory yet, the longest closed first, at most so many; they stay readable until
    /// `endReading`, which is to follow.
    mutating func takeUnstored(_ count: Int) -> [UnstoredChunk] {
        var taken: [UnstoredChunk] = []
        var looked = 0
        for (slot, node, firstTime) in unstored where taken.count < count {
            looked += 1
            let entry = series[Int(slot)]
            let chunk = nodes[Int(node - 1)].chunk
            // It may be gone meanwhile, and its node another's, of the same series too.
            guard entry.isLive, !chunk.isStored, chunk.firstTime == firstTime, holds(node, Int(slot)) else { continue }
            taken.append(
                UnstoredChunk(
                    reference: Head.reference(slot, entry.generation), node: node, chunk: chunk))
        }
        unstored.removeFirst(looked)
        readers += 1
        return taken
    }

    private func holds(_ node: UInt32, _ slot: Int) -> Bool {
        var number = series[slot].lastClosed == node ? node : series[slot].firstClosed
        while number != 0, number != node { number = nodes[Int(number - 1)].next }
        return number == node
    }

    /// Lets the memory of a chunk go that is in a file now.
    mutating func didStore(_ one: UnstoredChunk, at place: UInt64) {
        let slot = Head.slot(one.reference)
        guard series[slot].isLive, series[slot].generation == UInt32(one.reference >> 32), holds(one.node, slot),
            nodes[Int(one.node - 1)].chunk.isSame(as: one.chunk)
        else { return }
        discard(one.chunk)
        nodes[Int(one.node - 1)].chunk = one.chunk.stored(at: place)
    }

    /// Chunks that could not be stored are tried again.
    mutating func putBack(_ chunks: [UnstoredChunk]) {
        unstored.insert(
            contentsOf: chunks.map { (UInt32(Head.slot($0.reference)), $0.node, $0.chunk.firstTime) }, at: 0)
    }

    /// Gives a series that the log has just named the chunks that an earlier run stored under that reference. Under
    /// another one there may be chunks of it already, before, between or behind these, and samples from the log.
    mutating func attach(_ chunks: [ClosedChunk], lastValue: Double, to slot: Int) {
        guard let first = chunks.first, let last = chunks.last else { return }
        let (open, numbers) = (series[slot].open, chunkNumbers(of: slot))
        let own = numbers.map { nodes[Int($0 - 1)].chunk }
        let read = own.filter { !$0.isStored }
        if let begin = read.first?.firstTime ?? (open.isEmpty ? nil : open.firstTime) {
            // What was read of the log is in these chunks; otherwise what they hold is read from the log too.
            guard first.firstTime <= begin, last.lastTime >= open.lastTime else { return }
        }
        for (number, chunk) in zip(numbers, own) {
            discard(chunk)
            nodes[Int(number - 1)].next = freeNode
            freeNode = number
        }
        chunkCount -= numbers.count
        series[slot].open.discard(&arena)
        series[slot].open = OpenChunk()
        (series[slot].firstClosed, series[slot].lastClosed) = (0, 0)
        for chunk in (own.filter(\.isStored) + chunks).sorted(by: { $0.firstTime < $1.firstTime }) {
            guard chunk.lastTime > series[slot].lastTime else { continue }
            // A part of it is here: the rest of it comes from the log, and so must all that is behind it.
            guard chunk.firstTime > series[slot].lastTime else { return }
            append(chunk, to: slot)
            series[slot].open.goOn(after: chunk.lastTime, chunk.lastTime == last.lastTime ? lastValue : open.lastValue)
            if chunk.lastTime > maximumTime { maximumTime = chunk.lastTime }
        }
    }

    /// Sees to it that no series is ever entered under a reference that something on the disk still has, though the log
    /// does not name its series any more.
    mutating func reserve(_ reference: SeriesReference) {
        let slot = Head.slot(reference)
        guard Head.isPlausible(reference), slot < series.count + 1_000_000 else { return }
        while series.count <= slot {
            freeSlots.append(UInt32(series.count))
            series.append(HeadSeries())
        }
        let generation = UInt32(reference >> 32)
        guard !series[slot].isLive else {
            if generation > series[slot].generation {
                reserved[UInt32(slot)] = max(reserved[UInt32(slot)] ?? 0, generation)
            }
            return
        }
        series[slot].generation = max(series[slot].generation, generation)
        if series[slot].generation >= Head.lastGeneration { freeSlots.removeAll { $0 == UInt32(slot) } }
    }

    /// Gives series that were entered under references of this head's own others, where the log has theirs for another
    /// series: what comes later in the log is not known when they are entered.
    mutating func renumber(avoiding isTaken: (SeriesReference, _ slot: Int) -> Bool) {
        for index in unlogged.indices {
            let slot = Head.slot(unlogged[index])
            while series[slot].generation < Head.lastGeneration, isTaken(unlogged[index], slot) {
                series[slot].generation += 1
                unlogged[index] = Head.reference(UInt32(slot), series[slot].generation)
            }
        }
    }

    // MARK: Reading

    mutating func beginReading() { readers += 1 }

    mutating func endReading() {
        readers -= 1
        guard readers == 0 else { return }
        retired = nil
        for chunk in garbage { if let bytes = unsafe chunk.bytes { unsafe arena.give(bytes) } }
        garbage.removeAll()
    }

    /// The closed chunks of a series that reach into `(after, through]`, oldest first. They may be read until
    /// `endReading`.
    func closedChunks(of slot: Int, after: Int64, through: Int64) -> [ClosedChunk] {
        var chunks: [ClosedChunk] = []
        var number = series[slot].firstClosed
        while number != 0 {
            let node = nodes[Int(number - 1)]
            if node.chunk.firstTime > through { break }
            if node.chunk.lastTime > after { chunks.append(node.chunk) }
            number = node.next
        }
        return chunks
    }

    /// Whether the series has a sample in `[from, through]`, judged by its chunks' bounds; chunks that are deleted
    /// altogether do not count.
    func overlaps(_ slot: Int, from: Int64, through: Int64) -> Bool {
        let entry = series[slot]
        let gone = deleted[slot]
        if let late = lateSamples(of: UInt32(slot)), !late.indices(after: from - 1, through: through).isEmpty {
            return true
        }
        if !entry.open.isEmpty, entry.open.firstTime <= through, entry.open.lastTime >= from,
            !gone.covers(entry.open.firstTime, entry.open.lastTime)
        {
            return true
        }
        var number = entry.firstClosed
        while number != 0 {
            let chunk = nodes[Int(number - 1)].chunk
            if chunk.firstTime <= through, chunk.lastTime >= from, !gone.covers(chunk.firstTime, chunk.lastTime) {
                return true
            }
            number = nodes[Int(number - 1)].next
        }
        return false
    }

    /// The time of the series' first sample, nil without any.
    func firstTime(of slot: Int) -> Int64? {
        let entry = series[slot]
        if entry.firstClosed != 0 { return nodes[Int(entry.firstClosed - 1)].chunk.firstTime }
        return entry.open.isEmpty ? nil : entry.open.firstTime
    }

    /// Chunks with samples, open ones among them, and the times of the first and the last sample; nil without any.
    /// O(series).
    func bounds() -> (chunks: Int, times: ClosedRange<Int64>?) {
        var chunks = chunkCount
        var first = Int64.max
        var last = Int64.min
        for slot in index.slots.map(Int.init) {
            guard let begin = firstTime(of: slot) else { continue }
            if !series[slot].open.isEmpty { chunks += 1 }
            first = min(first, begin)
            last = max(last, series[slot].lastTime)
        }
        guard first <= last else { return (chunks, nil) }
        return (chunks, first...last)
    }

    // MARK: Deleting

    /// Hides samples of a series.
    mutating func bury(_ range: ClosedRange<Int64>, of slot: Int) { deleted.add(range, to: slot) }

    /// Lets go of closed chunks that are deleted altogether; answers how many.
    mutating func removeBuried() -> Int {
        var removed = 0
        for slot in deleted.slots.map(Int.init) { removed += removeBuried(of: slot) }
        return removed
    }

    private mutating func removeBuried(of slot: Int) -> Int {
        let all = chunkNumbers(of: slot)
        let gone = deleted[slot]
        let isBuried = all.map { gone.covers(nodes[Int($0 - 1)].chunk.firstTime, nodes[Int($0 - 1)].chunk.lastTime) }
        let kept = all.indices.filter { !isBuried[$0] }.map { all[$0] }
        guard kept.count < all.count else { return 0 }
        for (index, number) in all.enumerated() where isBuried[index] {
            discard(nodes[Int(number - 1)].chunk)
            nodes[Int(number - 1)].next = freeNode
            freeNode = number
        }
        for (number, next) in zip(kept, kept.dropFirst()) { nodes[Int(number - 1)].next = next }
        series[slot].firstClosed = kept.first ?? 0
        series[slot].lastClosed = kept.last ?? 0
        if let last = kept.last { nodes[Int(last - 1)].next = 0 }
        chunkCount -= all.count - kept.count
        return all.count - kept.count
    }

    private func chunkNumbers(of slot: Int) -> [UInt32] {
        var numbers: [UInt32] = []
        var number = series[slot].firstClosed
        while number != 0 {
            numbers.append(number)
            number = nodes[Int(number - 1)].next
        }
        return numbers
    }

    // MARK: Forgetting

    /// Lets go of chunks that end before `time`, and of series that have none left; answers how many chunks went.
    mutating func forget(before time: Int64) -> Int {
        // Not the greater of the two: after a clock that was ahead for a while, samples must be taken again.
        forgotten = time
        var dropped = 0
        var gone: [(slot: UInt32, labels: Labels, pairs: [UInt32])] = []
        for slot in series.indices where series[slot].isLive {
            while series[slot].firstClosed != 0 {
                let number = series[slot].firstClosed
                let node = nodes[Int(number - 1)]
                guard node.chunk.lastTime < time else { break }
                series[slot].firstClosed = node.next
                if node.next == 0 { series[slot].lastClosed = 0 }
                discard(node.chunk)
                nodes[Int(number - 1)].next = freeNode
                freeNode = number
                chunkCount -= 1
                dropped += 1
            }
            let entry = series[slot]
            let isIdle = entry.open.isEmpty ? !entry.isFresh : entry.lastTime < time
            let hasLate = late[UInt32(slot)] != nil || sealedLate[UInt32(slot)] != nil
            if entry.firstClosed == 0, isIdle, let bytes = unsafe entry.open.bytes {
                unsafe discard(ClosedChunk(bytes: bytes, byteCount: 0, sizeClass: entry.open.sizeClass))
                series[slot].open = OpenChunk()
                series[slot].open.goOn(after: entry.lastTime, entry.lastValue)
            }
            if entry.firstClosed == 0, isIdle, !hasLate {
                let pairs = Array(
                    labelPairs[Int(entry.labelOffset)..<Int(entry.labelOffset) + 2 * Int(entry.labelCount)])
                gone.append((UInt32(slot), labels(at: slot), pairs))
                let generation = max(entry.generation, reserved.removeValue(forKey: UInt32(slot)) ?? 0)
                series[slot] = HeadSeries()
                series[slot].generation = generation
                if generation & Head.lastGeneration < Head.lastGeneration { freeSlots.append(UInt32(slot)) }
                deleted.remove(slot)
            } else {
                series[slot].isFresh = false
            }
        }
        for slot in deleted.slots {
            // A chunk that reaches beyond `time` is here, with what was deleted of it.
            deleted.forget(before: min(time, firstTime(of: Int(slot)) ?? time), of: slot)
        }
        if !gone.isEmpty {
            index.remove(gone)
            liveCount -= gone.count
            removedCount += gone.count
            compactLabels()
        }
        return dropped
    }

    private mutating func discard(_ chunk: ClosedChunk) {
        guard let bytes = unsafe chunk.bytes else { return }
        if readers > 0 { garbage.append(chunk) } else { unsafe arena.give(bytes) }
    }

    /// Rewrites the pairs of symbols without those of removed series.
    private mutating func compactLabels() {
        var fresh: [UInt32] = []
        for slot in series.indices where series[slot].isLive {
            let start = Int(series[slot].labelOffset)
            series[slot].labelOffset = UInt32(fresh.count)
            fresh += labelPairs[start..<start + 2 * Int(series[slot].labelCount)]
        }
        labelPairs = fresh
    }

    /// Bytes of all label names and values, each counted once.
    var labelBytes: Int { index.symbols.bytes }

    /// Bytes that the chunks take.
    var chunkBytes: Int { arena.usedBytes + nodes.count * MemoryLayout<ChunkNode>.stride }
}
