internal import Basics

/// The HTTP interface as an OpenAPI 3.1 document: what `/api/v1/openapi.yaml` answers. The operations stand in tables,
/// what all of them share is added here; a test compares them with the routes: neither has what the other lacks.
///
/// - SeeAlso: OpenAPI Specification 3.1.1; Alertmanager, `api/v2/openapi.yaml`, whose names `/api/v2` has.
struct OpenAPI: Sendable {
    /// The operations' base, `/` or as `/vedette`.
    var server: String
    /// The daemon's.
    var version: String

    /// One method of one path.
    struct Operation: Sendable {
        var method: String, path: String
        /// For generated clients; unique.
        var id: String
        /// One sentence.
        var summary: String
        var parameters: [Parameter] = []
        /// A body's schema and its media type; or
        var body: JSON?, bodyType = "application/json"
        /// whether the parameters come as a form.
        var isForm = false
        /// What it answers when all is well.
        var answers: [Answer]
        /// Whatever else it may answer, beside what every operation may.
        var errors: [Answer] = []

        /// GET is asked with HEAD as well, which is not written down anew.
        var key: String { "\(method) \(path)" }
    }

    /// What stands in the path or in the query.
    struct Parameter: Sendable {
        enum Place: String, Sendable { case query, path }
        var name: String, schema: JSON, description: String
        var isRequired = false
        var place = Place.query

        static func query(_ name: String, _ schema: JSON, _ description: String, required: Bool = false) -> Parameter {
            Parameter(name: name, schema: schema, description: description, isRequired: required)
        }
        /// May be repeated.
        static func list(
            _ name: String, _ description: String, _ items: JSON = text, required: Bool = false
        ) -> Parameter {
            let schema: JSON =
                required ? ["type": "array", "items": items, "minItems": 1] : ["type": "array", "items": items]
            return query(name, schema, description, required: required)
        }
        static func path(_ name: String, _ schema: JSON, _ description: String) -> Parameter {
            Parameter(name: name, schema: schema, description: description, isRequired: true, place: .path)
        }

        var json: JSON {
            [
                "name": .string(name), "in": .string(place.rawValue), "description": .string(description),
                "required": .bool(isRequired), "schema": schema,
            ]
        }
    }

    /// A status with what its body holds, by media type; none: an empty body.
    struct Answer: Sendable {
        var status: Int, description: String
        var content: [(type: String, schema: JSON)] = []
        /// Headers that it always has.
        var headers: [String] = []

        var json: JSON {
            var members = [JSON.Member("description", .string(description))]
            if !headers.isEmpty {
                members.append(
                    .init("headers", .object(headers.map { .init($0, ["required": true, "schema": OpenAPI.text]) })))
            }
            if !content.isEmpty {
                members.append(
                    .init("content", .object(content.map { .init($0.type, .object([.init("schema", $0.schema)])) })))
            }
            return .object(members)
        }
    }

    /// Every operation, by path and then method.
    static let operations: [Operation] =
        (own + prometheus + alertmanager + workloads).sorted { ($0.path, $0.method) < ($1.path, $1.method) }

    /// The whole document. Cost: about a millisecond; whoever asks is told it is not asked often.
    var yaml: String {
        var paths: [JSON.Member] = []
        for operation in OpenAPI.operations {
            let member = JSON.Member(operation.method.lowercased(), OpenAPI.json(operation))
            if paths.last?.name == operation.path, let others = paths.last?.value.members {
                paths[paths.count - 1].value = .object(others + [member])
            } else {
                paths.append(JSON.Member(operation.path, .object([member])))
            }
        }
        let document: JSON = [
            "openapi": "3.1.0",
            "info": [
                "title": "Vedette", "version": .string(version),
                "description": .string(OpenAPI.introduction),
                "license": ["name": "Apache 2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": .string(server)]],
            "security": [.object([]), ["basic": []], ["bearer": []]],
            "paths": .object(paths),
            "components": [
                "schemas": .object(OpenAPI.schemas.sorted { $0.key < $1.key }.map { JSON.Member($0.key, $0.value) }),
                "securitySchemes": [
                    "basic": ["type": "http", "scheme": "basic"], "bearer": ["type": "http", "scheme": "bearer"],
                ],
                "responses": .object(
                    OpenAPI.shared.map { JSON.Member("Status\($0.status)", $0.json) }),
            ],
        ]
        return document.yaml
    }

