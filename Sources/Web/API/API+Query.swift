internal import Basics
internal import Model
internal import Query
internal import Storage

extension API {
    // MARK: Parameters

    /// Seconds as a float, or RFC 3339.
    func moment(_ name: String, _ request: APIRequest) throws(APIError) -> Timestamp? {
        guard let text = request.parameter(name) else { return nil }
        // Some thirty million years: sums of moments and durations stay far from the end of the numbers.
        if let seconds = Double(text), seconds.isFinite, abs(seconds) < 1e15 { return Timestamp(seconds: seconds) }
        if let moment = Timestamp(rfc3339: text) { return moment }
        throw .badData("invalid parameter \(name.goQuoted): cannot parse \(text.goQuoted) to a valid timestamp")
    }

    /// Seconds as a float, or a duration.
    private func duration(_ name: String, _ request: APIRequest) throws(APIError) -> Milliseconds? {
        guard let text = request.parameter(name) else { return nil }
        // Go's longest duration, 292 years.
        if let seconds = Double(text), seconds.isFinite, abs(seconds) <= 9_223_372_036 {
            return Milliseconds((seconds * 1000).rounded())
        }
        if let duration = DurationText.parse(text) { return duration }
        throw .badData("invalid parameter \(name.goQuoted): cannot parse \(text.goQuoted) to a valid duration")
    }

    /// A whole number from 1, nil when it is not given.
    func whole(_ name: String, _ request: APIRequest) throws(APIError) -> Int? {
        guard let text = request.parameter(name) else { return nil }
        guard let number = Int(text), number > 0 else {
            throw .badData("invalid parameter \(name.goQuoted): \(text.goQuoted) is no whole number above 0")
        }
        return number
    }

    /// `limit`: how many of a list; 0 or nothing: all.
    func limit(_ request: APIRequest) throws(APIError) -> Int {
        guard let text = request.parameter("limit") else { return .max }
        guard let number = Int(text), number >= 0 else {
            throw .badData("invalid parameter \"limit\": \(text.goQuoted) is no whole number from 0")
        }
        return number == 0 ? .max : number
    }

    private func engine(_ request: APIRequest) throws(APIError) -> QueryEngine {
        var engine = context.engine
        if let timeout = try duration("timeout", request) {
            guard timeout > 0 else { throw .badData("timeout must be above 0") }
            engine.limits.timeout = min(engine.limits.timeout, timeout)
        }
        if let lookback = try duration("lookback_delta", request) {
            guard lookback > 0 else { throw .badData("lookback_delta must be above 0") }
            engine.options.lookback = lookback
        }
        switch request.parameter("stats") ?? "" {
        case "": break
        case "explain": engine.options.explains = true
        default: engine.options.measures = true
        }
        return engine
    }

    private func text(_ request: APIRequest) -> String { request.parameter("query") ?? "" }

    // MARK: Queries

    func query(_ request: APIRequest) async throws(APIError) -> APIResponse {
        let moment = try moment("time", request) ?? context.present
        let (engine, limit) = (try engine(request), try limit(request))
        let text = text(request)
        var result: QueryResult
        do throws(QueryError) {
            result = try await engine.admitted { engine throws(QueryError) in try engine.instant(text, at: moment) }
        } catch {
            throw API.error(error)
        }
        result.warnings += notices
        return API.encode(
            result, limit: limit, hasSteps: request.parameter("stats") == "all", acceptsGzip: request.acceptsGzip)
    }

    func queryRange(_ request: APIRequest) async throws(APIError) -> APIResponse {
        guard let start = try moment("start", request) else {
            throw .badData("invalid parameter \"start\": it is missing")
        }
        guard let end = try moment("end", request) else { throw .badData("invalid parameter \"end\": it is missing") }
        guard let step = try duration("step", request) else {
            throw .badData("invalid parameter \"step\": it is missing")
        }
        let (engine, limit) = (try engine(request), try limit(request))
        let text = text(request)
        var result: QueryResult
        do throws(QueryError) {
            result = try await engine.admitted { engine throws(QueryError) in
                try engine.range(text, from: start, through: end, step: step)
            }
        } catch {
            throw API.error(error)
        }
        result.warnings += notices
        return API.encode(
            result, limit: limit, hasSteps: request.parameter("stats") == "all", acceptsGzip: request.acceptsGzip)
    }

    /// A query laid out over lines.
    func formatQuery(_ request: APIRequest) throws(APIError) -> APIResponse {
        .success(.string(try expression(request).pretty))
    }

    /// A query's tree.
    func parseQuery(_ request: APIRequest) throws(APIError) -> APIResponse { .success(try expression(request).json) }

    private func expression(_ request: APIRequest) throws(APIError) -> Expression {
        do throws(ParseError) { return try Expression(parsing: text(request)) } catch {
            throw .badData("invalid parameter \"query\": \(error)")
        }
    }

    private static func error(_ error: QueryError) -> APIError {
        switch error {
        case .parse, .badRequest: .badData(error.description)
        case .timeout: APIError(status: 503, type: "timeout", message: error.description)
        case .cancelled: APIError(status: 499, type: "canceled", message: error.description)
        case .execution, .limit, .source: APIError(status: 422, type: "execution", message: error.description)
        }
    }

