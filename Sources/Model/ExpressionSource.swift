public import Basics

/// Evaluates expressions somewhere else: another server's query API.
public protocol ExpressionSource: Sendable {
    /// The value of an expression at a moment, a vector or a scalar; bounded in time and size. An answer that is not
    /// whole is an error.
    func instant(
        _ expression: String, at moment: Timestamp
    ) async throws(ExpressionSourceError) -> [(labels: Labels, value: Double)]
}

/// Why there is no value.
public struct ExpressionSourceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// No answer came, or none in time.
        case unreachable
        /// The server says that it cannot answer now.
        case unavailable
        /// The server refuses the expression, or us.
        case refused
        /// The answer is none that is known, or of a kind that no rule takes.
        case malformed
        /// The answer is longer than allowed.
        case tooLarge = "too_large"
        /// The server says that something is missing in it.
        case partial
        /// We cannot ask, since a file of ours cannot be read.
        case local
        /// The task was cancelled.
        case cancelled
    }
    /// What went wrong.
    public var kind: Kind
    /// One clause, without a secret.
    public var reason: String

    /// An error by its parts.
    public init(_ kind: Kind, _ reason: String) { (self.kind, self.reason) = (kind, reason) }

    /// The clause.
    public var description: String { reason }
    /// Whether the next question would fare no better now.
    public var isOfServer: Bool { kind == .unreachable || kind == .unavailable || kind == .local }
}
