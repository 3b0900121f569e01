import Basics
import Model
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Remote

@Suite struct QuerySourceTests {
    /// Answers every request alike.
    private final class Server: HTTPTransport {
        let answer: Result<HTTPResponse, TransportError>
        let requests = Mutex<[HTTPRequest]>([])
        init(_ answer: Result<HTTPResponse, TransportError>) { self.answer = answer }
        func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
            requests.withLock { $0.append(request) }
            return try answer.get()
        }
    }

    private func source(_ answer: Result<HTTPResponse, TransportError>) -> (QuerySource, Server) {
        let server = Server(answer)
        let peer = RemotePeer(name: "far", url: "http://user:hunter22@far/prometheus")
        let clock = SimulatedExecutor(seed: 1, start: at(0))
        return (QuerySource(peer, transport: server, clock: clock, readFile: { _ in [] }), server)
    }

    private func body(_ status: Int, _ text: String) -> Result<HTTPResponse, TransportError> {
        .success(HTTPResponse(status: status, body: Array(text.utf8)))
    }

    @Test("a vector and a scalar are read; the question has expression, moment and timeout") func reads() async throws {
        let (source, server) = source(
            body(
                200,
                #"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"#
                    + #""value":[1,"1.5"]},{"metric":{},"value":[1,"NaN"]},{"metric":{"b":""},"value":[1,"+Inf"]}]},"#
                    + #""warnings":["PromQL warning: odd (1:1)"]}"#))
        let found = try await source.instant("sum by (job) (up) > 0", at: Timestamp(milliseconds: 1_234))
        #expect(found.map(\.labels) == [["__name__": "up", "job": "a"], [:], [:]])
        #expect(found[0].value == 1.5 && found[1].value.isNaN && found[2].value == .infinity)
        let request = try #require(server.requests.withLock { $0.first })
        #expect(request.url == "http://user:hunter22@far/prometheus/api/v1/query" && request.method == "POST")
        #expect(
            String(decoding: request.body, as: UTF8.self)
                == "query=sum+by+%28job%29+%28up%29+%3E+0&time=1.234&timeout=30s")
        #expect(request.timeout == 30_000 && request.maximumResponseBytes == 16 << 20)
        #expect(source.peer.shownURL == "http://far/prometheus")
        let (scalar, _) = self.source(
            body(200, #"{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}"#))
        #expect(try await scalar.instant("3", at: at(1)).map(\.value) == [3])
    }

    @Test(
        "each failure is told by its kind, without a secret",
        arguments: [
            (
                400, #"{"status":"error","errorType":"bad_data","error":"parse error"}"#, "refused",
                "HTTP 400: parse error"
            ),
            (401, "hunter22 is wrong", "refused", "HTTP 401: <secret> is wrong"),
            (422, #"{"status":"error","error":"too many samples"}"#, "refused", "too many samples"),
            (429, "", "unavailable", "HTTP 429"), (503, "starting", "unavailable", "HTTP 503: starting"),
            (200, "<html>hello</html>", "malformed", "check the url"),
            (200, #"{"status":"success"}"#, "malformed", "check the url"),
            (200, #"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, "malformed", "'matrix'"),
            (200, #"{"status":"success","data":{"resultType":"string","result":[1,"x"]}}"#, "malformed", "'string'"),
            (200, #"{"status":"success","data":{"resultType":"vector"}}"#, "malformed", "no result"),
            (
                200, #"{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]}]}}"#, "malformed",
                "no labels"
            ),
            (
                200,
                #"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":1},"value":[1,"1"]}]}}"#,
                "malformed", "no labels"
            ),
            (
                200, #"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}"#,
                "malformed", "no value"
            ),
            (
                200,
                #"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}"#,
                "malformed", "no value"
            ),
            (
                200,
                #"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["No StoreAPIs matched"]}"#,
                "partial", "the answer is not whole: No StoreAPIs matched"
            ),
        ])
    func failures(status: Int, text: String, kind: String, reason: String) async throws {
        let (source, _) = source(body(status, text))
        do {
            _ = try await source.instant("up", at: at(1))
            Issue.record("it has a value")
        } catch {
            #expect(error.kind.rawValue == kind)
            #expect(
                error.reason.contains(reason) && error.reason.hasPrefix("query source 'far': ")
                    && !error.reason.contains("hunter22"), "\(error.reason)")
        }
        let family = source.metrics().first { $0.name == "vedette_query_source_failures_total" }
        #expect(family?.lines.first { $0.labels == ["source": "far", "reason": kind] }?.value == 1)
    }

    @Test("a peer that is away, slow or endless is told by its kind") func network() async {
        for (error, kind) in [
            (.unreachable("refused"), .unreachable), (.interrupted("timed out", requestWasSent: true), .unreachable),
            (.tooLarge(limitBytes: 5), .tooLarge),
        ] as [(TransportError, ExpressionSourceError.Kind)] {
            let (source, _) = source(.failure(error))
            await #expect(throws: ExpressionSourceError(kind, "query source 'far': \(error)")) {
                try await source.instant("up", at: at(1))
            }
        }
    }
}
