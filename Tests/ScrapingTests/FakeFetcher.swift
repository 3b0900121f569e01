import Basics
import Transport

/// Answers fetches by a closure over the URL, after a delay, under the simulated clock.
final class FakeFetcher: Fetcher {
    struct Answer {
        var status = 200
        var body = ""
        var contentType: String? = "text/plain; version=0.0.4"
        var delay: Milliseconds = 5
        var error: TransportError?
        var details = FetchDetails()
    }

    private let clock: any TimeSource
    var answer: (_ url: String) -> Answer
    /// Comes before `answer` where it is given.
    var answerRequest: ((HTTPRequest) -> Answer)?
    private(set) var requests: [Int: HTTPRequest] = [:]
    private var running: [(handle: Int, due: Milliseconds, started: Milliseconds, answer: Answer)] = []
    private var next = 0
    private(set) var starts: [(url: String, at: Timestamp)] = []

    init(clock: any TimeSource, answer: @escaping (String) -> Answer) { (self.clock, self.answer) = (clock, answer) }

    private var uptime: Milliseconds { Milliseconds(clock.uptimeNanoseconds() / 1_000_000) }

    func prepare(_ request: HTTPRequest) throws(TransportError) -> Int {
        next += 1
        requests[next] = request
        return next
    }
    func discard(_ handle: Int) {
        requests[handle] = nil
        running.removeAll { $0.handle == handle }
    }
    func start(_ handle: Int) {
        guard let request = requests[handle] else { return }
        starts.append((request.url, clock.now()))
        var answer = answerRequest?(request) ?? answer(request.url)
        if answer.delay > request.timeout {
            answer = Answer(status: 0, delay: request.timeout, error: .interrupted("timed out", requestWasSent: true))
            answer.details.cause = .timeout
        }
        if answer.body.utf8.count > request.maximumResponseBytes {
            answer.error = .tooLarge(limitBytes: request.maximumResponseBytes)
        }
        running.append((handle, uptime + answer.delay, uptime, answer))
    }
    func poll(for wait: Milliseconds, _ finish: (consuming FetchResult) -> Void) {
        let done = running.filter { $0.due <= uptime }
        running.removeAll { $0.due <= uptime }
        for one in done {
            finish(
                FetchResult(
                    handle: one.handle, status: one.answer.status, contentType: one.answer.contentType,
                    body: Array(one.answer.body.utf8), durationSeconds: Double(uptime - one.started) / 1000,
                    error: one.answer.error, details: one.answer.details))
        }
    }
    func recycle(_ body: consuming [UInt8]) {}
}
