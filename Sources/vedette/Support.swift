internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Glibc
internal import Settings
internal import Systemd

/// A mistake a person made, told in one line; the process exits with 2.
struct Refusal: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The daemon's file, a mistake in it told as one of wrong use.
func daemonSettings(_ path: String, files: any FileSystem) throws(Refusal) -> DaemonSettings {
    do throws(SettingsError) {
        return try DaemonSettings(path: path, files: files, variables: environmentVariable)
    } catch {
        throw Refusal(error.description)
    }
}

/// `host:port`, the host in brackets when it is an IPv6 address.
enum Address {
    static func parse(_ text: String) throws -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65535).contains(port)
        else {
            throw Refusal("'\(text)' is no address; write HOST:PORT, such as 127.0.0.1:9470")
        }
        let host = text[..<colon]
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        return (host.isEmpty ? "0.0.0.0" : String(isBracketed ? host.dropFirst().dropLast() : host), port)
    }
}

enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json, journal

    /// Where events go, when nothing is asked for: to journald where standard error leads there anyway.
    static func sink(_ format: LogFormat?) -> any LogSink {
        let lines = StandardErrorLog(format: format == .json ? .json : .text, clock: SystemClock())
        let isJournal = format == .journal || format == nil && JournalLog.isStandardError
        return isJournal ? JournalLog(fallback: lines) : lines
    }
}

/// A variable of the environment, when it is not empty.
func environment(_ name: String) -> String? {
    guard let text = unsafe getenv(name), unsafe text.pointee != 0 else { return nil }
    return unsafe String(cString: text)
}

/// The machine's own name, for links that leave it.
func machineName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// Writes log events to standard error, a line each.
struct StandardErrorLog: LogSink {
    let format: LogFormat
    let clock: any TimeSource
    /// Events of less weight are left out.
    var minimum = LogEvent.Level.info

    func write(_ event: LogEvent) {
        let levels = LogEvent.Level.allCases
        guard let weight = levels.firstIndex(of: event.level), let least = levels.firstIndex(of: minimum),
            weight >= least
        else { return }
        var line: String
        switch format {
        case .text, .journal:
            line = "\(clock.now()) \(event.level.rawValue) \(event.kind): \(event.message.asOneLine)"
            for field in event.fields { line += " \(field.name)=\(field.value.goQuoted)" }
        case .json:
            var members: [JSON.Member] = [
                JSON.Member("time", .string("\(clock.now())")), JSON.Member("level", .string(event.level.rawValue)),
                JSON.Member("event", .string(event.kind)), JSON.Member("message", .string(event.message)),
            ]
            members += event.fields.map { JSON.Member($0.name, .string($0.value)) }
            line = JSON.object(members).text
        }
        StandardError.write(line + "\n")
    }
}

/// A directory of its own under `/tmp`, for the demo.
struct TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/vedette-demo-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw Refusal("/tmp: no directory can be made there") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func remove() { removeTree(path) }

    private func removeTree(_ path: String) {
        let files = SystemFiles()
        // What cannot be removed from /tmp is left there.
        for name in (try? files.list(path)) ?? [] { removeTree("\(path)/\(name)") }
        try? files.remove(path)
    }
}

/// Writes a small file.
func write(_ text: String, to path: String) throws {
    let file = try SystemFiles().open(path, .create)
    try unsafe file.write(Array(text.utf8).span.bytes, at: 0)
}

/// From here on SIGHUP does nothing, until somebody handles it.
func ignoreHangup() { _ = signal(SIGHUP, SIG_IGN) }

/// Where the process was started.
func currentDirectory() -> String {
    unsafe getcwd(nil, 0).map { path in
        defer { unsafe free(path) }
        return unsafe String(cString: path)
    } ?? "."
}

/// The process's standard error. What cannot be written there is lost: it stops nothing.
enum StandardError {
    static func write(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            _ = unsafe Glibc.write(2, bytes.baseAddress, bytes.count)
        }
    }
}

/// The process's standard input, which may be a pipe.
enum StandardInput {
    /// What there is next, at most a mebibyte; nothing at the end.
    static func piece() throws(FileError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = unsafe Glibc.read(0, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileError(operation: "read", path: "stdin", code: errno) }
            return Array(buffer[..<count])
        }
    }

    /// All of it; an error when there is more than the limit.
    static func contents(limit: Int) throws(FileError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = unsafe Glibc.read(0, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileError(operation: "read", path: "stdin", code: errno) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= limit else {
                throw FileError(operation: "read", path: "stdin", code: FileError.tooLarge)
            }
        }
    }
}
