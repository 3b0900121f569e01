internal import CLinux
internal import Glibc
internal import Synchronization

/// The machine's processes. Each has a thread of its own that starts it and waits for it: the kernel ends a child with
/// the thread that started it, and waiting blocks.
public struct SystemProcesses: Processes {
    /// The machine's processes.
    public init() {}

    /// See `Processes.run`.
    public func run(_ request: ProcessRequest, timeout: Milliseconds, outputLimit: Int) async -> ProcessResult {
        await withCheckedContinuation { continuation in
            startThread(named: "vedette-command") {
                continuation.resume(
                    returning: RunningChild().run(request, timeout: timeout, outputLimit: outputLimit))
            }
        }
    }

    /// See `Processes.start`.
    public func start(_ request: ProcessRequest) async -> Result<any ChildProcess, ProcessStartError> {
        await withCheckedContinuation { continuation in
            startThread(named: "vedette-child") {
                let child = RunningChild()
                switch child.start(request, output: nil) {
                case .failure(let error): continuation.resume(returning: .failure(error))
                case .success:
                    continuation.resume(returning: .success(child))
                    child.finish(child.reap())
                }
            }
        }
    }
}

/// One child. Signals are sent while it has not been waited for, so that its number cannot be another's yet.
private final class RunningChild: ChildProcess {
    private struct State {
        var pid: Int32 = 0
        var isReaped = false
        var isKilled = false
        var end: ProcessEnd?
        var waiting: [Int: CheckedContinuation<ProcessEnd?, Never>] = [:]
        var nextWaiter = 0
    }
    private let state = Mutex(State())

    var identifier: Int32 { state.withLock { $0.pid } }

    func signal(_ number: Int32) {
        state.withLock { state in
            if number == SIGKILL { state.isKilled = true }
            // It leads a process group of its own.
            if state.pid > 0, !state.isReaped { kill(-state.pid, number) }
        }
    }

