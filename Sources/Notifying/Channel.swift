public import Alerting
public import Basics
internal import Model
public import Settings
public import Transport

/// A way to reach people: turns a page into requests and judges the answers. Pure; whoever sends holds the network.
public protocol Channel: Sendable {
    /// `webhook`, `slack`, `pagerduty`, `email`.
    var kind: String { get }
    /// Whether pages that tell only of ends are sent.
    var sendsResolved: Bool { get }
    /// What is to be sent for a page. Fails when a secret's file cannot be read or what it holds cannot be used; a
    /// `ChannelError` when no later try can do better.
    func plan(for page: Page, reading files: @escaping Secret.FileReader) throws -> ChannelPlan
    /// What the answer to a step means, and what is to be remembered.
    func verdict(on answer: ChannelAnswer, to step: ChannelStep, of page: Page) -> (Verdict, Receipt)
    /// Everything that must not be shown, for cutting it out of answers.
    func secrets(reading files: Secret.FileReader) -> [String]
    /// What is in force, under Alertmanager's keys and in its order, with `<secret>` for secrets; null for a channel
    /// that was not read from settings.
    var effective: JSON { get }
    /// Who is reached, as far as it counts for the rate: channels of one destination share `rate`. Holds no secret,
    /// `slack:3f0a9c…:#ops`.
    var destination: String { get }
    /// How fast the destination takes messages; nil: as fast as they come.
    var rate: SendingRate? { get }
    /// Who is told: a channel that is at another place of the file and says the same is the same. Holds no secret.
    var addressee: String { get }
}

extension Channel {
    /// Its destination.
    public var addressee: String { destination }
}

/// What a channel sends for one page: its steps in order, the next only when the one before was taken.
public struct ChannelPlan: Sendable {
    /// At least one.
    public var steps: [ChannelStep]
    /// What a person should know: which template failed and how.
    public var notes: [String] = []
    /// Asks for a token that each step carries.
    var tokens: OAuth2Tokens?

    /// Steps without more.
    public init(_ steps: [ChannelStep]) { self.steps = steps }
}

/// One request of a plan.
public struct ChannelStep: Sendable, Hashable {
    /// Unique within the plan; a step that was taken is not sent again when a later one fails.
    public var name: String
    /// What is sent.
    public var request: ChannelRequest
    /// Whether the page has arrived without it too, so that its refusal is only noted.
    public var isOptional = false

    /// A step by its parts.
    public init(_ name: String, _ request: ChannelRequest, isOptional: Bool = false) {
        (self.name, self.request, self.isOptional) = (name, request, isOptional)
    }
}

/// What goes over the network.
public enum ChannelRequest: Sendable, Hashable {
    case http(HTTPRequest)
    case mail(Mail)
}

/// What comes back.
public enum ChannelAnswer: Sendable, Hashable {
    case http(HTTPResponse)
    case mail(MailReceipt)
}

/// Why a page cannot be sent, now and later; holds no secret.
public struct ChannelError: Error, Hashable, CustomStringConvertible {
    /// As a label of metrics.
    public var reason: FailureReason
    /// One clause.
    public var description: String

    /// An error by its parts.
    public init(_ reason: FailureReason, _ description: String) {
        (self.reason, self.description) = (reason, description)
    }
}

/// A bucket of tokens: so many messages at once, then one in each interval.
public struct SendingRate: Sendable, Hashable {
    /// How many may go at once; from 1.
    public var burst: Int
    /// One more each; above 0.
    public var interval: Milliseconds

    /// A rate by its parts.
    public init(burst: Int, interval: Milliseconds) { (self.burst, self.interval) = (burst, interval) }
}

/// A destination's name that tells two secrets apart and neither of them: a digest of the text or of its file's path.
func destination(_ kind: String, _ secret: Secret, _ rest: String = "") -> String {
    let text = secret.path ?? ((try? secret.reveal { _ in [] }) ?? "")  // A text in the settings: nothing is read.
    let digest = Digest.hexadecimal(of: text, .sha256).prefix(16)
    return "\(kind):\(digest)\(rest.isEmpty ? "" : ":\(rest)")"
}

/// A notification on its way through one channel.
public struct Page: Sendable, Hashable {
    /// What is told.
    public var notification: Notification
    /// The same for every try of this page through this channel: the key of idempotency.
    public var key: String
    /// From 1.
    public var attempt = 1
    /// Whether an earlier try may have arrived.
    public var isPossiblyRepeated = false
    /// Whether it could not be journalled before it was sent, so that a crash may send it again unmarked.
    public var isUnjournalled = false
    /// The receiver for which this page comes here, since that one could not be reached.
    public var standsInFor: String?
    /// Whether newer pages of its group came first: a dead letter that was sent again. `notification.decidedAt` tells
    /// when it was true.
    public var isOld = false
    /// Where this daemon is reached, for links; may be empty.
    public var externalURL = ""
    /// What the channel wanted to be remembered of the group, while the group lives: a message's place in a thread.
    public var thread: [String: String] = [:]
    /// What it wanted to be remembered of this page: who has it already.
    public var progress: [String: String] = [:]

