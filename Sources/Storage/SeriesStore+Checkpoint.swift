internal import Basics
public import Model
internal import Synchronization

extension SeriesStore {
    /// Removes log segments whose every sample is older than `time`. Their series, and the exemplars that are not as
    /// old, go into `checkpoint.NNNNNNNN` first, as Prometheus has it, so that a reader knows the references of the
    /// segments that stay.
    func forgetSegments(before time: Int64) {
        let wal = "\(directory)/wal"
        let (current, newest) = log.withLock { ($0.writer.segment, $0.newest) }
        do throws(FileError) {
            let names = try files.list(wal)
            let needed = oldestSegmentNeeded() ?? current
            var last: Int?
            for name in names {
                guard let number = Int(name), name.count == 8 else { continue }
                guard number < min(current, needed), newest[number] ?? .min < time else { break }
                last = number
            }
            guard let last else { return }
            noteLostSegments(below: last + 1)
            try writeCheckpoint(through: last, in: wal, since: time)
            for name in names {
                let number = name.hasPrefix("checkpoint.") ? Int(name.dropFirst(11)) : Int(name)
                guard let number, name.hasPrefix("checkpoint.") ? number < last : number <= last else { continue }
                try files.removeTree("\(wal)/\(name)")
            }
            log.withLock { log in log.newest = log.newest.filter { $0.key > last } }
            // Nothing of another writer is left.
            if last >= firstSegment - 1 { head.withLock { $0.foreign = [:] } }
            figures.checkpoints.add()
        } catch {
            figures.logFailures.add()
        }
    }

    private func writeCheckpoint(through segment: Int, in wal: String, since time: Int64) throws(FileError) {
        let name = "\(wal)/checkpoint.\(LogFormat.segmentName(segment))"
        if try files.attributes(of: name + ".tmp") != nil { try files.removeTree(name + ".tmp") }
        try files.createDirectory(name + ".tmp")
        var writer = try LogWriter(directory: name + ".tmp", files: files, segment: 0)
        var record: [UInt8] = []
        try SeriesStore.writeSeries(allSeries(), to: &writer, record: &record)
        let exemplars = exemplarRing.withLock { $0.all(since: Timestamp(milliseconds: time)) }
        let known = head.withLock { head in
            exemplars.compactMap { series, exemplar in
                head.find(series, hash: SeriesIndex.hash(series)).map {
                    SeriesExemplar(reference: $0, series: series, exemplar: exemplar)
                }
            }
        }
        var rest = known[...]
        while !rest.isEmpty {
            SeriesStore.encodeExemplars(Array(rest.prefix(4096)), into: &record)
            try writer.write(record)
            rest = rest.dropFirst(4096)
        }
        try writer.currentFile.synchronize()
        try files.synchronize(directory: name + ".tmp")
        try files.rename(name + ".tmp", to: name)
        try files.synchronize(directory: wal)
    }
}

