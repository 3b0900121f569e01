/// A password, token or secret address. It prints as `<secret>`, whoever prints it.
public struct Secret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Reads a file whole, given its path; passed in by whoever may touch the disk.
    public typealias FileReader = @Sendable (_ path: String) throws -> [UInt8]

    private enum Source: Hashable {
        case literal(String)
        case file(String)
    }

    private let source: Source

    /// A secret that stands in the settings.
    public init(_ value: String) { source = .literal(value) }
    /// A secret that stands in a file. The file is read at each use, so that it may be exchanged while running.
    public init(file path: String) { source = .file(path) }

    /// The file it is read from, if any.
    public var path: String? {
        if case .file(let path) = source { path } else { nil }
    }

    /// Whether nothing is given: an empty text in the settings.
    public var isEmpty: Bool { source == .literal("") }

    /// The secret itself; of a file's content without the white space around it.
    public func reveal(_ read: FileReader) throws -> String {
        switch source {
        case .literal(let value): return value
        case .file(let path):
            let bytes = try read(path)
            var slice = bytes[...]
            while slice.first?.isBlank == true { slice.removeFirst() }
            while slice.last?.isBlank == true { slice.removeLast() }
            return String(decoding: slice, as: UTF8.self)
        }
    }

    /// `<secret>`.
    public var description: String { "<secret>" }
    /// `<secret>`.
    public var debugDescription: String { "<secret>" }
    /// Shows nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
