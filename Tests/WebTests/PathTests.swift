import Basics
import Model
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Web

/// Paths and parameters of somebody who wants what their role does not give.
@Suite struct PathTests {
    /// A workloads' process that answers everything, and remembers what it was asked.
    private final class Listening: HTTPTransport {
        let asked = Mutex<[HTTPRequest]>([])
        func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
            asked.withLock { $0.append(request) }
            return HTTPResponse(status: 200, headers: [HTTPHeader("Content-Type", "application/json")], body: [])
        }
    }

    @Test(
        "no path of a model's leads out of it",
        arguments: [
            "/api/v1/ml/predict/../reload", "/api/v1/ml/predict/./churn", "/api/v1/ml/predict/..",
            "/api/v1/ml/predict/../../analytics/users/churn/train", "/api/v1/ml/../../../metrics",
        ]) func climbing(path: String) async throws
    {
        let transport = Listening()
        var context = try await WebBench().api.context
        context.workloads = Forwarder(transport, socket: "s")
        #expect(await API(context).answer(APIRequest(method: "POST", path: path)).status == 404)
        #expect(transport.asked.withLock { $0.isEmpty })
    }

    @Test("what is passed on is the path, the query and the body as they came") func passed() async throws {
        let transport = Listening()
        var context = try await WebBench().api.context
        context.workloads = Forwarder(transport, socket: "s")
        let path = "/api/v1/ml/predict/\u{301}a b/%2F+"
        let request = APIRequest(method: "POST", path: path, query: "x=1", body: Array("y=2".utf8), isForm: true)
        #expect(await API(context).answer(request).status == 200)
        let sent = try #require(transport.asked.withLock { $0.first })
        #expect(sent.url == "http://workloads/api/v1/ml/predict/%CC%81a%20b/%252F%2B?x=1")
        #expect(sent.body == Array("y=2".utf8))
    }

    @Test("a mark behind a slash or a sign is no part of it") func marks() async throws {
        let bench = try await WebBench()
        let answer = await bench.api.answer(
            APIRequest(method: "POST", path: "/api/vedette/v1/rollbacks/\u{1F3FB}/cancel"))
        #expect(answer.status == 404)
        #expect(answer.contentType == "application/json")
        #expect(APIRequest(path: "/api/v1/ml/predict/\u{301}", query: "").role == .viewer)
        #expect(APIRequest(method: "POST", path: "/-/\u{301}reload").role == .admin)
        let request = APIRequest(method: "POST", path: "/", body: Array("a=\u{301}&\u{301}b=2".utf8), isForm: true)
        #expect(request.parameters.map(\.name) == ["a", "\u{301}b"])
        #expect(request.parameter("a") == "\u{301}")
    }

    @Test(
        "a path's plus is a plus, and what is no hexadecimal digit is none",
        arguments: [
            ("a+b", "a+b", "a b"), ("%2B", "+", "+"), ("%+1%-1", "%+1%-1", "% 1%-1"), ("%4", "%4", "%4"),
            ("%", "%", "%"), ("%zz%41", "%zzA", "%zzA"), ("%C3%A4", "ä", "ä"), ("%00", "\0", "\0"),
        ]) func decoding(text: String, path: String, form: String)
    {
        #expect(APIRequest.percentDecoded(text[...]) == path)
        #expect(APIRequest.percentDecoded(text[...], isForm: true) == form)
    }

    @Test("a change is one short line of the record, whatever stands in the request") func record() {
        var request = APIRequest(method: "POST", path: "/-/reload", query: "by=%0aforged%1b[2J%e2%80%ae")
        let caller = Caller(name: "ann", role: .admin)
        let moment = Timestamp(milliseconds: 0)
        #expect(AuditEntry(request, caller, now: moment).request == "POST /-/reload?by=\\nforged\\u{1b}[2J\\u{202e}")
        request.parameters = [("by", "e" + String(repeating: "\u{301}", count: 100_000))]
        #expect(AuditEntry(request, caller, now: moment).request.utf8.count < 1000)
    }
}
