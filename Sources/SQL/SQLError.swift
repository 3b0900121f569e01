/// Why a statement was not carried out. It holds neither a password nor a parameter's value, so it may be printed.
public struct SQLError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What sort of failure it is, for who decides whether to try again.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// No connection: nothing was done.
        case unreachable
        /// The connection broke; a commit that was under way may have been done.
        case interrupted
        /// The statement's time ran out: it was stopped, nothing of it was done.
        case timedOut = "timed-out"
        /// Another transaction was in the way: nothing was done.
        case busy
        /// A key, NOT NULL or CHECK was violated.
        case constraint
        /// The database said no: a mistake in the statement or a value that does not fit.
        case refused
    }

    /// What sort of failure it is.
    public var kind: Kind
    /// One clause; the database's own words where they hold no value.
    public var message: String
    /// The start of the statement, with placeholders, never with values.
    public var statement: String?

    /// An error by its parts.
    public init(_ kind: Kind, _ message: String, statement: String? = nil) {
        (self.kind, self.message) = (kind, message)
        self.statement = statement.map { String($0.prefix(160)) }
    }

    /// One sentence: `constraint: UNIQUE constraint failed: a.id; while executing INSERT INTO a (id) VALUES (?)`.
    public var description: String {
        "\(kind.rawValue): \(message)" + (statement.map { "; while executing \($0)" } ?? "")
    }

    /// The same with the statement it happened at.
    func at(_ sql: String) -> SQLError { statement == nil ? SQLError(kind, message, statement: sql) : self }
}
