import Basics
import Foundation
import Model
import Rules
import Settings
import TestSupport
import Testing

/// Every trigger of the example fires, holds and recovers, from raw series through the recording rules.
@Suite struct PhaseTriggerTests {
    /// What the services export, at one trigger's worth: counters that grow, or a gauge.
    struct Service: Sendable, CustomTestStringConvertible {
        var trigger: String
        var action: String
        /// Seconds.
        var hold: Double
        /// Seconds between scrapes.
        var step = 15.0
        /// Seconds of good values before anything happens.
        var warming = 600.0
        var component = "x"
        /// How much each series grows with each scrape, by its name, while all is well and while it is not.
        var growth: [String: (good: Double, bad: Double)] = [:]
        /// A gauge's values.
        var gauges: [String: (good: Double, bad: Double)] = [:]
        var testDescription: String { trigger }

        /// All observations below half of the threshold, or all between that and four times the threshold.
        mutating func observe(_ name: String, threshold: Double) {
            growth["\(name)_bucket{le=\(threshold / 2)"] = (10, 0)
            growth["\(name)_bucket{le=\(threshold * 4)"] = (10, 10)
            growth["\(name)_bucket{le=+Inf"] = (10, 10)
        }
    }

    static let services: [Service] = {
        var list: [Service] = []
        func add(_ trigger: String, _ action: String, _ hold: Double, _ adjust: (inout Service) -> Void) {
            var service = Service(trigger: trigger, action: action, hold: hold)
            adjust(&service)
            list.append(service)
        }
        let speed = "performance_degradation"
        add("\(speed)/websocket_latency_p95", "rollback_realtime_intelligence", 600) {
            $0.observe("websocket_latency_ms", threshold: 200)
        }
        add("\(speed)/ml_inference_latency_p95", "rollback_ml_services", 600) {
            $0.observe("ml_inference_latency_ms", threshold: 100)
        }
        add("\(speed)/vision_analysis_latency_p95", "rollback_property_vision", 300) {
            $0.observe("vision_analysis_latency_ms", threshold: 3000)
        }
        add("\(speed)/api_response_time_avg", "rollback_churn_prevention", 300) {
            $0.growth = ["api_response_time_seconds_sum": (2, 40), "api_response_time_seconds_count": (10, 10)]
            $0.component = "churn_intelligence"
        }
        add("error_rate/error_rate_percentage", "rollback_all_features", 300) {
            $0.growth = ["error_count": (0.1, 5), "request_count": (10, 10)]
        }
        add("error_rate/websocket_connection_failures", "rollback_websocket_manager", 300) {
            $0.growth = [
                "websocket_connections_failed_total": (1, 8), "websocket_connections_attempted_total": (10, 10),
            ]
        }
        add("error_rate/error_ratio", "rollback_churn_prevention", 300) {
            $0.growth = ["error_count": (0.1, 5), "request_count": (10, 10)]
            $0.component = "churn_intelligence"
        }
        add("error_rate/users_affected", "rollback_churn_prevention", 300) {
            $0.gauges = ["users_with_errors": (99, 100)]
            $0.component = "churn_intelligence"
        }
        add("model_quality/model_accuracy_current", "rollback_churn_prevention", 300) {
            $0.gauges = ["model_accuracy_current": (0.8, 0.79)]
            $0.component = "churn_intelligence"
        }
        add("business_impact/conversion_rate_drop", "alert_and_investigate", 3600) {
            $0.growth = ["conversions_total": (2, 1), "leads_total": (20, 20)]
            ($0.step, $0.warming) = (60, 7800)
        }
        return list
    }()

    /// One trigger's world, with the counters as they stand.
    private final class Stage {
        let world: TriggerWorld
        let service: Service
        private var counts: [String: Double] = [:]

        init(_ service: Service) async throws {
            self.service = service
            let text = try String(contentsOfFile: "\(Program.root)/examples/phase3.yaml", encoding: .utf8)
            let start = 29 * 86_400.0
            let store = MemorySource()
            if service.trigger.hasSuffix("conversion_rate_drop") {
                // What the rule recorded four weeks long; minutes on which nothing is compared are left out.
                let labels = Stage.labels("conversion_rate", service).dropping(["instance"])
                for week in (1...4).reversed() {
                    for minute in 0..<600 {
                        store.add(labels, at(start + Double(minute * 60) - Double(week) * 7 * 86_400), 10)
                    }
                }
            }
            world = try await TriggerWorld(
                text, rules: TriggerWorld.recordingRules("rules/services.yml"), step: service.step, from: start,
                store: store)
        }

        private static func labels(_ name: String, _ service: Service) -> Labels {
            let parts = name.components(separatedBy: "{le=")
            var labels: Labels = [
                "job": "j", "instance": "i:1", "component": service.component, "environment": "production",
            ]
            labels[Labels.nameLabel] = parts[0]
            if parts.count > 1 { labels["le"] = parts[1] }
            if service.trigger.hasSuffix("conversion_rate_drop") { labels["feature"] = "chat" }
            return labels
        }

