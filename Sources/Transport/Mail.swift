public import Basics
public import Settings

/// One message on its way to a mail server: envelope, credentials, text. No state is kept between two.
public struct Mail: Sendable, Hashable {
    /// How the connection is kept from listeners.
    public enum Security: Sendable, Hashable {
        /// In the clear.
        case plain
        /// In the clear until STARTTLS; a server that does not offer it gets nothing.
        case startTLS
        /// From the first byte, as on port 465.
        case implicit
    }

    /// The server.
    public var host: String, port: Int
    /// How we call ourselves.
    public var hello = "localhost"
    /// How the connection is kept from listeners.
    public var security = Security.startTLS
    /// Who we are; nil: nobody in particular.
    public var credentials: MailCredentials?
    /// The envelope: bare addresses.
    public var sender: String, recipients: [String]
    /// Header and body, lines ended by CRLF.
    public var message: [UInt8]
    /// The longest it may take in all.
    public var timeout: Milliseconds = 60_000
    /// TLS.
    public var options = HTTPOptions()

    /// A message by its parts.
    public init(host: String, port: Int, sender: String, recipients: [String], message: [UInt8]) {
        (self.host, self.port, self.sender) = (host, port, sender)
        (self.recipients, self.message) = (recipients, message)
    }

    var url: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return "\(security == .implicit ? "smtps" : "smtp")://\(name):\(port)/\(hello.percentEncoded)"
    }
}

/// Who sends a mail.
public struct MailCredentials: Sendable, Hashable {
    /// The user, and on whose behalf; the latter may be empty.
    public var username: String, identity = ""
    /// For PLAIN and LOGIN, and for CRAM-MD5; revealed, so never printed.
    public var password: Secret?, secret: Secret?

    /// A user.
    public init(username: String, password: Secret?, secret: Secret? = nil) {
        (self.username, self.password, self.secret) = (username, password, secret)
    }

    /// What libcurl is told.
    struct Way: Sendable {
        var mechanisms: [String], username: String, identity: String, password: String
    }

    /// The ways to try, one after the other, while the server offers none of one's mechanisms.
    ///
    /// PLAIN is not for a line in the clear, except to this machine.
    func ways(_ security: Mail.Security, host: String) -> [Way] {
        let isSafe = security != .plain || ["localhost", "127.0.0.1", "::1"].contains(host)
        func way(_ mechanisms: [String], _ secret: Secret?) -> Way? {
            // Whoever made the mail revealed it already.
            guard let text = try? secret?.reveal({ _ in [] }) else { return nil }
            return Way(mechanisms: mechanisms, username: username, identity: identity, password: text)
        }
        return [way(["CRAM-MD5"], secret), way(isSafe ? ["PLAIN", "LOGIN"] : ["LOGIN"], password)].compactMap(\.self)
    }
}

/// A mail server's answer to one command.
public struct MailAnswer: Sendable, Hashable {
    /// 250, 550, …
    public var code: Int
    /// In the server's words, in one line.
    public var text: String

    /// An answer by its parts.
    public init(_ code: Int, _ text: String) { (self.code, self.text) = (code, text) }

    /// 2xx.
    public var isAccepted: Bool { (200..<300).contains(code) }
    /// 5xx: it will be so again.
    public var isPermanent: Bool { code >= 500 }
}

/// What a mail server said to a message.
public struct MailReceipt: Sendable, Hashable {
    /// The command that was answered last: `DATA` when all went well, `AUTH`, `RCPT`, …; empty for the greeting.
    public var command: String
    /// The answer to it.
    public var answer: MailAnswer
    /// The answer to each address, as far as the server was asked.
    public var recipients: [String: MailAnswer]

    /// A receipt by its parts.
    public init(command: String, answer: MailAnswer, recipients: [String: MailAnswer] = [:]) {
        (self.command, self.answer, self.recipients) = (command, answer, recipients)
    }

    /// Whether the server took the message for those addresses that it accepted.
    public var isAccepted: Bool { command == "DATA" && answer.isAccepted }
}

/// Sends mails. libcurl stands behind it, a simulated server in tests.
public protocol MailTransport: Sendable {
    /// Returns what the server said, whatever it was; an error is that it said nothing of use.
    func send(_ mail: Mail) async throws(TransportError) -> MailReceipt
}

extension HTTPTransport {
    /// For transports that know HTTP alone: refuses.
    public func send(_ mail: Mail) async throws(TransportError) -> MailReceipt {
        throw .invalid("this transport sends no mail")
    }
}

/// The commands and answers of a session, in order; what stands between AUTH and its end is not kept.
///
/// libcurl tells the last answer alone, and which address was refused is in none of its figures.
struct MailDialogue: Sendable {
    private let addresses: [String]
    private var asked = 0
    private var lines: [String] = []
    private(set) var receipt = MailReceipt(command: "", answer: MailAnswer(0, ""))
    private(set) var hasAuthenticated = false
    /// Whether libcurl has taken the whole message, so that the server may have it.
    var isMessageSent = false

    init(recipients: [String]) { addresses = recipients }

    mutating func say(_ line: String) {
        guard receipt.answer.code != 334 else {
            receipt.answer.code = 0  // A challenge is answered, by no command.
            return
        }
        let verb = String(line.prefix { $0.isLetter }).uppercased()
        if verb == "RCPT" { asked += 1 }
        // The good-bye says nothing of the message.
        if ["EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"].contains(verb) {
            receipt.command = verb
            if verb == "AUTH" { hasAuthenticated = true }
        } else if verb == "QUIT" {
            isOver = true
        }
    }
    private var isOver = false

    mutating func hear(_ text: String) {
        guard !isOver else { return }
        for line in text.split(whereSeparator: \.isNewline) {
            guard let code = Int(line.prefix(3)), line.count >= 3 else { continue }
            let rest = line.dropFirst(3)
            if lines.count < 20 { lines.append(String(rest.dropFirst()).trimmed) }
            guard rest.first != "-" else { continue }
            receipt.answer = MailAnswer(code, lines.joined(separator: " "))
            lines = []
            if receipt.command == "RCPT", addresses.indices.contains(asked - 1) {
                receipt.recipients[addresses[asked - 1]] = receipt.answer
            }
        }
    }
}
