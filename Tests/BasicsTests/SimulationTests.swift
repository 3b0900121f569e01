import Basics
import Synchronization
import Testing

@Suite struct SimulationTests {
    /// A handful of tasks and actors that sleep, hop and cancel, writing what happens to a log.
    private func eventLog(seed: UInt64) -> [String] {
        let executor = SimulatedExecutor(seed: seed, start: Timestamp(milliseconds: 1_000_000))
        let log = EventLog(clock: executor)
        executor.start {
            await withTaskGroup(of: Void.self) { group in
                for worker in 0..<5 {
                    group.addTask {
                        for round in 0..<20 {
                            await log.add("worker \(worker) round \(round)")
                            try? await executor.sleep(for: Milliseconds(executor.random() % 50))
                        }
                    }
                }
                let sleeper = executor.start {
                    try? await executor.sleep(for: 1_000_000_000)
                    await log.add("woken")
                }
                try? await executor.sleep(for: 100)
                sleeper.cancel()
                await group.waitForAll()
            }
            await log.add("end")
        }
        executor.run(for: 60_000)
        return log.lines.withLock { $0 }
    }

    @Test("the same seed gives the same event log, byte for byte", arguments: 0..<200)
    func sameSeedSameLog(seed: UInt64) {
        let first = eventLog(seed: seed)
        #expect(first.count == 102)
        #expect(first.last?.hasSuffix("end") == true, "seed \(seed)")
        #expect(first == eventLog(seed: seed), "seed \(seed)")
    }

    @Test("another seed gives another order") func otherSeed() {
        #expect(Set((0..<20).map { eventLog(seed: $0) }).count == 20)
    }

    @Test("sleeping takes no real time and a jump of the wall clock does not shorten it") func clocks() {
        let executor = SimulatedExecutor(seed: 1, start: Timestamp(milliseconds: 0))
        let woken = Mutex<[Int64]>([])
        executor.start {
            try? await executor.sleep(until: Timestamp(milliseconds: 86_400_000))
            woken.withLock { $0.append(Int64(executor.uptimeNanoseconds() / 1_000_000)) }
        }
        executor.run(for: 1000)
        executor.jumpWallClock(by: 7_200_000)
        executor.run(for: 86_400_000)
        #expect(woken.withLock { $0 } == [86_400_000])
    }

    @Test("what was abandoned never runs again") func abandon() {
        let executor = SimulatedExecutor(seed: 3, start: Timestamp(milliseconds: 0))
        let count = Mutex(0)
        executor.start {
            while true {
                count.withLock { $0 += 1 }
                try? await executor.sleep(for: 10)
            }
        }
        executor.run(for: 100)
        executor.abandon()
        let before = count.withLock { $0 }
        executor.run(for: 1000)
        #expect(before == 11)
        #expect(count.withLock { $0 } == before)
    }
}

private actor EventLog {
    nonisolated let lines = Mutex<[String]>([])
    private let clock: SimulatedExecutor
    init(clock: SimulatedExecutor) { self.clock = clock }
    func add(_ text: String) { lines.withLock { $0.append("\(clock.now()) \(clock.jobsRun) \(text)") } }
}
