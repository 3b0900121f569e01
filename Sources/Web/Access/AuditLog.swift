public import Basics
public import Model
internal import Synchronization

/// One change that somebody asked for.
public struct AuditEntry: Sendable, Hashable {
    /// Grows by one with each entry, over restarts.
    public internal(set) var sequence = 0
    /// When it was asked for.
    public var time: Timestamp
    /// The user's or token's name, empty for one who needed none; their role, and where they asked from.
    public var caller: String, role: String, peer: String
    /// `POST /api/v2/silences`, with the parameters.
    public var request: String
    /// The answer's status; nil: it was begun, and the process ended before it was done.
    public var status: Int?

    init(_ request: APIRequest, _ caller: Caller, now: Timestamp) {
        (time, self.caller, role, peer) = (now, caller.name, caller.role?.rawValue ?? "", request.peer.text)
        // What other parameters hold is not known here, and may be a secret.
        let parameters = request.parameters.map { name, value in
            "\(name)=\(AuditEntry.told.contains(name) ? value : "…")"
        }
        let asked =
            "\(request.method) \(request.path)\(parameters.isEmpty ? "" : "?")\(parameters.joined(separator: "&"))"
        // Not by characters: one may have any number of marks.
        self.request = String(String.UnicodeScalarView(asked.unicodeScalars.prefix(300))).asOneLine
    }

    /// Parameters of changes that are told with their values.
    private static let told: Set = ["action", "reason", "by", "id", "page", "match[]", "start", "end"]

    /// A change that a signal asked for.
    public init(signal: String, now: Timestamp) {
        self.init(time: now, caller: "", role: "admin", peer: "signal", request: signal, status: nil)
    }

    init(time: Timestamp, caller: String, role: String, peer: String, request: String, status: Int?) {
        (self.time, self.caller, self.role, self.peer) = (time, caller, role, peer)
        (self.request, self.status) = (request, status)
    }
}

/// Who changed what: the last `limit` changes, in memory and in the journal's table `web.audit`. A change is written
/// down before it is done, and again with its outcome.
public final class AuditLog: Sendable {
    private let entries: Mutex<[AuditEntry]>
    private let store: any StateStore
    private let log: any LogSink

    static let table = "web.audit"
    /// So many are kept; every one is a line of the daemon's log too.
    public static let limit = 1000

    /// Takes up what `store` holds.
    public init(_ store: any StateStore, log: any LogSink) {
        (self.store, self.log) = (store, log)
        let known = store.entries(of: AuditLog.table).values.compactMap(AuditEntry.init(bytes:))
        entries = Mutex(known.sorted { $0.sequence < $1.sequence })
    }

    /// The newest last.
    public var all: [AuditEntry] { entries.withLock { $0 } }

    /// Writes down what is about to be done; the number goes to `end`. Blocks for one write.
    public func begin(_ entry: AuditEntry) -> Int {
        var entry = entry
        // In the lock, so that the journal has them in order.
        entries.withLock { entries in
            entry.sequence = (entries.last?.sequence ?? 0) + 1
            entries.append(entry)
            var changes = [entry.change]
            while entries.count > AuditLog.limit {
                changes.append(
                    StateChange(table: AuditLog.table, key: "\(entries.removeFirst().sequence)", value: nil))
            }
            store.commit(changes)
        }
        return entry.sequence
    }

    /// Writes down how it went.
    public func end(_ sequence: Int, status: Int) {
        let entry = entries.withLock { entries -> AuditEntry? in
            guard let index = entries.lastIndex(where: { $0.sequence == sequence }) else { return nil }
            entries[index].status = status
            store.commit([entries[index].change])
            return entries[index]
        }
        guard let entry else { return }
        let who = entry.caller.isEmpty ? entry.peer : entry.caller
        log.write(
            LogEvent(
                .info, "audit", "\(who) asked for \(entry.request): \(status)",
                [
                    ("caller", entry.caller), ("role", entry.role), ("peer", entry.peer), ("request", entry.request),
                    ("status", "\(status)"),
                ]))
    }
}

extension AuditEntry {
    fileprivate var change: StateChange {
        StateChange(table: AuditLog.table, key: "\(sequence)", value: json.serialized())
    }

    /// As the API shows it.
    var json: JSON {
        [
            "sequence": .number(Double(sequence)), "time": .string(time.rfc3339()), "caller": .string(caller),
            "role": .string(role), "peer": .string(peer), "request": .string(request),
            "status": status.map { .number(Double($0)) } ?? .null,
        ]
    }

    fileprivate init?(bytes: [UInt8]) {
        guard let json = try? JSON(parsing: bytes), let sequence = json["sequence"]?.number,
            let time = json["time"]?.string.flatMap(Timestamp.init(rfc3339:)), let request = json["request"]?.string
        else { return nil }
        self.init(
            time: time, caller: json["caller"]?.string ?? "", role: json["role"]?.string ?? "",
            peer: json["peer"]?.string ?? "", request: request,
            status: json["status"]?.number.flatMap { Int(exactly: $0) })
        self.sequence = Int(exactly: sequence) ?? 0
    }
}
