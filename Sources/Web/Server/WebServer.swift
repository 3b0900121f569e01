public import Basics
internal import Glibc
internal import HTTPTypes
internal import HummingbirdCore
internal import Logging
public import Model
internal import NIOCore
internal import NIOExtras
internal import NIOPosix
internal import Synchronization
public import Systemd

/// Serves a handler, the API's mostly, on its listeners. NIO and Hummingbird read and write; handlers run on threads of
/// their own, so that a long query holds up neither the network nor the control plane.
public final class WebServer: Sendable {
    private let handler: Handler
    private let addresses: [ListenAddress]
    private let executor: @Sendable (_ path: String) -> ThreadPoolExecutor
    private let onListening: @Sendable (_ ports: [Int]) -> Void
    private let ownLimits: Mutex<WebSettings.Limits>
    private let certificates: TLSCertificates?
    private let connections = ConnectionGate()
    private let listening = Mutex<[any Channel]>([])
    /// One for each listener.
    private let quiescing: [ServerQuiescingHelper]

    /// Answers one request.
    public typealias Handler = @Sendable (APIRequest) async -> APIResponse

    /// A server that does not listen yet; port 0 takes any. `executor` tells on which threads a path is answered, and
    /// `onListening` is told the ports, 0 for Unix sockets. Connections over TCP are TLS where there are certificates.
    public init(
        _ addresses: [ListenAddress], limits: WebSettings.Limits = WebSettings.Limits(),
        certificates: TLSCertificates? = nil, executor: @escaping @Sendable (_ path: String) -> ThreadPoolExecutor,
        onListening: @escaping @Sendable (_ ports: [Int]) -> Void, handler: @escaping Handler
    ) {
        ownLimits = Mutex(WebServer.bounded(limits))
        (self.handler, self.addresses) = (handler, addresses)
        (self.certificates, self.executor, self.onListening) = (certificates, executor, onListening)
        quiescing = addresses.map { _ in ServerQuiescingHelper(group: MultiThreadedEventLoopGroup.singleton) }
    }

    /// Puts other limits in force, for connections and requests to come; that of heads' bytes from the next start on.
    public func use(_ limits: WebSettings.Limits) { ownLimits.withLock { $0 = WebServer.bounded(limits) } }

    private static func bounded(_ limits: WebSettings.Limits) -> WebSettings.Limits {
        var limits = limits
        // The other half is for pages, scrapes and files: whoever connects cannot keep those from going out.
        limits.connections = max(1, min(limits.connections, openFileLimit() / 2))
        return limits
    }

    private var limits: WebSettings.Limits { ownLimits.withLock { $0 } }

