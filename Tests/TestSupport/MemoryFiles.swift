public import Basics
import Glibc
import Synchronization

/// A file system in memory that can crash at a byte, lose power, fill up and fail.
public final class MemoryFiles: FileSystem {
    fileprivate final class Node: Sendable {
        struct Content {
            var bytes: [UInt8] = []
            /// As of the last synchronize: what survives a loss of power for certain.
            var durable: [UInt8] = []
            var reserved = 0
            var modified = 0
        }
        let content = Mutex(Content())
        let identity: UInt64
        init(identity: UInt64) { self.identity = identity }
    }

    fileprivate struct State {
        var nodes: [String: Node] = [:]
        var directories: Set<String> = ["", "/", "."]
        var links: [String: String] = [:]
        var locked: Set<String> = []
        var nextIdentity: UInt64 = 1
        var writtenBytes = 0
        var changes = 0
        var crashAfterBytes: Int?
        var steps = 0
        var crashAtStep: Int?
        var hasCrashed = false
        var freeBytes: Int?
        var failure: (@Sendable (_ operation: String, _ path: String) -> Int32?)?
    }
    fileprivate let state = Mutex(State())

    public init() {}

    /// All writes so far, in bytes.
    public var writtenBytes: Int { state.withLock { $0.writtenBytes } }
    /// Every write past that many further bytes is torn there, and everything after it fails: the process is dead.
    public func crash(afterBytes bytes: Int) { state.withLock { $0.crashAfterBytes = $0.writtenBytes + bytes } }
    /// How often the disk was changed or synced so far: each is a step that a crash can come at.
    public var steps: Int { state.withLock { $0.steps } }
    /// The step of that number does not take place, a write of it in part, and everything after it fails.
    public func crash(atStep step: Int) { state.withLock { $0.crashAtStep = step } }
    /// Whether the crash has come.
    public var hasCrashed: Bool { state.withLock { $0.hasCrashed } }
    /// The space left for writes that grow a file; nil: endless.
    public func setFreeBytes(_ bytes: Int?) { state.withLock { $0.freeBytes = bytes } }
    /// Asked before every operation; an error number makes it fail.
    public func setFailure(_ failure: (@Sendable (_ operation: String, _ path: String) -> Int32?)?) {
        state.withLock { $0.failure = failure }
    }

    /// What a new process finds after a kill: everything the kernel has; locks are gone.
    public func afterKill() -> MemoryFiles { copy { $0.bytes } }
    /// What a new process finds after a loss of power: of each file what was synchronized, and of what came later a
    /// random part.
    public func afterPowerLoss(random: inout SeededRandom) -> MemoryFiles {
        var generator = random
        defer { random = generator }
        return copy { content in
            var bytes = content.durable
            for index in content.bytes.indices where index >= bytes.count || bytes[index] != content.bytes[index] {
                guard generator.next() % 512 != 0 else { break }
                if index >= bytes.count { bytes += [UInt8](repeating: 0, count: index - bytes.count + 1) }
                bytes[index] = content.bytes[index]
            }
            return bytes
        }
    }

    private func copy(_ pick: (Node.Content) -> [UInt8]) -> MemoryFiles {
        let copy = MemoryFiles()
        state.withLock { state in
            for (path, node) in state.nodes.sorted(by: { $0.key < $1.key }) {
                let fresh = Node(identity: node.identity)
                let bytes = pick(node.content.withLock { $0 })
                fresh.content.withLock { ($0.bytes, $0.durable) = (bytes, bytes) }
                copy.state.withLock { $0.nodes[path] = fresh }
            }
            let (directories, links, identity) = (state.directories, state.links, state.nextIdentity)
            copy.state.withLock { ($0.directories, $0.links, $0.nextIdentity) = (directories, links, identity) }
        }
        return copy
    }

    /// Writes a whole file, as a person would.
    public func put(_ path: String, _ text: String) {
        let node = state.withLock { state in
            let node = state.nodes[path] ?? Node(identity: state.nextIdentity)
            state.nextIdentity += 1
            state.changes += 1
            state.nodes[path] = node
            var parent = Substring(path)
            while let slash = parent.lastIndex(of: "/") {
                parent = parent[..<slash]
                state.directories.insert(String(parent))
            }
            return (node: node, change: state.changes)
        }
        let bytes = Array(text.utf8)
        node.node.content.withLock { ($0.bytes, $0.durable, $0.modified) = (bytes, bytes, node.change) }
    }

    /// Flips a bit, as a bad disk does.
    public func flipBit(of path: String, at offset: Int) {
        state.withLock { $0.nodes[path] }?.content.withLock { content in
            content.bytes[offset] ^= 0x10
            content.durable = content.bytes
        }
    }

