import Basics
import SQL
import TestSupport
import Testing

/// Looks at a real PostgreSQL server; needs one that is installed, and root.
@Suite(.enabled(if: PostgresCluster.isInstalled)) struct PostgresProbeTests {
    private func probe(_ url: String, password: String? = PostgresCluster.password) throws -> PostgresProbe {
        try PostgresProbe(
            url: url, hostAddress: nil, username: nil, password: password, clock: SystemClock(), timeout: 20_000)
    }

    @Test("queries that write, never end, are two or give too much fail, each by itself") func queries() throws {
        let url = try PostgresCluster.shared().makeDatabase()
        let queries: [(sql: String, timeout: Milliseconds, wanted: String)] = [
            ("SELECT 1 AS a, 'x' AS b", 5000, ""),
            ("WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT * FROM x", 5000, "t"),
            ("SELECT 1; SELECT 2", 5000, "cannot insert multiple commands"),
            ("SELECT 1 FOR UPDATE OF pg_class", 5000, "pg_class"),
            ("SELECT nextval('pg_class')", 5000, "pg_class"),
            ("SELECT pg_sleep(100)", 200, "it took longer than 200ms"),
            ("SELECT generate_series(1, 1000000000)", 5000, "more than 10 rows"), ("SELECT 2 AS a", 5000, ""),
        ]
        let outcome = try probe(url).finish(
            queries.map { PostgresProbe.Query(sql: $0.sql, rowLimit: 10, timeout: $0.timeout) })
        #expect(outcome.results.count == queries.count && outcome.connectSeconds > 0)
        for (query, result) in zip(queries, outcome.results) {
            switch result {
            case .success(let rows): #expect(query.wanted.isEmpty && rows.count == 1, "\(query.sql)")
            case .failure(let error):
                #expect(!query.wanted.isEmpty && error.message.contains(query.wanted), "\(query.sql): \(error)")
            }
        }
    }

    @Test("a wrong password is told without being told") func locked() throws {
        let url = try PostgresCluster.shared().url()
        let error = #expect(throws: SQLError.self) { try probe(url, password: "verraten") }
        #expect(error?.message.contains("authentication failed") == true)
        #expect(error?.description.contains("verraten") == false)
    }

    @Test("which host is looked up before") func host() throws {
        #expect(try PostgresProbe.host(of: "postgresql://db.example.com:5432/x") == "db.example.com")
        #expect(try PostgresProbe.host(of: "postgresql://%2Frun%2Fpostgresql/x") == nil)
        #expect(try PostgresProbe.host(of: "postgresql://a,b/x") == nil)
        #expect(try PostgresProbe.holdsPassword("postgresql://u:p@a/x"))
        #expect(try !PostgresProbe.holdsPassword("postgresql://u@a/x"))
    }
}
