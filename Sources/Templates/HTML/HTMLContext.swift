internal import Basics

/// Where in an HTML page a piece of a template stands: what a value there has to be escaped against.
///
/// - SeeAlso: Go, `html/template/context.go`; Samuel, Saxena, Song, "Context-sensitive auto-sanitization in web
///   templating languages using type qualifiers" (2011).
struct HTMLContext: Hashable {
    enum State: String {
        case text = "stateText", tag = "stateTag", attributeName = "stateAttrName", afterName = "stateAfterName"
        case beforeValue = "stateBeforeValue", htmlComment = "stateHTMLCmt", rawText = "stateRCDATA"
        case attribute = "stateAttr", url = "stateURL", sourceSet = "stateSrcset"
        case js = "stateJS", jsDoubleQuoted = "stateJSDqStr", jsSingleQuoted = "stateJSSqStr"
        case jsTemplate = "stateJSTmplLit", jsPattern = "stateJSRegexp"
        case jsBlockComment = "stateJSBlockCmt", jsLineComment = "stateJSLineCmt"
        case css = "stateCSS", cssDoubleQuoted = "stateCSSDqStr", cssSingleQuoted = "stateCSSSqStr"
        case cssDoubleQuotedURL = "stateCSSDqURL", cssSingleQuotedURL = "stateCSSSqURL", cssURL = "stateCSSURL"
        case cssBlockComment = "stateCSSBlockCmt", cssLineComment = "stateCSSLineCmt"

        var isComment: Bool {
            switch self {
            case .htmlComment, .jsBlockComment, .jsLineComment, .cssBlockComment, .cssLineComment: true
            default: false
            }
        }
    }
    enum Delimiter: String {
        case none = "delimNone", doubleQuote = "delimDoubleQuote", singleQuote = "delimSingleQuote"
        case spaceOrTagEnd = "delimSpaceOrTagEnd"

        /// The bytes that end a value with this delimiter.
        var ends: [UInt8] {
            switch self {
            case .none: []
            case .doubleQuote: [UInt8(ascii: "\"")]
            case .singleQuote: [UInt8(ascii: "'")]
            case .spaceOrTagEnd: Array(" \t\n\u{0C}\r>".utf8)
            }
        }
    }
    enum URLPart: String {
        case none = "urlPartNone", beforeQuery = "urlPartPreQuery", query = "urlPartQueryOrFrag"
        case unknown = "urlPartUnknown"
    }
    /// What a slash in a script begins: a pattern, or a division.
    enum Slash: String { case pattern = "jsCtxRegexp", division = "jsCtxDivOp", unknown = "jsCtxUnknown" }
    enum Attribute: String {
        case none = "attrNone", script = "attrScript", scriptType = "attrScriptType", style = "attrStyle"
        case url = "attrURL", sourceSet = "attrSrcset"

        /// Where its value begins.
        var start: State {
            switch self {
            case .none, .scriptType: .attribute
            case .script: .js
            case .style: .css
            case .url: .url
            case .sourceSet: .sourceSet
            }
        }
    }
    enum Element: String {
        case none = "elementNone", script = "elementScript", style = "elementStyle", textarea = "elementTextarea"
        case title = "elementTitle"

        /// What stands inside of it.
        var content: State {
            switch self {
            case .none: .text
            case .script: .js
            case .style: .css
            case .textarea, .title: .rawText
            }
        }
        var name: String {
            switch self {
            case .none: ""
            case .script: "script"
            case .style: "style"
            case .textarea: "textarea"
            case .title: "title"
            }
        }
        init(tag: String) {
            switch tag.lowercased() {
            case "script": self = .script
            case "style": self = .style
            case "textarea": self = .textarea
            case "title": self = .title
            default: self = .none
            }
        }
    }

    var state = State.text
    var delimiter = Delimiter.none
    var urlPart = URLPart.none
    var slash = Slash.pattern
    var attribute = Attribute.none
    var element = Element.none

    /// As Go's messages show it.
    var text: String {
        "{\(state.rawValue) \(delimiter.rawValue) \(urlPart.rawValue) \(slash.rawValue) [] \(attribute.rawValue) "
            + "\(element.rawValue) <nil>}"
    }

    /// The context that a value's own text begins in.
    var nudged: HTMLContext {
        var next = self
        switch state {
        case .tag: next.state = .attributeName
        case .beforeValue: (next.state, next.delimiter, next.attribute) = (attribute.start, .spaceOrTagEnd, .none)
        case .afterName: (next.state, next.attribute) = (.attributeName, .none)
        default: break
        }
        return next
    }

