internal import Basics
public import Settings

/// Prometheus' `http_config`: who we are to the other side, and how we connect. Its keys stand inside the map that is
/// given: a scrape job's own map, or the map under `http_config`.
public struct HTTPClientSettings: Sendable, Hashable {
    /// `Authorization: Basic`.
    public struct BasicAuthentication: Sendable, Hashable {
        /// The user's name, which may stand in a file, and the password.
        public var username: Secret, password: Secret

        /// Both parts.
        public init(username: String, password: Secret) { self.init(username: Secret(username), password: password) }
        /// Both parts, the name from a file.
        public init(username: Secret, password: Secret) { (self.username, self.password) = (username, password) }
    }
    /// `Authorization: TYPE CREDENTIALS`.
    public struct Authorization: Sendable, Hashable {
        /// `Bearer` by default, and the secret credentials.
        public var type: String, credentials: Secret
    }

    /// At most one of the two.
    public var basic: BasicAuthentication?, authorization: Authorization?
    /// A header of `http_headers`: `values`, `secrets` and what stands in `files`, each sent.
    public struct Header: Sendable, Hashable {
        /// The name as written, and the values.
        public var name: String, values: [Secret]
        /// How many of them stand in the open.
        public var openCount: Int
    }
    /// `oauth2`; whoever sends asks for the token and adds the header.
    public var oauth2: OAuth2Settings? {
        get { if case .some(let settings) = boxedOAuth2 { settings } else { nil } }
        set { boxedOAuth2 = newValue.map { .some($0) } ?? .none }
    }
    /// Seldom there, and long: ten thousand targets hold these settings several times over.
    private var boxedOAuth2 = BoxedOAuth2.none
    private indirect enum BoxedOAuth2: Sendable, Hashable {
        case none
        case some(OAuth2Settings)
    }
    /// `http_headers`, by name.
    public var headers: [Header] = []
    /// TLS, proxy, redirects. Default: redirects are followed.
    public var options = HTTPOptions()

    /// Passwords and credentials, to be cut out of what the other side says.
    public var allSecrets: [Secret] {
        [basic?.password, authorization?.credentials, oauth2?.clientSecret].compactMap(\.self)
            + headers.flatMap { $0.values.dropFirst($0.openCount) }
    }
    /// Whether a secret stands in a file, which is read anew for each request.
    public var usesFiles: Bool { allSecrets.contains { $0.path != nil } || basic?.username.path != nil }

    /// No authentication, the default options.
    public init() {}

    /// Takes the keys of `http_config` from a map, whose owner calls `finish`; relative paths start from the folder of
    /// the settings' file.
    ///
    /// - Parameter offersOAuth2: Whether the owner asks for tokens; else `oauth2` is refused.
    public init(from map: SettingsMap, offersOAuth2: Bool = false) throws(SettingsError) {
        if let part = try map.takeMap("basic_auth") {
            basic = BasicAuthentication(
                username: try part.takeSecret("username") ?? Secret(""),
                password: try part.takeSecret("password") ?? Secret(""))
            try part.finish()
        }
        if let part = try map.takeMap("authorization") {
            let type = try part.take("type", default: "Bearer")
            guard type.lowercased() != "basic" else { throw part.error("type", "use basic_auth for it") }
            guard let credentials = try part.takeSecret("credentials") else { throw part.missing("credentials") }
            authorization = Authorization(type: type, credentials: credentials)
            try part.finish()
        }
        if let token = try map.takeSecret("bearer_token") {
            guard authorization == nil else { throw map.error("bearer_token", "authorization is given too; keep one") }
            authorization = Authorization(type: "Bearer", credentials: token)
        }
        guard basic == nil || authorization == nil else {
            throw map.error(
                "basic_auth", "only one of basic_auth, authorization and bearer_token may be given; remove the others")
        }
        if let tls = try map.takeMap("tls_config") { try options.readTLS(tls) }
        try options.readProxy(map)
        options.followRedirects = try map.take("follow_redirects", default: true)
        _ = try map.take("enable_http2", default: true)  // libcurl speaks HTTP/1.1 here; the key changes nothing.
        if let part = try map.takeMap("http_headers") { headers = try HTTPClientSettings.headers(part) }
        if !offersOAuth2 {
            try map.refuse(["oauth2"], "use basic_auth or authorization; a program may renew credentials_file")
        }
        if let part = try map.takeMap("oauth2") {
            guard basic == nil, authorization == nil else {
                throw map.error(
                    "oauth2", "basic_auth, authorization or bearer_token is given too; keep one of them")
            }
            oauth2 = try OAuth2Settings(from: part)
        }
    }

    /// Headers that the client itself makes, or that have keys of their own; in lower case.
    public static let reserved: Set<String> = [
        "authorization", "host", "content-encoding", "content-length", "content-type", "user-agent", "connection",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "www-authenticate", "accept-encoding",
        "x-prometheus-remote-write-version", "x-prometheus-remote-read-version",
        "x-prometheus-scrape-timeout-seconds",
    ]

