internal import Basics
internal import Synchronization
internal import Web

/// Stubs of Slack and PagerDuty: they take every page and remember what it said.
final class DemoReceivers: Sendable {
    /// A page as it was received.
    struct Received: Sendable {
        var second: Double
        var channel: String
        var isResolved: Bool
        var text: String
    }

    private let pages = Mutex<[Received]>([])

    /// All pages so far.
    var received: [Received] { pages.withLock { $0 } }

    func take(_ request: APIRequest, at second: Double) -> APIResponse {
        guard let body = try? JSON(parsing: request.body) else { return .text("invalid_payload", status: 400) }
        if request.path == "/v2/enqueue" {
            let isResolved = body["event_action"]?.string == "resolve"
            let summary = body["payload"]?["summary"]?.string ?? (body["dedup_key"]?.string ?? "")
            keep(Received(second: second, channel: "PagerDuty", isResolved: isResolved, text: summary))
            return .json(
                ["status": "success", "message": "Event processed", "dedup_key": body["dedup_key"] ?? ""], status: 202)
        }
        let attachment = body["attachments"]?[0]
        let text = body["text"]?.string ?? attachment?["fallback"]?.string ?? ""
        keep(Received(second: second, channel: "Slack", isResolved: text.lowercased().contains("resolved"), text: text))
        return .text("ok")
    }

    private func keep(_ page: Received) { pages.withLock { $0.append(page) } }
}