    /// The context after two ways that lead here; nil when they differ in what counts.
    static func joined(_ one: HTMLContext, _ two: HTMLContext) -> HTMLContext? {
        if one == two { return one }
        var both = one
        both.urlPart = two.urlPart
        if both == two {
            both.urlPart = .unknown
            return both
        }
        both = one
        both.slash = two.slash
        if both == two {
            both.slash = .unknown
            return both
        }
        if one.nudged != one || two.nudged != two { return joined(one.nudged, two.nudged) }
        return nil
    }

    // MARK: Through a text

    /// The context behind the first part of a text, and that part's length.
    ///
    /// - SeeAlso: Go, `html/template/escape.go`, `contextAfterText`; `transition.go`.
    func after(_ text: ArraySlice<UInt8>) throws(HTMLMistake) -> (context: HTMLContext, count: Int) {
        guard delimiter != .none else {
            if element != .none, !(element == .script && (isInScriptLiteral || state.isComment)),
                let end = text.tagEnd(element.name)
            {
                if end == text.startIndex { return (HTMLContext(), 0) }
                return try step(text[..<end])
            }
            return try step(text)
        }
        let end = text.firstIndex { delimiter.ends.contains($0) } ?? text.endIndex
        if delimiter == .spaceOrTagEnd, let bad = text[..<end].first(where: { "\"'<=`".utf8.contains($0) }) {
            throw HTMLMistake(
                "\(String(UnicodeScalar(bad)).goQuoted) in unquoted attr: "
                    + String(decoding: text[..<end], as: UTF8.self).goQuoted)
        }
        if end == text.endIndex {
            var context = self
            var rest = HTMLEntities.decoded(text)[...]
            while !rest.isEmpty {
                let (next, count) = try context.step(rest)
                context = next
                rest = rest.dropFirst(count)
            }
            return (context, text.count)
        }
        var next = HTMLContext(state: .tag, element: element)
        if state == .attribute, element == .script, attribute == .scriptType,
            !HTMLContext.isScript(String(decoding: text[..<end], as: UTF8.self))
        {
            next.element = .none
        }
        return (next, end - text.startIndex + (delimiter == .spaceOrTagEnd ? 0 : 1))
    }

    private var isInScriptLiteral: Bool {
        switch state {
        case .jsDoubleQuoted, .jsSingleQuoted, .jsTemplate, .jsPattern: true
        default: false
        }
    }

    private static func isScript(_ type: String) -> Bool {
        let name = type.split(separator: ";").first.map { String($0).lowercased().trimmed } ?? ""
        return [
            "", "application/ecmascript", "application/javascript", "application/json", "application/ld+json",
            "application/x-ecmascript", "application/x-javascript", "module", "text/ecmascript", "text/javascript",
            "text/x-ecmascript", "text/x-javascript",
        ].contains(name)
    }

    private func step(_ text: ArraySlice<UInt8>) throws(HTMLMistake) -> (HTMLContext, Int) {
        let whole = text.count
        switch state {
        case .text: return inText(text)
        case .tag: return try inTag(text)
        case .attributeName:
            let end = try text.attributeNameEnd(from: text.startIndex)
            var next = self
            if end < text.endIndex { next.state = .afterName }
            return (next, end - text.startIndex)
        case .afterName:
            guard let index = text.firstIndex(where: { !$0.isHTMLSpace }) else { return (self, whole) }
            var next = self
            next.state = text[index] == UInt8(ascii: "=") ? .beforeValue : .tag
            return (next, index - text.startIndex + (next.state == .beforeValue ? 1 : 0))
        case .beforeValue:
            guard var index = text.firstIndex(where: { !$0.isHTMLSpace }) else { return (self, whole) }
            var next = self
            next.delimiter = .spaceOrTagEnd
            if text[index] == UInt8(ascii: "\"") { next.delimiter = .doubleQuote }
            if text[index] == UInt8(ascii: "'") { next.delimiter = .singleQuote }
            if next.delimiter != .spaceOrTagEnd { index += 1 }
            next.state = attribute.start
            return (next, index - text.startIndex)
        case .htmlComment:
            guard let end = text.range(of: "-->") else { return (self, whole) }
            return (HTMLContext(), end - text.startIndex + 3)
        case .rawText, .attribute, .sourceSet: return (self, whole)
        case .url: return (inURL(text), whole)
        case .js: return try inScript(text)
        case .jsDoubleQuoted, .jsSingleQuoted, .jsTemplate, .jsPattern: return try inScriptLiteral(text)
        case .jsBlockComment, .cssBlockComment:
            guard let end = text.range(of: "*/") else { return (self, whole) }
            var next = self
            next.state = state == .jsBlockComment ? .js : .css
            return (next, end - text.startIndex + 2)
        case .jsLineComment, .cssLineComment:
            guard let end = text.firstIndex(where: { $0 == 0x0A || $0 == 0x0D }) else { return (self, whole) }
            var next = self
            next.state = state == .jsLineComment ? .js : .css
            return (next, end - text.startIndex)
        case .css: return inStyle(text)
        case .cssDoubleQuoted, .cssSingleQuoted, .cssDoubleQuotedURL, .cssSingleQuotedURL, .cssURL:
            return try inStyleLiteral(text)
        }
    }

