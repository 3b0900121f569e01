internal import Basics

/// `/api/v1`, as far as it is not the workloads'.
extension OpenAPI {
    private static let moment: JSON = [
        "anyOf": [stamp, ["type": "number", "exclusiveMinimum": -1e15, "exclusiveMaximum": 1e15]]
    ]
    private static let span: JSON = [
        "anyOf": [
            ["type": "string", "pattern": "^[1-9][0-9]{0,2}(ms|s|m|h|d|w|y)$"],
            ["type": "number", "minimum": 0.001, "maximum": 9_223_372_036],
        ]
    ]
    private static let sincePast = "Seconds since 1970, or RFC 3339; the oldest sample."
    private static let window: [Parameter] = [
        .query("start", moment, sincePast), .query("end", moment, "Seconds since 1970, or RFC 3339; the newest."),
    ]
    private static let limit = Parameter.query("limit", count, "How many of the list; 0: all.")
    private static let selected = Parameter.list("match[]", "A selector of series, as up{job=\"api\"}.", selector)
    private static let needed = Parameter.list("match[]", "A selector of series.", selector, required: true)
    private static let expression = Parameter.query("query", promQL, "PromQL.", required: true)
    private static let promQL: JSON = [
        "type": "string",
        "examples": ["up", "sum by (job) (rate(up[5m]))", "1", "\"text\"", "up[1m]", "max_over_time(up[5m:1m]) > -1"],
    ]
    private static let selector: JSON = ["type": "string", "examples": ["up", "{job=~\".+\"}"]]
    private static let evaluated: [Parameter] = [
        .query("timeout", span, "A duration; the server's own holds when it is shorter."), limit,
        .query("lookback_delta", span, "How old a sample may be."),
        .query("stats", text, "all or explain: what the query cost."),
    ]
    private static let evaluation = [bad, failed, notNow]
    private static let gone = Answer(
        status: 410, description: "Alertmanager's first API is gone.",
        content: [(json, object(["status": ["const": "deprecated"], "error": text]))])
    private static let metricLimits: [Parameter] = [
        .query("limit", whole, "How many metrics; below 0: all."), .query("metric", text, "One metric alone."),
    ]
    private static let families = Answer(
        status: 200, description: "In the format that Accept likes best.",
        content: [
            ("text/plain", text), ("application/openmetrics-text", text),
        ])

    static let prometheus: [Operation] =
        Operation.asked(
            "/api/v1/query", "query", "An expression at a moment.",
            [expression, .query("time", moment, "The moment; now.")] + evaluated, [data(ref("QueryData"))],
            errors: evaluation)
        + Operation.asked(
            "/api/v1/query_range", "queryRange", "An expression over a range.",
            [
                expression, .query("start", moment, "The first moment.", required: true),
                .query("end", moment, "The last.", required: true),
                .query("step", span, "Between two of them.", required: true),
            ] + evaluated, [data(ref("QueryData"))], errors: evaluation)
        + Operation.asked(
            "/api/v1/format_query", "formatQuery", "An expression laid out over lines.", [expression], [data(text)],
            errors: [bad])
        + Operation.asked(
            "/api/v1/parse_query", "parseQuery", "An expression's tree.", [expression], [data(ref("ParseNode"))],
            errors: [bad])
        + Operation.asked(
            "/api/v1/series", "series", "The label sets of series.", [needed, limit] + window, [data(list(labels))],
            errors: [bad, failed])
        + Operation.asked(
            "/api/v1/labels", "labels", "The names of labels.", [selected, limit] + window, [data(list(text))],
            errors: [bad, failed])
        + Operation.asked(
            "/api/v1/query_exemplars", "queryExemplars", "The exemplars of the series that an expression reads.",
            [expression] + window,
            [
                data(
                    list(
                        object([
                            "seriesLabels": labels,
                            "exemplars": list(object(["labels": labels, "value": text, "timestamp": number])),
                        ]))), Answer(status: 204, description: "The expression reads no series."),
            ], errors: [bad])
        + read + changed

