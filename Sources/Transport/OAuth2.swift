public import Basics
public import Settings
internal import Synchronization

/// `oauth2`: a token that is asked for with our own credentials and sent as `Authorization: Bearer`.
///
/// - SeeAlso: RFC 6749, section 4.4.
public struct OAuth2Settings: Sendable, Hashable {
    /// `client_id` and `client_secret`.
    public var clientID: String, clientSecret: Secret
    /// `token_url`, where the token is asked for.
    public var tokenURL: String
    /// `scopes`, and `endpoint_params`: further parameters of the question.
    public var scopes: [String] = [], parameters: [String: String] = [:]
    /// TLS and proxy on the way there.
    public var options = HTTPOptions()

    init(from map: SettingsMap) throws(SettingsError) {
        let grant = try map.take("grant_type", default: "client_credentials")
        guard grant == "client_credentials" || grant.isEmpty else {
            throw map.error("grant_type", "'\(grant)' is not offered; use client_credentials")
        }
        clientID = try map.require("client_id")
        clientSecret = try map.takeSecret("client_secret") ?? Secret("")
        tokenURL = try map.require("token_url")
        guard tokenURL.hasPrefix("http://") || tokenURL.hasPrefix("https://") else {
            throw map.error("token_url", "it cannot be asked; write http://… or https://…")
        }
        scopes = try map.take("scopes", default: [])
        parameters = try map.take("endpoint_params", default: [:])
        if let tls = try map.takeMap("tls_config") { try options.readTLS(tls) }
        try options.readProxy(map)
        try map.refuse(
            [
                "client_certificate_key", "client_certificate_key_file", "client_certificate_key_id",
                "signature_algorithm", "iss", "audience", "claims",
            ], "it belongs to a grant_type that is not offered; use client_secret")
        try map.finish()
    }

    /// The question for a token; the secret's file is read now.
    public func request(timeout: Milliseconds, reading read: Secret.FileReader) throws -> HTTPRequest {
        var form = [("grant_type", "client_credentials")]
        if !scopes.isEmpty { form.append(("scope", scopes.joined(separator: " "))) }
        form += parameters.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        let body = form.map { "\($0.0.queryEscaped)=\($0.1.queryEscaped)" }.joined(separator: "&")
        let pair = "\(clientID.queryEscaped):\(try clientSecret.reveal(read).queryEscaped)"
        var request = HTTPRequest(
            method: "POST", url: tokenURL,
            headers: [
                HTTPHeader("User-Agent", "Vedette"), HTTPHeader("Accept", "application/json"),
                HTTPHeader("Content-Type", "application/x-www-form-urlencoded"),
                HTTPHeader("Authorization", "Basic \(base64(Array(pair.utf8)))"),
            ], body: Array(body.utf8), timeout: timeout)
        request.options = options
        return request
    }

    /// What the answer means: the header's value, and how long it holds. Never tells what was answered.
    public func token(status: Int, body: [UInt8]) throws(OAuth2Error) -> (authorization: String, lifetime: Milliseconds)
    {
        guard (200..<300).contains(status) else { throw OAuth2Error("HTTP status \(status)") }
        guard let json = try? JSON(parsing: body), let token = json["access_token"]?.string, !token.isEmpty,
            token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { throw OAuth2Error("the answer has no access_token") }
        let seconds = json["expires_in"]?.number ?? json["expires_in"]?.string.flatMap { Double($0) } ?? 3600
        // A little early, so that none runs out on its way.
        let lifetime = Milliseconds(max(0, min(seconds, 1e9) - 10) * 1000)
        return ("Bearer \(token)", lifetime)
    }
}

/// Why there is no token.
public struct OAuth2Error: Error, Hashable, Sendable, CustomStringConvertible {
    /// One clause, without a secret.
    public let description: String
    init(_ reason: String) { description = "no token: \(reason)" }
}

/// The token of one `oauth2`, kept until it runs out.
public final class OAuth2Tokens: Sendable {
    /// Where it comes from.
    public let settings: OAuth2Settings
    private let timeout: Milliseconds
    private let kept = Mutex<(token: String, until: Timestamp)?>(nil)

    /// None yet; asking for one takes `timeout` at the most.
    public init(_ settings: OAuth2Settings, timeout: Milliseconds) {
        (self.settings, self.timeout) = (settings, timeout)
    }

    /// The value of `Authorization`, asked for when none is kept.
    private func token(
        _ transport: any HTTPTransport, _ files: Secret.FileReader, now: Timestamp
    ) async throws -> (token: String, isFresh: Bool) {
        if let kept = kept.withLock({ $0 }), now < kept.until { return (kept.token, false) }
        let response = try await transport.send(settings.request(timeout: timeout, reading: files))
        let (token, lifetime) = try settings.token(status: response.status, body: response.body)
        kept.withLock { $0 = (token, now + lifetime) }
        return (token, true)
    }

    /// Sends a request with the token; one that is not taken is asked for anew, once.
    public func send(
        _ request: HTTPRequest, over transport: any HTTPTransport, reading files: Secret.FileReader,
        now: () -> Timestamp
    ) async throws -> HTTPResponse {
        let (token, isFresh) = try await token(transport, files, now: now())
        var authorized = request
        authorized.headers.append(HTTPHeader("Authorization", token))
        let response = try await transport.send(authorized)
        guard response.status == 401, !isFresh else { return response }
        kept.withLock { $0 = nil }
        authorized.headers.removeLast()
        authorized.headers.append(HTTPHeader("Authorization", try await self.token(transport, files, now: now()).token))
        return try await transport.send(authorized)
    }
}
