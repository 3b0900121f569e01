import Basics
import Synchronization
import TestSupport
import Testing

@testable import SQL

/// A database of either kind, fresh, gone with the test.
struct Place: Sendable, CustomStringConvertible {
    let description: String
    let make: @Sendable () throws -> (any SQLDatabase, Folder)

    static let sqlite = Place(description: "SQLite") {
        let folder = try Folder()
        return (SQLiteDatabase(path: "\(folder.path)/test.db", clock: SystemClock()), folder)
    }
    static let postgresql = Place(description: "PostgreSQL") {
        let url = try PostgresCluster.shared().makeDatabase()
        return (
            try PostgresDatabase(
                url: url, password: { () throws(SQLError) in PostgresCluster.password }, clock: SystemClock()),
            try Folder()
        )
    }
    /// Both where PostgreSQL can be had.
    static let all = PostgresCluster.isInstalled ? [sqlite, postgresql] : [sqlite]
}

/// What holds of both databases.
@Suite(.serialized) struct ContractTests {
    let things = SQLTable(
        "things",
        [
            .init("id", .integer), .init("name", .text), .init("size", .real, optional: true),
            .init("content", .blob, optional: true),
        ], key: ["id"], indexes: [["name"]])

    func made(_ place: Place) async throws -> (any SQLDatabase, Folder) {
        let (database, folder) = try place.make()
        try await database.migrate([SQLMigration("things", tables: [things])], now: at(0))
        return (database, folder)
    }

    @Test("where PostgreSQL can be installed, it is")
    func present() {
        guard Program.installed("apt-get") != nil, Program.installed("runuser") != nil else { return }
        #expect(PostgresCluster.isInstalled, "PostgreSQL is missing; run: make setup-tests")
    }

    @Test("values come back as they went in", arguments: Place.all)
    func values(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        let rows: [[SQLValue]] = [
            [1, "plain", 1.5, .blob([0, 1, 255])], [.integer(.max), "it's \"quoted\" ? -- ü 🙂", nil, .blob([])],
            [.integer(.min), "", .real(.leastNonzeroMagnitude), nil],
            [4, "x\ny\tz", .real(.infinity), .blob([0x5C, 0x78])],
            [5, "?", .real(0.1 + 0.2), nil],
        ]
        try await database.insert(into: "things", things.columnNames, rows)
        let found = try await database.query("SELECT id, name, size, content FROM things ORDER BY id")
        #expect(found.map(\.values) == [rows[2], rows[0], rows[3], rows[4], rows[1]])
        let named = try await database.query("SELECT id AS a FROM things WHERE name = ? AND '?' = '?'", ["?"])
        #expect(try named.first?.integer("a") == 5)
        #expect(throws: SQLError.self) { try named.first?.text("a") }
        #expect(throws: SQLError.self) { try named.first?.integer("b") }
    }

