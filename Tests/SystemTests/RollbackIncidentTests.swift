import Alerting
import Basics
import Model
import Notifying
import Query
import Settings
import Synchronization
import TestSupport
import Testing
import Transport

@testable import Rollback

/// What PagerDuty is sent of rollbacks, through the dispatcher and its real channel.
@Suite struct RollbackIncidentTests {
    /// An event as PagerDuty joins them.
    struct Event: Hashable, CustomStringConvertible {
        var key: String
        var action: String
        var summary: String
        var description: String { "\(action) \(key.prefix(6)): \(summary)" }
    }

    /// PagerDuty's side of the network: it takes everything.
    private final class Incidents: HTTPTransport {
        let events = Mutex<[Event]>([])
        func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse {
            let json = (try? JSON(parsing: request.body)) ?? .null
            events.withLock {
                $0.append(
                    Event(
                        key: json["dedup_key"]?.string ?? "", action: json["event_action"]?.string ?? "",
                        summary: json["payload"]?["summary"]?.string ?? ""))
            }
            return HTTPResponse(status: 202, body: Array(#"{"status":"success"}"#.utf8))
        }
    }

    /// An engine and a dispatcher over one journal in memory.
    private struct Site {
        let executor = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 1_790_000_000_000))
        let incidents = Incidents()
        let dispatcher: Dispatcher
        let engine: RollbackEngine

        init(mode: String) throws {
            let notifying = try SettingsDocument(
                """
                route: {receiver: r}
                receivers: [{name: r, pagerduty_configs: [{routing_key: RK}]}]
                """, file: "v.yaml"
            ).map()
            let store = AlertRecorder()
            dispatcher = Dispatcher(
                try NotifyingSettings(from: notifying), store: store, clock: executor, transport: incidents,
                random: SharedRandom(seed: 1), externalURL: "http://v", files: { _ in throw CancellationError() })
            let settings = try SettingsDocument(
                """
                mode: \(mode)
                actions:
                  narrow: {commands: [{run: [one]}], stabilise: 60s, clears_within: 5m}
                  wide: {includes: [narrow], commands: [{run: [two]}], stabilise: 1s, clears_within: 5m}
                """, file: "v.yaml"
            ).map()
            engine = RollbackEngine(
                try RollbackSettings(from: settings),
                RollbackContext(
                    store: store, clock: executor, files: MemoryFiles(), processes: ScriptedProcesses(),
                    engine: QueryEngine(source: MemorySource()), announcements: dispatcher, log: RecordingLog(),
                    redis: { RedisClient($0) { _ in [] } }, killSwitch: "stop"))
            executor.start { [dispatcher] in await dispatcher.run() }
            executor.start { [engine] in await engine.run() }
        }

        func see(_ trigger: String, _ action: String, _ state: TriggerReading.State) {
            let now = executor.now()
            executor.start { [engine] in
                await engine.accept([
                    TriggerReading(
                        trigger: trigger, action: action, state: state, at: now,
                        firedAt: state == .firing ? now : nil, value: 3, condition: "m > 1 for 1m")
                ])
            }
            executor.run(for: 20_000)
        }

        var events: [Event] { incidents.events.withLock { $0 } }
    }

    @Test("a run is one incident: it begins, and its success resolves it") func oneRun() throws {
        let site = try Site(mode: "act")
        site.see("t", "narrow", .firing)
        #expect(site.events.map(\.action) == ["trigger"], "\(site.events)")
        site.executor.run(for: 60_000)
        site.see("t", "narrow", .clear)
        #expect(site.events.map(\.action) == ["trigger", "resolve"], "\(site.events)")
        #expect(Set(site.events.map(\.key)).count == 1)
    }

    @Test("what was only told resolves with its trigger, and not while nothing is measured") func observed() throws {
        let site = try Site(mode: "observe")
        site.see("t", "narrow", .firing)
        site.see("t", "narrow", .noData)
        site.see("t", "narrow", .firing)
        #expect(site.events.map(\.action) == ["trigger"], "\(site.events)")
        site.see("t", "narrow", .clear)
        #expect(site.events.map(\.action) == ["trigger", "resolve"], "\(site.events)")
        // Another episode is another incident.
        site.see("t", "narrow", .firing)
        #expect(site.events.map(\.action) == ["trigger", "resolve", "trigger"], "\(site.events)")
        #expect(Set(site.events.map(\.key)).count == 2)
    }

    @Test("a run that is taken over and the one that takes it are one incident, resolved once") func takenOver() throws
    {
        let site = try Site(mode: "act")
        site.see("t", "narrow", .firing)
        site.see("w", "wide", .firing)
        site.see("w", "wide", .clear)
        #expect(
            !site.events.map(\.action).contains("resolve"), "the narrower run's trigger is still true: \(site.events)")
        site.see("t", "narrow", .clear)
        #expect(Set(site.events.map(\.key)).count == 1, "\(site.events)")
        #expect(site.events.map(\.action) == ["trigger", "trigger", "trigger", "resolve"], "\(site.events)")
    }
}
