public import Basics
internal import CCurl
internal import Synchronization

/// The network's transport for single requests: one thread of its own drives libcurl.
public final class CurlTransport: HTTPTransport {
    private struct Job: Sendable {
        var request: HTTPRequest
        var continuation: CheckedContinuation<Result<HTTPResponse, TransportError>, Never>
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

    /// Starts the thread.
    public init(clock: any TimeSource) {
        self.clock = clock
        startThread(named: "vedette-http") { [self] in run() }
    }

    /// Breaks off what runs and ends the thread.
    public func stop() {
        let wake = state.withLock { state in
            state.isStopped = true
            return state.wake
        }
        wake?()
    }

    /// See `HTTPTransport`. A cancelled task breaks its request off.
    public func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (wake, isStopped) = state.withLock { state in
                    if !state.isStopped {
                        state.waiting.append((id, Job(request: request, continuation: continuation)))
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
                    let transfer = try CurlMulti.Transfer(job.request, collectsHeaders: true)
                    transfer.tag = id
                    running[id] = (transfer, job)
                    multi.start(transfer)
                } catch {
                    job.continuation.resume(returning: .failure(error))
                }
            }
            for id in isStopped ? Array(running.keys) : cancelled {
                guard let (transfer, job) = running.removeValue(forKey: id) else { continue }
                let wasSent = transfer.hasSent
                multi.cancel(transfer)
                job.continuation.resume(returning: .failure(.interrupted("cancelled", requestWasSent: wasSent)))
            }
            if isStopped { return }
            multi.poll(for: 60_000) { transfer, code in
                guard let (_, job) = running.removeValue(forKey: transfer.tag) else { return }
                let response = HTTPResponse(status: transfer.status, headers: transfer.headers, body: transfer.body)
                job.continuation.resume(returning: transfer.error(code).map { .failure($0) } ?? .success(response))
            }
        }
    }
}
