internal import CLinux
internal import Synchronization

/// Records of the domain name system that discovery asks for.
public enum DNSRecordType: String, Sendable, Hashable, CaseIterable {
    case srv = "SRV", a = "A", aaaa = "AAAA", mx = "MX", ns = "NS"
}

/// One record of an answer.
public struct DNSRecord: Sendable, Hashable {
    /// The host's name, of A and AAAA records its address.
    public var host: String
    /// Of SRV records; else 0.
    public var port: Int

    /// A record by its parts.
    public init(host: String, port: Int = 0) { (self.host, self.port) = (host, port) }
}

/// Why a name could not be looked up.
public struct ResolverError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One clause.
    public var description: String

    /// An error with its reason.
    public init(_ reason: String) { description = reason }
}

/// Looks names up: the machine's resolver, or a table in tests.
public protocol NameResolver: Sendable {
    /// The records of a name, in the order of the answer; none where the name does not exist.
    func records(of name: String, _ type: DNSRecordType) async throws(ResolverError) -> [DNSRecord]
}

/// Knows no name: for a world without a network.
public struct NoResolver: NameResolver {
    /// Nothing to be set.
    public init() {}
    /// See `NameResolver`; always an error.
    public func records(of name: String, _ type: DNSRecordType) async throws(ResolverError) -> [DNSRecord] {
        throw ResolverError("there is no resolver here")
    }
}

/// The machine's resolver, `/etc/resolv.conf` and all. A lookup blocks, so each is made on a thread of its own.
public struct SystemResolver: NameResolver {
    /// Nothing to be set.
    public init() {}

    private typealias Answer = Result<[DNSRecord], ResolverError>

    /// Whoever comes first answers: the resolver, or the cancellation of the task.
    private final class Question: Sendable {
        private let state = Mutex<(continuation: CheckedContinuation<Answer, Never>?, isOver: Bool)>((nil, false))

        /// False when it is answered already.
        func begin(_ continuation: CheckedContinuation<Answer, Never>) -> Bool {
            state.withLock { state in
                if !state.isOver { state.continuation = continuation }
                return !state.isOver
            }
        }
        func answer(_ answer: Answer) {
            let continuation = state.withLock { state in
                state.isOver = true
                return state.continuation.take()
            }
            continuation?.resume(returning: answer)
        }
    }

    /// See `NameResolver`. A cancelled task does not wait for the name server.
    public func records(of name: String, _ type: DNSRecordType) async throws(ResolverError) -> [DNSRecord] {
        let question = Question()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                guard question.begin(continuation) else {
                    return continuation.resume(returning: .failure(ResolverError("cancelled")))
                }
                startThread(named: "vedette-dns") { question.answer(SystemResolver.lookup(name, type)) }
            }
        } onCancel: {
            question.answer(.failure(ResolverError("cancelled")))
        }
        return try result.get()
    }

    private static let types: [DNSRecordType: Int32] = [.srv: 33, .a: 1, .aaaa: 28, .mx: 15, .ns: 2]

    private static func lookup(_ name: String, _ type: DNSRecordType) -> Result<[DNSRecord], ResolverError> {
        var output = [CChar](repeating: 0, count: 256 << 10)
        var reason: UnsafePointer<CChar>?
        let count = unsafe vedette_lookup(name, types[type] ?? 1, &output, Int32(output.count), &reason)
        guard count >= 0 else {
            return unsafe .failure(ResolverError(reason.map { unsafe String(cString: $0) } ?? "it cannot be looked up"))
        }
        let text = String(decoding: output.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return .success(
            text.split(separator: "\n").compactMap { line in
                guard let blank = line.firstIndex(of: " "), let port = Int(line[..<blank]) else { return nil }
                return DNSRecord(host: String(line[line.index(after: blank)...]), port: port)
            })
    }
}