    private static let read: [Operation] = [
        .get(
            "/api/v1/label/{name}/values", "labelValues", "The values of a label.",
            [.path("name", ["type": "string", "minLength": 1], "The label's name."), selected, limit] + window,
            data(list(text)), errors: [bad, failed]),
        .get(
            "/api/v1/openapi.yaml", "openapi", "This document.",
            Answer(
                status: 200, description: "OpenAPI 3.1.", content: [("application/yaml", ["type": "object"])])),
        .get(
            "/api/v1/targets", "targets", "Targets by pool.",
            [
                .query("state", choice("active", "dropped", "any"), "Which; any."),
                .query("scrapePool", text, "One pool alone."),
            ],
            data(
                object([
                    "activeTargets": list(ref("Target")),
                    "droppedTargets": list(object(["discoveredLabels": labels, "scrapePool": text])),
                    "droppedTargetCounts": orNull(map(count)),
                ]))),
        .get(
            "/api/v1/targets/metadata", "targetMetadata", "What each target says of its metrics.",
            metricLimits + [.query("match_target", selector, "A selector of targets.")],
            data(
                list(object(["target": labels, "type": text, "unit": text, "help": text], optional: ["metric": text]))),
            errors: [bad]),
        .get(
            "/api/v1/targets/relabel_steps", "relabelSteps", "What a pool's rules make of labels.",
            [
                .query("scrapePool", text, "The pool.", required: true),
                .query(
                    "labels", ["type": "string", "examples": ["{\"job\":\"api\"}"]], "A JSON object of texts.",
                    required: true),
            ],
            data(object(["steps": list(object(["rule": ["type": "object"], "output": labels, "keep": flag]))])),
            errors: [bad]),
        .get(
            "/api/v1/metadata", "metadata", "What targets say of their metrics, by metric.",
            metricLimits + [.query("limit_per_metric", whole, "How many of one metric; 0 and below: all.")],
            data(map(list(object(["type": text, "unit": text, "help": text])))), errors: [bad]),
        .get(
            "/api/v1/rules", "rules", "Groups and their rules.",
            [
                .query("type", choice("alert", "record"), "Of one kind."), .list("rule_name[]", "By name."),
                .list("rule_group[]", "By group."), .list("file[]", "By file."),
                .list("match[]", "A selector of the rules' own labels.", selector),
                .query("exclude_alerts", flag, "Leaves their alerts out."),
                .query("group_limit", ["type": "integer", "minimum": 1], "How many groups a page has."),
                .query("group_next_token", text, "Where the page before ended."),
            ], data(object(["groups": list(ref("RuleGroup"))], optional: ["groupNextToken": text])), errors: [bad]),
        .get(
            "/api/v1/alerts", "alerts", "Alerts that are pending or fire.",
            data(object(["alerts": list(ref("RuleAlert"))]))),
        Operation(
            method: "GET", path: "/api/v1/silences", id: "silencesV1", summary: "Gone; see /api/v2/silences.",
            answers: [gone]),
        .get(
            "/api/v1/alertmanagers", "alertmanagers", "None: Vedette is its own.",
            data(object(["activeAlertmanagers": list(text), "droppedAlertmanagers": list(text)]))),
        .get(
            "/api/v1/scrape_pools", "scrapePools", "The names of the pools.",
            data(object(["scrapePools": list(text)]))),
        .get("/api/v1/notifications", "notifications", "None.", data(list(text))),
        .get("/api/v1/features", "features", "What this server can do.", data(map(map(flag)))),
        .get(
            "/api/v1/status/config", "statusConfig", "Not the file, since secrets may stand in it.",
            data(object(["yaml": text]))),
        .get("/api/v1/status/flags", "statusFlags", "What holds of Prometheus' flags.", data(map(text))),
        .get(
            "/api/v1/status/tsdb", "statusTSDB", "The series, counted.",
            [.query("limit", ["type": "integer", "minimum": 1, "maximum": 10000], "How many of each list; 10.")],
            data(
                object([
                    "headStats": object([
                        "numSeries": count, "numLabelPairs": count, "chunkCount": count, "minTime": whole,
                        "maxTime": whole,
                    ]), "seriesCountByMetricName": ref("Counts"), "labelValueCountByLabelName": ref("Counts"),
                    "memoryInBytesByLabelName": ref("Counts"), "seriesCountByLabelValuePair": ref("Counts"),
                ])), errors: [bad, failed]),
        .get(
            "/api/v1/status/walreplay", "statusWALReplay", "How far an earlier run's log is read.",
            data(object(["min": whole, "max": whole, "current": whole, "state": text]))),
        .get("/api/v1/status/buildinfo", "statusBuildInfo", "As Prometheus' answer, for Grafana.", data(map(text))),
        .get(
            "/api/v1/status/runtimeinfo", "statusRuntimeInfo", "What the daemon tells of itself.",
            data(
                object([
                    "startTime": stamp, "hostname": text, "serverTime": stamp, "reloadConfigSuccess": flag,
                    "lastConfigTime": stamp, "corruptionCount": count, "goroutineCount": count, "GOMAXPROCS": count,
                    "storageRetention": text,
                ]))),
        .get(
            "/federate", "federate", "The newest sample of each series.", [selected], families, errors: [bad, failed]),
        .get("/metrics", "metrics", "The daemon's own figures.", families),
    ]

    private static let write = Operation(
        method: "POST", path: "/api/v1/write", id: "write",
        summary: "Stores samples that are sent by remote write 1.0, where that is switched on.",
        body: ["type": "string", "format": "binary", "description": "prometheus.WriteRequest, as a Snappy block."],
        bodyType: "application/x-protobuf", answers: [Answer(status: 204, description: "All is stored.")],
        errors: [
            Answer(
                status: 400, description: "Some of it is not stored, or it is no such message.",
                content: [("text/plain", text)]),
            error(404, "It is switched off."),
            Answer(status: 415, description: "Another type or encoding.", content: [("text/plain", text)]),
        ])

    private static let changed: [Operation] =
        [write]
        + ["/api/v1/alerts", "/api/v1/silences"].map { path in
            Operation(
                method: "POST", path: path, id: path == "/api/v1/alerts" ? "alertsV1Post" : "silencesV1Post",
                summary: "Gone; see /api/v2.", answers: [gone])
        }
        + ["POST", "PUT"].flatMap { method in
            let ending = method == "PUT" ? "Put" : ""
            let done = Answer(status: 204, description: "Done.")
            return [
                Operation(
                    method: method, path: "/api/v1/admin/tsdb/delete_series", id: "deleteSeries\(ending)",
                    summary: "Deletes samples, where --enable-admin-api is given.", parameters: [needed] + window,
                    answers: [done], errors: [bad, error(500, "The store cannot."), notNow]),
                Operation(
                    method: method, path: "/api/v1/admin/tsdb/clean_tombstones", id: "cleanTombstones\(ending)",
                    summary: "Gives back what deleted samples take.", answers: [done], errors: [notNow]),
                Operation(
                    method: method, path: "/api/v1/admin/tsdb/snapshot", id: "snapshot\(ending)",
                    summary: "Makes a folder below snapshots with everything as blocks.",
                    parameters: [.query("skip_head", flag, "Leaves out what is in no block yet.")],
                    answers: [data(object(["name": text]))],
                    errors: [bad, error(500, "The store cannot."), notNow]),
            ]
        }
}
