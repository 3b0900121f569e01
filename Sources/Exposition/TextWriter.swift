public import Model
internal import Basics

/// Writes metrics in Prometheus' text format 0.0.4.
public enum TextWriter {
    /// The content type of what `page` gives.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// A page of families, each with its HELP and TYPE; families of the same name are written as one, in the order of
    /// names.
    public static func page(_ families: [MetricFamily]) -> [UInt8] {
        ExpositionAnswer(accept: nil).page(families)
    }
}

/// How a server answers who asks for its metrics: the format that the `Accept` header likes best, text 0.0.4 when it
/// says nothing that is known here.
///
/// - SeeAlso: prometheus/common, `expfmt/encode.go`, `NegotiateIncludingOpenMetrics`.
public struct ExpositionAnswer: Sendable, Hashable {
    /// What is written.
    public private(set) var scrapeProtocol = ScrapeProtocol.text0
    /// How names that the format or the reader cannot take are written.
    public private(set) var escaping = EscapingScheme.underscores
    private var saysEscaping = false

    /// The best answer to an `Accept` header.
    public init(accept: String?) {
        var best = 0.0
        for clause in (accept ?? "").split(separator: ",") {
            guard let type = MediaType(clause) else { continue }
            let weight = type.parameters["q"].flatMap { Double($0) } ?? 1
            guard weight > best, weight <= 1, let found = ExpositionAnswer.known(type) else { continue }
            best = weight
            scrapeProtocol = found
            let wanted = type.parameters["escaping"]
            saysEscaping = wanted != nil || found == .text1
            // Text 0.0.4 has no quoted names, whatever is asked for.
            escaping = wanted.flatMap(EscapingScheme.init) ?? .underscores
            if found == .text0 || found == .openMetrics0, escaping == .allowUTF8 { escaping = .underscores }
        }
    }

    private static func known(_ type: MediaType) -> ScrapeProtocol? {
        switch (type.name, type.parameters["version"]) {
        case ("application/openmetrics-text", nil), ("application/openmetrics-text", "0.0.1"): .openMetrics0
        case ("application/openmetrics-text", "1.0.0"): .openMetrics1
        case ("text/plain", "1.0.0"): .text1
        case ("text/plain", nil), ("text/plain", "0.0.4"), ("text/*", _), ("*/*", _): .text0
        default: nil
        }
    }

    /// The content type of what `page` gives.
    public var contentType: String {
        let type =
            switch scrapeProtocol {
            case .text0: TextWriter.contentType
            case .text1: "text/plain; version=1.0.0; charset=utf-8"
            case .openMetrics0: "application/openmetrics-text; version=0.0.1; charset=utf-8"
            case .openMetrics1: "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
        return saysEscaping ? "\(type); escaping=\(escaping.rawValue)" : type
    }

    /// A page of families, each with its TYPE, and its HELP where it has one; families of the same name are written as
    /// one, in the order of names. The label `always` stands on every line, empty where there is none.
    public func page(_ families: [MetricFamily], always: String? = nil) -> [UInt8] {
        var byName: [ByteText: MetricFamily] = [:]
        for family in families {
            byName[ByteText(family.name), default: MetricFamily(family.kind, family.name, family.help, [])].lines +=
                family.lines
        }
        var output: [UInt8] = []
        let isOpen = scrapeProtocol.format == .openMetrics
        for family in byName.values.sorted(by: { $0.name.isBefore($1.name) }) where !family.lines.isEmpty {
            var (name, suffix) = (escaping.escape(family.name), "")
            // OpenMetrics names a counter without the end that its samples have.
            if isOpen, family.kind == .counter {
                if name.hasSuffix("_total") { name = String(name.dropLast(6)) }
                suffix = "_total"
            }
            let type = isOpen && family.kind == .untyped ? "unknown" : family.kind.rawValue
            let shown = name.isLegacyMetricName ? name : "\"\(ExpositionAnswer.escape(name, quotes: true))\""
            if !family.help.isEmpty {
                output += "# HELP \(shown) \(ExpositionAnswer.escape(family.help, quotes: isOpen))\n".utf8
            }
            output += "# TYPE \(shown) \(type)\n".utf8
            let hasBounds = isOpen && (family.kind == .histogram || family.kind == .summary)
            for line in family.lines { write(line, of: name + suffix, hasBounds, always, to: &output) }
        }
        if isOpen { output += "# EOF\n".utf8 }
        return output
    }

    private func write(
        _ line: MetricFamily.Line, of family: String, _ hasBounds: Bool, _ always: String?, to output: inout [UInt8]
    ) {
        let isOpen = scrapeProtocol.format == .openMetrics
        let name = family + line.suffix
        var parts: [String] = []
        if name.isLegacyMetricName {
            output += name.utf8
        } else {
            parts.append("\"\(ExpositionAnswer.escape(name, quotes: true))\"")
        }
        var labels = line.labels.sorted
        if let always, line.labels[always].isEmpty {
            labels.insert(Label(always, ""), at: labels.firstIndex { always.isBefore($0.name) } ?? labels.endIndex)
        }
        for label in labels {
            let name = escaping.escape(label.name)
            let shown = name.isLegacyLabelName ? name : "\"\(ExpositionAnswer.escape(name, quotes: true))\""
            var value = label.value
            if hasBounds, label.name == "le" || label.name == "quantile", let bound = GoNumber.parse(value) {
                value = BucketBound.text(bound)
            }
            parts.append("\(shown)=\"\(ExpositionAnswer.escape(value, quotes: true))\"")
        }
        if !parts.isEmpty { output += "{\(parts.joined(separator: ","))}".utf8 }
        output += " \(isOpen ? BucketBound.text(line.value) : GoNumber.shortest(line.value))".utf8
        if let time = line.timestamp?.milliseconds {
            // Seconds in OpenMetrics.
            output += " \(isOpen ? GoNumber.fixed(Double(time) / 1000) : String(time))".utf8
        }
        output.append(UInt8(ascii: "\n"))
    }

    private static func escape(_ text: String, quotes: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
