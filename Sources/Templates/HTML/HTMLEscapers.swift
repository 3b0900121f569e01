internal import Basics

/// The functions that an HTML template's values go through, by the context that they stand in.
///
/// - SeeAlso: Go, `html/template/html.go`, `url.go`, `js.go`, `css.go`.
enum HTMLEscapers {
    /// Stands for what would not be safe where it stands.
    static let failsafe = "ZgotmplZ"

    static let table: [String: TemplateFunctions.Function] = {
        typealias Escape = @Sendable (SafeText) -> String
        let texts: [String: Escape] = [
            "_html_text": { $0.isSafe(.markup) ? $0.text : replaced($0.text, html) },
            "_html_rawtext": { replaced($0.text, $0.isSafe(.markup) ? htmlKept : html) },
            "_html_attribute": { value in
                value.isSafe(.markup) ? replaced(withoutTags(value.text), htmlKept) : replaced(value.text, html)
            },
            "_html_unquoted": { value in
                if value.text.isEmpty { return failsafe }
                return value.isSafe(.markup)
                    ? replaced(withoutTags(value.text), unquoted.filter { $0.key != "&" })
                    : replaced(value.text, unquoted)
            },
            "_html_attribute_name": attributeName,
            "_html_comment": { _ in "" },
            "_url_filter": { $0.isSafe(.url) || isSafeURL($0.text) ? $0.text : "#" + failsafe },
            "_url_normalize": { url($0.text, isKept: true) },
            "_url_escape": { url($0.text, isKept: $0.isSafe(.url)) },
            "_source_set": sourceSet,
            "_js_string": { replaced($0.text, js) },
            "_js_template": { replaced($0.text, js.merging(jsTemplate) { $1 }) },
            "_js_pattern": { value in
                value.text.isEmpty ? "(?:)" : replaced(value.text, js.merging(jsPattern) { $1 })
            },
            "_css_string": { css($0.text) },
            "_css_value": cssValue,
        ]
        var table = texts.mapValues { escape in
            TemplateFunctions.Function(arity: 0...Int.max) { call in .string(escape(SafeText(call.arguments))) }
        }
        table["_js_value"] = TemplateFunctions.Function(arity: 0...Int.max) { call in
            .string(jsValue(call.arguments))
        }
        return table
    }()

    /// Go's own escapers at the end of a pipeline, and those of ours that they make needless.
    static let equals: [String: Set<String>] = [
        "html": ["_html_attribute", "_html_text", "_html_rawtext"], "urlquery": ["_url_escape", "_url_normalize"],
    ]

