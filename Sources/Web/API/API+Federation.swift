internal import Basics
internal import Exposition
internal import Model
internal import Query

extension API {
    /// The newest sample of every series that is asked for, with its time, as one Prometheus takes them from another.
    ///
    /// - SeeAlso: Prometheus, `web/federate.go`.
    func federate(_ request: APIRequest) throws(APIError) -> APIResponse {
        let now = context.present
        var found: [Labels: (time: Int64, value: Double)] = [:]
        for matchers in try matchers(request) {
            do throws(SourceError) {
                let series = try context.engine.source.select(
                    matchers, after: now - context.engine.options.lookback, through: now, reading: .newest,
                    limits: ReadLimits())
                for one in series {
                    guard let time = one.times.last, let value = one.values.last, !value.isStaleMarker,
                        !one.labels[Labels.nameLabel].isEmpty
                    else { continue }
                    found[one.labels] = (time, value)
                }
            } catch {
                throw APIError(status: 422, type: "execution", message: error.description)
            }
        }
        // An empty `instance` keeps the other side's own away from series that have none.
        let external = context.externalLabels
        var families: [String: MetricFamily] = [:]
        for (labels, sample) in found.map({ ($0.key, $0.value) }).sorted(by: { $0.0 < $1.0 }) {
            let name = labels.metricName
            families[name, default: MetricFamily(.untyped, name, "", [])].lines.append(
                MetricFamily.Line(
                    suffix: "", labels: external.merging(labels.withoutName), value: sample.value,
                    timestamp: Timestamp(milliseconds: sample.time)))
        }
        let answer = ExpositionAnswer(accept: request.accept)
        return APIResponse(
            contentType: answer.contentType, body: answer.page(Array(families.values), always: "instance"))
    }
}
