public import Basics
internal import CSystemd
internal import Glibc

/// Writes log events to journald with their fields: `MESSAGE`, `PRIORITY`, one `MESSAGE_ID` for each kind of event,
/// `VEDETTE_EVENT` with the kind, each field as `VEDETTE_NAME`, and a runbook's address as `DOCUMENTATION`.
///
/// - SeeAlso: sd_journal_sendv(3), systemd.journal-fields(7).
public struct JournalLog: LogSink {
    /// Who gets events that journald does not take.
    private let fallback: any LogSink

    /// A log whose events go to `fallback` where journald is not.
    public init(fallback: any LogSink) { self.fallback = fallback }

    /// Whether the process's standard error is the journal: `JOURNAL_STREAM` names its device and inode.
    public static var isStandardError: Bool {
        guard let stream = unsafe getenv("JOURNAL_STREAM").map({ unsafe String(cString: $0) }) else { return false }
        var status = stat()
        guard unsafe fstat(2, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// See `LogSink`.
    public func write(_ event: LogEvent) {
        let sent = JournalLog.send(JournalLog.fields(of: event))
        if sent < 0 { fallback.write(event) }
    }

    /// The fields of an event, each `NAME=value`.
    static func fields(of event: LogEvent) -> [String] {
        let priority = [.debug: 7, .info: 6, .warning: 4, .error: 3][event.level] ?? 6
        var fields = [
            "MESSAGE=\(event.message)", "PRIORITY=\(priority)", "SYSLOG_IDENTIFIER=vedette",
            "MESSAGE_ID=\(messageID(of: event.kind))", "VEDETTE_EVENT=\(event.kind)",
        ]
        for (name, value) in event.fields where !value.isEmpty {
            fields.append("\(name == "runbook" ? "DOCUMENTATION" : fieldName(name))=\(value)")
        }
        return fields
    }

    /// The `MESSAGE_ID` of a kind of event, 32 lower-case digits: the first half of the kind's SHA-256, so that it is
    /// the same in every version without a table.
    public static func messageID(of kind: String) -> String {
        String(Digest.hexadecimal(of: "vedette/\(kind)", .sha256).prefix(32))
    }

    /// At most 64 of A–Z, 0–9 and `_`.
    private static func fieldName(_ name: String) -> String {
        let bytes = name.uppercased().utf8.map { byte in
            (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte) ? byte : UInt8(ascii: "_")
        }
        return "VEDETTE_" + String(decoding: bytes.prefix(56), as: UTF8.self)
    }

    private static func send(_ fields: [String]) -> Int32 {
        var bytes: [UInt8] = []
        var ranges: [Range<Int>] = []
        for field in fields {
            ranges.append(bytes.count..<bytes.count + field.utf8.count)
            bytes += field.utf8
        }
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            let parts = unsafe ranges.map { range in
                unsafe iovec(iov_base: buffer.baseAddress?.advanced(by: range.lowerBound), iov_len: range.count)
            }
            return unsafe sd_journal_sendv(parts, Int32(parts.count))
        }
    }
}
