import Basics
import Testing

@testable import Transport

@Suite struct DNSMessageTests {
    /// A message of a question for `a.b` and the records that follow it.
    static func message(flags: [UInt8] = [0x81, 0x80], counts: [UInt8], _ rest: [UInt8], type: UInt8 = 1) -> [UInt8] {
        [0, 7] + flags + [0, 1, 0, counts[0], 0, counts[1], 0, counts[2]] + [1, 0x61, 1, 0x62, 0, 0, type, 0, 1] + rest
    }

    private func question(_ type: String = "A") -> DNSQuestion { DNSQuestion(name: "a.b.", type: type)! }

    @Test("a question as bytes") func asked() {
        #expect(
            question().message(id: 0x1234) == [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 1, 98, 0, 0, 1, 0, 1])
        #expect(DNSQuestion(name: String(repeating: "a", count: 64), type: "A") == nil)
        #expect(DNSQuestion(name: "a..b", type: "A") == nil)
        #expect(DNSQuestion(name: "a.b", type: "ANY") == nil)
    }

    @Test(
        "records by their types",
        arguments: [
            ("A", 1, [127, 0, 0, 1], "127.0.0.1"),
            ("AAAA", 28, [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "2001:db8::1"),
            ("AAAA", 28, [UInt8](repeating: 0, count: 16), "::"),
            ("MX", 15, [0, 10, 1, 0x6d, 0xC0, 12], "10 m.a.b"), ("NS", 2, [1, 0x6e, 0], "n"),
            ("TXT", 16, [2, 0x68, 0x69, 1, 10], "hi\\10"), ("SRV", 33, [0, 1, 0, 2, 0, 80, 0xC0, 12], "1 2 80 a.b"),
            ("CNAME", 5, [3, 0x78, 0x2e, 0x1b, 0], "x\\46\\27"),
        ] as [(String, UInt8, [UInt8], String)])
    func records(type: String, number: UInt8, data: [UInt8], value: String) throws {
        let record = [0xC0, 12, 0, number, 0, 1, 0, 0, 0, 60, 0, UInt8(data.count)] + data
        let bytes = Self.message(counts: [1, 0, 0], record, type: number)
        let answer = try #require(DNSAnswer(bytes, to: question(type), id: 7))
        #expect(answer.records == [DNSAnswer.Record(name: "a.b", type: type, value: value, lifetime: 60)])
    }

    @Test("a zone's serial is read from the authority section") func serial() throws {
        let soa: [UInt8] = [0xC0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 24, 0xC0, 12, 0xC0, 12, 0, 0, 0, 42]
        let bytes = Self.message(flags: [0x85, 0x83], counts: [0, 1, 0], soa + [UInt8](repeating: 0, count: 16))
        let answer = try #require(DNSAnswer(bytes, to: question(), id: 7))
        #expect(answer.serial == 42 && answer.code == "NXDOMAIN" && answer.isAuthoritative)
    }

    @Test("what answers another question, or nobody, is no answer") func others() {
        let good = Self.message(counts: [0, 0, 0], [])
        #expect(DNSAnswer(good, to: question(), id: 7) != nil)
        #expect(DNSAnswer(good, to: question(), id: 8) == nil)
        #expect(DNSAnswer(good, to: question("MX"), id: 7) == nil)
        #expect(DNSAnswer(good, to: DNSQuestion(name: "a.c", type: "A")!, id: 7) == nil)
        #expect(DNSAnswer(question().message(id: 7), to: question(), id: 7) == nil)
    }

    @Test("a name that points at itself ends") func loop() {
        let bytes = Self.message(counts: [1, 0, 0], [0xC0, 21, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4])
        #expect(DNSAnswer(bytes, to: question(), id: 7) == nil)
    }

    @Test("a name is no chain of pointers without an end in sight", arguments: [(127, true), (128, false)])
    func chain(pointers: Int, isRead: Bool) {
        // TXT data that is pointers, each to the one before; the first of them to the question's name.
        var bytes = Self.message(counts: [2, 0, 0], [])
        let header: [UInt8] = [0xC0, 12, 0, 99, 0, 1, 0, 0, 0, 60]
        bytes += header + [UInt8(2 * pointers >> 8), UInt8(2 * pointers & 0xFF)]
        var target = 12
        for _ in 1..<pointers {
            let here = bytes.count
            bytes += [0xC0 | UInt8(target >> 8), UInt8(target & 0xFF)]
            target = here
        }
        bytes += [0, 0, 0xC0 | UInt8(target >> 8), UInt8(target & 0xFF), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]
        #expect((DNSAnswer(bytes, to: question(), id: 7) != nil) == isRead)
    }

    @Test("broken messages are refused and never read beyond their end", arguments: 0..<20)
    func broken(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let record: [UInt8] = [0xC0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, 6, 0, 10, 1, 0x6d, 0xC0, 12]
        let whole = Self.message(counts: [2, 1, 0], record + record + record, type: 15)
        #expect(DNSAnswer(whole, to: question("MX"), id: 7) != nil)
        var taken = 0
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 12..<bytes.count, using: &random)] = UInt8.random(in: 0 ... .max, using: &random)
            }
            bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
            guard let answer = DNSAnswer(bytes, to: question("MX"), id: 7) else { continue }
            taken += 1
            #expect(
                answer.records.allSatisfy { $0.value.utf8.allSatisfy { (0x20...0x7E).contains($0) } }, "seed \(seed)")
        }
        #expect(taken < 2000, "seed \(seed)")
    }
}

