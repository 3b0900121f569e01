import Alerting
import Basics
import Model
import Notifying
import Query
import Rules
import Scraping
import Settings
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

    init(rules: String = "groups: []", jobs: String = "scrape_configs: []") async throws {
        clock.advance(by: 600_000)
        let journal = AlertRecorder()
        let dispatcher = Dispatcher(
            .none, store: journal, clock: clock, transport: NoNetwork(), random: SharedRandom(seed: 1),
            externalURL: "http://vedette", files: { _ in [] })
        let engine = QueryEngine(source: store, clock: clock)
        scheduler = RuleScheduler(
            RuleContext(engine: engine, samples: store, alerts: dispatcher), restoring: journal)
        await scheduler.update(to: try RuleFile(Array(rules.utf8), file: "r.yaml").groups, at: clock.now())
        let map = try SettingsDocument(jobs, file: "v.yaml").map()
        var read: [ScrapeJob] = []
        for part in try map.takeMaps("scrape_configs") {
            read.append(try ScrapeJob(from: part, defaults: ScrapeDefaults()))
        }
        manager.use(
            Discovery(jobs: read, checks: [], files: MemoryFiles(), figures: ScrapeFigures(), log: RecordingLog()))
        api = API(
            APIContext(
                engine: engine, targets: manager, rules: scheduler, dispatcher: dispatcher, clock: clock,
                metrics: { [] }, unreadiness: { nil }, reload: { nil }, version: "1", startedAt: clock.now()))
    }

    func answer(_ path: String, _ parameters: [(String, String)] = [], method: String = "GET") async -> APIResponse {
        let query = parameters.map { "\($0.0.percentEncoded)=\($0.1.percentEncoded)" }.joined(separator: "&")
        return await api.answer(APIRequest(method: method, path: path, query: query))
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
