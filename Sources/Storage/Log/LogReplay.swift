internal import Basics
internal import Model

/// What opening found in the log.
public struct ReplayReport: Hashable, Sendable {
    /// Series and samples read, and samples that were not newer than what was read before.
    public var series = 0, samples = 0, staleSamples = 0
    /// Samples of series that the log does not name, and records of kinds that are not read yet.
    public var unknownReferences = 0, skippedRecords = 0
    /// Chunks that an earlier run had stored, and samples that came late.
    public var storedChunks = 0, lateSamples = 0
    /// Exemplars read, and deletions.
    public var exemplars = 0, tombstones = 0
    /// Records of metadata, which is kept by target and not here.
    public var metadataRecords = 0
    /// Segments read.
    public var segments = 0
    /// What was cut away, one sentence each.
    public var repairs: [String] = []
}

/// Reads the newest checkpoint and the segments behind it into the head, and cuts what a crash left half written.
struct LogReplay {
    let directory: String
    let files: any FileSystem
    /// The last segment to read; those behind it are being written.
    let through: Int

    /// The numbers that segments and checkpoints have, sorted.
    static func segments(in directory: String, _ files: any FileSystem) throws(FileError) -> [Int] {
        try files.list(directory).compactMap { name in
            if name.hasPrefix("checkpoint.") { return Int(name.dropFirst(11)) }
            return name.count == 8 ? Int(name) : nil
        }.sorted()
    }

    /// What an earlier run wrote of closed chunks, by the log's references; taken as their series are met.
    var stored: [SeriesReference: HeadChunkFiles.Stored] = [:]
    /// The folder of the log of late samples.
    var lateDirectory: String?
    /// The last segment of it to read.
    var lateThrough = Int.max

    /// What is known while it is read.
    private struct State {
        var report = ReplayReport()
        /// The slot that each of the log's references means.
        var known = KnownSeries()
        var exemplars: ExemplarRing
        var stored: [SeriesReference: HeadChunkFiles.Stored]
        /// The newest sample in each segment.
        var newest: [Int: Int64] = [:]
        var segment = -1
        var isLate = false
        /// References of series that the log does not name.
        var unknown: Set<UInt64> = []
        /// What could not be read first.
        var failure: FileError?
    }

    func run(
        into head: inout Head, exemplars: inout ExemplarRing, oldest: Int64,
        at begun: (_ segment: Int) -> Void = { _ in }
    ) throws(FileError) -> (report: ReplayReport, newest: [Int: Int64], failure: FileError?) {
        var state = State(exemplars: exemplars, stored: stored)
        // What was read before an error counts all the same.
        defer { exemplars = state.exemplars }
        let names = try files.list(directory)
        let checkpoint = names.filter { $0.hasPrefix("checkpoint.") && Int($0.dropFirst(11)) != nil }.last
        for name in names where name.hasSuffix(".tmp") { try remove("\(directory)/\(name)") }
        if let checkpoint {
            for name in try files.list("\(directory)/\(checkpoint)") {
                take("\(directory)/\(checkpoint)/\(name)", into: &head, oldest, &state)
            }
        }
        let done = checkpoint.flatMap { Int($0.dropFirst(11)) } ?? -1
        for name in names {
            guard let number = Int(name), name.count == 8, number > done, number <= through else { continue }
            begun(number)
            (state.segment, state.newest[number]) = (number, .min)
            take("\(directory)/\(name)", into: &head, oldest, &state)
            state.report.segments += 1
        }
        if let lateDirectory, try files.attributes(of: lateDirectory) != nil {
            state.isLate = true
            for number in try LogReplay.segments(in: lateDirectory, files) where number <= lateThrough {
                take("\(lateDirectory)/\(LogFormat.segmentName(number))", into: &head, .min, &state)
            }
        }
        head.renumber { reference, slot in
            state.known[reference].map { $0 != slot } ?? false || state.unknown.contains(reference)
                || state.stored[reference] != nil
        }
        state.known.forEach { reference, slot in
            let own = Head.reference(UInt32(slot), head.series[slot].generation)
            if own != reference {
                head.foreign[reference] = own
                head.reserve(reference)
            }
        }
        for reference in state.unknown.union(state.stored.keys) { head.reserve(reference) }
        state.report.series = head.liveCount
        return (state.report, state.newest, state.failure)
    }

    /// Reads a file of the log; one that cannot be read is told, and the others count all the same. It stays, for the
    /// next start.
    private func take(_ path: String, into head: inout Head, _ oldest: Int64, _ state: inout State) {
        do throws(FileError) { try read(path, into: &head, oldest, &state) } catch {
            state.failure = state.failure ?? error
            if !state.isLate { state.newest[state.segment] = .max }
        }
    }

    private func remove(_ path: String) throws(FileError) {
        if try files.attributes(of: path)?.isDirectory ?? false {
            for name in try files.list(path) { try remove("\(path)/\(name)") }
        }
        try files.remove(path)
    }

    private func read(
        _ path: String, into head: inout Head, _ oldest: Int64, _ state: inout State
    ) throws(FileError) {
        let bytes = try files.contents(of: path, limit: 2 * LogFormat.segmentBytes)
        var reader = LogReader(bytes)
        while let record = reader.next() { apply(record, to: &head, oldest, &state) }
        guard let tear = reader.tear else { return }
        guard !tear.isForeign else {
            state.report.repairs.append(
                "\(path): \(tear.reason), at byte \(tear.offset); let Prometheus write it with Snappy, its default")
            if !state.isLate { state.newest[state.segment] = .max }
            return
        }
        let lost = bytes.count - tear.offset
        state.report.repairs.append("\(path): \(tear.reason) at byte \(tear.offset); \(lost) bytes cut away")
        let file = try files.open(path, .readWrite)
        try file.truncate(to: tear.offset)
        try file.synchronize()
    }

