import Basics
import Model
import Settings
import TestSupport
import Testing
import Transport

@testable import Web

/// TLS on the listener, with certificates that openssl makes.
@Suite struct TLSTests {
    private let folder: Folder
    private let isThere: Bool

    init() throws {
        folder = try Folder()
        guard let openssl = Program.installed("openssl") else {
            print("TLSTests: skipped: openssl is not installed")
            isThere = false
            return
        }
        for name in ["one", "two"] {
            let made = try openssl.run(
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "30",
                    "-keyout", "\(name).key", "-out", "\(name).pem", "-subj", "/CN=\(name)", "-addext",
                    "subjectAltName=IP:127.0.0.1",
                ], in: folder.path)
            try #require(made.status == 0, "\(made.errors)")
        }
        isThere = true
    }

    private func text(_ name: String) throws -> String {
        String(decoding: try SystemFiles().contents(of: "\(folder.path)/\(name)"), as: UTF8.self)
    }

    private func use(_ name: String) throws {
        _ = try folder.put("cert.pem", text("\(name).pem"))
        _ = try folder.put("key.pem", text("\(name).key"))
    }

    private func certificates(authority: String? = nil) throws -> TLSCertificates {
        try TLSCertificates(
            WebSettings.TLS(
                certificate: "\(folder.path)/cert.pem", key: "\(folder.path)/key.pem", clientAuthority: authority),
            files: SystemFiles())
    }

    private func figure(_ certificates: TLSCertificates, _ name: String) -> Double? {
        certificates.metrics().first { $0.name == name }?.lines.first?.value
    }

    @Test("served by its certificate; another one in the file is served from then on, junk is not") func exchange()
        async throws
    {
        guard isThere else { return }
        try use("one")
        let certificates = try certificates()
        let transport = CurlTransport(clock: SystemClock())
        defer { transport.stop() }
        let threads = ThreadPoolExecutor(count: 1, name: "test-web")
        let (ports, found) = AsyncStream.makeStream(of: Int.self)
        let server = WebServer(
            [.tcp(host: "127.0.0.1", port: 0)], certificates: certificates, executor: { _ in threads },
            onListening: { found.yield($0[0]) }
        ) { _ in .text("served\n") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            for await port in ports {
                func isServed(trusting name: String) async throws -> Bool {
                    var request = HTTPRequest(url: "https://127.0.0.1:\(port)/", timeout: 60_000)
                    request.options.certificateAuthority = try text("\(name).pem")
                    do throws(TransportError) {
                        let answer = try await transport.send(request)
                        return answer.header("strict-transport-security") != nil
                            && answer.body == Array("served\n".utf8)
                    } catch {
                        return false
                    }
                }
                #expect(try await isServed(trusting: "one"))
                #expect(try await !isServed(trusting: "two"))
                let plain = try? await transport.send(HTTPRequest(url: "http://127.0.0.1:\(port)/"))
                #expect(plain == nil, "plain HTTP is not spoken there")
                #expect(try !certificates.refresh())
                try use("two")
                #expect(try certificates.refresh())
                #expect(try await isServed(trusting: "two"))
                _ = try folder.put("cert.pem", "junk")
                let error = #expect(throws: TLSError.self) { try certificates.refresh() }
                #expect(error?.description.hasSuffix("cert.pem holds no certificate in PEM; mend cert_file") == true)
                #expect(figure(certificates, "vedette_certificate_refused") == 1)
                #expect(try await isServed(trusting: "two"))
                break
            }
            server.stop()
            try await group.waitForAll()
        }
    }

    @Test("what cannot be used is said, with the file") func mistakes() throws {
        guard isThere else { return }
        try use("one")
        let now = SystemClock().now().seconds
        let days = (figure(try certificates(), "vedette_certificate_expiry_timestamp_seconds") ?? 0) - now
        #expect((29 * 86_400...30 * 86_400).contains(days))
        _ = try folder.put("key.pem", text("two.key"))
        #expect(throws: TLSError.self) { try certificates() }
        _ = try folder.put("key.pem", "junk")
        let junk = #expect(throws: TLSError.self) { try certificates() }
        #expect(junk?.description.contains("key.pem holds no private key") == true)
        try use("one")
        let absent = #expect(throws: TLSError.self) { try certificates(authority: "/nowhere/ca.pem") }
        #expect(absent?.description.contains("/nowhere/ca.pem cannot be read") == true)
    }
}
