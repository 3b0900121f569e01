internal import Basics
public import Model
internal import Synchronization

extension SeriesStore: SampleSink {
    /// See `SampleSink`. About 2 µs for a new series, half a microsecond for a known one.
    public func reference(of labels: Labels) -> SeriesReference? {
        let hash = SeriesIndex.hash(labels)
        if let known = head.withLock({ $0.find(labels, hash: hash) }) { return known }
        // Whoever appends to a new series next writes it first, under the log's lock; so it is made under it too, and
        // nobody can find it before it is pending. Nobody is to write very many.
        let reference = log.withLock { log -> SeriesReference? in
            let (reference, isNew) = head.withLock { head -> (SeriesReference?, Bool) in
                if let known = head.find(labels, hash: hash) { return (known, false) }
                guard head.liveCount < settings.maximumSeries, head.labelBytes < settings.maximumBytes else {
                    return (nil, false)
                }
                return (head.create(labels, hash: hash), true)
            }
            if let reference, isNew { log.pending.append((reference, labels)) }
            if log.pending.count >= 4096, !log.isBroken { _ = writePending(&log) }
            return reference
        }
        if reference == nil { figures.refusedSeries.add() }
        return reference
    }

    /// See `SampleSink`. About 80 ns a sample, most of it Snappy's and the kernel's.
    public func append(_ batch: borrowing SampleBatch) -> AppendOutcome {
        var outcome = AppendOutcome()
        guard batch.count > 0 else { return outcome }
        var late = SampleBatch(timestamp: batch.timestamp)
        let latest = clock.now().milliseconds + settings.maximumAhead
        outcome.isLogged = write(batch, latest: latest)
        let (references, values, times) = (batch.references, batch.values, batch.timestamps)
        head.withLock { head in
            head.append(
                references.span, values.span, times.span, at: batch.timestamp.milliseconds, latest: latest,
                outcome: &outcome, late: &late)
        }
        if late.count > 0 { outcome.isLogged = logLate(late) && outcome.isLogged }
        figures.stored.add(outcome.stored)
        figures.duplicates.add(outcome.duplicates)
        figures.outOfOrder.add(outcome.outOfOrder)
        figures.outOfBounds.add(outcome.outOfBounds)
        if !outcome.isLogged { figures.unloggedSamples.add(outcome.stored) }
        return outcome
    }

    private func write(_ batch: borrowing SampleBatch, latest: Int64) -> Bool {
        log.withLock { log in
            guard writePending(&log) else { return false }
            SeriesStore.encodeSamples(batch, latest: latest, into: &log.record)
            let newest = batch.timestamps.max() ?? batch.timestamp.milliseconds
            return attempt(&log) { (log) throws(FileError) in
                try log.writer.write(log.record)
                // What is refused for being too far ahead does not keep the segment.
                log.note(min(newest, latest), in: log.writer.segment)
            }
        }
    }

    /// Late samples have a log of their own, `wbl`, since in that of the others they are passed over when it is read.
    func logLate(_ batch: borrowing SampleBatch) -> Bool {
        log.withLock { log in
            guard writePending(&log) else { return false }
            SeriesStore.encodeSamples(batch, into: &log.record)
            figures.late.add(batch.count)
            return attempt(&log) { (log) throws(FileError) in
                if log.late == nil { try beginLateLog(&log) }
                try log.late?.write(log.record)
                log.lateSegment = log.late?.segment ?? log.lateSegment
            }
        }
    }

    func beginLateLog(_ log: inout LogState) throws(FileError) {
        let wbl = "\(directory)/wbl"
        try files.createDirectory(wbl)
        // An attempt that failed may have left its segment.
        let last = max(log.lateSegment, try LogReplay.segments(in: wbl, files).last ?? -1)
        log.late = try LogWriter(directory: wbl, files: files, segment: last + 1)
        log.lateSegment = last + 1
    }

