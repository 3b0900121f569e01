import Alerting
import Basics
import Model
import Notifying
import Settings
import Synchronization
import Testing
import Transport

/// Alertmanager's acceptance scenarios over time, in simulated time; those of a cluster by several daemons in one
/// world.
@Suite struct ScenarioPeersTests {
    @Test(
        "Alertmanager's timing, scenario by scenario",
        arguments: [
            "send/merge_alerts", "send/merge_alerts_with_ends_at", "send/repeat",
            "send/two_integrations_independent_repeat",
            "send/batching", "send/resolved_by_timeout", "send/resolved_filter", "send/webhook_timeout",
            "send/utf8_route", "send/cold_start", "send/reload", "inhibit/resume_after_source_resolves",
            "inhibit/both_resolve_together", "inhibit/empty_rule", "silence/window", "silence/delete",
        ])
    func scenario(id: String) throws { try check(id) { try play($0, $1, $2, $3) } }

    @Test(
        "what several daemons tell is what one tells, once",
        arguments: [
            ("cluster/deduplication", 3), ("cluster/three_peers_send_what_one_sends", 1),
            ("cluster/three_peers_send_what_one_sends", 3),
        ])
    func cluster(id: String, size: Int) throws {
        try check(id, isWhole: true) { scenario, config, _, _ in
            let isAsked = try scenario.take("cluster_size", default: size) == size
            #expect(try isAsked && scenario.take("run_with_cluster_sizes", default: [size]).contains(size))
            return try play(scenario, config, daemons: size)
        }
    }

