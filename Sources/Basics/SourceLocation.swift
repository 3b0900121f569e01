/// A place in a file that a person wrote; prints as `rules/api.yaml:12:5`.
public struct SourceLocation: Hashable, Sendable, CustomStringConvertible {
    /// The path as the person gave it.
    public var file: String
    /// 1-based; 0 when only the file is known.
    public var line: Int
    /// 1-based, in bytes.
    public var column: Int

    /// A place by its parts.
    public init(file: String, line: Int = 0, column: Int = 0) {
        (self.file, self.line, self.column) = (file, line, column)
    }

    /// `file:line:column`, or the file alone.
    public var description: String { line == 0 ? file : "\(file):\(line):\(column)" }
}
