internal import ArgumentParser
internal import Basics
internal import Daemon
internal import ServiceLifecycle
internal import Storage
internal import UnixSignals
internal import Web
internal import Logging

/// `vedette run`: the daemon.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Run the daemon.")

    @Option(help: "The configuration file.") var config = "vedette.yaml"
    @Option(help: "Where series and state are kept.") var dataDir = "data"
    @Option(help: "The address to listen on.") var listen = "127.0.0.1:9470"
    @Option(
        help: "How long samples are kept, such as 40d; until history is written to disk, storage.max_age bounds it too."
    ) var retention = "40d"
    @Option(help: "Where people reach the daemon, for links in pages; http://LISTEN when it is not given.")
    var externalUrl: String?
    @Option(help: "Log lines as text or json.") var logFormat = LogFormat.text

    func run() async throws {
        tuneAllocator()
        let log = StandardErrorLog(format: logFormat, clock: SystemClock())
        let (host, port) = try Address.parse(listen)
        let vedette: Vedette
        let world = World.machine(log: log)
        do {
            var settings = try DaemonSettings(path: config, files: world.files)
            guard let kept = DurationText.parse(retention), kept >= 60_000 else {
                throw Refusal("--retention: '\(retention)' is no duration of at least 1m; write it as 15d or 12h")
            }
            settings.storage.maximumAge = min(settings.storage.maximumAge, kept)
            vedette = try Vedette(
                StartOptions(
                    configuration: config, dataDirectory: dataDir, externalURL: externalUrl ?? "http://\(listen)"),
                settings: settings, world: world)
        } catch {
            throw Refusal("\(error)")
        }
        let control = ThreadPoolExecutor(count: 3, name: "vedette-ctl")
        let queries = ThreadPoolExecutor(count: 2, name: "vedette-api")
        let server = WebServer(host: host, port: port, executor: queries) { port in
            log.write(LogEvent(.info, "listening", "listening on http://\(host):\(port)"))
        } handler: { [api = vedette.api] in
            await api.answer($0)
        }
        let group = ServiceGroup(
            services: [
                ControlPlane(vedette: vedette, executor: control), Listener(server: server),
                Reloader(vedette: vedette, executor: control),
            ],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "service-group") { _ in SwiftLogNoOpLogHandler() })
        do {
            try await group.run()
        } catch let error as WebServerError {
            throw Refusal(error.description)
        }
        log.write(LogEvent(.info, "stopped", "stopped; nothing accepted is lost"))
    }
}

/// The daemon's own tasks, on threads that may block.
private struct ControlPlane: Service {
    let vedette: Vedette
    let executor: ThreadPoolExecutor

    func run() async throws {
        let work = executor.start { [vedette] in await vedette.run() }
        await withTaskCancellationOrGracefulShutdownHandler {
            await work.value
        } onCancelOrGracefulShutdown: { [vedette] in
            vedette.stop()
        }
    }
}

/// SIGHUP reads the configuration again.
private struct Reloader: Service {
    let vedette: Vedette
    let executor: ThreadPoolExecutor

    func run() async throws {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            _ = await executor.start { [vedette] in await vedette.reloadConfiguration() }.value
        }
    }
}

private struct Listener: Service {
    let server: WebServer
    func run() async throws { try await server.run() }
}
