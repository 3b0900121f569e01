internal import Basics
internal import Glibc

/// Why a secret is none. No reason holds any of the secret, nor its length.
public enum SecretWeakness: Sendable, Hashable, CustomStringConvertible {
    /// Shorter than its least length.
    case short(least: Int)
    /// What somebody was to replace: `changeme`, `<token>`, `${TOKEN}`, `your-api-key-here`, `xxxx`.
    case placeholder
    /// It holds a word that is tried first: `password`, `qwerty`, `123456`, with digits for letters too.
    case word
    /// One of the values that the variables' file forbids.
    case forbidden
    /// The variable's own name.
    case name
    /// Few different characters, one piece again and again, or rows such as `abcdef`.
    case predictable
    /// A key of a provider's test mode, in production.
    case testMode

    /// What is wrong and how to cure it.
    public var description: String {
        let cure = "make one with `vedette env generate`"
        return switch self {
        case .short(let least): "shorter than \(least) characters; \(cure)"
        case .placeholder: "a placeholder, no secret; put the real one in its place"
        case .word: "holds a word that is guessed first; \(cure)"
        case .forbidden: "one of the forbidden values; \(cure)"
        case .name: "hardly more than its own name; \(cure)"
        case .predictable: "repeats itself or runs on as a row does; \(cure)"
        case .testMode: "a key of the provider's test mode; production needs the live one"
        }
    }

    /// What is wrong with a secret, nil when nothing is found; the first reason in the order of the cases that a person
    /// can act on. O(*length*²) at worst, and of more than 4,096 characters only these are looked at.
    ///
    /// - Parameters:
    ///   - name: The variable's name, in capitals.
    ///   - least: The least length in characters.
    ///   - forbidden: Values that are refused, whatever their case.
    ///   - isProduction: Whether keys of a test mode are refused.
    public static func find(
        in secret: String, named name: String, least: Int = 16, forbidden: [String] = [], isProduction: Bool = true
    ) -> SecretWeakness? {
        let whole = String(secret.prefix(4096))
        let lowered = whole.lowercased()
        if isPlaceholder(lowered) { return .placeholder }
        if forbidden.contains(where: { $0.lowercased() == lowered }) { return .forbidden }
        let (rest, isTest) = withoutProvider(whole)
        if isTest, isProduction { return .testMode }
        let bare = rest.lowercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) }
        let ownName = name.lowercased().filter { $0.isLetter || $0.isNumber }
        if ownName.count >= 4, bare.contains(ownName), bare.count < ownName.count + 8 { return .name }
        if hasWord(rest.lowercased()) { return .word }
        if whole.count < least { return .short(least: least) }
        return isPredictable(Array(rest.utf8)) ? .predictable : nil
    }

    /// Marks that somebody was to replace.
    private static func isPlaceholder(_ text: String) -> Bool {
        let brackets = [("<", ">"), ("[", "]"), ("%", "%")]
        if text.count > 2, brackets.contains(where: { text.hasPrefix($0.0) && text.hasSuffix($0.1) }) { return true }
        if ["${", "{{", "...", "…", "***"].contains(where: text.contains) { return true }
        let letters = text.filter { $0.isLetter || $0.isNumber }
        if placeholders.contains(where: letters.contains) || letters.contains("xxxxx") { return true }
        return tokens(text).contains { ["your", "todo", "fixme", "tbd", "xxx", "xxxx", "none", "null"].contains($0) }
    }

    private static let placeholders = [
        "changeme", "changethis", "replaceme", "replacewith", "placeholder", "yourapikey", "yoursecret", "yourtoken",
        "yourkey", "yourpassword", "insertyour", "puthere", "goeshere", "example", "notarealkey", "dummykey", "fakekey",
        "samplekey", "setme", "fillme",
    ]

    /// From six letters on they count anywhere, shorter ones only between other signs: chance writes them too.
    private static let words = [
        "password", "passwort", "passwd", "passphrase", "secret", "letmein", "welcome", "qwerty", "qwertz", "asdfgh",
        "iloveyou", "administrator", "postgres", "default", "monkey", "dragon", "master", "football", "baseball",
        "superman", "trustno1", "123456", "abc123", "111111", "000000", "654321", "zaq12wsx", "1q2w3e", "hunter2",
        "insecure", "testtest", "sample", "guest", "admin", "root", "test", "demo", "temp", "user", "pass", "dev",
        "dummy", "fake", "local", "vedette",
    ]

    private static func tokens(_ text: String) -> [Substring] {
        text.split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
    }

    private static let twins: [Character: Character] = [
        "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i",
    ]

    private static func hasWord(_ text: String) -> Bool {
        let plain = text.filter { $0.isASCII && ($0.isLetter || $0.isNumber) }
        let twin = String(text.map { twins[$0] ?? $0 }.filter { $0.isASCII && ($0.isLetter || $0.isNumber) })
        let parts = Set(tokens(text).map { $0.trimmingDigits })
        return words.contains { word in
            guard word.count >= 6 else { return parts.contains(word) }
            return plain.contains(word) || twin.contains(word)
        }
    }

    /// What providers put before their keys, and whether it names their test mode.
    private static func withoutProvider(_ secret: String) -> (rest: String, isTest: Bool) {
        for kind in ["sk", "pk", "rk"] {
            for (mode, isTest) in [("live", false), ("test", true)] where secret.hasPrefix("\(kind)_\(mode)_") {
                return (String(secret.dropFirst(kind.count + mode.count + 2)), isTest)
            }
        }
        return (secret, false)
    }

    /// Bits for each character by Shannon's measure below which a text is no chance.
    private static let leastEntropy = 2.5

    private static func isPredictable(_ bytes: [UInt8]) -> Bool {
        guard bytes.count > 1 else { return true }
        var counts = [Int](repeating: 0, count: 256)
        for byte in bytes { counts[Int(byte)] += 1 }
        let entropy = counts.reduce(0.0) { sum, count in
            guard count > 0 else { return sum }
            let share = Double(count) / Double(bytes.count)
            return sum - share * log2(share)
        }
        // Eight characters have at most three bits each.
        if entropy < min(leastEntropy, log2(Double(bytes.count)) * 0.75) { return true }
        let steps = zip(bytes, bytes.dropFirst()).count { abs(Int($0) - Int($1)) <= 1 }
        if steps * 3 >= (bytes.count - 1) * 2 { return true }
        return (1...bytes.count / 2).contains { period in
            zip(bytes, bytes.dropFirst(period)).allSatisfy { $0 == $1 }
        }
    }
}

extension Substring {
    /// `admin` for `admin123`.
    fileprivate var trimmingDigits: String {
        var text = self
        while let last = text.last, last.isNumber, text.count > 1 { text.removeLast() }
        return String(text)
    }
}
