internal import Basics
internal import Model
internal import Query
internal import Scraping
internal import Storage

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
                    (status.lastScrape ?? .goZero).rfc3339(trimmed: true)),
                "lastScrapeDuration": .number(status.lastDurationSeconds), "health": .string(status.health.rawValue),
                "scrapeInterval": .string(DurationText.format(target.interval)),
                "scrapeTimeout": .string(DurationText.format(target.timeout)),
            ]
        }
        return .success([
            "activeTargets": .array(state == "dropped" ? [] : active), "droppedTargets": [], "droppedTargetCounts": [:],
        ])
    }

    func scrapePools() -> APIResponse {
        .success(["scrapePools": .array(Set(context.targets.targets.map(\.target.pool)).sorted().map(JSON.string))])
    }

    /// Grafana asks for it to know which features there are: it must look like Prometheus' answer.
    func buildInformation() -> APIResponse {
        .success([
            "version": "3.0.0", "revision": "", "branch": "", "buildUser": "vedette", "buildDate": "",
            "goVersion": "", "vedette": .string(context.version),
        ])
    }

    /// Prometheus shows the file with its secrets left out; ours stays where it is.
    func configuration() -> APIResponse {
        .success(["yaml": "# The file is not shown, since secrets may stand in it.\n"])
    }

    /// What clients ask of Prometheus' command line, as it holds here.
    func flags() -> APIResponse {
        let engine = context.engine
        return .success([
            "query.lookback-delta": .string(DurationText.format(engine.options.lookback)),
            "query.timeout": .string(DurationText.format(engine.limits.timeout)),
            "query.max-samples": .string("\(engine.limits.samples)"), "web.enable-lifecycle": "true",
            "web.enable-admin-api": "false",
        ])
    }

    /// The series with samples, counted by name and label. Cost: reads all label sets.
    func storageStatistics(_ request: APIRequest) throws(APIError) -> APIResponse {
        let limit = request.parameter("limit").flatMap { Int($0) } ?? 10
        guard limit > 0 else { throw .badData("limit must be positive") }
        let series: [Labels]
        do throws(SourceError) {
            series = try context.engine.source.series([], from: .distantPast, through: .distantFuture)
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
        var (names, pairs, values): ([String: Int], [Label: Int], [String: Int]) = ([:], [:], [:])
        for label in series.lazy.flatMap(\.sorted) {
            if label.name == Labels.nameLabel { names[label.value, default: 0] += 1 }
            pairs[label, default: 0] += 1
        }
        for pair in pairs.keys { values[pair.name, default: 0] += 1 }
        func top(_ counts: [String: Int]) -> JSON {
            let ordered = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(limit)
            return .array(ordered.map { ["name": .string($0.key), "value": .number(Double($0.value))] })
        }
        let texts = pairs.map { ("\($0.key.name)=\($0.key.value)", $0.value) }
        return .success([
            "headStats": ["numSeries": .number(Double(series.count)), "numLabelPairs": .number(Double(pairs.count))],
            "seriesCountByMetricName": top(names), "labelValueCountByLabelName": top(values),
            "seriesCountByLabelValuePair": top(Dictionary(texts, uniquingKeysWith: +)),
        ])
    }

    /// How far the reading of earlier runs' log is, in segments.
    func replayProgress() -> APIResponse {
        let progress = context.replay()
        return .success([
            "min": .number(Double(progress.first)), "max": .number(Double(progress.last)),
            "current": .number(Double(progress.current)), "state": .string(progress.state.rawValue),
        ])
    }

    func runtimeInformation() -> APIResponse {
        .success([
            "startTime": .string(context.startedAt.rfc3339(trimmed: true)), "reloadConfigSuccess": true,
            "serverTime": .string(context.clock.now().rfc3339(trimmed: true)),
        ])
    }
}
