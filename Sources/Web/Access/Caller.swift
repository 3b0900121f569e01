internal import Glibc

/// Where a request comes from.
public enum Peer: Sendable, Hashable {
    /// This process: a test, or the daemon itself.
    case process
    /// A Unix socket, by the user's number when the system tells it.
    case unix(user: UInt32?)
    /// A TCP address, without the port.
    case tcp(address: String)

    /// For people: `unix:1000`, `192.0.2.7`.
    public var text: String {
        switch self {
        case .process: "process"
        case .unix(let user): "unix:\(user.map { "\($0)" } ?? "?")"
        case .tcp(let address): address
        }
    }

    /// What is counted as one: an IPv4 address, and of IPv6 the first 64 bits, since the others are one customer's to
    /// choose; a mapped address is the IPv4 address in it.
    var counted: String {
        guard case .tcp(let address) = self, address.utf8.contains(UInt8(ascii: ":")) else { return text }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard unsafe inet_pton(AF_INET6, String(address.prefix { $0 != "%" }), &bytes) == 1 else { return text }
        if bytes.starts(with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]) {
            return bytes[12...].map { "\($0)" }.joined(separator: ".")
        }
        return bytes[..<8].map { String($0, radix: 16) }.joined(separator: ":") + "/64"
    }

    /// Whether the other side is on this machine.
    public var isLocal: Bool {
        guard case .tcp(let address) = self else { return true }
        return Peer.isLoopback(address)
    }

    static func isLoopback(_ host: some StringProtocol) -> Bool {
        let host = host.lowercased()
        if host == "localhost" || host == "::1" || host == "0:0:0:0:0:0:0:1" { return true }
        let bare = host.hasPrefix("::ffff:") ? host.dropFirst(7) : host[...]
        let parts = bare.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

/// What a request says of its sender: the headers that decide on access.
public struct Credentials: Sendable, Hashable {
    /// `Authorization`.
    public var authorization: String?
    /// `Host`, and what browsers say of the page that asks.
    public var host: String?, origin: String?, fetchSite: String?
    /// Whether a proxy stands between, as `Forwarded` or `X-Forwarded-For` tell: the peer is not who asks.
    public var isForwarded = false

    /// Nothing said.
    public init() {}
}

/// Who asks, once it is known.
public struct Caller: Sendable, Hashable {
    /// The user's or token's name; empty: nobody in particular.
    public var name: String
    /// What they may do; nil: nothing.
    public var role: Role?

    /// A caller by its parts.
    public init(name: String, role: Role?) { (self.name, self.role) = (name, role) }
}
