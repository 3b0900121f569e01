import Basics
import Model
import Synchronization
import SwiftProtobuf
import TestSupport
import Transport

@testable import Remote

/// A log in memory: records of `bytes` each, some to a segment.
final class MemoryTail: LogTail {
    struct State {
        var records: [LogRecord] = []
        var segment = 0
        var offset = 0
        var first = 0
        var holds: [String: Int] = [:]
        var newest: Int64?
        var checkpoint: (segment: Int, alive: Set<SeriesReference>)?
    }
    let state = Mutex(State())
    private let references = Mutex<[Labels: SeriesReference]>([:])

    func append(_ content: LogRecord.Content) {
        state.withLock { state in
            state.records.append(LogRecord(at: LogPosition(segment: state.segment, offset: state.offset), content))
            state.offset += 100
            if state.offset >= 1000 { (state.segment, state.offset) = (state.segment + 1, 0) }
        }
    }
    /// Samples at one moment, their series named first where they are new.
    func append(_ time: Int64, _ samples: [(labels: Labels, value: Double)]) {
        var logged = LoggedSamples()
        var fresh: [(reference: SeriesReference, labels: Labels)] = []
        references.withLock { references in
            for (labels, value) in samples {
                if references[labels] == nil {
                    references[labels] = SeriesReference(references.count + 1)
                    fresh.append((references[labels] ?? 0, labels))
                }
                logged.references.append(references[labels] ?? 0)
                logged.times.append(time)
                logged.values.append(value)
            }
        }
        if !fresh.isEmpty { append(.series(fresh)) }
        append(.samples(logged))
        state.withLock { $0.newest = max($0.newest ?? time, time) }
    }
    /// Segments below are gone.
    func forget(below segment: Int) {
        state.withLock { state in
            state.first = segment
            state.records.removeAll { $0.position.segment < segment }
        }
    }

    var holds: [String: Int] { state.withLock { $0.holds } }
    var logEnd: LogPosition { state.withLock { LogPosition(segment: $0.segment, offset: $0.offset) } }
    var newestSampleTime: Int64? { state.withLock { $0.newest } }
    func newestCheckpoint() throws(FileError) -> Int? { state.withLock { $0.checkpoint?.segment } }
    func readLog(from position: LogPosition, limit: Int) throws(FileError) -> LogPortion {
        state.withLock { state in
            let end = LogPosition(segment: state.segment, offset: state.offset)
            var portion = LogPortion(end: position)
            if position.segment < state.first {
                portion.missedSegments = state.first - position.segment
                portion.end = LogPosition(segment: state.first)
                return portion
            }
            let rest = state.records.filter { $0.position >= position }
            portion.records = Array(rest.prefix(3))
            portion.end = rest.count > 3 ? rest[3].position : end
            portion.isLast = rest.count <= 3
            return portion
        }
    }
    func readSeries(
        before position: LogPosition, checkpointOnly: Bool, _ take: (SeriesReference, Labels) -> Void
    ) throws(FileError) {
        let (records, checkpoint) = state.withLock { ($0.records, $0.checkpoint) }
        for record in records where record.position < position {
            guard case .series(let named) = record.content else { continue }
            for (reference, labels) in named {
                if record.position.segment <= checkpoint?.segment ?? -1 {
                    if checkpoint?.alive.contains(reference) ?? false { take(reference, labels) }
                } else if !checkpointOnly {
                    take(reference, labels)
                }
            }
        }
    }
    func holdLog(from segment: Int?, for reader: String) { state.withLock { $0.holds[reader] = segment } }
}

/// A store at the other end as Prometheus is: a request with one sample that is too old for its series is refused
/// whole. What happens to a request on its way is told by `fate`.
final class StrictStore: HTTPTransport {
    enum Fate: Sendable {
        case taken
        /// It arrives, and the answer does not.
        case unanswered
        case lost
        case status(Int, retryAfter: String?)
    }
    struct State {
        var series: [Labels: [(time: Int64, value: UInt64)]] = [:]
        var requests = 0
        var refused = 0
        var metadata: [String: String] = [:]
        var exemplars: [String] = []
        var headers: [HTTPHeader] = []
        var moments: [Timestamp] = []
    }
    let state = Mutex(State())
    private let clock: SimulatedExecutor
    private let fate: @Sendable (_ at: Timestamp, _ random: UInt64) -> Fate

    init(
        _ clock: SimulatedExecutor, after other: StrictStore? = nil,
        _ fate: @escaping @Sendable (Timestamp, UInt64) -> Fate
    ) {
        (self.clock, self.fate) = (clock, fate)
        if let known = other?.state.withLock({ $0 }) { state.withLock { $0 = known } }
    }

    var series: [Labels: [(time: Int64, value: UInt64)]] { state.withLock { $0.series } }

    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        state.withLock { state in
            state.requests += 1
            state.headers = request.headers
            state.moments.append(clock.now())
        }
        let random = clock.random()
        let fate = fate(clock.now(), random)
        try await pause(random % 50)
        switch fate {
        case .lost: throw .unreachable("Connection refused")
        case .status(let status, let after):
            return HTTPResponse(
                status: status, headers: after.map { [HTTPHeader("retry-after", $0)] } ?? [],
                body: Array("no: hunter22\n".utf8))
        case .unanswered:
            _ = take(request)
            try await pause(UInt64(request.timeout))
            throw .interrupted("timed out", requestWasSent: true)
        case .taken:
            let isTaken = take(request)
            // A kill may come between what it did and what it says.
            try await pause(random >> 8 % 200)
            return HTTPResponse(status: isTaken ? 204 : 400, body: Array((isTaken ? "" : "out of order").utf8))
        }
    }

    private func pause(_ length: UInt64) async throws(TransportError) {
        do throws(CancellationError) {
            try await clock.sleep(for: Milliseconds(length))
        } catch {
            throw .interrupted("cancelled", requestWasSent: true)
        }
    }

    private func take(_ request: HTTPRequest) -> Bool {
        guard let bytes = Snappy.decompress(request.body[...], limit: 32 << 20),
            let message = try? WireWriteRequest(serializedBytes: bytes)
        else { return false }
        return state.withLock { state in
            var fresh = state.series
            for one in message.metadata { state.metadata[one.metricFamilyName] = "\(one.type) \(one.help)" }
            for one in message.timeseries {
                let labels = Labels(one.labels.map { Label($0.name, $0.value) })
                for exemplar in one.exemplars {
                    state.exemplars.append("\(labels) \(Labels(exemplar.labels.map { Label($0.name, $0.value) }))")
                }
                for sample in one.samples {
                    let bits = sample.value.bitPattern
                    if let last = fresh[labels]?.last {
                        if last.time == sample.timestamp, last.value == bits { continue }
                        guard sample.timestamp > last.time else {
                            state.refused += 1
                            return false
                        }
                    }
                    fresh[labels, default: []].append((sample.timestamp, bits))
                }
            }
            state.series = fresh
            return true
        }
    }
}
