internal import Basics
internal import Model
internal import Synchronization

/// What is counted of one remote store, under the names that Prometheus has for it, so that its dashboards and alerts
/// read them.
///
/// - SeeAlso: Prometheus, `storage/remote/queue_manager.go`, `newQueueManagerMetrics`.
final class WriteFigures: Sendable {
    struct Values {
        var pendingSamples = 0, pendingExemplars = 0
        var shards = 0, desiredShards = 0
        /// Of what was sent, in milliseconds; nil: nothing yet.
        var newestSent: Int64?
        var newestRead: Int64?
        var buckets = [Int](repeating: 0, count: WriteFigures.bounds.count + 1)
        var secondsSum = 0.0
        var isFailing = false
        /// Bytes of the log that were not read yet, of the segment being written alone.
        var series = 0
    }
    /// Seconds of a request.
    static let bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300]

    let sentSamples = Counter(), sentExemplars = Counter(), sentMetadata = Counter()
    let failedSamples = Counter(), failedExemplars = Counter(), failedMetadata = Counter()
    let retriedSamples = Counter(), retriedExemplars = Counter(), retriedMetadata = Counter()
    let readSamples = Counter(), readExemplars = Counter()
    let droppedSamples = LabelledCounter(known: WriteFigures.reasons)
    let droppedExemplars = LabelledCounter(known: WriteFigures.reasons)
    let bytes = Counter(), metadataBytes = Counter(), waits = Counter(), missedSegments = Counter()
    let values = Mutex(Values())

    /// Why something is not sent: relabelling dropped its series, it is older than `sample_age_limit`, the log does not
    /// name its series, the store said of what was under way at a restart that it has it.
    static let reasons = ["dropped_series", "too_old", "unintentionally_dropped_series", "repeated"]

    func tookSeconds(_ seconds: Double) {
        values.withLock { values in
            let bucket = WriteFigures.bounds.firstIndex { seconds <= $0 } ?? WriteFigures.bounds.count
            values.buckets[bucket] += 1
            values.secondsSum += seconds
        }
    }
}

