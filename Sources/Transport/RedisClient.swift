public import Basics
internal import CHiredis
internal import Glibc
public import Settings
internal import Synchronization

/// Where a Redis server is and how it is spoken to.
public struct RedisSettings: Sendable, Hashable {
    /// A host's name or address; ignored beside `unixSocket`.
    public var host = "127.0.0.1"
    /// Its port.
    public var port = 6379
    /// A Unix socket in place of host and port.
    public var unixSocket: String?
    /// The number of the database.
    public var database = 0
    /// A user of Redis' access lists; nil: the default one.
    public var username: String?
    /// The password.
    public var password: Secret?
    /// The longest that connecting, and each command, may take.
    public var timeout: Milliseconds = 2_000

    /// The local server.
    public init() {}

    /// Reads `address`, `unix_socket`, `database`, `username`, `password`, `password_file` and `timeout`.
    public init(from map: SettingsMap) throws(SettingsError) {
        self.init()
        let address: String? = try map.take("address")
        unixSocket = try map.takePath("unix_socket")
        if let address {
            guard unixSocket == nil else { throw map.error("address", "stands beside unix_socket; leave one out") }
            (host, port) = try RedisSettings.parse(address, in: map)
        }
        database = try map.take("database", default: database)
        guard database >= 0 else { throw map.error("database", "is a number from 0") }
        username = try map.take("username")
        password = try map.takeSecret("password")
        timeout = try map.takeDuration("timeout", default: timeout)
        guard timeout > 0 else { throw map.error("timeout", "must be above 0") }
    }

    private static func parse(_ address: String, in map: SettingsMap) throws(SettingsError) -> (String, Int) {
        let parts = address.split(separator: ":", omittingEmptySubsequences: false)
        if parts.count == 1, !address.isEmpty { return (address, 6379) }
        guard let last = parts.last, let port = Int(last), (1...65535).contains(port), address.count > last.count + 1
        else { throw map.error("address", "'\(address)' is no address; write it as host:6379") }
        let host = address.dropLast(last.count + 1)
        return (host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : String(host), port)
    }

    /// For people; no secret in it.
    public var address: String { unixSocket ?? "\(host):\(port)" }
}

/// Why Redis did not do what it was asked. It never holds a secret or a value, so it may be printed.
public enum RedisError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No connection, and why: nothing was done.
    case unreachable(String)
    /// The answer did not come; what was asked may have been done.
    case interrupted(String)
    /// Redis said no, in its own words: `READONLY …`, `NOAUTH …`, `WRONGTYPE …`.
    case refused(String)
    /// The password cannot be read.
    case secret(String)

    /// One clause.
    public var description: String {
        switch self {
        case .unreachable(let reason): "Redis cannot be reached: \(reason)"
        case .interrupted(let reason): "Redis did not answer: \(reason)"
        case .refused(let reason): "Redis refused: \(reason)"
        case .secret(let reason): reason
        }
    }
}

/// The few commands that are needed of Redis: a server's, or a table in tests.
public protocol Redis: Sendable {
    /// The value of a key; nil without one.
    func value(of key: String) async throws(RedisError) -> [UInt8]?
    /// Sets a key if it still has the value `expected` (nil: if there is none), in one step that no other client's
    /// write comes between.
    ///
    /// - Returns: Whether it had, and so was set.
    func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(RedisError) -> Bool
}

/// A Redis server, over hiredis, on a thread of its own. One command at a time; the connection is kept and made anew
/// when it broke. About 0.1 ms a command on one machine.
public final class RedisClient: Redis {
    private let settings: RedisSettings
    private let files: Secret.FileReader
    private let executor = ThreadPoolExecutor(count: 1, name: "vedette-redis")
    private let kept = Kept()

    /// A client that has not connected yet; `files` reads the password's file.
    public init(_ settings: RedisSettings, files: @escaping Secret.FileReader) {
        (self.settings, self.files) = (settings, files)
    }

    /// See `Redis`.
    public func value(of key: String) async throws(RedisError) -> [UInt8]? {
        try await perform { connection throws(RedisError) in try connection.command(["GET", key]).bytes }
    }

    /// See `Redis`. An optimistic transaction: `WATCH`, `GET`, `MULTI`, `SET`, `EXEC`.
    public func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(RedisError) -> Bool {
        try await perform { connection throws(RedisError) in
            _ = try connection.command(["WATCH", key])
            guard try connection.command(["GET", key]).bytes == expected else {
                _ = try connection.command(["UNWATCH"])
                return false
            }
            _ = try connection.command(["MULTI"])
            // What is refused while it is queued, such as a write to a replica, makes EXEC refuse too: EXEC's words are
            // then poorer.
            var refusal: RedisError?
            do throws(RedisError) {
                _ = try connection.command(["SET", key], value)
            } catch {
                guard case .refused = error else { throw error }
                refusal = error
            }
            do throws(RedisError) {
                return try connection.command(["EXEC"]).isPresent
            } catch {
                throw refusal ?? error
            }
        }
    }

    private func perform<Value: Sendable>(
        _ body: @escaping @Sendable (RedisConnection) throws(RedisError) -> Value
    ) async throws(RedisError) -> Value {
        let work = executor.start { [kept, settings, files] () -> Result<Value, RedisError> in
            kept.connection.withLock { kept in
                // A kept connection may have been closed by the other side long ago: that says nothing of the server
                // now.
                if let old = kept {
                    let outcome = RedisClient.outcome(of: body, on: old)
                    guard case .failure(let error) = outcome else { return outcome }
                    // After a half-told transaction the connection is in no known state.
                    kept = nil
                    guard case .interrupted = error, !old.hasTimedOut else { return outcome }
                }
                do throws(RedisError) {
                    let fresh = try RedisConnection(settings, files)
                    let outcome = RedisClient.outcome(of: body, on: fresh)
                    if case .success = outcome { kept = fresh }
                    return outcome
                } catch {
                    return .failure(error)
                }
            }
        }
        return try await work.value.get()
    }