    /// The moment of this try, for templates that ask for it.
    public var now: Timestamp

    /// A first try.
    public init(_ notification: Notification, key: String) {
        (self.notification, self.key, now) = (notification, key, notification.decidedAt)
    }
}

/// What a try leaves behind, whatever came of it.
public struct Receipt: Sendable, Hashable {
    /// Replaces `Page.thread` of the group's later pages through this channel; nil: as it was.
    public var thread: [String: String]?
    /// Replaces `Page.progress` of this page's later tries; nil: as it was.
    public var progress: [String: String]?
    /// For the ledger: what a person should know of a page that arrived; holds no secret.
    public var note = ""

    /// Nothing.
    public init() {}
}

/// What an answer means for a page.
public enum Verdict: Sendable, Hashable {
    /// The receiver has it.
    case accepted
    /// Try again, no sooner than the given time from now.
    case retry(reason: FailureReason, after: Milliseconds?, String)
    /// It will never take it.
    case refused(reason: FailureReason, String)

    /// The usual meaning of HTTP's status codes: 2xx is good; 408, 425, 429 and 5xx may pass; everything else will not.
    public static func standard(_ response: HTTPResponse) -> Verdict {
        let status = response.status
        let text = "the answer is \(status): \(Verdict.shown(response.body))"
        switch status {
        case 200..<300: return .accepted
        case 429: return .retry(reason: .rateLimited, after: nil, text)
        case 408, 425: return .retry(reason: .clientError, after: nil, text)
        case 500...: return .retry(reason: .serverError, after: nil, text)
        case 401, 403: return .refused(reason: .authError, text)
        default: return .refused(reason: .clientError, text)
        }
    }

    /// An answer to another kind of request than was sent: only a mistake of ours makes it.
    static let foreign = Verdict.refused(reason: .badAnswer, "the answer is of another kind than the request")

    /// The start of an answer, fit for a line of text.
    static func shown(_ body: [UInt8]) -> String {
        let text = String(decoding: body.prefix(800), as: UTF8.self)
        let line = text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? " " : String($0) }.joined()
        return truncated(line, to: 200)
    }
}

/// Why an attempt failed, as a label of metrics.
public enum FailureReason: String, Sendable, Hashable, CaseIterable {
    case unreachable, interrupted, rateLimited, serverError, clientError, authError, badAnswer, secret, template
    case expired, unconfigured
}

/// How bad, by the label `severity`.
public enum Severity: Int, Sendable, Hashable, Comparable, CaseIterable {
    case critical, high, warning, info

    /// Reads the label; what is missing or unknown counts as a warning.
    public init(label: String) {
        switch label.lowercased() {
        case "critical", "page", "emergency", "disaster", "fatal": self = .critical
        case "high", "error", "major": self = .high
        case "info", "informational", "low", "none", "debug", "notice": self = .info
        default: self = .warning
        }
    }

    /// As PagerDuty and our pages call it.
    var name: String {
        switch self {
        case .critical: "critical"
        case .high: "error"
        case .warning: "warning"
        case .info: "info"
        }
    }

    /// The worst first.
    public static func < (left: Severity, right: Severity) -> Bool { left.rawValue < right.rawValue }
}

extension Notification {
    /// The worst of the alerts that fire, or of all when none does.
    public var severity: Severity {
        let isFiring = isFiring
        var worst: Severity?, last: (label: String, severity: Severity)?
        for item in items where item.isResolved != isFiring {
            let label = item.alert.labels["severity"]
            guard label != last?.label else { continue }
            let severity = Severity(label: label)
            (worst, last) = (min(worst ?? severity, severity), (label, severity))
        }
        return worst ?? .warning
    }

    /// `[FIRING:2] HighLatency api: p99 above 2 s`.
    public var title: String {
        var names = groupLabels.sorted.map(\.value)
        if !groupLabels["alertname"].isEmpty {
            names = [groupLabels["alertname"]] + groupLabels.dropping(["alertname"]).sorted.map(\.value)
        } else if !commonLabels["alertname"].isEmpty {
            names.insert(commonLabels["alertname"], at: 0)
        }
        if names.isEmpty { names = ["\(items.count) alerts"] }
        let status = isFiring ? "[FIRING:\(items.count { !$0.isResolved })]" : "[RESOLVED]"
        let summary = commonAnnotations["summary"].map { ": \($0)" } ?? ""
        return "\(status) \(names.joined(separator: " "))\(summary)"
    }
}

/// A text of at most `limit` Unicode scalars, its end replaced by "…" when it is longer.
///
/// - SeeAlso: Alertmanager, `notify.TruncateInRunes`.
func truncated(_ text: String, to limit: Int) -> String {
    let scalars = text.unicodeScalars
    guard scalars.count > limit else { return text }
    guard limit > 3 else { return String(String.UnicodeScalarView(scalars.prefix(limit))) }
    return String(String.UnicodeScalarView(scalars.prefix(limit - 1))) + "…"
}
