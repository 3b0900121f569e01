public import Basics
public import SQL
public import Settings

/// `database` in the daemon's file: `sqlite:PATH`, `postgresql://…`, or a map of `url` with `password` or
/// `password_file`.
public struct DatabaseSettings: Sendable, Hashable {
    /// Where it is.
    public enum Place: Sendable, Hashable {
        /// A file; relative paths start from the data directory.
        case sqlite(String)
        /// A server. A secret, since it may hold a password.
        case postgresql(Secret)
    }
    /// Where it is. Default: `sqlite:vedette.db`.
    public var place = Place.sqlite("vedette.db")
    /// The password, when it is not in the URL.
    public var password: Secret?
    /// The longest that one statement may take. Default: 10 s.
    public var timeout: Milliseconds = 10_000

    /// SQLite in the data directory.
    public init() {}

    /// Reads the key `database` of a file's map.
    public init(from map: SettingsMap) throws(SettingsError) {
        self.init()
        guard let node = map.takeNode("database") else { return }
        let url: Secret
        if let text = try? node.text() {
            url = Secret(text)
        } else {
            let part = try node.map()
            url = try part.require("url", as: Secret.self)
            password = try part.takeSecret("password")
            timeout = try part.takeDuration("timeout", default: timeout)
            guard timeout > 0 else { throw part.error("timeout", "must be above 0") }
            try part.finish()
        }
        let text = (try? url.reveal { _ in [] }) ?? ""
        if text.hasPrefix("sqlite:") {
            let path = String(text.dropFirst("sqlite:".count))
            guard !path.isEmpty else { throw node.error("database: a path is missing; write sqlite:vedette.db") }
            guard password == nil else { throw node.error("database: SQLite takes no password; leave it out") }
            place = .sqlite(path)
            return
        }
        do throws(SQLError) { _ = try PostgresDatabase.address(of: text) } catch {
            throw node.error(
                "database: cannot be read; write sqlite:PATH or postgresql://USER@HOST:PORT/DATABASE")
        }
        place = .postgresql(url)
    }

    /// Opens it, with a connection of its own; `directory` is where relative paths start.
    public func open(
        directory: String, files: @escaping Secret.FileReader, clock: any TimeSource
    ) throws(SQLError) -> any SQLDatabase {
        switch place {
        case .sqlite(let path):
            let whole = path.hasPrefix("/") ? path : "\(directory)/\(path)"
            return SQLiteDatabase(path: whole, clock: clock, timeout: timeout)
        case .postgresql(let url):
            let text = (try? url.reveal(files)) ?? ""
            return try PostgresDatabase(
                url: text,
                password: { [password] () throws(SQLError) in
                    do {
                        return try password?.reveal(files)
                    } catch {
                        throw SQLError(.unreachable, "the password of the database cannot be read: \(error)")
                    }
                }, clock: clock, timeout: timeout)
        }
    }
}

/// `workloads` in the daemon's file: what is hosted, and what its process may take.
public struct WorkloadSettings: Sendable, Hashable {
    /// The memory of the process in bytes. Default: 512 MiB.
    public var memory = 512 << 20
    /// Its open files. Default: 256.
    public var openFiles = 256
    /// Nil when it is not wanted.
    public var churn: ChurnSettings?
    /// Nil when it is not wanted.
    public var impact: ImpactSettings?

    /// Nothing is hosted.
    public init() {}

    /// Reads the section; a workload is hosted when its key is there, with `{}` for the defaults.
    public init(from map: SettingsMap, files: any FileSystem) throws(SettingsError) {
        self.init()
        memory = try map.takeBytes("memory", default: memory)
        guard memory >= 128 << 20 else { throw map.error("memory", "must be at least 128MiB of address space") }
        openFiles = try map.take("open_files", default: openFiles)
        guard (32...1_000_000).contains(openFiles) else { throw map.error("open_files", "must be from 32 to 1000000") }
        churn = try map.takeMap("churn").map { (part) throws(SettingsError) in try ChurnSettings(from: part) }
        impact = try map.takeMap("business_impact").map { (part) throws(SettingsError) in
            try ImpactSettings(from: part, files: files)
        }
        try map.finish()
    }

    /// Whether anything is hosted.
    public var isEmpty: Bool { churn == nil && impact == nil }

    /// A host of what is set, its models and state in `directory/workloads`.
    public func host(
        database settings: DatabaseSettings, directory: String, files: any FileSystem,
        secrets: @escaping Secret.FileReader,
        clock: any TimeSource, log: any LogSink, random: SharedRandom, version: String = ""
    ) throws(SQLError) -> WorkloadHost {
        let database = try settings.open(directory: directory, files: secrets, clock: clock)
        var workloads: [any Workload] = []
        let folder = "\(directory)/workloads"
        if let churn {
            let logDatabase = try settings.open(directory: directory, files: secrets, clock: clock)
            let workload = ChurnWorkload(
                churn, logDatabase: logDatabase, folder: folder, files: files, clock: clock, log: log, random: random)
            workloads += [workload, workload.judging]
        }
        if let impact { workloads.append(ImpactWorkload(impact, database: database, clock: clock)) }
        return WorkloadHost(
            workloads, database: database, folder: folder, files: files, clock: clock, log: log, version: version)
    }
}
