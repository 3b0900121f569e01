internal import Basics
public import Model
internal import Synchronization

extension SeriesStore {
    /// Removes log segments whose every sample is older than `time`. Their series go into `checkpoint.NNNNNNNN` first,
    /// as Prometheus has it, so that a reader knows the references of the segments that stay.
    func forgetSegments(before time: Int64) {
        let wal = "\(directory)/wal"
        let current = log.withLock { $0.writer.segment }
        do throws(FileError) {
            let names = try files.list(wal)
            let needed = oldestSegmentNeeded() ?? current
            var last: Int?
            for name in names {
                guard let number = Int(name), name.count == 8, number < min(current - 1, needed) else { continue }
                // A segment's newest sample is about as old as its last write.
                guard let changed = try files.attributes(of: "\(wal)/\(name)")?.modified, changed.milliseconds < time
                else { break }
                last = number
            }
            guard let last else { return }
            noteLostSegments(below: last + 1)
            try writeCheckpoint(through: last, in: wal)
            for name in names {
                let number = name.hasPrefix("checkpoint.") ? Int(name.dropFirst(11)) : Int(name)
                guard let number, name.hasPrefix("checkpoint.") ? number < last : number <= last else { continue }
                try removeTree("\(wal)/\(name)")
            }
            figures.checkpoints.add()
        } catch {
            figures.logFailures.add()
        }
    }

    private func writeCheckpoint(through segment: Int, in wal: String) throws(FileError) {
        let name = "\(wal)/checkpoint.\(LogFormat.segmentName(segment))"
        if try files.attributes(of: name + ".tmp") != nil { try removeTree(name + ".tmp") }
        try files.createDirectory(name + ".tmp")
        var writer = try LogWriter(directory: name + ".tmp", files: files, segment: 0)
        var record: [UInt8] = []
        try SeriesStore.writeSeries(allSeries(), to: &writer, record: &record)
        try writer.currentFile.synchronize()
        try files.rename(name + ".tmp", to: name)
        try files.synchronize(directory: wal)
    }

    private func removeTree(_ path: String) throws(FileError) {
        if try files.attributes(of: path)?.isDirectory ?? false {
            for name in try files.list(path) { try removeTree("\(path)/\(name)") }
        }
        try files.remove(path)
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
        let gauges: [(String, String, Int)] = [
            ("series", "Series in memory.", series),
            ("exemplars", "Exemplars in memory.", exemplars),
            ("exemplars_limit", "The newest so many exemplars are kept.", settings.maximumExemplars),
            ("series_limit", "Series beyond this many are refused.", settings.maximumSeries),
            ("chunks", "Closed chunks in memory.", chunks),
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
