public import Basics
internal import CSQLite
internal import Glibc

/// SQLite in a file, in WAL mode. The file is opened by SQLite itself, by its path: it does not go through
/// `FileSystem`, since SQLite's locks and shared memory need the real thing.
public final class SQLiteDatabase: SQLDatabase {
    private let worker: SQLWorker
    /// The path.
    public let address: String
    /// SQLite.
    public var dialect: SQLDialect { .sqlite }

    /// A database that is opened when it is first needed, and made when it does not exist; its folder must.
    ///
    /// - Parameter timeout: The longest that one call may take, unless it says otherwise.
    public init(path: String, clock: any TimeSource, timeout: Milliseconds = 10_000) {
        address = "sqlite:\(path)"
        worker = SQLWorker(name: "vedette-sqlite", timeout: timeout) { () throws(SQLError) in
            try SQLiteConnection(path: path, clock: clock)
        }
    }

    /// See `SQLDatabase`.
    public func perform<Value: Sendable>(
        inTransaction: Bool, timeout: Milliseconds?,
        _ body: @escaping @Sendable (any SQLConnection) throws(SQLError) -> Value
    ) async throws(SQLError) -> Value {
        try await worker.perform(inTransaction: inTransaction, timeout: timeout, body)
    }

    /// See `SQLDatabase`.
    public func close() async { await worker.close() }
}

/// When what is under way must end; SQLite asks every few thousand steps.
private final class Deadline {
    let clock: any TimeSource
    var nanoseconds = UInt64.max
    init(_ clock: any TimeSource) { self.clock = clock }
    var hasPassed: Bool { clock.uptimeNanoseconds() >= nanoseconds }
}

/// An open file. A class that only its worker's lock hands out.
@safe final class SQLiteConnection: SQLSession {
    private let handle: OpaquePointer
    private let deadline: Deadline

    var dialect: SQLDialect { .sqlite }
    // IMMEDIATE: a transaction that reads first and writes later would find itself refused half-way.
    var beginning: String { "BEGIN IMMEDIATE" }
    var probe: String? { nil }

    init(path: String, clock: any TimeSource) throws(SQLError) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
        let code = unsafe sqlite3_open_v2(path, &opened, flags, nil)
        guard let made = unsafe opened, code == SQLITE_OK else {
            let reason = unsafe String(cString: sqlite3_errstr(code))
            unsafe sqlite3_close_v2(opened)
            throw SQLError(.unreachable, "SQLite cannot open \(path): \(reason); see that its folder is there and ours")
        }
        unsafe handle = made
        deadline = Deadline(clock)
        unsafe sqlite3_progress_handler(
            handle, 4000,
            { context in
                let deadline = unsafe Unmanaged<Deadline>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
                return deadline.hasPassed ? 1 : 0
            }, Unmanaged.passUnretained(deadline).toOpaque())
        begin(10_000)
        for pragma in ["journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -4096"] {
            try each("PRAGMA \(pragma)", []) { _ in }
        }
    }

    deinit { unsafe sqlite3_close_v2(handle) }

    func begin(_ timeout: Milliseconds) {
        deadline.nanoseconds = deadline.clock.uptimeNanoseconds() + UInt64(max(0, timeout)) * 1_000_000
        unsafe sqlite3_busy_timeout(handle, Int32(clamping: timeout))
    }

    func each(
        _ sql: String, _ parameters: [SQLValue], _ body: (SQLRow) throws(SQLError) -> Void
    ) throws(SQLError) {
        let statement = try SQLiteStatement(sql, on: self)
        try statement.bind(parameters, on: self)
        let columns = SQLColumns(statement.columnNames)
        while try statement.step(on: self) {
            try body(SQLRow(columns: columns, values: statement.values(count: columns.names.count)))
        }
    }

    func execute(_ sql: String, _ parameters: [SQLValue]) throws(SQLError) -> Int {
        let before = unsafe sqlite3_total_changes64(handle)
        let statement = try SQLiteStatement(sql, on: self)
        try statement.bind(parameters, on: self)
        while try statement.step(on: self) {}
        return Int(unsafe sqlite3_total_changes64(handle) - before)
    }

    func insert(
        into table: String, _ columns: [String], _ rows: [[SQLValue]], ignoresKnown: Bool
    ) throws(SQLError) {
        let marks = [String](repeating: "?", count: columns.count).joined(separator: ", ")
        let tail = ignoresKnown ? " ON CONFLICT DO NOTHING" : ""
        let sql = "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(marks))\(tail)"
        let statement = try SQLiteStatement(sql, on: self)
        for row in rows {
            try statement.bind(row, on: self)
            _ = try statement.step(on: self)
            statement.reset()
        }
    }

    fileprivate func prepare(_ sql: String) throws(SQLError) -> OpaquePointer {
        var made: OpaquePointer?
        var rest = 0
        var text = sql
        let code = text.withUTF8 { bytes in
            unsafe bytes.withMemoryRebound(to: CChar.self) { characters in
                var tail: UnsafePointer<CChar>?
                let code = unsafe sqlite3_prepare_v2(
                    handle, characters.baseAddress, Int32(characters.count), &made, &tail)
                if let tail = unsafe tail, let start = characters.baseAddress {
                    rest = characters.count - (unsafe tail - start)
                }
                return code
            }
        }
        guard code == SQLITE_OK else { throw failure(code, sql) }
        guard let statement = unsafe made else { throw SQLError(.refused, "the statement is empty", statement: sql) }
        guard !sql.utf8.suffix(rest).contains(where: { $0 > 0x20 && $0 != UInt8(ascii: ";") }) else {
            unsafe sqlite3_finalize(statement)
            throw SQLError(.refused, "more than one statement; give them one by one", statement: sql)
        }
        return unsafe statement
    }

    func failure(_ code: Int32, _ sql: String) -> SQLError {
        let message = unsafe String(cString: sqlite3_errmsg(handle))
        switch code & 0xFF {
        case SQLITE_INTERRUPT: return SQLError(.timedOut, "it took longer than allowed", statement: sql)
        case SQLITE_BUSY, SQLITE_LOCKED:
            return deadline.hasPassed
                ? SQLError(.timedOut, "another process held the database for too long", statement: sql)
                : SQLError(.busy, message, statement: sql)
        case SQLITE_CONSTRAINT: return SQLError(.constraint, message, statement: sql)
        case SQLITE_NOTADB, SQLITE_CORRUPT:
            return SQLError(.refused, "\(message); restore the file from a backup, or move it away", statement: sql)
        case SQLITE_FULL: return SQLError(.refused, "\(message); make room on the disk", statement: sql)
        case SQLITE_CANTOPEN, SQLITE_IOERR: return SQLError(.interrupted, message, statement: sql)
        default: return SQLError(.refused, message, statement: sql)
        }
    }
}

