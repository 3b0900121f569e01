internal import Basics
internal import Logging
internal import ServiceLifecycle
internal import Systemd
internal import UnixSignals
public import Web

extension Vedette {
    /// Runs the daemon on this machine with its HTTP interface until SIGTERM or SIGINT; SIGHUP reads the configuration
    /// again. Throws when it cannot listen.
    public func serve(_ addresses: [ListenAddress]) async throws(WebServerError) {
        let control = ThreadPoolExecutor(count: 3, name: "vedette-ctl")
        let queries = ThreadPoolExecutor(count: 2, name: "vedette-api")
        // Two long queries must not hold up `/-/healthy`, `/metrics` or the first page.
        let others = ThreadPoolExecutor(count: 1, name: "vedette-web")
        // What is sent to us waits for no query.
        let writes = ThreadPoolExecutor(count: 1, name: "vedette-write")
        let written = options.routePrefix + "/api/v1/write"
        let heavy = ["/api/v1/query", "/api/v1/series", "/api/v1/label"].map { options.routePrefix + $0 }
        let server = WebServer(
            addresses, limits: access.settings.limits, certificates: certificates,
            executor: { path in
                if path == written { return writes }
                return heavy.contains { path.hasPrefix($0) } ? queries : others
            }
        ) { [log, certificates, world] ports in
            for (address, port) in zip(addresses, ports) {
                log.write(
                    LogEvent(.info, "listening", "listening on \(address.text(port, isTLS: certificates != nil))"))
            }
            world.manager.tell(.ready)
        } handler: { [api] in
            await api.answer($0)
        }
        addMetrics(of: server)
        var configuration = ServiceGroupConfiguration(
            services: [
                ControlPlane(vedette: self, executor: control), Listener(server: server),
                Reloader(vedette: self, executor: control),
            ],
            gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "service-group") { _ in SwiftLogNoOpLogHandler() })
        configuration.maximumGracefulShutdownDuration = .seconds(15)
        let group = ServiceGroup(configuration: configuration)
        do {
            try await group.run()
        } catch let error as WebServerError {
            throw error
        } catch {
            throw WebServerError(address: addresses.map(\.description).joined(separator: ", "), reason: "\(error)")
        }
    }
}

extension ListenAddress {
    fileprivate func text(_ port: Int, isTLS: Bool) -> String {
        guard case .tcp(let host, _) = self else { return description }
        return "\(isTLS ? "https" : "http")://\(ListenAddress.tcp(host: host, port: port))"
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
            _ = await executor.start { [vedette] in await vedette.reloadConfiguration(askedBy: "SIGHUP") }.value
        }
    }
}

struct Listener: Service {
    let server: WebServer

    func run() async throws {
        try await withGracefulShutdownHandler {
            try await server.run()
        } onGracefulShutdown: { [server] in
            server.stop()
        }
    }
}
