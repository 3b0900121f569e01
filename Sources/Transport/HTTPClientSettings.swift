internal import Basics
public import Settings

/// Prometheus' `http_config`: who we are to the other side, and how we connect. Its keys stand inside the map that is
/// given: a scrape job's own map, or the map under `http_config`.
public struct HTTPClientSettings: Sendable, Hashable {
    /// `Authorization: Basic`.
    public struct BasicAuthentication: Sendable, Hashable {
        /// The user's name and, secret, the password.
        public var username: String, password: Secret

        /// Both parts.
        public init(username: String, password: Secret) { (self.username, self.password) = (username, password) }
    }
    /// `Authorization: TYPE CREDENTIALS`.
    public struct Authorization: Sendable, Hashable {
        /// `Bearer` by default, and the secret credentials.
        public var type: String, credentials: Secret
    }

    /// At most one of the two.
    public var basic: BasicAuthentication?, authorization: Authorization?
    /// TLS, proxy, redirects. Default: redirects are followed.
    public var options = HTTPOptions()

    /// Passwords and credentials, to be cut out of what the other side says.
    public var allSecrets: [Secret] { [basic?.password, authorization?.credentials].compactMap(\.self) }
    /// Whether a secret stands in a file, which is read anew for each request.
    public var usesFiles: Bool { allSecrets.contains { $0.path != nil } }

    /// No authentication, the default options.
    public init() {}

    /// Takes the keys of `http_config` from a map, whose owner calls `finish`; relative paths start from the folder of
    /// the settings' file.
    public init(from map: SettingsMap) throws(SettingsError) {
        if let part = try map.takeMap("basic_auth") {
            try part.refuse(["username_file"], "write the name under 'username'")
            let username: String = try part.require("username")
            basic = BasicAuthentication(username: username, password: try part.takeSecret("password") ?? Secret(""))
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
        options.proxy = try map.take("proxy_url")
        options.followRedirects = try map.take("follow_redirects", default: true)
        _ = try map.take("enable_http2", default: true)  // libcurl speaks HTTP/1.1 here; the key changes nothing.
        try map.refuse(
            ["oauth2", "http_headers", "no_proxy", "proxy_from_environment", "proxy_connect_header"],
            "use basic_auth or authorization, and proxy_url")
    }

    /// The headers that say who we are; a secret's file is read now.
    public func headers(reading read: Secret.FileReader) throws -> [HTTPHeader] {
        if let basic {
            let pair = "\(basic.username):\(try basic.password.reveal(read))"
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
    /// Takes the keys of `tls_config`.
    fileprivate mutating func readTLS(_ map: SettingsMap) throws(SettingsError) {
        certificateAuthorityFile = try map.takePath("ca_file")
        certificateFile = try map.takePath("cert_file")
        keyFile = try map.takePath("key_file")
        guard (certificateFile == nil) == (keyFile == nil) else {
            throw map.error("cert_file and key_file belong together; give both or neither")
        }
        serverName = try map.take("server_name")
        if let serverName,
            serverName.isEmpty || !serverName.utf8.allSatisfy({ $0.isASCIIWord || $0 == 0x2D || $0 == 0x2E })
        {
            throw map.error("server_name", "'\(serverName)' is no host name; write it without scheme and port")
        }
        insecureSkipVerify = try map.take("insecure_skip_verify", default: false)
        try map.refuse(["ca", "cert", "key"], "name files: ca_file, cert_file, key_file")
        try map.refuse(["min_version", "max_version"], "leave it out; the best version that both sides know is used")
        try map.finish()
    }
}
