import Basics
import Foundation
import Settings
import TestSupport
import Testing

@testable import Transport

/// Looks at real servers on the loopback.
@Suite struct ProbeTests {
    private let clock = SystemClock()

    private func fetch(_ request: HTTPRequest) throws -> FetchResult {
        let fetcher = CurlFetcher(clock: clock)
        let handle = try fetcher.prepare(request)
        fetcher.start(handle)
        var found: FetchResult?
        while found == nil { fetcher.poll(for: 1000) { found = $0 } }
        return try #require(found)
    }
    private func request(_ url: String, _ purpose: HTTPRequest.Purpose, timeout: Milliseconds = 5000) -> HTTPRequest {
        var request = HTTPRequest(url: url, timeout: timeout)
        request.purpose = purpose
        return request
    }

    @Test("a check tells its phases and headers; a redirect to a file is refused") func http() throws {
        let server = LoopbackServer(serve: {
            LoopbackServer.say("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok", on: $0)
        })
        defer { server.stop() }
        let good = try fetch(request("http://127.0.0.1:\(server.port)/", .check))
        #expect(
            good.status == 200 && good.details.cause == nil && good.details.headers.contains(HTTPHeader("x-a", "b")))
        #expect(good.details.phases.map(\.phase).suffix(3) == [.connect, .processing, .transfer])
        #expect(good.details.ipVersion == 4 && good.details.httpVersion == 1.1 && !good.details.isEncrypted)
        let files = LoopbackServer(serve: {
            LoopbackServer.say(
                "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", on: $0)
        })
        defer { files.stop() }
        let bad = try fetch(request("http://127.0.0.1:\(files.port)/", .check))
        #expect(bad.details.cause == .redirect && bad.status == 0 && bad.body.isEmpty)
    }

    @Test("connections alone: TCP, a Unix socket, nobody there") func connections() throws {
        let server = LoopbackServer()
        defer { server.stop() }
        let good = try fetch(request("http://127.0.0.1:\(server.port)/", .connection))
        #expect(good.error == nil && good.details.phases.contains { $0.phase == .connect })
        let refused = try fetch(request("http://127.0.0.1:1/", .connection))
        #expect(refused.details.cause == .refused && refused.error != nil)
        let folder = try Folder()
        let unix = LoopbackServer(path: "\(folder.path)/a.sock")
        defer { unix.stop() }
        var asked = request("http://unix/", .connection)
        asked.unixSocket = unix.path
        let unixError = try fetch(asked).error
        #expect(unixError == nil)
        asked.unixSocket = "\(folder.path)/b.sock"
        #expect(try fetch(asked).error != nil)
    }

    @Test("a server that says nothing ends with the time") func silent() throws {
        let server = LoopbackServer()  // The kernel accepts, nobody answers TLS.
        defer { server.stop() }
        let listening = try fetch(request("http://127.0.0.1:\(server.port)/", .check, timeout: 50))
        #expect(listening.error != nil)
        let name = try fetch(request("http://does-not-exist.invalid/", .check))
        #expect(name.details.cause == .resolve)
    }

    @Test("a header with a line's end is refused before anything is sent, and not printed") func injection() throws {
        var asked = HTTPRequest(url: "http://127.0.0.1:1/")
        asked.headers = [HTTPHeader("X-A", "geheim\r\nX-B: c")]
        let error = #expect(throws: TransportError.self) { try fetch(asked) }
        #expect(error?.description == "the header \"X-A\" holds a control character; take it out")
    }

    // MARK: TLS

    /// `openssl s_server` with a certificate of its own making.
    private final class TLSServer {
        let folder: Folder
        private(set) var port = 0
        private let process = Process()

        init(days: String) throws {
            folder = try Folder()
            let openssl = try #require(Program.installed("openssl"))
            let made = try openssl.run(
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    "\(folder.path)/key", "-out", "\(folder.path)/cert", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-days", days,
                ])
            #expect(made.status == 0, "\(made.errors)")
            process.executableURL = URL(fileURLWithPath: openssl.path)
            process.arguments = [
                "s_server", "-accept", "127.0.0.1:0", "-key", "\(folder.path)/key", "-cert", "\(folder.path)/cert",
                "-www",
            ]
            let output = Pipe()
            (process.standardOutput, process.standardError) = (output, FileHandle.nullDevice)
            try process.run()
            var text = ""
            // It prints ACCEPT and the address that it got.
            while port == 0 {
                let data = output.fileHandleForReading.availableData
                guard !data.isEmpty else { break }
                text += String(decoding: data, as: UTF8.self)
                let line = text.split(separator: "\n").first { $0.hasPrefix("ACCEPT") && $0.contains(":") }
                if text.hasSuffix("\n"), let line { port = Int(line.split(separator: ":").last ?? "") ?? 0 }
            }
        }
        deinit { process.terminate() }
    }

    private static let hasOpenSSL = Program.installed("openssl") != nil

    @Test(
        "certificates: trusted, self-signed, of another host, ended (needs openssl)",
        .enabled(if: hasOpenSSL)) func certificates() throws
    {
        let server = try TLSServer(days: "30")
        let url = "https://localhost:\(server.port)/"
        for purpose in [HTTPRequest.Purpose.check, .connection] {
            #expect(try fetch(request(url, purpose)).details.cause == .certificate)
            var trusting = request(url, purpose)
            trusting.options.certificateAuthorityFile = "\(server.folder.path)/cert"
            let good = try fetch(trusting)
            #expect(good.error == nil && good.details.isEncrypted, "\(String(describing: good.error))")
            let days = Double(try #require(good.details.certificateExpiry) - clock.now()) / 86_400_000
            #expect((29.9...30).contains(days))
            #expect(good.details.phases.contains { $0.phase == .tls })
            var other = trusting
            other.url = "https://127.0.0.1:\(server.port)/"
            #expect(try fetch(other).details.cause == .certificate)
            other.options.insecureSkipVerify = true
            #expect(try fetch(other).details.certificateExpiry != nil)
        }
        let plain = LoopbackServer(serve: { LoopbackServer.say("HTTP/1.1 400\r\n\r\n", on: $0) })
        defer { plain.stop() }
        #expect(try fetch(request("https://localhost:\(plain.port)/", .connection)).details.cause == .tls)
    }

    // MARK: DNS

    @Test("a name server is asked over UDP, and over TCP when the answer was cut off") func dns() throws {
        let record: [UInt8] = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1]
        @Sendable func message(_ asked: [UInt8], truncated: Bool) -> [UInt8] {
            let flags: [UInt8] = [truncated ? 0x83 : 0x81, 0x80]
            var bytes = DNSMessageTests.message(
                flags: flags, counts: [truncated ? 0 : 1, 0, 0], truncated ? [] : record)
            (bytes[0], bytes[1]) = (asked[0], asked[1])
            return bytes
        }
        let overTCP = LoopbackServer(serve: { connection in
            var asked = [UInt8](repeating: 0, count: 512)
            _ = unsafe recv(connection, &asked, asked.count, 0)
            let reply = message(Array(asked[2...]), truncated: false)
            let framed = [0, UInt8(reply.count)] + reply
            // In two parts, as the network may.
            _ = unsafe send(connection, framed, 5, Int32(MSG_NOSIGNAL))
            _ = unsafe send(connection, Array(framed[5...]), framed.count - 5, Int32(MSG_NOSIGNAL))
        })
        defer { overTCP.stop() }
        _ = LoopbackServer(datagrams: true, port: overTCP.port, answer: { message($0, truncated: true) })
        let question = try #require(DNSQuestion(name: "a.b", type: "A"))
        let probe = DNSProbe(host: "127.0.0.1", port: overTCP.port, question: question)
        let health = try probe.look(id: 99, by: ProbeDeadline(clock: clock, in: 5000))
        #expect(health.answer.records.map(\.value) == ["10.0.0.1"] && health.ipVersion == 4)
        let forged = LoopbackServer(datagrams: true, answer: { _ in [0, 0, 1] })
        let error = #expect(throws: ProbeError.self) {
            try DNSProbe(host: "127.0.0.1", port: forged.port, question: question)
                .look(id: 99, by: ProbeDeadline(clock: clock, in: 50))
        }
        #expect(error?.cause == .timeout)
    }

    @Test("a lookup answers addresses at once and knows no name that is none") func lookup() throws {
        let deadline = ProbeDeadline(clock: clock, in: 5000)
        #expect(try HostLookup.addresses(of: "127.0.0.1", by: deadline) == ["127.0.0.1"])
        #expect(try HostLookup.addresses(of: "[::1]", by: deadline) == ["::1"])
        #expect(throws: ProbeError.self) { try HostLookup.addresses(of: "does-not-exist.invalid", by: deadline) }
    }

    // MARK: Redis

    @Test("a Redis server: PING, INFO, a password (needs redis-server)", .enabled(if: RedisServer.isInstalled))
    func redis() throws {
        let server = try RedisServer()
        var settings = RedisSettings()
        settings.unixSocket = server.socket
        let deadline = ProbeDeadline(clock: clock, in: 5000)
        let health = try RedisProbe(settings).look(withInfo: true, by: deadline) { _ in [] }
        #expect(health.document?["used_memory"]?.number ?? 0 > 0 && health.document?["role"]?.string == "master")
        try server.cli("config", "set", "requirepass", "geheim")
        let locked = #expect(throws: ProbeError.self) {
            try RedisProbe(settings).look(withInfo: false, by: deadline) { _ in [] }
        }
        #expect(locked?.cause == .authentication)
        settings.password = Secret(file: "p")
        #expect(throws: Never.self) {
            try RedisProbe(settings).look(withInfo: false, by: deadline) { _ in Array("geheim\n".utf8) }
        }
        let wrong = #expect(throws: ProbeError.self) {
            try RedisProbe(settings).look(withInfo: false, by: deadline) { _ in Array("verraten".utf8) }
        }
        #expect(wrong?.cause == .authentication && wrong?.description.contains("verraten") == false)
    }

    @Test("a server that trickles bytes keeps nobody beyond the time") func trickle() throws {
        let server = LoopbackServer(serve: { connection in
            while unsafe send(connection, [UInt8(ascii: "+")], 1, Int32(MSG_NOSIGNAL)) == 1 {}
        })
        defer { server.stop() }
        var settings = RedisSettings()
        settings.port = server.port
        let error = #expect(throws: ProbeError.self) {
            try RedisProbe(settings).look(withInfo: false, by: ProbeDeadline(clock: clock, in: 2000)) { _ in [] }
        }
        #expect(error?.cause == .answer)
    }
}
