public import Basics
public import Settings

/// What Redis says of itself.
public struct RedisHealth: Sendable, Hashable {
    /// How it went.
    public var phases: [FetchDetails.Phase]
    /// When its certificate ends, over TLS.
    public var certificateExpiry: Timestamp?
    /// INFO's fields with numbers as numbers, `db0` and its like as objects; nil when it was not asked for.
    public var document: JSON?
}

/// Looks at a Redis server: connects, says who we are, PING, and INFO when it is wanted.
public struct RedisProbe: Sendable, Hashable {
    /// The server; the password is read at each look.
    public var server: RedisSettings
    /// Whether TLS is spoken, and how.
    public var isEncrypted = false, options = HTTPOptions()

    /// A look at a server.
    public init(_ server: RedisSettings) { self.server = server }

    /// A longer INFO fails.
    private static let limit = 1 << 20

    /// Blocks until it is done or the deadline is over.
    public func look(
        withInfo: Bool, by deadline: ProbeDeadline, files: Secret.FileReader
    ) throws(ProbeError) -> RedisHealth {
        let host = server.host.contains(":") ? "[\(server.host)]" : server.host
        let url = "\(isEncrypted ? "https" : "http")://\(server.unixSocket == nil ? "\(host):\(server.port)" : "redis")"
        let password: String?
        do {
            password = try server.password?.reveal(files)
        } catch {
            throw ProbeError(.request, "the password's file cannot be read: \(error)")
        }
        let talk = try Conversation(url, unixSocket: server.unixSocket, options: options, deadline: deadline)
        var reader = RedisReader(limit: RedisProbe.limit) { () throws(ProbeError) in try talk.receive() }
        let start = deadline.now
        if let password {
            try talk.send(RedisProbe.command(["AUTH"] + (server.username.map { [$0] } ?? []) + [password]))
            _ = try RedisProbe.good(try reader.next(), "AUTH")
        }
        if server.database != 0 {
            try talk.send(RedisProbe.command(["SELECT", "\(server.database)"]))
            _ = try RedisProbe.good(try reader.next(), "SELECT")
        }
        try talk.send(RedisProbe.command(["PING"]))
        let pong = try RedisProbe.good(try reader.next(), "PING")
        guard pong == "PONG" else {
            throw ProbeError(.answer, "PING was answered by \(String(pong.prefix(40)).goQuoted)")
        }
        var document: JSON?
        if withInfo {
            try talk.send(RedisProbe.command(["INFO"]))
            document = RedisProbe.document(try RedisProbe.good(try reader.next(), "INFO"))
        }
        let phases = talk.details.phases + [.init(.processing, deadline.seconds(since: start))]
        return RedisHealth(
            phases: phases, certificateExpiry: talk.details.certificateExpiry, document: document)
    }

    private static func command(_ words: [String]) -> [UInt8] {
        Array("*\(words.count)\r\n".utf8)
            + words.flatMap { Array("$\($0.utf8.count)\r\n".utf8) + Array($0.utf8) + Array("\r\n".utf8) }
    }

    private static func good(_ reply: RedisReader.Reply, _ command: String) throws(ProbeError) -> String {
        switch reply {
        case .text(let bytes): return String(decoding: bytes, as: UTF8.self)
        case .error(let words):
            let isLocked = ["NOAUTH", "WRONGPASS", "NOPERM"].contains { words.hasPrefix($0) } || command == "AUTH"
            let told = command == "AUTH" ? RedisSettings.kind(ofRefusal: words) : words
            let text = told.unicodeScalars.prefix(120).map {
                $0.isASCII && $0 >= " " && $0 != "\u{7F}" ? Character($0) : "?"
            }
            throw ProbeError(isLocked ? .authentication : .answer, "\(command) was refused: \(String(text))")
        }
    }

    /// INFO's text as an object.
    static func document(_ text: String) -> JSON {
        var members: [JSON.Member] = []
        for line in text.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") {
            guard members.count < 2000, let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...]
            members.append(JSON.Member(String(line[..<colon]), RedisProbe.value(value)))
        }
        return .object(members)
    }

    /// `12`, `slave0:ip=…,port=…` or a text.
    private static func value(_ text: Substring) -> JSON {
        let parts = text.split(separator: ",").map { $0.split(separator: "=", maxSplits: 1) }
        if text.contains("="), parts.allSatisfy({ $0.count == 2 }) {
            return .object(parts.map { JSON.Member(String($0[0]), scalar($0[1])) })
        }
        return scalar(text)
    }

    private static func scalar(_ text: Substring) -> JSON {
        guard let number = Double(text), number.isFinite else { return .string(String(text)) }
        return .number(number)
    }
}

/// Reads replies of the Redis protocol as they come; hostile lengths and endless lines are refused.
struct RedisReader {
    enum Reply: Hashable {
        case text([UInt8])
        case error(String)
    }

    private let limit: Int
    private let more: () throws(ProbeError) -> [UInt8]
    private var bytes: [UInt8] = []
    private var place = 0

    init(limit: Int, more: @escaping () throws(ProbeError) -> [UInt8]) { (self.limit, self.more) = (limit, more) }

    mutating func next() throws(ProbeError) -> Reply {
        let line = try line()
        let words = line.dropFirst()
        switch line.first {
        case UInt8(ascii: "+"), UInt8(ascii: ":"): return .text(Array(words))
        case UInt8(ascii: "-"): return .error(String(decoding: words, as: UTF8.self))
        case UInt8(ascii: "$"):
            guard let count = Int(String(decoding: words, as: UTF8.self)), count >= 0 else {
                throw ProbeError(.answer, "the answer is no Redis reply")
            }
            guard count <= limit else {
                throw ProbeError(.tooLarge, "the answer is longer than \(limit) bytes")
            }
            while bytes.count - place < count + 2 { try fill() }
            defer { place += count + 2 }
            return .text(Array(bytes[place..<place + count]))
        default: throw ProbeError(.answer, "the answer is no Redis reply; is there a Redis server?")
        }
    }

    private mutating func line() throws(ProbeError) -> [UInt8] {
        var from = place
        while true {
            if let end = bytes[from...].firstIndex(of: 0x0A) {
                defer { place = end + 1 }
                return Array(bytes[place..<end].last == 0x0D ? bytes[place..<end - 1] : bytes[place..<end])
            }
            from = bytes.count
            guard bytes.count - place <= 64 << 10 else {
                throw ProbeError(.answer, "the answer is no Redis reply; is there a Redis server?")
            }
            try fill()
        }
    }

    private mutating func fill() throws(ProbeError) {
        let fresh = try more()
        guard !fresh.isEmpty else { throw ProbeError(.interrupted, "the server closed the connection") }
        bytes += fresh
    }
}
