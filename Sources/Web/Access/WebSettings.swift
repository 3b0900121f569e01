public import Basics
public import Settings

/// `web`: who may ask, over which protection, and how much at once.
public struct WebSettings: Sendable, Hashable {
    /// A person with a password.
    public struct User: Sendable, Hashable {
        /// As given by the person.
        public var name: String
        /// The hash of the password.
        public var hash: PasswordHash
        /// What they may do.
        public var role: Role
    }
    /// A program with a bearer token.
    public struct Token: Sendable, Hashable {
        /// For the audit record.
        public var name: String
        /// The token itself, in a file; or
        public var secret: Secret?
        /// its SHA-256 in hexadecimal digits.
        public var digest: String?
        /// What it may do.
        public var role: Role
    }
    /// How much one may ask.
    public struct Limits: Sendable, Hashable {
        /// Connections at once: in all, and from one address.
        public var connections = 1024, connectionsPerAddress = 256
        /// How long a request's head may take, and how long its body.
        public var headerTimeout: Milliseconds = 10_000, bodyTimeout: Milliseconds = 10_000
        /// How long a client may take for 16 KiB of its answer.
        public var answerTimeout: Milliseconds = 30_000
        /// Bytes of a request's head.
        public var headerBytes = 32 << 10
        /// Bytes of a body; alerts may be eight times as long.
        public var bodyBytes = 8 << 20
        /// Requests a second from one address, as a mean over ten seconds. This machine's own are not counted.
        public var requestsPerSecond = 100.0
        /// Failed logins a minute from one address.
        public var failuresPerMinute = 10

        /// The defaults.
        public init() {}
    }
    /// The files of the listener's TLS.
    public struct TLS: Sendable, Hashable {
        /// PEM, the server's own certificate first.
        public var certificate: String
        /// PEM.
        public var key: String
        /// Certificates of clients are asked for and must be signed by one of these.
        public var clientAuthority: String?
        /// Nothing below TLS 1.3 is spoken; 1.2 is the default.
        public var isModern = false
    }

    /// Who has a password.
    public var users: [User] = []
    /// Who has a token.
    public var tokens: [Token] = []
    /// What those may do who say nothing of themselves; nil: nothing but ask whether the daemon is healthy.
    public var anonymous: Role?
    /// How much one may ask.
    public var limits = Limits()
    /// Whether samples are taken at `/api/v1/write`.
    public var takesRemoteWrite = false
    /// Nil: plain HTTP.
    public var tls: TLS?

    /// Reading for all who reach the address; changes for this machine alone.
    public init() {}

    /// Whether somebody is told apart by a password or a token.
    public var isProtected: Bool { !users.isEmpty || !tokens.isEmpty }
}