    @Test("sums of whole numbers are whole, averages are numbers", arguments: Place.all)
    func sums(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        try await database.insert(into: "things", ["id", "name"], (1...4).map { [.int($0), "a"] })
        let row = try #require(
            try await database.query(
                "SELECT SUM(id) AS s, COUNT(*) AS n, AVG(id) AS a, SUM(CASE WHEN id > 2 THEN 1 ELSE 0 END) AS c "
                    + "FROM things"
            ).first)
        #expect(row.values == [10, 4, 2.5, 2])
    }

    @Test("a transaction is whole or not at all", arguments: Place.all)
    func transaction(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        let error = await #expect(throws: SQLError.self) {
            try await database.transaction { connection throws(SQLError) in
                try connection.execute("INSERT INTO things (id, name) VALUES (?, ?)", [1, "a"])
                try connection.execute("INSERT INTO things (id, name) VALUES (?, ?)", [1, "secret-value"])
            }
        }
        #expect(error?.kind == .constraint)
        #expect(error.map { !"\($0)".contains("secret-value") } == true)
        #expect(try await database.query("SELECT * FROM things").isEmpty)
        let changed = try await database.transaction { connection throws(SQLError) in
            try connection.insert(into: "things", ["id", "name"], [[1, "a"], [2, "b"]])
            return try connection.execute("UPDATE things SET name = 'c'")
        }
        #expect(changed == 2)
        try await database.insert(into: "things", ["id", "name"], [[2, "d"], [3, "d"]], ignoresKnown: true)
        #expect(try await database.query("SELECT name FROM things ORDER BY id").map { $0[0] } == ["c", "c", "d"])
    }

    @Test(
        "mistakes are told with the statement and without values", arguments: Place.all,
        [
            ("SELEC 1", [], SQLError.Kind.refused), ("SELECT * FROM nowhere", [], .refused),
            ("SELECT 1; SELECT 2", [], .refused), ("", [], .refused),
            ("INSERT INTO things (id, name) VALUES (?, ?)", [1, nil], .constraint),
            ("INSERT INTO things (id, name) VALUES (?, ?)", [1], .refused),
            ("INSERT INTO things (id, name, size) VALUES (?, ?, ?)", [1, "a", .real(.nan)], .refused),
            ("INSERT INTO things (id, name) VALUES (?, ?)", [1, "a\u{0}b"], .refused),
            ("INSERT INTO things (id, name) VALUES (?, ?)", ["hush-hush", "a"], .any),
        ] as [(String, [SQLValue], SQLError.Kind)])
    func mistakes(place: Place, mistake: (sql: String, parameters: [SQLValue], kind: SQLError.Kind)) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        let error = await #expect(throws: SQLError.self) {
            try await database.execute(mistake.sql, mistake.parameters)
        }
        // SQLite calls a value of the wrong type a violated constraint.
        if mistake.parameters.first != "hush-hush" {
            #expect(error?.kind == mistake.kind, "\(String(describing: error))")
        }
        #expect(error.map { !"\($0)".contains("hush") } == true)
        // The connection still serves.
        #expect(try await database.query("SELECT 1 AS a").first?.integer("a") == 1)
    }

    @Test("an endless statement is stopped in time, and the next one runs", arguments: Place.all)
    func timeout(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000000000) SELECT COUNT(*) FROM n"
        let error = await #expect(throws: SQLError.self) {
            try await database.perform(timeout: 100) { connection throws(SQLError) in try connection.query(endless) }
        }
        #expect(error?.kind == .timedOut)
        #expect(try await database.query("SELECT 1 AS a").count == 1)
    }

    @Test("rows come one by one, and a reader that stops leaves the connection whole", arguments: Place.all)
    func streaming(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        try await database.insert(into: "things", ["id", "name"], (0..<3000).map { [.int($0), "a"] })
        let total = try await database.perform { connection throws(SQLError) in
            var total: Int64 = 0
            try connection.each("SELECT id FROM things", []) { row throws(SQLError) in total += try row.integer("id") }
            return total
        }
        #expect(total == 2999 * 1500)
        let error = await #expect(throws: SQLError.self) {
            try await database.perform { connection throws(SQLError) in
                try connection.query("SELECT id FROM things", [], limit: 10)
            }
        }
        #expect(error?.message == "more than 10 rows; narrow the query")
        #expect(try await database.query("SELECT 1 AS a").count == 1)
    }

    @Test("migrations are done once, in order, and a changed one is refused", arguments: Place.all)
    func migrations(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        let second = SQLMigration("more", statements: ["ALTER TABLE things ADD COLUMN more TEXT"])
        let first = SQLMigration("things", tables: [things])
        #expect(try await database.migrate([first, second], now: at(0)) == ["more"])
        #expect(try await database.migrate([first, second], now: at(0)) == [])
        let bad = SQLMigration("bad", statements: ["CREATE TABLE half (a BIGINT)", "CREATE TABLE things (a BIGINT)"])
        await #expect(throws: SQLError.self) { try await database.migrate([first, second, bad], now: at(0)) }
        await #expect(throws: SQLError.self) { try await database.query("SELECT * FROM half") }
        var changed = first
        changed.statements = ["SELECT 1"]
        let error = await #expect(throws: SQLError.self) { try await database.migrate([changed], now: at(0)) }
        #expect(error?.message.contains("another version's 'things'") == true)
    }

    @Test("a closed database opens again; a file's content stays", arguments: Place.all)
    func closing(place: Place) async throws {
        let (database, folder) = try await made(place)
        defer { withExtendedLifetime(folder) {} }
        try await database.insert(into: "things", ["id", "name"], [[1, "a"]])
        await database.close()
        #expect(try await database.query("SELECT * FROM things").count == 1)
    }
}

extension SQLError.Kind {
    /// Of a mistake that the two databases name differently.
    fileprivate static let any = SQLError.Kind.refused
}

@Suite struct SQLiteTests {
    @Test("a file that is no database, or nowhere, is told") func files() async throws {
        let folder = try Folder()
        let path = try folder.put("bad.db", String(repeating: "this is no database. ", count: 100))
        let bad = SQLiteDatabase(path: path, clock: SystemClock())
        let error = await #expect(throws: SQLError.self) { try await bad.query("SELECT 1") }
        #expect(error?.description.contains("restore the file from a backup") == true)
        let nowhere = SQLiteDatabase(path: "\(folder.path)/no/where.db", clock: SystemClock())
        let missing = await #expect(throws: SQLError.self) { try await nowhere.query("SELECT 1") }
        #expect(missing?.kind == .unreachable)
    }

