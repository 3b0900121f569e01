public import Basics
public import Model
public import Notifying
public import Query
public import Remote
public import Rollback
public import Rules
public import Scraping
public import Storage

/// What the daemon tells of itself.
public struct RuntimeFacts: Sendable {
    /// Whether the last reading of the file went well, and when it last did.
    public var isReloadGood = true, reloadedAt: Timestamp?
    /// Damaged places that were found in what is stored.
    public var corruptions = 0
    /// How long samples are kept, in words.
    public var retention = ""
    /// Threads of the process, and processors that it may use; 0: not known.
    public var threads = 0, processors = 0
    /// The machine's name.
    public var hostname = ""

    /// Nothing known yet.
    public init() {}
}

/// What the handlers may look at: snapshots. What they may change goes through the room that owns it.
public struct APIContext: Sendable {
    /// PromQL over the store.
    public var engine: QueryEngine
    /// The targets and how they are.
    public var targets: ScrapeManager
    /// The rules and their alerts.
    public var rules: RuleScheduler
    /// The rollbacks.
    public var rollback: RollbackEngine
    /// The way to the workloads; nil: none are configured.
    public var workloads: Forwarder?
    /// The groups and pages.
    public var dispatcher: Dispatcher
    /// The clock.
    public var clock: any TimeSource
    /// Every room's own figures.
    public var metrics: @Sendable () -> [MetricFamily]
    /// Nil when ready, else why not.
    public var unreadiness: @Sendable () -> String?
    /// Reads the configuration again; answers what is wrong with it.
    public var reload: @Sendable () async -> String?
    /// Laid under the labels of what goes out.
    public var externalLabels = Labels()
    /// Where exemplars lie and samples are deleted; nil: there is none.
    public var storage: SeriesStore?
    /// Takes what others send by remote write; nil: that is switched off.
    public var receiver: @Sendable () -> WriteReceiver? = { nil }
    /// Whether samples may be deleted over HTTP.
    public var allowsAdmin = false
    /// Makes the consistent part of a backup; its name and its absolute path. Nil: that cannot be.
    public var stageBackup: (@Sendable () async throws -> (name: String, path: String))?
    /// Removes it.
    public var removeBackup: @Sendable (_ name: String) throws -> Void = { _ in }
    /// What every path begins with, empty or as `/vedette`.
    public var routePrefix = ""
    /// What the daemon tells of itself.
    public var runtime: @Sendable () -> RuntimeFacts = { RuntimeFacts() }
    /// How far the reading of earlier runs' log is.
    public var replay: @Sendable () -> ReplayProgress = { ReplayProgress(.done) }
    /// Who may ask what; nil: whoever reaches the handlers.
    public var access: AccessGate?
    /// Who changed what.
    public var audit: AuditLog?
    /// What time it is for samples and rules; nil: the clock's.
    public var sampleTime: (@Sendable () -> Timestamp)?
    /// What the daemon is.
    public var version: String
    /// When it started.
    public var startedAt: Timestamp
    /// Of how many health checks the series are on `/metrics`.
    public var exposedChecks: @Sendable () -> Int = { 1000 }

    /// A context by its parts.
    public init(
        engine: QueryEngine, targets: ScrapeManager, rules: RuleScheduler, rollback: RollbackEngine,
        dispatcher: Dispatcher, clock: any TimeSource, metrics: @escaping @Sendable () -> [MetricFamily],
        unreadiness: @escaping @Sendable () -> String?, reload: @escaping @Sendable () async -> String?,
        version: String, startedAt: Timestamp
    ) {
        (self.engine, self.targets, self.clock, self.metrics) = (engine, targets, clock, metrics)
        (self.rules, self.rollback, self.dispatcher, self.reload) = (rules, rollback, dispatcher, reload)
        (self.unreadiness, self.version, self.startedAt) = (unreadiness, version, startedAt)
    }
}

extension APIContext {
    /// The moment that is meant where none is given.
    var present: Timestamp { sampleTime?() ?? clock.now() }
}

/// The HTTP interface as a function from request to answer.
public struct API: Sendable {
    let context: APIContext

    /// Over a daemon's insides.
    public init(_ context: APIContext) { self.context = context }

    private typealias Handler = @Sendable (API, APIRequest) async throws -> APIResponse

