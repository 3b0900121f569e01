internal import Basics
internal import Model

/// How names beyond `[a-zA-Z_:][a-zA-Z0-9_:]*` are written for who cannot read them; the `escaping` parameter of
/// content types.
///
/// - SeeAlso: prometheus/common, `model/metric.go`, `EscapeName`.
public enum EscapingScheme: String, Sendable, Hashable, CaseIterable {
    case allowUTF8 = "allow-utf-8"
    case underscores, dots, values

    /// The name under this scheme. Only `values` can be undone for every name.
    public func escape(_ name: String) -> String {
        switch self {
        case .allowUTF8: return name
        case .underscores:
            return name.isLegacyMetricName ? name : mapped(name) { $1 ? String($0) : "_" }
        case .dots:
            return mapped(name) { scalar, isLegacy in
                switch scalar {
                case "_": "__"
                case ".": "_dot_"
                default: isLegacy ? String(scalar) : "__"
                }
            }
        case .values:
            if name.isLegacyMetricName { return name }
            return "U__"
                + mapped(name) { scalar, isLegacy in
                    if scalar == "_" { return "__" }
                    return isLegacy ? String(scalar) : "_\(String(scalar.value, radix: 16))_"
                }
        }
    }

    private func mapped(_ name: String, _ write: (Unicode.Scalar, _ isLegacy: Bool) -> String) -> String {
        var result = ""
        for (index, scalar) in name.unicodeScalars.enumerated() {
            let isDigit = ("0"..."9").contains(scalar)
            let isWord = scalar.isASCII && (UInt8(ascii: scalar).isASCIIWord || scalar == ":")
            result += write(scalar, isWord && !(isDigit && index == 0))
        }
        return result
    }
}
