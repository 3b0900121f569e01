internal import CCrypto
internal import Glibc

/// Hashes of passwords, as libcrypt makes and checks them: bcrypt (`$2b$`, `$2y$`), yescrypt (`$y$`), SHA-512 (`$6$`).
///
/// - SeeAlso: crypt(5). bcrypt: Provos and Mazières, A Future-Adaptable Password Scheme, 1999.
public struct PasswordHash: Sendable, Hashable, CustomStringConvertible {
    private let text: String

    /// Takes a hash that libcrypt knows and holds for strong enough; nil else, and for a password in plain text.
    public init?(_ text: String) {
        let known = ["$2b$", "$2y$", "$2a$", "$y$", "$6$"].contains { text.hasPrefix($0) }
        guard known, (60..<256).contains(text.utf8.count), unsafe crypt_checksalt(text) == CRYPT_SALT_OK else {
            return nil
        }
        self.text = text
        guard cost <= PasswordHash.highestCost else { return nil }
    }

    /// The binary logarithm of bcrypt's rounds; of the others, which take some 100 ms, as much as that is there.
    public var cost: Int {
        let parts = text.split(separator: "$")
        return parts.first?.hasPrefix("2") == true && parts.count > 1 ? Int(parts[1]) ?? 10 : 11
    }
    /// A hash above it takes a second, and who guesses takes all of them.
    public static let highestCost = 14

    /// Hashes a password with bcrypt and a salt from the system's generator. `cost` is the binary logarithm of the
    /// rounds; 10 takes about 50 ms. bcrypt looks at the first 72 bytes alone.
    public static func bcrypt(_ password: String, cost: UInt = 10) -> PasswordHash? {
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        guard unsafe crypt_gensalt_rn("$2b$", cost, nil, 0, &setting, Int32(setting.count)) != nil else { return nil }
        let text = setting.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return hashed(password, String(decoding: text, as: UTF8.self)).flatMap { PasswordHash($0) }
    }

    /// Whether it is the password's, compared in constant time. Takes as long as the hash's cost says.
    public func matches(_ password: String) -> Bool {
        guard let found = PasswordHash.hashed(password, text) else { return false }
        return isEqualInConstantTime(Array(found.utf8), Array(text.utf8))
    }

    private static func hashed(_ password: String, _ setting: String) -> String? {
        // A password with a NUL in it would be cut there.
        guard !password.utf8.contains(0) else { return nil }
        let size = MemoryLayout<crypt_data>.size
        let data = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        unsafe data.initializeMemory(as: UInt8.self, repeating: 0, count: size)
        defer {
            unsafe explicit_bzero(data, size)
            unsafe data.deallocate()
        }
        guard let result = unsafe crypt_rn(password, setting, data, Int32(size)) else { return nil }
        return unsafe String(cString: result)
    }

    /// `<hash>`: a hash is no secret, and yet is better not read over a shoulder.
    public var description: String { "<hash>" }
    /// The hash itself, for the configuration.
    public func reveal() -> String { text }
}

/// Whether two byte strings are the same, in a time that says nothing of where they differ.
public func isEqualInConstantTime(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    return unsafe CRYPTO_memcmp(left, right, left.count) == 0
}

/// Bytes of the system's generator, for tokens and salts.
public func randomBytes(_ count: Int) -> [UInt8] {
    var generator = SystemRandomNumberGenerator()
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
}
