import Basics
import Model
import Settings
import Synchronization
import TestSupport
import Testing

@testable import Web

/// Who may ask what.
@Suite struct AccessTests {
    let clock = StandingClock()

    /// bcrypt of `correct horse`, at the lowest cost.
    static let hash = PasswordHash.bcrypt("correct horse", cost: 4)?.reveal() ?? ""

    func settings(_ text: String) throws -> WebSettings {
        try WebSettings(from: SettingsDocument(text, file: "v.yaml").map())
    }

    func gate(_ text: String = "{}", files: [String: String] = [:]) throws -> AccessGate {
        AccessGate(try settings(text), clock: clock) { path in
            guard let text = files[path] else { throw FileError(operation: "open", path: path, code: 2) }
            return Array(text.utf8)
        }
    }

    static let protected = """
        users:
          - {name: ann, password_hash: "\(hash)", role: admin}
          - {name: vic, password_hash: "\(hash)", role: viewer}
        tokens:
          - {name: grafana, sha256: "\(Digest.hexadecimal(of: "vdt_reads", .sha256))", role: viewer}
          - {name: deploy, token_file: deploy.token, role: operator}
        """

    func request(
        _ method: String, _ path: String, from peer: Peer = .tcp(address: "192.0.2.7"), _ authorization: String? = nil
    ) -> APIRequest {
        var request = APIRequest(method: method, path: path)
        request.peer = peer
        request.credentials.authorization = authorization
        request.credentials.host = "127.0.0.1:9470"
        return request
    }

    func basic(_ name: String, _ password: String) -> String { "Basic " + base64(Array("\(name):\(password)".utf8)) }

    func status(_ gate: AccessGate, _ request: APIRequest) async -> Int {
        do throws(AccessRefusal) {
            _ = try await gate.admit(request)
            return 200
        } catch {
            return error.status
        }
    }

    @Test(
        "without users anybody reads, and this machine alone changes",
        arguments: [
            ("GET", "/metrics", "192.0.2.7", 200), ("POST", "/api/v1/query", "192.0.2.7", 200),
            ("POST", "/-/reload", "192.0.2.7", 403), ("POST", "/api/v2/silences", "192.0.2.7", 403),
            ("POST", "/api/v1/write", "192.0.2.7", 403), ("POST", "/api/v1/write", "127.0.0.1", 200),
            ("POST", "/api/v2/alerts", "::ffff:192.0.2.7", 403), ("DELETE", "/api/v2/silence/1", "fe80::1", 403),
            ("POST", "/-/reload", "127.0.0.1", 200), ("POST", "/-/reload", "::1", 200),
            ("POST", "/api/v2/silences", "::ffff:127.0.0.2", 200), ("POST", "/-/reload", "127.0.0.1.evil", 403),
            ("POST", "/-/reload", "128.0.0.1", 403), ("GET", "/-/healthy", "192.0.2.7", 200),
        ]) func unprotected(method: String, path: String, address: String, expected: Int) async throws
    {
        #expect(await status(try gate(), request(method, path, from: .tcp(address: address))) == expected)
    }

