import Alerting
import Basics
import Model
import Notifying
import Query
import Rollback
import Rules
import Scraping
import Settings
import Storage
import Synchronization
import TestSupport
import Transport

@testable import Web

/// The API over a store in memory, ten minutes after the epoch: no network, no thread.
struct WebBench {
    let store = MemorySource()
    let clock = StandingClock()
    let scheduler: RuleScheduler
    let manager = ScrapeManager(mailboxes: [ScrapeLoop.Mailbox()])
    let api: API

    let files = MemoryFiles()
    let redis = TableRedis()
    let rollback: RollbackEngine
    /// The store of what goes beyond queries, in memory too; read to its end.
    let storage: SeriesStore

    init(
        rules: String = "groups: []", jobs: String = "scrape_configs: []",
        checks: String = "[]", rollback: String = "{}",
        allowsAdmin: Bool = false, readsStorage: Bool = false, notifying: String? = nil, peers: PeerSettings? = nil,
        mode: MatcherMode = .fallback
    ) async throws {
        clock.advance(by: 600_000)
        let journal = AlertRecorder()
        let settings = try notifying.map { text in
            try NotifyingSettings(from: SettingsDocument(text, file: "v.yaml").map(), mode: mode)
        }
        let dispatcher = Dispatcher(
            settings ?? .none, store: journal, clock: clock, transport: NoNetwork(), random: SharedRandom(seed: 1),
            externalURL: "http://vedette", files: { _ in [] }, peers: peers)
        storage = try SeriesStore(directory: "s", settings: StorageSettings(), files: MemoryFiles(), clock: clock)
        storage.replayLog()
        let engine = QueryEngine(source: readsStorage ? storage : store, clock: clock)
        self.rollback = RollbackEngine(
            try RollbackSettings(from: SettingsDocument(rollback, file: "v.yaml").map()),
            RollbackContext(
                store: journal, clock: clock, files: files, processes: ScriptedProcesses(), engine: engine,
                announcements: dispatcher, log: RecordingLog(), redis: { [redis] _ in redis },
                killSwitch: "rollback.stop"))
        scheduler = RuleScheduler(
            RuleContext(engine: engine, samples: store, alerts: dispatcher), restoring: journal)
        await scheduler.update(to: try RuleFile(Array(rules.utf8), file: "r.yaml").groups, at: clock.now())
        let map = try SettingsDocument(jobs, file: "v.yaml").map()
        var read: [ScrapeJob] = []
        for part in try map.takeMaps("scrape_configs") {
            read.append(try ScrapeJob(from: part, defaults: ScrapeDefaults()))
        }
        var watched: [HealthCheck] = []
        for part in try SettingsDocument("health_checks: \(checks)", file: "v.yaml").map().takeMaps("health_checks") {
            watched.append(try HealthCheck(from: part))
        }
        manager.use(
            Discovery(jobs: read, checks: watched, files: MemoryFiles(), figures: ScrapeFigures(), log: RecordingLog()))
        var context = APIContext(
            engine: engine, targets: manager, rules: scheduler, rollback: self.rollback,
            dispatcher: dispatcher, clock: clock,
            metrics: { [MetricFamily(.counter, "a.b_total", "A.", 1)] }, unreadiness: { nil }, reload: { nil },
            version: "1", startedAt: clock.now())
        (context.storage, context.allowsAdmin) = (storage, allowsAdmin)
        context.externalLabels = ["region": "eu"]
        api = API(context)
    }

    func answer(
        _ path: String, _ parameters: [(String, String)] = [], method: String = "GET", accept: String? = nil
    ) async -> APIResponse {
        let query = parameters.map { "\($0.0.percentEncoded)=\($0.1.percentEncoded)" }.joined(separator: "&")
        return await api.answer(APIRequest(method: method, path: path, query: query, accept: accept))
    }

    /// The answer to a body of JSON.
    func post(_ path: String, _ body: JSON) async -> APIResponse {
        await api.answer(APIRequest(method: "POST", path: path, body: body.serialized()))
    }

    /// The status and the envelope.
    func json(_ path: String, _ parameters: [(String, String)] = []) async throws -> (status: Int, body: JSON) {
        let answer = await answer(path, parameters)
        return (answer.status, try JSON(parsing: answer.body))
    }
}

private struct NoNetwork: HTTPTransport {
    func send(_ request: HTTPRequest) async throws(TransportError) -> HTTPResponse { throw .unreachable("no network") }
}

/// A Redis that is a table.
final class TableRedis: Redis {
    let table = Mutex<[String: [UInt8]]>([:])
    func value(of key: String) async throws(RedisError) -> [UInt8]? { table.withLock { $0[key] } }
    func set(_ key: String, to value: [UInt8], expecting expected: [UInt8]?) async throws(RedisError) -> Bool {
        table.withLock { table in
            guard table[key] == expected else { return false }
            table[key] = value
            return true
        }
    }
}