    @Test("a lock held by another ends in time") func locked() async throws {
        let folder = try Folder()
        let path = "\(folder.path)/a.db"
        let (one, two) = (
            SQLiteDatabase(path: path, clock: SystemClock()), SQLiteDatabase(path: path, clock: SystemClock())
        )
        try await one.execute("CREATE TABLE t (a INTEGER)")
        try await two.execute("SELECT 1")
        try await one.execute("BEGIN IMMEDIATE")
        let error = await #expect(throws: SQLError.self) {
            try await two.transaction(timeout: 50) { connection throws(SQLError) in
                try connection.execute("INSERT INTO t VALUES (1)")
            }
        }
        #expect(error?.kind == .timedOut || error?.kind == .busy)
        // A reader is not held up.
        #expect(try await two.query("SELECT * FROM t").isEmpty)
        try await one.execute("COMMIT")
        try await two.execute("INSERT INTO t VALUES (1)")
    }
}

@Suite struct PostgresTests {
    @Test(
        "addresses are told without their passwords",
        arguments: [
            ("postgresql://u:pw@h:5433/d?sslmode=require", "postgresql://u@h:5433/d"),
            ("postgres://h/d", "postgresql://h/d"), ("postgresql:///d?password=pw", "postgresql:///d"),
        ])
    func addresses(url: String, expected: String) throws {
        #expect(try PostgresDatabase.address(of: url) == expected)
    }

    @Test(
        "an address that cannot be read is not repeated",
        arguments: ["postgresql://u:pw@h:5433/d?nonsense=pw", "mysql://u:pw@h/d", "postgresql://u:pw@[::1/d"])
    func badAddresses(url: String) {
        let error = #expect(throws: SQLError.self) { try PostgresDatabase.address(of: url) }
        #expect(error.map { !"\($0)".contains("pw") } == true)
    }

    @Test("nobody there, or a wrong password, is told soon and without the password") func unreachable() async throws {
        let nobody = try PostgresDatabase(
            url: "postgresql://u:pw-1@127.0.0.1:1/d", clock: SystemClock(), timeout: 2000)
        let error = await #expect(throws: SQLError.self) { try await nobody.query("SELECT 1") }
        #expect(error?.kind == .unreachable)
        guard PostgresCluster.isInstalled else { return }
        let wrong = try PostgresDatabase(
            url: try PostgresCluster.shared().url(),
            password: { () throws(SQLError) in "wrong-password" }, clock: SystemClock())
        let refused = await #expect(throws: SQLError.self) { try await wrong.query("SELECT 1") }
        #expect(refused?.kind == .unreachable)
        #expect(refused.map { !"\($0)".contains("wrong-password") && "\($0)".contains("password") } == true)
    }

    @Test(
        "a connection that the server closed is made anew", .enabled(if: PostgresCluster.isInstalled, "no PostgreSQL"))
    func reconnects() async throws {
        let url = try PostgresCluster.shared().makeDatabase()
        let make = {
            try PostgresDatabase(
                url: url, password: { () throws(SQLError) in PostgresCluster.password }, clock: SystemClock())
        }
        let (one, other) = (try make(), try make())
        let number = try #require(try await one.query("SELECT pg_backend_pid() AS p").first).integer("p")
        _ = try await other.query("SELECT pg_terminate_backend(CAST(? AS INTEGER))", [.integer(number)])
        #expect(try await one.query("SELECT 1 AS a").count == 1)
        // In the middle of a call it is an error, and the next call is well.
        let error = await #expect(throws: SQLError.self) {
            try await one.perform { connection throws(SQLError) in
                _ = try connection.query("SELECT pg_terminate_backend(pg_backend_pid())")
                return try connection.query("SELECT 1")
            }
        }
        #expect(error?.kind == .interrupted)
        #expect(try await one.query("SELECT 1 AS a").count == 1)
    }

    @Test(
        "placeholders are numbered outside quotes and comments",
        arguments: [
            ("a = ? AND b = ?", "a = $1 AND b = $2"), ("'?' || ?", "'?' || $1"), ("\"a?\" = ?", "\"a?\" = $1"),
            ("'it''s ?' ?", "'it''s ?' $1"), ("-- ?\n?", "-- ?\n$1"), ("/* ? */ ?", "/* ? */ $1"),
            ("/*/ ? */?", "/*/ ? */$1"),
            ("'open ?", "'open ?"), ("a - ?", "a - $1"), ("", ""), ("a / ?", "a / $1"),
        ])
    func placeholders(sql: String, expected: String) { #expect(numberedPlaceholders(sql) == expected) }

    @Test(
        "names", arguments: [("a_1", true), ("", false), ("1a", false), ("a b", false), ("A", false), ("a;", false)])
    func names(name: String, expected: Bool) { #expect(isSQLIdentifier(name) == expected) }
}
