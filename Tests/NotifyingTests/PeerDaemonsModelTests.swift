import Alerting
import Basics
import class Foundation.ProcessInfo
import Model
import Notifying
import Synchronization
import TestSupport
import Testing
import Transport

/// Lives of two or three daemons by chance: alerts begin and end, daemons die and come back, the network between them
/// is cut, slow and lossy, receivers fail. Whoever is told that something fires is told that it is over; what fires is
/// told; and while nothing goes wrong, it is told once.
@Suite struct PeerDaemonsModelTests {
    private static let seeds = 0..<UInt64(ProcessInfo.processInfo.environment["VEDETTE_SEEDS"].flatMap(Int.init) ?? 12)
    private static let config = """
        flapping: {episodes: 0}
        route:
          receiver: r
          group_by: [alertname]
          group_wait: 5s
          group_interval: 30s
          repeat_interval: 10m
          routes:
          - {matchers: [severity=critical], receiver: s, group_by: ['...'], group_wait: 1s, continue: true}
          - {receiver: r}
        receivers:
        - {name: r, webhook_configs: [{url: "http://r/1"}, {url: "http://r/2"}]}
        - {name: s, webhook_configs: [{url: "http://s/1"}]}
        """

    /// Prints what happens, when `VEDETTE_TRACE` is set.
    private static let isTraced = ProcessInfo.processInfo.environment["VEDETTE_TRACE"] != nil

    /// What receivers know, and what they have to complain of.
    private struct Receivers {
        /// By URL and labels: whether it was last told to fire.
        var firing: [String: Bool] = [:]
        var told: Set<String> = []
        /// By URL and labels: who told it last, and when.
        var last: [String: (sender: String, at: Timestamp)] = [:]
        var findings: [String] = []

        /// - Parameter isWell: Whether nothing went wrong lately, so that what is told twice is told once too often.
        mutating func take(_ page: PeerDaemonsWorld.Page, isWell: Bool) {
            let reason = page.json["notification_reason"]?.string ?? ""
            var hasNews = reason == "repeat interval elapsed"
            for (labels, isOver) in page.alerts {
                let key = "\(page.url) \(labels)"
                // Of two that try in the same second neither knows of the other.
                let isRace = last[key].map { $0.sender != page.sender && page.time - $0.at < 1000 } ?? false
                hasNews = hasNews || firing[key] != !isOver || isRace
                firing[key] = !isOver
                last[key] = (page.sender, page.time)
                told.insert(key)
            }
            if isWell, !hasNews { findings.append("\(page.sender) tells nothing new, '\(reason)', at \(page.time)") }
        }
    }

