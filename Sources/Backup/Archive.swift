public import Basics
internal import Storage
internal import Synchronization

/// An archive that is read: its files by name, at any place.
public final class Archive: Sendable {
    /// What `verify` found.
    public struct Report: Sendable, Hashable {
        /// Files, blocks and samples.
        public var files = 0, blocks = 0, samples = 0
        /// What the archive says of itself.
        public var facts = JSON.null
    }
    struct Entry {
        var offset: Int, size: Int
    }

    private let path: String
    private let file: any File
    private let pieces: SealedPieces?
    /// Of the plain archive.
    private let size: Int
    private let last = Mutex<(number: Int, bytes: [UInt8])?>(nil)
    let entries: [String: Entry]
    /// In the archive's order.
    private let names: [String]

    /// Reads the headers of all files.
    public init(_ path: String, _ files: any FileSystem, passphrase: [UInt8]?) throws(ArchiveError) {
        self.path = path
        let whole: Int, start: [UInt8]
        do throws(FileError) {
            file = try files.open(path, .read)
            whole = try file.size()
            start = try file.read(at: 0, count: ArchiveFormat.headerBytes)
        } catch {
            throw .file(error)
        }
        let salt = ArchiveFormat.magic.count..<ArchiveFormat.magic.count + ArchiveFormat.saltBytes
        if start.starts(with: ArchiveFormat.magic), start.count == ArchiveFormat.headerBytes {
            guard let passphrase else {
                throw .closed(
                    file: path,
                    reason: "is sealed; give --passphrase-file, or the variable VEDETTE_BACKUP_PASSPHRASE_FILE")
            }
            guard let made = SealedPieces(passphrase: passphrase, salt: Array(start[salt])),
                made.open(Array(start[salt.upperBound...]), number: ArchiveFormat.probe, isLast: true) != nil
            else { throw .closed(file: path, reason: "the passphrase is not the one that it was sealed with") }
            pieces = made
            let body = whole - ArchiveFormat.headerBytes
            let step = ArchiveFormat.piece + SealedPieces.tagBytes
            size = max(0, body - (body + step - 1) / step * SealedPieces.tagBytes)
        } else {
            // Whoever can write the archive's place could else put another in that of the sealed one.
            guard passphrase == nil else {
                throw .closed(
                    file: path, reason: "is not sealed, though a passphrase is given; leave that out if this is right")
            }
            (pieces, size) = (nil, whole)
        }
        let reading = ArchiveBytes(path: path, file: file, pieces: pieces, size: size)
        var (entries, names): ([String: Entry], [String]) = ([:], [])
        var offset = 0
        while true {
            let header = try reading.read(at: offset, count: ArchiveFormat.block)
            guard header.count == ArchiveFormat.block else {
                throw .damaged(file: path, offset: whole, reason: "the archive is cut short; copy it again")
            }
            if header.allSatisfy({ $0 == 0 }) { break }
            guard let (name, length) = ArchiveFormat.parse(header) else {
                throw .damaged(
                    file: path, offset: reading.place(of: offset),
                    reason: offset == 0
                        ? "is no backup of vedette" : "a file's header is damaged")
            }
            let start = offset + ArchiveFormat.block
            guard length <= size - start else {
                throw .damaged(file: path, offset: whole, reason: "the archive is cut short in \(name)")
            }
            guard !name.hasPrefix("/"), !name.split(separator: "/").contains(".."), entries[name] == nil else {
                throw .damaged(
                    file: path, offset: reading.place(of: offset), reason: "a file has a name that it cannot have")
            }
            entries[name] = Entry(offset: start, size: length)
            names.append(name)
            offset = start + (length + ArchiveFormat.block - 1) / ArchiveFormat.block * ArchiveFormat.block
        }
        guard names.last == ArchiveFormat.sums, entries[ArchiveFormat.facts] != nil else {
            throw .damaged(
                file: path, offset: whole, reason: "is no whole backup of vedette: \(ArchiveFormat.sums) is missing")
        }
        (self.entries, self.names) = (entries, names)
    }

    func read(at offset: Int, count: Int) throws(ArchiveError) -> [UInt8] {
        try ArchiveBytes(path: path, file: file, pieces: pieces, size: size).read(at: offset, count: count)
    }

    private func contents(of name: String, limit: Int) throws(ArchiveError) -> [UInt8] {
        guard let entry = entries[name], entry.size <= limit else {
            throw .damaged(file: path, offset: 0, reason: "\(name) is missing or too long")
        }
        return try read(at: entry.offset, count: entry.size)
    }

