internal import Basics
public import Model
public import Settings

extension RelabelRule {
    /// Reads the rules under a key such as `relabel_configs`. With `isLegacy` target labels keep to
    /// `[a-zA-Z_][a-zA-Z0-9_]*`.
    public static func read(
        _ key: String, from map: SettingsMap, isLegacy: Bool = false
    ) throws(SettingsError) -> [RelabelRule] {
        var rules: [RelabelRule] = []
        for item in try map.takeList(key) {
            guard !item.isNull else {
                throw item.error("\(key): an empty relabelling rule; remove it or give it an action")
            }
            rules.append(try RelabelRule(from: try item.map(), isLegacy: isLegacy))
        }
        return rules
    }

    /// Reads one rule.
    public init(from map: SettingsMap, isLegacy: Bool = false) throws(SettingsError) {
        if map.keys.contains("action"), !map.has("action") {
            throw map.error("action", "it is empty; leave it out for replace, or name an action")
        }
        let name = try map.take("action", default: "replace")
        guard let action = Action(rawValue: name.lowercased()) else {
            let known = Action.allCases.map(\.rawValue)
            let near = name.lowercased().nearest(among: known).map { "did you mean '\($0)'?" }
            throw map.error("action", "'\(name)' is no action; \(near ?? "write \(known.joined(separator: ", "))")")
        }
        let pattern: Pattern
        if map.keys.contains("regex") {
            // `regex:` without a value matches the empty text alone, as in Prometheus.
            let text = try map.take("regex", default: "")
            do throws(PatternError) {
                pattern = text == RelabelRule.anything.text ? RelabelRule.anything : try Pattern(text)
            } catch {
                throw map.error("regex", "\(error.reason); mend the expression (RE2's syntax)")
            }
        } else {
            pattern = RelabelRule.anything
        }
        let modulus = try map.take("modulus", default: 0)
        guard modulus >= 0 else { throw map.error("modulus", "must not be negative") }
        if action == .hashmod, modulus == 0 { throw map.error("modulus", "hashmod needs one above 0; give the number") }
        self.init(
            action, sourceLabels: try map.take("source_labels", default: []),
            separator: map.keys.contains("separator") ? try map.take("separator", default: "") : ";", regex: pattern,
            modulus: UInt64(modulus), targetLabel: try map.take("target_label", default: ""),
            replacement: map.keys.contains("replacement") ? try map.take("replacement", default: "") : "$1")
        self.isLegacy = isLegacy
        try map.finish()
        try check(map)
    }

    private static let alone: [Action: (allowed: Set<String>, text: String)] = [
        .labeldrop: (["action", "regex"], "regex"), .labelkeep: (["action", "regex"], "regex"),
        .keepequal: (["action", "source_labels", "target_label"], "source_labels and target_label"),
        .dropequal: (["action", "source_labels", "target_label"], "source_labels and target_label"),
    ]

    private func check(_ map: SettingsMap) throws(SettingsError) {
        for name in sourceLabels where name.isEmpty || (isLegacy && !name.isLegacyLabelName) {
            throw map.error("source_labels", "'\(name)' is no label's name")
        }
        switch action {
        case .replace, .hashmod, .lowercase, .uppercase, .keepequal, .dropequal:
            guard !targetLabel.isEmpty else { throw map.error("target_label is missing; \(action) needs one") }
        case .keep, .drop, .labelmap, .labeldrop, .labelkeep: break
        }
        if let alone = RelabelRule.alone[action] {
            for key in map.keys where !alone.allowed.contains(key) && map.has(key) {
                throw map.error(key, "\(action) takes \(alone.text) and nothing else; remove it")
            }
        }
        if action == .lowercase || action == .uppercase, replacement != "$1" {
            throw map.error("replacement", "\(action) takes none; remove it")
        }
        if isLegacy {
            let target = action == .labelmap ? replacement : targetLabel
            let key = action == .labelmap ? "replacement" : "target_label"
            let isTemplate = action == .labelmap || action == .replace
            guard target.isEmpty || (isTemplate ? target.isLabelTemplate : target.isLegacyLabelName) else {
                throw map.error(key, "'\(target)' is no label's name; write letters, digits and '_'")
            }
        }
    }
}

extension String {
    /// A label's name in which groups such as `$1` and `${name}` may stand.
    fileprivate var isLabelTemplate: Bool {
        guard let pattern = try? Pattern(#"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+"#) else { return false }
        return pattern.matches(self)
    }
}
