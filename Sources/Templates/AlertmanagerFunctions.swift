internal import Basics

extension TemplateFunctions {
    /// The functions of Alertmanager's notification templates; `date`, `tz`, `toDate` and `routeLabels` are not offered
    /// yet.
    ///
    /// - SeeAlso: Alertmanager, `template/template.go`, `DefaultFuncs`.
    public static let alertmanager: TemplateFunctions = {
        let functions = builtins.addingTexts
        return functions.adding("trimSpace", 1...1) { call throws(TemplateFailure) in
            .string(try call.string(0).trimmed)
        }
        .adding("join", 2...2) { call throws(TemplateFailure) in
            .string(try call.list(1).map(\.text).joined(separator: try call.string(0)))
        }
        .adding("stringSlice", 0...Int.max) { .list($0.arguments) }
        .adding("list", 0...Int.max) { .list($0.arguments) }
        .adding("append", 1...Int.max) { call throws(TemplateFailure) in
            .list(try call.list(0) + call.arguments.dropFirst())
        }
        .adding("dict", 0...Int.max) { call throws(TemplateFailure) in
            guard call.arguments.count % 2 == 0 else { throw TemplateFailure("dict requires even number of arguments") }
            var entries: [String: TemplateValue] = [:]
            for index in stride(from: 0, to: call.arguments.count, by: 2) {
                entries[try call.string(index)] = call.arguments[index + 1]
            }
            return .fields(entries)
        }
        .adding("safeUrl", 1...1) { call throws(TemplateFailure) in .object(SafeText(try call.string(0), .url)) }
        .adding("urlUnescape", 1...1) { call throws(TemplateFailure) in
            .string(try unescapedQuery(try call.string(0)))
        }
        .adding("humanizeDuration", 1...1) { call throws(TemplateFailure) in
            .string(Humanize.duration(try call.number(0)))
        }
        .adding("now", 0...0) { .time(Timestamp(seconds: $0.environment.now)) }
        .adding("since", 1...1) { call throws(TemplateFailure) in
            guard case .time(let moment) = call.arguments[0].plain else {
                throw TemplateFailure("wrong type for value; expected time.Time; got \(call.arguments[0].typeName)")
            }
            return .duration((Timestamp(seconds: call.environment.now) - moment) * 1_000_000)
        }
        .adding("toJson", 1...1) { .string($0.arguments[0].json.text) }
    }()
}

private func unescapedQuery(_ text: String) throws(TemplateFailure) -> String {
    let bytes = Array(text.utf8)
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
        if bytes[index] == UInt8(ascii: "%") {
            guard index + 2 < bytes.count,
                let byte = UInt8(String(decoding: bytes[index + 1...index + 2], as: UTF8.self), radix: 16)
            else {
                let bad = String(decoding: bytes[index..<min(index + 3, bytes.count)], as: UTF8.self)
                throw TemplateFailure("invalid URL escape \(bad.goQuoted)")
            }
            result.append(byte)
            index += 3
        } else {
            result.append(bytes[index] == UInt8(ascii: "+") ? 0x20 : bytes[index])
            index += 1
        }
    }
    return String(decoding: result, as: UTF8.self)
}

extension TemplateValue {
    /// As Go's `encoding/json` writes it, before its escapes.
    var json: JSON {
        switch plain {
        case .null, .object: .null
        case .bool(let value): .bool(value)
        case .int(let value): .number(Double(value))
        case .double(let value): .number(value)
        case .string(let text): .string(text)
        case .list(let items): .array(items.map(\.json))
        case .map(let map): .object(map.entries.map { JSON.Member($0.key, $0.value.json) })
        case .time(let moment): .string(moment.rfc3339(trimmed: true))
        case .duration(let length): .number(Double(length))
        }
    }
}