    /// Hands each file's pieces on, and checks its sum behind the last.
    private func each(
        begin: (_ name: String) throws(ArchiveError) -> Void = { _ throws(ArchiveError) in },
        piece body: (_ bytes: [UInt8], _ offset: Int) throws(ArchiveError) -> Void = { _, _ throws(ArchiveError) in }
    ) throws(ArchiveError) {
        var sums: [String: String] = [:]
        for line in String(decoding: try contents(of: ArchiveFormat.sums, limit: 64 << 20), as: UTF8.self).split(
            separator: "\n")
        {
            sums[String(line.dropFirst(66))] = String(line.prefix(64))
        }
        let bytes = ArchiveBytes(path: path, file: file, pieces: pieces, size: size)
        for name in names where name != ArchiveFormat.sums {
            guard let entry = entries[name] else { continue }
            guard let wanted = sums.removeValue(forKey: name) else {
                throw .damaged(file: path, offset: bytes.place(of: entry.offset), reason: "\(name) has no checksum")
            }
            try begin(name)
            var digest = DigestStream()
            var done = 0
            while done < entry.size {
                let piece = try bytes.read(at: entry.offset + done, count: min(1 << 20, entry.size - done))
                digest.add(piece)
                try body(piece, done)
                done += piece.count
            }
            guard digest.finish() == wanted else {
                throw .damaged(
                    file: path, offset: bytes.place(of: entry.offset), reason: "the checksum of \(name) is wrong")
            }
        }
        if let missing = sums.keys.min() { throw .damaged(file: path, offset: 0, reason: "\(missing) is missing") }
    }

    /// Checks the sum of each file, and every code in the blocks.
    public func verify() throws(ArchiveError) -> Report {
        try each()
        var report = Report()
        report.files = names.count
        report.facts = try facts()
        let inside = ArchiveFiles(self)
        let suffix = "/meta.json"
        for name in names where name.hasPrefix(ArchiveFormat.data) && name.hasSuffix(suffix) {
            do throws(StorageError) {
                report.samples += try verifyBlock(at: String(name.dropLast(suffix.count)), inside).samples
            } catch {
                throw .damaged(file: path, offset: entries[name]?.offset ?? 0, reason: error.description)
            }
            report.blocks += 1
        }
        return report
    }

    private func facts() throws(ArchiveError) -> JSON {
        guard let facts = try? JSON(parsing: try contents(of: ArchiveFormat.facts, limit: 1 << 20)),
            facts["version"]?.integer == 1
        else { throw .damaged(file: path, offset: 0, reason: "is of another version; a newer vedette reads it") }
        return facts
    }

    /// Writes the data directory anew where there is none: it appears whole or not at all. One that is there and empty
    /// may be another disk or somebody else's, and stays what it is: what goes in is made within, and the log's folder,
    /// by which a data directory is known, comes last.
    public func restore(to place: String, _ files: any FileSystem) throws(ArchiveError) -> Report {
        var directory = place
        while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
        let (isThere, draft): (Bool, String)
        var report = Report()
        report.facts = try facts()
        do throws(FileError) {
            isThere = try files.attributes(of: directory) != nil
            draft = isThere ? "\(directory)/.restoring" : directory + ".restoring"
            if isThere, try files.list(directory).contains(where: { $0 != draft.lastPathPart }) {
                throw FileError(operation: "restore", path: directory, code: 39)
            }
            if try files.attributes(of: draft) != nil { try files.removeTree(draft) }
            // An archive holds files alone, and a data directory has a log.
            try files.createDirectory("\(draft)/wal")
        } catch {
            throw error.operation == "restore"
                ? .refused("\(directory): is not empty; name a directory that is, or is not there") : .file(error)
        }
        do throws(ArchiveError) {
            var open: (any File)?
            var folders: Set<String> = [draft]
            try each { name throws(ArchiveError) in
                report.files += 1
                do throws(FileError) {
                    try open?.synchronize()
                    open = nil
                    guard name.hasPrefix(ArchiveFormat.data) else { return }
                    let target = "\(draft)/\(name.dropFirst(ArchiveFormat.data.count))"
                    if folders.insert(target.parentDirectory).inserted {
                        try files.createDirectory(target.parentDirectory)
                    }
                    open = try files.open(target, .create)
                } catch {
                    throw .file(error)
                }
            } piece: { bytes, offset throws(ArchiveError) in
                do throws(FileError) { try unsafe open?.write(bytes.span.bytes, at: offset) } catch {
                    throw .file(error)
                }
            }
            do throws(FileError) {
                try open?.synchronize()
                for folder in folders { try files.synchronize(directory: folder) }
                if isThere {
                    let names = try files.list(draft)
                    for name in names.filter({ $0 != "wal" }) + ["wal"] {
                        try files.rename("\(draft)/\(name)", to: "\(directory)/\(name)")
                    }
                    try files.remove(draft)
                    try files.synchronize(directory: directory)
                } else {
                    try files.rename(draft, to: directory)
                    try files.synchronize(directory: directory.parentDirectory)
                }
            } catch {
                throw .file(error)
            }
        } catch {
            try? files.removeTree(draft)
            throw error
        }
        return report
    }
}

