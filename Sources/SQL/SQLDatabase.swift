public import Basics
internal import Synchronization

/// Which of the two databases it is; only where they truly differ is it asked for.
public enum SQLDialect: String, Sendable, Hashable, CaseIterable { case sqlite, postgresql }

/// An open connection, used by one thread at a time; calls block. Statements are written once, with `?` for each value,
/// whatever the database; a statement at a time.
public protocol SQLConnection: AnyObject {
    /// Which database it is.
    var dialect: SQLDialect { get }
    /// Hands each row to `body` as it comes, so that a large result takes no memory.
    func each(
        _ sql: String, _ parameters: [SQLValue], _ body: (SQLRow) throws(SQLError) -> Void
    ) throws(SQLError)
    /// Carries out a statement without a result.
    ///
    /// - Returns: How many rows it changed.
    @discardableResult
    func execute(_ sql: String, _ parameters: [SQLValue]) throws(SQLError) -> Int
    /// Inserts rows, each with as many values as there are columns, the fastest way the database has; rows whose key
    /// is there already are left out when `ignoresKnown`.
    func insert(
        into table: String, _ columns: [String], _ rows: [[SQLValue]], ignoresKnown: Bool
    ) throws(SQLError)
}

extension SQLConnection {
    /// All rows; more than `limit` are an error.
    public func query(
        _ sql: String, _ parameters: [SQLValue] = [], limit: Int = 1_000_000
    ) throws(SQLError) -> [SQLRow] {
        var rows: [SQLRow] = []
        try each(sql, parameters) { row throws(SQLError) in
            guard rows.count < limit else { throw SQLError(.refused, "more than \(limit) rows; narrow the query") }
            rows.append(row)
        }
        return rows
    }

    /// Carries out a statement without parameters.
    @discardableResult
    public func execute(_ sql: String) throws(SQLError) -> Int { try execute(sql, []) }

    /// Inserts rows; one whose key is known is an error.
    public func insert(into table: String, _ columns: [String], _ rows: [[SQLValue]]) throws(SQLError) {
        try insert(into: table, columns, rows, ignoresKnown: false)
    }
}

/// A database: SQLite in a file, or a PostgreSQL server. It has one connection on a thread of its own, made when it is
/// first needed and made anew after it broke, so that no caller's thread ever blocks.
public protocol SQLDatabase: Sendable {
    /// Which of the two it is.
    var dialect: SQLDialect { get }
    /// For people; no password in it.
    var address: String { get }
    /// Runs `body` with the connection. In a transaction all that it did is taken back when it throws. `timeout` is for
    /// all of it, waiting for a lock included.
    func perform<Value: Sendable>(
        inTransaction: Bool, timeout: Milliseconds?,
        _ body: @escaping @Sendable (any SQLConnection) throws(SQLError) -> Value
    ) async throws(SQLError) -> Value
    /// Closes the connection once what is under way has ended; a later call opens it anew.
    func close() async
}

extension SQLDatabase {
    /// Runs `body` with the connection, outside a transaction.
    public func perform<Value: Sendable>(
        timeout: Milliseconds? = nil, _ body: @escaping @Sendable (any SQLConnection) throws(SQLError) -> Value
    ) async throws(SQLError) -> Value {
        try await perform(inTransaction: false, timeout: timeout, body)
    }

    /// Runs `body` whole or not at all.
    public func transaction<Value: Sendable>(
        timeout: Milliseconds? = nil, _ body: @escaping @Sendable (any SQLConnection) throws(SQLError) -> Value
    ) async throws(SQLError) -> Value {
        try await perform(inTransaction: true, timeout: timeout, body)
    }

    /// All rows of a query.
    public func query(_ sql: String, _ parameters: [SQLValue] = []) async throws(SQLError) -> [SQLRow] {
        try await perform { connection throws(SQLError) in try connection.query(sql, parameters) }
    }

    /// Carries out a statement.
    ///
    /// - Returns: How many rows it changed.
    @discardableResult
    public func execute(_ sql: String, _ parameters: [SQLValue] = []) async throws(SQLError) -> Int {
        try await perform { connection throws(SQLError) in try connection.execute(sql, parameters) }
    }

    /// Inserts rows, all or none.
    public func insert(
        into table: String, _ columns: [String], _ rows: [[SQLValue]], ignoresKnown: Bool = false
    ) async throws(SQLError) {
        try await transaction { connection throws(SQLError) in
            try connection.insert(into: table, columns, rows, ignoresKnown: ignoresKnown)
        }
    }
}

/// The thread of a database with its connection: both databases are this, with a connection of their own.
final class SQLWorker: Sendable {
    private let executor: ThreadPoolExecutor
    private let kept = Kept()
    private let timeout: Milliseconds
    private let open: @Sendable () throws(SQLError) -> any SQLSession

    init(
        name: String, timeout: Milliseconds, open: @escaping @Sendable () throws(SQLError) -> any SQLSession
    ) {
        executor = ThreadPoolExecutor(count: 1, name: name)
        (self.timeout, self.open) = (timeout, open)
    }

    func perform<Value: Sendable>(
        inTransaction: Bool, timeout: Milliseconds?,
        _ body: @escaping @Sendable (any SQLConnection) throws(SQLError) -> Value
    ) async throws(SQLError) -> Value {
        let limit = timeout ?? self.timeout
        let work = executor.start { [kept, open] () -> Result<Value, SQLError> in
            kept.connection.withLock { kept in
                // A kept connection may have been closed by the other side long ago. When the very first word to it
                // fails, nothing was done: a fresh one is tried.
                if let old = kept {
                    old.begin(limit)
                    do throws(SQLError) {
                        if let first = inTransaction ? old.beginning : old.probe { try old.execute(first) }
                        return SQLWorker.finish(old, &kept, inTransaction, body)
                    } catch {
                        kept = nil
                        guard error.kind == .interrupted else { return .failure(error) }
                    }
                }
                do throws(SQLError) {
                    let fresh = try open()
                    fresh.begin(limit)
                    if inTransaction { try fresh.execute(fresh.beginning) }
                    kept = fresh
                    return SQLWorker.finish(fresh, &kept, inTransaction, body)
                } catch {
                    return .failure(error)
                }
            }
        }
        return try await work.value.get()
    }

    private static func finish<Value>(
        _ connection: any SQLSession, _ kept: inout (any SQLSession)?, _ inTransaction: Bool,
        _ body: (any SQLConnection) throws(SQLError) -> Value
    ) -> Result<Value, SQLError> {
        do throws(SQLError) {
            let value = try body(connection)
            if inTransaction { try connection.execute("COMMIT") }
            return .success(value)
        } catch {
            if error.kind == .interrupted || error.kind == .unreachable {
                kept = nil
            } else if inTransaction {
                connection.begin(5000)  // What the time ran out for must still be taken back.
                do throws(SQLError) { try connection.execute("ROLLBACK") } catch { kept = nil }
            }
            return .failure(error)
        }
    }

    func close() async {
        let work = executor.start { [kept] in kept.connection.withLock { $0 = nil } }
        await work.value
    }
}

/// A connection as the worker drives it.
protocol SQLSession: SQLConnection {
    /// The time for what follows begins.
    func begin(_ timeout: Milliseconds)
    /// Begins a transaction that may write.
    var beginning: String { get }
    /// A statement that shows whether the other side is there; nil where there is no other side.
    var probe: String? { get }
}

/// The connection between two calls.
private final class Kept: Sendable {
    let connection = Mutex<(any SQLSession)?>(nil)
}
