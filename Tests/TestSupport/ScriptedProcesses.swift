public import Basics
import Synchronization

/// Programs that a script stands in for; each request is remembered.
public final class ScriptedProcesses: Processes {
    private let requests = Mutex<[[String]]>([])
    private let script: @Sendable ([String]) async -> ProcessResult

    /// Without a script every program exits with 0 and writes nothing.
    public init(
        _ script: @escaping @Sendable ([String]) async -> ProcessResult = { _ in ProcessResult(end: .exited(0)) }
    ) {
        self.script = script
    }

    /// What was run, in order.
    public var ran: [[String]] { requests.withLock { $0 } }

    public func run(_ request: ProcessRequest, timeout: Milliseconds, outputLimit: Int) async -> ProcessResult {
        requests.withLock { $0.append(request.arguments) }
        return await script(request.arguments)
    }
    public func start(_ request: ProcessRequest) async -> Result<any ChildProcess, ProcessStartError> {
        .failure(ProcessStartError("a script starts nothing"))
    }
}
