internal import Basics
internal import Model
internal import Synchronization
internal import Transport

/// Keeps `vedette workloads` running: starts it, restarts it with a growing pause, kills it when it does not answer.
///
/// Nothing of the daemon waits for it. It yields the processor to everything else and is the first to go when the
/// memory of the machine is spent.
final class WorkloadChild: MetricsSource {
    /// The pause before a restart: doubled from the first to the longest, and forgotten after a minute of running.
    static let pauses: ClosedRange<Milliseconds> = 1000...60_000
    /// How often it is asked whether it is there, how long it may take, and how many answers in a row may fail.
    static let askedEvery: Milliseconds = 10_000, answerLimit: Milliseconds = 5000, misses = 3
    /// How long it may take to end when asked to.
    static let graceLimit: Milliseconds = 3000

    private struct State {
        var command: WorkloadCommand?
        var isUp = false
        var restarts = 0
        var hangs = 0
    }
    private let state: Mutex<State>
    private let world: World
    private let changed = Wake()

    init(_ command: WorkloadCommand?, world: World) {
        state = Mutex(State(command: command))
        self.world = world
    }

    /// Puts another command in force, or none.
    func replace(_ command: WorkloadCommand?) {
        let isNew = state.withLock { state in
            defer { state.command = command }
            return state.command != command
        }
        if isNew { changed.signal() }
    }

    /// Keeps it running until cancelled; then it is asked to end; the kernel ends it with this process at the latest.
    func run() async {
        var pause = WorkloadChild.pauses.lowerBound
        while !Task.isCancelled {
            guard let command = state.withLock({ $0.command }) else {
                await changed.wait()
                continue
            }
            let began = world.clock.uptimeNanoseconds()
            let reason = await live(command)
            if Task.isCancelled { return }
            if state.withLock({ $0.command }) != command { continue }
            if world.clock.uptimeNanoseconds() - began > 60_000_000_000 { pause = WorkloadChild.pauses.lowerBound }
            state.withLock { $0.restarts += 1 }
            world.log.write(
                LogEvent(
                    .warning, "workloads-ended",
                    "the workloads ended (\(reason)); they start again in \(DurationText.format(pause))"))
            await world.clock.wait(for: changed, atMost: pause)
            pause = min(2 * pause, WorkloadChild.pauses.upperBound)
        }
    }

    /// One life of the child; why it ended.
    private func live(_ command: WorkloadCommand) async -> String {
        let request = ProcessRequest(
            command.arguments, file: "/proc/self/exe", limits: command.limits, endsWithParent: true)
        let child: any ChildProcess
        switch await world.processes.start(request) {
        case .failure(let error): return error.description
        case .success(let started): child = started
        }
        state.withLock { $0.isUp = true }
        defer { state.withLock { $0.isUp = false } }
        world.log.write(LogEvent(.info, "workloads-started", "the workloads run as process \(child.identifier)"))
        yieldToAll(child.identifier)
        return await withTaskGroup(of: String?.self) { life in
            life.addTask { await child.end()?.description }
            life.addTask { [self] in
                await watch(child, command)
                return nil
            }
            defer { life.cancelAll() }
            for await reason in life { if let reason { return reason } }
            return "it was asked to"
        }
    }

    /// Sees to it that the child ends with the daemon, when its configuration changed, and when it hangs.
    private func watch(_ child: any ChildProcess, _ command: WorkloadCommand) async {
        var missed = 0
        while true {
            await world.clock.wait(for: changed, atMost: WorkloadChild.askedEvery)
            if Task.isCancelled { return child.signal(15) }
            if state.withLock({ $0.command }) != command {
                child.signal(15)
                try? await world.clock.sleep(for: WorkloadChild.graceLimit)  // Cancelled: the daemon ends.
                return child.signal(9)
            }
            missed = await answers(command) ? 0 : missed + 1
            if missed == WorkloadChild.misses {
                state.withLock { $0.hangs += 1 }
                world.log.write(
                    LogEvent(.error, "workloads-hang", "the workloads do not answer any more; they are killed"))
                return child.signal(9)
            }
        }
    }

    private func answers(_ command: WorkloadCommand) async -> Bool {
        let request = HTTPRequest(
            url: "http://workloads/health", timeout: WorkloadChild.answerLimit, unixSocket: command.socket)
        // Any answer shows that it is alive; what its workloads are like, its series tell.
        return (try? await world.workloads.send(request)) != nil
    }

    /// What cannot be set is left as it is: a container may forbid it, and then the priority alone helps.
    private func yieldToAll(_ process: Int32) {
        // A session has a share of the processor of its own (sched_autogroup), which a process's priority says nothing
        // about.
        for (name, value) in [("autogroup", "19"), ("oom_score_adj", "500")] {
            guard let file = try? world.files.open("/proc/\(process)/\(name)", .readWrite) else { continue }
            try? unsafe file.write(Array(value.utf8).span.bytes, at: 0)
        }
    }

    func metrics() -> [MetricFamily] {
        let state = state.withLock { $0 }
        guard state.command != nil else { return [] }
        return [
            MetricFamily(
                .gauge, "vedette_workloads_up", "Whether the workloads' process runs.", state.isUp ? 1 : 0),
            MetricFamily(
                .counter, "vedette_workloads_restarts_total", "Times that the workloads' process ended by itself.",
                state.restarts),
            MetricFamily(
                .counter, "vedette_workloads_hangs_total", "Times that it was killed since it did not answer.",
                state.hangs),
        ]
    }
}
