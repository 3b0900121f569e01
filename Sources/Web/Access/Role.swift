/// What a caller may do; each role may do what those before it may.
public enum Role: String, Sendable, Hashable, CaseIterable, Comparable {
    /// Reads: metrics, queries, alerts, pages of the interface.
    case viewer
    /// Also acts on what happens: posts alerts and samples, silences, approves and cancels rollbacks, sends given-up
    /// pages again.
    case operator_ = "operator"
    /// Also changes the daemon itself: reloads it, deletes samples, makes snapshots and backups.
    case admin

    /// By what they may do.
    public static func < (left: Role, right: Role) -> Bool {
        allCases.firstIndex(of: left) ?? 0 < allCases.firstIndex(of: right) ?? 0
    }
}

extension APIRequest {
    /// The least role that may ask this; nil: anybody.
    var role: Role? {
        if APIRequest.open.contains(path) { return nil }
        let isRead = ["GET", "HEAD", "OPTIONS"].contains(method)
        if isRead || APIRequest.questions.contains(where: path.begins) { return .viewer }
        return APIRequest.ofAdmins.contains(where: path.begins) ? .admin : .operator_
    }

    /// What load balancers and probes ask. It tells whether the daemon works and nothing of what it watches.
    private static let open: Set = ["/-/healthy", "/-/ready", "/health"]
    /// What is posted only since it is long, or since it asks a model.
    private static let questions = [
        "/api/v1/query", "/api/v1/series", "/api/v1/label", "/api/v1/format_query", "/api/v1/parse_query",
        "/api/v1/ml/predict/",
    ]
    private static let ofAdmins = ["/-/", "/api/v1/admin/", "/api/vedette/v1/backup"]

    /// Whether it changes something, and so stands in the audit record. Alerts that senders post again every minute,
    /// samples, and what peers say are what the daemon works on and no change of it.
    var isChange: Bool { role ?? .viewer > .viewer && !(APIRequest.fed.contains(path) && method == "POST") }

    private static let fed: Set = ["/api/v2/alerts", "/api/v1/write", "/api/vedette/v1/peers/exchange"]
}
