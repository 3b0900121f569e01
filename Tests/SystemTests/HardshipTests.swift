import Basics
@testable import Daemon
import Glibc
import Model
import Scraping
import Synchronization
import Systemd
import TestSupport
import Testing
@testable import Web

/// The whole daemon while its machine misbehaves: for each hardship, what goes on, and what the operator sees.
@Suite struct HardshipTests {
    /// One service that fails from the tenth second on; each page of it is a page that must arrive.
    private static func world(
        seed: UInt64 = 1, configuration: String = DeliverySystemTests.configuration,
        page: @escaping @Sendable (String, Timestamp) -> String? = HardshipTests.failing(from: 10_000)
    ) -> SimulatedWorld {
        SimulatedWorld(seed: seed, configuration: configuration, rules: DeliverySystemTests.rules, page: page)
    }

    private static func failing(from moment: Milliseconds) -> @Sendable (String, Timestamp) -> String? {
        { url, at in url.contains("two") && at - SimulatedWorld.start >= moment ? nil : "load 1\n" }
    }

    private static func pages(_ world: SimulatedWorld) -> [String] {
        world.deliveries.flatMap { $0.body["alerts"]?.array ?? [] }.map {
            "\($0["labels"]?["instance"]?.string ?? "") \($0["status"]?.string ?? "")"
        }
    }

    private static func figure(_ world: SimulatedWorld, _ name: String, _ label: String = "") async -> Double? {
        guard let answer = await world.vedette?.api.answer(APIRequest(path: "/metrics")) else { return nil }
        let page = String(decoding: answer.body, as: UTF8.self)
        let line = page.split(separator: "\n").first { $0.hasPrefix(name + label + " ") }
        return line?.split(separator: " ").last.flatMap { Double($0) }
    }

    @Test("a full disk: pages go out, and the figures say what is not written") func fullDisk() async throws {
        let world = HardshipTests.world()
        try world.boot()
        world.run(for: 5000)
        world.files.setFreeBytes(0)
        world.run(for: 30_000)
        #expect(HardshipTests.pages(world).contains("two:1 firing"))
        #expect(await HardshipTests.figure(world, "vedette_disk_free_bytes") == 0)
        #expect(await HardshipTests.figure(world, "vedette_storage_log_broken") == 1)
        world.files.setFreeBytes(1 << 30)
        world.run(for: 30_000)
        #expect(await HardshipTests.figure(world, "vedette_storage_log_broken") == 0)
    }

    @Test("the clock set by an hour: alerts hold, `for` is not passed by it, and it is told", arguments: [1, -1])
    func clockJump(direction: Int64) async throws {
        let world = HardshipTests.world(page: HardshipTests.failing(from: .max))
        try world.boot()
        world.run(for: 20_000)
        world.executor.jumpWallClock(by: direction * 3_600_000)
        world.run(for: 20_000)
        #expect(HardshipTests.pages(world).isEmpty, "\(HardshipTests.pages(world))")
        let label = "{direction=\"\(direction > 0 ? "forward" : "back")\"}"
        #expect(await HardshipTests.figure(world, "vedette_clock_jumps_total", label) == 1)
        #expect(world.log.contains { $0.contains("clock-set: the clock was set") && $0.contains("1h") })
        // A real failure after it is paged as ever, since its time is counted by the steady clock.
        let failing = SimulatedWorld.start + 30_000 + direction * 3_600_000
        let later = HardshipTests.world { url, at in
            url.contains("two") && (0..<600_000).contains(at - failing) ? nil : "load 1\n"
        }
        try later.boot()
        later.run(for: 20_000)
        later.executor.jumpWallClock(by: direction * 3_600_000)
        later.run(for: 60_000)
        #expect(HardshipTests.pages(later) == ["two:1 firing"])
    }

