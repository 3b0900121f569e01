internal import Basics

/// The text of a mail: headers and parts in ASCII; lines end with CRLF and hold at most 76 characters where a server
/// may mind.
///
/// - SeeAlso: RFC 5322, RFC 2045 to 2047.
struct MailMessage {
    /// In order, values as text.
    var headers: [(name: String, value: String)]
    /// In the order of preference, the best last: `text/plain`, `text/html`.
    var parts: [(type: String, text: String)]
    /// Unlike any line of the parts.
    var boundary: String

    /// What is sent.
    func serialized() -> [UInt8] {
        var lines: [String] = []
        for (name, value) in headers { lines.append("\(name): \(MailMessage.encoded(name, value))") }
        lines.append("Content-Type: multipart/alternative; boundary=\(boundary)")
        lines.append("MIME-Version: 1.0")
        lines.append("")
        for (type, text) in parts {
            lines.append("--\(boundary)")
            lines.append("Content-Transfer-Encoding: quoted-printable")
            lines.append("Content-Type: \(type); charset=UTF-8")
            lines.append("")
            lines.append(MailMessage.quotedPrintable(text))
        }
        lines.append("--\(boundary)--")
        lines.append("")
        return Array(lines.joined(separator: "\r\n").utf8)
    }

    /// Headers that hold addresses, of which the names alone may be encoded.
    private static let addressHeaders: Set<String> = ["from", "to", "cc", "bcc", "reply-to", "sender"]

    /// A header's value in ASCII, no line break in it but those of encoded words.
    static func encoded(_ name: String, _ value: String) -> String {
        guard addressHeaders.contains(name.lowercased()), let list = MailAddress.list(value), !list.isEmpty else {
            return words(value, after: name.utf8.count + 2)
        }
        return list.map { address in
            if address.name.isEmpty { return address.address }
            let isPlain = address.name.utf8.allSatisfy { $0.isASCIIWord || $0 == 0x20 || $0 == 0x2D }
            let shown =
                isPlain
                ? address.name
                : needsWords(address.name)
                    ? words(address.name)
                    : "\"\(address.name.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
            return "\(shown) <\(address.address)>"
        }.joined(separator: ", ")
    }

    private static func needsWords(_ text: String) -> Bool {
        // Tabs stand for themselves, as in Go.
        text.utf8.contains { ($0 < 0x20 && $0 != 0x09) || $0 >= 0x7F }
    }

    /// The text itself, or encoded words of at most 75 characters each when it needs them.
    ///
    /// - SeeAlso: RFC 2047, 4.2; Go, `mime.QEncoding`.
    ///
    /// - Parameter used: How much of the first line stands before it.
    static func words(_ text: String, after used: Int = 0) -> String {
        guard needsWords(text) else { return text }
        let (begin, end) = ("=?utf-8?q?", "?=")
        var (words, word, room): ([String], String, Int) = ([], "", 76 - used)
        for scalar in text.unicodeScalars {
            let piece = String(scalar).utf8.map { byte -> String in
                switch byte {
                case 0x20: "_"
                case 0x21...0x7E where ![0x3D, 0x3F, 0x5F].contains(byte): String(UnicodeScalar(byte))
                default: "=" + hexadecimal(byte, digits: 2, uppercase: true)
                }
            }.joined()
            // A character is never cut in two.
            if begin.utf8.count + word.utf8.count + piece.utf8.count + end.utf8.count > min(75, room) {
                words.append(word)
                (word, room) = ("", 75)
            }
            word += piece
        }
        return (words + [word]).map { begin + $0 + end }.joined(separator: "\r\n ")
    }

    /// Lines of at most 76 characters, broken softly; line breaks stay.
    ///
    /// - SeeAlso: RFC 2045, 6.7.
    static func quotedPrintable(_ text: String) -> String {
        let body = text.replacing("\r\n", with: "\n").replacing("\r", with: "\n")
        return body.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let bytes = Array(line.utf8)
            var (lines, current): ([String], String) = ([], "")
            for (index, byte) in bytes.enumerated() {
                let isLast = index == bytes.count - 1
                let isSafe = (0x21...0x7E).contains(byte) && byte != 0x3D || (byte == 0x20 || byte == 0x09) && !isLast
                let piece = isSafe ? String(UnicodeScalar(byte)) : "=" + hexadecimal(byte, digits: 2, uppercase: true)
                if current.utf8.count + piece.utf8.count > (isLast ? 76 : 75) {
                    lines.append(current + "=")
                    current = ""
                }
                current += piece
            }
            return (lines + [current]).joined(separator: "\r\n")
        }.joined(separator: "\r\n")
    }

    /// `Fri, 20 Nov 2026 23:42:07 +0000`.
    static func date(_ moment: Timestamp) -> String {
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let count = moment.milliseconds.flooringDivision(by: 86_400_000)
        let date = CivilDate(daysSinceEpoch: count)
        // 1970-01-01 was a Thursday.
        let day = days[Int((count + 4) - (count + 4).flooringDivision(by: 7) * 7)]
        let time = moment.rfc3339().dropFirst(11).prefix(8)
        let padded = date.day < 10 ? "0\(date.day)" : "\(date.day)"
        return "\(day), \(padded) \(months[date.month - 1]) \(date.year) \(time) +0000"
    }
}

/// A name and an address of a mail's header.
struct MailAddress: Hashable {
    /// What people read; may be empty.
    var name: String
    /// `local@domain`.
    var address: String

    /// A list parted by commas, empty items left out; nil when an item is no address.
    static func list(_ text: String) -> [MailAddress]? {
        var list: [MailAddress] = []
        for item in items(text) {
            guard let address = MailAddress(item) else { return nil }
            list.append(address)
        }
        return list
    }

    /// The items of a list, each as written.
    static func items(_ text: String) -> [String] {
        var (items, item): ([String], String) = ([], "")
        var (isQuoted, isEscaped) = (false, false)
        for character in text {
            if isEscaped {
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            } else if character == ",", !isQuoted {
                items.append(item)
                item = ""
                continue
            }
            item.append(character)
        }
        return (items + [item]).map(\.trimmed).filter { !$0.isEmpty }
    }

    /// `Name <local@domain>`, `"Name" <…>` or `local@domain`; nil for what is none.
    init?(_ text: String) {
        var (name, address) = ("", text.trimmed)
        if address.hasSuffix(">") {
            guard let open = address.lastIndex(of: "<") else { return nil }
            name = address[..<open].trimmed
            address = String(address[address.index(after: open)...].dropLast())
            if name.count >= 2, name.hasPrefix("\""), name.hasSuffix("\"") {
                name = String(name.dropFirst().dropLast()).replacing("\\\"", with: "\"").replacing("\\\\", with: "\\")
            }
        }
        let parts = address.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, parts[0].utf8.count <= 64,
            address.unicodeScalars.allSatisfy({
                $0.value > 0x20 && $0.value != 0x7F && !"<>()[],;:\\\"".unicodeScalars.contains($0)
            }),
            name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else { return nil }
        (self.name, self.address) = (name, address)
    }
}