    private static func outcome<Value>(
        of body: (RedisConnection) throws(RedisError) -> Value, on connection: RedisConnection
    ) -> Result<Value, RedisError> {
        do throws(RedisError) { return .success(try body(connection)) } catch { return .failure(error) }
    }
}

/// The connection between two commands.
private final class Kept: Sendable {
    let connection = Mutex<RedisConnection?>(nil)
}

/// A reply, copied out of hiredis' memory.
private enum RedisReply {
    case missing
    case text([UInt8])
    case other

    /// The bytes of a text; nil of what is missing.
    var bytes: [UInt8]? { if case .text(let bytes) = self { bytes } else { nil } }
    var isPresent: Bool { if case .missing = self { false } else { true } }
}

/// A server that goes away must not end the process: hiredis writes to a broken connection without a flag that says so.
private let ignoresBrokenPipes: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

/// An open connection; for one thread at a time.
@safe private final class RedisConnection {
    private let context: UnsafeMutablePointer<redisContext>
    /// Whether a command's time ran out on it.
    private(set) var hasTimedOut = false

    init(_ settings: RedisSettings, _ files: Secret.FileReader) throws(RedisError) {
        ignoresBrokenPipes
        let limit = timeval(
            tv_sec: Int(settings.timeout / 1000), tv_usec: Int(settings.timeout % 1000) * 1000)
        let made =
            if let path = settings.unixSocket {
                unsafe redisConnectUnixWithTimeout(path, limit)
            } else {
                unsafe redisConnectWithTimeout(settings.host, Int32(settings.port), limit)
            }
        guard let made = unsafe made else { throw .unreachable("no memory for a connection") }
        unsafe context = made
        if unsafe made.pointee.err != 0 { throw .unreachable("\(settings.address): \(reason)") }
        unsafe redisSetTimeout(made, limit)
        try authenticate(settings, files)
        if settings.database != 0 { _ = try command(["SELECT", "\(settings.database)"]) }
    }

    deinit { unsafe redisFree(context) }

    private func authenticate(_ settings: RedisSettings, _ files: Secret.FileReader) throws(RedisError) {
        guard let secret = settings.password else { return }
        let password: String
        do {
            password = try secret.reveal(files)
        } catch {
            throw .secret("the password's file cannot be read: \(error)")
        }
        do throws(RedisError) {
            _ = try command(["AUTH"] + (settings.username.map { [$0] } ?? []) + [password])
        } catch {
            guard case .refused(let words) = error else { throw error }
            throw .refused("the login: \(RedisSettings.kind(ofRefusal: words))")
        }
    }

    private var reason: String {
        let code = unsafe context.pointee.err
        if code == REDIS_ERR_IO, errno == EAGAIN || errno == EWOULDBLOCK || errno == ETIMEDOUT { return "timed out" }
        return unsafe withUnsafePointer(to: &context.pointee.errstr) { text in
            unsafe text.withMemoryRebound(to: CChar.self, capacity: 128) { unsafe String(cString: $0) }
        }
    }

    /// Sends a command, its last argument as bytes when given, and waits for the reply.
    func command(_ arguments: [String], _ value: [UInt8]? = nil) throws(RedisError) -> RedisReply {
        let parts = arguments.map { Array($0.utf8) } + (value.map { [$0] } ?? [])
        let bytes = parts.flatMap(\.self)
        let lengths = parts.map(\.count)
        errno = 0
        let raw = unsafe bytes.withUnsafeBytes { buffer in
            // An empty buffer may have no address; hiredis never reads from it.
            let base = unsafe buffer.baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
            var starts: [UnsafePointer<CChar>?] = unsafe []
            var offset = 0
            for length in lengths {
                unsafe starts.append((base + offset).assumingMemoryBound(to: CChar.self))
                offset += length
            }
            return unsafe redisCommandArgv(context, Int32(starts.count), &starts, lengths)
        }
        guard let raw = unsafe raw else {
            let reason = reason
            hasTimedOut = reason == "timed out"
            throw .interrupted(reason)
        }
        let reply = unsafe raw.assumingMemoryBound(to: redisReply.self)
        defer { unsafe freeReplyObject(raw) }
        let type = unsafe reply.pointee.type
        let text = unsafe reply.pointee.str.map { start in
            let count = unsafe reply.pointee.len
            return unsafe start.withMemoryRebound(to: UInt8.self, capacity: count) {
                unsafe Array(UnsafeBufferPointer(start: $0, count: count))
            }
        }
        switch type {
        case REDIS_REPLY_ERROR: throw .refused(String(decoding: (text ?? []).prefix(200), as: UTF8.self))
        case REDIS_REPLY_NIL: return .missing
        case REDIS_REPLY_STRING, REDIS_REPLY_STATUS: return .text(text ?? [])
        default: return .other
        }
    }
}

extension RedisSettings {
    /// The kind of error that a refused AUTH begins with, such as `WRONGPASS`; empty for any other word. The rest is
    /// not told: a server without such a command repeats its arguments, the password among them.
    static func kind(ofRefusal words: String) -> String {
        let first = words.prefix { $0 != " " }
        return ["ERR", "WRONGPASS", "NOAUTH", "NOPERM", "DENIED", "LOADING", "BUSY", "MASTERDOWN"].first { $0 == first }
            ?? ""
    }
}
