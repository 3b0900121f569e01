extension UInt8 {
    /// An ASCII letter, a digit or `_`.
    @inlinable
    public var isASCIIWord: Bool {
        (0x30...0x39).contains(self) || (0x41...0x5A).contains(self) || (0x61...0x7A).contains(self) || self == 0x5F
    }
}

extension Unicode.Scalar {
    /// Whether it moves or hides what stands around it.
    fileprivate var isHidden: Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0x200E, 0x200F, 0x061C: true
        default: false
        }
    }
}

extension String {
    /// Everything but RFC 3986's unreserved characters as `%XX`.
    public var percentEncoded: String {
        var bytes: [UInt8] = []
        for byte in utf8 {
            switch byte {
            case 0x2D, 0x2E, 0x7E: bytes.append(byte)
            case _ where byte.isASCIIWord: bytes.append(byte)
            default: bytes += "%\(hexadecimal(byte, digits: 2, uppercase: true))".utf8
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Go's `url.QueryEscape`: as `percentEncoded`, with `+` for a space.
    public var queryEscaped: String { percentEncoded.replacing("%20", with: "+") }

    /// The same as a line that shows as it is: controls, line ends and marks that turn the direction of writing stand
    /// as `\n` or `\u{1b}`. Whoever chose the text can make no further line of it, nor steer a terminal.
    public var asOneLine: String {
        guard unicodeScalars.contains(where: \.isHidden) else { return self }
        var result = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.isHidden: result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// Go's `template.HTMLEscapeString`, for text and for attribute values in quotes.
    public var htmlEscaped: String {
        var result = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "\"": result += "&#34;"
            case "'": result += "&#39;"
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\0": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension StringProtocol {
    /// Without the white space around it.
    public var trimmed: String {
        var scalars = unicodeScalars[...]
        while scalars.first?.properties.isWhitespace == true { scalars.removeFirst() }
        while scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        return String(String.UnicodeScalarView(scalars))
    }
}