    /// Serves until `stop` or until it is cancelled; throws when it cannot listen.
    public func run() async throws(WebServerError) {
        let logger = Logger(label: "web") { _ in SwiftLogNoOpLogHandler() }
        let channel = HTTP1Channel(
            responder: { [self] request, writer, connection in
                let (head, body) = await answer(request, from: connection)
                try await writer.write(response: head, body: ResponseBody(byteBuffer: body))
            },
            configuration: HTTP1Channel.Configuration(
                additionalChannelHandlers: [HeadWatch()], idleTimeout: WebServer.idleLimit,
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: limits.headerBytes, maxHeaderListSize: limits.headerBytes,
                    maxHeaderFieldCount: 200)))
        var listeners: [NIOAsyncChannel<HTTP1Channel.Value?, Never>] = []
        for (address, quiescing) in zip(addresses, quiescing) {
            do {
                listeners.append(try await bind(address, channel, quiescing, logger))
            } catch {
                for listener in listeners { try? await listener.channel.close() }
                let reason = (error as? IOError).map { unsafe String(cString: strerror($0.errnoCode)) } ?? "\(error)"
                throw WebServerError(address: "\(address)", reason: reason)
            }
        }
        let channels = listeners.map(\.channel)
        listening.withLock { $0 = channels }
        onListening(listeners.map { $0.channel.localAddress?.port ?? 0 })
        await withDiscardingTaskGroup { group in
            for listener in listeners {
                group.addTask { await WebServer.serve(listener, channel, logger) }
            }
        }
    }

    /// Takes no more connections, lets requests under way be answered, and then `run` end.
    public func stop() {
        // A listener that closes takes along whom it has just accepted. So it accepts nobody first; who comes then
        // waits in the socket, which systemd may hold for the process to come.
        for channel in listening.withLock({ $0 }) { _ = channel.setOption(.autoRead, value: false) }
        MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: WebServer.handOver) { [quiescing] in
            for helper in quiescing { helper.initiateShutdown(promise: nil) }
        }
    }

    private static func serve(
        _ listener: NIOAsyncChannel<HTTP1Channel.Value?, Never>, _ channel: HTTP1Channel, _ logger: Logger
    ) async {
        await withDiscardingTaskGroup { group in
            // An error of a listener ends it, and the others go on: nothing more can be done about it here.
            try? await listener.executeThenClose { inbound in
                for try await connection in inbound {
                    guard let connection else { continue }
                    group.addTask { await channel.handle(value: connection, logger: logger) }
                }
            }
        }
    }

    private func bind(
        _ address: ListenAddress, _ channel: HTTP1Channel, _ quiescing: ServerQuiescingHelper, _ logger: Logger
    ) async throws -> NIOAsyncChannel<HTTP1Channel.Value?, Never> {
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPause())
                    try channel.pipeline.syncOperations.addHandler(
                        quiescing.makeServerChannelHandler(channel: channel))
                }
            }
            .childChannelOption(.allowRemoteHalfClosure, value: true)
        let setUp = { @Sendable [self] (connection: any Channel) in begin(connection, address, channel, logger) }
        switch address {
        case .tcp(let host, let port):
            return try await bootstrap.bind(host: host, port: port, childChannelInitializer: setUp)
        case .unix(let path):
            return try await bootstrap.bind(
                unixDomainSocketPath: path, cleanupExistingSocketFile: true, childChannelInitializer: setUp)
        case .inherited(let socket):
            return try await bootstrap.bind(socket.descriptor, childChannelInitializer: setUp)
        }
    }

    /// Makes a connection ready, or closes one too many.
    private func begin(
        _ connection: any Channel, _ address: ListenAddress, _ channel: HTTP1Channel, _ logger: Logger
    ) -> EventLoopFuture<HTTP1Channel.Value?> {
        let peer = WebServer.peer(of: connection, user: nil)
        guard connections.enter(peer, limits) else {
            return connection.close().map { nil }
        }
        connection.closeFuture.whenComplete { [connections] _ in connections.leave(peer) }
        do {
            let pipeline = connection.pipeline.syncOperations
            if let certificates, !address.isUnix { try pipeline.addHandler(certificates.handler()) }
            try pipeline.addHandler(HeadDeadline(limit: .milliseconds(limits.headerTimeout)))
            try pipeline.addHandler(AnswerDeadline(limit: .milliseconds(limits.answerTimeout)), position: .first)
        } catch {
            return connection.eventLoop.makeFailedFuture(error)
        }
        return channel.setup(channel: connection, logger: logger).map { $0 }
    }

    private static func peer(of connection: any Channel, user: UInt32?) -> Peer {
        guard let address = connection.remoteAddress, let text = address.ipAddress else { return .unix(user: user) }
        return .tcp(address: text)
    }

    // MARK: Answering

    @concurrent
    private func answer(
        _ request: Request, from connection: any Channel
    ) async -> (head: HTTPResponse, body: ByteBuffer) {
        var answer = await whole(request, from: connection)
        if request.method == .head { answer.body = ByteBuffer() }
        return answer
    }

    private func whole(_ request: Request, from connection: any Channel) async -> (head: HTTPResponse, body: ByteBuffer)
    {
        // What ends where is not to be understood in two ways, here and by whoever passed it on.
        guard [[], ["chunked"]].contains(request.headers[values: .transferEncoding].map { $0.lowercased() }) else {
            return response(closing: .text("the transfer encoding is not chunked\n", status: 400))
        }
        // Alerts come in long lists.
        let limit = request.uri.path.hasSuffix("/api/v2/alerts") ? 8 * limits.bodyBytes : limits.bodyBytes
        let body: HeldBody
        do throws(BodyError) {
            body = try await read(request.body, limit, WebServer.peer(of: connection, user: nil))
        } catch {
            switch error {
            case .tooLong: return response(closing: .text("the body is longer than \(limit) bytes\n", status: 413))
            case .late:
                let timeout = DurationText.format(limits.bodyTimeout)
                return response(closing: .text("the body did not come within \(timeout)\n", status: 408))
            case .broken: return response(closing: .text("the body cannot be read\n", status: 400))
            case .noRoom:
                return response(closing: .text("too many long bodies at once; try again\n", status: 503))
            }
        }
        defer { connections.release(body.held, body.peer) }
        let call = await WebServer.call(request, body.bytes, from: connection)
        // By the path as it is judged: `/%61pi/v1/query` is a query too.
        let executor = executor(call.path)
        let answer = await executor.start { [handler] in
            let answer = await handler(call)
            if max(call.body.count, answer.body.count) >= WebServer.burst { releaseAfterBurst() }
            return answer
        }.value
        guard answer.body.count >= WebServer.compressedFrom, call.acceptsGzip, !answer.isCompressed else {
            return response(answer)
        }
        return response(answer, compressed: await executor.start { Gzip.compress(answer.body) }.value)
    }

    private static func call(_ request: Request, _ body: [UInt8], from connection: any Channel) async -> APIRequest {
        let headers = request.headers
        let isForm =
            headers[.contentType]?.lowercased().hasPrefix("application/x-www-form-urlencoded") ?? false
        var call = APIRequest(
            method: request.method.rawValue, path: APIRequest.percentDecoded(Substring(request.uri.path)),
            query: request.uri.query ?? "", body: body, isForm: isForm, accept: headers[.accept])
        call.acceptsGzip = accepts("gzip", headers[.acceptEncoding])
        call.contentType = headers[.contentType] ?? ""
        call.contentEncoding = headers[.contentEncoding] ?? ""
        call.agent = headers[.userAgent]
        call.peer = peer(of: connection, user: await user(of: connection))
        call.credentials.authorization = headers[.authorization]
        call.credentials.host = request.head.authority
        call.credentials.origin = headers[.origin]
        call.credentials.fetchSite = headers[HTTPField.Name("Sec-Fetch-Site")!]
        call.credentials.isForwarded = headers.contains { field in
            let name = field.name.canonicalName
            return ["forwarded", "via", "x-real-ip"].contains(name) || name.hasPrefix("x-forwarded-")
        }
        return call
    }

    /// Who is at the other end of a Unix socket, as the kernel says.
    private static func user(of connection: any Channel) async -> UInt32? {
        guard connection.remoteAddress?.ipAddress == nil, let options = connection as? any SocketOptionProvider else {
            return nil
        }
        let found: EventLoopFuture<SocketCredentials> = options.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        return try? await found.get().user
    }

    /// Why a body was not read.
    private enum BodyError: Error { case tooLong, late, broken, noRoom }

    /// A body, and what was counted for it.
    private struct HeldBody {
        var bytes: [UInt8] = []
        var held = 0
        var peer: Peer
    }

    private func read(_ body: RequestBody, _ limit: Int, _ peer: Peer) async throws(BodyError) -> HeldBody {
        let timeout = limits.bodyTimeout
        let outcome = await withTaskGroup(of: Result<HeldBody, BodyError>.self) { race in
            race.addTask { await self.collect(body, limit, peer) }
            race.addTask {
                // Cancelled: the body came.
                try? await SystemClock().sleep(for: timeout)
                return .failure(.late)
            }
            let first = await race.next() ?? .failure(.broken)
            race.cancelAll()
            // The body may have come just when its time was over: what is held for it is given back.
            if case .failure = first, case .success(let body)? = await race.next() {
                connections.release(body.held, body.peer)
            }
            return first
        }
        return try outcome.get()
    }

    private func collect(_ body: RequestBody, _ limit: Int, _ peer: Peer) async -> Result<HeldBody, BodyError> {
        var held = HeldBody(peer: peer)
        var failure = BodyError.broken
        do {
            for try await part in body {
                failure = .tooLong
                guard part.readableBytes <= limit - held.held else { throw failure }
                failure = .noRoom
                guard connections.hold(part.readableBytes, peer, longest: 8 * limits.bodyBytes) else { throw failure }
                held.held += part.readableBytes
                held.bytes += part.readableBytesView
                failure = .broken
            }
            return .success(held)
        } catch {
            connections.release(held.held, peer)
            return .failure(failure)
        }
    }

    /// How long those that were accepted have to be on their way.
    private static let handOver = TimeAmount.milliseconds(150)
    /// How long a connection that is kept may be idle: longer than senders that ask once a minute.
    private static let idleLimit = TimeAmount.seconds(90)

    /// What a body of so many bytes was read or made from is much, and mostly garbage by then.
    static let burst = 1 << 20

    /// Shorter answers are not worth the work.
    static let compressedFrom = 1400

    /// Whether a list such as `gzip;q=1.0, *;q=0` takes a coding.
    ///
    /// - SeeAlso: RFC 9110, 12.5.3.
    static func accepts(_ coding: String, _ header: String?) -> Bool {
        var (named, any): (Bool?, Bool?) = (nil, nil)
        for item in (header ?? "").lowercased().split(separator: ",") {
            let parts = item.split(separator: ";").map { String($0).trimmed }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if parts.first == coding { named = weight > 0 }
            if parts.first == "*" { any = weight > 0 }
        }
        return named ?? any ?? false
    }

    /// The rest of such a request is not read: its connection ends.
    private func response(closing answer: APIResponse) -> (head: HTTPResponse, body: ByteBuffer) {
        var (head, body) = response(answer)
        head.headerFields[.connection] = "close"
        return (head, body)
    }

    private func response(
        _ answer: APIResponse, compressed: [UInt8]? = nil
    ) -> (head: HTTPResponse, body: ByteBuffer) {
        var headers = HTTPFields()
        for (name, value) in WebServer.security { headers[name] = value }
        // Whoever asked once over TLS is not to ask in plain text again.
        if certificates != nil { headers[.strictTransportSecurity] = "max-age=31536000" }
        headers[.server] = "Vedette"
        headers[.date] = SystemClock().now().httpDate
        if !answer.contentType.isEmpty { headers[.contentType] = answer.contentType }
        for (name, value) in answer.headers { if let name = HTTPField.Name(name) { headers[name] = value } }
        if answer.body.count >= WebServer.compressedFrom || answer.isCompressed { headers[.vary] = "Accept-Encoding" }
        if compressed != nil || answer.isCompressed { headers[.contentEncoding] = "gzip" }
        let body = ByteBuffer(bytes: compressed ?? answer.body)
        if answer.status != 204 { headers[.contentLength] = "\(body.readableBytes)" }
        return (HTTPResponse(status: HTTPResponse.Status(code: answer.status), headerFields: headers), body)
    }

    /// No page of ours has a script, loads anything, or belongs into another's frame; what it says is for its reader
    /// alone.
    private static let security: [(HTTPField.Name, String)] = [
        (.xContentTypeOptions, "nosniff"), (HTTPField.Name("X-Frame-Options")!, "DENY"),
        (HTTPField.Name("Referrer-Policy")!, "no-referrer"), (.cacheControl, "no-store"),
        (
            .contentSecurityPolicy,
            "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
                + "frame-ancestors 'none'; base-uri 'none'"
        ),
    ]
}

