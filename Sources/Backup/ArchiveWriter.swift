public import Basics

/// Writes an archive from its beginning to its end, beside its name, which it gets when it is whole.
public struct ArchiveWriter {
    private let path: String, draft: String
    private let files: any FileSystem
    private let file: any File
    private let seconds: Int64
    private let pieces: SealedPieces?
    private var buffer: [UInt8] = []
    private var written = 0
    private var number: UInt64 = 0
    private var sums = ""

    /// Begins; refused when there is a file of that name.
    ///
    /// - Parameter passphrase: Nil: it is not sealed.
    public init(_ path: String, _ files: any FileSystem, passphrase: [UInt8]?, at moment: Timestamp)
        throws(ArchiveError)
    {
        (self.path, self.files, draft) = (path, files, path + ".part")
        seconds = moment.milliseconds / 1000
        var header: [UInt8] = []
        if let passphrase {
            let salt = randomBytes(ArchiveFormat.saltBytes)
            guard let made = SealedPieces(passphrase: passphrase, salt: salt) else {
                throw .refused("libcrypto cannot make a key of the passphrase; see that there are 64 MiB of memory")
            }
            pieces = made
            header = ArchiveFormat.magic + salt + made.seal([], number: ArchiveFormat.probe, isLast: true)
        } else {
            pieces = nil
        }
        do throws(FileError) {
            guard try files.attributes(of: path) == nil else {
                throw FileError(operation: "create", path: path, code: 17)
            }
            if try files.attributes(of: draft) != nil { try files.remove(draft) }
            file = try files.open(draft, .create)
            try unsafe file.write(header.span.bytes, at: 0)
        } catch {
            throw .file(error)
        }
        written = header.count
    }

    /// Removes what is written so far.
    public static func abandon(_ path: String, _ files: any FileSystem) {
        // What cannot be removed stays under its name of a draft.
        try? files.remove(path + ".part")
    }

    /// Adds a folder's files, the name of each before `prefix` put to it.
    public mutating func add(folder: String, prefix: String, except: Set<String> = []) throws(ArchiveError) {
        do throws(FileError) {
            for name in try files.tree(folder) where !except.contains(name) {
                try add(file: "\(folder)/\(name)", as: prefix + name)
            }
        } catch {
            throw .file(error)
        }
    }

    private mutating func add(file source: String, as name: String) throws(FileError) {
        guard name.utf8.count <= 100 else { throw FileError(operation: "archive", path: source, code: 36) }
        let input = try files.open(source, .read)
        let size = try input.size()
        try put(ArchiveFormat.header(name, size: size, at: seconds))
        var digest = DigestStream()
        var done = 0
        while done < size {
            let piece = try input.read(at: done, count: min(1 << 20, size - done))
            guard !piece.isEmpty else { throw FileError(operation: "read", path: source, code: 5) }
            digest.add(piece)
            try put(piece)
            done += piece.count
        }
        try pad(size)
        sums += "\(digest.finish())  \(name)\n"
    }

    /// Adds a file of these bytes.
    public mutating func add(_ bytes: [UInt8], as name: String) throws(ArchiveError) {
        var digest = DigestStream()
        digest.add(bytes)
        sums += "\(digest.finish())  \(name)\n"
        do throws(FileError) { try plain(bytes, name) } catch { throw .file(error) }
    }

    private mutating func plain(_ bytes: [UInt8], _ name: String) throws(FileError) {
        try put(ArchiveFormat.header(name, size: bytes.count, at: seconds))
        try put(bytes)
        try pad(bytes.count)
    }

    private mutating func pad(_ size: Int) throws(FileError) {
        let rest = size % ArchiveFormat.block
        if rest > 0 { try put([UInt8](repeating: 0, count: ArchiveFormat.block - rest)) }
    }

    private mutating func put(_ bytes: [UInt8]) throws(FileError) {
        buffer += bytes
        // The last piece is known as such when no other follows.
        guard buffer.count > ArchiveFormat.piece else { return }
        var start = 0
        while buffer.count - start > ArchiveFormat.piece {
            try flush(Array(buffer[start..<start + ArchiveFormat.piece]), isLast: false)
            start += ArchiveFormat.piece
        }
        buffer.removeFirst(start)
    }

    private mutating func flush(_ piece: [UInt8], isLast: Bool) throws(FileError) {
        let bytes = pieces?.seal(piece, number: number, isLast: isLast) ?? piece
        number += 1
        try unsafe file.write(bytes.span.bytes, at: written)
        written += bytes.count
    }

    /// Writes the sums, syncs, and gives it its name. Answers its size.
    public mutating func finish() throws(ArchiveError) -> Int {
        do throws(FileError) {
            try plain(Array(sums.utf8), ArchiveFormat.sums)
            try put([UInt8](repeating: 0, count: 2 * ArchiveFormat.block))
            try flush(buffer, isLast: true)
            try file.synchronize()
            try files.rename(draft, to: path)
            try files.synchronize(directory: path.parentDirectory)
        } catch {
            throw .file(error)
        }
        return written
    }
}
