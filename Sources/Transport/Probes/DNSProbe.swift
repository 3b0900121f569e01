internal import Basics
internal import Glibc

/// What a name server answered, and how long each phase took.
public struct DNSHealth: Sendable, Hashable {
    /// The answer, whatever its code.
    public var answer: DNSAnswer
    /// Looking up the server's own name, and waiting for its answer.
    public var phases: [FetchDetails.Phase]
    /// 4 or 6.
    public var ipVersion: Int
}

/// Asks a name server one question, once: over UDP, and again over TCP when the answer was cut off.
public struct DNSProbe: Sendable, Hashable {
    /// The server's host and port.
    public var host: String, port: Int
    /// What is asked.
    public var question: DNSQuestion

    /// A question to a server.
    public init(host: String, port: Int, question: DNSQuestion) {
        (self.host, self.port, self.question) = (host, port, question)
    }

    /// Blocks until it is answered or the deadline is over. `id` tells the answer from others'.
    public func look(id: UInt16, by deadline: ProbeDeadline) throws(ProbeError) -> DNSHealth {
        let began = deadline.now
        guard let text = try HostLookup.addresses(of: host, by: deadline).first,
            let address = SocketAddress(text, port: port)
        else { throw ProbeError(.resolve, "\(host) has no address") }
        let resolved = deadline.now
        let message = question.message(id: id)
        var answer = try overUDP(address, message, id, deadline)
        if answer.isTruncated { answer = try overTCP(address, message, id, deadline) }
        let phases = [
            FetchDetails.Phase(.resolve, Double(resolved - began) / 1e9),
            FetchDetails.Phase(.processing, deadline.seconds(since: resolved)),
        ]
        return DNSHealth(answer: answer, phases: phases, ipVersion: address.family == AF_INET6 ? 6 : 4)
    }

    private func overUDP(
        _ address: SocketAddress, _ message: [UInt8], _ id: UInt16, _ deadline: ProbeDeadline
    ) throws(ProbeError) -> DNSAnswer {
        let socket = try open(address, SOCK_DGRAM, Int32(IPPROTO_UDP))
        defer { close(socket) }
        guard unsafe send(socket, message, message.count, Int32(MSG_NOSIGNAL)) == message.count else {
            throw failure()
        }
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            guard wait(for: socket, POLLIN, by: deadline) else { throw ProbeError(.timeout, "timed out") }
            let count = unsafe recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count >= 0 else { throw failure() }
            // What does not answer the question may come from anybody: the answer may still come.
            if let answer = DNSAnswer(Array(buffer[..<count]), to: question, id: id) { return answer }
        }
    }

    private func overTCP(
        _ address: SocketAddress, _ message: [UInt8], _ id: UInt16, _ deadline: ProbeDeadline
    ) throws(ProbeError) -> DNSAnswer {
        let socket = try open(address, SOCK_STREAM, Int32(IPPROTO_TCP))
        defer { close(socket) }
        guard wait(for: socket, POLLOUT, by: deadline) else { throw ProbeError(.timeout, "timed out") }
        let framed = [UInt8(message.count >> 8), UInt8(message.count & 0xFF)] + message
        guard unsafe send(socket, framed, framed.count, Int32(MSG_NOSIGNAL)) == framed.count else { throw failure() }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while bytes.count < 2 || bytes.count < 2 + (Int(bytes[0]) << 8 | Int(bytes[1])) {
            guard wait(for: socket, POLLIN, by: deadline) else { throw ProbeError(.timeout, "timed out") }
            let count = unsafe recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { throw count < 0 ? failure() : ProbeError(.interrupted, "the connection broke") }
            bytes += buffer[..<count]
        }
        guard let answer = DNSAnswer(Array(bytes[2...]), to: question, id: id), !answer.isTruncated else {
            throw ProbeError(.answer, "the answer over TCP cannot be read")
        }
        return answer
    }

    private func open(
        _ address: SocketAddress, _ type: __socket_type, _ transport: Int32
    ) throws(ProbeError) -> Int32 {
        let socket = address.connectedSocket(type, transport)
        guard socket >= 0 else { throw failure() }
        return socket
    }

    private func failure() -> ProbeError {
        let code = errno
        return unsafe ProbeError(
            code == ECONNREFUSED ? .refused : .connect, "\(host):\(port): \(String(cString: strerror(code)))")
    }
}
