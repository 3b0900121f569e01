internal import Alerting
internal import Basics
internal import Model

extension LogEvent {
    /// `alert-firing` or `alert-resolved`, with the alert's labels and its runbook.
    init(_ turn: AlertTurn) {
        let labels = turn.alert.labels
        let name = labels["alertname"].isEmpty ? "an alert without a name" : labels["alertname"]
        var fields = [
            ("alert", name), ("severity", labels["severity"]), ("labels", labels.description),
            ("fingerprint", labels.fingerprintText), ("runbook", turn.alert.annotations["runbook_url"] ?? ""),
        ]
        fields.append(("summary", turn.alert.annotations["summary"] ?? ""))
        let isGrave = ["critical", "high", "error", "page"].contains(labels["severity"])
        self.init(
            turn.isFiring ? isGrave ? .error : .warning : .info, turn.isFiring ? "alert-firing" : "alert-resolved",
            "\(name) \(turn.isFiring ? "fires" : "is over"): \(labels.dropping(["alertname"]))",
            fields.filter { !$0.1.isEmpty })
    }
}
