internal import Basics
public import Model
internal import SwiftProtobuf
internal import Synchronization

/// Takes what others send by remote write 1.0, and stores it.
///
/// What is good of a request is stored, whatever else is in it; what is not is counted and told with status 400, which
/// tells a sender not to send it again.
///
/// - SeeAlso: Prometheus, `storage/remote/write_handler.go`.
public final class WriteReceiver: MetricsSource {
    /// What is answered.
    public struct Answer: Sendable, Hashable {
        /// 204, 400 or 415.
        public var status: Int
        /// Why; empty when all is stored.
        public var reason: String
    }

    private let sink: any SampleSink
    private let exemplars: (any ExemplarSink)?
    private let requests = LabelledCounter(known: ["204", "400", "415"])
    private let refused = LabelledCounter(known: Refusals.names)
    private let stored = Counter(), storedExemplars = Counter()

    /// The longest request, decompressed, as in Prometheus.
    public static let decodedBytes = 32 << 20
    /// The longest series of a request: its parts take some twenty times as much while they are read.
    static let seriesBytes = 4 << 20

    /// A receiver over a store; without `exemplars` those are passed over.
    public init(sink: any SampleSink, exemplars: (any ExemplarSink)?) {
        (self.sink, self.exemplars) = (sink, exemplars)
    }

    /// Takes the body of a request. Blocks, about a microsecond a sample.
    public func receive(_ body: [UInt8], contentType: String, contentEncoding: String) -> Answer {
        let answer = answer(body, contentType, contentEncoding)
        requests.add("\(answer.status)")
        return answer
    }

    private func answer(_ body: [UInt8], _ contentType: String, _ contentEncoding: String) -> Answer {
        if let problem = WriteReceiver.objection(toType: contentType) { return Answer(status: 415, reason: problem) }
        // A sender of the first versions says nothing of it.
        guard ["", "snappy"].contains(contentEncoding.lowercased()) else {
            return Answer(
                status: 415, reason: "the content encoding '\(contentEncoding.prefix(40))' is not taken; use snappy")
        }
        guard let bytes = Snappy.decompress(body[...], limit: WriteReceiver.decodedBytes) else {
            return Answer(
                status: 400,
                reason: "the body is no Snappy block of \(WriteReceiver.decodedBytes >> 20) MiB at the most")
        }
        do throws(MalformedRequest) {
            return store(try ReceivedRequest(bytes))
        } catch {
            return Answer(status: 400, reason: error.reason)
        }
    }

    /// Why a content type is not taken; nil when it is.
    static func objection(toType text: String) -> String? {
        let parts = text.split(separator: ";").map { String($0).trimmed }
        guard let type = parts.first, !type.isEmpty else { return nil }
        guard type.lowercased() == "application/x-protobuf" else {
            return "the content type '\(type.prefix(60))' is not taken; use application/x-protobuf"
        }
        for parameter in parts.dropFirst() where parameter.lowercased().hasPrefix("proto=") {
            let message = parameter.dropFirst(6).filter { $0 != "\"" }
            guard message == "prometheus.WriteRequest" else {
                return "the message '\(message.prefix(60))' is not taken; use prometheus.WriteRequest, version 1.0"
            }
        }
        return nil
    }

    /// Why parts of a request are not stored.
    struct Refusals {
        var counts = [Int](repeating: 0, count: Refusals.names.count)
        var first: String?

        static let names = [
            "invalid_labels", "out_of_order", "duplicate", "out_of_bounds", "series_limit", "native_histogram",
        ]
        static let texts = [
            "series with labels that are not valid", "samples before the newest of their series",
            "samples at a moment that has another value", "samples too old or too far ahead",
            "samples of new series beyond the limit", "native histograms, which are not stored",
        ]

        /// `2 samples before the newest of their series`, joined; nil without any.
        var text: String? {
            let parts = counts.indices.filter { counts[$0] > 0 }.map { "\(counts[$0]) \(Refusals.texts[$0])" }
            guard !parts.isEmpty else { return nil }
            return parts.joined(separator: ", ") + (first.map { "; the first: \($0)" } ?? "")
        }
    }

    private func store(_ request: ReceivedRequest) -> Answer {
        var refusals = request.refusals
        var batch = SampleBatch(timestamp: .distantPast)
        var references = request.series.map { sink.reference(of: $0.labels) }
        func fill() {
            for (index, series) in request.series.enumerated() {
                guard let reference = references[index] else { continue }
                for sample in series.samples {
                    batch.append(reference, request.values[sample], at: request.times[sample])
                }
            }
        }
        fill()
        var outcome = batch.count > 0 ? sink.append(batch) : AppendOutcome()
        if outcome.gone > 0 {
            // The store let a series go since its reference was asked for. What was stored is equal, and passes.
            references = request.series.map { sink.reference(of: $0.labels) }
            batch.reset(to: .distantPast)
            fill()
            outcome = sink.append(batch)
        }
        refusals.counts[1] += outcome.outOfOrder
        refusals.counts[2] += outcome.duplicates
        refusals.counts[3] += outcome.outOfBounds
        for (index, series) in request.series.enumerated() where references[index] == nil {
            refusals.counts[4] += series.samples.count
        }
        stored.add(outcome.stored)
        if let exemplars, !request.exemplars.isEmpty {
            let found = request.exemplars.compactMap { one in
                references[one.series].map {
                    SeriesExemplar(reference: $0, series: request.series[one.series].labels, exemplar: one.exemplar)
                }
            }
            storedExemplars.add(found.count)
            exemplars.append(found)
        }
        for (name, count) in zip(Refusals.names, refusals.counts) where count > 0 { refused.add(name, count) }
        guard let text = refusals.text else { return Answer(status: 204, reason: "") }
        return Answer(status: 400, reason: "\(text); \(outcome.stored) samples are stored")
    }

