import Basics
import Glibc
import Synchronization

/// A server on the loopback for one connection or datagram at a time, on a thread of its own.
final class LoopbackServer: Sendable {
    let port: Int
    let path: String
    private let listener: Int32

    /// - Parameters:
    ///   - type: A stream's `serve` gets each connection, which is closed after it; a datagram's answers each datagram.
    ///   - port: 0: any.
    init(
        datagrams: Bool = false, path: String = "", port: Int = 0,
        answer: @escaping @Sendable ([UInt8]) -> [UInt8] = { _ in [] },
        serve: @escaping @Sendable (Int32) -> Void = { _ in }
    ) {
        let type = Int32((datagrams ? SOCK_DGRAM : SOCK_STREAM).rawValue)
        self.path = path
        listener = socket(path.isEmpty ? AF_INET : AF_UNIX, type, 0)
        let listener = listener
        self.port = path.isEmpty ? Self.bindLoopback(listener, port) : Self.bindPath(listener, path)
        if !datagrams { listen(listener, 64) }
        startThread(named: "loopback") {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                guard datagrams else {
                    let connection = accept(listener, nil, nil)
                    guard connection >= 0 else { return }
                    serve(connection)
                    close(connection)
                    continue
                }
                var peer = sockaddr_in()
                var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                unsafe withUnsafeMutablePointer(to: &peer) { pointer in
                    unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                        let count = unsafe recvfrom(listener, &buffer, buffer.count, 0, plain, &length)
                        guard count > 0 else { return }
                        let reply = answer(Array(buffer[..<count]))
                        _ = unsafe sendto(listener, reply, reply.count, 0, plain, length)
                    }
                }
            }
        }
    }

    /// Ends the thread of a server of streams.
    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private static func bindLoopback(_ listener: Int32, _ port: Int) -> Int {
        var address = sockaddr_in()
        (address.sin_family, address.sin_addr.s_addr) = (sa_family_t(AF_INET), in_addr_t(0x7F00_0001).bigEndian)
        address.sin_port = UInt16(port).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                _ = unsafe bind(listener, plain, length)
                _ = unsafe getsockname(listener, plain, &length)
            }
        }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private static func bindPath(_ listener: Int32, _ path: String) -> Int {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { room in
            unsafe room.copyBytes(from: Array(path.utf8.prefix(100)))
        }
        unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                let code = unsafe bind(listener, plain, socklen_t(MemoryLayout<sockaddr_un>.size))
                precondition(code == 0, "\(path) cannot be bound: error \(errno)")
            }
        }
        return 0
    }

    /// Says a text, and waits until the other side has said something when asked to.
    static func say(_ text: String, on connection: Int32, afterRequest: Bool = true) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        if afterRequest { _ = unsafe recv(connection, &buffer, buffer.count, 0) }
        let bytes = Array(text.utf8)
        _ = unsafe send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }
}
