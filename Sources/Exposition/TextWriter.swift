public import Model
internal import Basics

/// Writes metrics in Prometheus' text format 0.0.4.
public enum TextWriter {
    /// The content type of what `page` gives.
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// A page of families, each with its HELP and TYPE; families of the same name are written as one, in the order of
    /// names.
    public static func page(_ families: [MetricFamily]) -> [UInt8] {
        var byName: [String: MetricFamily] = [:]
        for family in families {
            byName[family.name, default: MetricFamily(family.kind, family.name, family.help, [])].lines += family.lines
        }
        var output: [UInt8] = []
        for family in byName.values.sorted(by: { $0.name < $1.name }) where !family.lines.isEmpty {
            output += "# HELP \(family.name) \(escape(family.help, quotes: false))\n".utf8
            output += "# TYPE \(family.name) \(family.kind.rawValue)\n".utf8
            for line in family.lines { write(line, of: family.name, to: &output) }
        }
        return output
    }

    private static func write(_ line: MetricFamily.Line, of name: String, to output: inout [UInt8]) {
        output += name.utf8
        output += line.suffix.utf8
        if !line.labels.isEmpty {
            let labels = line.labels.sorted.map { "\($0.name)=\"\(escape($0.value, quotes: true))\"" }
            output += "{\(labels.joined(separator: ","))}".utf8
        }
        output += " \(GoNumber.shortest(line.value))\n".utf8
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
