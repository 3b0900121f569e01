internal import Basics

/// Numbers for people, as Prometheus' template functions write them.
///
/// - SeeAlso: Prometheus, `template/template.go` and prometheus/common `helpers/templates`.
public enum Humanize {
    private static let large = ["k", "M", "G", "T", "P", "E", "Z", "Y"]
    private static let small = ["m", "u", "n", "p", "f", "a", "z", "y"]

    /// Go's `%.4g`.
    static func plain(_ value: Double) -> String { GoFormat.number(value, "g", precision: 4) }

    /// `1.235M`, `20m`.
    public static func metric(_ value: Double) -> String {
        guard value != 0, value.isFinite else { return plain(value) }
        let scaled = abs(value) >= 1 ? divided(value, by: 1000, large) : multiplied(value)
        return plain(scaled.value) + scaled.prefix
    }

    /// `1.5Gi`.
    public static func binary(_ value: Double) -> String {
        guard abs(value) > 1, value.isFinite else { return plain(value) }
        let scaled = divided(value, by: 1024, ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
        return plain(scaled.value) + scaled.prefix
    }

    /// Seconds as `1d 2h 3m 4s`, `1.5s`, `20ms`.
    public static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite else { return plain(seconds) }
        guard seconds != 0 else { return "0s" }
        guard abs(seconds) >= 1 else {
            let scaled = multiplied(seconds)
            return plain(scaled.value) + scaled.prefix + "s"
        }
        let sign = seconds < 0 ? "-" : ""
        guard abs(seconds) < 9e18 else { return plain(seconds) + "s" }
        let whole = Int64(abs(seconds))
        let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60)
        let rest = "\(whole % 60)s"
        if days != 0 { return "\(sign)\(days)d \(hours)h \(minutes)m \(rest)" }
        if hours != 0 { return "\(sign)\(hours)h \(minutes)m \(rest)" }
        if minutes != 0 { return "\(sign)\(minutes)m \(rest)" }
        return "\(sign)\(plain(abs(seconds)))s"
    }

    /// A ratio as `12.34%`.
    public static func percentage(_ ratio: Double) -> String { plain(ratio * 100) + "%" }

    /// Seconds since the Unix epoch as `2026-11-20 03:00:00 +0000 UTC`.
    public static func timestamp(_ seconds: Double) -> String {
        guard seconds.isFinite, abs(seconds) < 9e12 else { return plain(seconds) }
        return goText(Timestamp(seconds: seconds))
    }

    private static func divided(_ value: Double, by unit: Double, _ prefixes: [String]) -> (
        value: Double, prefix: String
    ) {
        var (value, prefix) = (value, "")
        for next in prefixes {
            guard abs(value) >= unit else { break }
            prefix = next
            value /= unit
        }
        return (value, prefix)
    }

    private static func multiplied(_ value: Double) -> (value: Double, prefix: String) {
        var (value, prefix) = (value, "")
        for next in small {
            guard abs(value) < 1 else { break }
            prefix = next
            value *= 1000
        }
        return (value, prefix)
    }
}
