internal import CCrypto

/// Digests by the system's libcrypto.
public enum Digest {
    /// The algorithms that the formats we speak ask for.
    public enum Algorithm: Sendable {
        /// 16 bytes; for `hashmod`, not for secrets.
        case md5
        /// 32 bytes.
        case sha256
    }

    /// The digest of `bytes`.
    public static func of(_ bytes: [UInt8], _ algorithm: Algorithm) -> [UInt8] {
        let method = unsafe algorithm == .md5 ? EVP_md5() : EVP_sha256()
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        let done = unsafe EVP_Digest(bytes, bytes.count, &digest, &count, method, nil)
        precondition(done == 1, "libcrypto refuses a digest of \(bytes.count) bytes")
        return Array(digest[..<Int(count)])
    }

    /// The digest of a text's UTF-8 in hexadecimal digits.
    public static func hexadecimal(of text: String, _ algorithm: Algorithm) -> String {
        of(Array(text.utf8), algorithm).map { Basics.hexadecimal($0, digits: 2) }.joined()
    }
}

/// SHA-256 of bytes that come in pieces.
@safe public struct DigestStream: ~Copyable {
    private let context: OpaquePointer

    /// Of nothing yet.
    public init() {
        guard let made = unsafe EVP_MD_CTX_new(), unsafe EVP_DigestInit_ex(made, EVP_sha256(), nil) == 1 else {
            preconditionFailure("libcrypto refuses SHA-256")
        }
        unsafe context = made
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    /// Adds a piece.
    public mutating func add(_ bytes: [UInt8]) {
        let done = unsafe EVP_DigestUpdate(context, bytes, bytes.count)
        precondition(done == 1, "libcrypto refuses \(bytes.count) bytes")
    }

    /// The digest in hexadecimal digits; nothing is added after it.
    public mutating func finish() -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var count: UInt32 = 0
        let done = unsafe EVP_DigestFinal_ex(context, &digest, &count)
        precondition(done == 1, "libcrypto refuses to finish a digest")
        return digest[..<Int(count)].map { hexadecimal($0, digits: 2) }.joined()
    }
}
