internal import Basics
public import Settings

/// Prometheus' `http_config`: who we are to the other side, and how we connect. Its keys stand inside the map that is
/// given, as in a scrape configuration.
public struct HTTPClientSettings: Sendable, Hashable {
    /// `Authorization: Basic`.
    public struct BasicAuthentication: Sendable, Hashable {
        /// The user's name and, secret, the password.
        public var username: String, password: Secret
    }
    /// `Authorization: TYPE CREDENTIALS`.
    public struct Authorization: Sendable, Hashable {
        /// `Bearer` by default, and the secret credentials.
        public var type: String, credentials: Secret
    }

    /// At most one of the two.
    public var basic: BasicAuthentication?, authorization: Authorization?
    /// TLS, proxy, redirects.
    public var options = HTTPOptions()

    /// Whether a secret stands in a file, which is read anew for each request.
    public var usesFiles: Bool { basic?.password.path != nil || authorization?.credentials.path != nil }

    /// No authentication, the default options.
    public init() {}

    /// Takes the keys of `http_config` from a map; relative paths start at `directory`.
    public init(from map: SettingsMap, directory: String) throws(SettingsError) {
        func resolve(_ path: String?) -> String? {
            path.map { $0.hasPrefix("/") || directory.isEmpty ? $0 : "\(directory)/\($0)" }
        }
        if let part = try map.takeMap("basic_auth") {
            let username = try part.take("username", default: "")
            basic = BasicAuthentication(username: username, password: try part.takeSecret("password") ?? Secret(""))
            try part.refuse(["username_file"], "write the name under 'username'")
            try part.finish()
        }
        if let part = try map.takeMap("authorization") {
            let type = try part.take("type", default: "Bearer")
            guard type.lowercased() != "basic" else { throw part.error("type", "use basic_auth for it") }
            authorization = Authorization(type: type, credentials: try part.takeSecret("credentials") ?? Secret(""))
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
        if let tls = try map.takeMap("tls_config") {
            options.certificateAuthorityFile = resolve(try tls.take("ca_file"))
            options.certificateFile = resolve(try tls.take("cert_file"))
            options.keyFile = resolve(try tls.take("key_file"))
            options.insecureSkipVerify = try tls.take("insecure_skip_verify", default: false)
            try tls.refuse(
                ["server_name", "min_version", "max_version", "ca", "cert", "key"], "use the files' options")
            try tls.finish()
        }
        options.proxy = try map.take("proxy_url")
        options.followRedirects = try map.take("follow_redirects", default: true)
        _ = try map.take("enable_http2", default: true)  // libcurl speaks HTTP/1.1 here; the key changes nothing.
        try map.refuse(
            ["oauth2", "http_headers", "no_proxy", "proxy_from_environment", "proxy_connect_header"],
            "use basic_auth or authorization, and proxy_url")
    }

    /// Lays the settings over a request; a secret's file is read now.
    public func apply(to request: inout HTTPRequest, reading read: Secret.FileReader) throws {
        if let basic {
            let pair = "\(basic.username):\(try basic.password.reveal(read))"
            request.headers.append(HTTPHeader("Authorization", "Basic \(base64(Array(pair.utf8)))"))
        }
        if let authorization {
            let credentials = try authorization.credentials.reveal(read)
            request.headers.append(HTTPHeader("Authorization", "\(authorization.type) \(credentials)"))
        }
        request.options = options
    }
}
