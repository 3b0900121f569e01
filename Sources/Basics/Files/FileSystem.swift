/// Why a file operation failed: which operation, on which path, and the system's error number.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
    /// `open`, `write`, `rename`, …
    public var operation: String
    /// The path as it was given.
    public var path: String
    /// The system's `errno`.
    public var code: Int32

    /// An error by its parts.
    public init(operation: String, path: String, code: Int32) {
        (self.operation, self.path, self.code) = (operation, path, code)
    }
}

/// How a file is opened.
public enum OpenMode: Hashable, Sendable {
    /// Must exist; only read.
    case read
    /// Made when it does not exist; read and written.
    case readWrite
    /// Made anew; refused when it exists.
    case create
}

/// What a directory says of an entry.
public struct FileAttributes: Hashable, Sendable {
    /// In bytes.
    public var size: Int
    /// Whether it is a directory.
    public var isDirectory: Bool
    /// When its content last changed.
    public var modified: Timestamp
    /// The inode, so that a file replaced by another is seen.
    public var identity: UInt64

    /// Attributes by their parts.
    public init(size: Int, isDirectory: Bool, modified: Timestamp, identity: UInt64) {
        (self.size, self.isDirectory, self.modified, self.identity) = (size, isDirectory, modified, identity)
    }
}

/// An open file; closed when its last reference goes. Not for use by two writers at once.
public protocol File: AnyObject, Sendable {
    /// In bytes.
    func size() throws(FileError) -> Int
    /// At most `count` bytes from `offset`; fewer at the end.
    func read(at offset: Int, count: Int) throws(FileError) -> [UInt8]
    /// Writes all bytes at `offset`; they are in the kernel's hands when it returns. After an error any prefix of them
    /// may have been written.
    func write(_ bytes: RawSpan, at offset: Int) throws(FileError)
    /// Returns once what was written is on the disk (`fdatasync`).
    func synchronize() throws(FileError)
    /// Cuts or lengthens it.
    func truncate(to size: Int) throws(FileError)
    /// Reserves the disk's space up to `size`, so that writes below it cannot fail for want of space.
    func preallocate(to size: Int) throws(FileError)
}

/// The file system, given to a room: the machine's, or one in memory that fails on demand.
public protocol FileSystem: Sendable {
    /// Opens a file.
    func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File
    /// The names in a directory, sorted.
    func list(_ directory: String) throws(FileError) -> [String]
    /// Nil when there is no such entry.
    func attributes(of path: String) throws(FileError) -> FileAttributes?
    /// Makes a directory and those above it; no error when it exists.
    func createDirectory(_ path: String) throws(FileError)
    /// Renames, replacing what has the new name.
    func rename(_ path: String, to newPath: String) throws(FileError)
    /// What a symbolic link says; nil when there is none of that name, or something else.
    func readLink(_ path: String) throws(FileError) -> String?
    /// Makes a symbolic link; refused when there is something of that name.
    func createLink(_ path: String, to target: String) throws(FileError)
    /// Gives a file a second name on the same disk (a hard link); refused where that is not possible, and when there is
    /// something of that name.
    func link(_ path: String, to newPath: String) throws(FileError)
    /// Gives a file another's permissions and, where that is allowed, its owner.
    func copyPermissions(from path: String, to other: String) throws(FileError)
    /// Removes a file or an empty directory.
    func remove(_ path: String) throws(FileError)
    /// Returns once the directory's entries are on the disk.
    func synchronize(directory: String) throws(FileError)
    /// Takes the file's lock for this process until the result goes; nil when another process has it.
    func lock(_ path: String) throws(FileError) -> (any FileLock)?
    /// How many bytes the file system of a path may still take from this process, and how many it holds in all.
    func space(of path: String) throws(FileError) -> (free: Int, total: Int)
}

/// A lock held until its last reference goes.
public protocol FileLock: AnyObject, Sendable {}

extension FileSystem {
    /// Puts a file in the place of what has its name, whole or not at all: written beside it, synced, renamed.
    public func replace(_ path: String, with bytes: [UInt8]) throws(FileError) {
        let fresh = path + ".new"
        if try attributes(of: fresh) != nil { try remove(fresh) }
        let file = try open(fresh, .create)
        try unsafe file.write(bytes.span.bytes, at: 0)
        try file.synchronize()
        if try attributes(of: path) != nil { try copyPermissions(from: path, to: fresh) }
        try rename(fresh, to: path)
        try synchronize(directory: path.parentDirectory)
    }

    /// Lets a symbolic link show somewhere else, at once: a reader finds the old target or the new one.
    public func replaceLink(_ path: String, to target: String) throws(FileError) {
        let fresh = path + ".new"
        if try readLink(fresh) != nil { try remove(fresh) }
        try createLink(fresh, to: target)
        try rename(fresh, to: path)
        try synchronize(directory: path.parentDirectory)
    }

    /// Copies a file in pieces of a mebibyte to a new one, and syncs it. Answers its size.
    @discardableResult
    public func copy(_ path: String, to newPath: String) throws(FileError) -> Int {
        let (source, copy) = (try open(path, .read), try open(newPath, .create))
        var done = 0
        while true {
            let piece = try source.read(at: done, count: 1 << 20)
            guard !piece.isEmpty else { break }
            try unsafe copy.write(piece.span.bytes, at: done)
            done += piece.count
        }
        try copy.synchronize()
        return done
    }

    /// Gives a file that is never changed again a second name, or copies it where the disk takes no links.
    public func linkOrCopy(_ path: String, to newPath: String) throws(FileError) {
        // Another disk, a file system without links, another owner's file: a copy does as well.
        do throws(FileError) { try link(path, to: newPath) } catch { try copy(path, to: newPath) }
    }

    /// Removes a file, or a folder with all that is in it.
    public func removeTree(_ path: String) throws(FileError) {
        if try attributes(of: path)?.isDirectory ?? false {
            for name in try list(path) { try removeTree("\(path)/\(name)") }
        }
        try remove(path)
    }

    /// The files below a folder, by their paths from it, sorted.
    public func tree(_ directory: String) throws(FileError) -> [String] {
        var found: [String] = []
        for name in try list(directory) {
            if try attributes(of: "\(directory)/\(name)")?.isDirectory ?? false {
                found += try tree("\(directory)/\(name)").map { "\(name)/\($0)" }
            } else {
                found.append(name)
            }
        }
        return found
    }

    /// A whole file, refused when it is longer than `limit` bytes.
    public func contents(of path: String, limit: Int = 64 << 20) throws(FileError) -> [UInt8] {
        let file = try open(path, .read)
        let size = try file.size()
        guard size <= limit else { throw FileError(operation: "read", path: path, code: FileError.tooLarge) }
        // What the kernel makes on reading, such as /proc, shows a size of 0.
        return try file.read(at: 0, count: size == 0 ? min(limit, 1 << 20) : size)
    }
}

extension String {
    /// The directory that a path's last part stands in; `.` for a path of one part.
    public var parentDirectory: String {
        guard let slash = lastIndex(of: "/") else { return "." }
        return slash == startIndex ? "/" : String(self[..<slash])
    }
    /// A path's last part.
    public var lastPathPart: String { lastIndex(of: "/").map { String(self[index(after: $0)...]) } ?? self }
}
