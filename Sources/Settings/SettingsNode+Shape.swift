extension SettingsNode {
    /// What stands here, for values that may be of any shape.
    public enum Shape: Sendable {
        case null
        case bool(Bool)
        case number(Double)
        case text(String)
        case list([SettingsNode])
        case map([(key: SettingsNode, value: SettingsNode)])
    }

    /// The value by its looks: what is quoted is a text, what is not may be a number, as YAML 1.1 has it.
    ///
    /// - SeeAlso: go-yaml v2, `resolve`.
    public var shape: Shape {
        switch content {
        case .list(let items): return .list(items)
        case .map(let pairs): return .map(pairs.map { (key: $0.key, value: $0.value) })
        case .scalar(let text, let style):
            guard style == .plain else { return .text(text) }
            if isNull { return .null }
            switch text {
            case "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON": return .bool(true)
            case "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF": return .bool(false)
            default: break
            }
            let isNumber = text.utf8.allSatisfy { (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) }
            if isNumber, text.utf8.contains(where: { (0x30...0x39).contains($0) }), let number = Double(text) {
                return .number(number)
            }
            return .text(text)
        }
    }
}