    private static let introduction =
        "Prometheus' API under /api/v1, Alertmanager's under /api/v2, Vedette's own under /api/vedette/v1. "
        + "GET is asked with HEAD too; OPTIONS answers 204 with Allow; any other method is answered 405 with Allow. "
        + "Who may ask what is decided by web in the file: without it reading is free and changes are taken from "
        + "the machine itself."

    private static func json(_ operation: Operation) -> JSON {
        var members: [JSON.Member] = [
            .init("operationId", .string(operation.id)), .init("summary", .string(operation.summary)),
            .init("tags", [.string(operation.tag)]),
        ]
        if operation.isOpen { members.append(.init("security", [])) }
        let placed = operation.parameters.filter { !operation.isForm || $0.place == .path }
        if !placed.isEmpty { members.append(.init("parameters", .array(placed.map(\.json)))) }
        if operation.isForm { members.append(.init("requestBody", form(operation.parameters))) }
        if let body = operation.body {
            members.append(
                .init(
                    "requestBody",
                    ["required": true, "content": .object([.init(operation.bodyType, ["schema": body])])]))
        }
        var statuses: [JSON.Member] = (operation.answers + operation.errors).sorted { $0.status < $1.status }
            .map { .init("\($0.status)", $0.json) }
        for answer in shared where operation.isShared(answer.status) {
            guard !statuses.contains(where: { $0.name == "\(answer.status)" }) else { continue }
            statuses.append(
                .init("\(answer.status)", ["$ref": .string("#/components/responses/Status\(answer.status)")]))
        }
        statuses.sort { $0.name < $1.name }
        members.append(.init("responses", .object(statuses)))
        return .object(members)
    }

    /// A form's fields; what may be repeated is repeated.
    private static func form(_ parameters: [Parameter]) -> JSON {
        let fields = parameters.filter { $0.place == .query }
        let needed = fields.filter(\.isRequired).map { JSON.string($0.name) }
        var schema: [JSON.Member] = [
            .init("type", "object"), .init("properties", .object(fields.map { .init($0.name, $0.schema) })),
        ]
        if !needed.isEmpty { schema.append(.init("required", .array(needed))) }
        return [
            "required": .bool(!needed.isEmpty),
            "content": ["application/x-www-form-urlencoded": ["schema": .object(schema)]],
        ]
    }

    /// What every operation may answer: access is judged, and bodies are read, before any of them is looked at.
    private static let shared = [
        Answer(
            status: 401, description: "No password or token, or not the right one.",
            content: [(json, ref("Error"))], headers: ["WWW-Authenticate"]),
        Answer(status: 403, description: "The caller's role does not do.", content: [(json, ref("Error"))]),
        Answer(status: 408, description: "The body did not come in time.", content: [(plain, text)]),
        Answer(status: 413, description: "The body is too long.", content: [(plain, text)]),
        Answer(
            status: 429, description: "Too many requests, or failed logins, from one address.",
            content: [(json, ref("Error"))], headers: ["Retry-After"]),
    ]

    // MARK: Words of the tables

    static let json = "application/json", plain = "text/plain; charset=utf-8", html = "text/html; charset=utf-8"

    static let text: JSON = ["type": "string"], flag: JSON = ["type": "boolean"], number: JSON = ["type": "number"]
    static let whole: JSON = ["type": "integer"], count: JSON = ["type": "integer", "minimum": 0]
    static let stamp: JSON = ["type": "string", "format": "date-time"]
    static let labels = ref("labelSet")

    static func ref(_ name: String) -> JSON { ["$ref": .string("#/components/schemas/\(name)")] }
    static func list(_ items: JSON) -> JSON { ["type": "array", "items": items] }
    static func map(_ values: JSON) -> JSON { ["type": "object", "additionalProperties": values] }
    static func choice(_ texts: String...) -> JSON { ["type": "string", "enum": .array(texts.map(JSON.string))] }
    static func orNull(_ schema: JSON) -> JSON { ["anyOf": [schema, ["type": "null"]]] }
    /// An object with these; the `optional` ones may be missing.
    static func object(_ needed: KeyValuePairs<String, JSON>, optional: KeyValuePairs<String, JSON> = [:]) -> JSON {
        let all = (Array(needed) + Array(optional)).map { JSON.Member($0.key, $0.value) }
        return [
            "type": "object", "required": .array(needed.map { .string($0.key) }), "properties": .object(all),
        ]
    }

