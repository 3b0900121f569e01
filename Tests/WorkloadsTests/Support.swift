import Basics
import Model
import SQL
import Synchronization
import TestSupport

@testable import Workloads

/// A wall clock that stands where it is put; time limits run by the real one, so that SQLite's do not.
final class HeldClock: TimeSource {
    private let moment: Mutex<Timestamp>
    init(_ text: String) { moment = Mutex(Timestamp(rfc3339: text)!) }
    func put(_ text: String) { moment.withLock { $0 = Timestamp(rfc3339: text)! } }
    func now() -> Timestamp { moment.withLock { $0 } }
    func uptimeNanoseconds() -> UInt64 { SystemClock().uptimeNanoseconds() }
    func sleep(for duration: Milliseconds) async throws(CancellationError) {
        try await SystemClock().sleep(for: 3_600_000)
    }
}

/// A database of no rows that fails or keeps everybody waiting on demand.
final class StubDatabase: SQLDatabase {
    struct State {
        var failure: SQLError?
        var delay: Milliseconds = 0
        var calls = 0
        var inserted = 0
    }
    let state = Mutex(State())
    let clock: any TimeSource
    var dialect: SQLDialect { .sqlite }
    var address: String { "stub" }
    init(_ clock: any TimeSource) { self.clock = clock }

    func perform<Value: Sendable>(
        inTransaction: Bool, timeout: Milliseconds?,
        _ body: @escaping @Sendable (any SQLConnection) throws(SQLError) -> Value
    ) async throws(SQLError) -> Value {
        let (failure, delay) = state.withLock { state in
            state.calls += 1
            return (state.failure, state.delay)
        }
        if delay > 0 { try? await clock.sleep(for: delay) }
        if let failure { throw failure }
        return try body(StubConnection(database: self))
    }
    func close() async {}
}

private final class StubConnection: SQLConnection {
    let database: StubDatabase
    var dialect: SQLDialect { .sqlite }
    init(database: StubDatabase) { self.database = database }
    func each(_ sql: String, _ parameters: [SQLValue], _ body: (SQLRow) throws(SQLError) -> Void) throws(SQLError) {}
    func execute(_ sql: String, _ parameters: [SQLValue]) throws(SQLError) -> Int { 0 }
    func insert(into table: String, _ columns: [String], _ rows: [[SQLValue]], ignoresKnown: Bool) throws(SQLError) {
        database.state.withLock { $0.inserted += rows.count }
    }
}

extension WorkloadHost {
    func get(_ path: String, _ query: [String: String] = [:]) async -> WorkloadResponse {
        await answer(WorkloadRequest("GET", path, query: query))
    }
    func post(_ path: String, _ body: String = "") async -> WorkloadResponse {
        await answer(WorkloadRequest("POST", path, body: Array(body.utf8)))
    }
}

/// The value of a line, by the family's name with the suffix and the labels' printed form.
func value(_ families: [MetricFamily], _ name: String, _ labels: Labels = Labels()) -> Double? {
    for family in families {
        for line in family.lines where family.name + line.suffix == name && line.labels == labels { return line.value }
    }
    return nil
}
