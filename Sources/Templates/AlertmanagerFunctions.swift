internal import Basics

extension TemplateFunctions {
    /// The functions of Alertmanager's notification templates.
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
            .duration((Timestamp(seconds: call.environment.now) - (try call.time(0)).moment) * 1_000_000)
        }
        .adding("date", 2...2) { call throws(TemplateFailure) in
            .string(GoTime.format(try call.time(1), try call.string(0)))
        }
        .adding("tz", 2...2) { call throws(TemplateFailure) in
            let name = try call.string(0)
            var time = try call.time(1)
            guard let zone = name == "UTC" || name.isEmpty ? .utc : call.environment.zone(name) else {
                throw TemplateFailure("unknown time zone \(name)")
            }
            (time.offset, time.zone) = (zone.offset(at: time.moment), zone.abbreviation(at: time.moment))
            return .object(time)
        }
        .adding("toDate", 2...2) { call throws(TemplateFailure) in
            // Go's zero time for what cannot be read; `mustToDate` tells.
            .object(
                (try? GoTime.parse(try call.string(1), try call.string(0))) ?? ZonedTime(moment: .goZero))
        }
        .adding("mustToDate", 2...2) { call throws(TemplateFailure) in
            .object(try GoTime.parse(try call.string(1), try call.string(0)))
        }
        .adding("base64encode", 1...1) { call throws(TemplateFailure) in
            .string(
                base64(Array(try call.string(0).utf8)).replacing("+", with: "-").replacing("/", with: "_"))
        }
        .adding("base64decode", 1...1) { call throws(TemplateFailure) in
            guard let bytes = base64Decoded(try call.string(0)) else {
                throw TemplateFailure("illegal base64 data at input byte 0")
            }
            return .string(String(decoding: bytes, as: UTF8.self))
        }
        .adding("routeLabels", 1...1) { call throws(TemplateFailure) in
            .string(try call.environment.routeLabel(try call.string(0)))
        }
        .adding("toJson", 1...1) { .string($0.arguments[0].goJSON) }
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
    /// As Go's `encoding/json` writes it: safe in a page's script.
    var goJSON: String {
        var text = ""
        for scalar in json.text.unicodeScalars {
            switch scalar {
            case "<", ">", "&", "\u{2028}", "\u{2029}":
                text += "\\u" + hexadecimal(scalar.value, digits: 4, uppercase: false)
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    var json: JSON {
        if case .object(let object) = self { return object.json }
        return switch plain {
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
