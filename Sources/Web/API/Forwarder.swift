public import Basics
internal import Synchronization
public import Transport

/// Passes requests on to the workloads' process, within limits: of the calls at a time, of each call's time, and of
/// both bodies. What is beyond them is refused at once, so that a slow workload holds up nobody else.
public final class Forwarder: Sendable {
    /// Calls under way at the most; more are answered with 503.
    public static let concurrencyLimit = 32
    /// A call's time; then it is answered with 504.
    public static let timeout: Milliseconds = 10_000
    /// A request's body in bytes; longer ones are answered with 413.
    public static let requestLimit = 1 << 20
    /// An answer's body in bytes; longer ones are answered with 502.
    public static let answerLimit = 8 << 20
    /// What is forwarded: everything below these.
    static let prefixes = ["/api/v1/ml/", "/api/v1/analytics/", "/api/vedette/v1/workloads"]

    /// Whether a path is the workloads'.
    static func takes(_ path: String) -> Bool { prefixes.contains(where: path.begins) }

    private let transport: any HTTPTransport
    private let socket: String
    private let underWay = Mutex(0)

    /// A forwarder to a Unix socket.
    public init(_ transport: any HTTPTransport, socket: String) { (self.transport, self.socket) = (transport, socket) }

    func forward(_ request: APIRequest) async -> APIResponse {
        guard request.body.count <= Forwarder.requestLimit else {
            return refusal(413, "the body is longer than \(Forwarder.requestLimit) bytes", "send it in parts")
        }
        let hasRoom = underWay.withLock { count in
            guard count < Forwarder.concurrencyLimit else { return false }
            count += 1
            return true
        }
        guard hasRoom else {
            return refusal(503, "\(Forwarder.concurrencyLimit) calls are under way", "try again in a moment")
        }
        defer { underWay.withLock { $0 -= 1 } }
        // The body is passed on as it came, whatever type the client says that it has.
        let query = request.parameters.dropFirst(request.formCount).map {
            "\($0.name.percentEncoded)=\($0.value.percentEncoded)"
        }
        let parts = request.path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            .map { String(Substring($0)) }
        // The way there would take `..` for a step up, to a path that the caller's role was not judged by.
        guard !parts.contains("."), !parts.contains("..") else {
            return refusal(404, "there is no path with '.' or '..' in it", "leave it out")
        }
        let path = parts.map(\.percentEncoded)
        let sent = HTTPRequest(
            method: request.method,
            url: "http://workloads" + path.joined(separator: "/")
                + (query.isEmpty ? "" : "?" + query.joined(separator: "&")),
            headers: request.body.isEmpty ? [] : [HTTPHeader("Content-Type", "application/json")],
            body: request.body, timeout: Forwarder.timeout, maximumResponseBytes: Forwarder.answerLimit,
            unixSocket: socket)
        do throws(TransportError) {
            let answer = try await transport.send(sent)
            let type = answer.headers.first { $0.name.lowercased() == "content-type" }?.value
            var passed = APIResponse(
                status: answer.status, contentType: type ?? "application/json", body: answer.body)
            if let allowed = answer.headers.first(where: { $0.name.lowercased() == "allow" })?.value {
                passed.headers.append(("Allow", allowed))
            }
            return passed
        } catch {
            switch error {
            case .unreachable, .invalid:
                return refusal(503, "the workloads do not run now", "they start again by themselves; see /metrics")
            case .tooLarge:
                return refusal(502, "the answer is longer than \(Forwarder.answerLimit) bytes", "ask for less")
            case .interrupted:
                return refusal(
                    504, "no answer came within \(DurationText.format(Forwarder.timeout)), or the workloads ended",
                    "whether it was done is not known; look before you try again")
            }
        }
    }

    private func refusal(_ status: Int, _ what: String, _ cure: String) -> APIResponse {
        .json(["error": .string(what), "cure": .string(cure)], status: status)
    }
}