    @Test("nobody is left untold, and nobody who was told waits for the end", arguments: seeds)
    func life(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let names = Array(["a", "b", "c"].prefix(2 + Int(seed % 2)))
        let world = try PeerDaemonsWorld(PeerDaemonsModelTests.config, names: names, seed: seed)
        var receivers = Receivers()
        var read = 0
        var open: [Alert] = []
        /// Firing since, and told to nobody yet.
        var since: [Labels: Timestamp] = [:]
        /// Since when all is well.
        var wellSince = world.executor.now()
        func isWell(_ time: Timestamp) -> Bool { time - wellSince > 60_000 }
        func trace(_ text: @autoclosure () -> String) {
            if PeerDaemonsModelTests.isTraced {
                print("\(seed) \(world.executor.now().rfc3339().dropFirst(11)) \(text())")
            }
        }
        func listen() {
            for page in world.taken[read...] {
                receivers.take(page, isWell: isWell(page.time))
                trace(
                    "\(page.time) \(page.sender) \(page.url) \(page.json["notification_reason"]?.string ?? "") \(page.alerts)"
                )
            }
            read = world.taken.count
        }
        let shaken = Mutex(SeededRandom(seed: seed &+ 99))
        let isShaky = Mutex(false)
        world.faults.withLock {
            $0.receiver = { _, _ in
                guard isShaky.withLock(\.self) else {
                    return .response(
                        HTTPResponse(status: 200), after: Milliseconds(shaken.withLock { $0.next() % 500 }))
                }
                switch shaken.withLock({ $0.next() % 6 }) {
                case 0: return .response(HTTPResponse(status: 503), after: 20)
                case 1: return .failure(.unreachable("connection refused"), after: 20)
                default: return nil
                }
            }
        }
        for _ in 0..<160 {
            world.run(Double.random(in: 1...20, using: &random))
            listen()
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<6:
                let labels = [
                    "i": "\(Int.random(in: 0..<4, using: &random))",
                    "severity": ["critical", "info"].randomElement(using: &random) ?? "",
                ]
                let name = ["X", "Y"].randomElement(using: &random) ?? ""
                let full = Labels(labels.merging(["alertname": name]) { $1 })
                guard !open.contains(where: { $0.labels == full }) else { continue }
                open.append(world.fire(name, labels))
                since[full] = world.executor.now()
                trace("fires \(full)")
            case 6..<11:
                guard let index = open.indices.randomElement(using: &random) else { continue }
                trace("over \(open[index].labels)")
                since[open[index].labels] = nil
                world.end(open.remove(at: index))
            case 11:
                guard world.living.count > 1, let victim = world.living.randomElement(using: &random) else { continue }
                world.kill(victim.name)
                trace("kills \(victim.name)")
                wellSince = wellSince == .distantFuture ? wellSince : world.executor.now()
            case 12, 13:
                guard let dead = names.first(where: { world.node($0)?.isDead == true }) else { continue }
                try world.start(dead)
                trace("starts \(dead)")
                wellSince = wellSince == .distantFuture ? wellSince : world.executor.now()
            case 14:
                guard let one = names.randomElement(using: &random), let other = names.randomElement(using: &random),
                    one != other
                else { continue }
                world.cut(one, other)
                trace("cuts \(one) \(other)")
                wellSince = .distantFuture
            case 15:
                world.faults.withLock {
                    ($0.slowness, $0.losses) = (Milliseconds.random(in: 5...4000, using: &random), 3)
                }
                wellSince = .distantFuture
            case 16:
                trace("shaky")
                isShaky.withLock { $0 = true }
                wellSince = .distantFuture
            default:
                trace("well")
                isShaky.withLock { $0 = false }
                world.heal()
                world.faults.withLock { ($0.slowness, $0.losses) = (5, 0) }
                if wellSince == .distantFuture { wellSince = world.executor.now() }
            }
        }
        // All is well again; what fires is told within a wait, an interval, and the longest pause of a retry.
        isShaky.withLock { $0 = false }
        world.heal()
        world.faults.withLock { ($0.slowness, $0.losses) = (5, 0) }
        for name in names where world.node(name)?.isDead == true { try world.start(name) }
        wellSince = world.executor.now() + 200_000
        world.run(300)
        listen()
        for alert in open {
            for url in ["http://r/1", "http://r/2"] + (alert.labels["severity"] == "critical" ? ["http://s/1"] : []) {
                #expect(
                    receivers.firing["\(url) \(alert.labels)"] == true,
                    "seed \(seed): \(url) does not know that \(alert.labels) fires")
            }
        }
        for alert in open { world.end(alert) }
        world.run(1000)
        listen()
        for (key, isFiring) in receivers.firing.sorted(by: { $0.key < $1.key }) where isFiring {
            Issue.record("seed \(seed): never told to be over: \(key)")
        }
        #expect(receivers.findings.isEmpty, "seed \(seed)")
        #expect(receivers.told.count > 10, "seed \(seed): too little happened")
        for daemon in world.living {
            #expect(world.ask(daemon.name) { await $0.pagesUnderWay } == 0, "seed \(seed)")
            #expect(world.ask(daemon.name) { await $0.alerting().groups.isEmpty } == true, "seed \(seed)")
        }
    }
}
