internal import Basics
internal import Model

/// The customs of naming, by family.
enum MetricsLint {
    private static let bases: [String: String] = [
        "minutes": "seconds", "hours": "seconds", "days": "seconds", "weeks": "seconds", "kelvins": "kelvin",
        "fahrenheit": "celsius", "rankine": "celsius", "inches": "meters", "yards": "meters", "miles": "meters",
        "bits": "bytes", "calories": "joules", "pounds": "grams", "ounces": "grams",
    ]
    private static let units: Set<String> = [
        "amperes", "bytes", "celsius", "grams", "joules", "kelvin", "meters", "metres", "moles", "seconds", "volts",
    ]
    private static let prefixes = [
        "pico", "nano", "micro", "milli", "centi", "deci", "deca", "hecto", "kilo", "kibi", "mega", "mebi", "giga",
        "gibi", "tera", "tebi", "peta", "pebi",
    ]
    private static let abbreviations = [
        "s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d",
    ]

    static func problems(_ family: CheckedFamily) -> [ExpositionError] {
        var found: [String] = []
        if family.help?.isEmpty ?? true { found.append("no help text; add a HELP line") }
        found += suffixes(family) + name(family) + unit(family)
        return found.map { ExpositionError(line: family.line, column: 1, message: "\(family.name): \($0)") }
    }

    private static func suffixes(_ family: CheckedFamily) -> [String] {
        guard let type = family.type, type != .unknown else { return [] }
        let name = family.name
        var found: [String] = []
        if type == .counter {
            if family.format == .text, !name.hasSuffix("_total") { found.append("a counter's name ends in _total") }
        } else if name.hasSuffix("_total") {
            found.append("only a counter's name ends in _total")
        }
        let isHistogram = type == .histogram || type == .gaugehistogram
        if !isHistogram {
            if name.hasSuffix("_bucket") { found.append("only a histogram's name ends in _bucket") }
            if family.labelNames.contains("le") { found.append("only a histogram has the label le") }
        }
        if !isHistogram, type != .summary {
            for suffix in ["_count", "_sum"] where name.hasSuffix(suffix) {
                found.append("only a histogram's or a summary's name ends in \(suffix)")
            }
        }
        if type != .summary, family.labelNames.contains("quantile") {
            found.append("only a summary has the label quantile")
        }
        return found
    }

    private static func name(_ family: CheckedFamily) -> [String] {
        var found: [String] = []
        let words = family.name.lowercased().split(separator: "_").map(String.init)
        if let type = family.type, type != .unknown, words.contains(type.rawValue) {
            found.append("a name does not tell the type, '\(type.rawValue)'")
        }
        if family.name.contains(":") { found.append("':' is kept for recording rules") }
        let isCamel = { (name: String) in
            zip(name.utf8, name.utf8.dropFirst()).contains {
                (0x61...0x7A).contains($0) && (0x41...0x5A).contains($1)
            }
        }
        if isCamel(family.name) { found.append("write the name in snake_case") }
        for label in family.labelNames.sorted() where isCamel(label) {
            found.append("write the label '\(label)' in snake_case")
        }
        return found
    }

    private static func unit(_ family: CheckedFamily) -> [String] {
        let words = family.name.lowercased().split(separator: "_").map(String.init)
        for (index, word) in words.enumerated() {
            if index > 0, abbreviations.contains(word) { return ["write the unit '\(word)' out"] }
            if units.contains(word) { continue }
            if let base = bases[word] { return ["use the base unit \(base) in place of \(word)"] }
            for prefix in prefixes where word.hasPrefix(prefix) {
                let rest = String(word.dropFirst(prefix.count))
                if units.contains(rest) || bases[rest] != nil {
                    return ["use the base unit \(bases[rest] ?? rest) in place of \(word)"]
                }
            }
        }
        return []
    }
}
