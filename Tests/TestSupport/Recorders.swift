public import Basics
public import Model
import Synchronization

/// Remembers log events.
public final class RecordingLog: LogSink {
    private let state = Mutex<[LogEvent]>([])
    public init() {}
    public var events: [LogEvent] { state.withLock { $0 } }
    public func write(_ event: LogEvent) { state.withLock { $0.append(event) } }
}

/// Numbers series and remembers samples; with `keeps` false it only counts, without allocating.
public final class RecordingSink: SampleSink {
    private struct State {
        var references: [Labels: SeriesReference] = [:]
        var labels: [SeriesReference: Labels] = [:]
        var samples: [(labels: Labels, timestamp: Int64, value: Double)] = []
        var count = 0
        var next: SeriesReference = 1
    }
    private let state = Mutex(State())
    private let keeps: Bool
    private let limit: Int

    public init(keeps: Bool = true, seriesLimit: Int = .max) { (self.keeps, limit) = (keeps, seriesLimit) }

    public var count: Int { state.withLock { $0.count } }
    public var samples: [(labels: Labels, timestamp: Int64, value: Double)] { state.withLock { $0.samples } }
    /// The samples of one series, by its printed form.
    public func values(of series: String) -> [Double] {
        samples.filter { $0.labels.description == series }.map(\.value)
    }

    public func reference(of labels: Labels) -> SeriesReference? {
        state.withLock { state in
            if let known = state.references[labels] { return known }
            guard state.references.count < limit else { return nil }
            let reference = state.next
            state.next += 1
            state.references[labels] = reference
            state.labels[reference] = labels
            return reference
        }
    }

    /// Lets every series go, as a store does with what is too old: the references given so far are dead.
    public func forget() {
        state.withLock { state in
            state.references = [:]
            state.labels = [:]
        }
    }

    public func append(_ batch: borrowing SampleBatch) -> AppendOutcome {
        var outcome = AppendOutcome()
        outcome.stored = batch.count
        let (references, values, times, common) = (batch.references, batch.values, batch.timestamps, batch.timestamp)
        state.withLock { state in
            state.count += values.count
            guard keeps else { return }
            for (index, reference) in references.enumerated() {
                let time = times.isEmpty ? common.milliseconds : times[index]
                guard let labels = state.labels[reference] else {
                    outcome.gone += 1
                    continue
                }
                state.samples.append((labels, time, values[index]))
            }
        }
        return outcome
    }
}