    @Test(
        "set back and started anew, cleanly or killed, at once or later: no sample is refused, no alert is wrong",
        arguments: [(6000, true), (6000, false), (80_000, true), (80_000, false), (1000, false)])
    func setBackAndRestarted(after length: Milliseconds, isClean: Bool) async throws {
        let world = HardshipTests.world { url, at in
            let uptime = at - SimulatedWorld.start
            // Down before the jump, well again some seconds after the restart.
            return url.contains("two") && (uptime >= 10_000 || uptime < -3_600_000 + 60_000 + length) ? nil : "load 1\n"
        }
        try world.boot()
        world.run(for: 30_000)
        #expect(HardshipTests.pages(world) == ["two:1 firing"])
        world.executor.jumpWallClock(by: -3_600_000)
        world.run(for: length)
        if isClean {
            world.vedette?.stop()
            world.run(for: 3000)
        }
        world.kill(downFor: 2000)
        try world.boot()
        world.run(for: 90_000)
        #expect(await HardshipTests.figure(world, "vedette_storage_samples_out_of_order_total") ?? 0 <= 6)
        #expect(HardshipTests.pages(world) == ["two:1 firing", "two:1 resolved"], "\(HardshipTests.pages(world))")
    }

    @Test("the shipped rules tell of a sleep and of a clock that was set, whatever its length", arguments: [-1, 0, 1])
    func shippedRules(direction: Int64) async throws {
        let world = HardshipTests.world(
            configuration: DeliverySystemTests.configuration.replacing("rules.yml", with: "shipped.yml"),
            page: { _, _ in "load 1\n" })
        let rules = try SystemFiles().contents(of: "\(Program.root)/rules/vedette.yml")
        world.files.put("etc/shipped.yml", String(decoding: rules, as: UTF8.self))
        try world.boot()
        world.run(for: 30_000)
        // The daemon's own page is not scraped in this world: its figures are handed to the rule by hand.
        if direction == 0 { world.executor.suspend(for: 3_600_000) }
        world.executor.jumpWallClock(by: direction * 3_600_000)
        world.run(for: 30_000)
        let stamp =
            direction == 0
            ? await HardshipTests.figure(world, "vedette_resumed_timestamp_seconds")
            : await HardshipTests.figure(
                world, "vedette_clock_set_timestamp_seconds",
                "{direction=\"\(direction > 0 ? "forward" : "back")\"}")
        let present = try #require(world.vedette?.api).context.present.seconds
        #expect(stamp.map { (0..<60).contains(present - $0) } == true, "\(stamp ?? -1) beside \(present)")
        #expect(String(decoding: rules, as: UTF8.self).contains("time() - vedette_clock_set_timestamp_seconds < 900"))
    }

    @Test("a machine that sleeps: nothing fires of it, what fired is not told again, and it is told") func suspend()
        async throws
    {
        let world = HardshipTests.world(page: HardshipTests.failing(from: 5000))
        try world.boot()
        world.run(for: 20_000)
        #expect(HardshipTests.pages(world) == ["two:1 firing"])
        world.executor.suspend(for: 600_000)
        world.run(for: 20_000)
        #expect(HardshipTests.pages(world) == ["two:1 firing"])
        #expect(await HardshipTests.figure(world, "vedette_suspended_seconds_total") == 600)
        #expect(await HardshipTests.figure(world, "vedette_clock_jumps_total", "{direction=\"forward\"}") == 0)
        #expect(world.log.contains { $0.contains("resumed: the machine slept for 10m") })
    }

    @Test("no descriptors left: scrapes and reloads fail and say so, rules and the page's way go on") func descriptors()
        async throws
    {
        let world = HardshipTests.world()
        try world.boot()
        world.run(for: 5000)
        world.files.setFailure { operation, _ in operation == "open" ? EMFILE : nil }
        let problem = await world.vedette?.reloadConfiguration()
        #expect(problem?.contains("etc/vedette.yaml: cannot be read: Too many open files") == true, "\(problem ?? "")")
        world.run(for: 30_000)
        #expect(HardshipTests.pages(world).contains("two:1 firing"))
        world.files.setFailure(nil)
        #expect(await world.vedette?.reloadConfiguration() == nil)
    }

