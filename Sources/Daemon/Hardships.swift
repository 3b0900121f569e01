internal import Basics
internal import Model
internal import Synchronization

/// What the machine does to the daemon: clocks that are set, sleep, memory and disks that run short. It counts and
/// tells; what must go on then goes on by itself.
final class Hardships: MetricsSource {
    private struct State {
        var watch: ClockWatch
        var jumps = (forward: 0, back: 0)
        var slept: Milliseconds = 0
        /// When, in the time of samples: rules compare it with theirs.
        var setAt: [String: Timestamp] = [:], resumedAt: Timestamp?
        var isTight = false
    }
    private let state: Mutex<State>
    private let clock: any TimeSource
    private let files: any FileSystem
    private let log: any LogSink
    private let directory: String
    private let stamp: @Sendable () -> Timestamp

    init(
        clock: any TimeSource, files: any FileSystem, log: any LogSink, directory: String,
        stamp: @escaping @Sendable () -> Timestamp
    ) {
        self.stamp = stamp
        state = Mutex(State(watch: ClockWatch(clock)))
        (self.clock, self.files, self.log, self.directory) = (clock, files, log, directory)
    }

    /// Looks around; every few seconds.
    func look() {
        if let gap = state.withLock({ $0.watch.look(clock) }) { tell(gap) }
        let memory = MemoryState(files: files)
        let isTight = (memory.pressure ?? 0) > MemoryState.tight
        let wasTight = state.withLock { state in
            defer { state.isTight = isTight }
            return state.isTight
        }
        guard isTight else { return }
        releaseFreedMemory()
        if !wasTight {
            log.write(
                LogEvent(
                    .warning, "memory-pressure", "the machine waits for memory; what was freed is given back at once",
                    [("pressure", GoNumber.fixed(memory.pressure ?? 0))]))
        }
    }

    private func tell(_ gap: ClockWatch.Gap) {
        let moment = stamp()
        state.withLock { state in
            if gap.jump > 0 { state.jumps.forward += 1 }
            if gap.jump < 0 { state.jumps.back += 1 }
            if gap.jump != 0 { state.setAt[gap.jump > 0 ? "forward" : "back"] = moment }
            if gap.sleep > 0 { state.resumedAt = moment }
            state.slept += gap.sleep
        }
        if gap.sleep > 0 {
            log.write(
                LogEvent(
                    .warning, "resumed",
                    "the machine slept for \(DurationText.format(gap.sleep)); nothing was watched meanwhile"))
        }
        if gap.jump != 0 {
            let way = gap.jump > 0 ? "forwards" : "back"
            log.write(
                LogEvent(
                    .warning, "clock-set",
                    "the clock was set \(way) by \(DurationText.format(abs(gap.jump))); timers moved with it"))
        }
    }

    func metrics() -> [MetricFamily] {
        let (jumps, slept, setAt, resumedAt) = state.withLock { ($0.jumps, $0.slept, $0.setAt, $0.resumedAt) }
        var families = [
            MetricFamily(
                .counter, "vedette_clock_jumps_total", "How often the wall clock was set while the daemon ran.",
                [
                    (Labels(["direction": "back"]), Double(jumps.back)),
                    (Labels(["direction": "forward"]), Double(jumps.forward)),
                ]),
            MetricFamily(
                .counter, "vedette_suspended_seconds_total", "How long the machine slept while the daemon ran.",
                [(Labels(), Double(slept) / 1000)]),
        ]
        // Where it never happened there is none.
        if !setAt.isEmpty {
            families.append(
                MetricFamily(
                    .gauge, "vedette_clock_set_timestamp_seconds",
                    "When the wall clock was last set, in samples' time.",
                    setAt.sorted { $0.key < $1.key }.map { (Labels(["direction": $0.key]), $0.value.seconds) }))
        }
        if let resumedAt {
            families.append(
                MetricFamily(
                    .gauge, "vedette_resumed_timestamp_seconds", "When the machine last woke, in samples' time.",
                    [(Labels(), resumedAt.seconds)]))
        }
        // A disk that cannot even be asked is told of by whoever writes to it.
        if let space = try? files.space(of: directory) {
            families += [
                MetricFamily(
                    .gauge, "vedette_disk_free_bytes", "What the data directory's disk still takes.", space.free),
                MetricFamily(.gauge, "vedette_disk_size_bytes", "The size of that disk.", space.total),
            ]
        }
        return families + MemoryState(files: files).metrics()
    }
}