/// The bytes of the plain archive.
private struct ArchiveBytes {
    let path: String
    let file: any File
    let pieces: SealedPieces?
    let size: Int

    /// Where a byte lies in the file.
    func place(of offset: Int) -> Int {
        guard pieces != nil else { return offset }
        return ArchiveFormat.headerBytes + offset / ArchiveFormat.piece * (ArchiveFormat.piece + SealedPieces.tagBytes)
    }

    /// Fewer at the end.
    func read(at offset: Int, count: Int) throws(ArchiveError) -> [UInt8] {
        let end = min(size, offset + count)
        guard offset < end else { return [] }
        do throws(FileError) {
            guard let pieces else { return try file.read(at: offset, count: end - offset) }
            var bytes: [UInt8] = []
            for number in offset / ArchiveFormat.piece...(end - 1) / ArchiveFormat.piece {
                let start = number * ArchiveFormat.piece
                let length = min(ArchiveFormat.piece, size - start)
                let sealed = try file.read(at: place(of: start), count: length + SealedPieces.tagBytes)
                guard let piece = pieces.open(sealed, number: UInt64(number), isLast: start + length >= size) else {
                    throw FileError(operation: "unseal", path: path, code: Int32(clamping: number))
                }
                bytes += piece[max(0, offset - start)..<min(length, end - start)]
            }
            return bytes
        } catch {
            guard error.operation == "unseal" else { throw .file(error) }
            throw .damaged(
                file: path, offset: place(of: Int(error.code) * ArchiveFormat.piece),
                reason: "a piece is not what was sealed there, or the archive is cut short")
        }
    }
}

/// An archive's files as a file system that is only read.
private struct ArchiveFiles: FileSystem {
    private let archive: Archive
    init(_ archive: Archive) { self.archive = archive }

    private final class Inside: File {
        let archive: Archive, path: String, entry: Archive.Entry
        init(_ archive: Archive, _ path: String, _ entry: Archive.Entry) {
            (self.archive, self.path, self.entry) = (archive, path, entry)
        }
        private var refusal: FileError { FileError(operation: "write", path: path, code: 30) }
        func size() throws(FileError) -> Int { entry.size }
        func read(at offset: Int, count: Int) throws(FileError) -> [UInt8] {
            do throws(ArchiveError) {
                return try archive.read(at: entry.offset + offset, count: max(0, min(count, entry.size - offset)))
            } catch {
                throw FileError(operation: "read", path: path, code: 5)
            }
        }
        func write(_ bytes: RawSpan, at offset: Int) throws(FileError) { throw refusal }
        func synchronize() throws(FileError) { throw refusal }
        func truncate(to size: Int) throws(FileError) { throw refusal }
        func preallocate(to size: Int) throws(FileError) { throw refusal }
    }

    private func refusal(_ path: String) -> FileError { FileError(operation: "write", path: path, code: 30) }

    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        guard mode == .read else { throw refusal(path) }
        guard let entry = archive.entries[path] else { throw FileError(operation: "open", path: path, code: 2) }
        return Inside(archive, path, entry)
    }
    func list(_ directory: String) throws(FileError) -> [String] {
        let below = archive.entries.keys.filter { $0.hasPrefix(directory + "/") }
        return Set(below.map { String($0.dropFirst(directory.count + 1).prefix { $0 != "/" }) }).sorted()
    }
    func attributes(of path: String) throws(FileError) -> FileAttributes? {
        let moment = Timestamp(milliseconds: 0)
        if let entry = archive.entries[path] {
            return FileAttributes(size: entry.size, isDirectory: false, modified: moment, identity: 0)
        }
        let isFolder = archive.entries.keys.contains { $0.hasPrefix(path + "/") }
        return isFolder ? FileAttributes(size: 0, isDirectory: true, modified: moment, identity: 0) : nil
    }
    func createDirectory(_ path: String) throws(FileError) { throw refusal(path) }
    func rename(_ path: String, to newPath: String) throws(FileError) { throw refusal(path) }
    func readLink(_ path: String) throws(FileError) -> String? { nil }
    func createLink(_ path: String, to target: String) throws(FileError) { throw refusal(path) }
    func link(_ path: String, to newPath: String) throws(FileError) { throw refusal(path) }
    func copyPermissions(from path: String, to other: String) throws(FileError) { throw refusal(path) }
    func remove(_ path: String) throws(FileError) { throw refusal(path) }
    func synchronize(directory: String) throws(FileError) { throw refusal(directory) }
    func lock(_ path: String) throws(FileError) -> (any FileLock)? { throw refusal(path) }
    func space(of path: String) throws(FileError) -> (free: Int, total: Int) { (0, 0) }
}
