public import Basics
public import Model

/// One alert of a rule, by its label set: pending, firing, or over for less than the retention.
public struct ActiveAlert: Sendable, Hashable {
    /// Where it stands.
    public enum State: String, Sendable, Hashable {
        case inactive, pending, firing
    }
    /// Its identity, `alertname` included.
    public var labels: Labels
    /// What a person reads, as of the last evaluation that gave a value.
    public var annotations: [String: String]
    /// The last value.
    public var value: Double
    /// Where it stands.
    public var state = State.pending
    /// When it became pending.
    public var activeAt: Timestamp
    /// When it began to fire.
    public var firedAt: Timestamp?
    /// When it ended.
    public var resolvedAt: Timestamp?
    /// When its expression stopped giving it a value while it has to fire on.
    public var keepFiringSince: Timestamp?
    /// When the sink was last told of it.
    public var lastSentAt: Timestamp?

    /// Whether two alerts are the same in all that has to survive a restart: not their value and annotations, which
    /// each evaluation refreshes, and not when the sink was told.
    func isSameState(as other: ActiveAlert) -> Bool {
        state == other.state && activeAt == other.activeAt && firedAt == other.firedAt
            && resolvedAt == other.resolvedAt && keepFiringSince == other.keepFiringSince && labels == other.labels
    }

    /// Whether two alerts say the same to a person.
    func saysTheSame(as other: ActiveAlert) -> Bool {
        value.bitPattern == other.value.bitPattern && annotations == other.annotations
    }

    /// Moves every moment of it, when the wall clock was moved.
    mutating func shift(by jump: Milliseconds) {
        activeAt = activeAt + jump
        firedAt = firedAt.map { $0 + jump }
        resolvedAt = resolvedAt.map { $0 + jump }
        keepFiringSince = keepFiringSince.map { $0 + jump }
        lastSentAt = lastSentAt.map { $0 + jump }
    }

    /// By all parts; two NaN values are equal.
    public static func == (left: ActiveAlert, right: ActiveAlert) -> Bool {
        left.isSameState(as: right) && left.saysTheSame(as: right) && left.lastSentAt == right.lastSentAt
    }
    /// By its labels.
    public func hash(into hasher: inout Hasher) { hasher.combine(labels) }
}

/// How long an alert that is over is still known and told.
///
/// - SeeAlso: Prometheus, `rules/alerting.go`, `resolvedRetention`.
let resolvedRetention: Milliseconds = 15 * 60_000

/// The life of one rule's alerts. Pure: it is given what the expression gave and the moment, and keeps the rest.
///
/// - SeeAlso: Prometheus, `rules/alerting.go`, `AlertingRule.Eval`.
struct AlertBook: Sendable {
    /// By fingerprint.
    private(set) var alerts: [UInt64: ActiveAlert] = [:]
    /// Moments of pending alerts that come from a restart are shifted on the first evaluation.
    var isRestored = false

    /// An alert that the expression gives at this evaluation.
    struct Candidate {
        var labels: Labels
        var annotations: [String: String]
        var value: Double
    }

    init() {}
    init(restoring alerts: [UInt64: ActiveAlert]) {
        self.alerts = alerts
        isRestored = true
    }

    /// The alerts of the book in the order of their labels.
    var sorted: [ActiveAlert] { alerts.values.sorted { $0.labels < $1.labels } }

    /// What would be in the book after an evaluation at `now` that gave `candidates`; nothing changes about alerts that
    /// are `frozen`.
    func next(
        _ candidates: [UInt64: Candidate], at now: Timestamp, hold: Milliseconds, keepFiringFor: Milliseconds,
        frozen: Set<UInt64> = []
    ) -> AlertBook {
        var next = self
        for (fingerprint, candidate) in candidates {
            if var known = next.alerts[fingerprint], known.state != .inactive {
                known.annotations = candidate.annotations
                known.value = candidate.value
                known.keepFiringSince = nil
                next.alerts[fingerprint] = known
            } else {
                next.alerts[fingerprint] = ActiveAlert(
                    labels: candidate.labels, annotations: candidate.annotations, value: candidate.value,
                    activeAt: now)
            }
        }
        for (fingerprint, alert) in next.alerts where !frozen.contains(fingerprint) {
            next.alerts[fingerprint] = AlertBook.step(
                alert, isGiven: candidates[fingerprint] != nil, at: now, hold: hold, keepFiringFor: keepFiringFor)
        }
        return next
    }

    /// One alert's next state; nil: it is forgotten.
    private static func step(
        _ alert: ActiveAlert, isGiven: Bool, at now: Timestamp, hold: Milliseconds, keepFiringFor: Milliseconds
    ) -> ActiveAlert? {
        var alert = alert
        if !isGiven {
            var firesOn = false
            if alert.state == .firing, keepFiringFor > 0 {
                let since = alert.keepFiringSince ?? now
                alert.keepFiringSince = since
                firesOn = now - since < keepFiringFor
            }
            if !firesOn {
                switch alert.state {
                case .pending: return nil
                case .inactive:
                    return now - (alert.resolvedAt ?? .distantPast) > resolvedRetention ? nil : alert
                case .firing:
                    alert.state = .inactive
                    alert.resolvedAt = now
                    return alert
                }
            }
        }
        if alert.state == .pending, now - alert.activeAt >= hold {
            alert.state = .firing
            alert.firedAt = now
        } else if alert.state == .firing, now - alert.activeAt < hold {
            // Its `for` grew by a change of the file.
            alert.state = .pending
            alert.firedAt = nil
            alert.keepFiringSince = nil
            alert.lastSentAt = nil
        }
        return alert
    }

    /// How many are pending or firing.
    var activeCount: Int { alerts.values.count { $0.state != .inactive } }

    /// Whether the sink has to be told of an alert.
    static func mustTell(_ alert: ActiveAlert, at now: Timestamp, resendDelay: Milliseconds) -> Bool {
        guard alert.state != .pending else { return false }
        guard let last = alert.lastSentAt else { return true }
        if let resolved = alert.resolvedAt, resolved > last { return true }
        return last + resendDelay < now
    }

    mutating func markTold(_ fingerprint: UInt64, at now: Timestamp) { alerts[fingerprint]?.lastSentAt = now }

    /// Moves every moment, when the wall clock was moved.
    mutating func shift(by jump: Milliseconds) {
        for fingerprint in alerts.keys { alerts[fingerprint]?.shift(by: jump) }
    }

    /// Lets time spent down not count towards `for`: pending alerts are as old as when they were last evaluated.
    mutating func shiftPending(by outage: Milliseconds, only chosen: Set<UInt64>? = nil) {
        for (fingerprint, alert) in alerts where alert.state == .pending && chosen?.contains(fingerprint) ?? true {
            alerts[fingerprint]?.activeAt = alert.activeAt + outage
        }
    }

    mutating func remove(_ fingerprint: UInt64) { alerts[fingerprint] = nil }
}
