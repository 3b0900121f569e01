internal import Basics
internal import CCurl
internal import Glibc

/// A connection of one's own, over TCP, TLS or a Unix socket, for a thread that may block; libcurl makes it, so that
/// the options of TLS are those of every other connection here. All of it is over by one deadline.
@safe public final class Conversation {
    private let transfer: CurlMulti.Transfer
    private let deadline: ProbeDeadline
    /// How connecting went.
    public let details: FetchDetails

    /// Connects to `http://HOST:PORT`, or with TLS to `https://HOST:PORT`, or to a Unix socket.
    public init(
        _ url: String, unixSocket: String? = nil, options: HTTPOptions, deadline: ProbeDeadline
    ) throws(ProbeError) {
        var request = HTTPRequest(url: url, timeout: max(1, deadline.left), unixSocket: unixSocket, options: options)
        request.purpose = .connection
        do throws(TransportError) {
            transfer = try CurlMulti.Transfer(request, collectsHeaders: false)
        } catch {
            throw ProbeError(.request, error.description)
        }
        self.deadline = deadline
        let code = unsafe curl_easy_perform(transfer.easy)
        details = transfer.details(code)
        if let error = transfer.error(code) { throw ProbeError(details.cause ?? .interrupted, error.description) }
    }

    /// Sends all of it.
    public func send(_ bytes: [UInt8]) throws(ProbeError) {
        var sent = 0
        while sent < bytes.count {
            var count = 0
            let code = unsafe bytes[sent...].withUnsafeBytes { buffer in
                unsafe curl_easy_send(transfer.easy, buffer.baseAddress, buffer.count, &count)
            }
            if code == CURLE_OK { sent += count } else { try proceed(code, POLLOUT) }
        }
    }

    /// Takes what comes next, at most `limit` bytes; nothing when the other side has closed.
    public func receive(limit: Int = 16 << 10) throws(ProbeError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        while true {
            var count = 0
            let code = unsafe curl_easy_recv(transfer.easy, &buffer, buffer.count, &count)
            if code == CURLE_OK { return Array(buffer[..<count]) }
            try proceed(code, POLLIN)
        }
    }

    private func proceed(_ code: CURLcode, _ events: Int32) throws(ProbeError) {
        guard code == CURLE_AGAIN else { throw ProbeError(.interrupted, "the connection broke") }
        guard wait(for: transfer.socket, events, by: deadline) else { throw ProbeError(.timeout, "timed out") }
    }
}
