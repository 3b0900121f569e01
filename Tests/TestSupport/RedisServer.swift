import Foundation

/// A Redis server of one test, on a Unix socket in a folder that goes with it.
public final class RedisServer {
    public let folder: Folder
    public var socket: String { "\(folder.path)/r.sock" }

    public static let isInstalled = Program.installed("redis-server") != nil

    public init() throws {
        folder = try Folder()
        try start()
    }
    deinit { try? stop() }

    /// Starts it, with nothing in it.
    public func start() throws {
        // With the descriptors that Foundation gives its children, the end of who started it would never be seen.
        let closing = "for f in /proc/self/fd/*; do n=${f##*/}; [ $n -gt 2 ] && eval \"exec $n>&-\"; done; exec \"$@\""
        let outcome = try Program(path: "/bin/bash").run([
            "-c", closing, "bash", "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--daemonize",
            "yes", "--pidfile", "\(folder.path)/pid", "--dir", folder.path,
        ])
        guard outcome.status == 0 else { throw Failure(description: outcome.output + outcome.errors) }
        // It daemonizes before it listens; its own client waits for the answer.
        for _ in 0..<200 where try Program(path: "/usr/bin/env").run(["redis-cli", "-s", socket, "ping"]).status != 0 {}
        _ = try cli("ping")
    }

    /// Ends it at once.
    public func stop() throws {
        let pid = try String(contentsOfFile: "\(folder.path)/pid", encoding: .utf8).trimmingCharacters(in: .newlines)
        // By its number, since it may have been given a password; until it is gone, its socket may answer.
        _ = try Program(path: "/bin/bash").run(["-c", "kill -9 \(pid); while kill -0 \(pid); do :; done"])
    }

    /// What its own client prints.
    @discardableResult
    public func cli(_ arguments: String...) throws -> String {
        let outcome = try Program(path: "/usr/bin/env").run(["redis-cli", "-s", socket] + arguments)
        guard outcome.status == 0 else { throw Failure(description: outcome.output + outcome.errors) }
        return outcome.output.trimmingCharacters(in: .newlines)
    }

    private struct Failure: Error, CustomStringConvertible { let description: String }
}