    private func inText(_ text: ArraySlice<UInt8>) -> (HTMLContext, Int) {
        var from = text.startIndex
        while let open = text[from...].firstIndex(of: UInt8(ascii: "<")), open + 1 < text.endIndex {
            if text[open...].starts(with: "<!--".utf8) {
                return (HTMLContext(state: .htmlComment), open - text.startIndex + 4)
            }
            var index = open + 1
            let isEnd = text[index] == UInt8(ascii: "/")
            if isEnd {
                guard index + 1 < text.endIndex else { break }
                index += 1
            }
            let end = text.tagNameEnd(from: index)
            if end != index {
                let name = String(decoding: text[index..<end], as: UTF8.self)
                return (HTMLContext(state: .tag, element: isEnd ? .none : Element(tag: name)), end - text.startIndex)
            }
            from = end
        }
        return (self, text.count)
    }

    private func inTag(_ text: ArraySlice<UInt8>) throws(HTMLMistake) -> (HTMLContext, Int) {
        guard let start = text.firstIndex(where: { !$0.isHTMLSpace }) else { return (self, text.count) }
        if text[start] == UInt8(ascii: ">") {
            return (HTMLContext(state: element.content, element: element), start - text.startIndex + 1)
        }
        let end = try text.attributeNameEnd(from: start)
        guard end > start else {
            throw HTMLMistake(
                "expected space, attr name, or end of tag, but got "
                    + String(decoding: text[start...], as: UTF8.self).goQuoted)
        }
        let name = String(decoding: text[start..<end], as: UTF8.self).lowercased()
        var next = HTMLContext(state: end == text.endIndex ? .attributeName : .afterName, element: element)
        if element == .script, name == "type" {
            next.attribute = .scriptType
        } else {
            switch HTMLAttribute(name) {
            case .url: next.attribute = .url
            case .style: next.attribute = .style
            case .script: next.attribute = .script
            case .sourceSet: next.attribute = .sourceSet
            case .plain, .markup, .unsafe: break
            }
        }
        return (next, end - text.startIndex)
    }

    private func inURL(_ text: ArraySlice<UInt8>) -> HTMLContext {
        var next = self
        if text.contains(where: { $0 == UInt8(ascii: "#") || $0 == UInt8(ascii: "?") }) {
            next.urlPart = .query
        } else if urlPart == .none, text.contains(where: { !$0.isHTMLSpace }) {
            next.urlPart = .beforeQuery
        }
        return next
    }

    private func inScript(_ text: ArraySlice<UInt8>) throws(HTMLMistake) -> (HTMLContext, Int) {
        var next = self
        guard let index = text.firstIndex(where: { "\"'`/".utf8.contains($0) }) else {
            next.slash = HTMLContext.slash(after: text, slash)
            return (next, text.count)
        }
        next.slash = HTMLContext.slash(after: text[..<index], slash)
        var count = index - text.startIndex + 1
        switch text[index] {
        case UInt8(ascii: "\""): (next.state, next.slash) = (.jsDoubleQuoted, .pattern)
        case UInt8(ascii: "'"): (next.state, next.slash) = (.jsSingleQuoted, .pattern)
        case UInt8(ascii: "`"): (next.state, next.slash) = (.jsTemplate, .pattern)
        default:
            let following = index + 1 < text.endIndex ? text[index + 1] : 0
            switch (following, next.slash) {
            case (UInt8(ascii: "/"), _):
                next.state = .jsLineComment
                count += 1
            case (UInt8(ascii: "*"), _):
                next.state = .jsBlockComment
                count += 1
            case (_, .pattern): next.state = .jsPattern
            case (_, .division): next.slash = .pattern
            case (_, .unknown):
                throw HTMLMistake(
                    "'/' could start a division or regexp: "
                        + String(decoding: text[index...].prefix(30), as: UTF8.self).goQuoted)
            }
        }
        return (next, count)
    }

