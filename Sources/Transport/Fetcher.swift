public import Basics

/// How one fetch ended.
public struct FetchResult: Sendable {
    /// The number that `prepare` gave.
    public var handle: Int
    /// The answer's status; 0 without an answer.
    public var status: Int
    /// The answer's `Content-Type`.
    public var contentType: String?
    /// Decompressed; give it or another buffer back with `recycle`.
    public var body: [UInt8]
    /// From the start to the end.
    public var durationSeconds: Double
    /// Why there is no answer.
    public var error: TransportError?
    /// How it went, phase by phase; empty unless the request is a check.
    public var details: FetchDetails

    /// A result by its parts.
    public init(
        handle: Int, status: Int, contentType: String?, body: [UInt8], durationSeconds: Double, error: TransportError?,
        details: FetchDetails = FetchDetails()
    ) {
        (self.handle, self.status, self.contentType, self.body) = (handle, status, contentType, body)
        (self.durationSeconds, self.error, self.details) = (durationSeconds, error, details)
    }
}

/// Fetches the same requests again and again, many at once: what a scrape loop is driven by. For one thread.
public protocol Fetcher: AnyObject {
    /// Makes a request ready; the number stands for it until it is discarded.
    func prepare(_ request: HTTPRequest) throws(TransportError) -> Int
    /// Forgets a request, breaking off a running fetch.
    func discard(_ handle: Int)
    /// Begins a fetch; its result comes from `poll`.
    func start(_ handle: Int)
    /// Moves the fetches on for at most so long, and hands over those that ended.
    func poll(for wait: Milliseconds, _ finish: (consuming FetchResult) -> Void)
    /// Takes a buffer to use again.
    func recycle(_ body: consuming [UInt8])
}

/// The network's fetcher: libcurl's multi interface, connections kept, bodies reused. About 0.1 ms of CPU for a page of
/// 1,000 series.
public final class CurlFetcher: Fetcher {
    private let multi: CurlMulti
    private let clock: any TimeSource
    private var transfers: [Int: CurlMulti.Transfer] = [:]
    private var started: [Int: UInt64] = [:]
    private var nextHandle = 0
    private var buffers: [[UInt8]] = []

    /// No fetches yet.
    ///
    /// - Parameter connections: So many are open at the most; fetches beyond them wait for one.
    public init(clock: any TimeSource, connections: Int = 4096) {
        self.clock = clock
        multi = CurlMulti(clock: clock, maximumConnections: connections)
    }

    /// Ends a `poll` of the owner's thread early; may be called by any thread.
    public var wake: @Sendable () -> Void {
        let waker = multi.waker
        return { waker.wake() }
    }

    /// See `Fetcher`.
    public func prepare(_ request: HTTPRequest) throws(TransportError) -> Int {
        let transfer = try CurlMulti.Transfer(request, collectsHeaders: request.purpose == .check)
        nextHandle += 1
        transfer.tag = nextHandle
        transfers[nextHandle] = transfer
        return nextHandle
    }

    /// See `Fetcher`.
    public func discard(_ handle: Int) {
        if let transfer = transfers.removeValue(forKey: handle) { multi.cancel(transfer) }
        started[handle] = nil
    }

    /// See `Fetcher`.
    public func start(_ handle: Int) {
        guard let transfer = transfers[handle], !transfer.isRunning else { return }
        if transfer.body.capacity == 0, let buffer = buffers.popLast() { transfer.body = buffer }
        started[handle] = clock.uptimeNanoseconds()
        multi.start(transfer)
    }

    /// See `Fetcher`.
    public func poll(for wait: Milliseconds, _ finish: (consuming FetchResult) -> Void) {
        multi.poll(for: wait) { transfer, code in
            let now = clock.uptimeNanoseconds()
            var body: [UInt8] = []
            swap(&body, &transfer.body)
            let error = transfer.error(code)
            finish(
                FetchResult(
                    handle: transfer.tag, status: error == nil ? transfer.status : 0, contentType: transfer.contentType,
                    body: body, durationSeconds: Double(now - (started[transfer.tag] ?? now)) / 1e9, error: error,
                    details: transfer.details(code)))
        }
    }

    /// See `Fetcher`. More than 64 idle buffers, and very large ones, are let go.
    public func recycle(_ body: consuming [UInt8]) {
        guard buffers.count < 64, body.capacity > 0, body.capacity <= 4 << 20 else { return }
        body.removeAll(keepingCapacity: true)
        buffers.append(body)
    }
}
