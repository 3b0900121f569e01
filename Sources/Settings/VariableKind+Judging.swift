internal import Basics

/// What judging a value may ask of the disk.
public struct VariableFiles: Sendable {
    /// What is at a path: true a directory, false something else, nil nothing.
    public var isDirectory: @Sendable (_ path: String) -> Bool?
    /// Whether the process may read, or write, what is at a path.
    public var isAllowed: @Sendable (_ path: String, _ writing: Bool) -> Bool
    /// A file, whole.
    public var read: Secret.FileReader

    /// Files by the ways to get at them.
    public init(
        isDirectory: @escaping @Sendable (String) -> Bool?, isAllowed: @escaping @Sendable (String, Bool) -> Bool,
        read: @escaping Secret.FileReader
    ) {
        (self.isDirectory, self.isAllowed, self.read) = (isDirectory, isAllowed, read)
    }
}

extension VariableKind {
    /// What is wrong with a value, nil when nothing is. No answer holds any of it.
    func problem(with value: String, named name: String, in stage: DeploymentStage, _ files: VariableFiles) -> String? {
        if let first = value.utf8.first, let last = value.utf8.last, first.isBlank || last.isBlank {
            return "begins or ends with white space; remove it"
        }
        switch self {
        case .secret(let bounds, let forbidden):
            let weakness = SecretWeakness.find(
                in: value, named: name, least: bounds.least, forbidden: forbidden, isProduction: stage == .production)
            return weakness?.description ?? bounds.problem(with: value)
        case .text(let bounds):
            return value.isUnfilled ? "a placeholder; put the real value in its place" : bounds.problem(with: value)
        case .url(let schemes, let needsTLS, let leastPassword):
            guard let address = VariableAddress(value) else { return "no address; write SCHEME://HOST…" }
            return address.problem(
                schemes, needsTLS: needsTLS && stage == .production, leastPassword: leastPassword, name: name, stage)
        case .mail: return VariableKind.mailProblem(value, stage)
        case .phone(let format): return VariableKind.phoneProblem(value, format)
        case .number(let least, let greatest, let isWhole):
            return VariableKind.numberProblem(value, least, greatest, isWhole)
        case .boolean:
            let isKnown = ["true", "false", "yes", "no", "on", "off", "1", "0"].contains(value.lowercased())
            return isKnown ? nil : "neither true nor false"
        case .choice(let choices):
            return choices.contains(value) ? nil : "none of \(choices.joined(separator: ", "))"
        case .path(let bounds): return bounds.problem(with: value, files)
        }
    }

    /// What of a good value may be shown: nothing of texts and secrets, of an address where it leads.
    func shown(_ value: String) -> String {
        switch self {
        case .number, .boolean, .choice: value.count > 40 ? "\(value.prefix(40))…" : value
        case .url: VariableAddress(value).map { "\($0.scheme)://\($0.host)" } ?? "given"
        case .text, .secret, .mail, .phone, .path: "given"
        }
    }

    /// The part of a value that nobody may read, if there is one.
    func secret(in value: String) -> String? {
        switch self {
        case .secret: value
        case .url: VariableAddress(value)?.password
        default: nil
        }
    }

    private static func mailProblem(_ value: String, _ stage: DeploymentStage) -> String? {
        let parts = value.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, parts[0].utf8.count <= 64, isHost(parts[1]), parts[1].contains("."),
            value.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && !",;<>()\"\\".utf8.contains($0) })
        else { return "no mail address; write NAME@HOST" }
        return stage == .production && isExample(String(parts[1]))
            ? "a placeholder; put the real address in its place" : nil
    }

    private static func phoneProblem(_ value: String, _ format: String?) -> String? {
        let digits = value.dropFirst()
        if value.hasPrefix("+"), (8...15).contains(digits.utf8.count), digits.utf8.first != 0x30,
            digits.utf8.allSatisfy({ (0x30...0x39).contains($0) })
        {
            return nil
        }
        if let format, value.utf8.count == format.utf8.count,
            zip(value.utf8, format.utf8).allSatisfy({ $1 == 0x23 ? (0x30...0x39).contains($0) : $0 == $1 })
        {
            return nil
        }
        return "no phone number; write it as +, country and number without spaces"
            + (format.map { ", or as \($0)" } ?? "")
    }

    private static func numberProblem(
        _ value: String, _ least: Double?, _ greatest: Double?, _ isWhole: Bool
    ) -> String? {
        guard let number = Double(value), number.isFinite, !value.contains("x") else { return "no number" }
        if isWhole, number != number.rounded() { return "no whole number" }
        if let least, number < least { return "below \(VariableKind.plain(least))" }
        if let greatest, number > greatest { return "above \(VariableKind.plain(greatest))" }
        return nil
    }

    private static func plain(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? "\(Int(number))" : "\(number)"
    }

    static func isHost(_ host: some StringProtocol) -> Bool {
        if host.hasPrefix("["), host.hasSuffix("]") { return host.utf8.count > 3 }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return !host.isEmpty && host.utf8.count <= 253
            && parts.allSatisfy { part in
                !part.isEmpty && part.utf8.count <= 63 && part.first != "-" && part.last != "-"
                    && part.utf8.allSatisfy { $0.isNamePart(first: false) || $0 == 0x2D || $0 >= 0x80 }
            }
    }

    /// RFC 2606's names, and what examples are wont to write.
    static func isExample(_ host: String) -> Bool {
        let host = host.lowercased()
        return ["example.com", "example.org", "example.net"].contains { host == $0 || host.hasSuffix(".\($0)") }
            || [".example", ".invalid", ".test"].contains { host.hasSuffix($0) } || host.contains("your-")
            || host.hasPrefix("yourdomain") || host.contains("changeme")
    }
}

