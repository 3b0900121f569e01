internal import CCrypto

/// A key of AES-256-GCM, made of a passphrase by scrypt, that seals the pieces of a file: each with its number and with
/// whether it is the last, so that none can be changed, moved, left out or cut off unseen.
///
/// - SeeAlso: RFC 7914 (scrypt); NIST SP 800-38D (GCM); Hoang, Reyhanitabar, Rogaway and Vizár, Online
///   Authenticated-Encryption, 2015 (STREAM).
public struct SealedPieces: Sendable {
    private let key: [UInt8]
    /// Behind each piece.
    public static let tagBytes = 16

    /// Reckons the key: some 100 ms and 32 MiB. Nil where libcrypto refuses.
    ///
    /// - Parameter salt: Random, another one for each file.
    public init?(passphrase: [UInt8], salt: [UInt8]) {
        var key = [UInt8](repeating: 0, count: 32)
        let done = unsafe passphrase.withUnsafeBytes { bytes in
            unsafe EVP_PBE_scrypt(
                bytes.bindMemory(to: CChar.self).baseAddress, bytes.count, salt, salt.count, 1 << 15, 8, 1, 64 << 20,
                &key, key.count)
        }
        guard done == 1 else { return nil }
        self.key = key
    }

    /// The piece sealed, its tag behind it.
    public func seal(_ piece: [UInt8], number: UInt64, isLast: Bool) -> [UInt8] {
        var sealed = [UInt8](repeating: 0, count: piece.count + SealedPieces.tagBytes)
        var (count, rest): (Int32, Int32) = (0, 0)
        guard let context = unsafe EVP_CIPHER_CTX_new() else { preconditionFailure("libcrypto has no memory") }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        let nonce = SealedPieces.nonce(number, isLast)
        var done = unsafe EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1
        if !piece.isEmpty {
            done = unsafe done && EVP_EncryptUpdate(context, &sealed, &count, piece, Int32(piece.count)) == 1
        }
        var end = [UInt8](repeating: 0, count: 16)
        done = unsafe done && EVP_EncryptFinal_ex(context, &end, &rest) == 1
        var tag = [UInt8](repeating: 0, count: SealedPieces.tagBytes)
        done = unsafe done && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, Int32(tag.count), &tag) == 1
        precondition(done, "libcrypto refuses to seal \(piece.count) bytes")
        sealed.replaceSubrange(piece.count..., with: tag)
        return sealed
    }

    /// The piece; nil where it is not what was sealed as that number, or the key is another.
    public func open(_ sealed: [UInt8], number: UInt64, isLast: Bool) -> [UInt8]? {
        guard sealed.count >= SealedPieces.tagBytes, let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        let count = sealed.count - SealedPieces.tagBytes
        var piece = [UInt8](repeating: 0, count: count)
        var tag = Array(sealed[count...])
        var (written, rest): (Int32, Int32) = (0, 0)
        guard unsafe EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, key, SealedPieces.nonce(number, isLast)) == 1,
            unsafe count == 0 || EVP_DecryptUpdate(context, &piece, &written, sealed, Int32(count)) == 1,
            unsafe EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, Int32(tag.count), &tag) == 1
        else { return nil }
        var end = [UInt8](repeating: 0, count: 16)
        return unsafe EVP_DecryptFinal_ex(context, &end, &rest) == 1 ? piece : nil
    }

    /// Numbers never repeat under one key: each file has its own salt.
    private static func nonce(_ number: UInt64, _ isLast: Bool) -> [UInt8] {
        var nonce: [UInt8] = [0, 0, 0]
        nonce.appendBigEndian(number)
        nonce.append(isLast ? 1 : 0)
        return nonce
    }
}