@Suite struct RedisReaderTests {
    /// Replies of a text that comes in pieces of so many bytes.
    private func replies(_ text: String, by size: Int, limit: Int = 100) throws -> [RedisReader.Reply] {
        var rest = Array(text.utf8)[...]
        var reader = RedisReader(limit: limit) { () throws(ProbeError) in
            defer { rest = rest.dropFirst(size) }
            return Array(rest.prefix(size))
        }
        return [try reader.next(), try reader.next()]
    }

    @Test("replies come whole whatever the pieces", arguments: [1, 2, 3, 7, 100]) func pieces(size: Int) throws {
        let found = try replies("+PONG\r\n$5\r\na\r\nb\n\r\n", by: size)
        #expect(found == [.text(Array("PONG".utf8)), .text(Array("a\r\nb\n".utf8))])
        #expect(try replies("-NOAUTH x\r\n:12\r\n", by: size) == [.error("NOAUTH x"), .text(Array("12".utf8))])
    }

    @Test(
        "a refusal of a login does not tell what the server says back: that may be the password",
        arguments: [
            ("ERR unknown command 'AUTH', with args beginning with: 'geheim'", "ERR"), ("geheim is wrong", ""),
            ("WRONGPASS invalid username-password pair", "WRONGPASS"), ("", ""), ("GEHEIM", ""),
        ]) func refusal(words: String, shown: String)
    {
        #expect(RedisSettings.kind(ofRefusal: words) == shown)
    }

    @Test(
        "what is no Redis, or too much, is refused",
        arguments: [
            ("HTTP/1.1 400\r\n", FetchCause.answer), ("$101\r\n", .tooLarge), ("$-5\r\n", .answer),
            ("$99999999999999999999\r\n", .answer), ("+PO", .interrupted), ("", .interrupted),
            (String(repeating: "+", count: 100_000), .answer),
        ])
    func hostile(text: String, cause: FetchCause) {
        let error = #expect(throws: ProbeError.self) { try replies(text, by: 5000) }
        #expect(error?.cause == cause)
    }

    @Test("INFO becomes a document") func info() {
        let text =
            "# Server\r\nredis_version:7.0.15\r\nused_memory:1024\r\nloading:0\r\n"
            + "db0:keys=1,expires=0,avg_ttl=0\r\nslave0:ip=10.0.0.1,state=online\r\nempty:\r\n"
        #expect(
            RedisProbe.document(text).text
                == #"{"redis_version":"7.0.15","used_memory":1024,"loading":0,"db0":{"keys":1,"expires":0,"avg_ttl":0},"#
                + #""slave0":{"ip":"10.0.0.1","state":"online"},"empty":""}"#)
    }
}

@Suite struct CertificateDateTests {
    @Test(
        "dates of certificates as libraries print them",
        arguments: [
            ("Nov  5 15:43:44 2027 GMT", 1_825_429_424_000), ("Feb 29 00:00:00 2028 GMT", 1_835_395_200_000),
            ("2027-11-05 15:43:44 GMT", 1_825_429_424_000), ("Jan 1 00:00:00 1970 GMT", 0),
            ("Foo 5 15:43:44 2027 GMT", nil), ("Nov 5 25:43:44 2027", nil), ("", nil),
        ] as [(String, Int64?)])
    func parsed(text: String, milliseconds: Int64?) {
        #expect(CertificateDate.parse(text)?.milliseconds == milliseconds)
    }
}

@Suite struct PingMessageTests {
    @Test("a reply is ours when it repeats what was sent") func reply() {
        let message = PingProbe.message(id: 0xABCD, isSix: false)
        var sum: UInt32 = 0
        for index in stride(from: 0, to: message.count, by: 2) {
            sum += UInt32(message[index]) << 8 | UInt32(message[index + 1])
        }
        while sum >> 16 != 0 { sum = sum & 0xFFFF + sum >> 16 }
        #expect(sum == 0xFFFF)
        var reply = message
        reply[0] = 0
        #expect(PingProbe.isReply(reply, to: message, isRaw: true, isSix: false))
        // The kernel exchanges the id where the socket is its own.
        (reply[4], reply[5]) = (1, 2)
        #expect(PingProbe.isReply(reply, to: message, isRaw: false, isSix: false))
        #expect(!PingProbe.isReply(reply, to: message, isRaw: true, isSix: false))
        reply[reply.count - 1] ^= 1
        #expect(!PingProbe.isReply(reply, to: message, isRaw: false, isSix: false))
        #expect(!PingProbe.isReply(message, to: message, isRaw: false, isSix: false))
        #expect(!PingProbe.isReply([], to: message, isRaw: false, isSix: false))
    }
}
