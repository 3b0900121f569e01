internal import Basics
internal import CLinux
internal import Glibc
internal import Synchronization

/// Looks up host names for who must not wait for longer than it may: the C library's resolver knows no limit.
public enum HostLookup {
    /// Lookups whose resolver does not answer; each keeps a thread.
    private static let underWay = Atomic(0)
    private static let limit = 64

    private final class Question: Sendable {
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        let answer = Mutex<Result<[String], ProbeError>?>(nil)
        deinit { close(descriptor) }
    }

    /// The addresses of a host as texts, in the resolver's order; an address answers itself at once.
    public static func addresses(of host: String, by deadline: ProbeDeadline) throws(ProbeError) -> [String] {
        if let known = numeric(host) { return [known] }
        guard underWay.add(1, ordering: .relaxed).newValue <= limit else {
            underWay.subtract(1, ordering: .relaxed)
            throw ProbeError(.resolve, "\(limit) lookups hang already; look at the name server")
        }
        let question = Question()
        startThread(named: "vedette-lookup") {
            let answer = resolve(host)
            question.answer.withLock { $0 = answer }
            _ = eventfd_write(question.descriptor, 1)
            underWay.subtract(1, ordering: .relaxed)
        }
        guard wait(for: question.descriptor, POLLIN, by: deadline) else {
            throw ProbeError(.resolve, "the name server did not answer in time for \(host)")
        }
        return try question.answer.withLock { $0 ?? .success([]) }.get()
    }

    private static func numeric(_ host: String) -> String? {
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        return SocketAddress(bare, port: 0) == nil ? nil : bare
    }

    private static func resolve(_ host: String) -> Result<[String], ProbeError> {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let code = unsafe getaddrinfo(host, nil, &hints, &list)
        guard code == 0, let list = unsafe list else {
            return unsafe .failure(ProbeError(.resolve, "\(host): \(String(cString: gai_strerror(code)))"))
        }
        defer { unsafe freeaddrinfo(list) }
        var found: [String] = []
        var next: UnsafeMutablePointer<addrinfo>? = unsafe list
        while let current = unsafe next, found.count < 64 {
            var text = [CChar](repeating: 0, count: 64)
            let code = unsafe getnameinfo(
                current.pointee.ai_addr, current.pointee.ai_addrlen, &text, 64, nil, 0, NI_NUMERICHOST)
            if code == 0 {
                found.append(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
            }
            unsafe next = unsafe current.pointee.ai_next
        }
        return .success(found)
    }
}

/// Whether a descriptor became ready in time.
func wait(for descriptor: Int32, _ events: Int32, by deadline: ProbeDeadline) -> Bool {
    while true {
        let left = deadline.left
        guard left > 0 else { return false }
        var wanted = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        let ready = unsafe poll(&wanted, 1, Int32(clamping: left))
        if ready > 0 { return true }
        if ready < 0, errno != EINTR { return false }
    }
}

/// An IP address with a port, as the kernel takes it.
struct SocketAddress: Sendable {
    private var bytes: [UInt8]
    let family: Int32

    /// Nil when the text is no address.
    init?(_ text: String, port: Int) {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard unsafe getaddrinfo(text, "\(port)", &hints, &list) == 0, let list = unsafe list else { return nil }
        defer { unsafe freeaddrinfo(list) }
        family = unsafe list.pointee.ai_family
        unsafe bytes = Array(UnsafeRawBufferPointer(start: list.pointee.ai_addr, count: Int(list.pointee.ai_addrlen)))
    }

    /// An open, non-blocking socket that is connected to it, or is about to be; -1 with errno.
    func connectedSocket(_ type: __socket_type, _ transport: Int32) -> Int32 {
        let kind = Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let descriptor = socket(family, kind, transport)
        guard descriptor >= 0 else { return -1 }
        let code = unsafe bytes.withUnsafeBytes { buffer in
            unsafe connect(
                descriptor, buffer.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(buffer.count))
        }
        if code != 0, errno != EINPROGRESS {
            let reason = errno
            close(descriptor)
            errno = reason
            return -1
        }
        return descriptor
    }
}
