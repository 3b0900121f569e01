internal import Alerting
internal import Basics
internal import Model
internal import Notifying

/// `/api/v2`: Alertmanager's API, so that amtool, Grafana, Karma and Prometheus need not know the difference.
///
/// - SeeAlso: Alertmanager, `api/v2/openapi.yaml`.
extension API {
    /// The Alertmanager whose API this is.
    public static let alertmanagerVersion = "0.33.1"

    private typealias Handler = @Sendable (API, APIRequest) async throws -> APIResponse

    private static let alertmanagerRoutes: [String: [String: Handler]] = [
        "status": ["GET": { api, _ in await api.alertmanagerStatus() }],
        "receivers": ["GET": { try await $0.receivers($1) }],
        "alerts": ["GET": { try await $0.alertList($1) }, "POST": { try await $0.postAlerts($1) }],
        "alerts/groups": ["GET": { try await $0.alertGroups($1) }],
        "silences": ["GET": { try await $0.silenceList($1) }, "POST": { try await $0.postSilence($1) }],
    ]

    /// As `surface` has it.
    static var alertmanagerSurface: [(method: String, path: String)] {
        alertmanagerRoutes.flatMap { path, methods in methods.keys.map { ($0, "/api/v2/\(path)") } }
            + silenceMethods.map { ($0, "/api/v2/silence/{silenceID}") }
    }
    private static let silenceMethods = ["DELETE", "GET"]

    /// Answers what is under `/api/v2/`.
    func alertmanager(_ request: APIRequest, _ path: Substring) async throws -> APIResponse {
        do {
            let silence = path.hasPrefix("silence/") && !path.dropFirst(8).contains("/") ? path.dropFirst(8) : nil
            let handlers = silence == nil ? API.alertmanagerRoutes[String(path)] : [:]
            guard let handlers else {
                throw AlertmanagerError(status: 404, code: 404, message: "path \(request.path) was not found")
            }
            let methods = silence == nil ? handlers.keys.sorted() : API.silenceMethods
            if var answer = API.unless(methods, take: request.method) {
                if answer.status == 405 {
                    let headers = answer.headers
                    answer = API.notAllowed(request, methods).response
                    answer.headers += headers
                }
                return answer
            }
            if let silence { return try await oneSilence(request, String(silence)) }
            guard let handler = handlers[request.method] ?? handlers["GET"] else { return .nothing }
            try checkType(request)
            return try await handler(self, request)
        } catch let error as AlertmanagerError {
            return error.response
        }
    }

    /// A page in a browser may post texts and forms to any address, but no JSON.
    private func checkType(_ request: APIRequest) throws {
        guard request.method == "POST", let type = request.contentType else { return }
        let bare = type.prefix { $0 != ";" }.lowercased().trimmed
        guard bare != "application/json" else { return }
        throw AlertmanagerError(
            status: 415, code: 415,
            message: "unsupported media type \(type.goQuoted), only [application/json] are allowed")
    }

    private static func notAllowed(_ request: APIRequest, _ methods: [String]) -> AlertmanagerError {
        AlertmanagerError(
            status: 405, code: 405,
            message: "method \(request.method) is not allowed, but [\(methods.joined(separator: ","))] are")
    }

    // MARK: What it is

    private func alertmanagerStatus() async -> APIResponse {
        var cluster: JSON = ["peers": [], "status": "disabled"]
        if let peers = await context.dispatcher.peersStatus() {
            let up = [(peers.name, peers.address)] + peers.peers.filter(\.isUp).map { ($0.name, $0.address) }
            cluster = [
                "name": .string(peers.name),
                "peers": .array(up.map { ["address": .string($0.1), "name": .string($0.0)] }),
                "status": peers.isSettled ? "ready" : "settling",
            ]
        }
        return .json([
            "cluster": cluster,
            "config": ["original": .string(await context.dispatcher.effectiveConfiguration().yaml)],
            "uptime": .string(context.startedAt.rfc3339()),
            "versionInfo": [
                "branch": "vedette", "buildDate": "", "buildUser": "", "goVersion": "",
                "revision": .string(context.version), "version": .string(API.alertmanagerVersion),
            ],
        ])
    }

    private func receivers(_ request: APIRequest) async throws -> APIResponse {
        let matchers = try self.matchers(request, "receiver_matchers", await context.dispatcher.alerting().settings)
        let receivers = await context.dispatcher.receivers().filter { receiver in
            matchers.allSatisfy { $0.matches(Labels(receiver.labels)) }
        }
        return .json(.array(receivers.map { ["labels": JSON($0.labels), "name": .string($0.name)] }))
    }

    // MARK: Parameters

    /// The matchers of a parameter that may be repeated.
    func matchers(_ request: APIRequest, _ name: String, _ settings: AlertingSettings) throws -> [Matcher] {
        var found: [Matcher] = []
        for text in request.all(name) {
            do {
                found.append(try settings.matcherMode.matcher(text))
            } catch {
                throw AlertmanagerError.bad("bad matcher format: \(text)")
            }
        }
        return found
    }

    /// A parameter that is true unless it says otherwise.
    func flag(_ request: APIRequest, _ name: String) throws -> Bool {
        guard let text = request.parameter(name) else { return true }
        switch text.lowercased() {
        case "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled": return true
        default: return false
        }
    }
}