/// A prepared statement.
@safe private struct SQLiteStatement: ~Copyable {
    private let pointer: OpaquePointer
    private let sql: String

    init(_ sql: String, on connection: SQLiteConnection) throws(SQLError) {
        unsafe pointer = try connection.prepare(sql)
        self.sql = sql
    }

    deinit { unsafe sqlite3_finalize(pointer) }

    var columnNames: [String] {
        let count = unsafe sqlite3_column_count(pointer)
        return (0..<count).map { place in
            unsafe sqlite3_column_name(pointer, place).map { unsafe String(cString: $0) } ?? ""
        }
    }

    func bind(_ values: [SQLValue], on connection: SQLiteConnection) throws(SQLError) {
        let wanted = Int(unsafe sqlite3_bind_parameter_count(pointer))
        guard wanted == values.count else {
            throw SQLError(.refused, "\(values.count) values for \(wanted) placeholders", statement: sql)
        }
        for (index, value) in values.enumerated() {
            let place = Int32(index + 1)
            let code: Int32
            switch value {
            case .null: code = unsafe sqlite3_bind_null(pointer, place)
            case .integer(let number): code = unsafe sqlite3_bind_int64(pointer, place, number)
            case .real(let number):
                // SQLite would turn NaN into NULL in silence.
                guard !number.isNaN else { throw SQLError(.refused, "NaN is no value; give NULL", statement: sql) }
                code = unsafe sqlite3_bind_double(pointer, place, number)
            case .text(let text):
                guard !text.utf8.contains(0) else {
                    throw SQLError(.refused, "a text holds a zero byte; take it out", statement: sql)
                }
                code = unsafe vedette_sqlite_bind_text(pointer, place, text, Int32(text.utf8.count))
            case .blob(let bytes):
                // An empty array's pointer may be nil, which SQLite takes for NULL.
                code =
                    bytes.isEmpty
                    ? unsafe sqlite3_bind_zeroblob(pointer, place, 0)
                    : unsafe vedette_sqlite_bind_blob(pointer, place, bytes, Int32(bytes.count))
            }
            guard code == SQLITE_OK else { throw connection.failure(code, sql) }
        }
    }

    /// Whether there is a row.
    func step(on connection: SQLiteConnection) throws(SQLError) -> Bool {
        let code = unsafe sqlite3_step(pointer)
        switch code {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw connection.failure(code, sql)
        }
    }

    func reset() { unsafe sqlite3_reset(pointer) }

    func values(count: Int) -> [SQLValue] {
        var values: [SQLValue] = []
        values.reserveCapacity(count)
        for place in 0..<Int32(count) {
            switch unsafe sqlite3_column_type(pointer, place) {
            case SQLITE_INTEGER: values.append(.integer(unsafe sqlite3_column_int64(pointer, place)))
            case SQLITE_FLOAT: values.append(.real(unsafe sqlite3_column_double(pointer, place)))
            case SQLITE_TEXT:
                values.append(
                    .text(unsafe sqlite3_column_text(pointer, place).map { unsafe String(cString: $0) } ?? ""))
            case SQLITE_BLOB:
                let start = unsafe sqlite3_column_blob(pointer, place)
                let size = Int(unsafe sqlite3_column_bytes(pointer, place))
                unsafe values.append(.blob(Array(UnsafeRawBufferPointer(start: start, count: size))))
            default: values.append(.null)
            }
        }
        return values
    }
}
