/// What `SettingsMap.take` can read. Durations and sizes have calls of their own, since their numbers carry a unit.
public protocol SettingsReadable {
    /// Reads a value that is not null.
    static func read(_ node: SettingsNode) throws(SettingsError) -> Self
}

extension String: SettingsReadable {
    /// Any scalar: `5` reads as "5".
    public static func read(_ node: SettingsNode) throws(SettingsError) -> String { try node.text() }
}

extension SettingsValue: SettingsReadable {
    /// Any scalar, with its place.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> SettingsValue {
        SettingsValue(try node.text(), node)
    }
}

extension Int: SettingsReadable {
    /// Decimal or `0x…`; unquoted.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> Int {
        let text = try node.plain("a whole number")
        let value = text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text)
        guard let value else { throw node.expected("a whole number") }
        return value
    }
}

extension Double: SettingsReadable {
    /// Decimal, `.inf`, `-.inf` or `.nan`; unquoted.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> Double {
        let text = try node.plain("a number")
        switch text.lowercased() {
        case ".inf", "+.inf": return .infinity
        case "-.inf": return -.infinity
        case ".nan": return .nan
        default: break
        }
        guard let value = Double(text), value.isFinite, !text.contains("x") else { throw node.expected("a number") }
        return value
    }
}

extension Bool: SettingsReadable {
    /// `true`, `yes`, `on`, `false`, `no`, `off`, as YAML 1.1 has it; unquoted.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> Bool {
        switch try node.plain("true or false").lowercased() {
        case "true", "yes", "on": return true
        case "false", "no", "off": return false
        default: throw node.expected("true or false")
        }
    }
}

extension Array: SettingsReadable where Element: SettingsReadable {
    /// A list of values.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> [Element] {
        var values: [Element] = []
        for item in try node.list() {
            guard !item.isNull else { throw item.error("an empty item; remove it or give it a value") }
            values.append(try Element.read(item))
        }
        return values
    }
}

extension Dictionary: SettingsReadable where Key == String, Value: SettingsReadable {
    /// A map of values, any keys.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> [String: Value] {
        let map = try node.map()
        var values: [String: Value] = [:]
        for key in map.keys { values[key] = try map.take(key, as: Value.self) }
        return values
    }
}

extension Secret: SettingsReadable {
    /// The secret itself, written in the file.
    public static func read(_ node: SettingsNode) throws(SettingsError) -> Secret {
        do {
            return Secret(try node.text())
        } catch {
            throw node.error("expected a secret text")  // What was found there is not told.
        }
    }
}

/// Bytes of a text such as `1.5GB`; powers of 1024 for `KB` and `KiB` alike.
///
/// - SeeAlso: alecthomas/units, `ParseBase2Bytes`, which Prometheus uses.
func byteCount(_ text: String) -> Int? {
    if text == "0" { return 0 }
    let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let units = ["B": 0, "KB": 10, "MB": 20, "GB": 30, "TB": 40, "PB": 50]
    let unit = String(text.dropFirst(number.count))
    guard let value = Double(number), let shift = units[unit.count == 3 ? unit.replacingBinaryMark : unit] else {
        return nil
    }
    let count = value * Double(1 << shift)
    return count < 9e18 ? Int(count) : nil
}

extension String {
    /// `KB` for `KiB`.
    fileprivate var replacingBinaryMark: String { String(filter { $0 != "i" }) }
}
