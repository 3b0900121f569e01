public import Basics
public import Settings

/// One HTTP request, complete: no state is kept between two.
public struct HTTPRequest: Sendable, Hashable {
    /// `GET`, `POST`, …
    public var method: String
    /// Absolute, `http://` or `https://`.
    public var url: String
    /// In order; secrets may stand here, so a request is never printed whole.
    public var headers: [HTTPHeader]
    /// Sent as it is.
    public var body: [UInt8]
    /// The longest it may take in all.
    public var timeout: Milliseconds
    /// A longer answer is cut there and fails.
    public var maximumResponseBytes: Int
    /// Whether the status is what counts: of an answer that is too long, or ends too early, is given what came.
    public var wantsStatusAlone = false
    /// A Unix socket to connect to in place of the URL's host.
    public var unixSocket: String?
    /// Options of the connection: TLS, proxy, redirects.
    public var options: HTTPOptions
    /// What it is made for.
    public var purpose = Purpose.answer

    /// What a request is made for.
    public enum Purpose: Sendable, Hashable {
        /// Its answer. The connection is kept and used again.
        case answer
        /// A look at the other side, over a connection of its own; how each phase went is told, see `FetchDetails`.
        case check
        /// The same without a request: the connection, and TLS where the URL says `https`.
        case connection
    }

    /// A request by its parts.
    public init(
        method: String = "GET", url: String, headers: [HTTPHeader] = [], body: [UInt8] = [],
        timeout: Milliseconds = 10_000, maximumResponseBytes: Int = 1 << 20, unixSocket: String? = nil,
        options: HTTPOptions = HTTPOptions()
    ) {
        (self.method, self.url, self.headers, self.body) = (method, url, headers, body)
        (self.timeout, self.maximumResponseBytes) = (timeout, maximumResponseBytes)
        (self.unixSocket, self.options) = (unixSocket, options)
    }
}

/// A header's name and value.
public struct HTTPHeader: Sendable, Hashable {
    /// As sent.
    public var name: String, value: String
    /// A header by its parts.
    public init(_ name: String, _ value: String) { (self.name, self.value) = (name, value) }
}

/// How a connection is made.
public struct HTTPOptions: Sendable, Hashable {
    /// Whether a 3xx answer is followed.
    public var followRedirects = true
    /// Whether the server's certificate is not checked.
    public var insecureSkipVerify = false
    /// A PEM file of the authorities to trust in place of the system's.
    public var certificateAuthorityFile: String?
    /// The PEM files of a client certificate and its key.
    public var certificateFile: String?, keyFile: String?
    /// The same as texts: authorities, a client certificate, its key.
    public var certificateAuthority: String?, certificate: String?, key: Secret?
    /// The oldest and the newest version of TLS to speak; nil: what libcurl takes for good.
    public var oldestTLS: TLSVersion?, newestTLS: TLSVersion?
    /// The name to expect in the certificate in place of the URL's host.
    public var serverName: String?
    /// A proxy's URL, and hosts that are reached without it, parted by commas.
    public var proxy: String?, withoutProxy: String?
    /// Whether `http_proxy`, `https_proxy` and `no_proxy` of the environment count.
    public var proxyFromEnvironment = false
    /// Headers for the proxy alone, when it makes a tunnel.
    public var proxyHeaders: [HTTPHeader] = []
    /// Whether a compressed answer is asked for.
    public var acceptCompression = true

    /// The defaults.
    public init() {}
}

/// A version of TLS, as Prometheus writes it.
public enum TLSVersion: String, Sendable, Hashable, CaseIterable, Comparable {
    case tls10 = "TLS10", tls11 = "TLS11", tls12 = "TLS12", tls13 = "TLS13"

    /// The older one is less.
    public static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }
}

/// An answer, whatever its status.
public struct HTTPResponse: Sendable, Hashable {
    /// 200, 404, …
    public var status: Int
    /// In the order they came; names in lower case.
    public var headers: [HTTPHeader]
    /// Decompressed.
    public var body: [UInt8]

    /// An answer by its parts.
    public init(status: Int, headers: [HTTPHeader] = [], body: [UInt8] = []) {
        (self.status, self.headers, self.body) = (status, headers, body)
    }

    /// The first header of that name, given in lower case.
    public func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

/// Why there is no answer. It never holds a header or a body, so it may be printed.
public enum TransportError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The URL cannot be used, and why.
    case invalid(String)
    /// No connection was made, so the request certainly did not arrive.
    case unreachable(String)
    /// The connection broke or the time ran out; when the request had been sent, its outcome is unknown.
    case interrupted(String, requestWasSent: Bool)
    /// The answer is longer than allowed.
    case tooLarge(limitBytes: Int)

    /// Whether the other side may have acted on the request.
    public var isOutcomeUnknown: Bool {
        switch self {
        case .invalid, .unreachable: false
        case .interrupted(_, let requestWasSent): requestWasSent
        case .tooLarge: true
        }
    }

    /// One clause.
    public var description: String {
        switch self {
        case .invalid(let reason), .unreachable(let reason), .interrupted(let reason, _): reason
        case .tooLarge(let limit): "the answer is longer than \(limit) bytes"
        }
    }
}

/// Sends single requests: pages, flags, remote calls. libcurl stands behind it, a simulated network in tests.
public protocol HTTPTransport: MailTransport {
    /// Returns the answer, whatever its status.
    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse
}
