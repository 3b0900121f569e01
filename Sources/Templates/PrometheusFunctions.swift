internal import Basics
internal import Model

extension TemplateFunctions {
    /// What Prometheus writes before the text of every annotation and label of a rule. It has no line end, so that
    /// lines in messages are the text's own.
    public static let prometheusDefinitions =
        "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}"
        + "{{$externalURL := .ExternalURL}}{{$value := .Value}}"

    /// The dot of a rule's annotations and labels.
    public static func prometheusData(
        labels: [String: String], externalLabels: [String: String], externalURL: String, value: Double
    ) -> TemplateValue {
        .fields([
            "Labels": .strings(labels), "ExternalLabels": .strings(externalLabels), "ExternalURL": .string(externalURL),
            "Value": .double(value),
        ])
    }

    /// The functions of Prometheus' rules.
    ///
    /// - SeeAlso: Prometheus, `template/template.go`, `NewTemplateExpander`.
    public static let prometheus: TemplateFunctions = {
        var functions = builtins.addingTexts
        func one(_ name: String, _ body: @escaping @Sendable (Double) -> String) {
            functions = functions.adding(name, 1...1) { call throws(TemplateFailure) in
                .string(body(try call.number(0)))
            }
        }
        one("humanize", Humanize.metric)
        one("humanize1024", Humanize.binary)
        one("humanizeDuration", Humanize.duration)
        one("humanizePercentage", Humanize.percentage)
        one("humanizeTimestamp", Humanize.timestamp)
        functions = functions.adding("query", 1...1) { call throws(TemplateFailure) in try query(call) }
            .adding("first", 1...1) { call throws(TemplateFailure) in
                guard let first = try call.list(0).first else {
                    throw TemplateFailure("first() called on vector with no elements")
                }
                return first
            }
            .adding("label", 2...2) { call throws(TemplateFailure) in
                try call.sample(1, "Labels").label(try call.string(0))
            }
            .adding("value", 1...1) { call throws(TemplateFailure) in try call.sample(0, "Value") }
            .adding("strvalue", 1...1) { call throws(TemplateFailure) in
                try call.sample(0, "Labels").label("__value__")
            }
            .adding("sortByLabel", 2...2) { call throws(TemplateFailure) in
                let name = try call.string(0)
                return .list(
                    try call.list(1).enumerated().map { ($0, $1.label(of: name), $1) }
                        .sorted { $0.1 == $1.1 ? $0.0 < $1.0 : $0.1.isBefore($1.1) }.map(\.2))
            }
            .adding("args", 0...Int.max) { call in
                .fields(Dictionary(uniqueKeysWithValues: call.arguments.enumerated().map { ("arg\($0)", $1) }))
            }
            .adding("tmpl", 2...2) { call throws(TemplateFailure) in
                .string(try call.template(try call.string(0), call.arguments[1]))
            }
            .adding("toTime", 1...1) { call throws(TemplateFailure) in
                let seconds = try call.number(0)
                guard abs(seconds) < 9e12 else {
                    throw TemplateFailure("\(seconds) cannot be represented as a timestamp")
                }
                return .time(Timestamp(seconds: seconds))
            }
            .adding("toDuration", 1...1) { call throws(TemplateFailure) in
                let seconds = try call.number(0)
                guard abs(seconds) < 9e9 else {
                    throw TemplateFailure("\(seconds) cannot be represented as a duration")
                }
                return .duration(Int64((seconds * 1e9).rounded()))
            }
            .adding("now", 0...0) { .double($0.environment.now) }
            .adding("parseDuration", 1...1) { call throws(TemplateFailure) in
                let text = try call.string(0)
                guard let length = DurationText.parse(text) else {
                    throw TemplateFailure("not a valid duration string: \(text.goQuoted)")
                }
                return .double(Double(length) / 1000)
            }
            .adding("graphLink", 1...1) { call throws(TemplateFailure) in
                .string("/graph?g0.expr=\(try call.string(0).queryEscaped)&g0.tab=0")
            }
            .adding("tableLink", 1...1) { call throws(TemplateFailure) in
                .string("/graph?g0.expr=\(try call.string(0).queryEscaped)&g0.tab=1")
            }
            .adding("externalURL", 0...0) { .string($0.environment.externalURL) }
            .adding("pathPrefix", 0...0) { .string(path(of: $0.environment.externalURL)) }
            .adding("stripPort", 1...1) { call throws(TemplateFailure) in .string(splitPort(try call.string(0)).host) }
            .adding("stripDomain", 1...1) { call throws(TemplateFailure) in .string(withoutDomain(try call.string(0))) }
        return functions.adding("urlQueryEscape", 1...1) { call throws(TemplateFailure) in
            .string(try call.string(0).queryEscaped)
        }
    }()

