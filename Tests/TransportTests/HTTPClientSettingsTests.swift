import Basics
import Settings
import Testing

@testable import Transport

@Suite struct HTTPClientSettingsTests {
    private func read(_ text: String) throws -> HTTPClientSettings {
        let map = try SettingsDocument(text, file: "conf/vedette.yaml").map()
        let settings = try HTTPClientSettings(from: map)
        try map.finish()
        return settings
    }

    @Test(
        "one Authorization header, its secret read for each request",
        arguments: [
            ("{}", nil, false), ("basic_auth: {username: me, password: pw}", "Basic bWU6cHc=", false),
            ("basic_auth: {username: '', password_file: key}", "Basic OmNvbmYva2V5", true),
            ("authorization: {credentials: t}", "Bearer t", false),
            ("authorization: {type: Token, credentials_file: /key}", "Token /key", true),
            ("bearer_token_file: key", "Bearer conf/key", true),
        ])
    func headers(text: String, expected: String?, usesFiles: Bool) throws {
        let settings = try read(text)
        var request = HTTPRequest(url: "http://a/", headers: [HTTPHeader("A", "b")])
        try settings.apply(to: &request) { path in Array("\(path)\n".utf8) }
        #expect(request.headers.dropFirst().map(\.value) == (expected.map { [$0] } ?? []))
        #expect(settings.usesFiles == usesFiles && settings.allSecrets.count == (expected == nil ? 0 : 1))
    }

    @Test("TLS, proxy and redirects; files start from the folder of the settings") func options() throws {
        let settings = try read(
            """
            proxy_url: "http://proxy:3128"
            follow_redirects: false
            enable_http2: false
            tls_config: {ca_file: ca, cert_file: /c, key_file: k, server_name: db.example, insecure_skip_verify: true}
            """)
        var expected = HTTPOptions()
        (expected.proxy, expected.followRedirects, expected.insecureSkipVerify) = ("http://proxy:3128", false, true)
        (expected.certificateAuthorityFile, expected.certificateFile, expected.keyFile) = ("conf/ca", "/c", "conf/k")
        expected.serverName = "db.example"
        #expect(settings.options == expected)
        #expect(try read("{}").options == HTTPOptions())
    }

    @Test(
        "a mistake names its place and cure, and no secret",
        arguments: [
            ("basic_auth: {password: hunter2}", "1:13: username is missing; it must be given"),
            ("basic_auth: {username: a, username_file: b}", "1:27: username_file is not offered; write the name"),
            ("authorization: {type: basic, credentials: hunter2}", "1:23: type: use basic_auth for it"),
            ("authorization: {type: Bearer}", "1:16: credentials is missing; it must be given"),
            (
                "authorization: {credentials: hunter2}\nbearer_token: hunter2",
                "2:15: bearer_token: authorization is given too; keep one"
            ),
            (
                "basic_auth: {username: a}\nbearer_token: hunter2",
                "1:13: basic_auth: only one of basic_auth, authorization"
            ),
            ("oauth2: {client_id: a}", "1:1: oauth2 is not offered; use basic_auth or authorization, and proxy_url"),
            ("tls_config: {cert_file: a}", "1:13: cert_file and key_file belong together; give both or neither"),
            ("tls_config: {ca: hunter2}", "1:14: ca is not offered; name files: ca_file, cert_file, key_file"),
            ("tls_config: {min_version: TLS13}", "1:14: min_version is not offered; leave it out; the best version"),
            ("tls_config: {ca_file: [a]}", "1:23: ca_file: expected a text, found a list"),
            ("tls_config: {server_name: 'a:1'}", "1:27: server_name: 'a:1' is no host name; write it without scheme"),
            ("tls_config: {servername: a}", "1:14: unknown key 'servername'; did you mean 'server_name'?"),
        ])
    func mistakes(text: String, message: String) {
        let error = #expect(throws: SettingsError.self) { try read(text) }
        let told = error?.description ?? ""
        #expect(told.hasPrefix("conf/vedette.yaml:\(message)") && !told.contains("hunter2"), "\(told)")
    }

    @Test(
        "another name is expected of the server at the same place",
        arguments: [
            ("https://10.0.0.1/m?a=b", "https://n/m?a=b", "10.0.0.1", "n:443:10.0.0.1:443"),
            ("https://u:p@host:9443", "https://u:p@n:9443", "host:9443", "n:9443:host:9443"),
            ("HTTPS://[::1]:1#x", "https://n:1#x", "[::1]:1", "n:1:[::1]:1"),
            ("https://[::1]/", "https://n/", "[::1]", "n:443:[::1]:443"),
        ])
    func serverName(url: String, changed: String, host: String, connectTo: String) throws {
        let detour = try #require(ServerName("n", for: url))
        #expect(detour.url == changed && detour.host == host && detour.connectTo == connectTo, "\(detour)")
    }

    @Test("without a certificate there is no name to expect", arguments: ["http://a/", "https://", "https:///x", ""])
    func noServerName(url: String) { #expect(ServerName("n", for: url) == nil) }
}
