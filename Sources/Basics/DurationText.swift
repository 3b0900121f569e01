/// Prometheus' text form of durations: `1h30m`, `15s`, `0`.
///
/// - SeeAlso: prometheus/common, `model/time.go`, `ParseDuration`.
public enum DurationText {
    private static let units: [(name: String, length: Milliseconds)] = [
        ("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000),
        ("s", 1000), ("ms", 1),
    ]

    /// Milliseconds of a text such as `1h30m`: units in falling order, each at most once; nil when it is not that.
    public static func parse(_ text: String) -> Milliseconds? {
        if text == "0" { return 0 }
        let bytes = Array(text.utf8)
        var index = 0
        var unit = 0
        var total: Milliseconds = 0
        guard !bytes.isEmpty else { return nil }
        while index < bytes.count {
            let start = index
            var value: Int64 = 0
            while index < bytes.count, bytes[index] >= 0x30, bytes[index] <= 0x39 {
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                guard !overflow, product <= .max - 9 else { return nil }
                value = product + Int64(bytes[index] - 0x30)
                index += 1
            }
            guard index > start else { return nil }
            let nameStart = index
            while index < bytes.count, bytes[index] > 0x39 { index += 1 }
            let name = String(decoding: bytes[nameStart..<index], as: UTF8.self)
            guard let found = units[unit...].firstIndex(where: { $0.name == name }) else { return nil }
            let (length, overflow) = value.multipliedReportingOverflow(by: units[found].length)
            guard !overflow, length <= 9_223_372_036_854 - total else { return nil }  // Go's limit: 292 years.
            total += length
            unit = found + 1
        }
        return total
    }

    /// The shortest text Prometheus prints for a duration: `1h30m`, `0s`; years and weeks only when they divide it.
    public static func format(_ duration: Milliseconds) -> String {
        if duration == 0 { return "0s" }
        var text = duration < 0 ? "-" : ""
        var rest = abs(duration)
        for (name, length) in units {
            if name == "y" || name == "w" {
                guard rest % length == 0 else { continue }
            }
            if rest >= length {
                text += "\(rest / length)\(name)"
                rest %= length
            }
        }
        return text
    }
}
