import Basics
import Foundation
import Settings
import TestSupport
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
            ("basic_auth: {password: pw}", "Basic OnB3", false),
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

    @Test("headers of one's own: values, secrets and files; a name from a file") func ownHeaders() throws {
        let settings = try read(
            """
            basic_auth: {username_file: user}
            http_headers: {one: {values: [a, b], secrets: [c], files: [d]}, two: {values: [e]}}
            """)
        let headers = try settings.headers { path in Array(path.utf8) }
        #expect(headers.map(\.name) == ["Authorization", "one", "one", "one", "one", "two"])
        #expect(headers.dropFirst().map(\.value) == ["a", "b", "c", "conf/d", "e"])
        #expect(headers[0].value == "Basic Y29uZi91c2VyOg==")
        #expect(settings.usesFiles && settings.allSecrets.count == 3)
    }

    @Test("a token is asked for with our credentials; what is answered is never told") func oauth2() throws {
        let text = """
            oauth2: {client_id: 'a b', client_secret_file: key, token_url: 'http://t/', scopes: [x, y], \
            endpoint_params: {p: 'q&'}, tls_config: {insecure_skip_verify: true}}
            """
        let map = try SettingsDocument(text, file: "conf/vedette.yaml").map()
        let settings = try HTTPClientSettings(from: map, offersOAuth2: true)
        let oauth2 = try #require(settings.oauth2)
        let request = try oauth2.request(timeout: 5) { path in Array(path.utf8) }
        #expect(request.method == "POST" && request.url == "http://t/" && request.options.insecureSkipVerify)
        #expect(String(decoding: request.body, as: UTF8.self) == "grant_type=client_credentials&scope=x+y&p=q%26")
        #expect(request.headers.contains(HTTPHeader("Authorization", "Basic \(base64(Array("a+b:conf%2Fkey".utf8)))")))
        #expect(settings.usesFiles)
        let (header, lifetime) = try oauth2.token(
            status: 200, body: Array(#"{"access_token": "t", "expires_in": 60}"#.utf8))
        #expect(header == "Bearer t" && lifetime == 50_000)
        for (status, body) in [(401, #"{"access_token": "t"}"#), (200, #"{"access_token": "t\n"}"#), (200, "geheim")] {
            let error = #expect(throws: OAuth2Error.self) { try oauth2.token(status: status, body: Array(body.utf8)) }
            #expect(error?.description.contains("geheim") == false)
        }
    }

    @Test("Prometheus' own cases of http_config and tls_config (peers)") func peers() throws {
        guard let folder = Peers.file("prometheus/common-http-config") else { return }
        // Not marked as bad there: Prometheus' reader leaves them to whoever uses them.
        let alsoBad: [String: String] = [
            "http.conf.basic-auth.bad-username.yaml": "username_file",
            "http.conf.basic-auth.ref.yaml": "username_ref",
        ]
        // Bad only when the file that it names is read.
        let readLater = ["http.conf.invalid-bearer-token-file.bad.yml"]
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(names.count == 48)
        for name in names {
            var text = try Peers.text(folder.appendingPathComponent(name))
            if name.hasSuffix(".json") { text = text.replacing("\t", with: " ") }
            let isTLS = name.hasPrefix("tls_config")
            var problem: SettingsError?
            do throws(SettingsError) {
                let map = try SettingsDocument(isTLS ? "tls_config: {}" : text, file: name).map()
                if isTLS {
                    let lines = text.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
                    let map = try SettingsDocument("tls_config:\n\(lines)", file: name).map()
                    _ = try HTTPClientSettings(from: map, offersOAuth2: true)
                    try map.finish()
                } else {
                    _ = try HTTPClientSettings(from: map, offersOAuth2: true)
                    try map.finish()
                }
            } catch {
                problem = error
            }
            let isBad = name.contains(".bad.") && !readLater.contains(name) || alsoBad[name] != nil
            #expect((problem != nil) == isBad, "\(name): \(problem?.description ?? "is read")")
            if let key = alsoBad[name] { #expect(problem?.message.contains(key) == true, "\(name)") }
        }
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
            (
                "basic_auth: {username: a, username_file: b}",
                "1:42: username_file: at most one of username & username_file must be configured; remove one of"
            ),
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
            ("oauth2: {client_id: a}", "1:1: oauth2 is not offered; use basic_auth or authorization"),
            ("tls_config: {cert_file: a}", "1:13: cert_file and key_file belong together; give both or neither"),
            ("tls_config: {key: hunter2}", "1:13: cert_file and key_file belong together; give both or neither"),
            ("tls_config: {ca: hunter2, ca_file: a}", "1:36: ca_file: ca is given too; keep one of the two"),
            (
                "tls_config: {min_version: TLS13, max_version: TLS12}",
                "1:47: max_version: must not be below min_version, TLS13"
            ),
            ("tls_config: {min_version: SSL3}", "1:27: min_version: 'SSL3' is no version of TLS; write TLS10"),
            ("no_proxy: a", "1:11: no_proxy: there is no proxy_url; give it, or remove no_proxy"),
            ("http_headers: {Host: {values: [a]}}", "1:16: Host is a header of its own meaning"),
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
