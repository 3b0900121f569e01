internal import Basics
internal import Exposition
internal import Model
internal import Query

extension API {
    static let metricsContentType = TextWriter.contentType
    static func page(_ families: [MetricFamily]) -> [UInt8] { TextWriter.page(families) }

    // MARK: Parameters

    /// Seconds as a float, or RFC 3339.
    private func moment(_ name: String, _ request: APIRequest) throws(APIError) -> Timestamp? {
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
        let moment = try moment("time", request) ?? context.clock.now()
        let engine = try engine(request)
        let result: QueryResult
        let text = text(request)
        do throws(QueryError) {
            result = try await engine.admitted { engine throws(QueryError) in try engine.instant(text, at: moment) }
        } catch {
            throw API.error(error)
        }
        return API.encode(
            result, limit: request.parameter("limit").flatMap { Int($0) } ?? 0,
            hasSteps: request.parameter("stats") == "all")
    }

    func queryRange(_ request: APIRequest) async throws(APIError) -> APIResponse {
        guard let start = try moment("start", request) else {
            throw .badData("invalid parameter \"start\": it is missing")
        }
        guard let end = try moment("end", request) else { throw .badData("invalid parameter \"end\": it is missing") }
        guard let step = try duration("step", request) else {
            throw .badData("invalid parameter \"step\": it is missing")
        }
        let engine = try engine(request)
        let text = text(request)
        let result: QueryResult
        do throws(QueryError) {
            result = try await engine.admitted { engine throws(QueryError) in
                try engine.range(text, from: start, through: end, step: step)
            }
        } catch {
            throw API.error(error)
        }
        return API.encode(
            result, limit: request.parameter("limit").flatMap { Int($0) } ?? 0,
            hasSteps: request.parameter("stats") == "all")
    }

    private static func error(_ error: QueryError) -> APIError {
        switch error {
        case .parse, .badRequest: .badData(error.description)
        case .timeout: APIError(status: 503, type: "timeout", message: error.description)
        case .cancelled: APIError(status: 499, type: "canceled", message: error.description)
        case .execution, .limit, .source: APIError(status: 422, type: "execution", message: error.description)
        }
    }

    // MARK: Series and labels

    private func matchers(_ request: APIRequest) throws(APIError) -> [[Matcher]] {
        var lists: [[Matcher]] = []
        for text in request.all("match[]") {
            let expression: Expression
            do throws(ParseError) {
                expression = try Expression(parsing: text)
            } catch {
                throw .badData("invalid parameter \"match[]\": \(error)")
            }
            guard case .vector(let selector) = expression.root else {
                throw .badData("invalid parameter \"match[]\": \(text.goQuoted) is no selector")
            }
            lists.append(selector.matchers)
        }
        return lists
    }

    private func window(_ request: APIRequest) throws(APIError) -> (from: Timestamp, through: Timestamp) {
        (try moment("start", request) ?? .distantPast, try moment("end", request) ?? .distantFuture)
    }

    private func list(_ request: APIRequest, _ texts: [String]) -> APIResponse {
        let limit = request.parameter("limit").flatMap { Int($0) } ?? 0
        let kept = limit > 0 ? Array(texts.prefix(limit)) : texts
        return .success(.array(kept.map { .string($0) }))
    }

    func series(_ request: APIRequest) throws(APIError) -> APIResponse {
        let lists = try matchers(request)
        guard !lists.isEmpty else { throw .badData("no match[] parameter provided") }
        let (from, through) = try window(request)
        do throws(SourceError) {
            let found = try context.engine.source.series(lists, from: from, through: through)
            let limit = request.parameter("limit").flatMap { Int($0) } ?? 0
            return .success(.array((limit > 0 ? Array(found.prefix(limit)) : found).map(API.labels)))
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
    }

    func labels(_ request: APIRequest) throws(APIError) -> APIResponse {
        let (from, through) = try window(request)
        let lists = try matchers(request)
        do throws(SourceError) {
            return list(request, try context.engine.source.labelNames(lists, from: from, through: through))
        } catch {
            throw APIError(status: 422, type: "execution", message: error.description)
        }
    }

    func labelValues(_ name: String, _ request: APIRequest) throws(APIError) -> APIResponse {
        let name = API.unescaped(name)
        guard !name.isEmpty else { throw .badData("invalid label name: \(name.goQuoted)") }
        let (from, through) = try window(request)
        let lists = try matchers(request)
        do throws(SourceError) {
            return list(request, try context.engine.source.labelValues(name, lists, from: from, through: through))
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