    /// What is asked with GET is asked with HEAD as well.
    private static let routes: [String: (methods: [String], handler: Handler)] = [
        "/metrics": (["GET"], { api, request in api.ownMetrics(request) }),
        "/health": (["GET"], { api, _ in api.health() }),
        "/health/detailed": (["GET"], { api, _ in await api.detailedHealth() }),
        "/-/healthy": (["GET"], { _, _ in .text("Vedette is healthy.\n") }),
        "/-/ready": (["GET"], { api, _ in api.ready() }),
        "/api/v1/query": (["GET", "POST"], { try await $0.query($1) }),
        "/api/v1/query_range": (["GET", "POST"], { try await $0.queryRange($1) }),
        "/api/v1/format_query": (["GET", "POST"], { try $0.formatQuery($1) }),
        "/api/v1/parse_query": (["GET", "POST"], { try $0.parseQuery($1) }),
        "/api/v1/series": (["GET", "POST"], { try $0.series($1) }),
        "/api/v1/labels": (["GET", "POST"], { try $0.labels($1) }),
        "/api/v1/write": (["POST"], { try $0.receiveWrite($1) }),
        "/api/v1/targets": (["GET"], { api, request in api.targets(request) }),
        "/api/v1/targets/metadata": (["GET"], { try $0.targetMetadata($1) }),
        "/api/v1/targets/relabel_steps": (["GET"], { try $0.relabelSteps($1) }),
        "/api/v1/admin/tsdb/delete_series": (["POST", "PUT"], { try $0.deleteSeries($1) }),
        "/api/v1/admin/tsdb/clean_tombstones": (["POST", "PUT"], { api, _ in try api.cleanTombstones() }),
        "/api/v1/admin/tsdb/snapshot": (["POST", "PUT"], { try $0.snapshot($1) }),
        "/api/vedette/v1/backup": (["POST"], { api, _ in try await api.stageBackup() }),
        "/api/v1/rules": (["GET"], { try await $0.rules($1) }),
        "/api/v1/alerts": (["GET", "POST"], { $1.method == "POST" ? API.gone : await $0.alerts() }),
        "/api/v1/silences": (["GET", "POST"], { _, _ in API.gone }),
        "/api/v1/alertmanagers": (
            ["GET"], { _, _ in .success(["activeAlertmanagers": [], "droppedAlertmanagers": []]) }
        ),
        "/api/v1/scrape_pools": (["GET"], { api, _ in api.scrapePools() }),
        "/api/v1/notifications": (["GET"], { _, _ in .success([]) }),
        "/api/v1/features": (["GET"], { api, _ in api.features() }),
        "/federate": (["GET"], { try $0.federate($1) }),
        "/api/vedette/v1/rollbacks": (["GET", "POST"], { try await $0.rollbacks($1) }),
        "/api/vedette/v1/rollbacks/plan": (["GET"], { try await $0.rollbackPlan($1) }),
        "/api/vedette/v1/rollbacks/status": (["GET"], { api, _ in await api.rollbackStatus() }),
        "/api/vedette/v1/alerts/explain": (["GET"], { try await $0.explainAlert($1) }),
        "/api/vedette/v1/alerts/history": (["GET"], { api, _ in await api.alertHistory() }),
        "/api/vedette/v1/pages/dead": (["POST"], { try await $0.deadLetters($1) }),
        "/api/vedette/v1/pages": (["GET"], { api, _ in await api.pages() }),
        "/api/vedette/v1/peers/exchange": (["POST"], { try await $0.exchangeWithPeer($1) }),
        "/api/vedette/v1/audit": (["GET"], { api, _ in api.auditRecord() }),
        "/pages": (["GET"], { api, _ in await api.ledgerPage() }),
        "/": (["GET"], { api, _ in await api.firstPage() }),
        "/-/reload": (["POST", "PUT"], { api, _ in await api.reload() }),
        "/api/v1/metadata": (["GET"], { try $0.metadata($1) }),
        "/api/v1/query_exemplars": (["GET", "POST"], { try $0.queryExemplars($1) }),
        "/api/v1/status/config": (["GET"], { api, _ in api.configuration() }),
        "/api/v1/status/flags": (["GET"], { api, _ in api.flags() }),
        "/api/v1/status/tsdb": (["GET"], { try $0.storageStatistics($1) }),
        "/api/v1/status/walreplay": (["GET"], { api, _ in api.replayProgress() }),
        "/api/v1/status/buildinfo": (["GET"], { api, _ in api.buildInformation() }),
        "/api/v1/status/runtimeinfo": (["GET"], { api, _ in api.runtimeInformation() }),
        "/api/v1/openapi.yaml": (["GET"], { api, _ in api.openAPI() }),
    ]

    private typealias NamedHandler = @Sendable (API, String, APIRequest) async throws -> APIResponse

    /// Paths with a name in braces; the first that fits is meant.
    private static let namedRoutes: [(path: String, methods: [String], handler: NamedHandler)] = [
        ("/api/v1/label/{name}/values", ["GET"], { try $0.labelValues($1, $2) }),
        ("/api/vedette/v1/backup/{name}", ["DELETE"], { api, name, _ in try api.removeBackup(name) }),
        ("/health/{name}", ["GET"], { api, name, _ in await api.health(of: name) }),
        (
            "/api/vedette/v1/rollbacks/{id}/cancel", ["POST"],
            { try await $0.cancelRollback($1, $2) }
        ),
        ("/api/vedette/v1/rollbacks/{id}", ["GET"], { api, id, _ in try await api.oneRollback(id) }),
    ]

