public import Basics
internal import CPostgres
internal import Glibc

/// A PostgreSQL server, over libpq.
public final class PostgresDatabase: SQLDatabase {
    private let worker: SQLWorker
    /// `postgresql://user@host:port/database`.
    public let address: String
    /// PostgreSQL.
    public var dialect: SQLDialect { .postgresql }

    /// A database that is connected to when it is first needed.
    ///
    /// - Parameters:
    ///   - url: `postgresql://…` with libpq's parameters; what it leaves out libpq takes from its environment, such as
    ///     `PGPASSWORD` and `~/.pgpass`.
    ///   - password: Asked for at each connection, so that it may change; nil leaves it to the URL and libpq.
    ///   - timeout: The longest that one call may take, unless it says otherwise; connecting counts.
    public init(
        url: String, password: @escaping @Sendable () throws(SQLError) -> String? = { () throws(SQLError) in nil },
        clock: any TimeSource, timeout: Milliseconds = 10_000
    ) throws(SQLError) {
        address = try PostgresDatabase.address(of: url)
        worker = SQLWorker(name: "vedette-postgres", timeout: timeout) { [address] () throws(SQLError) in
            try PostgresConnection(
                url: url, address: address, password: try password(), clock: clock, timeout: min(timeout, 10_000))
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

    /// The URL without its password, for people; a URL that libpq cannot read is an error, which does not repeat it.
    public static func address(of url: String) throws(SQLError) -> String {
        let parts = try parts(of: url)
        let user = parts["user"].map { "\($0)@" } ?? ""
        let port = parts["port"].map { ":\($0)" } ?? ""
        return "postgresql://\(user)\(parts["host"] ?? "")\(port)/\(parts["dbname"] ?? "")"
    }

    /// What a URL says, by libpq's keywords.
    static func parts(of url: String) throws(SQLError) -> [String: String] {
        guard url.hasPrefix("postgresql://") || url.hasPrefix("postgres://"),
            let parsed = unsafe PQconninfoParse(url, nil)
        else {
            throw SQLError(
                .refused, "the address of the database cannot be read; write postgresql://USER@HOST:PORT/DATABASE")
        }
        defer { unsafe PQconninfoFree(parsed) }
        var parts: [String: String] = [:]
        var option = unsafe parsed
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val { unsafe parts[String(cString: keyword)] = String(cString: value) }
            unsafe option += 1
        }
        return parts
    }
}

/// An open connection. A class that only its worker's lock hands out.
@safe final class PostgresConnection: SQLSession {
    private let handle: OpaquePointer
    private let clock: any TimeSource
    private var deadline: UInt64
    private var serverTimeout: Milliseconds = 0
    /// Ours, and what the server may still have under way: such a connection is not used again.
    private var timeout: Milliseconds
    /// How much longer than the time of a statement is waited: the server stops it by itself, and then the connection
    /// is whole. Nothing stops a connecting.
    private let grace: Milliseconds
    private var isConnected = false

    var dialect: SQLDialect { .postgresql }
    var beginning: String { "BEGIN" }
    var probe: String? { "SELECT 1" }

    /// - Parameter hostAddress: The host's address, where it was looked up already: libpq's own lookup has no limit.
    init(
        url: String, address: String, username: String? = nil, password: String?, clock: any TimeSource,
        timeout: Milliseconds, hostAddress: String? = nil, grace: Milliseconds = 1000
    ) throws(SQLError) {
        var settings = [
            ("dbname", url), ("fallback_application_name", "vedette"), ("client_encoding", "UTF8"),
            ("keepalives_idle", "30"), ("tcp_user_timeout", "30000"),
        ]
        if let password { settings.append(("password", password)) }
        if let username { settings.append(("user", username)) }
        if let hostAddress { settings.append(("hostaddr", hostAddress)) }
        var keywords = unsafe settings.map { unsafe UnsafePointer(strdup($0.0)) }
        var values = unsafe settings.map { unsafe UnsafePointer(strdup($0.1)) }
        unsafe keywords.append(nil)
        unsafe values.append(nil)
        let made = unsafe PQconnectStartParams(keywords, values, 1)
        unsafe (keywords + values).forEach { unsafe free(UnsafeMutablePointer(mutating: $0)) }
        guard let made = unsafe made else { throw SQLError(.unreachable, "no memory for a connection") }
        unsafe handle = made
        self.clock = clock
        (self.timeout, self.grace) = (timeout, grace)
        deadline = clock.uptimeNanoseconds() + UInt64(timeout) * 1_000_000
        try connect(address)
        isConnected = true
        _ = try execute("SET client_min_messages = error", [])
    }

    deinit { unsafe PQfinish(handle) }

