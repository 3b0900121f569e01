internal import Basics
internal import Model
internal import Query
internal import Storage

extension API {
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
            "web.enable-admin-api": context.allowsAdmin ? "true" : "false",
            "storage.tsdb.retention.time": .string(context.runtime().retention),
        ])
    }

    /// The series with samples, counted by name and label. Cost: reads all label sets.
    func storageStatistics(_ request: APIRequest) throws(APIError) -> APIResponse {
        let limit = try number("limit", request) ?? 10
        guard limit > 0 else { throw .badData("limit must be a positive number") }
        guard limit <= 10_000 else { throw .badData("limit must not exceed 10000") }
        let series: [Labels]
        do throws(SourceError) {
            series = try context.engine.source.series([], from: .distantPast, through: .distantFuture)
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
        var (names, pairs, values): ([ByteText: Int], [Label: Int], [ByteText: Int]) = ([:], [:], [:])
        for label in series.lazy.flatMap(\.sorted) {
            if label.name == Labels.nameLabel { names[ByteText(label.value), default: 0] += 1 }
            pairs[label, default: 0] += 1
        }
        var bytes: [ByteText: Int] = [:]
        for (pair, count) in pairs {
            values[ByteText(pair.name), default: 0] += 1
            bytes[ByteText(pair.name), default: 0] += pair.value.utf8.count * count
        }
        func top(_ counts: [ByteText: Int]) -> JSON {
            let ordered = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(limit)
            return .array(ordered.map { ["name": .string($0.key.text), "value": .number(Double($0.value))] })
        }
        let texts = pairs.map { (ByteText("\($0.key.name)=\($0.key.value)"), $0.value) }
        let bounds = context.storage?.bounds
        let head: JSON = [
            "numSeries": .number(Double(bounds?.series ?? series.count)), "numLabelPairs": .number(Double(pairs.count)),
            "chunkCount": .number(Double(bounds?.chunks ?? 0)),
            "minTime": .number(Double(bounds?.oldest?.milliseconds ?? 0)),
            "maxTime": .number(Double(bounds?.newest?.milliseconds ?? 0)),
        ]
        return .success([
            "headStats": head, "seriesCountByMetricName": top(names), "labelValueCountByLabelName": top(values),
            "memoryInBytesByLabelName": top(bytes),
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
        let facts = context.runtime()
        return .success([
            "startTime": .string(context.startedAt.rfc3339(trimmed: true)), "hostname": .string(facts.hostname),
            "serverTime": .string(context.clock.now().rfc3339(trimmed: true)),
            "reloadConfigSuccess": .bool(facts.isReloadGood),
            "lastConfigTime": .string((facts.reloadedAt ?? .goZero).rfc3339(trimmed: true)),
            "corruptionCount": .number(Double(facts.corruptions)),
            // What there is instead: threads and processors.
            "goroutineCount": .number(Double(facts.threads)), "GOMAXPROCS": .number(Double(facts.processors)),
            "storageRetention": .string(facts.retention),
        ])
    }
}