extension WebServer: MetricsSource {
    /// Connections.
    public func metrics() -> [MetricFamily] {
        let (open, refused) = connections.figures
        return [
            MetricFamily(.gauge, "vedette_http_connections", "Connections of clients.", open),
            MetricFamily(
                .gauge, "vedette_http_body_bytes", "Bytes of requests' bodies that are held now.",
                connections.heldBytes),
            MetricFamily(
                .counter, "vedette_http_connections_refused_total", "Connections above web.limits.", refused),
        ]
    }
}

/// The kernel's `struct ucred`.
private struct SocketCredentials: Sendable {
    var process: Int32
    var user: UInt32
    var group: UInt32
}

/// Where a server listens.
public enum ListenAddress: Sendable, Hashable, CustomStringConvertible {
    case tcp(host: String, port: Int)
    /// A Unix socket's path, of at most 107 bytes.
    case unix(path: String)
    /// A socket that systemd opened.
    case inherited(InheritedSocket)

    /// `host:port`, the path, or the socket's name.
    public var description: String {
        switch self {
        case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host):\(port)"
        case .unix(let path): path
        case .inherited(let socket): "systemd's socket '\(socket.name)'"
        }
    }

    var isUnix: Bool {
        switch self {
        case .tcp: false
        case .unix: true
        case .inherited(let socket): socket.isUnix
        }
    }
}
/// Why the server does not listen.
public struct WebServerError: Error, Sendable, CustomStringConvertible {
    /// `host:port`.
    public var address: String
    /// The system's words.
    public var reason: String

    /// An error by its parts.
    public init(address: String, reason: String) { (self.address, self.reason) = (address, reason) }

    /// One sentence with the cure.
    public var description: String {
        "cannot listen on \(address): \(reason); stop what listens there or choose another address with --listen"
    }
}