    /// What a slash begins behind some script: after a value a division, after an operator or a keyword a pattern.
    private static func slash(after text: ArraySlice<UInt8>, _ before: Slash) -> Slash {
        guard let end = text.lastIndex(where: { !$0.isHTMLSpace }) else { return before }
        let last = text[end]
        switch last {
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            // `++` and `--` end a value, single ones do not.
            let run = text[...end].reversed().prefix { $0 == last }.count
            return run % 2 == 1 ? .pattern : .division
        case UInt8(ascii: "."):
            if end > text.startIndex, (0x30...0x39).contains(text[end - 1]) { return .division }
            return .pattern
        case _ where ",<>=*%&|^?!~([:;{}".utf8.contains(last): return .pattern
        default: break
        }
        let word = text[...end].reversed().prefix { $0.isWordByte }
        let keywords = [
            "break", "case", "continue", "delete", "do", "else", "finally", "in", "instanceof", "return", "throw",
            "try", "typeof", "void",
        ]
        return keywords.contains(String(decoding: word.reversed(), as: UTF8.self)) ? .pattern : .division
    }

    private func inScriptLiteral(_ text: ArraySlice<UInt8>) throws(HTMLMistake) -> (HTMLContext, Int) {
        let end: UInt8 =
            switch state {
            case .jsDoubleQuoted: UInt8(ascii: "\"")
            case .jsSingleQuoted: UInt8(ascii: "'")
            case .jsTemplate: UInt8(ascii: "`")
            default: UInt8(ascii: "/")
            }
        var isInSet = false
        var index = text.startIndex
        while index < text.endIndex {
            switch text[index] {
            case UInt8(ascii: "\\"):
                index += 1
                if index == text.endIndex {
                    throw HTMLMistake(
                        "unfinished escape sequence in JS string: "
                            + String(decoding: text, as: UTF8.self).goQuoted)
                }
            case UInt8(ascii: "[") where state == .jsPattern: isInSet = true
            case UInt8(ascii: "]") where state == .jsPattern: isInSet = false
            case end where !isInSet:
                var next = self
                (next.state, next.slash) = (.js, .division)
                return (next, index - text.startIndex + 1)
            default: break
            }
            index += 1
        }
        if isInSet {
            throw HTMLMistake("unfinished JS regexp charset: " + String(decoding: text, as: UTF8.self).goQuoted)
        }
        return (self, text.count)
    }

    private func inStyle(_ text: ArraySlice<UInt8>) -> (HTMLContext, Int) {
        var next = self
        var index = text.startIndex
        while index < text.endIndex {
            let count = index - text.startIndex + 1
            switch text[index] {
            case UInt8(ascii: "("):
                let before = text[..<index].reversed().drop { $0.isHTMLSpace }
                guard String(decoding: before.prefix(3).reversed(), as: UTF8.self).lowercased() == "url" else { break }
                var start = index + 1
                while start < text.endIndex, text[start].isHTMLSpace { start += 1 }
                next.state = .cssURL
                if start < text.endIndex, text[start] == UInt8(ascii: "\"") {
                    (next.state, start) = (.cssDoubleQuotedURL, start + 1)
                } else if start < text.endIndex, text[start] == UInt8(ascii: "'") {
                    (next.state, start) = (.cssSingleQuotedURL, start + 1)
                }
                return (next, start - text.startIndex)
            case UInt8(ascii: "/") where index + 1 < text.endIndex:
                if text[index + 1] == UInt8(ascii: "/") {
                    next.state = .cssLineComment
                    return (next, count + 1)
                }
                if text[index + 1] == UInt8(ascii: "*") {
                    next.state = .cssBlockComment
                    return (next, count + 1)
                }
            case UInt8(ascii: "\""):
                next.state = .cssDoubleQuoted
                return (next, count)
            case UInt8(ascii: "'"):
                next.state = .cssSingleQuoted
                return (next, count)
            default: break
            }
            index += 1
        }
        return (self, text.count)
    }