    private static let changes: Set<String> = [
        "write", "sync", "rename", "remove", "mkdir", "truncate", "preallocate", "create", "symlink", "link",
    ]

    fileprivate func check(_ operation: String, _ path: String) throws(FileError) {
        let code: Int32? = state.withLock { state in
            if state.hasCrashed { return EIO }
            if MemoryFiles.changes.contains(operation) {
                state.steps += 1
                if state.steps == state.crashAtStep {
                    // Of a write half arrives.
                    if operation == "write" {
                        state.crashAfterBytes = -1
                    } else {
                        state.hasCrashed = true
                        return EIO
                    }
                }
            }
            return state.failure?(operation, path)
        }
        if let code { throw FileError(operation: operation, path: path, code: code) }
    }

    public func open(_ path: String, _ mode: OpenMode) throws(FileError) -> any File {
        try check("open", path)
        let found: Result<Node, FileError> = state.withLock { state in
            if let node = state.nodes[path] {
                return mode == .create
                    ? .failure(FileError(operation: "open", path: path, code: EEXIST)) : .success(node)
            }
            let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
            guard mode != .read, state.directories.contains(parent) else {
                return .failure(FileError(operation: "open", path: path, code: ENOENT))
            }
            state.steps += 1
            if state.steps == state.crashAtStep {
                state.hasCrashed = true
                return .failure(FileError(operation: "open", path: path, code: EIO))
            }
            let node = Node(identity: state.nextIdentity)
            state.nextIdentity += 1
            state.nodes[path] = node
            return .success(node)
        }
        return MemoryFile(path: path, node: try found.get(), files: self)
    }

    public func list(_ directory: String) throws(FileError) -> [String] {
        try check("list", directory)
        let names: [String]? = state.withLock { state in
            guard state.directories.contains(directory) else { return nil }
            let prefix = directory.isEmpty ? "" : directory + "/"
            let below = (Array(state.nodes.keys) + Array(state.directories)).filter { $0.hasPrefix(prefix) }
            return Array(Set(below.map { String($0.dropFirst(prefix.count).prefix { $0 != "/" }) })).filter {
                !$0.isEmpty
            }
        }
        guard let names else { throw FileError(operation: "list", path: directory, code: ENOENT) }
        return names.sorted()
    }

    public func attributes(of path: String) throws(FileError) -> FileAttributes? {
        try check("stat", path)
        return state.withLock { state in
            if let node = state.nodes[path] {
                return node.content.withLock {
                    FileAttributes(
                        size: $0.bytes.count, isDirectory: false, modified: Timestamp(milliseconds: Int64($0.modified)),
                        identity: node.identity)
                }
            }
            guard state.directories.contains(path) else { return nil }
            return FileAttributes(size: 0, isDirectory: true, modified: Timestamp(milliseconds: 0), identity: 0)
        }
    }

    public func createDirectory(_ path: String) throws(FileError) {
        try check("mkdir", path)
        state.withLock { state in
            var path = path
            state.directories.insert(path)
            while let slash = path.lastIndex(of: "/") {
                path = String(path[..<slash])
                state.directories.insert(path)
            }
        }
    }

    public func rename(_ path: String, to newPath: String) throws(FileError) {
        try check("rename", path)
        let done = state.withLock { state in
            state.changes += 1
            if let link = state.links.removeValue(forKey: path) {
                state.links[newPath] = link
                return true
            }
            if let node = state.nodes.removeValue(forKey: path) {
                state.nodes[newPath] = node
                return true
            }
            guard state.directories.remove(path) != nil else { return false }
            state.directories.insert(newPath)
            for name in state.directories where name.hasPrefix(path + "/") {
                state.directories.remove(name)
                state.directories.insert(newPath + name.dropFirst(path.count))
            }
            for (name, node) in state.nodes where name.hasPrefix(path + "/") {
                state.nodes[name] = nil
                state.nodes[newPath + name.dropFirst(path.count)] = node
            }
            return true
        }
        if !done { throw FileError(operation: "rename", path: path, code: ENOENT) }
    }

    /// Links are read as names and not followed.
    public func readLink(_ path: String) throws(FileError) -> String? {
        try check("readlink", path)
        return state.withLock { $0.links[path] }
    }

    public func createLink(_ path: String, to target: String) throws(FileError) {
        try check("symlink", path)
        let isFree = state.withLock { state in
            guard state.links[path] == nil, state.nodes[path] == nil, !state.directories.contains(path) else {
                return false
            }
            state.links[path] = target
            return true
        }
        if !isFree { throw FileError(operation: "symlink", path: path, code: EEXIST) }
    }