    /// Texts' functions, the same in Prometheus and Alertmanager.
    var addingTexts: TemplateFunctions {
        adding("title", 1...1) { call throws(TemplateFailure) in .string(title(try call.string(0))) }
            .adding("toUpper", 1...1) { call throws(TemplateFailure) in .string(try call.string(0).uppercased()) }
            .adding("toLower", 1...1) { call throws(TemplateFailure) in .string(try call.string(0).lowercased()) }
            .adding("safeHtml", 1...1) { call throws(TemplateFailure) in
                .object(SafeText(try call.string(0), .markup))
            }
            .adding("match", 2...2) { call throws(TemplateFailure) in
                .bool(try search(call).isFound(in: try call.string(1)))
            }
            .adding("reReplaceAll", 3...3) { call throws(TemplateFailure) in
                .string(try search(call).replaceAll(in: try call.string(2), with: try call.string(1)))
            }
    }
}

private func search(_ call: TemplateCall) throws(TemplateFailure) -> SearchPattern {
    let text = try call.string(0)
    do {
        return try SearchPattern(text)
    } catch {
        throw TemplateFailure("error parsing regexp: \(error.reason)")
    }
}

private func query(_ call: TemplateCall) throws(TemplateFailure) -> TemplateValue {
    guard let query = call.environment.query else { throw TemplateFailure("there is nothing to query here") }
    return .list(
        try query(try call.string(0)).map { .fields(["Labels": .labels($0.labels), "Value": .double($0.value)]) })
}

extension TemplateCall {
    fileprivate func sample(_ index: Int, _ field: String) throws(TemplateFailure) -> TemplateValue {
        guard case .map(let sample) = arguments[index].plain, sample.has("Labels"), sample.has("Value") else {
            throw TemplateFailure("wrong type for value; expected *template.sample; got \(arguments[index].typeName)")
        }
        return sample[field]
    }
}

extension TemplateValue {
    fileprivate func label(_ name: String) -> TemplateValue {
        if case .map(let labels) = self { labels[name] } else { .string("") }
    }
    fileprivate func label(of name: String) -> String {
        if case .map(let sample) = plain { sample["Labels"].label(name).text } else { "" }
    }
}

/// Go's `strings.Title`: a capital after anything that is no letter, digit, underscore or quote.
private func title(_ text: String) -> String {
    var result = ""
    var previous: Unicode.Scalar = " "
    for scalar in text.unicodeScalars {
        let inWord =
            previous.properties.isAlphabetic || previous.properties.numericType != nil || previous == "_"
            || (!previous.isASCII ? !previous.properties.isWhitespace : previous == "'")
        result += inWord ? String(scalar) : scalar.properties.titlecaseMapping
        previous = scalar
    }
    return result
}

/// The path of a URL, without a slash at its end.
private func path(of url: String) -> String {
    let afterScheme = url.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false).last ?? ""
    guard let slash = afterScheme.firstIndex(of: "/") else { return "" }
    return String(afterScheme[slash...])
}

/// Host and port as Go's `net.SplitHostPort` has them; the whole text is the host when it has no port.
private func splitPort(_ text: String) -> (host: String, port: String?) {
    guard let colon = text.lastIndex(of: ":") else { return (text, nil) }
    let (host, port) = (text[..<colon], String(text[text.index(after: colon)...]))
    if host.hasPrefix("["), host.hasSuffix("]") { return (String(host.dropFirst().dropLast()), port) }
    return host.contains(":") || host.contains("[") ? (text, nil) : (String(host), port)
}

private func withoutDomain(_ text: String) -> String {
    let (host, port) = splitPort(text)
    let isAddress =
        host.contains(":")
        || (host.split(separator: ".").count == 4 && host.split(separator: ".").allSatisfy { UInt8($0) != nil })
    if isAddress { return text }
    let name = host.split(separator: ".", omittingEmptySubsequences: false).first.map(String.init) ?? host
    return port.map { "\(name):\($0)" } ?? name
}