    /// Writes the series that the log does not know yet; all of them after it was broken.
    func writePending(_ log: inout LogState) -> Bool {
        guard log.isBroken || !log.pending.isEmpty else { return true }
        // Each attempt writes every series: with many targets and a full disk not at each scrape of each of them.
        guard !log.isBroken || clock.uptimeNanoseconds() >= log.retryNanoseconds else { return false }
        return attempt(&log) { (log) throws(FileError) in
            if log.isBroken {
                // What the log missed meanwhile is unknown to a reader: begin with every series.
                if log.writer.segmentSize > 0 { try log.writer.beginSegment() }
                log.pending = allSeries()
            }
            try SeriesStore.writeSeries(log.pending, to: &log.writer, record: &log.record)
            log.pending.removeAll()
        }
    }

    func attempt(_ log: inout LogState, _ body: (inout LogState) throws(FileError) -> Void) -> Bool {
        do throws(FileError) {
            try body(&log)
            figures.logRecords.add()
            log.isBroken = false
            return true
        } catch {
            log.isBroken = true
            log.retryNanoseconds = clock.uptimeNanoseconds() + 1_000_000_000
            figures.logFailures.add()
            return false
        }
    }

    func allSeries() -> [(reference: SeriesReference, labels: Labels)] {
        head.withLock { head in
            head.index.slots.map { slot in
                (Head.reference(slot, head.series[Int(slot)].generation), head.labels(at: Int(slot)))
            } + (head.aliasedSlots + head.foreignSlots).map { ($0.reference, head.labels(at: Int($0.slot))) }
        }
    }

    /// Series in records of at most about a mebibyte.
    static func writeSeries(
        _ series: [(reference: SeriesReference, labels: Labels)], to writer: inout LogWriter, record: inout [UInt8]
    ) throws(FileError) {
        record.removeAll(keepingCapacity: true)
        for (reference, labels) in series {
            if record.isEmpty { record.append(LogFormat.Record.series.rawValue) }
            record.appendBigEndian(reference)
            record.append(labels)
            if record.count > 1 << 20 {
                try writer.write(record)
                record.removeAll(keepingCapacity: true)
            }
        }
        if !record.isEmpty { try writer.write(record) }
    }

    /// A samples record into a buffer that is used again and again, without samples after `latest`: the head refuses
    /// them, and to a reader of the log one of them would make all that follow too old.
    static func encodeSamples(_ batch: borrowing SampleBatch, latest: Int64 = .max, into record: inout [UInt8]) {
        let capacity = 17 + batch.count * 28
        if record.count < capacity { record += repeatElement(0, count: capacity - record.count) }
        let (references, values, times) = (batch.references, batch.values, batch.timestamps)
        let common = batch.timestamp.milliseconds
        let first = (reference: references[0], time: times.isEmpty ? common : times[0])
        let count = unsafe record.withUnsafeMutableBytes { buffer -> Int in
            // Safe: the buffer holds 28 bytes a sample, the most that two varints and a double take.
            let base = unsafe buffer.baseAddress.unsafelyUnwrapped
            unsafe base.storeBytes(of: LogFormat.Record.samples.rawValue, as: UInt8.self)
            unsafe base.storeBytes(of: first.reference.bigEndian, toByteOffset: 1, as: UInt64.self)
            unsafe base.storeBytes(of: first.time.bigEndian, toByteOffset: 9, as: Int64.self)
            var offset = 17
            func put(_ value: Int64) {
                var rest = UInt64(bitPattern: (value << 1) ^ (value >> 63))
                while rest >= 0x80 {
                    unsafe base.storeBytes(
                        of: UInt8(truncatingIfNeeded: rest) | 0x80, toByteOffset: offset, as: UInt8.self)
                    rest >>= 7
                    offset += 1
                }
                unsafe base.storeBytes(of: UInt8(rest), toByteOffset: offset, as: UInt8.self)
                offset += 1
            }
            for index in values.indices where (times.isEmpty ? common : times[index]) <= latest {
                put(Int64(bitPattern: references[index] &- first.reference))
                put((times.isEmpty ? common : times[index]) - first.time)
                unsafe base.storeBytes(of: values[index].bitPattern.bigEndian, toByteOffset: offset, as: UInt64.self)
                offset += 8
            }
            return offset
        }
        record.removeLast(record.count - count)
    }
}
