/// A question to a name server.
public struct DNSQuestion: Sendable, Hashable {
    /// The name, without a dot at its end.
    public var name: String
    /// The number of the record type.
    public var type: UInt16

    /// Types by their names.
    public static let types: [(name: String, number: UInt16)] = [
        ("A", 1), ("NS", 2), ("CNAME", 5), ("SOA", 6), ("PTR", 12), ("MX", 15), ("TXT", 16), ("AAAA", 28), ("SRV", 33),
        ("CAA", 257),
    ]

    /// A question; nil when the type is none of those, or the name cannot be one.
    public init?(name: String, type: String) {
        guard let known = DNSQuestion.types.first(where: { $0.name == type.uppercased() }) else { return nil }
        let bare = name.hasSuffix(".") ? String(name.dropLast()) : name
        let labels = bare.split(separator: ".", omittingEmptySubsequences: false)
        guard bare.isEmpty || labels.allSatisfy({ (1...63).contains($0.utf8.count) }), bare.utf8.count <= 253 else {
            return nil
        }
        (self.name, self.type) = (bare, known.number)
    }

    /// The name of the type.
    public var typeName: String { DNSQuestion.name(of: type) }

    static func name(of type: UInt16) -> String {
        types.first { $0.number == type }?.name ?? "TYPE\(type)"
    }

