public import Basics

/// A table as both databases make it.
public struct SQLTable: Sendable, Hashable {
    /// The types that both have; SQLite holds them as strictly as PostgreSQL.
    public enum Kind: Sendable, Hashable { case integer, real, text, blob }
    /// A column.
    public struct Column: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// Its type.
        public var kind: Kind
        /// Whether NULL may stand in it.
        public var isOptional: Bool

        /// A column that must be filled.
        public init(_ name: String, _ kind: Kind, optional: Bool = false) {
            (self.name, self.kind, isOptional) = (name, kind, optional)
        }
    }

    /// Its name.
    public var name: String
    /// In order.
    public var columns: [Column]
    /// The columns of the primary key.
    public var key: [String]
    /// Lists of columns that have an index.
    public var indexes: [[String]]

    /// A table by its parts.
    public init(_ name: String, _ columns: [Column], key: [String], indexes: [[String]] = []) {
        (self.name, self.columns, self.key, self.indexes) = (name, columns, key, indexes)
    }

    /// The columns' names.
    public var columnNames: [String] { columns.map(\.name) }

    /// The statements that make it, and its indexes.
    public func statements(_ dialect: SQLDialect) -> [String] {
        let types: [Kind: String] =
            switch dialect {
            case .sqlite: [.integer: "INTEGER", .real: "REAL", .text: "TEXT", .blob: "BLOB"]
            case .postgresql: [.integer: "BIGINT", .real: "DOUBLE PRECISION", .text: "TEXT", .blob: "BYTEA"]
            }
        var lines = columns.map { "\($0.name) \(types[$0.kind, default: "TEXT"])\($0.isOptional ? "" : " NOT NULL")" }
        lines.append("PRIMARY KEY (\(key.joined(separator: ", ")))")
        let tail = dialect == .sqlite ? " STRICT" : ""
        return ["CREATE TABLE \(name) (\(lines.joined(separator: ", ")))\(tail)"]
            + indexes.map {
                "CREATE INDEX \(name)_\($0.joined(separator: "_")) ON \(name) (\($0.joined(separator: ", ")))"
            }
    }
}

/// A step in the history of the tables; once it went out it never changes.
public struct SQLMigration: Sendable, Hashable {
    /// Its name, unique; it tells what it does.
    public var name: String
    /// The tables it makes.
    public var tables: [SQLTable]
    /// Statements after them, the same on both databases.
    public var statements: [String]

    /// A step by its parts.
    public init(_ name: String, tables: [SQLTable] = [], statements: [String] = []) {
        (self.name, self.tables, self.statements) = (name, tables, statements)
    }

    func statements(_ dialect: SQLDialect) -> [String] { tables.flatMap { $0.statements(dialect) } + statements }
    func checksum(_ dialect: SQLDialect) -> String {
        Digest.hexadecimal(of: statements(dialect).joined(separator: "\n"), .sha256)
    }
}

extension SQLDatabase {
    /// Brings the tables up to date: each step that was not yet done, in order, all or none. Several daemons may do it
    /// at once. A step that differs from what was done under its name is refused.
    ///
    /// - Returns: The names of the steps done now.
    @discardableResult
    public func migrate(_ migrations: [SQLMigration], now: Timestamp) async throws(SQLError) -> [String] {
        try await transaction(timeout: 60_000) { connection throws(SQLError) in
            if connection.dialect == .postgresql {
                try connection.each("SELECT pg_advisory_xact_lock(8370219)", []) { _ in }
            }
            try connection.execute(
                "CREATE TABLE IF NOT EXISTS vedette_migrations "
                    + "(name TEXT NOT NULL PRIMARY KEY, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)")
            var known: [String: String] = [:]
            for row in try connection.query("SELECT name, checksum FROM vedette_migrations") {
                known[try row.text("name")] = try row.text("checksum")
            }
            var done: [String] = []
            for migration in migrations {
                let checksum = migration.checksum(connection.dialect)
                if let old = known[migration.name] {
                    guard old == checksum else {
                        throw SQLError(
                            .refused,
                            "the tables were made by another version's '\(migration.name)'; "
                                + "use that version, or a fresh database")
                    }
                    continue
                }
                for statement in migration.statements(connection.dialect) { try connection.execute(statement) }
                try connection.execute(
                    "INSERT INTO vedette_migrations (name, checksum, applied_at) VALUES (?, ?, ?)",
                    [.text(migration.name), .text(checksum), .integer(now.milliseconds)])
                done.append(migration.name)
            }
            return done
        }
    }
}
