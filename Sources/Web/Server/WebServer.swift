public import Basics
internal import HTTPTypes
internal import Glibc
internal import Hummingbird
internal import Logging
internal import NIOCore

/// Serves a handler, the API's mostly, on a TCP address. Hummingbird reads and writes; handlers run on threads of
/// their own, so that a long query holds up neither the network nor the control plane.
public struct WebServer: Sendable {
    private let handler: Handler
    private let address: ListenAddress
    private let executor: @Sendable (_ path: String) -> ThreadPoolExecutor
    private let onListening: @Sendable (_ port: Int) -> Void

    /// A client that sends slower than this is cut off, so that it can neither hold a connection nor a shutdown.
    public static let readLimit: Milliseconds = 10_000

    /// Answers one request.
    public typealias Handler = @Sendable (APIRequest) async -> APIResponse

    /// A request body longer than this is refused.
    public static func bodyLimit(_ path: String) -> Int { path == "/api/v2/alerts" ? 64 << 20 : 8 << 20 }

    /// A server that does not listen yet; port 0 takes any. `executor` tells on which threads a path is answered.
    public init(
        _ address: ListenAddress, executor: @escaping @Sendable (_ path: String) -> ThreadPoolExecutor,
        onListening: @escaping @Sendable (_ port: Int) -> Void,
        handler: @escaping Handler
    ) {
        (self.handler, self.address) = (handler, address)
        (self.executor, self.onListening) = (executor, onListening)
    }

    /// Serves until it is cancelled or told to shut down gracefully; throws when it cannot listen.
    public func run() async throws(WebServerError) {
        let responder = CallbackResponder<BasicRequestContext> { [handler, executor] request, _ in
            await WebServer.respond(to: request, executor: executor(request.uri.path), handler: handler)
        }
        var logger = Logger(label: "web") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .critical
        let application = Application(
            responder: responder,
            configuration: ApplicationConfiguration(address: address.bound, serverName: "Vedette"),
            onServerRunning: { [onListening] channel in onListening(channel.localAddress?.port ?? 0) },
            logger: logger)
        do {
            try await application.run()
        } catch {
            let reason = (error as? IOError).map { unsafe String(cString: strerror($0.errnoCode)) } ?? "\(error)"
            throw WebServerError(address: "\(address)", reason: reason)
        }
    }

    private static func respond(
        to request: Request, executor: ThreadPoolExecutor, handler: @escaping Handler
    ) async -> Response {
        let body: [UInt8]
        let limit = bodyLimit(request.uri.path)
        do {
            body = try await read(request.body, limit)
        } catch is NIOTooManyBytesError {
            return response(.text("the body is longer than \(limit) bytes\n", status: 413))
        } catch {
            return response(.text("the body did not come within \(readLimit / 1000) s\n", status: 408))
        }
        // What is passed on is passed on as it came, whatever type the client says that it has.
        let isForm =
            !Forwarder.prefixes.contains(where: request.uri.path.hasPrefix)
            && request.headers[.contentType]?.hasPrefix("application/x-www-form-urlencoded") ?? false
        var call = APIRequest(
            method: request.method.rawValue, path: APIRequest.percentDecoded(Substring(request.uri.path)),
            query: request.uri.query ?? "", body: body, isForm: isForm, accept: request.headers[.accept])
        call.contentType = request.headers[.contentType] ?? ""
        let answer = await executor.start {
            let answer = await handler(call)
            if max(call.body.count, answer.body.count) >= burst { releaseFreedMemory() }
            return answer
        }.value
        guard answer.body.count >= compressedFrom, accepts("gzip", request.headers[.acceptEncoding]) else {
            return response(answer)
        }
        return response(answer, compressed: await executor.start { Gzip.compress(answer.body) }.value)
    }

    private static func read(_ body: RequestBody, _ limit: Int) async throws -> [UInt8] {
        try await withThrowingTaskGroup(of: [UInt8].self) { race in
            race.addTask { Array(buffer: try await body.collect(upTo: limit)) }
            race.addTask {
                try await SystemClock().sleep(for: readLimit)
                throw CancellationError()
            }
            defer { race.cancelAll() }
            return try await race.next() ?? []
        }
    }

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

    private static func response(_ answer: APIResponse, compressed: [UInt8]? = nil) -> Response {
        var headers = HTTPFields()
        if !answer.contentType.isEmpty { headers[.contentType] = answer.contentType }
        headers[.xContentTypeOptions] = "nosniff"
        if answer.body.count >= compressedFrom { headers[.vary] = "Accept-Encoding" }
        if compressed != nil { headers[.contentEncoding] = "gzip" }
        return Response(
            status: HTTPResponse.Status(code: answer.status), headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: compressed ?? answer.body)))
    }
}

/// Where a server listens.
public enum ListenAddress: Sendable, Hashable, CustomStringConvertible {
    case tcp(host: String, port: Int)
    /// A Unix socket's path, of at most 107 bytes.
    case unix(path: String)

    /// `host:port`, or the path.
    public var description: String {
        switch self {
        case .tcp(let host, let port): "\(host):\(port)"
        case .unix(let path): path
        }
    }

    fileprivate var bound: BindAddress {
        switch self {
        case .tcp(let host, let port): .hostname(host, port: port)
        case .unix(let path): .unixDomainSocket(path: path)
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
