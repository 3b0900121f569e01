public import Basics

/// A backup in one file: a tar archive (POSIX ustar), so that `tar -xf` opens it.
///
///     vedette-backup.json   what it is: version, when, of which data directory, which database
///     data/…                the data directory: blocks, journal, SQLite
///     SHA256SUMS            for `sha256sum -c`; the last file, so that one that is cut short has none
///
/// With a passphrase the archive is sealed: `vedette sealed 1`, 16 bytes of salt, 16 that tell whether the passphrase
/// is right, then pieces of 64 KiB, each with 16 bytes behind it; see `SealedPieces`.
enum ArchiveFormat {
    static let block = 512
    static let magic = Array("vedette sealed 1".utf8)
    static let saltBytes = 16
    static var headerBytes: Int { magic.count + saltBytes + SealedPieces.tagBytes }
    static let piece = 64 << 10
    static let facts = "vedette-backup.json", sums = "SHA256SUMS", data = "data/"
    /// A number that no piece has.
    static let probe = UInt64.max

    /// A file's header.
    static func header(_ name: String, size: Int, at seconds: Int64) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: block)
        func put(_ text: some Sequence<UInt8>, at offset: Int) {
            for (index, byte) in text.enumerated() { bytes[offset + index] = byte }
        }
        func octal(_ number: Int, digits: Int) -> [UInt8] {
            let text = String(number, radix: 8)
            return Array((String(repeating: "0", count: max(0, digits - text.count)) + text).utf8)
        }
        put(name.utf8.prefix(100), at: 0)
        put(octal(0o640, digits: 7), at: 100)
        for offset in [108, 116] { put(octal(0, digits: 7), at: offset) }
        if size < 1 << 33 {
            put(octal(size, digits: 11), at: 124)
        } else {
            // Larger than octal digits can tell: as GNU tar has it.
            bytes[124] = 0x80
            for index in 0..<8 { bytes[128 + index] = UInt8(truncatingIfNeeded: size >> (8 * (7 - index))) }
        }
        put(octal(Int(max(0, seconds)), digits: 11), at: 136)
        bytes[156] = UInt8(ascii: "0")
        put("ustar\0".utf8 + Array("00".utf8), at: 257)
        put(octal(sum(bytes), digits: 6), at: 148)
        (bytes[154], bytes[155]) = (0, 0x20)
        return bytes
    }

    /// A header's sum, its own field taken for blanks.
    static func sum(_ header: [UInt8]) -> Int {
        header.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 0x20 : Int($1.element)) }
    }

    /// A name and a size; nil where it is no header.
    static func parse(_ header: [UInt8]) -> (name: String, size: Int)? {
        func number(_ range: Range<Int>) -> Int? {
            Int(String(decoding: header[range].filter { $0 != 0 && $0 != 0x20 }, as: UTF8.self), radix: 8)
        }
        guard header.count == block, number(148..<156) == sum(header), header[156] == UInt8(ascii: "0") else {
            return nil
        }
        let name = String(decoding: header[..<100].prefix { $0 != 0 }, as: UTF8.self)
        if header[124] == 0x80 {
            let size = header[128..<136].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return Int(exactly: size).map { (name, $0) }
        }
        return number(124..<136).map { (name, $0) }
    }
}

/// Why an archive cannot be written or read.
public enum ArchiveError: Error, Sendable, Hashable, CustomStringConvertible {
    /// It is not what was written: the file, the byte, what is wrong there.
    case damaged(file: String, offset: Int, reason: String)
    /// It is sealed, and there is no passphrase or another one; or there is one, and it is not sealed.
    case closed(file: String, reason: String)
    /// The file system refuses.
    case file(FileError)
    /// What is asked for does not go.
    case refused(String)

    /// One sentence with the cure.
    public var description: String {
        switch self {
        case .damaged(let file, let offset, let reason): "\(file): byte \(offset): \(reason)"
        case .closed(let file, let reason): "\(file): \(reason)"
        case .file(let error):
            "\(error.path): cannot \(error.operation): \(error.reason); check the directory's owner, mode and free space"
        case .refused(let text): text
        }
    }

    /// Whether it is the archive's, and no mistake of who asks.
    public var isDamage: Bool { if case .damaged = self { true } else { false } }
}
