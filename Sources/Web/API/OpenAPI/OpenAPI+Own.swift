internal import Basics

/// Paths that are Vedette's alone.
extension OpenAPI {
    private static let unknown = error(404, "There is none of that name."), conflict = error(409, "It cannot be now.")
    private static let id = Parameter.path("id", text, "The rollback.")
    private static let action = Parameter.query("action", text, "A rollback action of the file.", required: true)
    private static func page(_ description: String) -> Answer {
        Answer(status: 200, description: description, content: [(html, text)])
    }
    private static func words(_ status: Int, _ description: String) -> Answer {
        Answer(status: status, description: description, content: [(plain, text)])
    }
    private static let standing = object(["status": text, "timestamp": text])

    static let own: [Operation] =
        [
            .get("/", "firstPage", "The first page.", page("For people.")),
            .get("/pages", "ledgerPage", "The ledger of pages.", page("For people.")),
            .get("/-/healthy", "healthy", "Whether it lives.", words(200, "It does.")),
            .get(
                "/-/ready", "ready", "Whether it is ready to be asked.", words(200, "It is."),
                errors: [words(503, "Not yet; the text says why.")]),
            .get(
                "/health", "health", "That this daemon works.",
                ok(object(["status": ["const": "healthy"], "timestamp": text, "version": text]))),
            .get(
                "/health/detailed", "healthDetailed", "Every check and workload.",
                ok(
                    object([
                        "status": choice("healthy", "degraded"), "timestamp": text,
                        "services": map(object(["status": text])),
                    ]))),
            .get(
                "/health/{name}", "healthOf", "One check or workload.",
                [.path("name", ["type": "string", "minLength": 1], "Its name.")], ok(standing),
                errors: [
                    Answer(
                        status: 404, description: "There is none of that name.", content: [(json, ref("Refusal"))]),
                    Answer(
                        status: 503, description: "It is unhealthy, or was not looked at yet.",
                        content: [(json, standing)]),
                ]),
        ] + reloads + backups + rollbacks + alerting

    private static let reloads = ["POST", "PUT"].map { method in
        Operation(
            method: method, path: "/-/reload", id: method == "PUT" ? "reloadPut" : "reload",
            summary: "Reads the configuration again.", answers: [words(200, "It holds.")],
            errors: [words(400, "What is wrong with the file; what held before goes on.")])
    }

    private static let backups: [Operation] = [
        .post(
            "/api/vedette/v1/backup", "stageBackup", "Makes the consistent part of a backup, a folder on its machine.",
            [], data(object(["name": text, "path": text])),
            errors: [error(500, "It cannot."), error(503, "There is none.")]),
        Operation(
            method: "DELETE", path: "/api/vedette/v1/backup/{name}", id: "removeBackup", summary: "Removes it.",
            parameters: [.path("name", text, "Its name.")],
            answers: [Answer(status: 204, description: "Done.")], errors: [unknown]),
    ]

    private static let rollbacks: [Operation] = [
        .get(
            "/api/vedette/v1/rollbacks", "rollbacks", "Rollbacks, the newest first.",
            [.query("active", flag, "Those under way alone.")], data(object(["rollbacks": list(ref("Rollback"))])),
            errors: [bad]),
        .post(
            "/api/vedette/v1/rollbacks", "startRollback", "A person asks for a rollback.",
            [action, .query("reason", text, "Who asks, and why.", required: true)], data(ref("Rollback")),
            errors: [bad, unknown, conflict]),
        .get(
            "/api/vedette/v1/rollbacks/plan", "rollbackPlan", "What an action would do now.", [action],
            data(
                object([
                    "action": text, "includes": list(text), "steps": list(object(["step": text, "now": text])),
                ])), errors: [bad, unknown, conflict]),
        .get(
            "/api/vedette/v1/rollbacks/status", "rollbackStatus", "The guards, and what the triggers saw last.",
            data(
                object([
                    "mode": text, "stopped": flag, "killSwitch": text,
                    "budget": object(["runs": count, "window": text, "left": whole]),
                    "actions": list(object(["name": text, "mode": text])),
                    "triggers": list(
                        object([
                            "trigger": text, "state": text, "condition": text, "action": text, "value": orNull(text),
                            "labels": labels, "at": text, "firingSince": orNull(text),
                        ])),
                ]))),
        .get(
            "/api/vedette/v1/rollbacks/{id}", "rollback", "One rollback.", [id], data(ref("Rollback")),
            errors: [unknown, conflict]),
        .post(
            "/api/vedette/v1/rollbacks/{id}/cancel", "cancelRollback", "A person ends a rollback.",
            [id, .query("by", text, "Who.")], data(ref("Rollback")), errors: [unknown, conflict]),
    ]