    @Test("what a proxy passes on, a foreign name, and another origin's page change nothing") func disguises()
        async throws
    {
        let gate = try gate()
        var request = request("POST", "/-/reload", from: .tcp(address: "127.0.0.1"))
        #expect(await status(gate, request) == 200)
        request.credentials.isForwarded = true
        #expect(await status(gate, request) == 403)
        request.credentials.isForwarded = false
        for (host, expected) in [
            ("evil.example:9470", 403), ("localhost:9470", 200), ("[::1]:9470", 200), ("LOCALHOST", 200),
            ("127.0.0.1.evil.example", 403), ("10.0.0.5:9470", 200), ("", 403), ("[evil", 403),
        ] {
            request.credentials.host = host
            #expect(await status(gate, request) == expected, "Host: \(host)")
        }
        request.credentials.host = "127.0.0.1:9470"
        for (origin, expected) in [
            ("http://127.0.0.1:9470", 200), ("http://evil.example", 403), ("null", 403),
            ("http://127.0.0.1:9471", 403), ("https://127.0.0.1:9470", 200), ("file://", 403),
        ] {
            request.credentials.origin = origin
            #expect(await status(gate, request) == expected, "Origin: \(origin)")
        }
        request.credentials.origin = nil
        for (site, expected) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)] {
            request.credentials.fetchSite = site
            #expect(await status(gate, request) == expected, "Sec-Fetch-Site: \(site)")
        }
    }

    @Test(
        "each role may do what it is for",
        arguments: [
            (nil, 401, 401, 401), ("Basic vic", 200, 403, 403), ("Basic ann", 200, 200, 200),
            ("Bearer vdt_reads", 200, 403, 403), ("bearer  vdt_deploys ", 200, 200, 403),
            ("Bearer vdt_deploy", 401, 401, 401), ("Bearer ", 401, 401, 401), ("Digest ann", 401, 401, 401),
        ] as [(String?, Int, Int, Int)]) func roles(given: String?, reads: Int, acts: Int, changes: Int) async throws
    {
        let gate = try gate(AccessTests.protected, files: ["deploy.token": "vdt_deploys\n"])
        let authorization = given.map { $0.hasPrefix("Basic") ? basic(String($0.dropFirst(6)), "correct horse") : $0 }
        for (method, path, expected) in [
            ("GET", "/api/v1/query", reads), ("POST", "/api/v1/query_range", reads),
            ("POST", "/api/v1/ml/predict/lead", reads), ("POST", "/api/v2/silences", acts),
            ("POST", "/api/vedette/v1/rollbacks", acts), ("POST", "/-/reload", changes),
            ("POST", "/api/v1/admin/tsdb/delete_series", changes), ("GET", "/-/healthy", 200),
        ] {
            #expect(await status(gate, request(method, path, authorization)) == expected, "\(method) \(path)")
        }
        // Loopback is nobody special where people are told apart; the Unix socket is guarded by its file's mode.
        let local = request("POST", "/-/reload", from: .tcp(address: "127.0.0.1"), authorization)
        #expect(await status(gate, local) == changes)
        #expect(await status(gate, request("POST", "/-/reload", from: .unix(user: 0))) == 200)
    }

    @Test(
        "addresses that one customer chooses among are counted as one",
        arguments: [
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true), ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true), ("192.0.2.7", "192.0.2.8", false),
            ("fe80::1%eth0", "fe80::2%eth0", true), ("not:an:address", "not:an:other", false),
        ]) func counted(one: String, other: String, isOne: Bool)
    {
        #expect((Peer.tcp(address: one).counted == Peer.tcp(address: other).counted) == isOne)
    }

    @Test("a path behind a prefix is judged as without it") func prefixed() async throws {
        let bench = try await WebBench()
        var context = bench.api.context
        (context.routePrefix, context.allowsAdmin) = ("/vedette", true)
        context.access = try gate(AccessTests.protected, files: [:])
        let api = API(context)
        for (path, expected) in [
            ("/vedette/-/reload", 403), ("/vedette/api/v1/admin/tsdb/clean_tombstones", 403),
            ("/vedette/api/v1/query", 400), ("/vedette//-/reload", 403), ("/-/reload", 404), ("/vedette-/reload", 404),
        ] {
            let answer = await api.answer(request("POST", path, basic("vic", "correct horse")))
            #expect(answer.status == expected, "\(path)")
        }
    }

    @Test("anonymous readers where they are wanted") func anonymous() async throws {
        let gate = try gate(AccessTests.protected + "\nanonymous: viewer", files: [:])
        #expect(await status(gate, request("GET", "/metrics")) == 200)
        #expect(await status(gate, request("POST", "/-/reload")) == 401)
        #expect(await status(gate, request("GET", "/metrics", basic("ann", "wrong"))) == 401)
    }

    @Test("ten wrong passwords a minute from one address, and no more are looked at") func failures() async throws {
        let gate = try gate(AccessTests.protected)
        for number in 0..<10 {
            clock.advance(by: 200)  // Five a second are reckoned in all.
            #expect(await status(gate, request("GET", "/metrics", basic("ann", "guess \(number)"))) == 401)
        }
        let right = basic("ann", "correct horse")
        #expect(await status(gate, request("GET", "/metrics", right)) == 429, "even the right one: nothing is learnt")
        #expect(await status(gate, request("GET", "/metrics", from: .tcp(address: "192.0.2.8"), right)) == 200)
        clock.advance(by: 60_000)
        #expect(await status(gate, request("GET", "/metrics", right)) == 200)
        #expect(gate.refusals == [401: 10, 429: 1])
    }

    @Test("a login is remembered until the rules change") func remembered() async throws {
        let gate = try gate(AccessTests.protected)
        let right = request("GET", "/metrics", basic("vic", "correct horse"))
        // Without the memory the limit of reckonings would refuse most of these: no time passes.
        for _ in 0..<50 { #expect(await status(gate, right) == 200) }
        gate.replace(try settings("users: [{name: ann, password_hash: \"\(AccessTests.hash)\", role: admin}]"))
        clock.advance(by: 10_000)
        #expect(await status(gate, right) == 401)
    }

    @Test("requests above the rate of an address are refused, this machine's own are not") func rate() async throws {
        let gate = try gate("limits: {requests_per_second: 2}")
        let outside = await (0..<30).mapInOrder { _ in await status(gate, request("GET", "/metrics")) }
        #expect(outside == Array(repeating: 200, count: 20) + Array(repeating: 429, count: 10))
        let inside = await (0..<30).mapInOrder { _ in
            await status(gate, request("GET", "/metrics", from: .tcp(address: "127.0.0.1")))
        }
        #expect(inside.allSatisfy { $0 == 200 })
        clock.advance(by: 1000)
        #expect(await (0..<3).mapInOrder { _ in await status(gate, request("GET", "/metrics")) } == [200, 200, 429])
    }

    @Test("many addresses take bounded memory") func addresses() async throws {
        let gate = try gate()
        for number in 0..<25_000 {
            clock.advance(by: 1)
            let address = "10.\(number >> 16).\(number >> 8 & 255).\(number & 255)"
            #expect(await status(gate, request("GET", "/metrics", from: .tcp(address: address))) == 200)
        }
        #expect(gate.addressCount <= 10_000)
    }

    @Test(
        "mistakes are told where they stand",
        arguments: [
            ("users: [{name: ann, password_hash: secret, role: admin}]", "v.yaml:1:36", "vedette access hash"),
            ("users: [{name: 'a:b', password_hash: x, role: admin}]", "v.yaml:1:16", "colon"),
            ("users: [{name: ann, password_hash: HASH, role: root}]", "role", "viewer, operator or admin"),
            ("tokens: [{name: a, role: viewer}]", "v.yaml:1", "token_file, or sha256"),
            ("tokens: [{name: a, sha256: abc, role: viewer}]", "v.yaml:1:28", "64"),
            ("anonymous: admin", "v.yaml:1:1", "viewer or none"), ("limits: {connections: 0}", "v.yaml:1", "above 0"),
            ("tls: {cert_file: c.pem}", "v.yaml:1", "key_file"), ("user: []", "v.yaml:1:1", "did you mean 'users'"),
        ]) func mistakes(text: String, place: String, cure: String) async throws
    {
        let error = #expect(throws: SettingsError.self) {
            try settings(text.replacing("HASH", with: "\"\(AccessTests.hash)\""))
        }
        let message = error?.description ?? ""
        #expect(message.contains(place), "\(message)")
        #expect(message.contains(cure), "\(message)")
        #expect(!message.contains("secret"), "\(message)")
    }

    @Test("a file of Prometheus' web configuration gives its users everything") func prometheus() async throws {
        let text = """
            tls_server_config: {cert_file: c.pem, key_file: k.pem, min_version: TLS13}
            basic_auth_users: {ann: "\(AccessTests.hash)"}
            """
        let settings = try WebSettings(webConfiguration: SettingsDocument(text, file: "web.yml").map())
        #expect(settings.tls == WebSettings.TLS(certificate: "c.pem", key: "k.pem", isModern: true))
        #expect(settings.users.map(\.role) == [.admin])
    }

    @Test("hashes of passwords: their own password and no other") func hashes() async throws {
        let hash = try #require(PasswordHash(AccessTests.hash))
        #expect(hash.matches("correct horse"))
        for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct horse\0"] {
            #expect(!hash.matches(wrong))
        }
        // As `openssl passwd -6` makes it.
        let sha = PasswordHash(
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1")
        #expect(sha?.matches("Hello world!") == true)
        for text in ["secret", "$1$abc$def", "", "$2b$", "{SHA}abc"] { #expect(PasswordHash(text) == nil) }
        #expect("\(hash)" == "<hash>")
    }
}

