internal import CSystemd
internal import Glibc

/// A listening socket that systemd opened for this process.
///
/// - SeeAlso: sd_listen_fds_with_names(3), systemd.socket(5).
public struct InheritedSocket: Sendable, Hashable {
    /// The file descriptor; whoever takes it closes it, and never calls `shutdown`: the socket is systemd's too.
    public var descriptor: Int32
    /// `FileDescriptorName=` of the socket unit, else the unit's name.
    public var name: String
    /// Whether it is a Unix socket.
    public var isUnix: Bool
    /// The port of a TCP socket.
    public var port: Int?

    /// A socket by its parts.
    public init(descriptor: Int32, name: String, isUnix: Bool, port: Int? = nil) {
        (self.descriptor, self.name, self.isUnix, self.port) = (descriptor, name, isUnix, port)
    }

    /// All sockets that were handed over, in systemd's order, and no more of them by a second call or in children.
    /// Throws when one is not a listening stream socket.
    public static func take() throws(InheritedSocketError) -> [InheritedSocket] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = unsafe sd_listen_fds_with_names(1, &names)
        guard count > 0 else { return [] }
        defer {
            for index in 0..<Int(count) { unsafe free(names?[index]) }
            unsafe free(names)
        }
        var sockets: [InheritedSocket] = []
        for index in 0..<count {
            // SD_LISTEN_FDS_START.
            let descriptor = 3 + index
            let name = unsafe names?[Int(index)].map { unsafe String(cString: $0) } ?? ""
            guard sd_is_socket(descriptor, AF_UNSPEC, Int32(SOCK_STREAM.rawValue), 1) > 0 else {
                throw InheritedSocketError(name: name)
            }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            let isUnix = sd_is_socket(descriptor, AF_UNIX, Int32(SOCK_STREAM.rawValue), 1) > 0
            let port = isUnix ? nil : port(of: descriptor)
            sockets.append(InheritedSocket(descriptor: descriptor, name: name, isUnix: isUnix, port: port))
        }
        return sockets
    }

    private static func port(of descriptor: Int32) -> Int? {
        // The port stands at the same place in both families of addresses.
        var address = sockaddr_in6()
        var size = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let result = unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe getsockname(descriptor, $0, &size)
            }
        }
        return result == 0 ? Int(UInt16(bigEndian: address.sin6_port)) : nil
    }
}

/// A socket unit that hands over something else than a listening stream socket.
public struct InheritedSocketError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The socket's name.
    public var name: String

    /// One sentence with the cure.
    public var description: String {
        "the socket '\(name)' that systemd hands over is no listening stream socket; write ListenStream= and "
            + "Accept=no in its unit"
    }
}