    private func connect(_ address: String) throws(SQLError) {
        var wanted = PGRES_POLLING_WRITING
        while unsafe PQstatus(handle) != CONNECTION_BAD {
            guard wanted != PGRES_POLLING_OK else { return }
            guard wanted != PGRES_POLLING_FAILED else { break }
            guard wait(writing: wanted == PGRES_POLLING_WRITING) else {
                throw SQLError(.unreachable, "\(address) did not answer in time")
            }
            wanted = unsafe PQconnectPoll(handle)
        }
        throw SQLError(.unreachable, "\(address): \(words)")
    }

    /// libpq's words on one line.
    private var words: String {
        let text = unsafe String(cString: PQerrorMessage(handle))
        return text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }

    func begin(_ timeout: Milliseconds) {
        self.timeout = timeout
        deadline = clock.uptimeNanoseconds() + UInt64(max(0, timeout)) * 1_000_000
    }

    /// Whether the socket became ready before the time ran out.
    private func wait(writing: Bool) -> Bool {
        while true {
            let now = clock.uptimeNanoseconds()
            let end = deadline &+ (isConnected ? UInt64(grace) * 1_000_000 : 0)
            guard now < end else { return false }
            var descriptor = pollfd(
                fd: unsafe PQsocket(handle), events: Int16(writing ? POLLOUT : POLLIN), revents: 0)
            let ready = unsafe poll(&descriptor, 1, Int32(clamping: (end - now) / 1_000_000 + 1))
            if ready > 0 { return true }
            if ready < 0, errno != EINTR { return false }
        }
    }

    func each(
        _ sql: String, _ parameters: [SQLValue], _ body: (SQLRow) throws(SQLError) -> Void
    ) throws(SQLError) {
        try send(sql, parameters)
        unsafe PQsetSingleRowMode(handle)
        var columns: SQLColumns?
        var failure: SQLError?
        while let result = unsafe try next(sql) {
            defer { unsafe PQclear(result) }
            let status = unsafe PQresultStatus(result)
            guard status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK else {
                if failure == nil { failure = unsafe error(result, sql) }
                continue
            }
            // After a failure of `body` the rest is read all the same, so that the connection can be used again.
            guard failure == nil else { continue }
            let known: SQLColumns
            if let columns { known = columns } else { known = SQLColumns(unsafe PostgresConnection.names(result)) }
            columns = known
            let count = unsafe PQntuples(result)
            for row in 0..<count {
                do throws(SQLError) {
                    try body(
                        SQLRow(
                            columns: known,
                            values: unsafe PostgresConnection.values(result, row, count: known.names.count)))
                } catch {
                    failure = error
                    break
                }
            }
        }
        if let failure { throw failure }
    }

    func execute(_ sql: String, _ parameters: [SQLValue]) throws(SQLError) -> Int {
        try send(sql, parameters)
        var changed = 0
        var failure: SQLError?
        while let result = unsafe try next(sql) {
            defer { unsafe PQclear(result) }
            let status = unsafe PQresultStatus(result)
            if status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK {
                changed += Int(unsafe String(cString: PQcmdTuples(result))) ?? 0
            } else {
                if failure == nil { failure = unsafe error(result, sql) }
            }
        }
        if let failure { throw failure }
        return changed
    }

    func insert(
        into table: String, _ columns: [String], _ rows: [[SQLValue]], ignoresKnown: Bool
    ) throws(SQLError) {
        let tail = ignoresKnown ? " ON CONFLICT DO NOTHING" : ""
        let head = "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES "
        // The protocol counts parameters in 16 bits.
        let size = max(1, min(500, 30_000 / max(1, columns.count)))
        for start in stride(from: 0, to: rows.count, by: size) {
            let part = rows[start..<min(start + size, rows.count)]
            for row in part where row.count != columns.count {
                throw SQLError(.refused, "\(row.count) values for \(columns.count) columns", statement: head)
            }
            let marks = "(" + [String](repeating: "?", count: columns.count).joined(separator: ", ") + ")"
            let all = [String](repeating: marks, count: part.count).joined(separator: ", ")
            _ = try execute(head + all + tail, part.flatMap { $0 })
        }
    }

    // MARK: - The protocol

