import Basics
import Testing
import Transport

@Suite struct TransportTests {
    @Test("a URL that cannot be used is told as such, not as a fault of the network") func invalid() async {
        let transport = CurlTransport(clock: SystemClock())
        defer { transport.stop() }
        await #expect(throws: TransportError.self) { try await transport.send(HTTPRequest(url: "ftp://127.0.0.1/")) }
        let error = await #expect(throws: TransportError.self) {
            try await transport.send(HTTPRequest(url: "http://127.0.0.1:1/"))
        }
        // libcurl's own words tell where.
        guard case .unreachable(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("127.0.0.1 port 1"))
    }
}