    private func check(
        _ id: String, isWhole: Bool = false,
        _ play: (SettingsMap, String, [String: Double], [String: (until: Double, seconds: Double)]) throws -> [Batch]
    ) throws {
        guard let bytes = try alertmanagerYAML("scenarios.yaml") else { return }
        let scenarios = try SettingsDocument(bytes, file: "scenarios.yaml").map().takeMaps("scenarios")
        let scenario = try #require(scenarios.first { (try? $0.take("id", default: "")) == id })
        let config = (try scenario.require("config") as String).replacing("@", with: "")
        let tolerance: Double = try scenario.take("tolerance", default: 0.15)
        let behaviours = try scenario.takeMap("receivers")
        var stalls: [String: (until: Double, seconds: Double)] = [:]
        var drops: [String: Double] = [:]
        for name in behaviours?.keys ?? [] {
            let behaviour = try behaviours?.takeMap(name)
            drops[name] = try behaviour?.take("drop_before") as Double?
            if let stall = try behaviour?.takeMap("stall_before") {
                stalls[name] = (try stall.require("until"), try stall.require("seconds"))
            }
        }
        let batches = try play(scenario, config, drops, stalls)
        try judge(try #require(try scenario.takeMap("expect")), batches, tolerance, isWhole: isWhole)
    }

    private struct Batch: Sendable {
        var receiver: String
        var time: Double
        var alerts: [JSON]
    }

    private let zero = 1_000_000.0

    private func play(
        _ scenario: SettingsMap, _ config: String, _ drops: [String: Double],
        _ stalls: [String: (until: Double, seconds: Double)]
    ) throws -> [Batch] {
        let log = Mutex<[Batch]>([])
        let zero = zero
        let clock = Mutex<SimulatedExecutor?>(nil)
        let flags = try scenario.take("flags", default: [String]())
        let delay = flags.firstIndex(of: "--dispatch.start-delay").flatMap { DurationText.parse(flags[$0 + 1]) } ?? 0
        let world = try World(config, seed: 2, start: zero, startDelay: delay) { request in
            let name = String(request.url.dropFirst("http://".count))
            let now = (clock.withLock { $0 }?.now().seconds ?? zero) - zero
            if let stall = stalls[name], now < stall.until {
                return .failure(.interrupted("timed out", requestWasSent: true), after: request.timeout)
            }
            if now >= drops[name] ?? 0 {
                log.withLock {
                    $0.append(Batch(receiver: name, time: now, alerts: request.json?["alerts"]?.array ?? []))
                }
            }
            return .response(HTTPResponse(status: 200), after: 1)
        }
        clock.withLock { $0 = world.executor }
        let timeout = try settings(config).resolveTimeout
        var silences: [String: String] = [:]
        for step in try scenario.takeMaps("steps") {
            let moment: Double = try step.require("at")
            world.executor.run(for: at(zero + moment) - world.executor.now())
            if try step.take("reload", default: false) {
                let settings = try settings(config)
                _ = world.ask { await $0.replace(settings) }
            }
            if let silence = try step.takeMap("set_silence") { try setSilence(silence, world, &silences) }
            if let name: String = try step.take("delete_silence") {
                let id = silences[name] ?? ""
                let error = world.ask { dispatcher in
                    do throws(SilenceError) { try await dispatcher.expireSilence(id) } catch { return "\(error)" }
                    return ""
                }
                #expect(error == "")
            }
            for alert in try alerts(of: step, now: world.executor.now(), timeout) { world.post(alert) }
        }
        world.executor.run(for: at(zero + 13) - world.executor.now())
        return log.withLock { $0 }
    }

    /// Several daemons, to each of which every alert is told.
    private func play(_ scenario: SettingsMap, _ config: String, daemons: Int) throws -> [Batch] {
        let world = try PeerDaemonsWorld(config, names: Array(["a", "b", "c"].prefix(daemons)), seed: 2)
        let timeout = try settings(config).resolveTimeout
        for step in try scenario.takeMaps("steps") {
            world.executor.run(for: at(zero + (try step.require("at") as Double)) - world.executor.now())
            for alert in try alerts(of: step, now: world.executor.now(), timeout) { world.post(alert) }
        }
        // Long enough for each to have told what it would.
        world.executor.run(for: at(zero + 60) - world.executor.now())
        return world.taken.map { page in
            Batch(
                receiver: String(page.url.dropFirst("http://".count)), time: page.time.seconds - zero,
                alerts: page.json["alerts"]?.array ?? [])
        }
    }

    private func alerts(of step: SettingsMap, now: Timestamp, _ timeout: Milliseconds) throws -> [Alert] {
        try step.takeMaps("post_alerts").map { post in
            let starts: Double? = try post.take("starts")
            let ends: Double? = try post.take("ends")
            var alert = Alert(
                labels: Labels(try post.take("labels", default: [String: String]())),
                annotations: try post.take("annotations", default: [String: String]()),
                startsAt: starts.map { at(zero + $0) } ?? now, endsAt: ends.map { at(zero + $0) } ?? now + timeout)
            alert.endsByTimeout = ends == nil
            return alert
        }
    }

    private func setSilence(_ map: SettingsMap, _ world: World, _ known: inout [String: String]) throws {
        let matchers = try map.takeMaps("matchers").map { part in
            let isRegular = try part.take("isRegex", default: false)
            return try Matcher(try part.require("name"), isRegular ? .matches : .equal, try part.require("value"))
        }
        let silence = try Silence(
            matchers: matchers, startsAt: at(zero + (try map.require("starts") as Double)),
            endsAt: at(zero + (try map.require("ends") as Double)), createdBy: "me", comment: "", zones: { _ in nil })
        known[try map.require("ref")] = world.ask { dispatcher in
            do throws(SilenceError) { return try await dispatcher.setSilence(silence) } catch { return "" }
        }
    }

    /// - Parameter isWhole: Whether nothing may come later either.
    private func judge(
        _ expected: SettingsMap, _ batches: [Batch], _ tolerance: Double, isWhole: Bool
    ) throws {
        for receiver in expected.keys {
            let received = batches.filter { $0.receiver == receiver }
            var (wantedCount, end) = (0, 0.0)
            for want in try expected.takeMaps(receiver) {
                let window: [Double] = try want.require("between")
                end = max(end, window[1])
                let inside = received.filter { $0.time >= window[0] - 0.001 && $0.time <= window[1] }
                if try want.take("none", default: false) {
                    #expect(inside.isEmpty, "\(receiver): nothing may come in \(window)")
                    continue
                }
                let alerts = try want.takeMaps("alerts").map { map in
                    (
                        labels: try map.take("labels", default: [String: String]()),
                        annotations: try map.take("annotations", default: [String: String]()),
                        starts: try map.take("starts", as: Double.self), ends: try map.take("ends", as: Double.self)
                    )
                }
                wantedCount += alerts.count
                let isMet = inside.contains { batch in
                    batch.alerts.count == alerts.count
                        && alerts.allSatisfy { want in
                            batch.alerts.contains { sent in
                                sent["labels"]?.strings == want.labels
                                    && sent["annotations"]?.strings == want.annotations
                                    && isNear(sent["startsAt"], want.starts, tolerance)
                                    && isNear(sent["endsAt"], want.ends, tolerance)
                            }
                        }
                }
                #expect(isMet, "\(receiver): \(window): \(received)")
            }
            let counted = received.filter { isWhole || $0.time <= end }.reduce(0) { $0 + $1.alerts.count }
            #expect(counted == wantedCount, "\(receiver): \(received)")
        }
    }

    private func isNear(_ sent: JSON?, _ wanted: Double?, _ tolerance: Double) -> Bool {
        guard let wanted else { return sent?.string == "0001-01-01T00:00:00Z" }
        guard let moment = sent?.string.flatMap(Timestamp.init(rfc3339:)) else { return false }
        return abs(moment.seconds - zero - wanted) <= tolerance
    }
}
