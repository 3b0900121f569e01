extension UInt8 {
    /// An ASCII letter, a digit or `_`.
    @inlinable
    public var isASCIIWord: Bool {
        (0x30...0x39).contains(self) || (0x41...0x5A).contains(self) || (0x61...0x7A).contains(self) || self == 0x5F
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