    func end() async -> ProcessEnd? {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (isOver, end) = state.withLock { state -> (Bool, ProcessEnd?) in
                    // Cancelled first: the flag is set before `onCancel` runs, so that no wait is missed.
                    let isOver = state.end != nil || Task.isCancelled
                    if !isOver { state.waiting[number] = continuation }
                    return (isOver, state.end)
                }
                if isOver { continuation.resume(returning: end) }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: number) }?.resume(returning: nil)
        }
    }

    func start(_ request: ProcessRequest, output: Int32?) -> Result<Void, ProcessStartError> {
        guard let program = request.arguments.first, !program.isEmpty else {
            return .failure(ProcessStartError("there is no program to start"))
        }
        var pid: Int32 = 0
        let environment = RunningChild.environment(with: request.environment)
        let code = unsafe withCStrings(request.arguments) { arguments in
            unsafe withCStrings(environment) { environment in
                unsafe vedette_spawn(
                    request.file ?? program, arguments, environment, request.directory ?? "", output ?? -1,
                    Int64(request.limits.memoryBytes ?? 0), Int64(request.limits.openFiles ?? 0),
                    request.limits.yields ? 1 : 0, request.endsWithParent ? 1 : 0, &pid)
            }
        }
        guard code == 0 else {
            let reason = unsafe String(cString: strerror(code))
            return .failure(ProcessStartError("\(program): \(reason)"))
        }
        let isKilled = state.withLock { state in
            state.pid = pid
            return state.isKilled
        }
        if isKilled { signal(SIGKILL) }
        return .success(())
    }

    func reap() -> ProcessEnd {
        let pid = identifier
        // Seen as ended before it is waited for: from then on its number may be given away.
        var info = unsafe siginfo_t()
        while true {
            let code = unsafe waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT)
            if code == 0 || errno != EINTR { break }
        }
        return state.withLock { state in
            state.isReaped = true
            var status: Int32 = 0
            guard unsafe vedette_reap(pid, &status) == 0 else { return .notStarted("nothing is known of its end") }
            let number = vedette_end_signal(status)
            return number != 0 ? .signalled(number) : .exited(vedette_exit_status(status))
        }
    }

    func finish(_ end: ProcessEnd) {
        let waiting = state.withLock { state in
            state.end = end
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume(returning: end) }
    }

    /// Runs to the end, on the calling thread.
    func run(_ request: ProcessRequest, timeout: Milliseconds, outputLimit: Int) -> ProcessResult {
        var (reading, writing): (Int32, Int32) = (-1, -1)
        let code = unsafe vedette_output_pipe(&reading, &writing)
        guard code == 0 else { return ProcessResult(end: .notStarted(unsafe String(cString: strerror(code)))) }
        defer { close(reading) }
        let started = start(request, output: writing)
        close(writing)
        if case .failure(let error) = started { return ProcessResult(end: .notStarted(error.description)) }
        let ended = vedette_pidfd(identifier)
        defer { if ended >= 0 { close(ended) } }
        var sink = OutputSink(limit: outputLimit)
        let isInTime = collect(from: reading, until: ended, timeout: timeout, into: &sink)
        if !isInTime { signal(SIGKILL) }
        let end = reap()
        sink.drain(reading)
        finish(end)
        return ProcessResult(
            end: isInTime ? end : .timedOut(timeout), output: sink.bytes, outputBytes: sink.total)
    }

    /// Reads until the child has ended, even if something that it started keeps the pipe; whether that was in time.
    private func collect(
        from pipe: Int32, until ended: Int32, timeout: Milliseconds, into sink: inout OutputSink
    ) -> Bool {
        let clock = SystemClock()
        let deadline = clock.uptimeNanoseconds() + UInt64(max(0, timeout)) * 1_000_000
        var pipe = pipe
        while true {
            let now = clock.uptimeNanoseconds()
            guard now < deadline else { return false }
            let wait = Int32(clamping: (deadline - now) / 1_000_000 + 1)
            var watched = [pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)]
            watched.append(pollfd(fd: ended, events: Int16(POLLIN), revents: 0))
            guard unsafe poll(&watched, 2, wait) > 0 else { continue }
            if watched[0].revents != 0, !sink.drain(pipe) { pipe = -1 }
            if ended >= 0 ? watched[1].revents != 0 : pipe < 0 { return true }
        }
    }

    /// What systemd says to this process alone: a child that takes it for its own would answer in its parent's name.
    private static let ownEnvironment: Set = [
        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
    ]

    private static func environment(with added: [String: String]) -> [String] {
        var environment: [String] = []
        var entry = unsafe environ
        while let text = unsafe entry.pointee {
            let line = unsafe String(cString: text)
            let name = String(line.prefix { $0 != "=" })
            if added[name] == nil, !ownEnvironment.contains(name) { environment.append(line) }
            unsafe entry += 1
        }
        return environment + added.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    }
}

/// Keeps the start of what is read and counts the rest.
private struct OutputSink {
    let limit: Int
    var bytes: [UInt8] = []
    var total = 0

    init(limit: Int) { self.limit = limit }

    /// Reads what is there; false at the end of the pipe.
    @discardableResult
    mutating func drain(_ descriptor: Int32) -> Bool {
        unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 65_536) { buffer in
            // A program that writes without end must not keep us from looking at the time.
            for _ in 0..<16 {
                let count = unsafe read(descriptor, buffer.baseAddress, buffer.count)
                if count == 0 { return false }
                guard count > 0 else { return true }
                total += count
                let room = max(0, limit - bytes.count)
                unsafe bytes.append(contentsOf: buffer.prefix(min(count, room)))
            }
            return true
        }
    }
}

/// Texts as a C array that ends with nil, for the duration of a call.
private func withCStrings<Result>(
    _ texts: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe texts.map { unsafe strdup($0) }
    unsafe pointers.append(nil)
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe pointers.withUnsafeBufferPointer { unsafe body($0.baseAddress.unsafelyUnwrapped) }
}
