internal import Basics
internal import Logging
internal import Model
internal import ServiceLifecycle
internal import SQL
internal import UnixSignals
internal import Web
internal import Workloads

/// The process that hosts the workloads: `vedette workloads serve`.
public enum WorkloadProcess {
    /// Serves the configured workloads on a Unix socket in the data directory until SIGTERM. Throws when the database
    /// or the socket cannot be used.
    public static func serve(_ settings: DaemonSettings, dataDirectory: String, world: World) async throws {
        let socket = WorkloadCommand.socket(
            StartOptions(configuration: "", dataDirectory: dataDirectory, externalURL: ""))
        guard socket.utf8.count <= WorkloadCommand.socketLimit else { throw WebServerPathError(path: socket) }
        try world.files.createDirectory(dataDirectory)
        // Left by one that was killed; its parent sees to it that there is one at a time.
        if try world.files.attributes(of: socket) != nil { try world.files.remove(socket) }
        let host = try settings.workloads.host(
            database: settings.database, directory: dataDirectory, files: world.files,
            secrets: { [files = world.files] in try files.contents(of: $0) }, clock: world.clock, log: world.log,
            random: SharedRandom(seed: world.seed), version: Vedette.version)
        let startedAt = world.clock.now()
        let answers = ThreadPoolExecutor(count: 2, name: "vedette-ml")
        let server = WebServer([.unix(path: socket)], executor: { _ in answers }, onListening: { _ in }) { request in
            await WorkloadProcess.answer(request, host, world.files, startedAt)
        }
        // A training takes its thread for as long as it lasts; predictions have others.
        let work = ThreadPoolExecutor(count: 2, name: "vedette-work")
        var configuration = ServiceGroupConfiguration(
            services: [Listener(server: server), HostService(host: host, executor: work)],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "service-group") { _ in SwiftLogNoOpLogHandler() })
        configuration.maximumGracefulShutdownDuration = .seconds(3)
        try await ServiceGroup(configuration: configuration).run()
    }

    private static func answer(
        _ request: APIRequest, _ host: WorkloadHost, _ files: any FileSystem, _ startedAt: Timestamp
    ) async -> APIResponse {
        if request.path == "/metrics" {
            return .metrics(host.metrics() + ProcessFigures.metrics(files: files, startedAt: startedAt))
        }
        let query = Dictionary(request.parameters.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
        let answer = await host.answer(
            WorkloadRequest(request.method, request.path, query: query, body: request.body))
        var response = APIResponse.json(answer.body, status: answer.status)
        if !answer.allowed.isEmpty { response.headers.append(("Allow", answer.allowed.joined(separator: ", "))) }
        return response
    }

    private struct HostService: Service {
        let host: WorkloadHost
        let executor: ThreadPoolExecutor

        func run() async throws {
            let work = executor.start { [host] in await host.run() }
            await withTaskCancellationOrGracefulShutdownHandler {
                await work.value
            } onCancelOrGracefulShutdown: {
                work.cancel()
            }
        }
    }
}