    /// The exemplars of every series that the query reads.
    ///
    /// - SeeAlso: Prometheus, `web/api/v1/api.go`, `queryExemplars`.
    func queryExemplars(_ request: APIRequest) throws(APIError) -> APIResponse {
        let (from, through) = try window(request)
        guard from <= through else { throw .badData("end timestamp must not be before start timestamp") }
        let lists = try expression(request).selectors.map(\.matchers)
        guard !lists.isEmpty else { return .nothing }
        let found = context.storage?.exemplars(lists, from: from, through: through) ?? []
        return list(found.lazy.map(API.exemplars), limit: .max)
    }

    private static func exemplars(_ found: SeriesExemplars) -> JSON {
        let exemplars = found.exemplars.map { one -> JSON in
            [
                "labels": labels(one.labels), "value": .string(GoNumber.api(one.value)),
                "timestamp": .number(one.timestamp.seconds),
            ]
        }
        return ["seriesLabels": labels(found.series), "exemplars": .array(exemplars)]
    }

    // MARK: Series and labels

    func matchers(_ request: APIRequest) throws(APIError) -> [[Matcher]] {
        var lists: [[Matcher]] = []
        for text in request.all("match[]") { lists.append(try selector(text, parameter: "match[]")) }
        return lists
    }

    func selector(_ text: String, parameter: String) throws(APIError) -> [Matcher] {
        let expression: Expression
        do throws(ParseError) {
            expression = try Expression(parsing: text)
        } catch {
            throw .badData("invalid parameter \(parameter.goQuoted): \(error)")
        }
        guard case .vector(let selector) = expression.root, selector.shift == TimeShift() else {
            throw .badData(
                "invalid parameter \(parameter.goQuoted): \(text.goQuoted) is no selector; "
                    + "write a metric's name and labels alone")
        }
        return selector.matchers
    }

    func window(_ request: APIRequest) throws(APIError) -> (from: Timestamp, through: Timestamp) {
        (try moment("start", request) ?? .distantPast, try moment("end", request) ?? .distantFuture)
    }

    /// The first `limit` items in Prometheus' envelope, with a warning when there are more.
    func list(_ items: some Collection<JSON>, limit: Int) -> APIResponse {
        let data = JSON.array(Array(items.prefix(limit)))
        let warnings = notices + (items.count > limit ? [API.truncated] : [])
        guard !warnings.isEmpty else { return .success(data) }
        return .json(["status": "success", "data": data, "warnings": .array(warnings.map(JSON.string))])
    }

    /// What every answer about series has to say at present.
    private var notices: [String] {
        let progress = context.replay()
        let aside = (context.storage?.setAside ?? []).map { "the block \($0.name) is not served: \($0.reason)" }
        guard progress.state != .done else { return aside }
        return aside + [
            "the log of earlier runs is still being read (segment \(progress.current) of \(progress.last)): "
                + "only samples of this run and blocks are here"
        ]
    }

    static let truncated = "results truncated due to limit"

    func series(_ request: APIRequest) throws(APIError) -> APIResponse {
        let lists = try matchers(request)
        guard !lists.isEmpty else { throw .badData("no match[] parameter provided") }
        let ((from, through), limit) = (try window(request), try limit(request))
        do throws(SourceError) {
            let found = try context.engine.source.series(lists, from: from, through: through)
            return list(found.lazy.map(API.labels), limit: limit)
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
    }

    func labels(_ request: APIRequest) throws(APIError) -> APIResponse {
        let ((from, through), limit) = (try window(request), try limit(request))
        let lists = try matchers(request)
        do throws(SourceError) {
            let names = try context.engine.source.labelNames(lists, from: from, through: through)
            return list(names.lazy.map(JSON.string), limit: limit)
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
    }

    func labelValues(_ name: String, _ request: APIRequest) throws(APIError) -> APIResponse {
        let name = API.unescaped(name)
        guard !name.isEmpty else { throw .badData("invalid label name: \(name.goQuoted)") }
        let ((from, through), limit) = (try window(request), try limit(request))
        let lists = try matchers(request)
        do throws(SourceError) {
            let values = try context.engine.source.labelValues(name, lists, from: from, through: through)
            return list(values.lazy.map(JSON.string), limit: limit)
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
    }

    /// A name behind `U__`, in which `__` is `_` and `_2E_` the character of that number; any other name as it stands.
    ///
    /// - SeeAlso: prometheus/common, `model.UnescapeName`.
    static func unescaped(_ name: String) -> String {
        guard name.hasPrefix("U__") else { return name }
        var text = ""
        var rest = name.dropFirst(3)
        while let character = rest.popFirst() {
            guard character == "_" else {
                text.append(character)
                continue
            }
            guard let end = rest.firstIndex(of: "_") else { return name }
            let digits = rest[..<end]
            rest = rest[rest.index(after: end)...]
            if digits.isEmpty {
                text.append("_")
            } else if digits.allSatisfy(\.isHexDigit), let number = UInt32(digits, radix: 16),
                let scalar = Unicode.Scalar(number)
            {
                text.unicodeScalars.append(scalar)
            } else {
                return name
            }
        }
        return text
    }

    static func labels(_ labels: Labels) -> JSON {
        .object(labels.sorted.map { JSON.Member($0.name, .string($0.value)) })
    }
}