    private static let alerting: [Operation] = [
        .get(
            "/api/vedette/v1/alerts/explain", "explainAlert", "Why an alert is told to whom, or is not.",
            [.query("fingerprint", text, "Of the alert; see /api/v2/alerts.", required: true)],
            data(
                object([
                    "fingerprint": text, "labels": labels, "known": flag, "annotations": labels,
                    "startsAt": orNull(text), "endsAt": orNull(text), "firing": flag,
                    "routes": list(["type": "object"]),
                    "groups": list(["type": "object"]), "channels": map(list(text)), "pages": list(["type": "object"]),
                    "ledger": list(ref("Delivery")), "rule": orNull(["type": "object"]),
                ])), errors: [bad, unknown]),
        .get(
            "/api/vedette/v1/alerts/history", "alertHistory",
            "Alerts that were told to us, for trying a configuration.",
            data(
                object([
                    "now": stamp,
                    "alerts": list(
                        object([
                            "labels": labels, "annotations": labels, "startsAt": stamp, "endsAt": orNull(stamp),
                            "generatorURL": text,
                        ])),
                ]))),
        .get(
            "/api/vedette/v1/pages", "pages", "Pages on their way, the ledger, pages given up.",
            data(
                object([
                    "waiting": list(["type": "object"]), "deliveries": list(ref("Delivery")),
                    "ledger": list(ref("Delivery")),
                    "deadLetters": list(
                        object([
                            "id": text, "channel": text, "title": text, "time": text, "reason": text, "message": text,
                        ])),
                    "held": list(object(["destination": text, "until": text, "asked": flag, "waiting": count])),
                    "leaving": list(text),
                ]))),
        .post(
            "/api/vedette/v1/pages/dead", "deadLetters", "Sends given-up pages again, or forgets them.",
            [
                .query("action", choice("replay", "discard"), "Which.", required: true),
                .query("id", text, "One page; all."),
            ], data(object(["count": count])), errors: [bad, unknown]),
        .post(
            "/api/vedette/v1/peers/exchange", "exchangeWithPeer",
            "What a peer told and its silences; the answer has the same form.", body: ref("PeerMessage"),
            Answer(status: 200, description: "What it does not know.", content: [(json, ref("PeerMessage"))]),
            errors: [bad, unknown, conflict]),
        .get(
            "/api/vedette/v1/audit", "audit", "Who changed what, the newest first.",
            data(
                list(
                    object([
                        "sequence": count, "time": stamp, "caller": text, "role": text, "peer": text, "request": text,
                        "status": orNull(whole),
                    ])))),
    ]

    // MARK: Schemas

    static let schemas: [String: JSON] = alertmanagerSchemas.merging(workloadSchemas) { $1 }.merging([
        "Error": object(["status": ["const": "error"], "errorType": text, "error": text]),
        "Refusal": object(["error": text, "cure": text]),
        "Point": ["type": "array", "prefixItems": [number, text], "minItems": 2, "maxItems": 2],
        "QueryData": [
            "oneOf": [
                result("scalar", ref("Point")), result("string", ref("Point")),
                result("vector", list(object(["metric": labels, "value": ref("Point")]))),
                result("matrix", list(object(["metric": labels, "values": list(ref("Point"))]))),
            ]
        ],
        "ParseNode": object(
            [
                "type": choice(
                    "aggregation", "binaryExpr", "call", "matrixSelector", "numberLiteral", "parenExpr",
                    "stringLiteral", "subquery", "unaryExpr", "vectorSelector")
            ],
            optional: [
                "expr": ref("ParseNode"), "lhs": ref("ParseNode"), "rhs": ref("ParseNode"),
                "param": orNull(ref("ParseNode")), "args": list(ref("ParseNode")),
            ]),
        "Target": object([
            "discoveredLabels": labels, "labels": labels, "scrapePool": text, "scrapeUrl": text, "globalUrl": text,
            "lastError": text, "lastScrape": stamp, "lastScrapeDuration": number,
            "health": choice("unknown", "up", "down"), "scrapeInterval": text, "scrapeTimeout": text,
        ]),
        "RuleGroup": object([
            "name": text, "file": text, "rules": list(ref("Rule")), "interval": number, "limit": count,
            "evaluationTime": number, "lastEvaluation": stamp,
        ]),
        "Rule": object(
            [
                "name": text, "query": text, "health": choice("unknown", "ok", "err"), "evaluationTime": number,
                "lastEvaluation": stamp, "type": choice("recording", "alerting"),
            ],
            optional: [
                "state": choice("inactive", "pending", "firing"), "duration": number, "keepFiringFor": number,
                "labels": labels, "annotations": labels, "alerts": list(ref("RuleAlert")), "lastError": text,
                "driftFeatures": list(["type": "object"]),
            ]),
        "RuleAlert": object(
            [
                "labels": labels, "annotations": labels, "state": choice("pending", "firing"), "activeAt": stamp,
                "value": text,
            ], optional: ["keepFiringSince": stamp]),
        "Counts": list(object(["name": text, "value": count])),
        "PeerMessage": object([
            "peer": text, "epoch": text, "sequence": count, "more": flag, "now": whole,
            "known": orNull(object(["epoch": text, "sequence": count])),
            "told": list(
                object(
                    [
                        "group": text, "receiver": text, "integration": text, "told": whole, "by": text,
                        "alerts": list(["type": "array"]),
                    ], optional: ["thread": labels, "threadAt": whole])),
            "silences": list(object(["id": text, "silence": ["type": "object"]])),
        ]),
        "Delivery": object([
            "time": text, "receiver": text, "channel": text, "kind": text, "id": text, "groupKey": text,
            "title": text, "firing": flag, "attempt": count, "latencySeconds": number, "outcome": text,
            "message": text, "nextTry": orNull(text), "note": text, "standsInFor": orNull(text),
        ]),
        "Rollback": object(
            [
                "id": text, "action": text, "actions": list(text), "resources": list(text), "thread": text,
                "created_at": whole, "causes": list(object(["text": text, "labels": labels])),
                "steps": list(object(["step": text, "status": text, "kind": text])), "waits_for": list(text),
                "reason": text, "closed": flag, "announced": whole,
            ],
            optional: [
                "environment": text, "absorbed_by": text, "cancelled_by": text, "outcome": text,
                "finished_at": whole, "closed_at": whole,
            ]),
    ]) { $1 }

    private static func result(_ type: String, _ schema: JSON) -> JSON {
        object(
            ["resultType": ["const": .string(type)], "result": schema], optional: ["stats": ["type": "object"]])
    }
}
