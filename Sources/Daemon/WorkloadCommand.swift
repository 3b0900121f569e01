internal import Basics
internal import Scraping
internal import Settings
internal import Workloads

/// How the workloads' process is started.
struct WorkloadCommand: Sendable, Hashable {
    /// The program's arguments; its file is that of this very process, whatever was put in its place since.
    var arguments: [String]
    /// What it may take.
    var limits: ProcessLimits
    /// The Unix socket that it serves.
    var socket: String
    /// What it reads of the configuration: when that changes, it is started anew.
    var workloads: WorkloadSettings, database: DatabaseSettings

    /// The name of its job, and of its socket's file.
    static let name = "workloads"
    /// The longest path of a Unix socket, in bytes.
    static let socketLimit = 107

    static func socket(_ options: StartOptions) -> String { "\(options.dataDirectory)/\(name).sock" }

    /// Nil when nothing is hosted.
    init?(_ settings: DaemonSettings, _ options: StartOptions) throws {
        guard options.hostsWorkloads, !settings.workloads.isEmpty else { return nil }
        socket = WorkloadCommand.socket(options)
        guard socket.utf8.count <= WorkloadCommand.socketLimit else {
            throw WebServerPathError(path: socket)
        }
        (workloads, database) = (settings.workloads, settings.database)
        arguments = [
            "vedette", "workloads", "serve", "--config", options.configuration, "--data-dir", options.dataDirectory,
        ]
        limits = ProcessLimits(
            memoryBytes: settings.workloads.memory, openFiles: settings.workloads.openFiles, niceness: 10)
    }

    /// The job that scrapes it.
    static func job(_ settings: DaemonSettings, _ options: StartOptions) -> ScrapeJob? {
        guard options.hostsWorkloads, !settings.workloads.isEmpty else { return nil }
        var job = ScrapeJob(name: name)
        job.interval = min(settings.scrapeDefaults.interval, 15_000)
        job.timeout = min(settings.scrapeDefaults.timeout, job.interval)
        job.groups = [
            TargetGroup(
                addresses: [name], labels: ["__unix_socket__": socket(options)],
                location: SourceLocation(file: options.configuration))
        ]
        return job
    }
}

/// The data directory's path is too long for a Unix socket in it.
struct WebServerPathError: Error, CustomStringConvertible {
    var path: String
    var description: String {
        "the workloads' socket \(path) has a path of more than \(WorkloadCommand.socketLimit) bytes; "
            + "give a shorter one with --data-dir"
    }
}