extension WebSettings {
    /// Reads `web`.
    public init(from map: SettingsMap) throws(SettingsError) {
        for part in try map.takeMaps("users") {
            let name: String = try part.require("name")
            guard !name.isEmpty, !name.contains(":") else {
                throw part.error(
                    "name", "a user's name is not empty and has no colon; basic authentication splits there")
            }
            guard !users.contains(where: { $0.name == name }) else {
                throw part.error("name", "'\(name)' is the name of two users; rename one")
            }
            let text: String = try part.require("password_hash")
            guard let hash = PasswordHash(text) else {
                throw part.error(
                    "password_hash",
                    "is no hash that is known here, of a cost of 14 at the most; make one with: vedette access hash")
            }
            users.append(User(name: name, hash: hash, role: try WebSettings.role(part)))
            try part.finish()
        }
        for part in try map.takeMaps("tokens") {
            let name: String = try part.require("name")
            guard !name.isEmpty, !tokens.contains(where: { $0.name == name }),
                !users.contains(where: { $0.name == name })
            else { throw part.error("name", "each token needs a name of its own; rename it") }
            let digest: String? = try part.take("sha256")
            let secret = try part.takeSecret("token")
            guard (digest == nil) != (secret == nil) else {
                throw part.error(name, "give its token_file, or sha256; vedette access token makes both")
            }
            if let digest, digest.count != 64 || !digest.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) {
                throw part.error(
                    "sha256", "is not 64 lower-case hexadecimal digits; make one with: vedette access token")
            }
            tokens.append(Token(name: name, secret: secret, digest: digest, role: try WebSettings.role(part)))
            try part.finish()
        }
        if let name: String = try map.take("anonymous"), name != "none" {
            guard let role = Role(rawValue: name), role == .viewer else {
                throw map.error("anonymous", "must be viewer or none")
            }
            anonymous = role
        }
        takesRemoteWrite = try map.take("remote_write_receiver", default: false)
        if let part = try map.takeMap("limits") { limits = try Limits(from: part) }
        if let part = try map.takeMap("tls") {
            tls = TLS(
                certificate: try WebSettings.needed("cert_file", part), key: try WebSettings.needed("key_file", part),
                clientAuthority: try part.takeNeededPath("client_ca_file"))
            if let version: String = try part.take("min_version") {
                guard ["TLS12", "TLS13"].contains(version) else {
                    throw part.error("min_version", "must be TLS12 or TLS13")
                }
                tls?.isModern = version == "TLS13"
            }
            try part.finish()
        }
        try map.finish()
    }

    /// Reads a file of Prometheus' `--web.config.file`: whoever has a password there may do everything, as there.
    public init(webConfiguration map: SettingsMap) throws(SettingsError) {
        if let part = try map.takeMap("tls_server_config") {
            tls = TLS(
                certificate: try WebSettings.needed("cert_file", part), key: try WebSettings.needed("key_file", part),
                clientAuthority: try part.takeNeededPath("client_ca_file"))
            let kind: String? = try part.take("client_auth_type")
            if tls?.clientAuthority != nil, let kind, kind != "RequireAndVerifyClientCert" {
                throw part.error("client_auth_type", "must be RequireAndVerifyClientCert where client_ca_file is given")
            }
            let version = try part.take("min_version", default: "TLS12")
            guard ["TLS12", "TLS13"].contains(version) else {
                throw part.error("min_version", "must be TLS12 or TLS13")
            }
            tls?.isModern = version == "TLS13"
            try part.refuse(
                ["cipher_suites", "curve_preferences", "max_version", "prefer_server_cipher_suites"],
                "leave it out; the library's own choice holds")
            try part.finish()
        }
        if let part = try map.takeMap("basic_auth_users") {
            for name in part.keys {
                let text: String = try part.require(name)
                guard let hash = PasswordHash(text) else {
                    throw part.error(name, "is no hash that is known here; make one with: vedette access hash")
                }
                users.append(User(name: name, hash: hash, role: .admin))
            }
            try part.finish()
        }
        if let part = try map.takeMap("http_server_config") {
            try part.refuse(["http2", "headers"], "leave it out; HTTP/1.1 is spoken, with headers of its own")
            try part.finish()
        }
        try map.finish()
    }

    private static func role(_ map: SettingsMap) throws(SettingsError) -> Role {
        let name: String = try map.require("role")
        guard let role = Role(rawValue: name) else {
            throw map.error("role", "must be viewer, operator or admin")
        }
        return role
    }

    private static func needed(_ key: String, _ map: SettingsMap) throws(SettingsError) -> String {
        guard let path = try map.takeNeededPath(key) else { throw map.missing(key) }
        return path
    }
}

extension WebSettings.Limits {
    init(from map: SettingsMap) throws(SettingsError) {
        connections = try map.take("connections", default: connections)
        connectionsPerAddress = try map.take("connections_per_address", default: connectionsPerAddress)
        headerTimeout = try map.takeDuration("header_timeout", default: headerTimeout)
        bodyTimeout = try map.takeDuration("body_timeout", default: bodyTimeout)
        answerTimeout = try map.takeDuration("answer_timeout", default: answerTimeout)
        headerBytes = try map.takeBytes("header_bytes", default: headerBytes)
        bodyBytes = try map.takeBytes("body_bytes", default: bodyBytes)
        requestsPerSecond = try map.take("requests_per_second", default: requestsPerSecond)
        failuresPerMinute = try map.take("failures_per_minute", default: failuresPerMinute)
        let isPossible =
            connections > 0 && connectionsPerAddress > 0 && headerTimeout > 0 && bodyTimeout > 0 && answerTimeout > 0
            && headerBytes >= 1024
            && bodyBytes >= 1024 && requestsPerSecond > 0 && failuresPerMinute > 0
        guard isPossible else {
            throw map.error("each limit must be above 0, and header_bytes and body_bytes at least 1KB")
        }
        try map.finish()
    }
}