    /// Every method and path that is answered here, the workloads' apart; what holds a name stands in braces.
    static var surface: [(method: String, path: String)] {
        routes.flatMap { path, route in route.methods.map { ($0, path) } }
            + namedRoutes.flatMap { route in route.methods.map { ($0, route.path) } } + alertmanagerSurface
    }

    /// The name that stands in a path where `pattern` has its braces.
    private static func name(in path: String, by pattern: String) -> String? {
        guard let open = pattern.firstIndex(of: "{"), let close = pattern.firstIndex(of: "}") else { return nil }
        let (prefix, suffix) = (pattern[..<open], pattern[pattern.index(after: close)...])
        let rest = path.utf8.dropFirst(prefix.utf8.count)
        guard path.utf8.starts(with: prefix.utf8), rest.count >= suffix.utf8.count,
            rest.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
        else { return nil }
        return String(Substring(rest.dropLast(suffix.utf8.count)))
    }

    /// What OPTIONS and a method that a path does not take are answered; nil: the path takes it.
    static func unless(_ methods: [String], take method: String) -> APIResponse? {
        if methods.contains(method) || (method == "HEAD" && methods.contains("GET")) { return nil }
        var answer: APIResponse = method == "OPTIONS" ? .nothing : .text("Method Not Allowed\n", status: 405)
        answer.headers.append(("Allow", allowed(methods)))
        return answer
    }

    /// For `Allow`.
    static func allowed(_ methods: [String]) -> String {
        (methods + (methods.contains("GET") ? ["HEAD", "OPTIONS"] : ["OPTIONS"])).sorted().joined(separator: ", ")
    }

    /// Answers a request. A query runs on the executor of the calling task, which must be one that may be busy.
    public func answer(_ asked: APIRequest) async -> APIResponse {
        var request = asked
        if !context.routePrefix.isEmpty {
            guard request.path.begins(with: context.routePrefix + "/") else {
                return .text("404 page not found; everything is under \(context.routePrefix)/\n", status: 404)
            }
            request.path = request.path.behind(context.routePrefix)
        }
        guard let access = context.access else { return await handle(request) }
        let caller: Caller
        do throws(AccessRefusal) {
            caller = try await access.admit(request)
        } catch {
            return API.refusal(error)
        }
        guard request.isChange, let audit = context.audit else { return await handle(request) }
        let entry = audit.begin(AuditEntry(request, caller, now: context.clock.now()))
        let answer = await handle(request)
        audit.end(entry, status: answer.status)
        return answer
    }

    private static func refusal(_ refusal: AccessRefusal) -> APIResponse {
        let type = refusal.status == 401 ? "unauthorized" : refusal.status == 429 ? "throttled" : "forbidden"
        var answer = APIError(status: refusal.status, type: type, message: refusal.message).response
        // A browser asks its user for a password, a program reads that a token does as well.
        if refusal.status == 401 {
            answer.headers.append(("WWW-Authenticate", "Basic realm=\"Vedette\", charset=\"UTF-8\", Bearer"))
        }
        if let seconds = refusal.retryAfter { answer.headers.append(("Retry-After", "\(seconds)")) }
        return answer
    }

    private func auditRecord() -> APIResponse {
        .success(.array((context.audit?.all ?? []).reversed().map(\.json)))
    }

    private func handle(_ request: APIRequest) async -> APIResponse {
        do {
            if let route = API.routes[request.path] {
                if let answer = API.unless(route.methods, take: request.method) { return answer }
                return try await route.handler(self, request)
            }
            for route in API.namedRoutes {
                guard let name = API.name(in: request.path, by: route.path) else { continue }
                if let answer = API.unless(route.methods, take: request.method) { return answer }
                return try await route.handler(self, name, request)
            }
            if Forwarder.takes(request.path) {
                guard let workloads = context.workloads else {
                    return .json(
                        ["error": "no workloads are configured", "cure": "describe them under workloads: in the file"],
                        status: 404)
                }
                return await workloads.forward(request)
            }
            if request.path.begins(with: "/api/v2/") {
                return try await alertmanager(request, request.path.behind("/api/v2/")[...])
            }
            return .text("404 page not found\n", status: 404)
        } catch let error as APIError {
            return error.response
        } catch {
            return APIError(status: 500, type: "internal", message: "\(error)").response
        }
    }

    /// Alertmanager's first API, which is no more there either.
    private static let gone = APIResponse.json(
        ["status": "deprecated", "error": "Alertmanager's API v1 is gone; use /api/v2"], status: 410)

    private func reload() async -> APIResponse {
        await context.reload().map { .text("\($0)\n", status: 400) } ?? .text("reloaded\n")
    }

    private func openAPI() -> APIResponse {
        let server = context.routePrefix.isEmpty ? "/" : context.routePrefix
        return APIResponse(
            contentType: "application/yaml", body: Array(OpenAPI(server: server, version: context.version).yaml.utf8))
    }

    private func ready() -> APIResponse {
        context.unreadiness().map { .text($0 + "\n", status: 503) } ?? .text("Vedette is ready.\n")
    }
}
