import Foundation
import Glibc
import Synchronization

/// A PostgreSQL server of this test process alone, on a Unix socket in a folder that goes with it. It asks for a
/// password, so that a forgotten one is seen.
public struct PostgresCluster: Sendable {
    /// Where its socket is.
    public let folder: String
    public static let password = "not-for-eyes-42"

    /// The address of one of its databases, the password left out.
    public func url(database: String = "postgres") -> String {
        let host = folder.replacingOccurrences(of: "/", with: "%2F")
        return "postgresql://vedette@\(host)/\(database)"
    }

    /// Whether it can be had here: its programs are installed and this is root, which may become its user.
    public static let isInstalled = programs != nil

    /// The one of this process; started at the first use and stopped at the end.
    public static func shared() throws -> PostgresCluster {
        try started.get()
    }

    private static let programs: String? = {
        guard geteuid() == 0, let versions = try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")
        else { return nil }
        let folders = versions.sorted().map { "/usr/lib/postgresql/\($0)/bin" }
        return folders.last { FileManager.default.isExecutableFile(atPath: $0 + "/initdb") }
    }()

    private struct Failure: Error, CustomStringConvertible { let description: String }
    private static let stopping = Mutex("")

    private static let started: Result<PostgresCluster, any Error> = Result {
        guard let programs else { throw Failure(description: "PostgreSQL is not installed") }
        // A short path: a socket's is at most 107 bytes.
        let folder = "/tmp/vedette-pg-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let secret = "\(folder)/secret"
        try Data(password.utf8).write(to: URL(fileURLWithPath: secret))
        try run(["chown", "-R", "postgres", folder])
        let asUser = ["runuser", "-u", "postgres", "--"]
        try run(
            asUser + [
                "\(programs)/initdb", "-D", "\(folder)/data", "-U", "vedette", "-A", "scram-sha-256",
                "--pwfile", secret, "-E", "UTF8", "--no-sync",
            ])
        // The server stays: with the descriptors that Foundation gives its children, their end would never be seen.
        let closing = "for f in /proc/self/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval \"exec $n>&-\"; done; exec \"$@\""
        try run(
            ["bash", "-c", closing, "bash"] + asUser + [
                "\(programs)/pg_ctl", "-D", "\(folder)/data", "-l", "\(folder)/log", "-w", "-o",
                "-c fsync=off -c listen_addresses= -c unix_socket_directories=\(folder) -c max_connections=50", "start",
            ])
        stopping.withLock {
            $0 = "runuser -u postgres -- \(programs)/pg_ctl -D \(folder)/data -s -w -m immediate stop; rm -rf \(folder)"
        }
        atexit { unsafe system(PostgresCluster.stopping.withLock { $0 }) }
        return PostgresCluster(folder: folder)
    }

    private static func run(_ arguments: [String]) throws {
        let outcome = try Program(path: "/usr/bin/env").run(arguments, in: "/tmp")
        guard outcome.status == 0 else {
            throw Failure(description: "\(arguments): \(outcome.output)\(outcome.errors)")
        }
    }

    /// A fresh database in it.
    public func makeDatabase() throws -> String {
        let name = "t\(UInt32.random(in: 0 ... .max))"
        let outcome = try Program(path: "/usr/bin/env").run(
            ["PGPASSWORD=\(PostgresCluster.password)", "createdb", "-h", folder, "-U", "vedette", name], in: "/tmp")
        guard outcome.status == 0 else { throw Failure(description: outcome.errors) }
        return url(database: name)
    }
}
