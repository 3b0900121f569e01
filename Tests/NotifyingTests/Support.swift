import Alerting
import Basics
import Model
import Notifying
import Settings
import Synchronization
import Transport

func at(_ seconds: Double) -> Timestamp { Timestamp(seconds: seconds) }

/// A store in memory that can be watched, and whose disk can be broken.
final class MemoryStore: StateStore {
    private struct State {
        var tables: [String: [String: [UInt8]]] = [:]
        var isBroken = false
        var commits = 0
    }
    private let state = Mutex(State())
    private let watch: @Sendable ([StateChange]) -> Void

    init(watch: @escaping @Sendable ([StateChange]) -> Void = { _ in }) { self.watch = watch }

    @discardableResult
    func commit(_ changes: [StateChange]) -> Durability {
        watch(changes)
        return state.withLock { state in
            state.commits += 1
            for change in changes { state.tables[change.table, default: [:]][change.key] = change.value }
            return state.isBroken ? .volatile(reason: "no space left") : .durable
        }
    }
    func entries(of table: String) -> [String: [UInt8]] { state.withLock { $0.tables[table] ?? [:] } }
    func breakDisk() { state.withLock { $0.isBroken = true } }
    var commits: Int { state.withLock { $0.commits } }
}

/// Receivers in memory: what they do with a request is told by a closure.
final class FakeTransport: HTTPTransport {
    enum Answer: Sendable {
        case response(HTTPResponse, after: Milliseconds)
        case failure(TransportError, after: Milliseconds)
    }
    private let clock: any TimeSource
    private let answer: @Sendable (HTTPRequest) -> Answer
    private let log = Mutex<[HTTPRequest]>([])

    init(_ clock: any TimeSource, _ answer: @escaping @Sendable (HTTPRequest) -> Answer) {
        (self.clock, self.answer) = (clock, answer)
    }

    var requests: [HTTPRequest] { log.withLock { $0 } }

    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
        log.withLock { $0.append(request) }
        let answer = answer(request)
        let (delay, result): (Milliseconds, Result<HTTPResponse, TransportError>) =
            switch answer {
            case .response(let response, let delay): (delay, .success(response))
            case .failure(let error, let delay): (delay, .failure(error))
            }
        do {
            try await clock.sleep(for: delay)
        } catch {
            throw TransportError.interrupted("cancelled", requestWasSent: true)
        }
        return try result.get()
    }
}

extension HTTPRequest {
    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    var json: JSON? { try? JSON(parsing: body) }
}

extension Channel {
    /// The first step's request, which is HTTP's.
    func request(for page: Page, reading files: @escaping Secret.FileReader) throws -> HTTPRequest {
        guard case .http(let request) = try plan(for: page, reading: files).steps[0].request else {
            throw CancellationError()
        }
        return request
    }

    /// What an answer to the first step means.
    func verdict(on response: HTTPResponse) throws -> Verdict {
        let page = Page(notification([alert("A")]), key: "k")
        return try judgement(on: .http(response), to: 0, of: page).0
    }

    /// What an answer to a step means.
    func judgement(on answer: ChannelAnswer, to index: Int, of page: Page) throws -> (Verdict, Receipt) {
        verdict(on: answer, to: try plan(for: page, reading: noFiles).steps[index], of: page)
    }
}

extension ChannelRequest {
    /// Everything that goes over the network, as text.
    var shown: String {
        switch self {
        case .http(let request):
            ([request.url] + request.headers.map(\.value) + [String(decoding: request.body, as: UTF8.self)]).joined()
        case .mail(let mail):
            ([mail.sender] + mail.recipients + [String(decoding: mail.message, as: UTF8.self)]).joined()
                + [mail.credentials?.password, mail.credentials?.secret].compactMap { try? $0?.reveal(noFiles) }
                .joined()
        }
    }
    var json: JSON? { if case .http(let request) = self { request.json } else { nil } }
    /// A header of the request, or of the mail's message.
    func header(_ name: String) -> String? {
        switch self {
        case .http(let request): return request.header(name)
        case .mail(let mail):
            let lines = String(decoding: mail.message, as: UTF8.self).split(separator: "\r\n")
            return lines.first { $0.hasPrefix("\(name): ") }.map { String($0.dropFirst(name.count + 2)) }
        }
    }
}

let noFiles: Secret.FileReader = { _ in throw CancellationError() }

func alert(
    _ name: String, _ labels: [String: String] = [:], annotations: [String: String] = [:], value: Double = 1,
    from start: Double = 0, to end: Double? = nil
) -> Alert {
    Alert(
        labels: Labels(labels.merging(["alertname": name]) { $1 }), annotations: annotations, value: value,
        startsAt: at(start), endsAt: end.map(at))
}

func notification(
    _ alerts: [Alert], id: String = "n1", group: String = "g1", reason: Notification.Reason = .first,
    receiver: String = "page", labels: Labels = ["alertname": "A"]
) -> Notification {
    Notification(
        id: id, groupID: group, groupKey: "{}:\(labels.alertmanagerText)", receiver: receiver, reason: reason,
        groupLabels: labels, items: alerts.map { Notification.Item($0, isResolved: $0.endsAt != nil) }, decidedAt: at(0)
    )
}

func settings(
    _ text: String, style: PageStyle = .evidence, files: SettingsFiles = .none
) throws -> NotifyingSettings {
    let root = try SettingsDocument(text, file: "vedette.yaml").map()
    let settings = try NotifyingSettings(from: root, style: style, files: files)
    try root.takeMap("global")?.finish()
    try root.finish()
    return settings
}
