internal import Basics
public import Model
internal import Transport

extension HealthReport {
    /// A series of a check: its name, and the labels beside the check's own.
    public struct Series: Sendable, Hashable {
        /// As it is recorded.
        public var name: String, labels: [Label]
    }

    /// Labels that a check sets itself.
    static let ownLabels: Set = ["check", "field", "phase", "reason", "query"]

    private static let phases = FetchPhase.allCases.map { ($0, [Label("phase", $0.rawValue)]) }
    private static let reasons = Dictionary(
        uniqueKeysWithValues: HealthReason.allCases.map { ($0, [Label("reason", $0.rawValue)]) })

    /// What is recorded of a check: `health_check_up`, …, and blackbox_exporter's names where they are wanted.
    ///
    /// - SeeAlso: blackbox_exporter, `prober/`.
    public func eachSeries(of check: HealthCheck, _ take: (Series, Double) -> Void) {
        func add(_ name: String, _ value: Double, _ labels: [Label] = []) {
            take(Series(name: name, labels: labels), value)
        }
        add("health_check_up", isUp ? 1 : 0)
        add("health_check_duration_seconds", durationSeconds)
        for phase in details.phases {
            add("health_check_duration_seconds", phase.seconds, HealthReport.label(phase.phase))
        }
        if case .http = check.kind { add("health_check_status_code", Double(status)) }
        if let expiry = details.certificateExpiry {
            add("health_check_certificate_expiry_seconds", Double(expiry.milliseconds) / 1000)
        }
        for reason in reasons { add("health_check_failure_info", 1, HealthReport.reasons[reason] ?? []) }
        for value in values {
            add("health_check_value", value.value, [Label("field", value.field)] + value.labels)
        }
        if check.offersBlackboxNames { eachBlackboxSeries(of: check, add) }
    }

    private static func label(_ phase: FetchPhase) -> [Label] { phases.first { $0.0 == phase }?.1 ?? [] }

    private func seconds(_ phase: FetchPhase) -> Double {
        details.phases.first { $0.phase == phase }?.seconds ?? 0
    }

    private func eachBlackboxSeries(of check: HealthCheck, _ add: (String, Double, [Label]) -> Void) {
        func plain(_ name: String, _ value: Double) { add("probe_\(name)", value, []) }
        func phased(_ name: String, _ phases: [(String, Double)]) {
            for (phase, seconds) in phases { add("probe_\(name)", seconds, [Label("phase", phase)]) }
        }
        plain("success", isUp ? 1 : 0)
        plain("duration_seconds", durationSeconds)
        plain("timeout_seconds", Double(check.timeout) / 1000)
        switch check.kind {
        case .http:
            plain("http_status_code", Double(status))
            plain("http_ssl", details.isEncrypted ? 1 : 0)
            plain("http_redirects", Double(details.redirects))
            plain("http_version", details.httpVersion)
            plain("http_content_length", further.contentLength)
            plain("http_uncompressed_body_length", Double(further.bodyBytes))
            plain("failed_due_to_regex", further.failedExpression ? 1 : 0)
            phased("http_duration_seconds", FetchPhase.allCases.map { ($0.rawValue, seconds($0)) })
        case .tcp, .tls, .unix: plain("failed_due_to_regex", 0)
        case .icmp:
            phased(
                "icmp_duration_seconds", [("resolve", seconds(.resolve)), ("setup", 0), ("rtt", seconds(.processing))])
        case .dns:
            plain("dns_answer_rrs", Double(further.answers))
            plain("dns_authority_rrs", Double(further.authorities))
            plain("dns_additional_rrs", Double(further.additionals))
            plain("dns_query_succeeded", failures.allSatisfy { $0.reason.isMild || $0.reason == .status } ? 1 : 0)
            if let serial = further.serial { plain("dns_serial", Double(serial)) }
            phased(
                "dns_duration_seconds",
                [("resolve", seconds(.resolve)), ("connect", 0), ("request", seconds(.processing))])
        case .postgres, .redis, .systemd: return
        }
        if details.ipVersion > 0 {
            plain("ip_protocol", Double(details.ipVersion))
            plain("dns_lookup_time_seconds", seconds(.resolve))
        }
        if details.isEncrypted, let expiry = details.certificateExpiry {
            plain("ssl_earliest_cert_expiry", Double(expiry.milliseconds) / 1000)
        }
    }
}