    @Test("memory runs short: it is told once, with its figures, and everything goes on") func memory() async throws {
        let world = HardshipTests.world()
        world.files.put("/proc/self/cgroup", "0::/system.slice/vedette.service\n")
        let group = "/sys/fs/cgroup/system.slice/vedette.service"
        world.files.put("\(group)/memory.current", "950\n")
        world.files.put("\(group)/memory.max", "1000\n")
        world.files.put(
            "\(group)/memory.pressure", "some avg10=0.00 avg60=42.50 avg300=1.00 total=1\nfull avg10=0.00\n")
        try world.boot()
        world.run(for: 60_000)
        #expect(HardshipTests.pages(world).contains("two:1 firing"))
        #expect(await HardshipTests.figure(world, "vedette_memory_pressure_ratio") == 0.425)
        #expect(await HardshipTests.figure(world, "vedette_memory_group_bytes") == 950)
        #expect(await HardshipTests.figure(world, "vedette_memory_limit_bytes") == 1000)
        #expect(world.log.count { $0.contains("memory-pressure") } == 1)
    }

    @Test("a target that never answers: the others are on time, and it is down by its own name") func silence()
        async throws
    {
        let world = HardshipTests.world(page: { url, at in
            url.contains("two") ? SimulatedWorld.never : "load 1\n"
        })
        try world.boot()
        world.run(for: 30_000)
        #expect(HardshipTests.pages(world) == ["two:1 firing"])
        #expect(await HardshipTests.figure(world, "vedette_scrapes_missed_total") == 0)
        #expect(await HardshipTests.figure(world, "vedette_scrapes_failed_total", "{reason=\"timeout\"}") ?? 0 > 20)
    }

    @Test(
        "the watchdog is fed by what moves: a scrape loop that hangs is told, and ends it; one that goes on feeds again"
    )
    func watchdog() async throws {
        let manager = RecordingManager()
        let world = HardshipTests.world()
        world.manager = manager
        try world.boot()
        world.run(for: 30_000)
        #expect(manager.take().contains("WATCHDOG=1"))
        let pulse = try #require(world.vedette?.mailboxes.first?.pulse)
        pulse.expect(within: 10_000, world.executor)
        world.run(for: 9000)
        #expect(manager.take().contains("WATCHDOG=1"))
        world.run(for: 60_000)
        let told = manager.take()
        #expect(told.count { $0 == "WATCHDOG=1" } <= 1 && told.contains { $0.hasPrefix("STATUS=stuck: scrape loop 0") })
        #expect(world.log.count { $0.contains(" stuck: scrape loop 0 moves no more") } == 1)
        pulse.expect(by: nil)
        world.run(for: 20_000)
        #expect(manager.take().contains("WATCHDOG=1"))
    }

    @Test("a reload and an end are told as systemd wants them") func stages() async throws {
        let manager = RecordingManager()
        let world = HardshipTests.world()
        world.manager = manager
        try world.boot()
        world.run(for: 10_000)
        _ = manager.take()
        _ = await world.vedette?.reloadConfiguration()
        let reload = manager.messages()
        #expect(reload.first?.first == "RELOADING=1" && reload.first?.last?.hasPrefix("MONOTONIC_USEC=") == true)
        #expect(reload.last == ["READY=1"])
        _ = manager.take()
        world.vedette?.stop()
        world.run(for: 20_000)
        let end = manager.messages().first { $0.contains("STOPPING=1") }
        #expect(end?.contains { $0.hasPrefix("EXTEND_TIMEOUT_USEC=") } == true)
    }

    @Test("from one look to the next: slewing is nothing, a jump and a sleep are told apart") func watch() {
        let clock = SimulatedExecutor(seed: 1, start: SimulatedWorld.start)
        var watch = ClockWatch(clock)
        clock.run(for: 5000)
        clock.jumpWallClock(by: 1500)
        #expect(watch.look(clock) == nil)
        clock.jumpWallClock(by: -2500)
        #expect(watch.look(clock) == ClockWatch.Gap(jump: -2500, sleep: 0))
        clock.suspend(for: 60_000)
        clock.jumpWallClock(by: 3000)
        #expect(watch.look(clock) == ClockWatch.Gap(jump: 3000, sleep: 60_000))
        #expect(watch.look(clock) == nil)
    }
}

/// A service manager that writes down what it is told.
private final class RecordingManager: ServiceManager {
    private let told = Mutex<[[String]]>([])
    let watchdog: Milliseconds? = 15_000

    func tell(_ lines: [String]) { told.withLock { $0.append(lines) } }
    func messages() -> [[String]] { told.withLock { $0 } }
    /// All lines since the last time.
    func take() -> [String] {
        told.withLock { told in
            defer { told = [] }
            return told.flatMap(\.self)
        }
    }
}
