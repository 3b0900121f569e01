internal import Basics
internal import Transport

/// A folder of two releases, and the link to the one that runs.
struct DemoReleases: Sendable {
    static let good = "v41", bad = "v42"
    let directory: String
    private let files = SystemFiles()

    init(directory: String) { self.directory = directory }

    private var link: String { "\(directory)/current" }

    /// The good release runs.
    func prepare() throws {
        for name in [DemoReleases.good, DemoReleases.bad] {
            try files.createDirectory("\(directory)/releases/\(name)/bin")
            try write("a program\n", to: "\(directory)/releases/\(name)/bin/app")
        }
        try files.createLink(link, to: "releases/\(DemoReleases.good)")
    }

    /// The bad one is deployed.
    func release() throws { try files.replaceLink(link, to: "releases/\(DemoReleases.bad)") }

    /// What the link shows.
    var current: String { (try? files.readLink(link)) ?? "nothing" }
    var isBad: Bool { current.hasSuffix(DemoReleases.bad) }
}

/// A Redis of the demo alone, where its server is installed.
struct DemoRedis: Sendable {
    let socket: String
    private let server: any ChildProcess
    private let client: RedisClient

    static func start(in directory: String, flag: String, clock: SystemClock) async throws -> DemoRedis? {
        let socket = "\(directory)/redis.sock"
        let request = ProcessRequest(
            ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--logfile", "/dev/null"],
            endsWithParent: true)
        guard case .success(let server) = await SystemProcesses().start(request) else {
            Output.line("redis-server is not installed: the flags are in a file")
            return nil
        }
        var settings = RedisSettings()
        settings.unixSocket = socket
        let client = RedisClient(settings) { _ in [] }
        for _ in 0..<100 {
            let on = Array(#"{"enabled": true, "rollout_percentage": 25}"#.utf8)
            // Until it listens.
            if (try? await client.set("feature_flag:\(flag)", to: on, expecting: nil)) == true {
                return DemoRedis(socket: socket, server: server, client: client)
            }
            try await clock.sleep(for: 50)
        }
        throw Refusal("redis-server does not answer at \(socket)")
    }

    func flag(_ name: String) async -> String {
        let value = try? await client.value(of: "feature_flag:\(name)")
        return (value ?? nil).map { String(decoding: $0, as: UTF8.self) } ?? "nothing"
    }

    func stop() { server.signal(15) }
}
