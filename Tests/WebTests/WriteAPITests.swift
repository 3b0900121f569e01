import Basics
import Remote
import Settings
import TestSupport
import Testing

@testable import Web

/// The receiver of remote write behind its path.
@Suite struct WriteAPITests {
    /// `up{job="a"} 1.5 @ 1`, as a Snappy block of literals.
    private static let body: [UInt8] = {
        let labels: [UInt8] = label("__name__", "up") + label("job", "a")
        let sample: [UInt8] = [0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0x10, 1]
        let series = labels + sample
        let message = [0x0A, UInt8(series.count)] + series
        var body: [UInt8] = []
        unsafe Snappy.compress(message.span.bytes, into: &body)
        return body
    }()

    private static func label(_ name: String, _ value: String) -> [UInt8] {
        let pair =
            [0x0A, UInt8(name.utf8.count)] + Array(name.utf8) + [0x12, UInt8(value.utf8.count)] + Array(value.utf8)
        return [0x0A, UInt8(pair.count)] + pair
    }

    private func request(_ body: [UInt8] = body, type: String = "application/x-protobuf") -> APIRequest {
        var request = APIRequest(method: "POST", path: "/api/v1/write", body: body)
        (request.contentType, request.contentEncoding) = (type, "snappy")
        return request
    }

    @Test("samples are stored where the receiver is on, and it is told which it is") func writes() async throws {
        let bench = try await WebBench()
        let sink = RecordingSink()
        let receiver = WriteReceiver(sink: sink, exemplars: nil)
        for isOn in [false, true] {
            var context = bench.api.context
            if isOn { context.receiver = { receiver } }
            let api = API(context)
            let answer = await api.answer(request())
            #expect(answer.status == (isOn ? 204 : 404))
            let features = try JSON(parsing: await api.answer(APIRequest(path: "/api/v1/features")).body)
            #expect(features["data"]?["api"]?["remote_write_receiver"] == .bool(isOn))
            guard isOn else {
                #expect(String(decoding: answer.body, as: UTF8.self).contains("web: {remote_write_receiver: true}"))
                continue
            }
            #expect(answer.body.isEmpty)
            #expect(sink.samples.map { "\($0.labels) \($0.timestamp) \($0.value)" } == ["up{job=\"a\"} 1 1.5"])
            #expect(await api.answer(request([1, 2, 3])).status == 400)
            #expect(await api.answer(request(type: "text/plain")).status == 415)
            #expect(await api.answer(APIRequest(path: "/api/v1/write")).status == 405)
        }
    }

    @Test("it takes an operator, is off by default, and stands in no audit record: samples are no change") func rights()
        throws
    {
        #expect(request().role == .operator_ && !request().isChange)
        func settings(_ text: String) throws -> WebSettings {
            try WebSettings(from: SettingsDocument(text, file: "v.yaml").map())
        }
        #expect(try !settings("{}").takesRemoteWrite)
        #expect(try settings("{remote_write_receiver: true}").takesRemoteWrite)
    }
}
