public import Basics
internal import Synchronization

/// How much one file may ask for. A file past a limit is refused as soon as the limit is met.
public struct SettingsLimits: Sendable, Hashable {
    /// The greatest length of the file in bytes.
    public var bytes = 16 << 20
    /// The greatest number of values, each alias counted with all it stands for: defends against exploding anchors.
    public var values = 1_000_000
    /// How deep lists and maps may be nested.
    public var depth = 64

    /// The defaults.
    public init() {}
}

/// One YAML file, read strictly: one document, no key twice, every value with its place.
public struct SettingsDocument: Sendable {
    /// The whole of it.
    public let root: SettingsNode

    /// Reads a file's bytes; `file` is its name as the person gave it, for messages and for relative paths.
    ///
    /// Memory stays below 300 bytes per allowed value plus ten times the file's length.
    ///
    /// - Parameters:
    ///   - ignoringUnknownKeys: Keys that nobody takes are no mistake.
    ///   - variables: Where `${NAME}` in values comes from; nil: it is a text like any other.
    public init(
        _ bytes: [UInt8], file: String, limits: SettingsLimits = SettingsLimits(), ignoringUnknownKeys: Bool = false,
        variables: Variables? = nil
    ) throws(SettingsError) {
        guard bytes.count <= limits.bytes else {
            throw SettingsError(
                SourceLocation(file: file), "the file is longer than \(limits.bytes) bytes; split it")
        }
        let composer = YAMLComposer(
            SettingsFile(name: file, bytes: bytes, ignoresUnknownKeys: ignoringUnknownKeys), limits: limits,
            variables: variables)
        root = try composer.compose()
    }

    private init(_ root: SettingsNode) { self.root = root }

    /// Reads every document of a file that is not ours; keys that nobody takes are no mistake.
    public static func all(
        _ bytes: [UInt8], file: String, limits: SettingsLimits = SettingsLimits()
    ) throws(SettingsError) -> [SettingsDocument] {
        let file = SettingsFile(name: file, bytes: bytes, ignoresUnknownKeys: true)
        return try YAMLComposer(file, limits: limits).documents(limit: .max).map { SettingsDocument($0) }
    }

    /// Reads a text.
    public init(_ text: String, file: String, limits: SettingsLimits = SettingsLimits()) throws(SettingsError) {
        try self.init(Array(text.utf8), file: file, limits: limits)
    }

    /// The files that the values taken so far rest on, secrets and certificates, with the place that names each.
    public var neededFiles: [(path: String, location: SourceLocation)] { root.file.needed.withLock { $0 } }

    /// The document as a map; an empty document is an empty map.
    public func map() throws(SettingsError) -> SettingsMap { try root.isNull ? SettingsMap(empty: root) : root.map() }
}

/// A file's name and bytes, shared by all values read from it.
final class SettingsFile: Sendable {
    let name: String
    let bytes: [UInt8]
    /// The offset of each line's first byte.
    let lineStarts: [Int]
    let ignoresUnknownKeys: Bool
    /// Files that values rest on.
    let needed = Mutex<[(path: String, location: SourceLocation)]>([])

    init(name: String, bytes: [UInt8], ignoresUnknownKeys: Bool) {
        (self.name, self.ignoresUnknownKeys) = (name, ignoresUnknownKeys)
        // A byte order mark is no part of the text.
        self.bytes = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        var starts = [0]
        for (offset, byte) in self.bytes.enumerated() where byte == 0x0A { starts.append(offset + 1) }
        lineStarts = starts
    }

    /// The folder that relative paths in the file start from; empty for the current one.
    var folder: String {
        name.lastIndex(of: "/").map { String(name[...$0]) } ?? ""
    }

    /// The place of a byte.
    func location(offset: Int) -> SourceLocation {
        var (low, high) = (0, lineStarts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if lineStarts[middle] <= offset { low = middle } else { high = middle }
        }
        return SourceLocation(file: name, line: low + 1, column: offset - lineStarts[low] + 1)
    }
}
