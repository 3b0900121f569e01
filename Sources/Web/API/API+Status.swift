internal import Basics
internal import Model
internal import Scraping

extension API {
    func targets(_ request: APIRequest) -> APIResponse {
        let pool = request.parameter("scrapePool")
        let state = request.parameter("state") ?? "any"
        let active = context.targets.targets.filter { pool == nil || $0.target.pool == pool }.map { watched -> JSON in
            let (target, status) = (watched.target, watched.status)
            return [
                "discoveredLabels": API.labels(target.discovered), "labels": API.labels(target.labels),
                "scrapePool": .string(target.pool), "scrapeUrl": .string(target.url), "globalUrl": .string(target.url),
                "lastError": .string(status.lastError),
                "lastScrape": .string(
                    (status.lastScrape ?? Timestamp(milliseconds: -62_135_596_800_000)).rfc3339(trimmed: true)),
                "lastScrapeDuration": .number(status.lastDurationSeconds), "health": .string(status.health.rawValue),
                "scrapeInterval": .string(DurationText.format(target.interval)),
                "scrapeTimeout": .string(DurationText.format(target.timeout)),
            ]
        }
        return .success([
            "activeTargets": .array(state == "dropped" ? [] : active), "droppedTargets": [], "droppedTargetCounts": [:],
        ])
    }

    /// Grafana asks for it to know which features there are: it must look like Prometheus' answer.
    func buildInformation() -> APIResponse {
        .success([
            "version": "3.0.0", "revision": "", "branch": "", "buildUser": "vedette", "buildDate": "",
            "goVersion": "", "vedette": .string(context.version),
        ])
    }

    func runtimeInformation() -> APIResponse {
        .success([
            "startTime": .string(context.startedAt.rfc3339(trimmed: true)), "reloadConfigSuccess": true,
            "serverTime": .string(context.clock.now().rfc3339(trimmed: true)),
        ])
    }
}