    /// The message that asks it, with recursion wanted.
    func message(id: UInt16) -> [UInt8] {
        var bytes = [UInt8(id >> 8), UInt8(id & 0xFF), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        for label in name.split(separator: ".") { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
        return bytes + [0, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1]
    }
}

/// A name server's answer.
public struct DNSAnswer: Sendable, Hashable {
    /// One record.
    public struct Record: Sendable, Hashable {
        /// The name it belongs to, its type, and what it says: `10.0.0.1`, `10 mail.example.com`.
        public var name: String, type: String, value: String
        /// How long it may be kept, in seconds.
        public var lifetime: UInt32
    }

    /// `NOERROR`, `NXDOMAIN`, …
    public var code: String
    /// Whether the server is the zone's own.
    public var isAuthoritative: Bool
    /// Whether it was cut off, so that it has to be asked for again over TCP.
    public var isTruncated: Bool
    /// The records that answer, and how many more came with them.
    public var records: [Record], authorityCount: Int, additionalCount: Int
    /// The serial number of the zone, where the answer or the authority section holds one.
    public var serial: UInt32?

    private static let codes = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ]

    /// Every code by its name.
    public static var knownCodes: [String] { codes }

    /// Reads a message; nil when it is broken, or answers another question. Whatever stands in it, it costs no more
    /// than its length times 127.
    public init?(_ bytes: [UInt8], to question: DNSQuestion, id: UInt16) {
        var reader = DNSReader(bytes: bytes)
        guard let found = reader.word(), found == id, let flags = reader.word(), flags & 0x8000 != 0,
            let questions = reader.word(), let answers = reader.word(), let authorities = reader.word(),
            let additionals = reader.word()
        else { return nil }
        guard questions == 1, let name = reader.name(), name.lowercased() == question.name.lowercased(),
            reader.word() == question.type, reader.word() == 1
        else { return nil }
        let number = Int(flags & 0xF)
        code = number < DNSAnswer.codes.count ? DNSAnswer.codes[number] : "RCODE\(number)"
        (isAuthoritative, isTruncated) = (flags & 0x0400 != 0, flags & 0x0200 != 0)
        (records, authorityCount, additionalCount) = ([], Int(authorities), Int(additionals))
        for index in 0..<Int(answers) + Int(authorities) {
            guard let record = reader.record(&serial) else {
                // A message that was cut off ends where it ends.
                if isTruncated { return }
                return nil
            }
            if index < Int(answers) { records.append(record) }
        }
    }
}

/// Reads a message from its start; a name's pointers lead backwards only, so that each ends.
private struct DNSReader {
    let bytes: [UInt8]
    var place = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func word() -> UInt16? {
        guard place + 2 <= bytes.count else { return nil }
        defer { place += 2 }
        return UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1])
    }
    mutating func long() -> UInt32? {
        guard let high = word(), let low = word() else { return nil }
        return UInt32(high) << 16 | UInt32(low)
    }

    mutating func name() -> String? {
        var (labels, length, at, end): ([String], Int, Int, Int?) = ([], 0, place, nil)
        var steps = 0
        while at < bytes.count {
            let first = Int(bytes[at])
            if first == 0 {
                place = end ?? at + 1
                return labels.joined(separator: ".")
            }
            if first >= 0xC0 {
                guard at + 1 < bytes.count else { return nil }
                let target = (first & 0x3F) << 8 | Int(bytes[at + 1])
                // A name has no more labels than that, and each needs one pointer at the most.
                steps += 1
                guard target < at, steps <= 127 else { return nil }
                if end == nil { end = at + 2 }
                at = target
                continue
            }
            guard first < 0x40, at + 1 + first <= bytes.count else { return nil }
            length += first + 1
            guard length <= 255 else { return nil }
            labels.append(DNSReader.text(bytes[at + 1..<at + 1 + first]))
            at += 1 + first
        }
        return nil
    }

    /// Bytes of somebody else's: what is no plain character is written as its number.
    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        var text = ""
        for byte in bytes {
            let isPlain = (0x21...0x7E).contains(byte) && byte != UInt8(ascii: ".") && byte != UInt8(ascii: "\\")
            text += isPlain ? String(UnicodeScalar(byte)) : "\\\(byte)"
        }
        return text
    }

    mutating func record(_ serial: inout UInt32?) -> DNSAnswer.Record? {
        guard let name = name(), let type = word(), word() != nil, let lifetime = long(), let count = word() else {
            return nil
        }
        let end = place + Int(count)
        guard end <= bytes.count else { return nil }
        defer { place = end }
        guard let value = value(type, end: end, &serial) else { return nil }
        return DNSAnswer.Record(
            name: name, type: DNSQuestion.name(of: type), value: value, lifetime: lifetime)
    }

    private mutating func value(_ type: UInt16, end: Int, _ serial: inout UInt32?) -> String? {
        let data = bytes[place..<end]
        switch type {
        case 1: return data.count == 4 ? data.map(String.init).joined(separator: ".") : nil
        case 28: return data.count == 16 ? DNSReader.address(Array(data)) : nil
        case 2, 5, 12: return name()
        case 15:
            guard let preference = word(), let host = name() else { return nil }
            return "\(preference) \(host)"
        case 33:
            guard let priority = word(), let weight = word(), let port = word(), let host = name() else { return nil }
            return "\(priority) \(weight) \(port) \(host)"
        case 6:
            guard let primary = name(), let mailbox = name(), let number = long() else { return nil }
            serial = serial ?? number
            return "\(primary) \(mailbox) \(number)"
        case 16: return DNSReader.texts(data)
        default: return data.prefix(256).map { hex($0) }.joined()
        }
    }

    private func hex(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }

    private static func texts(_ data: ArraySlice<UInt8>) -> String? {
        var (found, rest) = ("", data)
        while let count = rest.first {
            guard rest.count > Int(count) else { return nil }
            for byte in rest.dropFirst().prefix(Int(count)) {
                found += (0x20...0x7E).contains(byte) ? String(UnicodeScalar(byte)) : "\\\(byte)"
            }
            rest = rest.dropFirst(Int(count) + 1)
        }
        return found
    }

    /// The shortest form: the longest run of zeros is left out.
    static func address(_ bytes: [UInt8]) -> String {
        let words = stride(from: 0, to: 16, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        var best = 0..<0
        var start = 0
        for index in 0...8 where index == 8 || words[index] != 0 {
            if index - start > max(1, best.count) { best = start..<index }
            start = index + 1
        }
        func text(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        return best.isEmpty
            ? text(words[...]) : text(words[..<best.lowerBound]) + "::" + text(words[best.upperBound...])
    }
}
