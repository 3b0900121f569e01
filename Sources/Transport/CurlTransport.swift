public import Basics
internal import CCurl
internal import Synchronization

/// The network's transport for single requests and mails: threads of its own drive libcurl, one for HTTP and, from the
/// first mail on, one for mails, since libcurl waits for a mail server's good-bye.
public final class CurlTransport: HTTPTransport {
    private let clock: any TimeSource
    private let http: CurlThread
    private let mail = Mutex<(thread: CurlThread?, isStopped: Bool)>((nil, false))

    /// Starts the thread.
    public init(clock: any TimeSource) {
        self.clock = clock
        http = CurlThread(clock: clock, name: "vedette-http")
    }

    /// Breaks off what runs and ends the threads.
    public func stop() {
        http.stop()
        let thread = mail.withLock { mail in
            mail.isStopped = true
            return mail.thread
        }
        thread?.stop()
    }

    /// See `HTTPTransport`. A cancelled task breaks its request off.
    public func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        let end = try await http.run { () throws(TransportError) in
            try CurlMulti.Transfer(request, collectsHeaders: true)
        }
        if let error = end.error { throw error }
        return end.response
    }

    /// See `MailTransport`. A cancelled task breaks its session off.
    public func send(_ mail: Mail) async throws(TransportError) -> MailReceipt {
        let thread: CurlThread? = self.mail.withLock { mail in
            if mail.thread == nil, !mail.isStopped { mail.thread = CurlThread(clock: clock, name: "vedette-mail") }
            return mail.isStopped ? nil : mail.thread
        }
        guard let thread else { throw .unreachable("the daemon is stopping") }
        let ways = mail.credentials?.ways(mail.security, host: mail.host) ?? []
        var rest = ways.dropFirst()
        var way = ways.first
        while true {
            let current = way
            let end = try await thread.run { () throws(TransportError) in try CurlMulti.Transfer(mail, current) }
            guard let dialogue = end.dialogue else { throw .invalid("no dialogue") }
            guard let error = end.error else { return dialogue.receipt }
            if end.isLoginDenied, !dialogue.hasAuthenticated {
                guard let next = rest.popFirst() else {
                    let names = ways.flatMap(\.mechanisms).joined(separator: ", ")
                    throw .unreachable("the server offers no way to authenticate that can be used here: \(names)")
                }
                way = next
                continue
            }
            // The server's own no is an answer.
            guard dialogue.receipt.answer.code >= 400 else { throw error }
            return dialogue.receipt
        }
    }
}

/// One thread that drives libcurl.
private final class CurlThread: Sendable {
    /// How a transfer ended.
    struct End: Sendable {
        var response: HTTPResponse
        var dialogue: MailDialogue?
        var isLoginDenied: Bool
        var error: TransportError?
    }
    private typealias Maker = @Sendable () throws(TransportError) -> CurlMulti.Transfer
    private struct Job: Sendable {
        var make: Maker
        var continuation: CheckedContinuation<Result<End, TransportError>, Never>
    }

    private struct State {
        var waiting: [(id: Int, job: Job)] = []
        var cancelled: [Int] = []
        var nextID = 0
        var wake: (@Sendable () -> Void)?
        var isStopped = false
    }

    private let state = Mutex(State())
    private let clock: any TimeSource

    init(clock: any TimeSource, name: String) {
        self.clock = clock
        startThread(named: name) { [self] in run() }
    }

    func stop() {
        let wake = state.withLock { state in
            state.isStopped = true
            return state.wake
        }
        wake?()
    }

    /// Runs a transfer, which `make` makes on the thread.
    func run(
        _ make: @escaping @Sendable () throws(TransportError) -> CurlMulti.Transfer
    ) async throws(TransportError) -> End {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (wake, isStopped) = state.withLock { state in
                    if !state.isStopped {
                        state.waiting.append((id, Job(make: make, continuation: continuation)))
                    }
                    return (state.wake, state.isStopped)
                }
                if isStopped { continuation.resume(returning: .failure(.unreachable("the daemon is stopping"))) }
                wake?()
            }
        } onCancel: {
            let wake = state.withLock { state in
                state.cancelled.append(id)
                return state.wake
            }
            wake?()
        }
        return try result.get()
    }

    private func run() {
        let multi = CurlMulti(clock: clock)
        let waker = multi.waker
        state.withLock { $0.wake = { waker.wake() } }
        var running: [Int: (transfer: CurlMulti.Transfer, job: Job)] = [:]
        while true {
            let (fresh, cancelled, isStopped) = state.withLock { state in
                defer { (state.waiting, state.cancelled) = ([], []) }
                return (state.waiting, state.cancelled, state.isStopped)
            }
            for (id, job) in fresh {
                do throws(TransportError) {
                    let transfer = try job.make()
                    transfer.tag = id
                    running[id] = (transfer, job)
                    multi.start(transfer)
                } catch {
                    job.continuation.resume(returning: .failure(error))
                }
            }
            for id in isStopped ? Array(running.keys) : cancelled {
                guard let (transfer, job) = running.removeValue(forKey: id) else { continue }
                let wasSent = transfer.wasSent
                multi.cancel(transfer)
                job.continuation.resume(returning: .failure(.interrupted("cancelled", requestWasSent: wasSent)))
            }
            if isStopped { return }
            multi.poll(for: 60_000) { transfer, code in
                guard let (_, job) = running.removeValue(forKey: transfer.tag) else { return }
                let response = HTTPResponse(status: transfer.status, headers: transfer.headers, body: transfer.body)
                let end = End(
                    response: response, dialogue: transfer.dialogue, isLoginDenied: code == CURLE_LOGIN_DENIED,
                    error: transfer.error(code))
                job.continuation.resume(returning: .success(end))
            }
        }
    }
}
