internal import ArgumentParser
internal import Basics
internal import Glibc

/// A mistake a person made, told in one line; the process exits with 2.
struct Refusal: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
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
    case text, json
}

/// Writes log events to standard error, a line each.
struct StandardErrorLog: LogSink {
    let format: LogFormat
    let clock: any TimeSource

    func write(_ event: LogEvent) {
        var line: String
        switch format {
        case .text:
            line = "\(clock.now()) \(event.level.rawValue) \(event.kind): \(event.message)"
            for field in event.fields { line += " \(field.name)=\(field.value.goQuoted)" }
        case .json:
            var members: [JSON.Member] = [
                JSON.Member("time", .string("\(clock.now())")), JSON.Member("level", .string(event.level.rawValue)),
                JSON.Member("event", .string(event.kind)), JSON.Member("message", .string(event.message)),
            ]
            members += event.fields.map { JSON.Member($0.name, .string($0.value)) }
            line = JSON.object(members).text
        }
        line += "\n"
        line.withUTF8 { bytes in
            // A log that cannot be written stops nothing.
            _ = unsafe Glibc.write(2, bytes.baseAddress, bytes.count)
        }
    }
}
