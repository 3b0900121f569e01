import Basics
import Glibc
import Model
import Settings
import Synchronization
import TestSupport
import Testing

@testable import Web

/// The server on loopback, with clients that a careful server must outlive.
@Suite(.serialized) struct ServerTests {
    /// Runs `body` beside a server on a free port, and stops it.
    private func withServer(
        _ settings: String = "{}", files: any FileSystem = SystemFiles(),
        _ body: @Sendable (_ port: Int, WebServer) async throws -> Void
    ) async throws {
        let settings = try WebSettings(from: SettingsDocument(settings, file: "v.yaml").map())
        let certificates = try settings.tls.map { try TLSCertificates($0, files: files) }
        let (ports, found) = AsyncStream.makeStream(of: Int.self)
        let threads = ThreadPoolExecutor(count: 1, name: "test-web")
        let server = WebServer(
            [.tcp(host: "127.0.0.1", port: 0)], limits: settings.limits, certificates: certificates,
            executor: { _ in threads }, onListening: { found.yield($0[0]) }
        ) { request in
            if request.path == "/long" { return .text(String(repeating: "x", count: 32 << 20)) }
            return .text("\(request.method) \(request.path) \(request.body.count) \(request.peer.text)\n")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            for await port in ports {
                try await body(port, server)
                break
            }
            server.stop()
            try await group.waitForAll()
        }
    }

    @Test("a request and its answer, with the headers that guard a page") func plain() async throws {
        try await withServer { port, _ in
            let client = try Connection(port)
            client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await client.read(until: "127.0.0.1\n")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            for header in [
                "X-Content-Type-Options: nosniff", "X-Frame-Options: DENY",
                "Content-Security-Policy: default-src 'none'",
                "Referrer-Policy: no-referrer", "Cache-Control: no-store",
            ] { #expect(answer.contains(header), "\(header)") }
            #expect(!answer.contains("Strict-Transport-Security"))
            #expect(answer.hasSuffix("GET /x 0 127.0.0.1\n"))
            client.send("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n")
            let both = await client.read(until: "GET /y 0 127.0.0.1\n")
            #expect(both.contains("Content-Length: 20\r\n"))
            #expect(!both.contains("HEAD /x 0"), "an answer to HEAD has no body")
        }
    }

    @Test("a head that does not come, or comes a byte at a time, ends the connection; others are served") func slow()
        async throws
    {
        try await withServer("limits: {header_timeout: 200ms}") { port, _ in
            let silent = try Connection(port)
            let half = try Connection(port)
            half.send("GET /x HTTP/1.1\r\nHost: a\r\nX-Slow: ")
            let other = try Connection(port)
            other.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await other.read(until: "127.0.0.1\n").hasPrefix("HTTP/1.1 200"))
            #expect(await silent.read(until: nil).isEmpty)
            #expect(await half.read(until: nil).isEmpty)
            // One that was answered may be idle, and not begin another head for ever.
            other.send("GET /y HT")
            #expect(await other.read(until: nil).isEmpty)
        }
    }