    private static func headers(_ map: SettingsMap) throws(SettingsError) -> [Header] {
        var headers: [Header] = []
        for name in map.keys {
            guard !reserved.contains(name.lowercased()) else {
                throw SettingsError(
                    map.location(of: name), "\(name) is a header of its own meaning; it cannot be set here")
            }
            guard !name.isEmpty, name.utf8.allSatisfy({ $0.isASCIIWord || $0 == 0x2D }) else {
                throw SettingsError(
                    map.location(of: name), "'\(name)' is no header's name; write letters, digits and -")
            }
            guard let part = try map.takeMap(name) else { continue }
            let open = try part.take("values", default: [String]())
            let values = open.map { Secret($0) } + (try part.take("secrets", default: [Secret]()))
            let files = try part.takePaths("files").map { Secret(file: $0) }
            try part.finish()
            headers.append(Header(name: name, values: values + files, openCount: open.count))
        }
        try map.finish()
        return headers
    }

    /// The headers that say who we are; a secret's file is read now.
    public func headers(reading read: Secret.FileReader) throws -> [HTTPHeader] {
        var result: [HTTPHeader] = []
        for header in self.headers {
            for value in header.values { result.append(HTTPHeader(header.name, try value.reveal(read))) }
        }
        return try authentication(reading: read) + result
    }

    private func authentication(reading read: Secret.FileReader) throws -> [HTTPHeader] {
        if let basic {
            let pair = "\(try basic.username.reveal(read)):\(try basic.password.reveal(read))"
            return [HTTPHeader("Authorization", "Basic \(base64(Array(pair.utf8)))")]
        }
        guard let authorization else { return [] }
        let credentials = try authorization.credentials.reveal(read)
        return [HTTPHeader("Authorization", "\(authorization.type) \(credentials)")]
    }

    /// Lays the settings over a request; a secret's file is read now.
    public func apply(to request: inout HTTPRequest, reading read: Secret.FileReader) throws {
        request.headers += try headers(reading: read)
        request.options = options
    }
}

extension HTTPOptions {
    /// Options by the keys of a `tls_config`.
    public init(tls map: SettingsMap) throws(SettingsError) {
        self.init()
        try readTLS(map)
    }

    /// Takes the keys of the proxy.
    mutating func readProxy(_ map: SettingsMap) throws(SettingsError) {
        proxy = try map.take("proxy_url")
        withoutProxy = try map.take("no_proxy")
        proxyFromEnvironment = try map.take("proxy_from_environment", default: false)
        if proxyFromEnvironment {
            for key in ["proxy_url", "no_proxy"] where map.has(key) {
                throw map.error(key, "proxy_from_environment is given too; keep one of the two")
            }
        }
        guard withoutProxy == nil || proxy != nil else {
            throw map.error("no_proxy", "there is no proxy_url; give it, or remove no_proxy")
        }
        if let part = try map.takeMap("proxy_connect_header") {
            guard proxy != nil || proxyFromEnvironment else {
                throw map.error("proxy_connect_header", "there is no proxy_url; give it, or remove this")
            }
            for name in part.keys {
                for value in try part.take(name, default: [String]()) { proxyHeaders.append(HTTPHeader(name, value)) }
            }
            try part.finish()
        }
    }

    /// Takes the keys of `tls_config`.
    mutating func readTLS(_ map: SettingsMap) throws(SettingsError) {
        certificateAuthorityFile = try map.takeNeededPath("ca_file")
        certificateFile = try map.takeNeededPath("cert_file")
        keyFile = try map.takeNeededPath("key_file")
        certificateAuthority = try map.take("ca")
        certificate = try map.take("cert")
        key = try map.take("key")
        for name in ["ca", "cert", "key"] where map.has(name) && map.has("\(name)_file") {
            throw map.error("\(name)_file", "\(name) is given too; keep one of the two")
        }
        guard (certificateFile ?? certificate == nil) == (keyFile == nil && key == nil) else {
            throw map.error("cert_file and key_file belong together; give both or neither")
        }
        serverName = try map.take("server_name")
        if let serverName,
            serverName.isEmpty || !serverName.utf8.allSatisfy({ $0.isASCIIWord || $0 == 0x2D || $0 == 0x2E })
        {
            throw map.error("server_name", "'\(serverName)' is no host name; write it without scheme and port")
        }
        insecureSkipVerify = try map.take("insecure_skip_verify", default: false)
        oldestTLS = try HTTPOptions.version("min_version", map)
        newestTLS = try HTTPOptions.version("max_version", map)
        if let oldestTLS, let newestTLS, oldestTLS > newestTLS {
            throw map.error("max_version", "must not be below min_version, \(oldestTLS.rawValue)")
        }
        try map.finish()
    }

    private static func version(_ key: String, _ map: SettingsMap) throws(SettingsError) -> TLSVersion? {
        guard let text = try map.take(key, as: String.self) else { return nil }
        guard let version = TLSVersion(rawValue: text) else {
            let known = TLSVersion.allCases.map(\.rawValue).joined(separator: ", ")
            throw map.error(key, "'\(text)' is no version of TLS; write \(known)")
        }
        return version
    }
}
