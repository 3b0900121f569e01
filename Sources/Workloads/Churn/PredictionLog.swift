internal import Basics
internal import Model
internal import SQL
internal import Synchronization

/// Predictions on their way to the database: a bounded list that takes a row at once or drops it, counted, so that a
/// slow or dead database neither slows nor fails a prediction.
final class PredictionLog: Sendable {
    private struct State {
        var rows: [[SQLValue]] = []
        var written = 0
        var dropped = 0
        var failures = 0
        var number = 0
    }
    private let state = Mutex(State())
    private let database: any SQLDatabase
    private let clock: any TimeSource
    private let log: any LogSink
    /// Makes the rows' keys unlike those of any other process.
    private let run: String
    /// How many rows may wait.
    let limit: Int
    static let batch = 500

    init(database: any SQLDatabase, clock: any TimeSource, log: any LogSink, run: String, limit: Int) {
        (self.database, self.clock, self.log, self.run, self.limit) = (database, clock, log, run, limit)
    }

    func add(
        _ input: ChurnInput, probability: Double, risk: ChurnRisk, source: String, version: Int, at now: Timestamp
    ) {
        let features = input.document.text
        state.withLock { state in
            guard state.rows.count < limit else {
                state.dropped += 1
                return
            }
            state.number += 1
            state.rows.append([
                .text("\(run)-\(state.number)"), .text(input.tenant), .text(input.customer),
                .integer(now.milliseconds), .int(version), .text(source), .real(probability), .text(risk.rawValue),
                .text(features),
            ])
        }
    }

    /// How many rows wait.
    var waiting: Int { state.withLock { $0.rows.count } }
    var dropped: Int { state.withLock { $0.dropped } }
    var written: Int { state.withLock { $0.written } }

    /// Writes for as long as the task lives: each second what is there; after a failure the pause grows to a minute.
    @concurrent func run() async {
        var pause: Milliseconds = 1000
        while !Task.isCancelled {
            do throws(CancellationError) { try await clock.sleep(for: pause) } catch { break }
            pause = await flush() ? 1000 : min(pause * 2, 60_000)
        }
        _ = await flush()
    }

    /// Writes all that waits, in batches.
    ///
    /// - Returns: Whether it went well. What was not written waits on.
    @concurrent func flush() async -> Bool {
        while true {
            let batch = state.withLock { Array($0.rows.prefix(PredictionLog.batch)) }
            guard !batch.isEmpty else { return true }
            do throws(SQLError) {
                // A batch that was written although its commit's answer was lost comes twice: its keys are known then.
                try await database.insert(
                    into: BusinessTables.predictions.name, BusinessTables.predictions.columnNames, batch,
                    ignoresKnown: true)
            } catch {
                let isFirst = state.withLock { state in
                    state.failures += 1
                    return state.failures == 1
                }
                if isFirst {
                    log.write(LogEvent(.warning, "prediction-log", "Predictions cannot be logged now: \(error)"))
                }
                return false
            }
            state.withLock { state in
                state.rows.removeFirst(batch.count)
                state.written += batch.count
                state.failures = 0
            }
        }
    }

    func metrics() -> [MetricFamily] {
        let (written, dropped, waiting, failures) = state.withLock {
            ($0.written, $0.dropped, $0.rows.count, $0.failures)
        }
        return [
            MetricFamily(
                .counter, "churn_prediction_log_rows_total", "Logged predictions by what became of them.",
                [
                    (["outcome": "written"] as Labels, Double(written)),
                    (["outcome": "dropped"] as Labels, Double(dropped)),
                ]),
            MetricFamily(.gauge, "churn_prediction_log_waiting", "Predictions that wait to be logged.", waiting),
            MetricFamily(
                .gauge, "churn_prediction_log_failing", "Failed tries to log since the last that went well.", failures),
        ]
    }
}