    private func apply(_ record: [UInt8], to head: inout Head, _ oldest: Int64, _ state: inout State) {
        switch record.first.flatMap(LogFormat.Record.init(rawValue:)) {
        case .series: readSeries(record, to: &head, &state)
        case .samples: readSamples(record, to: &head, oldest, &state)
        case .tombstones: readTombstones(record, to: &head, &state)
        case .exemplars: readExemplars(record, head, &state)
        case .metadata: state.report.metadataRecords += 1
        default: state.report.skippedRecords += 1
        }
    }

    private func readSeries(_ record: [UInt8], to head: inout Head, _ state: inout State) {
        var decoder = RecordDecoder(record, from: 1)
        while decoder.hasMore {
            let reference = decoder.uint64()
            let series = decoder.labels()
            guard !decoder.isBroken else {
                state.report.skippedRecords += 1
                return
            }
            let hash = SeriesIndex.hash(series)
            let own =
                if let same = head.find(series, hash: hash) {
                    same
                } else if Head.isPlausible(reference), isFree(reference, head) {
                    head.create(series, hash: hash, as: reference)
                } else {
                    // Another writer numbers its series in its own way.
                    head.createUnlogged(series, hash: hash)
                }
            state.known.enter(reference, slot: Head.slot(own))
            if let earlier = state.stored.removeValue(forKey: reference) {
                head.attach(earlier.chunks, lastValue: earlier.lastValue, to: Head.slot(own))
                state.report.storedChunks += earlier.chunks.count
            }
        }
    }

    /// Ours are `generation << 32 | slot` with a generation from 1; a slot within reach that no series holds.
    private func isFree(_ reference: UInt64, _ head: borrowing Head) -> Bool {
        let slot = Head.slot(reference)
        guard reference >> 32 > 0, slot < head.series.count + 1_000_000 else { return false }
        return slot >= head.series.count || !head.series[slot].isLive
    }

    /// The head of records whose entries are told by their distance from the first: samples and exemplars.
    private struct First {
        let reference: UInt64
        let time: Int64

        init(_ decoder: inout RecordDecoder) {
            reference = decoder.uint64()
            time = Int64(bitPattern: decoder.uint64())
        }

        @inline(__always)
        func next(_ decoder: inout RecordDecoder) -> (reference: UInt64, time: Int64, value: Double) {
            let reference = UInt64(bitPattern: Int64(bitPattern: reference) &+ decoder.varint())
            let time = time &+ decoder.varint()
            return (reference, time, Double(bitPattern: decoder.uint64()))
        }
    }

    private func readSamples(_ record: [UInt8], to head: inout Head, _ oldest: Int64, _ state: inout State) {
        var decoder = RecordDecoder(record, from: 1)
        guard decoder.hasMore else { return }
        let first = First(&decoder)
        var newest = Int64.min
        defer { state.newest[state.segment] = max(state.newest[state.segment] ?? .min, newest) }
        while decoder.hasMore {
            let (reference, time, value) = first.next(&decoder)
            guard !decoder.isBroken else {
                state.report.skippedRecords += 1
                return
            }
            guard Head.times.contains(time) else {
                state.report.staleSamples += 1
                continue
            }
            guard let slot = state.known[reference] else {
                // What is not known cannot be written to a block: the segment stays as long as it can matter.
                newest = max(newest, time)
                state.report.unknownReferences += 1
                if state.unknown.count < 1_000_000 { state.unknown.insert(reference) }
                continue
            }
            // Late it stays, though after a loss of power nothing newer may be there: its log alone has it.
            if state.isLate {
                if head.enterLate(slot, time, value) { state.report.lateSamples += 1 }
                continue
            }
            newest = max(newest, time)
            guard time >= oldest else { continue }
            if head.replay(slot, time, value) { state.report.samples += 1 } else { state.report.staleSamples += 1 }
        }
    }

    private func readTombstones(_ record: [UInt8], to head: inout Head, _ state: inout State) {
        var decoder = RecordDecoder(record, from: 1)
        while decoder.hasMore {
            let reference = decoder.uint64()
            let (first, last) = (decoder.varint(), decoder.varint())
            guard !decoder.isBroken, first <= last else {
                state.report.skippedRecords += 1
                return
            }
            guard let slot = state.known[reference] else {
                state.report.unknownReferences += 1
                continue
            }
            // After a loss of power some of what was deleted may be missing; what comes in its place is not deleted.
            let end = min(last, head.series[slot].lastTime)
            if first <= end { head.bury(first...end, of: slot) }
            state.newest[state.segment] = max(state.newest[state.segment] ?? .min, Head.rangeEnd(of: last))
            state.report.tombstones += 1
        }
    }

    private func readExemplars(_ record: [UInt8], _ head: borrowing Head, _ state: inout State) {
        var decoder = RecordDecoder(record, from: 1)
        guard decoder.hasMore else { return }
        let first = First(&decoder)
        while decoder.hasMore {
            let (reference, time, value) = first.next(&decoder)
            let exemplar = Exemplar(
                labels: decoder.labels(), value: value, timestamp: Timestamp(milliseconds: time))
            guard !decoder.isBroken else {
                state.report.skippedRecords += 1
                return
            }
            guard let slot = state.known[reference] else {
                state.report.unknownReferences += 1
                continue
            }
            if case .stored = state.exemplars.append(exemplar, of: head.labels(at: slot)) {
                state.report.exemplars += 1
            }
        }
    }
}
