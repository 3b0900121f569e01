internal import Alerting
public import Basics
internal import Model
public import Settings
public import Transport

/// One try to deliver a page: the requests, the network, the judgement.
enum Sending {
    /// The entry of `Page.progress` that holds the steps which were taken.
    static let stepsTaken = "steps"

    /// What came of it. No message holds a secret.
    static func outcome(
        of page: Page, through channel: any Channel, transport: any HTTPTransport,
        files: @escaping Secret.FileReader, now: () -> Timestamp
    ) async -> (Outbox.Outcome, Receipt) {
        var page = page
        page.now = now()
        let plan: ChannelPlan
        do {
            plan = try channel.plan(for: page, reading: files)
        } catch let error as ChannelError {
            return (redacted(.refused(error.reason, error.description), channel.secrets(reading: files)), Receipt())
        } catch {
            return (.failed(.secret, "\(error)", after: nil, mayHaveArrived: false), Receipt())
        }
        var (receipt, notes) = (Receipt(), plan.notes)
        var taken = page.progress[stepsTaken]?.split(separator: ",").map(String.init) ?? []
        var outcome = Outbox.Outcome.accepted
        for step in plan.steps where !taken.contains(step.name) {
            let (result, left) = await send(step, plan, page, channel, transport, files, now)
            receipt.thread = left.thread ?? receipt.thread
            receipt.progress = left.progress ?? receipt.progress
            if !left.note.isEmpty { notes.append(left.note) }
            if let thread = left.thread { page.thread = thread }
            if case .refused(_, let text) = result, step.isOptional {
                notes.append("\(step.name): \(text)")
            } else if result != .accepted {
                outcome = result
                break
            }
            taken.append(step.name)
        }
        if outcome != .accepted, !taken.isEmpty {
            receipt.progress = (receipt.progress ?? page.progress).merging(
                [stepsTaken: taken.joined(separator: ",")]) { $1 }
        }
        let secrets = channel.secrets(reading: files)
        receipt.note = redacted(notes.joined(separator: "; "), secrets)
        return (redacted(outcome, secrets), receipt)
    }

    private static func send(
        _ step: ChannelStep, _ plan: ChannelPlan, _ page: Page, _ channel: any Channel,
        _ transport: any HTTPTransport, _ files: @escaping Secret.FileReader, _ now: () -> Timestamp
    ) async -> (Outbox.Outcome, Receipt) {
        let answer: ChannelAnswer
        do {
            switch step.request {
            case .http(let request): answer = .http(try await send(request, plan.tokens, transport, files, now))
            case .mail(let mail): answer = .mail(try await transport.send(mail))
            }
        } catch let error as OAuth2Error {
            return (.failed(.authError, error.description, after: nil, mayHaveArrived: false), Receipt())
        } catch let error as TransportError {
            let reason: FailureReason = error.isOutcomeUnknown ? .interrupted : .unreachable
            return (.failed(reason, "\(error)", after: nil, mayHaveArrived: error.isOutcomeUnknown), Receipt())
        } catch {
            return (.failed(.secret, "\(error)", after: nil, mayHaveArrived: false), Receipt())
        }
        let (verdict, receipt) = channel.verdict(on: answer, to: step, of: page)
        switch verdict {
        case .accepted: return (.accepted, receipt)
        case .refused(let reason, let text): return (.refused(reason, text), receipt)
        case .retry(let reason, let after, let text):
            var asked: Milliseconds?
            if case .http(let response) = answer {
                asked = response.header("retry-after").flatMap { retryAfter($0, now: now()) }
            }
            return (.failed(reason, text, after: asked ?? after, mayHaveArrived: false), receipt)
        }
    }

    /// A request with its token, if it needs one.
    private static func send(
        _ request: HTTPRequest, _ tokens: OAuth2Tokens?, _ transport: any HTTPTransport,
        _ files: @escaping Secret.FileReader, _ now: () -> Timestamp
    ) async throws -> HTTPResponse {
        guard let tokens else { return try await transport.send(request) }
        return try await tokens.send(request, over: transport, reading: files, now: now)
    }

    /// Cuts secrets out of what a receiver or a library says.
    private static func redacted(_ text: String, _ secrets: [String]) -> String {
        Secret.cut(secrets, outOf: text)
    }

    private static func redacted(_ outcome: Outbox.Outcome, _ secrets: [String]) -> Outbox.Outcome {
        switch outcome {
        case .accepted: .accepted
        case .refused(let reason, let text): .refused(reason, redacted(text, secrets))
        case .failed(let reason, let text, let after, let unknown):
            .failed(reason, redacted(text, secrets), after: after, mayHaveArrived: unknown)
        }
    }
}

/// The wait that `Retry-After` asks for: seconds, or until an HTTP date; nil when it is neither.
///
/// - SeeAlso: RFC 9110, 5.6.7 and 10.2.3.
func retryAfter(_ text: String, now: Timestamp) -> Milliseconds? {
    if let seconds = Int64(text), seconds >= 0 { return min(seconds, 86_400 * 365) * 1000 }
    return Timestamp(httpDate: text).map { max(0, $0 - now) }
}

/// Pages that are only a test: sent once, at once, outside the outbox.
public enum TestPage {
    /// What came of a test through one channel.
    public struct Result: Sendable, Hashable {
        /// The channel's id, `receiver/kind/index`.
        public let channelID: String
        /// Whether the receiver took it.
        public let isAccepted: Bool
        /// In words, without secrets.
        public let message: String
        /// How long it took.
        public let latency: Milliseconds
    }

    /// Sends a test through each channel of a receiver, one after the other.
    public static func send(
        to receiver: Receiver, transport: any HTTPTransport, clock: any TimeSource, externalURL: String,
        files: @escaping Secret.FileReader
    ) async -> [Result] {
        var results: [Result] = []
        for (id, channel) in receiver.channels {
            var page = Page(notification(for: receiver.name, now: clock.now()), key: "")
            page.key = "\(page.notification.id)/\(id)"
            page.externalURL = externalURL
            let began = clock.uptimeNanoseconds()
            let (outcome, receipt) = await Sending.outcome(
                of: page, through: channel, transport: transport, files: files, now: clock.now)
            let latency = Milliseconds((clock.uptimeNanoseconds() - began) / 1_000_000)
            let (isAccepted, message) =
                switch outcome {
                case .accepted: (true, receipt.note.isEmpty ? "accepted" : "accepted: \(receipt.note)")
                case .refused(_, let text): (false, "refused: \(text)")
                case .failed(_, let text, _, false): (false, "failed: \(text)")
                case .failed(_, let text, _, true): (false, "may have arrived: \(text)")
                }
            results.append(Result(channelID: id, isAccepted: isAccepted, message: message, latency: latency))
        }
        return results
    }

    /// A notification that says it is a test.
    static func notification(for receiver: String, now: Timestamp) -> Notification {
        let alert = Alert(
            labels: ["alertname": "VedetteTest", "severity": "info"],
            annotations: [
                "summary": "This is a test page",
                "description": "Somebody ran 'vedette notify test \(receiver)'. Nothing is wrong.",
            ], value: 1, startsAt: now)
        let labels: Labels = ["alertname": "VedetteTest"]
        let id = "test-\(now.milliseconds)"
        return Notification(
            id: id, groupID: id, groupKey: "{}:\(labels.alertmanagerText)", receiver: receiver, reason: .first,
            groupLabels: labels, items: [Notification.Item(alert, isResolved: false)], decidedAt: now)
    }
}
