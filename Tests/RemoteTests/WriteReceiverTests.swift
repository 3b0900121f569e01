import Basics
import FoundationEssentials
import Model
import SwiftProtobuf
import TestSupport
import Testing

@testable import Remote

@Suite struct WriteReceiverTests {
    private let sink = RecordingSink()

    private func body(_ request: WireWriteRequest) -> [UInt8] { compressed(WireWriter.encoded(request)) }

    private func compressed(_ bytes: [UInt8]) -> [UInt8] {
        var body: [UInt8] = []
        unsafe Snappy.compress(bytes.span.bytes, into: &body)
        return body
    }

    private func series(_ labels: [(String, String)], _ samples: [(Int64, Double)]) -> WireTimeSeries {
        var series = WireTimeSeries()
        series.labels = labels.map { name, value in
            var label = WireLabel()
            (label.name, label.value) = (name, value)
            return label
        }
        series.samples = samples.map { time, value in
            var sample = WireSample()
            (sample.timestamp, sample.value) = (time, value)
            return sample
        }
        return series
    }

    private func request(_ series: [WireTimeSeries]) -> WireWriteRequest {
        var request = WireWriteRequest()
        request.timeseries = series
        return request
    }

    @Test("samples are stored with their times, staleness markers and labels in any order") func stores() {
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        let stale = SpecialValue.stale
        let answer = receiver.receive(
            body(
                request([
                    series([("__name__", "up"), ("job", "a"), ("zone", "")], [(1000, 1), (2000, 0)]),
                    series([("job", "a"), ("__name__", "gone")], [(2000, stale)]),
                ])), contentType: "application/x-protobuf", contentEncoding: "snappy")
        #expect(answer == .init(status: 204, reason: ""))
        let found = sink.samples.map {
            "\($0.labels) \($0.timestamp) \($0.value.isStaleMarker ? "stale" : "\($0.value)")"
        }
        #expect(
            found == ["up{job=\"a\"} 1000 1.0", "up{job=\"a\"} 2000 0.0", "gone{job=\"a\"} 2000 stale"])
    }

    @Test(
        "other types and encodings are refused with 415",
        arguments: [
            ("application/x-protobuf", "snappy", 204), ("", "", 204), ("application/x-protobuf", "SNAPPY", 204),
            ("application/x-protobuf;proto=prometheus.WriteRequest", "snappy", 204),
            ("application/x-protobuf; charset=utf-8; proto=\"prometheus.WriteRequest\"", "snappy", 204),
            ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", 415),
            ("application/json", "snappy", 415), ("application/x-protobuf", "gzip", 415),
            ("application/x-protobuf", "zstd", 415),
        ])
    func types(type: String, encoding: String, status: Int) {
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        let answer = receiver.receive(
            body(request([series([("__name__", "up")], [(1, 1)])])), contentType: type, contentEncoding: encoding)
        #expect(answer.status == status, "\(answer.reason)")
        #expect(sink.samples.count == (status == 204 ? 1 : 0))
    }

    @Test(
        "labels that are not valid are refused by name, and what is good beside them is stored",
        arguments: [
            ([("__name__", "a"), ("b", "1"), ("b", "2")], "the label \"b\" stands twice"),
            ([("b", "1"), ("__name__", "a"), ("b", "1")], "the label \"b\" stands twice"),
            ([("", "1"), ("__name__", "a")], "a label has no name"),
            ([("b", "1")], "has no __name__"), ([], "has no __name__"), ([("__name__", "")], "has no __name__"),
        ] as [([(String, String)], String)])
    func labels(labels: [(String, String)], reason: String) {
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        let answer = receiver.receive(
            body(request([series(labels, [(1, 1)]), series([("__name__", "good")], [(1, 1)])])), contentType: "",
            contentEncoding: "")
        #expect(answer.status == 400 && answer.reason.contains(reason), "\(answer.reason)")
        #expect(answer.reason.contains("1 samples are stored"))
        #expect(sink.samples.map(\.labels) == [["__name__": "good"]])
    }

    @Test("what the store refuses is counted and told with 400; the rest is stored") func refusals() throws {
        let limited = RecordingSink(seriesLimit: 1)
        let receiver = WriteReceiver(sink: limited, exemplars: nil)
        let answer = receiver.receive(
            body(request([series([("__name__", "a")], [(1, 1)]), series([("__name__", "b")], [(1, 1), (2, 1)])])),
            contentType: "", contentEncoding: "")
        #expect(
            answer
                == .init(status: 400, reason: "2 samples of new series beyond the limit; 1 samples are stored"))
        let family = receiver.metrics().first { $0.name == "vedette_write_receiver_refused_total" }
        #expect(family?.lines.first { $0.labels == ["reason": "series_limit"] }?.value == 2)
    }

    @Test("a native histogram is refused, and not in silence") func histograms() {
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        var one = series([("__name__", "h")], [])
        one.histograms = [.init([8, 1])]
        let answer = receiver.receive(body(request([one])), contentType: "", contentEncoding: "")
        #expect(answer.status == 400 && answer.reason.hasPrefix("1 native histograms, which are not stored"))
    }

    @Test("what is no message is refused whole, and never crashes (seeded)") func garbage() {
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        #expect(receiver.receive([1, 2, 3], contentType: "", contentEncoding: "").status == 400)
        let good = WireWriter.encoded(
            request((0..<5).map { series([("__name__", "m\($0)"), ("job", "a")], [(Int64($0), 1), (9, 2)]) }))
        for seed in UInt64(0)..<2000 {
            var random = SeededRandom(seed: seed)
            var bytes = good
            for _ in 0..<1 + random.next() % 4 {
                let place = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 3 {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.removeSubrange(place..<min(bytes.count, place + 3))
                default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
                }
            }
            let before = sink.samples.count
            let answer = receiver.receive(compressed(bytes), contentType: "", contentEncoding: "")
            #expect([204, 400].contains(answer.status), "seed \(seed)")
            if answer.reason.contains("no WriteRequest") { #expect(sink.samples.count == before, "seed \(seed)") }
        }
    }

    @Test("a body that grows beyond the limit is refused before it is made") func bomb() {
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        let bytes = [UInt8](repeating: 0, count: WriteReceiver.decodedBytes + 1)
        let answer = receiver.receive(compressed(bytes), contentType: "", contentEncoding: "")
        #expect(answer == .init(status: 400, reason: "the body is no Snappy block of 32 MiB at the most"))
        let long = series([("__name__", String(repeating: "x", count: 5 << 20))], [(1, 1)])
        let other = receiver.receive(body(request([long])), contentType: "", contentEncoding: "")
        #expect(other.status == 400 && other.reason.hasPrefix("a series is longer than 4 MiB"))
    }
}