    @Test("a body that is too long or does not come is refused, and the connection ends") func bodies() async throws {
        try await withServer("limits: {body_bytes: 1KB, body_timeout: 200ms}") { port, _ in
            let long = try Connection(port)
            long.send(
                "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + String(repeating: "x", count: 5000))
            #expect(await long.read(until: "bytes\n").hasPrefix("HTTP/1.1 413"))
            let absent = try Connection(port)
            absent.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
            #expect(await absent.read(until: "within 200ms\n").hasPrefix("HTTP/1.1 408"))
        }
    }

    @Test("bodies under way are bounded together, and their room is free again when they end") func held() async throws
    {
        try await withServer("limits: {body_bytes: 1KB, body_timeout: 20s}") { port, server in
            func body(_ count: Int, of length: Int) throws -> Connection {
                let client = try Connection(port)
                client.send(
                    "POST /api/v2/alerts HTTP/1.1\r\nHost: a\r\nContent-Length: \(length)\r\n\r\n"
                        + String(repeating: "x", count: count))
                return client
            }
            func bytes() -> Double {
                server.metrics().first { $0.name == "vedette_http_body_bytes" }?.lines.first?.value ?? -1
            }
            // Four of the longest, none of them whole.
            var waiting: [Connection] = []
            for number in 1...4 {
                waiting.append(try body(8191, of: 8192))
                while bytes() < Double(number * 8191) { await Task.yield() }
            }
            #expect(try await body(8191, of: 8192).read(until: "again\n").hasPrefix("HTTP/1.1 503"))
            waiting[0].send("x")
            #expect(await waiting[0].read(until: "127.0.0.1\n").hasPrefix("HTTP/1.1 200"))
            for client in waiting { client.end() }
            while bytes() > 0 { await Task.yield() }
        }
    }

    @Test(
        "a body whose end is not certain is refused, and nothing behind it is taken for a request",
        arguments: [
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "Transfer-Encoding: xchunked",
            "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 0", "Content-Length: +5", "Content-Length: -1",
        ]) func smuggling(headers: String) async throws
    {
        try await withServer { port, _ in
            let client = try Connection(port)
            client.send(
                "POST /x HTTP/1.1\r\nHost: a\r\n\(headers)\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await client.read(until: nil)
            #expect(answer.hasPrefix("HTTP/1.1 400"))
            #expect(!answer.contains("smuggled"))
        }
    }

    @Test("whoever does not take an answer loses the connection") func untaken() async throws {
        try await withServer("limits: {connections: 1, answer_timeout: 100ms}") { port, server in
            let client = try Connection(port)
            client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
            var isOver = false
            // The client stays and reads nothing.
            for _ in 0..<5000 where !isOver {
                let other = try Connection(port)
                other.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                isOver = await other.read(until: "127.0.0.1\n").hasPrefix("HTTP/1.1 200")
            }
            #expect(isOver)
            client.end()
        }
    }

    @Test("a head that is too long is refused", arguments: [(1, 100_000), (500, 10)]) func heads(
        count: Int, length: Int
    ) async throws {
        try await withServer { port, _ in
            let client = try Connection(port)
            let headers = (0..<count).map { "X-\($0): \(String(repeating: "x", count: length))\r\n" }.joined()
            client.send("GET /x HTTP/1.1\r\nHost: a\r\n\(headers)\r\n")
            #expect(await !client.read(until: nil).contains("200 OK"))
        }
    }

    @Test("who connected just before the end is still answered") func lastOne() async throws {
        try await withServer { port, server in
            let client = try Connection(port)
            // The first answer shows that the other connection is accepted too: it came before.
            let other = try Connection(port)
            other.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await other.read(until: "127.0.0.1\n").hasPrefix("HTTP/1.1 200"))
            server.stop()
            client.send("GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await client.read(until: "127.0.0.1\n").hasPrefix("HTTP/1.1 200"))
            #expect(await other.read(until: nil).isEmpty, "an idle one ends at once")
        }
    }

    @Test("a header that holds a line break adds none") func injection() async throws {
        try await withServer { port, _ in
            let client = try Connection(port)
            client.send("GET /x%0d%0aX-Evil:%20yes HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await client.read(until: "127.0.0.1\n")
            #expect(!answer.contains("X-Evil: yes\r\n"))
        }
    }

    @Test("connections above the limit are turned away, and there is room again when others end") func connections()
        async throws
    {
        try await withServer("limits: {connections: 2}") { port, server in
            func isServed(_ client: Connection) async -> Bool {
                client.send("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                return await client.read(until: "127.0.0.1\n").hasPrefix("HTTP/1.1 200")
            }
            // Sixteen more than the limit are let in from the machine itself.
            let first = try Connection(port)
            #expect(await isServed(first))
            let others = try (0..<17).map { _ in try Connection(port) }
            for other in others { #expect(await isServed(other)) }
            #expect(await !isServed(try Connection(port)))
            first.end()
            // The end of the first is seen by the server at some moment; each try is a connection of its own.
            var tries = 0
            while await !isServed(try Connection(port)), tries < 1000 { tries += 1 }
            #expect(tries < 1000)
            #expect(server.metrics().first { $0.name == "vedette_http_connections_refused_total" } != nil)
        }
    }
}

/// A blocking client.
private final class Connection: @unchecked Sendable {
    private let descriptor: Int32

    init(_ port: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe connect(descriptor, $0, size) }
        }
        guard result == 0 else { throw FileError(operation: "connect", path: "127.0.0.1:\(port)", code: errno) }
        // A test that would wait for ever fails in place of that.
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }
    /// Ends the connection. The number is given back with the last reference alone: it may be somebody else's by then.
    func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = unsafe Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// What comes until it ends with `mark`, or until the other side closes; a time-out is told in the text.
    /// On a thread of its own: what waits here would hold up the very tasks that it waits for.
    func read(until mark: String?) async -> String {
        await Connection.threads.start { [self] in wait(until: mark) }.value
    }

    private static let threads = ThreadPoolExecutor(count: 8, name: "test-client")

    private func wait(until mark: String?) -> String {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN { return text + "(nothing came)" }
            guard count > 0 else { return text }
            text += String(decoding: buffer[..<count], as: UTF8.self)
            if let mark, text.hasSuffix(mark) { return text }
        }
    }
}