extension VariableKind.TextBounds {
    func problem(with value: String) -> String? {
        if value.count < least { return "shorter than \(least) characters" }
        if let greatest, value.count > greatest { return "longer than \(greatest) characters" }
        if !prefixes.isEmpty, !prefixes.contains(where: value.hasPrefix) {
            return "begins otherwise than with \(prefixes.joined(separator: " or "))"
        }
        return nil
    }
}

extension VariableKind.PathBounds {
    func problem(with value: String, _ files: VariableFiles) -> String? {
        if value.isUnfilled { return "a placeholder; put the real path in its place" }
        guard let found = files.isDirectory(value) else {
            return mustExist ? "leads nowhere; mend the path or make what it names" : nil
        }
        if let isDirectory, found != isDirectory { return isDirectory ? "no directory" : "a directory, no file" }
        if isRead, !files.isAllowed(value, false) { return "may not be read by this user; change owner or mode" }
        if isWritten, !files.isAllowed(value, true) { return "may not be written by this user; change owner or mode" }
        return nil
    }
}

/// An address taken apart as far as judging it needs.
struct VariableAddress {
    var scheme: String
    var password: String?
    var host: String
    var rest: String

    init?(_ text: String) {
        guard let mark = text.ranges(of: "://").first, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            return nil
        }
        scheme = text[..<mark.lowerBound].lowercased()
        let isScheme = scheme.utf8.enumerated().allSatisfy { index, byte in
            byte.isNamePart(first: index == 0) && byte != 0x5F || index > 0 && [0x2B, 0x2D, 0x2E].contains(byte)
        }
        let behind = text[mark.upperBound...]
        let authority = behind.prefix { !"/?#".contains($0) }
        rest = String(behind[authority.endIndex...])
        var place = authority
        if let at = authority.lastIndex(of: "@") {
            let user = authority[..<at]
            password = user.firstIndex(of: ":").map { String(user[user.index(after: $0)...]) }
            // Sentry's and others' addresses hold the key alone.
            if password?.isEmpty == true { password = nil }
            place = authority[authority.index(after: at)...]
        }
        if !place.hasPrefix("["), let colon = place.lastIndex(of: ":") {
            guard let port = Int(place[place.index(after: colon)...]), (1...65535).contains(port) else { return nil }
            place = place[..<colon]
        } else if let end = place.lastIndex(of: "]"), place.index(after: end) < place.endIndex {
            guard place[end...].dropFirst().first == ":", Int(place[end...].dropFirst(2)) != nil else { return nil }
            place = place[...end]
        }
        host = place.lowercased()
        guard isScheme, !scheme.isEmpty, VariableKind.isHost(host) else { return nil }
    }

    /// The schemes without TLS, and those that ask for it in their query.
    private static let plain: Set = ["http", "ws", "redis", "amqp", "smtp", "ldap", "mqtt", "ftp"]
    private static let asked: Set = ["postgres", "postgresql", "mysql", "mongodb", "mariadb"]
    private static let answers = [
        "sslmode=require", "sslmode=verify-ca", "sslmode=verify-full", "ssl=true", "tls=true", "ssl-mode=required",
    ]

    private var isLocal: Bool { host == "localhost" || host.hasPrefix("127.") || host == "[::1]" }

    private var isPlain: Bool {
        if isLocal { return false }
        if VariableAddress.plain.contains(scheme) { return true }
        let query = rest.lowercased()
        return VariableAddress.asked.contains(scheme) && !VariableAddress.answers.contains(where: query.contains)
    }

    func problem(
        _ schemes: [String], needsTLS: Bool, leastPassword: Int, name: String, _ stage: DeploymentStage
    ) -> String? {
        guard schemes.contains(scheme) else { return "begins otherwise than with \(list(schemes))" }
        if rest.isUnfilled || stage == .production && VariableKind.isExample(host) {
            return "a placeholder; put the real address in its place"
        }
        if needsTLS, isPlain {
            let isDatabase = VariableAddress.asked.contains(scheme)
            return isDatabase
                ? "without TLS in production; add sslmode=require to it" : "without TLS in production; ask for TLS"
        }
        guard let password else { return nil }
        let weakness = SecretWeakness.find(
            in: password, named: name, least: leastPassword, isProduction: stage == .production)
        return weakness.map { "its password: \($0)" }
    }

    private func list(_ schemes: [String]) -> String { schemes.map { "\($0)://" }.joined(separator: " or ") }
}

extension String {
    /// Whether it holds what somebody or something was to fill in.
    var isUnfilled: Bool {
        contains("${") || contains("{{") || hasPrefix("<") && hasSuffix(">") || lowercased().contains("changeme")
            || lowercased().contains("xxxxx")
    }
}