    private static func replaced(_ text: String, _ table: [Unicode.Scalar: String]) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if let replacement = table[scalar] { result += replacement } else { result.unicodeScalars.append(scalar) }
        }
        return result
    }

    // MARK: HTML

    private static let html: [Unicode.Scalar: String] = [
        "\0": "\u{FFFD}", "\"": "&#34;", "&": "&amp;", "'": "&#39;", "+": "&#43;", "<": "&lt;", ">": "&gt;",
    ]
    /// Entities stay what they are.
    private static let htmlKept = html.filter { $0.key != "&" }
    private static let unquoted: [Unicode.Scalar: String] = html.merging([
        "\t": "&#9;", "\n": "&#10;", "\u{0B}": "&#11;", "\u{0C}": "&#12;", "\r": "&#13;", " ": "&#32;", "=": "&#61;",
        "`": "&#96;",
    ]) { $1 }

    private static func attributeName(_ value: SafeText) -> String {
        let name = value.text.lowercased()
        let isPlain = name.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) }
        guard !name.isEmpty, isPlain, case .plain = HTMLAttribute(name) else { return failsafe }
        return name
    }

    /// Markup without its tags: what an attribute can hold of it.
    private static func withoutTags(_ markup: String) -> String {
        var result = ""
        var isInTag = false
        for character in markup {
            if character == "<" { isInTag = true }
            if !isInTag { result.append(character) }
            if character == ">" { isInTag = false }
        }
        return result
    }

    // MARK: URLs

    private static func isSafeURL(_ text: String) -> Bool {
        guard let colon = text.firstIndex(of: ":"), !text[..<colon].contains("/") else { return true }
        return ["http", "https", "mailto"].contains(text[..<colon].lowercased())
    }

    /// Percent-encoded; with `isKept` what may stand in a URL stays, and what is encoded already.
    private static func url(_ text: String, isKept: Bool) -> String {
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            let isUnreserved =
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) && byte < 0x80
                || "-._~".utf8.contains(byte)
            let isEncoded =
                byte == UInt8(ascii: "%") && index + 2 < bytes.count && bytes[index + 1].isHexadecimal
                && bytes[index + 2].isHexadecimal
            if isUnreserved || isKept && (isEncoded || "!#$&*+,/:;=?@[]".utf8.contains(byte)) {
                result.append(byte)
            } else {
                result += "%\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    private static func sourceSet(_ value: SafeText) -> String {
        if value.isSafe(.url) { return url(value.text, isKept: true).replacing(",", with: "%2c") }
        return value.text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            let words = part.split { $0.isWhitespace }
            guard let address = words.first.map(String.init), isSafeURL(address), words.count <= 2,
                words.dropFirst().allSatisfy({ $0.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) } })
            else { return "#" + failsafe }
            return ([url(address, isKept: true)] + words.dropFirst().map(String.init)).joined(separator: " ")
        }.joined(separator: ",")
    }

    // MARK: Scripts

    private static let js: [Unicode.Scalar: String] = {
        var table: [Unicode.Scalar: String] = [
            "\t": "\\t", "\n": "\\n", "\u{0C}": "\\f", "\r": "\\r", "/": "\\/", "\\": "\\\\",
        ]
        for scalar in "\0\u{0B}\"`&'+<>\u{2028}\u{2029}".unicodeScalars {
            table[scalar] = "\\u" + hexadecimal(scalar.value, digits: 4, uppercase: false)
        }
        return table
    }()
    private static let jsTemplate: [Unicode.Scalar: String] = ["$": "\\u0024", "{": "\\u007b", "}": "\\u007d"]
    private static let jsPattern: [Unicode.Scalar: String] = [
        "$": "\\$", "(": "\\(", ")": "\\)", "*": "\\*", "-": "\\-", ".": "\\.", "?": "\\?", "[": "\\[", "]": "\\]",
        "^": "\\^", "{": "\\{", "|": "\\|", "}": "\\}",
    ]

    /// As JSON that a script can hold.
    private static func jsValue(_ values: [TemplateValue]) -> String {
        let value: TemplateValue =
            values.count == 1
            ? values[0] : .string(sprint(values.filter { if case .null = $0 { false } else { true } }))
        let text = value.goJSON
        let isWord = [text.first, text.last].contains { $0.map { $0.isLetter || $0.isNumber || $0 == "_" } ?? false }
        return isWord ? " \(text) " : text
    }

    // MARK: Styles

    private static func css(_ text: String) -> String {
        var result = ""
        let scalars = Array(text.unicodeScalars)
        for (index, scalar) in scalars.enumerated() {
            guard "\0\t\n\u{0C}\r\"&'()+/:;<>\\{}".unicodeScalars.contains(scalar) else {
                result.unicodeScalars.append(scalar)
                continue
            }
            result += scalar == "\\" ? "\\\\" : "\\" + String(scalar.value, radix: 16)
            // A space ends the number where what follows could go on with it.
            let next = index + 1 < scalars.count ? scalars[index + 1] : nil
            if scalar != "\\", next.map({ $0.properties.isASCIIHexDigit || $0 == " " || $0 == "\t" }) ?? false {
                result += " "
            }
        }
        return result
    }

    private static func cssValue(_ value: SafeText) -> String {
        if value.isSafe(.style) { return value.text }
        let bytes = Array(value.text.utf8)
        var word: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if byte == 0 || "\"'()/;@[\\]`{}<>".utf8.contains(byte) { return failsafe }
            if byte == UInt8(ascii: "-") {
                if index > 0, bytes[index - 1] == byte { return failsafe }
            } else if byte < 0x80,
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte & 0xDF) || byte == UInt8(ascii: "_")
            {
                word.append(byte)
            }
        }
        let name = String(decoding: word, as: UTF8.self).lowercased()
        return name.contains("expression") || name.contains("mozbinding") ? failsafe : value.text
    }
}

/// A text that its author vouches for, from `safeHtml` and the like; to all else a text.
struct SafeText: TemplateObject {
    enum Kind { case none, markup, url, style }
    var text: String
    var kind: Kind

    init(_ text: String, _ kind: Kind) { (self.text, self.kind) = (text, kind) }

    /// What escapers make of their arguments: of a nil nothing.
    init(_ values: [TemplateValue]) {
        if values.count == 1, case .object(let object) = values[0], let safe = object as? SafeText {
            self = safe
        } else {
            self.init(sprint(values.filter { if case .null = $0.plain { false } else { true } }), .none)
        }
    }

    func isSafe(_ kind: Kind) -> Bool { self.kind == kind }
    var plain: TemplateValue { .string(text) }
    func member(_ name: String, _ arguments: [TemplateValue]) -> TemplateValue? { nil }
}

/// Entities in attributes' values, which the rules for scripts, styles and URLs do not know.
enum HTMLEntities {
    static func decoded(_ text: ArraySlice<UInt8>) -> [UInt8] {
        guard text.contains(UInt8(ascii: "&")) else { return Array(text) }
        var result: [UInt8] = []
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] == UInt8(ascii: "&"),
                let end = text[index...].prefix(12).firstIndex(of: UInt8(ascii: ";")),
                let scalar = scalar(String(decoding: text[index + 1..<end], as: UTF8.self))
            {
                result += String(scalar).utf8
                index = end + 1
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }

    private static func scalar(_ name: String) -> Character? {
        let named: [String: Character] = [
            "quot": "\"", "amp": "&", "lt": "<", "gt": ">", "apos": "'", "nbsp": "\u{A0}",
        ]
        if let character = named[name] { return character }
        guard name.hasPrefix("#") else { return nil }
        let digits = name.dropFirst()
        let number =
            digits.lowercased().hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits, radix: 10)
        return number.flatMap(Unicode.Scalar.init).map(Character.init)
    }
}

extension UInt8 {
    fileprivate var isHexadecimal: Bool { (0x30...0x39).contains(self) || (0x61...0x66).contains(self | 0x20) }
}