    /// What came, and what became of it.
    public func metrics() -> [MetricFamily] {
        [
            MetricFamily(
                .counter, "vedette_write_receiver_requests_total", "Requests of remote write that came, by status.",
                requests.values.map { (["status": $0.name], Double($0.count)) }),
            MetricFamily(
                .counter, "vedette_write_receiver_samples_total", "Samples of them that were stored.", stored.value),
            MetricFamily(
                .counter, "vedette_write_receiver_exemplars_total", "Exemplars of them that were handed on.",
                storedExemplars.value),
            MetricFamily(
                .counter, "vedette_write_receiver_refused_total",
                "Samples of them that were not stored, and series with labels that are not valid, by reason.",
                refused.values.map { (["reason": $0.name], Double($0.count)) }),
        ]
    }
}

/// Why a request is none.
struct MalformedRequest: Error, Hashable {
    var reason: String
}

/// A request of remote write, read series by series, so that what is held besides it stays small.
struct ReceivedRequest {
    /// Labels, and where its samples stand in `times` and `values`.
    var series: [(labels: Labels, samples: Range<Int>)] = []
    var times: [Int64] = []
    var values: [Double] = []
    var exemplars: [(series: Int, exemplar: Exemplar)] = []
    /// What is refused by what it is, wherever it would be stored.
    var refusals = WriteReceiver.Refusals()

    init(_ bytes: [UInt8]) throws(MalformedRequest) {
        var offset = 0
        while offset < bytes.count {
            let tag = try ReceivedRequest.varint(bytes, &offset)
            switch tag & 7 {
            case 0: _ = try ReceivedRequest.varint(bytes, &offset)
            case 1: offset += 8
            case 5: offset += 4
            case 2:
                let count = try ReceivedRequest.varint(bytes, &offset)
                guard count <= bytes.count - offset else { throw ReceivedRequest.cut }
                let end = offset + Int(count)
                if tag >> 3 == 1 { try take(bytes[offset..<end]) }
                offset = end
            default: throw MalformedRequest(reason: "the body is no WriteRequest")
            }
            guard offset <= bytes.count else { throw ReceivedRequest.cut }
        }
    }

    private static let cut = MalformedRequest(reason: "the body is no WriteRequest: it ends within a field")

    private static func varint(_ bytes: [UInt8], _ offset: inout Int) throws(MalformedRequest) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard offset < bytes.count else { throw cut }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw MalformedRequest(reason: "the body is no WriteRequest: a number is too long")
    }

    private mutating func take(_ bytes: ArraySlice<UInt8>) throws(MalformedRequest) {
        guard bytes.count <= WriteReceiver.seriesBytes else {
            throw MalformedRequest(
                reason: "a series is longer than \(WriteReceiver.seriesBytes >> 20) MiB; send fewer samples at once")
        }
        let wire: WireTimeSeries
        do {
            wire = try WireTimeSeries(serializedBytes: Array(bytes))
        } catch {
            throw MalformedRequest(reason: "a series of the body cannot be read")
        }
        refusals.counts[5] += wire.histograms.count
        let labels: Labels
        switch ReceivedRequest.labels(wire.labels) {
        case .success(let valid): labels = valid
        case .failure(let problem):
            refusals.counts[0] += 1
            if refusals.first == nil { refusals.first = problem.reason }
            return
        }
        let first = values.count
        for sample in wire.samples {
            times.append(sample.timestamp)
            values.append(
                sample.value.isNaN && !sample.value.isStaleMarker ? SpecialValue.notANumber : sample.value)
        }
        for exemplar in wire.exemplars {
            let labels = Labels(exemplar.labels.map { Label($0.name, $0.value) })
            exemplars.append(
                (
                    series.count,
                    Exemplar(
                        labels: labels, value: exemplar.value,
                        timestamp: Timestamp(milliseconds: exemplar.timestamp))
                ))
        }
        series.append((labels, first..<values.count))
    }

    /// Labels that may be stored: named, none twice, a metric's name among them. An empty value is no label, and any
    /// order is taken, as Prometheus does.
    static func labels(_ wire: [WireLabel]) -> Result<Labels, MalformedRequest> {
        var labels = wire.map { Label($0.name, $0.value) }
        if !zip(labels, labels.dropFirst()).allSatisfy({ $0.name.isBefore($1.name) }) {
            labels.sort { $0.name.isBefore($1.name) }
            for (one, next) in zip(labels, labels.dropFirst()) where one.name.isSame(as: next.name) {
                return .failure(MalformedRequest(reason: "the label \(one.name.shown) stands twice"))
            }
        }
        if let first = labels.first, first.name.isEmpty {
            return .failure(MalformedRequest(reason: "a label has no name"))
        }
        labels.removeAll(where: \.value.isEmpty)
        let result = Labels(sortedUnique: labels)
        guard !result.metricName.isEmpty else {
            return .failure(MalformedRequest(reason: "{\(result.description.shown)} has no __name__"))
        }
        return .success(result)
    }
}

extension String {
    /// A sender's text in one of ours: one line, not too long.
    fileprivate var shown: String { String(asOneLine.prefix(100)).goQuoted }
}