        /// One scrape and one evaluation.
        func turn(isBad: Bool) async -> TriggerReading.State? {
            for (name, growth) in service.growth { counts[name, default: 0] += isBad ? growth.bad : growth.good }
            return await world.turn(service.trigger) { store, now in
                for (name, count) in counts { store.add(Stage.labels(name, service), now, count) }
                for (name, value) in service.gauges {
                    store.add(Stage.labels(name, service), now, isBad ? value.bad : value.good)
                }
            }?.state
        }

        /// The target does not answer: first a staleness marker for each series, if `isMarked`, then nothing.
        func silence(isMarked: Bool) async -> TriggerReading.State? {
            await world.turn(service.trigger) { store, now in
                guard isMarked else { return }
                for name in counts.keys { store.add(Stage.labels(name, service), now, SpecialValue.stale) }
                for name in service.gauges.keys { store.add(Stage.labels(name, service), now, SpecialValue.stale) }
            }?.state
        }

        func warm() async -> TriggerReading.State? {
            var state: TriggerReading.State?
            for _ in 0..<Int(service.warming / service.step) { state = await turn(isBad: false) }
            return state
        }

        /// Goes on until a state is seen; the moment, or nil after `limit` seconds.
        func turn(isBad: Bool, until wanted: TriggerReading.State, within limit: Double) async -> Double? {
            let end = world.now + limit
            while world.now < end { if await turn(isBad: isBad) == wanted { return world.now } }
            return nil
        }
    }

    @Test("the example has these triggers and no others") func complete() throws {
        let text = try String(contentsOfFile: "\(Program.root)/examples/phase3.yaml", encoding: .utf8)
        let read = try TriggerSettings(from: SettingsDocument(text, file: "p").map(), kinds: MetricKind.builtIn).rules
        #expect(
            read.map { "\($0.rule.name) \($0.rule.hold) \($0.rule.trigger?.action ?? "")" }.sorted()
                == PhaseTriggerTests.services.map { "\($0.trigger) \(Int($0.hold * 1000)) \($0.action)" }.sorted())
    }

    @Test(
        "it fires after its duration, holds while nothing is measured, and recovers by a measurement alone",
        arguments: services, [false, true])
    func wholeLife(service: Service, isMarked: Bool) async throws {
        let stage = try await Stage(service)
        #expect(await stage.warm() == .clear)
        let began = try #require(await stage.turn(isBad: true, until: .pending, within: 3600))
        let fired = try #require(await stage.turn(isBad: true, until: .firing, within: service.hold + service.step))
        #expect(fired - began == service.hold)
        let firedAt = stage.world.sights.readings.last { $0.trigger == service.trigger }?.firedAt
        #expect(firedAt == at(fired))
        #expect(stage.world.sights.readings.last { $0.trigger == service.trigger }?.action == service.action)
        // Gone for longer than any window of five minutes.
        var states: [TriggerReading.State?] = []
        for index in 0..<Int(900 / service.step) {
            states.append(await stage.silence(isMarked: isMarked && index == 0))
        }
        #expect(!states.contains(.clear) && !states.contains(.pending) && !states.contains(nil))
        #expect(states.dropFirst(isMarked ? 0 : 2).allSatisfy { $0 == .noData }, "\(states)")
        // Back, and still bad: the same episode.
        _ = try #require(await stage.turn(isBad: true, until: .firing, within: 7200))
        #expect(stage.world.sights.readings.last { $0.trigger == service.trigger }?.firedAt == firedAt)
        let recovered = await stage.turn(isBad: false, until: .clear, within: 7200)
        #expect(recovered != nil)
        #expect(await stage.turn(isBad: false) == .clear)
    }

    @Test(
        "pending, it starts again when nothing is measured, and never fires on that", arguments: services,
        [false, true])
    func interrupted(service: Service, isMarked: Bool) async throws {
        let stage = try await Stage(service)
        _ = await stage.warm()
        _ = try #require(await stage.turn(isBad: true, until: .pending, within: 3600))
        for _ in 0..<Int(service.hold / 2 / service.step) { #expect(await stage.turn(isBad: true) == .pending) }
        var last: TriggerReading.State?
        for index in 0..<Int(2 * service.hold / service.step) {
            last = await stage.silence(isMarked: isMarked && index == 0)
            #expect(last != .firing && last != .clear)
        }
        #expect(last == .noData)
        // Back and bad: the whole duration again.
        let again = try #require(await stage.turn(isBad: true, until: .pending, within: 7200))
        let fired = try #require(await stage.turn(isBad: true, until: .firing, within: service.hold + service.step))
        #expect(fired - again == service.hold)
    }
}
