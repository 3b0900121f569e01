internal import Basics
public import Settings
public import Transport

/// Alertmanager's `http_config`, the part that is offered.
public struct HTTPSettings: Sendable, Hashable {
    /// The scheme of the Authorization header, and what follows it.
    public var scheme = "Bearer", credentials: Secret?
    /// Name and password, in place of the above.
    public var userName: String?, password: Secret?
    /// TLS, proxy, redirects. Default: redirects are followed.
    public var options = HTTPOptions()

    /// The defaults.
    public init() {}

    init(from map: SettingsMap) throws(SettingsError) {
        try map.refuse(
            ["oauth2", "http_headers", "no_proxy", "proxy_from_environment", "proxy_connect_header"],
            "use basic_auth, authorization or proxy_url")
        if let basic = try map.takeMap("basic_auth") {
            try basic.refuse(["username_file"], "write the name as username")
            userName = try basic.require("username")
            password = try basic.takeSecret("password")
            try basic.finish()
        }
        if let authorization = try map.takeMap("authorization") {
            scheme = try authorization.take("type", default: "Bearer")
            guard let secret = try authorization.takeSecret("credentials") else {
                throw authorization.missing("credentials")
            }
            credentials = secret
            try authorization.finish()
        }
        if let token = try map.takeSecret("bearer_token") {
            guard credentials == nil else { throw map.error("bearer_token", "authorization is given too; keep one") }
            credentials = token
        }
        guard userName == nil || credentials == nil else {
            throw map.error("basic_auth and another authorization are given; keep one")
        }
        options.followRedirects = try map.take("follow_redirects", default: true)
        options.proxy = try map.take("proxy_url")
        _ = try map.take("enable_http2", default: true)
        if let tls = try map.takeMap("tls_config") {
            try tls.refuse(
                ["ca", "cert", "key", "min_version", "max_version"], "name files: ca_file, cert_file, key_file")
            options.certificateAuthorityFile = try tls.takeNode("ca_file")?.path()
            options.certificateFile = try tls.takeNode("cert_file")?.path()
            options.keyFile = try tls.takeNode("key_file")?.path()
            options.serverName = try tls.take("server_name")
            options.insecureSkipVerify = try tls.take("insecure_skip_verify", default: false)
            try tls.finish()
        }
        try map.finish()
    }

    /// The headers that say who we are.
    func headers(reading files: Secret.FileReader) throws -> [HTTPHeader] {
        if let userName {
            let pair = "\(userName):\(try password?.reveal(files) ?? "")"
            return [HTTPHeader("Authorization", "Basic \(base64(Array(pair.utf8)))")]
        }
        guard let credentials else { return [] }
        return [HTTPHeader("Authorization", "\(scheme) \(try credentials.reveal(files))")]
    }

    var allSecrets: [Secret] { [password, credentials].compactMap(\.self) }
}

/// RFC 4648.
func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let chunk = bytes[start..<min(start + 3, bytes.count)]
        let value = chunk.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - chunk.count))
        for place in 0..<4 {
            text.append(place <= chunk.count ? alphabet[value >> (18 - 6 * place) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}

extension Secret {
    /// A URL that is usable: `http://` or `https://`.
    func revealURL(reading files: FileReader) throws -> String {
        let url = try reveal(files)
        guard url.hasPrefix("http://") || url.hasPrefix("https://") else { throw UnusableURL() }
        return url
    }
}

/// A secret address that is none; says nothing of it.
struct UnusableURL: Error, CustomStringConvertible {
    var description: String { "the secret URL does not begin with http:// or https://" }
}