    private func inStyleLiteral(_ text: ArraySlice<UInt8>) throws(HTMLMistake) -> (HTMLContext, Int) {
        let ends: [UInt8] =
            switch state {
            case .cssDoubleQuoted, .cssDoubleQuotedURL: Array("\"".utf8)
            case .cssSingleQuoted, .cssSingleQuotedURL: Array("'".utf8)
            default: Array("\t\n\u{0C}\r )".utf8)
            }
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] == UInt8(ascii: "\\") {
                index += 1
                if index == text.endIndex {
                    throw HTMLMistake(
                        "unfinished escape sequence in CSS string: "
                            + String(decoding: text, as: UTF8.self).goQuoted)
                }
            } else if ends.contains(text[index]) {
                var next = self
                next.state = .css
                return (next, index - text.startIndex + 1)
            }
            index += 1
        }
        return (inURL(text), text.count)
    }
}

/// Why a template cannot be escaped; the place is added by who walks it.
struct HTMLMistake: Error {
    var message: String
    init(_ message: String) { self.message = message }
}

/// What kind of value an attribute takes.
///
/// - SeeAlso: Go, `html/template/attr.go`.
enum HTMLAttribute {
    case plain, url, style, script, sourceSet, markup, unsafe

    private static let known: [String: HTMLAttribute] = {
        var known: [String: HTMLAttribute] = ["style": .style, "srcset": .sourceSet, "srcdoc": .markup]
        for name in [
            "action", "archive", "background", "cite", "classid", "codebase", "data", "formaction", "href", "icon",
            "longdesc", "manifest", "poster", "profile", "src", "usemap", "xmlns",
        ] { known[name] = .url }
        for name in [
            "accept-charset", "async", "challenge", "charset", "content", "crossorigin", "defer", "enctype", "form",
            "formenctype", "formmethod", "formnovalidate", "http-equiv", "keytype", "language", "method", "novalidate",
            "pattern", "rel", "sandbox", "type", "value",
        ] { known[name] = .unsafe }
        return known
    }()

    init(_ name: String) {
        var name = name
        if name.hasPrefix("data-") {
            name.removeFirst(5)
        } else if let colon = name.firstIndex(of: ":") {
            if name[..<colon] == "xmlns" {
                self = .url
                return
            }
            name = String(name[name.index(after: colon)...])
        }
        if let kind = HTMLAttribute.known[name] {
            self = kind
        } else if name.hasPrefix("on") {
            self = .script
        } else if ["src", "uri", "url"].contains(where: name.contains) {
            self = .url
        } else {
            self = .plain
        }
    }
}

extension UInt8 {
    var isHTMLSpace: Bool { self == 0x20 || (0x09...0x0D).contains(self) && self != 0x0B }
    fileprivate var isLetter: Bool { (0x41...0x5A).contains(self & 0xDF) }
    fileprivate var isWordByte: Bool { isLetter || (0x30...0x39).contains(self) || self == 0x5F || self == 0x24 }
}

extension ArraySlice<UInt8> {
    /// Where a text begins in it.
    func range(of text: String) -> Int? {
        let wanted = Array(text.utf8)
        guard count >= wanted.count else { return nil }
        return (startIndex...endIndex - wanted.count).first { self[$0...].starts(with: wanted) }
    }

    /// Where `</name` with something behind it that ends the name begins.
    fileprivate func tagEnd(_ name: String) -> Int? {
        let wanted = Array("</\(name)".utf8)
        var index = startIndex
        while index + wanted.count < endIndex {
            let isName = zip(self[index...], wanted).allSatisfy { $0 == $1 || ($0 | 0x20) == $1 }
            let next = self[index + wanted.count]
            if isName, next.isHTMLSpace || next == UInt8(ascii: ">") || next == UInt8(ascii: "/") { return index }
            index += 1
        }
        return nil
    }

    fileprivate func tagNameEnd(from start: Int) -> Int {
        guard start < endIndex, self[start].isLetter else { return start }
        var index = start + 1
        while index < endIndex {
            if self[index].isLetter || (0x30...0x39).contains(self[index]) {
                index += 1
            } else if self[index] == UInt8(ascii: ":") || self[index] == UInt8(ascii: "-"), index + 1 < endIndex,
                self[index + 1].isLetter || (0x30...0x39).contains(self[index + 1])
            {
                index += 2
            } else {
                break
            }
        }
        return index
    }

    fileprivate func attributeNameEnd(from start: Int) throws(HTMLMistake) -> Int {
        for index in start..<endIndex {
            switch self[index] {
            case 0x20, 0x09, 0x0A, 0x0C, 0x0D, UInt8(ascii: "="), UInt8(ascii: ">"): return index
            case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "<"):
                throw HTMLMistake(
                    "\(String(UnicodeScalar(self[index])).goQuoted) in attribute name: "
                        + String(decoding: self[start...], as: UTF8.self).goQuoted)
            default: break
            }
        }
        return endIndex
    }
}
