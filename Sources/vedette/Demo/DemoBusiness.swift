internal import Basics
internal import Synchronization

/// Six services of a business, simulated: their metrics as functions of time, and an incident that a seed chooses.
final class DemoBusiness: Sendable {
    /// One service.
    enum Service: String, CaseIterable {
        case ml = "ml_services", websocket = "websocket_manager", vision = "vision_analyser"
        case churn = "churn_orchestrator", coaching = "coaching_engine", crm

        /// The latency it is known for: series, unit's usual value, buckets.
        var latency: (series: String, usual: Double, bounds: [Double]) {
            switch self {
            case .ml: ("ml_inference_latency_ms", 22, [10, 25, 35, 50, 75, 100, 150, 250, 500])
            case .websocket: ("websocket_latency_ms", 28, [10, 25, 50, 75, 100, 150, 200, 300, 500])
            case .vision: ("vision_analysis_latency_ms", 800, [250, 500, 1000, 1500, 2000, 3000, 5000, 8000])
            case .churn: ("churn_intervention_latency_s", 12, [5, 15, 30, 60, 120])
            case .coaching: ("coaching_analysis_latency_ms", 1100, [500, 1000, 1500, 2000, 3000, 5000, 8000])
            case .crm: ("api_response_time_seconds", 0.08, [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5])
            }
        }
    }

    /// What goes wrong, and when, in seconds since the start.
    struct Incident: Sendable {
        /// Whose latency climbs, and who dies.
        var slow: Service, dead: Service
        /// When it begins and ends.
        var begin: Double, end: Double

        /// The same seed, the same incident.
        init(seed: UInt64) {
            var random = SeededRandom(seed: seed)
            let candidates: [Service] = [.websocket, .ml, .vision, .coaching]
            let slow = candidates[Int(random.next() % 4)]
            let others = Service.allCases.filter { $0 != slow && $0 != .ml }
            self.slow = slow
            dead = others[Int(random.next() % UInt64(others.count))]
            begin = 14 + Double(random.next() % 5)
            end = begin + 14
        }
    }

    private struct State {
        var counts: [Service: [Double]] = [:]
        var sums: [Service: Double] = [:]
        var lastSecond = 0.0
        var feature = Array(repeating: 0.0, count: 6)
    }

    let incident: Incident
    /// Whether the release that runs is the bad one.
    private let isReleaseBad: @Sendable () -> Bool
    private let state = Mutex(State())

    init(seed: UInt64, isReleaseBad: @escaping @Sendable () -> Bool) {
        incident = Incident(seed: seed)
        self.isReleaseBad = isReleaseBad
    }

    /// Whether the service answers at that second.
    func isDead(_ service: Service, at second: Double) -> Bool {
        service == incident.dead && second >= incident.begin + 2 && second < incident.end
    }

    private func factor(_ service: Service, at second: Double) -> Double {
        service == incident.slow && isReleaseBad() ? 9 : 1
    }

    /// The bounds of the feature that the bad release shifts, and how many of 40 observations are in each bucket.
    static let featureBounds: [Double] = [2, 5, 10, 20, 40]
    static let usualFeature: [Double] = [4, 8, 14, 9, 4, 1], shiftedFeature: [Double] = [18, 14, 5, 2, 1, 0]

    /// Moves every counter on to that second: 40 observations a second around the service's present latency.
    private func advance(_ state: inout State, to second: Double) {
        while state.lastSecond + 0.1 <= second {
            state.lastSecond += 0.1
            for service in Service.allCases where !isDead(service, at: state.lastSecond) {
                let (_, usual, bounds) = service.latency
                for place in 0..<4 {
                    let value = usual * (0.7 + 0.2 * Double(place)) * factor(service, at: state.lastSecond)
                    state.sums[service, default: 0] += value
                    let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
                    var counts = state.counts[service] ?? Array(repeating: 0, count: bounds.count + 1)
                    counts[bucket] += 1
                    state.counts[service] = counts
                }
                guard service == incident.slow else { continue }
                let shape = isReleaseBad() ? DemoBusiness.shiftedFeature : DemoBusiness.usualFeature
                for (index, count) in shape.enumerated() { state.feature[index] += count / 10 }
            }
        }
    }

    /// The service's page at that second.
    func page(of service: Service, at second: Double) -> String {
        let (counts, sum, feature) = state.withLock { state in
            advance(&state, to: second)
            return (state.counts[service] ?? [], state.sums[service] ?? 0, state.feature)
        }
        let (series, _, bounds) = service.latency
        let total = counts.reduce(0, +)
        var page = ""
        if service == .churn {
            page += "\(series)_sum \(sum)\n\(series)_count \(total)\n"
        } else {
            page += "# TYPE \(series) histogram\n"
            var below = 0.0
            for (index, count) in counts.enumerated() {
                below += count
                let bound = index < bounds.count ? GoNumber.fixed(bounds[index]) : "+Inf"
                page += "\(series)_bucket{le=\"\(bound)\"} \(below)\n"
            }
            page += "\(series)_sum \(sum)\n\(series)_count \(total)\n"
        }
        if service == incident.slow { page += DemoBusiness.featurePage(feature) }
        page += "# TYPE request_count counter\nrequest_count \(total)\n"
        page += "# TYPE error_count counter\nerror_count \((total / 500).rounded(.down))\n"
        if service == .websocket {
            page += "websocket_connections_attempted_total \(total)\nwebsocket_connections_failed_total 0\n"
        }
        if service == .ml {
            let isBad = second >= incident.begin + 1 && second < incident.end
            page += "# TYPE model_accuracy_current gauge\nmodel_accuracy_current \(isBad ? 0.64 : 0.91)\n"
            page += "# TYPE data_quality_score_current gauge\ndata_quality_score_current 0.97\n"
        }
        return page
    }

    private static func featurePage(_ counts: [Double]) -> String {
        var (page, below) = ("# TYPE model_input histogram\n", 0.0)
        for (index, count) in counts.enumerated() {
            below += count.rounded(.down)
            let bound = index < featureBounds.count ? GoNumber.fixed(featureBounds[index]) : "+Inf"
            page += "model_input_bucket{feature=\"session_duration\",le=\"\(bound)\"} \(below)\n"
        }
        return page + "model_input_count{feature=\"session_duration\"} \(below)\n"
    }

    /// What the feature was like when its model was trained, as a drift rule's reference file.
    static var featureReference: String {
        var below = 0.0
        let buckets = usualFeature.enumerated().map { index, count -> JSON in
            below += count * 100
            let bound = index < featureBounds.count ? GoNumber.fixed(featureBounds[index]) : "+Inf"
            return ["le": .string(bound), "count": .number(below)]
        }
        return JSON.object([.init("features", ["session_duration": ["buckets": .array(buckets)]])]).text
    }
}

extension DemoBusiness.Service {
    /// The trigger of the ladder's last step, and the flag of the feature that goes off.
    var rollback: (metric: String, threshold: Int, flag: String)? {
        switch self {
        case .websocket: ("websocket_latency_p95", 200, "realtime_intelligence")
        case .ml: ("ml_inference_latency_p95", 100, "churn_prevention")
        case .vision: ("vision_analysis_latency_p95", 3000, "property_vision")
        case .coaching: ("coaching_analysis_latency_p95", 3000, "ai_coaching")
        case .churn, .crm: nil
        }
    }
}
