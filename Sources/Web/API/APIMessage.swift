public import Basics
internal import Exposition
public import Model

/// A request as the handlers see it: no socket, no framework.
public struct APIRequest: Sendable {
    /// `GET`, `POST`, …
    public var method: String
    /// Decoded, without the query.
    public var path: String
    /// The query's and a form's parameters, decoded, in order.
    public var parameters: [(name: String, value: String)]
    /// The body, that of a form too.
    public var body: [UInt8]
    /// How many of the parameters, the first ones, a form gave: the others stand in the query.
    var formCount = 0
    /// The `Accept` header.
    public var accept: String?
    /// Whether the answer may be compressed.
    public var acceptsGzip = false
    /// The `Content-Type` header, empty when there is none; nil: nobody asked.
    public var contentType: String?
    /// The `Content-Encoding` header, empty when there is none.
    public var contentEncoding = ""

    /// The `User-Agent` header.
    public var agent: String?
    /// Where it comes from.
    public var peer = Peer.process
    /// What it says of who asks.
    public var credentials = Credentials()

    /// A request by its parts.
    public init(
        method: String = "GET", path: String, query: String = "", body: [UInt8] = [], isForm: Bool = false,
        accept: String? = nil
    ) {
        (self.method, self.path, self.body, self.accept) = (method, path, body, accept)
        // A form's values come first, as in Go's `Request.ParseForm`.
        parameters = isForm ? APIRequest.decode(String(decoding: body, as: UTF8.self)) : []
        formCount = parameters.count
        parameters += APIRequest.decode(query)
    }

    /// The first value of a parameter, nil when it is absent or empty.
    public func parameter(_ name: String) -> String? {
        parameters.first { $0.name == name && !$0.value.isEmpty }?.value
    }
    /// All values of a parameter.
    public func all(_ name: String) -> [String] { parameters.filter { $0.name == name }.map(\.value) }

    /// By bytes: a letter's mark behind `&` or `=` would be one character with it.
    private static func decode(_ text: String) -> [(name: String, value: String)] {
        text.utf8.split(separator: UInt8(ascii: "&")).map { pair in
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            return (
                percentDecoded(Substring(parts[0]), isForm: true),
                parts.count > 1 ? percentDecoded(Substring(parts[1]), isForm: true) : ""
            )
        }
    }

    /// `%XX`, and in a form's fields `+` for a space.
    static func percentDecoded(_ text: Substring, isForm: Bool = false) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "+"), isForm {
                bytes.append(0x20)
            } else if byte == UInt8(ascii: "%"), rest.count >= 2,
                let high = hexadecimal(rest[rest.startIndex]), let low = hexadecimal(rest[rest.startIndex + 1])
            {
                bytes.append(high << 4 | low)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

private func hexadecimal(_ byte: UInt8) -> UInt8? { Character(Unicode.Scalar(byte)).hexDigitValue.map(UInt8.init) }

extension String {
    /// Whether it begins with these bytes. `hasPrefix` compares characters, and a mark behind a slash is one with it.
    func begins(with prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

    /// What is behind so many bytes.
    func behind(_ prefix: String) -> String { String(Substring(utf8.dropFirst(prefix.utf8.count))) }
}

/// An answer.
public struct APIResponse: Sendable {
    /// 200, 400, …
    public var status: Int
    /// The body's type, empty when there is none.
    public var contentType: String
    /// The body.
    public var body: [UInt8]
    /// Whether the body is gzip of what the type says.
    public var isCompressed = false
    /// Further headers.
    public var headers: [(name: String, value: String)] = []

    /// An answer by its parts.
    public init(status: Int = 200, contentType: String, body: [UInt8]) {
        (self.status, self.contentType, self.body) = (status, contentType, body)
    }

    /// Families in the format that an `Accept` header likes best.
    public static func metrics(_ families: [MetricFamily], accept: String? = nil) -> APIResponse {
        let answer = ExpositionAnswer(accept: accept)
        return APIResponse(contentType: answer.contentType, body: answer.page(families))
    }
    /// Done, and nothing to say.
    static let nothing = APIResponse(status: 204, contentType: "", body: [])
    /// Plain text.
    public static func text(_ text: String, status: Int = 200) -> APIResponse {
        APIResponse(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }
    /// JSON as it is.
    public static func json(_ value: JSON, status: Int = 200) -> APIResponse {
        APIResponse(status: status, contentType: "application/json", body: value.serialized())
    }
    /// Prometheus' envelope around a value.
    public static func success(_ data: JSON) -> APIResponse { json(["status": "success", "data": data]) }
}

/// Why a request is refused, as Prometheus' API says it.
struct APIError: Error {
    var status: Int
    var type: String
    var message: String

    static func badData(_ message: String) -> APIError { APIError(status: 400, type: "bad_data", message: message) }
    static func unavailable(_ message: String) -> APIError {
        APIError(status: 503, type: "unavailable", message: message)
    }
    static func notFound(_ message: String) -> APIError { APIError(status: 404, type: "not_found", message: message) }

    var response: APIResponse {
        .json(["status": "error", "errorType": .string(type), "error": .string(message)], status: status)
    }
}