extension SeriesStore: MetricsSource {
    /// What the store holds and what it refused.
    public func metrics() -> [MetricFamily] {
        let (series, created, removed, chunks, bytes, oldest, labels) = head.withLock {
            (
                $0.liveCount, $0.createdCount, $0.removedCount, $0.chunkCount, $0.chunkBytes, $0.minimumTime,
                $0.labelBytes
            )
        }
        let exemplars = exemplarRing.withLock { $0.count }
        let (segment, logBytes, isBroken) = log.withLock { ($0.writer.segment, $0.writer.segmentSize, $0.isBroken) }
        let counters: [(String, String, Int)] = [
            ("samples_appended_total", "Samples stored.", figures.stored.value),
            ("samples_duplicate_total", "Samples refused: another value at the same moment.", figures.duplicates.value),
            (
                "samples_out_of_order_total", "Samples refused: before the newest of the series.",
                figures.outOfOrder.value
            ),
            ("samples_out_of_bounds_total", "Samples refused: too old or too far ahead.", figures.outOfBounds.value),
            (
                "samples_unlogged_total", "Samples in memory alone: the disk refused the log.",
                figures.unloggedSamples.value
            ),
            ("series_created_total", "Series made.", created),
            ("series_removed_total", "Series let go.", removed),
            ("series_refused_total", "Series refused at the limit.", figures.refusedSeries.value),
            ("chunks_forgotten_total", "Chunks let go by age or size.", figures.forgottenChunks.value),
            ("log_records_total", "Records written to the log.", figures.logRecords.value),
            ("exemplars_appended_total", "Exemplars stored.", figures.exemplars.value),
            (
                "exemplars_out_of_order_total", "Exemplars refused: before the newest of the series.",
                figures.outOfOrderExemplars.value
            ),
            (
                "exemplars_too_long_total", "Exemplars refused: labels of more than \(Exemplar.labelLimit) characters.",
                figures.longExemplars.value
            ),
            (
                "exemplars_unlogged_total", "Exemplars in memory alone: the disk refused the log.",
                figures.unloggedExemplars.value
            ),
            ("samples_late_total", "Samples stored though newer ones of their series were there.", figures.late.value),
            ("head_cuts_total", "Blocks cut from the head.", figures.cuts.value),
            ("compactions_total", "Blocks made of other blocks.", figures.compactions.value),
            (
                "block_failures_total", "Cuts, compactions and removals of blocks that failed.",
                figures.blockFailures.value
            ),
            ("blocks_removed_total", "Blocks removed by age or size.", figures.blocksRemoved.value),
            ("chunks_stored_total", "Closed chunks written to chunks_head.", figures.storedChunks.value),
            (
                "chunk_store_failures_total",
                "Writes to chunks_head that the disk refused, and chunks of it that cannot be read.",
                figures.chunkFailures.value
            ),
            ("deletions_total", "Deletions of samples, counted by series.", figures.deletions.value),
            (
                "log_write_failures_total", "Writes and syncs of the log that the disk refused.",
                figures.logFailures.value
            ),
            ("log_syncs_total", "Syncs of the log to the disk.", figures.syncs.value),
            (
                "log_segments_lost_total",
                "Segments of the log let go, at the bound, before all who send them on had read them.",
                holds.lost.value
            ),
            (
                "log_checkpoints_total", "Checkpoints written before old segments were removed.",
                figures.checkpoints.value
            ),
        ]
        let blocks = shelf.blocks
        let gauges: [(String, String, Int)] = [
            ("blocks", "Blocks that are served.", blocks.count),
            ("blocks_set_aside", "Blocks that cannot be read and are not served.", shelf.setAside.count),
            ("blocks_bytes", "Bytes of the blocks that are served.", blocks.reduce(0) { $0 + $1.bytes }),
            ("series", "Series in memory.", series),
            ("exemplars", "Exemplars in memory.", exemplars),
            ("exemplars_limit", "The newest so many exemplars are kept.", settings.maximumExemplars),
            ("series_limit", "Series beyond this many are refused.", settings.maximumSeries),
            ("chunks", "Closed chunks of the head, in memory or in chunks_head.", chunks),
            ("head_bytes", "Bytes of chunks in memory.", bytes),
            ("label_bytes", "Bytes of label names and values in memory.", labels),
            (
                "head_bytes_limit",
                "Beyond this many bytes the oldest chunks go, and new series are refused for labels.",
                settings.maximumBytes
            ),
            ("oldest_sample_bound_seconds", "Samples before this time were let go.", max(0, Int(oldest / 1000))),
            ("log_segment", "The segment being written.", segment),
            ("log_bytes", "Bytes in the segment being written.", logBytes),
            ("log_broken", "1 while the disk refuses the log.", isBroken ? 1 : 0),
        ]
        return counters.map { MetricFamily(.counter, "vedette_storage_\($0)", $1, $2) }
            + gauges.map { MetricFamily(.gauge, "vedette_storage_\($0)", $1, $2) }
    }
}
