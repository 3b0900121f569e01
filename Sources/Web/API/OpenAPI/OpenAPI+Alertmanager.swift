internal import Basics

/// `/api/v2`, by Alertmanager's names.
extension OpenAPI {
    private static func refused(_ status: Int, _ description: String) -> Answer {
        Answer(status: status, description: description, content: [(json, ref("refusal"))])
    }
    private static let wrong = refused(400, "Something is wrong with what was asked.")
    private static let invalid = refused(422, "The body or the path is not as the schema has it.")
    private static let unsupported = refused(415, "The body is not said to be application/json.")

    private static func shown(_ name: String, _ what: String) -> Parameter {
        .query(name, flag, "Shows \(what); true.")
    }
    private static let filter = Parameter.list("filter", "A matcher.", matching)
    private static let matching: JSON = ["type": "string", "examples": ["alertname=\"Up\"", "severity!~\"x.*\""]]
    private static let receivers = Parameter.list("receiver_matchers", "A matcher of receivers' labels.", matching)
    private static let alertFilter = [
        shown("active", "those that are not held back"), shown("silenced", "silenced ones"),
        shown("inhibited", "inhibited ones"), filter, .query("receiver", text, "A regular expression."), receivers,
    ]
    private static let silenceID = Parameter.path("silenceID", ["type": "string", "format": "uuid"], "The silence.")
    private static let none = Answer(status: 404, description: "There is no such silence.")
    private static let done = Answer(status: 200, description: "Done.")

    static let alertmanager: [Operation] = [
        .get("/api/v2/status", "getStatus", "What it is.", ok(ref("alertmanagerStatus"))),
        .get(
            "/api/v2/receivers", "getReceivers", "The receivers.", [receivers], ok(list(ref("receiver"))),
            errors: [wrong]),
        .get(
            "/api/v2/alerts", "getAlerts", "Alerts that fire.",
            alertFilter + [shown("unprocessed", "those that are in no group yet: there are none")],
            ok(list(ref("gettableAlert"))), errors: [wrong]),
        .post(
            "/api/v2/alerts", "postAlerts", "Alerts from outside.", body: list(ref("postableAlert")), done,
            errors: [wrong, unsupported, invalid]),
        .get(
            "/api/v2/alerts/groups", "getAlertGroups", "The groups with what fires in them.",
            alertFilter + [shown("muted", "muted groups")], ok(list(ref("alertGroup"))), errors: [wrong]),
        .get(
            "/api/v2/silences", "getSilences", "Silences.",
            [
                filter, shown("active", "active ones"), shown("expired", "expired ones"),
                shown("pending", "those to come"),
            ], ok(list(ref("gettableSilence"))), errors: [wrong]),
        .post(
            "/api/v2/silences", "postSilences", "Makes a silence, or changes one.", body: ref("postableSilence"),
            ok(object(["silenceID": text])),
            errors: [wrong, refused(404, "There is no such silence."), unsupported, invalid]
        ),
        .get(
            "/api/v2/silence/{silenceID}", "getSilence", "One silence.", [silenceID], ok(ref("gettableSilence")),
            errors: [none, invalid]),
        Operation(
            method: "DELETE", path: "/api/v2/silence/{silenceID}", id: "deleteSilence", summary: "Ends a silence.",
            parameters: [silenceID], answers: [done], errors: [none, invalid]),
    ]

    private static let silence: JSON = object(
        ["matchers": ref("matchers"), "startsAt": stamp, "endsAt": stamp, "createdBy": text, "comment": text],
        optional: ["annotations": labels])
    private static let matcher = object(
        ["name": text, "value": text, "isRegex": flag], optional: ["isEqual": ["type": "boolean", "default": true]])
    private static let reference = object(["name": text])

    static let alertmanagerSchemas: [String: JSON] = [
        "labelSet": map(text), "matcher": matcher,
        "matchers": ["type": "array", "items": ref("matcher"), "minItems": 1],
        "receiver": object(["name": text], optional: ["labels": labels]), "receiverReference": reference,
        "refusal": ["anyOf": [text, object(["code": whole, "message": text])]],
        "gettableSilence": [
            "allOf": [
                object([
                    "id": text, "status": object(["state": choice("expired", "active", "pending")]),
                    "updatedAt": stamp,
                ]), silence,
            ]
        ],
        "postableSilence": [
            "allOf": [["type": "object", "properties": ["id": text]], silence],
            "examples": [
                [
                    "matchers": [["name": "alertname", "value": "Up", "isRegex": false, "isEqual": true]],
                    "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "ops",
                    "comment": "The move.",
                ]
            ],
        ],
        "alertStatus": object([
            "state": choice("unprocessed", "active", "suppressed"), "silencedBy": list(text),
            "inhibitedBy": list(text), "mutedBy": list(text),
        ]),
        "gettableAlert": object(
            [
                "labels": labels, "annotations": labels, "receivers": list(ref("receiverReference")),
                "fingerprint": text, "startsAt": stamp, "updatedAt": stamp, "endsAt": stamp,
                "status": ref("alertStatus"),
            ], optional: ["generatorURL": text]),
        "postableAlert": object(
            ["labels": ["type": "object", "additionalProperties": text, "minProperties": 1]],
            optional: ["annotations": labels, "startsAt": stamp, "endsAt": stamp, "generatorURL": text]),
        "alertGroup": object(
            ["labels": labels, "receiver": ref("receiverReference"), "alerts": list(ref("gettableAlert"))],
            optional: ["routeLabels": labels]),
        "alertmanagerStatus": object([
            "cluster": object(
                ["status": choice("ready", "settling", "disabled")],
                optional: ["name": text, "peers": list(object(["name": text, "address": text]))]),
            "config": object(["original": text]), "uptime": stamp,
            "versionInfo": object([
                "version": text, "revision": text, "branch": text, "buildUser": text, "buildDate": text,
                "goVersion": text,
            ]),
        ]),
    ]
}