/// The metric families of all remote stores; none without one.
func writeFamilies(
    _ all: [(settings: RemoteWriteSettings, figures: WriteFigures)], newestStored: Int64?
) -> [MetricFamily] {
    guard !all.isEmpty else { return [] }
    let rows = all.map { one in
        (
            labels: Labels(["remote_name": one.settings.peer.name, "url": one.settings.peer.shownURL]), one.settings,
            one.figures, one.figures.values.withLock { $0 }
        )
    }
    typealias Row = (labels: Labels, RemoteWriteSettings, WriteFigures, WriteFigures.Values)
    func family(
        _ kind: MetricFamily.Kind, _ name: String, _ help: String, _ value: (Row) -> Double?
    ) -> MetricFamily {
        MetricFamily(
            kind, "prometheus_remote_storage_\(name)", help,
            rows.compactMap { row in value(row).map { (row.labels, $0) } })
    }
    func counter(_ name: String, _ help: String, _ value: (WriteFigures) -> Counter) -> MetricFamily {
        family(.counter, name, help) { Double(value($0.2).value) }
    }
    func dropped(_ name: String, _ help: String, _ value: (WriteFigures) -> LabelledCounter) -> MetricFamily {
        let lines = rows.flatMap { row in
            value(row.2).values.map { (row.labels.merging(["reason": $0.name]), Double($0.count)) }
        }
        return MetricFamily(.counter, "prometheus_remote_storage_\(name)", help, lines)
    }
    func seconds(_ time: Int64?) -> Double? { time.map { Double($0.flooringDivision(by: 1000)) } }
    var durations = MetricFamily(
        .histogram, "prometheus_remote_storage_sent_batch_duration_seconds", "How long requests took.", [])
    for row in rows {
        var sum = 0
        for (index, count) in row.3.buckets.enumerated() {
            sum += count
            let bound = index < WriteFigures.bounds.count ? GoNumber.shortest(WriteFigures.bounds[index]) : "+Inf"
            durations.lines.append(
                .init(suffix: "_bucket", labels: row.labels.merging(["le": bound]), value: Double(sum)))
        }
        durations.lines.append(.init(suffix: "_sum", labels: row.labels, value: row.3.secondsSum))
        durations.lines.append(.init(suffix: "_count", labels: row.labels, value: Double(sum)))
    }
    return [
        MetricFamily(
            .gauge, "prometheus_remote_storage_highest_timestamp_in_seconds", "The newest sample in the store.",
            seconds(newestStored).map { [(Labels(), $0)] } ?? []),
        family(.gauge, "queue_highest_timestamp_seconds", "The newest sample that was read to be sent.") {
            seconds($0.3.newestRead)
        },
        family(.gauge, "queue_highest_sent_timestamp_seconds", "The newest sample that was sent.") {
            seconds($0.3.newestSent)
        },
        counter("samples_in_total", "Samples read from the log.") { $0.readSamples },
        counter("exemplars_in_total", "Exemplars read from the log.") { $0.readExemplars },
        counter("samples_total", "Samples that were taken.") { $0.sentSamples },
        counter("exemplars_total", "Exemplars that were taken.") { $0.sentExemplars },
        counter("metadata_total", "Metrics whose metadata was taken.") { $0.sentMetadata },
        counter("samples_failed_total", "Samples that were refused, and are not sent again.") { $0.failedSamples },
        counter("exemplars_failed_total", "Exemplars that were refused.") { $0.failedExemplars },
        counter("metadata_failed_total", "Metrics whose metadata was not taken.") { $0.failedMetadata },
        counter("samples_retried_total", "Samples that are sent again, each time.") { $0.retriedSamples },
        counter("exemplars_retried_total", "Exemplars that are sent again.") { $0.retriedExemplars },
        counter("metadata_retried_total", "Metrics whose metadata is sent again.") { $0.retriedMetadata },
        dropped("samples_dropped_total", "Samples that were not sent, by reason.") { $0.droppedSamples },
        dropped("exemplars_dropped_total", "Exemplars that were not sent, by reason.") { $0.droppedExemplars },
        counter("bytes_total", "Bytes of samples that were taken, compressed.") { $0.bytes },
        counter("metadata_bytes_total", "Bytes of metadata that were taken, compressed.") { $0.metadataBytes },
        counter("enqueue_retries_total", "How often the log was not read on since a shard was full.") { $0.waits },
        family(.gauge, "samples_pending", "Samples that wait in the shards.") { Double($0.3.pendingSamples) },
        family(.gauge, "exemplars_pending", "Exemplars that wait in the shards.") { Double($0.3.pendingExemplars) },
        family(.gauge, "shards", "Requests that may be under way at once.") { Double($0.3.shards) },
        family(.gauge, "shards_desired", "As many as the load asks for.") { Double($0.3.desiredShards) },
        family(.gauge, "shards_min", "The least of them.") { Double($0.1.queue.minimumShards) },
        family(.gauge, "shards_max", "The most of them.") { Double($0.1.queue.maximumShards) },
        family(.gauge, "shard_capacity", "Samples that may wait in a shard.") { Double($0.1.queue.capacity) },
        family(.gauge, "max_samples_per_send", "Samples of a request.") { Double($0.1.queue.samplesPerSend) },
        durations,
        MetricFamily(
            .gauge, "vedette_remote_write_failing", "1 while requests are tried again.",
            rows.map { ($0.labels, $0.3.isFailing ? 1 : 0) }),
        MetricFamily(
            .gauge, "vedette_remote_write_series", "Series whose labels are kept ready.",
            rows.map { ($0.labels, Double($0.3.series)) }),
        MetricFamily(
            .counter, "vedette_remote_write_missed_segments_total",
            "Segments of the log that were gone before they were sent.",
            rows.map { ($0.labels, Double($0.2.missedSegments.value)) }),
    ]
}