/// Who changed what.
@Suite struct AuditTests {
    @Test("a change stands there before it is done, with its outcome after, over a restart; secrets do not")
    func recorded() async throws {
        let store = AlertRecorder()
        let log = RecordingLog()
        let audit = AuditLog(store, log: log)
        var request = APIRequest(method: "POST", path: "/-/reload", query: "reason=test&auth=hunter2")
        request.peer = .unix(user: 1000)
        let moment = Timestamp(milliseconds: 1000)
        let number = audit.begin(AuditEntry(request, Caller(name: "ann", role: .admin), now: moment))
        #expect(AuditLog(store, log: log).all.first?.status == nil)
        #expect(AuditLog(store, log: log).all.first?.caller == "ann")
        audit.end(number, status: 200)
        let entry = try #require(AuditLog(store, log: log).all.first)
        #expect(entry.request == "POST /-/reload?reason=test&auth=…")
        #expect((entry.status, entry.peer, entry.role, entry.time) == (200, "unix:1000", "admin", moment))
        #expect(log.events.map(\.kind) == ["audit"])
        #expect(!log.events.contains { "\($0)".contains("hunter2") })
    }

    @Test("the last thousand are kept") func ring() {
        let store = AlertRecorder()
        let audit = AuditLog(store, log: RecordingLog())
        for _ in 0..<1100 {
            audit.end(audit.begin(AuditEntry(signal: "SIGHUP", now: Timestamp(milliseconds: 0))), status: 200)
        }
        let again = AuditLog(store, log: RecordingLog()).all
        #expect(again.map(\.sequence) == Array(101...1100))
    }

