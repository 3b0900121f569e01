internal import CLinux
internal import Glibc

/// The machine's file system.
public struct SystemFiles: FileSystem {
    /// The machine's file system.
    public init() {}

    /// `open`, close-on-exec, files made with mode 0640.
    public func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .readWrite: O_RDWR | O_CREAT
            case .create: O_RDWR | O_CREAT | O_EXCL
            }
        let descriptor = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: path, code: errno) }
        return SystemFile(path: path, descriptor: descriptor)
    }

    /// `readdir`, without `.` and `..`.
    public func list(_ directory: String) throws(FileError) -> [String] {
        guard let stream = unsafe opendir(directory) else {
            throw FileError(operation: "list", path: directory, code: errno)
        }
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// `stat`.
    public func attributes(of path: String) throws(FileError) -> FileAttributes? {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw FileError(operation: "stat", path: path, code: errno)
        }
        let modified = Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000
        return FileAttributes(
            size: Int(status.st_size), isDirectory: status.st_mode & S_IFMT == S_IFDIR,
            modified: Timestamp(milliseconds: modified), identity: UInt64(status.st_ino))
    }

    /// `mkdir`, with mode 0750.
    public func createDirectory(_ path: String) throws(FileError) {
        if let found = try attributes(of: path) {
            guard found.isDirectory else { throw FileError(operation: "mkdir", path: path, code: EEXIST) }
            return
        }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try createDirectory(String(path[..<slash]))
        }
        guard unsafe mkdir(path, 0o750) == 0 || errno == EEXIST else {
            throw FileError(operation: "mkdir", path: path, code: errno)
        }
    }

    /// `rename`.
    public func rename(_ path: String, to newPath: String) throws(FileError) {
        guard unsafe Glibc.rename(path, newPath) == 0 else {
            throw FileError(operation: "rename", path: path, code: errno)
        }
    }

    /// `readlink`.
    public func readLink(_ path: String) throws(FileError) -> String? {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe readlink(path, &bytes, bytes.count)
        guard count >= 0 else {
            if errno == EINVAL || errno == ENOENT || errno == ENOTDIR { return nil }
            throw FileError(operation: "readlink", path: path, code: errno)
        }
        return String(decoding: bytes.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `symlink`.
    public func createLink(_ path: String, to target: String) throws(FileError) {
        guard unsafe symlink(target, path) == 0 else { throw FileError(operation: "symlink", path: path, code: errno) }
    }

    /// `link`.
    public func link(_ path: String, to newPath: String) throws(FileError) {
        guard unsafe Glibc.link(path, newPath) == 0 else {
            throw FileError(operation: "link", path: newPath, code: errno)
        }
    }

    /// `chmod`, and `chown` as far as we may.
    public func copyPermissions(from path: String, to other: String) throws(FileError) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw FileError(operation: "stat", path: path, code: errno) }
        // Who may not give a file away keeps it, and its readers are told by its mode alone.
        _ = unsafe chown(other, status.st_uid, status.st_gid)
        guard unsafe chmod(other, status.st_mode & 0o7777) == 0 else {
            throw FileError(operation: "chmod", path: other, code: errno)
        }
    }

    /// `remove`.
    public func remove(_ path: String) throws(FileError) {
        guard unsafe Glibc.remove(path) == 0 else { throw FileError(operation: "remove", path: path, code: errno) }
    }

    /// `fsync` of the directory.
    public func synchronize(directory: String) throws(FileError) {
        let descriptor = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: directory, code: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw FileError(operation: "fsync", path: directory, code: errno) }
    }

    /// `statvfs`.
    public func space(of path: String) throws(FileError) -> (free: Int, total: Int) {
        var facts = statvfs()
        guard unsafe statvfs(path, &facts) == 0 else {
            throw FileError(operation: "statvfs", path: path, code: errno)
        }
        let block = Int(facts.f_frsize)
        return (Int(facts.f_bavail) * block, Int(facts.f_blocks) * block)
    }

    /// `flock`: gone with the process, however it ends.
    public func lock(_ path: String) throws(FileError) -> (any FileLock)? {
        let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw FileError(operation: "open", path: path, code: errno) }
        let lock = SystemFileLock(descriptor: descriptor)
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return lock }
        guard errno == EWOULDBLOCK else { throw FileError(operation: "lock", path: path, code: errno) }
        return nil
    }
}

private final class SystemFileLock: FileLock {
    private let descriptor: Int32
    init(descriptor: Int32) { self.descriptor = descriptor }
    deinit {
        // A child between its fork and its program holds the file open too; the lock is not to wait for it.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}

private final class SystemFile: File {
    private let path: String
    private let descriptor: Int32

    init(path: String, descriptor: Int32) { (self.path, self.descriptor) = (path, descriptor) }
    deinit { close(descriptor) }

    private func failure(_ operation: String, _ code: Int32 = errno) -> FileError {
        FileError(operation: operation, path: path, code: code)
    }

    func size() throws(FileError) -> Int {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw failure("stat") }
        return Int(status.st_size)
    }

    func read(at offset: Int, count: Int) throws(FileError) -> [UInt8] {
        var done = 0
        var code: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while done < count {
                let result = unsafe pread(descriptor, buffer.baseAddress! + done, count - done, off_t(offset + done))
                if result < 0, errno == EINTR { continue }
                if result < 0 { code = errno }
                if result <= 0 { break }
                done += result
            }
            initialized = done
        }
        guard code == 0 else { throw failure("read", code) }
        return bytes
    }

    func write(_ bytes: RawSpan, at offset: Int) throws(FileError) {
        var code: Int32 = 0
        unsafe bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let result = unsafe pwrite(
                    descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
                if result < 0, errno == EINTR { continue }
                guard result > 0 else {
                    code = result == 0 ? ENOSPC : errno
                    return
                }
                done += result
            }
        }
        guard code == 0 else { throw failure("write", code) }
    }

    func synchronize() throws(FileError) {
        guard fdatasync(descriptor) == 0 else { throw failure("sync") }
    }

    func truncate(to size: Int) throws(FileError) {
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw failure("truncate") }
    }

    func preallocate(to size: Int) throws(FileError) {
        let code = posix_fallocate(descriptor, 0, off_t(size))
        guard code == 0 else { throw failure("preallocate", code) }
    }
}

extension FileError {
    /// The code of a file longer than the reader's limit.
    public static let tooLarge = EFBIG

    /// `write data/wal/00000001: No space left on device`.
    public var description: String { "\(operation) \(path): \(reason)" }

    /// The system's own words for the error number.
    public var reason: String { unsafe String(cString: strerror(code)) }

    /// Whether the path does not exist.
    public var isNotFound: Bool { code == ENOENT }
    /// Whether the disk is full.
    public var isNoSpace: Bool { code == ENOSPC || code == EDQUOT }
}
