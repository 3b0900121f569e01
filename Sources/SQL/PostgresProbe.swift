public import Basics

/// A look at a PostgreSQL server: a connection of its own, `SELECT 1`, and queries that only read.
public struct PostgresProbe {
    /// A query and how much it may take.
    public struct Query: Sendable, Hashable {
        /// One statement.
        public var sql: String
        /// More rows fail.
        public var rowLimit: Int
        /// The longest it may take; the look's own end comes before it.
        public var timeout: Milliseconds

        /// A query by its parts.
        public init(sql: String, rowLimit: Int, timeout: Milliseconds) {
            (self.sql, self.rowLimit, self.timeout) = (sql, rowLimit, timeout)
        }
    }

    /// What was found.
    public struct Outcome: Sendable {
        /// Connecting, and the answer to `SELECT 1`, in seconds.
        public var connectSeconds: Double, answerSeconds: Double
        /// Each query's rows, or why there are none.
        public var results: [Result<[SQLRow], SQLError>] = []
    }

    /// Less than whoever waits for the look allows it.
    private static let grace: Milliseconds = 250

    private let connection: PostgresConnection
    private let clock: any TimeSource
    private let end: UInt64
    private var outcome: Outcome

    /// The host that has to be looked up before, or nil where there is none to look up: a socket's folder, an address
    /// that is given as one, several hosts.
    public static func host(of url: String) throws(SQLError) -> String? {
        let parts = try PostgresDatabase.parts(of: url)
        guard parts["hostaddr"] == nil, let host = parts["host"], !host.hasPrefix("/"), !host.hasPrefix("@"),
            !host.contains(",")
        else { return nil }
        return host
    }

    /// Whether a URL holds a password.
    public static func holdsPassword(_ url: String) throws(SQLError) -> Bool {
        try PostgresDatabase.parts(of: url)["password"] != nil
    }

    /// Connects and asks `SELECT 1`; blocks for at most `timeout` and a quarter of a second.
    ///
    /// - Parameters:
    ///   - hostAddress: The address of the host, see `host(of:)`.
    ///   - username: In place of the URL's.
    public init(
        url: String, hostAddress: String?, username: String?, password: String?, clock: any TimeSource,
        timeout: Milliseconds
    ) throws(SQLError) {
        let began = clock.uptimeNanoseconds()
        self.clock = clock
        end = began + UInt64(timeout) * 1_000_000
        connection = try PostgresConnection(
            url: url, address: try PostgresDatabase.address(of: url), username: username, password: password,
            clock: clock, timeout: timeout, hostAddress: hostAddress, grace: PostgresProbe.grace)
        let connected = clock.uptimeNanoseconds()
        connection.begin(PostgresProbe.left(until: end, clock))
        _ = try connection.query("SELECT 1")
        outcome = Outcome(
            connectSeconds: Double(connected - began) / 1e9,
            answerSeconds: Double(clock.uptimeNanoseconds() - connected) / 1e9)
    }

    private static func left(until end: UInt64, _ clock: any TimeSource) -> Milliseconds {
        let now = clock.uptimeNanoseconds()
        return now < end ? Milliseconds((end - now) / 1_000_000) : 0
    }

    /// Runs the queries, each in a transaction of its own that can write nothing, and closes the connection. A query
    /// that fails leaves the others as they are, unless the connection is lost with it.
    public consuming func finish(_ queries: [Query]) -> Outcome {
        var lost: SQLError?
        for query in queries {
            if let lost {
                outcome.results.append(.failure(lost))
                continue
            }
            do throws(SQLError) {
                outcome.results.append(.success(try rows(of: query)))
            } catch {
                outcome.results.append(.failure(error))
                if error.kind == .interrupted || error.kind == .unreachable {
                    lost = error
                    continue
                }
                do throws(SQLError) {
                    connection.begin(1000)
                    try connection.execute("ROLLBACK")
                } catch { lost = error }
            }
        }
        return outcome
    }

    private func rows(of query: Query) throws(SQLError) -> [SQLRow] {
        connection.begin(min(query.timeout, PostgresProbe.left(until: end, clock)))
        try connection.execute("BEGIN READ ONLY")
        // All rows that are asked for are wanted, so the plan is the query's own.
        try connection.execute("SET LOCAL cursor_tuple_fraction = 1")
        // A cursor makes no more rows than are fetched, and takes one query that reads and nothing else.
        try connection.execute("DECLARE vedette_rows NO SCROLL CURSOR FOR \(query.sql)")
        let rows = try connection.query("FETCH \(query.rowLimit + 1) FROM vedette_rows")
        guard rows.count <= query.rowLimit else {
            throw SQLError(.refused, "more than \(query.rowLimit) rows; narrow the query or raise row_limit")
        }
        try connection.execute("ROLLBACK")
        return rows
    }
}