    /// 200 with JSON.
    static func ok(_ schema: JSON, _ description: String = "Done.") -> Answer {
        Answer(status: 200, description: description, content: [(json, schema)])
    }
    /// 200 with Prometheus' envelope around a value.
    static func data(_ schema: JSON, _ description: String = "Done.") -> Answer {
        ok(
            object(
                ["status": ["const": "success"], "data": schema],
                optional: ["warnings": list(text), "infos": list(text)]), description)
    }
    /// An error in Prometheus' form.
    static func error(_ status: Int, _ description: String) -> Answer {
        Answer(status: status, description: description, content: [(json, ref("Error"))])
    }
    static let bad = error(400, "A parameter is wrong; the error says which.")
    static let failed = error(422, "It was understood and could not be carried out.")
    static let notNow = error(503, "Not now: too busy, too long, or switched off.")
}

extension OpenAPI.Operation {
    /// Whether it is asked without a password or token.
    var isOpen: Bool { APIRequest(method: method, path: path).role == nil }

    fileprivate func isShared(_ status: Int) -> Bool {
        switch status {
        case 401, 403: !isOpen
        case 408, 413: method == "POST" || method == "PUT"
        default: true
        }
    }

    /// Where it stands in a list by subject.
    fileprivate var tag: String {
        if path.hasPrefix("/api/v2/") { return "alertmanager" }
        if Forwarder.takes(path) { return "workloads" }
        if path.hasPrefix("/api/v1/") || path == "/federate" { return "prometheus" }
        return path.hasPrefix("/api/") ? "vedette" : "daemon"
    }

    /// The same path with GET, and with POST as a form.
    static func asked(
        _ path: String, _ id: String, _ summary: String, _ parameters: [OpenAPI.Parameter],
        _ answers: [OpenAPI.Answer], errors: [OpenAPI.Answer]
    ) -> [OpenAPI.Operation] {
        [
            OpenAPI.Operation(
                method: "GET", path: path, id: id, summary: summary, parameters: parameters, answers: answers,
                errors: errors),
            OpenAPI.Operation(
                method: "POST", path: path, id: "\(id)Post", summary: summary + " The parameters are a form.",
                parameters: parameters, isForm: true, answers: answers, errors: errors),
        ]
    }

    /// A path that is read.
    static func get(
        _ path: String, _ id: String, _ summary: String, _ parameters: [OpenAPI.Parameter],
        _ answer: OpenAPI.Answer, errors: [OpenAPI.Answer] = []
    ) -> OpenAPI.Operation {
        OpenAPI.Operation(
            method: "GET", path: path, id: id, summary: summary, parameters: parameters, answers: [answer],
            errors: errors)
    }

    /// A path that changes something, its parameters in the query.
    static func post(
        _ path: String, _ id: String, _ summary: String, _ parameters: [OpenAPI.Parameter], body: JSON? = nil,
        _ answer: OpenAPI.Answer, errors: [OpenAPI.Answer] = []
    ) -> OpenAPI.Operation {
        OpenAPI.Operation(
            method: "POST", path: path, id: id, summary: summary, parameters: parameters, body: body,
            answers: [answer], errors: errors)
    }

    static func get(
        _ path: String, _ id: String, _ summary: String, _ answer: OpenAPI.Answer, errors: [OpenAPI.Answer] = []
    ) -> OpenAPI.Operation {
        get(path, id, summary, [], answer, errors: errors)
    }

    static func post(
        _ path: String, _ id: String, _ summary: String, body: JSON? = nil, _ answer: OpenAPI.Answer,
        errors: [OpenAPI.Answer] = []
    ) -> OpenAPI.Operation {
        post(path, id, summary, [], body: body, answer, errors: errors)
    }
}
