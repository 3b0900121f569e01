internal import CLinux
internal import Glibc
internal import Synchronization

/// Starts a thread of its own for work that blocks: a scrape loop, libcurl, fsync. The name, at most 15 bytes, is what
/// `top -H` shows.
public func startThread(named name: String, _ body: @escaping @Sendable () -> Void) {
    let box = unsafe Unmanaged.passRetained(ThreadBody(name: name, body: body)).toOpaque()
    var thread = pthread_t()
    let code = unsafe pthread_create(
        &thread, nil,
        { context in
            let body = unsafe Unmanaged<ThreadBody>.fromOpaque(context.unsafelyUnwrapped).takeRetainedValue()
            _ = unsafe vedette_name_thread(body.name)
            body.body()
            return nil
        }, box)
    precondition(code == 0, "no thread can be started: error \(code)")
    pthread_detach(thread)
}

private final class ThreadBody: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
        self.name = String(name.prefix(15))
        self.body = body
    }
}

/// A few threads that run tasks which may block, so that a slow `fsync` never holds up the cooperative pool.
///
/// The control plane (rule groups, the dispatcher, the outbox) runs here; under test its place is taken by
/// `SimulatedExecutor`.
public final class ThreadPoolExecutor: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var first = 0
        var isStopped = false
    }

    // A condition variable has an address that must not move, so the lock and it live in the C heap.
    private let lock: ThreadLock
    private let state: Mutex<State>

    /// Starts `count` threads.
    public init(count: Int, name: String) {
        lock = ThreadLock()
        state = Mutex(State())
        for number in 0..<count { startThread(named: "\(name)-\(number)") { [self] in run() } }
    }

    /// Takes a job from the runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        lock.signal()
    }

    /// Starts a task on these threads.
    @discardableResult
    public func start<Value: Sendable>(
        _ operation: sending @escaping @isolated(any) () async -> Value
    ) -> Task<Value, Never> {
        Task(executorPreference: self, operation: operation)
    }

    private func run() {
        while true {
            lock.wait()
            let job: UnownedJob? = state.withLock { state in
                guard state.first < state.jobs.count else { return nil }
                let job = state.jobs[state.first]
                state.first += 1
                if state.first == state.jobs.count || state.first > 1024 {
                    state.jobs.removeFirst(state.first)
                    state.first = 0
                }
                return job
            }
            if let job { unsafe job.runSynchronously(on: asUnownedTaskExecutor()) }
        }
    }
}

/// A counting semaphore.
// Safe: the semaphore is made before any thread sees it, never moves and is never destroyed while a thread waits.
@safe final class ThreadLock: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe sem_init(semaphore, 0, 0)
    }

    func signal() { unsafe sem_post(semaphore) }
    func wait() { while unsafe sem_wait(semaphore) != 0 {} }
}

/// Keeps glibc's allocator from giving every thread an arena of its own, which costs tens of megabytes, and from
/// keeping large blocks that were freed. Call it first.
public func tuneAllocator() {
    vedette_limit_arenas(2)
    vedette_fix_threshold(1 << 20)
}

/// How many files and sockets the process may have open; 65,536 where that may not be asked, as in a sandbox that keeps
/// limits from services.
public func openFileLimit() -> Int {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 65_536 }
    return Int(min(limit.rlim_cur, 1 << 20))
}

/// Lets the process have as many files open as the system allows it, up to 65,536: shells give 1024, which a thousand
/// targets and clients use up.
public func raiseOpenFileLimit() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = max(limit.rlim_cur, min(limit.rlim_max, 65_536))
    // It stays as it was where that is not allowed.
    _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}

/// Gives freed memory back to the system. Cost: milliseconds.
public func releaseFreedMemory() { vedette_trim_memory() }

/// Gives back what only a burst needed: freed memory, and the pages of the program itself. What is used again of the
/// program is mapped again, from the page cache: not while memory is short, when that may be gone. Cost: milliseconds.
public func releaseAfterBurst() {
    releaseFreedMemory()
    vedette_drop_program_pages()
}

/// How many processors the process may use; at least 1.
public func processorCount() -> Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

/// Columns of the terminal that standard output goes to; nil when it goes elsewhere.
public func terminalColumns() -> Int? {
    let columns = Int(vedette_terminal_columns(STDOUT_FILENO))
    return columns > 0 ? columns : nil
}
