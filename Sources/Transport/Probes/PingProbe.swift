internal import Basics
internal import Glibc

/// How an echo came back.
public struct PingHealth: Sendable, Hashable {
    /// Looking up the name, and the way there and back.
    public var phases: [FetchDetails.Phase]
    /// 4 or 6.
    public var ipVersion: Int
}

/// Sends one ICMP echo request and waits for its reply: over the kernel's own sockets for it where
/// `net.ipv4.ping_group_range` lets this process, else over a raw one where it may open that.
public struct PingProbe: Sendable, Hashable {
    /// A name or an address.
    public var host: String

    /// A look at a host.
    public init(host: String) { self.host = host }

    /// Blocks until the reply is there or the deadline is over. `id` tells the reply from others'.
    public func look(id: UInt16, by deadline: ProbeDeadline) throws(ProbeError) -> PingHealth {
        let began = deadline.now
        guard let text = try HostLookup.addresses(of: host, by: deadline).first,
            let address = SocketAddress(text, port: 0)
        else { throw ProbeError(.resolve, "\(host) has no address") }
        let resolved = deadline.now
        let isSix = address.family == AF_INET6
        let transport = Int32(isSix ? IPPROTO_ICMPV6 : IPPROTO_ICMP)
        var isRaw = false
        var socket = address.connectedSocket(SOCK_DGRAM, transport)
        if socket < 0, errno == EACCES || errno == EPERM || errno == EPROTONOSUPPORT {
            isRaw = true
            socket = address.connectedSocket(SOCK_RAW, transport)
            guard socket >= 0 || errno != EPERM && errno != EACCES else {
                throw ProbeError(
                    .request, "the kernel does not let this process ping; widen the sysctl net.ipv4.ping_group_range")
            }
        }
        guard socket >= 0 else { throw unsafe ProbeError(.connect, "\(host): \(String(cString: strerror(errno)))") }
        defer { close(socket) }
        let message = PingProbe.message(id: id, isSix: isSix)
        guard unsafe send(socket, message, message.count, Int32(MSG_NOSIGNAL)) == message.count else {
            throw unsafe ProbeError(.connect, "\(host): \(String(cString: strerror(errno)))")
        }
        try awaitReply(socket, message, isRaw: isRaw, isSix: isSix, deadline)
        let phases = [
            FetchDetails.Phase(.resolve, Double(resolved - began) / 1e9),
            FetchDetails.Phase(.processing, deadline.seconds(since: resolved)),
        ]
        return PingHealth(phases: phases, ipVersion: isSix ? 6 : 4)
    }

    private func awaitReply(
        _ socket: Int32, _ message: [UInt8], isRaw: Bool, isSix: Bool, _ deadline: ProbeDeadline
    ) throws(ProbeError) {
        var buffer = [UInt8](repeating: 0, count: 2048)
        while true {
            guard wait(for: socket, POLLIN, by: deadline) else { throw ProbeError(.timeout, "no reply in time") }
            let count = unsafe recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count >= 0 else {
                throw unsafe ProbeError(.connect, "\(host): \(String(cString: strerror(errno)))")
            }
            var reply = buffer[..<count]
            // A raw socket of the old protocol hands over the header too.
            if isRaw, !isSix, let first = reply.first { reply = reply.dropFirst(Int(first & 0xF) * 4) }
            if PingProbe.isReply(Array(reply), to: message, isRaw: isRaw, isSix: isSix) { return }
        }
    }

    /// An echo request; the kernel puts in the rest where it does that itself.
    static func message(id: UInt16, isSix: Bool) -> [UInt8] {
        let (high, low) = (UInt8(id >> 8), UInt8(id & 0xFF))
        // The id stands in the payload too: the kernel exchanges the header's.
        var bytes: [UInt8] = [isSix ? 128 : 8, 0, 0, 0, high, low, 0, 1] + Array("vedette ".utf8) + [high, low]
        guard !isSix else { return bytes }
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[index]) << 8 | UInt32(bytes[index + 1])
        }
        while sum >> 16 != 0 { sum = sum & 0xFFFF + sum >> 16 }
        (bytes[2], bytes[3]) = (UInt8(~sum >> 8 & 0xFF), UInt8(~sum & 0xFF))
        return bytes
    }

    /// Whether an ICMP message answers a request.
    static func isReply(_ reply: [UInt8], to message: [UInt8], isRaw: Bool, isSix: Bool) -> Bool {
        guard reply.count >= message.count, reply[0] == (isSix ? 129 : 0), reply[1] == 0 else { return false }
        return reply[6..<message.count] == message[6...] && (!isRaw || reply[4...5] == message[4...5])
    }
}
