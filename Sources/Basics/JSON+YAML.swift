extension JSON {
    /// The same as YAML in block style, keys in their order; empty lists and objects stand as `[]` and `{}`.
    public var yaml: String {
        var text = ""
        writeYAML(to: &text, indent: "", isItem: false)
        return text
    }

    private func writeYAML(to text: inout String, indent: String, isItem: Bool) {
        switch self {
        case .object(let members) where !members.isEmpty:
            for (place, member) in members.enumerated() {
                if !isItem || place > 0 { text += indent }
                text += JSON.yamlText(member.name) + ":"
                member.value.writeYAMLValue(to: &text, indent: indent)
            }
        case .array(let items) where !items.isEmpty:
            for (place, item) in items.enumerated() {
                if !isItem || place > 0 { text += indent }
                text += "- "
                item.writeYAML(to: &text, indent: indent + "  ", isItem: true)
            }
        default: text += yamlScalar + "\n"
        }
    }

    private func writeYAMLValue(to text: inout String, indent: String) {
        switch self {
        case .object(let members) where !members.isEmpty:
            text += "\n"
            writeYAML(to: &text, indent: indent + "  ", isItem: false)
        case .array(let items) where !items.isEmpty:
            text += "\n"
            writeYAML(to: &text, indent: indent, isItem: false)
        default: text += " " + yamlScalar + "\n"
        }
    }

    private var yamlScalar: String {
        switch self {
        case .string(let text): JSON.yamlText(text)
        case .array: "[]"
        case .object: "{}"
        default: String(decoding: serialized(), as: UTF8.self)
        }
    }

    /// Plain where nothing in it could mean something else, in double quotes as JSON has them otherwise.
    private static func yamlText(_ text: String) -> String {
        let isWord = { (scalar: Unicode.Scalar) in
            ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar)
                || "_-./<>".unicodeScalars.contains(scalar)
        }
        let first = text.unicodeScalars.first
        let isPlain =
            !text.isEmpty && text.unicodeScalars.allSatisfy(isWord)
            && (first.map { ("a"..."z").contains($0) || ("A"..."Z").contains($0) || $0 == "_" || $0 == "/" } ?? false)
            && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(text.lowercased())
        let isSecret = text == "<secret>"
        return isPlain || isSecret ? text : String(decoding: JSON.string(text).serialized(), as: UTF8.self)
    }
}