    @Test("through the handlers: a refused change is not in the record, a silence is, posted alerts are not")
    func handlers() async throws {
        let bench = try await WebBench()
        let audit = AuditLog(AlertRecorder(), log: RecordingLog())
        var context = bench.api.context
        (context.audit, context.access) = (audit, AccessGate(WebSettings(), clock: bench.clock) { _ in [] })
        let api = API(context)
        func ask(_ method: String, _ path: String, _ body: String = "", from peer: Peer) async -> APIResponse {
            var request = APIRequest(method: method, path: path, body: Array(body.utf8))
            (request.peer, request.contentType) = (peer, "application/json")
            return await api.answer(request)
        }
        let refused = await ask("POST", "/-/reload", from: .tcp(address: "192.0.2.1"))
        #expect(refused.status == 403)
        #expect(await ask("POST", "/-/reload", from: .unix(user: 0)).status == 200)
        #expect(await ask("POST", "/api/v2/alerts", "[]", from: .unix(user: 0)).status == 200)
        #expect(await ask("DELETE", "/api/v2/silence/nothing", from: .tcp(address: "::1")).status >= 400)
        #expect(audit.all.map(\.request) == ["POST /-/reload", "DELETE /api/v2/silence/nothing"])
        let told = await ask("GET", "/api/vedette/v1/audit", from: .unix(user: 0))
        #expect(String(decoding: told.body, as: UTF8.self).contains("DELETE"))
    }
}

extension Range<Int> {
    fileprivate func mapInOrder<Value>(_ transform: (Int) async -> Value) async -> [Value] {
        var values: [Value] = []
        for number in self { values.append(await transform(number)) }
        return values
    }
}
