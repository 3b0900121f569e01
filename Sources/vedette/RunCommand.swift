internal import Alerting
internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Settings
internal import Storage
internal import Systemd
internal import Web

/// `vedette run`: the daemon.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Run the daemon.")

    @Option(help: "The configuration file.") var config = "vedette.yaml"
    @Option(help: "Where series and state are kept.") var dataDir = "data"
    @Option(help: "Where to listen: HOST:PORT or unix:PATH, also several; sockets that systemd hands over come first.")
    var listen: [String] = []
    @Option(
        help: "How long samples are kept, such as 40d, in place of storage.retention_time, which is 40d by default."
    ) var retention: String?
    @Option(help: "Where people reach the daemon, for links in pages; http://LISTEN when it is not given.")
    var externalUrl: String?
    @Option(help: "Log lines as text or json, or to journald; that where standard error is the journal.")
    var logFormat: LogFormat?

    @Option(
        name: .customLong("web.config.file"),
        help: "TLS and passwords as Prometheus takes them, in place of the section web.") var webConfiguration: String?
    @Flag(
        name: .customLong("web.enable-remote-write-receiver"),
        help: "Take samples by remote write at /api/v1/write, as web: {remote_write_receiver: true} does.")
    var takesRemoteWrite = false
    @Flag(help: "Let samples be deleted over HTTP, by whoever is an admin.") var enableAdminApi = false

    @Option(help: "classic-mode or utf8-strict-mode: which grammar of matchers counts, as in Alertmanager.")
    var enableFeature: [String] = []
    @Option(
        name: .customLong("dispatch.start-delay"),
        help: "For how long after the start no group is told of; senders have that time to tell everything again.")
    var startDelay = "0s"
    @Option(name: .customLong("web.route-prefix"), help: "What every path begins with, such as /vedette.")
    var routePrefix = ""

    func run() async throws {
        tuneAllocator()
        raiseOpenFileLimit()
        // Until the daemon listens for it, a SIGHUP must not end it: the log may be replaying.
        ignoreHangup()
        let log = QueuedLog(LogFormat.sink(logFormat))
        let addresses = try addresses()
        let (mode, delay, prefix) = (try matcherMode(), try startDelayLength(), try prefix())
        let vedette: Vedette
        var world = World.machine(log: log, descriptors: raiseDescriptorLimit())
        world.manager = Systemd()
        do {
            var settings = try DaemonSettings(path: config, files: world.files, variables: world.variables, mode: mode)
            if let retention {
                guard let kept = DurationText.parse(retention), kept >= 60_000 else {
                    throw Refusal("--retention: '\(retention)' is no duration of at least 1m; write it as 15d or 12h")
                }
                settings.storage.retention = kept
            }
            var options = StartOptions(
                configuration: config, dataDirectory: dataDir, externalURL: "")
            options.webConfiguration = webConfiguration
            let isTLS = try Vedette.speaksTLS(options, settings, world)
            options.externalURL = externalUrl ?? RunCommand.url(of: addresses, isTLS: isTLS)
            options.hostsWorkloads = true
            options.allowsAdmin = enableAdminApi
            options.takesRemoteWrite = takesRemoteWrite
            (options.matcherMode, options.startDelay, options.routePrefix) = (mode, delay, prefix)
            vedette = try Vedette(options, settings: settings, world: world)
        } catch {
            throw Refusal("\(error)")
        }
        do {
            try await vedette.serve(addresses)
        } catch {
            throw Refusal("\(error)")
        }
        log.write(LogEvent(.info, "stopped", "stopped; nothing accepted is lost"))
        await log.flush(atMost: 1000, SystemClock())
    }

    /// What systemd hands over, and what is asked for beside it; of the latter not a port that is among the former.
    private func addresses() throws -> [ListenAddress] {
        let inherited: [InheritedSocket]
        do throws(InheritedSocketError) {
            inherited = try InheritedSocket.take()
        } catch {
            throw Refusal("\(error)")
        }
        let wanted = try (listen.isEmpty && inherited.isEmpty ? ["127.0.0.1:9470"] : listen).map(RunCommand.address)
        return inherited.map { .inherited($0) }
            + wanted.filter { address in
                guard case .tcp(_, let port) = address else { return true }
                return !inherited.contains { $0.port == port }
            }
    }

    private static func address(_ text: String) throws -> ListenAddress {
        guard text.hasPrefix("unix:") else {
            let (host, port) = try Address.parse(text)
            return .tcp(host: host, port: port)
        }
        let path = String(text.dropFirst(5))
        guard !path.isEmpty, path.utf8.count <= 107 else {
            throw Refusal("--listen: '\(text)' names no Unix socket; write unix:PATH, of at most 107 bytes")
        }
        return .unix(path: path)
    }

    /// The first that a browser can reach.
    private static func url(of addresses: [ListenAddress], isTLS: Bool) -> String {
        for case .tcp(let host, let port) in addresses {
            let reachable = ["0.0.0.0", "::"].contains(host) ? machineName() : host
            return "\(isTLS ? "https" : "http")://\(ListenAddress.tcp(host: reachable, port: port))"
        }
        return "http://\(machineName()):9470"
    }

    private func matcherMode() throws -> MatcherMode {
        var mode = MatcherMode.fallback
        for name in enableFeature.flatMap({ $0.split(separator: ",") }) {
            guard let given = MatcherMode(rawValue: String(name)), given != .fallback, mode == .fallback else {
                throw Refusal("--enable-feature: '\(name)'; give one of classic-mode and utf8-strict-mode")
            }
            mode = given
        }
        return mode
    }

    private func startDelayLength() throws -> Milliseconds {
        guard let delay = DurationText.parse(startDelay) else {
            throw Refusal("--dispatch.start-delay: '\(startDelay)' is no duration; write it as 30s")
        }
        return delay
    }

    private func prefix() throws -> String {
        let bare = routePrefix.split(separator: "/").joined(separator: "/")
        return bare.isEmpty ? "" : "/" + bare
    }
}
