import Basics
import Glibc
import Settings
import Synchronization
import Testing
import Transport

/// A mail server on the loopback, for one session at a time: what it answers to each line is told by a closure.
private final class MailServer: Sendable {
    let port: Int
    private let listener: Int32
    private let heard = Mutex<[String]>([])
    private let answer: @Sendable (String) -> String?

    /// - Parameter answer: The answer to a line without its end; `greeting`: for the connection, `.`: for the message;
    ///   nil closes.
    init(_ answer: @escaping @Sendable (String) -> String?) {
        self.answer = answer
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        (address.sin_family, address.sin_addr.s_addr) = (sa_family_t(AF_INET), in_addr_t(0x7F00_0001).bigEndian)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        unsafe withUnsafeMutablePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { plain in
                _ = unsafe bind(listener, plain, length)
                _ = listen(listener, 4)
                _ = unsafe getsockname(listener, plain, &length)
            }
        }
        port = Int(UInt16(bigEndian: address.sin_port))
        startThread(named: "mail-server") { [self] in
            while true {
                let connection = accept(self.listener, nil, nil)
                guard connection >= 0 else { return }
                serve(connection)
                close(connection)
            }
        }
    }
    deinit { close(listener) }

    /// Ends the thread.
    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// Every line that came.
    var lines: [String] { heard.withLock { $0 } }

    private func serve(_ connection: Int32) {
        func say(_ text: String?) -> Bool {
            guard let text else { return false }
            let bytes = Array("\(text)\r\n".utf8)
            return unsafe bytes.withUnsafeBytes {
                unsafe send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            } > 0
        }
        guard say(answer("greeting")) else { return }
        var (pending, buffer, isMessage): ([UInt8], [UInt8], Bool) = ([], [UInt8](repeating: 0, count: 4096), false)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe recv(connection, $0.baseAddress, $0.count, 0) }
            guard count > 0 else { return }
            pending += buffer.prefix(count)
            while let end = pending.firstIndex(of: 0x0A) {
                let line = String(decoding: pending[..<end], as: UTF8.self).trimmed
                pending.removeSubrange(...end)
                heard.withLock { $0.append(line) }
                if isMessage, line != "." { continue }
                let reply = answer(line)
                isMessage = reply?.hasPrefix("354") == true
                guard say(reply) else { return }
            }
        }
    }
}

@Suite struct MailTests {
    private func send(
        to recipients: [String], change: (inout Mail) -> Void = { _ in },
        answer: @escaping @Sendable (String) -> String?
    ) async -> (Result<MailReceipt, TransportError>, [String]) {
        let server = MailServer { line in
            // What a server says that takes all.
            answer(line)
                ?? (line == "greeting" ? "220 test" : line.hasPrefix("EHLO") ? "250-test\r\n250 SIZE 1000000" : nil)
                ?? (line == "DATA" ? "354 go on" : line == "QUIT" ? "221 bye" : "250 2.0.0 ok")
        }
        defer { server.stop() }
        let transport = CurlTransport(clock: SystemClock())
        defer { transport.stop() }
        var mail = Mail(
            host: "127.0.0.1", port: server.port, sender: "v@example.org", recipients: recipients,
            message: Array("Subject: x\r\n\r\n.a dot\r\nend\r\n".utf8))
        (mail.security, mail.hello) = (.plain, "vedette.example")
        change(&mail)
        do throws(TransportError) {
            let receipt = try await transport.send(mail)
            return (.success(receipt), server.lines)
        } catch {
            return (.failure(error), server.lines)
        }
    }

    @Test("a mail goes out command by command, a dot at a line's beginning doubled") func dialogue() async throws {
        let (result, lines) = await send(to: ["a@example.org", "b@example.org"]) { _ in nil }
        let receipt = try result.get()
        #expect(receipt.isAccepted && receipt.answer == MailAnswer(250, "2.0.0 ok"))
        #expect(receipt.recipients.mapValues(\.code) == ["a@example.org": 250, "b@example.org": 250])
        #expect(lines.first == "EHLO vedette.example")
        #expect(
            lines.dropFirst(2).prefix(8) == [
                "RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>", "DATA", "Subject: x", "", "..a dot", "end", ".",
            ])
        #expect(lines[1].hasPrefix("MAIL FROM:<v@example.org>"))
    }

    @Test("each address has its answer, and those that are taken get the mail") func addresses() async throws {
        let (result, lines) = await send(to: ["a@x.org", "bad@x.org", "late@x.org"]) { line in
            line.contains("<bad") ? "550 5.1.1 nobody" : line.contains("<late") ? "451-4.7.1 come\r\n451 back" : nil
        }
        let receipt = try result.get()
        #expect(receipt.isAccepted && lines.contains("DATA"))
        #expect(receipt.recipients["a@x.org"]?.isAccepted == true)
        #expect(receipt.recipients["bad@x.org"] == MailAnswer(550, "5.1.1 nobody"))
        #expect(receipt.recipients["late@x.org"] == MailAnswer(451, "4.7.1 come back"))
    }

    @Test(
        "a server's no is an answer, told with the command it was said to",
        arguments: [
            ("greeting", "554 go away", ""), ("MAIL", "550 not you", "MAIL"), ("RCPT", "550 nobody", "RCPT"),
            ("DATA", "451 later", "DATA"), (".", "552 too much", "DATA"),
        ])
    func refusals(command: String, answer: String, told: String) async throws {
        let (result, _) = await send(to: ["a@x.org"]) { line in line.hasPrefix(command) ? answer : nil }
        let receipt = try result.get()
        #expect(!receipt.isAccepted && receipt.command == told)
        #expect("\(receipt.answer.code) \(receipt.answer.text)" == answer)
    }

    @Test("without STARTTLS nothing is sent, and what never listened is told as such") func unreachable() async {
        let (result, lines) = await send(to: ["a@x.org"], change: { $0.security = .startTLS }) { _ in nil }
        guard case .failure(.unreachable(let reason)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(reason.contains("STARTTLS") && !lines.contains { $0.hasPrefix("MAIL") })
        let (other, _) = await send(to: ["a@x.org"], change: { $0.port = 1 }) { _ in nil }
        #expect(throws: TransportError.self) { try other.get() }
    }

    @Test("LOGIN is used where PLAIN is not offered; a wrong password is the server's no", arguments: [true, false])
    func login(isRight: Bool) async throws {
        let (result, lines) = await send(
            to: ["a@x.org"],
            change: { $0.credentials = MailCredentials(username: "me", password: Secret("p4ss"), secret: Secret("c")) }
        ) { line in
            switch line {
            case "EHLO vedette.example": "250-test\r\n250 AUTH LOGIN"
            case "AUTH LOGIN": "334 VXNlcm5hbWU6"
            case base64(Array("me".utf8)): "334 UGFzc3dvcmQ6"
            case base64(Array("p4ss".utf8)): isRight ? "235 ok" : "535 5.7.8 no"
            default: nil
            }
        }
        let receipt = try result.get()
        #expect(receipt.isAccepted == isRight)
        if !isRight { #expect(receipt.command == "AUTH" && receipt.answer == MailAnswer(535, "5.7.8 no")) }
        #expect(lines.filter { $0 == "AUTH LOGIN" }.count == 1)
    }
}