    private func send(_ sql: String, _ parameters: [SQLValue]) throws(SQLError) {
        guard clock.uptimeNanoseconds() < deadline else { throw late(sql) }
        if serverTimeout != timeout, !sql.hasPrefix("ROLLBACK") {
            serverTimeout = timeout
            _ = try execute("SET statement_timeout = \(max(1, timeout))", [])
        }
        var (types, starts, lengths, formats): ([Oid], [Int], [Int32], [Int32]) = ([], [], [], [])
        var bytes: [UInt8] = []
        for value in parameters {
            starts.append(value.isNull ? -1 : bytes.count)
            switch value {
            case .null: types.append(0)
            case .integer(let number):
                types.append(20)
                bytes += String(number).utf8
            case .real(let number):
                guard !number.isNaN else { throw SQLError(.refused, "NaN is no value; give NULL", statement: sql) }
                types.append(701)
                bytes += number.isInfinite ? (number > 0 ? "Infinity" : "-Infinity").utf8 : number.description.utf8
            case .text(let text):
                guard !text.utf8.contains(0) else {
                    throw SQLError(.refused, "a text holds a zero byte; take it out", statement: sql)
                }
                types.append(0)
                bytes += text.utf8
            case .blob(let blob):
                types.append(17)
                bytes += blob
            }
            if case .blob = value { formats.append(1) } else { formats.append(0) }
            lengths.append(Int32(bytes.count - max(0, starts.last ?? 0)))
            bytes.append(0)
        }
        let sent = unsafe bytes.withUnsafeBufferPointer { buffer in
            let base = unsafe buffer.baseAddress.map { unsafe UnsafeRawPointer($0) }
            let pointers = unsafe starts.map { start in
                unsafe start < 0 ? nil : base.map { unsafe ($0 + start).assumingMemoryBound(to: CChar.self) }
            }
            return unsafe PQsendQueryParams(
                handle, numberedPlaceholders(sql), Int32(parameters.count), types, pointers, lengths, formats, 0)
        }
        guard sent == 1 else { throw SQLError(.interrupted, words, statement: sql) }
    }

    /// The next result of what was sent; nil after the last. The caller clears it.
    private func next(_ sql: String) throws(SQLError) -> OpaquePointer? {
        while unsafe PQisBusy(handle) == 1 {
            guard wait(writing: false) else { throw late(sql) }
            guard unsafe PQconsumeInput(handle) == 1 else { throw SQLError(.interrupted, words, statement: sql) }
        }
        return unsafe PQgetResult(handle)
    }

    private func late(_ sql: String) -> SQLError {
        SQLError(.timedOut, "it took longer than \(DurationText.format(timeout))", statement: sql)
    }

    private func error(_ result: OpaquePointer, _ sql: String) -> SQLError {
        func field(_ code: Character) -> String? {
            let number = Int32(code.asciiValue ?? 0)
            return unsafe PQresultErrorField(result, number).map { unsafe String(cString: $0) }
        }
        let state = field("C") ?? ""
        let message = field("M") ?? words
        switch state.prefix(2) {
        case _ where unsafe PQstatus(handle) == CONNECTION_BAD: return SQLError(.interrupted, message, statement: sql)
        case "57" where state == "57014":
            return late(sql)
        case "57": return SQLError(.interrupted, message, statement: sql)
        case "23": return SQLError(.constraint, message, statement: sql)
        case "40", "55": return SQLError(.busy, message, statement: sql)
        // The message repeats the value.
        case "22": return SQLError(.refused, "a value does not fit its column (\(state))", statement: sql)
        default: return SQLError(.refused, "\(message) (\(state))", statement: sql)
        }
    }

    private static func names(_ result: OpaquePointer) -> [String] {
        let count = unsafe PQnfields(result)
        return (0..<count).map { place in
            unsafe PQfname(result, place).map { unsafe String(cString: $0) } ?? ""
        }
    }

    private static func values(_ result: OpaquePointer, _ row: Int32, count: Int) -> [SQLValue] {
        var values: [SQLValue] = []
        values.reserveCapacity(count)
        for place in 0..<Int32(count) {
            guard unsafe PQgetisnull(result, row, place) == 0, let start = unsafe PQgetvalue(result, row, place) else {
                values.append(.null)
                continue
            }
            values.append(value(unsafe String(cString: start), type: unsafe PQftype(result, place)))
        }
        return values
    }

    /// A value by the number of its type in `pg_type`; what is none of ours stays a text. Sums of whole numbers are
    /// `numeric` there: whole again where they fit.
    private static func value(_ text: String, type: Oid) -> SQLValue {
        switch type {
        case 16: return .bool(text == "t")
        case 20, 21, 23, 26: return Int64(text).map(SQLValue.integer) ?? .text(text)
        case 700, 701: return .real(GoNumber.parse(text) ?? .nan)
        case 1700: return Int64(text).map(SQLValue.integer) ?? Double(text).map(SQLValue.real) ?? .text(text)
        case 17: return .blob(bytes(ofHexadecimal: text))
        default: return .text(text)
        }
    }

    private static func bytes(ofHexadecimal text: String) -> [UInt8] {
        let digits = Array(text.utf8.dropFirst(2))
        func digit(_ byte: UInt8) -> UInt8 { byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57 }
        return stride(from: 0, to: digits.count - 1, by: 2).map { digit(digits[$0]) << 4 | digit(digits[$0 + 1]) }
    }
}
