internal import Basics

/// What is passed on to the workloads' process.
extension OpenAPI {
    private static func refused(_ status: Int, _ description: String) -> Answer {
        Answer(status: status, description: description, content: [(json, ref("Refusal"))])
    }
    /// What the way there adds: every path of theirs is 404 where no workloads are configured.
    private static let away = [
        refused(404, "No such workload is configured."), refused(502, "The answer is too long to be passed on."),
        refused(503, "The workloads do not run now, or are busy."), refused(504, "No answer came in time."),
    ]
    private static let wrong = refused(400, "Not JSON, or an unknown parameter; the cure says more.")
    private static let conflict = refused(409, "There is no model, or a run is under way.")
    private static let invalid = refused(422, "A value is wrong.")
    private static let broken = refused(500, "The work broken.")
    private static let users = "/api/v1/analytics/users/churn"
    private static let day: JSON = ["type": "string", "format": "date"]

    static let workloads: [Operation] = [
        .get(
            "/api/vedette/v1/workloads", "workloads", "The workloads and their runs.",
            ok(object(["workloads": list(ref("Workload"))])), errors: [wrong] + away),
        .get(
            "/api/v1/ml/health", "modelHealth", "How the workloads are.",
            ok(
                object([
                    "status": choice("healthy", "degraded"), "timestamp": text, "version": text,
                    "services": map(object(["status": text, "problems": list(text)])),
                ])), errors: away),
        .post(
            "/api/v1/ml/predict/churn", "predictChurn", "How likely customers are to leave.",
            body: [
                "anyOf": [
                    ref("ChurnInput"),
                    [
                        "type": "object", "required": ["customers"], "additionalProperties": false,
                        "properties": [
                            "customers": [
                                "type": "array", "items": ref("ChurnInput"), "minItems": 1, "maxItems": 1000,
                            ]
                        ],
                    ],
                ]
            ], ok(["anyOf": [ref("ChurnPrediction"), object(["predictions": list(ref("ChurnPrediction"))])]]),
            errors: [wrong, invalid] + away),
        .post(
            "/api/v1/ml/reload", "reloadModel", "Loads the newest model.", ok(ref("Reloaded")),
            errors: [conflict] + away),
        .post(
            "\(users)/reload", "reloadChurnModel", "Loads the newest model.", ok(ref("Reloaded")),
            errors: [conflict] + away),
        .post(
            "\(users)/train", "trainChurnModel", "Trains now.",
            body: [
                "type": "object", "additionalProperties": false,
                "properties": ["seed": ["type": "integer", "minimum": 0, "maximum": 9e15]],
            ], ok(["type": "object"]), errors: [wrong, conflict, invalid, broken] + away),
        .get(
            "\(users)/model-info", "churnModel", "The model, its scores, its importance.", ok(["type": "object"]),
            errors: [conflict] + away),
        .get(
            "\(users)/prediction", "churnPredictions", "Predictions by risk, accuracy, the state of their log.",
            ok(
                object([
                    "source": text, "model_version": orNull(whole), "predictions": count, "risk_counts": map(count),
                    "accuracy": orNull(number), "judged": count, "logged": count, "waiting": count, "dropped": count,
                ])), errors: [wrong] + away),
        .get(
            "/api/v1/analytics/impact", "impact", "What the features brought and cost.",
            [
                .query("from", day, "The first day."), .query("to", day, "The last day; yesterday."),
                .query("period", choice("day", "week", "month", "quarter", "year"), "So long until yesterday."),
            ],
            ok(
                object([
                    "from": day, "to": day, "days": count, "time_zone": text, "features": list(["type": "object"]),
                    "total": ["type": "object"],
                ])), errors: [wrong, broken] + away),
        .get(
            "/api/v1/analytics/impact/outage", "impactOfOutage", "What an outage took away.",
            [
                .query("from", stamp, "Its beginning.", required: true),
                .query("to", stamp, "Its end.", required: true),
                .query("features", text, "Names, by commas; all."),
            ],
            ok(object(["from": text, "to": text, "seconds": number, "features": map(text), "total": text])),
            errors: [wrong, invalid, broken] + away),
    ]

    private static let amount: JSON = ["type": "number", "minimum": 0, "exclusiveMaximum": 1e12]
    private static let moment = orNull(text)
    private static let name = orNull(["type": "string", "maxLength": 256])

    static let workloadSchemas: [String: JSON] = [
        "Workload": object([
            "name": text, "running_since": moment, "next_run": moment, "last_run": moment, "last_success": moment,
            "last_outcome": moment, "last_duration_ms": count, "last_error": moment, "runs": map(count),
            "rows": count, "violations": list(text),
        ]),
        "Reloaded": object(["status": ["const": "reloaded"], "version": whole]),
        "ChurnInput": [
            "type": "object", "additionalProperties": false,
            "required": [
                "days_since_signup", "login_count", "feature_usage", "plan_tier", "last_login_days_ago",
                "session_duration", "api_calls",
            ],
            "properties": [
                "customer_id": name, "tenant_id": name, "days_since_signup": amount, "login_count": amount,
                "feature_usage": amount, "last_login_days_ago": amount, "session_duration": amount,
                "api_calls": amount,
                "plan_tier": [
                    "anyOf": [
                        choice("free", "starter", "pro", "enterprise"),
                        ["type": "integer", "minimum": 0, "maximum": 3],
                    ]
                ],
            ],
        ],
        "ChurnPrediction": object([
            "customer_id": orNull(text), "churn_probability": ["type": "number", "minimum": 0, "maximum": 1],
            "risk_level": choice("low", "medium", "high"), "source": text, "model_version": orNull(whole),
            "reasons": list(
                object([
                    "feature": text, "value": number, "contribution": number, "effect": choice("raises", "lowers"),
                ])), "contributions": map(number),
        ]),
    ]
}
