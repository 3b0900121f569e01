/// What a child process may take.
public struct ProcessLimits: Sendable, Hashable {
    /// Address space in bytes; nil: no limit of ours.
    public var memoryBytes: Int?
    /// Open files; nil: as we have.
    public var openFiles: Int?
    /// Whether it yields to everything else: the lowest weight, and whoever wakes goes first.
    public var yields = false

    /// No limits.
    public init(memoryBytes: Int? = nil, openFiles: Int? = nil, yields: Bool = false) {
        (self.memoryBytes, self.openFiles, self.yields) = (memoryBytes, openFiles, yields)
    }
}

/// A program to start.
public struct ProcessRequest: Sendable, Hashable {
    /// The program, looked up in PATH when it has no slash, and its arguments. No shell reads them.
    public var arguments: [String]
    /// The program's file, when it is another than its first argument says.
    public var file: String?
    /// Added to our own environment.
    public var environment: [String: String]
    /// Where it starts; nil: where we are.
    public var directory: String?
    /// What it may take.
    public var limits: ProcessLimits
    /// Whether the kernel ends it when this process ends, by whatever cause.
    public var endsWithParent: Bool

    /// A request by its parts.
    public init(
        _ arguments: [String], file: String? = nil, environment: [String: String] = [:], directory: String? = nil,
        limits: ProcessLimits = ProcessLimits(), endsWithParent: Bool = false
    ) {
        (self.arguments, self.file, self.environment, self.directory) = (arguments, file, environment, directory)
        (self.limits, self.endsWithParent) = (limits, endsWithParent)
    }
}

/// How a process ended.
public enum ProcessEnd: Sendable, Hashable, CustomStringConvertible {
    /// By itself, with a status.
    case exited(Int32)
    /// By a signal.
    case signalled(Int32)
    /// It was never started, and why.
    case notStarted(String)
    /// It was killed since its time ran out.
    case timedOut(Milliseconds)

    /// One clause.
    public var description: String {
        switch self {
        case .exited(let status): "exit status \(status)"
        case .signalled(let signal): "ended by signal \(signal)"
        case .notStarted(let reason): "not started: \(reason)"
        case .timedOut(let limit): "killed after \(DurationText.format(limit))"
        }
    }
}

/// What became of a program that ran to its end.
public struct ProcessResult: Sendable, Hashable {
    /// How it ended.
    public var end: ProcessEnd
    /// The start of its output and of its errors, as they came, together at most as long as was allowed.
    public var output: [UInt8]
    /// How many bytes it wrote in all; what is above the limit was read and dropped.
    public var outputBytes: Int

    /// A result by its parts.
    public init(end: ProcessEnd, output: [UInt8] = [], outputBytes: Int? = nil) {
        (self.end, self.output, self.outputBytes) = (end, output, outputBytes ?? output.count)
    }
}

/// A program that was started and runs on; its output goes where ours goes.
public protocol ChildProcess: Sendable {
    /// Its number.
    var identifier: Int32 { get }
    /// Returns when it has ended, with nil when the caller is cancelled before.
    func end() async -> ProcessEnd?
    /// Sends a signal to it and to all it started.
    func signal(_ number: Int32)
}

/// Starts programs: the machine's, or a script in tests.
public protocol Processes: Sendable {
    /// Runs a program to its end, which `timeout` brings about if need be: it and all it started are killed then. A
    /// cancelled caller waits all the same, since half a command is worse than a late end. At most `outputLimit` bytes
    /// of what it writes are kept.
    func run(_ request: ProcessRequest, timeout: Milliseconds, outputLimit: Int) async -> ProcessResult
    /// Starts a program that runs on.
    func start(_ request: ProcessRequest) async -> Result<any ChildProcess, ProcessStartError>
}

/// Why a program could not be started.
public struct ProcessStartError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One clause.
    public var description: String
    /// An error by its reason.
    public init(_ description: String) { self.description = description }
}
