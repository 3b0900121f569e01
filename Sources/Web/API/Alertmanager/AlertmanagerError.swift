internal import Basics
internal import Model

/// Why a request to `/api/v2` is refused, as Alertmanager says it: a text as a JSON string where its own code refuses,
/// an object with a code where the schema of its API does.
struct AlertmanagerError: Error {
    var status: Int
    /// The schema's code; nil: Alertmanager's own words.
    var code: Int?
    var message: String

    static func bad(_ message: String) -> AlertmanagerError { AlertmanagerError(status: 400, message: message) }
    static func schema(_ code: Int, _ message: String) -> AlertmanagerError {
        AlertmanagerError(status: 422, code: code, message: message)
    }

    static func unreadable(_ what: String, _ value: JSON, _ key: String, _ type: String) -> AlertmanagerError {
        let kind = value.kind.split(separator: " ").last ?? ""
        return AlertmanagerError(
            status: 400, code: 400,
            message:
                "parsing \(what) body from \"\" failed, because json: cannot unmarshal \(kind) into Go struct field "
                + ".\(key) of type \(type)")
    }

    var response: APIResponse {
        guard let code else {
            var body = JSON.string(message).serialized()
            body.append(UInt8(ascii: "\n"))
            return APIResponse(status: status, contentType: "application/json", body: body)
        }
        return .json(["code": .number(Double(code)), "message": .string(message)], status: status)
    }

    /// A bad regular expression in Go's words, which Alertmanager's clients know.
    ///
    /// - SeeAlso: Go, `regexp/syntax`, `ErrorCode`; RE2, `re2.cc`, `CodeToText`.
    static func expression(_ error: PatternError) -> String {
        let parts = error.reason.split(separator: ": ", maxSplits: 1).map(String.init)
        let words = [
            "missing ]": "missing closing ]", "missing )": "missing closing )",
            "no argument for repetition operator": "missing argument to repetition operator",
            "bad repetition operator": "invalid nested repetition operator",
            "invalid escape sequence": "invalid escape sequence", "unexpected )": "unexpected )",
        ]
        let what = words[parts[0]] ?? parts[0]
        return "error parsing regexp: \(what)" + (parts.count > 1 ? ": `\(parts[1])`" : "")
    }
}

extension Timestamp {
    /// A moment as go-openapi reads it: RFC 3339, also without an offset, which is UTC then; an empty one is the epoch.
    init?(openAPI text: String) {
        if text.isEmpty {
            self = Timestamp(milliseconds: 0)
        } else if let moment = Timestamp(rfc3339: text) ?? Timestamp(rfc3339: text + "Z") {
            self = moment
        } else {
            return nil
        }
    }
}
