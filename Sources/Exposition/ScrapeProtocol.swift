/// A format that a scrape may ask for, by Prometheus' names.
///
/// - SeeAlso: Prometheus, `config/config.go`, `ScrapeProtocolsHeaders`.
public enum ScrapeProtocol: String, Sendable, Hashable, CaseIterable {
    case openMetrics1 = "OpenMetricsText1.0.0"
    case openMetrics0 = "OpenMetricsText0.0.1"
    case text1 = "PrometheusText1.0.0"
    case text0 = "PrometheusText0.0.4"

    /// How its pages are written.
    public var format: ExpositionFormat {
        switch self {
        case .openMetrics0, .openMetrics1: .openMetrics
        case .text0, .text1: .text
        }
    }

    private var mediaType: String {
        switch self {
        case .openMetrics1: "application/openmetrics-text;version=1.0.0"
        case .openMetrics0: "application/openmetrics-text;version=0.0.1"
        case .text1: "text/plain;version=1.0.0"
        case .text0: "text/plain;version=0.0.4"
        }
    }

    /// The `Accept` header for protocols in the order of preference, as Prometheus sends it.
    public static func accept(_ protocols: [ScrapeProtocol], escaping: EscapingScheme) -> String {
        // Prometheus counts down from one more than the five protocols it knows.
        var weight = 6
        var parts: [String] = []
        for one in protocols {
            let scheme = one == .text1 || one == .openMetrics1 ? ";escaping=\(escaping.rawValue)" : ""
            parts.append("\(one.mediaType)\(scheme);q=0.\(weight)")
            weight -= 1
        }
        return (parts + ["*/*;q=0.\(weight)"]).joined(separator: ",")
    }

    /// What an answer's `Content-Type` says the page is; nil where it says nothing that can be read here.
    public static func format(ofContentType text: String) -> ExpositionFormat? {
        switch MediaType(text)?.name {
        case "text/plain": .text
        case "application/openmetrics-text": .openMetrics
        default: nil
        }
    }
}

/// A media type with its parameters, such as `text/plain; version=0.0.4`.
struct MediaType {
    /// In lower case.
    var name: String
    /// Names in lower case; quotes removed.
    var parameters: [String: String] = [:]

    /// Nil where it is malformed.
    init?(_ text: some StringProtocol) {
        var parts = text.split(separator: ";", omittingEmptySubsequences: false).map { MediaType.trimmed($0) }[...]
        name = parts.removeFirst().lowercased()
        guard name.utf8.count(where: { $0 == 0x2F }) == 1, !name.hasPrefix("/"), !name.hasSuffix("/"),
            name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { return nil }
        if parts.last?.isEmpty == true { parts.removeLast() }
        for part in parts {
            guard let mark = part.firstIndex(of: "="), mark > part.startIndex else { return nil }
            var value = part[part.index(after: mark)...]
            if value.count >= 2, value.hasPrefix("\""), value.hasSuffix("\"") { value = value.dropFirst().dropLast() }
            guard !value.isEmpty, parameters.updateValue(String(value), forKey: part[..<mark].lowercased()) == nil
            else {
                return nil
            }
        }
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var bytes = Array(text.utf8)[...]
        while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
        while let first = bytes.first, first == 0x20 || first == 0x09 { bytes.removeFirst() }
        return String(decoding: bytes, as: UTF8.self)
    }
}
