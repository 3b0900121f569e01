/// A mistake in a page of metrics.
public struct ExpositionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// 1-based, the column in bytes; line 0 where the mistake is the page's as a whole.
    public var line: Int, column: Int
    /// What is wrong.
    public var message: String

    /// A mistake by its parts.
    public init(line: Int, column: Int, message: String) {
        (self.line, self.column, self.message) = (line, column, message)
    }

    /// `line:column: message`.
    public var description: String { "\(line):\(column): \(message)" }
}

/// How a page is written.
public enum ExpositionFormat: Sendable, Hashable {
    /// Prometheus' text format, 0.0.4 and 1.0.0: the latter has quoted names, which both are read with.
    case text
    /// OpenMetrics, 0.0.1 and 1.0.0.
    case openMetrics
}
