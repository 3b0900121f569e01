public import Basics
internal import Settings
public import Transport

/// Another server that samples go to, or expressions: where it is, who to be, how long to wait.
public struct RemotePeer: Sendable, Hashable {
    /// Unique among those of its kind; told in metrics and messages.
    public var name: String
    /// `http://` or `https://`.
    public var url: String
    /// The longest one request may take. Default: 30 s.
    public var timeout: Milliseconds = 30_000
    /// Who to be, TLS, proxy.
    public var http = HTTPClientSettings()
    /// Headers in the open, sorted by name.
    public var headers: [HTTPHeader] = []

    /// A peer by its address, with the defaults.
    public init(name: String, url: String) { (self.name, self.url) = (name, url) }

    /// The address without the part that may hold a password.
    public var shownURL: String {
        guard let part = userPart else { return url }
        return String(url[..<part.lowerBound] + url[url.index(after: part.upperBound)...])
    }

    /// `user:password` in the address, before its `@`.
    private var userPart: Range<String.Index>? {
        guard let scheme = url.firstRange(of: "//") else { return nil }
        let host = url[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
        return host.lastIndex(of: "@").map { scheme.upperBound..<$0 }
    }

    /// What nobody else may be told, wherever it stands.
    func secrets(_ files: Secret.FileReader) -> [String] {
        // What cannot be read cannot leak.
        var found = http.allSecrets.compactMap { try? $0.reveal(files) } + headers.map(\.value)
        if let part = userPart { found += url[part].split(separator: ":", maxSplits: 1).dropFirst().map(String.init) }
        return found
    }

    /// Takes `url`, `headers` and what `http_config` has from a map, whose owner calls `finish`.
    init(
        from map: SettingsMap, name: String, timeoutKey: String, timeout: Milliseconds
    ) throws(SettingsError) {
        self.name = name
        url = try map.require("url")
        self.timeout = try map.takeDuration(timeoutKey, default: timeout)
        guard self.timeout > 0 else { throw map.error(timeoutKey, "must be above 0") }
        let host = url.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).first ?? ""
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !host.isEmpty,
            !url.contains(where: \.isWhitespace)
        else { throw map.error("url", "is no address; write http://HOST:PORT/PATH or https://…") }
        let given = try map.take("headers", default: [String: String]())
        for name in given.keys.sorted() {
            guard !HTTPClientSettings.reserved.contains(name.lowercased()) else {
                throw map.error(
                    "headers", "\(name) is a header of its own meaning; use authorization, basic_auth or leave it out")
            }
            guard !name.isEmpty, name.utf8.allSatisfy({ $0.isASCIIWord || $0 == 0x2D }) else {
                throw map.error("headers", "'\(name)' is no header's name; write letters, digits and -")
            }
            headers.append(HTTPHeader(name, given[name] ?? ""))
        }
        http = try HTTPClientSettings(from: map, offersOAuth2: true)
    }
}

/// Sends requests to one peer.
struct RemoteClient: Sendable {
    let peer: RemotePeer
    let transport: any HTTPTransport
    let clock: any TimeSource
    let files: Secret.FileReader
    private let tokens: OAuth2Tokens?

    init(
        _ peer: RemotePeer, _ transport: any HTTPTransport, _ clock: any TimeSource,
        _ files: @escaping Secret.FileReader
    ) {
        (self.peer, self.transport, self.clock, self.files) = (peer, transport, clock, files)
        tokens = peer.http.oauth2.map { OAuth2Tokens($0, timeout: peer.timeout) }
    }

    /// A POST to the peer's URL with something behind it, as whoever we are to it. What it answers is read up to
    /// `limit` bytes; more is a failure, but where the status alone counts.
    func post(
        _ body: [UInt8], to path: String = "", headers: [HTTPHeader], limit: Int, wantsStatusAlone: Bool = false
    ) async throws(RemoteFailure) -> HTTPResponse {
        do {
            var request = HTTPRequest(
                method: "POST", url: peer.url + path,
                headers: headers + [HTTPHeader("User-Agent", "Vedette")] + peer.headers
                    + (try peer.http.headers(reading: files)),
                body: body, timeout: peer.timeout, maximumResponseBytes: limit, options: peer.http.options)
            request.wantsStatusAlone = wantsStatusAlone
            guard let tokens else { return try await transport.send(request) }
            return try await tokens.send(request, over: transport, reading: files, now: clock.now)
        } catch let error as FileError {
            throw RemoteFailure(kind: .local, reason: "\(error.path): cannot \(error.operation): \(error.reason)")
        } catch let error as TransportError {
            let kind: RemoteFailure.Kind = if case .tooLarge = error { .tooLarge } else { .network }
            throw RemoteFailure(kind: kind, reason: clean("\(error)"))
        } catch {
            throw RemoteFailure(kind: .local, reason: clean("\(error)"))
        }
    }

    /// What the other side says: one line of it, without our secrets.
    func excerpt(_ body: [UInt8]) -> String {
        clean(String(decoding: body.prefix(300), as: UTF8.self).trimmed.asOneLine)
    }

    private func clean(_ text: String) -> String {
        Secret.cut(peer.secrets(files), outOf: text)
    }
}

/// Why there is no answer, without a secret.
struct RemoteFailure: Error, Hashable, Sendable {
    enum Kind: String, Sendable { case network, tooLarge = "too_large", local }
    var kind: Kind
    var reason: String
}