    public func link(_ path: String, to newPath: String) throws(FileError) {
        try check("link", path)
        let code: Int32? = state.withLock { state in
            guard state.nodes[newPath] == nil, !state.directories.contains(newPath) else { return EEXIST }
            guard let node = state.nodes[path] else { return ENOENT }
            state.nodes[newPath] = node
            return nil
        }
        if let code { throw FileError(operation: "link", path: newPath, code: code) }
    }

    public func copyPermissions(from path: String, to other: String) throws(FileError) { try check("chmod", other) }

    public func remove(_ path: String) throws(FileError) {
        try check("remove", path)
        let done = state.withLock { state in
            state.links.removeValue(forKey: path) != nil || state.nodes.removeValue(forKey: path) != nil
                || state.directories.remove(path) != nil
        }
        if !done { throw FileError(operation: "remove", path: path, code: ENOENT) }
    }

    public func synchronize(directory: String) throws(FileError) { try check("sync", directory) }

    public func space(of path: String) throws(FileError) -> (free: Int, total: Int) {
        (state.withLock { $0.freeBytes } ?? 1 << 40, 1 << 40)
    }

    public func lock(_ path: String) throws(FileError) -> (any FileLock)? {
        try check("lock", path)
        return state.withLock { $0.locked.insert(path).inserted } ? MemoryLock(path: path, files: self) : nil
    }
}

private final class MemoryLock: FileLock {
    let path: String, files: MemoryFiles
    init(path: String, files: MemoryFiles) { (self.path, self.files) = (path, files) }
    deinit { files.state.withLock { _ = $0.locked.remove(path) } }
}

private final class MemoryFile: File {
    let path: String, node: MemoryFiles.Node, files: MemoryFiles
    init(path: String, node: MemoryFiles.Node, files: MemoryFiles) {
        (self.path, self.node, self.files) = (path, node, files)
    }

    func size() throws(FileError) -> Int {
        try files.check("stat", path)
        return node.content.withLock { $0.bytes.count }
    }

    func read(at offset: Int, count: Int) throws(FileError) -> [UInt8] {
        try files.check("read", path)
        return node.content.withLock { Array($0.bytes.dropFirst(offset).prefix(count)) }
    }

    func write(_ bytes: RawSpan, at offset: Int) throws(FileError) {
        try files.check("write", path)
        var accepted = bytes.byteCount
        var code: Int32 = 0
        let growth = node.content.withLock { max(0, offset + bytes.byteCount - max($0.bytes.count, $0.reserved)) }
        let change = files.state.withLock { state in
            if let free = state.freeBytes {
                if growth > free { (accepted, code) = (max(0, accepted - (growth - free)), ENOSPC) }
                state.freeBytes = max(0, free - growth)
            }
            if state.crashAfterBytes == -1 { state.crashAfterBytes = state.writtenBytes + accepted / 2 }
            if let limit = state.crashAfterBytes, state.writtenBytes + accepted > limit {
                (accepted, code) = (limit - state.writtenBytes, EIO)
                state.hasCrashed = true
            }
            state.writtenBytes += accepted
            state.changes += 1
            return state.changes
        }
        let written = unsafe bytes.withUnsafeBytes { unsafe Array($0.prefix(accepted)) }
        node.content.withLock { content in
            if content.bytes.count < offset {
                content.bytes += [UInt8](repeating: 0, count: offset - content.bytes.count)
            }
            let overlap = min(written.count, content.bytes.count - offset)
            content.bytes.replaceSubrange(offset..<offset + overlap, with: written)
            content.modified = change
        }
        if code != 0 { throw FileError(operation: "write", path: path, code: code) }
    }

    func synchronize() throws(FileError) {
        try files.check("sync", path)
        node.content.withLock { $0.durable = $0.bytes }
    }

    func truncate(to size: Int) throws(FileError) {
        try files.check("truncate", path)
        node.content.withLock { content in
            if size < content.bytes.count {
                content.bytes.removeLast(content.bytes.count - size)
            } else {
                content.bytes += [UInt8](repeating: 0, count: size - content.bytes.count)
            }
        }
    }

    func preallocate(to size: Int) throws(FileError) {
        try files.check("preallocate", path)
        let growth = node.content.withLock { max(0, size - max($0.reserved, $0.bytes.count)) }
        let isFull = files.state.withLock { state in
            guard let free = state.freeBytes else { return false }
            if growth > free { return true }
            state.freeBytes = free - growth
            return false
        }
        if isFull { throw FileError(operation: "preallocate", path: path, code: ENOSPC) }
        node.content.withLock { content in
            content.reserved = max(content.reserved, size)
            if content.bytes.count < size { content.bytes += [UInt8](repeating: 0, count: size - content.bytes.count) }
        }
    }
}
