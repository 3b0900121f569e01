internal import Alerting
internal import ArgumentParser
internal import Basics
internal import Daemon
internal import Storage

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

    @Flag(help: "Let samples be deleted over HTTP, by anybody who reaches the address.") var enableAdminApi = false

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
        // Until the daemon listens for it, a SIGHUP must not end it: the log may be replaying.
        ignoreHangup()
        let log = StandardErrorLog(format: logFormat, clock: SystemClock())
        let (host, port) = try Address.parse(listen)
        let (mode, delay, prefix) = (try matcherMode(), try startDelayLength(), try prefix())
        let vedette: Vedette
        let world = World.machine(log: log)
        do {
            var settings = try DaemonSettings(path: config, files: world.files, mode: mode)
            guard let kept = DurationText.parse(retention), kept >= 60_000 else {
                throw Refusal("--retention: '\(retention)' is no duration of at least 1m; write it as 15d or 12h")
            }
            settings.storage.maximumAge = min(settings.storage.maximumAge, kept)
            var options = StartOptions(
                configuration: config, dataDirectory: dataDir, externalURL: externalUrl ?? "http://\(listen)")
            options.hostsWorkloads = true
            options.allowsAdmin = enableAdminApi
            (options.matcherMode, options.startDelay, options.routePrefix) = (mode, delay, prefix)
            vedette = try Vedette(options, settings: settings, world: world)
        } catch {
            throw Refusal("\(error)")
        }
        do {
            try await vedette.serve(host: host, port: port)
        } catch {
            throw Refusal("\(error)")
        }
        log.write(LogEvent(.info, "stopped", "stopped; nothing accepted is lost"))
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
